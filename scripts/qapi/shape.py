# SPDX-License-Identifier: GPL-2.0-or-later
"""The form of each expression of the schema, checked before anything is made of it."""

import re

from . import cond
from .source import QAPIError

_TYPE_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_-]*')
_MEMBER_NAME = re.compile(r'\*?[a-z0-9][a-z0-9_-]*')
_VALUE_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_-]*')


def _is_type_ref(value):
    """'T' or [ 'T' ]"""
    if isinstance(value, list):
        return len(value) == 1 and isinstance(value[0], str)
    return isinstance(value, str)


def _check_named(value, key, more, where):
    """@value is a string, or an object that has @key, may have those in @more, and no others."""
    if isinstance(value, str):
        return
    if not isinstance(value, dict) or key not in value or set(value) - {key, 'if'} - set(more):
        raise QAPIError(where, 'expected a name, or an object with %s and perhaps %s, found %r'
                        % (key, ', '.join(more + ['if']), value))
    cond.parse(value.get('if'), where)


def check_features(features, where):
    if not isinstance(features, list):
        raise QAPIError(where, 'features are an array')
    for f in features:
        _check_named(f, 'name', [], where)
    names = [f['name'] if isinstance(f, dict) else f for f in features]
    for name in names:
        if not isinstance(name, str) or not _VALUE_NAME.fullmatch(name):
            raise QAPIError(where, 'bad name of a feature %r' % (name,))
    if len(set(names)) != len(names):
        raise QAPIError(where, 'a feature is there twice')


def check_members(data, where):
    if not isinstance(data, dict):
        raise QAPIError(where, 'members are an object, not %r' % (data,))
    for name, value in data.items():
        if not _MEMBER_NAME.fullmatch(name):
            raise QAPIError(where, 'bad member name %r' % name)
        ref = value
        if isinstance(value, dict):
            _check_named(value, 'type', ['features'], where)
            check_features(value.get('features', []), where)
            ref = value['type']
        if not _is_type_ref(ref):
            raise QAPIError(where, 'the type of %s is a name or an array of one name' % name)


def _check_enum(name, expr, where):
    if not isinstance(expr['data'], list):
        raise QAPIError(where, 'the values of enum %s are an array' % name)
    values = []
    for v in expr['data']:
        _check_named(v, 'name', ['features'], where)
        if isinstance(v, dict):
            check_features(v.get('features', []), where)
            v = v['name']
        if not isinstance(v, str) or not _VALUE_NAME.fullmatch(v):
            raise QAPIError(where, 'enum %s: bad name of a value %r' % (name, v))
        values.append(v)
    if len(set(values)) != len(values):
        raise QAPIError(where, 'enum %s has a value twice' % name)
    if not re.fullmatch(r'[A-Z][A-Z0-9_]*', expr.get('prefix', 'X')):
        raise QAPIError(where, 'enum %s: bad prefix %r' % (name, expr['prefix']))


def _check_struct(name, expr, where):
    check_members(expr['data'], where)
    if not isinstance(expr.get('base', ''), str):
        raise QAPIError(where, 'the base of struct %s is a name' % name)


def _check_union(name, expr, where):
    if isinstance(expr['base'], dict):
        check_members(expr['base'], where)
    elif not isinstance(expr['base'], str):
        raise QAPIError(where, 'the base of union %s is a name or members' % name)
    if not isinstance(expr['data'], dict):
        raise QAPIError(where, 'the branches of union %s are an object' % name)
    for case, ref in expr['data'].items():
        _check_named(ref, 'type', [], where)
        if not isinstance(ref if isinstance(ref, str) else ref['type'], str):
            raise QAPIError(where, '%s: the branch %s is the name of a type' % (name, case))
    if not isinstance(expr['discriminator'], str):
        raise QAPIError(where, '%s: the discriminator is the name of a member' % name)


def _check_alternate(name, expr, where):
    check_members(expr['data'], where)
    if not expr['data'] or any(case.startswith('*') for case in expr['data']):
        raise QAPIError(where, 'alternate %s: branches are needed, and none is optional' % name)


def _check_event(_name, expr, where):
    if not isinstance(expr.get('data', ''), str):
        check_members(expr['data'], where)


def _check_command(name, expr, where):
    _check_event(name, expr, where)
    if not _is_type_ref(expr.get('returns', '')):
        raise QAPIError(where, '%s returns a type or an array of one' % name)
    for key in ('boxed', 'gen', 'allow-oob', 'success-response'):
        if not isinstance(expr.get(key, True), bool):
            raise QAPIError(where, '%s: %s is true or false' % (name, key))


#          checked by, required, optional
KINDS = {
    'enum': (_check_enum, {'data'}, {'features', 'prefix'}),
    'struct': (_check_struct, {'data'}, {'base', 'features'}),
    'union': (_check_union, {'data', 'base', 'discriminator'}, {'features'}),
    'alternate': (_check_alternate, {'data'}, {'features'}),
    'command': (_check_command, set(), {'data', 'boxed', 'returns', 'allow-oob',
                                        'success-response', 'gen', 'features'}),
    'event': (_check_event, set(), {'data', 'features'}),
}


def check(expr, where):
    """The kind of @expr, which has the form of one."""
    kind = next((k for k in KINDS if k in expr), None)
    if not kind:
        raise QAPIError(where, 'neither of ' + ', '.join(KINDS))
    name = expr[kind]
    if not isinstance(name, str) or not _TYPE_NAME.fullmatch(name):
        raise QAPIError(where, 'bad name of a %s %r' % (kind, name))
    check_form, required, optional = KINDS[kind]
    unknown = set(expr) - required - optional - {kind, 'if'}
    if unknown:
        raise QAPIError(where, '%s %s: unknown %s' % (kind, name, ', '.join(sorted(unknown))))
    missing = required - set(expr)
    if missing:
        raise QAPIError(where, '%s %s: needs %s' % (kind, name, ', '.join(sorted(missing))))
    cond.parse(expr.get('if'), where)
    check_features(expr.get('features', []), where)
    check_form(name, expr, where)
    return kind
