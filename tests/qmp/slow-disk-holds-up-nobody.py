#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that does not answer holds up its own client, and no command about other disks."""

import json
import os
import time

from rig import Rig, import_nbd, main, requires, run

requires('qemu-img')
nbd = import_nbd()
DELAY = 3.0


def slow_disk(r, iotype, delay=DELAY):
    """A node 'slow' whose requests of that type take @delay seconds, next to disk0; both exported."""
    r.create('slow.raw', 'raw')
    r.drive('disk0', 'raw')
    r.start('--blockdev', json.dumps({
        'driver': 'raw', 'node-name': 'slow', 'file': {
            'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': r.path('slow.raw')},
            'inject-error': [{'event': 'none', 'iotype': iotype, 'errno': 0,
                              'delay-ns': int(delay * 1e9)}]}}))
    r.export('slow')
    r.export('disk0')


def start_write(r):
    h = r.nbd('slow')
    cookie = h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b'x' * 512)), 0)
    h.poll(100)
    return h, cookie


def test_deleting_its_export():
    with Rig() as r:
        slow_disk(r, 'write')
        start_write(r)
        q = r.connect()
        q.send('block-export-del', {'id': 'exp-slow', 'mode': 'hard'})
        start = time.monotonic()
        r.snapshot(r.member('disk0', 'a'))
        r.nbd('disk0').pwrite(b'y' * 512, 0)
        assert time.monotonic() - start < DELAY / 2
        assert [e['shutting-down'] for e in r.cmd('query-block-exports')
                if e['id'] == 'exp-slow'] == [True]
        assert q.recv_reply()['return'] == {}
        r.qmp.wait_event('BLOCK_EXPORT_DELETED', id='exp-slow')


def test_a_new_size_and_new_options():
    """They give up in the end, the disk is what it was, and the next command has its turn."""
    with Rig() as r:
        slow_disk(r, 'write', delay=14)
        h, cookie = start_write(r)
        q = r.connect()
        q.send('block_resize', {'node-name': 'slow', 'size': 1 << 20})
        assert 'did not finish within' in q.recv_reply()['error']['desc']
        assert r.inserted('exp-slow')['image']['virtual-size'] == 16 << 20
        while not h.aio_command_completed(cookie):
            h.poll(-1)
        r.cmd('block_resize', node_name='slow', size=1 << 20)


def test_bitmaps_of_the_disk_itself():
    """What is done with one bitmap waits for no request, and the write under way is in it."""
    with Rig() as r:
        slow_disk(r, 'write')
        h, cookie = start_write(r)
        start = time.monotonic()
        for verb in 'add', 'clear', 'disable', 'enable':
            r.cmd('block-dirty-bitmap-' + verb, node='slow', name='b')
        r.cmd('block-dirty-bitmap-add', node='slow', name='gone')
        r.cmd('block-dirty-bitmap-remove', node='slow', name='gone')
        assert time.monotonic() - start < DELAY / 2
        while not h.aio_command_completed(cookie):
            h.poll(-1)
        found = [n['dirty-bitmaps'] for n in r.cmd('query-named-block-nodes') if n['node-name'] == 'slow']
        assert [(b['name'], b['count']) for b in found[0]] == [('b', 65536)], found


def test_a_flush_of_a_base_that_takes_too_long():
    """Guests run again at the deadline; the flush ends by itself and the disk stays usable."""
    with Rig() as r:
        slow_disk(r, 'flush')
        h = r.nbd('slow')
        h.pwrite(b'z' * 512, 0)
        q = r.connect()
        q.send('blockdev-group-snapshot-sync',
               {'devlist': [r.member('disk0', 'a'), r.member('slow', 'b')], 'timeout': 100})
        gap, last = 0.0, time.monotonic()
        deadline = last + 4 * DELAY + 20
        reply = None
        while reply is None and time.monotonic() < deadline:
            h.pwrite(b'z' * 512, 0)
            gap = max(gap, time.monotonic() - last)
            last = time.monotonic()
            try:
                reply = q.recv_reply(timeout=0.001)
            except TimeoutError:
                pass
        assert reply and 'error' in reply, reply
        assert 'not flushed in time' in reply['error']['desc'], reply
        assert reply['error']['data']['device'] == 'slow', reply
        assert gap < DELAY / 2, gap
        h.flush()
        assert h.pread(512, 0) == b'z' * 512


def test_a_flush_that_never_returns_holds_up_no_command_about_other_disks():
    with Rig() as r:
        slow_disk(r, 'flush', delay=3600)
        r.nbd('slow').pwrite(b'z' * 512, 0)
        q = r.connect()
        q.send('blockdev-group-snapshot-sync', {'devlist': [r.member('slow', 'b')], 'timeout': 500})
        r.snapshot(r.member('disk0', 'a'))
        r.cmd('blockdev-add', driver='null-co', node_name='n', size=512)
        r.export('n')
        r.cmd('block-export-del', id='exp-n')
        r.cmd('block_resize', device='disk0', size=32 << 20)
        r.cmd('blockdev-del', node_name='n')
        e = q.recv_reply()['error']
        assert 'not flushed in time' in e['desc'] and e['data']['device'] == 'slow', e
        assert not os.path.exists(r.path('b'))
        r.nbd('slow').pwrite(b'z' * 512, 512)
        r.kill()                    # it would wait for that flush


def test_a_clean_end_waits_for_a_flush_that_a_snapshot_gave_up_on():
    """What was written before and after it is in the image."""
    with Rig() as r:
        image = r.create('slow.qcow2', 'qcow2')
        r.start('--blockdev', json.dumps({
            'driver': 'qcow2', 'node-name': 'slow', 'file': {
                'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': image},
                'inject-error': [{'event': 'none', 'iotype': 'flush', 'errno': 0,
                                  'delay-ns': int(DELAY / 2 * 1e9)}]}}))
        r.export('slow')
        h = r.nbd('slow')
        h.pwrite(b'A' * 65536, 0)
        e = r.snapshot_error(r.member('slow', 'b'), timeout=50)
        assert 'not flushed in time' in e.desc, e
        h.pwrite(b'B' * 65536, 1 << 20)
        h.shutdown()
        r.cmd('quit')
        r.proc.wait()
        run('qemu-io', '-f', 'qcow2', '-c', 'read -P 0x41 0 64k', '-c', 'read -P 0x42 1M 64k', image)


main(globals())
