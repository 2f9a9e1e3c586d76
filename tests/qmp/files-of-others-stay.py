#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A command that makes an image and fails leaves every file of another process as that process wants it."""

import errno
import fcntl
import os
import struct

from faultfs import FaultFs
from nbdwire import wait_until
from rig import Rig, main

F_OFD_SETLK = 37
BACKENDS = 'io_uring', 'threads'
TEXT = b'of another process'


class Other:
    """Another process with an image that it writes: what QEMU takes for a writer."""

    def __init__(self, path, locks=True):
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if locks:
            for byte in 101, 201:           # writes, and lets nobody else write
                fcntl.fcntl(self.fd, F_OFD_SETLK,
                            struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, byte, 1, 0))

    def write(self):
        os.pwrite(self.fd, TEXT, 0)

    def check(self, path):
        with open(path, 'rb') as f:
            assert f.read() == TEXT
        os.close(self.fd)


class Bed(Rig):
    """Two disks; snapshots of both, where the second target is made slowly, on @fs."""

    def __init__(self, fs, backend):
        super().__init__()
        self.fs = fs
        self.drive('disk0')
        self.drive('disk1')
        self.start(env={'QEMU_AIO': backend})

    def stop(self, check=True):
        self.fs.disarm()
        super().stop(check)

    def is_open(self, path):
        fds = '/proc/%d/fd' % self.proc.pid
        for fd in os.listdir(fds):
            try:
                if os.readlink(os.path.join(fds, fd)) == path:
                    return True
            except FileNotFoundError:
                pass
        return False

    def begin(self, kind, target):
        self.fs.arm_hang(kind, part='slow')
        q = self.connect(timeout=60)
        q.send('blockdev-group-snapshot-sync', {'devlist': [
            {'device': 'disk0', 'snapshot-file': target},
            {'device': 'disk1', 'snapshot-file': self.fs.path('slow')}]})
        wait_until(self.fs.struck)
        return q

    def create_job(self, path, size=1 << 20):
        self.cmd('blockdev-create', job_id='j',
                 options={'driver': 'file', 'filename': path, 'size': size})
        while self.qmp.wait_event('JOB_STATUS_CHANGE')['data']['status'] != 'concluded':
            pass
        error = self.cmd('query-jobs')[0].get('error')
        self.cmd('job-dismiss', id='j')
        return error


def test_an_empty_file_that_another_process_begins_to_fill_keeps_what_that_writes():
    for backend in BACKENDS:
        for locks in True, False:
            with FaultFs() as fs, Bed(fs, backend) as r:
                path = r.path('target')
                other = Other(path, locks)
                q = r.begin('create', path)
                wait_until(lambda: r.is_open(path))
                other.write()
                fs.disarm()
                error = q.recv_reply()['error']['desc']
                assert ('lock' if locks else os.strerror(errno.EEXIST)) in error, error
                other.check(path)
                assert not os.path.exists(fs.path('slow'))


def test_an_empty_file_that_another_process_has_locked_is_not_even_truncated():
    for backend in BACKENDS:
        with FaultFs() as fs, Bed(fs, backend) as r:
            path = fs.path('target')
            other = Other(path)
            fs.arm('write,truncate,fallocate', 1000, errno.EIO, 'once')
            assert 'lock' in r.create_job(path)
            error = r.snapshot_error({'device': 'disk0', 'snapshot-file': path})
            assert 'lock' in error.desc, error
            assert not [line for line in fs.disarm()[1] if line.startswith('truncate')]
            other.write()
            other.check(path)


def test_an_empty_file_that_is_free_is_empty_again_after_a_failure():
    for backend in BACKENDS:
        with FaultFs() as fs, Bed(fs, backend) as r:
            path = fs.path('target')
            open(path, 'w').close()
            inode = os.stat(path).st_ino
            fs.arm('fsync', 1, errno.EIO, 'forever', 'target')
            assert 'Input/output' in r.create_job(path)
            r.snapshot_error({'device': 'disk0', 'snapshot-file': path})
            fs.disarm()
            assert (os.stat(path).st_ino, os.stat(path).st_size) == (inode, 0)
            assert r.create_job(path) is None


def test_a_file_that_is_renamed_to_the_name_during_the_undo_stays():
    for backend in BACKENDS:
        with FaultFs() as fs, Bed(fs, backend) as r:
            path, other = fs.path('target'), Other(r.path('second'))
            q = r.connect(timeout=60)
            fs.arm_hang('unlink,rename', part='target')
            q.send('blockdev-group-snapshot-sync', {'devlist': [
                {'device': 'disk0', 'snapshot-file': path},
                {'device': 'disk1', 'snapshot-file': r.path('second')}]})
            wait_until(fs.struck)
            with open(os.path.join(fs.below, 'others'), 'wb') as f:
                f.write(TEXT)
            os.rename(os.path.join(fs.below, 'others'), os.path.join(fs.below, 'target'))
            fs.disarm()
            assert 'lock' in q.recv_reply()['error']['desc']
            assert os.listdir(fs.below) == ['target'], os.listdir(fs.below)
            with open(path, 'rb') as f:
                assert f.read() == TEXT
            os.close(other.fd)


def test_a_file_system_that_cannot_rename_without_replacing_is_left_clean_too():
    for backend in BACKENDS:
        with FaultFs() as fs, Bed(fs, backend) as r:
            other = Other(r.path('second'))
            fs.arm('renameflags', 1, errno.EINVAL, 'forever')
            r.snapshot_error({'device': 'disk0', 'snapshot-file': fs.path('target')},
                             r.member('disk1', 'second'))
            assert fs.disarm()[0] > 0
            assert os.listdir(fs.below) == []
            os.close(other.fd)


main(globals())
