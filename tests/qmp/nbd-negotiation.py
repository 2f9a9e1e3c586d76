#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever an NBD client says in the handshake is answered as the protocol document wants it."""

import os
import select
import struct
import time

import nbdwire as w
from nbdwire import Wire
from rig import Rig, main

MiB = 1 << 20


class Server(Rig):
    """Exports 'disk' (writable, described) and 'ro' of an in-memory node of 4 MiB."""

    def __enter__(self):
        self.start('--blockdev', 'null-co,node-name=n0,size=4M,read-zeroes=on')
        self.export('n0', name='disk', description='the disk', allocation_depth=True)
        self.export('n0', name='ro', writable=False)
        self.sock = self.path('nbd.sock')
        return self

    def wire(self, **kwargs):
        return Wire(self.sock, **kwargs)

    def still_serves(self):
        with self.wire() as c:
            c.negotiate('disk')
            c.disconnect()


def test_the_greeting_offers_fixed_newstyle_and_no_zeroes():
    with Server() as r, r.wire() as c:
        assert c.server_flags == w.FIXED_NEWSTYLE | w.NO_ZEROES


def test_unknown_client_flags_end_the_connection():
    with Server() as r:
        for flags in (4, 3 | 1 << 31, 0xffffffff):
            with r.wire(flags=flags) as c:
                c.expect_closed()
        r.still_serves()


def test_a_wrong_option_magic_ends_the_connection():
    with Server() as r:
        with r.wire() as c:
            c.send_option(w.OPT_LIST, magic=b'IHAVEOPX')
            c.expect_closed()
        r.still_serves()


def test_an_unknown_option_is_refused_and_the_handshake_goes_on():
    with Server() as r, r.wire() as c:
        for code in (0, 4, 11, 77, 0x7fffffff, 0xffffffff):
            assert c.option_error(code) == w.ERR_UNSUP
            assert c.option_error(code, b'some data') == w.ERR_UNSUP
        c.negotiate('disk')
        assert c.alive()


def test_a_long_option_is_read_and_refused():
    with Server() as r, r.wire() as c:
        assert c.option_error(77, bytes(60000)) in (w.ERR_UNSUP, w.ERR_TOO_BIG)
        assert c.option_error(77, bytes(3 * MiB)) in (w.ERR_UNSUP, w.ERR_TOO_BIG)
        assert c.option_error(w.OPT_INFO, bytes(3 * MiB)) in (w.ERR_TOO_BIG, w.ERR_INVALID)
        c.negotiate('disk')


def test_an_option_beyond_32_mib_is_not_read_to_its_end():
    """CVE-2017-15119: a client must not keep a server busy reading what it will not use."""
    with Server() as r:
        for length in (32 * MiB + 1, 0xffffffff):
            with r.wire() as c:
                c.send_option(77, length=length)
                c.expect_closed()
        r.still_serves()


def test_many_options_are_answered_in_their_order():
    with Server() as r, r.wire() as c:
        for code in range(100, 200):
            c.send_option(code, b'x' * (code % 7))
        for code in range(100, 200):
            assert c.recv_reply(code)[0] == w.ERR_UNSUP


def test_options_may_come_byte_by_byte():
    with Server() as r, r.wire(flags=None) as c:
        c.read_greeting()
        for byte in struct.pack('>I', 3) + w.OPTS_MAGIC + struct.pack('>II', w.OPT_LIST, 0):
            c.send(bytes([byte]))
        kinds = [c.recv_reply(w.OPT_LIST)[0] for _ in range(3)]
        assert kinds == [w.REP_SERVER, w.REP_SERVER, w.REP_ACK]


# -- EXPORT_NAME

def test_export_name_answers_with_size_and_flags():
    with Server() as r:
        for flags, zeroes in ((3, 0), (1, 124), (0, 124)):
            with r.wire(flags=flags) as c:
                c.send_option(w.OPT_EXPORT_NAME, b'disk')
                size, bits = c.unpack('QH')
                assert size == 4 * MiB
                assert bits & w.HAS_FLAGS and not bits & (w.READ_ONLY | w.SEND_DF)
                assert c.recv(zeroes) == bytes(zeroes)
                assert c.read(0, 512) == bytes(512)


def test_export_name_of_an_unknown_export_ends_the_connection():
    with Server() as r:
        for name in (b'nosuch', b'', b'disk\0', b'dis', b'disk2', bytes(4), b'x' * 4096,
                     b'x' * 4097, b'x' * 5 * MiB):
            with r.wire() as c:
                try:
                    c.send_option(w.OPT_EXPORT_NAME, name)
                    c.expect_closed()
                except w.Closed:
                    pass
        r.still_serves()


def test_a_client_without_fixed_newstyle_may_only_name_its_export():
    with Server() as r:
        for code in (w.OPT_LIST, w.OPT_GO, 77):
            with r.wire(flags=0) as c:
                c.send_option(code)
                c.expect_closed()
        r.still_serves()


# -- names

def test_export_names_of_4096_bytes():
    """CVE-2017-15118: the longest name that the protocol allows is a name like any other."""
    with Server() as r:
        name = 'ä' * 2047 + 'xy'
        assert len(name.encode()) == 4096
        r.cmd('block-export-add', type='nbd', id='long', node_name='n0', name=name)
        with r.wire() as c:
            c.negotiate(name, meta=['base:allocation'])
            assert c.contexts and c.size == 4 * MiB and c.alive()
        with r.wire() as c:
            c.send_option(w.OPT_EXPORT_NAME, name.encode())
            assert c.unpack('QH')[0] == 4 * MiB
        with r.wire() as c:
            assert name.encode() in [d[4:] for _, d in c.option(w.OPT_LIST)]
            infos = [d for _, d in c.option(w.OPT_INFO, w.info_option(name, w.INFO_NAME))]
            assert struct.pack('>H', w.INFO_NAME) + name.encode() in infos
        e = r.error('block-export-add', type='nbd', id='longer', node_name='n0', name=name + 'z')
        assert 'too long' in e.desc, e
        e = r.error('block-export-add', type='nbd', id='longer', node_name='n0', name='q',
                    description='d' * 4097)
        assert 'too long' in e.desc, e


def test_unknown_names_are_refused_whatever_their_length():
    """CVE-2020-10761: an error text that does not fit is cut, it is no reason to die."""
    with Server() as r, r.wire() as c:
        for n in (1, 255, 256, 1000, 4000, 4095, 4096):
            for code in (w.OPT_INFO, w.OPT_GO):
                assert c.option_error(code, w.info_option(b'n' * n)) == w.ERR_UNKNOWN
        for n in (4097, 5000, 60000):
            assert c.option_error(w.OPT_GO, w.info_option(b'n' * n)) in (w.ERR_INVALID,
                                                                      w.ERR_TOO_BIG, w.ERR_UNKNOWN)
        c.negotiate('disk')


def test_a_name_with_a_nul_byte_is_invalid():
    with Server() as r, r.wire() as c:
        for name in (b'disk\0', b'\0', b'disk\0junk'):
            assert c.option_error(w.OPT_GO, w.info_option(name)) == w.ERR_INVALID
            assert c.option_error(w.OPT_INFO, w.info_option(name)) == w.ERR_INVALID
        assert c.option(w.OPT_STRUCTURED)[0][0] == w.REP_ACK
        assert c.option_error(w.OPT_SET_META, w.meta_option(b'disk\0', 'base:allocation')) \
            == w.ERR_INVALID


# -- INFO and GO

def infos_of(replies):
    assert replies[-1] == (w.REP_ACK, b''), replies
    assert all(kind == w.REP_INFO for kind, _ in replies[:-1])
    return {struct.unpack('>H', d[:2])[0]: d[2:] for _, d in replies[:-1]}


def test_info_tells_all_that_was_asked_for_and_the_size_always():
    with Server() as r, r.wire() as c:
        infos = infos_of(c.option(w.OPT_INFO, w.info_option('disk')))
        assert struct.unpack('>QH', infos[w.INFO_EXPORT])[0] == 4 * MiB
        infos = infos_of(c.option(w.OPT_INFO, w.info_option('disk', 0, 1, 2, 3, 3, 2, 1, 99)))
        assert infos[w.INFO_NAME] == b'disk'
        assert infos[w.INFO_DESCRIPTION] == b'the disk'
        least, best, most = struct.unpack('>III', infos[w.INFO_BLOCK_SIZE])
        assert least <= best <= most
        assert least & (least - 1) == 0 and best & (best - 1) == 0
        assert most == 32 * MiB
        # no description: none is sent
        infos = infos_of(c.option(w.OPT_INFO, w.info_option('ro', 2)))
        assert w.INFO_DESCRIPTION not in infos
        # INFO selects nothing: another export may still be chosen
        c.negotiate('ro')
        assert c.export_flags & w.READ_ONLY


def test_go_tells_the_same_and_goes_on_with_transmission():
    with Server() as r, r.wire() as c:
        infos = infos_of(c.option(w.OPT_GO, w.info_option('disk', 1, 2, 3)))
        assert sorted(infos) == [0, 1, 2, 3]
        assert c.alive()


def test_malformed_info_and_go_are_invalid():
    with Server() as r, r.wire() as c:
        for data in (b'', b'\0', bytes(5), struct.pack('>I', 4) + b'disk',
                     struct.pack('>I', 0xffffffff) + b'disk\0\0', struct.pack('>I', 5) + b'disk\0\0',
                     w.info_option('disk') + b'x', w.info_option('disk', 1)[:-1],
                     w.info_option('disk', 1)[:-2], w.info_option('disk') + b'\0\1',
                     struct.pack('>I', 0x7ffffffe) + bytes(100)):
            for code in (w.OPT_INFO, w.OPT_GO):
                kind = c.option_error(code, data)
                assert kind in (w.ERR_INVALID, w.ERR_TOO_BIG), (code, data, hex(kind))
        c.negotiate('disk')


def test_flags_tell_what_an_export_can_do():
    with Server() as r:
        with r.wire() as c:
            c.negotiate('disk', structured=False)
            assert not c.export_flags & w.SEND_DF      # no structured replies, no DF
        with r.wire() as c:
            c.negotiate('disk')
            want = (w.HAS_FLAGS | w.SEND_FLUSH | w.SEND_FUA | w.SEND_TRIM | w.SEND_WRITE_ZEROES |
                    w.SEND_DF | w.MULTI_CONN | w.SEND_CACHE | w.SEND_FAST_ZERO)
            assert c.export_flags == want, bin(c.export_flags)
        with r.wire() as c:
            c.negotiate('ro')
            assert c.export_flags & w.READ_ONLY
            assert not c.export_flags & (w.SEND_TRIM | w.SEND_WRITE_ZEROES)


def test_several_connections_are_not_offered_where_one_is_the_limit():
    with Server() as r:
        for limit, offered in ((1, False), (2, True), (0, True)):
            path = r.path('limit%d.sock' % limit)
            server = {'type': 'unix', 'data': {'path': path}}
            r.qmp.cmd('nbd-server-start', {'id': 's%d' % limit, 'addr': server,
                                           'max-connections': limit})
            r.cmd('block-export-add', type='nbd', id='e%d' % limit, server='s%d' % limit,
                  node_name='n0', name='x')
            with w.Wire(path) as c:
                c.negotiate('x')
                assert bool(c.export_flags & w.MULTI_CONN) == offered, limit
            with w.Wire(path) as c:
                c.send_option(w.OPT_EXPORT_NAME, b'x')
                _, flags = c.unpack('QH')
                assert bool(flags & w.MULTI_CONN) == offered, limit


def test_error_texts_are_utf8_whatever_the_client_sends():
    """option_error() checks the text."""
    names = [b'\xff\xfe', b'\xc3', b'a\x80b', b'\xed\xa0\x80', b'\xf0\x9f\x98' * 1365,
             '\u20ac'.encode() * 1365 + b'x', b'x' + '\u20ac'.encode() * 1365, b'\xe2\x82' * 2048]
    with Server() as r, r.wire() as c:
        assert c.option(w.OPT_STRUCTURED) == [(w.REP_ACK, b'')]
        for name in names:
            for code, data in ((w.OPT_INFO, w.name_option(name) + bytes(2)),
                               (w.OPT_GO, w.name_option(name) + bytes(2)),
                               (w.OPT_SET_META, w.name_option(name) + bytes(4)),
                               (w.OPT_LIST_META, w.name_option(name) + bytes(4))):
                assert c.option_error(code, data) == w.ERR_UNKNOWN, (code, name)


# -- LIST, ABORT, STARTTLS, STRUCTURED_REPLY

def test_list_names_all_exports_with_their_descriptions():
    with Server() as r, r.wire() as c:
        want = [(w.REP_SERVER, w.name_option('disk') + b'the disk'),
                (w.REP_SERVER, w.name_option('ro')), (w.REP_ACK, b'')]
        assert c.option(w.OPT_LIST) == want
        assert c.option_error(w.OPT_LIST, b'x') == w.ERR_INVALID
        r.cmd('block-export-del', id='exp-disk')
        r.cmd('block-export-del', id='exp-ro')
        assert c.option(w.OPT_LIST) == [(w.REP_ACK, b'')]


def test_abort_is_acknowledged_and_ends_the_connection():
    with Server() as r:
        with r.wire() as c:
            assert c.option(w.OPT_ABORT) == [(w.REP_ACK, b'')]
            c.expect_closed()
        with r.wire() as c:                 # a client need not wait for the answer
            c.send_option(w.OPT_ABORT)
        with r.wire() as c:
            c.send_option(w.OPT_ABORT, b'data that nobody asked for')
            assert c.recv_reply(w.OPT_ABORT)[0] in (w.REP_ACK, w.ERR_INVALID)
        r.still_serves()


def test_starttls_without_tls_is_against_policy():
    with Server() as r, r.wire() as c:
        assert c.option_error(w.OPT_STARTTLS) == w.ERR_POLICY
        assert c.option_error(w.OPT_STARTTLS, b'x') == w.ERR_INVALID
        c.negotiate('disk')


def test_structured_replies_are_agreed_once():
    with Server() as r, r.wire() as c:
        assert c.option_error(w.OPT_STRUCTURED, b'x') == w.ERR_INVALID
        assert c.option(w.OPT_STRUCTURED) == [(w.REP_ACK, b'')]
        assert c.option_error(w.OPT_STRUCTURED) == w.ERR_INVALID
        c.structured = True
        c.go('disk')
        assert c.call(w.READ, 0, 512)[0][0] in (w.CHUNK_DATA, w.CHUNK_HOLE)


# -- metadata contexts

def names_of(replies):
    assert replies[-1][0] == w.REP_ACK
    return {d[4:].decode(): struct.unpack('>I', d[:4])[0] for _, d in replies[:-1]}


def test_contexts_need_structured_replies():
    with Server() as r, r.wire() as c:
        for code in (w.OPT_LIST_META, w.OPT_SET_META):
            assert c.option_error(code, w.meta_option('disk', 'base:allocation')) == w.ERR_INVALID


def test_contexts_can_be_listed():
    both = {'base:allocation', 'qemu:allocation-depth'}
    with Server() as r, r.wire() as c:
        c.option(w.OPT_STRUCTURED)
        for queries, want in (
                ([], both), (['base:'], {'base:allocation'}), (['qemu:'], both - {'base:allocation'}),
                (['base:allocation'], {'base:allocation'}), (['base:', 'qemu:'], both),
                (['x:unknown'], set()), (['base'], set()), (['base:alloc'], set()),
                (['base:allocation', 'base:', 'base:allocation'], {'base:allocation'}),
                ([''], set()), (['x' * 4096], set())):
            got = c.option(w.OPT_LIST_META, w.meta_option('disk', *queries))
            assert set(names_of(got)) == want, (queries, got)
        # offered where the export says so
        assert set(names_of(c.option(w.OPT_LIST_META, w.meta_option('ro')))) == {'base:allocation'}
        assert c.option_error(w.OPT_LIST_META, w.meta_option('nosuch')) == w.ERR_UNKNOWN


def test_contexts_can_be_set_by_their_full_names():
    with Server() as r, r.wire() as c:
        c.option(w.OPT_STRUCTURED)
        got = names_of(c.option(w.OPT_SET_META, w.meta_option('disk', 'base:')))
        assert got == {}                    # "base:" is for listing
        got = names_of(c.option(w.OPT_SET_META, w.meta_option('disk')))
        assert got == {}
        got = names_of(c.option(w.OPT_SET_META, w.meta_option(
            'disk', 'x:y', 'base:allocation', 'qemu:allocation-depth')))
        assert len(set(got.values())) == 2 and set(got) == {'base:allocation',
                                                            'qemu:allocation-depth'}
        c.structured = True
        c.go('disk')
        assert set(c.block_status(0, MiB)) == set(got.values())


def test_the_last_set_of_contexts_counts():
    with Server() as r:
        for bad in (w.meta_option('nosuch', 'base:allocation'), b'', w.meta_option('disk', 'x:y'),
                    w.meta_option('ro', 'base:allocation')):
            with r.wire() as c:
                c.option(w.OPT_STRUCTURED)
                c.option(w.OPT_SET_META, w.meta_option('disk', 'base:allocation'))
                c.option(w.OPT_SET_META, bad)
                c.structured = True
                c.go('disk')                # contexts of nothing, or of another export
                assert c.error(w.BLOCK_STATUS, 0, MiB) == w.EINVAL
                assert c.alive()


def test_malformed_context_options_are_invalid():
    good = w.meta_option('disk', 'base:allocation')
    with Server() as r, r.wire() as c:
        c.option(w.OPT_STRUCTURED)
        for data in (b'', bytes(3), bytes(7), good[:-1], good + b'x', good[:9], good[:12],
                     w.name_option('disk') + struct.pack('>I', 0xffffffff),
                     w.name_option('disk') + struct.pack('>II', 1, 0xffffffff) + b'base:',
                     struct.pack('>I', 0xffffffff) + good[4:], bytes(60000)):
            for code in (w.OPT_SET_META, w.OPT_LIST_META):
                kind = c.option_error(code, data)
                assert kind in (w.ERR_INVALID, w.ERR_TOO_BIG, w.ERR_UNKNOWN), (data, hex(kind))
        c.structured = True
        c.go('disk')


# -- exports that come and go, clients that do nothing

def test_an_export_that_goes_is_no_longer_offered():
    with Server() as r, r.wire() as c:
        assert c.option(w.OPT_INFO, w.info_option('disk'))[-1][0] == w.REP_ACK
        r.cmd('block-export-del', id='exp-disk')
        assert c.option_error(w.OPT_GO, w.info_option('disk')) == w.ERR_UNKNOWN
        c.negotiate('ro')


def fill_with_questions(c):
    """Ask about 'disk', reading nothing, until the server waits for us to read its answers."""
    data = w.info_option('disk')
    question = w.OPTS_MAGIC + struct.pack('>II', w.OPT_INFO, len(data)) + data
    c.sock.setblocking(False)
    while select.select([], [c.sock], [], 1)[1]:
        try:
            sent = c.sock.send(question * 64)
            question = question[sent % len(question):] + question[:sent % len(question)]
        except BlockingIOError:
            pass
    c.sock.settimeout(20)


def test_an_export_that_goes_takes_those_along_who_are_asking_about_it():
    with Server() as r:
        r.cmd('nbd-server-stop')
        # Nothing but the export's end shall end the connection.
        r.cmd('nbd-server-start', handshake_max_seconds=0,
              addr={'type': 'unix', 'data': {'path': r.sock}})
        r.export('n0', name='disk')
        r.export('n0', name='ro', writable=False)
        c = r.wire()
        fill_with_questions(c)
        r.cmd('block-export-del', id='exp-disk')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED', id='exp-disk')
        # What was answered before may still come, and then the end.
        while True:
            try:
                if not c.sock.recv(65536):
                    break
            except ConnectionResetError:
                break
        with r.wire() as other:
            other.negotiate('ro')


def test_a_client_that_does_not_choose_in_time_is_dropped():
    with Server() as r:
        path = r.path('short.sock')
        r.cmd('nbd-server-start', id='short', handshake_max_seconds=1,
              addr={'type': 'unix', 'data': {'path': path}})
        r.cmd('block-export-add', type='nbd', id='s', node_name='n0', name='s', server='short')
        served = Wire(path).negotiate('s')
        silent = [Wire(path, flags=None), Wire(path)]
        trickle = Wire(path)
        start = time.monotonic()
        try:                                # it says something all the time, but never chooses
            while time.monotonic() - start < 60:
                trickle.option(w.OPT_LIST)
                time.sleep(0.1)
            raise AssertionError('a client that does not choose an export was not dropped')
        except w.Closed:
            pass
        took = time.monotonic() - start
        assert took > 0.5, took
        silent[0].read_greeting()
        for c in silent:
            c.expect_closed()
        assert served.alive()               # who has chosen may take all the time in the world


def test_the_time_limit_can_be_switched_off():
    with Server() as r:
        path = r.path('patient.sock')
        r.cmd('nbd-server-start', id='patient', handshake_max_seconds=0,
              addr={'type': 'unix', 'data': {'path': path}})
        with Wire(path) as c:
            time.sleep(1.5)
            assert c.option(w.OPT_LIST)[-1][0] == w.REP_ACK
            r.cmd('nbd-server-stop', id='patient')      # and it does not outlive its server
            c.expect_closed()
            assert not os.path.exists(path)


def test_clients_beyond_the_limit_wait_for_their_turn():
    with Server() as r:
        path = r.path('two.sock')
        r.cmd('nbd-server-start', id='two', max_connections=2,
              addr={'type': 'unix', 'data': {'path': path}})
        r.cmd('block-export-add', type='nbd', id='t', node_name='n0', name='t', server='two')
        first, second = Wire(path).negotiate('t'), Wire(path)
        third = Wire(path, flags=None, timeout=0.5)
        try:
            third.read_greeting()
            raise AssertionError('a third client was served')
        except TimeoutError:
            pass
        third.sock.settimeout(20)
        second.close()
        third.greet(3)
        third.negotiate('t')
        assert first.alive() and third.alive()


def test_clients_that_vanish_leave_nothing_behind():
    with Server() as r:
        def fds():
            return len(os.listdir('/proc/%d/fd' % r.proc.pid))
        before = fds()
        for i in range(100):
            c = r.wire(flags=None if i % 4 == 0 else 3)
            if i % 4 == 2:
                c.send(w.OPTS_MAGIC + b'\0\0')
            elif i % 4 == 3:
                c.send_option(w.OPT_INFO, b'half', length=4000)
            c.close()
        w.wait_until(lambda: fds() == before)
        r.still_serves()


def test_stopping_the_server_does_not_wait_for_half_open_clients():
    with Server() as r:
        clients = [r.wire(flags=None), r.wire(), r.wire().negotiate('disk')]
        start = time.monotonic()
        r.cmd('nbd-server-stop')
        assert time.monotonic() - start < w.HANDSHAKE_SECONDS
        clients[0].read_greeting()
        for c in clients:
            c.expect_closed()
        assert r.cmd('query-block-exports') == []


main(globals())
