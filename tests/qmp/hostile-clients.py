#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that break the rules of NBD and QMP, one by one and every one: each is answered or dropped, memory
stays bounded, and another client gets its answers all the while."""

import select
import struct
import time

from nbdwire import (ERR, OPT_GO, OPT_INFO, OPT_LIST, OPT_LIST_META, OPT_SET_META, OPT_STRUCTURED,
                     REP_ACK, BLOCK_STATUS, CACHE, FLUSH, READ, TRIM, WRITE, WRITE_ZEROES,
                     DF, FAST_ZERO, FUA, NO_HOLE, REQ_ONE, EINVAL, ENOSPC, ENOTSUP,
                     Closed, NbdError, Wire, info_option, meta_option)
from rig import Rig, main, requires

requires('qemu-img')
SIZE = 1 << 20
MEMORY = 256 << 10          # KiB that hostile clients may make the daemon grow by


class Bystander:
    """Two well-behaved clients, asked in between."""

    def __init__(self, r):
        self.r = r
        self.wire = Wire(r.path('nbd.sock')).negotiate('disk0', meta=['base:allocation'])
        self.wire.write(4096, b'here' * 128)
        self.monitor = r.connect()
        self.peak = self.memory()

    def memory(self):
        with open('/proc/%d/status' % self.r.proc.pid) as f:
            return next(int(line.split()[1]) for line in f if line.startswith('VmHWM'))

    def check(self):
        assert self.wire.read(4096, 512) == b'here' * 128
        assert 'qemu' in self.monitor.cmd('query-version')
        if not self.r.is_sanitized():
            assert self.memory() - self.peak < MEMORY, (self.peak, self.memory())


def start(r):
    r.drive('disk0', 'raw', '1M')
    r.start()
    r.export('disk0')
    return Bystander(r)


BIG = 1 << 20
CROWD = 24


def crowd(r):
    """Clients that make the daemon hold all it lets them, and then do not move."""
    clients = []
    for i in range(CROWD):
        w = Wire(r.path('nbd.sock')).negotiate('big', structured=False)
        if i % 2:
            w.send(w.request_bytes(READ, 0, BIG) * 64)
        else:                                   # announce a payload and send some of it
            w.send(w.request_bytes(WRITE, 0, 4 * BIG) + bytes(BIG // 8))
        clients.append(w)
    return clients


def test_a_crowd_that_does_not_move_is_bounded_and_holds_up_nobody():
    with Rig() as r:
        r.create('big.raw', 'raw', '64M')
        r.drive('disk0', 'raw', '1M')
        r.start('--nbd-memory', '64M', '--object', 'iothread,id=io0', '--blockdev',
                'raw,node-name=big,file.driver=file,file.filename=' + r.path('big.raw'))
        r.export('disk0')
        r.export('big', iothread='io0')
        other = Bystander(r)
        clients = crowd(r)
        for _ in range(50):                     # what is small never waits
            other.check()
        # What is large has its turn after those who keep memory without moving have lost theirs.
        with Wire(r.path('nbd.sock'), timeout=120).negotiate('big') as large:
            large.write(0, b'large' * (BIG // 5))
            assert large.read(0, 5) == b'large'
            large.write(32 * BIG, bytes(32 * BIG))
        other.check()
        assert any(is_dropped(w) for w in clients)
        for w in clients:
            w.close()


def stacks_that_a_process_can_have():
    with open('/proc/sys/vm/max_map_count') as f:
        return int(f.read()) // 2               # a stack and its guard page


def wait_until_it_reads_no_more(r):
    """The number of mappings stops to grow, or the daemon is gone."""
    seen, now = 0, 1
    while now > seen:
        time.sleep(1)
        with open('/proc/%d/maps' % r.proc.pid) as f:
            seen, now = now, sum(1 for _ in f)


def limit(r, name, **limits):
    none = {'bps': 0, 'bps_rd': 0, 'bps_wr': 0, 'iops': 0, 'iops_rd': 0, 'iops_wr': 0}
    r.qmp.cmd('block_set_io_throttle', dict(none, id=name, **limits))


def test_more_requests_than_there_are_stacks_hold_up_only_their_own_disk():
    """A disk with limits has one request a second; its clients send all they may, without payloads."""
    with Rig() as r:
        # A sanitizer's stacks are much larger.
        requests = 3000 if r.is_sanitized() else stacks_that_a_process_can_have() + 3000
        r.drive('disk0', 'raw', '1M')
        r.start('--object', 'iothread,id=io0',
                '--blockdev', 'null-co,node-name=many,size=1M')
        r.export('disk0')
        r.export('many', iothread='io0')
        limit(r, 'exp-many', iops=1)
        other = Bystander(r)
        clients = []
        for _ in range(requests // 256 + 1):
            clients.append(Wire(r.path('nbd.sock'), timeout=300).negotiate('many'))
            clients[-1].send(clients[-1].request_bytes(TRIM, 0, 512) * 256)
        wait_until_it_reads_no_more(r)
        other.check()
        limit(r, 'exp-many', iops=0)
        for w in clients:                       # none was lost
            for _ in range(256):
                answer = w.recv_answer()[1:]
                assert answer == (True, 'simple', 0), answer
            w.close()
        other.check()


def test_a_disk_that_hangs_does_not_take_the_stacks_of_others_on_its_thread():
    """Hundreds of connections of its, each with the requests that are always served."""
    with Rig() as r:
        count = 50 if r.is_sanitized() else 450
        r.drive('disk0', 'raw', '1M')
        r.start('--blockdev', 'null-co,node-name=many,size=1M')
        r.export('disk0')
        r.export('many')
        limit(r, 'exp-many', iops=1)
        clients = [Wire(r.path('nbd.sock'), timeout=300).negotiate('many') for _ in range(count)]
        old = Wire(r.path('nbd.sock'), timeout=30).negotiate('disk0', structured=False)
        for w in clients:
            w.send(w.request_bytes(TRIM, 0, 512) * 256)
        wait_until_it_reads_no_more(r)
        for _ in range(4):
            new = Wire(r.path('nbd.sock'), timeout=30).negotiate('disk0', structured=False)
            for w in old, new:
                w.send(w.request_bytes(TRIM, 0, 512) * 200)
                for _ in range(200):
                    assert w.recv_answer()[1:] == (True, 'simple', 0)
            new.close()
        limit(r, 'exp-many', iops=0)
        for w in clients:                       # none was lost
            for _ in range(256):
                answer = w.recv_answer()[1:]
                assert answer == (True, 'simple', 0), answer
            w.close()


def test_clients_that_do_not_move_are_left_alone_while_there_is_memory():
    with Rig() as r:
        r.drive('disk0', 'raw', '64M')
        r.start()
        r.export('disk0')
        idle = Wire(r.path('nbd.sock')).negotiate('disk0', structured=False)
        cookies = {idle.request(READ, 0, BIG) for _ in range(30)}
        with Wire(r.path('nbd.sock')).negotiate('disk0') as w:
            stop = time.monotonic() + 8
            while time.monotonic() < stop:
                w.write(0, bytes(8 * BIG))
        while cookies:
            cookie, *answer = idle.recv_answer()
            assert answer == [True, 'simple', 0]
            cookies.remove(cookie)
            idle.recv(BIG)


def is_dropped(w):
    """Has the server ended the connection, whatever it sent before?"""
    p = select.poll()
    p.register(w.sock, 0)
    return p.poll(0) != []


def damages(data):
    """What can be wrong with the data of an option: its length, and each count and length in it."""
    for n in range(len(data)):
        yield data[:n]
    yield data + b'\0'
    yield data + data
    for at in range(0, max(len(data) - 3, 0)):
        old, = struct.unpack_from('>I', data, at)
        for new in (0, 1, old + 1, old - 1, 0x7fffffff, 0xffffffff, len(data)):
            yield data[:at] + struct.pack('>I', new & 0xffffffff) + data[at + 4:]


def test_options_of_every_wrong_length():
    with Rig() as r:
        other = start(r)
        options = {
            OPT_LIST: b'', OPT_STRUCTURED: b'', OPT_INFO: info_option('disk0', 0, 3),
            OPT_GO: info_option('disk0', 3), OPT_LIST_META: meta_option('disk0', 'base:', 'qemu:'),
            OPT_SET_META: meta_option('disk0', 'base:allocation'),
        }
        count = 0
        for code, good in options.items():
            w = Wire(r.path('nbd.sock'))
            w.option(OPT_STRUCTURED)
            for data in damages(good):
                count += 1
                try:
                    kind = w.option(code, data)[-1][0]
                except Closed:
                    kind = None
                if kind is None or (code == OPT_GO and kind == REP_ACK):
                    w.close()                   # dropped, or past the handshake
                    w = Wire(r.path('nbd.sock'))
                    w.option(OPT_STRUCTURED)
                else:
                    assert kind == REP_ACK or kind & ERR, (code, data, kind)
            assert w.option(code, good)[-1][0] in (REP_ACK, ERR + 3), code
            w.close()
            other.check()
        assert count > 500, count


def test_options_out_of_order_and_twice():
    with Rig() as r:
        other = start(r)
        contexts = meta_option('disk0', 'base:allocation')
        for order in ((OPT_SET_META, OPT_STRUCTURED), (OPT_STRUCTURED, OPT_STRUCTURED),
                      (OPT_STRUCTURED, OPT_SET_META, OPT_SET_META), (OPT_INFO, OPT_INFO, OPT_LIST)):
            with Wire(r.path('nbd.sock')) as w:
                for code in order:
                    w.option(code, contexts if code == OPT_SET_META else
                             info_option('disk0') if code == OPT_INFO else b'')
                w.structured = OPT_STRUCTURED in order
                w.go('disk0')
                assert len(w.read(0, 512)) == 512
                # contexts that were set before structured replies were agreed are none
                if order[0] != OPT_STRUCTURED or OPT_SET_META not in order:
                    assert w.error(BLOCK_STATUS, 0, 512) == 22
            other.check()


PAYLOAD = 32 << 20
FLAGS = {READ: FUA | DF, WRITE: FUA, FLUSH: FUA, TRIM: FUA, CACHE: FUA, BLOCK_STATUS: FUA | REQ_ONE,
         WRITE_ZEROES: FUA | NO_HOLE | FAST_ZERO}


def errors_of(cmd, offset, length, flags):
    """The errors that the protocol has for the request; 0 is success."""
    if cmd not in FLAGS or flags & ~FLAGS[cmd]:
        return {EINVAL}
    if cmd == FLUSH:
        return {EINVAL} if offset or length else {0}
    if (cmd in (READ, CACHE) and length > PAYLOAD) or (cmd == BLOCK_STATUS and length == 0):
        return {EINVAL}
    if offset + length > SIZE:
        return {ENOSPC} if cmd in (WRITE, WRITE_ZEROES) else {EINVAL}
    return {0, ENOTSUP} if flags & FAST_ZERO else {0}


def test_requests_with_every_flag_and_at_every_edge():
    with Rig() as r:
        other = start(r)
        w = Wire(r.path('nbd.sock')).negotiate('disk0', meta=['base:allocation'])
        edges = (0, 1, 511, SIZE - 512, SIZE - 1, SIZE, SIZE + 1, 1 << 32, 1 << 63, (1 << 64) - 1)

        def check(cmd, offset, length, flags, payload=b''):
            try:
                w.call(cmd, offset, length, flags, payload)
                number = 0
            except NbdError as e:
                number = e.number
            assert number in errors_of(cmd, offset, length, flags), (cmd, offset, length, flags, number)

        for cmd in (READ, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS, 9, 0xffff):
            for offset in edges:
                for length in (0, 1, 512, SIZE, 0xffffffff):
                    for flags in (0, 1, 2, 4, 8, 16, 32, 0xffff):
                        inside = offset + length <= SIZE
                        if cmd in (TRIM, WRITE_ZEROES) and inside and offset <= 4608:
                            continue            # what the other client reads
                        check(cmd, offset, length, flags)
            assert w.alive()
            other.check()
        for offset in edges:
            for flags in (0, FUA, 0xfffe) if offset > 4608 else (0xfffe,):
                check(WRITE, offset, 512, flags, b'w' * 512)
        other.check()


def test_the_character_nul_is_an_error_of_its_request():
    """It is valid JSON, so it is answered with the id, and no name or path ends at it."""
    nul = chr(0)
    with Rig() as r:
        r.drive('disk0', 'raw', '1M')
        m = r.start()
        before = r.state()

        def error(execute, arguments=None):
            reply = m.cmd_obj({'execute': execute, 'id': ['a' + nul, {'b' + nul: nul}],
                               **({} if arguments is None else {'arguments': arguments})})
            assert reply['id'] == ['a' + nul, {'b' + nul: nul}], reply
            return reply['error']

        assert error('query-version' + nul)['class'] == 'CommandNotFound'
        for command in m.cmd('query-commands'):
            if command['name'] not in ('qmp_capabilities', 'quit'):
                e = error(command['name'], {'x' + nul: 1})
                assert e['class'] == 'GenericError' and 'JSON' not in e['desc'], (command, e)
        for command, arguments in (
                ('blockdev-del', {'node-name': 'disk0' + nul}),
                ('blockdev-add', {'driver': 'null-co' + nul, 'node-name': 'n'}),
                ('blockdev-add', {'driver': 'null-co', 'node-name': 'n' + nul + 'x'}),
                ('blockdev-add', {'driver': 'file', 'node-name': 'n',
                                  'filename': r.path('disk0.raw') + nul}),
                ('block_resize', {'device': 'disk0' + nul, 'size': 512}),
                ('blockdev-group-snapshot-sync', {'devlist': [
                    {'device': 'disk0', 'snapshot-file': r.path('snap') + nul + 'x'}]})):
            error(command, arguments)
        assert r.state() == before


def test_monitors_at_and_beyond_every_limit():
    with Rig() as r:
        other = start(r)
        cases = []
        for n in (1023, 1024, 1025, 100000):
            cases.append(b'[' * n + b']' * n)
            cases.append(b'{"a":' * n + b'1' + b'}' * n)
        for n in ((64 << 20) - 1, 64 << 20, (64 << 20) + 1):
            cases.append(b'{"execute": "' + b'x' * n + b'"}')
        for n in (1 << 20, (2 << 20) + 1):
            cases.append(b'[' + b'1,' * n + b'1]')
        hostile = r.connect()
        for text in cases:
            hostile.send_raw(text + b'\n')
            reply = hostile.recv_reply()
            assert 'error' in reply, reply
            # whatever is left of the text is answered with errors, and then it goes on
            hostile.send_raw(b'\n{"execute": "query-version", "id": "sync"}\n')
            while reply.get('id') != 'sync':
                reply = hostile.recv_reply()
            assert 'return' in reply
            other.check()


main(globals())
