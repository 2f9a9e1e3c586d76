#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Bitmaps that an image stores: the same here and in the installed QEMU, both ways; and after a kill never one that has
missed a write and does not say so."""

import json
import os
import random
import subprocess
import tempfile
import threading
import time

import nbdwire as w
from daemon import Daemon, MiB
from qmp import QMP
from rig import main, requires, run, skip

requires('qemu-img', 'qemu-io', 'qemu-storage-daemon')

SIZE = 16 * MiB


def bitmaps(r, node):
    """Name -> (dirty bytes, granularity, recording, inconsistent, hash)."""
    found = {}
    for n in r.cmd('query-named-block-nodes'):
        if n['node-name'] == node:
            for b in n.get('dirty-bitmaps', []):
                sha = r.cmd('x-debug-block-dirty-bitmap-sha256', node=node, name=b['name'])['sha256']
                found[b['name']] = (b['count'], b['granularity'], b['recording'], b.get('inconsistent', False), sha)
    return found


def theirs(path):
    """What the installed QEMU finds in the image."""
    with tempfile.TemporaryDirectory() as d:
        sock = os.path.join(d, 'qmp')
        proc = subprocess.Popen(
            ['qemu-storage-daemon', '--chardev', 'socket,id=c,server=on,wait=off,path=' + sock, '--monitor',
             'chardev=c', '--blockdev', json.dumps({'driver': 'qcow2', 'node-name': 'disk', 'read-only': True,
                                                    'file': {'driver': 'file', 'filename': path}})])
        try:
            with QMP(sock) as qmp:
                class Client:
                    @staticmethod
                    def cmd(execute, **kwargs):
                        return qmp.cmd(execute, kwargs)
                return bitmaps(Client, 'disk')
        finally:
            proc.terminate()
            proc.wait()


def check_image(path):
    out = run('qemu-img', 'check', path)
    assert 'No errors were found' in out and 'leak' not in out, out


def flags(path):
    found = json.loads(run('qemu-img', 'info', '-U', '--output=json', path))['format-specific']['data']
    return {b['name']: sorted(b['flags']) for b in found.get('bitmaps', [])}


def open_disk(r, path, **options):
    r.cmd('blockdev-add', driver='qcow2', node_name='disk', discard='unmap',
          file={'driver': 'file', 'filename': path}, **options)


def write(r, offset, n, value=b'x'):
    r.export('disk')
    with r.wire('disk') as c:
        c.write(offset, value * n)
        c.call(w.FLUSH)
    r.cmd('block-export-del', id='exp-disk', mode='hard')
    r.qmp.wait_event('BLOCK_EXPORT_DELETED')


def close(r):
    r.cmd('blockdev-del', node_name='disk')


LAYOUTS = ('cluster_size=64k', 'cluster_size=4k', 'extended_l2=on', 'cluster_size=2M', 'cluster_size=512',
           'refcount_bits=1', 'data_file=DATA,data_file_raw=on', 'lazy_refcounts=on')


def test_the_installed_program_finds_what_was_stored():
    """Each kind of image and granularity; bits and states; and the image is consistent."""
    rng = random.Random(2)
    for layout in LAYOUTS:
        with Daemon() as r:
            path = r.create('disk', 'qcow2', str(SIZE), '-o', layout.replace('DATA', r.path('data')))
            open_disk(r, path)
            for g in 512, 4096, 65536, 1 << 20:
                r.cmd('block-dirty-bitmap-add', node='disk', name='g%d' % g, granularity=g, persistent=True,
                      disabled=g == 4096)
            r.cmd('block-dirty-bitmap-add', node='disk', name='temporary')
            for i in range(4):
                write(r, rng.randrange(SIZE - 100000), rng.choice([1, 4096, 100000]))
            r.cmd('block-dirty-bitmap-merge', node='disk', target='g4096', bitmaps=['g512'])
            ours = bitmaps(r, 'disk')
            del ours['temporary']
            close(r)
            check_image(path)
            assert theirs(path) == ours, (layout, theirs(path), ours)
            open_disk(r, path)
            assert bitmaps(r, 'disk') == ours, layout
            r.cmd('block-dirty-bitmap-remove', node='disk', name='g512')
            r.cmd('block-dirty-bitmap-clear', node='disk', name='g65536')
            close(r)
            check_image(path)
            assert set(theirs(path)) == {'g4096', 'g65536', 'g%d' % (1 << 20)} and theirs(path)['g65536'][0] == 0
            open_disk(r, path)
            for name in bitmaps(r, 'disk'):
                r.cmd('block-dirty-bitmap-remove', node='disk', name=name)
            close(r)
            check_image(path)
            assert theirs(path) == {} and flags(path) == {}
            out = run('qemu-img', 'info', path)
            assert 'bitmap' not in out.split('Format specific')[0], out     # no warning of any


def test_what_the_installed_program_stored_is_found():
    """It makes bitmaps and writes, we go on, and so forth."""
    rng = random.Random(3)
    for layout in LAYOUTS[:4]:
        with Daemon() as r:
            path = r.create('disk', 'qcow2', str(SIZE), '-o', layout)
            run('qemu-img', 'bitmap', '--add', path, 'a')
            run('qemu-img', 'bitmap', '--add', '-g', '512', path, 'b')
            run('qemu-img', 'bitmap', '--add', '--disable', path, 'off')
            for i in range(3):
                run('qemu-io', '-f', 'qcow2', '-c', 'write %d %d' % (rng.randrange(64) << 17, 70000), path)
                before = theirs(path)
                open_disk(r, path)
                assert bitmaps(r, 'disk') == before, (layout, before, bitmaps(r, 'disk'))
                write(r, rng.randrange(SIZE - 512), 512)
                if i == 1:
                    r.cmd('block-dirty-bitmap-merge', node='disk', target='off', bitmaps=['a', 'b'])
                ours = bitmaps(r, 'disk')
                close(r)
                check_image(path)
                assert theirs(path) == ours
            assert ours['off'][0] > 0


def test_header_room_is_found_or_refused():
    """Long names of backing files move; where nothing can, the bitmap is given up and the image stays whole."""
    outcomes = set()
    for cluster, sizes in ((65536, (20, 1000)), (1024, range(20, 600, 56)), (512, range(4, 300, 40))):
        for name_bytes in sizes:
            with Daemon() as r:
                name = ('./' * 600)[:name_bytes] + 'base'
                r.create('base', 'raw', '1M')
                path = r.path('disk')
                if subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-o', 'cluster_size=%d' % cluster,
                                   '-b', name, '-F', 'raw', path, '1M'], capture_output=True).returncode:
                    continue                # such an image cannot be
                open_disk(r, path)
                r.cmd('block-dirty-bitmap-add', node='disk', name='b', persistent=True)
                write(r, 1000, 1)
                close(r)
                r.stop()
                run('qemu-img', 'check', path)
                info = json.loads(run('qemu-img', 'info', '--output=json', path))
                assert info['backing-filename'] == name, info
                run('qemu-io', '-f', 'qcow2', '-c', 'read -P 120 1000 1', path)
                fits = 'cannot store the bitmaps' not in r.log
                assert theirs(path)['b'][0] > 0 if fits else theirs(path) == {}, (cluster, name_bytes, r.log)
                outcomes.add((cluster, fits))
    assert {(65536, True), (1024, True), (1024, False)} <= outcomes, outcomes


def test_bitmaps_that_have_not_changed_stay_where_they_are():
    """Opening changes nothing, a write only what records."""
    with Daemon() as r:
        path = r.create('disk', 'qcow2', str(SIZE))
        run('qemu-img', 'bitmap', '--add', path, 'on')
        run('qemu-img', 'bitmap', '--add', '--disable', path, 'off')
        with open(path, 'rb') as f:
            before = f.read()
        open_disk(r, path)
        assert set(bitmaps(r, 'disk')) == {'on', 'off'}
        close(r)
        with open(path, 'rb') as f:
            assert f.read() == before
        open_disk(r, path)
        write(r, 0, 1)
        r.kill()
        assert flags(path) == {'on': ['auto', 'in-use'], 'off': []}


def test_a_kill_leaves_no_bitmap_that_lies():
    """At any time: what is not inconsistent afterwards has each write that was acknowledged."""
    rng = random.Random(4)
    for i in range(12):
        with Daemon() as r:
            path = r.create('disk', 'qcow2', str(SIZE))
            open_disk(r, path)
            r.cmd('block-dirty-bitmap-add', node='disk', name='b', granularity=65536, persistent=True)
            r.cmd('block-dirty-bitmap-add', node='disk', name='off', granularity=65536, persistent=True, disabled=True)
            write(r, 0, 65536)
            close(r)
            open_disk(r, path)
            steps = [lambda: write(r, 1 << 20, 65536), lambda: write(r, 2 << 20, 65536),
                     lambda: r.cmd('block-dirty-bitmap-clear', node='disk', name='b'),
                     lambda: r.cmd('block-dirty-bitmap-enable', node='disk', name='off'),
                     lambda: r.cmd('block-dirty-bitmap-merge', node='disk', target='off', bitmaps=['b']),
                     lambda: r.cmd('block-dirty-bitmap-disable', node='disk', name='b'),
                     lambda: (close(r), open_disk(r, path)),
                     lambda: r.cmd('block-dirty-bitmap-remove', node='disk', name='off')]
            done = []
            for step in rng.choices(range(len(steps)), k=4):
                if 7 in done and step in (3, 4, 7):
                    continue
                done.append(step)
                steps[step]()
            memory = bitmaps(r, 'disk')
            r.kill()
            after = theirs(path)
            for name, state in after.items():
                if state[3]:
                    continue
                # It is consistent: what it is in memory, or has more, as before a clear.
                assert name in memory and state[0] >= memory[name][0], (i, done, name, state, memory)
            r.start()
            open_disk(r, path)
            for name, state in bitmaps(r, 'disk').items():
                assert (state[3], state[0]) == (after[name][3], after[name][0])
                if state[3]:
                    e = r.error('block-dirty-bitmap-clear', node='disk', name=name)
                    assert e.desc == "Bitmap '%s' is inconsistent and cannot be used" % name
                r.cmd('block-dirty-bitmap-remove', node='disk', name=name)
            close(r)
            assert theirs(path) == {}
            check_image(path)


def test_a_base_stores_its_bitmaps_at_the_snapshot():
    """And when the node is made read-only, and goes on after it is writable again."""
    with Daemon() as r:
        path = r.create('disk', 'qcow2', str(SIZE))
        open_disk(r, path)
        r.cmd('block-dirty-bitmap-add', node='disk', name='b', persistent=True)
        write(r, 1 << 20, 65536)
        r.cmd('blockdev-snapshot-sync', node_name='disk', snapshot_file=r.path('over'), snapshot_node_name='over')
        assert flags(path) == {'b': ['auto']}
        before = bitmaps(r, 'disk')
        assert before['b'][0] == 65536
        assert r.error('block-dirty-bitmap-clear', node='disk', name='b').desc == \
            "Bitmap 'b' is readonly and cannot be modified"
        r.kill()
        assert theirs(path) == before
    with Daemon() as r:
        path = r.create('disk', 'qcow2', str(SIZE))
        open_disk(r, path)
        r.cmd('block-dirty-bitmap-add', node='disk', name='b', persistent=True)
        write(r, 1 << 20, 65536)

        def reopen(read_only):
            r.cmd('blockdev-reopen', options=[{
                'driver': 'qcow2', 'node-name': 'disk', 'discard': 'unmap', 'read-only': read_only,
                'file': {'driver': 'file', 'filename': path}}])
        reopen(True)
        assert theirs(path) == bitmaps(r, 'disk')
        reopen(False)
        write(r, 2 << 20, 65536)
        assert flags(path) == {'b': ['auto', 'in-use']}
        assert bitmaps(r, 'disk')['b'][0] == 131072
        ours = bitmaps(r, 'disk')
        close(r)
        assert theirs(path) == ours


def test_bitmaps_go_with_the_snapshot_in_its_instant():
    """While a guest writes, snapshots carry bitmaps over: each write is in exactly one layer's; the bases' are stored,
    disabled; and a copy of the first state, brought up to date by all of them, is the disk."""
    with Daemon() as r:
        for name in 'disk', 'other':
            path = r.create(name, 'qcow2', str(SIZE))
            r.cmd('blockdev-add', driver='qcow2', node_name=name, file={'driver': 'file', 'filename': path})
            for bitmap, more in (('kept', {'persistent': True}), ('lost', {}), ('off', {'disabled': True})):
                r.cmd('block-dirty-bitmap-add', node=name, name=bitmap, granularity=512, **more)
        r.export('disk')
        stop, written = threading.Event(), []

        def guest():
            with r.wire('disk') as c:
                for i in random.Random(5).sample(range(SIZE // 512), SIZE // 512):
                    if stop.is_set():
                        break
                    c.write(i * 512, bytes([i % 255 + 1]) * 512)
                    written.append(i)
        thread = threading.Thread(target=guest)
        thread.start()
        layers = ['disk']

        def wait_for_writes():
            n = len(written)
            while len(written) < n + 50 and thread.is_alive():
                time.sleep(0.001)
        for i in range(3):
            wait_for_writes()
            layer = 'layer%d' % i
            if i == 0:
                r.cmd('blockdev-snapshot-sync', node_name=layers[-1], snapshot_file=r.path(layer),
                      snapshot_node_name=layer, bitmaps='carry')
            elif i == 1:
                r.snapshot(r.member(layers[-1], layer, snapshot_node_name=layer),
                           r.member('other', 'other1', snapshot_node_name='other1'), bitmaps='carry')
            else:
                r.create(layer, 'qcow2', str(SIZE))
                r.cmd('blockdev-add', driver='qcow2', node_name=layer, backing=None,
                      file={'driver': 'file', 'filename': r.path(layer)})
                r.cmd('blockdev-snapshot', node=layers[-1], overlay=layer, bitmaps='carry')
            layers.append(layer)
        wait_for_writes()
        stop.set()
        thread.join()
        state = {layer: bitmaps(r, layer) for layer in layers}
        for name in 'kept', 'lost':
            counts = [state[layer][name][0] for layer in layers]
            assert sum(counts) == len(written) * 512 and all(counts), (name, counts, len(written))
            assert [state[layer][name][2] for layer in layers] == [False, False, False, True]
        assert set(state['layer0']) == {'kept', 'lost'}, state['layer0']
        for layer in layers[:-1]:
            assert theirs(r.path(layer)) == {n: s for n, s in state[layer].items() if n == 'kept'}, layer

        # The full copy was of zeroes; the increments are what the layers' bitmaps say.
        r.cmd('block-dirty-bitmap-add', node=layers[-1], name='all', granularity=512, disabled=True)
        r.cmd('block-dirty-bitmap-merge', node=layers[-1], target='all',
              bitmaps=[{'node': layer, 'name': 'kept'} for layer in layers])
        r.export(layers[-1], writable=False, bitmaps=['all'])
        h = r.nbd(layers[-1], add_meta_context='qemu:dirty-bitmap:all')
        copy, at = bytearray(SIZE), 0
        while at < SIZE:
            extents = []
            h.block_status(SIZE - at, at, lambda c, o, e, err: extents.extend(e if 'dirty' in c else []) or 0)
            for n, dirty in zip(extents[::2], extents[1::2]):
                if dirty:
                    copy[at:at + n] = h.pread(n, at)
                at += n
        assert copy == h.pread(SIZE, 0)
        model = bytearray(SIZE)
        for i in written:
            model[i * 512:i * 512 + 512] = bytes([i % 255 + 1]) * 512
        assert copy == model
        h.shutdown()


def test_a_snapshot_that_fails_carries_nothing():
    with Daemon() as r:
        for name in 'a', 'b':
            path = r.create(name, 'qcow2', str(SIZE))
            r.cmd('blockdev-add', driver='qcow2', node_name=name, file={'driver': 'file', 'filename': path})
            r.cmd('block-dirty-bitmap-add', node=name, name='p', persistent=True)
        r.cmd('block-dirty-bitmap-add', node='b', name='q')
        r.export('b', bitmaps=['q'])
        before = {name: bitmaps(r, name) for name in ('a', 'b')}
        e = r.snapshot_error(r.member('a', 'a1'), r.member('b', 'b1'), bitmaps='carry')
        assert e.desc == ("Cannot carry the bitmaps of 'b' over to its snapshot: Bitmap 'q' is currently in use by "
                          "another operation and cannot be used"), e
        assert before == {name: bitmaps(r, name) for name in ('a', 'b')}
        assert not os.path.exists(r.path('a1'))
        r.error('transaction', actions=[
            {'type': 'blockdev-snapshot-sync', 'data': {'node-name': 'a', 'snapshot-file': r.path('a1'),
                                                        'snapshot-node-name': 'a1', 'bitmaps': 'carry'}},
            {'type': 'abort', 'data': {}}])
        assert before == {name: bitmaps(r, name) for name in ('a', 'b')}
        # Two of one disk at once: the one in between gets one that is disabled at once.
        r.cmd('transaction', actions=[
            {'type': 'blockdev-snapshot-sync', 'data': {'node-name': 'a', 'snapshot-file': r.path('a1'),
                                                        'snapshot-node-name': 'a1', 'bitmaps': 'carry'}},
            {'type': 'blockdev-snapshot-sync', 'data': {'node-name': 'a1', 'snapshot-file': r.path('a2'),
                                                        'snapshot-node-name': 'a2', 'bitmaps': 'carry'}}])
        assert [bitmaps(r, n)['p'][2] for n in ('a', 'a1', 'a2')] == [False, False, True]


def test_what_a_transaction_changes_is_what_its_snapshot_stores():
    """Disabled, cleared and merged in the same transaction: the base's image has it as it is in memory."""
    with Daemon() as r:
        path = r.create('disk', 'qcow2', str(SIZE))
        open_disk(r, path)
        for name in 'a', 'b', 'c':
            r.cmd('block-dirty-bitmap-add', node='disk', name=name, persistent=True, disabled=name == 'c')
        write(r, 1 << 20, 65536)

        def of(name):
            return {'node': 'disk', 'name': name}
        r.cmd('transaction', actions=[
            {'type': 'block-dirty-bitmap-merge', 'data': {'node': 'disk', 'target': 'c', 'bitmaps': ['a']}},
            {'type': 'block-dirty-bitmap-clear', 'data': of('a')},
            {'type': 'block-dirty-bitmap-disable', 'data': of('b')},
            {'type': 'blockdev-snapshot-sync',
             'data': {'node-name': 'disk', 'snapshot-file': r.path('over'), 'snapshot-node-name': 'over'}}])
        state = bitmaps(r, 'disk')
        assert [state[n][0] for n in 'abc'] == [0, 65536, 65536] and not state['b'][2]
        assert theirs(path) == state, (theirs(path), state)


def test_a_backup_that_did_not_end_leaves_no_bitmap_that_lies():
    """The job has taken the bits, the disk gets a snapshot, the daemon is killed: nobody is told that all is copied."""
    for kill in True, False:
        with Daemon() as r:
            path = r.create('disk', 'qcow2', str(SIZE))
            open_disk(r, path)
            r.cmd('block-dirty-bitmap-add', node='disk', name='b', persistent=True)
            write(r, 1 << 20, 65536)
            close(r)
            open_disk(r, path)
            r.create('target', 'raw', str(SIZE))
            r.cmd('blockdev-add', driver='raw', node_name='target', file={'driver': 'file', 'filename': r.path('target')})
            r.cmd('blockdev-backup', job_id='j', device='disk', target='target', sync='incremental', bitmap='b',
                  speed=1, auto_dismiss=False)
            if kill:
                r.cmd('blockdev-snapshot-sync', node_name='disk', snapshot_file=r.path('over'),
                      snapshot_node_name='over')
                assert flags(path)['b'] == ['auto', 'in-use'], flags(path)
                r.kill()
                assert theirs(path)['b'][3], theirs(path)
                continue
            r.cmd('job-cancel', id='j')
            r.qmp.wait_event('JOB_STATUS_CHANGE', id='j', status='concluded')
            assert bitmaps(r, 'disk')['b'][0] == 65536
            r.cmd('job-dismiss', id='j')
            ours = bitmaps(r, 'disk')
            close(r)
            assert theirs(path) == ours


def test_what_cannot_store_says_so():
    with Daemon() as r:
        r.create('raw', 'raw', '1M')
        r.create('v2', 'qcow2', '1M', '-o', 'compat=0.10')
        for name in 'raw', 'v2':
            r.cmd('blockdev-add', driver='raw' if name == 'raw' else 'qcow2', node_name=name,
                  file={'driver': 'file', 'filename': r.path(name)})

        def says(text, node, **more):
            e = r.error('block-dirty-bitmap-add', node=node, name='p', persistent=True, **more)
            assert e.desc == text, e
        says("Can't store persistent bitmaps to raw: Operation not supported", 'raw')
        says("Can't make bitmap 'p' persistent in 'v2': Cannot store dirty bitmaps in qcow2 v2 files", 'v2')


def test_a_full_file_system_costs_bitmaps_and_nothing_else():
    """The snapshot that gets the disk away from there succeeds."""
    if os.geteuid() != 0:
        skip('mounting needs root')
    with Daemon() as r:
        full = r.path('full')
        os.mkdir(full)
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', full], capture_output=True).returncode:
            skip('cannot mount')
        try:
            path = os.path.join(full, 'disk')
            run('qemu-img', 'create', '-q', '-f', 'qcow2', path, str(SIZE))
            open_disk(r, path)
            r.cmd('block-dirty-bitmap-add', node='disk', name='b', persistent=True)
            write(r, 0, 65536)
            subprocess.run(['dd', 'if=/dev/zero', 'of=' + os.path.join(full, 'rest'), 'bs=4k'], capture_output=True)
            r.cmd('blockdev-snapshot-sync', node_name='disk', snapshot_file=r.path('over'), snapshot_node_name='over')
        finally:
            r.stop()
            subprocess.run(['umount', full], check=True)
        assert 'cannot store the bitmaps' in r.log, r.log


if __name__ == '__main__':
    main(globals())
