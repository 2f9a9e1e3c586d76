#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""blockdev-backup: a copy of a disk as it was at one instant, whatever guests write afterwards, and what bitmaps say
of it."""
import contextlib
import time

from guest import Guest
from nbdwire import wait_until
from rig import Rig, check_state, import_nbd, main, requires, run

requires('qemu-img', 'qemu-io')
nbd = import_nbd()

SIZE = 4 << 20


def node(name, path, fmt, **extra):
    return dict({'driver': fmt, 'node-name': name, 'discard': 'unmap',
                 'file': {'driver': 'file', 'filename': path, 'discard': 'unmap'}}, **extra)


@contextlib.contextmanager
def disk(fmt='qcow2', iothread=False):
    with Rig() as r:
        path = r.create('src', fmt, str(SIZE))
        run('qemu-io', '-f', fmt, '-c', 'write -P 1 1M 1M', path)
        r.start(*(['--object', 'iothread,id=t0'] if iothread else []))
        r.qmp.cmd('blockdev-add', node('src', path, fmt))
        r.export('src', name='disk', **({'iothread': 't0'} if iothread else {}))
        yield r


def target(r, name='dst', fmt='qcow2', *options, **extra):
    path = r.create(name, fmt, str(SIZE), *options)
    r.qmp.cmd('blockdev-add', node(name, path, fmt, **extra))


def backup(r, **extra):
    r.cmd('blockdev-backup', **dict({'job_id': 'j', 'device': 'src', 'target': 'dst', 'sync': 'full'}, **extra))


def ended(r, name='BLOCK_JOB_COMPLETED'):
    e = r.qmp.wait_event(name)['data']
    r.qmp.wait_event('JOB_STATUS_CHANGE', status='null')
    return e


def content(path, fmt='qcow2'):
    run('qemu-img', 'convert', '-U', '-f', fmt, '-O', 'raw', path, path + '.raw')
    with open(path + '.raw', 'rb') as f:
        return f.read()


def written(r, seconds=0.3, seed=1):
    """What the disk has after a guest wrote to it for a while."""
    with Guest(r, 'disk', SIZE, seed=seed) as guest:
        time.sleep(seconds)
    return bytes(guest.model)


def check_while_guests_write(r, expected, fmt='qcow2', **options):
    backup(r, **options)
    with Guest(r, 'disk', SIZE, seed=7) as guest:
        time.sleep(0.2)
        if 'speed' in options:
            r.cmd('block-job-set-speed', device='j', speed=0)
        e = ended(r)
        assert 'error' not in e and e['len'] == e['offset'], e
    guest.check()
    r.cmd('blockdev-del', node_name='dst')
    assert content(r.path('dst'), fmt) == expected


def test_the_copy_is_the_disk_when_the_command_was_given():
    for fmt, dst, options in (('qcow2', 'qcow2', {}), ('raw', 'raw', {}), ('raw', 'qcow2', {'compress': True}),
                              ('qcow2', 'qcow2', {'x_perf': {'max-workers': 1, 'max-chunk': 65536}})):
        for iothread in False, True:
            with disk(fmt, iothread) as r:
                expected = written(r)
                target(r, 'dst', dst)
                check_while_guests_write(r, expected, dst, speed=4 << 20, **options)


def test_only_the_top_image_is_copied_if_that_is_asked_for():
    with disk() as r:
        base = written(r)
        r.snapshot(r.member('src', 'over', snapshot_node_name='over'))
        expected = written(r, 0.1, seed=3)
        assert expected != base
        target(r, 'dst', 'qcow2', '-b', r.path('src'), '-F', 'qcow2', backing=None)
        check_while_guests_write(r, expected, device='over', sync='top')


def test_bitmaps_make_increments_that_add_up():
    """full + increment + increment is the disk, each at its instant."""
    with disk() as r:
        written(r)
        r.cmd('block-dirty-bitmap-add', node='src', name='b')
        target(r)
        backup(r)
        ended(r)
        below = 'dst'
        for i, sync in enumerate(({'sync': 'incremental'}, {'sync': 'bitmap', 'bitmap_mode': 'on-success'},
                                  {'sync': 'bitmap', 'bitmap_mode': 'always'})):
            name = 'inc%d' % i
            expected = written(r, 0.1, seed=20 + i)
            r.cmd('blockdev-del', node_name=below)
            target(r, name, 'qcow2', '-b', r.path(below), '-F', 'qcow2', backing=None)
            backup(r, target=name, bitmap='b', speed=1 << 20, **sync)
            e = r.error('block-dirty-bitmap-clear', node='src', name='b')
            assert 'use' in e.desc, e.desc
            with Guest(r, 'disk', SIZE, seed=40 + i, most=8192) as guest:
                time.sleep(0.1)
                r.cmd('block-job-set-speed', device='j', speed=0)
                assert 'error' not in ended(r)
            # What was written meanwhile is for the next increment.
            assert content(r.path(name)) == expected
            guest.check()
            below = name


def bitmap_count(r):
    n, = (n for n in r.cmd('query-named-block-nodes', flat=True) if n['node-name'] == 'src')
    b, = n['dirty-bitmaps']
    assert not b['busy'], b
    return b['count']


def test_a_backup_that_fails_takes_nothing_out_of_its_bitmap():
    for mode in 'on-success', 'never', 'always':
        with disk() as r:
            r.cmd('block-dirty-bitmap-add', node='src', name='b')
            h = r.nbd('disk')
            h.pwrite(b'x' * (2 << 20), 0)
            target(r)
            backup(r, sync='bitmap', bitmap='b', bitmap_mode=mode, speed=256 << 10)
            time.sleep(0.3)
            h.pwrite(b'y' * 65536, 3 << 20)
            r.cmd('job-cancel', id='j')
            ended(r, 'BLOCK_JOB_CANCELLED')
            count = bitmap_count(r)
            whole = (2 << 20) + 65536
            assert count == whole if mode != 'always' else 65536 <= count < whole, (mode, count)


def test_a_bitmap_that_is_never_cleared_says_afterwards_what_it_said():
    with disk() as r:
        r.cmd('block-dirty-bitmap-add', node='src', name='b')
        r.nbd('disk').pwrite(b'x' * 65536, 0)
        target(r)
        backup(r, sync='bitmap', bitmap='b', bitmap_mode='never')
        r.nbd('disk').pwrite(b'y' * 65536, 1 << 20)
        ended(r)
        assert bitmap_count(r) == 2 * 65536


def test_what_guests_overwrite_goes_to_the_target_until_the_job_is_ended():
    with disk('raw') as r:
        expected = written(r)
        target(r, 'dst', 'qcow2', '-b', r.path('src'), '-F', 'raw', backing='src')
        backup(r, sync='none')
        r.export('dst', writable=False, name='then')
        h = r.nbd('then')
        with Guest(r, 'disk', SIZE, seed=9) as guest:
            for _ in range(20):
                assert h.pread(SIZE, 0) == expected
        guest.check()
        h.shutdown()
        r.cmd('block-export-del', id='exp-then')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        r.cmd('block-job-cancel', device='j')
        ended(r, 'BLOCK_JOB_CANCELLED')
        guest.h.pwrite(b'z' * 512, 0)


def test_a_target_that_fails_ends_the_backup_and_not_the_guest():
    for event in 'write', 'read':
        with disk() as r:
            path = r.create('dst', 'qcow2', str(SIZE))
            r.qmp.cmd('blockdev-add', node('dst', path, 'qcow2', file={
                'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': path},
                'inject-error': [{'event': 'none', 'iotype': 'write', 'errno': 5, 'once': False}]}))
            r.status = 1                    # its tables cannot be written either
            backup(r, speed=65536 if event == 'write' else 0)
            with Guest(r, 'disk', SIZE) as guest:
                e = ended(r)
                assert e['error'] == 'Input/output error', e
                before = guest.writes
                wait_until(lambda: guest.writes > before or guest.error)
            guest.check()


def test_an_error_stops_the_backup_until_it_is_resumed():
    with disk() as r:
        expected = written(r)
        path = r.create('dst', 'qcow2', str(SIZE))
        r.qmp.cmd('blockdev-add', node('dst', path, 'qcow2', file={
            'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': path},
            'inject-error': [{'event': 'none', 'iotype': 'write', 'errno': 5, 'once': True}]}))
        backup(r, on_target_error='stop')
        e = r.qmp.wait_event('BLOCK_JOB_ERROR')['data']
        assert e == {'device': 'j', 'operation': 'write', 'action': 'stop'}, e
        r.qmp.wait_event('JOB_STATUS_CHANGE', status='paused')
        r.cmd('job-resume', id='j')
        assert 'error' not in ended(r)
        r.cmd('blockdev-del', node_name='dst')
        assert content(path) == expected


def action(kind, **data):
    return {'type': kind, 'data': {k.replace('_', '-'): v for k, v in data.items()}}


def backup_action(job='j', device='src', target='dst', **extra):
    return action('blockdev-backup', job_id=job, device=device, target=target, **dict({'sync': 'full'}, **extra))


def test_a_backup_and_a_snapshot_of_one_transaction_are_of_one_instant():
    for backup_first in True, False:
        with disk() as r:
            target(r)
            actions = [backup_action(device='exp-disk'),
                       action('blockdev-snapshot-sync', device='exp-disk', snapshot_file=r.path('over'),
                              snapshot_node_name='over')]
            with Guest(r, 'disk', SIZE) as guest:
                time.sleep(0.1)
                r.cmd('transaction', actions=actions if backup_first else actions[::-1])
                assert 'error' not in ended(r)
                assert r.chain('exp-disk') == ['over', 'src'], r.chain('exp-disk')
            guest.check()
            r.cmd('blockdev-del', node_name='dst')
            assert content(r.path('dst')) == content(r.path('src'))
            # Nothing of the job is left in the way.
            r.snapshot(r.member('exp-disk', 'next'))
            guest.h.pwrite(b'n' * 512, 0)


def test_backups_of_several_disks_are_of_one_instant_and_end_together():
    with disk() as r:
        for name in 'src2', 'dst2':
            r.qmp.cmd('blockdev-add', node(name, r.create(name, 'qcow2', str(SIZE)), 'qcow2'))
        target(r)
        r.export('src2', name='disk2')
        h, h2 = r.nbd('disk'), r.nbd('disk2')
        for n in 'src', 'src2':
            r.cmd('block-dirty-bitmap-add', node=n, name='b')
        h.pwrite(b'1' * 65536, 0)
        h2.pwrite(b'2' * 65536, 0)
        for fail in True, False:
            r.cmd('transaction', properties={'completion-mode': 'grouped'}, actions=[
                backup_action('j1', bitmap='b', sync='incremental'),
                backup_action('j2', 'src2', 'dst2', bitmap='b', sync='bitmap', bitmap_mode='on-success',
                              speed=1024 if fail else 0)])
            if fail:
                time.sleep(0.2)
                states = {j['id']: j['status'] for j in r.cmd('query-jobs')}
                assert states == {'j1': 'waiting', 'j2': 'running'}, states
                r.cmd('job-cancel', id='j2')
            for job in 'j1', 'j2':
                r.qmp.wait_event('BLOCK_JOB_CANCELLED' if fail else 'BLOCK_JOB_COMPLETED', device=job)
                r.qmp.wait_event('JOB_STATUS_CHANGE', status='null', id=job)
            counts = [n['dirty-bitmaps'][0]['count'] for n in r.cmd('query-named-block-nodes', flat=True)
                      if n['node-name'] in ('src', 'src2')]
            assert counts == ([65536, 65536] if fail else [0, 0]), counts


def test_a_transaction_that_fails_begins_no_backup():
    with disk() as r:
        target(r)
        r.cmd('block-dirty-bitmap-add', node='src', name='b')
        r.nbd('disk').pwrite(b'1' * 65536, 0)
        backup(r)                       # the thread that copies is there afterwards
        ended(r)
        before = r.state()
        for actions, properties in (([backup_action(sync='incremental', bitmap='b'), action('abort')], {}),
                                    ([backup_action(), backup_action('k', target='nosuch')], {}),
                                    ([backup_action(), action('block-dirty-bitmap-clear', node='src', name='b')],
                                     {'completion-mode': 'grouped'})):
            r.error('transaction', actions=actions, properties=properties)
            assert r.cmd('query-jobs') == [] and bitmap_count(r) == 65536
            check_state(before, r.state())
        # A bitmap that an earlier action makes is one for the backup.
        r.cmd('transaction', actions=[
            action('block-dirty-bitmap-add', node='src', name='tmp', disabled=True),
            action('block-dirty-bitmap-merge', node='src', target='tmp', bitmaps=['b']),
            backup_action(sync='bitmap', bitmap='tmp', bitmap_mode='never')])
        e = ended(r)
        assert 'error' not in e and e['len'] == 65536, e


def test_what_cannot_be_backed_up_is_refused():
    with disk() as r:
        target(r)
        small = r.create('small', 'qcow2', '1M')
        r.qmp.cmd('blockdev-add', node('small', small, 'qcow2'))
        for arguments, text in (
                ({'target': 'src'}, 'Source and target cannot be the same'),
                ({'target': 'small'}, 'Source and target image have different sizes'),
                ({'target': 'nosuch'}, "Cannot find device='nosuch' nor node-name='nosuch'"),
                ({'sync': 'bitmap'}, "must provide a valid bitmap name for 'bitmap' sync mode"),
                ({'sync': 'bitmap', 'bitmap': 'b'}, 'Bitmap sync mode must be given when providing a bitmap'),
                ({'sync': 'full', 'bitmap': 'b'}, 'Bitmap sync mode must be given when providing a bitmap'),
                ({'sync': 'incremental', 'bitmap': 'b'}, "Bitmap 'b' could not be found")):
            before = r.state()
            e = r.error('blockdev-backup', **dict({'job_id': 'j', 'device': 'src', 'target': 'dst',
                                                   'sync': 'full'}, **arguments))
            assert e.desc == text, (arguments, e.desc)
            assert r.state() == before


def test_a_busy_bitmap_shows_what_the_backup_took():
    with Rig() as r:
        r.create('img', 'qcow2', '4M')
        r.start()
        for name in 'img', 'copy':
            if name == 'copy':
                r.cmd('blockdev-add', driver='null-co', node_name='copy', size=4 << 20)
            else:
                r.cmd('blockdev-add', driver='qcow2', node_name=name, file={'driver': 'file', 'filename': r.path(name)})
        r.cmd('block-dirty-bitmap-add', node='img', name='b', granularity=65536)
        r.export('img')
        h = r.nbd('img')
        h.pwrite(b'x' * (4 << 16), 0)

        def count():
            n = [n for n in r.cmd('query-named-block-nodes') if n.get('dirty-bitmaps')][0]
            return n['dirty-bitmaps'][0]['busy'], n['dirty-bitmaps'][0]['count']
        assert count() == (False, 4 << 16)
        r.cmd('blockdev-backup', job_id='j', device='img', target='copy', sync='incremental', bitmap='b', speed=1)
        h.pwrite(b'y' * 65536, 1 << 20)
        assert count() == (True, 4 << 16)
        r.cmd('job-cancel', id='j')
        r.qmp.wait_event('JOB_STATUS_CHANGE', status='null')
        assert count() == (False, 5 << 16)


main(globals())
