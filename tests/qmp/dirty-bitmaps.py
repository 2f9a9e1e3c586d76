#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A bitmap has every change since it was made, and says which parts of a disk they are in, whatever happens meanwhile:
writes of all kinds, snapshots, other sizes.  Commands end as QEMU's do."""

import random
import threading

import nbdwire as w
from daemon import Daemon
from rig import import_nbd, main, requires, run

requires('qemu-img', 'qemu-io')

SIZE = 16 << 20


def bitmaps(r, node):
    for n in r.cmd('query-named-block-nodes', flat=True):
        if n['node-name'] == node:
            return {b['name']: b for b in n.get('dirty-bitmaps', [])}
    raise AssertionError('no node ' + node)


def add_disk(r, name='disk', fmt='qcow2', size=SIZE, **options):
    path = r.create(name, fmt, str(size))
    r.cmd('blockdev-add', driver=fmt, node_name=name, discard='unmap',
          file=dict({'driver': 'file', 'filename': path, 'discard': 'unmap'}, **options))
    return path


def sha(r, node, name):
    return r.cmd('x-debug-block-dirty-bitmap-sha256', node=node, name=name)['sha256']


def expect(r, node, name, granules, granularity):
    """Exactly the bytes of @granules are dirty, and they are where they should be: the hash of a bitmap in which
    they were set by writes to another node is the same."""
    info = bitmaps(r, node)[name]
    assert info['count'] == len(granules) * granularity, (info, len(granules))
    r.cmd('block-dirty-bitmap-add', node='model', name='m', granularity=granularity)
    with r.wire('model') as c:
        for g in granules:
            c.write(g * granularity, b'm')
    assert sha(r, node, name) == sha(r, 'model', 'm'), name
    r.cmd('block-dirty-bitmap-remove', node='model', name='m')


def add_model(r, size=SIZE):
    add_disk(r, 'model', 'raw', size)
    r.export('model')


def test_each_kind_of_change_is_recorded():
    """Writes, zeroes and trims of odd ranges, on raw and qcow2, by each granularity."""
    rng = random.Random(1)
    for fmt in 'raw', 'qcow2':
        with Daemon() as r:
            add_disk(r, fmt=fmt)
            add_model(r)
            r.export('disk')
            granularities = [512, 4096, 65536, 1 << 20]
            for g in granularities:
                r.cmd('block-dirty-bitmap-add', node='disk', name='g%d' % g, granularity=g)
            dirty = {g: set() for g in granularities}
            with r.wire('disk') as c:
                for i in range(60):
                    offset, n = rng.randrange(SIZE), rng.choice([1, 511, 512, 4096, 70000])
                    n = min(n, SIZE - offset)
                    kind = rng.choice([w.WRITE, w.WRITE_ZEROES, w.TRIM])
                    if kind == w.WRITE:
                        c.write(offset, bytes([i]) * n)
                    else:
                        c.call(kind, offset, n)
                    for g in granularities:
                        dirty[g] |= set(range(offset // g, (offset + n - 1) // g + 1))
                c.call(w.FLUSH)
            for g in granularities:
                expect(r, 'disk', 'g%d' % g, dirty[g], g)


def test_what_does_not_record_stays_as_it_is():
    with Daemon() as r:
        add_disk(r)
        r.export('disk')
        r.cmd('block-dirty-bitmap-add', node='disk', name='on')
        r.cmd('block-dirty-bitmap-add', node='disk', name='off', disabled=True)
        with r.wire('disk') as c:
            c.write(0, b'1')
            assert [bitmaps(r, 'disk')[n]['count'] for n in ('on', 'off')] == [65536, 0]
            r.cmd('block-dirty-bitmap-enable', node='disk', name='off')
            r.cmd('block-dirty-bitmap-disable', node='disk', name='on')
            c.write(1 << 20, b'1')
            assert [bitmaps(r, 'disk')[n]['count'] for n in ('on', 'off')] == [65536, 65536]
            r.cmd('block-dirty-bitmap-merge', node='disk', target='on', bitmaps=['off'])
            assert bitmaps(r, 'disk')['on']['count'] == 131072
            r.cmd('block-dirty-bitmap-clear', node='disk', name='on')
            assert bitmaps(r, 'disk')['on']['count'] == 0
            r.cmd('block-dirty-bitmap-remove', node='disk', name='on')
            c.write(2 << 20, b'1')
        assert list(bitmaps(r, 'disk')) == ['off']


def test_commands_refuse_what_cannot_be():
    """In QEMU's words."""
    with Daemon() as r:
        add_disk(r)
        add_disk(r, 'small', size=1 << 20)
        r.cmd('block-dirty-bitmap-add', node='disk', name='b')
        r.cmd('block-dirty-bitmap-add', node='small', name='b')

        def says(text, command, **args):
            got = r.error(command, **args).desc
            assert got == text, (got, text)

        says('Bitmap already exists: b', 'block-dirty-bitmap-add', node='disk', name='b')
        says("Cannot find device='x' nor node-name='x'", 'block-dirty-bitmap-add', node='x', name='b')
        says('Bitmap name cannot be empty', 'block-dirty-bitmap-add', node='disk', name='')
        for granularity in 0, 256, 1000:
            says('Granularity must be power of 2 and at least 512', 'block-dirty-bitmap-add', node='disk', name='c',
                 granularity=granularity)
        says('Bitmap name too long: ' + 'c' * 1024, 'block-dirty-bitmap-add', node='disk', name='c' * 1024)
        for verb in 'remove', 'clear', 'enable', 'disable':
            says("Dirty bitmap 'x' not found", 'block-dirty-bitmap-' + verb, node='disk', name='x')
            says("Node 'x' not found", 'block-dirty-bitmap-' + verb, node='x', name='x')
        merge = dict(command='block-dirty-bitmap-merge', node='disk', target='b')
        says("Dirty bitmap 'x' not found", bitmaps=['x'], **merge)
        says("Node 'x' not found", bitmaps=[{'node': 'x', 'name': 'x'}], **merge)
        says("Bitmaps are of different sizes (destination size is 16777216, source size is 1048576) and can't be "
             "merged", bitmaps=[{'node': 'small', 'name': 'b'}], **merge)
        says("Node 'x' not found", 'x-debug-block-dirty-bitmap-sha256', node='x', name='x')


def test_a_transaction_changes_all_bitmaps_or_none():
    """A later action finds what an earlier one makes, as in libvirt's and backup programs' add, disable, merge."""
    with Daemon() as r:
        add_disk(r)
        add_disk(r, 'other')
        r.export('disk')
        r.cmd('block-dirty-bitmap-add', node='disk', name='a')

        def do(*actions):
            return {'actions': [{'type': kind, 'data': data} for kind, data in actions]}

        def of(name, **more):
            return dict({'node': 'disk', 'name': name}, **more)

        with r.wire('disk') as c:
            c.write(0, b'1')
            c.write(1 << 20, b'1')
            r.cmd('transaction', **do(
                ('block-dirty-bitmap-add', of('sum')), ('block-dirty-bitmap-disable', of('sum')),
                ('block-dirty-bitmap-merge', {'node': 'disk', 'target': 'sum', 'bitmaps': ['a']}),
                ('block-dirty-bitmap-add', {'node': 'other', 'name': 'copy'}),
                ('block-dirty-bitmap-merge',
                 {'node': 'other', 'target': 'copy', 'bitmaps': [{'node': 'disk', 'name': 'sum'}]}),
                ('block-dirty-bitmap-clear', of('a'))))
            c.write(2 << 20, b'1')
        now = bitmaps(r, 'disk')
        assert (now['sum']['count'], now['sum']['recording'], now['a']['count']) == (131072, False, 65536), now
        assert sha(r, 'disk', 'sum') == sha(r, 'other', 'copy')

        before = bitmaps(r, 'disk')
        for last in (('abort', {}), ('block-dirty-bitmap-clear', of('nobody'))):
            r.error('transaction', **do(
                ('block-dirty-bitmap-add', of('new')), ('block-dirty-bitmap-clear', of('a')),
                ('block-dirty-bitmap-disable', of('a')), ('block-dirty-bitmap-enable', of('sum')),
                ('block-dirty-bitmap-remove', of('sum')), last))
            assert bitmaps(r, 'disk') == before
        error = r.error('transaction', **do(('block-dirty-bitmap-remove', of('a')),
                                            ('block-dirty-bitmap-clear', of('a'))))
        assert error.desc == "Bitmap 'a' is currently in use by another operation and cannot be used"


def test_a_snapshot_and_a_bitmap_of_one_transaction_have_one_instant():
    """The base's bitmap ends, and the overlay's begins, exactly there: together they have each write once."""
    with Daemon() as r:
        add_disk(r, fmt='qcow2')
        r.export('disk')
        r.cmd('block-dirty-bitmap-add', node='disk', name='before', granularity=512)
        stop, written = threading.Event(), []

        def write():
            with r.wire('disk') as c:
                for i in range(SIZE // 512):
                    if stop.is_set():
                        break
                    c.write(i * 512, bytes([i % 255 + 1]) * 512)
                    written.append(i)
        writer = threading.Thread(target=write)
        writer.start()
        while len(written) < 100:
            pass
        r.cmd('transaction', actions=[
            {'type': 'blockdev-snapshot-sync',
             'data': {'node-name': 'disk', 'snapshot-file': r.path('over'), 'snapshot-node-name': 'over'}},
            {'type': 'block-dirty-bitmap-add', 'data': {'node': 'over', 'name': 'after', 'granularity': 512}}])
        n = len(written)
        while len(written) < n + 100 and writer.is_alive():
            pass
        stop.set()
        writer.join()
        before, after = bitmaps(r, 'disk')['before']['count'], bitmaps(r, 'over')['after']['count']
        assert before > 0 and after > 0
        assert before + after == len(written) * 512, (before, after, len(written))
        base = run('qemu-io', '-r', '-U', '-c', 'read -P 0 %d %d' % (before, SIZE - before), r.path('disk'))
        assert 'failed' not in base, base


def test_bitmaps_follow_the_size_of_their_disk():
    """What a disk grows by is dirty: it may have been cut off before, and a copy still has what was there."""
    with Daemon() as r:
        add_disk(r, size=1 << 20)
        r.cmd('block-dirty-bitmap-add', node='disk', name='on')
        r.cmd('block-dirty-bitmap-add', node='disk', name='off', disabled=True)
        r.cmd('block_resize', node_name='disk', size=2 << 20)
        assert [bitmaps(r, 'disk')[n]['count'] for n in ('on', 'off')] == [1 << 20, 0]
        r.cmd('block_resize', node_name='disk', size=65536)
        assert [bitmaps(r, 'disk')[n]['count'] for n in ('on', 'off')] == [0, 0]
        r.cmd('block_resize', node_name='disk', size=1 << 20)
        assert bitmaps(r, 'disk')['on']['count'] == (1 << 20) - 65536


def test_a_file_that_grows_under_an_image_is_recorded():
    """A bitmap of the file below qcow2 has what the format writes, wherever the file ends by then."""
    with Daemon() as r:
        path = r.create('disk', 'qcow2', str(SIZE))
        r.cmd('blockdev-add', driver='file', node_name='file', filename=path)
        r.cmd('block-dirty-bitmap-add', node='file', name='b', granularity=65536)
        r.cmd('blockdev-add', driver='qcow2', node_name='disk', file='file')
        r.export('disk')
        with r.wire('disk') as c:
            c.write(0, b'x' * (1 << 20))
            c.call(w.FLUSH)
        b = bitmaps(r, 'file')['b']
        assert b['count'] >= 1 << 20 and not b.get('inconsistent'), b


def test_bitmaps_come_and_go_under_load():
    """Made and removed all the time while four connections write."""
    with Daemon() as r:
        r.cmd('object-add', qom_type='iothread', id='t0')
        add_disk(r, fmt='raw')
        r.export('disk', iothread='t0')
        stop = threading.Event()

        def write(seed):
            rng = random.Random(seed)
            with r.wire('disk') as c:
                while not stop.is_set():
                    c.write(rng.randrange(SIZE // 4096) * 4096, b'x' * 4096)
        writers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
        for t in writers:
            t.start()
        for i in range(150):
            r.cmd('block-dirty-bitmap-add', node='disk', name='b%d' % i)
            if i >= 3:
                r.cmd('block-dirty-bitmap-remove', node='disk', name='b%d' % (i - 3))
        stop.set()
        for t in writers:
            t.join()
        assert list(bitmaps(r, 'disk')) == ['b149', 'b148', 'b147']


def test_sizes_that_take_too_much_memory_are_refused():
    with Daemon() as r:
        r.cmd('blockdev-add', driver='null-co', node_name='huge', size=1 << 60)
        error = r.error('block-dirty-bitmap-add', node='huge', name='b', granularity=512)
        assert 'choose a larger one' in error.desc, error
        r.cmd('block-dirty-bitmap-add', node='huge', name='b', granularity=1 << 30)


def areas(h, name, size=SIZE):
    """What a client is told: [offset, end) of each dirty run."""
    context, found, at = 'qemu:dirty-bitmap:' + name, [], 0
    while at < size:
        extents = []
        h.block_status(size - at, at, lambda c, o, e, err: extents.extend(e if c == context else []) or 0)
        assert extents, 'no answer for ' + context
        for n, flags in zip(extents[::2], extents[1::2]):
            if flags & 1:
                if found and found[-1][1] == at:
                    found[-1][1] = at + n
                else:
                    found.append([at, at + n])
            at += n
    return found


def test_clients_are_told_what_is_dirty():
    """As the metadata context that QEMU's clients ask for; several at once, of the disk and of its backing file."""
    with Daemon() as r:
        add_disk(r, 'base')
        r.create('disk', 'qcow2', str(SIZE))
        r.cmd('block-dirty-bitmap-add', node='base', name='old', granularity=4096)
        r.cmd('blockdev-add', driver='qcow2', node_name='disk', backing=None,
              file={'driver': 'file', 'filename': r.path('disk')})
        r.export('base')
        with r.wire('base') as c:
            c.write(5000, b'x')
        r.cmd('block-export-del', id='exp-base', mode='hard')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        r.cmd('block-dirty-bitmap-disable', node='base', name='old')
        r.cmd('blockdev-snapshot', node='base', overlay='disk')
        r.cmd('block-dirty-bitmap-add', node='disk', name='a', granularity=65536)
        r.cmd('block-dirty-bitmap-add', node='disk', name='b', granularity=512)
        r.export('disk', bitmaps=['a', 'old', {'node': 'disk', 'name': 'b'}])
        h = r.nbd('disk', add_meta_context='qemu:dirty-bitmap:a')
        rest = r.nbd('disk', add_meta_context='qemu:dirty-bitmap:b')
        for i in (3, 4, 90):
            h.pwrite(b'y' * 70000, i << 17)
        h.pwrite(b'y', 511)
        assert areas(h, 'a') == [[0, 65536], [3 << 17, 5 << 17], [90 << 17, 91 << 17]], areas(h, 'a')
        assert areas(rest, 'b')[0] == [0, 512] and len(areas(rest, 'b')) == 4, areas(rest, 'b')
        old = r.nbd('disk', add_meta_context='qemu:dirty-bitmap:old')
        assert areas(old, 'old') == [[4096, 8192]]
        listed = []
        n = import_nbd().NBD()
        n.set_opt_mode(True)
        n.connect_uri(r.uri('disk'))
        n.add_meta_context('qemu:')
        n.opt_list_meta_context(lambda c: listed.append(c) and 0)
        assert sorted(listed) == ['qemu:dirty-bitmap:' + b for b in ('a', 'b', 'old')], listed
        n.opt_abort()
        for verb in 'remove', 'clear', 'enable', 'disable':
            assert r.error('block-dirty-bitmap-' + verb, node='disk', name='a').desc == \
                "Bitmap 'a' is currently in use by another operation and cannot be used"
        assert bitmaps(r, 'base')['old']['busy']
        for handle in h, rest, old:
            handle.shutdown()
        r.cmd('block-export-del', id='exp-disk', mode='hard')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        assert not bitmaps(r, 'disk')['a']['busy']
        r.cmd('block-dirty-bitmap-remove', node='disk', name='a')


def test_an_export_refuses_what_it_cannot_show():
    with Daemon() as r:
        add_disk(r)
        for i in range(61):
            r.cmd('block-dirty-bitmap-add', node='disk', name='b%d' % i, disabled=i > 0)

        def says(text, bitmaps, writable=False):
            e = r.error('block-export-add', type='nbd', id='e', node_name='disk', bitmaps=bitmaps, writable=writable)
            assert e.desc == text, e
        says("Bitmap 'x' is not found", ['x'])
        says("Node 'x' not found", [{'node': 'x', 'name': 'x'}])
        says("Enabled bitmap 'b0' incompatible with readonly export", ['b0'])
        says('An export has at most 60 bitmaps', ['b%d' % i for i in range(61)], True)
        assert not any(b['busy'] for b in bitmaps(r, 'disk').values())
        r.cmd('nbd-server-add', device='disk', bitmap='b1')
        says("Bitmap 'b1' is currently in use by another operation and cannot be used", ['b1'])
        r.export('disk', name='all', bitmaps=['b%d' % i for i in range(60) if i != 1])
        r.nbd('all', add_meta_context='qemu:dirty-bitmap:b59').shutdown()


if __name__ == '__main__':
    main(globals())
