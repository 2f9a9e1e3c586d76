#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read through copy-on-read stays in the image, the guest sees nothing of it, and a copy that fails harms nobody
who reads."""

import json
import random
import threading

from rig import Rig, import_nbd, main, requires, run

requires('qemu-img', 'qemu-io')
nbd = import_nbd()
SIZE = 8 << 20
CLUSTER = 65536


def add(r, **options):
    r.qmp.cmd('blockdev-add', {k.replace('_', '-'): v for k, v in options.items()})


def chain(r):
    """base <- mid <- top; what the top reads as."""
    data = bytearray(random.Random(3).randbytes(SIZE))
    with open(r.path('base'), 'wb') as f:
        f.write(data)
    for name, below, fmt in (('mid', 'base', 'raw'), ('top', 'mid', 'qcow2')):
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', fmt, '-b', r.path(below), r.path(name))
    run('qemu-io', '-f', 'qcow2', '-c', 'write -q -P 1 1M 1M', '-c', 'write -q -z 2M 1M', r.path('mid'))
    run('qemu-io', '-f', 'qcow2', '-c', 'write -q -P 2 3M 100k', r.path('top'))
    data[1 << 20:2 << 20] = b'\1' * (1 << 20)
    data[2 << 20:3 << 20] = bytes(1 << 20)
    data[3 << 20:(3 << 20) + 102400] = b'\2' * 102400
    return bytes(data)


def start(r, rules=None, **cor):
    r.start()
    add(r, driver='qcow2', node_name='mid', file={'driver': 'file', 'filename': r.path('mid'), 'read-only': True},
        read_only=True)
    file = {'driver': 'file', 'filename': r.path('top')}
    if rules:
        file = {'driver': 'blkdebug', 'image': file, 'inject-error': rules}
    add(r, driver='qcow2', node_name='top', file=file, backing='mid')
    add(r, driver='copy-on-read', node_name='cor', file='top', **cor)
    r.export('cor')
    return r.nbd('cor')


def own(r):
    """Bytes that the top has itself, once the daemon has ended."""
    r.stop()
    run('qemu-img', 'check', '-q', r.path('top'))
    return sum(e['length'] for e in json.loads(run('qemu-img', 'map', '--output=json', '-f', 'qcow2', r.path('top')))
               if e['depth'] == 0 and not e['zero'])


def test_what_was_read_is_there_without_the_base():
    with Rig() as r:
        data = chain(r)
        h = start(r)
        for at in range(0, SIZE, 1 << 20):
            assert h.pread(1 << 20, at) == data[at:at + (1 << 20)]
        h.shutdown()
        r.stop()
        run('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b', '', r.path('top'))
        run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', r.path('top'), r.path('out'))
        with open(r.path('out'), 'rb') as f:
            assert f.read() == data


def test_raw_nodes_and_filters_between_do_not_keep_it_from_being_copied():
    with Rig() as r:
        data = chain(r)
        r.start()
        add(r, driver='raw', node_name='mid', read_only=True,
            file={'driver': 'qcow2', 'file': {'driver': 'file', 'filename': r.path('mid')}})
        add(r, driver='qcow2', node_name='top', file={'driver': 'file', 'filename': r.path('top')}, backing='mid')
        add(r, driver='copy-on-read', node_name='cor',
            file={'driver': 'raw', 'file': {'driver': 'copy-on-read', 'file': {'driver': 'raw', 'file': 'top'}}})
        r.export('cor')
        assert r.nbd('cor').pread(SIZE, 0) == data
        r.stop()
        run('qemu-img', 'rebase', '-u', '-b', '', r.path('top'))
        run('qemu-img', 'check', '-q', r.path('top'))
        run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', r.path('top'), r.path('out'))
        with open(r.path('out'), 'rb') as f:
            assert f.read() == data


def test_only_what_was_read_is_copied():
    with Rig() as r:
        data = chain(r)
        h = start(r)
        assert h.pread(100, CLUSTER + 50) == data[CLUSTER + 50:][:100]
        assert h.pread(CLUSTER, 5 * CLUSTER + 1) == data[5 * CLUSTER + 1:][:CLUSTER]
        h.shutdown()
        assert own(r) == 2 * CLUSTER + 3 * CLUSTER


def test_nothing_below_the_bottom_is_copied():
    with Rig() as r:
        data = chain(r)
        h = start(r, bottom='mid')
        assert h.pread(4 << 20, 0) == data[:4 << 20]
        h.shutdown()
        assert own(r) == (1 << 20) + 2 * CLUSTER


def test_a_drive_copies_what_is_read():
    with Rig() as r:
        data = chain(r)
        r.start('--drive', 'if=none,id=d,copy-on-read=on,format=qcow2,file=' + r.path('top'))
        r.cmd('block-export-add', type='nbd', id='e', name='d', node_name=r.inserted('d')['node-name'])
        h = r.nbd('d')
        assert h.pread(CLUSTER, 0) == data[:CLUSTER]
        h.shutdown()
        assert own(r) == CLUSTER + 2 * CLUSTER


def test_guests_write_and_read_side_by_side():
    with Rig() as r:
        model = bytearray(chain(r))
        start(r).shutdown()
        failures = []

        def guest(i):
            rng, h = random.Random(i), r.nbd('cor')
            first = i * SIZE // 4
            try:
                for _ in range(150):
                    n = rng.choice((512, 4096, 100000))
                    at = first + rng.randrange(0, SIZE // 4 - n)
                    if rng.random() < 0.5:
                        data = rng.randbytes(n)
                        h.pwrite(data, at)
                        model[at:at + n] = data
                    else:
                        assert h.pread(n, at) == model[at:at + n]
            except Exception as e:              # pylint: disable=broad-except
                failures.append(e)
            h.shutdown()

        guests = [threading.Thread(target=guest, args=(i,)) for i in range(4)]
        for g in guests:
            g.start()
        for g in guests:
            g.join()
        assert not failures, failures
        h = r.nbd('cor')
        assert b''.join(h.pread(1 << 20, at) for at in range(0, SIZE, 1 << 20)) == bytes(model)
        h.shutdown()
        r.stop()
        run('qemu-img', 'check', '-q', r.path('top'))


def test_a_copy_that_fails_harms_no_reader():
    with Rig() as r:
        data = chain(r)
        h = start(r, rules=[{'event': 'none', 'iotype': 'write', 'errno': 28}])
        assert h.pread(4 << 20, 0) == data[:4 << 20]
        h.shutdown()
        r.stop(check=False)


def test_a_copy_fails_at_its_event():
    with Rig() as r:
        data = chain(r)
        h = start(r, rules=[{'event': 'cor_write', 'errno': 5}])
        for at in range(0, 1 << 20, CLUSTER):
            assert h.pread(CLUSTER, at) == data[at:at + CLUSTER]
        h.shutdown()
        assert own(r) == 2 * CLUSTER


def test_options_that_make_no_sense_are_refused():
    with Rig() as r:
        chain(r)
        start(r).shutdown()
        add(r, driver='compress', node_name='filter', file='top')
        cor = {'driver': 'copy-on-read', 'node_name': 'cor2'}
        assert r.error('blockdev-add', file='top', bottom='nowhere', **cor).desc == "Bottom node 'nowhere' not found"
        assert r.error('blockdev-add', file='top', bottom='filter', **cor).desc == "Bottom node 'filter' is a filter"
        assert 'read-only' in r.error('blockdev-add', file='mid', **cor).desc


def test_the_bottom_may_be_opened_with_the_filter():
    with Rig() as r:
        chain(r)
        r.start()
        mid = {'driver': 'qcow2', 'node-name': 'low', 'read-only': True,
               'file': {'driver': 'file', 'filename': r.path('mid'), 'read-only': True}}
        add(r, driver='copy-on-read', node_name='cor', bottom='low',
            file={'driver': 'qcow2', 'backing': mid, 'file': {'driver': 'file', 'filename': r.path('top')}})


if __name__ == '__main__':
    main(globals())
