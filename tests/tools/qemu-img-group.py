#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
qemu-img group does to several images what is asked for, or nothing to any of them, whatever fails and whenever it is
killed.  QEMU_IMG names the program under test; the installed one makes the bases and reads what it leaves.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qmp'))
from rig import Rig, main, requires, run, skip                          # noqa: E402

requires('qemu-img', 'qemu-io')
OURS = os.path.abspath(os.environ.get('QEMU_IMG') or os.path.join(HERE, '../../build/tools/qemu-img'))
PAIRS = ('a', 'a1', 'b', 'b1', 'c', 'c1')
OVERLAYS = PAIRS[1::2]


def img(*args, status=0, program=(), **kwargs):
    r = subprocess.run([*program, OURS, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=120, **kwargs)
    assert r.returncode == status, (args, r.returncode, r.stdout)
    return r.stdout.replace(OURS, 'qemu-img')


@contextlib.contextmanager
def folder(dir=None):
    """Three disks: a qcow2 one, a raw one of an odd length, and a qcow2 one on another."""
    d = tempfile.mkdtemp(prefix='group-', dir=dir)
    os.chdir(d)
    run('qemu-img', 'create', '-q', '-f', 'qcow2', 'a', '8M')
    run('qemu-io', '-c', 'write -P 1 0 1M', 'a')
    with open('b', 'wb') as f:
        f.write(b'\2' * 5000)
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'a', '-F', 'qcow2', 'c', '9M')
    run('qemu-io', '-c', 'write -P 3 1M 1M', 'c')
    try:
        yield d
    finally:
        os.chdir('/')
        shutil.rmtree(d)


def info(name):
    return json.loads(run('qemu-img', 'info', '-U', '--output=json', name))


def content(name):
    run('qemu-img', 'convert', '-O', 'raw', name, '.content')
    digest = run('sha1sum', '.content')
    os.unlink('.content')
    return digest


def check_overlay(name, base):
    run('qemu-img', 'check', '-q', name)
    assert os.path.realpath(info(name)['full-backing-filename']) == os.path.realpath(base), info(name)
    run('qemu-img', 'compare', '-q', name, base)


def fails(*args, names=None, **kwargs):
    """What it says; it leaves the folder as it was."""
    before = sorted(os.listdir()) if names is None else names
    sums = run('sha1sum', *(f for f in before if os.path.isfile(f)))
    out = img('group', *args, status=1, **kwargs)
    assert sorted(os.listdir()) == before, (sorted(os.listdir()), out)
    assert run('sha1sum', *(f for f in before if os.path.isfile(f))) == sums
    return out


# ---- create

def test_every_base_gets_its_overlay():
    with folder():
        img('group', 'create', '-o', 'cluster_size=4k', *PAIRS)
        for base, overlay in zip(PAIRS[::2], OVERLAYS):
            check_overlay(overlay, base)
            assert info(overlay)['cluster-size'] == 4096
        assert [info(o)['backing-filename-format'] for o in OVERLAYS] == ['qcow2', 'raw', 'qcow2']
        assert [info(o)['virtual-size'] for o in OVERLAYS] == [8 << 20, 5120, 9 << 20]
        assert info('a1')['backing-filename'] == 'a'


def test_a_base_is_found_from_its_overlay():
    with folder() as d:
        os.mkdir('sub')
        img('group', 'create', 'a', 'sub/a1', './b', './b1', os.path.join(d, 'c'), 'c1')
        check_overlay('sub/a1', 'a')
        check_overlay('c1', 'c')
        run('qemu-img', 'info', 'b1')
        assert info('b1')['backing-filename'] == 'b'
        assert info('sub/a1')['backing-filename'] == os.path.join(os.path.realpath(d), 'a'), info('sub/a1')


def test_a_group_that_cannot_be_made_is_not_there():
    with folder():
        with open('taken', 'w') as f:
            f.write('x')
        os.mkdir('folder')
        for base, overlay, text in (('b', 'taken', 'File exists'), ('nothere', 'b1', "Could not open 'nothere'"),
                                    ('b', 'none/b1', 'No such file'), ('b', './a1', "the same file as 'a1'"),
                                    ('b', 'folder', 'is a directory'), ('b', 'a', 'File exists'), ('b', 'b', 'File exists')):
            out = fails('create', 'a', 'a1', base, overlay, 'c', 'c1')
            assert out.startswith('qemu-img: %s: ' % overlay) and text in out, out
            assert out.endswith('qemu-img: no overlay was made\n'), out
        assert 'pairs' in fails('create', 'a', 'a1', 'b')
        assert 'pairs' in fails('create')
        assert "'size'" in fails('create', '-o', 'size=1M', 'a', 'a1')
        assert "'data_file'" in fails('create', '-o', 'data_file=d', 'a', 'a1')
        assert 'not supported' in fails('create', '-f', 'raw', 'a', 'a1')
        assert 'Unknown file format' in fails('create', '-f', 'nonsense', 'a', 'a1')
        assert 'nonsense' in fails('create', '-o', 'nonsense=1', 'a', 'a1')
        assert "Could not open 'b'" in fails('create', '-F', 'qcow2', 'a', 'a1', 'b', 'b1')


def test_a_damaged_base_is_refused():
    with folder():
        with open('c', 'r+b') as f:
            f.seek(72)
            f.write(b'\0\0\0\0\0\0\0\2')          # the bit that says so
        assert 'marked as damaged' in fails('create', 'a', 'a1', 'c', 'c1')


def test_a_base_that_a_daemon_writes_to_is_refused():
    with folder(), Rig() as rig:
        rig.start()
        rig.cmd('blockdev-add', node_name='b', driver='raw', file={'driver': 'file', 'filename': os.path.abspath('b')})
        rig.cmd('block-export-add', type='nbd', id='e', node_name='b', writable=True)
        out = fails('create', 'a', 'a1', 'b', 'b1')
        assert out.startswith('qemu-img: b1: ') and 'lock' in out, out
        rig.cmd('block-export-del', id='e')
        rig.cmd('blockdev-del', node_name='b')
        img('group', 'create', 'a', 'a1', 'b', 'b1')


@contextlib.contextmanager
def small_file_system(size):
    d = tempfile.mkdtemp(prefix='group-full-')
    try:
        if os.geteuid() or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=' + size, 'tmpfs', d]).returncode:
            skip('only root can mount a tmpfs')
        try:
            yield d
        finally:
            run('umount', d)
    finally:
        os.rmdir(d)


def test_on_a_full_file_system_no_overlay_is_made():
    with folder(), small_file_system('64k') as small:
        with open(small + '/filler', 'wb') as f:
            f.write(bytes(48 << 10))
        out = img('group', 'create', 'a', 'a1', 'c', small + '/c1', 'b', small + '/b1', 'c', small + '/c2', 'a', small + '/a2',
                  status=1)
        assert 'No space left' in out and 'no overlay was made' in out, out
        assert os.listdir(small) == ['filler'] and not os.path.exists('a1')


def traced(calls, *args, path=None):
    """Runs @args under strace, which does something to a system call (counted for each thread by itself), with @path
    only where it is about that; (status, output)"""
    requires('strace')
    if subprocess.run(['strace', '-qq', '-o', '/dev/null', 'true'], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                      timeout=60, check=False).returncode:
        skip('processes cannot be traced here')
    r = subprocess.run(['strace', '-f', '-qq', '-o', '/dev/null', *(['-P', path] if path else []), '-e',
                        'trace=' + calls.split(':')[0], '-e', 'inject=' + calls, OURS, *args], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    return r.returncode, r.stdout


def overlays_in_folders():
    """Names for the command, of overlays that have a folder each; what they have to do with these folders can be told
    apart."""
    try:
        os.close(os.open('.', os.O_TMPFILE | os.O_RDWR))
    except OSError:
        skip('this file system knows no files without a name')
    for n in '012':
        os.mkdir(n)
    return ['a', '0/a1', 'b', '1/b1', 'c', '2/c1']


def all_names():
    return sorted(os.path.join(d, f) for d, _, files in os.walk('.') for f in files)


def test_a_name_that_cannot_be_had_takes_back_the_others():
    with folder():
        pairs = overlays_in_folders()
        names = all_names()
        for n in range(3):
            for call, error, text in (('linkat', 'EDQUOT', 'Disk quota exceeded'), ('fsync', 'EIO', 'Cannot sync the directory')):
                status, out = traced('%s:error=%s' % (call, error), 'group', 'create', *pairs, path=os.path.abspath(str(n)))
                assert status == 1 and text in out and out.startswith('qemu-img: %s: ' % pairs[2 * n + 1]), (status, out)
                assert all_names() == names, all_names()
        img('group', 'create', *pairs)


def test_killed_at_any_moment_each_overlay_is_complete_or_absent():
    with folder():
        pairs = overlays_in_folders()
        names = all_names()

        def made(call, **kwargs):
            """How many there are after that."""
            traced(call + ':signal=KILL', 'group', 'create', *pairs, **kwargs)
            there = [(o, b) for b, o in zip(pairs[::2], pairs[1::2]) if os.path.exists(o)]
            assert all_names() == sorted(names + ['./' + o for o, _ in there]), all_names()
            for overlay, base in there:
                check_overlay(overlay, base)
            for overlay, base in there:
                os.unlink(overlay)
            return len(there)

        for n in range(3):
            assert made('linkat', path=os.path.abspath(str(n))) in (n, n + 1)
            assert made('fsync', path=os.path.abspath(str(n))) == 3
        for call in ('ftruncate', 'fallocate', 'pwrite64', 'fdatasync', 'io_uring_enter'):
            for n in range(1, 6):
                made(call + ':when=%d' % n)


def test_a_signal_leaves_all_or_none():
    with folder():
        names = sorted(os.listdir())
        for delay in range(0, 40, 2):
            p = subprocess.Popen([OURS, 'group', 'create', '-q', *PAIRS], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay / 1000)
            p.send_signal(signal.SIGTERM)
            p.wait()
            made = [o for o in OVERLAYS if os.path.exists(o)]
            assert sorted(os.listdir()) == sorted(names + made) and len(made) in (0, 3), os.listdir()
            for o in made:
                os.unlink(o)


# ---- commit

def written():
    img('group', 'create', '-q', *PAIRS)
    run('qemu-io', '-c', 'write -P 11 512k 1M', '-c', 'write -z 3M 1M', 'a1')
    run('qemu-io', '-c', 'write -P 12 4096 1024', 'b1')
    run('qemu-io', '-c', 'write -P 13 8M 1M', 'c1')


def test_every_overlay_is_in_its_base_afterwards():
    with folder():
        # Not on each other: what one commits would change the other.
        run('qemu-img', 'rebase', '-b', '', 'c')
        written()
        before = [content(o) for o in OVERLAYS]
        out = img('group', 'commit', *OVERLAYS)
        assert out == "Committed 'a1'\nCommitted 'b1'\nCommitted 'c1'\n", out
        for i, (base, overlay) in enumerate(zip(PAIRS[::2], OVERLAYS)):
            assert content(base) == before[i] == content(overlay), base
            run('qemu-img', 'check', '-q', overlay)
            assert not [e for e in json.loads(run('qemu-img', 'map', '--output=json', overlay)) if e['data'] and not e['depth']]


def test_a_group_that_cannot_be_committed_is_as_it_was():
    with folder():
        run('qemu-img', 'rebase', '-b', '', 'c')
        written()
        assert fails('commit', 'a1', 'a').startswith('qemu-img: a: Image does not have a backing file')
        assert "same file as 'a1'" in fails('commit', 'a1', './a1')
        img('group', 'create', '-q', 'a', 'a2', 'a1', 'a11')
        assert "same backing file as 'a1'" in fails('commit', 'a1', 'a2')
        assert "backing file of 'a11'" in fails('commit', 'a11', 'a1')
        assert "another member" in fails('commit', 'a1', 'a11')
        os.rename('b', 'elsewhere')
        assert 'b1: ' in fails('commit', 'a1', 'b1')
        os.rename('elsewhere', 'b')
        with Rig() as rig:
            rig.start()
            rig.cmd('blockdev-add', node_name='b', driver='raw',
                    file={'driver': 'file', 'filename': os.path.abspath('b')})
            rig.cmd('block-export-add', type='nbd', id='e', node_name='b', writable=True)
            out = fails('commit', 'a1', 'b1')
            assert 'b1: ' in out and 'lock' in out and out.endswith('nothing was changed\n'), out


def test_without_room_nothing_is_committed():
    with folder(), small_file_system('4M') as small:
        for n in 'ab':
            run('qemu-img', 'create', '-q', '-f', 'raw', small + '/' + n, '64M')
            img('group', 'create', '-q', small + '/' + n, os.path.abspath(n + '9'))
            run('qemu-io', '-c', 'write -P 5 0 3M', n + '9')
        sums = run('sha1sum', small + '/a', small + '/b', 'a9', 'b9')
        out = fails('commit', 'a9', 'b9')
        assert re.search(r"the file system of '.*/a' has 3.99 MiB left, and up to 5.\d* MiB are needed", out), out
        assert run('sha1sum', small + '/a', small + '/b', 'a9', 'b9') == sums
        before = content('a9'), content('b9')
        out = img('group', 'commit', '--force', 'a9', 'b9', status=1)
        assert 'No space left' in out and 'reads as before' in out, out
        assert (content('a9'), content('b9')) == before
        img('group', 'commit', 'a9')                # by itself it fits
        assert content('a9') == before[0]


# ---- check and info

def test_the_worst_result_of_a_check_is_its_status():
    with folder():
        assert 'No errors' in img('group', 'check', 'a', 'c')
        img('group', 'check', '-q', 'a', 'b', status=63)
        run('qemu-img', 'create', '-q', '-f', 'qcow2', 'leak', '1M')
        with open('leak', 'r+b') as f:
            f.seek(0x20000 + 2 * 9)                 # the refcount of a cluster that nothing uses
            f.write(b'\0\1')
        out = img('group', 'check', 'a', 'leak', 'b', status=3)
        assert re.search(r'^leak:\nLeaked cluster', out, re.M), out
        img('group', 'check', '-q', 'leak', 'nothere', status=1)
        shutil.copy('a', 'broken')
        with open('broken', 'r+b') as f:
            f.seek(0x20000 + 2 * 5)
            f.write(b'\0\0')
        img('group', 'check', '-q', 'broken', 'leak', 'nothere', 'a', status=2)
        r = subprocess.run([OURS, 'group', 'check', '--output=json', 'a', 'nothere', 'leak'], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        found = json.loads(r.stdout)
        assert [c['filename'] for c in found] == ['a', 'leak'] and found[1]['leaks'] == 1 and r.returncode == 1, r
        img('group', 'check', '-q', '-r', 'leaks', 'leak', 'a')
        run('qemu-img', 'check', '-q', 'leak')


def test_several_chains_at_once():
    with folder():
        written()
        found = json.loads(img('group', 'info', '--output=json', *OVERLAYS))
        assert [f['image'] for f in found] == list(OVERLAYS)
        assert [[os.path.basename(i['filename']) for i in f['chain']] for f in found] == [['a1', 'a'], ['b1', 'b'], ['c1', 'c', 'a']]
        text = img('group', 'info', 'a1', 'c1')
        assert re.findall(r"^chain of '(\w+)', (\d) images:$", text, re.M) == [('a1', '2'), ('c1', '3')], text
        dot = img('group', 'info', '--output=dot', 'a1', 'c1')
        assert dot.count('"a" [label') == 1 and '"c" -> "a"' in dot and '"a1" -> "a"' in dot, dot
        assert 'nothere' in img('group', 'info', 'a1', 'nothere', status=1)
        assert 'Expecting' in img('group', 'info', status=1)
        assert 'Expecting' in img('group', 'nonsense', 'a1', status=1)


if __name__ == '__main__':
    main(globals())
