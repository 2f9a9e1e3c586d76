#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Block devices as disks: whatever is asked that does not fit their sectors, space is given back and data is right."""

import os
import subprocess

import nbdwire as w
from nbdwire import Wire
from rig import Rig, main, requires, skip

KiB, MiB = 1 << 10, 1 << 20
requires('losetup')


class Device(Rig):
    """A loop device full of 0xff as the disk "d"."""

    def __init__(self, sector):
        super().__init__()
        self.sector, self.device = sector, None

    def __enter__(self):
        self.image = self.path('image')
        with open(self.image, 'wb') as f:
            f.write(b'\xff' * 16 * MiB)
        r = subprocess.run(['losetup', '-f', '--show', '-b', str(self.sector), self.image],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if r.returncode:
            skip('no loop device can be had: ' + r.stdout.strip())
        self.device = r.stdout.strip()
        return self

    def __exit__(self, *exc):
        try:
            super().__exit__(*exc)
        finally:
            subprocess.call(['losetup', '-d', self.device])

    def open(self, direct):
        self.start()
        self.cmd('blockdev-add', driver='raw', node_name='d', discard='unmap', file={
            'driver': 'host_device', 'filename': self.device, 'discard': 'unmap', 'cache': {'direct': direct}})
        self.export('d')
        return Wire(self.path('nbd.sock')).negotiate('d')

    def used(self):
        return os.stat(self.image).st_blocks * 512


def test_ranges_that_are_no_whole_sectors_do_not_switch_trimming_off():
    for sector in 512, 4096:
        for direct in False, True:
            with Device(sector) as r, r.open(direct) as c:
                for offset, length in (1, 1), (KiB + 1, 100000), (MiB + 7, 100001):
                    c.call(w.TRIM, offset, length)
                    c.call(w.WRITE_ZEROES, 2 * MiB + offset, length)
                    data = c.read(2 * MiB + offset - 1, length + 2)
                    assert data == b'\xff' + bytes(length) + b'\xff', (offset, length)
                before = r.used()
                c.call(w.TRIM, 8 * MiB, 4 * MiB)
                c.call(w.WRITE_ZEROES, 12 * MiB, 4 * MiB)
                c.call(w.FLUSH)
                assert r.used() <= before - 7 * MiB, (before, r.used())
                assert c.read(8 * MiB, 8 * MiB, w.DF) == bytes(8 * MiB)


main(globals())
