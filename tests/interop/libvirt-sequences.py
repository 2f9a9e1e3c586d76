#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What libvirt sends to merge, flatten and copy disks, and for checkpoints and backups, works while the guest writes.
The same is said to QEMU's daemon where it is installed: events and answers have to be the same, in the same order.

    QSD=/usr/bin/qemu-storage-daemon ./libvirt-sequences.py [test_...]      # what QEMU does
"""
import contextlib
import functools
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from consumer import QSD, SIZE, Consumer                                # noqa: E402
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../qmp'))
from guest import Guest                                                 # noqa: E402
from reference import NotThere, reference_program                       # noqa: E402
from rig import import_nbd, main, requires, run                         # noqa: E402

requires('qemu-img', 'qemu-io')
nbd = import_nbd()

BASE, ONE, TWO = 'libvirt-1-format', 'libvirt-2-format', 'libvirt-3-format'
KEEP = {'auto-finalize': True, 'auto-dismiss': False}


def reference():
    try:
        return reference_program('qemu-storage-daemon')[0]
    except NotThere:
        return None


def both(sequence):
    """A test: the sequence works, and QEMU's daemon tells the same of it."""
    @functools.wraps(sequence)
    def test():
        with Consumer() as c:
            sequence(c)
            c.check_images()
        theirs = reference()
        if theirs and os.path.realpath(theirs) != os.path.realpath(QSD):
            with Consumer(theirs) as other:
                sequence(other)
                other.check_images()
            compare(c, other)
    return test


def compare(ours, theirs):
    lines = []
    for key in sorted(set(ours.story) | set(theirs.story), key=str):
        lines += difference('event of %s' % key, *(without_rests(s.story.get(key, [])) for s in (ours, theirs)))
    lines += difference('reply', ours.replies, theirs.replies)
    assert not lines, '\n'.join(lines)


def without_rests(events):
    """QEMU's jobs say that they are in standby whenever disks come to rest, and then what they were again.
    And one error that several requests come upon is told once or more often."""
    result, rests = [], False
    for e in events:
        if e[0] == 'BLOCK_JOB_ERROR' and result and result[-1] == e:
            continue
        if e[0] == 'JOB_STATUS_CHANGE' and e[2]['status'] in ('standby', 'paused'):
            rests = True
        elif not rests or e[0] != 'JOB_STATUS_CHANGE':
            result.append(e)
        else:
            rests = False
    return result


def difference(what, ours, theirs):
    for i in range(max(len(ours), len(theirs))):
        a, b = ([x[i] if i < len(x) else None for x in (ours, theirs)])
        if a != b:
            return ['%s %d:\n  here %r\n  QEMU %r' % (what, i, a, b)]
    return []


def chain(c):
    """base ← one ← two, as a domain's disk is opened."""
    for i, name in enumerate(('base', 'one', 'two')):
        below = ('base', 'one', 'two')[i - 1] if i else None
        c.create(name, 'qcow2', str(SIZE), *(['-b', c.path(below), '-F', 'qcow2'] if below else []))
        run('qemu-io', '-f', 'qcow2', '-c', 'write -P %d %dk 1M' % (i + 1, i * 512), '-c', 'write -z %dk 64k' % (i * 128),
            c.path(name))
        c.open(i + 1, c.path(name), backing='libvirt-%d-format' % i if below else None, read_only=i < 2)
    c.serve()


@contextlib.contextmanager
def running(c, seed=1):
    """The guest writes meanwhile, and in the end its disk is what it has written, also in the image @c.disk."""
    c.disk = 'two'
    with Guest(c, 'disk', SIZE, seed=seed, pause=0.002) as guest:
        time.sleep(0.1)
        yield guest
        time.sleep(0.05)
    guest.check()
    guest.h.flush()
    guest.h.shutdown()
    c.qmp.cmd('block-export-del', {'id': 'guest', 'mode': 'hard'})
    c.wait('BLOCK_EXPORT_DELETED', id='guest')
    if c.disk:
        guest.check(c.content(c.disk))


# -- blockcommit

def commit(c, ident, **arguments):
    c.send('block-commit', dict({'job-id': ident, 'device': TWO, **KEEP},
                                **{k.replace('_', '-'): v for k, v in arguments.items()}))


def merges_the_middle(c, reattach):
    chain(c)
    with running(c):
        commit(c, 'commit-vda-' + ONE, top_node=ONE, base_node=BASE, backing_file=c.path('base'),
               **({'speed': 1 << 20} if reattach else {}))
        if reattach:
            c.reattach()
            c.job('commit-vda-' + ONE)
            c.send('block-job-set-speed', {'device': 'commit-vda-' + ONE, 'speed': 0})
        c.conclude('commit-vda-' + ONE)
        c.nodes()
        c.close_node(2)
    assert c.files('two') == ['two', 'base']


@both
def test_a_middle_image_is_merged(c):
    merges_the_middle(c, False)


@both
def test_a_middle_image_is_merged_and_the_monitor_comes_back(c):
    merges_the_middle(c, True)


@both
def test_a_merge_of_a_middle_image_is_given_up(c):
    chain(c)
    with running(c):
        commit(c, 'j', top_node=ONE, base_node=BASE, backing_file=c.path('base'), speed=65536)
        c.block_job('j')
        c.send('block-job-cancel', {'device': 'j'})
        c.wait('BLOCK_JOB_CANCELLED', device='j')
        c.conclude('j', 'Operation canceled')
        c.nodes()
    assert c.files('two') == ['two', 'one', 'base']


TMP = {'name': 'libvirt-tmp-activewrite'}


def pivot(c, ident, node):
    """What is written from now on to the image that the guest goes to is noted, and it goes there."""
    c.is_at(ident, 'ready')
    c.block_job(ident)
    c.transaction(('block-dirty-bitmap-add', dict(TMP, node=node, persistent=False, disabled=False)))
    c.send('job-complete', {'id': ident})
    c.conclude(ident)
    c.transaction(('block-dirty-bitmap-remove', dict(TMP, node=node)))


@both
def test_the_active_image_is_merged(c):
    chain(c)
    with running(c):
        commit(c, 'commit-vda-' + TWO, top_node=TWO, base_node=BASE)
        pivot(c, 'commit-vda-' + TWO, BASE)
        c.nodes()
        c.close_node(3)
        c.close_node(2)
        c.disk = 'base'


@both
def test_the_active_image_is_merged_by_a_monitor_that_comes_when_it_is_ready(c):
    chain(c)
    with running(c):
        commit(c, 'j', top_node=TWO, base_node=ONE)
        c.is_at('j', 'ready')
        c.reattach()
        assert c.job('j')['status'] == 'ready'
        c.send('job-complete', {'id': 'j'})
        c.reattach()
        while c.job('j')['status'] != 'concluded':
            time.sleep(0.01)
        c.replies = [r for r in c.replies if r[0] != 'query-jobs']      # it depends on how long that took
        c.send('job-dismiss', {'id': 'j'})
        c.nodes()
        c.close_node(3)
        c.disk = 'one'
    assert c.files('one') == ['one', 'base']
    c.story.pop('j', None)                                              # some went to nobody


@both
def test_a_merge_of_the_active_image_is_given_up(c):
    chain(c)
    with running(c):
        for ready in False, True:
            commit(c, 'j', top_node=TWO, base_node=BASE, **({} if ready else {'speed': 65536}))
            if ready:
                c.is_at('j', 'ready')
            c.send('block-job-cancel', {'device': 'j'})
            c.wait('BLOCK_JOB_COMPLETED' if ready else 'BLOCK_JOB_CANCELLED', device='j')
            c.conclude('j', None if ready else 'Operation canceled')
            c.seen.clear()
        assert len(c.send('query-named-block-nodes', {'flat': True})) == 6      # QEMU's base stays writable
        c.refused('block-dirty-bitmap-remove', dict(TMP, node=BASE))
    assert c.files('two') == ['two', 'one', 'base']


# -- blockpull

@both
def test_an_image_gets_all_of_its_data(c):
    chain(c)
    with running(c):
        c.send('block-stream', {'job-id': 'pull-vda-' + TWO, 'device': TWO, **KEEP})
        c.conclude('pull-vda-' + TWO)
        c.nodes()
        c.close_node(2)
        c.close_node(1)
    assert c.files('two') == ['two']


@both
def test_an_image_gets_the_data_above_a_base(c):
    chain(c)
    with running(c):
        c.send('block-stream', {'job-id': 'j', 'device': TWO, 'base-node': BASE, 'backing-file': c.path('base'),
                                'speed': 65536, **KEEP})
        c.reattach()
        c.block_job('j')
        c.send('block-job-set-speed', {'device': 'j', 'speed': 0})
        c.conclude('j')
        c.nodes()
        c.close_node(2)
    assert c.files('two') == ['two', 'base']


@both
def test_a_pull_is_given_up(c):
    chain(c)
    with running(c):
        c.send('block-stream', {'job-id': 'j', 'device': TWO, 'speed': 65536, **KEEP})
        c.send('block-job-cancel', {'device': 'j'})
        c.wait('BLOCK_JOB_CANCELLED', device='j')
        c.conclude('j', 'Operation canceled')
        c.nodes()
    assert c.files('two') == ['two', 'one', 'base']


# -- blockcopy

def copy(c, ident, target, sync='full', **extra):
    c.send('blockdev-mirror', dict({'job-id': ident, 'device': TWO, 'target': target, 'sync': sync, **KEEP},
                                   **extra))


@both
def test_a_disk_moves_elsewhere(c):
    chain(c)
    with running(c):
        target = c.make(8, 'copy')
        copy(c, 'copy-vda-' + TWO, target)
        pivot(c, 'copy-vda-' + TWO, target)
        c.nodes()
        for n in 3, 2, 1:
            c.close_node(n)
        c.disk = 'copy'
    assert c.files('copy') == ['copy']


@both
def test_a_disk_is_copied_and_stays(c):
    chain(c)
    with running(c) as guest:
        target = c.make(8, 'copy')
        copy(c, 'j', target)
        c.is_at('j', 'ready')
        guest.stop()
        expected = bytes(guest.model)
        c.send('block-job-cancel', {'device': 'j'})
        c.conclude('j')
        c.nodes()
        c.close_node(8)
        assert c.content('copy') == expected


@both
def test_a_copy_is_given_up_before_it_is_ready(c):
    chain(c)
    with running(c):
        target = c.make(8, 'copy')
        copy(c, 'j', target, speed=65536)
        c.send('block-job-cancel', {'device': 'j'})
        c.wait('BLOCK_JOB_CANCELLED', device='j')
        c.conclude('j', 'Operation canceled')
        c.close_node(8)
        c.nodes()


@both
def test_the_top_image_moves_elsewhere_on_the_same_chain(c):
    """blockcopy --shallow: two overlays over one base for a while."""
    chain(c)
    with running(c):
        target = c.make(8, 'copy', backing=ONE, backing_file='one')
        copy(c, 'j', target, sync='top')
        pivot(c, 'j', target)
        c.nodes()
        c.close_node(3)
        c.disk = 'copy'
    assert c.files('copy') == ['copy', 'one', 'base']


@both
def test_the_top_image_moves_onto_a_chain_that_is_copied_meanwhile(c):
    """blockcopy --shallow --reuse-external: the copy gets its backing chain right before the guest goes there."""
    chain(c)
    with running(c):
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', c.path('flat'), '-u', c.path('copy'), str(SIZE))
        target = c.open(8, c.path('copy'))
        copy(c, 'j', target, sync='top')
        c.is_at('j', 'ready')
        run('qemu-img', 'convert', '-U', '-f', 'qcow2', '-O', 'qcow2', c.path('one'), c.path('flat'))
        backing = c.open(9, c.path('flat'), read_only=True)
        c.transaction(('blockdev-snapshot', {'node': backing, 'overlay': target}))
        pivot(c, 'j', target)
        c.nodes()
        for n in 3, 2, 1:
            c.close_node(n)
        c.disk = 'copy'
    assert c.files('copy') == ['copy', 'flat']


# -- checkpoints

def add_bitmap(name, node=TWO, **extra):
    return 'block-dirty-bitmap-add', dict({'node': node, 'name': name, 'persistent': True, 'disabled': False}, **extra)


def merge(name, *sources, node=TWO):
    return 'block-dirty-bitmap-merge', {'node': node, 'target': name, 'bitmaps': [
        {'node': n, 'name': b} for n, b in sources]}


def remove(name, node=TWO):
    return 'block-dirty-bitmap-remove', {'node': node, 'name': name}


def changed(before, after, step=65536):
    return {i for i in range(0, SIZE, step) if before[i:i + step] != after[i:i + step]}


@both
def test_checkpoints_come_and_go(c):
    """Each bitmap has what was written since the one before; one that goes gives it to its parent."""
    chain(c)
    with running(c):
        c.transaction(add_bitmap('c1'))
        time.sleep(0.1)
        c.transaction(add_bitmap('c2'), ('block-dirty-bitmap-disable', {'node': TWO, 'name': 'c1'}))
        time.sleep(0.1)
        c.transaction(add_bitmap('c3'), ('block-dirty-bitmap-disable', {'node': TWO, 'name': 'c2'}))
        counts = [c.bitmap(TWO, 'c%d' % i)['count'] for i in (1, 2)]
        assert all(counts), counts
        c.transaction(merge('c1', (TWO, 'c2')), remove('c2'))
        assert c.bitmap(TWO, 'c1')['count'] >= max(counts)
        c.refused('transaction', {'actions': [{'type': t, 'data': d} for t, d in (
            add_bitmap('c4'), merge('c4', (TWO, 'c1'), (TWO, 'nothing')), remove('c1'))]})
        c.nodes()
        c.transaction(remove('c1'), remove('c3'))
        c.nodes()


@both
def test_bitmaps_of_a_merged_image_are_merged_into_its_base(c):
    chain(c)
    with running(c):
        c.transaction(add_bitmap('c1'))
        time.sleep(0.1)
        top = c.make(4, 'three', backing_file='two')
        c.transaction(add_bitmap('c1', node=top, granularity=65536),
                      ('blockdev-snapshot', {'node': TWO, 'overlay': top}))
        c.disk = 'three'
        time.sleep(0.1)
        over = c.make(5, 'four', backing_file='three')
        c.transaction(add_bitmap('c1', node=over, granularity=65536), ('blockdev-snapshot', {'node': top, 'overlay': over}))
        c.disk = 'four'
        count = c.bitmap(TWO, 'c1')['count']
        c.send('block-commit', {'job-id': 'j', 'device': over, 'top-node': top, 'base-node': TWO,
                                'backing-file': c.path('two'), **KEEP})
        c.conclude('j')
        c.send('blockdev-reopen', {'options': [dict(c.format_options(3, backing=ONE))]})
        c.transaction(merge('c1', (top, 'c1')))
        c.send('blockdev-reopen', {'options': [dict(c.format_options(3, backing=ONE, read_only=True))]})
        assert c.bitmap(TWO, 'c1')['count'] > count
        c.close_node(4)
    assert c.files('four') == ['four', 'two', 'one', 'base']


# -- backup

def backup(ident, target, **extra):
    return 'blockdev-backup', dict({'device': TWO, 'job-id': ident, 'target': target, 'sync': 'full', **KEEP}, **extra)


def begin(c, guest, *actions):
    """Nobody writes at the moment of the command, so that what the disk was is known."""
    guest.stop()
    c.transaction(*actions)
    expected = bytes(guest.model)
    guest.ended.clear()
    guest.thread = type(guest.thread)(target=guest.run)
    guest.thread.start()
    return expected


@both
def test_backups_are_pushed_in_full_and_by_increments(c):
    chain(c)
    with running(c) as guest:
        full = begin(c, guest, add_bitmap('c1'), backup('backup-vda-' + TWO, c.make(7, 'full')))
        time.sleep(0.1)
        c.conclude('backup-vda-' + TWO)
        c.close_node(7)
        assert c.content('full') == full
        target = c.make(8, 'increment')
        now = begin(c, guest, add_bitmap('c2'),
                    add_bitmap('backup-vda', persistent=False, disabled=True, granularity=65536),
                    merge('backup-vda', (TWO, 'c1')),
                    backup('j', target, sync='incremental', bitmap='backup-vda', speed=2 << 20))
        c.reattach()
        c.send('block-job-set-speed', {'device': 'j', 'speed': 0})
        c.conclude('j')
        c.transaction(remove('backup-vda'))
        c.close_node(8)
        run('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', c.path('full'), c.path('increment'))
        assert c.content('increment') == now
        c.nodes()


@both
def test_a_pushed_backup_is_given_up(c):
    chain(c)
    with running(c) as guest:
        begin(c, guest, backup('j', c.make(7, 'full'), speed=65536))
        c.send('block-job-cancel', {'device': 'j', 'force': True})
        c.wait('BLOCK_JOB_CANCELLED', device='j')
        c.conclude('j', 'Operation canceled')
        c.close_node(7)
        c.nodes()


def read_bitmap(c, export, name):
    """Where it has bits, as a client of NBD sees it."""
    h = nbd.NBD()
    h.add_meta_context('qemu:dirty-bitmap:' + name)
    h.connect_uri(c.uri(export))
    dirty, at = set(), 0
    while at < SIZE:
        found = []
        h.block_status(SIZE - at, at, lambda _context, _at, entries, _error: found.extend(entries))
        for length, flags in zip(found[::2], found[1::2]):
            if flags & 1:
                dirty |= set(range(at - at % 65536, at + length, 65536))
            at += length
    data = bytes(h.pread(SIZE, 0))
    h.shutdown()
    return dirty, data


@both
def test_a_backup_is_pulled(c):
    chain(c)
    with running(c) as guest:
        old = begin(c, guest, add_bitmap('c1'))
        time.sleep(0.1)
        scratch = c.make(9, 'scratch', backing=TWO, backing_file='two')
        now = begin(c, guest, add_bitmap('c2'),
                    add_bitmap('backup-vda', persistent=False, disabled=True, granularity=65536),
                    merge('backup-vda', (TWO, 'c1')), backup('j', scratch, sync='none'))
        c.send('block-export-add', {'type': 'nbd', 'id': 'vda', 'node-name': scratch, 'writable': False,
                                    'name': 'vda', 'bitmaps': ['backup-vda']})
        c.reattach()
        c.send('query-jobs')
        time.sleep(0.1)
        dirty, data = read_bitmap(c, 'vda', 'backup-vda')
        assert data == now and data != bytes(guest.model)
        assert changed(old, now) <= dirty, changed(old, now) - dirty
        c.send('block-export-del', {'id': 'vda'})
        c.wait('BLOCK_EXPORT_DELETED', id='vda')
        c.send('block-job-cancel', {'device': 'j', 'force': True})
        c.wait('BLOCK_JOB_CANCELLED', device='j')
        c.conclude('j', 'Operation canceled')
        c.transaction(remove('backup-vda'))
        c.close_node(9)
        c.nodes()


@both
def test_the_server_of_a_pulled_backup_is_stopped_while_it_is_read(c):
    """libvirt ends the job, then the server, once for each disk, and believes in no answer but the first."""
    chain(c)
    with running(c) as guest:
        scratch = c.make(9, 'scratch', backing=TWO, backing_file='two')
        begin(c, guest, backup('j', scratch, sync='none'))
        c.send('block-export-add', {'type': 'nbd', 'id': 'vda', 'node-name': scratch, 'writable': False, 'name': 'vda'})
        h = nbd.NBD()
        h.connect_uri(c.uri('vda'))
        h.pread(512, 0)
        guest.stop()
        guest.h.flush()
        c.send('block-job-cancel', {'device': 'j', 'force': True})
        c.send('nbd-server-stop')
        c.refused('nbd-server-stop', None)
        c.wait('BLOCK_EXPORT_DELETED', id='vda')
        c.conclude('j', 'Operation canceled')
        c.close_node(9)
        c.seen.clear()
        c.serve()
        guest.h = c.nbd('disk')
        c.story.pop('guest')


# -- engines that read errors from query-jobs

@both
def test_a_job_that_fails_says_so_in_query_jobs(c):
    chain(c)                            # and nobody writes: QEMU lets the guest's writes fail with the backup
    with open(c.path('bad'), 'w') as f:
        f.truncate(SIZE)
    c.send('blockdev-add', {'driver': 'blkdebug', 'node-name': 'bad', 'inject-error': [
        {'event': 'none', 'iotype': 'write', 'errno': 28}],
        'image': {'driver': 'file', 'filename': c.path('bad')}})
    c.send(*backup('j0', 'bad'))
    c.wait('BLOCK_JOB_COMPLETED', device='j0')
    c.conclude('j0', 'No space left on device')
    copy(c, 'j1', 'bad')
    c.wait('BLOCK_JOB_COMPLETED', device='j1')
    c.conclude('j1', 'No space left on device')
    c.nodes()


if __name__ == '__main__':
    main(globals())
