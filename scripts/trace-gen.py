#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Makes trace-events.h and trace-events.c out of the table util/trace-events.

    trace-gen.py TABLE HEADER SOURCE
"""
import re
import sys

# type -> C type, conversion, C expression of an argument that is printed
TYPES = {
    's': ('const char *', '%s', '{0} ?: "(null)"'),
    'b': ('bool ', '%s', '{0} ? "true" : "false"'),
    'i': ('int ', '%d', '{0}'),
    'd': ('int64_t ', '%" PRId64 "', '{0}'),
    'u': ('uint64_t ', '%" PRIu64 "', '{0}'),
    'x': ('uint64_t ', '0x%" PRIx64 "', '{0}'),
    'p': ('const void *', '%p', '{0}'),
}
NOTE = '/* Made by scripts/trace-gen.py; do not edit. */\n'


class Event:
    def __init__(self, name, args):
        self.name, self.args, self.help = name, args, ''

    def params(self):
        return ', '.join(TYPES[t][0] + n for n, t in self.args)

    def names(self):
        return ', '.join(n for n, t in self.args)


def parse(path):
    events = []
    with open(path, encoding='utf-8') as f:
        for number, line in enumerate(f, 1):
            def fail(why):
                sys.exit('%s:%d: %s' % (path, number, why))
            if line.startswith('#') or not line.strip():
                continue
            if line[0].isspace():
                if not events:
                    fail('a description of nothing')
                events[-1].help = (events[-1].help + ' ' + line.strip()).strip()
                continue
            name, *args = line.split()
            pairs = [tuple(a.split(':')) for a in args]
            if not re.fullmatch('[a-z][a-z0-9_]*', name):
                fail("'%s' is no name" % name)
            if any(e.name == name for e in events):
                fail("'%s' is there twice" % name)
            for p in pairs:
                if len(p) != 2 or p[1] not in TYPES:
                    fail("'%s' is not NAME:TYPE with a type of %s" % (':'.join(p), ' '.join(TYPES)))
            events.append(Event(name, pairs))
    for e in events:
        if not e.help:
            sys.exit("%s: '%s' has no description" % (path, e.name))
    return events


def header(events):
    out = [NOTE, '#ifndef UTIL_TRACE_EVENTS_H', '#define UTIL_TRACE_EVENTS_H', '', 'enum TraceId {']
    out += ['    TRACE_%s,' % e.name.upper() for e in events]
    out += ['    TRACE__MAX,', '};', '', 'extern bool trace_on[TRACE__MAX];', '']
    for e in events:
        probe = ', '.join([e.name] + [n for n, t in e.args])
        out += ['void any_fn trace_put_%s(%s);' % (e.name, e.params()),
                'static inline void any_fn trace_%s(%s)' % (e.name, e.params()), '{',
                '    TRACE_PROBE%d(%s);' % (len(e.args), probe),
                '    if (trace_enabled(%s)) {' % e.name.upper(),
                '        trace_put_%s(%s);' % (e.name, e.names()), '    }', '}', '']
    return '\n'.join(out + ['#endif', ''])


def quote(text):
    return '"%s"' % text.replace('\\', '\\\\').replace('"', '\\"')


def source(events):
    out = [NOTE, '#include "qemu/osdep.h"', '', '#include "qemu/trace.h"', '',
           'bool trace_on[TRACE__MAX];', '', 'const TraceEvent trace_events[TRACE__MAX + 1] = {']
    for e in events:
        text = ' '.join('%s:%s' % a for a in e.args)
        out.append('    { "%s", %s, %s },' % (e.name, quote(text), quote(e.help)))
    out += ['};', '']
    for e in events:
        text = ''.join(' %s=%s' % (n, TYPES[t][1]) for n, t in e.args)
        values = ''.join(', ' + TYPES[t][2].format(n) for n, t in e.args)
        out += ['void any_fn trace_put_%s(%s)' % (e.name, e.params()), '{',
                '    trace_line("%s%s"%s);' % (e.name, text, values), '}', '']
    return '\n'.join(out)


def main(table, header_path, source_path):
    events = parse(table)
    for path, text in ((header_path, header(events)), (source_path, source(events))):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)


main(*sys.argv[1:])
