#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Whenever qemu-img is killed, what was in the images before can still be read, and a signal that asks it to end is
followed by what remains.  QEMU_IMG names the program under test; the installed one looks at what it leaves.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
ROUNDS = int(os.environ.get('ROUNDS', '12'))


def sh(*args, check=True):
    p = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert not check or p.returncode == 0, (args, p.stdout.decode())
    return p


def content(image):
    with tempfile.NamedTemporaryFile() as f:
        sh('qemu-img', 'convert', '-O', 'raw', image, f.name)
        with open(f.name, 'rb') as raw:
            return hashlib.file_digest(raw, 'sha1').hexdigest()


def is_sound(image):
    """Nothing worse than space that is lost, once what is marked as such has been repaired."""
    found = sh('qemu-img', 'check', image, check=False)
    if found.returncode not in (0, 3):
        repair = sh('qemu-img', 'check', '-r', 'all', image, check=False)
        again = sh('qemu-img', 'check', image, check=False)
        assert again.returncode in (0, 3), (image, found.stdout, repair.stdout, again.stdout)


class Chain:
    """A base, and an image above it with all kinds of clusters; fresh copies for every round."""

    def __init__(self, d):
        self.dir = d
        os.chdir(d)
        sh('qemu-img', 'create', '-q', '-f', 'qcow2', 'base.qcow2', '64M')
        sh('qemu-io', '-c', 'write -P 1 0 20M', 'base.qcow2')
        sh('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'top.qcow2')
        for i in range(0, 60, 3):
            sh('qemu-io', '-c', f'write -P {i + 2} {i}M 1M', '-c', f'write -z {i + 1}M 512k', 'top.qcow2')
        sh('qemu-img', 'create', '-q', '-f', 'qcow2', 'other.qcow2', '64M')
        sh('qemu-io', '-c', 'write -P 77 10M 40M', 'other.qcow2')
        sh('qemu-img', 'snapshot', '-c', 'before', 'top.qcow2')
        self.files = ['base.qcow2', 'top.qcow2', 'other.qcow2']
        for f in self.files:
            shutil.copy(f, f + '.saved')
        self.before = content('top.qcow2')

    def restore(self):
        for f in self.files:
            shutil.copy(f + '.saved', f)


def wait_for_locks(*files):
    """The kernel may close the files of a process that was killed a moment after that has gone."""
    for f in files:
        for _ in range(200):
            if 'lock' not in sh('qemu-img', 'info', f, check=False).stdout.decode():
                break
            time.sleep(0.05)


def run_killed(delay, *args):
    """Was it killed, rather than quicker?"""
    p = subprocess.Popen([os.environ['QEMU_IMG'], *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    time.sleep(delay)
    p.kill()
    return p.wait() == -signal.SIGKILL


def kill_often(chain, look, *args):
    """@look is called after each kill; afterwards the same command succeeds."""
    chain.restore()
    begin = time.time()
    sh(os.environ['QEMU_IMG'], *args)
    takes, killed = time.time() - begin, 0
    for _ in range(ROUNDS):
        chain.restore()
        killed += run_killed(random.uniform(0, takes * 1.2), *args)
        wait_for_locks(*chain.files)
        try:
            look()
        except AssertionError as e:
            raise AssertionError(args) from e
    return killed


def reads_as_before(chain):
    for f in chain.files:
        is_sound(f)
    assert content('top.qcow2') == chain.before


def test_commit(chain):
    kill_often(chain, lambda: reads_as_before(chain), 'commit', 'top.qcow2')
    sh(os.environ['QEMU_IMG'], 'commit', 'top.qcow2')
    assert content('base.qcow2') == chain.before


def test_rebase(chain):
    kill_often(chain, lambda: reads_as_before(chain), 'rebase', '-b', 'other.qcow2', '-F', 'qcow2', 'top.qcow2')
    sh(os.environ['QEMU_IMG'], 'rebase', '-b', 'other.qcow2', '-F', 'qcow2', 'top.qcow2')
    assert content('top.qcow2') == chain.before


def test_amend_and_snapshots(chain):
    for args in (('amend', '-o', 'refcount_bits=64', 'top.qcow2'), ('amend', '-o', 'compat=0.10', 'other.qcow2'),
                 ('snapshot', '-c', 'x', 'top.qcow2'), ('snapshot', '-d', 'before', 'top.qcow2'),
                 ('snapshot', '-a', 'before', 'top.qcow2'), ('resize', 'top.qcow2', '64M'),
                 ('bitmap', '--add', '-g', '512', 'top.qcow2', 'b')):
        kill_often(chain, lambda: reads_as_before(chain), *args)


def test_a_conversion_that_is_told_to_end(chain):
    chain.restore()
    for sig in signal.SIGINT, signal.SIGTERM:
        p = subprocess.Popen([os.environ['QEMU_IMG'], 'convert', '-r', '2M', '-O', 'qcow2', 'top.qcow2', 'new.qcow2'],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(1)
        p.send_signal(signal.SIGUSR1)
        time.sleep(0.5)
        p.send_signal(sig)
        out = p.communicate(timeout=20)[0].decode()
        assert p.returncode == 1 and "'new.qcow2' is incomplete" in out and '/100%)' in out, out
        wait_for_locks('new.qcow2')
        sh('qemu-img', 'check', 'new.qcow2')        # no lock is left, and it is an image
    sh(os.environ['QEMU_IMG'], 'convert', '-O', 'qcow2', 'top.qcow2', 'new.qcow2')
    assert content('new.qcow2') == chain.before


def test_a_new_image_is_complete_or_not_there(chain):
    for _ in range(ROUNDS):
        run_killed(random.uniform(0, 0.01), 'create', '-f', 'qcow2', '-o', 'preallocation=metadata', 'fresh.qcow2', '1G')
        if os.path.exists('fresh.qcow2'):
            wait_for_locks('fresh.qcow2')
            sh('qemu-img', 'check', 'fresh.qcow2')
            os.unlink('fresh.qcow2')
    left = set(os.listdir('.')) - set(chain.files) - {f + '.saved' for f in chain.files} - {'new.qcow2'}
    assert not left, left


def main():
    if not shutil.which('qemu-img') or not shutil.which('qemu-io'):
        print('skipped: the installed qemu-img is not there')
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix='qemu-img-') as d:
        os.environ['QEMU_IMG'] = os.path.abspath(os.environ['QEMU_IMG'])
        chain = Chain(d)
        for name, test in list(globals().items()):
            if name.startswith('test_') and (len(sys.argv) < 2 or name in sys.argv[1:]):
                test(chain)
                print('ok', name, flush=True)
        os.chdir('/')


main()
