# SPDX-License-Identifier: GPL-2.0-or-later
"""qapi-introspect: the schema as query-qmp-schema publishes it (an array of SchemaInfo)."""

import json

from .cgen import CFile, c_string
from .cond import ALWAYS, any_of
from .schema import Alternate, Builtin, Enum, List, Object


class If:
    """An element of an array, or a value of an object, that is there if @cond holds."""

    def __init__(self, cond, value):
        self.cond, self.value = cond, value


class Introspection:
    """
    Names of types are masked by numbers, as they are no promise: clients find types from the
    commands and events that use them, and only those are listed.
    """

    def __init__(self, schema):
        self.names = {}         # type name -> masked name
        self.queue = []
        self.infos = []         # of If
        for cmd in schema.commands.values():
            self.command(cmd)
        for event in schema.events.values():
            info = {'name': event.name, 'meta-type': 'event', 'arg-type': self.ref(event.arg)}
            self.add(info, event.features, event.cond)
        while self.queue:
            self.type(self.queue.pop(0))

    def add(self, info, features=(), cond=ALWAYS):
        put_features(info, features)
        self.infos.append(If(cond, info))

    def ref(self, t):
        """The masked name of @t (None: an object without members)."""
        if isinstance(t, Builtin):
            if t.json == 'int' and t.name != 'int':
                return self.ref_key('int', 'int', t)
            return self.ref_key(t.name, t.name, t)
        if isinstance(t, List):
            return self.ref_key('[%s]' % self.ref(t.element), None, t)
        return self.ref_key(t.name if t else 'empty object', '', t)

    def ref_key(self, key, name, t):
        if key not in self.names:
            if name == '':
                name = str(sum(1 for n in self.names.values() if n.isdigit()))
            self.names[key] = name or key
            self.queue.append((self.names[key], t))
        return self.names[key]

    def command(self, cmd):
        info = {'name': cmd.name, 'meta-type': 'command', 'arg-type': self.ref(cmd.arg),
                'ret-type': self.ref(cmd.ret), 'allow-oob': cmd.allow_oob}
        self.add(info, cmd.features, cmd.cond)

    def type(self, item):
        name, t = item
        info = {'name': name}
        if t is None:
            info.update({'meta-type': 'object', 'members': []})
            self.add(info)
        elif isinstance(t, Builtin):
            info.update({'meta-type': 'builtin', 'json-type': t.json})
            self.add(info)
        elif isinstance(t, List):
            info.update({'meta-type': 'array', 'element-type': self.ref(t.element)})
            self.add(info, cond=t.cond)
        elif isinstance(t, Enum):
            info.update({'meta-type': 'enum', 'values': [If(v.cond, v.name) for v in t.values],
                         'members': [If(v.cond, put_features({'name': v.name}, v.features))
                                     for v in t.values]})
            self.add(info, t.features, t.cond)
        elif isinstance(t, Alternate):
            info.update({'meta-type': 'alternate',
                         'members': [If(m.cond, {'type': self.ref(m.type)})
                                     for m in t.branches]})
            self.add(info, t.features, t.cond)
        elif isinstance(t, Object):
            self.object(info, t)

    def object(self, info, t):
        info['meta-type'] = 'object'
        info['members'] = []
        for m in t.members():
            member = {'name': m.name, 'type': self.ref(m.type)}
            if m.optional:
                member['default'] = None
            info['members'].append(If(m.cond, put_features(member, m.features)))
        if t.branches is not None:
            info['tag'] = t.discriminator
            info['variants'] = [v for value in t.tag.type.values for v in self.variants(t, value)]
        self.add(info, t.features, t.cond)

    def variants(self, t, value):
        """What comes with @value of the discriminator of @t: its branch, or nothing more."""
        branch = t.branches.get(value.name)
        nothing = value.cond
        if branch:
            yield If(branch.cond, {'case': value.name, 'type': self.ref(branch.type)})
            if branch.cond == value.cond:
                return
            nothing = value.cond & branch.cond.negated()
        yield If(nothing, {'case': value.name, 'type': self.ref(None)})


def put_features(info, features):
    if features:
        info['features'] = If(any_of(f.cond for f in features),
                              [If(f.cond, f.name) for f in features])
    return info


# ---- as text, in pieces of (condition, text)

def pieces(value, cond=ALWAYS):
    if isinstance(value, If):
        yield from pieces(value.value, cond & value.cond)
    elif isinstance(value, dict):
        yield from joined('{}', [(v.cond if isinstance(v, If) else ALWAYS,
                                  json.dumps(k) + ': ', v)
                                 for k, v in value.items()], cond)
    elif isinstance(value, list):
        yield from joined('[]', [(v.cond if isinstance(v, If) else ALWAYS, '', v)
                                 for v in value], cond)
    else:
        yield cond, json.dumps(value)


def joined(brackets, items, cond):
    """
    @items of (condition, text before it, value), with a comma before each but the first of those
    that are there.
    """
    yield cond, brackets[0]
    before = []
    for item_cond, head, value in items:
        if before:
            yield cond & item_cond & any_of(before), ', '
        yield cond & item_cond, head
        yield from pieces(value, cond)
        before.append(item_cond)
    yield cond, brackets[1]


def source(schema):
    out = CFile('The schema, for query-qmp-schema.')
    out.include('qapi/command.h')
    out('const char qmp_schema_json[] =')
    out('    "["')
    before = []
    for info in Introspection(schema).infos:
        line, line_cond = '', None
        start = [(info.cond & any_of(before), ', ')] if before else []
        for cond, text in start + list(pieces(info)):
            if line_cond is not None and cond != line_cond:
                put(out, line_cond, line)
                line = ''
            line, line_cond = line + text, cond
        put(out, line_cond, line)
        before.append(info.cond)
    out('    "]"')
    out('    ;')
    return out


def put(out, cond, text):
    with out.only_if(cond):
        out('    ' + c_string(text))
