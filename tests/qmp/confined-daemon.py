#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon does its work inside its sandbox and as an unprivileged user."""

import os

from rig import QSD, Rig, import_nbd, main, requires, skip

requires('qemu-img')
import_nbd()


def work(r):
    """The main job, with everything around it."""
    r.cmd('object-add', qom_type='iothread', id='io1')
    r.export('disk0', iothread='io0')
    r.export('disk1', iothread='io1')
    a, b = r.nbd('disk0'), r.nbd('disk1')
    a.pwrite(b'a' * 4096, 0)
    b.pwrite(b'b' * 4096, 0)
    r.snapshot(r.member('disk0', 'o0'), r.member('disk1', 'o1'))
    a.pwrite(b'c' * 4096, 4096)
    a.zero(65536, 1 << 20)
    a.trim(65536, 2 << 20)
    a.flush()
    assert a.pread(8192, 0) == b'a' * 4096 + b'c' * 4096
    e = r.snapshot_error(r.member('disk0', 'no/such'))
    assert 'No such file' in e.desc


def test_in_the_sandbox():
    with Rig() as r:
        r.drive('disk0', 'raw')
        r.drive('disk1', 'qcow2')
        try:
            r.start('--object', 'iothread,id=io0', '--sandbox', 'on',
                    env={'ASAN_OPTIONS': 'detect_leaks=0'})     # it would need ptrace
        except Exception:
            if 'without libseccomp' in r.log:
                skip('built without libseccomp')
            raise
        with open('/proc/%d/status' % r.proc.pid) as f:
            assert 'Seccomp:\t2' in f.read()
        work(r)


def test_as_nobody():
    if os.geteuid() != 0:
        print('(already unprivileged)')
        return

    def become_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    with Rig() as r:
        os.chmod(r.dir, 0o777)
        r.drive('disk0', 'raw')
        r.drive('disk1', 'qcow2')
        for name in os.listdir(r.dir):
            os.chown(r.path(name), 65534, 65534)
        if not can_be_run(QSD):
            print('(the program cannot be reached by nobody)')
            return
        r.start('--object', 'iothread,id=io0', preexec_fn=become_nobody)
        work(r)


def can_be_run(path):
    """By anybody: each folder on the way can be searched by others."""
    path = os.path.realpath(path)
    while path != '/':
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & 0o001:
            return False
    return True


main(globals())
