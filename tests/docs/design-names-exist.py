#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Functions and files that the documents name are there: `name()` is called or defined in some source, and a path with
a folder leads to a file or folder of the tree.  In names of generated functions T and X stand for a type's."""
import glob
import os
import re
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
DOCS = glob.glob(os.path.join(TOP, 'docs/design/*.md')) + [
    os.path.join(TOP, name) for name in ('README.md', 'CONTRIBUTING.md')]
# Of the C library, the kernel, and of other programs.
FOREIGN = {'assert', 'bind', 'close', 'connect', 'fsync', 'listen', 'malloc', 'open', 'poll', 'read',
           'stat', 'statx', 'write', 'accept', 'fdatasync', 'linkat', 'io_uring_enter', 'fork'}


def sources():
    for folder, folders, names in os.walk(TOP):
        folders[:] = [f for f in folders if not f.startswith(('build', '.'))]
        for name in names:
            if name.endswith(('.c', '.h', '.py')):
                with open(os.path.join(folder, name), encoding='utf-8', errors='replace') as f:
                    yield f.read()


def main():
    known = set(re.findall(r'\b(\w+)\(', '\n'.join(sources()))) | FOREIGN
    wrong = []
    for path in DOCS:
        with open(path, encoding='utf-8') as f:
            text = re.sub(r'```.*?```', '', f.read(), flags=re.S)
        where = os.path.relpath(path, TOP)
        for name in re.findall(r'`(\w+)\(', text):
            if name not in known and not name.startswith('T_') and not name.endswith('_X'):
                wrong.append('%s: there is no %s()' % (where, name))
        for name in re.findall(r'`((?:block|blockdev|docs|include|monitor|nbd|qapi|qobject|scripts|tests|'
                               r'tools|util)/[\w./-]*)`', text):
            if not any(glob.glob(os.path.join(TOP, folder, name + '*')) for folder in ('', 'include')):
                wrong.append('%s: there is no %s' % (where, name))
    for line in wrong:
        print(line)
    assert len(known) > 2000
    return 1 if wrong else 0


sys.exit(main())
