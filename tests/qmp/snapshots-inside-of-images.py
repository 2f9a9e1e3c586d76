#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A snapshot inside of an image has what all disks of its transaction had at one instant, while guests write; commands
end as QEMU's do, and QEMU reads what is left."""

import threading
import time

from daemon import Daemon
from rig import main, requires, run

requires('qemu-img', 'qemu-io')

SIZE = 16 << 20
BLOCK = 4096


def add_disk(r, name, size=SIZE, **options):
    path = r.create(name, 'qcow2', str(size))
    r.cmd('blockdev-add', driver='qcow2', node_name=name, file={'driver': 'file', 'filename': path}, **options)
    return path


def action(device, name='s'):
    return {'type': 'blockdev-snapshot-internal-sync', 'data': {'device': device, 'name': name}}


def names(r, node):
    for n in r.cmd('query-named-block-nodes', flat=True):
        if n['node-name'] == node:
            return [s['name'] for s in n['image'].get('snapshots', [])]
    raise AssertionError('no node ' + node)


def clean(path):
    run('qemu-img', 'check', '-q', path)


def content(path, snapshot, length=BLOCK):
    run('qemu-img', 'convert', '-l', snapshot, '-O', 'raw', path, path + '.raw')
    with open(path + '.raw', 'rb') as f:
        return f.read(length)


def test_two_disks_have_one_instant():
    """A guest counts on one disk and then on the other one: no snapshot has the second without the first."""
    with Daemon() as r:
        paths = [add_disk(r, name) for name in ('a', 'b')]
        r.export('a')
        r.export('b')
        stop = threading.Event()

        def count():
            with r.wire('a') as a, r.wire('b') as b:
                n = 1
                while not stop.is_set():
                    for c in a, b:
                        c.write(0, n.to_bytes(8, 'big') * (BLOCK // 8))
                        c.write((n % 200 + 1) * 65536, b'x' * BLOCK)
                    n += 1
        guest = threading.Thread(target=count)
        guest.start()
        for i in range(8):
            r.cmd('transaction', actions=[action('a', 'i%d' % i), action('b', 'i%d' % i)])
            if i % 3 == 2:
                for disk in 'a', 'b':
                    r.cmd('blockdev-snapshot-delete-internal-sync', device=disk, name='i%d' % (i - 1))
        stop.set()
        guest.join()
        left = names(r, 'a')
        assert left == names(r, 'b') == ['i0', 'i2', 'i3', 'i5', 'i6', 'i7'], left
        r.stop()
        for path in paths:
            clean(path)
        last = 0
        for name in left:
            first, second = (int.from_bytes(content(p, name)[:8], 'big') for p in paths)
            assert last <= second <= first <= second + 1, (name, first, second)
            last = second
        assert last > 0


def test_all_or_none():
    with Daemon() as r:
        path = add_disk(r, 'a')
        add_disk(r, 'ro', read_only=True)
        for bad in ({'type': 'abort', 'data': {}}, action('nope'), action('ro')):
            err = r.error('transaction', actions=[action('a'), bad])
            assert err.cls == 'GenericError', err
            assert names(r, 'a') == []
        r.cmd('transaction', actions=[action('a')])
        assert names(r, 'a') == ['s']
        r.stop()
        clean(path)


def test_several_of_one_disk():
    """One transaction may take several of a disk; they have the same instant, all of them or none."""
    with Daemon() as r:
        path = add_disk(r, 'a')
        other = add_disk(r, 'b')
        r.export('a')
        with r.wire('a') as c:
            for i in range(3):
                c.write(0, bytes([i + 1]) * BLOCK)
                group = [action(d, '%d%d' % (i, k)) for k in range(3) for d in 'ab']
                err = r.error('transaction', actions=group + [{'type': 'abort', 'data': {}}])
                assert err.cls == 'GenericError', err
                r.cmd('transaction', actions=group)
                err = r.error('transaction', actions=[action('a', 'x'), action('b', 'x'), action('a', 'x')])
                assert err.desc == "Snapshot with name 'x' already exists on device 'a'", err
        expected = ['%d%d' % (i, k) for i in range(3) for k in range(3)]
        assert names(r, 'a') == expected and names(r, 'b') == expected
        r.stop()
        clean(path)
        clean(other)
        for name in expected:
            assert content(path, name) == bytes([int(name[0]) + 1]) * BLOCK


def test_with_a_snapshot_in_front():
    """Both kinds in one transaction: the image that becomes the base has the inner one, and is in order."""
    with Daemon() as r:
        path = add_disk(r, 'a')
        r.export('a')
        with r.wire('a') as c:
            c.write(0, b'1' * BLOCK)
            top = path + '.top'
            r.cmd('transaction', actions=[
                action('a'), {'type': 'blockdev-snapshot-sync', 'data': {
                    'node-name': 'a', 'snapshot-file': top, 'snapshot-node-name': 'top'}}])
            c.write(0, b'2' * BLOCK)
        assert names(r, 'a') == ['s']
        clean(path)
        r.stop()
        assert content(path, 's') == b'1' * BLOCK
        clean(top)


def test_a_backup_has_the_same_instant():
    """A full backup that begins in the same transaction has what the snapshot has, while a guest writes."""
    with Daemon() as r:
        path, target = add_disk(r, 'a'), add_disk(r, 'target')
        r.export('a')
        stop = threading.Event()

        def write():
            n = 0
            with r.wire('a') as c:
                while not stop.is_set():
                    n += 1
                    c.write(n * 7919 % (SIZE // BLOCK) * BLOCK, bytes([n % 255 + 1]) * BLOCK)
        guest = threading.Thread(target=write)
        guest.start()
        r.cmd('transaction', actions=[action('a'), {'type': 'blockdev-backup', 'data': {
            'job-id': 'job', 'device': 'a', 'target': 'target', 'sync': 'full'}}])
        while r.cmd('query-jobs'):
            time.sleep(0.05)
        stop.set()
        guest.join()
        r.stop()
        run('qemu-img', 'convert', '-O', 'raw', target, target + '.raw')
        with open(target + '.raw', 'rb') as f:
            assert f.read() == content(path, 's', SIZE)
        clean(path)


def test_errors_are_those_of_qemu():
    with Daemon() as r:
        add_disk(r, 'a')
        r.cmd('blockdev-add', driver='null-co', node_name='null')
        create, delete = 'blockdev-snapshot-internal-sync', 'blockdev-snapshot-delete-internal-sync'
        r.cmd(create, device='a', name='s')
        for command, arguments, text in (
                (create, {'device': 'a', 'name': 's'}, "Snapshot with name 's' already exists on device 'a'"),
                (create, {'device': 'a', 'name': ''}, 'Name is empty'),
                (create, {'device': 'x', 'name': 't'}, "Cannot find device='x' nor node-name='x'"),
                (create, {'device': 'null', 'name': 't'},
                 "Block format 'null-co' used by device 'null' does not support internal snapshots"),
                (delete, {'device': 'a'}, 'Name or id must be provided'),
                (delete, {'device': 'a', 'id': '9'},
                 "Snapshot with id '9' and name 'null' does not exist on device 'a'"),
                (delete, {'device': 'null', 'id': '1'}, 'Failed to get a snapshot list: Operation not supported')):
            assert r.error(command, **arguments).desc == text, text
        info = r.cmd(delete, device='a', name='s')
        assert info['id'] == '1' and info['vm-state-size'] == 0, info


if __name__ == '__main__':
    main(globals())
