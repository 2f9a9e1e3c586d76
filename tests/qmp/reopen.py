#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
blockdev-reopen changes nodes under their users: all that are named or none, without a request
going astray, and with the locks that the new state needs.
"""

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
        r.qmp.cmd('blockdev-add', {'driver': 'null-co', 'node-name': 'null'})
        f = {'driver': 'file', 'node-name': 'file-disk', 'filename': path}
        for bad, what in ((dict(f, filename=link), 'filename'), (dict(f, locking='off'), 'locking'),
                          (dict(f, aio='threads'), 'aio'), (opts('disk', 'raw', offset=512), 'offset'),
                          (opts('disk', 'raw', size=4096), 'size'),
                          (opts('disk'), 'driver'), ({'driver': 'null-co', 'node-name': 'null'}, 'null'),
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
        modes = [{'direct': False, 'no-flush': False}, {'direct': True, 'no-flush': False},
                 {'direct': False, 'no-flush': True}]
        for i in range(30):
            mode = modes[i % len(modes)]
            reopen(r, opts('disk', cache=mode, discard='unmap' if i % 2 else 'ignore',
                           cache_size=1 << (20 + i % 4)),
                   {'driver': 'file', 'node-name': 'file-disk', 'filename': path, 'cache': mode})
            assert node(r, 'file-disk')['cache']['direct'] == mode['direct']
        ended.set()
        for t in threads:
            t.join()
        assert not failures, failures
        assert rounds[0] > 4
        r.cmd('block-export-del', id='exp-disk', mode='hard')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        r.cmd('blockdev-del', node_name='disk')
        r.cmd('blockdev-del', node_name='file-disk')
        run('qemu-img', 'check', path)


main(globals())
