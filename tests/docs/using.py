#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
using.py PAGE

The page, docs/using.md for one, is true: its commands are run in one shell, in order, and what they print is compared.

```sh blocks are run, and an ```output block after one is what it prints, where "..." stands for anything
within a line.  ```console blocks are not: they install.  "<!-- needs: root, loop, postgres -->" leaves the
next block out where that is missing.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, '..', '..')
sys.path.insert(0, os.path.join(HERE, '../qmp'))
from rig import QSD, requires, skip                                    # noqa: E402

TIMEOUT = 240
NEEDS = {
    'root': lambda: os.geteuid() == 0,
    'loop': lambda: os.path.exists('/dev/loop-control') and can_mount(),
    'postgres': lambda: shutil.which('pgbench') and shutil.which('runuser') and
    os.path.isdir('/usr/lib/postgresql'),
}


def can_mount():
    with tempfile.TemporaryDirectory() as d:
        image, where = os.path.join(d, 'image'), os.path.join(d, 'mnt')
        os.mkdir(where)
        script = 'truncate -s 1M "$0" && mkfs.ext4 -q -F "$0" && mount -o loop "$0" "$1" && umount "$1"'
        return subprocess.run(['sh', '-c', script, image, where], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0


def blocks(text):
    """(what it needs, commands, expected output or None) of each block that is to be run."""
    found = []
    for m in re.finditer(r'(?:^<!-- needs: (.*?) -->\n)?^```(\w*)\n(.*?)^```$', text, re.M | re.S):
        needs, kind, body = m.groups()
        if kind == 'sh':
            found.append([needs.split(', ') if needs else [], body, None])
        elif kind == 'output':
            assert found[-1][2] is None, body
            found[-1][2] = body
        else:
            assert kind == 'console', 'a block of another kind: ```%s\n%s' % (kind, body)
    return found


def pattern(expected):
    return re.escape(expected).replace(re.escape('...'), '[^\n]*')


def run(directory, chosen):
    """All in one shell, the output of each block in a file of its own."""
    script = ['set -e', 'set -o pipefail']
    for n, (_, commands, _) in enumerate(chosen):
        script.append('echo %d > at\n{\n%s} > out.%d 2>err.%d' % (n, commands, n, n))
    os.mkdir(os.path.join(directory, 'bin'))
    for program in 'qemu-storage-daemon', 'qemu-img', 'qemu-io', 'qemu-nbd':
        os.symlink(os.path.join(os.path.dirname(QSD), program), os.path.join(directory, 'bin', program))
    work = os.path.join(directory, 'work')
    os.mkdir(work)
    os.symlink(os.path.abspath(os.path.join(TOP, 'scripts')), os.path.join(work, 'scripts'))
    path = os.path.join(directory, 'bin') + ':' + os.environ['PATH'] + ':/sbin:/usr/sbin'
    shell = subprocess.Popen(['bash', '-c', '\n'.join(script)], cwd=work, stdin=subprocess.DEVNULL,
                             env=dict(os.environ, PATH=path), start_new_session=True)
    try:
        status = shell.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        status = 'timeout'
    return work, status


def text_of(work, name):
    path = os.path.join(work, name)
    if not os.path.exists(path):
        return ''
    with open(path, errors='replace') as f:
        return f.read()


def check(work, status, chosen):
    problems = []
    at = int(text_of(work, 'at'))
    for n, (_, commands, expected) in enumerate(chosen[:at + 1]):
        out = text_of(work, 'out.%d' % n)
        if n == at and status != 0:
            problems.append('%s:\n%s\n%s%s' % (status, commands, out, text_of(work, 'err.%d' % n)))
        elif not re.fullmatch(pattern(expected or ''), out):
            problems.append('%s\nprints\n%s\nnot\n%s' % (commands, out, expected))
    return problems


def tidy(directory, work):
    """Ends what a failed run has left, by its pid files, and unmounts."""
    for name in sorted(os.listdir(work)):
        if name.endswith(('.pid', '.fuse')):
            try:
                os.kill(int(text_of(work, name)), signal.SIGTERM)
            except (ValueError, ProcessLookupError):
                pass
    with open('/proc/self/mounts') as f:
        mounts = [line.split()[1] for line in f]
    for where in reversed([m for m in mounts if m.startswith(directory + '/')]):
        subprocess.call(['umount', '-l', where])


def main():
    requires('qemu-img', 'qemu-io', 'nbdinfo', 'nbdcopy', 'nbdfuse', 'qemu-system-x86_64', 'mkfs.ext4', 'bash')
    if not os.path.exists('/dev/fuse'):
        skip('there is no /dev/fuse')
    with open(sys.argv[1], encoding='utf-8') as f:
        everything = blocks(f.read())
    there = {name for name, test in NEEDS.items() if test()}
    chosen = [b for b in everything if set(b[0]) <= there]
    for needs in sorted({', '.join(set(b[0]) - there) for b in everything} - {''}):
        print('left out: what needs', needs)
    directory = tempfile.mkdtemp(prefix='using-')
    os.chmod(directory, 0o755)
    work, status = run(directory, chosen)
    problems = check(work, status, chosen)
    if problems:
        tidy(directory, work)
        sys.exit('%s\nfiles are left in %s' % ('\n\n'.join(problems), directory))
    print('%d blocks of commands were run' % len(chosen))
    shutil.rmtree(directory)


main()
