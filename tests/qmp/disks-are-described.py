#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What query commands and the human monitor say about disks is so."""

import os

import nbdwire as w
from daemon import Daemon, MiB
from nbdwire import Wire
from rig import Rig, main, requires

requires('qemu-img')


# -- what is asked about disks

def test_query_block():
    with Rig() as r:
        base = r.create('base.qcow2', 'qcow2', '1M')
        top = r.create('top.qcow2', 'qcow2', '1M', '-b', base, '-F', 'qcow2')
        r.start('--drive', 'id=disk,file=%s,if=none,node-name=top' % top, '--drive', 'id=empty')
        info = {b['device']: b for b in r.cmd('query-block')}
        assert set(info) == {'disk', 'empty'} and 'inserted' not in info['empty']
        ins = info['disk']['inserted']
        assert ins['node-name'] == 'top' and ins['file'] == top and ins['drv'] == 'qcow2'
        assert ins['backing_file'] == base and ins['backing_file_depth'] == 1 and not ins['ro']
        image = ins['image']
        assert image['virtual-size'] == MiB and image['format'] == 'qcow2'
        assert image['backing-filename'] == base and image['backing-filename-format'] == 'qcow2'
        assert image['backing-image']['filename'] == base
        assert image['format-specific']['data']['compat'] == '1.1'
        assert ins['image']['actual-size'] == os.stat(top).st_blocks * 512


def test_a_disk_with_an_export_is_listed_once():
    """As a drive; without one its export is what there is to list."""
    with Rig() as r:
        r.drive('disk', 'raw', '1M')
        r.start()
        r.export('disk')
        assert [b['device'] for b in r.cmd('query-block')] == ['disk']
        assert r.qmp.hmp('info block').count('disk.raw') == 1
        limits = dict.fromkeys(('bps', 'bps_rd', 'bps_wr', 'iops_rd', 'iops_wr'), 0)
        r.qmp.cmd('block_set_io_throttle', dict(limits, id='exp-disk', iops=100))
        assert [b['device'] for b in r.cmd('query-block')] == ['disk', 'exp-disk']
        r.cmd('blockdev-add', driver='null-co', node_name='n', size=MiB, **{'read-zeroes': True})
        r.export('n')
        assert 'exp-n' in [b['device'] for b in r.cmd('query-block')]


def test_query_named_block_nodes():
    with Daemon() as r:
        base = r.create('base.qcow2', 'qcow2', '1M')
        top = r.create('top.qcow2', 'qcow2', '1M', '-b', base, '-F', 'qcow2')
        r.add('top', driver='qcow2', file={'driver': 'file', 'filename': top, 'node-name': 'f'})
        r.add_null('null')
        for flat in (False, True):
            nodes = {n['node-name']: n for n in r.cmd('query-named-block-nodes', flat=flat)}
            assert {'top', 'f', 'null'} < set(nodes) and len(nodes) == 5
            assert ('backing-image' in nodes['top']['image']) != flat
            assert nodes['f']['drv'] == 'file' and nodes['f']['file'] == top
            assert nodes['null']['image']['virtual-size'] == MiB
        assert len(r.cmd('query-named-block-nodes')) == 5


def test_a_disk_without_contents_is_described_so_that_it_can_be_made_again():
    cases = [({}, 'null-co://'), ({'latency-ns': 5}, 'null-co://'),
             ({'size': 65536}, 'json:{"driver": "null-co", "size": 65536}'),
             ({'read-zeroes': False}, 'json:{"read-zeroes": false, "driver": "null-co"}'),
             ({'read-zeroes': True, 'size': MiB, 'cache': {'direct': True}},
              'json:{"read-zeroes": true, "driver": "null-co", "size": 1048576}')]
    cases = [('null-co', *c) for c in cases] + [
        ('null-aio', options, name.replace('null-co', 'null-aio')) for options, name in cases]
    with Rig() as r:
        r.start()
        for i, (driver, options, name) in enumerate(cases):
            r.qmp.cmd('blockdev-add', {'driver': driver, 'node-name': 'n%d' % i, **options})
            r.cmd('blockdev-add', driver='raw', node_name='raw%d' % i, file='n%d' % i)
        nodes = {n['node-name']: n for n in r.cmd('query-named-block-nodes', flat=True)}
        for i, (driver, options, name) in enumerate(cases):
            for n in (nodes['n%d' % i], nodes['raw%d' % i]):
                assert n['file'] == n['image']['filename'] == name, n
                assert n['image']['actual-size'] == 0
        for s in r.cmd('query-blockstats', query_nodes=True):
            assert not s['stats']['account_invalid'] and not s['stats']['account_failed'], s


def test_an_unknown_name_is_told_as_what_it_was_looked_up():
    both, node, device, either = (
        "Cannot find device='x' nor node-name='x'", "Cannot find device='' nor node-name='x'",
        "Cannot find device='x' nor node-name=''", "Cannot find device='' nor node-name='x'")
    with Rig() as r:
        r.drive('disk', 'raw', '1M')
        r.start()
        for command, args, want in (
                ('block-export-add', {'type': 'nbd', 'id': 'e', 'node-name': 'x'}, either),
                ('nbd-server-add', {'device': 'x'}, both),
                ('block_resize', {'device': 'x', 'size': 512}, device),
                ('block_resize', {'node-name': 'x', 'size': 512}, node),
                ('blockdev-snapshot-sync', {'device': 'x', 'snapshot-file': 'f'}, device),
                ('blockdev-snapshot-sync', {'snapshot-file': 'f'},
                 "Cannot find device='' nor node-name=''"),
                ('blockdev-snapshot', {'node': 'x', 'overlay': 'disk'}, both),
                ('blockdev-snapshot', {'node': 'disk', 'overlay': 'x'}, both),
                ('blockdev-add', {'driver': 'raw', 'node-name': 'n', 'file': 'x'}, both),
                ('blockdev-add', {'driver': 'blkdebug', 'node-name': 'n', 'image': 'x'}, both)):
            assert r.error(command, **args).desc == want, (command, args)
        r.cmd('blockdev-create', job_id='j', options={'driver': 'qcow2', 'file': 'x', 'size': 512})
        while True:
            job, = r.cmd('query-jobs')
            if job['status'] == 'concluded':
                break
        assert job['error'] == both, job


def test_query_blockstats_counts():
    with Rig() as r:
        r.drive('disk', 'qcow2', '1M', ',node-name=dnode')
        r.start()
        r.export('disk')
        with Wire(r.path('nbd.sock')).negotiate('disk') as c:
            for i in range(5):
                c.write(i * 4096, b'x' * 4096)
            for i in range(3):
                c.read(i * 4096, 2048)
            c.call(w.FLUSH)
            c.call(w.TRIM, 0, 65536)
            c.error(w.READ, MiB, 1)
            s = {x.get('device'): x for x in r.cmd('query-blockstats')}['exp-disk']['stats']
        assert (s['wr_operations'], s['wr_bytes']) == (5, 5 * 4096), s
        assert (s['rd_operations'], s['rd_bytes']) == (3, 3 * 2048), s
        assert s['flush_operations'] == 1 and s['unmap_operations'] == 1
        assert s['wr_highest_offset'] == 5 * 4096
        assert s['wr_total_time_ns'] > 0 and s['failed_wr_operations'] == 0
        assert sum(s['wr_latency_histogram']['bins']) == 5
        nodes = r.cmd('query-blockstats', query_nodes=True)
        assert {n['node-name'] for n in nodes} == {n['node-name'] for n in
                                                   r.cmd('query-named-block-nodes')}


def highest(r):
    """wr_highest_offset of each node, and of its file."""
    nodes = r.cmd('query-blockstats', query_nodes=True)
    return {n['node-name']: (n['stats']['wr_highest_offset'],
                             n.get('parent', {}).get('stats', {}).get('wr_highest_offset'))
            for n in nodes}


def test_a_thin_volume_can_be_grown_by_how_far_its_nodes_were_written():
    """Formats count in offsets of the guest, files in offsets of the file, tables included."""
    with Rig() as r:
        image = r.create('disk.qcow2', 'qcow2')
        r.start('--blockdev', 'file,node-name=storage,filename=' + image,
                '--blockdev', 'qcow2,node-name=disk,file=storage')
        r.export('disk')
        assert highest(r) == {'storage': (0, None), 'disk': (0, 0)}
        with Wire(r.path('nbd.sock')).negotiate('disk') as c:
            last = 0
            for i in range(3):
                c.write(i << 20, b'x' * 65536)
                c.call(w.FLUSH)
                now = highest(r)
                assert now['disk'][0] == (i << 20) + 65536
                assert last < now['storage'][0] <= os.path.getsize(image)
                assert now['disk'][1] == now['storage'][0]
                last = now['storage'][0]
            c.call(w.TRIM, 8 << 20, 65536)
            assert highest(r)['disk'][0] == (2 << 20) + 65536, 'a trim writes nothing'
            c.call(w.WRITE_ZEROES, 9 << 20, 65536)
            assert highest(r)['disk'][0] == (9 << 20) + 65536
            # What a backup tool compares: the overlay has nothing yet, and then what was written.
            r.snapshot(r.member('disk', 'ovl', snapshot_node_name='top'))
            assert highest(r)['top'] == (0, 0)
            c.write(0, b'y' * 65536)
            c.call(w.FLUSH)
            top = highest(r)['top']
            assert top[0] == 65536 and top[1] > 0, top
        top = [s for s in r.cmd('query-blockstats') if s.get('device') == 'exp-disk'][0]
        assert top['stats']['wr_highest_offset'] == 65536
        assert top['parent']['stats']['wr_highest_offset'] > 0


# -- for people

def test_the_human_monitor():
    with Rig() as r:
        path = r.drive('disk', 'qcow2', '1M')
        r.start('--drive', 'id=empty')
        out = r.qmp.hmp('info block')
        assert 'disk' in out and path in out and '(qcow2)' in out and 'not inserted' in out, out
        assert 'Cache mode:       writeback' in out, out
        assert 'virtual size: 1 MiB (1048576 bytes)' in r.qmp.hmp('info block -v disk')
        assert path in r.qmp.hmp('info block -n')
        out = r.qmp.hmp('info blockstats')
        assert 'disk' in out and 'wr_operations=0' in out, out
        version = r.cmd('query-version')['qemu']
        assert '%(major)d.%(minor)d.%(micro)d' % version in r.qmp.hmp('info version')
        assert 'info' in r.qmp.hmp('help') and 'unknown command' in r.qmp.hmp('nosuch')
        assert "no drive 'nosuch'" in r.qmp.hmp('info block nosuch')
        assert "no node 'nosuch'" in r.qmp.hmp('info block -n nosuch')
        r.cmd('object-add', qom_type='iothread', id='io', poll_max_ns=7)
        assert 'io:\r\n  thread_id=' in r.qmp.hmp('info iothreads')
        assert ': filename=unix:' in r.qmp.hmp('info chardev')
        assert r.qmp.hmp('info jobs') == 'No jobs\r\n' and r.qmp.hmp('info name') == ''
        r.cmd('blockdev-create', job_id='j', options={
            'driver': 'file', 'filename': r.path('new'), 'size': 0})
        r.qmp.wait_event('JOB_STATUS_CHANGE', status='concluded')
        assert r.qmp.hmp('info jobs') == 'j: type=create status=concluded progress=1/1\r\n'


main(globals())
