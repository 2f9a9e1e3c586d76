#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The QMP commands for disks, exports and objects do what they say, and change nothing when they fail."""

import base64
import json
import os
import threading
import time

import nbdwire as w
from nbdwire import Wire
from rig import QMPError, Rig, check_state, main, requires, run

requires('qemu-img', 'qemu-io')

KiB, MiB = 1 << 10, 1 << 20


class Daemon(Rig):
    """Started, with nothing but an NBD server."""

    def __enter__(self):
        self.start()
        return self

    def add(self, name, **options):
        self.qmp.cmd('blockdev-add', {'node-name': name, **options})

    def add_null(self, name, size=MiB):
        self.add(name, driver='null-co', size=size, **{'read-zeroes': True})

    def add_file(self, name, fmt='qcow2', size='1M'):
        """A node over a new file."""
        path = self.create(name + '.' + fmt, fmt, size)
        self.add(name, driver=fmt, file={'driver': 'file', 'filename': path})
        return path

    def refuse(self, *texts, execute='blockdev-add', cls='GenericError', **arguments):
        """The command fails with a message that has @texts, and nothing has changed."""
        before = self.state()
        try:
            self.qmp.cmd(execute, {k.replace('_', '-'): v for k, v in arguments.items()})
        except QMPError as e:
            for text in texts:
                assert text in e.desc, e
            assert e.cls == cls, e
            after = self.state()
            if set(after['fds']) < set(before['fds']):      # a client's end was just seen
                before['fds'] = after['fds']
            check_state(before, after)
            return e
        raise AssertionError('%s %s succeeded' % (execute, arguments))

    def nodes(self):
        return [n['node-name'] for n in self.cmd('query-named-block-nodes', flat=True)]

    def wire(self, name, **kwargs):
        return Wire(self.path('nbd.sock')).negotiate(name, **kwargs)


# -- blockdev-add, blockdev-del

def test_a_node_is_added_and_deleted():
    with Daemon() as r:
        r.add_null('n0')
        r.add_file('q0')
        assert {'n0', 'q0'} <= set(r.nodes()) and len(r.nodes()) == 3   # and the file of q0
        before = r.state()
        r.add_null('n1')
        r.cmd('blockdev-del', node_name='n1')
        check_state(before, r.state())
        r.cmd('blockdev-del', node_name='q0')
        r.cmd('blockdev-del', node_name='n0')
        assert r.nodes() == []
        assert not [f for f in r.state()['fds'] if 'q0' in f]


def test_wrong_options_of_blockdev_add_are_named():
    with Daemon() as r:
        r.add_null('n0')
        path = r.create('a.raw')
        r.refuse('node-name', driver='null-co')
        r.refuse('n0', driver='null-co', node_name='n0')
        for bad in ('', '1a', 'a b', 'x' * 32, 'ä', '#a'):
            r.refuse(bad[:8], driver='null-co', node_name=bad)
        r.refuse('driver', node_name='x')
        r.refuse('driver', 'nosuch', driver='nosuch', node_name='x')
        r.refuse('filename', driver='file', node_name='x')
        r.refuse('colour', driver='file', node_name='x', filename=path, colour='red')
        r.refuse('size', driver='null-co', node_name='x', size='big')
        r.refuse('nosuch', driver='raw', node_name='x', file='nosuch')
        r.refuse('/nosuch/f', 'No such file or directory', driver='file', node_name='x',
                 filename='/nosuch/f')
        r.refuse(r.dir, driver='file', node_name='x', filename=r.dir)
        r.refuse('qcow2', driver='qcow2', node_name='x',
                 file={'driver': 'file', 'filename': path})
        r.refuse('offset', driver='raw', node_name='x', offset=1 << 40,
                 file={'driver': 'file', 'filename': path})
        r.refuse('nosuch', driver='raw', node_name='x', file={'driver': 'nosuch'})
        r.refuse('file.colour', driver='raw', node_name='x',
                 file={'driver': 'file', 'filename': path, 'colour': 1})
        r.refuse('aio', driver='file', node_name='x', filename=path, aio='slow')


def test_the_data_file_that_an_image_names_is_a_path():
    """An image comes from anywhere: what it names is not taken for a description of nodes."""
    with Rig() as r:
        evil = 'json:{"driver":"null-co","size":16777216}'
        plain = 'x' * len(evil)
        r.start()
        path = r.path('a.qcow2')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'data_file=' + plain, path, '16M',
            cwd=r.dir)
        with open(path, 'rb') as f:
            data = f.read()
        assert plain.encode() in data
        with open(path, 'wb') as f:
            f.write(data.replace(plain.encode(), evil.encode()))
        e = r.error('blockdev-add', driver='qcow2', node_name='a',
                    file={'driver': 'file', 'filename': path})
        assert evil in e.desc and 'No such file' in e.desc, e.desc


def test_an_encrypted_image_is_refused_by_name():
    """For reading, for writing and as the base of another image: never taken for plain data."""
    with Rig() as r:
        r.start()
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '--object', 'secret,id=s,data=x',
            '-o', 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10',
            r.path('secret.qcow2'), '16M')
        run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', 'secret.qcow2',
            r.path('top.qcow2'), '16M')
        for name in ('secret.qcow2', 'top.qcow2'):
            for read_only in (True, False):
                e = r.error('blockdev-add', driver='qcow2', node_name='a', read_only=read_only,
                            file={'driver': 'file', 'filename': r.path(name)})
                assert 'secret.qcow2' in e.desc and 'encrypt' in e.desc, e.desc


def test_a_backing_file_is_a_file_or_refused_at_once():
    """Whatever an image names: nothing hangs, and only files on this machine are opened."""
    with Rig() as r:
        r.start()
        os.mkfifo(r.path('fifo'))
        os.mkdir(r.path('dir'))
        image = r.path('a.qcow2')
        for name, why in (('fifo', 'regular file'), ('dir', 'regular file'), ('qmp.sock', 'No such device'),
                          ('/dev/null', 'regular file'), ('/dev/zero', 'regular file'),
                          ('nbd://localhost/x', "Unknown protocol 'nbd'"),
                          ('http://localhost/x', "Unknown protocol 'http'"),
                          ('ssh:x', "Unknown protocol 'ssh'"), ('json:{', 'json'),
                          ('json:{"driver":"nosuch"}', 'nosuch'), ('a.qcow2', 'circles')):
            run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-F',
                'qcow2' if name == 'a.qcow2' else 'raw', '-b', name, image, '16M', cwd=r.dir)
            e = r.error('blockdev-add', driver='qcow2', node_name='a', read_only=True,
                        file={'driver': 'file', 'filename': image})
            assert why in e.desc, (name, e.desc)
            assert r.cmd('query-named-block-nodes') == []


def test_names_of_one_command_may_not_be_the_same():
    with Daemon() as r:
        path = r.create('a.raw')
        r.refuse('twice', driver='raw', node_name='twice',
                 file={'driver': 'file', 'filename': path, 'node-name': 'twice'})


def test_a_node_in_use_is_not_deleted():
    with Daemon() as r:
        r.add_file('f', 'raw')
        r.add('top', driver='raw', file='f')
        r.export('top')
        r.refuse('in use', execute='blockdev-del', node_name='f')
        r.refuse('in use', execute='blockdev-del', node_name='top')
        r.refuse('nosuch', execute='blockdev-del', node_name='nosuch')
        r.cmd('block-export-del', id='exp-top')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED', id='exp-top')
        r.cmd('blockdev-del', node_name='top')
        r.cmd('blockdev-del', node_name='f')
        assert r.nodes() == []


def test_only_the_monitors_nodes_are_deleted_by_it():
    with Rig() as r:
        r.drive('disk', 'qcow2', '1M', ',node-name=dnode')
        r.start()
        file = [n['node-name'] for n in r.cmd('query-named-block-nodes') if n['drv'] == 'file'][0]
        for node in ('dnode', file):
            e = r.error('blockdev-del', node_name=node)
            assert node in e.desc and e.cls == 'GenericError', e
        assert r.inserted('disk')


# -- blockdev-create and jobs

def create(r, job, **options):
    """Run a create job to its end: None or its error; the order of its states is checked."""
    r.cmd('blockdev-create', job_id=job, options=options)
    states = []
    while states[-1:] != ['concluded']:
        states.append(r.qmp.wait_event('JOB_STATUS_CHANGE')['data']['status'])
    info, = [j for j in r.cmd('query-jobs') if j['id'] == job]
    error = info.get('error')
    assert info['type'] == 'create' and info['status'] == 'concluded', info
    assert states == (['created', 'running', 'aborting', 'concluded'] if error else
                      ['created', 'running', 'waiting', 'pending', 'concluded']), states
    if not error:
        assert info['current-progress'] == info['total-progress']
    r.cmd('job-dismiss', id=job)
    assert r.qmp.wait_event('JOB_STATUS_CHANGE')['data'] == {'id': job, 'status': 'null'}
    assert r.cmd('query-jobs') == []
    return error


def image_info(path):
    return json.loads(run('qemu-img', 'info', '-U', '--output=json', path))


def test_files_are_created():
    with Daemon() as r:
        for prealloc in ('off', 'falloc', 'full'):
            path = r.path(prealloc)
            assert create(r, 'j', driver='file', filename=path, size=MiB,
                          preallocation=prealloc) is None
            st = os.stat(path)
            assert st.st_size == MiB
            assert (st.st_blocks * 512 >= MiB) == (prealloc != 'off')
        assert 'metadata' in create(r, 'j', driver='file', filename=r.path('m'), size=MiB,
                                    preallocation='metadata')
        assert '/nosuch/' in create(r, 'j', driver='file', filename='/nosuch/dir', size=1)
        assert create(r, 'j', driver='file', filename=r.path('huge'), size=(1 << 63) - 1)
        assert not os.path.exists(r.path('m')) and not os.path.exists(r.path('huge'))


def test_an_existing_file_is_not_overwritten():
    with Daemon() as r:
        path = r.path('precious')
        with open(path, 'wb') as f:
            f.write(b'precious')
        error = create(r, 'j', driver='file', filename=path, size=MiB)
        assert 'precious' in error, error
        assert open(path, 'rb').read() == b'precious'


def test_qcow2_images_are_created_with_all_options():
    cases = [({}, {}), ({'version': 'v2'}, {'compat': '0.10'}),
             ({'cluster-size': 512}, {'cluster-size': 512}),
             ({'cluster-size': 2 * MiB}, {'cluster-size': 2 * MiB}),
             ({'extended-l2': True, 'cluster-size': 16 * KiB}, {'extended-l2': True}),
             ({'refcount-bits': 1}, {'refcount-bits': 1}),
             ({'refcount-bits': 64}, {'refcount-bits': 64}),
             ({'lazy-refcounts': True}, {'lazy-refcounts': True}),
             ({'compression-type': 'zstd'}, {'compression-type': 'zstd'}),
             ({'preallocation': 'metadata'}, {}), ({'preallocation': 'full'}, {}),
             ({'preallocation': 'falloc'}, {}),
             ({'backing-file': 'base.raw', 'backing-fmt': 'raw'}, {'backing': 'base.raw'})]
    with Daemon() as r:
        r.create('base.raw', 'raw', '4M')
        for i, (options, want) in enumerate(cases):
            path = r.path('%d.qcow2' % i)
            assert create(r, 'j', driver='file', filename=path, size=0) is None
            assert create(r, 'j', driver='qcow2', size=4 * MiB, **options,
                          file={'driver': 'file', 'filename': path}) is None, options
            info = image_info(path)
            data = info['format-specific']['data']
            got = {**data, 'cluster-size': info['cluster-size'],
                   'backing': info.get('backing-filename')}
            assert info['virtual-size'] == 4 * MiB
            for key, value in want.items():
                assert got[key] == value, (options, got)
            run('qemu-img', 'check', '-q', path)


def test_impossible_qcow2_options_are_refused():
    with Daemon() as r:
        path = r.path('f')
        r.add_null('ro')
        assert create(r, 'j', driver='file', filename=path, size=0) is None
        for options, text in (({'cluster-size': 1000}, 'luster size'),
                              ({'cluster-size': 4 * MiB}, 'luster size'),
                              ({'refcount-bits': 3}, 'efcount'),
                              ({'refcount-bits': 128}, 'efcount'),
                              ({'version': 'v2', 'lazy-refcounts': True}, 'azy'),
                              ({'version': 'v2', 'refcount-bits': 8}, 'efcount'),
                              ({'extended-l2': True, 'cluster-size': 8 * KiB}, 'xtended'),
                              ({'backing-fmt': 'raw'}, 'acking'),
                              ({'size': 1 << 63}, 'size')):
            error = create(r, 'j', **{'driver': 'qcow2', 'size': MiB, **options,
                                      'file': {'driver': 'file', 'filename': path}})
            assert error and text in error, (options, error)
            assert os.path.getsize(path) == 0, options
        error = create(r, 'j', driver='qcow2', size=MiB, file='nosuch')
        assert 'nosuch' in error


def test_an_image_is_not_created_over_one_in_use():
    with Daemon() as r:
        path = r.add_file('q0')
        r.export('q0')
        before = open(path, 'rb').read()
        error = create(r, 'j', driver='qcow2', size=MiB, file={'driver': 'file', 'filename': path})
        assert error and path in error, error
        assert open(path, 'rb').read() == before


def test_job_names():
    with Daemon() as r:
        for bad in ('', '1', 'a b', 'ä'):
            e = r.error('blockdev-create', job_id=bad,
                        options={'driver': 'file', 'filename': r.path('x'), 'size': 0})
            assert 'job ID' in e.desc, e
        r.cmd('blockdev-create', job_id='j',
              options={'driver': 'file', 'filename': r.path('x'), 'size': 0})
        e = r.error('blockdev-create', job_id='j',
                    options={'driver': 'file', 'filename': r.path('y'), 'size': 0})
        assert "'j'" in e.desc and 'in use' in e.desc, e
        r.qmp.wait_event('JOB_STATUS_CHANGE', status='concluded')
        r.cmd('job-dismiss', id='j')
        assert 'not found' in r.error('job-dismiss', id='j').desc
        e = r.error('blockdev-create', job_id='k', options={'driver': 'raw'})
        assert 'blockdev-create' in e.desc, e
        assert not os.path.exists(r.path('y'))


def test_all_create_jobs_end_though_many_run_at_once():
    with Daemon() as r:
        for i in range(32):
            r.cmd('blockdev-create', job_id='j%d' % i, options={
                'driver': 'file', 'filename': r.path('f%d' % (i // 2)), 'size': i // 2 * KiB})
        for i in range(32):
            r.qmp.wait_event('JOB_STATUS_CHANGE', id='j%d' % i, status='concluded')
        for i in range(16):
            assert os.path.getsize(r.path('f%d' % i)) == i * KiB


# -- block_resize

def test_a_disk_grows_and_new_connections_see_it():
    with Daemon() as r:
        for fmt in ('raw', 'qcow2'):
            path = r.add_file(fmt, fmt, '1M')
            r.export(fmt)
            with r.wire(fmt) as c:
                assert c.size == MiB
                c.write(MiB - 512, b'x' * 512)
            r.cmd('block_resize', node_name=fmt, size=3 * MiB + 512)
            with r.wire(fmt) as c:
                assert c.size == 3 * MiB + 512
                assert c.read(MiB - 512, 1024) == b'x' * 512 + bytes(512)
                c.write(3 * MiB, b'y' * 512, w.FUA)
                assert c.error(w.WRITE, 3 * MiB, 1024, 0, bytes(1024)) == w.ENOSPC
            assert image_info(path)['virtual-size'] == 3 * MiB + 512


def test_a_disk_grows_under_load():
    with Daemon() as r:
        path = r.add_file('q', 'qcow2', '1M')
        r.cmd('object-add', qom_type='iothread', id='io0')
        r.export('q', iothread='io0')
        stop, written = threading.Event(), []

        def load():
            with r.wire('q') as c:
                while not stop.is_set():
                    n = len(written)
                    c.write(n % 256 * 4096, bytes([n & 255]) * 4096)
                    written.append(n)
        t = threading.Thread(target=load)
        t.start()
        for size in range(2, 20):
            r.cmd('block_resize', node_name='q', size=size * MiB)
        w.wait_until(lambda: len(written) > 300)
        stop.set()
        t.join()
        last = {n % 256: n for n in written}
        with r.wire('q') as c:
            assert c.size == 19 * MiB
            for slot, n in last.items():
                assert c.read(slot * 4096, 4096) == bytes([n & 255]) * 4096
        r.stop()
        run('qemu-img', 'check', '-q', path)


def test_a_disk_shrinks_and_old_connections_get_errors_beyond_its_end():
    with Daemon() as r:
        path = r.add_file('f', 'raw', '1M')
        r.export('f')
        with r.wire('f') as c:
            c.write(0, b'x' * 512)
            r.cmd('block_resize', node_name='f', size=MiB // 2)
            assert c.error(w.READ, MiB // 2, 512) in (w.EINVAL, w.EIO)
            assert c.error(w.WRITE, MiB - 512, 512, 0, bytes(512)) in (w.ENOSPC, w.EINVAL, w.EIO)
            assert c.read(0, 512) == b'x' * 512
        assert os.path.getsize(path) == MiB // 2


def test_impossible_sizes_are_refused():
    with Daemon() as r:
        path = r.add_file('q')
        r.refuse('size', execute='block_resize', node_name='q', size=-1)
        r.refuse('nosuch', execute='block_resize', node_name='nosuch', size=MiB)
        r.refuse('nosuch', execute='block_resize', device='nosuch', size=MiB)
        r.refuse(execute='block_resize', size=MiB)
        r.add('ro', driver='raw', **{'read-only': True},
              file={'driver': 'file', 'filename': r.create('ro.raw')})
        r.refuse(execute='block_resize', node_name='ro', size=32 * MiB)
        assert image_info(path)['virtual-size'] == MiB


# -- snapshots of one disk

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


# -- objects

def test_objects_come_and_go():
    with Daemon() as r:
        r.cmd('object-add', qom_type='iothread', id='io0')
        r.cmd('object-add', qom_type='iothread', id='io1')
        threads = r.cmd('query-iothreads')
        assert [t['id'] for t in threads] == ['io0', 'io1']
        for t in threads:
            assert os.path.exists('/proc/%d/task/%d' % (r.proc.pid, t['thread-id']))
        with open(r.path('secret'), 'wb') as f:
            f.write(b'from a file')
        r.cmd('object-add', qom_type='secret', id='s0', data='letmein')
        r.cmd('object-add', qom_type='secret', id='s1', file=r.path('secret'))
        r.cmd('object-add', qom_type='secret', id='s2', format='base64',
              data=base64.b64encode(b'letmein').decode())
        x = {'execute': 'object-add'}
        r.refuse('io0', **x, qom_type='iothread', id='io0')
        r.refuse('nosuch', **x, qom_type='nosuch', id='x')
        r.refuse('id', **x, qom_type='iothread', id='1 x')
        r.refuse('id', **x, qom_type='iothread')
        r.refuse('data', **x, qom_type='secret', id='x')
        r.refuse('data', **x, qom_type='secret', id='x', data='a', file='b')
        r.refuse('/nosuch/f', **x, qom_type='secret', id='x', file='/nosuch/f')
        r.refuse('base64', **x, qom_type='secret', id='x', data='$$$', format='base64')
        r.refuse('nosuch', execute='object-del', id='nosuch')
        for name in ('io0', 's1', 's0', 'io1', 's2'):
            r.cmd('object-del', id=name)
        assert r.cmd('query-iothreads') == []


def test_an_iothread_in_use_is_not_deleted():
    with Daemon() as r:
        r.cmd('object-add', qom_type='iothread', id='io0')
        r.add_null('n')
        r.export('n', iothread='io0')
        r.refuse('io0', 'in use', execute='object-del', id='io0')
        with r.wire('n') as c:
            assert c.read(0, 512) == bytes(512)
        r.cmd('block-export-del', id='exp-n', mode='hard')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        r.cmd('object-del', id='io0')
        r.refuse('io0', execute='block-export-add', type='nbd', id='e', node_name='n',
                 iothread='io0')


# -- servers and exports

def unix(path):
    return {'type': 'unix', 'data': {'path': path}}


def tcp_port(pid):
    """Where the process listens."""
    sockets = {os.readlink('/proc/%d/fd/%s' % (pid, fd)) for fd in os.listdir('/proc/%d/fd' % pid)}
    with open('/proc/net/tcp') as f:
        for row in (line.split() for line in f):
            if row[3] == '0A' and 'socket:[%s]' % row[9] in sockets:
                return int(row[1].split(':')[1], 16)
    raise AssertionError('it does not listen')


def test_several_servers_each_with_its_exports():
    with Daemon() as r:
        r.add_null('n')
        r.cmd('nbd-server-start', id='second', addr=unix(r.path('second.sock')))
        r.cmd('nbd-server-start', id='tcp', addr={'type': 'inet', 'data': {
            'host': '127.0.0.1', 'port': '0'}})
        port = tcp_port(r.proc.pid)
        for server in ('second', 'tcp'):
            r.cmd('block-export-add', type='nbd', id='e-' + server, node_name='n', name='x',
                  server=server, writable=True)
        for address in (r.path('second.sock'), ('127.0.0.1', port)):
            with Wire(address).negotiate('x') as c:
                c.write(0, b'x' * 512)
        with Wire(r.path('nbd.sock')) as c:         # nothing there
            assert c.option_error(w.OPT_GO, w.info_option('x')) == w.ERR_UNKNOWN
        r.refuse('running', execute='nbd-server-start', id='second', addr=unix(r.path('y')))
        r.refuse('running', execute='nbd-server-start', addr=unix(r.path('y')))
        r.refuse('nbd.sock', execute='nbd-server-start', id='z', addr=unix(r.path('nbd.sock')))
        r.refuse(str(port), execute='nbd-server-start', id='z', addr={'type': 'inet', 'data': {
            'host': '127.0.0.1', 'port': str(port)}})
        r.refuse('running', execute='nbd-server-stop', id='nosuch')
        r.refuse('running', execute='block-export-add', type='nbd', id='e', node_name='n',
                 server='nosuch')
        r.cmd('nbd-server-stop', id='second')
        assert not os.path.exists(r.path('second.sock'))
        assert [e['id'] for e in r.cmd('query-block-exports')] == ['e-tcp']
        r.cmd('nbd-server-start', id='second', addr=unix(r.path('second.sock')))   # once more
        r.cmd('nbd-server-stop', id='tcp')
        assert r.cmd('query-block-exports') == []


def test_exports_are_added_and_removed():
    with Daemon() as r:
        r.add_null('n')
        x = {'execute': 'block-export-add', 'type': 'nbd'}
        r.cmd('block-export-add', type='nbd', id='e', node_name='n', name='x', writable=True)
        r.refuse('e', 'in use', **x, id='e', node_name='n', name='y')
        r.refuse('x', **x, id='f', node_name='n', name='x')
        r.refuse('nosuch', **x, id='f', node_name='nosuch')
        r.refuse('id', **x, id='', node_name='n')
        r.refuse('iothread', **x, id='f', node_name='n', iothread='nosuch')
        r.refuse('type', execute='block-export-add', type='fax', id='f', node_name='n')
        assert r.cmd('query-block-exports') == [{'id': 'e', 'type': 'nbd', 'node-name': 'n',
                                                 'shutting-down': False}]
        r.refuse('nosuch', execute='block-export-del', id='nosuch')
        with r.wire('x') as c:
            r.refuse('in use', execute='block-export-del', id='e')
            r.refuse('in use', execute='block-export-del', id='e', mode='safe')
            assert c.alive()
            r.cmd('block-export-del', id='e', mode='hard')
            c.expect_closed()
        assert r.qmp.wait_event('BLOCK_EXPORT_DELETED')['data'] == {'id': 'e'}
        r.cmd('block-export-add', type='nbd', id='e', node_name='n')
        with r.wire('n') as c:
            c.disconnect()
        w.wait_until(lambda: removed(r, 'e'))
        r.qmp.wait_event('BLOCK_EXPORT_DELETED', id='e')


def removed(r, export):
    try:
        r.cmd('block-export-del', id=export)
        return True
    except QMPError as e:
        assert 'in use' in e.desc, e
        return False


def test_a_read_only_node_has_no_writable_export():
    with Daemon() as r:
        path = r.create('a.raw')
        r.add('ro', driver='raw', **{'read-only': True},
              file={'driver': 'file', 'filename': path, 'read-only': True})
        r.refuse('read-only', execute='block-export-add', type='nbd', id='e', node_name='ro',
                 writable=True)
        r.export('ro', writable=False)


def test_the_older_commands_for_exports():
    with Daemon() as r:
        r.add_null('n')
        r.cmd('nbd-server-add', device='n', name='x', writable=True, description='an x')
        r.cmd('nbd-server-add', device='n')
        assert [e['id'] for e in r.cmd('query-block-exports')] == ['x', 'nbd-n']
        with Wire(r.path('nbd.sock')) as c:
            assert c.option(w.OPT_LIST)[0][1] == w.name_option('x') + b'an x'
        r.refuse('nosuch', execute='nbd-server-add', device='nosuch')
        r.refuse('x', execute='nbd-server-add', device='n', name='x')
        with r.wire('x') as c:
            r.refuse('in use', execute='nbd-server-remove', name='x')
            r.cmd('nbd-server-remove', name='x', mode='hard')
            c.expect_closed()
        r.refuse('x', execute='nbd-server-remove', name='x')
        r.cmd('nbd-server-remove', name='n')
        assert r.cmd('query-block-exports') == []


def test_all_can_be_removed_in_any_order():
    steps = {'export': ('block-export-del', {'id': 'exp-disk', 'mode': 'hard'}),
             'server': ('nbd-server-stop', {}), 'node': ('blockdev-del', {'node-name': 'disk'}),
             'file': ('blockdev-del', {'node-name': 'f'}), 'thread': ('object-del', {'id': 'io0'})}
    with Daemon() as r:
        empty = None
        for order in (list(steps), list(steps)[::-1], ['server', 'thread', 'file', 'node', 'export'],
                      ['node', 'server', 'thread', 'file']):
            r.cmd('object-add', qom_type='iothread', id='io0')
            path = r.path('any.raw')
            if not os.path.exists(path):
                r.create('any.raw', 'raw', '1M')
            r.add('f', driver='file', filename=path)
            r.add('disk', driver='raw', file='f')
            r.export('disk', iothread='io0')
            clients = [r.wire('disk') for _ in range(3)]
            for c in clients:
                c.request(w.READ, 0, 65536)
            left = order
            for _ in range(6):              # what is refused now is possible later
                refused = []
                for step in left:
                    try:
                        r.qmp.cmd(*steps[step])
                    except QMPError:
                        refused.append(step)
                left = [s for s in refused if s not in ('export', 'server')]
            assert (left, r.nodes(), r.cmd('query-block-exports')) == ([], [], []), order
            for c in clients:
                c.close()
            if os.path.exists(r.path('nbd.sock')):
                r.cmd('nbd-server-stop')
            r.cmd('nbd-server-start', addr=unix(r.path('nbd.sock')), max_connections=0)
            state = r.state()
            state['fds'] = len(state['fds'])        # the server's socket is a new one
            del state['files']['nbd.sock']
            check_state(empty or state, state)
            empty = state


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


main(globals())
