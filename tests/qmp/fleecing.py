#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk can be read as it was when copy-before-write was put before it, to the byte, while guests go on writing to
it; and when the copy fails, exactly one of the two suffers: the guest's request or the snapshot."""

import json
import random
import threading
import time

from qmp import QMPError
from rig import Rig, import_nbd, main, requires, run, skip

requires('qemu-img', 'qemu-io')
nbd = import_nbd()
SIZE = 16 << 20
CLUSTER = 65536


def add(r, **options):
    r.qmp.cmd('blockdev-add', {k.replace('_', '-'): v for k, v in options.items()})


def fleece(r, fmt='raw', source_options=(), target_rules=None, base=True, iothreads=False, **cbw):
    """Nodes src, tgt, cbw, snap and exports of the last two; what the disk has."""
    content = random.Random(7).randbytes(SIZE - 512 * 3)
    path = r.create('src', fmt, str(len(content)), *source_options)
    with open(r.path('content'), 'wb') as f:
        f.write(content)
    run('qemu-img', 'convert', '-n', '-f', 'raw', '-O', fmt, r.path('content'), path)
    r.create('tgt', 'qcow2', str(len(content)))
    r.start()
    add(r, driver=fmt, node_name='src', discard='unmap',
        file={'driver': 'file', 'filename': path, 'discard': 'unmap'})
    file = {'driver': 'file', 'filename': r.path('tgt')}
    if target_rules is not None:
        file = {'driver': 'blkdebug', 'image': file, 'inject-error': target_rules}
    add(r, driver='qcow2', node_name='tgt', file=file, discard='unmap', backing='src' if base else None)
    add(r, driver='copy-before-write', node_name='cbw', file='src', target='tgt', discard='unmap',
        **cbw)
    add(r, driver='snapshot-access', node_name='snap', file='cbw', discard='unmap')
    where = [{}, {}]
    if iothreads:
        for i in range(2):
            r.cmd('object-add', qom_type='iothread', id='t%d' % i)
            where[i] = {'iothread': 't%d' % i}
    r.export('cbw', **where[0])
    r.export('snap', **where[1])
    return content


class Guest(threading.Thread):
    """Writes, zeroes and trims in a part of the disk of its own, and knows what it has."""

    def __init__(self, r, seed, start, model, stop):
        super().__init__()
        self.h = r.nbd('cbw')
        self.rng = random.Random(seed)
        self.first, self.model, self.stop = start, model, stop
        self.failure = None
        self.requests = 0

    def run(self):
        try:
            while not self.stop.is_set() or self.requests < 20:
                self.request()
        except Exception as e:                  # pylint: disable=broad-except
            self.failure = e

    def request(self):
        unit = self.rng.choice((512, 4096, CLUSTER))
        n = unit * self.rng.randint(1, 20)
        at = self.first + self.rng.randrange(0, SIZE // 4 - 2048 - n, 512)
        what = self.rng.randrange(6)
        if what == 0:
            self.h.zero(n, at)
            self.model[at:at + n] = bytes(n)
        elif what == 1:
            self.h.trim(n, at)
            self.model[at:at + n] = self.h.pread(n, at)
        else:
            data = self.rng.randbytes(n)
            self.h.pwrite(data, at)
            self.model[at:at + n] = data
        self.requests += 1


def read_all(h, length, step=1 << 20):
    return b''.join(h.pread(min(step, length - at), at) for at in range(0, length, step))


def guests_and_readers(**how):
    with Rig() as r:
        content = fleece(r, **how)
        model, stop = bytearray(content), threading.Event()
        guests = [Guest(r, i, i * (SIZE // 4), model, stop) for i in range(4)]
        h = r.nbd('snap')
        for g in guests:
            g.start()
        rng = random.Random(5)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            n = rng.choice((1000, 100000, 3000000))
            at = rng.randrange(len(content) - n)
            assert h.pread(n, at) == content[at:at + n]
        stop.set()
        for g in guests:
            g.join()
            assert g.failure is None, g.failure
        assert read_all(h, len(content)) == content
        assert read_all(r.nbd('cbw'), len(content)) == bytes(model)
        h.shutdown()


def test_the_old_state_is_read_while_guests_write():
    guests_and_readers()


def test_of_a_qcow2_disk_with_threads_for_both():
    guests_and_readers(fmt='qcow2', iothreads=True)


def test_of_a_qcow2_disk_with_small_clusters():
    guests_and_readers(fmt='qcow2', source_options=('-o', 'cluster_size=4k'), iothreads=True)


def test_with_a_target_that_has_no_backing_file():
    guests_and_readers(base=False, iothreads=True, min_cluster_size=1 << 20)


def test_with_a_slow_target_and_a_deadline_that_is_kept():
    guests_and_readers(target_rules=[{'event': 'none', 'iotype': 'write', 'errno': 0, 'delay-ns': 2000000}],
                       cbw_timeout=60, iothreads=True)


def test_the_target_itself_shows_the_old_state_where_it_is_an_overlay():
    """As older programs read it; what the overlay lacks is read from the disk, and guests' writes wait for that."""
    with Rig() as r:
        content = fleece(r, iothreads=True)
        r.export('tgt', writable=False, iothread='t1')
        model, stop = bytearray(content), threading.Event()
        guests = [Guest(r, i, i * (SIZE // 4), model, stop) for i in range(4)]
        for g in guests:
            g.start()
        h, rng, end = r.nbd('tgt'), random.Random(6), time.monotonic() + 3
        while time.monotonic() < end:
            n = rng.choice((1000, 100000, 3000000))
            at = rng.randrange(len(content) - n)
            assert h.pread(n, at) == content[at:at + n]
        stop.set()
        for g in guests:
            g.join()
            assert g.failure is None, g.failure
        assert read_all(h, len(content)) == content


def snapshot_meanwhile(take):
    with Rig() as r:
        content = fleece(r, fmt='qcow2')
        model, stop = bytearray(content), threading.Event()
        guests = [Guest(r, i, i * (SIZE // 4), model, stop) for i in range(2)]
        for g in guests:
            g.start()
        time.sleep(0.3)
        take(r)
        time.sleep(0.5)
        stop.set()
        for g in guests:
            g.join()
            assert g.failure is None, g.failure
        assert read_all(r.nbd('snap'), len(content)) == content
        assert read_all(r.nbd('cbw'), len(content)) == bytes(model)


def test_a_snapshot_above_it_changes_nothing():
    snapshot_meanwhile(lambda r: r.snapshot(r.member('exp-cbw', 'overlay')))


def test_a_snapshot_below_it_changes_nothing():
    snapshot_meanwhile(lambda r: r.cmd('blockdev-snapshot-sync', node_name='src', snapshot_node_name='new',
                                       snapshot_file=r.path('overlay')))


def fails(call, *args):
    try:
        call(*args)
    except nbd.Error as e:
        return e.errno
    raise AssertionError('it succeeded')


FAILS = [{'event': 'none', 'iotype': 'write', 'errno': 28}]


def test_a_failed_copy_fails_the_guests_write_and_the_snapshot_stays_good():
    with Rig() as r:
        r.status = 1                    # nor can the target's tables be written
        content = fleece(r, target_rules=FAILS)
        g, h = r.nbd('cbw'), r.nbd('snap')
        assert fails(g.pwrite, b'x' * 5000, 70000) == 'ENOSPC'
        assert fails(g.zero, 5000, 70000) == 'ENOSPC'
        g.trim(CLUSTER, CLUSTER)        # a hint: it does nothing
        assert read_all(h, len(content)) == content
        assert read_all(g, len(content)) == content


def test_a_failed_copy_breaks_the_snapshot_and_the_guest_goes_on():
    with Rig() as r:
        r.status = 1                    # nor can the target's tables be written
        content = fleece(r, target_rules=FAILS, on_cbw_error='break-snapshot')
        g, h = r.nbd('cbw'), r.nbd('snap')
        assert h.pread(4096, 0) == content[:4096]
        g.pwrite(b'x' * 5000, 70000)
        assert g.pread(5000, 70000) == b'x' * 5000
        for at in (0, 70000, SIZE // 2):
            assert fails(h.pread, 512, at) == 'EPERM'
        g.pwrite(b'y' * 5000, 700000)
        assert g.pread(5000, 700000) == b'y' * 5000
        g.shutdown()
        h.shutdown()
        r.stop()
        assert "node 'cbw': its snapshot cannot be read any more: a copy to node 'tgt' failed: No space" in r.log, r.log


def test_a_copy_that_takes_too_long_counts_as_failed():
    slow = [{'event': 'none', 'iotype': 'write', 'errno': 0, 'delay-ns': 3000000000}]
    for policy in ('break-snapshot', 'break-guest-write'):
        with Rig() as r:
            content = fleece(r, target_rules=slow, on_cbw_error=policy, cbw_timeout=1)
            g, h = r.nbd('cbw'), r.nbd('snap')
            begin = time.monotonic()
            if policy == 'break-snapshot':
                g.pwrite(b'x' * 5000, 70000)
                assert 0.9 < time.monotonic() - begin < 2.9
                assert fails(h.pread, 512, 0) == 'EPERM'
                assert g.pread(5000, 70000) == b'x' * 5000
            else:
                fails(g.pwrite, b'x' * 5000, 70000)
                assert 0.9 < time.monotonic() - begin < 2.9
                assert read_all(h, len(content)) == content
                assert read_all(g, len(content)) == content
            # the daemon ends, and waits for the late copy
            g.shutdown()
            h.shutdown()


def test_what_was_discarded_from_the_snapshot_is_not_copied_and_not_read():
    with Rig() as r:
        r.status = 1                    # nor can the target's tables be written
        content = fleece(r, target_rules=FAILS)
        g, h = r.nbd('cbw'), r.nbd('snap')
        h.trim(4 << 20, 1 << 20)
        g.pwrite(b'x' * (4 << 20), 1 << 20)         # copies would fail
        assert fails(h.pread, 512, 1 << 20) == 'EPERM'
        assert fails(h.pread, 512, (5 << 20) - 512) == 'EPERM'
        assert h.pread(1 << 20, 0) == content[:1 << 20]
        assert h.pread(4096, 5 << 20) == content[5 << 20:][:4096]
        assert fails(g.pwrite, b'x', 0) == 'ENOSPC'
        fails(h.pwrite, b'x', 0)


def test_a_bitmap_says_what_belongs_to_the_snapshot():
    with Rig() as r:
        path = r.create('src')
        r.create('tgt', 'qcow2')
        r.start()
        add(r, driver='raw', node_name='src', file={'driver': 'file', 'filename': path})
        try:
            r.cmd('block-dirty-bitmap-add', node='src', name='b', granularity=4096)
        except QMPError as e:
            skip(e.desc)
        add(r, driver='qcow2', node_name='tgt', file={'driver': 'file', 'filename': r.path('tgt')},
            backing='src')
        r.export('src')
        h = r.nbd('src')
        h.pwrite(b'1' * 5000, 300000)
        h.shutdown()
        r.cmd('block-export-del', id='exp-src')
        bitmap = {'node': 'src', 'name': 'b'}
        assert 'nothere' in r.error('blockdev-add', driver='copy-before-write', node_name='cbw', file='src',
                                    target='tgt', bitmap={'node': 'src', 'name': 'nothere'}).desc
        add(r, driver='copy-before-write', node_name='cbw', file='src', target='tgt', bitmap=bitmap)
        add(r, driver='snapshot-access', node_name='snap', file='cbw')
        r.export('cbw')
        r.export('snap')
        g, h = r.nbd('cbw'), r.nbd('snap')
        g.pwrite(b'2' * (1 << 20), 0)
        assert h.pread(5000, 300000) == b'1' * 5000
        first = 300000 // CLUSTER * CLUSTER
        assert h.pread(CLUSTER, first)
        assert fails(h.pread, 512, first - 512) == 'EPERM'
        assert fails(h.pread, CLUSTER + 1, first) == 'EPERM'
        g.shutdown()
        h.shutdown()
        r.stop()
        mapped = json.loads(run('qemu-img', 'map', '--output=json', '-f', 'qcow2', r.path('tgt')))
        assert sum(e['length'] for e in mapped if e['present']) == CLUSTER, mapped


def test_an_overlay_lies_over_a_disk_in_use():
    """As backup programs add it; a guest that reads and writes the overlay needs a base that stays."""
    with Rig() as r:
        path = r.create('src')
        r.create('tgt', 'qcow2')
        r.start()
        add(r, driver='raw', node_name='src', file={'driver': 'file', 'filename': path})
        r.export('src')
        h = r.nbd('src')
        h.pwrite(b'1' * 4096, 0)
        add(r, driver='qcow2', node_name='tgt', file={'driver': 'file', 'filename': r.path('tgt')},
            backing='src')
        r.export('tgt', writable=False)
        o = r.nbd('tgt')
        assert o.pread(4096, 0) == b'1' * 4096
        h.pwrite(b'2' * 4096, 0)
        assert o.pread(4096, 0) == b'2' * 4096
        o.shutdown()
        r.cmd('block-export-del', id='exp-tgt')
        e = r.error('block-export-add', type='nbd', id='w', node_name='tgt', writable=True)
        assert "node 'tgt' (as its backing)" in e.desc, e.desc
        h.shutdown()
        r.cmd('block-export-del', id='exp-src')
        r.export('tgt')
        e = r.error('block-export-add', type='nbd', id='w', node_name='src', writable=True)
        assert "node 'tgt' (as its backing)" in e.desc, e.desc


def test_options_that_make_no_sense_are_refused():
    with Rig() as r:
        path = r.create('src')
        r.create('small', 'qcow2', '1M')
        r.create('tgt', 'qcow2')
        r.start()
        add(r, driver='raw', node_name='src', file={'driver': 'file', 'filename': path})
        for name in ('small', 'tgt'):
            add(r, driver='qcow2', node_name=name,
                file={'driver': 'file', 'filename': r.path(name)})
        cbw = {'driver': 'copy-before-write', 'node_name': 'cbw', 'file': 'src'}
        assert 'fewer' in r.error('blockdev-add', target='small', **cbw).desc
        assert 'power of 2' in r.error('blockdev-add', target='tgt', min_cluster_size=70000, **cbw).desc
        assert 'too large' in r.error('blockdev-add', target='tgt', min_cluster_size=1 << 40, **cbw).desc
        assert 'nowhere' in r.error('blockdev-add', target='nowhere', **cbw).desc
        r.error('blockdev-add', target='src', **cbw)
        e = r.error('blockdev-add', driver='snapshot-access', node_name='snap', file='src')
        assert 'no copy-before-write node' in e.desc
        add(r, target='tgt', **cbw)
        e = r.error('block_resize', node_name='cbw', size=1 << 20)
        assert 'does not support resize' in e.desc
        r.export('src')
        # while it is written to past the filter nobody can write through it
        e = r.error('block-export-add', type='nbd', id='w', node_name='cbw', writable=True)
        assert "'src'" in e.desc, e.desc


if __name__ == '__main__':
    main(globals())
