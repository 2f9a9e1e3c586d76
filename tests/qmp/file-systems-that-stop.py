#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system that is frozen (fsfreeze, a snapshot of the volume below) or that has shut down after an error of its
disk: other disks go on, each failure names its file and its cause, and nothing is left behind.  As root, on a loop
device."""

import contextlib
import fcntl
import os
import struct
import subprocess
import time

from nbdwire import wait_until
from qmp import QMPError
from rig import Rig, import_nbd, main, requires, run, skip

requires('qemu-img', 'mkfs.ext4')
nbd = import_nbd()

# linux/fs.h; ext4 and xfs have the last one with the same number.
FIFREEZE, FITHAW, SHUT_DOWN = 0xC0045877, 0xC0045878, 0x8004587D
NO_LOG_FLUSH = struct.pack('I', 2)


def control(mnt, request, arg=0):
    fd = os.open(mnt, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, request, arg)
    finally:
        os.close(fd)


@contextlib.contextmanager
def mounted(r):
    """The folder that an ext4 of its own is mounted on."""
    image, mnt = r.path('fs.img'), r.path('mnt')
    os.mkdir(mnt)
    run('truncate', '-s', '64M', image)
    run('mkfs.ext4', '-q', image)
    made = subprocess.run(['mount', '-o', 'loop', image, mnt], stderr=subprocess.PIPE, text=True)
    if made.returncode:
        skip('no file system can be mounted here: ' + made.stderr)
    try:
        yield mnt
    finally:
        with contextlib.suppress(OSError):
            control(mnt, FITHAW)
        r.stop(check=False)
        run('umount', '-l', mnt)


def refused(r, command, **arguments):
    try:
        r.cmd(command, **arguments)
    except QMPError as e:
        return e.desc
    raise AssertionError('%s was not refused' % command)


def snapshot(monitor, device, filename, timeout):
    monitor.send('blockdev-group-snapshot-sync', {
        'devlist': [{'device': device, 'snapshot-file': filename}], 'timeout': timeout})


def test_a_frozen_file_system_holds_up_only_its_own_snapshots():
    """As the place of the new image, and as that of a base with a write that does not come back."""
    with Rig() as r, mounted(r) as mnt:
        frozen = os.path.join(mnt, 'frozen.raw')
        run('truncate', '-s', '1M', frozen)
        r.drive('disk0', 'raw', '1M')
        r.drive('disk1', 'raw', '1M')
        r.start('--blockdev', 'raw,node-name=frozen,file.driver=file,file.filename=' + frozen)
        for name in 'disk0', 'disk1', 'frozen':
            r.export(name)
        ours, theirs = r.nbd('disk0'), r.nbd('frozen')
        control(mnt, FIFREEZE)
        write = theirs.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b'x' * 4096)), 0)
        theirs.poll(200)
        monitors = r.connect(), r.connect()
        snapshot(monitors[0], 'disk0', os.path.join(mnt, 'overlay'), 500)
        snapshot(monitors[1], 'frozen', r.path('other-overlay'), 500)
        time.sleep(0.3)
        r.snapshot({'device': 'disk1', 'snapshot-file': r.path('overlay1')})
        ours.pwrite(b'y' * 512, 0)          # disk0 is not held while its new image is being made
        r.cmd('blockdev-add', driver='null-co', node_name='another')
        for m, device in zip(monitors, ('disk0', 'frozen')):
            desc = m.recv_reply()['error']['desc']
            assert device in desc and ('in time' in desc or 'did not' in desc), desc
        assert ours.pread(512, 0) == b'y' * 512
        control(mnt, FITHAW)
        wait_until(lambda: not os.path.exists(os.path.join(mnt, 'overlay')), 20)
        assert not os.path.exists(r.path('other-overlay'))
        while not theirs.aio_command_completed(write):
            theirs.poll(-1)
        # Nobody has to restart anything: the same works now.
        r.snapshot({'device': 'disk0', 'snapshot-file': os.path.join(mnt, 'again')},
                   {'device': 'frozen', 'snapshot-file': r.path('again')})


def many(r, folder, name, count, size, direct):
    """Options for @count nodes on files of @size zeroes in @folder."""
    options = []
    for i in range(count):
        path = os.path.join(folder, '%s%d.raw' % (name, i))
        with open(path, 'wb') as f:
            f.write(bytes(size))
        options += ['--blockdev', 'raw,node-name=%s%d,discard=unmap,file.driver=file,file.filename=%s,file.cache.'
                    'direct=%s' % (name, i, path, 'on' if direct else 'off')]
    return options


def done_within(seconds, waiting):
    """Poll (handle, cookie) until all have completed; those that did not within @seconds."""
    end = time.monotonic() + seconds
    while waiting and time.monotonic() < end:
        for h, cookie in list(waiting):
            h.poll(0)
            if h.aio_command_completed(cookie):
                waiting.remove((h, cookie))
    return waiting


def no_other_file_waits(direct):
    """Linux lets its own threads work on 64 files at most at once, whatever they are: so of 150 files some would wait
    for the frozen ones."""
    block = bytearray(b'x' * 4096)
    with Rig() as r, mounted(r) as mnt:
        r.start(*many(r, mnt, 'frozen', 30, 65536, direct), *many(r, r.dir, 'disk', 150, 65536, direct))
        for node in ['frozen%d' % i for i in range(30)] + ['disk%d' % i for i in range(150)]:
            r.export(node)
        frozen = [r.nbd('frozen%d' % i) for i in range(30)]
        others = [r.nbd('disk%d' % i) for i in range(150)]
        control(mnt, FIFREEZE)
        stuck = [(h, h.aio_pwrite(nbd.Buffer.from_bytearray(block), k * 4096)) for h in frozen for k in range(8)]
        stuck += [(h, h.aio_trim(4096, 61440)) for h in frozen]
        assert len(done_within(0.5, list(stuck))) == len(stuck), 'the file system was not frozen'
        for what in (lambda h: h.aio_pwrite(nbd.Buffer.from_bytearray(block), 0), lambda h: h.aio_flush(),
                     lambda h: h.aio_zero(8192, 0), lambda h: h.aio_trim(4096, 8192),
                     lambda h: h.aio_pread(nbd.Buffer(4096), 0)):
            left = done_within(30, [(h, what(h)) for h in others])
            assert not left, '%d of 150 files wait' % len(left)
        control(mnt, FITHAW)
        assert not done_within(30, stuck)


def test_no_other_file_waits_for_frozen_ones():
    no_other_file_waits(direct=False)


def test_no_other_file_waits_for_frozen_ones_past_the_page_cache():
    no_other_file_waits(direct=True)


def test_a_file_system_that_has_shut_down_is_told_as_what_it_is():
    with Rig() as r, mounted(r) as mnt:
        images = {}
        r.drive('fine', 'raw', '1M')
        for name, fmt in (('raw', 'raw'), ('qcow2', 'qcow2')):
            images[name] = os.path.join(mnt, name + '.img')
            run('qemu-img', 'create', '-q', '-f', fmt, images[name], '8M')
        r.start(*(x for name, path in images.items() for x in (
            '--blockdev', '%s,node-name=%s,file.driver=file,file.filename=%s' % (name, name, path))))
        for name in 'fine', 'raw', 'qcow2':
            r.export(name)
            r.nbd(name).pwrite(b'x' * 4096, 65536)
        control(mnt, SHUT_DOWN, NO_LOG_FLUSH)
        for name, path in images.items():
            texts = [
                refused(r, 'blockdev-group-snapshot-sync', devlist=[
                    {'device': 'fine', 'snapshot-file': r.path('a')},
                    {'device': name, 'snapshot-file': r.path('b')}]),
                refused(r, 'block_resize', node_name=name, size=16 << 20),
                refused(r, 'blockdev-add', driver=name, node_name='x', read_only=True,
                        force_share=True, file={'driver': 'file', 'filename': path}),
            ]
            for text in texts:
                assert path in text and 'Input/output error' in text, text
        text = refused(r, 'blockdev-group-snapshot-sync', devlist=[
            {'device': 'fine', 'snapshot-file': os.path.join(mnt, 'overlay')}])
        assert os.path.join(mnt, 'overlay') in text and 'Input/output error' in text, text
        assert not os.path.exists(r.path('a')) and not os.path.exists(r.path('b'))
        r.nbd('fine').pwrite(b'z' * 512, 0)
        r.snapshot({'device': 'fine', 'snapshot-file': r.path('fine-overlay')})


main(globals())
