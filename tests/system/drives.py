#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives of the command line: what may be left out of their options, and what goes by their names."""

from emulator import Folder, Machine
from rig import main


def test_formats_of_the_images_of_a_quorum_are_found_out():
    with Folder() as f:
        options = 'if=none,id=d0,driver=quorum,vote-threshold=2'
        for i in range(3):
            f.create('img%d' % i, 'qcow2', '1M')
            options += ',children.%d.file.filename=img%d,children.%d.node-name=n%d' % (i, i, i, i)
        with Machine('-drive', options) as m:
            assert m.io('write -P 1 0 64k').startswith('wrote')
            nodes = {n['node-name']: n['drv'] for n in m.cmd('query-named-block-nodes')}
            assert [nodes['n%d' % i] for i in range(3)] == ['qcow2'] * 3, nodes


def test_a_job_on_the_image_of_a_drive_has_the_drives_name():
    with Folder() as f:
        f.create('base', 'qcow2', '1M')
        with Machine('-drive', 'if=none,id=d0,file=base,node-name=base') as m:
            m.cmd('blockdev-snapshot-sync', **{'device': 'd0', 'snapshot-file': 'top', 'snapshot-node-name': 'top'})
            m.cmd('block-commit', device='top')
            assert [j['id'] for j in m.cmd('query-jobs')] == ['d0']


if __name__ == '__main__':
    main(globals())
