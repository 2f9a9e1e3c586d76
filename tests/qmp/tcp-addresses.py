#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""All members of a TCP address mean something, in NBD servers and in channels of monitors."""

import contextlib
import os
import socket
import subprocess

from daemon import Daemon
from qmp import QMP
from rig import QSD, main

HAS_V6 = socket.has_ipv6
if HAS_V6:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(('::1', 0))
    except OSError:
        HAS_V6 = False


def start(r, host='127.0.0.1', port='0', **more):
    r.cmd('nbd-server-start', id='tcp', addr={'type': 'inet', 'data': {
        'host': host, 'port': str(port), **{k.replace('_', '-'): v for k, v in more.items()}}})


def refuse(r, *texts, host='127.0.0.1', port='10809', **more):
    before = r.state()
    e = r.error('nbd-server-start', id='tcp', addr={'type': 'inet', 'data': {
        'host': host, 'port': str(port), **more}})
    assert all(t in e.desc for t in texts), e
    assert r.state() == before


@contextlib.contextmanager
def server(r, **address):
    start(r, **address)
    yield
    r.cmd('nbd-server-stop', id='tcp')


def free_ports(count):
    """The first of @count ports in a row that nobody uses now."""
    for first in range(20000 + os.getpid() % 10000, 60000, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(('127.0.0.1', port))
                return first
            except OSError:
                continue
    raise AssertionError('no free ports')


def busy(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', port))
    s.listen()
    return s


def answers(host, port):
    """Does an NBD server greet there?"""
    try:
        with socket.create_connection((host, port), timeout=30) as s:
            return s.recv(8) == b'NBDMAGIC'
    except OSError:
        return False


def listening(pid):
    """(family, port) of each listening TCP socket of the process @pid."""
    inodes = set()
    for fd in os.listdir('/proc/%d/fd' % pid):
        with contextlib.suppress(FileNotFoundError):
            link = os.readlink('/proc/%d/fd/%s' % (pid, fd))
            if link.startswith('socket:['):
                inodes.add(link[8:-1])
    found = set()                   # while others come and go, the kernel may show one twice
    for name, family in (('tcp', 4), ('tcp6', 6)):
        with open('/proc/net/' + name) as f:
            for line in f.readlines()[1:]:
                fields = line.split()
                if fields[3] == '0A' and fields[9] in inodes:
                    found.add((family, int(fields[1].rpartition(':')[2], 16)))
    return sorted(found)


def test_the_first_free_port_of_a_range_is_taken():
    with Daemon() as r:
        port = free_ports(4)
        with busy(port), busy(port + 1):
            refuse(r, str(port), 'Address already in use', port=port)
            refuse(r, 'Address already in use', port=port, to=port + 1)
            with server(r, port=port, to=port + 3):
                assert listening(r.proc.pid) == [(4, port + 2)]
                assert answers('127.0.0.1', port + 2)
        with server(r, port=port, to=port + 3):
            assert answers('127.0.0.1', port)
        with server(r, port=port, to=port):
            assert answers('127.0.0.1', port)
        refuse(r, 'no port from %d to %d' % (port + 1, port), port=port + 1, to=port)


def test_ports_that_there_are_not_are_refused():
    with Daemon() as r:
        for port in ('65536', '99999', '-1', '18446744073709551617', '4294978105'):
            refuse(r, port, 'is not between 0 and 65535', port=port)
        for port in ('10809 ', '0x10', 'no-such-service'):
            refuse(r, port, port=port)
        with server(r, port='0'):
            (_, port), = listening(r.proc.pid)
            assert answers('127.0.0.1', port)


def test_families_that_are_off_are_not_used():
    with Daemon() as r:
        refuse(r, 'Cannot disable IPv4 and IPv6 at same time', ipv4=False, ipv6=False)
        for more in ({'ipv4': True}, {'ipv6': False}, {'ipv4': True, 'ipv6': False}):
            with server(r, host='', **more):
                (family, port), = listening(r.proc.pid)
                assert family == 4 and answers('127.0.0.1', port) and not answers('::1', port)
        for more in ({'ipv6': True}, {'ipv4': False}):
            refuse(r, '127.0.0.1', host='127.0.0.1', **more)
        for more in ({'ipv4': True}, {'ipv6': False}):
            refuse(r, '::1', host='::1', **more)


def test_both_families_are_used_if_none_is_named():
    with Daemon() as r:
        for more in ({}, {'ipv4': True, 'ipv6': True}):
            with server(r, host='', **more):
                found = listening(r.proc.pid)
                port = found[0][1]
                assert found == [(4, port)] + [(6, port)] * HAS_V6
                assert answers('127.0.0.1', port)
                assert answers('::1', port) == HAS_V6
        if HAS_V6:
            with server(r, host='::'):
                (_, port), = listening(r.proc.pid)
                assert answers('127.0.0.1', port) and answers('::1', port)
            with server(r, host='::', ipv6=True):
                (_, port), = listening(r.proc.pid)
                assert not answers('127.0.0.1', port) and answers('::1', port)


def test_a_server_at_several_addresses_ends_at_all_of_them():
    with Daemon() as r:
        for _ in range(3):
            before = r.state()
            with server(r, host=''):
                port = listening(r.proc.pid)[0][1]
            assert not answers('127.0.0.1', port) and not answers('::1', port)
            assert r.state() == before


def test_names_are_not_looked_up_where_numbers_are_announced():
    with Daemon() as r:
        with server(r, host='localhost'):
            assert listening(r.proc.pid)
        refuse(r, 'localhost', host='localhost', numeric=True)
        refuse(r, 'http', port='http', numeric=True)
        with server(r, numeric=True):
            assert listening(r.proc.pid)


def keeps_alive(port):
    """Does the other end of a connection to @port look after it? Timer 2 of /proc/net/tcp."""
    with socket.create_connection(('127.0.0.1', port)) as s:
        s.recv(1)
        mine = s.getsockname()[1]
        with open('/proc/net/tcp') as f:
            for line in f.readlines()[1:]:
                fields = line.split()
                if [int(x.partition(':')[2], 16) for x in fields[1:3]] == [port, mine]:
                    return fields[5].startswith('02')
    raise AssertionError('the connection is not there')


def test_keep_alive_looks_after_clients():
    with Daemon() as r:
        for more, want in (({}, False), ({'keep_alive': False}, False),
                           ({'keep_alive': True}, True)):
            with server(r, **more):
                assert keeps_alive(listening(r.proc.pid)[0][1]) == want, more


def channel(options):
    """A daemon with a monitor on the socket channel with @options."""
    return subprocess.Popen([QSD, '--chardev', 'socket,id=c,server=on,wait=off,' + options,
                             '--monitor', 'c'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def test_monitors_take_the_same_addresses():
    port = free_ports(3)
    with busy(port), channel('host=127.0.0.1,port=%d,to=%d' % (port, port + 2)) as p:
        QMP(('127.0.0.1', port + 1)).quit()
        assert p.wait() == 0
    with channel('host=localhost,port=%d,ipv4=on' % port) as p:
        QMP(('127.0.0.1', port)).quit()
        assert p.wait() == 0
    for options, text in (('host=127.0.0.1,port=99999', 'is not between'),
                          ('host=127.0.0.1,port=%d,ipv4=off' % port, '127.0.0.1'),
                          ('host=127.0.0.1,port=%d,to=x' % port, "'to'"),
                          ('path=/nowhere/s,to=5', "'to' is for sockets with a 'port'"),
                          ('path=/nowhere/s,ipv4=on', "'ipv4' is for sockets with a 'port'")):
        with channel(options) as p:
            out = p.communicate()[0]
            assert p.returncode == 1 and text in out, out


if __name__ == '__main__':
    main(globals())
