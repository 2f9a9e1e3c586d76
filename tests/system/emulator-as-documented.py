#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the README and the manual page show of the emulator by hand happens."""

import os
import re
import subprocess

from emulator import Folder
from rig import main
from vm import BUILD, IMG

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')


def run(script):
    r = subprocess.run(['bash', '-e', '-o', 'pipefail', '-c', script], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=60, env=dict(os.environ, PATH=BUILD + ':' + os.environ['PATH'], QEMU_INNER='off'))
    assert r.returncode == 0 and 'rror' not in r.stdout + r.stderr, r
    return r.stdout


def test_the_readme():
    with open(os.path.join(TOP, 'README.md'), encoding='utf-8') as f:
        section = f.read().partition('\n## With libvirt\n')[2].partition('\n## ')[0]
    script = re.search(r'^```sh\n(.*?)^```', section, re.M | re.S)[1]
    with Folder():
        said = run(script)
        assert 'data-1.qcow2' in said and 'before' in run('qemu-img snapshot -l wal.qcow2'), said
        subprocess.run([IMG, 'check', '-q', 'data-1.qcow2'], check=True)


def test_the_manual_page():
    with open(os.path.join(TOP, 'docs/man/qemu-system-x86_64.1'), encoding='utf-8') as f:
        text = f.read()
    lines = re.search(r'^\.nf\n(.*?)^\.fi', text, re.M | re.S)[1].replace('\\-', '-').replace('\\\\', '\\')
    commands, _, requests = lines.partition('{ "execute"')
    with Folder():
        said = run(commands.rstrip() + ' <<EOF\n{ "execute"' + requests + 'EOF\n')
        assert said.count('"return"') == 3 and os.path.exists('a1.qcow2') and os.path.exists('b1.qcow2'), said


if __name__ == '__main__':
    main(globals())
