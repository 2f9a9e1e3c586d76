#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""blockdev-check tells what is wrong with an image and repairs it, while nobody else can write to it."""

import json
import struct
import subprocess

from rig import Rig, main, requires, run

requires('qemu-img', 'qemu-io')

KiB, MiB = 1 << 10, 1 << 20


def damage(path, leak=True, error=True):
    """A refcount block with a leak, and one without a reference's count."""
    with open(path, 'r+b') as f:
        f.seek(48)
        table, = struct.unpack('>Q', f.read(8))
        f.seek(table)
        block, = struct.unpack('>Q', f.read(8))
        f.seek(block)
        counts = f.read(64)
        last = max(i for i in range(32) if counts[i * 2:i * 2 + 2] != b'\0\0')
        if error:
            f.seek(block + last * 2)
            f.write(b'\0\0')
        if leak:
            f.seek(block + (last + 1) * 2)
            f.write(b'\0\1')


def image(r, name='disk.qcow2', options=()):
    path = r.create(name, 'qcow2', '4M', *options)
    run('qemu-io', '-f', 'qcow2', '-c', 'write -P 7 0 512k', path)
    return path


def add(r, path, name='disk', **more):
    r.qmp.cmd('blockdev-add', {'driver': 'qcow2', 'node-name': name,
                               'file': {'driver': 'file', 'filename': path}, **more})


def check(r, node='disk', **args):
    """What the check found, or its job's error."""
    r.qmp.cmd('blockdev-check', {'job-id': 'j', 'node-name': node, **args})
    r.qmp.wait_event('JOB_STATUS_CHANGE', status='concluded')
    info, = r.cmd('query-jobs')
    assert info['type'] == 'check', info
    r.cmd('job-dismiss', id='j')
    if 'error' in info:
        return info['error']
    assert info['current-progress'] == info['total-progress'] > 1, info
    data = r.qmp.wait_event('BLOCKDEV_CHECK_COMPLETED')['data']
    assert data['id'] == 'j' and data['node-name'] == node, data
    return data['result']


def test_a_clean_image_is_as_qemu_img_says():
    with Rig() as r:
        path = image(r)
        theirs = json.loads(run('qemu-img', 'check', '--output=json', path))
        r.start()
        add(r, path)
        ours = check(r)
        assert ours.pop('compressed-clusters') == 0
        theirs.setdefault('fragmented-clusters', 0)
        assert ours == theirs, (ours, theirs)


def test_damage_is_found_and_repaired():
    with Rig() as r:
        path = image(r)
        damage(path)
        r.start()
        add(r, path)
        found = check(r)
        assert found['corruptions'] == 2 and found['leaks'] == 1, found     # the count and the flag
        assert 'corruptions-fixed' not in found and 'leaks-fixed' not in found
        found = check(r, fix='leaks')
        assert found['leaks-fixed'] == 1 and found['corruptions'] == 2 and 'leaks' not in found, found
        found = check(r, fix='all')
        assert found['corruptions-fixed'] == 2 and 'corruptions' not in found, found
        run('qemu-img', 'check', '-U', path)
        r.stop()
        run('qemu-img', 'check', path)
        run('qemu-io', '-f', 'qcow2', '-c', 'read -P 7 0 512k', path)


def test_a_corrupt_image_is_opened_to_be_repaired():
    with Rig() as r:
        path = image(r)
        damage(path)
        with open(path, 'r+b') as f:
            f.seek(79)
            f.write(b'\2')
        r.start()
        e = r.error('blockdev-add', driver='qcow2', node_name='disk',
                    file={'driver': 'file', 'filename': path})
        assert path in e.desc and 'corrupt' in e.desc, e
        add(r, path, **{'for-check': True})
        r.export('disk')
        h = r.nbd('disk')
        assert h.pread(4096, 0) == b'\7' * 4096
        try:
            h.pwrite(b'x' * 4096, 0)
            raise AssertionError('a damaged image was written')
        except Exception as e:
            assert 'Input/output error' in str(e), e
        h.shutdown()
        r.cmd('block-export-del', id='exp-disk')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        assert 'corruptions' not in check(r, fix='all')
        r.export('disk')
        h = r.nbd('disk')
        h.pwrite(b'x' * 4096, 0)
        h.shutdown()
        r.stop()
        run('qemu-img', 'check', path)
        run('qemu-io', '-f', 'qcow2', '-c', 'write 0 4k', path)


def test_what_cannot_be_checked_is_refused_by_name():
    with Rig() as r:
        path = image(r)
        raw = r.create('raw.raw')
        r.start()
        add(r, path, **{'read-only': True})
        r.qmp.cmd('blockdev-add', {'driver': 'raw', 'node-name': 'raw',
                                   'file': {'driver': 'file', 'filename': raw}})
        e = r.error('blockdev-check', job_id='j', node_name='raw')
        assert "'raw'" in e.desc and 'nothing to check' in e.desc, e
        e = r.error('blockdev-check', job_id='j', node_name='disk', fix='all')
        assert "'disk'" in e.desc and 'read-only' in e.desc, e
        e = r.error('blockdev-check', job_id='j', node_name='nosuch')
        assert 'nosuch' in e.desc, e
        assert r.cmd('query-jobs') == []
        assert check(r)['total-clusters'] == 64


def test_writers_and_checks_exclude_each_other():
    with Rig() as r:
        path = image(r, options=('-o', 'cluster_size=512'))
        r.start()
        slow = {'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': path},
                'inject-error': [{'event': 'none', 'iotype': 'read', 'errno': 0,
                                  'delay-ns': 20000000}]}
        r.qmp.cmd('blockdev-add', {'driver': 'qcow2', 'node-name': 'disk', 'file': slow})
        r.export('disk')
        e = r.error('blockdev-check', job_id='j', node_name='disk')
        assert "NBD export 'disk'" in e.desc and 'blockdev-check' in e.desc and "'write'" in e.desc, e
        r.cmd('block-export-del', id='exp-disk')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        r.cmd('blockdev-check', job_id='j', node_name='disk', fix='all')
        e = r.error('block-export-add', type='nbd', id='e', node_name='disk', writable=True)
        assert 'blockdev-check' in e.desc, e
        e = r.error('blockdev-check', job_id='k', node_name='disk', fix='all')
        assert 'blockdev-check' in e.desc, e
        e = r.error('blockdev-del', node_name='disk')
        assert 'blockdev-check' in e.desc or 'in use' in e.desc, e
        r.export('disk', writable=False)                # readers are welcome
        h = r.nbd('disk')
        assert h.pread(4096, 0) == b'\7' * 4096
        h.shutdown()
        job, = r.cmd('query-jobs')
        assert job['status'] == 'running' and job['current-progress'] < job['total-progress'], job
        r.cmd('job-cancel', id='j')
        r.qmp.wait_event('JOB_STATUS_CHANGE', status='concluded')
        job, = r.cmd('query-jobs')
        assert job['error'] == 'Operation canceled', job
        r.cmd('job-dismiss', id='j')
        r.cmd('block-export-del', id='exp-disk')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        r.export('disk')
        r.stop()
        run('qemu-img', 'check', path)


def test_the_daemon_ends_though_a_check_runs():
    with Rig() as r:
        path = image(r, options=('-o', 'cluster_size=512'))
        r.start()
        slow = {'driver': 'blkdebug', 'image': {'driver': 'file', 'filename': path},
                'inject-error': [{'event': 'none', 'iotype': 'read', 'errno': 0,
                                  'delay-ns': 50000000}]}
        r.qmp.cmd('blockdev-add', {'driver': 'qcow2', 'node-name': 'disk', 'file': slow})
        r.cmd('blockdev-check', job_id='j', node_name='disk', fix='all')
        r.stop()
        run('qemu-img', 'check', path)


def first_entry(f):
    f.seek(40)
    l1, = struct.unpack('>Q', f.read(8))
    f.seek(l1)
    return struct.unpack('>Q', f.read(8))[0] & 0x00fffffffffffe00


def must_fail(h, offset):
    try:
        h.pwrite(b'x' * 4096, offset)
    except Exception as e:
        assert 'Input/output error' in str(e), e
    else:
        raise AssertionError('a write to a damaged image succeeded')


def test_damage_in_use_is_told_of_once_and_can_be_repaired():
    with Rig() as r:
        path = image(r)
        with open(path, 'r+b') as f:                    # nothing has a refcount
            f.seek(48)
            f.seek(struct.unpack('>Q', f.read(8))[0])
            f.seek(struct.unpack('>Q', f.read(8))[0])
            f.write(bytes(128))
        r.start()
        add(r, path)
        r.export('disk')
        h = r.nbd('disk')
        for offset in (2 * MiB, 3 * MiB, 0):
            must_fail(h, offset)
        assert h.pread(4096, 0) == b'\7' * 4096
        data = r.qmp.wait_event('BLOCK_IMAGE_CORRUPTED')['data']
        assert data['fatal'] and data['node-name'] == 'disk' and data['device'] == '', data
        assert data['size'] > 0 and 'the header' in data['msg'], data
        info, = [n for n in r.cmd('query-named-block-nodes') if n['node-name'] == 'disk']
        assert info['image']['format-specific']['data']['corrupt'], info
        h.shutdown()
        r.cmd('block-export-del', id='exp-disk')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        assert 'corruptions' not in check(r, fix='all')
        r.export('disk')
        h = r.nbd('disk')
        h.pwrite(b'x' * 4096, 2 * MiB)
        h.shutdown()
        assert not [e for e in r.qmp.events if e['event'] == 'BLOCK_IMAGE_CORRUPTED']
        r.stop()
        run('qemu-img', 'check', path)


def test_damage_of_a_disk_that_is_only_read_is_not_fatal():
    with Rig() as r:
        path = image(r)
        with open(path, 'r+b') as f:
            f.seek(first_entry(f) + 8)
            f.write(struct.pack('>Q', 1 << 63 | 512))
        before = open(path, 'rb').read()
        r.start('--drive', 'id=virtio0,file=%s,format=qcow2,if=none,read-only=on,node-name=n' % path)
        r.export('n', writable=False)
        h = r.nbd('n')
        for _ in range(3):
            try:
                h.pread(4096, 65536)
                raise AssertionError('an invalid entry was read')
            except Exception as e:
                assert 'Input/output error' in str(e), e
        assert h.pread(4096, 0) == b'\7' * 4096
        data = r.qmp.wait_event('BLOCK_IMAGE_CORRUPTED')['data']
        assert data == {'device': 'virtio0', 'node-name': 'n', 'fatal': False, 'msg': data['msg']}
        h.shutdown()
        assert not [e for e in r.qmp.events if e['event'] == 'BLOCK_IMAGE_CORRUPTED']
        r.stop()
        assert open(path, 'rb').read() == before


def test_an_image_that_was_not_closed_is_repaired_when_it_is_opened():
    with Rig() as r:
        path = image(r, options=('-o', 'lazy_refcounts=on'))
        p = subprocess.run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 9 1M 1M', '-c', 'flush',
                            '-c', 'sigraise 9', path], stdout=subprocess.DEVNULL)
        assert p.returncode == -9
        r.start()
        add(r, path, name='ro', **{'read-only': True})
        assert check(r, 'ro')['corruptions'] > 0
        r.cmd('blockdev-del', node_name='ro')
        add(r, path)
        assert 'corruptions' not in check(r)
        r.stop()
        assert 'not closed properly' in r.log and path in r.log, r.log
        run('qemu-img', 'check', path)
        run('qemu-io', '-f', 'qcow2', '-c', 'read -P 9 1M 1M', '-c', 'read -P 7 0 512k', path)


main(globals())
