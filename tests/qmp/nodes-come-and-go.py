#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes are added and deleted as told, or refused by name with nothing changed."""

import os

from daemon import Daemon
import nbdwire as w
from rig import Rig, check_state, main, requires, run

requires('qemu-img')


def test_a_node_is_added_and_deleted():
    with Daemon() as r:
        r.add_null('n0')
        r.add_file('q0')
        assert {'n0', 'q0'} <= set(r.nodes()) and len(r.nodes()) == 3   # and the file of q0
        before = r.state()
        r.add_null('n1')
        r.cmd('blockdev-del', node_name='n1')
        check_state(before, r.state())
        r.cmd('blockdev-del', node_name='q0')
        r.cmd('blockdev-del', node_name='n0')
        assert r.nodes() == []
        assert not [f for f in r.state()['fds'] if 'q0' in f]


def test_wrong_options_of_blockdev_add_are_named():
    with Daemon() as r:
        r.add_null('n0')
        path = r.create('a.raw')
        r.refuse('node-name', driver='null-co')
        r.refuse('n0', driver='null-co', node_name='n0')
        for bad in ('', '1a', 'a b', 'ä', '#a'):
            r.refuse(bad, driver='null-co', node_name=bad)
        r.refuse('Node name too long', driver='null-co', node_name='x' * 32)
        r.refuse('driver', node_name='x')
        r.refuse('driver', 'nosuch', driver='nosuch', node_name='x')
        r.refuse('filename', driver='file', node_name='x')
        r.refuse('colour', driver='file', node_name='x', filename=path, colour='red')
        r.refuse('size', driver='null-co', node_name='x', size='big')
        r.refuse('nosuch', driver='raw', node_name='x', file='nosuch')
        r.refuse('/nosuch/f', 'No such file or directory', driver='file', node_name='x',
                 filename='/nosuch/f')
        r.refuse(r.dir, driver='file', node_name='x', filename=r.dir)
        r.refuse('qcow2', driver='qcow2', node_name='x',
                 file={'driver': 'file', 'filename': path})
        r.refuse('offset', driver='raw', node_name='x', offset=1 << 40,
                 file={'driver': 'file', 'filename': path})
        r.refuse('nosuch', driver='raw', node_name='x', file={'driver': 'nosuch'})
        r.refuse('file.colour', driver='raw', node_name='x',
                 file={'driver': 'file', 'filename': path, 'colour': 1})
        r.refuse('aio', driver='file', node_name='x', filename=path, aio='slow')


def test_native_aio_is_for_files_that_bypass_the_page_cache():
    """Those who ask for cache=none and io=native get it; where one is missing they are told."""
    without = 'aio=native was specified, but it requires cache.direct=on, which was not specified.'
    with Daemon() as r:
        path = r.create('disk.raw')
        file = {'driver': 'file', 'filename': path, 'aio': 'native'}
        for cache in ({}, {'cache': {'direct': False}}):
            r.refuse(without, node_name='x', **file, **cache)
            r.refuse(without, node_name='x', driver='raw', file=file, **cache)
        direct = {'cache': {'direct': True}}
        for i, options in enumerate(({**file, **direct}, {'driver': 'raw', 'file': file, **direct},
                                     {'driver': 'raw', 'file': {**file, **direct}})):
            name = 'n%d' % i
            r.add(name, **options)
            r.export(name)
            with r.wire(name) as w:
                w.write(0, bytes([i + 1]) * 4096)
                assert w.read(0, 4096) == bytes([i + 1]) * 4096
            r.cmd('block-export-del', id='exp-' + name, mode='hard')
            r.qmp.wait_event('BLOCK_EXPORT_DELETED')
            if options['driver'] == 'file':
                e = r.error('blockdev-reopen', options=[dict({'node-name': name, **file})])
                assert without in e.desc, e
            r.cmd('blockdev-del', node_name=name)


def test_the_data_file_that_an_image_names_is_a_path():
    """An image comes from anywhere: what it names is not taken for a description of nodes."""
    with Rig() as r:
        evil = 'json:{"driver":"null-co","size":16777216}'
        plain = 'x' * len(evil)
        r.start()
        path = r.path('a.qcow2')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'data_file=' + plain, path, '16M',
            cwd=r.dir)
        with open(path, 'rb') as f:
            data = f.read()
        assert plain.encode() in data
        with open(path, 'wb') as f:
            f.write(data.replace(plain.encode(), evil.encode()))
        e = r.error('blockdev-add', driver='qcow2', node_name='a',
                    file={'driver': 'file', 'filename': path})
        assert evil in e.desc and 'No such file' in e.desc, e.desc


def test_an_encrypted_image_is_refused_by_name():
    """For reading, for writing and as the base of another image: never taken for plain data."""
    with Rig() as r:
        r.start()
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '--object', 'secret,id=s,data=x',
            '-o', 'encrypt.format=aes,encrypt.key-secret=s',
            r.path('secret.qcow2'), '16M')
        run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', 'secret.qcow2',
            r.path('top.qcow2'), '16M')
        for name in ('secret.qcow2', 'top.qcow2'):
            for read_only in (True, False):
                e = r.error('blockdev-add', driver='qcow2', node_name='a', read_only=read_only,
                            file={'driver': 'file', 'filename': r.path(name)})
                assert 'secret.qcow2' in e.desc and 'encrypt' in e.desc, e.desc


def test_a_backing_file_is_a_file_or_refused_at_once():
    """Whatever an image names: nothing hangs, and only files and NBD servers are opened."""
    with Rig() as r:
        r.start()
        os.mkfifo(r.path('fifo'))
        os.mkdir(r.path('dir'))
        image = r.path('a.qcow2')
        for name, why in (('fifo', 'regular file'), ('dir', 'regular file'), ('qmp.sock', 'No such device'),
                          ('/dev/null', 'regular file'), ('/dev/zero', 'regular file'),
                          ('nbd+unix:///x?socket=/none', 'No such file'),
                          ('http://localhost/x', "Unknown protocol 'http'"),
                          ('ssh:x', "Unknown protocol 'ssh'"), ('json:{', 'JSON'),
                          ('json:{"driver":"nosuch"}', 'nosuch'), ('a.qcow2', 'circles')):
            run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-F',
                'qcow2' if name == 'a.qcow2' else 'raw', '-b', name, image, '16M', cwd=r.dir)
            e = r.error('blockdev-add', driver='qcow2', node_name='a', read_only=True,
                        file={'driver': 'file', 'filename': image})
            assert why in e.desc, (name, e.desc)
            assert r.cmd('query-named-block-nodes') == []


def test_names_of_one_command_may_not_be_the_same():
    with Daemon() as r:
        path = r.create('a.raw')
        r.refuse('twice', driver='raw', node_name='twice',
                 file={'driver': 'file', 'filename': path, 'node-name': 'twice'})


def test_a_node_in_use_is_not_deleted():
    with Daemon() as r:
        r.add_file('f', 'raw')
        r.add('top', driver='raw', file='f')
        r.export('top')
        r.refuse('in use', execute='blockdev-del', node_name='f')
        r.refuse('in use', execute='blockdev-del', node_name='top')
        r.refuse('nosuch', execute='blockdev-del', node_name='nosuch')
        r.cmd('block-export-del', id='exp-top')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED', id='exp-top')
        r.cmd('blockdev-del', node_name='top')
        r.cmd('blockdev-del', node_name='f')
        assert r.nodes() == []


def test_only_the_monitors_nodes_are_deleted_by_it():
    with Rig() as r:
        r.drive('disk', 'qcow2', '1M', ',node-name=dnode')
        r.start()
        file = [n['node-name'] for n in r.cmd('query-named-block-nodes') if n['drv'] == 'file'][0]
        for node in ('dnode', file):
            e = r.error('blockdev-del', node_name=node)
            assert node in e.desc and e.cls == 'GenericError', e
        assert r.inserted('disk')


def test_a_node_is_read_only_by_itself_where_its_file_is():
    """With auto-read-only, whether the file is opened with it or was open before."""
    with Rig() as r:
        for fmt in ('raw', 'qcow2'):
            path = r.create('x.' + fmt, fmt)
            r.create('y.' + fmt, fmt)
            r.options += ['--blockdev', 'file,node-name=%s-file,read-only=on,filename=%s' % (fmt, path)]
        r.start()
        for fmt in ('raw', 'qcow2'):
            for i, file in enumerate((fmt + '-file', {'driver': 'file', 'read-only': True,
                                                      'filename': r.path('y.' + fmt)})):
                name = '%s%d' % (fmt, i)
                e = r.error('blockdev-add', driver=fmt, node_name=name, file=file)
                assert 'read-only' in e.desc, e.desc
                r.cmd('blockdev-add', driver=fmt, node_name=name, file=file, auto_read_only=True)
                nodes = {n['node-name']: n for n in r.cmd('query-named-block-nodes', flat=True)}
                assert nodes[name]['ro']


def test_long_lists_are_whole_while_nodes_come_and_go():
    """They are put together in pieces and written by a thread: what stays is there, whatever comes and goes."""
    with Rig() as r:
        r.start()
        for i in range(500):
            r.cmd('blockdev-add', driver='null-co', node_name='stays%d' % i, **{'read-zeroes': True})
        other = r.connect()
        for turn in range(30):
            for i in range(20):
                other.send('blockdev-add', {'driver': 'null-co', 'node-name': 'goes%d' % i, 'read-zeroes': True})
            for i in range(20):
                other.send('blockdev-del', {'node-name': 'goes%d' % i})
            listed = [n['node-name'] for n in r.cmd('query-named-block-nodes', flat=turn % 2 == 0)]
            assert len(set(listed)) == len(listed)
            assert {'stays%d' % i for i in range(500)} <= set(listed)
            for _ in range(40):
                reply = other.recv_reply()
                assert 'return' in reply, reply
        assert len(r.cmd('query-blockstats', **{'query-nodes': True})) == 500


def test_nodes_lie_on_each_other_only_as_deep_as_their_requests_can_go():
    """By name, by description, and by a change of files in the middle, above which others lie already."""
    limit = 100
    with Rig() as r:
        r.start('--blockdev', 'null-co,node-name=n0,size=1M')
        for i in range(1, limit + 1):
            r.cmd('blockdev-add', driver='raw', node_name='n%d' % i, file='n%d' % (i - 1))
        r.export('n%d' % limit)
        with w.Wire(r.path('nbd.sock')).negotiate('n%d' % limit) as c:
            c.write(0, b'x' * 512)
            c.call(w.FLUSH)
            assert len(c.read(0, 512)) == 512
        text = 'more than %d nodes' % limit
        assert text in r.error('blockdev-add', driver='raw', node_name='m', file='n%d' % limit).desc
        deep = {'driver': 'null-co'}
        for _ in range(limit + 20):
            deep = {'driver': 'raw', 'file': deep}
        assert text in r.error('blockdev-add', **dict(deep, node_name='m')).desc
        # One more in the middle would be one too many at the top.
        r.cmd('blockdev-add', driver='blkdebug', node_name='filter', image='n9')
        assert text in r.error('blockdev-reopen', options=[
            {'driver': 'raw', 'node-name': 'n10', 'file': 'filter'}]).desc
        nodes = [n['node-name'] for n in r.cmd('query-named-block-nodes', flat=True)]
        assert 'm' not in nodes and len(nodes) == limit + 2


def test_a_drive_stays_and_the_error_says_what_goes():
    with Rig() as r:
        r.drive('disk')
        r.start()
        node = r.inserted('disk')['node-name']
        desc = r.error('blockdev-del', node_name=node).desc
        assert "in use: by the drive 'disk'" in desc and 'blockdev-add' in desc, desc
        for line in ('drive_add 0 file=x,id=y', 'drive_del disk'):
            assert 'blockdev-add' in r.qmp.hmp(line), r.qmp.hmp(line)


main(globals())
