#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""This daemon and QEMU's programs keep each other out of an image, and the message tells who holds it."""

import os
import select
import subprocess
import time

from reference import NotThere, reference_program
from rig import QMPError, Rig, main, requires, run, skip

requires('qemu-img', 'qemu-io')

# How a program opens an image.
USES = {
    'writer': {},
    'reader': {'read-only': True},
    'sharer': {'read-only': True, 'force-share': True},     # looks at it at its own risk
}


def options(path, fmt, use):
    """blockdev options of a node and its file."""
    file = {'driver': 'file', 'filename': path, **USES[use]}
    return {'driver': fmt, 'node-name': 'n', 'file': file, **USES[use]}


class Ours(Rig):
    """Our daemon holding the image in one way."""

    program = 'qemu-storage-daemon'

    def __init__(self, qsd=None):
        super().__init__()
        self.qsd = qsd

    def __enter__(self):
        if self.qsd:
            self.start_theirs()
        else:
            self.start()
        return self

    def start_theirs(self):
        """The installed daemon knows the same commands, but one monitor will do."""
        from qmp import QMP
        sock = self.path('qmp.sock')
        self.proc = subprocess.Popen(
            [self.qsd, '--chardev', 'socket,id=c,path=%s,server=on,wait=off' % sock,
             '--monitor', 'c', '--nbd-server', 'addr.type=unix,addr.path=' + self.path('nbd.sock')],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.qmp = QMP(sock)

    def open(self, path, fmt, use):
        """Open it and use it; the error, or None."""
        try:
            self.qmp.cmd('blockdev-add', options(path, fmt, use))
        except QMPError as e:
            return e.desc
        try:
            self.qmp.cmd('block-export-add', {'type': 'nbd', 'id': 'e', 'node-name': 'n',
                                              'writable': use == 'writer'})
        except QMPError as e:
            self.qmp.cmd('blockdev-del', {'node-name': 'n'})
            return e.desc
        return None

    def close_image(self):
        self.qmp.cmd('block-export-del', {'id': 'e'})
        self.qmp.wait_event('BLOCK_EXPORT_DELETED')
        self.qmp.cmd('blockdev-del', {'node-name': 'n'})


try:
    INSTALLED, _ = reference_program('qemu-storage-daemon')
except NotThere:
    INSTALLED = None


def matrix(first, second, path, fmt):
    """{(use by @first, use that @second tries): may it?}; messages of ours are looked at."""
    got = {}
    for a in USES:
        assert first.open(path, fmt, a) is None, a
        for b in USES:
            error = second.open(path, fmt, b)
            got[a, b] = error is None
            if error is None:
                second.close_image()
            else:
                assert 'lock' in error, error
                if second.qsd is None:
                    assert path in error, error
                    assert 'process %d (qemu-storage-' % first.proc.pid in error, error
        first.close_image()
        assert second.open(path, fmt, 'writer') is None, 'the lock was not given back'
        second.close_image()
    return got


def test_daemons_keep_each_other_out_just_as_qemus_do():
    if not INSTALLED:
        skip('no QEMU to compare with')
    with Ours(INSTALLED) as their1, Ours(INSTALLED) as their2, Ours() as our1, Ours() as our2:
        for fmt in ('raw', 'qcow2'):
            path = our1.create('x.' + fmt, fmt)
            want = matrix(their1, their2, path, fmt)
            # QEMU's exports of one raw file may both write it; behind ours nobody does.
            want['writer', 'writer'] = False
            for first, second in ((our1, our2), (our1, their1), (their1, our1)):
                got = matrix(first, second, path, fmt)
                assert got == want, {k: (got[k], want[k]) for k in got if got[k] != want[k]}


def test_a_qcow2_image_has_one_writer_and_nobody_else_or_readers():
    with Ours() as first, Ours() as second:
        path = first.create('x.qcow2', 'qcow2')
        for (a, b), may in matrix(first, second, path, 'qcow2').items():
            assert may == ('sharer' in (a, b) or a == b == 'reader'), (a, b)


def test_a_file_that_we_have_open_ourselves_is_told_with_its_node():
    with Rig() as r:
        path = r.create('x.raw')
        r.start('--blockdev', 'raw,node-name=first,file.driver=file,file.node-name=its-file,'
                'file.filename=' + path)
        r.export('first')
        desc = r.error('blockdev-add', driver='qcow2', node_name='second',
                       file={'driver': 'file', 'filename': path}).desc
        assert "this process, with its node 'its-file', " in desc, desc


def qemu_io(path, fmt, *args):
    r = subprocess.run(['qemu-io', '-f', fmt, *args, path], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True)
    return r.returncode == 0 and 'lock' not in r.stdout, r.stdout


def test_qemus_tools_are_kept_out_of_a_disk_in_use():
    with Ours() as r:
        for fmt in ('raw', 'qcow2'):
            path = r.create('x.' + fmt, fmt)
            assert r.open(path, fmt, 'writer') is None
            ok, out = qemu_io(path, fmt, '-c', 'write 0 512')
            assert not ok and 'Failed to get "write" lock' in out, out
            ok, out = qemu_io(path, fmt, '-r', '-c', 'read 0 512')
            assert ok == (fmt == 'raw'), out        # nothing in a raw file can be misread
            ok, out = qemu_io(path, fmt, '-r', '-U', '-c', 'read 0 512')
            assert ok, out
            commands = [['resize', '-f', fmt, path, '32M'],
                        ['convert', '-n', '-f', 'raw', '-O', fmt, r.create('in.raw'), path]]
            if fmt == 'qcow2':
                commands += [['info', path], ['rebase', '-u', '-b', '', path], ['check', path],
                             ['convert', '-f', fmt, '-O', 'raw', path, r.path('out')]]
            for command in commands:
                q = subprocess.run(['qemu-img', *command], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
                assert q.returncode != 0 and 'lock' in q.stdout, (command, q.stdout)
            run('qemu-img', 'info', '-U', path)
            r.close_image()
            assert qemu_io(path, fmt, '-c', 'write 0 512')[0]


class Holder:
    """qemu-io, holding an image until it is told to stop."""

    def __init__(self, path, fmt, *args):
        self.proc = subprocess.Popen(['qemu-io', '-f', fmt, *args, path], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.proc.stdin.write(b'read 0 512\n')
        self.proc.stdin.flush()
        assert select.select([self.proc.stdout], [], [], 30)[0]
        time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.proc.communicate(b'quit\n')


def test_ours_is_kept_out_of_what_qemus_tools_use():
    with Ours() as r:
        for fmt in ('raw', 'qcow2'):
            path = r.create('x.' + fmt, fmt)
            for args, a in (((), 'writer'), (('-r',), 'reader'), (('-r', '-U'), 'sharer')):
                with Holder(path, fmt, *args) as h:
                    for b in USES:
                        error = r.open(path, fmt, b)
                        may = 'sharer' in (a, b) or a == b == 'reader'
                        if fmt == 'raw':    # qemu-io lets others do what they want with it
                            may = not a == b == 'writer'
                        if error is None:
                            r.close_image()
                        else:
                            assert 'process %d (qemu-io)' % h.proc.pid in error, (a, b, error)
                            assert path in error
                        assert may == (error is None), (fmt, a, b, error)


def test_a_backing_file_may_be_shared_by_readers_but_not_written():
    with Ours() as a, Ours() as b:
        base = a.create('base.qcow2', 'qcow2')
        for r in (a, b):                    # two overlays over one base
            top = r.create('top.qcow2', 'qcow2', '16M', '-b', base, '-F', 'qcow2')
            assert r.open(top, 'qcow2', 'writer') is None
        ok, out = qemu_io(base, 'qcow2', '-c', 'write 0 512')
        assert not ok and 'lock' in out, out
        assert qemu_io(base, 'qcow2', '-r', '-c', 'read 0 512')[0]


def test_locking_can_be_switched_off():
    with Ours() as a, Ours() as b:
        path = a.create('x.raw')
        assert a.open(path, 'raw', 'writer') is None
        opts = options(path, 'raw', 'writer')
        opts['file']['locking'] = 'off'
        b.qmp.cmd('blockdev-add', opts)
        assert qemu_io(path, 'raw', '-c', 'write 0 512')[0] is False    # a's lock is still there


def test_a_daemon_that_is_killed_gives_its_locks_back():
    with Ours() as a, Ours() as b:
        path = b.create('x.qcow2', 'qcow2')
        assert a.open(path, 'qcow2', 'writer') is None
        assert b.open(path, 'qcow2', 'writer') is not None
        a.kill()
        assert b.open(path, 'qcow2', 'writer') is None


def test_one_daemon_does_not_open_an_image_twice_to_write_it():
    with Ours() as r:
        path = r.create('x.qcow2', 'qcow2')
        assert r.open(path, 'qcow2', 'writer') is None
        opts = options(path, 'qcow2', 'writer')
        opts['node-name'] = 'again'
        try:
            r.qmp.cmd('blockdev-add', opts)
            raise AssertionError('it was opened twice')
        except QMPError as e:
            assert path in e.desc, e


main(globals())
