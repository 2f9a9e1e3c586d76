#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine without a machine goes from one process to another, with all that was acknowledged, or stays as it is."""

import hashlib
import json
import os
import random
import socket
import subprocess
import threading
import time

from emulator import Folder
from rig import main
from vm import IMG, IO, VM, wait_for

DISK = ('-drive', 'if=virtio,id=d0,format=qcow2,file=a.qcow2')
RAW = ('-drive', 'if=virtio,id=d0,format=raw,file=a.raw')
NODE = ('-blockdev', 'driver=qcow2,node-name=n0,file.driver=file,file.filename=a.qcow2', '-device',
        'virtio-blk,drive=n0,id=v0')
INCOMING = ('-incoming', 'unix:mig')


def create(name='a.qcow2', size='16M'):
    fmt = name.rpartition('.')[2]
    subprocess.run([IMG, 'create', '-q', '-f', fmt, name, size], check=True)


def check(name='a.qcow2', killed=False):
    """What was killed may leave leaks."""
    status = subprocess.run([IMG, 'check', '-q', name], stdout=subprocess.DEVNULL).returncode
    assert status == 0 or (killed and status == 3), status


def digest(name):
    with open(name, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


def go(a, b, **kwargs):
    a.cmd('migrate', uri='unix:mig', **kwargs)
    done = a.migrated()
    assert done['status'] == 'completed', (done, a.said())
    wait_for(lambda: b.status() == 'running', 'a machine that runs')


def test_all_that_was_acknowledged_goes_over_and_comes_back():
    for disk, name in ((DISK, 'a.qcow2'), (RAW, 'a.raw'), (NODE, 'a.qcow2')):
        which = '-d v0/virtio-backend' if disk is NODE else 'd0'
        with Folder():
            create(name)
            with VM('a', *disk) as a:
                a.good_io('write -P 1 0 1M', which)
                with VM('b', *disk, *INCOMING) as b:
                    assert b.status() == 'inmigrate'
                    go(a, b)
                    assert a.status() == 'postmigrate'
                    assert 'failed' in a.io('write -P 9 0 64k', which)
                    b.good_io('read -P 1 0 1M', which)
                    b.good_io('write -P 2 512k 1M', which)
                # The first one takes it back, and sees what the other one has written.
                a.cmd('cont')
                a.good_io('read -P 1 0 512k', which)
                a.good_io('read -P 2 512k 1M', which)
                a.good_io('write -P 3 2M 1M', which)
            if name == 'a.qcow2':
                check()


def test_one_of_the_two_keeps_others_out():
    def others_write():
        r = subprocess.run([IO, '-f', 'qcow2', '-c', 'write 8M 64k', 'a.qcow2'], capture_output=True, text=True)
        return r.returncode == 0 and 'lock' not in r.stderr

    with Folder():
        create()
        with VM('b', *DISK, *INCOMING) as b:
            assert others_write()
            with VM('a', *DISK) as a:
                assert not others_write()
                go(a, b)
                assert not others_write()
        assert others_write()


def test_a_chain_that_is_made_while_the_machine_is_still_to_come():
    with Folder():
        create()
        create('top.qcow2')
        nodes = [x for n in ('a', 'top') for x in ('-blockdev', json.dumps(
            {'driver': 'qcow2', 'node-name': n, 'backing': None, 'file': {'driver': 'file', 'filename': n + '.qcow2'}}))]
        subprocess.run([IO, '-c', 'write -P 5 0 1M', 'a.qcow2'], check=True, stdout=subprocess.DEVNULL)
        with VM('a', *nodes) as a, VM('b', *nodes, *INCOMING) as b:
            for vm in a, b:
                vm.cmd('blockdev-snapshot', node='a', overlay='top')
            go(a, b)
            b.good_io('read -P 5 0 1M', 'top')
            b.good_io('write -P 6 0 64k', 'top')
        check('top.qcow2')


def bitmap(vm, node='d0', name='b'):
    reply = vm.qmp.cmd_obj({'execute': 'x-debug-block-dirty-bitmap-sha256', 'arguments': {'node': node, 'name': name}})
    return reply.get('return', {}).get('sha256')


def test_bitmaps_go_by_their_image_or_with_the_machine():
    for persistent in (False, True):
        for capability in (False, True):
            with Folder():
                create()
                with VM('a', *DISK) as a, VM('b', *DISK, *INCOMING) as b:
                    a.cmd('block-dirty-bitmap-add', node='d0', name='b', persistent=persistent)
                    a.good_io('write 1M 3M')
                    before = bitmap(a)
                    for vm in a, b:
                        vm.cmd('migrate-set-capabilities', capabilities=[{'capability': 'dirty-bitmaps', 'state': capability}])
                    go(a, b)
                    assert bitmap(b) == (before if persistent or capability else None)
                    if bitmap(b):
                        b.good_io('write 8M 64k')
                        assert bitmap(b) != before
                check()


def test_bitmaps_have_other_names_there():
    with Folder():
        create()
        with VM('a', *NODE) as a, VM('b', *DISK, *INCOMING) as b:
            a.cmd('block-dirty-bitmap-add', node='n0', name='here')
            a.cmd('block-dirty-bitmap-add', node='n0', name='stays')
            for vm, node, name in ((a, 'n0', 'here'), (b, '#none', 'there')):
                vm.cmd('migrate-set-capabilities', capabilities=[{'capability': 'dirty-bitmaps', 'state': True}])
                node = node if vm is a else vm.cmd('query-block')[0]['inserted']['node-name']
                vm.cmd('migrate-set-parameters', block_bitmap_mapping=[
                    {'node-name': node, 'alias': 'disk', 'bitmaps': [{'name': name, 'alias': 'way'}]}])
            go(a, b)
            assert bitmap(b, name='there') and not bitmap(b, name='stays') and not bitmap(b, name='here')


def test_a_machine_that_cannot_go_runs_on():
    with Folder():
        create()
        with VM('a', *DISK) as a:
            for uri in ('unix:nobody', 'exec:exit 1', 'exec:head -c 3 > /dev/null; exit 3', 'tcp:127.0.0.1:1', 'pigeon:x'):
                a.cmd('migrate', uri=uri)
                done = a.migrated()
                assert done['status'] == 'failed' and done['error-desc'], (uri, done)
                assert a.status() == 'running', uri
                a.good_io('write -P 1 0 64k')
            a.cmd('stop')
            a.cmd('migrate', uri='exec:exit 1')
            assert a.migrated()['status'] == 'failed' and a.status() == 'paused'
        check()


def test_it_can_be_called_back_before_it_goes():
    with Folder():
        create()
        with VM('a', *DISK) as a:
            a.cmd('migrate-set-capabilities', capabilities=[{'capability': 'pause-before-switchover', 'state': True}])
            a.cmd('migrate', uri='exec:cat > machine')
            wait_for(lambda: a.cmd('query-migrate')['status'] == 'pre-switchover', 'pre-switchover')
            assert a.status() == 'finish-migrate'
            assert 'progress' in a.error('migrate', uri='exec:cat > other')
            a.cmd('migrate_cancel')
            assert a.migrated()['status'] == 'cancelled' and a.status() == 'running'
            a.good_io('write 0 64k')
            a.cmd('migrate', uri='exec:cat > machine')
            wait_for(lambda: a.cmd('query-migrate')['status'] == 'pre-switchover', 'pre-switchover')
            a.cmd('migrate-continue', state='pre-switchover')
            assert a.migrated()['status'] == 'completed'


def test_a_job_that_writes_to_a_disk_keeps_it_here():
    with Folder():
        create()
        create('top.qcow2')
        subprocess.run([IO, '-c', 'write 0 8M', 'a.qcow2'], check=True, stdout=subprocess.DEVNULL)
        with VM('a', *DISK) as a:
            a.cmd('blockdev-snapshot-sync', device='d0', snapshot_file='new.qcow2')
            a.cmd('block-stream', device='d0', job_id='j', speed=1)
            a.cmd('migrate', uri='exec:cat > machine')
            done = a.migrated()
            assert done['status'] == 'failed' and "job 'j'" in done['error-desc'], done
            assert a.status() == 'running'
            a.cmd('block-job-cancel', device='j')


def test_a_disk_that_nobody_shares_goes_by_nbd():
    with Folder():
        create()
        create('b.qcow2')
        disk = ('-drive', 'if=virtio,id=d0,format=qcow2,file=b.qcow2')
        with VM('a', *DISK) as a, VM('b', *disk, *INCOMING) as b:
            a.good_io('write -P 1 0 4M')
            b.cmd('nbd-server-start', addr={'type': 'unix', 'data': {'path': 'nbd'}})
            b.cmd('nbd-server-add', device='d0', writable=True)
            a.cmd('drive-mirror', device='d0', job_id='m', target='nbd+unix:///d0?socket=nbd', sync='full', format='raw',
                  mode='existing')
            a.qmp.wait_event('BLOCK_JOB_READY')
            a.good_io('write -P 2 1M 1M')
            go(a, b)
            a.cmd('block-job-cancel', device='m')
            a.qmp.wait_event('BLOCK_JOB_COMPLETED')
            b.cmd('nbd-server-stop')
            b.good_io('read -P 1 0 1M')
            b.good_io('read -P 2 1M 1M')
            b.good_io('write -P 3 2M 1M')
        check('b.qcow2')


def good_stream():
    create()
    with VM('a', *DISK) as a:
        a.cmd('block-dirty-bitmap-add', node='d0', name='b')
        a.cmd('migrate-set-capabilities', capabilities=[{'capability': 'dirty-bitmaps', 'state': True}])
        a.cmd('migrate', uri='exec:cat > machine')
        assert a.migrated()['status'] == 'completed'
    with open('machine', 'rb') as f:
        return f.read()


def test_what_is_no_machine_ends_the_one_that_waits_and_touches_nothing():
    rng = random.Random(1)
    with Folder():
        good = good_stream()
        before = digest('a.qcow2')
        bad = [b'', b'garbage' * 100, good[:20], good[:-1], good[:8] + b'\xff\xff\xff\xff' + good[12:],
               good.replace(b'"bytes"', b'"bites"'), good.replace(b'"bitmaps"', b'"bitmaps":0,"x"')]
        for _ in range(8):
            damaged = bytearray(good)
            damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
            bad.append(bytes(damaged))
        for i, stream in enumerate(bad):
            with open('stream', 'wb') as f:
                f.write(stream)
            b = VM('b', *DISK, '-incoming', 'defer')
            try:
                b.cmd('migrate-incoming', uri='exec:cat stream')
                wait_for(lambda: b.proc.poll() is not None or b.status() != 'inmigrate', 'an end')
            except (OSError, EOFError, KeyError, AttributeError):
                pass                    # it has ended
            if b.proc.poll() is None and i >= 7:
                b.proc.terminate()      # a bit of a bitmap, or of a name, may be any
                assert b.proc.wait(timeout=30) in (0, 1), (i, b.said())
                continue
            b.proc.wait(timeout=30)
            assert b.proc.returncode == 1 and 'load of migration failed' in b.said(), (i, b.proc.returncode, b.said())
            assert digest('a.qcow2') == before, i


def test_a_peer_that_says_nothing_holds_up_nobody():
    with Folder():
        create()
        with VM('b', *DISK, *INCOMING) as b:
            s = socket.socket(socket.AF_UNIX)
            s.connect('mig')
            s.send(b'QGSM')
            assert b.status() == 'inmigrate'
            b.cmd('query-block')
        s.close()
        # One that ends when it likes.
        for options in ('-incoming', 'exec:sleep 1000'), ():
            with VM('b', *DISK, *options) as b:
                if not options:
                    b.cmd('migrate', uri='exec:sleep 1000')
        # And one that reads nothing.
        listener = socket.socket(socket.AF_UNIX)
        listener.bind('deaf')
        listener.listen(1)
        with VM('a', *DISK) as a:
            a.cmd('migrate', uri='unix:deaf')
            a.cmd('query-block')
            a.cmd('migrate_cancel')


def writer(vm, acknowledged, stop):
    for i in range(1, 4000):
        if stop.is_set():
            return
        try:
            if 'ops' not in vm.io('write -f -P %d %dk 4k' % (i % 200 + 1, i * 4)):
                return
        except (OSError, AssertionError, EOFError, KeyError):
            return
        acknowledged.append(i)


def test_what_was_flushed_is_there_whoever_is_killed_whenever():
    rng = random.Random(int(os.environ.get('SEED', '7')))
    for turn in range(6):
        with Folder():
            create()
            a, b = VM('a', *DISK), VM('b', *DISK, *INCOMING)
            acknowledged, stop = [], threading.Event()
            t = threading.Thread(target=writer, args=(a, acknowledged, stop))
            t.start()
            time.sleep(rng.random() * 0.1)
            other = socket.socket(socket.AF_UNIX)
            other.connect('a.qmp')
            other.recv(4096)
            other.sendall(b'{"execute": "qmp_capabilities"}\n{"execute": "migrate", "arguments": {"uri": "unix:mig"}}\n')
            time.sleep(rng.random() * 0.05)
            (a if turn % 2 else b).kill()
            time.sleep(0.1)
            stop.set()
            t.join()
            for vm in a, b:
                if vm.proc.poll() is None:
                    vm.kill()
            other.close()
            check(killed=True)
            for i in acknowledged:
                subprocess.run([IO, '-r', '-c', 'read -q -P %d %dk 4k' % (i % 200 + 1, i * 4), 'a.qcow2'], check=True)


if __name__ == '__main__':
    main(globals())
