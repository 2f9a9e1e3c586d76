# SPDX-License-Identifier: GPL-2.0-or-later
"""A C file being written."""

from contextlib import contextmanager


class CFile:
    def __init__(self, what, guard=None):
        self.guard = guard
        self.lines = ['/* SPDX-License-Identifier: GPL-2.0-or-later */',
                      '/* %s  Written by scripts/qapi-gen.py; do not edit. */' % what]
        if guard:
            self.lines += ['#ifndef ' + guard, '#define ' + guard, '', '#include "config-host.h"']
        else:
            self.lines += ['#include "qemu/osdep.h"', '', '#include "config-host.h"']

    def __call__(self, line):
        self.lines.append(line)

    @contextmanager
    def only_if(self, cond):
        """The lines that are added meanwhile are compiled only if @cond holds."""
        if not cond:
            yield
            return
        start = len(self.lines)
        yield
        if len(self.lines) > start:
            self.lines.insert(start, '#if ' + cond.c())
            blank = self.lines[-1] == ''
            self.lines.insert(len(self.lines) - blank, '#endif')

    def each(self, parts):
        """Each of @parts; the lines that are added for it are compiled only if it is built."""
        for part in parts:
            with self.only_if(part.cond):
                yield part

    def include(self, *names):
        self.lines += ['#include "%s"' % name for name in names]
        self.lines.append('')

    def text(self):
        lines = self.lines[:]
        while lines[-1] == '':
            lines.pop()
        if self.guard:
            lines += ['', '#endif']
        return '\n'.join(lines) + '\n'


def c_string(text):
    """@text as a C string literal."""
    return '"%s"' % text.replace('\\', '\\\\').replace('"', '\\"')
