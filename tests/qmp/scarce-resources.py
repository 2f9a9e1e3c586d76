#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Out of space, inodes, descriptors, file size or a writable directory, a group snapshot fails and says why;
everything is as before, and when there is room again the same command succeeds.
"""

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import tempfile

from rig import Rig, check_state, import_nbd, main, requires, skip

requires('qemu-img')
import_nbd()
MIB = 1 << 20


@contextlib.contextmanager
def mounted(*args):
    """A directory with a file system of its own; None where we may not mount."""
    mnt = tempfile.mkdtemp(prefix='scarce-')
    done = subprocess.run(['mount', *args, mnt], capture_output=True).returncode == 0
    try:
        yield mnt if done else None
    finally:
        if done:
            subprocess.run(['umount', '-l', mnt])
        os.rmdir(mnt)


class Disks(Rig):
    """Two disks, exported, with a client each."""

    def __init__(self, directory=None):
        super().__init__()
        self.where = directory or self.dir

    def __enter__(self):
        for i in range(2):
            self.drive('disk%d' % i, 'qcow2' if i else 'raw')
        return self

    def go(self, **kwargs):
        self.start(**kwargs)
        for i in range(2):
            self.export('disk%d' % i)
        self.handles = [self.nbd('disk%d' % i) for i in range(2)]

    def members(self, name='o'):
        return [{'device': 'disk%d' % i, 'snapshot-file': os.path.join(self.where, name + str(i))}
                for i in range(2)]

    def work(self, n):
        for h in self.handles:
            h.pwrite(bytes([n]) * 4096, 0)
            h.flush()
            assert h.pread(4096, 0) == bytes([n]) * 4096

    def refuse(self, error, members):
        before, there = self.state(), sorted(os.listdir(self.where))
        self.work(1)
        e = self.snapshot_error(*members)
        assert os.strerror(error) in e.desc, e
        assert e.data['device'] in ('disk0', 'disk1'), e.data
        after = self.state()
        for state in before, after:         # the disks' own sizes may have grown by work()
            state['files'] = sorted(state['files'])
        check_state(before, after)
        assert there == sorted(os.listdir(self.where))
        self.work(2)
        return e


def on_tmpfs(options):
    return mounted('-t', 'tmpfs', '-o', options, 'tmpfs')


def test_a_file_system_that_is_full_half_way_through_the_overlays():
    with on_tmpfs('size=1m') as mnt:
        if not mnt:
            skip('may not mount')
        with Disks(mnt) as r:
            r.go()
            ballast, pages = os.path.join(mnt, 'ballast'), 0
            while True:
                with open(ballast, 'wb') as f:
                    f.write(b'x' * (os.statvfs(mnt).f_bavail - pages) * 4096)
                e = r.qmp.cmd_obj({'execute': 'blockdev-group-snapshot-sync',
                                   'arguments': {'devlist': r.members()}}).get('error')
                if e is None:
                    break
                assert os.strerror(errno.ENOSPC) in e['desc'], e
                assert os.listdir(mnt) == ['ballast']
                r.refuse(errno.ENOSPC, r.members())
                os.unlink(ballast)
                pages += 1
            assert pages > 3, pages
            os.unlink(ballast)
            r.work(3)
            r.stop()


def test_no_inodes_left():
    with on_tmpfs('nr_inodes=3') as mnt:    # the root, and one more with room for the second
        if not mnt:
            skip('may not mount')
        with Disks(mnt) as r:
            r.go()
            open(os.path.join(mnt, 'ballast'), 'w').close()
            r.refuse(errno.ENOSPC, r.members())
            os.unlink(os.path.join(mnt, 'ballast'))
            r.snapshot(*r.members())
            r.work(3)
            r.stop()


def test_the_disks_own_file_system_is_full():
    """A write fails with ENOSPC and takes nothing else with it; with room again it succeeds."""
    with on_tmpfs('size=4m') as mnt:
        if not mnt:
            skip('may not mount')
        with Disks(mnt) as r:
            r.go()
            r.snapshot(*r.members())
            h, failed = r.handles[0], 0
            for offset in range(0, 12 * MIB, 64 << 10):
                try:
                    h.pwrite(b'y' * (64 << 10), offset)
                except Exception as e:
                    assert e.errno == 'ENOSPC', e
                    failed += 1
            assert failed > 10
            assert h.pread(65536, 0) == b'y' * 65536
            subprocess.check_call(['mount', '-o', 'remount,size=64m', mnt])
            h.pwrite(b'z' * MIB, 11 * MIB)
            h.flush()
            assert h.pread(MIB, 11 * MIB) == b'z' * MIB
            r.stop()
            for name in 'o0', 'o1':
                subprocess.check_call(['qemu-img', 'check', '-q', os.path.join(mnt, name)],
                                      stdout=subprocess.DEVNULL)


def test_a_read_only_mount():
    with on_tmpfs('size=16m') as mnt:
        if not mnt:
            skip('may not mount')
        with Disks(mnt) as r:
            r.go()
            subprocess.check_call(['mount', '-o', 'remount,ro', mnt])
            r.refuse(errno.EROFS, r.members())
            subprocess.check_call(['mount', '-o', 'remount,rw', mnt])
            r.snapshot(*r.members())
            r.work(3)
            r.stop()


def test_the_directory_is_removed_underneath():
    with Disks() as r:
        r.where = r.path('d')
        os.mkdir(r.where)
        r.go()
        r.snapshot(*r.members())
        shutil.rmtree(r.where)
        r.work(1)                           # the open files live on
        e = r.snapshot_error(*r.members('p'))
        assert os.strerror(errno.ENOENT) in e.desc, e
        r.work(2)
        r.where = r.dir
        # The overlays on top have no name any more: nothing could be found by a new one's.
        try:
            r.snapshot(*r.members('q'))
        except Exception as e:
            assert os.strerror(errno.ENOENT) in str(e), e
        r.work(3)


def limited(which, soft, hard=None):
    return lambda: resource.setrlimit(which, (soft, hard or soft))


def test_no_descriptors_left():
    with Disks() as r:
        r.go()
        used = len(os.listdir('/proc/%d/fd' % r.proc.pid))
        worked = 0
        for more in range(0, 16):
            resource.prlimit(r.proc.pid, resource.RLIMIT_NOFILE, (used + more, 4096))
            try:
                before = sorted(os.listdir(r.dir))
                e = r.qmp.cmd_obj({'execute': 'blockdev-group-snapshot-sync',
                                   'arguments': {'devlist': r.members('m%d-' % more)}}).get('error')
                if e is None:
                    worked += 1
                    used = len(os.listdir('/proc/%d/fd' % r.proc.pid))
                else:
                    assert os.strerror(errno.EMFILE) in e['desc'], (more, e)
                    assert sorted(os.listdir(r.dir)) == before
            finally:
                resource.prlimit(r.proc.pid, resource.RLIMIT_NOFILE, (4096, 4096))
            r.work(more)
        r.snapshot(*r.members())
        r.work(99)


def test_a_limit_on_the_size_of_files():
    """EFBIG for the request, not the end of the daemon by a signal."""
    with Disks() as r:
        r.go(preexec_fn=limited(resource.RLIMIT_FSIZE, 3 * MIB))
        h = r.handles[1]
        failed = 0
        for offset in range(0, 8 * MIB, MIB):
            try:
                h.pwrite(b'x' * MIB, offset)
            except Exception:
                failed += 1
        assert failed
        assert r.proc.poll() is None, 'the daemon was killed'
        assert h.pread(MIB, 0) == b'x' * MIB
        r.snapshot(*r.members())
        r.work(3)
    with Disks() as r:
        r.go()
        resource.prlimit(r.proc.pid, resource.RLIMIT_FSIZE, (100 << 10, resource.RLIM_INFINITY))
        e = r.snapshot_error(*r.members())
        assert os.strerror(errno.EFBIG) in e.desc, e
        assert not os.path.exists(r.path('o0'))
        resource.prlimit(r.proc.pid, resource.RLIMIT_FSIZE,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        r.snapshot(*r.members())
        r.work(3)


main(globals())
