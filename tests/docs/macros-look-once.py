#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What other threads change is looked at once: MIN, MAX and CLAMP evaluate what they choose a second time, and by then
it may be another value: a request that is longer than its buffer, a division by zero."""
import glob
import os
import re
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
CHANGES = re.compile(r'bdrv_length\(|blk_length\(|__atomic_load|hbitmap_count\(|bdrv_copy_(done|remaining)\(')


def arguments(text, start):
    """What is between the parenthesis before @start and its partner."""
    depth, i = 1, start
    while depth:
        depth += {'(': 1, ')': -1}.get(text[i], 0)
        i += 1
    return text[start:i - 1]


found = n = 0
for folder in 'block', 'blockdev', 'include', 'monitor', 'nbd', 'qobject', 'tools', 'util':
    for path in glob.glob(os.path.join(TOP, folder, '**/*.[ch]'), recursive=True):
        with open(path, encoding='utf-8') as f:
            text = f.read()
        for m in re.finditer(r'\b(MIN|MAX|CLAMP)\(', text):
            n += 1
            if CHANGES.search(arguments(text, m.end())):
                print('%s:%d' % (os.path.relpath(path, TOP), text[:m.start()].count('\n') + 1))
                found += 1
assert n > 100, n
sys.exit(1 if found else 0)
