#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever an NBD client asks for, right or wrong, is answered as the protocol document wants it, and harms nobody else."""

import os
import struct
import subprocess
import threading
import time

import nbdwire as w
from nbdwire import Wire
from rig import Rig, main, requires, run

requires('qemu-img', 'qemu-io')

KiB, MiB = 1 << 10, 1 << 20
DATA, HOLE_ZERO = 0, 3          # base:allocation: data; hole that reads as zeroes


class Disk(Rig):
    """A raw disk of 64 MiB, 'disk' for writers and 'ro' for readers; a thread for it if wanted."""

    def __init__(self, fmt='raw', iothread=False):
        super().__init__()
        self.fmt = fmt
        self.iothread = {'iothread': 'io0'} if iothread else {}

    def __enter__(self):
        self.file = self.drive('disk', self.fmt, '64M', ',discard=unmap')
        self.start('--object', 'iothread,id=io0')
        self.export('disk', allocation_depth=True, **self.iothread)
        self.export('disk', name='ro', writable=False)
        return self

    def wire(self, name='disk', structured=True, meta=(), **kwargs):
        return Wire(self.path('nbd.sock'), **kwargs).negotiate(name, structured, meta)

    def rss(self):
        """The daemon's resident memory, bytes."""
        with open('/proc/%d/status' % self.proc.pid) as f:
            return [int(line.split()[1]) * KiB for line in f if line.startswith('VmRSS')][0]


def pattern(n, seed=1):
    return (bytes((i * 7 + seed) & 255 for i in range(256)) * (n // 256 + 1))[:n]


# -- data

def test_what_is_written_is_read_at_any_offset_and_length():
    for fmt in ('raw', 'qcow2'):
        for structured in (True, False):
            with Disk(fmt, iothread=structured) as r, r.wire(structured=structured) as c:
                shadow = bytearray(1 * MiB)
                for i, (offset, length) in enumerate(((0, 512), (1, 1), (4095, 2), (65535, 65538),
                                                      (3, 100000), (300001, 200001), (513, 3))):
                    data = pattern(length, i)
                    shadow[offset:offset + length] = data
                    c.write(offset, data, w.FUA if i % 2 else 0)
                assert c.read(0, len(shadow)) == shadow
                for offset, length in ((0, 1), (65534, 5), (299999, 4), (511, 70000)):
                    assert c.read(offset, length) == shadow[offset:offset + length]
                c.disconnect()


def test_the_largest_payload_is_32_mib():
    with Disk() as r:
        for structured in (True, False):
            with r.wire(structured=structured) as c:
                if structured:
                    data = pattern(32 * MiB)
                    c.write(MiB, data)
                    assert c.read(MiB, 32 * MiB) == data
                assert c.error(w.READ, 0, 32 * MiB + 1) in (w.EINVAL, w.EOVERFLOW)
                assert c.error(w.READ, 0, 0xffffffff) in (w.EINVAL, w.EOVERFLOW)
                assert c.error(w.CACHE, 0, 32 * MiB + 1) in (w.EINVAL, w.EOVERFLOW)
                assert c.error(w.WRITE, 0, 32 * MiB + 1, 0, bytes(32 * MiB + 1)) \
                    in (w.EINVAL, w.EOVERFLOW)
                assert c.alive()            # its payload was read and thrown away


def test_requests_outside_the_disk_are_refused_and_change_nothing():
    with Disk() as r:
        size = 64 * MiB
        for structured in (True, False):
            with r.wire(structured=structured, meta=['base:allocation'] if structured else []) as c:
                for offset, length in ((size, 1), (size - 1, 2), (size + 1, 0), (1 << 63, 512),
                                       ((1 << 64) - 512, 512), ((1 << 64) - 1, 1),
                                       ((1 << 63) - 512, 512)):
                    assert c.error(w.READ, offset, length) == w.EINVAL, offset
                    assert c.error(w.WRITE, offset, length, 0, bytes(length)) == w.ENOSPC
                    if length:
                        assert c.error(w.CACHE, offset, length) == w.EINVAL
                        assert c.error(w.TRIM, offset, length) == w.EINVAL
                        assert c.error(w.WRITE_ZEROES, offset, length) == w.ENOSPC
                        assert c.error(w.BLOCK_STATUS, offset, length) == w.EINVAL
                assert c.error(w.TRIM, 0, 0xffffffff) == w.EINVAL
                assert c.read(size - 512, 512) == bytes(512)
        assert os.path.getsize(r.file) == size


def test_flags_that_a_command_does_not_have_are_invalid():
    allowed = {w.READ: w.DF, w.WRITE: 0, w.FLUSH: 0, w.TRIM: 0, w.CACHE: 0,
               w.WRITE_ZEROES: w.NO_HOLE | w.FAST_ZERO, w.BLOCK_STATUS: w.REQ_ONE}
    with Disk() as r, r.wire(meta=['base:allocation']) as c:
        for cmd, good in allowed.items():
            for flag in [1 << i for i in range(16)]:
                if (good | w.FUA) & flag:
                    continue
                length = 0 if cmd == w.FLUSH else 512
                payload = b'\xff' * 512 if cmd == w.WRITE else b''
                assert c.error(cmd, 0, length, flag, payload) == w.EINVAL, (cmd, flag)
        assert c.read(0, 512) == bytes(512)
    with Disk() as r, r.wire(structured=False) as c:
        assert c.error(w.READ, 0, 512, w.DF) == w.EINVAL     # DF was not offered


def test_fua_is_taken_with_any_command():
    """As it was offered; where nothing is written it means nothing."""
    with Disk() as r, r.wire(meta=['base:allocation']) as c:
        c.call(w.WRITE, 0, 512, w.FUA, pattern(512))
        c.call(w.WRITE_ZEROES, 512, 512, w.FUA)
        c.call(w.TRIM, 4096, 4096, w.FUA)
        c.call(w.FLUSH, 0, 0, w.FUA)
        c.call(w.CACHE, 0, 512, w.FUA)
        c.write(0, b'', w.FUA)
        assert c.read(0, 512, w.FUA) == pattern(512)
        assert c.block_status(0, 512, w.FUA)


def test_fua_covers_its_request():
    """What cannot be made durable is not acknowledged, whichever command it is; without FUA it is."""
    with Rig() as r:
        path = r.create('disk', 'raw', '1M')
        r.start()
        r.cmd('blockdev-add', driver='raw', node_name='n', discard='unmap', file={
            'driver': 'blkdebug', 'discard': 'unmap',
            'inject-error': [{'event': 'none', 'iotype': 'flush', 'errno': 5}],
            'image': {'driver': 'file', 'filename': path, 'discard': 'unmap'}})
        r.export('n')
        with Wire(r.path('nbd.sock')).negotiate('n') as c:
            for cmd, payload in ((w.WRITE, pattern(4096)), (w.WRITE_ZEROES, b''), (w.TRIM, b'')):
                c.call(cmd, 0, 4096, 0, payload)
                assert c.error(cmd, 0, 4096, w.FUA, payload) == w.EIO, cmd
            assert c.read(0, 4096, w.FUA) is not None
        r.status = 1                        # it cannot be flushed at the end, either


def test_unknown_commands_are_invalid():
    with Disk() as r, r.wire() as c:
        for cmd in (8, 9, 100, 0x7fff, 0xffff):
            assert c.error(cmd, 0, 512) == w.EINVAL
        assert c.error(w.BLOCK_STATUS, 0, 512) == w.EINVAL   # no context was selected
        assert c.error(w.FLUSH, 4096, 0) == w.EINVAL         # reserved, must be zero
        assert c.error(w.FLUSH, 0, 4096) == w.EINVAL
        assert c.alive()


def test_a_read_only_export_is_not_written():
    with Disk() as r:
        for structured in (True, False):
            with r.wire('ro', structured=structured) as c:
                assert c.export_flags & w.READ_ONLY
                assert c.error(w.WRITE, 0, 512, 0, b'x' * 512) == w.EPERM
                assert c.error(w.TRIM, 0, 4096) == w.EPERM
                assert c.error(w.WRITE_ZEROES, 0, 4096) == w.EPERM
                assert c.read(0, 512) == bytes(512)
                assert c.alive()


def test_requests_of_no_length_do_no_harm():
    with Disk() as r, r.wire(meta=['base:allocation']) as c:
        assert c.read(0, 0) == b''
        assert c.read(64 * MiB, 0) == b''
        c.write(100, b'')
        for cmd in (w.TRIM, w.WRITE_ZEROES, w.CACHE):
            for offset in (0, 100, 64 * MiB):       # unspecified; clients know success from QEMU
                c.call(cmd, offset, 0)
                c.call(cmd, offset, 0, w.FUA)
            assert c.error(cmd, 64 * MiB + 1, 0) in (w.EINVAL, w.ENOSPC)
        assert c.error(w.BLOCK_STATUS, 0, 0) == w.EINVAL
        assert c.alive()


def test_errors_are_those_that_the_protocol_has_for_their_command():
    """EOVERFLOW is for reads in one piece, ENOTSUP for zeroes that are to be fast."""
    for number in (75, 95):
        with Rig() as r:
            path = r.path('f.raw')
            with open(path, 'wb') as f:
                f.write(b'x' * MiB)
            r.start()
            rules = [{'event': 'none', 'iotype': kind, 'errno': number}
                     for kind in ('read', 'write', 'write-zeroes', 'discard', 'flush',
                                  'block-status')]
            r.cmd('blockdev-add', driver='raw', node_name='n', discard='unmap', file={
                'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': path},
                'discard': 'unmap', 'inject-error': rules})
            r.export('n')
            with Wire(r.path('nbd.sock')).negotiate('n', meta=['base:allocation']) as c:
                for cmd, args in ((w.READ, (0, 512)), (w.READ, (0, 128 * KiB)), (w.CACHE, (0, 512)),
                                  (w.WRITE, (0, 512, 0, bytes(512))), (w.FLUSH, ()),
                                  (w.BLOCK_STATUS, (0, 512))):
                    assert c.error(cmd, *args) == w.EIO, (number, cmd)
                for cmd in (w.TRIM, w.WRITE_ZEROES):
                    try:
                        c.call(cmd, 0, 64 * KiB)
                    except w.NbdError as e:
                        assert e.number == w.EIO, (number, cmd, e.number)
                fast = c.error(w.WRITE_ZEROES, 0, 64 * KiB, w.FAST_ZERO)
                assert fast == (w.ENOTSUP if number == 95 else w.EIO), fast
            r.stop(status=1)


def test_a_failed_read_and_write_are_errors_of_their_request_only():
    with Rig() as r:
        path = r.path('f.raw')
        with open(path, 'wb') as f:
            f.write(b'x' * MiB)             # no holes, which would not be read
        r.start()
        r.qmp.cmd('blockdev-add', {'driver': 'raw', 'node-name': 'n', 'file': {
            'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': path},
            'inject-error': [
                {'event': 'none', 'iotype': 'read', 'errno': 5, 'sector': 8},
                {'event': 'none', 'iotype': 'write', 'errno': 28, 'sector': 16}]}})
        r.export('n')
        for structured in (True, False):
            with Wire(r.path('nbd.sock')).negotiate('n', structured) as c:
                assert c.error(w.READ, 4096, 512) == w.EIO
                assert c.error(w.READ, 0, 256 * KiB) == w.EIO
                assert c.error(w.READ, 0, 256 * KiB, w.DF if structured else 0) == w.EIO
                assert c.error(w.WRITE, 8192, 512, 0, bytes(512)) == w.ENOSPC
                c.write(0, pattern(4096))
                assert c.read(0, 4096) == pattern(4096)


# -- structured replies

def test_holes_are_not_sent_over_the_wire():
    for fmt in ('raw', 'qcow2'):
        with Disk(fmt) as r, r.wire() as c:
            c.write(8 * MiB, pattern(MiB))
            chunks = c.call(w.READ, 4 * MiB, 8 * MiB)
            sent = sum(len(content) for _, content in chunks)
            assert sent < 2 * MiB, sent
            assert {kind for kind, _ in chunks} == {w.CHUNK_DATA, w.CHUNK_HOLE}
            want = bytes(4 * MiB) + pattern(MiB) + bytes(3 * MiB)
            assert w.join_chunks(chunks, 4 * MiB, 8 * MiB) == want


def test_a_read_with_df_is_one_chunk():
    with Disk() as r, r.wire() as c:
        c.write(8 * MiB, pattern(MiB))
        for offset, length in ((0, 512), (4 * MiB, 8 * MiB), (16 * MiB, 4 * MiB)):
            assert len(c.call(w.READ, offset, length, w.DF)) == 1
        assert c.read(4 * MiB, 8 * MiB, w.DF) == bytes(4 * MiB) + pattern(MiB) + bytes(3 * MiB)


# -- zeroes, trim, cache

def test_write_zeroes_reads_back_as_zeroes_whatever_is_asked_of_holes():
    for fmt in ('raw', 'qcow2'):
        with Disk(fmt) as r, r.wire(meta=['base:allocation']) as c:
            ident = c.contexts['base:allocation']
            c.write(0, b'\xff' * 4 * MiB)
            c.call(w.WRITE_ZEROES, MiB, MiB)
            c.call(w.FLUSH)
            used = os.stat(r.file).st_blocks * 512
            c.call(w.WRITE_ZEROES, 2 * MiB, MiB, w.NO_HOLE)
            c.call(w.FLUSH)
            # what is reserved and not written is a hole to some file systems, but the space is kept
            assert fmt == 'qcow2' or os.stat(r.file).st_blocks * 512 >= used - 64 * KiB
            c.call(w.WRITE_ZEROES, 3 * MiB + 1, 1000, w.FUA)
            assert c.read(MiB, 2 * MiB) == bytes(2 * MiB)
            assert c.read(3 * MiB, 1100) == b'\xff' + bytes(1000) + b'\xff' * 99
            assert c.block_status(MiB, MiB)[ident][0] == (MiB, HOLE_ZERO)


def test_fast_zero_is_fast_or_not_supported():
    with Disk() as r, r.wire() as c:
        c.write(0, b'\xff' * MiB)
        try:
            c.call(w.WRITE_ZEROES, 0, 64 * KiB, w.FAST_ZERO)
            assert c.read(0, 64 * KiB) == bytes(64 * KiB)
        except w.NbdError as e:             # a file system without hole punching
            assert e.number == w.ENOTSUP
    with Rig() as r:                        # nothing below can zero without writing buffers
        path = r.create('f.raw', 'raw', '8M')
        r.start()
        r.qmp.cmd('blockdev-add', {'driver': 'raw', 'node-name': 'n', 'file': {
            'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': path},
            'inject-error': [{'event': 'none', 'iotype': 'write-zeroes', 'errno': 95}]}})
        r.export('n')
        with Wire(r.path('nbd.sock')).negotiate('n') as c:
            c.write(0, b'\xff' * 64 * KiB)
            assert c.error(w.WRITE_ZEROES, 0, 64 * KiB, w.FAST_ZERO) == w.ENOTSUP
            assert c.read(0, 64 * KiB) == b'\xff' * 64 * KiB
            c.call(w.WRITE_ZEROES, 0, 64 * KiB)
            assert c.read(0, 64 * KiB) == bytes(64 * KiB)


def test_trim_gives_space_back():
    with Disk() as r, r.wire() as c:
        c.write(0, pattern(16 * MiB), w.FUA)
        before = os.stat(r.file).st_blocks * 512
        c.call(w.TRIM, 0, 16 * MiB)
        c.call(w.TRIM, 16 * MiB + 1, 100)   # unaligned: it need not do anything
        assert os.stat(r.file).st_blocks * 512 < before - 8 * MiB
        assert c.alive()


def test_a_failed_trim_is_an_error_of_its_request_only():
    with Rig() as r:
        path = r.create('disk', 'raw', '1M')
        r.start()
        r.cmd('blockdev-add', driver='raw', node_name='n', discard='unmap', file={
            'driver': 'blkdebug', 'discard': 'unmap',
            'inject-error': [{'event': 'none', 'iotype': 'discard', 'errno': 5, 'once': True}],
            'image': {'driver': 'file', 'filename': path, 'discard': 'unmap'}})
        r.export('n')
        with Wire(r.path('nbd.sock')).negotiate('n') as c:
            c.write(0, pattern(64 * KiB))
            assert c.error(w.TRIM, 0, 64 * KiB) == w.EIO
            assert c.read(0, 64 * KiB) == pattern(64 * KiB)
            c.call(w.TRIM, 0, 64 * KiB)


def test_zeroes_and_trims_may_be_longer_than_a_payload():
    with Disk('qcow2') as r, r.wire(meta=['base:allocation']) as c:
        c.write(0, b'\xff' * MiB)
        c.call(w.WRITE_ZEROES, 0, 64 * MiB)
        c.call(w.TRIM, 0, 64 * MiB)
        c.block_status(0, 64 * MiB)
        assert c.read(0, 2 * MiB) == bytes(2 * MiB)


def test_cache_succeeds_and_changes_nothing():
    with Disk() as r, r.wire() as c:
        c.write(4096, pattern(8192))
        assert c.call(w.CACHE, 0, 64 * KiB) == []
        assert c.call(w.CACHE, 4097, 1) == []
        assert c.read(4096, 8192) == pattern(8192)


# -- block status

def test_block_status_of_data_and_holes():
    with Disk('qcow2') as r, r.wire(meta=['base:allocation']) as c:
        ident = c.contexts['base:allocation']
        c.write(MiB, pattern(MiB))
        c.call(w.WRITE_ZEROES, 4 * MiB, MiB)
        got = c.block_status(0, 8 * MiB)
        assert list(got) == [ident]
        assert got[ident] == [(MiB, HOLE_ZERO), (MiB, DATA), (6 * MiB, HOLE_ZERO)], got
        # one extent, and not beyond what was asked for
        assert c.block_status(0, 8 * MiB, w.REQ_ONE)[ident] == [(MiB, HOLE_ZERO)]
        assert c.block_status(MiB, 4096, w.REQ_ONE)[ident] == [(4096, DATA)]
        assert c.block_status(MiB + 512, 513, w.REQ_ONE)[ident] == [(513, DATA)]


def chain(r):
    """a <- b <- c of 1 MiB: the first 64 KiB are in c, the next in b, the next in a."""
    for name, base in (('a', None), ('b', 'a'), ('c', 'b')):
        path = r.path(name + '.qcow2')
        back = ['-b', r.path(base + '.qcow2'), '-F', 'qcow2'] if base else []
        run('qemu-img', 'create', '-q', '-f', 'qcow2', *back, path, '1M')
        run('qemu-io', '-c', 'write -P %d %dk 64k' % (ord(name), 64 * (ord('c') - ord(name))), path)
    return r.path('c.qcow2')


def test_allocation_depth_over_a_chain():
    with Rig() as r:
        top = chain(r)
        r.start('--blockdev', 'qcow2,node-name=n,file.driver=file,file.filename=' + top)
        r.export('n', allocation_depth=True)
        names = ['base:allocation', 'qemu:allocation-depth']
        with Wire(r.path('nbd.sock')).negotiate('n', meta=names) as c:
            base, depth = (c.contexts[n] for n in names)
            got = c.block_status(0, MiB)
            step, rest = 64 * KiB, MiB - 3 * 64 * KiB
            assert got[depth] == [(step, 1), (step, 2), (step, 3), (rest, 0)], got
            assert got[base] == [(3 * step, DATA), (rest, HOLE_ZERO)], got
            got = c.block_status(step, 4 * step, w.REQ_ONE)
            assert got[depth] == [(step, 2)] and got[base] == [(2 * step, DATA)], got
        with Wire(r.path('nbd.sock')).negotiate('n', meta=names[1:]) as c:
            assert list(c.block_status(0, MiB)) == [c.contexts[names[1]]]


# -- many requests at once

def test_a_thousand_requests_sent_in_odd_pieces_are_all_answered():
    for iothread in (False, True):
        with Disk(iothread=iothread) as r, r.wire() as c:
            n = 1000
            stream, want = b'', {}
            for i in range(n):
                kind = (w.WRITE, w.READ, w.FLUSH, 99)[i % 4]
                length = {w.WRITE: 700, w.READ: 300}.get(kind, 0)
                stream += c.request_bytes(kind, 1024 * i if length else 0, length, cookie=i)
                stream += pattern(700, i) if kind == w.WRITE else b''
                want[i] = kind
            # Answers are read meanwhile: a client that does not read is made to wait.
            sender = threading.Thread(target=c.send_in_pieces, args=(stream, 1237))
            sender.start()
            while want:
                cookie, done, kind, content = c.recv_answer()
                assert done
                cmd = want.pop(cookie)      # each exactly once
                if cmd == 99:
                    assert struct.unpack('>I', content[:4])[0] == w.EINVAL
                elif cmd != w.READ:
                    assert kind == 'simple' and content == 0
            sender.join()
            for i in range(0, n, 4):
                assert c.read(1024 * i, 700) == pattern(700, i)


def test_requests_that_overlap_are_all_carried_out():
    with Disk('qcow2', iothread=True) as r, r.wire() as c:
        for i in range(200):
            data = bytes([i]) * 3000
            c.send(c.request_bytes(w.WRITE, 1000 * (i % 5), 3000, cookie=i) + data)
        assert {c.recv_answer()[:1] for _ in range(200)} == {(i,) for i in range(200)}
        c.alive()


# -- clients that misbehave, next to one that does not

def test_a_wrong_magic_ends_that_connection_only():
    with Disk() as r, r.wire() as other:
        for magic in (0, 0x25609514, 0x67446698):
            with r.wire() as c:
                c.send(c.request_bytes(w.READ, 0, 512, magic=magic))
                c.expect_closed()
        assert other.read(0, 512) == bytes(512)


def test_disconnect_ends_after_all_answers():
    with Disk() as r, r.wire() as c:
        for i in range(50):
            c.send(c.request_bytes(w.READ, i * 4096, 4096, cookie=i))
        c.send(c.request_bytes(w.DISC))
        assert {c.recv_answer()[0] for _ in range(50)} == set(range(50))
        c.expect_closed()


def test_what_was_asked_is_answered_when_the_export_goes():
    """A client that is sent away knows of each of its requests what became of it."""
    for how in ('delete', 'stop the server', 'quit', 'terminate'):
        with Disk(iothread=True) as r:
            r.cmd('blockdev-add', driver='null-co', node_name='slow', size=MiB, latency_ns=300000000)
            r.export('slow', iothread='io0')
            with r.wire('slow') as c:
                for i in range(20):
                    c.send(c.request_bytes(w.READ, i * 4096, 4096, cookie=i))
                # Requests are taken up in their order; this one is refused at once.
                c.send(c.request_bytes(w.READ, 2 * MiB, 512, cookie=99))
                assert c.recv_answer()[0] == 99
                if how == 'delete':
                    r.cmd('block-export-del', id='exp-slow', mode='hard')
                elif how == 'stop the server':
                    r.cmd('nbd-server-stop')
                elif how == 'quit':
                    r.cmd('quit')
                else:
                    r.proc.terminate()
                assert {c.recv_answer()[0] for _ in range(20)} == set(range(20))
                c.expect_closed()


def test_a_client_that_leaves_in_the_middle_of_a_write_writes_nothing():
    with Disk() as r, r.wire() as other:
        for sent in (0, 1, 1000, 65536, 100000):
            with r.wire() as c:
                c.send(c.request_bytes(w.WRITE, MiB, 200000) + b'\xff' * sent)
        with r.wire() as c:
            c.send(c.request_bytes(w.WRITE)[:13])
        assert len(clients(r)) >= 1
        w.wait_until(lambda: len(clients(r)) == 1)          # the others are gone
        assert other.read(MiB, 200000) == bytes(200000)
        other.close()
        w.wait_until(lambda: not clients(r))


def clients(r):
    """Connections that the daemon holds."""
    with open('/proc/net/unix') as f:
        rows = [line.split() for line in f]
    return [row for row in rows if row[-1] == r.path('nbd.sock') and row[5] == '03']


def test_a_client_that_reads_no_answers_is_bounded_and_harms_nobody():
    with Disk(iothread=True) as r, r.wire() as other:
        other.write(0, pattern(MiB))
        before = r.rss()
        c = r.wire()
        c.sock.setblocking(False)
        request = c.request_bytes(w.READ, 0, MiB, w.DF)
        sent = 0
        deadline = time.monotonic() + 1.5
        while sent < 20000 * len(request) and time.monotonic() < deadline:
            try:
                sent += c.sock.send(request * 100)
            except BlockingIOError:
                time.sleep(0.01)
            assert other.read(0, 4096) == pattern(4096)
        grown = r.rss() - before
        assert grown < 160 * MiB, '%d MiB' % (grown // MiB)
        for _ in range(100):                # each within the time that the client waits for an answer
            other.read(0, 4096)
        r.cmd('block-export-del', id='exp-disk', mode='hard')   # nor can it hold up its removal
        c.close()


def test_a_client_that_reads_no_answers_holds_64_mib_and_not_more():
    """Counted in reads that were begun: after so many no further one is, however much memory there is for others."""
    with Rig() as r:
        r.drive('disk', 'raw', '64M')
        r.start('--nbd-memory', '4G')
        r.export('disk')

        def reads():
            stats = r.cmd('query-blockstats')
            return next(s['stats']['rd_operations'] for s in stats if s.get('device') == 'exp-disk')

        with Wire(r.path('nbd.sock')).negotiate('disk', structured=False) as c:
            c.send(b''.join(c.request_bytes(w.READ, 0, MiB, cookie=i) for i in range(250)))
            w.wait_until(lambda: reads() >= 64)
            last, now = None, reads()
            while last != now:              # nothing more for a while, in which a read is done in no time
                time.sleep(0.2)
                last, now = now, reads()
            # one answer may have gone into the socket
            assert 64 <= now <= 66, now
            for i in range(250):
                assert c.recv_answer()[2:] == ('simple', 0)
                c.recv(MiB)
            assert reads() == 250


def test_a_client_that_reads_slowly_gets_everything():
    with Disk() as r, r.wire() as c:
        c.write(0, pattern(4 * MiB))
        for i in range(20):
            c.send(c.request_bytes(w.READ, 0, 4 * MiB, w.DF, cookie=i))
        time.sleep(0.5)
        for _ in range(20):
            _, done, kind, content = c.recv_answer()
            assert done and kind == w.CHUNK_DATA and content[8:] == pattern(4 * MiB)


def test_writes_of_one_connection_are_seen_and_flushed_by_another():
    with Disk('qcow2', iothread=True) as r, r.wire() as a, r.wire() as b:
        assert a.export_flags & w.MULTI_CONN
        for i in range(20):
            a.write(i * 65536, pattern(65536, i))
            assert b.read(i * 65536, 65536) == pattern(65536, i)
        b.call(w.FLUSH)
        r.kill()                            # the flush covered the other connection's writes
        run('qemu-img', 'check', '-q', r.file)
        data = subprocess.check_output(['qemu-io', '-r', '-c', 'read -v %d 16' % (7 * 65536), r.file],
                                       text=True)
        assert pattern(16, 7).hex(' ') in data, data


def test_many_clients_at_once():
    with Disk('qcow2', iothread=True) as r:
        conns = [r.wire() for _ in range(64)]
        for i, c in enumerate(conns):
            c.request(w.WRITE, i * 4096, 4096, 0, pattern(4096, i))
        for i, c in enumerate(conns):
            c.finish(c.cookie, w.WRITE, 4096)
        for i, c in enumerate(conns):
            j = (i * 7) % 64
            assert c.read(j * 4096, 4096) == pattern(4096, j)
            c.close()


main(globals())
