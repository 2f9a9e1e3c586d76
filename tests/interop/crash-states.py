#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""After a power cut at any moment, the installed qemu-img finds an image to be consistent, too: it may
have leaks, but no errors. Images that may be marked as dirty it repairs, as whoever opens them for writing does.

usage: crash-states.py TEST [ARGUMENT...]     a program that leaves states in $CRASH_DIR

$INTEROP_FULL: all of them, not SAMPLE.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

LEAKS_ONLY = 3
SAMPLE = 120


def check(path):
    image = {'driver': 'qcow2', 'backing': None, 'file': {'driver': 'file', 'filename': path}}
    # With lazy refcounts these may be anything; amid an operation on snapshots flags do not fit them.
    if os.path.basename(path).startswith(('lazy', 'snapshots')):
        subprocess.run(['qemu-img', 'check', '-r', 'all', 'json:' + json.dumps(image)],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    p = subprocess.run(['qemu-img', 'check', '-U', 'json:' + json.dumps(image)],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode not in (0, LEAKS_ONLY):
        sys.exit(f'{os.path.basename(path)}: exit status {p.returncode}\n{p.stdout.decode()}')


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    if not shutil.which('qemu-img'):
        print('skipped: qemu-img is not installed')
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix='crash-states-') as d:
        p = subprocess.run(sys.argv[1:], env={**os.environ, 'CRASH_DIR': d},
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode:
            sys.exit(p.stdout.decode())
        states = sorted(os.listdir(d))
        checked = states if os.environ.get('INTEROP_FULL') else states[::len(states) // SAMPLE + 1]
        for name in checked:
            check(os.path.join(d, name))
    print(len(checked), 'of', len(states), 'states')
    if len(checked) < 50:
        sys.exit('too few states to tell')


main()
