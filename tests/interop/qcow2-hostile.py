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

# Who refuses it, fields (a regular expression), what the refusal says (another), and why the other does not.
EXPLAINED = [
    ('we', r'backing_file|header\.header_length|extension\.(backing_format|end\.type|added)',
     r'backing file name has a zero byte|Invalid backing file offset|Backing file name too long|'
     r'backing format has a zero byte',
     'names that make no sense are refused even if the user gives another backing file; QEMU looks at them '
     'when it needs them'),
    ('we', r'extension\.\w+(\.type|\.length)? ', r'data file name has (a zero byte|\d+ bytes)',
     'the same of the name of a data file'),
    ('we', r'header\.(incompatible_features|version)', r'a data file was given, but it has none',
     'what is given and cannot be used is refused; QEMU does not look at it'),
    ('we', r'header\.(l1|refcount)_table_offset', r'(L1|Reference count) table offset invalid',
     'a table outside of the file is refused at opening; QEMU fails at the first request, or only when it writes'),
    ('we', r'header\.(nb_snapshots|snapshots_offset)|snapshot\.l1_',
     r'[Ss]napshot table offset invalid|entry \d+ of its snapshot table is invalid',
     'a table of snapshots that makes no sense is refused; QEMU opens what qemu-img check could repair'),
    ('they', r'extension\.(end\.length|added)', r'Header extension too large',
     'the end of the extensions has no length; QEMU wants it to fit into the cluster'),
    ('they', r'extension\.(\w+\.type|added)', r'CRYPTO header extension only expected with LUKS',
     'an extension for encryption means nothing in an image that is not encrypted'),
    ('they', r'header\.snapshots_offset', r'Snapshot table offset invalid',
     'without snapshots nobody looks there; QEMU wants it aligned all the same'),
    ('they', r'header\.autoclear_features', r'data-file-raw requires a data file',
     'the promise that a data file is raw means nothing without a data file, and is taken back by '
     'the first change'),
    ('they', r'bitmap|extension\.(\w+\.type|bitmaps)|header\.size', r'[Bb]itmap',
     'bitmaps are kept and not used: the disk can be read without them, and the first change '
     'declares them void'),
    ('they', r'extension\.data_file|header\.header_length',
     r"Could not open '|'data-file' is required|driver requires a file name",
     'the test names the data file, and what the image says about it is not used'),
]


EARLY = re.compile(r'header|extension|snapshot|bitmap')


def theirs_opens(d, number):
    options = {'driver': 'qcow2', 'read-only': True, 'backing': None,
               'file': {'driver': 'file', 'filename': os.path.join(d, number), 'locking': 'off'}}
    p = subprocess.run(['qemu-io', '-r', '-c', 'length', 'json:' + json.dumps(options)],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=d, timeout=120)
    return p.returncode == 0, p.stdout.decode(errors='replace').strip()


def explained(name, ours, refusal):
    who = 'they' if ours else 'we'
    return any(who == w and re.search(field, name) and re.search(text, refusal)
               for w, field, text, _ in EXPLAINED)


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
        images = [(*i[:3], *i[3].split('\t')) for i in images]
        # One damage each; of tables that are not looked at at opening only a few.
        images = [i for n, i in enumerate(images) if i[3].count('=') < 2 and
                  (everything or i[2] == '1' or n % (12 if EARLY.search(i[3]) else 60) == 0)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            results = pool.map(lambda i: theirs_opens(d, i[0]), images)
            for (_, opened, legal, name, refusal), (theirs, text) in zip(images, results):
                ours = opened == '1'
                why = text if ours else refusal
                if (legal == '1' and not theirs) or (ours != theirs and not explained(name, ours, why)):
                    bad.append(f'{name}: {"we open it" if ours else "we refuse it: " + refusal}, QEMU says {text!r}')
    print(len(images), 'images compared')
    if bad:
        sys.exit('\n'.join(bad))


main()
