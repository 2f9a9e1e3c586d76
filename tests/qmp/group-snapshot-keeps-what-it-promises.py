#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""After a snapshot: the overlay describes its base, runs like it, and all users are on it."""

import fcntl
import json
import os
import struct
import subprocess
import threading

from rig import QSD, Rig, import_nbd, main, requires, run

requires('qemu-img')
nbd = import_nbd()


def info(path):
    return json.loads(run('qemu-img', 'info', '-U', '--output=json', path))


def test_the_overlay_records_its_base():
    with Rig() as r:
        raw = r.drive('disk0', 'raw', '16M')
        qcow2 = r.drive('disk1', 'qcow2', '16M')
        r.start()
        r.snapshot(r.member('disk0', 'a'), r.member('disk1', 'b'))
        for overlay, base, fmt in ('a', raw, 'raw'), ('b', qcow2, 'qcow2'):
            i = info(r.path(overlay))
            assert i['full-backing-filename'] == base, i
            assert i['backing-filename'] == base, i
            assert i['backing-filename-format'] == fmt, i
            assert i['virtual-size'] == 16 << 20, i
        r.stop()
        for overlay in 'a', 'b':
            run('qemu-img', 'check', '-q', r.path(overlay))


def test_a_base_that_is_part_of_a_file():
    with Rig() as r:
        r.create('whole', 'raw', '16M')
        r.start('--blockdev', 'raw,node-name=part,offset=4M,size=8M,file.driver=file,'
                'file.filename=' + r.path('whole'))
        r.export('part')
        with_data = r.nbd('part')
        with_data.pwrite(b'x' * 512, 512)
        with_data.flush()
        r.snapshot(r.member('part', 'o'))
        r.stop()
        out = run('qemu-io', '-r', '-f', 'qcow2', '-c', 'read -P 0x78 512 512', r.path('o'))
        assert 'verification failed' not in out, out


def test_a_filter_on_the_base_is_not_recorded():
    with Rig() as r:
        base = r.create('disk0', 'qcow2', '16M')
        r.start('--blockdev', 'blkdebug,node-name=top,image.driver=qcow2,image.file.driver=file,'
                'image.file.filename=' + base)
        r.snapshot(r.member('top', 'o'))
        i = info(r.path('o'))
        assert (i['full-backing-filename'], i['backing-filename-format']) == (base, 'qcow2'), i


def test_options_of_the_base_are_the_overlays():
    with Rig() as r:
        r.drive('disk0', 'qcow2', '16M', ',cache=none,discard=unmap,detect-zeroes=unmap')
        r.start()
        before = r.inserted('disk0')
        r.snapshot(r.member('disk0', 'o'))
        after = r.inserted('disk0')
        for key in 'cache', 'detect_zeroes', 'ro':
            assert before[key] == after[key], (key, before, after)


def test_clients_stay_connected_and_see_no_error():
    with Rig() as r:
        r.drive('disk0', 'raw')
        r.start('--object', 'iothread,id=io0')
        r.export('disk0', iothread='io0')
        h = r.nbd('disk0')
        h.pwrite(b'1' * 4096, 0)
        for n in range(10):
            r.snapshot(r.member('disk0', 'o%d' % n))
            h.pwrite(bytes([n]) * 512, 512 * n)
        assert h.pread(4096, 0) == b''.join(bytes([n]) * 512 for n in range(8))
        assert h.pread(512, 512 * 9) == bytes([9]) * 512
        assert r.chain('disk0') == ['o%d' % n for n in range(9, -1, -1)] + ['disk0.raw']
        stats = [s for s in r.cmd('query-blockstats') if s['device'] == 'exp-disk0'][0]['stats']
        assert stats['wr_operations'] == 11, stats
        assert stats['held-count'] == 10, stats


def test_the_base_becomes_read_only_and_gives_up_its_lock():
    with Rig() as r:
        path = r.drive('disk0', 'qcow2')
        r.start()
        r.export('disk0')
        before = subprocess.run(['qemu-io', '-r', '-f', 'qcow2', '-c', 'read 0 512', path],
                                capture_output=True, text=True)
        assert before.returncode != 0
        ev = r.snapshot(r.member('disk0', 'o'))
        assert ev['members'][0]['base-read-only'] is True, ev
        node = ev['members'][0]['base-node']
        nodes = {n['node-name']: n for n in r.cmd('query-named-block-nodes', flat=True)}
        assert nodes[node]['ro'] is True
        run('qemu-io', '-r', '-f', 'qcow2', '-c', 'read 0 512', path)
        # but nobody may write to it
        assert subprocess.run(['qemu-io', '-f', 'qcow2', '-c', 'write 0 512', path],
                              capture_output=True).returncode != 0


def test_a_base_is_left_clean_whatever_was_written_last():
    with Rig() as r:
        r.start()
        path = r.create('disk.qcow2', 'qcow2', '256M')
        r.qmp.cmd('blockdev-add', {'driver': 'qcow2', 'node-name': 'disk', 'lazy-refcounts': True,
                                   'file': {'driver': 'file', 'filename': path}})
        r.export('disk')
        begun, ended = threading.Event(), threading.Event()

        def writer():
            h = r.nbd('disk')
            n = 0
            while not ended.is_set():
                h.pwrite(b'a' * 4096, n % 4096 * 65536)
                n += 1
                if n == 16:
                    begun.set()
            h.shutdown()

        t = threading.Thread(target=writer)
        t.start()
        begun.wait()
        try:
            r.snapshot(r.member('disk', 'o'))
            assert json.loads(run('qemu-img', 'info', '--output=json', path))['dirty-flag'] is False
        finally:
            ended.set()
            t.join()


def add_stack(r, filter_driver):
    """A filter on an image on a file, each a node of its own; the names from the top down, and the file."""
    path = r.create('disk.qcow2', 'qcow2')
    r.cmd('blockdev-add', driver='file', node_name='file', filename=path)
    r.cmd('blockdev-add', driver='qcow2', node_name='image', file='file')
    args = {'driver': filter_driver, 'node-name': 'top'}
    r.qmp.cmd('blockdev-add', dict(args, **{'image' if filter_driver == 'blkdebug' else 'file': 'image'}))
    return ['top', 'image', 'file'], path


def may_read(path):
    return subprocess.run(['qemu-io', '-r', '-f', 'qcow2', '-c', 'read -P 0x61 0 512', path],
                          capture_output=True, check=False).returncode == 0


def test_a_base_of_several_named_nodes_becomes_read_only_down_to_its_file():
    for driver in ('compress', 'blkdebug'):
        with Rig() as r:
            r.start()
            names, path = add_stack(r, driver)
            r.export('top')
            h = r.nbd('top')
            h.pwrite(b'a' * 4096, 0)
            assert not may_read(path)
            ev = r.snapshot(r.member('top', 'o', snapshot_node_name='over'))
            assert ev['members'][0]['base-read-only'] is True, ev
            nodes = {n['node-name']: n for n in r.cmd('query-named-block-nodes', flat=True)}
            assert all(nodes[n]['ro'] for n in names), nodes
            assert may_read(path)
            h.pwrite(b'b' * 4096, 0)
            assert may_read(path)
            # Back to how it was: the file, which nobody wanted to be read-only, goes along.
            h.shutdown()
            r.cmd('block-export-del', id='exp-top', mode='hard')
            r.qmp.wait_event('BLOCK_EXPORT_DELETED')
            r.cmd('blockdev-del', node_name='over')
            r.cmd('blockdev-del', node_name='top')
            r.cmd('blockdev-reopen', options=[{'driver': 'qcow2', 'node-name': 'image',
                                               'file': 'file'}])
            r.export('image')
            r.nbd('image').pwrite(b'c' * 4096, 0)


def test_guests_behind_a_filter_are_held_and_moved_too():
    with Rig() as r:
        r.start()
        add_stack(r, 'compress')
        r.export('top')
        h = r.nbd('top')
        h.pwrite(b'a' * 4096, 0)
        r.snapshot(r.member('image', 'o', snapshot_node_name='over'))
        stats = [s for s in r.cmd('query-blockstats') if s['device'] == 'exp-top'][0]['stats']
        assert stats['held-count'] == 1, stats
        h.pwrite(b'b' * 4096, 65536)
        h.flush()
        parts = json.loads(run('qemu-img', 'map', '-U', '--output=json', r.path('o')))
        assert [p['depth'] for p in parts if p['start'] <= 65536][-1] == 0, parts


def test_a_base_that_somebody_else_writes_to_stays_writable_and_the_event_says_who():
    with Rig() as r:
        r.start()
        add_stack(r, 'compress')
        r.export('image')
        ev = r.snapshot(r.member('top', 'o'))
        m = ev['members'][0]
        assert m['base-read-only'] is False, ev
        assert "'image'" in m['base-read-only-error'], ev
        assert "NBD export 'image'" in m['base-read-only-error'], ev
        r.nbd('image').pwrite(b'c' * 4096, 0)


def test_a_read_only_disk_can_be_snapshotted():
    with Rig() as r:
        r.drive('disk0', 'raw', '16M', ',readonly=on')
        r.start()
        r.snapshot(r.member('disk0', 'o'))
        assert r.inserted('disk0')['ro'] is True


def test_nodes_of_blockdev_add_stay_owned():
    with Rig() as r:
        r.create('b.qcow2', 'qcow2')
        r.start('--blockdev', 'qcow2,node-name=n0,file.driver=file,file.filename='
                + r.path('b.qcow2'))
        r.snapshot(r.member('n0', 'o', snapshot_node_name='n1'))
        names = [n['node-name'] for n in r.cmd('query-named-block-nodes', flat=True)]
        assert 'n0' in names and 'n1' in names
        assert 'in use' in r.error('blockdev-del', node_name='n0').desc
        r.cmd('blockdev-del', node_name='n1')
        r.cmd('blockdev-del', node_name='n0')
        assert r.cmd('query-named-block-nodes', flat=True) == []


def test_existing_images():
    with Rig() as r:
        base = r.drive('disk0', 'raw', '16M')
        r.create('other', 'raw', '16M')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', r.path('good'))
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', r.path('small'),
            '1M')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', r.path('other'), '-F', 'raw',
            r.path('alien'))
        run('qemu-img', 'create', '-q', '-f', 'qcow2', r.path('none'), '16M')
        r.start()
        for name, text in ('missing', 'No such file'), ('small', 'less than'), \
                          ('alien', 'backing file is'), ('other', 'qcow2'):
            e = r.snapshot_error(r.member('disk0', name, mode='existing'))
            assert text in e.desc, (name, e)
            assert r.chain('disk0') == ['disk0.raw']
        r.snapshot(r.member('disk0', 'good', mode='existing'))
        assert r.chain('disk0') == ['good', 'disk0.raw']
        e = r.snapshot_error(r.member('disk0', 'good', mode='existing'))
        assert e.cls == 'DeviceInUse', e
        # one that leaves its base to whoever opens it
        r.snapshot(r.member('disk0', 'none', mode='existing'))
        assert r.chain('disk0') == ['none', 'good', 'disk0.raw']


def test_an_existing_image_may_spell_its_base_in_any_way():
    with Rig() as r:
        base = r.drive('disk0', 'qcow2', '16M')
        spelled = {'plain': base, 'relative': os.path.basename(base), 'scheme': 'file:' + base,
                   'json': 'json:{"driver":"qcow2","file":{"driver":"file","filename":"%s"}}' % base}
        r.create('alien.qcow2', 'qcow2', '16M')
        r.start()
        for name, text in spelled.items():
            wrong = text.replace(os.path.basename(base), 'alien.qcow2')
            run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-b', wrong, '-F', 'qcow2', r.path('wrong'), '16M')
            e = r.snapshot_error(r.member('disk0', 'wrong', mode='existing'))
            assert 'backing file is' in e.desc, (name, e)
        for name, text in spelled.items():
            with Rig() as other:
                path = other.drive('disk0', 'qcow2', '16M')
                text = text.replace(r.dir, other.dir)
                run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-b', text, '-F', 'qcow2', other.path(name),
                    '16M')
                other.start()
                other.snapshot(other.member('disk0', name, mode='existing'))
                assert other.chain('disk0') == [name, os.path.basename(path)], name


def test_who_holds_the_lock_is_named():
    with Rig() as r:
        r.drive('disk0', 'raw')
        r.start()
        with open(r.path('locked'), 'w+') as f:
            # what a QEMU that writes to the file holds: byte 101 (it writes), 201 (nobody else may)
            for byte in 101, 201:
                fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, byte, 1, 0))
            e = r.snapshot_error(r.member('disk0', 'locked'))
            assert 'lock' in e.desc and 'process %d (python' % os.getpid() in e.desc, e
        r.snapshot(r.member('disk0', 'locked'))


def test_two_clients_that_race_are_served_one_after_the_other():
    with Rig() as r:
        for i in range(4):
            r.drive('disk%d' % i, 'raw')
        r.start()
        results = []

        def take(n):
            with r.connect() as q:
                for k in range(5):
                    q.cmd('blockdev-group-snapshot-sync', devlist=[
                        r.member('disk%d' % i, 's%d-%d-%d' % (n, k, i)) for i in range(4)])
                results.append(n)
        threads = [threading.Thread(target=take, args=(n,)) for n in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(results) == 3
        chains = [[name.rsplit('-', 1)[0] for name in r.chain('disk%d' % i)[:-1]]
                  for i in range(4)]
        assert all(c == chains[0] for c in chains), chains
        assert len(chains[0]) == 15


def test_a_client_that_leaves_in_the_middle_changes_nothing():
    with Rig() as r:
        for i in range(8):
            r.drive('disk%d' % i, 'raw')
        r.start()
        q = r.connect()
        q.send('blockdev-group-snapshot-sync',
               {'devlist': [r.member('disk%d' % i, 'o%d' % i) for i in range(8)]})
        q.close()
        r.qmp.wait_event('BLOCK_GROUP_SNAPSHOT_COMPLETED')
        for i in range(8):
            assert r.chain('disk%d' % i) == ['o%d' % i, 'disk%d.raw' % i]


def test_the_deadline_lets_guests_go_and_names_the_disk():
    with Rig() as r:
        r.create('slow.raw', 'raw')
        r.drive('disk0', 'raw')
        r.start('--blockdev', json.dumps({
            'driver': 'raw', 'node-name': 'slow', 'file': {
                'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': r.path('slow.raw')},
                'inject-error': [{'event': 'none', 'iotype': 'write', 'errno': 0,
                                  'delay-ns': 3000000000}]}}))
        r.export('slow')
        r.export('disk0')
        h, fast = r.nbd('slow'), r.nbd('disk0')
        before = r.state()
        cookie = h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(512)), 0)
        h.poll(100)
        e = r.snapshot_error(r.member('disk0', 'a'), r.member('slow', 'b'), timeout=200)
        assert 'did not finish within 200 ms' in e.desc and e.data['device'] == 'slow', e
        fast.pwrite(b'x' * 512, 0)
        while not h.aio_command_completed(cookie):
            h.poll(-1)
        after = r.state()
        assert before['files'].keys() == after['files'].keys()
        assert before['nodes'] == after['nodes']
        r.snapshot(r.member('disk0', 'a'), r.member('slow', 'b'))


def test_a_base_that_cannot_be_flushed_is_an_io_error():
    with Rig() as r:
        r.create('bad.raw', 'raw')
        r.drive('disk0', 'raw')
        r.start('--blockdev', json.dumps({
            'driver': 'raw', 'node-name': 'bad', 'file': {
                'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': r.path('bad.raw')},
                'inject-error': [{'event': 'none', 'iotype': 'flush', 'errno': 5}]}}))
        r.export('bad')
        h = r.nbd('bad')
        h.pwrite(b'x' * 512, 0)
        before = r.state()
        e = r.snapshot_error(r.member('disk0', 'a'), r.member('bad', 'b'))
        assert e.cls == 'IOError' and 'Input/output error' in e.desc, e
        assert e.data == {'device': 'bad', 'filename': r.path('b'), 'index': 1}, e.data
        after = r.state()
        for key in 'nodes', 'files', 'fds':
            assert before[key] == after[key], key
        r.stop(status=1)
        assert "cannot flush node 'bad'" in r.log, 'what is not on disk is said at the end'


def test_memory_and_descriptors_come_back():
    with Rig() as r:
        r.drive('disk0', 'raw')
        r.drive('disk1', 'qcow2')
        r.start()

        def rss():
            with open('/proc/%d/statm' % r.proc.pid) as f:
                return int(f.read().split()[1]) * 4096
        open(r.path('precious'), 'w').write('x')
        before = r.state()
        for _ in range(50):
            r.snapshot_error(r.member('disk0', 'a'), r.member('disk1', 'precious'))
        start = rss()
        for _ in range(300):
            r.snapshot_error(r.member('disk0', 'a'), r.member('disk1', 'precious'))
        if not r.is_sanitized():        # they keep freed memory for a while
            assert rss() - start < 2 << 20, (start, rss())
        after = r.state()
        assert before['fds'] == after['fds'] and before['nodes'] == after['nodes']


def check_locked(path):
    """QEMU's programs do not write to it."""
    out = subprocess.run(['qemu-img', 'resize', '-f', 'raw' if path.endswith('raw') else 'qcow2', path, '+1M'],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert out.returncode and 'lock' in out.stdout, (path, out.stdout)


def test_overlays_are_open_under_their_names():
    """For lsof, and whoever asks /proc which process uses a disk."""
    with Rig() as r:
        r.drive('disk0', 'raw')
        r.drive('disk1', 'qcow2', extra=',cache=none')
        r.start()
        for name in 'disk0', 'disk1':
            r.export(name)
        for n in range(2):
            r.snapshot(r.member('disk0', 'a%d' % n), r.member('disk1', 'b%d' % n))
        fds = '/proc/%d/fd' % r.proc.pid
        files = [os.readlink(os.path.join(fds, fd)) for fd in os.listdir(fds)]
        files = sorted(os.path.basename(f) for f in files if f.startswith(r.dir))
        assert files == ['a0', 'a1', 'b0', 'b1', 'disk0.raw', 'disk1.qcow2'], files
        # And locked: the newest to be written, the rest to be read.
        for name in files:
            check_locked(r.path(name))


def test_the_base_of_a_disk_that_nobody_uses_yet_is_locked():
    with Rig() as r:
        r.drive('disk0', 'raw')
        r.drive('disk1', 'qcow2')
        r.start()
        r.snapshot(r.member('disk0', 'a'), r.member('disk1', 'b'))
        for name in 'disk0.raw', 'disk1.qcow2', 'a', 'b':
            check_locked(r.path(name))


def test_a_very_deep_chain_goes_on_working():
    with Rig() as r:
        r.drive('disk0', 'raw', '64M')
        r.start()
        r.export('disk0')
        h = r.nbd('disk0')
        for n in range(200):
            h.pwrite(bytes([n]) * 512, 512 * n)
            r.snapshot(r.member('disk0', 'o%d' % n))
        data = h.pread(512 * 200, 0)
        assert data == b''.join(bytes([n]) * 512 for n in range(200))
        r.stop()
        r.options = []
        r.start('--drive', 'id=disk0,if=none,format=qcow2,file=' + r.path('o199'))
        r.export('disk0')
        assert r.nbd('disk0').pread(512 * 200, 0) == data


main(globals())
