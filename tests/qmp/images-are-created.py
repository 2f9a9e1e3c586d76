#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""blockdev-create makes what it is told to, in jobs, and harms nothing that is there."""

import os
import shutil

from daemon import Daemon, KiB, MiB, image_info
from rig import main, requires, run

requires('qemu-img')


def create(r, job, **options):
    """Run a create job to its end: None or its error; the order of its states is checked."""
    r.cmd('blockdev-create', job_id=job, options=options)
    states = []
    while states[-1:] != ['concluded']:
        states.append(r.qmp.wait_event('JOB_STATUS_CHANGE')['data']['status'])
    info, = [j for j in r.cmd('query-jobs') if j['id'] == job]
    error = info.get('error')
    assert info['type'] == 'create' and info['status'] == 'concluded', info
    assert states == (['created', 'running', 'aborting', 'concluded'] if error else
                      ['created', 'running', 'waiting', 'pending', 'concluded']), states
    if not error:
        assert info['current-progress'] == info['total-progress']
    r.cmd('job-dismiss', id=job)
    assert r.qmp.wait_event('JOB_STATUS_CHANGE')['data'] == {'id': job, 'status': 'null'}
    assert r.cmd('query-jobs') == []
    return error


def test_files_are_created():
    with Daemon() as r:
        for prealloc in ('off', 'falloc', 'full'):
            path = r.path(prealloc)
            assert create(r, 'j', driver='file', filename=path, size=MiB,
                          preallocation=prealloc) is None
            st = os.stat(path)
            assert st.st_size == MiB
            assert (st.st_blocks * 512 >= MiB) == (prealloc != 'off')
        assert 'metadata' in create(r, 'j', driver='file', filename=r.path('m'), size=MiB,
                                    preallocation='metadata')
        assert '/nosuch/' in create(r, 'j', driver='file', filename='/nosuch/dir', size=1)
        assert create(r, 'j', driver='file', filename=r.path('huge'), size=(1 << 63) - 1)
        assert not os.path.exists(r.path('m')) and not os.path.exists(r.path('huge'))


def test_a_wish_of_the_file_system_is_no_condition():
    with Daemon() as r:
        path = r.path('nocow')
        assert create(r, 'j', driver='file', filename=path, size=MiB, nocow=True) is None
        assert os.stat(path).st_size == MiB
        if run('stat', '-f', '-c', '%T', r.dir).strip() == 'btrfs' and shutil.which('lsattr'):
            assert 'C' in run('lsattr', path).split()[0]


def test_an_existing_file_is_not_overwritten():
    with Daemon() as r:
        path = r.path('precious')
        with open(path, 'wb') as f:
            f.write(b'precious')
        error = create(r, 'j', driver='file', filename=path, size=MiB)
        assert 'precious' in error, error
        assert open(path, 'rb').read() == b'precious'


def test_qcow2_images_are_created_with_all_options():
    cases = [({}, {}), ({'version': 'v2'}, {'compat': '0.10'}),
             ({'cluster-size': 512}, {'cluster-size': 512}),
             ({'cluster-size': 2 * MiB}, {'cluster-size': 2 * MiB}),
             ({'extended-l2': True, 'cluster-size': 16 * KiB}, {'extended-l2': True}),
             ({'refcount-bits': 1}, {'refcount-bits': 1}),
             ({'refcount-bits': 64}, {'refcount-bits': 64}),
             ({'lazy-refcounts': True}, {'lazy-refcounts': True}),
             ({'preallocation': 'metadata'}, {}), ({'preallocation': 'full'}, {}),
             ({'preallocation': 'falloc'}, {}),
             ({'backing-file': 'base.raw', 'backing-fmt': 'raw'}, {'backing': 'base.raw'})]
    with Daemon() as r:
        # Not in every build; the schema says.
        if any(i['meta-type'] == 'enum' and i['values'] == ['zlib', 'zstd']
               for i in r.cmd('query-qmp-schema')):
            cases.append(({'compression-type': 'zstd'}, {'compression-type': 'zstd'}))
        r.create('base.raw', 'raw', '4M')
        for i, (options, want) in enumerate(cases):
            path = r.path('%d.qcow2' % i)
            assert create(r, 'j', driver='file', filename=path, size=0) is None
            assert create(r, 'j', driver='qcow2', size=4 * MiB, **options,
                          file={'driver': 'file', 'filename': path}) is None, options
            info = image_info(path)
            data = info['format-specific']['data']
            got = {**data, 'cluster-size': info['cluster-size'],
                   'backing': info.get('backing-filename')}
            assert info['virtual-size'] == 4 * MiB
            for key, value in want.items():
                assert got[key] == value, (options, got)
            run('qemu-img', 'check', '-q', path)


def test_impossible_qcow2_options_are_refused():
    with Daemon() as r:
        path = r.path('f')
        r.add_null('ro')
        assert create(r, 'j', driver='file', filename=path, size=0) is None
        for options, text in (({'cluster-size': 1000}, 'luster size'),
                              ({'cluster-size': 4 * MiB}, 'luster size'),
                              ({'refcount-bits': 3}, 'efcount'),
                              ({'refcount-bits': 128}, 'efcount'),
                              ({'version': 'v2', 'lazy-refcounts': True}, 'azy'),
                              ({'version': 'v2', 'refcount-bits': 8}, 'efcount'),
                              ({'extended-l2': True, 'cluster-size': 8 * KiB}, 'xtended'),
                              ({'backing-fmt': 'raw'}, 'acking'),
                              ({'size': 1 << 63}, 'size')):
            error = create(r, 'j', **{'driver': 'qcow2', 'size': MiB, **options,
                                      'file': {'driver': 'file', 'filename': path}})
            assert error and text in error, (options, error)
            assert os.path.getsize(path) == 0, options
        error = create(r, 'j', driver='qcow2', size=MiB, file='nosuch')
        assert 'nosuch' in error


def test_an_image_is_not_created_over_one_in_use():
    with Daemon() as r:
        path = r.add_file('q0')
        r.export('q0')
        before = open(path, 'rb').read()
        error = create(r, 'j', driver='qcow2', size=MiB, file={'driver': 'file', 'filename': path})
        assert error and path in error, error
        assert open(path, 'rb').read() == before


def test_job_names():
    with Daemon() as r:
        for bad in ('', '1', 'a b', 'ä'):
            e = r.error('blockdev-create', job_id=bad,
                        options={'driver': 'file', 'filename': r.path('x'), 'size': 0})
            assert 'job ID' in e.desc, e
        r.cmd('blockdev-create', job_id='j',
              options={'driver': 'file', 'filename': r.path('x'), 'size': 0})
        e = r.error('blockdev-create', job_id='j',
                    options={'driver': 'file', 'filename': r.path('y'), 'size': 0})
        assert "'j'" in e.desc and 'in use' in e.desc, e
        r.qmp.wait_event('JOB_STATUS_CHANGE', status='concluded')
        r.cmd('job-dismiss', id='j')
        assert 'not found' in r.error('job-dismiss', id='j').desc
        e = r.error('blockdev-create', job_id='k', options={'driver': 'raw'})
        assert 'blockdev-create' in e.desc, e
        assert not os.path.exists(r.path('y'))


def test_all_create_jobs_end_though_many_run_at_once():
    with Daemon() as r:
        for i in range(32):
            r.cmd('blockdev-create', job_id='j%d' % i, options={
                'driver': 'file', 'filename': r.path('f%d' % (i // 2)), 'size': i // 2 * KiB})
        for i in range(32):
            r.qmp.wait_event('JOB_STATUS_CHANGE', id='j%d' % i, status='concluded')
        for i in range(16):
            assert os.path.getsize(r.path('f%d' % i)) == i * KiB


main(globals())
