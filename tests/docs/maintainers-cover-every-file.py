#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every file of the tree has somebody who looks after it: an F: line of MAINTAINERS matches it."""

import fnmatch
import os
import subprocess
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')

if not os.path.exists(os.path.join(TOP, '.git')):
    print('skipped: not a git checkout')
    sys.exit(77)
with open(os.path.join(TOP, 'MAINTAINERS')) as f:
    patterns = [line.split()[1] for line in f if line.startswith('F: ')]
files = subprocess.check_output(['git', 'ls-files'], cwd=TOP, text=True).splitlines()
assert len(files) > 100
missing = [name for name in files if not any(
    name.startswith(p) if p.endswith('/') else fnmatch.fnmatch(name, p) for p in patterns)]
unused = [p for p in patterns if not any(
    name.startswith(p) if p.endswith('/') else fnmatch.fnmatch(name, p) for name in files)]
for name in missing:
    print('no entry for', name)
for p in unused:
    print('nothing matches', p)
sys.exit(1 if missing or unused else 0)
