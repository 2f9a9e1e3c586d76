#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A file system without space refuses writes, and loses nothing that it acknowledged; space that is
given back can be used at once. A daemon that ends with something that it could not write says so.

Space is limited by the size that a process' files may have, and (for root) by a small tmpfs.
"""

import contextlib
import errno
import os
import resource
import subprocess

from qmp import QMPError
from rig import Rig, import_nbd, main, requires, run, skip

requires('qemu-img', 'qemu-io')
nbd = import_nbd()
UNIT = 4096
LAYOUTS = ('cluster_size=64k', 'cluster_size=128k,extended_l2=on', 'cluster_size=4k')


@contextlib.contextmanager
def connected(rig, name):
    h = rig.nbd(name)
    yield h
    h.shutdown()


def create(path, layout, size='1G'):
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', layout, path, size)


def fill(h, allowed, step=8 << 20):
    """Write @step apart until three writes in a row were refused; what was acknowledged."""
    acked, refused, i = {}, 0, 0
    while refused < 3:
        offset = i * step % h.get_size() + i * step // h.get_size() * 65536
        i += 1
        try:
            h.pwrite(bytes([i % 250 + 1]) * UNIT, offset)
            acked[offset] = i % 250 + 1
            refused = 0
        except nbd.Error as e:
            assert e.errnum in allowed, e
            refused += 1
    return acked


def expect(path, acked):
    commands = []
    for offset, value in acked.items():
        commands += ['-c', 'read -P %d %d %d' % (value, offset, UNIT)]
    out = run('qemu-io', '-r', '-f', 'qcow2', *commands, path)
    assert 'verification failed' not in out, out
    run('qemu-img', 'check', '-q', path)


def test_limit_of_the_file_loses_nothing():
    for layout in LAYOUTS:
        with Rig() as r:
            path = r.path('a.qcow2')
            create(path, layout, '1T')
            limit = os.path.getsize(path) + (4 << 20)
            r.start('--blockdev', 'driver=qcow2,node-name=a,file.driver=file,file.filename=' + path,
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
            r.export('a')
            with connected(r, 'a') as h:
                # Each needs a table of its own.
                acked = fill(h, (errno.EFBIG, errno.ENOSPC, errno.EINVAL, errno.EIO), 1 << 30)
                h.flush()
            r.stop()
            assert len(acked) > 4, len(acked)
            expect(path, acked)


class Tmpfs:
    def __init__(self, rig, size):
        self.dir = rig.path('mnt')
        os.mkdir(self.dir)
        mount = ['mount', '-t', 'tmpfs', '-o', 'size=' + size, 'tmpfs', self.dir]
        if os.geteuid() or subprocess.call(mount, stderr=subprocess.DEVNULL):
            self.dir = None

    def __enter__(self):
        return self.dir

    def __exit__(self, *exc):
        if self.dir:
            run('umount', '-l', self.dir)


def test_full_file_system_loses_nothing():
    for layout in LAYOUTS:
        with Rig() as r, Tmpfs(r, '3m') as mnt:
            if not mnt:
                skip('only root can mount a tmpfs')
            path = os.path.join(mnt, 'a.qcow2')
            create(path, layout)
            r.start('--blockdev', 'driver=qcow2,node-name=a,discard=unmap,file.driver=file,'
                    'file.discard=unmap,file.filename=' + path)
            r.export('a')
            with connected(r, 'a') as h:
                acked = fill(h, (errno.ENOSPC,))
                # What is given back can be used at once.
                for offset in list(acked)[:64]:
                    h.trim(65536, offset)
                    del acked[offset]
                offset = next(iter(acked))
                h.pwrite(b'\x77' * UNIT, offset)
                acked[offset] = 0x77
                h.flush()
            r.stop()
            assert len(acked) > 4, len(acked)
            expect(path, acked)


def test_overlay_on_a_full_file_system_loses_nothing():
    with Rig() as r, Tmpfs(r, '3m') as mnt:
        if not mnt:
            skip('only root can mount a tmpfs')
        r.drive('disk', 'raw', '1G')
        r.start()
        r.export('disk')
        overlay = os.path.join(mnt, 'overlay')
        r.snapshot({'device': 'disk', 'snapshot-file': overlay})
        with connected(r, 'disk') as h:
            acked = fill(h, (errno.ENOSPC,))
            h.flush()
        r.stop()
        assert len(acked) > 4, len(acked)
        expect(overlay, acked)


def test_a_group_that_succeeds_has_room_for_its_first_writes():
    """On a file system with a little more room each time, until the group succeeds."""
    with Rig() as r, Tmpfs(r, '4m') as mnt:
        if not mnt:
            skip('only root can mount a tmpfs')
        for name in 'disk0', 'disk1':
            r.drive(name, 'raw', '64M')
        r.start()
        refused = 0
        for room in range(0, 4 << 20, 64 << 10):
            with open(os.path.join(mnt, 'ballast'), 'wb') as f:
                os.posix_fallocate(f.fileno(), 0, (4 << 20) - room or 1)
            overlays = [{'device': name, 'snapshot-file': os.path.join(mnt, name)}
                        for name in ('disk0', 'disk1')]
            try:
                r.snapshot(*overlays)
                break
            except QMPError as e:
                assert 'No space left on device' in e.desc, e.desc
                assert os.listdir(mnt) == ['ballast']
                refused += 1
        assert refused
        for name in 'disk0', 'disk1':
            r.export(name)
            with connected(r, name) as h:
                h.pwrite(b'first' * 100, 0)
                h.flush()


def test_space_is_used_again_without_a_flush():
    with Rig() as r, Tmpfs(r, '16m') as mnt:
        if not mnt:
            skip('only root can mount a tmpfs')
        path = os.path.join(mnt, 'a.qcow2')
        create(path, 'cluster_size=64k')
        r.start('--blockdev', 'driver=qcow2,node-name=a,discard=unmap,file.driver=file,'
                'file.discard=unmap,file.filename=' + path)
        r.export('a')
        with connected(r, 'a') as h:
            h.pwrite(b'\x11' * 65536, 100 << 20)
            for i in range(40):
                h.pwrite(b'\x5a' * (1 << 20), 1 << 20)
                h.trim(1 << 20, 1 << 20)
            h.flush()
        r.stop()
        expect(path, {100 << 20: 0x11})


def test_daemon_that_could_not_write_everything_says_so():
    with Rig() as r:
        path = r.path('a.qcow2')
        create(path, 'cluster_size=64k', '16M')
        r.start('--blockdev', 'driver=qcow2,node-name=a,file.driver=blkdebug,'
                'file.image.driver=file,file.image.filename=' + path +
                ',file.inject-error.0.event=l2_update,'
                'file.inject-error.0.errno=5')
        r.export('a')
        with connected(r, 'a') as h:
            h.pwrite(b'x' * UNIT, 0)
        r.status = 1
        r.stop()
        assert "cannot flush node 'a'" in r.log, r.log


main(globals())
