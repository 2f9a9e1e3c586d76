#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""savevm, loadvm and delvm: all disks at one instant with the machine's state, or nothing."""

import json
import os
import random
import shutil
import socket
import subprocess
import time

from emulator import PROGRAM, Folder
from rig import main
from vm import IMG, IO, VM

INSTALLED_IMG = shutil.which('qemu-img')


def create(*names, size='8M'):
    for name in names:
        subprocess.run([IMG, 'create', '-q', '-f', name.rpartition('.')[2], name, size], check=True)


def disks(*names):
    return [x for i, name in enumerate(names) for x in (
        '-drive', 'if=virtio,id=d%d,file=%s,format=%s' % (i, name, name.rpartition('.')[2]))]


def hmp(vm, line):
    return vm.cmd('human-monitor-command', **{'command-line': line})


def good(vm, line):
    said = hmp(vm, line)
    assert said == '', (line, said)


def snapshots(name):
    info = json.loads(subprocess.run([INSTALLED_IMG or IMG, 'info', '--output=json', '-U', name], check=True,
                                     capture_output=True, text=True).stdout)
    return [(s['name'], s['vm-state-size'] > 0) for s in info.get('snapshots', [])]


def check(*names, killed=False):
    for name in names:
        # Locks of what was killed may go a little later: ours waits for that.
        program = INSTALLED_IMG if INSTALLED_IMG and not killed else IMG
        status = subprocess.run([program, 'check', '-q', name], stdout=subprocess.DEVNULL).returncode
        assert status == 0 or (killed and status == 3), (name, status)


def test_disks_and_trays_go_back():
    with Folder():
        create('a.qcow2', 'b.qcow2')
        with VM('a', *disks('a.qcow2', 'b.qcow2'), '-device', 'ide-cd,id=cd') as a:
            for i in 0, 1:
                a.good_io('write -P 1 0 1M', 'd%d' % i)
            good(a, 'savevm one')
            assert a.status() == 'running'
            a.cmd('blockdev-open-tray', id='cd')
            for i in 0, 1:
                a.good_io('write -P 2 0 64k', 'd%d' % i)
            good(a, 'savevm two')
            assert snapshots('a.qcow2') == [('one', True), ('two', True)]
            assert snapshots('b.qcow2') == [('one', False), ('two', False)]
            good(a, 'loadvm one')
            tray = [d for d in a.cmd('query-block') if d.get('qdev') == 'cd'][0]['tray_open']
            assert not tray and a.status() == 'running'
            for i in 0, 1:
                a.good_io('read -P 1 0 1M', 'd%d' % i)
            good(a, 'loadvm two')
            a.good_io('read -P 2 0 64k', 'd1')
            assert [d for d in a.cmd('query-block') if d.get('qdev') == 'cd'][0]['tray_open']
            good(a, 'delvm one')
            assert snapshots('a.qcow2') == [('two', True)] and snapshots('b.qcow2') == [('two', False)]
            # One of that name takes its place.
            a.good_io('write -P 3 0 64k', 'd0')
            good(a, 'savevm two')
            assert len(snapshots('a.qcow2')) == 1
        with VM('a', *disks('a.qcow2', 'b.qcow2'), '-device', 'ide-cd,id=cd', '-loadvm', 'two') as a:
            a.good_io('read -P 3 0 64k', 'd0')
        check('a.qcow2', 'b.qcow2')


def test_jobs_of_programs_do_the_same():
    with Folder():
        create('a.qcow2', 'b.qcow2')
        nodes = [x for n in 'ab' for x in ('-blockdev', 'driver=qcow2,node-name=%s,file.driver=file,file.filename=%s.qcow2'
                                           % (n, n))]
        with VM('a', *nodes) as a:
            def job(command, **arguments):
                a.cmd(command, job_id='j', tag='t', **arguments)
                a.qmp.wait_event('JOB_STATUS_CHANGE', status='concluded')
                error = a.cmd('query-jobs')[0].get('error')
                a.cmd('job-dismiss', id='j')
                return error
            assert job('snapshot-load', vmstate='a', devices=['b']) == \
                "Snapshot 't' does not exist in one or more devices"
            assert job('snapshot-save', vmstate='b', devices=['a']) is None
            assert snapshots('a.qcow2') == [('t', False)] and snapshots('b.qcow2') == [('t', True)]
            assert 'disk-only' in job('snapshot-load', vmstate='a', devices=['b'])
            assert job('snapshot-load', vmstate='b', devices=['a']) is None
            assert job('snapshot-save', vmstate='x', devices=[]) == "vmstate block device 'x' does not exist"
            assert job('snapshot-delete', devices=['a', 'b']) is None
            assert snapshots('a.qcow2') == snapshots('b.qcow2') == []
        check('a.qcow2', 'b.qcow2')


def test_all_disks_or_none():
    with Folder():
        create('a.qcow2', 'b.raw')
        with VM('a', *disks('a.qcow2', 'b.raw')) as a:
            for line in 'savevm x', 'loadvm x', 'delvm x':
                assert hmp(a, line) == "Error: Device 'd1' is writable but does not support snapshots\r\n", line
            assert snapshots('a.qcow2') == [] and a.status() == 'running'
        with VM('a') as a:
            assert hmp(a, 'savevm x') == 'Error: no block device can store vmstate for snapshot\r\n'
        create('b.qcow2')
        with VM('a', *disks('a.qcow2')) as a:
            good(a, 'savevm x')
        before = subprocess.run(['sha256sum', 'a.qcow2', 'b.qcow2'], capture_output=True).stdout
        with VM('a', *disks('a.qcow2', 'b.qcow2')) as a:
            assert hmp(a, 'loadvm x') == "Error: Snapshot 'x' does not exist in one or more devices\r\n"
        assert subprocess.run(['sha256sum', 'a.qcow2', 'b.qcow2'], capture_output=True).stdout == before


def test_a_machine_that_is_still_to_come_has_no_snapshots():
    with Folder():
        create('a.qcow2')
        with VM('a', *disks('a.qcow2')) as a:
            good(a, 'savevm old')
        with VM('a', *disks('a.qcow2'), '-incoming', 'defer') as a:
            for line in 'savevm new', 'loadvm old', 'delvm old':
                assert hmp(a, line) == "Error: Device 'd0' is writable but does not support snapshots\r\n", line
        assert [name for name, _ in snapshots('a.qcow2')] == ['old']
        for option in ['-incoming', 'defer'], ['-preconfig']:
            r = subprocess.run([PROGRAM, '-nodefaults', *disks('a.qcow2'), '-loadvm', 'old', *option],
                               capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
            assert r.returncode == 1, r
            assert "'%s' and 'loadvm' options are mutually exclusive" % option[0][1:] in r.stderr, r


def test_a_full_file_system_leaves_no_snapshot_and_the_machine_runs():
    """What the state or the tables have no room for is no snapshot."""
    with Folder():
        create('a.qcow2', 'b.qcow2')
        with VM('a', *disks('a.qcow2'), '-drive', 'if=virtio,id=d1,driver=qcow2,file.driver=blkdebug,'
                'file.image.driver=file,file.image.filename=b.qcow2,file.inject-error.0.event=none,'
                'file.inject-error.0.iotype=write,file.inject-error.0.errno=28,file.inject-error.0.once=off') as a:
            said = hmp(a, 'savevm x')
            assert 'No space left' in said, said
            assert a.status() == 'running' and snapshots('a.qcow2') == []
            a.good_io('write 0 64k', 'd0')
        check('a.qcow2')


def test_clients_that_write_meanwhile_see_one_instant():
    """Two disks are written in turn by NBD, the first always first: no snapshot has the second one ahead."""
    from rig import import_nbd
    nbd = import_nbd()
    with Folder():
        create('a.qcow2', 'b.qcow2')
        with VM('a', *disks('a.qcow2', 'b.qcow2')) as a:
            a.cmd('stop')
        nodes = [x for n in 'ab' for x in ('-blockdev', 'driver=qcow2,node-name=%s,file.driver=file,file.filename=%s.qcow2'
                                           % (n, n))]
        with VM('a', *nodes) as a:
            a.cmd('nbd-server-start', addr={'type': 'unix', 'data': {'path': 'nbd'}})
            handles = []
            for n in 'ab':
                a.cmd('block-export-add', type='nbd', id=n, node_name=n, name=n, writable=True)
                h = nbd.NBD()
                h.connect_uri('nbd+unix:///%s?socket=nbd' % n)
                handles.append(h)
            s = socket.socket(socket.AF_UNIX)
            s.connect('a.qmp')
            s.recv(4096)
            s.sendall(b'{"execute": "qmp_capabilities"}\n')
            done = 0
            for i in range(1, 1500):
                if i % 150 == 75:
                    s.sendall(b'{"execute": "human-monitor-command", "arguments": {"command-line": "savevm s%d"}}\n' % done)
                    done += 1
                for h in handles:
                    h.pwrite(i.to_bytes(512, 'big'), 0)
            time.sleep(0.5)
            for h in handles:
                h.shutdown()
            s.close()
        names = [name for name, _ in snapshots('a.qcow2')]
        assert len(names) == done, names
        for name in names:
            last = []
            for n in 'ab':
                subprocess.run([IMG, 'convert', '-l', name, '-O', 'raw', n + '.qcow2', 'out'], check=True)
                with open('out', 'rb') as f:
                    last.append(int.from_bytes(f.read(512), 'big'))
            assert last[0] in (last[1], last[1] + 1), (name, last)


def test_a_kill_leaves_the_disks_as_they_were_or_as_they_were_to_be():
    rng = random.Random(int(os.environ.get('SEED', '5')))
    for command in 'savevm new', 'loadvm old', 'delvm old':
        for _ in range(3):
            with Folder():
                create('a.qcow2', 'b.qcow2')
                with VM('a', *disks('a.qcow2', 'b.qcow2')) as a:
                    for i in 0, 1:
                        a.good_io('write -P 1 0 2M', 'd%d' % i)
                    good(a, 'savevm old')
                    for i in 0, 1:
                        a.good_io('write -P 2 0 2M', 'd%d' % i)
                a = VM('a', *disks('a.qcow2', 'b.qcow2'))
                a.qmp.send_raw(json.dumps({'execute': 'human-monitor-command',
                                           'arguments': {'command-line': command}}).encode() + b'\n')
                time.sleep(rng.random() * 0.04)
                a.kill()
                check('a.qcow2', 'b.qcow2', killed=True)
                for name in 'a.qcow2', 'b.qcow2':
                    now = subprocess.run([IO, '-r', '-c', 'read -P 2 0 2M', name], capture_output=True, text=True).stdout
                    then = subprocess.run([IO, '-r', '-c', 'read -P 1 0 2M', name], capture_output=True, text=True).stdout
                    assert 'failed' not in now or (command == 'loadvm old' and 'failed' not in then), (command, now, then)


if __name__ == '__main__':
    main(globals())
