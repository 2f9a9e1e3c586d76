#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Of several nodes with the same data the majority counts: readers get its data, whoever differs or fails is told of, and
without a majority a request fails."""

import random
import threading

from rig import Rig, import_nbd, main, requires

requires('qemu-img')
nbd = import_nbd()
SIZE = 4 << 20
BAD_SECTOR = 64         # reads, writes and flushes of the last child fail here if it is to fail


def add(r, **options):
    r.qmp.cmd('blockdev-add', {k.replace('_', '-'): v for k, v in options.items()})


def rules(sector, *kinds):
    return [{'event': 'none', 'iotype': k, 'errno': 5, 'sector': sector} for k in kinds]


def start(r, n=3, failing=0, **options):
    """Children c0... with the same content, of which the last @failing fail at BAD_SECTOR; node and export "q"."""
    content = random.Random(1).randbytes(SIZE)
    r.start('--object', 'iothread,id=io0')
    children = []
    for i in range(n):
        with open(r.path('c%d' % i), 'wb') as f:
            f.write(content)
        file = {'driver': 'file', 'filename': r.path('c%d' % i), 'node-name': 'c%d' % i}
        if i >= n - failing:
            file['node-name'] = 'file%d' % i
            file = {'driver': 'blkdebug', 'node-name': 'c%d' % i, 'image': file,
                    'inject-error': rules(BAD_SECTOR, 'read', 'write')}
        children.append(file)
    add(r, driver='quorum', node_name='q', children=children, vote_threshold=2, **options)
    r.export('q', iothread='io0')
    return r.nbd('q'), content


def damage(r, child, at, data):
    with open(r.path('c%d' % child), 'r+b') as f:
        f.seek(at)
        f.write(data)


def read_child(r, child):
    with open(r.path('c%d' % child), 'rb') as f:
        return f.read()


def event(r, name, **data):
    found = r.qmp.wait_event(name)['data']
    expected = {k.replace('_', '-'): v for k, v in data.items()}
    assert found == expected, (found, expected)


def fails(call, *args):
    try:
        call(*args)
    except nbd.Error as e:
        return e.errno
    raise AssertionError('it succeeded')


def test_the_majority_is_read_and_the_others_are_told_of():
    with Rig() as r:
        h, content = start(r)
        damage(r, 1, 5000, b'damaged')
        assert h.pread(8192, 4096) == content[4096:12288]
        event(r, 'QUORUM_REPORT_BAD', type='read', node_name='c1', sector_num=8, sectors_count=16)
        assert h.pread(SIZE, 0) == content
        assert read_child(r, 1) != content, 'it is not rewritten'


def test_one_that_fails_is_outvoted():
    with Rig() as r:
        h, content = start(r, failing=1)
        assert h.pread(512, BAD_SECTOR * 512) == content[BAD_SECTOR * 512:][:512]
        event(r, 'QUORUM_REPORT_BAD', type='read', error='Input/output error', node_name='c2',
              sector_num=BAD_SECTOR, sectors_count=1)
        h.pwrite(b'w' * 1024, BAD_SECTOR * 512 - 512)
        assert h.pread(1024, BAD_SECTOR * 512 - 512) == b'w' * 1024
        assert h.pread(512, 0) == content[:512]


def test_without_a_majority_requests_fail():
    with Rig() as r:
        h, content = start(r, failing=2)
        assert fails(h.pread, 512, BAD_SECTOR * 512) == 'EIO'
        for child in ('c1', 'c2'):
            event(r, 'QUORUM_REPORT_BAD', type='read', error='Input/output error', node_name=child,
                  sector_num=BAD_SECTOR, sectors_count=1)
        event(r, 'QUORUM_FAILURE', reference='q', sector_num=BAD_SECTOR, sectors_count=1)
        assert fails(h.pwrite, b'x' * 512, BAD_SECTOR * 512) == 'EIO'
        assert h.pread(512, 0) == content[:512]
    with Rig() as r:
        h, content = start(r)
        for i in range(3):
            damage(r, i, 0, b'%d' % i)
        assert fails(h.pread, 512, 0) == 'EIO'
        event(r, 'QUORUM_FAILURE', reference='q', sector_num=0, sectors_count=1)
        assert h.pread(512, 512) == content[512:1024]


def test_reports_are_not_a_flood():
    with Rig() as r:
        h, _ = start(r)
        damage(r, 1, 0, b'damaged')
        for _ in range(500):
            h.pread(512, 0)
        r.cmd('query-version')
        assert 1 <= len([e for e in r.qmp.take_events() if e['event'] == 'QUORUM_REPORT_BAD']) <= 5


def test_what_was_outvoted_is_rewritten_while_guests_write():
    with Rig() as r:
        h, content = start(r, rewrite_corrupted=True)
        model = bytearray(content)
        rng = random.Random(2)
        failures = []

        def writer():
            w = r.nbd('q')
            try:
                for _ in range(300):
                    n = rng.choice((512, 4096, 70000))
                    at = rng.randrange(0, SIZE - n, 512)
                    data = rng.randbytes(n)
                    w.pwrite(data, at)
                    model[at:at + n] = data
            except Exception as e:              # pylint: disable=broad-except
                failures.append(e)
            w.shutdown()

        for at in range(0, SIZE, 8192):
            damage(r, 1, at, b'damaged')
        t = threading.Thread(target=writer)
        t.start()
        for at in range(0, SIZE, 65536):
            h.pread(65536, at)
        t.join()
        assert not failures, failures
        assert h.pread(SIZE, 0) == bytes(model)
        h.flush()
        for i in range(3):
            assert read_child(r, i) == bytes(model), i


def test_overlapping_writes_leave_the_children_equal():
    with Rig() as r:
        h, _ = start(r)
        buffers = [nbd.Buffer.from_bytearray(bytearray(bytes([i]) * 65536)) for i in range(1, 40)]
        for _ in range(5):
            for i, b in enumerate(buffers):
                h.aio_pwrite(b, 4096 * (i % 3))
            while h.aio_in_flight():
                h.poll(-1)
        h.flush()
        assert read_child(r, 0) == read_child(r, 1) == read_child(r, 2)


def test_the_first_that_can_is_read():
    with Rig() as r:
        h, content = start(r, read_pattern='fifo')
        damage(r, 1, 0, b'damaged')
        assert h.pread(SIZE, 0) == content
        damage(r, 0, 0, b'first')
        assert h.pread(5, 0) == b'first'
        r.cmd('query-version')
        assert not r.qmp.take_events()


def test_two_that_are_compared():
    with Rig() as r:
        h, content = start(r, n=2, blkverify=True)
        assert h.pread(SIZE, 0) == content
        damage(r, 1, 70000, b'damaged')
        assert fails(h.pread, 512, 70000 // 512 * 512) == 'EIO'
        assert h.pread(512, 0) == content[:512]
        r.stop()
        assert 'contents mismatch' in r.log, r.log


def test_zeroes_discards_and_holes():
    with Rig() as r:
        h, content = start(r)
        h.zero(1 << 20, 4096)
        assert h.pread(8192, 0) == content[:4096] + bytes(4096)
        h.trim(65536, 2 << 20)
        assert h.pread(65536, 2 << 20) == content[2 << 20:][:65536]
        status = []
        h.block_status(SIZE, 0, lambda c, o, e, err: status.extend(e) or 0)
        assert status, 'no answer'


def test_what_makes_no_sense_is_refused():
    with Rig() as r:
        start(r)
        for i, size in enumerate(('1M', '1M', '2M')):
            add(r, driver='raw', node_name='n%d' % i,
                file={'driver': 'file', 'filename': r.create('n%d' % i, 'raw', size)})
        q = {'driver': 'quorum', 'node_name': 'x'}

        def refused(children, threshold, **more):
            return r.error('blockdev-add', children=children, vote_threshold=threshold, **q, **more).desc

        assert refused(['n0', 'n1'], 3) == 'threshold may not exceed children count'
        assert refused(['n0', 'n1'], 0) == "Parameter 'vote-threshold' expects a value >= 1"
        assert refused([], 1) == 'Number of provided children must be 1 or more'
        assert 'or less' in refused(['n0'] * 65, 1)
        assert 'exactly two files' in refused(['n0', 'n1'], 1, blkverify=True)
        assert 'cannot be used' in refused(['n0', 'n1'], 2, blkverify=True, rewrite_corrupted=True)
        assert 'different lengths' in refused(['n0', 'n2'], 2)
        assert 'nowhere' in refused(['n0', 'nowhere'], 2)
        add(r, children=['n0', 'n1'], vote_threshold=2, **q)
        # nobody writes to one of them alone
        assert 'children.0' in r.error('block-export-add', type='nbd', id='n0', node_name='n0', writable=True).desc


if __name__ == '__main__':
    main(globals())
