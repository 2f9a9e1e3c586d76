#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""block-commit and block-stream: a chain gets shorter while guests write, and nobody reads another byte than before,
whatever happens meanwhile."""
import contextlib
import os
import time

from guest import Guest
from rig import Rig, import_nbd, main, requires, run

requires('qemu-img', 'qemu-io')
nbd = import_nbd()

SIZE = 4 << 20


def make(r, *sizes):
    """A chain base ← img1 ← img2 ...; each image has something that the others have not."""
    names = ['base'] + ['img%d' % i for i in range(1, len(sizes))]
    for i, (name, size) in enumerate(zip(names, sizes)):
        if i == 0:
            r.create(name, 'qcow2', str(size))
        else:
            r.create(name, 'qcow2', str(size), '-b', r.path(names[i - 1]), '-F', 'qcow2')
        run('qemu-io', '-f', 'qcow2', '-c', 'write -P %d %dk 1M' % (i + 1, i * 256), '-c', 'write -z %dk 64k' % (64 * i),
            r.path(name))
    return names


def options(r, names, i=None):
    i = len(names) - 1 if i is None else i
    o = {'driver': 'qcow2', 'node-name': names[i], 'discard': 'unmap', 'read-only': i < len(names) - 1,
         'file': {'driver': 'file', 'filename': r.path(names[i]), 'read-only': i < len(names) - 1}}
    if i > 0:
        o['backing'] = options(r, names, i - 1)
    return o


@contextlib.contextmanager
def chain(*sizes):
    with Rig() as r:
        names = make(r, *(sizes or (SIZE,) * 4))
        r.start()
        r.qmp.cmd('blockdev-add', options(r, names))
        r.export(names[-1], name='disk')
        yield r


def content(path):
    run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', path, path + '.raw')
    with open(path + '.raw', 'rb') as f:
        return f.read()


def ended(r, name='BLOCK_JOB_COMPLETED'):
    e = r.qmp.wait_event(name)['data']
    r.qmp.wait_event('JOB_STATUS_CHANGE', status='null')
    return e


def names_of(r):
    return r.chain('exp-disk')


def check_at_rest(r, guest, top='img3'):
    guest.check()
    guest.h.flush()
    guest.h.shutdown()
    r.stop()
    guest.check(content(r.path(top)))
    for name in names_on_disk(r, top):
        run('qemu-img', 'check', '-q', name)


def names_on_disk(r, top):
    out = run('qemu-img', 'info', '--backing-chain', r.path(top))
    return [line.split(': ', 1)[1] for line in out.splitlines() if line.startswith('image: ')]


def test_images_in_the_middle_are_merged_while_guests_write():
    for arguments, left in (({'top_node': 'img2', 'base_node': 'base'}, ['img3', 'base']),
                            ({'top_node': 'img2', 'base_node': 'img1'}, ['img3', 'img1', 'base']),
                            ({'top_node': 'img1'}, ['img3', 'img2', 'base'])):
        with chain() as r:
            with Guest(r, 'disk', SIZE) as guest:
                r.cmd('block-commit', job_id='j', device='img3', **arguments)
                e = ended(r)
                assert 'error' not in e and e['len'] == e['offset'] == SIZE, e
                assert names_of(r) == left, names_of(r)
            for n in r.cmd('query-named-block-nodes'):
                assert n['ro'] or n['node-name'] == 'img3' or 'img3' in n['file'], n
            check_at_rest(r, guest)
            assert [os.path.basename(n) for n in names_on_disk(r, 'img3')] == left


def test_the_topmost_image_is_merged_and_guests_move_to_the_base():
    for base in 'base', 'img1', 'img2':
        with chain() as r:
            with Guest(r, 'disk', SIZE) as guest:
                r.cmd('block-commit', job_id='j', device='img3', base_node=base)
                r.qmp.wait_event('BLOCK_JOB_READY')
                time.sleep(0.1)
                r.cmd('job-complete', id='j')
                ended(r)
                assert names_of(r)[0] == base, names_of(r)
            guest.check()
            r.snapshot(r.member(base, 'next'))          # it is a disk as any other
            guest.h.pwrite(b'n' * 4096, 0)
            guest.model[:4096] = b'n' * 4096
            check_at_rest(r, guest, 'next')


def test_a_merge_of_the_topmost_image_can_be_given_up():
    for ready, command in ((False, 'job-cancel'), (True, 'job-cancel'), (True, 'block-job-cancel')):
        with chain() as r:
            with Guest(r, 'disk', SIZE) as guest:
                r.cmd('block-commit', job_id='j', device='img3', speed=0 if ready else 1 << 20)
                if ready:
                    r.qmp.wait_event('BLOCK_JOB_READY')
                if command == 'job-cancel':
                    r.cmd(command, id='j')
                    ended(r, 'BLOCK_JOB_CANCELLED')
                else:
                    r.cmd(command, device='j')
                    ended(r)
                assert names_of(r) == ['img3', 'img2', 'img1', 'base']
            for n in r.cmd('query-named-block-nodes'):
                assert n['ro'] or n['node-name'] == 'img3' or 'img3' in n['file'], n
            check_at_rest(r, guest)


def test_an_image_gets_all_of_its_data_or_what_lies_above_a_base():
    for arguments, left in (({}, ['img3']), ({'base_node': 'base'}, ['img3', 'base']),
                            ({'bottom': 'img2'}, ['img3', 'img1', 'base'])):
        with chain() as r:
            with Guest(r, 'disk', SIZE) as guest:
                r.cmd('block-stream', job_id='j', device='img3', **arguments)
                e = ended(r)
                assert 'error' not in e and e['len'] == e['offset'] == SIZE, e
                assert names_of(r) == left, names_of(r)
            check_at_rest(r, guest)
            assert [os.path.basename(n) for n in names_on_disk(r, 'img3')] == left


def test_an_image_in_the_middle_can_get_all_of_its_data():
    with chain() as r:
        with Guest(r, 'disk', SIZE) as guest:
            r.cmd('block-stream', job_id='j', device='img2')
            ended(r)
            assert names_of(r) == ['img3', 'img2'], names_of(r)
            middle, = (n for n in r.cmd('query-named-block-nodes') if n['node-name'] == 'img2')
            assert middle['ro']
        check_at_rest(r, guest)


def test_images_of_different_lengths_are_merged_as_they_are_read():
    for sizes in ((2 << 20, SIZE, 3 << 20, SIZE), (SIZE, 2 << 20, SIZE, SIZE), (SIZE, SIZE - 512, SIZE // 2, SIZE)):
        for command, arguments in (('block-commit', {'top_node': 'img2', 'base_node': 'base'}),
                                   ('block-commit', {'top_node': 'img2', 'base_node': 'img1'}),
                                   ('block-stream', {}), ('block-stream', {'base_node': 'img1'})):
            with chain(*sizes) as r:
                with Guest(r, 'disk', SIZE, most=4096, pause=0.001) as guest:
                    r.cmd(command, job_id='j', device='img3', **arguments)
                    e = ended(r)
                    assert 'error' not in e, e
                check_at_rest(r, guest)


def test_a_kill_in_the_middle_changes_nothing_that_is_read():
    for command, arguments in (('block-commit', {'top_node': 'img2'}), ('block-commit', {}), ('block-stream', {}),
                               ('block-stream', {'base_node': 'base'})):
        for delay in 0, 0.02, 0.1, 0.3:
            with chain() as r:
                before = r.nbd('disk').pread(SIZE, 0)
                r.cmd(command, job_id='j', device='img3', speed=8 << 20, **arguments)
                time.sleep(delay)
                r.kill()
                assert content(r.path('img3')) == before, (command, arguments, delay)
                for name in names_on_disk(r, 'img3'):
                    out = run('sh', '-c', 'qemu-img check -q %s; test $? = 0 -o $? = 3' % name)
                    assert 'ERROR' not in out, out


def test_who_reads_what_is_being_merged_is_named():
    with chain() as r:
        r.export('img1', writable=False, name='reader')
        e = r.error('block-commit', job_id='j', device='img3', top_node='img2', base_node='base')
        assert "NBD export 'reader'" in e.desc, e.desc
        e = r.error('block-commit', job_id='j', device='img3', base_node='img1')
        assert "NBD export 'reader'" in e.desc, e.desc
        # A stream does not change what it reads.
        r.cmd('block-stream', job_id='j', device='img3', speed=65536)
        for command, arguments, text in (
                ('blockdev-snapshot-sync', {'node-name': 'img3', 'snapshot-file': r.path('o'),
                                            'snapshot-node-name': 'o'}, "block job 'j'"),
                ('block-commit', {'job-id': 'k', 'device': 'img3', 'top-node': 'img1'}, "does not allow")):
            e = r.error(command, **{k.replace('-', '_'): v for k, v in arguments.items()})
            assert text in e.desc, e.desc
        r.cmd('job-cancel', id='j')
        ended(r, 'BLOCK_JOB_CANCELLED')


def test_long_chains_are_merged_and_streamed():
    with Rig() as r:
        names = ['base'] + ['i%d' % i for i in range(200)]
        r.create('base', 'qcow2', '1M')
        for below, name in zip(names, names[1:]):
            r.create(name, 'qcow2', '1M', '-b', r.path(below), '-F', 'qcow2')
        for i in range(0, 200, 10):
            run('qemu-io', '-f', 'qcow2', '-c', 'write -P %d %d 4k' % (i // 10 + 1, i * 4096), r.path(names[i]))
        r.start()
        r.qmp.cmd('blockdev-add', {'driver': 'qcow2', 'node-name': 'top', 'file': {
            'driver': 'file', 'filename': r.path(names[-1])}})
        r.export('top', name='disk')
        h = r.nbd('disk')
        before = h.pread(1 << 20, 0)
        r.cmd('block-commit', job_id='j', device='top', top=r.path(names[-2]))
        assert 'error' not in ended(r)
        assert names_of(r) == [names[-1], 'base'] and h.pread(1 << 20, 0) == before
        r.cmd('block-stream', job_id='j', device='top')
        assert 'error' not in ended(r)
        assert names_of(r) == [names[-1]] and h.pread(1 << 20, 0) == before


def test_an_error_while_images_are_merged_leaves_the_chain():
    for command, arguments in (('block-commit', {'top_node': 'img2'}), ('block-stream', {})):
        for policy, action in (('report', 'report'), ('stop', 'stop')):
            with Rig() as r:
                names = make(r, *(SIZE,) * 4)
                r.start()
                o = options(r, names)
                where = o['backing']['backing']['backing'] if command == 'block-commit' else o
                where['file'] = {'driver': 'blkdebug', 'image': where['file'], 'read-only': where['read-only'],
                                 'inject-error': [{'event': 'none', 'iotype': 'write', 'errno': 5, 'once': True}]}
                r.qmp.cmd('blockdev-add', o)
                r.export('img3', name='disk')
                h = r.nbd('disk')
                before = h.pread(SIZE, 0)
                r.cmd(command, job_id='j', device='img3', on_error=policy, **arguments)
                e = r.qmp.wait_event('BLOCK_JOB_ERROR')['data']
                assert e['action'] == action, e
                if action == 'stop':
                    r.qmp.wait_event('JOB_STATUS_CHANGE', status='paused')
                    assert r.cmd('query-block-jobs')[0]['io-status'] == 'failed'
                    r.cmd('job-resume', id='j')
                    assert 'error' not in ended(r)
                else:
                    assert ended(r)['error'] == 'Input/output error'
                    assert names_of(r) == ['img3', 'img2', 'img1', 'base']
                assert h.pread(SIZE, 0) == before


def test_the_recorded_backing_file_can_be_changed():
    with chain() as r:
        for node in 'img3', 'img1':
            below = {'img3': 'img2', 'img1': 'base'}[node]
            for name in (r.path(below), below, os.path.join(r.dir, '.', below)):
                r.cmd('change-backing-file', device='img3', image_node_name=node, backing_file=name)
                info = run('qemu-img', 'info', '-U', r.path(node))
                assert 'backing file: %s' % name in info and 'backing file format: qcow2' in info, info
        e = r.error('change-backing-file', device='img3', image_node_name='base', backing_file='x')
        assert 'without a backing file' in e.desc
        e = r.error('change-backing-file', device='img3', image_node_name='img1', backing_file='x' * 1024)
        assert '1023' in e.desc, e.desc


@contextlib.contextmanager
def chain_with_filters():
    """base <- (low) <- img1 <- img2 <- (high) <- img3 <- (top)"""
    with Rig() as r:
        names = make(r, *(SIZE,) * 4)
        r.start('--object', 'throttle-group,id=tg')

        def filtered(name, below):
            return {'driver': 'throttle', 'throttle-group': 'tg', 'node-name': name, 'read-only': name != 'top',
                    'file': below}
        o = {'driver': 'qcow2', 'node-name': 'base', 'read-only': True,
             'file': {'driver': 'file', 'filename': r.path('base'), 'read-only': True}}
        for i, below in ((1, 'low'), (2, None), (3, 'high')):
            o = dict(options(r, names, i), backing=filtered(below, o) if below else o)
        r.qmp.cmd('blockdev-add', filtered('top', o))
        r.export('top', name='disk')
        yield r


def test_filters_of_users_do_not_stand_in_the_way():
    for arguments, ready, left in (({'top_node': 'img1', 'base_node': 'base'}, False, ['img3', 'img2', 'base']),
                                   ({'top_node': 'img2', 'base_node': 'img1'}, False, ['img3', 'img1', 'base']),
                                   ({'top_node': 'high', 'base_node': 'img1'}, False, ['img3', 'img1', 'base']),
                                   ({'top_node': 'img3', 'base_node': 'img2'}, True, ['img2', 'img1', 'base'])):
        with chain_with_filters() as r:
            with Guest(r, 'disk', SIZE) as guest:
                r.cmd('block-commit', job_id='j', device='top', **arguments)
                if ready:
                    r.qmp.wait_event('BLOCK_JOB_READY')
                    r.cmd('job-complete', id='j')
                e = ended(r)
                assert 'error' not in e, e
            assert r.cmd('query-block-exports')[0]['node-name'] == 'top'
            check_at_rest(r, guest, left[0])
            assert [os.path.basename(n) for n in names_on_disk(r, left[0])] == left


def test_an_image_is_not_found_by_a_name_that_leads_elsewhere():
    """What the overlay records is the name of another image than the one that it was given."""
    with Rig() as r:
        make(r, SIZE, SIZE)
        r.create('other', 'qcow2', str(SIZE))
        r.start()
        o = options(r, ['other', 'img1'])
        r.qmp.cmd('blockdev-add', o)
        e = r.error('block-commit', job_id='j', device='img1', base=r.path('base'))
        assert e.desc == "Can't find '%s' in the backing chain" % r.path('base'), e.desc
        r.cmd('block-commit', job_id='j', device='img1', base=r.path('other'))
        r.qmp.wait_event('BLOCK_JOB_READY')


def test_a_name_that_no_filter_could_have_is_refused():
    with chain() as r:
        e = r.error('block-commit', job_id='j', device='img3', top_node='img2', filter_node_name='1234')
        assert e.desc == "Invalid node-name: '1234'", e.desc


main(globals())
