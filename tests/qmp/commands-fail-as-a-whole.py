#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Whichever operation of the file system below fails during a command, all is as before, the guest of a disk
goes on, and the same command succeeds: what test-command-faults looks at from inside, from outside, where
it is seen what io_uring does.  (The group snapshot under load has faults-below.py.)
"""

import errno
import itertools
import os
import subprocess

from faultfs import FaultFs
from rig import Rig, check_state, main, requires

requires('qemu-img')
MIB = 1 << 20
MAX_N = 200

FAULTS = [
    ('open', errno.EMFILE), ('create', errno.ENOSPC), ('read', errno.EIO), ('write', errno.ENOSPC),
    ('fsync', errno.EIO), ('fsyncdir', errno.EIO), ('truncate', errno.EFBIG),
    ('fallocate', errno.ENOSPC), ('unlink', errno.EACCES), ('rename', errno.EACCES),
    ('link', errno.EDQUOT),
]


class Bed:
    """A raw and a qcow2 disk, exported, on a file system that can fail."""

    def __init__(self, fs, rig):
        self.fs, self.rig, self.n = fs, rig, 0
        self.qcow2('qcow2-disk', 4 * MIB)
        with open(fs.path('raw-disk'), 'wb') as f:
            f.truncate(MIB)
        rig.start()
        self.add('raw', 'raw-disk')
        self.add('qcow2', 'qcow2-disk')
        rig.export('raw')
        rig.export('qcow2')
        self.guests = [rig.nbd('raw'), rig.nbd('qcow2')]
        self.work()

    def qcow2(self, name, size, *options):
        subprocess.check_call(['qemu-img', 'create', '-q', '-f', 'qcow2', *options,
                               self.fs.path(name), str(size)])

    def node(self, driver, name, file):
        return {'driver': driver, 'node-name': name,
                'file': {'driver': 'file', 'filename': self.fs.path(file)}}

    def add(self, driver, file):
        self.rig.cmd('blockdev-add', **{k.replace('-', '_'): v for k, v in
                                        self.node(driver, driver, file).items()})

    def work(self):
        """Guests go on: what was written is there, and can be written."""
        for h in self.guests:
            if self.n:
                assert h.pread(8192, 0) == bytes([self.n % 256]) * 8192
        self.n += 1
        for h in self.guests:
            h.pwrite(bytes([self.n % 256]) * 8192, 0)

    def run(self, command, arguments):
        """The text of the error, also of the job's if it begins one, or None."""
        reply = self.rig.qmp.cmd_obj({'execute': command, 'arguments': arguments})
        if 'error' in reply:
            return reply['error']['desc']
        if command != 'blockdev-create':
            return None
        self.rig.qmp.wait_event('JOB_STATUS_CHANGE', status='concluded')
        error = self.rig.cmd('query-jobs')[0].get('error')
        self.rig.cmd('job-dismiss', id='job0')
        self.rig.qmp.take_events()
        return error

    def state(self, changing):
        s = self.rig.state()
        s['files'] = sorted((name, name in changing or os.stat(os.path.join(self.fs.below, name)).st_size)
                            for name in os.listdir(self.fs.below))
        s['locks'] = len(s['locks'])
        s['sizes'] = [(n['node-name'], n['image']['virtual-size'])
                      for n in self.rig.cmd('query-named-block-nodes')
                      if n['image']['filename'] not in [self.fs.path(c) for c in changing] or
                      n['drv'] != 'file']
        return s

    def each_n(self, row, kind, error, how):
        """Let the n-th operation fail until there is none; how many there were."""
        command, arguments, undo, changing, part = row
        for n in range(1, MAX_N):
            if callable(row[1]):
                arguments = row[1]()
            before = self.state(changing)
            self.fs.arm(kind, n, error, how, part)
            text = self.run(command, arguments)
            struck, log = self.fs.disarm()
            self.work()
            if text is None:
                undo()
            if not struck:
                assert text is None, (command, kind, n, text)
                return n - 1
            if text is not None:
                assert os.strerror(error) in text, (command, kind, n, text, log)
                check_state(before, self.state(changing))
        raise AssertionError('%s: %s does not end' % (command, kind))


def rows(bed):
    """
    (command, arguments or what makes them, how to undo it, files that may change, part of the paths
    to be failed)
    """
    fs, cmd = bed.fs, bed.rig.cmd
    new = fs.path('new')
    sizes = itertools.count(64 << 30, 64 << 30)

    def unlink():
        os.unlink(new)

    def delete(name):
        return lambda: cmd('blockdev-del', node_name=name)

    def resize(name, size):
        return lambda: cmd('block_resize', node_name=name, size=size)

    bed.qcow2('chain-base', MIB)
    bed.qcow2('chain-top', MIB, '-b', fs.path('chain-base'), '-F', 'qcow2')
    yield 'blockdev-add', bed.node('qcow2', 'top', 'chain-top'), delete('top'), (), ''
    yield 'blockdev-add', bed.node('raw', 'plain', 'chain-base'), delete('plain'), (), ''
    for mode in 'off', 'falloc', 'full':
        yield ('blockdev-create', {'job-id': 'job0', 'options': {
            'driver': 'file', 'filename': new, 'size': MIB, 'preallocation': mode}}, unlink, (), '')
    for mode in 'off', 'metadata', 'full':
        with open(fs.path('empty'), 'w'):
            pass
        yield ('blockdev-create', {'job-id': 'job0', 'options': {
            'driver': 'qcow2', 'size': MIB, 'preallocation': mode,
            'file': {'driver': 'file', 'filename': fs.path('empty')}}},
            lambda: None, ('empty',), 'empty')
    yield ('block_resize', {'node-name': 'raw', 'size': 2 * MIB}, resize('raw', MIB),
           (), 'raw-disk')
    yield ('block_resize', {'node-name': 'raw', 'size': MIB // 2}, resize('raw', MIB),
           (), 'raw-disk')
    # Each time larger than ever before: it takes a new L1 table, which stays.
    yield ('block_resize', lambda: {'node-name': 'qcow2', 'size': next(sizes)},
           resize('qcow2', 4 * MIB), ('qcow2-disk',), 'qcow2-disk')

    def grow_and_fill():
        cmd('block_resize', node_name='qcow2', size=4 * MIB)
        bed.rig.nbd('qcow2').pwrite(b'x' * 3 * MIB, MIB)
    grow_and_fill()
    yield ('block_resize', {'node-name': 'qcow2', 'size': MIB}, grow_and_fill,
           ('qcow2-disk',), 'qcow2-disk')


def each_row(backend):
    os.environ['QEMU_AIO'] = backend
    with FaultFs() as fs, Rig('commands-') as rig:
        bed = Bed(fs, rig)
        total = 0
        for row in rows(bed):
            for kind, error in FAULTS:
                if kind == 'fsync' and row[0] == 'block_resize':
                    continue        # what a disk in use could not sync is lost for good
                for how in 'once', 'forever':
                    n = bed.each_n(row, kind, error, how)
                    total += n
                    if n:
                        print('%-16s %-10s %-8s %d faults' % (row[0], kind, how, n))
                    elif how == 'once':
                        break       # there is no such operation
        print(total, 'faults')
        for h in bed.guests:
            h.shutdown()
        rig.stop()
        check = subprocess.run(['qemu-img', 'check', '-q', fs.path('qcow2-disk')])
        assert check.returncode in (0, 3), check        # 3: leaked clusters


def test_commands_fail_as_a_whole_with_io_uring():
    each_row('io_uring')


def test_commands_fail_as_a_whole_with_threads():
    each_row('threads')


main(globals())
