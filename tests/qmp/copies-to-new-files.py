#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""drive-backup and drive-mirror: the image to copy to is made, and is gone again if nothing comes of it."""
import contextlib
import os
import time

from guest import Guest
from rig import Rig, check_state, import_nbd, main, requires, run

requires('qemu-img', 'qemu-io')
nbd = import_nbd()

SIZE = 4 << 20


@contextlib.contextmanager
def disk():
    with Rig() as r:
        base = r.create('base', 'qcow2', str(SIZE))
        run('qemu-io', '-f', 'qcow2', '-c', 'write -P 1 1M 1M', base)
        r.create('src', 'qcow2', str(SIZE), '-b', base, '-F', 'qcow2')
        run('qemu-io', '-f', 'qcow2', '-c', 'write -P 2 2M 64k', r.path('src'))
        r.start()
        r.cmd('blockdev-add', driver='qcow2', node_name='src', file={'driver': 'file', 'filename': r.path('src')})
        r.export('src', name='disk')
        yield r


def ended(r, name='BLOCK_JOB_COMPLETED'):
    e = r.qmp.wait_event(name)['data']
    r.qmp.wait_event('JOB_STATUS_CHANGE', status='null')
    return e


def content(path, fmt):
    run('qemu-img', 'convert', '-U', '-f', fmt, '-O', 'raw', path, path + '.content')
    with open(path + '.content', 'rb') as f:
        return f.read()


def start(r, command, **extra):
    r.cmd(command, **dict({'job_id': 'j', 'device': 'src', 'target': r.path('dst'), 'sync': 'full'}, **extra))


def backing_of(path):
    info = run('qemu-img', 'info', '-U', path)
    return [os.path.basename(line.split(': ')[1].split(' (')[0]) for line in info.splitlines()
            if line.startswith('backing file:')]


def test_a_backup_makes_its_image():
    for sync, fmt, backing in (('full', 'raw', []), ('full', None, []), ('top', None, ['base']), ('top', 'qcow2', ['base'])):
        with disk() as r:
            h = r.nbd('disk')
            expected = h.pread(SIZE, 0)
            before = sorted(n['node-name'] for n in r.cmd('query-named-block-nodes', flat=True))
            start(r, 'drive-backup', sync=sync, speed=4 << 20, **({'format': fmt} if fmt else {}))
            h.pwrite(b'later' + bytes(SIZE - 5), 0)
            assert 'error' not in ended(r)
            assert backing_of(r.path('dst')) == backing, (sync, fmt)
            assert content(r.path('dst'), fmt or 'qcow2') == expected
            after = sorted(n['node-name'] for n in r.cmd('query-named-block-nodes', flat=True))
            assert before == after, (before, after)


def test_an_image_that_exists_is_filled_if_that_is_asked_for():
    with disk() as r:
        expected = r.nbd('disk').pread(SIZE, 0)
        r.create('dst', 'qcow2', str(SIZE))
        e = r.error('drive-backup', job_id='j', device='src', target=r.path('dst'), sync='full')
        assert 'exist' in e.desc, e.desc
        start(r, 'drive-backup', mode='existing')
        assert 'error' not in ended(r)
        assert content(r.path('dst'), 'qcow2') == expected


def test_a_mirror_makes_its_image_and_guests_move_there():
    for sync, backing in (('full', []), ('top', ['base']), ('none', ['src'])):
        with disk() as r:
            with Guest(r, 'disk', SIZE) as guest:
                start(r, 'drive-mirror', sync=sync, node_name='copy')
                r.qmp.wait_event('BLOCK_JOB_READY')
                time.sleep(0.1)
                r.cmd('job-complete', id='j')
                assert 'error' not in ended(r)
                assert r.inserted('exp-disk')['node-name'] == 'copy'
            guest.check()
            guest.h.flush()
            guest.h.shutdown()
            r.stop()
            assert backing_of(r.path('dst')) == backing
            guest.check(content(r.path('dst'), 'qcow2'))


def test_what_comes_to_nothing_leaves_no_file():
    with disk() as r:
        start(r, 'drive-backup')            # the thread that copies is there afterwards
        ended(r)
        os.unlink(r.path('dst'))
        before = r.state()
        data = {'job-id': 'j', 'device': 'src', 'target': r.path('dst'), 'sync': 'full'}
        for actions in ([{'type': 'drive-backup', 'data': data}, {'type': 'abort', 'data': {}}],
                        [{'type': 'drive-backup', 'data': data},
                         {'type': 'drive-backup', 'data': dict(data, target=r.path('nosuch/x'))}],
                        [{'type': 'drive-backup', 'data': dict(data, sync='incremental')}],
                        [{'type': 'drive-backup', 'data': dict(data, format='nosuch')}]):
            r.error('transaction', actions=actions)
            assert not os.path.exists(r.path('dst')) and r.cmd('query-jobs') == []
            check_state(before, r.state())
        with open(r.path('mine'), 'w') as f:
            f.write('something')
        for command in 'drive-backup', 'drive-mirror':
            r.error(command, job_id='j', device='src', target=r.path('mine'), sync='full')
            with open(r.path('mine')) as f:
                assert f.read() == 'something'


def test_an_image_that_exists_may_be_below_filters():
    with disk() as r:
        run('qemu-img', 'create', '-q', '-f', 'qcow2', r.path('dst'), str(SIZE))
        start(r, 'drive-backup', mode='existing', target='blkdebug::' + r.path('dst'))
        assert 'error' not in ended(r)
        assert content(r.path('dst'), 'qcow2') == r.nbd('disk').pread(SIZE, 0)


def test_a_backup_of_what_is_overwritten_is_ended_by_cancelling_it():
    with disk() as r:
        h = r.nbd('disk')
        expected = h.pread(SIZE, 0)
        start(r, 'drive-backup', sync='none')
        h.pwrite(b'later' * 20000, 1 << 20)
        r.cmd('job-cancel', id='j')
        ended(r, 'BLOCK_JOB_CANCELLED')
        assert content(r.path('dst'), 'qcow2') == expected


main(globals())
