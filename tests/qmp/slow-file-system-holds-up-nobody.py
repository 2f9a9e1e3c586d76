#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system that does not answer while snapshots are made on it holds up that command and no other."""

import errno
import os
import signal

from faultfs import FaultFs
from nbdwire import Wire, wait_until
from rig import Rig, check_state, main, requires, run

requires('qemu-img')
STEPS = ('create', 'write', 'fsync', 'fsyncdir')


class SlowRig(Rig):
    """The daemon is not waited for while it waits for @fs."""

    def __init__(self, fs):
        super().__init__()
        self.fs = fs

    def stop(self, check=True):
        self.fs.disarm()
        super().stop(check)


class Hanging:
    """A group snapshot of disk0 and disk1 onto @fs that hangs at @step."""

    def __init__(self, r, fs, step, **member):
        fs.arm_hang(step, part='' if step == 'fsyncdir' else 'over')
        self.fs = fs
        self.q = r.connect(timeout=60)
        self.q.send('blockdev-group-snapshot-sync', {'devlist': [
            {'device': 'disk0', 'snapshot-file': fs.path('over0'), **member},
            {'device': 'disk1', 'snapshot-file': r.path('over1')}]})
        wait_until(fs.struck)

    def reply(self, release=True):
        if release:
            self.fs.disarm()
        return self.q.recv_reply()


def start(r):
    for name in ('disk0', 'disk1', 'other'):
        r.drive(name, 'raw')
    r.start('--object', 'iothread,id=io0')
    r.export('disk0', iothread='io0')
    r.export('other')


def test_commands_about_other_disks_go_on():
    for step in STEPS:
        with FaultFs() as fs, SlowRig(fs) as r:
            start(r)
            with Wire(r.path('nbd.sock')).negotiate('disk0') as w:
                hanging = Hanging(r, fs, step)
                w.write(0, b'guest' * 1000)
                path = r.create('new.qcow2', 'qcow2')
                r.cmd('blockdev-add', driver='qcow2', node_name='new',
                      file={'driver': 'file', 'filename': path})
                r.export('new')
                with Wire(r.path('nbd.sock')).negotiate('new') as n:
                    n.write(0, b'new' * 100)
                r.cmd('block_resize', node_name='new', size=1 << 20)
                r.cmd('block-export-del', id='exp-new', mode='hard')
                r.qmp.wait_event('BLOCK_EXPORT_DELETED', id='exp-new')
                r.cmd('blockdev-del', node_name='new')
                r.cmd('block-export-del', id='exp-other')
                names = [n['node-name'] for n in r.cmd('query-named-block-nodes')]
                assert len(names) == 6, names           # three disks, nothing that is half made
                r.cmd('query-block')
                assert hanging.reply() == {'return': {}}
                assert w.read(0, 5) == b'guest'
                w.write(0, b'after')
            assert r.chain('exp-disk0') == ['over0', 'disk0.raw']
            with open(r.path('disk0.raw'), 'rb') as f:
                assert f.read(5) == b'guest'


def test_what_the_snapshot_needs_is_kept_for_it():
    with FaultFs() as fs, SlowRig(fs) as r:
        start(r)
        r.cmd('blockdev-add', driver='null-co', node_name='null', size=1 << 20)
        hanging = Hanging(r, fs, 'write', **{'snapshot-node-name': 'mine'})
        e = r.error('blockdev-add', driver='null-co', node_name='mine')
        assert 'Duplicate' in e.desc, e
        e = r.error('block-export-add', type='nbd', id='e', node_name='mine')
        assert 'Cannot find' in e.desc, e
        r.cmd('block-export-add', type='nbd', id='mine', node_name='null')     # another namespace
        assert hanging.reply() == {'return': {}}
        assert 'mine' in [n['node-name'] for n in r.cmd('query-named-block-nodes')]


def test_a_disk_that_a_job_works_on_has_no_snapshot_and_the_job_is_named():
    with FaultFs() as fs, SlowRig(fs) as r:
        r.start()
        run('qemu-img', 'create', '-q', '-f', 'qcow2', fs.path('image'), '16M')
        r.cmd('blockdev-add', driver='qcow2', node_name='image',
              file={'driver': 'file', 'filename': fs.path('image')})
        fs.arm_hang('read', part='image')
        r.cmd('blockdev-check', job_id='j', node_name='image')
        wait_until(fs.struck)
        e = r.error('blockdev-group-snapshot-sync', devlist=[
            {'device': 'image', 'snapshot-file': r.path('over')}])
        assert e.cls == 'DeviceInUse' and 'blockdev-check' in e.desc, e
        assert not os.path.exists(r.path('over'))
        fs.disarm()
        r.qmp.wait_event('BLOCKDEV_CHECK_COMPLETED')
        wait_until(lambda: not any(j['status'] == 'running' for j in r.cmd('query-jobs')))
        r.cmd('blockdev-group-snapshot-sync', devlist=[
            {'device': 'image', 'snapshot-file': r.path('over')}])


CREATIONS = [('file', 'full', 'write'), ('file', 'falloc', 'fallocate'), ('qcow2', 'full', 'write'),
             ('qcow2', 'falloc', 'fallocate')]


def begin_creation(r, fs, fmt, prealloc, kind):
    """A job that makes a large image and has got stuck at the beginning of preallocating it."""
    path = fs.path('new')
    options = {'driver': fmt, 'size': 4 << 30, 'preallocation': prealloc}
    if fmt == 'file':
        options['filename'] = path
    else:
        open(path, 'w').close()
        r.cmd('blockdev-add', driver='file', node_name='new', filename=path)
        options['file'] = 'new'
    fs.arm_hang(kind, part='new')
    r.cmd('blockdev-create', job_id='create', options=options)
    wait_until(fs.struck)
    return path


def steps_after(fs, kind):
    """Lets the file system go on and the work end; how many operations of the kind came after that."""
    fs.arm(kind, 1 << 20, errno.EIO, 'once')
    return lambda: sum(line.startswith(kind + ' ') for line in fs.disarm()[1])


def test_images_are_made_beside_other_commands_and_can_be_cancelled():
    for creation in CREATIONS:
        with FaultFs() as fs, SlowRig(fs) as r:
            start(r)
            path = begin_creation(r, fs, *creation)
            r.cmd('blockdev-group-snapshot-sync', devlist=[r.member('other', 'over')])
            r.cmd('blockdev-add', driver='null-co', node_name='null', size=1 << 20)
            r.cmd('blockdev-del', node_name='null')
            r.cmd('job-cancel', id='create')
            steps = steps_after(fs, creation[2])
            wait_until(lambda: r.cmd('query-jobs')[0]['status'] == 'concluded')
            assert 'cancel' in r.cmd('query-jobs')[0]['error'], r.cmd('query-jobs')
            assert steps() <= (2 if creation[2] == 'fallocate' else 100)       # a step is several writes
            r.cmd('job-dismiss', id='create')
            if creation[0] == 'file':
                assert not os.path.exists(path)
            else:
                assert os.path.getsize(path) == 0
                # what was cancelled can be begun again
                r.cmd('blockdev-create', job_id='again', options={'driver': 'qcow2', 'size': 1 << 20, 'file': 'new',
                                                                  'preallocation': creation[1]})
                wait_until(lambda: r.cmd('query-jobs')[0]['status'] == 'concluded')
                assert 'error' not in r.cmd('query-jobs')[0], r.cmd('query-jobs')


def test_the_daemon_that_is_to_end_does_not_finish_a_large_image():
    for creation in CREATIONS[0], CREATIONS[2]:
        with FaultFs() as fs, SlowRig(fs) as r:
            start(r)
            path = begin_creation(r, fs, *creation)
            r.proc.send_signal(signal.SIGTERM)
            r.qmp.wait_event('SHUTDOWN')
            steps = steps_after(fs, creation[2])
            assert r.proc.wait(60) == 0
            assert steps() < 1000                   # of thousands
            assert creation[0] == 'qcow2' or not os.path.exists(path)


def test_a_base_that_a_snapshot_is_made_of_is_not_deleted():
    with FaultFs() as fs, SlowRig(fs) as r:
        start(r)
        r.cmd('blockdev-add', driver='null-co', node_name='base', size=1 << 20)
        fs.arm_hang('write')
        q = r.connect(timeout=60)
        q.send('blockdev-snapshot-sync', {'node-name': 'base', 'snapshot-node-name': 'top',
                                          'snapshot-file': fs.path('over')})
        wait_until(fs.struck)
        e = r.error('blockdev-del', node_name='base')
        assert 'the snapshot command' in e.desc, e
        fs.disarm()
        q.recv_reply()


def test_a_new_size_of_a_member_has_its_turn_after_the_snapshot():
    with FaultFs() as fs, SlowRig(fs) as r:
        start(r)
        hanging = Hanging(r, fs, 'write')
        other = r.connect(timeout=60)
        other.send('block_resize', {'device': 'disk1', 'size': 8 << 20})
        r.cmd('block_resize', device='other', size=1 << 20)
        assert hanging.reply() == {'return': {}}
        assert other.recv_reply() == {'return': {}}
        assert r.inserted('disk1')['image']['virtual-size'] == 8 << 20
        assert os.path.getsize(r.path('disk1.raw')) == 16 << 20


def test_new_options_of_a_member_have_their_turn_after_the_snapshot():
    with FaultFs() as fs, SlowRig(fs) as r:
        start(r)
        node = {'driver': 'raw', 'node-name': 'base', 'read-only': False,
                'file': {'driver': 'file', 'filename': r.create('base.raw')}}
        r.qmp.cmd('blockdev-add', node)
        fs.arm_hang('write')
        q, other = r.connect(timeout=60), r.connect(timeout=60)
        q.send('blockdev-group-snapshot-sync', {'devlist': [
            {'device': 'base', 'snapshot-file': fs.path('over')}]})
        wait_until(fs.struck)
        other.send('blockdev-reopen', {'options': [dict(node, **{'read-only': True})]})
        r.cmd('block_resize', device='other', size=1 << 20)
        fs.disarm()
        assert q.recv_reply() == {'return': {}}
        assert other.recv_reply() == {'return': {}}


def test_a_failure_after_others_went_on_leaves_nothing():
    with FaultFs() as fs, SlowRig(fs) as r:
        start(r)
        hanging = Hanging(r, fs, 'write')
        r.cmd('blockdev-add', driver='null-co', node_name='new', size=1 << 20)
        r.export('new')
        before = r.state()
        fs.arm('fsync', 1, errno.EIO, 'forever', 'over')
        e = hanging.reply(release=False)['error']
        assert 'over0' in e['desc'] and e['data']['device'] == 'disk0', e
        assert os.listdir(fs.below) == [] and not os.path.exists(r.path('over1'))
        after = r.state()
        for key in ('fds', 'locks', 'files'):           # the command held some, before
            before.pop(key), after.pop(key)
        check_state(before, after)
        fs.disarm()
        r.snapshot({'device': 'disk0', 'snapshot-file': fs.path('over0')},
                   r.member('disk1', 'over1'))


def test_groups_have_their_turns():
    with FaultFs() as fs, SlowRig(fs) as r:
        start(r)
        hanging = Hanging(r, fs, 'write')
        q = r.connect(timeout=60)
        q.send('blockdev-group-snapshot-sync', {'devlist': [r.member('disk0', 'second')]})
        assert r.cmd('query-block')
        assert hanging.reply() == {'return': {}}
        assert q.recv_reply() == {'return': {}}
        assert r.chain('disk0') == ['second', 'over0', 'disk0.raw']


def test_the_daemon_that_is_to_end_finishes_the_command_and_serves_its_clients_meanwhile():
    with FaultFs() as fs, SlowRig(fs) as r:
        start(r)
        w = Wire(r.path('nbd.sock')).negotiate('disk0')
        hanging = Hanging(r, fs, 'write')
        r.proc.send_signal(signal.SIGTERM)
        for _ in range(20):
            w.write(0, b'guest')
        assert r.proc.poll() is None
        assert hanging.reply() == {'return': {}}
        w.expect_closed()
        assert r.proc.wait(60) == 0
        assert sorted(os.listdir(fs.below)) == ['over0']


main(globals())
