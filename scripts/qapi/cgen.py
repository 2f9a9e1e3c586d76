# SPDX-License-Identifier: GPL-2.0-or-later
"""A C file being written."""


class CFile:
    def __init__(self, what, guard=None):
        self.guard = guard
        self.lines = ['/* SPDX-License-Identifier: GPL-2.0-or-later */',
                      '/* %s  Written by scripts/qapi-gen.py; do not edit. */' % what]
        if guard:
            self.lines += ['#ifndef ' + guard, '#define ' + guard, '']
        else:
            self.lines += ['#include "qemu/osdep.h"', '']

    def __call__(self, line):
        self.lines.append(line)

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
