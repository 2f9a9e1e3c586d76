#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Filters that people test with, and one that makes a file grow in large steps: blkverify notices every difference, the
log of blklogwrites replays to the disk, preallocate leaves nothing behind."""

import os
import random
import shutil
import struct
import subprocess

from rig import Rig, import_nbd, main, requires, run, skip

requires('qemu-img', 'qemu-io')
nbd = import_nbd()
SIZE = 4 << 20


def add(r, **options):
    r.qmp.cmd('blockdev-add', {k.replace('_', '-'): v for k, v in options.items()})


def file_node(r, name, size='4M', fmt='raw'):
    return {'driver': 'file', 'filename': r.create(name, fmt, size)}


def fails(call, *args):
    try:
        call(*args)
    except nbd.Error as e:
        return e.errno
    raise AssertionError('it succeeded')


# -- blkdebug


def test_claims_that_a_test_wants_are_there_before_anybody_uses_the_node():
    with Rig() as r:
        r.start()
        for name in 'base', 'target':
            add(r, node_name=name, **file_node(r, name))
        add(r, driver='blkdebug', node_name='source', image='base')
        add(r, driver='blkdebug', node_name='other', image='base', take_child_perms=['write'])
        e = r.error('blockdev-backup', job_id='j', device='source', target='target', sync='full')
        assert "'base'" in e.desc and "'other'" in e.desc and "'write'" in e.desc, e.desc
        options = {'driver': 'blkdebug', 'node-name': 'alone', 'image': 'base', 'unshare-child-perms': ['write']}
        e = r.error('blockdev-add', **options)
        assert "'base'" in e.desc and "'other'" in e.desc and "'write'" in e.desc, e.desc
        r.cmd('blockdev-del', node_name='other')
        r.qmp.cmd('blockdev-add', options)
        assert "'alone'" in r.error('block-export-add', type='nbd', id='e', node_name='base', writable=True).desc
        r.cmd('blockdev-del', node_name='alone')


# -- blkverify


def test_a_format_is_compared_with_raw():
    with Rig() as r:
        r.start()
        add(r, driver='blkverify', node_name='v', raw=file_node(r, 'raw'),
            test={'driver': 'qcow2', 'file': file_node(r, 'test', fmt='qcow2')})
        r.export('v')
        h = r.nbd('v')
        rng, model = random.Random(1), bytearray(SIZE)
        for _ in range(100):
            n = rng.choice((1, 512, 5000, 200000))
            at = rng.randrange(SIZE - n)
            if rng.randrange(4) == 0:
                h.zero(n, at)
                model[at:at + n] = bytes(n)
            else:
                model[at:at + n] = data = rng.randbytes(n)
                h.pwrite(data, at)
        assert h.pread(SIZE, 0) == bytes(model)
        h.flush()
        with open(r.path('raw'), 'r+b') as f:
            f.seek(123456)
            f.write(bytes([model[123456] ^ 1]))
        assert fails(h.pread, 65536, 100000) == 'EIO'
        assert h.pread(4096, 0) == model[:4096]
        h.shutdown()
        r.stop()
        assert 'contents mismatch at offset 123456' in r.log, r.log


def test_different_results_are_an_error():
    with Rig() as r:
        r.start()
        rule = {'event': 'none', 'iotype': 'write', 'errno': 28, 'sector': 8}
        add(r, driver='blkverify', node_name='v', raw=file_node(r, 'raw'),
            test={'driver': 'blkdebug', 'image': file_node(r, 'test'), 'inject-error': [rule]})
        r.export('v')
        h = r.nbd('v')
        assert fails(h.pwrite, b'x' * 512, 4096) == 'EIO'
        h.pwrite(b'x' * 512, 0)
        h.shutdown()
        r.stop()
        assert 'return value mismatch -28 != 0' in r.log, r.log


# -- blklogwrites

FLUSH, FUA, DISCARD = 1, 2, 4


def parse(log):
    """The entries of a log: (flags, offset, length, data)."""
    magic, version, count, sector = struct.unpack('<QQQI', log[:28])
    assert (magic, version) == (0x6a736677736872, 1)
    at, entries = sector, []
    for _ in range(count):
        first, n, flags, data_len = struct.unpack('<QQQQ', log[at:at + 32])
        assert data_len == 0
        at += sector
        data = b'' if flags & DISCARD else log[at:at + n * sector]
        at += len(data)
        entries.append((flags, first * sector, n * sector, data))
    return entries


def replay(disk, entries):
    disk = bytearray(disk)
    for _, offset, n, data in entries:
        if data:
            disk[offset:offset + n] = data
    return bytes(disk)


def logged(r, **options):
    add(r, driver='blklogwrites', node_name='l', discard='unmap', file={'driver': 'file', 'filename': r.path('disk')},
        log={'driver': 'file', 'filename': r.path('log')}, **options)
    r.export('l')
    return r.nbd('l')


def read(r, name):
    with open(r.path(name), 'rb') as f:
        return f.read()


def test_the_log_replays_to_the_disk():
    for sector in (512, 4096):
        with Rig() as r:
            r.create('disk', size='4M')
            r.create('log', size='0')
            r.start()
            h = logged(r, log_sector_size=sector, log_super_update_interval=7)
            rng = random.Random(3)
            for _ in range(60):
                n = rng.choice((100, 512, 8192, 100000))
                at = rng.randrange(SIZE - n)
                if rng.randrange(5) == 0:
                    h.zero(n, at)
                else:
                    h.pwrite(rng.randbytes(n), at, rng.choice((0, nbd.CMD_FLAG_FUA)))
            h.flush()
            before = read(r, 'disk')
            h.trim(65536, 65536)
            h.shutdown()
            r.stop()
            entries = parse(read(r, 'log'))
            assert replay(bytes(SIZE), entries) == before
            assert any(e[0] & FUA for e in entries) and any(e[0] & FLUSH for e in entries)
            assert (DISCARD, 65536, 65536, b'') in entries


def test_a_log_is_continued_also_by_qemu_and_for_qemu():
    theirs = shutil.which('qemu-storage-daemon')
    if not theirs:
        skip('qemu-storage-daemon is not installed')
    with Rig() as r:
        r.create('disk', size='4M')
        r.create('log', size='0')
        for i, qsd in enumerate((None, theirs, None)):
            r.start(qsd=qsd, *()) if qsd is None else start_theirs(r, theirs)
            h = logged(r, log_append=True) if i else logged(r)
            h.pwrite(bytes([i + 1]) * 5120, i * 100 * 1024)
            h.zero(512, i * 100 * 1024)
            h.flush()
            h.shutdown()
            r.stop()
        entries = parse(read(r, 'log'))
        assert replay(bytes(SIZE), entries) == read(r, 'disk')
        assert len([e for e in entries if len(e[3]) == 5120]) == 3, entries


def start_theirs(r, program):
    sock = r.path('qmp.sock')
    for name in (sock, r.path('nbd.sock')):
        if os.path.exists(name):
            os.unlink(name)
    r.proc = subprocess.Popen([program, '--chardev', 'socket,id=m,server=on,wait=off,path=' + sock, '--monitor', 'm',
                               '--nbd-server', 'addr.type=unix,addr.path=' + r.path('nbd.sock')],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    r.qmp = r.connect(timeout=60)


def test_a_log_that_is_none_is_refused():
    with Rig() as r:
        r.create('disk', size='4M')
        r.create('log', size='1M')
        r.start()
        for name in ('disk', 'log'):
            add(r, driver='file', node_name=name, filename=r.path(name))
        log = {'driver': 'blklogwrites', 'node_name': 'l', 'file': 'disk', 'log': 'log'}
        assert r.error('blockdev-add', log_append=True, **log).desc == 'Invalid log superblock magic'
        assert r.error('blockdev-add', log_sector_size=100, **log).desc == 'Invalid log sector size 100'
        assert 'interval 0' in r.error('blockdev-add', log_super_update_interval=0, **log).desc
        assert 'mutually exclusive' in r.error('blockdev-add', log_append=True, log_sector_size=512, **log).desc
        for count, sector, entry, expected in ((1, 512, (0, 1 << 60, 0, 0), 'log entry 0'),
                                               (1 << 60, 512, (0, 1, 0, 0), 'log entry'),
                                               (1, 513, (0, 1, 0, 0), 'sector size 513')):
            with open(r.path('log'), 'r+b') as f:
                f.write(struct.pack('<QQQI', 0x6a736677736872, 1, count, sector))
                f.seek(512)
                f.write(struct.pack('<QQQQ', *entry))
            assert expected in r.error('blockdev-add', log_append=True, **log).desc


# -- preallocate


def test_a_file_grows_in_large_steps_and_nothing_is_left():
    with Rig() as r:
        path = r.create('img', 'qcow2', '64M')
        r.start()
        add(r, driver='qcow2', node_name='img',
            file={'driver': 'preallocate', 'file': {'driver': 'file', 'filename': path},
                  'prealloc-size': 8 << 20, 'prealloc-align': 1 << 20})
        r.export('img')
        h = r.nbd('img')
        sizes = set()
        for at in range(0, 16 << 20, 65536):
            h.pwrite(b'x' * 65536, at)
            sizes.add(os.stat(path).st_size)
        assert len(sizes) <= 5, sizes
        assert all(s % (1 << 20) == 0 for s in sizes), sizes
        assert h.pread(1 << 20, 15 << 20) == b'x' * (1 << 20)
        # the base of a snapshot is read-only, and as long as it is in use
        r.snapshot(r.member('exp-img', 'overlay'))
        assert os.stat(path).st_size < 18 << 20
        h.shutdown()
        r.stop()
        run('qemu-img', 'check', '-q', path)
        run('qemu-io', '-r', '-f', 'qcow2', '-c', 'read -q -P 120 0 16M', path)


def test_a_raw_disk_is_as_long_as_it_was_written():
    with Rig() as r:
        path = r.create('img', size='0')
        r.start()
        add(r, driver='preallocate', node_name='p', file={'driver': 'file', 'filename': path})
        add(r, driver='qcow2', node_name='none', file=file_node(r, 'other', fmt='qcow2'))
        e = r.error('blockdev-add', driver='preallocate', node_name='x', file='none', prealloc_align=100)
        assert e.desc == 'prealloc-align parameter of preallocate filter is not aligned to 512'
        r.cmd('block_resize', node_name='p', size=5 << 20)
        assert os.stat(path).st_size == 5 << 20
        r.stop()
        assert os.stat(path).st_size == 5 << 20


def test_a_filter_is_as_read_only_as_what_is_below_it():
    with Rig() as r:
        r.create('img', 'raw', '1M')
        r.start('--object', 'throttle-group,id=tg')
        r.cmd('blockdev-add', driver='raw', node_name='img', read_only=True,
              file={'driver': 'file', 'filename': r.path('img'), 'read-only': True})
        r.cmd('blockdev-add', driver='throttle', node_name='thr', throttle_group='tg', file='img')
        assert [n['ro'] for n in r.cmd('query-named-block-nodes') if n['node-name'] == 'thr'] == [True]
        assert 'read-only' in r.error('blockdev-add', driver='qcow2', node_name='q', file='thr').desc


if __name__ == '__main__':
    main(globals())
