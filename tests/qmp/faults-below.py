#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Whichever operation of the file system below fails during a group snapshot, all is as before: no file
is left, no writer sees an error, and a repeat of the command succeeds.

The daemon runs on a file system of ours that fails the n-th operation of a kind, once or for ever,
n = 1, 2, ... until nothing was failed.  $FAULTFS is the program (tests/crash/faultfs.c).
"""

import errno
import os
import subprocess
import time

from faultfs import FaultFs
from load import SLOT, Model, Writer, finish
from rig import Rig, check_state, main, requires

requires('qemu-img')
SLOTS = 32
DISKS = 2
MAX_N = 60


class Bed:
    """Disks on a FaultFs, with a writer each."""

    def __init__(self, fs, rig, flushes=True):
        self.fs, self.rig, self.generation, self.paused = fs, rig, 0, False
        for i in range(DISKS):
            path = fs.path('disk%d' % i)
            fmt = 'qcow2' if i % 2 else 'raw'
            subprocess.check_call(['qemu-img', 'create', '-q', '-f', fmt, path, str(SLOTS * SLOT)])
            rig.options += ['--drive', 'id=disk%d,if=none,file=%s,format=%s' % (i, path, fmt)]
        rig.start()
        for i in range(DISKS):
            rig.export('disk%d' % i)
        self.models = [Model(SLOTS) for _ in range(DISKS)]
        self.writers = [Writer(rig.nbd('disk%d' % i), self.models[i], 0, SLOTS, i, 'disk%d' % i)
                        for i in range(DISKS)]
        for w in self.writers:
            w.start()

    def snapshot(self):
        """The error, or None."""
        return self.rig.qmp.cmd_obj({
            'execute': 'blockdev-group-snapshot-sync', 'arguments': {'devlist': [
                {'device': 'disk%d' % i,
                 'snapshot-file': self.fs.path('ovl%d-%d' % (i, self.generation))}
                for i in range(DISKS)]}}).get('error')

    def state(self):
        s = self.rig.state()
        s['files'] = sorted(os.listdir(self.fs.below))
        s['locks'] = len(s['locks'])
        return s

    def pause(self):
        for w in self.writers:
            w.gate.acquire()
        self.paused = True

    def go_on(self):
        """Let them go on; each must get some requests done."""
        if self.paused:
            for w in self.writers:
                w.gate.release()
        self.paused = False
        wanted = [w.requests + 3 for w in self.writers]
        while any(w.requests < n for w, n in zip(self.writers, wanted)):
            for w in self.writers:
                assert w.is_alive() and not w.wrong, (w.who, w.error, w.wrong)
            time.sleep(0.001)

    def each_n(self, kinds, error, how, part):
        """How many operations could be failed."""
        for n in range(1, MAX_N):
            before = self.state()
            if kinds in TO_OVERLAYS:
                self.pause()            # or it would be failed after the pivot
            # of overlays only those that are to be made, not those in use
            self.fs.arm(kinds, n, error, how, part or '-%d' % self.generation)
            err = self.snapshot()
            struck, log = self.fs.disarm()
            self.go_on()
            if not struck:
                assert err is None, err
                self.generation += 1
                return n - 1
            if err is None:
                # a fault that only costs the optional part: everything is as after a success
                self.generation += 1
                continue
            check_state(before, self.state())
            text = os.strerror(error)
            assert text in err['desc'], (err, log)
            assert err['data']['device'] in ('disk0', 'disk1'), err
        raise AssertionError('%s: does not end' % kinds)


# What the new images' users do as well.
TO_OVERLAYS = 'write', 'fsync', 'read', 'truncate,fallocate'
VARIANTS = [
    ('create', errno.EIO, None), ('create', errno.ENOSPC, None),
    ('open', errno.EIO, None), ('write', errno.ENOSPC, None), ('write', errno.EIO, None),
    ('fsync', errno.EIO, None), ('truncate,fallocate', errno.ENOSPC, None),
    ('read', errno.EIO, None), ('fsyncdir', errno.EIO, '/'),
]


def each_fault(backend):
    with FaultFs() as fs, Rig('below-') as rig:
        os.environ['QEMU_AIO'] = backend
        bed = Bed(fs, rig)
        for kinds, error, part in VARIANTS:
            for how in ('once', 'forever', 'after') if kinds in TO_OVERLAYS else ('once', 'forever'):
                n = bed.each_n(kinds, error, how, part)
                print('%-20s %-8s %d faults' % (kinds, how, n))
        finish(bed.writers)
        for w in bed.writers:
            assert not w.error, w.error
        rig.stop()
        for i in range(DISKS):
            subprocess.check_call(['qemu-img', 'check', '-q',
                                   fs.path('ovl%d-%d' % (i, bed.generation - 1))])


def test_each_operation_on_the_overlays_fails_with_io_uring():
    each_fault('io_uring')


def test_each_operation_on_the_overlays_fails_with_threads():
    each_fault('threads')


main(globals())
