#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever docs/testing.md answers with the name of a test, there is a test of that name."""

import glob
import os
import re
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
UNIT_PREFIX = re.compile(r'/(aio|command-faults|coroutine|group-crash|group-schedules|group-snapshot|json|monitor|qapi|qcow2|throttle)/')


def read(*parts):
    with open(os.path.join(TOP, *parts)) as f:
        return f.read()


def sources(pattern):
    return {os.path.splitext(os.path.basename(path))[0]: read(path)
            for path in glob.glob(os.path.join(TOP, 'tests', pattern))}


PYTHON = sources('*/*.py')
UNIT = '\n'.join(sources('unit/*.c').values())


def unit_test_exists(path):
    rows = '/command-faults/fails-as-a-whole'
    if path.startswith(rows):
        return '"%s/%%s"' % rows in UNIT and '{ "%s' % path[len(rows) + 1:] in UNIT
    return '"%s"' % path in UNIT


def problem(name):
    """What is wrong with what stands between two backquotes, None: nothing, or it is no test."""
    if UNIT_PREFIX.match(name):
        return None if unit_test_exists(name) else 'no unit test'
    m = re.match(r'^([a-z0-9-]+): (test_\w+)$', name)
    if m:
        return None if 'def %s(' % m[2] in PYTHON.get(m[1], '') else 'no function in a python test'
    m = re.match(r'^(test|fuzz)-([a-z0-9-]+)$', name)
    if m:
        found = glob.glob(os.path.join(TOP, 'tests', '*', name + '.c')) or name in PYTHON
        return None if found else 'no source of that name'
    return None


def main():
    text = read('docs', 'testing.md')
    names = re.findall(r'`([^`\n]+)`', text)
    tests = [n for n in names if re.search(r'^/|: test_|^test-|^fuzz-', n)]
    bad = ['%s: %s' % (n, problem(n)) for n in tests if problem(n)]
    print('%d names' % len(tests))
    if bad or len(tests) < 60:
        sys.exit('\n'.join(bad) or 'docs/testing.md names hardly any test')


main()
