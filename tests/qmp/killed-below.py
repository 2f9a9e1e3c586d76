#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Killed in place of any operation of a group snapshot, n = 1, 2, ... until the command runs through: the
bases open clean and have all that was flushed, and of an overlay there is nothing, or something that no
program takes for an image, or all of it.

The daemon runs on a file system of ours that ends it at its n-th operation (tests/crash/faultfs.c).
killed-below.py [STEP]: only every STEP-th n.
"""

import fcntl
import os
import struct
import subprocess
import sys

from faultfs import CHANGES, FaultFs
from load import SLOT, fill, slot_value
from nbdwire import wait_until
from rig import Rig, import_nbd, requires, run

requires('qemu-img')
import_nbd()
F_OFD_GETLK = 36
SLOTS = 32
DISKS = 2


class Bed:
    """Disks whose content is known: slot s of disk i holds base + s, and the last slots are not flushed."""

    def __init__(self, fs, rig):
        self.fs, self.rig, self.value = fs, rig, 0
        self.formats = ['qcow2' if i % 2 else 'raw' for i in range(DISKS)]
        self.disks = [fs.path('disk%d' % i) for i in range(DISKS)]
        self.overlays = [fs.path('overlay%d' % i) for i in range(DISKS)]
        for path, fmt in zip(self.disks, self.formats):
            subprocess.check_call(['qemu-img', 'create', '-q', '-f', fmt, path,
                                   str(2 * SLOTS * SLOT)])

    def start(self):
        self.rig.options = []
        for i in range(DISKS):
            self.rig.options += ['--drive', 'id=disk%d,if=none,file=%s,format=%s'
                                 % (i, self.disks[i], self.formats[i])]
        self.rig.start()
        for i in range(DISKS):
            self.rig.export('disk%d' % i)

    def write(self):
        """New numbers everywhere; the first half is flushed."""
        self.value += 1
        for i in range(DISKS):
            h = self.rig.nbd('disk%d' % i)
            h.pwrite(fill(self.value) * SLOTS, 0)
            h.flush()
            h.pwrite(fill(self.value) * SLOTS, SLOTS * SLOT)

    def verify(self):
        for i in range(DISKS):
            h = self.rig.nbd('disk%d' % i)
            data = h.pread(SLOTS * SLOT, 0)
            for s in range(SLOTS):
                assert slot_value(data, s) == self.value, (i, s, slot_value(data, s), self.value)

    def snapshot(self, n):
        """Whether the daemon was killed."""
        rig = self.rig
        self.fs.arm_kill(CHANGES, n, rig.proc.pid)
        try:
            reply = rig.qmp.cmd_obj({'execute': 'blockdev-group-snapshot-sync', 'arguments': {
                'devlist': [{'device': 'disk%d' % i, 'snapshot-file': self.overlays[i]}
                            for i in range(DISKS)]}})
        except (ConnectionError, OSError):
            reply = None
        struck, log = self.fs.disarm()
        assert bool(struck) == (reply is None), (reply, log)
        assert struck or 'return' in reply, reply
        if struck:
            rig.kill()
        return struck

    def check_files(self):
        for path, fmt in zip(self.disks, self.formats):
            if fmt == 'qcow2':
                check_image(path)
        for overlay, base in zip(self.overlays, self.disks):
            if not os.path.exists(overlay):
                continue
            with open(overlay, 'rb') as f:
                if f.read(4) == b'QFI\xfb':
                    check_image(overlay)
                    assert base in run('qemu-img', 'info', overlay)
            os.unlink(overlay)


def wait_until_unlocked(path):
    """A killed process's locks go when the kernel has ended its requests, which can be after the process."""
    with open(path, 'rb') as f:
        wait_until(lambda: struct.unpack('hhqqi4x', fcntl.fcntl(f, F_OFD_GETLK, struct.pack(
            'hhqqi4x', fcntl.F_WRLCK, 0, 100, 200, 0)))[0] == fcntl.F_UNLCK)


def check_image(path):
    wait_until_unlocked(path)           # our daemon waits by itself, QEMU's tools do not
    r = subprocess.run(['qemu-img', 'check', '-q', path], capture_output=True, text=True)
    assert r.returncode in (0, 3), (path, r.stdout, r.stderr)       # 3: leaked clusters


def killed_everywhere(backend, step):
    os.environ['QEMU_AIO'] = backend
    with FaultFs() as fs, Rig('killed-') as rig:
        bed, n = Bed(fs, rig), 1
        while True:
            bed.start()
            if n > 1:
                bed.verify()
            bed.write()
            if not bed.snapshot(n):
                break
            bed.check_files()
            n += step
        print(backend, 'killed at', n - 1, 'operations, step', step)
        bed.write()
        bed.verify()
        rig.stop()
        for overlay in bed.overlays:
            check_image(overlay)


step = int(sys.argv[1]) if len(sys.argv) > 1 else 1
killed_everywhere('io_uring', step)
killed_everywhere('threads', 3 * step)
