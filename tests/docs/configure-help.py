#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What configure --help lists is what it takes, and no option is refused in silence."""

import os
import re
import subprocess
import sys

CONFIGURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../configure')


def run(*args):
    return subprocess.run([CONFIGURE, *args], capture_output=True, text=True, timeout=60)


with open(CONFIGURE) as f:
    taken = set(re.findall(r'^    (-[-\w]+)[=*|)]', f.read(), re.M)) - {'-h'}
listed = set(re.findall(r'^  (-[-\w]+?)(?:OPTION)?[ =]', run('--help').stdout, re.M))
assert listed == taken and len(taken) > 5, (listed ^ taken)
r = run('--nosuch')
assert r.returncode == 2 and "unknown option '--nosuch'" in r.stderr, r
sys.exit(0)
