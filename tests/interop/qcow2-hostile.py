#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Which damaged images are opened: the same ones that the installed QEMU opens, but for differences that are
explained below.  And what is legal, QEMU opens as well.

usage: qcow2-hostile.py PATH-OF-test-qcow2-hostile

$INTEROP_FULL: all images, not a sample.
"""
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

# A part of the name of a damage (a regular expression), who refuses it, and why the other does not.
EXPLAINED = [
    (r'header\.(backing_file_|incompatible)|extension\.(backing_format|data_file|end\.type|added|features)', 'we',
     'names and extensions that make no sense are refused even if the user gives another backing file; '
     'QEMU looks at them when it needs them'),
    (r'header\.l1_table_offset|header\.refcount_table_offset', 'we',
     'a table outside of the file is refused at opening; QEMU fails at the first request, or only when '
     'it writes'),
    (r'header\.(nb_snapshots|snapshots_offset)|snapshot\.l1_', 'we',
     'a table of snapshots that makes no sense is refused; QEMU opens what qemu-img check could repair'),
    (r'extension\.(end|added)', 'they',
     'the end of the extensions has no length; QEMU wants it to fit into the cluster'),
    (r'extension\.features\.type', 'they',
     'an extension for encryption means nothing in an image that is not encrypted'),
    (r'header\.snapshots_offset', 'they',
     'without snapshots nobody looks there; QEMU wants it aligned all the same'),
    (r'header\.autoclear_features', 'they',
     'the promise that a data file is raw means nothing without a data file, and is taken back by '
     'the first change'),
    (r'extension\.bitmaps|bitmap', 'they',
     'bitmaps are kept and not used: the disk can be read without them, and the first change '
     'declares them void'),
    (r'extension\.data_file', 'they',
     'the test names the data file, and what the image says about it is not used'),
]


EARLY = re.compile(r'header|extension|snapshot|bitmap')


def theirs_opens(d, number):
    options = {'driver': 'qcow2', 'read-only': True, 'backing': None,
               'file': {'driver': 'file', 'filename': os.path.join(d, number), 'locking': 'off'}}
    p = subprocess.run(['qemu-io', '-r', '-c', 'length', 'json:' + json.dumps(options)],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=d, timeout=120)
    return p.returncode == 0, p.stdout.decode(errors='replace').strip()


def explained(name, ours):
    who = 'they' if ours else 'we'
    return any(who == refuses and re.search(pattern, name) for pattern, refuses, _ in EXPLAINED)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    if not shutil.which('qemu-io'):
        print('skipped: qemu-io is not installed')
        sys.exit(77)
    everything = bool(os.environ.get('INTEROP_FULL'))
    bad = []
    with tempfile.TemporaryDirectory(prefix='qcow2-hostile-') as d:
        more = ['-m', 'thorough', '-p', '/qcow2/hostile/legal-values-are-accepted',
                '-p', '/qcow2/hostile/damaged-fields-do-no-harm'] if everything else []
        p = subprocess.run([sys.argv[1], *more], env={**os.environ, 'QCOW2_HOSTILE_DIR': d},
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode:
            sys.exit(p.stdout.decode())
        with open(os.path.join(d, 'data'), 'wb') as f:      # what some name as their data file
            f.truncate(1024 * 1024)
        with open(os.path.join(d, 'list')) as f:
            images = [line.rstrip('\n').split(' ', 3) for line in f]
        # One damage each; of tables that are not looked at at opening only a few.
        images = [i for n, i in enumerate(images) if i[3].count('=') < 2 and
                  (everything or i[2] == '1' or n % (12 if EARLY.search(i[3]) else 60) == 0)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            results = pool.map(lambda i: theirs_opens(d, i[0]), images)
            for (_, opened, legal, name), (theirs, text) in zip(images, results):
                ours = opened == '1'
                if (legal == '1' and not theirs) or (ours != theirs and not explained(name, ours)):
                    bad.append(f'{name}: {"we open it" if ours else "we refuse it"}, QEMU says {text!r}')
    print(len(images), 'images compared')
    if bad:
        sys.exit('\n'.join(bad))


main()
