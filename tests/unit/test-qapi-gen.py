#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The generator refuses a schema with a mistake, and says where it is.  Each case is a schema and a
part of the message.
"""

import os
import subprocess
import sys
import tempfile

GENERATOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'scripts',
                         'qapi-gen.py')


def doc(name, *members):
    return '##\n# @%s:\n#\n# Text.\n#\n%s#\n# Since: 0.1\n##\n' % (
        name, ''.join('# @%s: text\n' % m for m in members))


CASES = [
    ("{ 'struct': 'S', 'data': {} }", 'has no doc comment'),
    (doc('T') + "{ 'struct': 'S', 'data': {} }", 'has no doc comment of its own'),
    (doc('S') + "{ 'struct': 'S', 'data': { 'a': 'int' } }", '@a is not documented'),
    (doc('S', 'a', 'b') + "{ 'struct': 'S', 'data': { 'a': 'int' } }", 'S has no @b'),
    (doc('S', 'a') + "{ 'struct': 'S', 'data': { 'a': 'nosuch' } }", "unknown type 'nosuch'"),
    (doc('S', 'A') + "{ 'struct': 'S', 'data': { 'A': 'int' } }", "bad member name 'A'"),
    (doc('S') + "{ 'struct': 'S', 'data': {}, 'x': 'y' }", 'unknown x'),
    (doc('S') + "{ 'struct': 'S', 'data': {} }" + doc('S') + "{ 'struct': 'S', 'data': {} }",
     'defined twice'),
    (doc('S', 'a') + "{ 'struct': 'S', 'data': { 'a': 'int', 'a': 'int' } }", "duplicate 'a'"),
    (doc('E', 'a') + "{ 'enum': 'E', 'data': [ 'a', 'a' ] }", 'has a value twice'),
    (doc('S') + "{ 'struct': 'S', 'data': { }", "expected ','"),
    (doc('S') + "{ 'struct': 'S', 'data': ? }", "stray '?'"),
    ("##\n# @S:\n", 'without #'),
    ("##\n# @S:", 'does not end'),
    (doc('A', 'a', 'b') + "{ 'alternate': 'A', 'data': { 'a': 'int', 'b': 'size' } }",
     'cannot be told apart'),
    (doc('U') + "{ 'union': 'U', 'base': {}, 'discriminator': 'd', 'data': {} }",
     'bad discriminator'),
    (doc('c') + "{ 'command': 'c' }", 'no stanza for c'),
]


def main():
    failed = 0
    for schema, part in CASES:
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, 'schema.json')
            with open(path, 'w', encoding='utf-8') as f:
                f.write(schema + '\n')
            hx = os.path.join(d, 'hx')
            open(hx, 'w', encoding='utf-8').close()
            run = subprocess.run([sys.executable, GENERATOR, '-o', os.path.join(d, 'out'), path,
                                  hx], capture_output=True, text=True, check=False)
            if run.returncode == 0 or part not in run.stderr or 'Traceback' in run.stderr:
                failed += 1
                print('FAILED: %r in\n%s\nwas answered by\n%s' % (part, schema, run.stderr))
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
