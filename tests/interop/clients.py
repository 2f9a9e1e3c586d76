#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The usual NBD clients work with the daemon's exports: nbdinfo, nbdcopy, fio, QEMU's tools, a QEMU guest."""

import filecmp
import json
import os
import shutil
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../qmp'))
from qmp import QMP                                                     # noqa: E402
from rig import Rig, main, requires, run                                # noqa: E402

requires('qemu-img', 'qemu-io')

KiB, MiB = 1 << 10, 1 << 20


def lacks(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        print('skipped: %s is not installed' % ', '.join(missing))
    return bool(missing)


class Disk(Rig):
    """A disk of 32 MiB with 1 MiB of data at 4 MiB, exported as 'disk'."""

    def __init__(self, fmt='qcow2', options=''):
        super().__init__()
        self.fmt, self.extra = fmt, options

    def __enter__(self):
        self.file = self.drive('disk', self.fmt, '32M', self.extra)
        run('qemu-io', '-f', self.fmt, '-c', 'write -P 0x55 4M 1M', self.file)
        self.start('--object', 'iothread,id=io0')
        self.export('disk', description='a disk', allocation_depth=True, iothread='io0')
        return self

    def random_file(self, name='random', size=32 * MiB):
        path = self.path(name)
        with open(path, 'wb') as f:
            for i in range(0, size, 2 * MiB):           # every second MiB is a hole
                f.seek(i)
                f.write(os.urandom(MiB))
            f.truncate(size)
        return path


# -- libnbd's programs

def test_nbdinfo():
    if lacks('nbdinfo'):
        return
    for fmt in ('raw', 'qcow2'):
        with Disk(fmt) as r:
            r.export('disk', name='ro', writable=False)
            uri = r.uri('disk')
            info = json.loads(run('nbdinfo', '--no-content', '--json', uri))
            assert info['protocol'] == 'newstyle-fixed' and info['structured']
            exp, = info['exports']
            assert exp['export-size'] == 32 * MiB and exp['description'] == 'a disk'
            assert set(exp['contexts']) == {'base:allocation', 'qemu:allocation-depth'}
            assert not exp['is_read_only'] and exp['can_multi_conn'] and exp['can_fua']
            assert exp['can_zero'] and exp['can_trim'] and exp['can_cache'] and exp['can_df']
            assert json.loads(run('nbdinfo', '--no-content', '--json', r.uri('ro')))['exports'][0]['is_read_only']
            names = json.loads(run('nbdinfo', '--list', '--json', uri.replace('/disk?', '/?')))
            assert [e['export-name'] for e in names['exports']] == ['disk', 'ro']
            extents = json.loads(run('nbdinfo', '--map', '--json', uri))
            data = [(e['offset'], e['length']) for e in extents if e['type'] == 0]
            # (qemu-img allocates the first block of a new raw file)
            assert data[fmt == 'raw':] == [(4 * MiB, MiB)], extents
            assert {e['type'] for e in extents} == {0, 3}
            assert sum(e['length'] for e in extents) == 32 * MiB
            run('nbdinfo', '--map=qemu:allocation-depth', uri)
            assert run('nbdinfo', '--size', uri).strip() == str(32 * MiB)


def test_nbdcopy_in_and_out():
    if lacks('nbdcopy'):
        return
    for fmt in ('raw', 'qcow2'):
        with Disk(fmt) as r:
            src, dst = r.random_file(), r.path('out')
            run('nbdcopy', '--connections=4', '--flush', src, r.uri('disk'))
            run('nbdcopy', '--connections=4', r.uri('disk'), dst)
            assert filecmp.cmp(src, dst, shallow=False)
            assert os.stat(dst).st_blocks * 512 < 20 * MiB, 'holes were copied'
            r.stop()
            run('qemu-img', 'compare', '-f', 'raw', '-F', fmt, src, r.file)


# -- fio

def test_fio_verifies_what_it_wrote():
    if lacks('fio') or 'nbd' not in run('fio', '--enghelp'):
        return
    for fmt in ('raw', 'qcow2'):
        with Disk(fmt) as r:
            run('fio', '--name=x', '--ioengine=nbd', '--uri=' + r.uri('disk'), '--rw=randwrite',
                '--bsrange=4k-64k', '--bs_unaligned', '--size=16M', '--iodepth=16', '--verify=crc32c',
                '--do_verify=1', '--verify_fatal=1', '--output=' + r.path('fio.log'), cwd=r.dir)
            r.stop()
            if fmt == 'qcow2':
                run('qemu-img', 'check', '-q', r.file)


# -- QEMU's tools

def test_qemu_io():
    with Disk() as r:
        out = run('qemu-io', '-f', 'raw', '-c', 'read -P 0x55 4M 1M', '-c', 'write -P 7 1000 5000',
                  '-c', 'read -P 7 1000 5000', '-c', 'write -z -u 4M 64k', '-c', 'read -P 0 4M 64k',
                  '-c', 'discard 5M 1M', '-c', 'write -f -P 9 31M 1M', '-c', 'flush',
                  '-c', 'aio_write -P 1 8M 1M', '-c', 'aio_read -P 7 1000 5000', '-c', 'aio_flush',
                  r.uri('disk'))
        assert 'fail' not in out.lower() and 'error' not in out.lower(), out


def test_qemu_img():
    for fmt in ('raw', 'qcow2'):
        with Disk(fmt) as r:
            uri, src = r.uri('disk'), r.random_file()
            run('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', src, uri)
            run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', src, uri)
            out = r.path('out.qcow2')
            run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri, out)
            run('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', src, out)
            info = json.loads(run('qemu-img', 'info', '--output=json', uri))
            assert info['virtual-size'] == 32 * MiB
            extents = json.loads(run('qemu-img', 'map', '--output=json', '-f', 'raw', uri))
            assert sum(e['length'] for e in extents if e['zero']) == 16 * MiB, extents
            assert {e['data'] for e in extents if e['zero']} == {False}
            run('qemu-img', 'bench', '-w', '-c', '500', '-d', '16', '-s', '4096', '-f', 'raw', uri)


def test_an_image_inside_an_export():
    """QEMU puts its own image format into what we serve, and finds it sound."""
    with Disk('raw') as r:
        uri = r.uri('disk')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', uri, '16M')
        run('qemu-io', '-f', 'qcow2', '-c', 'write -P 3 0 2M', '-c', 'write -z 1M 64k', uri)
        run('qemu-img', 'check', '-q', '-f', 'qcow2', uri)
        run('qemu-io', '-f', 'qcow2', '-c', 'read -P 3 0 1M', '-c', 'read -P 0 1M 64k', uri)


# -- a guest

def boot_sector():
    """
    A program of 16 bits that counts: the number goes to the second sector of the first disk,
    then of the second one, and so on for ever, with the firmware's disk calls.
    """
    def write_sector_2_of(drive):
        return (bytes.fromhex('b80103 b90200 ba') + bytes([drive, 0]) + bytes.fromhex('cd13'))
    start = bytes.fromhex('31c0 8ed8 8ec0 bb007e')
    loop = (write_sector_2_of(0x80) + write_sector_2_of(0x81) + bytes.fromhex('ff06007e'))
    code = start + loop + b'\xeb' + struct.pack('b', -(len(loop) + 2))
    return code.ljust(510, b'\0') + b'\x55\xaa'


def counter(path, fmt):
    """The number in the second sector, as qemu-io reads it."""
    out = run('qemu-io', '-r', '-U', '-f', fmt, '-c', 'read -v 512 16', path)
    data = bytes.fromhex(''.join(out.splitlines()[0].split()[1:17]))
    return struct.unpack('<H', data[:2])[0]


def wait_for(what, seconds=60):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, 'it did not happen in time'
        time.sleep(0.05)


def test_a_guest_runs_on_its_disks_while_they_are_snapshotted():
    """
    It boots from the first one and goes on writing both through a group snapshot, which shows
    them at one instant: no number on the second disk that is not on the first one.
    """
    if lacks('qemu-system-x86_64'):
        return
    with Rig() as r:
        files = [r.drive('d0', 'raw', '4M'), r.drive('d1', 'raw', '4M')]
        with open(files[0], 'r+b') as f:
            f.write(boot_sector())
        r.start('--object', 'iothread,id=io0')
        r.export('d0')
        r.export('d1', iothread='io0')
        cmd = ['qemu-system-x86_64', '-machine', 'pc,accel=tcg', '-m', '32', '-display', 'none',
               '-nodefaults', '-qmp', 'unix:%s,server=on,wait=off' % r.path('guest.sock')]
        for d in ('d0', 'd1'):
            cmd += ['-blockdev', json.dumps({
                'driver': 'nbd', 'node-name': d, 'export': d,
                'server': {'type': 'unix', 'path': r.path('nbd.sock')}})]
            cmd += ['-device', 'virtio-blk-pci,drive=%s,bootindex=%s' % (d, d[1])]
        guest = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        try:
            with QMP(r.path('guest.sock')) as qmp:
                watch_guest(r, qmp, files)
        finally:
            guest.terminate()
            out = guest.communicate()[0]
        assert b'rror' not in out, out


def writes(r):
    stats = {s['device']: s['stats'] for s in r.cmd('query-blockstats') if 'device' in s}
    return [stats['exp-d%d' % i]['wr_operations'] for i in (0, 1)]


def watch_guest(r, guest, files):
    wait_for(lambda: min(writes(r)) > 10)
    for s in guest.cmd('query-blockstats'):
        assert s['stats']['failed_wr_operations'] == 0
        assert s['stats']['rd_operations'] > 0 or 'd1' in s['qdev'] or s['node-name'] == 'd1', s
    for n in range(3):
        r.snapshot(r.member('d0', 's0-%d' % n), r.member('d1', 's1-%d' % n))
        before = writes(r)
        wait_for(lambda: min(writes(r)) > max(before) + 5)
        first, second = counter(files[0], 'raw' if n == 0 else 'qcow2'), \
            counter(files[1], 'raw' if n == 0 else 'qcow2')
        assert first > 0 and first - second in (0, 1), (first, second)
        files = [r.path('s0-%d' % n), r.path('s1-%d' % n)]
    assert guest.cmd('query-status')['running']


main(globals())
