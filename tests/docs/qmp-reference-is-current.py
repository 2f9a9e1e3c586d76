#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual in docs/ says what qapi-schema.json and qmp-commands.hx say."""

import filecmp
import os
import subprocess
import sys
import tempfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')


def main():
    with tempfile.TemporaryDirectory() as made:
        subprocess.run([sys.executable, os.path.join(TOP, 'scripts', 'qapi-gen.py'), '--docs', made,
                        os.path.join(TOP, 'qapi-schema.json'),
                        os.path.join(TOP, 'qmp-commands.hx')], check=True)
        old = [name for name in ('qmp-reference.md', 'man/qemu-qmp-ref.7')
               if not filecmp.cmp(os.path.join(TOP, 'docs', name), os.path.join(made, name),
                                  shallow=False)]
    if old:
        sys.exit('out of date: docs/%s; run scripts/qapi-gen.py --docs docs qapi-schema.json '
                 'qmp-commands.hx' % ', docs/'.join(old))


if __name__ == '__main__':
    main()
