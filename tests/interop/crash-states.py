#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""After a power cut at any moment, the installed qemu-img finds an image to be consistent, too: it may
have leaks, but no errors.

usage: qcow2-crash-states.py PATH-OF-test-qcow2-crash
"""
import os
import shutil
import subprocess
import sys
import tempfile

LEAKS_ONLY = 3


def check(path):
    p = subprocess.run(['qemu-img', 'check', '-f', 'qcow2', '-U', path], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT)
    if p.returncode not in (0, LEAKS_ONLY):
        sys.exit(f'{os.path.basename(path)}: exit status {p.returncode}\n{p.stdout.decode()}')


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    if not shutil.which('qemu-img'):
        print('skipped: qemu-img is not installed')
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix='qcow2-crash-') as d:
        p = subprocess.run([sys.argv[1]], env={**os.environ, 'QCOW2_CRASH_DIR': d},
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode:
            sys.exit(p.stdout.decode())
        states = sorted(os.listdir(d))
        # What the overlays among them name; its content does not matter here.
        with open(os.path.join(d, 'base'), 'wb') as f:
            f.truncate(1024 * 1024)
        for name in states:
            check(os.path.join(d, name))
    print(len(states), 'states')
    if len(states) < 50:
        sys.exit('too few states to tell')


main()
