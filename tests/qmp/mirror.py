#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""blockdev-mirror: a copy that has every byte, however guests write, and to which they move without noticing."""
import contextlib
import time

from guest import Guest
from nbdwire import wait_until
from rig import Rig, import_nbd, main, requires, run

requires('qemu-img', 'qemu-io')
nbd = import_nbd()

SIZE = 4 << 20


def node(name, path, fmt, **extra):
    return dict({'driver': fmt, 'node-name': name, 'discard': 'unmap',
                 'file': {'driver': 'file', 'filename': path, 'discard': 'unmap'}}, **extra)


@contextlib.contextmanager
def rig_with(fmt='qcow2', target_fmt='qcow2', iothread=False, full_target=True):
    with Rig() as r:
        src, dst = r.create('src', fmt, str(SIZE)), r.create('dst', target_fmt, str(SIZE))
        run('qemu-io', '-f', fmt, '-c', 'write -P 1 1M 1M', src)
        if full_target:
            run('qemu-io', '-f', target_fmt, '-c', 'write -P 9 0 4M', dst)
        r.start(*(['--object', 'iothread,id=t0'] if iothread else []))
        r.qmp.cmd('blockdev-add', node('src', src, fmt))
        r.qmp.cmd('blockdev-add', node('dst', dst, target_fmt))
        r.export('src', name='disk', **({'iothread': 't0'} if iothread else {}))
        yield r


def mirror(r, **extra):
    r.cmd('blockdev-mirror', **dict({'job_id': 'j', 'device': 'src', 'target': 'dst', 'sync': 'full'}, **extra))


def ready(r):
    return r.qmp.wait_event('BLOCK_JOB_READY')


def ended(r, name='BLOCK_JOB_COMPLETED'):
    e = r.qmp.wait_event(name)['data']
    r.qmp.wait_event('JOB_STATUS_CHANGE', status='null')
    return e


def content(path, fmt):
    out = path + '.raw'
    run('qemu-img', 'convert', '-U', '-f', fmt, '-O', 'raw', path, out)
    with open(out, 'rb') as f:
        return f.read()


def disk_node(r):
    return r.inserted('exp-disk')['node-name']


def pivot_under_load(**options):
    fmts = options.pop('fmts', ('qcow2', 'qcow2'))
    with rig_with(*fmts, iothread=options.pop('iothread', False)) as r:
        with Guest(r, 'disk', SIZE) as guest:
            mirror(r, **options)
            ready(r)
            time.sleep(0.3)
            r.cmd('job-complete', id='j')
            e = ended(r)
            assert 'error' not in e and e['len'] == e['offset'], e
            assert disk_node(r) == 'dst', disk_node(r)
            before = guest.writes
            wait_until(lambda: guest.writes > before or guest.error)
        guest.check()
        guest.h.flush()
        r.cmd('blockdev-del', node_name='src')
        guest.h.shutdown()
        r.stop()
        guest.check(content(r.path('dst'), fmts[1]))


def test_guests_move_to_the_copy_while_they_write():
    pivot_under_load()


def test_writes_that_go_to_both_at_once_lose_nothing():
    pivot_under_load(copy_mode='write-blocking')


def test_raw_disks_and_iothreads_do_as_well():
    pivot_under_load(fmts=('raw', 'raw'), iothread=True)
    pivot_under_load(fmts=('raw', 'qcow2'), iothread=True, copy_mode='write-blocking', granularity=512)


def test_a_copy_that_is_kept_is_the_disk_at_one_instant():
    """block-job-cancel of a job that is ready: the copy is complete, and gets no later write."""
    with rig_with() as r:
        with Guest(r, 'disk', SIZE) as guest:
            mirror(r)
            ready(r)
            time.sleep(0.2)
        at_the_end = bytes(guest.model)
        r.cmd('block-job-cancel', device='j')
        ended(r)
        assert disk_node(r) == 'src'
        guest.h.pwrite(b'\xee' * SIZE, 0)
        r.cmd('blockdev-del', node_name='dst')
        assert content(r.path('dst'), 'qcow2') == at_the_end


def test_a_forced_cancel_leaves_the_disk_alone_at_any_time():
    for delay, speed in ((0, 1 << 20), (0.2, 1 << 20), (0.1, 0)):
        with rig_with() as r:
            with Guest(r, 'disk', SIZE) as guest:
                mirror(r, speed=speed)
                time.sleep(delay)
                r.cmd('job-cancel', id='j')
                ended(r, 'BLOCK_JOB_CANCELLED')
                assert disk_node(r) == 'src'
                assert r.cmd('query-jobs') == []
            guest.check()
            r.cmd('blockdev-del', node_name='dst')


def test_only_the_top_image_is_copied_if_that_is_asked_for():
    with Rig() as r:
        base = r.create('base', 'qcow2', str(SIZE))
        run('qemu-io', '-f', 'qcow2', '-c', 'write -P 1 0 2M', base)
        for name in 'src', 'dst':
            r.create(name, 'qcow2', str(SIZE), '-b', base, '-F', 'qcow2')
        run('qemu-io', '-f', 'qcow2', '-c', 'write -P 2 1M 64k', '-c', 'write -z 256k 64k', r.path('src'))
        r.start()
        r.qmp.cmd('blockdev-add', node('base', base, 'qcow2', **{'read-only': True}))
        r.qmp.cmd('blockdev-add', node('src', r.path('src'), 'qcow2', backing='base'))
        r.qmp.cmd('blockdev-add', node('dst', r.path('dst'), 'qcow2', backing='base'))
        r.export('src', name='disk')
        with Guest(r, 'disk', SIZE, most=8192, pause=0.02) as guest:
            mirror(r, sync='top')
            e = ready(r)['data']
            assert e['len'] < SIZE, e
            refused = r.snapshot_error(r.member('src', 'overlay'))
            assert "block job 'j'" in refused.desc, refused.desc
            r.cmd('job-complete', id='j')
            ended(r)
        guest.check()


def test_a_copy_without_its_backing_file_has_whole_clusters():
    """What a guest writes into a cluster of which the copy has nothing must not hide the rest of the cluster, which
    lies in the chain that the copy gets in the end."""
    for mode in 'background', 'write-blocking':
        for cluster in 4096, 65536, 1 << 20:
            with rig_with(full_target=False) as r:
                r.snapshot(r.member('src', 'over', snapshot_node_name='over'))
                run('cp', r.path('src'), r.path('chain'))
                run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', r.path('chain'),
                    '-o', 'cluster_size=%d' % cluster, r.path('copy'), str(SIZE))
                r.qmp.cmd('blockdev-add', node('copy', r.path('copy'), 'qcow2', backing=None))
                r.qmp.cmd('blockdev-add', dict(node('chain', r.path('chain'), 'qcow2'), **{'read-only': True}))
                mirror(r, device='over', target='copy', sync='top', copy_mode=mode)
                ready(r)
                with Guest(r, 'disk', SIZE, most=2048) as guest:
                    time.sleep(0.3)
                    r.cmd('blockdev-snapshot', node='chain', overlay='copy')
                    time.sleep(0.1)
                    r.cmd('job-complete', id='j')
                    assert 'error' not in ended(r)
                    time.sleep(0.1)
                guest.check()
                guest.h.flush()
                guest.check(content(r.path('copy'), 'qcow2'))


def test_a_snapshot_meanwhile_goes_below_the_job():
    """The copy is of the disk, whatever images it consists of."""
    with rig_with() as r:
        with Guest(r, 'disk', SIZE) as guest:
            mirror(r, speed=8 << 20)
            r.snapshot(r.member('src', 'overlay', snapshot_node_name='over'))
            assert r.chain('exp-disk') == ['overlay', 'src'], r.chain('exp-disk')
            r.cmd('block-job-set-speed', device='j', speed=0)
            ready(r)
            r.cmd('job-complete', id='j')
            ended(r)
            assert r.chain('exp-disk') == ['dst'], r.chain('exp-disk')
        guest.check()


def test_a_job_catches_up_with_guests_that_write_faster_than_it_copies():
    with rig_with('raw', 'raw') as r:
        with Guest(r, 'disk', SIZE) as guest:
            mirror(r, speed=64 << 10)
            r.cmd('block-job-set-speed', device='j', speed=256 << 10)
            info, = r.cmd('query-block-jobs')
            assert not info['actively-synced'] and info['status'] == 'running', info
            r.cmd('block-job-change', id='j', copy_mode='write-blocking')
            r.cmd('block-job-set-speed', device='j', speed=0)
            ready(r)
            info, = r.cmd('query-block-jobs')
            assert info['actively-synced'], info
            r.cmd('job-complete', id='j')
            ended(r)
        guest.check()


def test_a_guest_that_comes_while_a_job_runs_is_seen_by_it():
    for copy_mode in 'background', 'write-blocking':
        with rig_with() as r:
            r.cmd('block-export-del', id='exp-disk')
            r.qmp.wait_event('BLOCK_EXPORT_DELETED')
            mirror(r, copy_mode=copy_mode)
            ready(r)
            r.export('src', name='disk')
            with Guest(r, 'disk', SIZE) as guest:
                time.sleep(0.1)
                r.cmd('job-complete', id='j')
                assert 'error' not in ended(r)
                assert disk_node(r) == 'dst'
            guest.check()
        with rig_with() as r:           # whoever goes round it is refused
            mirror(r, speed=65536)
            r.cmd('blockdev-add', driver='raw', node_name='behind', file='src')
            e = r.error('block-export-add', type='nbd', id='e', node_name='behind', writable=True)
            assert 'does not allow' in e.desc, e.desc
            r.cmd('job-cancel', id='j')
            ended(r, 'BLOCK_JOB_CANCELLED')


def test_an_error_stops_ignores_or_ends_the_job_as_it_was_told():
    for policy, action in (('stop', 'stop'), ('report', 'report'), ('ignore', 'ignore'), ('enospc', 'report')):
        with rig_with(full_target=False) as r:
            r.cmd('blockdev-del', node_name='dst')
            r.qmp.cmd('blockdev-add', {
                'driver': 'qcow2', 'node-name': 'dst', 'file': {
                    'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': r.path('dst')},
                    'inject-error': [{'event': 'write_aio', 'errno': 5, 'once': True}]}})
            with Guest(r, 'disk', SIZE) as guest:
                mirror(r, on_target_error=policy)
                e = r.qmp.wait_event('BLOCK_JOB_ERROR')['data']
                assert e == {'device': 'j', 'operation': 'write', 'action': action}, e
                if action == 'report':
                    assert ended(r)['error'] == 'Input/output error'
                    assert disk_node(r) == 'src'
                    continue
                if action == 'stop':
                    r.qmp.wait_event('JOB_STATUS_CHANGE', status='paused')
                    info, = r.cmd('query-block-jobs')
                    assert info['io-status'] == 'failed' and info['paused'], info
                    r.cmd('block-job-resume', device='j')
                ready(r)
                r.cmd('block-job-complete', device='j')
                ended(r)
                assert disk_node(r) == 'dst'
            guest.check()


def test_what_cannot_be_copied_is_refused():
    with rig_with() as r:
        small = r.create('small', 'qcow2', '1M')
        r.qmp.cmd('blockdev-add', node('small', small, 'qcow2'))
        for arguments, text in (
                ({'target': 'src'}, "Can't mirror node into itself"),
                ({'target': 'small'}, 'Source and target image have different sizes'),
                ({'target': 'nosuch'}, "Cannot find device='nosuch' nor node-name='nosuch'"),
                ({'device': 'nosuch'}, "Cannot find device='nosuch' nor node-name='nosuch'"),
                ({'job_id': '2'}, "Invalid job ID '2'"),
                ({'sync': 'bitmap'}, "Sync mode 'bitmap' not supported"),
                ({'granularity': 1000}, "Parameter 'granularity' expects a power of 2"),
                ({'granularity': 256}, "Parameter 'granularity' expects a value in range [512B, 64MB]"),
                ({'replaces': 'nosuch'}, "Failed to find node with node-name='nosuch'"),
                ({'replaces': 'dst'}, "Cannot replace 'dst' by a node mirrored from 'src', because it cannot be "
                 "guaranteed that doing so would not lead to an abrupt change of visible data"),
                ({'filter_node_name': 'src'}, "Duplicate nodes with node-name='src'"),
                ({'buf_size': -5}, "Invalid parameter 'buf-size'"),
                ({'speed': -1}, "Parameter 'speed' expects a non-negative value")):
            before = r.state()
            e = r.error('blockdev-mirror', **dict({'job_id': 'j', 'device': 'src', 'target': 'dst',
                                                   'sync': 'full'}, **arguments))
            assert e.desc == text, (arguments, e.desc)
            assert r.state() == before
        mirror(r, speed=65536)
        e = r.error('blockdev-del', node_name='dst')
        assert "block job 'j'" in e.desc, e.desc
        e = r.error('block_resize', node_name='src', size=SIZE * 2)
        assert "does not allow 'resize'" in e.desc, e.desc
        e = r.error('blockdev-mirror', job_id='k', device='src', target='small', sync='full')
        assert e.desc == 'Need a root block node', e.desc
        r.cmd('job-cancel', id='j')
        ended(r, 'BLOCK_JOB_CANCELLED')


def test_the_daemon_ends_while_jobs_run():
    for speed in 0, 65536:
        with rig_with() as r:
            with Guest(r, 'disk', SIZE, most=4096) as guest:
                mirror(r, speed=speed)
                time.sleep(0.2)
            guest.h.flush()
            r.stop()
            guest.check(content(r.path('src'), 'qcow2'))


def test_a_paused_job_that_is_cancelled_runs_when_the_command_is_answered():
    with Rig() as r:
        r.start()
        for name in 'src', 'dst':
            r.cmd('blockdev-add', driver='null-co', node_name=name, size=64 << 20, read_zeroes=False)
        r.cmd('blockdev-mirror', job_id='j', device='src', target='dst', sync='full', speed=1 << 20)
        r.cmd('job-pause', id='j')
        r.qmp.wait_event('JOB_STATUS_CHANGE', status='paused')
        r.qmp.events.clear()
        r.cmd('job-cancel', id='j')
        said = [e['data']['status'] for e in r.qmp.events if e['event'] == 'JOB_STATUS_CHANGE']
        assert said[:1] == ['running'], said


main(globals())
