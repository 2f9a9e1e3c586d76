#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What a flush acknowledged is on the disk, whatever failed before: after a power cut it is there, also if a sync failed
and dropped what it covered, which no later sync brings back.

The daemon runs on a file system of ours (tests/crash/faultfs.c) that loses what was not synced.
"""

import errno
import os
import random
import subprocess

from faultfs import FaultFs
from load import SLOT, Model, fill
from rig import Rig, import_nbd, main, requires

requires('qemu-img')
nbd = import_nbd()
SLOTS = 64
FORMATS = ('raw', 'qcow2')


class Bed:
    """A disk of each format on a FaultFs, each with a model of what may be found."""

    def __init__(self, fs, rig, seed):
        self.fs, self.rig, self.random = fs, rig, random.Random(seed)
        self.models = {fmt: Model(SLOTS) for fmt in FORMATS}
        for fmt in FORMATS:
            subprocess.check_call(['qemu-img', 'create', '-q', '-f', fmt, fs.path(fmt), str(SLOTS * SLOT)])
        self.start()

    def start(self):
        self.rig.options = []
        for fmt in FORMATS:
            self.rig.options += ['--drive', 'id=%s,if=none,format=%s,file=%s' % (fmt, fmt, self.fs.path(fmt))]
        self.rig.start()
        self.handles = {}
        for fmt in FORMATS:
            self.rig.export(fmt)
            self.handles[fmt] = self.rig.nbd(fmt)

    def write(self, fmt, n=8):
        m, h = self.models[fmt], self.handles[fmt]
        for _ in range(n):
            first = self.random.randrange(SLOTS - 4)
            value, count = m.new_value(), self.random.randrange(1, 5)
            zero = self.random.random() < 0.2
            m.begin(first, count, 0 if zero else value)
            if zero:
                h.zero(count * SLOT, first * SLOT)
            else:
                h.pwrite(fill(value) * count, first * SLOT)
            m.end(first, count, 0 if zero else value)

    def flush(self, fmt):
        """Did it succeed?"""
        try:
            self.handles[fmt].flush()
        except nbd.Error as e:
            assert e.errnum == errno.EIO, e
            return False
        self.models[fmt].flushed(range(SLOTS))
        return True

    def write_fua(self, fmt):
        """Did it succeed?"""
        m = self.models[fmt]
        slot, value = self.random.randrange(SLOTS), m.new_value()
        m.begin(slot, 1, value)
        try:
            self.handles[fmt].pwrite(fill(value), slot * SLOT, flags=nbd.CMD_FLAG_FUA)
        except nbd.Error as e:
            assert e.errnum == errno.EIO, e
            m.allowed[slot].add(m.current[slot])
            return False
        m.end(slot, 1, value, durable=True)
        return True

    def power_cut(self):
        """And all that was acknowledged is there."""
        self.rig.kill()
        self.fs.cut()
        self.fs.control('none')
        subprocess.check_call(['qemu-img', 'check', '-q', self.fs.path('qcow2')])
        self.start()
        for fmt in FORMATS:
            self.models[fmt].after_crash(self.handles[fmt].pread(SLOTS * SLOT, 0), fmt)


def beds():
    for backend in ('io_uring', 'threads'):
        os.environ['QEMU_AIO'] = backend
        with FaultFs() as fs, Rig('power-') as rig:
            bed = Bed(fs, rig, 1)
            fs.cache()
            yield bed


def test_what_was_flushed_is_there_and_what_was_not_is_lost():
    for bed in beds():
        for _ in range(4):
            for fmt in FORMATS:
                bed.write(fmt)
                assert bed.flush(fmt)
            flushed = bed.handles['raw'].pread(SLOTS * SLOT, 0)
            for fmt in FORMATS:
                bed.write(fmt)
            bed.power_cut()
            # The rig is one: without a flush nothing of the raw disk's gets there.
            assert bed.handles['raw'].pread(SLOTS * SLOT, 0) == flushed


def test_a_sync_that_drops_what_it_covered_makes_no_flush_a_lie():
    for bed in beds():
        for fmt in FORMATS:
            struck = 1
            nth = 0
            while struck:
                nth += 1
                bed.write(fmt)
                assert bed.flush(fmt)
                bed.write(fmt)
                bed.fs.arm_drop(nth, errno.EIO, fmt)
                answers = []
                for _ in range(3):
                    # A sync after the one that failed succeeds, and knows nothing of what was lost.
                    answers.append(bed.flush(fmt))
                    bed.write(fmt)
                struck = bed.fs.struck()
                assert answers == sorted(answers, reverse=True), (fmt, nth, answers)
                assert all(answers) == (struck == 0), (fmt, nth, answers)
                bed.rig.status = 1
                bed.power_cut()
                bed.rig.status = 0
            assert nth > 1, (fmt, nth)


def test_a_write_that_could_not_be_synced_makes_no_later_flush_a_lie():
    """A FUA write syncs, and what that sync drops may be others' as well."""
    for bed in beds():
        for fmt in FORMATS:
            bed.write(fmt)
            assert bed.flush(fmt)
            bed.write(fmt)
            bed.fs.arm_drop(1, errno.EIO, fmt)
            assert not bed.write_fua(fmt)
            assert bed.fs.struck()
            bed.flush(fmt)
            bed.rig.status = 1
            bed.power_cut()
            bed.rig.status = 0


main(globals())
