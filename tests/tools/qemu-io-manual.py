#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual page of qemu-io and its help have the same commands, with the same letters."""

import os
import re

from qemuio import HERE, Images, main


def manual():
    with open(os.path.join(HERE, '../../docs/man/qemu-io.1')) as f:
        text = f.read().replace('\\-', '-')
    return re.sub(r'\\f.', '', text)


def entries(section):
    """The line after each .TP or .TQ of a section, without markup."""
    text = re.search(r'^\.SH %s\n(.*?)(?=^\.SH|\Z)' % section, manual(), re.M | re.S).group(1)
    return [re.sub(r'^\.[A-Z]+ ', '', line).replace('"', '')
            for line in re.findall(r'^\.T[PQ].*\n(.*)$', text, re.M)]


def test_commands_of_the_help_and_of_the_manual_are_the_same():
    with Images() as d:
        listed = {}
        for line in d.ok(None, 'help').split('\n'):
            if ' -- ' in line and not line.startswith('zone_'):
                usage = line[:line.index('-- ')].split(None, 1)
                listed[usage[0]] = usage[1].strip() if len(usage) > 1 else ''
        described = {}
        for line in entries('COMMANDS'):
            usage = line.split(None, 1)
            described[usage[0]] = usage[1].strip() if len(usage) > 1 else ''
        assert listed == described, set(listed.items()) ^ set(described.items())


def test_the_version_is_said():
    with Images() as d:
        for option in ('-V', '--version'):
            out, err, status = d.start([option])
            assert re.match(r'qemu-io version \d+\.\d+', out) and (err, status) == ('', 0), out


if __name__ == '__main__':
    main(globals())
