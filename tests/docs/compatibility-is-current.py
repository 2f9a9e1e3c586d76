#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
docs/compatibility.md is what scripts/compatibility makes of this daemon and of the names that QEMU's has;
these are what the installed one has, if that is there in the version that they are of; and the manual page
names the options that QEMU's daemon has not.
"""

import difflib
import os
import re
import subprocess
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
sys.path.insert(0, os.path.join(TOP, 'tests', 'qmp'))
from reference import NotThere, reference_program                      # noqa: E402
from rig import QSD                                                    # noqa: E402


def made(what, daemon):
    return subprocess.run([sys.executable, os.path.join(TOP, 'scripts', 'compatibility'), what, daemon],
                          check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout


def compare(name, new):
    with open(os.path.join(TOP, 'docs', name)) as f:
        old = f.read()
    return ''.join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), 'docs/' + name, 'now'))


def options_here_only():
    with open(os.path.join(TOP, 'docs', 'compatibility.md')) as f:
        text = f.read().partition('## Here only')[2]
    return set(re.findall('`(--[a-z-]+)`', text))


def options_that_the_manual_calls_ours():
    with open(os.path.join(TOP, 'docs', 'man', 'qemu-storage-daemon.1')) as f:
        text = f.read().replace('\\-', '-').partition('does not have are')[2].partition('.SH')[0]
    return set(re.findall('--[a-z-]+', text))


def main():
    ours = options_here_only()
    assert ours and ours == options_that_the_manual_calls_ours(), (
        ours ^ options_that_the_manual_calls_ours())
    diff = compare('compatibility.md', made('doc', QSD))
    if diff:
        sys.exit('docs/compatibility.md is out of date: make compatibility\n' + diff)
    with open(os.path.join(TOP, 'docs', 'qemu-interface.txt')) as f:
        names = f.read()
    version = names.splitlines()[0].lstrip('# ')
    try:
        program, said = reference_program('qemu-storage-daemon')
    except NotThere as e:
        print('the names of QEMU are not compared:', e)
        return
    if not said.startswith(version):
        print('the names of QEMU are not compared: they are of %s, not of %s' % (version, said))
        return
    diff = compare('qemu-interface.txt', made('facts', program))
    if diff:
        sys.exit('docs/qemu-interface.txt is not what scripts/compatibility facts makes\n' + diff)


main()
