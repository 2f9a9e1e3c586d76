#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""blockdev-snapshot-sync, blockdev-snapshot and transaction keep the promises of the group snapshot."""

import json
import os

import nbdwire as w
from daemon import Daemon, image_info
from rig import Rig, main, requires, run

requires('qemu-img', 'qemu-io')


def test_blockdev_snapshot_sync_puts_an_overlay_in_front():
    with Daemon() as r:
        base = r.add_file('disk')
        r.export('disk')
        with r.wire('disk') as c:
            c.write(0, b'old' + bytes(509))
            r.cmd('blockdev-snapshot-sync', node_name='disk', snapshot_file=r.path('s1'),
                  snapshot_node_name='s1', format='qcow2')
            c.write(0, b'new' + bytes(509))
            c.call(w.FLUSH)
            assert [e['node-name'] for e in r.cmd('query-block-exports')] == ['s1']
            r.create('s2', 'qcow2', '1M', '-b', r.path('s1'), '-F', 'qcow2')
            r.cmd('blockdev-snapshot-sync', node_name='s1', snapshot_file=r.path('s2'),
                  snapshot_node_name='s2', mode='existing')
            assert c.read(0, 3) == b'new'
        out = run('qemu-io', '-r', '-U', '-c', 'read -v 0 3', base)
        assert '6f 6c 64' in out, out
        info = image_info(r.path('s1'))
        assert info['full-backing-filename'] == base and info['backing-filename-format'] == 'qcow2'


def test_what_only_shows_a_disk_shows_its_overlay_after_a_snapshot():
    """A raw node, a window, a filter, or several of them above the disk: guests of theirs go on in the overlay."""
    for above in ([{'driver': 'raw'}], [{'driver': 'raw', 'offset': 65536}], [{'driver': 'compress'}],
                  [{'driver': 'compress'}, {'driver': 'raw'}, {'driver': 'raw', 'offset': 65536}]):
        with Daemon() as r:
            image = r.create('disk', 'qcow2', '1M')
            r.cmd('blockdev-add', driver='qcow2', node_name='disk',
                  file={'driver': 'file', 'filename': image})
            below = 'disk'
            for i, options in enumerate(above):
                r.cmd('blockdev-add', **dict(options, node_name='above%d' % i, file=below))
                below = 'above%d' % i
            offset = sum(options.get('offset', 0) for options in above)
            r.export(below)
            with r.wire(below) as c:
                c.write(0, b'a' * 65536)
                c.call(w.FLUSH)
                r.cmd('blockdev-snapshot-sync', node_name='disk', snapshot_file=r.path('over'),
                      snapshot_node_name='over')
                assert c.read(0, 65536) == b'a' * 65536
                c.write(0, b'b' * 65536)
                c.call(w.FLUSH)
                assert c.read(0, 65536) == b'b' * 65536
            run('qemu-io', '-r', '-U', '-f', 'qcow2', '-c', 'read -P 97 %d 64k' % offset, image)
            run('qemu-io', '-r', '-U', '-f', 'qcow2', '-c', 'read -P 98 %d 64k' % offset,
                r.path('over'))


def test_what_is_trimmed_after_a_snapshot_is_not_carried_along():
    """The base has data in its first half, of which a quarter is trimmed in odd pieces, and the second half as well."""
    for fmt in 'raw', 'qcow2':
        with Daemon() as r:
            base = r.create('disk', fmt, '256M')
            run('qemu-io', '-f', fmt, '-c', 'write -P 1 0 64M', '-c', 'write -P 2 192M 64k', base)
            r.cmd('blockdev-add', driver=fmt, node_name='disk', discard='unmap',
                  file={'driver': 'file', 'filename': base, 'discard': 'unmap'})
            r.export('disk')
            with r.wire('disk') as c:
                r.cmd('blockdev-snapshot-sync', node_name='disk', snapshot_file=r.path('over'),
                      snapshot_node_name='over')
                c.write((32 << 20) - 4096, b'n' * 8192)
                c.call(w.TRIM, (48 << 20) - 5000, (16 << 20) + 5000)
                c.call(w.TRIM, 128 << 20, 128 << 20)
                assert c.read((48 << 20) - 8192, 1024) == bytes([1]) * 1024
                assert c.read((48 << 20) + 4096, 4096) == bytes(4096)
                assert c.read(192 << 20, 65536) == bytes(65536)
                assert c.read((32 << 20) - 4096, 8192) == b'n' * 8192
                c.call(w.FLUSH)
                # What read as zeroes before needs nothing in the overlay: there it is the base's.
                depth = {}
                for e in json.loads(run('qemu-img', 'map', '-U', '--output=json', '-f', 'qcow2', r.path('over'))):
                    if e['zero']:
                        depth[e['depth']] = depth.get(e['depth'], 0) + e['length']
                if fmt == 'qcow2':
                    assert depth[0] < 20 << 20 and depth.get(1, 0) > 100 << 20, depth
            flat = r.path('flat')
            run('qemu-img', 'convert', '-U', '-O', 'qcow2', r.path('over'), flat)
            assert os.stat(flat).st_blocks * 512 < 50 << 20


def test_the_layout_of_a_new_image_is_chosen_with_the_command():
    default = (131072, True)
    cases = [({}, default), ({'extended-l2': False}, (65536, False)), ({'cluster-size': 65536}, (65536, True)),
             ({'cluster-size': 4096, 'extended-l2': False}, (4096, False)),
             ({'cluster-size': 2097152, 'extended-l2': True}, (2097152, True))]
    with Daemon() as r:
        r.add_file('disk')
        r.cmd('block-export-add', type='nbd', id='disk', node_name='disk', writable=True)
        n = 0
        for arguments, expected in cases:
            for command in 'blockdev-snapshot-sync', 'blockdev-group-snapshot-sync', 'transaction':
                n += 1
                name, path = 'over%d' % n, r.path('over%d' % n)
                before = 'disk' if n == 1 else 'over%d' % (n - 1)
                one = dict(arguments, **{'node-name': before, 'snapshot-file': path, 'snapshot-node-name': name})
                if command == 'blockdev-snapshot-sync':
                    r.qmp.cmd(command, one)
                elif command == 'transaction':
                    r.cmd(command, actions=[{'type': 'blockdev-snapshot-sync', 'data': one}])
                else:
                    one['device'] = one.pop('node-name')
                    r.cmd(command, devlist=[one])
                info = image_info(path)
                got = info['cluster-size'], info['format-specific']['data']['extended-l2']
                assert got == expected, (command, arguments, got)
        for arguments in ({'cluster-size': 0}, {'cluster-size': 3 << 16}, {'cluster-size': 4 << 20},
                          {'cluster-size': 8192}, {'cluster-size': 256, 'extended-l2': False},
                          {'cluster-size': (1 << 64) - 1}):
            r.refuse('cluster-size must be', execute='blockdev-snapshot-sync', node_name=name,
                     snapshot_file=r.path('not'), snapshot_node_name='not',
                     **{k.replace('-', '_'): v for k, v in arguments.items()})
        r.refuse('images that are made', execute='blockdev-snapshot-sync', node_name=name, mode='existing',
                 snapshot_file=r.path('not'), snapshot_node_name='not', cluster_size=65536)


def test_blockdev_snapshot_sync_is_refused_when_it_cannot_be():
    with Daemon() as r:
        r.add_file('disk')
        r.create('exists.qcow2', 'qcow2')
        cmd = {'execute': 'blockdev-snapshot-sync'}
        r.refuse('node', **cmd, snapshot_file=r.path('s'))
        r.refuse('nosuch', **cmd, node_name='nosuch', snapshot_file=r.path('s'),
                 snapshot_node_name='s')
        r.refuse('node-name', **cmd, node_name='disk', snapshot_file=r.path('s'))
        r.refuse('disk', **cmd, node_name='disk', snapshot_file=r.path('s'),
                 snapshot_node_name='disk')
        r.refuse('/nosuch/s', **cmd, node_name='disk', snapshot_file='/nosuch/s',
                 snapshot_node_name='s')
        r.refuse('nosuch', **cmd, node_name='disk', snapshot_file=r.path('s'),
                 snapshot_node_name='s', format='nosuch')
        r.refuse('mode', **cmd, node_name='disk', snapshot_file=r.path('s'),
                 snapshot_node_name='s', mode='sideways')


def test_blockdev_snapshot_uses_an_overlay_that_is_open_already():
    with Daemon() as r:
        r.add_file('disk')
        r.export('disk')
        path = r.create('o.qcow2', 'qcow2', '1M', '-b', r.path('disk.qcow2'), '-F', 'qcow2')
        r.add('o', driver='qcow2', backing=None, file={'driver': 'file', 'filename': path})
        with r.wire('disk') as c:
            c.write(0, b'x' * 512)
            r.cmd('blockdev-snapshot', node='disk', overlay='o')
            assert c.read(0, 512) == b'x' * 512
            c.write(512, b'y' * 512)
            assert [e['node-name'] for e in r.cmd('query-block-exports')] == ['o']
        r.refuse('o', execute='blockdev-snapshot', node='disk', overlay='o')     # has a backing
        r.refuse('nosuch', execute='blockdev-snapshot', node='o', overlay='nosuch')
        r.refuse('nosuch', execute='blockdev-snapshot', node='nosuch', overlay='o')
        r.refuse(execute='blockdev-snapshot', node='o', overlay='o')


def sync_action(r, node, name, **extra):
    data = {'node-name': node, 'snapshot-file': r.path(name), 'snapshot-node-name': name}
    return {'type': 'blockdev-snapshot-sync', 'data': {**data, **extra}}


def test_a_transaction_is_carried_out_whole():
    with Daemon() as r:
        for name in ('a', 'b'):
            r.add_file(name)
            r.export(name)
        r.qmp.cmd('transaction', {'actions': [sync_action(r, 'a', 'a1'), sync_action(r, 'b', 'b1')]})
        assert [e['node-name'] for e in r.cmd('query-block-exports')] == ['a1', 'b1']
        r.qmp.cmd('transaction', {'actions': []})
        # a later action means what an earlier one has made
        r.qmp.cmd('transaction', {'actions': [sync_action(r, 'a1', 'a2'),
                                              sync_action(r, 'a2', 'a3')]})
        assert [e['node-name'] for e in r.cmd('query-block-exports')] == ['a3', 'b1']
        with r.wire('a') as c:
            c.write(0, b'x' * 512)
            assert c.read(0, 512) == b'x' * 512


def test_a_disk_is_snapshotted_again_in_one_transaction():
    """The second action is about what the first one has put in front."""
    with Rig() as r:
        r.drive('disk0')
        r.start()
        r.cmd('transaction', actions=[
            {'type': 'blockdev-snapshot-sync',
             'data': {'device': 'disk0', 'snapshot-file': r.path(name), 'snapshot-node-name': 'node-' + name}}
            for name in ('s1', 's2', 's3')])
        assert r.chain('disk0') == ['s3', 's2', 's1', 'disk0.raw']
        r.cmd('transaction', actions=[
            {'type': 'blockdev-snapshot-sync',
             'data': {'device': 'disk0', 'snapshot-file': r.path('s4'), 'snapshot-node-name': 'node-s4'}},
            {'type': 'blockdev-snapshot-sync',
             'data': {'node-name': 'node-s4', 'snapshot-file': r.path('s5'), 'snapshot-node-name': 'node-s5'}}])
        assert r.chain('disk0') == ['s5', 's4', 's3', 's2', 's1', 'disk0.raw']


def test_a_transaction_that_fails_leaves_nothing():
    with Daemon() as r:
        for name in ('a', 'b'):
            r.add_file(name)
            r.export(name)
        r.create('o.qcow2', 'qcow2', '1M')
        r.add('o', driver='qcow2', file={'driver': 'file', 'filename': r.path('o.qcow2')})
        one = sync_action(r, 'a', 'a1')
        for last in ({'type': 'abort', 'data': {}}, sync_action(r, 'nosuch', 'x'),
                     sync_action(r, 'b', 'a1'), sync_action(r, 'a', 'z', **{'snapshot-node-name': 'a1'}),
                     sync_action(r, 'b', 'nosuch/dir/b1', **{'snapshot-node-name': 'b1'}),
                     {'type': 'blockdev-snapshot', 'data': {'node': 'b', 'overlay': 'nosuch'}},
                     {'type': 'blockdev-snapshot', 'data': {'node': 'o', 'overlay': 'o'}},
                     {'type': 'nosuch', 'data': {}}):
            r.refuse(execute='transaction', actions=[one, last])
            r.refuse(execute='transaction', actions=[one, sync_action(r, 'b', 'b1'), last])
        e = r.refuse('Abort', execute='transaction', actions=[one, {'type': 'abort', 'data': {}}])
        assert 'a1' not in os.listdir(r.dir), e
        with r.wire('a') as c:
            c.write(0, b'x' * 512)          # and nobody is held


main(globals())
