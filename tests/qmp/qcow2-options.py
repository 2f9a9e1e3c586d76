#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of qcow2 at opening and creating do what they say, and images made with them are what the installed
qemu-img makes."""

import json
import os

from rig import Rig, main, requires, run

requires('qemu-img', 'qemu-io')
SIZE = 8 << 20


def create(r, ok=True, **options):
    r.cmd('blockdev-create', job_id='job', options=dict({'driver': 'qcow2', 'size': SIZE},
          **{k.replace('_', '-'): v for k, v in options.items()}))
    r.qmp.wait_event('JOB_STATUS_CHANGE', status='concluded')
    job, = r.cmd('query-jobs')
    r.cmd('job-dismiss', id='job')
    assert ('error' not in job) == ok, job
    return job.get('error')


def add_file(r, name, create_it=True):
    path = r.path(name)
    if create_it:
        open(path, 'wb').close()
    r.cmd('blockdev-add', driver='file', node_name=name, filename=path)
    return path


def info(path):
    return json.loads(run('qemu-img', 'info', '-U', '--output=json', path))


def test_options_of_the_cache():
    with Rig() as r:
        path = r.create('disk0', 'qcow2', '8M', '-o', 'cluster_size=16k')
        r.start()
        common = {'driver': 'qcow2', 'node_name': 'n', 'file': {'driver': 'file', 'filename': path}}
        for name, good, bad in (
                ('l2-cache-entry-size', (512, 4096, 16384), (0, 1, 256, 1000, 32768, -512)),
                ('cache-clean-interval', (0, 1, 600, (1 << 32) - 1), (-1, 1 << 32))):
            for value in good:
                r.cmd('blockdev-add', **common, **{name: value})
                r.cmd('blockdev-del', node_name='n')
            for value in bad:
                e = r.error('blockdev-add', **common, **{name: value})
                # In words or by its name.
                assert name in e.desc or name.replace('-', ' ') in e.desc.lower(), e


def test_an_image_with_a_data_file():
    for raw in (False, True):
        with Rig() as r:
            r.start()
            path, data = add_file(r, 'img'), add_file(r, 'data')
            create(r, file='img', data_file='data', data_file_raw=raw)
            assert os.stat(data).st_size == SIZE
            r.cmd('blockdev-add', driver='qcow2', node_name='disk', file='img', data_file='data')
            r.export('disk')
            run('qemu-io', '-f', 'raw', '-c', 'write -P 7 1M 100k', '-c', 'flush', r.uri('disk'))
            r.stop()
            specific = info(path)['format-specific']['data']
            assert specific['data-file'] == data and specific['data-file-raw'] is raw, specific
            run('qemu-img', 'check', '-q', path)
            run('qemu-io', '-r', '-c', 'read -P 7 1M 100k', '-c', 'read -P 0 0 1M', path)
            with open(data, 'rb') as f:
                f.seek(1 << 20)
                assert f.read(100 << 10) == b'\7' * (100 << 10)


def test_a_data_file_that_cannot_be():
    with Rig() as r:
        r.start()
        add_file(r, 'img')
        r.cmd('blockdev-add', driver='null-co', node_name='null')
        assert "'null'" in create(r, ok=False, file='img', data_file='null')
        assert 'data-file-raw' in create(r, ok=False, file='img', data_file_raw=True)
        assert 'img' in create(r, ok=False, file='img', data_file='img')
        data = add_file(r, 'data')
        assert create(r, ok=False, file='img', data_file='data', version='v2')
        assert os.stat(data).st_size == 0


def mapped(path):
    """What lies where, without the places in the file."""
    out = json.loads(run('qemu-img', 'map', '--output=json', path))
    runs = []
    for e in out:
        kind = e['depth'], e['zero'], e['data'], e['present']
        if runs and runs[-1][1] == kind:
            kind, length = runs.pop()[1:]
            runs.append((e['start'] - length, kind, length + e['length']))
        else:
            runs.append((e['start'], kind, e['length']))
    return runs


def test_preallocation_is_what_qemu_img_makes():
    for mode in ('off', 'metadata', 'falloc', 'full'):
        for name, options in (('default', {}), ('small', {'cluster-size': 4096}),
                              ('v2', {'version': 'v2'}), ('extended', {'extended-l2': True})):
            with Rig() as r:
                r.start()
                ours = add_file(r, 'ours')
                create(r, file='ours', preallocation=mode, **options)
                r.stop()
                o = ['preallocation=' + mode]
                o += ['cluster_size=4k'] if name == 'small' else []
                o += ['compat=0.10'] if name == 'v2' else []
                o += ['extended_l2=on'] if name == 'extended' else []
                theirs = r.create('theirs', 'qcow2', str(SIZE), '-o', ','.join(o))
                what = (mode, name)
                if name == 'extended' and mode != 'off':
                    # QEMU leaves the subclusters of its clusters unallocated, so that the first write
                    # to each changes the map; here they are there like other clusters.
                    assert all(present for _, (_, _, _, present), _ in mapped(ours)), (what, mapped(ours))
                else:
                    assert mapped(ours) == mapped(theirs), (what, mapped(ours)[:4], mapped(theirs)[:4])
                run('qemu-img', 'check', '-q', ours)
                a, b = os.stat(ours), os.stat(theirs)
                assert (a.st_blocks * 512 >= SIZE) == (b.st_blocks * 512 >= SIZE), \
                    (what, a.st_blocks, b.st_blocks)
                assert abs(a.st_size - b.st_size) <= 512 << 10, (what, a.st_size, b.st_size)


main(globals())
