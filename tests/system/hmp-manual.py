#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual page of the monitor for people has the commands that there are, with their arguments, and no others."""

import os
import re

from emulator import terminal
from rig import main

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../docs/man/qemu-hmp-ref.7')


def head(line):
    """The command and its arguments; some repeat the name there."""
    words = line.split(' -- ')[0].split()
    name = words[:2] if words[0] == 'info' and not line.startswith('info [') else words[:1]
    args = words[len(name):]
    return ' '.join(name + (args[1:] if args[:1] == name[:1] else args))


def test_manual():
    lines = terminal(['help', 'info', 'quit']).split('\n')
    there = sorted(head(line) for line in lines if ' -- ' in line)
    with open(PAGE) as f:
        page = f.read()
    page = page[page.index('\n.SH COMMANDS'):page.index('\n.SH SEE ALSO')].replace('\\-', '-').replace('\\(dq', '"')
    told = sorted((m.group(1) + (m.group(2) or '')).strip()
                  for m in re.finditer(r'^\.TP\n\.BI? "(.*?)"(?: "(.*)")?$', page, re.M))
    assert there == told, (set(there) ^ set(told))
    for line in lines:
        assert len(line.split(' -- ')) <= 2, line


if __name__ == '__main__':
    main(globals())
