# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading qmp-commands.hx: which function handles a command, and its example."""

import re

from .source import QAPIError


class Stanza:
    """
    steps is a list of (kind, text): 'send' a request, 'expect' a reply or event, both JSON in
    which '...' stands for anything, or 'setup', the same as 'send' but with any successful
    reply; 'options' has the daemon's further arguments, 'disks' the images to make before.
    """

    def __init__(self, name, where):
        self.name, self.where = name, where
        self.handler = None
        self.program = 'qemu-storage-daemon'
        self.options, self.disks, self.steps = [], [], []

    def example(self):
        return [(kind, text) for kind, text in self.steps if kind != 'setup']


_KEY = re.compile(r'(command|handler|program|options|disk|setup): *(.*)$')
_ARROWS = {'->': 'send', '<-': 'expect'}


def read(path):
    stanzas, stanza, step = {}, None, None
    with open(path, encoding='utf-8') as f:
        for number, line in enumerate(f, 1):
            where = '%s:%d' % (path, number)
            line = line.rstrip()
            if line.startswith('#') or not line:
                step = None if not line else step
                continue
            key = _KEY.match(line)
            if key and key.group(1) == 'command':
                stanza = Stanza(key.group(2), where)
                if stanza.name in stanzas:
                    raise QAPIError(where, '%s has two stanzas' % stanza.name)
                stanzas[stanza.name] = stanza
                continue
            if not stanza:
                raise QAPIError(where, 'text outside of a stanza')
            step = _line(stanza, key, line, step, where)
    for stanza in stanzas.values():
        if not stanza.handler or not stanza.example():
            raise QAPIError(stanza.where, '%s lacks a handler or an example' % stanza.name)
        if not re.fullmatch('[A-Za-z_][A-Za-z0-9_]*', stanza.handler):
            raise QAPIError(stanza.where, '%s is no name of a function' % stanza.handler)
    return stanzas


def _line(stanza, key, line, step, where):
    """One line of @stanza; returns the step that indented lines after it continue."""
    if key:
        what, value = key.groups()
        if what == 'handler':
            stanza.handler = value
        elif what == 'program':
            stanza.program = value
        elif what == 'options':
            stanza.options.append(value)
        elif what == 'disk':
            stanza.disks.append(value)
        else:
            stanza.steps.append(('setup', value))
            return len(stanza.steps) - 1
        return None
    if line[:2] in _ARROWS:
        stanza.steps.append((_ARROWS[line[:2]], line[2:].strip()))
        return len(stanza.steps) - 1
    if line.startswith('  ') and step is not None:
        kind, text = stanza.steps[step]
        stanza.steps[step] = (kind, text + '\n' + line)
        return step
    raise QAPIError(where, 'cannot make sense of %r' % line)


def check(stanzas, schema):
    for name in schema.commands:
        if name not in stanzas:
            raise QAPIError(schema.commands[name].where,
                            'qmp-commands.hx has no stanza for %s' % name)
    for name, stanza in stanzas.items():
        if name not in schema.commands:
            raise QAPIError(stanza.where, 'the schema has no command %s' % name)
