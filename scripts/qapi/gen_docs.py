# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference manual, as markdown and as a man page, from the doc comments."""

import re

from .schema import Alternate, Command, Enum, Event, List, Object
from .source import Doc


def type_text(t):
    if t is None:
        return 'nothing'
    if isinstance(t, List):
        return 'array of ' + type_text(t.element)
    return t.name


def has_entry(t):
    return hasattr(t, 'kind')


def only_if(cond):
    return ' (only in builds with %s)' % cond.text() if cond else ''


def rows(entity):
    """(name, type, optional, text) for each member that @entity itself documents."""
    doc = entity.info
    if isinstance(entity, Enum):
        return [(v.name, None, False, doc.member(v.name) + only_if(v.cond))
                for v in entity.values]
    if isinstance(entity, Alternate):
        return [(m.name, m.type, False, doc.member(m.name) + only_if(m.cond))
                for m in entity.branches]
    if isinstance(entity, Object):
        members = entity.own_members
    else:
        members = entity.arg.own_members if entity.inline_arg else []
    return [(m.name, m.type, m.optional, doc.member(m.name) + only_if(m.cond)) for m in members]


def more(entity):
    """Sentences on where other members come from."""
    lines = []
    if isinstance(entity, Object):
        if entity.base and has_entry(entity.base):
            lines.append(('The members of', entity.base))
        for case, m in (entity.branches or {}).items():
            lines.append(('If %s is "%s": the members of' % (entity.discriminator, case), m.type))
    elif isinstance(entity, (Command, Event)) and entity.arg and not entity.inline_arg:
        lines.append(('The members of', entity.arg))
    return lines


KIND = {'enum': 'string out of a list', 'struct': 'object', 'union': 'object with variants',
        'alternate': 'one of several types', 'command': 'command', 'event': 'event'}


# ---- markdown

def markdown(schema, stanzas):
    out = ['<!-- SPDX-License-Identifier: GPL-2.0-or-later -->',
           '<!-- Written by scripts/qapi-gen.py from qapi-schema.json and qmp-commands.hx;'
           ' do not edit. -->', '',
           '# QMP reference', '',
           'Every command, event and type. Members marked *optional* may be left out. Each example',
           'is run by the test suite; in a reply `...` stands for anything.', '']
    for entity in schema.order:
        if isinstance(entity, Doc):
            text = entity.text()
            out += ['#' + re.sub(r'^= ', '# ', text, flags=re.M).split('\n')[0], '']
            out += text.split('\n')[1:] + [''] if '\n' in text else []
        else:
            md_entity(out, entity, stanzas)
    while out[-1] == '':
        out.pop()
    return '\n'.join(out) + '\n'


def md_type(t):
    if isinstance(t, List):
        return 'array of ' + md_type(t.element)
    if has_entry(t):
        return '[%s](#%s)' % (t.name, anchor(t))
    return '`%s`' % t.name


def anchor(entity):
    return re.sub(r'[^a-z0-9_ -]', '', heading(entity).lower()).replace(' ', '-')


def heading(entity):
    return '%s (%s)' % (entity.name, entity.kind)


def md_entity(out, entity, stanzas):
    doc = entity.info
    out += ['### ' + heading(entity), '', doc.text(), '']
    for name, t, optional, text in rows(entity):
        what = ''
        if t is not None:
            what = ' (%s%s)' % (md_type(t), ', *optional*' if optional else '')
        out.append('- `%s`%s: %s' % (name, what, text.replace('\n', ' ')))
    for text, t in more(entity):
        out.append('- %s %s' % (text, md_type(t)))
    if out[-1] != '':
        out.append('')
    for name, cond in entity.features:
        text = doc.feature(name).replace('\n', ' ') + only_if(cond)
        out += ['Feature `%s`: %s' % (name, text), '']
    if entity.cond:
        out += ['Only in builds with %s.' % entity.cond.text(), '']
    if isinstance(entity, Command):
        returns = doc.section('Returns')
        if entity.ret:
            out += ['Returns: %s (%s)' % (returns, md_type(entity.ret)), '']
        if doc.section('Errors'):
            out += ['Errors: ' + doc.section('Errors').replace('\n', ' '), '']
        out += ['Example:', '', '```']
        out += ['%s %s' % ('->' if kind == 'send' else '<-', text)
                for kind, text in stanzas[entity.name].example()]
        out += ['```', '']
    out += ['Since: ' + doc.section('Since'), '']


# ---- man

def roff(text):
    text = text.replace('\\', '\\e').replace('-', '\\-')
    text = re.sub(r'`([^`]*)`', r'\\fB\1\\fR', text)
    return '\n'.join('\\&' + line if line[:1] in ".'" else line for line in text.split('\n'))


def man(schema, stanzas):
    out = ['.\\" SPDX-License-Identifier: GPL-2.0-or-later',
           '.\\" Written by scripts/qapi-gen.py from qapi-schema.json and qmp-commands.hx.',
           '.TH QEMU\\-QMP\\-REF 7', '.SH NAME',
           'qemu\\-qmp\\-ref \\- commands, events and types of the monitor protocol',
           '.SH DESCRIPTION',
           'Members marked optional may be left out.  In the replies of examples',
           '\\&... stands for anything.']
    for entity in schema.order:
        if isinstance(entity, Doc):
            first, _, rest = entity.text().partition('\n')
            out.append('.SH ' + roff(first.lstrip('= ').upper()))
            if rest.strip():
                out.append(roff(rest.strip()))
        else:
            man_entity(out, entity, stanzas)
    out += ['.SH SEE ALSO', '.BR qemu\\-storage\\-daemon (1)']
    return '\n'.join(out) + '\n'


def man_entity(out, entity, stanzas):
    doc = entity.info
    out += ['.SS ' + roff(entity.name), '.I ' + KIND[entity.kind], '.PP', roff(doc.text())]
    for name, t, optional, text in rows(entity):
        what = ' (%s%s)' % (type_text(t), ', optional' if optional else '') if t else ''
        out += ['.TP', '.B ' + roff(name) + roff(what), roff(text)]
    for text, t in more(entity):
        out += ['.PP', roff('%s %s.' % (text, t.name))]
    for name, cond in entity.features:
        out += ['.PP', roff('Feature `%s`: %s' % (name, doc.feature(name) + only_if(cond)))]
    if entity.cond:
        out += ['.PP', roff('Only in builds with %s.' % entity.cond.text())]
    if isinstance(entity, Command):
        if entity.ret:
            out += ['.PP', roff('Returns: %s (%s)' % (doc.section('Returns'),
                                                       type_text(entity.ret)))]
        if doc.section('Errors'):
            out += ['.PP', roff('Errors: ' + doc.section('Errors'))]
        out += ['.PP', 'Example:', '.nf', '.RS']
        out += [roff('%s %s' % ('->' if kind == 'send' else '<-', text))
                for kind, text in stanzas[entity.name].example()]
        out += ['.RE', '.fi']
