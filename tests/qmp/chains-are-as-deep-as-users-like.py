#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A chain of more than a thousand images is opened, written, snapshotted, resized at its foot, listed, opened again by its
name, and removed; one that goes round in circles is found out at once."""

import os

from rig import Rig, import_nbd, main, requires, run

requires('qemu-img')
nbd = import_nbd()
IMAGES = 1200


def make_chain(r, images):
    """i0000 is the top, each the overlay of the next, the last one is raw and full of b."""
    run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-o', 'cluster_size=4096', '-F', 'qcow2',
        '-b', 'i####', r.path('form'), '1M')
    with open(r.path('form'), 'rb') as f:
        form = f.read()
    assert form.count(b'i####') == 1
    for i in range(images - 1):
        with open(r.path('i%04d' % i), 'wb') as f:
            f.write(form.replace(b'i####', b'i%04d' % (i + 1)))
    run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b', 'foot',
        r.path('i%04d' % (images - 1)), '1M')
    with open(r.path('foot'), 'wb') as f:
        f.write(b'b' * (1 << 20))


def test_a_thousand_images():
    with Rig() as r:
        make_chain(r, IMAGES)
        r.start()
        r.cmd('blockdev-add', driver='qcow2', node_name='top',
              file={'driver': 'file', 'filename': r.path('i0000')})
        r.export('top')
        h = r.nbd('top')
        assert h.pread(4096, 0) == b'b' * 4096
        h.pwrite(b'a' * 4096, 4096)
        r.snapshot(r.member('top', 'over', snapshot_node_name='over'))
        assert h.pread(8192, 0) == b'b' * 4096 + b'a' * 4096
        flat = r.cmd('query-named-block-nodes', flat=True)
        assert len([n for n in flat if n['drv'] == 'qcow2']) == IMAGES + 1
        for command in 'query-block', 'query-blockstats':
            r.cmd(command)
        foot = [n['node-name'] for n in flat if n['file'].endswith('/foot') and n['drv'] == 'raw'][0]
        e = r.error('block_resize', node_name=foot, size=2 << 20)
        assert 'does not allow' in e.desc, e
        r.cmd('block_resize', node_name='over', size=2 << 20)
        assert h.pread(4096, 4096) == b'a' * 4096
        h.shutdown()
        r.cmd('block-export-del', id='exp-top', mode='hard')
        r.cmd('blockdev-del', node_name='over')
        r.cmd('blockdev-del', node_name='top')
        assert r.cmd('query-named-block-nodes') == []
        # what was acknowledged can be opened by its name
        r.cmd('blockdev-add', driver='qcow2', node_name='again',
              file={'driver': 'file', 'filename': r.path('over')})
        r.export('again')
        assert r.nbd('again').pread(8192, 0) == b'b' * 4096 + b'a' * 4096


def test_a_chain_that_goes_round_in_circles():
    with Rig() as r:
        make_chain(r, 3)
        os.unlink(r.path('i0002'))
        os.link(r.path('i0000'), r.path('i0002'))
        r.start()
        e = r.error('blockdev-add', driver='qcow2', node_name='top', read_only=True,
                    file={'driver': 'file', 'filename': r.path('i0000')})
        assert 'circles' in e.desc, e
        assert r.cmd('query-named-block-nodes') == []


main(globals())
