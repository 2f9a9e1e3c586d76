#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Behind a compress filter an image takes less room, whatever is written, and snapshots are what they
always are."""

import json
import os
import random

from qmp import QMPError
from rig import Rig, import_nbd, main, requires, run, skip

requires('qemu-img', 'qemu-io')
nbd = import_nbd()
SIZE = 16 << 20


def start(r, *create_options):
    """disk0: compress (node "top") on qcow2 (node "img")."""
    path = r.create('disk0', 'qcow2', '16M', *create_options)
    r.start('--blockdev', 'compress,node-name=top,discard=unmap,file.driver=qcow2,'
            'file.node-name=img,file.discard=unmap,file.file.driver=file,file.file.filename=' + path)
    r.export('top', name='disk0')
    return path


def host_bytes(path):
    return os.stat(path).st_blocks * 512


def compressible(rng, n):
    """Text of eight letters: about 40 % are left of it."""
    return rng.randbytes(n).translate(b'abcdefgh' * 32)


def info(path):
    return json.loads(run('qemu-img', 'info', '-U', '--output=json', path))


def expect(path, model):
    """The installed programs find @path in order and in it the bytes of @model."""
    run('qemu-img', 'check', '-q', path)
    raw = path + '.raw'
    run('qemu-img', 'convert', '-O', 'raw', path, raw)
    with open(raw, 'rb') as f:
        assert f.read() == bytes(model)
    os.unlink(raw)


def write_everything(opts):
    rng = random.Random(1)
    with Rig() as r:
        path = start(r, *opts)
        h = r.nbd('disk0')
        model = bytearray(SIZE)
        model[:4 << 20] = compressible(rng, 4 << 20)
        for at in range(0, 4 << 20, 1 << 20):
            h.pwrite(bytes(model[at:at + (1 << 20)]), at)
        h.flush()
        assert host_bytes(path) < 3 << 20, host_bytes(path)
        # again, in pieces of every size and place
        for _ in range(40):
            n = rng.choice((1, 512, 5000, 70000, 300000))
            at = rng.randrange(SIZE - n)
            model[at:at + n] = data = compressible(rng, n)
            h.pwrite(data, at)
            assert h.pread(n, at) == data
        h.zero(1 << 20, 3 << 20)
        model[3 << 20:4 << 20] = bytes(1 << 20)
        noise = rng.randbytes(1 << 20)
        h.pwrite(noise, 1000)
        model[1000:1000 + (1 << 20)] = noise
        assert h.pread(8 << 20, 0) == bytes(model[:8 << 20])
        h.shutdown()
        r.stop()
        expect(path, model)


def test_what_is_written_is_compressed():
    for opts in ((), ('-o', 'extended_l2=on'), ('-o', 'cluster_size=4k,compat=0.10')):
        write_everything(opts)


def test_what_is_written_is_compressed_by_zstd():
    with Rig() as r:
        path = r.create('zstd', 'qcow2', '1M', '-o', 'compression_type=zstd')
        r.start()
        try:
            r.cmd('blockdev-add', driver='qcow2', node_name='zstd', file={'driver': 'file', 'filename': path})
        except QMPError as e:
            assert 'zstd is not supported by this build' in e.desc, e
            skip('built without libzstd')
    write_everything(('-o', 'compression_type=zstd'))


def test_refused_where_nothing_can_be_compressed():
    with Rig() as r:
        r.create('raw', 'raw', '1M')
        r.create('ext', 'qcow2', '1M', '-o', 'data_file=' + r.path('data'))
        r.start('--blockdev', 'raw,node-name=raw,file.driver=file,file.filename=' + r.path('raw'),
                '--blockdev', 'qcow2,node-name=ext,file.driver=file,file.filename=' + r.path('ext'))
        e = r.error('blockdev-add', driver='compress', node_name='c', file='raw')
        assert e.desc == 'Compression is not supported for underlying format: raw', e
        e = r.error('blockdev-add', driver='compress', node_name='c', file='ext')
        assert "'ext'" in e.desc and 'external data file' in e.desc, e
        assert [n['node-name'] for n in r.cmd('query-named-block-nodes')
                if n['node-name'] == 'c'] == []


def test_a_snapshot_of_the_disk_behind_the_filter():
    """Of the node below the filter: the overlay takes its place, and writes to it are compressed, too."""
    rng = random.Random(2)
    with Rig() as r:
        base = start(r)
        h = r.nbd('disk0')
        first = compressible(rng, 4 << 20)
        h.pwrite(first, 0)
        r.snapshot(r.member('img', 'o'))
        second = compressible(rng, 4 << 20)
        h.pwrite(second, 2 << 20)
        h.flush()
        assert h.pread(6 << 20, 0) == first[:2 << 20] + second
        assert host_bytes(r.path('o')) < 3 << 20, host_bytes(r.path('o'))
        h.shutdown()
        r.stop()
        i = info(r.path('o'))
        assert (i['full-backing-filename'], i['backing-filename-format']) == (base, 'qcow2'), i
        expect(base, first + bytes(SIZE - len(first)))
        expect(r.path('o'), first[:2 << 20] + second + bytes(SIZE - (6 << 20)))


def test_a_snapshot_in_front_of_the_filter():
    """Of the filter itself: the overlay records the image, which is complete and closed for writing."""
    rng = random.Random(3)
    with Rig() as r:
        base = start(r)
        h = r.nbd('disk0')
        first = compressible(rng, 4 << 20)
        h.pwrite(first, 0)
        h.trim(1 << 20, 0)
        first = bytes(1 << 20) + first[1 << 20:]
        r.snapshot(r.member('exp-disk0', 'o'))
        h.pwrite(b'after', 100)
        nodes = {n['node-name']: n for n in r.cmd('query-named-block-nodes')}
        assert nodes['img']['ro'] and nodes['top']['ro']
        # settled: what was trimmed is free in the image on disk already
        run('qemu-img', 'check', '-q', '-U', base)
        h.shutdown()
        r.stop()
        i = info(r.path('o'))
        assert (i['full-backing-filename'], i['backing-filename-format']) == (base, 'qcow2'), i
        expect(base, first + bytes(SIZE - len(first)))
        now = bytearray(first + bytes(SIZE - len(first)))
        now[100:105] = b'after'
        expect(r.path('o'), now)


def test_a_new_size():
    with Rig() as r:
        path = start(r)
        h = r.nbd('disk0')
        h.pwrite(b'z' * 512, SIZE - 512)
        h.shutdown()
        r.cmd('block_resize', node_name='top', size=2 * SIZE)
        h = r.nbd('disk0')
        assert h.get_size() == 2 * SIZE
        h.pwrite(b'y' * 512, 2 * SIZE - 512)
        h.shutdown()
        r.stop()
        expect(path, bytes(SIZE - 512) + b'z' * 512 + bytes(SIZE - 512) + b'y' * 512)


def test_flush_covers_what_was_written_before_the_filter_came():
    for driver, file in (('compress', 'file'), ('blkdebug', 'image')):
        with Rig() as r:
            path = r.create('disk0', 'qcow2', '16M')
            r.start('--blockdev', 'qcow2,node-name=img,file.driver=file,file.filename=' + path)
            r.export('img')
            h = r.nbd('img')
            h.pwrite(b'a' * 65536, 0)
            h.shutdown()
            r.cmd('block-export-del', id='exp-img', mode='hard')
            r.qmp.wait_event('BLOCK_EXPORT_DELETED')
            r.cmd('blockdev-add', driver=driver, node_name='top', **{file: 'img'})
            r.export('top')
            r.nbd('top').flush()
            r.kill()
            assert 'verification failed' not in run('qemu-io', '-r', '-f', 'qcow2', '-c', 'read -P 97 0 64k', path)


main(globals())
