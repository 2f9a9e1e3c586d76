#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Failed requests and writes beyond a threshold are reported; who uses a node, and how, can be seen."""

import json

from rig import Rig, import_nbd, main, requires

requires('qemu-img')
nbd = import_nbd()


def test_threshold_is_reported_once():
    with Rig() as r:
        r.drive('disk0', 'raw')
        r.start('--object', 'iothread,id=io0')
        r.export('disk0', iothread='io0')
        node = r.inserted('disk0')['node-name']
        assert 'not found' in r.error('block-set-write-threshold', node_name='nosuch',
                                      write_threshold=1).desc
        r.cmd('block-set-write-threshold', node_name=node, write_threshold=8192)
        assert r.inserted('disk0')['write_threshold'] == 8192
        h = r.nbd('disk0')
        h.pwrite(b'x' * 8192, 0)
        h.pwrite(b'x' * 4096, 8192)
        h.pwrite(b'x' * 4096, 1 << 20)
        ev = r.qmp.wait_event('BLOCK_WRITE_THRESHOLD')
        assert ev['data'] == {'node-name': node, 'amount-exceeded': 4096,
                              'write-threshold': 8192}, ev
        assert r.inserted('disk0')['write_threshold'] == 0
        assert not [e for e in r.qmp.take_events() if e['event'] == 'BLOCK_WRITE_THRESHOLD']


def test_users_of_a_node_are_listed_with_their_claims():
    with Rig() as r:
        r.drive('disk0', 'qcow2')
        r.start()
        r.export('disk0')
        ev = r.snapshot(r.member('disk0', 'o'))['members'][0]
        nodes = {n['node-name']: n['claims']
                 for n in r.cmd('query-named-block-nodes', flat=True)}
        assert sorted(c['holder'] for c in nodes[ev['node']]) == \
            ["NBD export 'disk0'", "block device 'disk0'"]
        export = [c for c in nodes[ev['node']] if 'NBD' in c['holder']][0]
        assert export['needs'] == ['consistent-read', 'write'], export
        below, = nodes[ev['base-node']]
        assert ev['node'] in below['holder'] and 'backing' in below['holder'], below
        assert 'write' not in below['allows'] and 'resize' not in below['allows'], below


def test_locks_against_other_processes_are_listed():
    with Rig() as r:
        path = r.drive('disk0', 'raw')
        r.start()

        def locks():
            node, = [n for n in r.cmd('query-named-block-nodes', flat=True)
                     if n['file'] == path and n['drv'] == 'file']
            return node.get('locks')
        assert locks() is None
        r.export('disk0')
        assert locks() == {'needs': ['consistent-read', 'write'], 'refuses': ['write', 'resize']}
        r.cmd('block-export-del', id='exp-disk0')
        assert locks() is None


def test_failed_requests_are_reported_but_not_each_of_them():
    with Rig() as r:
        r.create('bad.raw', 'raw')
        r.start('--object', 'iothread,id=io0', '--blockdev', json.dumps({
            'driver': 'raw', 'node-name': 'bad', 'file': {
                'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': r.path('bad.raw')},
                'inject-error': [{'event': 'none', 'iotype': 'write', 'errno': 28}]}}))
        r.export('bad', iothread='io0')
        h = r.nbd('bad')
        for _ in range(50):
            try:
                h.pwrite(b'x' * 512, 0)
            except nbd.Error as e:
                assert e.errno == 'ENOSPC', e
            else:
                raise AssertionError('the write succeeded')
        ev = r.qmp.wait_event('BLOCK_IO_ERROR')['data']
        assert ev == {'device': 'exp-bad', 'node-name': 'bad', 'operation': 'write',
                      'action': 'report', 'nospace': True,
                      'reason': 'No space left on device'}, ev
        r.cmd('query-status')
        assert len([e for e in r.qmp.take_events() if e['event'] == 'BLOCK_IO_ERROR']) < 5


main(globals())
