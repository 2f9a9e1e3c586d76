#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An NBD server that hangs, lies or breaks off costs its own users only, and nobody takes what did not come for data."""

import os
import socket
import struct
import threading
import time

import nbdwire as w
from daemon import Daemon
from nbdserver import SIZE, Connection, Server
from rig import import_nbd, main, skip

nbd = import_nbd()


def unix(path):
    return {'type': 'unix', 'path': path}


with Daemon() as d:
    if 'without libnbd' in d.error('blockdev-add', node_name='x', driver='nbd', server=unix('/nowhere')).desc:
        skip('the program was built without libnbd')


def add(r, name='disk', **options):
    r.add(name, driver='nbd', server=unix(r.path('s')), **options)
    r.export(name)
    return r.nbd(name)


def healthy(r):
    """Others are served meanwhile."""
    if 'healthy' not in r.nodes():
        r.add_null('healthy')
        r.export('healthy')
    h = r.nbd('healthy')
    assert h.pread(512, 0) == bytes(512)
    h.shutdown()
    r.cmd('query-named-block-nodes')


def fails(fn):
    try:
        fn()
    except nbd.Error as e:
        return e.errno
    raise AssertionError('it succeeded')


# ---- while connecting ----

def test_handshakes_of_all_kinds_end():
    greeting = struct.pack('>QQH', 0x4e42444d41474943, 0x49484156454f5054, 3)
    for said in (b'', b'x', b'HTTP/1.1 400 Bad Request\r\n\r\n', greeting[:8] + b'y' * 10, greeting[:17],
                 greeting + b'z' * 100, greeting + struct.pack('>QIII', w.REP_MAGIC, 8, 1, 0xffffffff)):
        class Says(Connection):
            def run(self, said=said):
                self.send(said)
                self.close()
        with Daemon() as r, Server(r.path('s'), Says):
            r.refuse(r.path('s'), node_name='x', driver='nbd', server=unix(r.path('s')))
            healthy(r)


def test_impossible_disks_are_refused():
    for name, attributes in (('longer than', {'size': 1 << 63}), ('longer than', {'size': (1 << 63) - 1}),
                             ('longer than', {'size': (1 << 64) - 1}),
                             ('not multiple of minimum block size', {'size': SIZE + 1, 'block_size': (512, 4096, 4096)}),
                             ('', {'flags': 0})):
        kind = type('Kind', (Connection,), attributes)
        with Daemon() as r, Server(r.path('s'), kind):
            r.refuse(name, node_name='x', driver='nbd', server=unix(r.path('s')))


def test_odd_block_sizes_do_no_harm():
    for sizes in ((512, 4096, 4096), (4096, 4096, 65536), (1, 512, 512), (65536, 65536, 65536), (3, 7, 11),
                  (0, 0, 0), (1 << 31, 1 << 31, 1 << 31), (1, 4096, 0xffffffff)):
        kind = type('Kind', (Connection,), {'block_size': sizes})
        with Daemon() as r, Server(r.path('s'), kind) as s:
            h = add(r)
            h.pwrite(b'a' * 100000, 1000)
            assert h.pread(100100, 950) == bytes(50) + b'a' * 100000 + bytes(50)
            h.zero(50000, 2000)
            assert h.pread(3, 1999) == b'a\0\0'
            h.block_status(SIZE, 0, lambda *a: 0)
            h.flush()
            h.shutdown()
            smallest, _, largest = sizes
            valid = sizes[0] in (1, 512, 4096, 65536)
            for cmd, _, offset, length in s.requests if valid else ():
                assert cmd == w.FLUSH or offset % smallest == length % smallest == 0, (cmd, offset, length)
                assert cmd not in (w.READ, w.WRITE) or length <= largest


def test_a_silent_server_costs_no_one_else():
    class Silent(Connection):
        def run(self):
            self.recv(1)                # for ever: the client waits for a greeting
    with Daemon() as r, Server(r.path('s'), Silent):
        q = r.connect()
        began = time.monotonic()
        q.send('blockdev-add', {'node-name': 'x', 'driver': 'nbd', 'server': unix(r.path('s'))})
        time.sleep(0.2)
        healthy_null(r)
        reply = q.recv_reply(timeout=60)
        assert 'did not answer' in reply['error']['desc'], reply
        assert time.monotonic() - began < 40
        q.close()


def healthy_null(r):
    r.cmd('query-named-block-nodes')
    r.cmd('query-status')


def test_a_queue_that_is_full_ends():
    """Nobody accepts: connecting itself does not end."""
    with Daemon() as r:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(r.path('s'))
            sock.listen(0)
            others = []
            for _ in range(3):
                o = socket.socket(socket.AF_UNIX)
                o.setblocking(False)
                try:
                    o.connect(r.path('s'))
                except BlockingIOError:
                    pass
                others.append(o)
            r.qmp.timeout = 60
            e = r.error('blockdev-add', node_name='x', driver='nbd', server=unix(r.path('s')))
            assert r.path('s') in e.desc and 'no answer in' in e.desc, e
            for o in others:
                o.close()


# ---- lies ----

def lying(**methods):
    return type('Lying', (Connection,), methods)


def chunk_at(offset_by=0, length_by=0, twice=False, half=False, reverse=False):
    def read(self, cookie, offset, length):
        data = bytes(self.server.data[offset:offset + length])
        if twice:                       # the first half two times, the second one never
            part = data[:length // 2]
            for done in False, True:
                self.chunk(cookie, w.CHUNK_DATA, struct.pack('>Q', offset) + part, done)
        elif half:
            self.chunk(cookie, w.CHUNK_DATA, struct.pack('>Q', offset) + data[:length // 2])
        elif reverse:
            n = length // 2
            self.chunk(cookie, w.CHUNK_DATA, struct.pack('>Q', offset + n) + data[n:], False)
            self.chunk(cookie, w.CHUNK_DATA, struct.pack('>Q', offset) + data[:n])
        else:
            data += bytes(max(0, length_by))
            self.chunk(cookie, w.CHUNK_DATA, struct.pack('>q', offset + offset_by) + data)
    return read


def test_what_did_not_come_is_not_taken_for_data():
    def nothing(self, cookie, offset, length):
        self.chunk(cookie, w.CHUNK_NONE)

    def hole_too_long(self, cookie, offset, length):
        self.chunk(cookie, w.CHUNK_HOLE, struct.pack('>QI', offset, 0xffffffff))

    def short_then_gone(self, cookie, offset, length):
        self.chunk(cookie, w.CHUNK_DATA, struct.pack('>Q', offset) + b'x', length=length + 8)
        self.close()

    def wrong_cookie(self, cookie, offset, length):
        self.simple(cookie + 1000, 0, b'')
        self.close()

    def unknown_chunk(self, cookie, offset, length):
        self.chunk(cookie, 77, b'what?')

    def bad_magic(self, cookie, offset, length):
        self.send(b'\0' * 32)

    def status(self, cookie, offset, length):
        self.chunk(cookie, w.CHUNK_STATUS, struct.pack('>III', 1, length, 0))

    def strange_error(self, cookie, offset, length):
        self.chunk(cookie, w.CHUNK_ERROR, struct.pack('>IH', 0xffffffff, 3) + b'bad')

    def no_error(self, cookie, offset, length):
        self.chunk(cookie, w.CHUNK_ERROR, struct.pack('>IH', 0, 0))
    for read in (nothing, hole_too_long, short_then_gone, wrong_cookie, unknown_chunk, bad_magic, status, strange_error,
                 no_error, chunk_at(offset_by=-SIZE), chunk_at(offset_by=4096), chunk_at(length_by=4096),
                 chunk_at(offset_by=-(1 << 62)), chunk_at(half=True)):
        with Daemon() as r, Server(r.path('s'), lying(read=read)):
            h = add(r)
            fails(lambda: h.pread(65536, 4096))
            healthy(r)
            h.shutdown()


def test_a_piece_that_came_twice_leaks_nothing():
    with Daemon() as r, Server(r.path('s'), lying(read=chunk_at(twice=True))) as s:
        s.data[:] = b'd' * SIZE
        h = add(r)
        assert h.pread(65536, 0) == b'd' * 32768 + bytes(32768)
        h.shutdown()


def test_pieces_may_come_in_any_order():
    with Daemon() as r, Server(r.path('s'), lying(read=chunk_at(reverse=True))) as s:
        s.data[:] = os.urandom(SIZE)
        h = add(r)
        assert h.pread(SIZE, 0) == s.data
        h.shutdown()


def test_lies_about_what_is_allocated_do_no_harm():
    def answer(*entries, context=1):
        def status(self, cookie, offset, length):
            self.chunk(cookie, w.CHUNK_STATUS, struct.pack('>I%dI' % len(entries), context, *entries))
        return status
    for status, works in ((answer(0, 0), False), (answer(0xffffffff, 3), True), (answer(1, 0), True),
                          (answer(), False), (answer(5), False), (answer(SIZE, 3, context=7), False),
                          (answer(SIZE, 0xffffffff), True), (answer(*[512, 0] * 1000), True)):
        with Daemon() as r, Server(r.path('s'), lying(status=status, block_size=(512, 4096, 65536))):
            h = add(r)
            if works:
                seen = []
                h.block_status(SIZE, 0, lambda c, at, e, err: seen.extend(e[::2]))
                assert seen and 0 < sum(seen) <= SIZE
            else:
                fails(lambda: h.block_status(SIZE, 0, lambda *a: 0))
            healthy(r)
            h.shutdown()


# ---- breaking off ----

def test_a_server_that_dies_of_a_request_is_given_up():
    """It would die of it again and again."""
    def request(self, cmd, flags, cookie, offset, length, payload):
        self.close()
    with Daemon() as r, Server(r.path('s'), lying(request=request)):
        h = add(r, **{'reconnect-delay': 2})
        began = time.monotonic()
        assert fails(lambda: h.pread(512, 0)) == 'EIO'
        assert 1 < time.monotonic() - began < 20
        healthy(r)
        h.shutdown()


def test_a_server_that_stops_answering_holds_up_nobody_else():
    hung = threading.Event()

    def request(self, cmd, flags, cookie, offset, length, payload):
        hung.wait(60)
        Connection.request(self, cmd, flags, cookie, offset, length, payload)
    with Daemon() as r, Server(r.path('s'), lying(request=request)):
        h = add(r)
        buf = nbd.Buffer(512)
        cookie = h.aio_pread(buf, 0)
        for _ in range(5):
            healthy(r)
        assert not h.aio_command_completed(cookie)
        hung.set()
        while not h.aio_command_completed(cookie):
            h.poll(-1)
        h.shutdown()


def test_large_zeroes_are_divided_where_the_server_wants_it():
    def request(self, cmd, flags, cookie, offset, length, payload):
        if cmd in (w.WRITE_ZEROES, w.TRIM) and length > 65536:
            self.simple(cookie, w.EOVERFLOW if length % 3 else w.EINVAL)
        else:
            Connection.request(self, cmd, flags, cookie, offset, length, payload)
    with Daemon() as r, Server(r.path('s'), lying(request=request, block_size=(512, 4096, 65536))) as s:
        s.data[:] = b'x' * SIZE
        h = add(r, discard='unmap')
        h.zero(SIZE, 0)
        assert s.data == bytes(SIZE)
        h.trim(SIZE, 0)
        h.flush()
        h.shutdown()


def test_a_server_without_abilities_is_enough():
    class Poor(Connection):
        flags = w.HAS_FLAGS
        takes_structured = False

        def request(self, cmd, *args):
            assert cmd in (w.READ, w.WRITE), cmd
            super().request(cmd, *args)
    with Daemon() as r, Server(r.path('s'), Poor) as s:
        h = add(r, discard='unmap')
        h.pwrite(b'x' * 4096, 512, nbd.CMD_FLAG_FUA)
        h.zero(1024, 1024)
        h.flush()
        h.trim(4096, 16384)
        assert h.pread(4608, 0) == bytes(512) + b'x' * 512 + bytes(1024) + b'x' * 2560
        h.shutdown()


def test_a_node_goes_while_its_server_is_away():
    with Daemon() as r:
        s = Server(r.path('s'))
        r.add('disk', driver='nbd', server=unix(r.path('s')), **{'reconnect-delay': 100})
        s.close()
        time.sleep(0.3)
        began = time.monotonic()
        r.cmd('blockdev-del', node_name='disk')
        assert time.monotonic() - began < 5


main(globals())
