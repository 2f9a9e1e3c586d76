# SPDX-License-Identifier: GPL-2.0-or-later
"""qapi-introspect: the schema as query-qmp-schema publishes it (an array of SchemaInfo)."""

import json

from .cgen import CFile
from .schema import Alternate, Builtin, Enum, List, Object


class Introspection:
    """
    Names of types are masked by numbers, as they are no promise: clients find types from the
    commands and events that use them, and only those are listed.
    """

    def __init__(self, schema):
        self.names = {}         # type name -> masked name
        self.queue = []
        self.infos = []
        self.used = []
        self.empty = None
        for cmd in schema.commands.values():
            self.command(cmd)
        for event in schema.events.values():
            info = {'name': event.name, 'meta-type': 'event', 'arg-type': self.ref(event.arg)}
            self.add(info, event.features)
        while self.queue:
            self.type(self.queue.pop(0))

    def add(self, info, features):
        if features:
            info['features'] = features
        self.infos.append(info)

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
        self.add(info, cmd.features)

    def type(self, item):
        name, t = item
        info = {'name': name}
        if t is None:
            info.update({'meta-type': 'object', 'members': []})
            self.add(info, [])
        elif isinstance(t, Builtin):
            info.update({'meta-type': 'builtin', 'json-type': t.json})
            self.add(info, [])
        elif isinstance(t, List):
            info.update({'meta-type': 'array', 'element-type': self.ref(t.element)})
            self.add(info, [])
        elif isinstance(t, Enum):
            info.update({'meta-type': 'enum', 'values': [v for v, _ in t.values],
                         'members': [dict({'name': v}, **({'features': f} if f else {}))
                                     for v, f in t.values]})
            self.add(info, t.features)
        elif isinstance(t, Alternate):
            info.update({'meta-type': 'alternate',
                         'members': [{'type': self.ref(m.type)} for m in t.branches]})
            self.add(info, t.features)
        elif isinstance(t, Object):
            self.object(info, t)

    def object(self, info, t):
        info['meta-type'] = 'object'
        info['members'] = []
        for m in t.members():
            member = {'name': m.name, 'type': self.ref(m.type)}
            if m.optional:
                member['default'] = None
            if m.features:
                member['features'] = m.features
            info['members'].append(member)
        if t.branches is not None:
            info['tag'] = t.discriminator
            info['variants'] = [
                {'case': case, 'type': self.ref(t.branches[case].type if case in t.branches
                                                else None)}
                for case, _ in t.tag.type.values]
        self.add(info, t.features)


def source(schema):
    out = CFile('The schema, for query-qmp-schema.')
    out.include('qapi/command.h')
    out('const char qmp_schema_json[] =')
    infos = Introspection(schema).infos
    for i, info in enumerate(infos):
        text = json.dumps(info)
        text += ', ' if i + 1 < len(infos) else ']'
        text = ('[' if i == 0 else '') + text
        out('    "%s"' % text.replace('\\', '\\\\').replace('"', '\\"'))
    out('    ;')
    return out
