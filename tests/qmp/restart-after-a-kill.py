#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What a killed process still holds while the kernel ends its requests does not keep the next one from beginning.

Such a lock or socket belongs to no process any more.  Here it is in a message that nobody has received yet.
"""

import array
import fcntl
import os
import select
import socket
import struct

from rig import Rig, main

F_OFD_SETLK = 37


class Orphan:
    """Whatever @make opens, by a process that is gone; until let_go()."""

    def __init__(self, make):
        self.ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            fd = make()
            theirs.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd]))])
            os._exit(0)
        theirs.close()
        os.waitpid(pid, 0)

    def let_go(self):
        self.ours.close()


def lets_go_in_time(make_orphan, q, command, args):
    """Whether @command succeeds when an orphan goes while it waits: that we are late is no failure of the daemon."""
    for _ in range(10):
        orphan = make_orphan()
        q.send(command, args)
        waited = not select.select([q.sock], [], [], 0.1)[0]
        orphan.let_go()
        if 'return' in q.recv_reply():
            return waited
    return False


def locked_by_a_writer(path):
    def make():
        fd = os.open(path, os.O_RDWR)
        for byte in 101, 201:
            fcntl.fcntl(fd, F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, byte, 1, 0))
        return fd
    return Orphan(make)


def raw(path):
    return {'driver': 'file', 'node-name': 'n', 'filename': path}


def export(node):
    return {'type': 'nbd', 'id': 'e', 'name': 'e', 'node-name': node, 'writable': True}


def test_a_lock_of_a_process_that_is_gone_is_waited_for():
    with Rig() as r:
        r.start()
        path = r.create('disk')
        r.qmp.cmd('blockdev-add', raw(path))
        q = r.connect(timeout=60)
        assert lets_go_in_time(lambda: locked_by_a_writer(path), q, 'block-export-add', export('n'))


def test_a_lock_that_stays_is_not_waited_for_for_ever():
    with Rig() as r:
        r.start()
        path = r.create('disk')
        r.qmp.cmd('blockdev-add', raw(path))
        orphan = locked_by_a_writer(path)
        e = r.error('block-export-add', **{k.replace('-', '_'): v for k, v in export('n').items()})
        assert 'lock' in e.desc and 'another process' in e.desc, e
        orphan.let_go()
        r.cmd('block-export-add', **{k.replace('-', '_'): v for k, v in export('n').items()})


def listening(address):
    def make():
        s = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
        s.bind(address)
        s.listen(10)
        return s.detach()
    return Orphan(make)


def test_a_socket_of_a_process_that_is_gone_is_replaced():
    with Rig() as r:
        orphan = listening(r.path('nbd.sock'))
        r.start()
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(r.path('nbd.sock'))
            assert s.recv(8) == b'NBDMAGIC'
        orphan.let_go()


def test_a_socket_of_a_process_that_lives_is_not_replaced():
    with Rig() as r, socket.socket(socket.AF_UNIX) as s:
        s.bind(r.path('other.sock'))
        s.listen(10)
        r.start()
        e = r.error('nbd-server-start', id='other',
                    addr={'type': 'unix', 'data': {'path': r.path('other.sock')}})
        assert 'in use' in e.desc, e


def test_a_port_of_a_process_that_is_gone_is_waited_for():
    with Rig() as r:
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            port = s.getsockname()[1]
        r.start()
        q = r.connect(timeout=60)
        assert lets_go_in_time(lambda: listening(('127.0.0.1', port)), q, 'nbd-server-start', {
            'id': 'other', 'addr': {'type': 'inet', 'data': {'host': '127.0.0.1', 'port': str(port)}}})


main(globals())
