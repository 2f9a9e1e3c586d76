#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whoever opens for writing what an image beside it records as its backing file is told so by name, on every way; others are not."""

import json
import os
import time

from rig import Rig, main, requires, run

requires('qemu-img')

WARNING = 'records it as its backing file'


def overlay(r, name, recorded, fmt='raw', *options):
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b', recorded, '-F', fmt, *options,
        r.path(name), '1M')
    return r.path(name)


def warnings(r):
    """What the daemon has said, which ends it."""
    r.stop()
    return [line for line in r.log.splitlines() if WARNING in line]


def check(r, base, by):
    found = warnings(r)
    assert len(found) == 1, found
    assert "'%s' was opened for writing" % base in found[0] and "'%s'" % by in found[0], found


def node(base, **more):
    return json.dumps(dict({'driver': 'raw', 'node-name': 'n', 'file': {
        'driver': 'file', 'filename': base}}, **more))


def test_a_drive_a_node_and_a_file_node_alike():
    for how in range(4):
        with Rig() as r:
            base = r.create('data.raw')
            by = overlay(r, 'data.snap', 'data.raw')
            if how == 0:
                r.start('--drive', 'id=d,format=raw,file=' + base)
            elif how == 1:
                r.start('--blockdev', node(base))
            elif how == 2:          # one warning for the two of them
                r.start('--blockdev', 'file,node-name=f,filename=' + base,
                        '--blockdev', 'raw,node-name=n,file=f')
            else:
                r.start()
                r.cmd('blockdev-add', **json.loads(node(base)))
            check(r, base, by)


def test_the_restart_after_a_snapshot():
    with Rig() as r:
        base = r.drive('disk', 'qcow2')
        r.start()
        r.snapshot(r.member('disk', 'disk.snap'))
        assert warnings(r) == []
        r.start()
        check(r, base, r.path('disk.snap'))
        r.options = ['--drive', 'id=disk,format=qcow2,file=' + r.path('disk.snap')]
        r.log = ''
        r.start()
        assert warnings(r) == []


def test_however_the_name_is_recorded():
    for recorded in ('%s', 'file:%s', 'json:{"driver": "raw", "file": {"driver": "file", "filename": "%s"}}',
                     'json:{"driver": "raw", "file.driver": "file", "file.filename": "%s"}'):
        with Rig() as r:
            base = r.create('data.raw')
            by = overlay(r, 'o', recorded % base)
            r.start('--blockdev', node(base))
            check(r, base, by)
    with Rig() as r:                # the same file by another name
        base = r.create('data.raw')
        os.symlink('data.raw', r.path('link'))
        os.link(base, r.path('hard'))
        by = overlay(r, 'o', 'hard')
        r.start('--blockdev', node(r.path('hard')))
        check(r, r.path('hard'), by)


def test_nobody_is_told_without_a_reason():
    with Rig() as r:
        base, other = r.create('data.raw'), r.create('other.raw')
        os.mkdir(r.path('sub'))
        overlay(r, 'data.snap', base)
        overlay(r, 'sub/o', other)          # of another folder
        overlay(r, 'gone', 'nosuch.raw')
        os.mkfifo(r.path('fifo'))
        with open(r.path('rubbish'), 'wb') as f:
            f.write(b'QFI\xfb' + os.urandom(5000))
        r.start('--blockdev', node(base, **{'read-only': True}), '--blockdev',
                'raw,node-name=o,file.driver=file,file.filename=' + other,
                '--blockdev', 'qcow2,node-name=top,file.driver=file,file.filename='
                + r.path('data.snap'),
                '--blockdev', 'file,node-name=f,auto-read-only=on,filename=' + other)
        assert warnings(r) == [], r.log
    with Rig() as r:
        base = r.create('data.raw')
        overlay(r, 'data.snap', base)
        r.start('--overlay-warnings', 'off', '--blockdev', node(base))
        assert warnings(r) == []


def test_a_large_folder_costs_little():
    with Rig() as r:
        first = overlay(r, 'o', 'd0')
        for i in range(2000):
            os.link(first, r.path('o%d' % i))
        names = [r.path('d%d' % i) for i in range(200)]
        for name in names:
            with open(name, 'wb') as f:
                f.truncate(1 << 20)
        r.start()
        start = time.monotonic()
        for i, name in enumerate(names):
            r.cmd('blockdev-add', **dict(json.loads(node(name)), **{'node-name': 'n%d' % i}))
        took = time.monotonic() - start
        assert took < 20, took
        found = warnings(r)
        assert len(found) == 1 and names[0] in found[0]


main(globals())
