# SPDX-License-Identifier: GPL-2.0-or-later
"""The schema as objects: types, commands and events, checked."""

import re

from collections import namedtuple

from . import shape
from .cond import ALWAYS, parse as parse_cond
from .source import QAPIError, SourceFile

# C keywords and names that system headers define as macros.
_RESERVED = set('''asm auto bool break case char const continue default do double else enum extern
false float for goto if inline int long register restrict return short signed sizeof static struct
switch true typedef typeof union unsigned void volatile while unix linux errno i386 mips
sparc'''.split())


def c_name(name):
    name = re.sub(r'[^A-Za-z0-9_]', '_', name)
    return 'q_' + name if name in _RESERVED or name[0].isdigit() else name


def c_enum_prefix(name):
    """BlockdevDriver -> BLOCKDEV_DRIVER"""
    return re.sub(r'(?<=[^_])(?=[A-Z][a-z])|(?<=[0-9])(?=[A-Z])', '_', c_name(name)).upper()


class Type:
    scalar = False          # in C a value, not a pointer: optional ones need has_
    info = None             # the doc comment
    where = 'built-in'
    cond = ALWAYS           # whether it is built
    wire = None             # of arguments that have no name of their own: the command or event

    def __init__(self, name):
        self.name = name
        self.c = c_name(name)


class Builtin(Type):
    #        C type, QType, JSON type
    TABLE = {
        'str': ('char *', 'QTYPE_QSTRING', 'string'),
        'int': ('int64_t ', 'QTYPE_QNUM', 'int'),
        'number': ('double ', 'QTYPE_QNUM', 'number'),
        'bool': ('bool ', 'QTYPE_QBOOL', 'boolean'),
        'int8': ('int8_t ', 'QTYPE_QNUM', 'int'),
        'int16': ('int16_t ', 'QTYPE_QNUM', 'int'),
        'int32': ('int32_t ', 'QTYPE_QNUM', 'int'),
        'int64': ('int64_t ', 'QTYPE_QNUM', 'int'),
        'uint8': ('uint8_t ', 'QTYPE_QNUM', 'int'),
        'uint16': ('uint16_t ', 'QTYPE_QNUM', 'int'),
        'uint32': ('uint32_t ', 'QTYPE_QNUM', 'int'),
        'uint64': ('uint64_t ', 'QTYPE_QNUM', 'int'),
        'size': ('uint64_t ', 'QTYPE_QNUM', 'int'),
        'null': ('QObject *', 'QTYPE_QNULL', 'null'),
        'any': ('QObject *', None, 'value'),
    }

    def __init__(self, name):
        super().__init__(name)
        self.c_type, self.qtype, self.json = self.TABLE[name]
        self.scalar = name not in ('str', 'null', 'any')


class List(Type):
    qtype = 'QTYPE_QLIST'

    def __init__(self, element):
        super().__init__(element.name + 'List')
        self.element = element
        self.cond = element.cond
        self.c = element_list_c(element)
        self.c_type = self.c + ' *'


def element_list_c(element):
    # intList, strList: without the q_ that a bare `int` would need.
    return (element.name if isinstance(element, Builtin) else element.c) + 'List'


class Enum(Type):
    scalar = True
    qtype = 'QTYPE_QSTRING'

    def __init__(self, name, values, features, prefix=None):
        super().__init__(name)
        self.values = values            # of Value
        self.features = features
        self.prefix = prefix or c_enum_prefix(name)
        self.c_type = self.c + ' '

    def const(self, value):
        return '%s_%s' % (self.prefix, re.sub('[^A-Za-z0-9_]', '_', value).upper())


Feature = namedtuple('Feature', 'name cond')
Value = namedtuple('Value', 'name features cond')       # of an enum


class Member:
    def __init__(self, name, type_ref, features, cond):
        self.cond = cond
        self.optional = name.startswith('*')
        self.name = name.lstrip('*')
        self.c = c_name(self.name)
        self.type_ref = type_ref
        self.type = None                # set by Schema.resolve()
        self.features = features
        self.has_flag = False
        self.has_c = 'has_' + self.c.removeprefix('q_')


class Object(Type):
    """A struct or union; also the arguments of commands and events."""
    qtype = 'QTYPE_QDICT'

    def __init__(self, name, members, features, base=None, discriminator=None, branches=None):
        super().__init__(name)
        self.own_members = members
        self.features = features
        self.base = base                # name, then Object
        self.discriminator = discriminator
        self.branches = branches        # case -> Member (type is the branch), or None
        self.tag = None                 # Member that is the discriminator
        self.c_type = self.c + ' *'

    def members(self):
        return (self.base.members() if self.base else []) + self.own_members

    def all_names(self):
        """Of its members, whatever the discriminator says."""
        names = {m.name for m in self.members()}
        return names.union(*(m.type.all_names() for m in (self.branches or {}).values()))

    def parts(self):
        """The types that C has by value in it."""
        return ([self.base] if self.base else []) + [m.type for m in (self.branches or {}).values()]


class Alternate(Type):
    qtype = None

    def __init__(self, name, branches, features):
        super().__init__(name)
        self.branches = branches        # of Member
        self.features = features
        self.c_type = self.c + ' *'

    def parts(self):
        """The types that C has by value in it."""
        return [m.type for m in self.branches if isinstance(m.type, Object)]


class Command:
    cond = ALWAYS

    def __init__(self, name, arg, boxed, ret, allow_oob, success, gen, features):
        self.name, self.arg, self.boxed, self.ret = name, arg, boxed, ret
        self.allow_oob, self.success, self.gen, self.features = allow_oob, success, gen, features
        self.c = c_name(name)
        self.handler = 'qmp_' + self.c


class Event:
    cond = ALWAYS

    def __init__(self, name, arg, features):
        self.name, self.arg, self.features = name, arg, features
        self.c = c_name(name).lower()


def _features(expr, where):
    return [Feature(f['name'], parse_cond(f.get('if'), where)) if isinstance(f, dict)
            else Feature(f, ALWAYS) for f in expr.get('features', [])]


def _camel(name):
    return ''.join(part[:1].upper() + part[1:].lower() if name.isupper() else
                   part[:1].upper() + part[1:] for part in re.split('[-_]', name))


class Schema:
    def __init__(self, path):
        self.types = {}             # in order of definition, implicit ones too
        self.commands = {}
        self.events = {}
        self.order = []             # manual: Doc (free text) or a definition
        for name in Builtin.TABLE:
            self.types[name] = Builtin(name)
        for expr, doc, where in SourceFile(path).items:
            if expr is None:
                self.order.append(doc)
            else:
                self._define(expr, doc, where)
        self._resolve()

    # -- definitions

    def _define(self, expr, doc, where):
        kind = shape.check(expr, where)
        name = expr[kind]
        if not doc or doc.name != name:
            raise QAPIError(where, '%s %s has no doc comment of its own' % (kind, name))
        if name in self.types or name in self.commands or name in self.events:
            raise QAPIError(where, '%s is defined twice' % name)
        cond = parse_cond(expr.get('if'), where)
        entity = getattr(self, '_define_' + kind)(name, expr, where)
        entity.info, entity.where, entity.kind, entity.cond = doc, where, kind, cond
        if kind in ('command', 'event') and entity.inline_arg:
            self.types[entity.arg].cond = cond
        self.order.append(entity)

    def _members(self, data, where):
        members = []
        for name, value in data.items():
            if not isinstance(value, dict):
                value = {'type': value}
            members.append(Member(name, value['type'], _features(value, where),
                                  parse_cond(value.get('if'), where)))
        return members

    def _define_enum(self, name, expr, where):
        values = [v if isinstance(v, dict) else {'name': v} for v in expr['data']]
        values = [Value(v['name'], _features(v, where), parse_cond(v.get('if'), where))
                  for v in values]
        return self._add(Enum(name, values, _features(expr, where), expr.get('prefix')))

    def _define_struct(self, name, expr, where):
        return self._add(Object(name, self._members(expr['data'], where), _features(expr, where),
                                expr.get('base')))

    def _define_union(self, name, expr, where):
        base, own = expr['base'], []
        if isinstance(base, dict):
            own, base = self._members(base, where), None
        refs = {case: ref if isinstance(ref, dict) else {'type': ref}
                for case, ref in expr['data'].items()}
        branches = {case: Member(case, ref['type'], [], parse_cond(ref.get('if'), where))
                    for case, ref in refs.items()}
        return self._add(Object(name, own, _features(expr, where), base, expr['discriminator'],
                                branches))

    def _define_alternate(self, name, expr, where):
        return self._add(Alternate(name, self._members(expr['data'], where),
                                   _features(expr, where)))

    def _argument(self, c, wire, data, where):
        """The arguments type of a command or event: named, made up, or None."""
        if data is None or isinstance(data, str):
            return data
        if c in self.types:
            raise QAPIError(where, '%s and %s (%s) would both be %s in C' % (
                wire, self.types[c].wire or c, self.types[c].where, c))
        obj = Object(c, self._members(data, where), [])
        obj.wire = wire
        obj.where = where
        self._add(obj)
        return c

    def _define_command(self, name, expr, where):
        gen = expr.get('gen', True)
        arg = self._argument('Qmp%sArgs' % _camel(name), name, expr.get('data'), where)
        cmd = Command(name, arg, expr.get('boxed', False), expr.get('returns'),
                      expr.get('allow-oob', False), expr.get('success-response', True), gen,
                      _features(expr, where))
        cmd.inline_arg = isinstance(expr.get('data'), dict)
        self.commands[name] = cmd
        return cmd

    def _define_event(self, name, expr, where):
        arg = self._argument('Event%sArgs' % _camel(name), name, expr.get('data'), where)
        event = Event(name, arg, _features(expr, where))
        event.inline_arg = isinstance(expr.get('data'), dict)
        self.events[name] = event
        return event

    def _add(self, entity):
        self.types[entity.name] = entity
        return entity

    # -- names to objects

    def lookup(self, ref, where):
        if isinstance(ref, list):
            element = self.lookup(ref[0], where)
            name = '[%s]' % element.name
            if name not in self.types:
                self.types[name] = List(element)
            return self.types[name]
        if ref not in self.types:
            raise QAPIError(where, 'unknown type %r' % (ref,))
        return self.types[ref]

    def _resolve(self):
        for entity in list(self.types.values()):
            if isinstance(entity, (Object, Alternate)):
                self._resolve_parts(entity)
        for entity in list(self.types.values()):
            if isinstance(entity, (Object, Alternate)):
                self._check_no_circle(entity, [])
        for entity in list(self.types.values()):
            if isinstance(entity, Object):
                self._check_object(entity)
            elif isinstance(entity, Alternate):
                self._check_alternate(entity)
        for entity in list(self.types.values()):
            if isinstance(entity, (Object, Alternate)):
                self._check_conds(entity)
        for cmd in self.commands.values():
            cmd.arg = self._arguments(cmd)
            cmd.ret = self.lookup(cmd.ret, cmd.where) if cmd.ret else None
            self._check_use(cmd, 'what it returns', cmd.ret, cmd.cond)
        for event in self.events.values():
            event.arg = self._arguments(event)
        for entity in self.order:
            if hasattr(entity, 'kind'):
                self._check_doc(entity)

    def _arguments(self, entity):
        if not entity.arg:
            return None
        arg = self.lookup(entity.arg, entity.where)
        if not isinstance(arg, Object):
            raise QAPIError(entity.where, 'the arguments of %s are an object, not %s'
                            % (entity.name, arg.name))
        self._check_use(entity, 'its arguments', arg, entity.cond)
        return arg

    def _check_use(self, entity, what, t, cond):
        """@what, a part of @entity that is there if @cond holds, may be of type @t."""
        if t and not cond.implies(t.cond):
            raise QAPIError(entity.where, '%s: %s is of type %s, which is there only if %s'
                            % (entity.name, what, t.name, t.cond.c()))

    def _check_conds(self, entity):
        members = entity.own_members if isinstance(entity, Object) else entity.branches
        for m in members:
            self._check_use(entity, m.name, m.type, entity.cond & m.cond)
        if not isinstance(entity, Object):
            return
        self._check_use(entity, 'its base', entity.base, entity.cond)
        for m in (entity.branches or {}).values():
            self._check_use(entity, m.name, m.type, entity.cond & m.cond)
        if entity.tag and entity.tag.cond:
            raise QAPIError(entity.where, '%s: the discriminator is always there' % entity.name)

    def _resolve_parts(self, entity):
        """Names to types, in an object or alternate."""
        branches = entity.branches or {}
        members = entity.own_members if isinstance(entity, Object) else entity.branches
        for m in members:
            m.type = self.lookup(m.type_ref, entity.where)
            m.has_flag = m.optional and m.type.scalar
        if not isinstance(entity, Object):
            return
        for m in branches.values():
            m.type = self.lookup(m.type_ref, entity.where)
            if not isinstance(m.type, Object):
                raise QAPIError(entity.where, '%s: the branch %s is of type %s, which is no object'
                                % (entity.name, m.name, m.type.name))
        if entity.base:
            entity.base = self.lookup(entity.base, entity.where)
            if not isinstance(entity.base, Object) or entity.base.branches is not None:
                raise QAPIError(entity.where, '%s: the base %s is no struct'
                                % (entity.name, entity.base.name))

    def _check_no_circle(self, entity, path):
        """No type is a part of itself: neither by base nor by branch, which C has by value."""
        if entity in path:
            names = [t.name for t in path[path.index(entity):]] + [entity.name]
            raise QAPIError(entity.where, '%s is a part of itself: %s'
                            % (entity.name, ' has '.join(names)))
        for part in entity.parts():
            self._check_no_circle(part, path + [entity])

    def _check_object(self, obj):
        names = [m.name for m in obj.members()]
        if len(set(names)) != len(names):
            raise QAPIError(obj.where, '%s has a member twice' % obj.name)
        if obj.branches is None:
            return
        obj.tag = next((m for m in obj.members() if m.name == obj.discriminator), None)
        if not obj.tag or not isinstance(obj.tag.type, Enum) or obj.tag.optional:
            raise QAPIError(obj.where, '%s: bad discriminator' % obj.name)
        cases = {v.name: v.cond for v in obj.tag.type.values}
        for case, branch in obj.branches.items():
            if case not in cases:
                raise QAPIError(obj.where, '%s: no such case %r' % (obj.name, case))
            branch.cond &= cases[case]
            clash = set(names) & branch.type.all_names()
            if clash:
                raise QAPIError(obj.where, '%s: %s is in base and branch'
                                % (obj.name, ', '.join(sorted(clash))))

    def _check_alternate(self, alt):
        kinds = [m.type.qtype for m in alt.branches]
        if None in kinds or len(set(kinds)) != len(kinds):
            raise QAPIError(alt.where, '%s: branches cannot be told apart' % alt.name)

    def _check_doc(self, entity):
        if isinstance(entity, Enum):
            names = [v.name for v in entity.values]
        elif isinstance(entity, Object):
            names = [m.name for m in entity.own_members]
        elif isinstance(entity, Alternate):
            names = [m.name for m in entity.branches]
        else:
            names = [m.name for m in entity.arg.own_members] if entity.inline_arg else []
        doc = entity.info
        for name in names:
            if not doc.member(name):
                raise QAPIError(doc.where, '%s: @%s is not documented' % (entity.name, name))
        for name in set(doc.members) - set(names):
            raise QAPIError(doc.where, '%s has no @%s' % (entity.name, name))
        for name, _ in entity.features:
            if not doc.feature(name):
                raise QAPIError(doc.where, '%s: feature @%s is not documented'
                                % (entity.name, name))
        if not doc.text():
            raise QAPIError(doc.where, '%s is not described' % entity.name)
        if not doc.section('Since'):
            raise QAPIError(doc.where, '%s has no Since' % entity.name)
