#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a machine that is saved in an image lies beside the disk, and the installed QEMU finds it there."""

import shutil

from qemuio import QEMU_IO, Images, main, run, skip

INSTALLED = shutil.which('qemu-io')
if not INSTALLED or not shutil.which('qemu-img'):
    skip('qemu-io or qemu-img is not installed')

LAYOUTS = ['cluster_size=64k', 'cluster_size=4k', 'cluster_size=2M', 'compat=0.10', 'extended_l2=on,cluster_size=64k',
           'refcount_bits=1', 'lazy_refcounts=on']


def io(d, program, name, *commands):
    args = [x for c in commands for x in ('-c', c)]
    out, err, status = d.start([name, *args], program=program)
    assert (err, status) == ('', 0) and 'failed' not in out, (program, commands, out, err)


def test_what_one_program_saves_the_other_loads():
    for options in LAYOUTS:
        for writer, reader in ((QEMU_IO, INSTALLED), (INSTALLED, QEMU_IO)):
            with Images() as d:
                d.create('a.qcow2', 'qcow2', '-o', options, '10M')
                io(d, writer, 'a.qcow2', 'write -P 1 0 10M', 'write -b -P 2 0 5M', 'write -b -P 3 777k 100k',
                   'write -b -P 4 9M 512')
                for program in (writer, reader):
                    io(d, program, 'a.qcow2', 'read -P 1 0 10M', 'read -b -P 2 0 777k', 'read -b -P 3 777k 100k',
                       'read -b -P 2 877k 3M', 'read -b -P 4 9M 512', 'read -b -P 0 6M 1M')
                run('qemu-img', 'check', d.path('a.qcow2'))


def test_a_disk_that_grows_over_it_shows_zeroes():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '-o', 'cluster_size=512', '1M')
        io(d, QEMU_IO, 'a.qcow2', 'write -P 1 0 1M', 'write -b -P 2 0 1M', 'truncate 3M', 'read -P 1 0 1M',
           'read -P 0 1M 2M')
        run('qemu-img', 'check', d.path('a.qcow2'))


def test_an_overlay_does_not_take_it_from_its_base():
    with Images() as d:
        d.create('base.qcow2', 'qcow2', '9M')
        io(d, QEMU_IO, 'base.qcow2', 'write -P 1 0 9M')
        d.create('a.qcow2', 'qcow2', '-o', 'cluster_size=512', '-b', 'base.qcow2', '-F', 'qcow2', '1M')
        io(d, QEMU_IO, 'a.qcow2', 'write -b -P 2 10 10', 'read -b -P 0 0 10', 'read -b -P 2 10 10', 'read -b -P 0 20 1M')


if __name__ == '__main__':
    main(globals())
