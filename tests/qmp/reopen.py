#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
blockdev-reopen changes nodes under their users: all that are named or none, without a request
going astray, and with the locks that the new state needs.
"""

import json
import os
import subprocess
import threading

from rig import Rig, check_state, import_nbd, main, requires, run

requires('qemu-img', 'qemu-io')
nbd = import_nbd()
BLOCK, CLUSTER = 4096, 65536


def add(r, name, fmt='qcow2', **options):
    path = r.create(name + '.' + fmt, fmt)
    args = dict({'driver': fmt, 'node-name': name, 'file': 'file-' + name}, **options)
    r.cmd('blockdev-add', driver='file', node_name='file-' + name, filename=path)
    r.qmp.cmd('blockdev-add', args)
    return path


def reopen(r, *options):
    r.cmd('blockdev-reopen', options=list(options))


def opts(name, fmt='qcow2', **more):
    return dict({'driver': fmt, 'node-name': name, 'file': 'file-' + name},
                **{k.replace('_', '-'): v for k, v in more.items()})


def node(r, name):
    return [n for n in r.cmd('query-named-block-nodes', flat=True) if n['node-name'] == name][0]


def other_program_may_write(path):
    return subprocess.run(['qemu-io', '-f', 'raw', '-c', 'write 0 512', path], capture_output=True,
                          check=False).returncode == 0


def test_node_becomes_read_only_and_writable_again():
    with Rig() as r:
        r.start()
        add(r, 'disk')
        reopen(r, opts('disk', read_only=True))
        assert node(r, 'disk')['ro']
        assert 'read-only' in r.error('block-export-add', type='nbd', id='e', node_name='disk',
                                      writable=True).desc
        reopen(r, opts('disk'))
        assert not node(r, 'disk')['ro']
        r.export('disk')
        h = r.nbd('disk')
        h.pwrite(b'a' * BLOCK, 0)
        h.flush()
        assert h.pread(BLOCK, 0) == b'a' * BLOCK


def test_writer_is_named_and_stays_a_writer():
    with Rig() as r:
        r.start()
        add(r, 'disk')
        r.export('disk')
        before = r.state()
        e = r.error('blockdev-reopen', options=[opts('disk', read_only=True)])
        assert "NBD export 'disk' writes to it" in e.desc, e.desc
        check_state(before, r.state())
        r.nbd('disk').pwrite(b'a' * BLOCK, 0)


def test_base_of_a_snapshot_becomes_writable_with_its_file():
    with Rig() as r:
        r.drive('disk0', 'qcow2')
        r.start()
        base = r.snapshot(r.member('disk0', 'o'))['members'][0]['base-node']
        assert node(r, base)['ro']
        below = [n['node-name'] for n in r.cmd('query-named-block-nodes', flat=True)
                 if any(base in c['holder'] for c in n['claims'])]
        reopen(r, {'driver': 'qcow2', 'node-name': base, 'file': below[0]})
        assert not node(r, base)['ro'] and not node(r, below[0])['ro']
        # It is still the base of an image in use: nobody may write to it.
        e = r.error('block-export-add', type='nbd', id='e', node_name=base, writable=True)
        assert 'does not allow' in e.desc, e.desc
        e = r.error('block_resize', node_name=base, size=32 << 20)
        assert "does not allow 'resize'" in e.desc, e.desc


def is_dirty(path):
    info = json.loads(run('qemu-img', 'info', '-U', '--output=json', path))
    return info['dirty-flag']


def test_an_image_that_becomes_read_only_is_left_as_by_a_clean_close():
    with Rig() as r:
        r.start()
        path = add(r, 'disk', **{'lazy-refcounts': True})
        r.export('disk')
        h = r.nbd('disk')
        h.pwrite(b'a' * BLOCK, 0)
        h.flush()
        assert is_dirty(path)
        h.shutdown()
        r.cmd('block-export-del', id='exp-disk', mode='hard')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        reopen(r, opts('disk', read_only=True, lazy_refcounts=True))
        assert not is_dirty(path)


def test_locks_are_those_of_the_new_state():
    with Rig() as r:
        r.start()
        path = add(r, 'disk', 'raw', **{'read-only': True})
        assert other_program_may_write(path)        # a raw node without users has nothing against it
        r.export('disk', writable=False)
        assert other_program_may_write(path)
        reopen(r, opts('disk', 'raw'))
        r.export('disk', name='w')
        assert not other_program_may_write(path)
        before = r.state()['locks']
        reopen(r, opts('disk', 'raw', cache={'direct': False}),
               {'driver': 'file', 'node-name': 'file-disk', 'filename': path,
                'cache': {'no-flush': True}})
        assert r.state()['locks'] == before
        assert not other_program_may_write(path)


def test_lock_of_another_program_is_an_error_and_changes_nothing():
    with Rig() as r:
        r.start()
        path = add(r, 'disk', 'qcow2', **{'read-only': True})
        with Rig() as other:
            other.start()
            other.qmp.cmd('blockdev-add', {'driver': 'qcow2', 'node-name': 'n', 'read-only': True,
                                           'file': {'driver': 'file', 'filename': path}})
            before = r.state()
            e = r.error('blockdev-reopen', options=[opts('disk')])
            assert 'lock' in e.desc and str(other.proc.pid) in e.desc, e.desc
            check_state(before, r.state())
            assert node(r, 'disk')['ro']
        reopen(r, opts('disk'))


def test_all_or_none():
    with Rig() as r:
        r.start()
        add(r, 'one')
        add(r, 'two')
        r.export('two')
        before = r.state()
        for bad in (opts('two', read_only=True), opts('nosuch'), opts('one'),
                    opts('two', file='file-one'), opts('two', driver='raw'),
                    dict(opts('two'), backing='one2'), dict(opts('two'), backing='two')):
            r.error('blockdev-reopen', options=[opts('one', read_only=True), bad])
            check_state(before, r.state())
            assert not node(r, 'one')['ro']
        assert r.cmd('blockdev-reopen', options=[]) == {}


def test_what_cannot_change_is_refused_by_name():
    with Rig() as r:
        r.start()
        path = add(r, 'disk', 'raw')
        link = r.path('other.raw')
        os.link(path, link)
        r.qmp.cmd('blockdev-add', {'driver': 'null-co', 'node-name': 'null', 'size': CLUSTER})
        null = {'driver': 'null-co', 'node-name': 'null', 'size': CLUSTER}
        reopen(r, null)
        rule = {'event': 'none', 'iotype': 'write', 'once': True}
        dbg = {'driver': 'blkdebug', 'node-name': 'dbg', 'image': 'null', 'inject-error': [rule]}
        for name in ('dbg', 'dbg2'):
            r.qmp.cmd('blockdev-add', dict(dbg, **{'node-name': name}))
        reopen(r, dict(dbg, **{'read-only': True}))
        f = {'driver': 'file', 'node-name': 'file-disk', 'filename': path}
        for bad, what in ((dict(f, filename=link), 'filename'), (dict(f, locking='off'), 'locking'),
                          (dict(f, aio='threads'), 'aio'), (opts('disk', 'raw', offset=512), 'offset'),
                          (opts('disk', 'raw', size=4096), 'size'),
                          (opts('disk'), 'driver'), (dict(null, size=BLOCK), 'size'),
                          (dict(null, **{'latency-ns': 1}), 'latency-ns'),
                          (dict(null, **{'read-zeroes': True}), 'read-zeroes'),
                          (dict(dbg, align=4096), 'align'), (dict(dbg, image='dbg2'), 'image'),
                          (dict(dbg, **{'inject-error': []}), 'inject-error'),
                          (dict(dbg, **{'inject-error': [dict(rule, once=False)]}), 'inject-error'),
                          (opts('disk', 'raw', file=dict(f, node_name='x')), 'node_name'),
                          (opts('disk', 'raw', read_only=True, force_share=True), 'force-share')):
            e = r.error('blockdev-reopen', options=[bad])
            assert what in e.desc, (what, e.desc)


def test_backing_file_is_exchanged():
    with Rig() as r:
        r.start()
        for name in 'ab':
            run('qemu-io', '-f', 'raw', '-c', 'write -P 0x%x 0 64k' % ord(name),
                add(r, 'base-' + name, 'raw', **{'read-only': True}))
        add(r, 'top', backing='base-a')
        r.export('top')
        h = r.nbd('top')
        h.pwrite(b't' * BLOCK, CLUSTER)
        assert h.pread(BLOCK, 0) == b'a' * BLOCK
        assert 'backing is missing' in r.error('blockdev-reopen', options=[opts('top')]).desc
        reopen(r, opts('top', backing='base-b'))
        assert h.pread(BLOCK, 0) == b'b' * BLOCK and h.pread(BLOCK, CLUSTER) == b't' * BLOCK
        r.cmd('blockdev-del', node_name='base-a')           # nobody uses it any more
        reopen(r, opts('top', backing=None))
        assert h.pread(BLOCK, 0) == bytes(BLOCK) and h.pread(BLOCK, CLUSTER) == b't' * BLOCK
        reopen(r, opts('top', backing='base-b'))
        assert h.pread(BLOCK, 0) == b'b' * BLOCK
        h.shutdown()
        r.cmd('block-export-del', id='exp-top', mode='hard')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        add(r, 'above', backing='top')
        e = r.error('blockdev-reopen', options=[opts('top', backing='above')])
        assert 'lies above it' in e.desc, e.desc


def add_filter(r, name, file, **options):
    r.qmp.cmd('blockdev-add', dict({'driver': 'blkdebug', 'node-name': name, 'image': file}, **options))


def children(r, name):
    return {n['node-name'] for n in r.cmd('query-named-block-nodes', flat=True)
            if any("node '%s'" % name in c['holder'] for c in n['claims'])}


def test_filter_comes_between_an_image_and_its_file_and_goes_again():
    with Rig() as r:
        r.start()
        path = add(r, 'disk')
        add_filter(r, 'short', 'file-disk')         # knows the length of an empty image
        add_filter(r, 'failing', 'short', **{'inject-error': [{'event': 'none', 'iotype': 'read'}]})
        r.export('disk')
        h = r.nbd('disk')
        for i in range(4):
            h.pwrite(bytes([i + 1]) * CLUSTER, i * CLUSTER)
        h.flush()
        locks = r.state()['locks']
        for n, file in enumerate(('short', 'failing', 'file-disk', 'failing', 'short', 'file-disk')):
            reopen(r, opts('disk', file=file))
            assert children(r, 'disk') == {file}
            assert r.state()['locks'] == locks and not other_program_may_write(path)
            if file != 'failing':
                h.pwrite(b'n' * CLUSTER, (8 + n) * CLUSTER)
            for i in range(4):
                try:
                    assert h.pread(CLUSTER, i * CLUSTER) == bytes([i + 1]) * CLUSTER
                    assert file != 'failing'
                except nbd.Error:
                    assert file == 'failing'
        h.shutdown()
        r.cmd('block-export-del', id='exp-disk', mode='hard')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        for name in ('failing', 'short', 'disk', 'file-disk'):
            r.cmd('blockdev-del', node_name=name)
        assert other_program_may_write(r.create('other.raw', 'raw'))
        run('qemu-img', 'check', path)


def test_filters_exchange_their_files_too():
    with Rig() as r:
        r.start()
        add(r, 'disk')
        add_filter(r, 'dbg', 'disk')
        compress = {'driver': 'compress', 'node-name': 'filter'}
        r.qmp.cmd('blockdev-add', dict(compress, file='disk'))
        r.export('filter')
        h = r.nbd('filter')
        for file in ('dbg', 'disk'):
            reopen(r, dict(compress, file=file))
            assert children(r, 'filter') == {file}
            h.pwrite(file.encode() * (CLUSTER // len(file)), 0)
            assert h.pread(4, 0) == (file.encode() * 2)[:4]


def test_raw_that_shows_all_of_a_file_is_as_good_as_the_file():
    with Rig() as r:
        r.start()
        path = add(r, 'disk')
        for name, size in ('whole', {}), ('part', {'size': 65536}), ('behind', {'offset': 512}):
            r.qmp.cmd('blockdev-add', {'driver': 'raw', 'node-name': name, 'file': 'file-disk', **size})
        r.export('disk')
        h = r.nbd('disk')
        for i, file in enumerate(('whole', 'file-disk', 'whole')):
            reopen(r, opts('disk', file=file))
            assert children(r, 'disk') == {file}
            for cluster in range(2 * i, 2 * i + 2):
                h.pwrite(bytes([i + 1]) * CLUSTER, cluster * CLUSTER)
        for name in 'part', 'behind':
            assert 'does not lead to' in r.error('blockdev-reopen', options=[opts('disk', file=name)]).desc
        for i in range(3):
            assert h.pread(2 * CLUSTER, 2 * i * CLUSTER) == bytes([i + 1]) * (2 * CLUSTER)
        r.stop()
        run('qemu-img', 'check', path)


def test_file_with_another_content_is_refused():
    with Rig() as r:
        r.start()
        add(r, 'one')
        add(r, 'disk')
        add(r, 'other')
        add(r, 'raw', 'raw')
        add_filter(r, 'dbg', 'file-other')
        before = r.state()
        for bad in (opts('disk', file='file-other'), opts('disk', file='dbg'),
                    opts('raw', 'raw', file='file-disk'), opts('disk', file='other')):
            e = r.error('blockdev-reopen', options=[opts('one', read_only=True), bad])
            assert 'does not lead to' in e.desc, e.desc
            check_state(before, r.state())
        assert "'nosuch'" in r.error('blockdev-reopen', options=[opts('disk', file='nosuch')]).desc


def test_file_that_cannot_be_used_like_that_is_refused():
    with Rig() as r:
        r.start()
        path = add(r, 'disk', **{'read-only': True})
        add_filter(r, 'ro', 'file-disk', **{'read-only': True})
        add_filter(r, 'rw', 'file-disk')
        r.qmp.cmd('blockdev-add', {'driver': 'qcow2', 'node-name': 'reader', 'file': 'rw', 'read-only': True})
        before = r.state()
        for file, says in (('ro', "its file node 'ro' is read-only"), ('rw', "node 'reader' (as its file)")):
            e = r.error('blockdev-reopen', options=[opts('disk', file=file)])
            assert says in e.desc, e.desc
            check_state(before, r.state())
            assert children(r, 'disk') == {'file-disk'} and node(r, 'disk')['ro']
        reopen(r, opts('disk', file='ro', read_only=True))
        r.cmd('blockdev-del', node_name='reader')
        reopen(r, opts('disk', file='rw'))
        assert not node(r, 'disk')['ro']
        r.export('disk')
        assert not other_program_may_write(path)


def test_no_circle_can_be_made():
    with Rig() as r:
        r.start()
        add(r, 'one')
        add(r, 'two')
        r.qmp.cmd('blockdev-add', {'driver': 'null-co', 'node-name': 'null', 'size': CLUSTER})
        raw = {}
        for name in 'ab':
            raw[name] = {'driver': 'raw', 'node-name': name, 'file': 'null'}
            r.qmp.cmd('blockdev-add', raw[name])
        before = r.state()
        for pair in ((opts('one', backing='two'), opts('two', backing='one')),
                     (dict(raw['a'], file='b'), dict(raw['b'], file='a')),
                     (dict(raw['a'], file='a'),)):
            e = r.error('blockdev-reopen', options=list(pair))
            assert 'lies above it' in e.desc, e.desc
            check_state(before, r.state())


def test_guests_do_not_notice():
    """Written blocks are what they were, whatever changes meanwhile."""
    with Rig() as r:
        r.start('--object', 'iothread,id=io0')
        path = add(r, 'disk')
        r.export('disk', iothread='io0')
        ended = threading.Event()
        failures, rounds = [], [0]

        def writer(first):
            h = r.nbd('disk')
            try:
                while not ended.is_set():
                    rounds[0] += 1
                    block = bytes([rounds[0] % 255 + 1]) * BLOCK
                    h.pwrite(block, first * BLOCK)
                    if rounds[0] % 7 == 0:
                        h.flush()
                    if h.pread(BLOCK, first * BLOCK) != block:
                        failures.append('block %d' % first)
                h.shutdown()
            except nbd.Error as e:
                failures.append(str(e))

        threads = [threading.Thread(target=writer, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        add_filter(r, 'between', 'file-disk')
        modes = [{'direct': False, 'no-flush': False}, {'direct': True, 'no-flush': False},
                 {'direct': False, 'no-flush': True}]
        for i in range(30):
            mode = modes[i % len(modes)]
            reopen(r, opts('disk', cache=mode, discard='unmap' if i % 2 else 'ignore',
                           file='between' if i % 4 > 1 else 'file-disk', cache_size=1 << (20 + i % 4)),
                   {'driver': 'file', 'node-name': 'file-disk', 'filename': path, 'cache': mode})
            assert node(r, 'file-disk')['cache']['direct'] == mode['direct']
        ended.set()
        for t in threads:
            t.join()
        assert not failures, failures
        assert rounds[0] > 4
        r.cmd('block-export-del', id='exp-disk', mode='hard')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        for name in ('disk', 'between', 'file-disk'):
            r.cmd('blockdev-del', node_name=name)
        run('qemu-img', 'check', path)


def test_options_that_are_not_given_stay():
    with Rig() as r:
        r.create('img', 'qcow2', '1M')
        r.start()
        o = {'driver': 'qcow2', 'node-name': 'img', 'file': {'driver': 'file', 'filename': r.path('img')}}
        r.qmp.cmd('blockdev-add', dict(o, file=dict(o['file'], aio='threads')))
        r.cmd('blockdev-reopen', options=[o])
        r.cmd('blockdev-reopen', options=[dict(o, file=dict(o['file'], aio='threads'))])
        e = r.error('blockdev-reopen', options=[dict(o, file=dict(o['file'], aio='io_uring'))])
        assert e.desc == "Cannot change the option 'aio'", e.desc


main(globals())
