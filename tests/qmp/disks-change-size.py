#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""block_resize grows and shrinks disks under their users."""

import os
import threading

import nbdwire as w
from daemon import Daemon, MiB, image_info
from rig import main, requires, run

requires('qemu-img')


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


main(globals())
