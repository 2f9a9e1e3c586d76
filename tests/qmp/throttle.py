#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Limits hold, are shared by a group, and neither delay a snapshot nor are lost by it.

To the request and to the nanosecond they are looked at by tests/unit/test-throttle.c, on a clock of its own.  Here
what is too fast is wrong whatever the machine, and what must not wait has many times the time that it needs.
"""

import time

from rig import Rig, import_nbd, main, requires
from qmp import QMPError

requires('qemu-img')
nbd = import_nbd()
NONE = {'bps': 0, 'bps_rd': 0, 'bps_wr': 0, 'iops': 0, 'iops_rd': 0, 'iops_wr': 0}


def throttle(r, name, **limits):
    r.qmp.cmd('block_set_io_throttle', dict(NONE, id='exp-' + name, **limits))


def write_for(seconds, *handles):
    """Writes of 4 KiB that the handles take in turn in that time, after the first burst."""
    until = time.monotonic() + seconds
    n = 0
    while time.monotonic() < until:
        handles[n % len(handles)].pwrite(b'x' * 4096, 0)
        n += 1
    return n


def check_rate(rate, burst, *handles):
    """In whatever time it takes, no more go than the limit lets go."""
    start = time.monotonic()
    n = write_for(1, *handles)
    most = burst + rate * (time.monotonic() - start) + 2
    assert n <= most, (n, most)


def disks(r, n=1):
    for i in range(n):
        r.drive('disk%d' % i, 'raw')
    r.start('--object', 'iothread,id=io0', '--object', 'iothread,id=io1')
    for i in range(n):
        r.export('disk%d' % i, iothread='io%d' % (i % 2))
    return [r.nbd('disk%d' % i) for i in range(n)]


def test_limits_hold_and_go_away():
    with Rig() as r:
        h, = disks(r)
        throttle(r, 'disk0', iops=100)
        check_rate(100, 10, h)
        throttle(r, 'disk0', bps_wr=4096 * 20)
        check_rate(20, 2, h)
        # reads are not limited: these would take 15 s, and so would the writes with the limit
        start = time.monotonic()
        for _ in range(300):
            h.pread(4096, 0)
        throttle(r, 'disk0')
        for _ in range(300):
            h.pwrite(b'x' * 4096, 0)
        assert time.monotonic() - start < 14
        assert not any(b['inserted'].get('group') for b in r.cmd('query-block'))


def test_bursts():
    with Rig() as r:
        h, = disks(r)
        throttle(r, 'disk0', iops=10, iops_max=300)
        start = time.monotonic()
        for _ in range(250):                    # 25 s without a burst
            h.pwrite(b'x' * 512, 0)
        assert time.monotonic() - start < 20, 'a burst was not let through'
        n = 250 + write_for(1, h)
        most = 300 + 10 * (time.monotonic() - start) + 2
        assert n <= most, (n, most)


def test_a_group_shares_its_limits():
    with Rig() as r:
        a, b = disks(r, 2)
        r.cmd('object-add', qom_type='throttle-group', id='tg', limits={'iops-total': 10})
        throttle(r, 'disk0', iops=100, group='tg')
        throttle(r, 'disk1', iops=100, group='tg')
        check_rate(100, 10, a, b)
        assert r.inserted('exp-disk1')['group'] == 'tg'
        assert 'in use' in r.error('object-del', id='tg').desc
        throttle(r, 'disk0')
        throttle(r, 'disk1')
        r.cmd('object-del', id='tg')


def test_a_snapshot_does_not_wait_and_keeps_the_limits():
    with Rig() as r:
        h, = disks(r)
        throttle(r, 'disk0', iops=10)
        buf = nbd.Buffer.from_bytearray(bytearray(4096))
        began = time.monotonic()
        cookies = [h.aio_pwrite(buf, 0) for _ in range(80)]     # eight seconds' worth
        h.poll(200)
        start = time.monotonic()
        ev = r.snapshot(r.member('exp-disk0', 'o'))
        assert time.monotonic() - start < 5
        assert ev['pause-ns'] < 5e9, ev
        assert r.inserted('exp-disk0')['iops'] == 10
        while not h.aio_command_completed(cookies[-1]):
            h.poll(-1)
        assert time.monotonic() - began > 6.5, 'the limit was lost'


def test_an_export_with_waiting_requests_ends_at_once():
    with Rig() as r:
        h, = disks(r)
        throttle(r, 'disk0', iops=1)
        buf = nbd.Buffer.from_bytearray(bytearray(512))
        for _ in range(50):
            h.aio_pwrite(buf, 0)
        h.poll(200)
        start = time.monotonic()
        r.cmd('block-export-del', id='exp-disk0', mode='hard')
        assert time.monotonic() - start < 30    # of 50


def queue_up(h, n):
    buf = nbd.Buffer.from_bytearray(bytearray(512))
    cookies = [h.aio_pwrite(buf, 0) for _ in range(n)]
    h.poll(200)
    return cookies


def test_leaving_a_shared_queue_waits_for_nobody_elses_requests():
    """An export and a change of limits: what stands before them in the queue has an hour to go."""
    for leave in (lambda: r.cmd('block-export-del', id='exp-disk1', mode='hard'),
                  lambda: throttle(r, 'disk1'), lambda: throttle(r, 'disk1', iops=1000)):
        with Rig() as r:
            ours, other = disks(r, 2)
            for name in 'disk0', 'disk1':
                throttle(r, name, iops=1, group='g')
            first = queue_up(ours, 4000)
            queue_up(other, 3)
            leave()
            assert not ours.aio_command_completed(first[-1])


def test_two_changes_of_one_disks_limits_and_its_removal():
    """From three monitors at once: nothing of a limit is left behind, and nobody meets what is gone."""
    with Rig() as r:
        h, = disks(r)
        for n in range(30):
            for group in 'g0', 'g1':
                r.cmd('object-add', qom_type='throttle-group', id=group)
            throttle(r, 'disk0', iops=1)
            queue_up(h, 20)
            monitors = [r.connect() for _ in range(3)]
            for i, group in enumerate(('g0', 'g1')):
                monitors[i].send('block_set_io_throttle',
                                 dict(NONE, id='exp-disk0', iops=1000, group=group))
            if n % 3 == 2:
                monitors[2].send('block-export-del', {'id': 'exp-disk0', 'mode': 'hard'})
                assert monitors[2].recv_reply() == {'return': {}}
            for m in monitors[:2]:
                reply = m.recv_reply()
                assert 'return' in reply or n % 3 == 2, reply
            for m in monitors:
                m.close()
            if n % 3 == 2:
                r.export('disk0', iothread='io0')
                h = r.nbd('disk0')
            else:
                throttle(r, 'disk0')
                h.pwrite(b'x', 0)
            for group in 'g0', 'g1':
                r.cmd('object-del', id=group)


def test_limits_that_make_no_sense_are_refused():
    with Rig() as r:
        disks(r)
        for limits, text in (({'iops': 10, 'iops_rd': 5}, 'same time'),
                             ({'iops_max': 10}, 'requires'), ({'iops': 10, 'iops_max': 5}, 'lower'),
                             ({'bps': -1}, 'must be within'), ({'iops_size': 512}, 'requires'),
                             ({'iops': 10, 'iops_max_length': 0, 'iops_max': 20}, 'cannot be 0')):
            try:
                throttle(r, 'disk0', **limits)
            except QMPError as e:
                assert text in e.desc, (limits, e)
            else:
                raise AssertionError('%s was accepted' % limits)


# -- nodes of the driver throttle


def filtered(r, n=1, **limits):
    """Disks with throttle nodes "thr0"... in group "tg", exported as that."""
    r.start('--object', 'iothread,id=io0')
    r.cmd('object-add', qom_type='throttle-group', id='tg', limits=limits)
    handles = []
    for i in range(n):
        r.cmd('blockdev-add', driver='raw', node_name='img%d' % i,
              file={'driver': 'file', 'filename': r.create('disk%d.raw' % i)})
        r.cmd('blockdev-add', driver='throttle', node_name='thr%d' % i, throttle_group='tg', file='img%d' % i)
        r.export('thr%d' % i, iothread='io0')
        handles.append(r.nbd('thr%d' % i))
    return handles


def test_nodes_share_the_limits_of_a_group():
    with Rig() as r:
        a, b = filtered(r, 2, **{'iops-write': 100})
        check_rate(100, 10, a, b)
        start = time.monotonic()
        for _ in range(300):
            a.pread(4096, 0)
        assert time.monotonic() - start < 2.5, 'reads are not limited'
        assert 'in use' in r.error('object-del', id='tg').desc
        e = r.error('blockdev-add', driver='throttle', node_name='x', throttle_group='none', file='img0')
        assert e.desc == "Throttle group 'none' does not exist", e.desc


def test_a_node_gets_another_group():
    with Rig() as r:
        h, = filtered(r, **{'iops-total': 1})
        r.cmd('object-add', qom_type='throttle-group', id='quick', limits={'iops-total': 100000})
        cookies = queue_up(h, 20)
        start = time.monotonic()
        r.cmd('blockdev-reopen', options=[{'driver': 'throttle', 'node-name': 'thr0', 'throttle-group': 'quick',
                                           'file': 'img0'}])
        while not h.aio_command_completed(cookies[-1]):
            h.poll(-1)
        write_for(0.2, h)
        assert time.monotonic() - start < 10
        r.cmd('object-del', id='tg')
        e = r.error('blockdev-reopen', options=[{'driver': 'throttle', 'node-name': 'thr0', 'throttle-group': 'none',
                                                 'file': 'img0'}])
        assert 'does not exist' in e.desc
        write_for(0.2, h)


def test_nobody_waits_for_requests_that_wait_in_a_node():
    """A snapshot and the end of the export: in the queue there is work for minutes."""
    with Rig() as r:
        h, = filtered(r, **{'iops-total': 1})
        queue_up(h, 200)
        start = time.monotonic()
        r.snapshot(r.member('exp-thr0', 'overlay'))
        assert time.monotonic() - start < 10
        h.pwrite(b'x' * 512, 4096)
        assert h.pread(512, 4096) == b'x' * 512
    with Rig() as r:
        h, = filtered(r, **{'iops-total': 1})
        queue_up(h, 200)
        start = time.monotonic()
        r.cmd('block-export-del', id='exp-thr0', mode='hard')
        assert time.monotonic() - start < 10


def test_the_end_of_the_daemon_does_not_wait_for_limits():
    """A job that reads through a node, for which nobody's limits end: at its pace it would take hours."""
    with Rig() as r:
        h, = filtered(r, **{'bps-total': 4096})
        h.shutdown()
        r.cmd('block-export-del', id='exp-thr0', mode='hard')
        disk = [n for n in r.cmd('query-named-block-nodes') if n['node-name'] == 'thr0'][0]
        r.cmd('blockdev-add', driver='null-co', node_name='copy', size=disk['image']['virtual-size'])
        r.cmd('blockdev-mirror', job_id='j', device='thr0', target='copy', sync='full')
        start = time.monotonic()
        r.stop()
        assert time.monotonic() - start < 10


main(globals())
