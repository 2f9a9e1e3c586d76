#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots inside of images that are made, gone back to and deleted here and by the installed qemu-img by turns, and
images that are amended by turns: both find them in order, and both read the same.

usage: qcow2-snapshots-both-ways.py PATH-OF-qcow2-tool
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

TOOL = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else None
SIZE = 8 << 20


def run(*cmd, status=0):
    end = time.monotonic() + 10
    while True:
        p = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # The kernel lets go of the files of an io_uring a moment after the process has ended, on a
        # busy machine; ours waits for that when it opens an image, the installed one does not.
        if b'Failed to get' not in p.stdout or time.monotonic() > end:
            break
        time.sleep(0.02)
    if p.returncode != status:
        sys.exit(f'{" ".join(cmd)}: exit status {p.returncode}\n{p.stdout.decode()}')
    return p.stdout


def ours(*args, status=0):
    return run(TOOL, *args, status=status)


class Image:
    def __init__(self, *options, base=None):
        self.path = 'image.qcow2'
        if os.path.exists(self.path):
            os.unlink(self.path)
        run('qemu-img', 'create', '-q', '-f', 'qcow2', *(['-o', ','.join(options)] if options else []),
            *(['-b', base, '-F', 'qcow2'] if base else []), self.path, str(SIZE))
        self.kept = {}

    def write(self, *steps):
        ours('edit', self.path, *steps)

    def read(self, *snapshot):
        return ours('read', self.path, *snapshot)

    def keep(self, name, by_us):
        self.kept[name] = self.read()
        if by_us:
            ours('snapshot', self.path, 'create', name)
        else:
            run('qemu-img', 'snapshot', '-c', name, self.path)

    def go_back(self, name, by_us):
        if by_us:
            ours('snapshot', self.path, 'apply', name)
        else:
            run('qemu-img', 'snapshot', '-a', name, self.path)
        assert self.read() == self.kept[name], name

    def forget(self, name, by_us):
        if by_us:
            ours('snapshot', self.path, 'delete', name)
        else:
            run('qemu-img', 'snapshot', '-d', name, self.path)
        del self.kept[name]

    def judge(self, what):
        run('qemu-img', 'check', '-q', self.path)
        found = ours('check', self.path).split()
        assert found[:2] == [b'0', b'0'], (what, found)
        listed = [line.split()[1].decode() for line in ours('snapshot', self.path, 'list').splitlines()]
        theirs = [line.split()[1].decode() for line in run('qemu-img', 'snapshot', '-l', self.path).splitlines()[2:]]
        assert listed == theirs == list(self.kept), (what, listed, theirs)
        for name, content in self.kept.items():
            assert self.read(name) == content, (what, name)
            run('qemu-img', 'convert', '-l', name, '-O', 'raw', self.path, 'raw')
            with open('raw', 'rb') as f:
                assert f.read() == content, (what, name)


def snapshots(*options):
    i = Image(*options)
    i.write('w:0:1000000:1', 'c:2097152:524288:2', 'w:4194304:131072:3')
    for by_us in True, False:
        a, b = ('a', 'b') if by_us else ('c', 'd')
        for step in (lambda: i.keep(a, by_us), lambda: i.write('w:0:70000:9', 'c:2097152:65536:8', 'w:5000000:1000:7'),
                     lambda: i.keep(b, not by_us), lambda: i.write('w:100000:70000:5', 'd:4194304:65536'),
                     lambda: i.go_back(a, by_us), lambda: i.write('w:0:70000:4'),
                     lambda: i.go_back(b, not by_us), lambda: i.forget(a, not by_us),
                     lambda: i.write('w:0:200000:6'), lambda: i.go_back(b, by_us)):
            step()
            i.judge(options)
    i.forget('b', True)
    i.judge(options)
    i.forget('d', False)
    i.judge(options)


def amended(*options, base=None):
    i = Image(*options, base=base)
    i.write('w:0:1000000:1', 'w:3145728:100000:2')
    if 'compat=0.10' not in options:
        i.write('z:524288:262144', 'z:6291456:131072')
    content = i.read()
    for by_us, change in ((True, 'compat=1.1'), (True, 'refcount_bits=64'), (False, 'refcount_bits=1'),
                          (True, 'refcount_bits=8'), (True, 'lazy_refcounts=on'), (False, 'refcount_bits=32'),
                          (True, 'refcount_bits=16'), (True, 'compat=0.10'), (False, 'compat=1.1'),
                          (True, 'compat=0.10'), (True, 'compat=1.1'), (False, 'compat=0.10')):
        if by_us:
            name, value = change.split('=')
            value = {'1.1': '3', '0.10': '2', 'on': '1'}.get(value, value)
            ours('amend', i.path, f'{name.replace("compat", "version")}={value}')
        else:
            run('qemu-img', 'amend', '-f', 'qcow2', '-o', change, i.path)
        i.judge((options, change))
        assert i.read() == content, (options, change)


def main():
    if not TOOL:
        sys.exit(__doc__.strip())
    if not shutil.which('qemu-img'):
        print('skipped: qemu-img is not installed')
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix='snapshots-both-ways-') as d:
        os.chdir(d)
        for options in ((), ('cluster_size=512',), ('extended_l2=on',), ('compat=0.10', 'cluster_size=4096'),
                        ('refcount_bits=64', 'cluster_size=1024'), ('lazy_refcounts=on', 'cluster_size=4096')):
            snapshots(*options)
        run('qemu-img', 'create', '-q', '-f', 'qcow2', 'base.qcow2', str(SIZE))
        ours('edit', 'base.qcow2', f'w:0:{SIZE}:119')
        for options in (), ('cluster_size=512',), ('compat=0.10',), ('lazy_refcounts=on', 'cluster_size=4096'):
            amended(*options)
            amended(*options, base='base.qcow2')


main()
