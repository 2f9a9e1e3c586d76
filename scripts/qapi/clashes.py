# SPDX-License-Identifier: GPL-2.0-or-later
"""Different names of the schema that would be one name in C."""

from .schema import Alternate, Builtin, Enum, List, Object
from .source import QAPIError

# Types of the headers that generated code includes.
_TAKEN = ('QObject', 'QType', 'QDict', 'QList', 'QNum', 'QString', 'QBool', 'QNull', 'Error',
          'QapiEnum', 'QapiInput', 'QapiStep', 'QapiObject', 'QmpCommand', 'FILE', 'DIR')


class _Scope:
    """C names that exclude each other, with what each is of."""

    def __init__(self):
        self.names = {}

    def add(self, c, what, where):
        if c in self.names:
            other, other_where = self.names[c]
            raise QAPIError(where, '%s and %s (%s) would both be %s in C'
                            % (what, other, other_where, c))
        self.names[c] = (what, where)


def _type_names(t):
    """The file-scope names that are made of the type @t."""
    if isinstance(t, Enum):
        suffixes, prefixes = ('_lookup', '_str', '_from_str', '_names'), ('in_', 'out_')
    elif isinstance(t, (Object, Alternate)):
        suffixes = ('_free', '_clone', '_parse', '_parse_keyval', '_format')
        prefixes = ('in_', 'out_', 'in_members_', 'out_members_', 'free_members_',
                    'clone_members_')
    else:
        suffixes = ('_append', '_free', '_clone', '_parse', '_parse_keyval', '_format')
        prefixes = ('in_', 'out_')
    return [t.c] + [t.c + s for s in suffixes] + [p + t.c for p in prefixes]


def _check_globals(schema, stanzas):
    scope = _Scope()
    for name in _TAKEN:
        scope.add(name, name, 'built-in')
    for t in schema.types.values():
        if isinstance(t, Builtin):
            continue
        where = t.element.where if isinstance(t, List) else t.where
        for c in _type_names(t):
            scope.add(c, t.name, where)
        if isinstance(t, Enum):
            scope.add(t.prefix + '__MAX', 'the number of values of ' + t.name, where)
            for v in t.values:
                scope.add(t.const(v.name), '%s of %s' % (v.name, t.name), where)
    for cmd in schema.commands.values():
        scope.add('marshal_' + cmd.c, 'command ' + cmd.name, cmd.where)
        scope.add(stanzas[cmd.name].handler, 'the handler of ' + cmd.name, cmd.where)
    for event in schema.events.values():
        scope.add('qapi_event_send_' + event.c, 'event ' + event.name, event.where)


def _check_members(t):
    scope = _Scope()
    if t.branches:
        scope.add('u', 'the branches of ' + t.name, t.where)
    for m in t.members():
        what = 'member %s of %s' % (m.name, t.name)
        scope.add(m.c, what, t.where)
        # Whatever its type: that one becomes a scalar must not break a schema elsewhere.
        if m.optional:
            scope.add(m.has_c, 'whether there is a ' + what, t.where)


def _check_branches(t, branches):
    scope = _Scope()
    for m in branches:
        scope.add(m.c, 'branch %s of %s' % (m.name, t.name), t.where)


def check(schema, stanzas):
    for t in schema.types.values():
        if isinstance(t, Object):
            _check_members(t)
            _check_branches(t, (t.branches or {}).values())
        elif isinstance(t, Alternate):
            _check_branches(t, t.branches)
    _check_globals(schema, stanzas)
