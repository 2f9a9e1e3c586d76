#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What becomes of requests that a disk fails is the user's choice: told, ignored, or the disk stops
until somebody has mended the cause and nothing is lost.
"""

import json
import select
import socket
import subprocess

from nbdwire import (BLOCK_STATUS, DISC, EIO, ENOSPC, FLUSH, READ, WRITE, NbdError, Wire,
                     join_chunks, parse_status)
from rig import QSD, Rig, import_nbd, main, requires

requires('qemu-img')
nbd = import_nbd()
BLOCK = 4096
KiB = 1 << 10


def bad_disk(r, name, **rule):
    """A raw disk of 16M whose file fails requests as @rule says; its node has that name."""
    r.create(name + '.raw', 'raw')
    r.options += ['--blockdev', json.dumps({
        'driver': 'raw', 'node-name': name, 'file': {
            'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': r.path(name + '.raw')},
            'inject-error': [dict({'event': 'none'}, **rule)]}})]


class Pending:
    """A request that is under way."""

    def __init__(self, h, cookie):
        self.h, self.cookie = h, cookie

    def is_done(self):
        for _ in range(20):
            self.h.poll(10)
        return self.h.aio_in_flight() == 0

    def wait(self):
        while not self.h.aio_command_completed(self.cookie):
            self.h.poll(-1)


def start_write(h, byte, offset=0):
    return Pending(h, h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(byte * BLOCK)), offset))


def io_status(r, device):
    return {b['device']: b.get('io-status') for b in r.cmd('query-block')}[device]


def test_stopped_disk_loses_nothing_and_goes_on_when_told():
    with Rig() as r:
        bad_disk(r, 'bad', iotype='write', errno=5, once=True)
        r.drive('good', 'raw')
        r.start('--object', 'iothread,id=io0')
        r.export('bad', iothread='io0', werror='stop')
        r.export('good', iothread='io0', werror='stop')
        h, good = r.nbd('bad'), r.nbd('good')
        assert io_status(r, 'exp-bad') == 'ok'
        first = start_write(h, b'a')
        ev = r.qmp.wait_event('BLOCK_IO_ERROR')['data']
        assert (ev['device'], ev['action'], ev['nospace']) == ('exp-bad', 'stop', False), ev
        assert io_status(r, 'exp-bad') == 'failed'
        second = start_write(r.nbd('bad'), b'b', BLOCK)     # comes while it is stopped
        assert not first.is_done() and not second.is_done()
        good.pwrite(b'g' * BLOCK, 0)                        # others do not notice
        assert io_status(r, 'exp-good') == 'ok'
        r.cmd('cont')
        first.wait()
        second.wait()
        assert h.pread(2 * BLOCK, 0) == b'a' * BLOCK + b'b' * BLOCK
        assert io_status(r, 'exp-bad') == 'ok'


def test_enospc_stops_only_for_lack_of_space():
    with Rig() as r:
        bad_disk(r, 'full', iotype='write', errno=28, once=True)
        bad_disk(r, 'broken', iotype='write', errno=5)
        r.start()
        r.export('full', werror='enospc')
        r.export('broken', werror='auto')
        write = start_write(r.nbd('full'), b'a')
        ev = r.qmp.wait_event('BLOCK_IO_ERROR')['data']
        assert (ev['device'], ev['action'], ev['nospace']) == ('exp-full', 'stop', True), ev
        assert io_status(r, 'exp-full') == 'nospace'
        try:
            r.nbd('broken').pwrite(b'a' * BLOCK, 0)
        except nbd.Error as e:
            assert e.errno == 'EIO', e
        else:
            raise AssertionError('a failed write was acknowledged')
        assert r.qmp.wait_event('BLOCK_IO_ERROR')['data']['action'] == 'report'
        r.cmd('cont')
        write.wait()


def test_snapshot_onto_another_file_system_rescues_a_full_disk():
    with Rig() as r:
        bad_disk(r, 'full', iotype='write', errno=28)       # for ever
        r.drive('other', 'raw')
        r.start()
        r.export('full', werror='enospc')
        r.export('other')
        h, other = r.nbd('full'), r.nbd('other')
        write = start_write(h, b'a')
        r.qmp.wait_event('BLOCK_IO_ERROR')
        # What waits in a stopped disk is not in flight: the group does not wait for it.
        r.snapshot(r.member('full', 'full.snap'), r.member('other', 'other.snap'), timeout=5000)
        other.pwrite(b'o' * BLOCK, 0)
        assert not write.is_done()
        r.cmd('cont')
        write.wait()
        h.flush()
        assert h.pread(BLOCK, 0) == b'a' * BLOCK
        assert io_status(r, 'exp-full') == 'ok'
        with open(r.path('full.raw'), 'rb') as f:
            assert f.read(BLOCK) == bytes(BLOCK)


def test_stop_is_told_each_time():
    with Rig() as r:
        bad_disk(r, 'bad', iotype='write', errno=28)
        r.start()
        r.export('bad', werror='stop')
        write = start_write(r.nbd('bad'), b'a')
        for _ in range(5):
            assert r.qmp.wait_event('BLOCK_IO_ERROR')['data']['action'] == 'stop'
            r.cmd('cont')
        assert not write.is_done()


def test_ignored_errors_are_success_and_zeroes():
    with Rig() as r:
        bad_disk(r, 'bad', iotype='read', errno=5)
        bad_disk(r, 'worse', iotype='write', errno=5)
        r.start()
        r.export('bad', rerror='ignore')
        r.export('worse', werror='ignore')
        h = r.nbd('bad')
        h.pwrite(b'a' * BLOCK, 0)
        assert h.pread(BLOCK, 0) == bytes(BLOCK)
        assert r.qmp.wait_event('BLOCK_IO_ERROR')['data']['action'] == 'ignore'
        h = r.nbd('worse')
        h.pwrite(b'a' * BLOCK, 0)
        assert h.pread(BLOCK, 0) == bytes(BLOCK)


def looks(c):
    """Requests that ask where data is: (send, what came back) of a status and of a read."""
    ident = c.contexts['base:allocation']
    status = (lambda: c.request(BLOCK_STATUS, 0, 128 * KiB),
              lambda cookie: parse_status(c.finish(cookie, BLOCK_STATUS, 128 * KiB))[ident])
    read = (lambda: c.request(READ, 0, 128 * KiB),
            lambda cookie: join_chunks(c.finish(cookie, READ, 128 * KiB), 0, 128 * KiB))
    return status, read


def is_answered(c):
    """Within the time that an answer which is not held up would take many times."""
    return bool(select.select([c.sock], [], [], 0.3)[0])


def disk_that_cannot_be_looked_at(r, **options):
    bad_disk(r, 'bad', iotype='block-status', errno=5, once=True)
    with open(r.path('bad.raw'), 'r+b') as f:
        f.write(b'a' * 64 * KiB)
    r.start()
    r.export('bad', **options)
    return r.wire('bad')


def stats(r, device):
    return {s['device']: s['stats'] for s in r.cmd('query-blockstats')}[device]


class Wired(Rig):
    def wire(self, name):
        return Wire(self.path('nbd.sock')).negotiate(name, meta=['base:allocation'])


def test_a_failed_look_at_where_data_is_stops_a_disk_like_a_failed_read():
    for which in range(2):
        with Wired() as r, disk_that_cannot_be_looked_at(r, rerror='stop') as c:
            send, finish = looks(c)[which]
            cookie = send()
            ev = r.qmp.wait_event('BLOCK_IO_ERROR')['data']
            assert (ev['action'], ev['operation']) == ('stop', 'read'), ev
            with r.wire('bad') as later:        # comes while the disk is stopped
                later_send, later_finish = looks(later)[1 - which]
                later_cookie = later_send()
                assert not is_answered(c) and not is_answered(later)
                r.cmd('cont')
                got = finish(cookie), later_finish(later_cookie)
            status, data = got if which == 0 else got[::-1]
            assert data == b'a' * 64 * KiB + bytes(64 * KiB)
            assert sum(n for n, _ in status) <= 128 * KiB and status[0][1] == 0
            assert stats(r, 'exp-bad')['failed_rd_operations'] == 1
            assert io_status(r, 'exp-bad') == 'ok'


def test_a_failed_look_that_is_ignored_claims_no_holes():
    for which in range(2):
        with Wired() as r, disk_that_cannot_be_looked_at(r, rerror='ignore') as c:
            send, finish = looks(c)[which]
            got = finish(send())
            assert got in ([(128 * KiB, 0)], b'a' * 64 * KiB + bytes(64 * KiB)), got
            assert r.qmp.wait_event('BLOCK_IO_ERROR')['data']['action'] == 'ignore'


def test_a_failed_look_is_told_and_counted():
    for which in range(2):
        with Wired() as r, disk_that_cannot_be_looked_at(r) as c:
            send, finish = looks(c)[which]
            try:
                finish(send())
                raise AssertionError('a failed look was a success')
            except NbdError as e:
                assert e.number == EIO
            assert r.qmp.wait_event('BLOCK_IO_ERROR')['data']['action'] == 'report'
            s = stats(r, 'exp-bad')
            assert (s['failed_rd_operations'], s['rd_operations']) == (1, 0), s


def test_holes_that_are_read_are_counted_as_read():
    with Wired() as r:
        r.drive('disk', 'raw', '1M')
        r.start()
        r.export('disk')
        with r.wire('disk') as c:
            c.write(0, b'a' * 64 * KiB)
            assert c.read(0, 256 * KiB) == b'a' * 64 * KiB + bytes(192 * KiB)
            c.block_status(0, 256 * KiB)
        s = stats(r, 'exp-disk')
        assert s['rd_bytes'] == 256 * KiB and s['rd_operations'] >= 2, s


def test_failed_flush_that_is_tried_again_is_not_a_success():
    """What a failed fsync covered may be gone for good, whatever the next one says."""
    with Rig() as r:
        bad_disk(r, 'bad', iotype='flush', errno=5)
        r.start()
        r.export('bad', werror='stop')
        h = r.nbd('bad')
        h.pwrite(b'a' * BLOCK, 0)
        flush = Pending(h, h.aio_flush())
        for _ in range(3):
            assert r.qmp.wait_event('BLOCK_IO_ERROR')['data']['action'] == 'stop'
            r.cmd('cont')
        assert not flush.is_done()
        r.stop(status=1)


def test_export_of_a_stopped_disk_can_go():
    for how in ('delete', 'quit'):
        with Rig() as r:
            bad_disk(r, 'bad', iotype='write', errno=28)
            r.start('--object', 'iothread,id=io0')
            r.export('bad', werror='stop', iothread='io0')
            h = r.nbd('bad')
            start_write(h, b'a')
            r.qmp.wait_event('BLOCK_IO_ERROR')
            if how == 'delete':
                r.cmd('block-export-del', id='exp-bad', mode='hard')
                r.qmp.wait_event('BLOCK_EXPORT_DELETED')
                r.cmd('blockdev-del', node_name='bad')
            # else Rig.stop() sees to it that the daemon ends


def leave_by_closing(w):
    w.close()


def expect_errors_and_the_end(w):
    assert [w.recv_answer()[2:] for _ in range(2)] == [('simple', ENOSPC)] * 2
    w.expect_closed()
    w.close()


def leave_by_saying_so(w):
    w.send(w.request_bytes(DISC))
    expect_errors_and_the_end(w)


def leave_half(w):
    """Still there to read answers, but asks nothing more."""
    w.sock.shutdown(socket.SHUT_WR)
    expect_errors_and_the_end(w)


def leave_with_more_requests_than_are_read(w):
    """The server waits for room and reads nothing when the client goes."""
    w.send(w.request_bytes(FLUSH) * 1000)
    w.close()


def test_clients_that_leave_give_up_what_waits_in_a_stopped_disk():
    """Their connections are free at once, nothing of theirs is written, and others go on waiting."""
    for leave in (leave_by_closing, leave_by_saying_so, leave_with_more_requests_than_are_read,
                  leave_half):
        with Rig() as r:
            bad_disk(r, 'full', iotype='write', errno=28, once=True)
            r.start('--object', 'iothread,id=io0')
            sock = r.path('small.sock')
            r.cmd('nbd-server-start', id='small', max_connections=2,
                  addr={'type': 'unix', 'data': {'path': sock}})
            r.export('full', iothread='io0', werror='stop', server='small')
            leaver, stayer = (Wire(sock).negotiate('full', structured=False) for _ in range(2))
            next_one = Wire(sock, flags=None)               # has to wait for its turn
            leaver.request(WRITE, 0, BLOCK, payload=b'l' * BLOCK)
            r.qmp.wait_event('BLOCK_IO_ERROR')
            leaver.request(WRITE, BLOCK, BLOCK, payload=b'l' * BLOCK)
            waits = stayer.request(WRITE, 2 * BLOCK, BLOCK, payload=b's' * BLOCK)
            leave(leaver)
            next_one.greet(3)
            next_one.negotiate('full')
            assert io_status(r, 'exp-full') == 'nospace'
            r.cmd('cont')
            stayer.finish(waits, WRITE, BLOCK)
            assert next_one.read(0, 3 * BLOCK) == bytes(2 * BLOCK) + b's' * BLOCK
            next_one.write(0, b'n' * BLOCK)
            stayer.close()
            next_one.close()


def test_what_waits_in_a_stopped_disk_is_not_written_when_its_export_goes():
    for command, arguments in (('block-export-del', {'id': 'exp-full', 'mode': 'hard'}),
                               ('nbd-server-stop', {})):
        with Rig() as r:
            bad_disk(r, 'full', iotype='write', errno=28, once=True)
            r.start()
            r.export('full', werror='stop')
            with Wire(r.path('nbd.sock')).negotiate('full', structured=False) as w:
                cookie = w.request(WRITE, 0, BLOCK, payload=b'l' * BLOCK)
                r.qmp.wait_event('BLOCK_IO_ERROR')
                r.cmd(command, **arguments)
                assert w.recv_answer() == (cookie, True, 'simple', ENOSPC)
                w.expect_closed()
            with open(r.path('full.raw'), 'rb') as f:
                assert f.read(BLOCK) == bytes(BLOCK)


def test_policies_are_an_exports_not_a_drives():
    with Rig() as r:
        path = r.create('d.raw', 'raw')
        p = subprocess.run([QSD, '--drive', 'id=d,file=%s,format=raw,werror=stop' % path],
                           capture_output=True, text=True, timeout=60, check=False)
        assert p.returncode == 1 and 'does not support werror=stop' in p.stderr, p


main(globals())
