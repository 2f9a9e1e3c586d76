#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers, exports and objects come and go in any order, or are refused with nothing changed."""

import base64
import os

import nbdwire as w
from daemon import Daemon, MiB
from nbdwire import Wire
from rig import QMPError, Rig, check_state, main, requires

requires('qemu-img')


# -- objects

def test_objects_come_and_go():
    with Daemon() as r:
        r.cmd('object-add', qom_type='iothread', id='io0')
        r.cmd('object-add', qom_type='iothread', id='io1')
        threads = r.cmd('query-iothreads')
        assert [t['id'] for t in threads] == ['io0', 'io1']
        for t in threads:
            assert os.path.exists('/proc/%d/task/%d' % (r.proc.pid, t['thread-id']))
        with open(r.path('secret'), 'wb') as f:
            f.write(b'from a file')
        r.cmd('object-add', qom_type='secret', id='s0', data='letmein')
        r.cmd('object-add', qom_type='secret', id='s1', file=r.path('secret'))
        r.cmd('object-add', qom_type='secret', id='s2', format='base64',
              data=base64.b64encode(b'letmein').decode())
        x = {'execute': 'object-add'}
        r.refuse('io0', **x, qom_type='iothread', id='io0')
        r.refuse('nosuch', **x, qom_type='nosuch', id='x')
        r.refuse('id', **x, qom_type='iothread', id='1 x')
        r.refuse('id', **x, qom_type='iothread')
        r.refuse('data', **x, qom_type='secret', id='x')
        r.refuse('data', **x, qom_type='secret', id='x', data='a', file='b')
        r.refuse('/nosuch/f', **x, qom_type='secret', id='x', file='/nosuch/f')
        r.refuse('base64', **x, qom_type='secret', id='x', data='$$$', format='base64')
        r.refuse('nosuch', execute='object-del', id='nosuch')
        for name in ('io0', 's1', 's0', 'io1', 's2'):
            r.cmd('object-del', id=name)
        assert r.cmd('query-iothreads') == []


def test_an_iothread_in_use_is_not_deleted():
    with Daemon() as r:
        r.cmd('object-add', qom_type='iothread', id='io0')
        r.add_null('n')
        r.export('n', iothread='io0')
        r.refuse('io0', 'in use', execute='object-del', id='io0')
        with r.wire('n') as c:
            assert c.read(0, 512) == bytes(512)
        r.cmd('block-export-del', id='exp-n', mode='hard')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        r.cmd('object-del', id='io0')
        r.refuse('io0', execute='block-export-add', type='nbd', id='e', node_name='n',
                 iothread='io0')


# -- servers and exports

def unix(path):
    return {'type': 'unix', 'data': {'path': path}}


def tcp_port(pid):
    """Where the process listens."""
    sockets = {os.readlink('/proc/%d/fd/%s' % (pid, fd)) for fd in os.listdir('/proc/%d/fd' % pid)}
    with open('/proc/net/tcp') as f:
        for row in (line.split() for line in f):
            if row[3] == '0A' and 'socket:[%s]' % row[9] in sockets:
                return int(row[1].split(':')[1], 16)
    raise AssertionError('it does not listen')


def test_several_servers_each_with_its_exports():
    with Daemon() as r:
        r.add_null('n')
        r.cmd('nbd-server-start', id='second', addr=unix(r.path('second.sock')))
        r.cmd('nbd-server-start', id='tcp', addr={'type': 'inet', 'data': {
            'host': '127.0.0.1', 'port': '0'}})
        port = tcp_port(r.proc.pid)
        for server in ('second', 'tcp'):
            r.cmd('block-export-add', type='nbd', id='e-' + server, node_name='n', name='x',
                  server=server, writable=True)
        for address in (r.path('second.sock'), ('127.0.0.1', port)):
            with Wire(address).negotiate('x') as c:
                c.write(0, b'x' * 512)
        with Wire(r.path('nbd.sock')) as c:         # nothing there
            assert c.option_error(w.OPT_GO, w.info_option('x')) == w.ERR_UNKNOWN
        r.refuse('running', execute='nbd-server-start', id='second', addr=unix(r.path('y')))
        r.refuse('running', execute='nbd-server-start', addr=unix(r.path('y')))
        r.refuse('nbd.sock', execute='nbd-server-start', id='z', addr=unix(r.path('nbd.sock')))
        r.refuse(str(port), execute='nbd-server-start', id='z', addr={'type': 'inet', 'data': {
            'host': '127.0.0.1', 'port': str(port)}})
        r.refuse('running', execute='nbd-server-stop', id='nosuch')
        r.refuse('running', execute='block-export-add', type='nbd', id='e', node_name='n',
                 server='nosuch')
        r.cmd('nbd-server-stop', id='second')
        assert not os.path.exists(r.path('second.sock'))
        assert [e['id'] for e in r.cmd('query-block-exports')] == ['e-tcp']
        r.cmd('nbd-server-start', id='second', addr=unix(r.path('second.sock')))   # once more
        r.cmd('nbd-server-stop', id='tcp')
        assert r.cmd('query-block-exports') == []


def test_exports_are_added_and_removed():
    with Daemon() as r:
        r.add_null('n')
        x = {'execute': 'block-export-add', 'type': 'nbd'}
        r.cmd('block-export-add', type='nbd', id='e', node_name='n', name='x', writable=True)
        r.refuse('e', 'in use', **x, id='e', node_name='n', name='y')
        r.refuse('x', **x, id='f', node_name='n', name='x')
        r.refuse('nosuch', **x, id='f', node_name='nosuch')
        r.refuse('id', **x, id='', node_name='n')
        r.refuse('iothread', **x, id='f', node_name='n', iothread='nosuch')
        r.refuse('type', execute='block-export-add', type='fax', id='f', node_name='n')
        assert r.cmd('query-block-exports') == [{'id': 'e', 'type': 'nbd', 'node-name': 'n',
                                                 'shutting-down': False}]
        r.refuse('nosuch', execute='block-export-del', id='nosuch')
        with r.wire('x') as c:
            r.refuse('in use', execute='block-export-del', id='e')
            r.refuse('in use', execute='block-export-del', id='e', mode='safe')
            assert c.alive()
            r.cmd('block-export-del', id='e', mode='hard')
            c.expect_closed()
        assert r.qmp.wait_event('BLOCK_EXPORT_DELETED')['data'] == {'id': 'e'}
        r.cmd('block-export-add', type='nbd', id='e', node_name='n')
        with r.wire('n') as c:
            c.disconnect()
        w.wait_until(lambda: removed(r, 'e'))
        r.qmp.wait_event('BLOCK_EXPORT_DELETED', id='e')


def removed(r, export):
    try:
        r.cmd('block-export-del', id=export)
        return True
    except QMPError as e:
        assert 'in use' in e.desc, e
        return False


def test_a_read_only_node_has_no_writable_export():
    with Daemon() as r:
        path = r.create('a.raw')
        r.add('ro', driver='raw', **{'read-only': True},
              file={'driver': 'file', 'filename': path, 'read-only': True})
        r.refuse('read-only', execute='block-export-add', type='nbd', id='e', node_name='ro',
                 writable=True)
        r.export('ro', writable=False)


def test_nodes_exports_and_jobs_have_names_of_their_own():
    """Whatever comes first; and a name that could be two things is what the argument is called."""
    with Daemon() as r:
        for first in ('node', 'export', 'job'):
            name = 'by-' + first
            r.add_null('other-' + first)
            makers = {
                'node': lambda: r.add_null(name, 4 * MiB),
                'export': lambda: r.cmd('block-export-add', type='nbd', id=name, name=name,
                                        node_name='other-' + first),
                'job': lambda: r.cmd('blockdev-create', job_id=name, options={
                    'driver': 'file', 'filename': r.path(name), 'size': 0})}
            makers.pop(first)()
            for make in makers.values():
                make()
            # Each is what it is called.
            assert name in r.nodes()
            assert {e['id']: e['node-name'] for e in r.cmd('query-block-exports')}[name] \
                == 'other-' + first
            assert name in [j['id'] for j in r.cmd('query-jobs')]
            # One argument for several kinds: the node that is called so, not the one exported so.
            r.cmd('nbd-server-add', device=name, name='again-' + first)
            r.cmd('block-export-add', type='nbd', id='more-' + first, node_name=name,
                  name='more-' + first)
            nodes = {e['id']: e['node-name'] for e in r.cmd('query-block-exports')}
            assert nodes['again-' + first] == nodes['more-' + first] == name
            # What nothing else is called is still found by its export.
            assert r.error('block_resize', device='more-' + first, size=MiB).desc \
                == "Image format driver 'null-co' does not support resize"


def test_a_drive_and_an_export_of_one_name_are_told_apart():
    with Rig() as r:
        r.drive('disk', 'raw', '1M')
        r.drive('other', 'raw', '1M')
        r.start()
        r.cmd('block-export-add', type='nbd', id='disk', node_name='other', name='x')
        limits = dict.fromkeys(('bps', 'bps_rd', 'bps_wr', 'iops', 'iops_rd', 'iops_wr'), 0)
        r.qmp.cmd('block_set_io_throttle', dict(limits, device='disk', group='a', iops=100))
        r.qmp.cmd('block_set_io_throttle', dict(limits, id='disk', group='b', iops=200))
        groups = {(b['device'], 'qdev' in b): b['inserted'].get('group')
                  for b in r.cmd('query-block')}
        assert groups[('disk', False)] == 'a' and groups[('disk', True)] == 'b', groups
        r.snapshot(r.member('disk', 'disk.snap'))
        chains = {(b['device'], 'qdev' in b): b['inserted']['file'] for b in r.cmd('query-block')}
        assert chains[('disk', False)] == r.path('disk.snap')
        assert chains[('disk', True)] == chains[('other', False)] == r.path('other.raw')


def test_the_older_commands_for_exports():
    with Daemon() as r:
        r.add_null('n')
        r.cmd('nbd-server-add', device='n', name='x', writable=True, description='an x')
        r.cmd('nbd-server-add', device='n')
        assert [e['id'] for e in r.cmd('query-block-exports')] == ['x', 'n']
        with Wire(r.path('nbd.sock')) as c:
            assert c.option(w.OPT_LIST)[0][1] == w.name_option('x') + b'an x'
        r.refuse('nosuch', execute='nbd-server-add', device='nosuch')
        r.refuse('x', execute='nbd-server-add', device='n', name='x')
        with r.wire('x') as c:
            r.refuse('in use', execute='nbd-server-remove', name='x')
            r.cmd('nbd-server-remove', name='x', mode='hard')
            c.expect_closed()
        r.refuse('x', execute='nbd-server-remove', name='x')
        r.cmd('nbd-server-remove', name='n')
        assert r.cmd('query-block-exports') == []


def test_all_can_be_removed_in_any_order():
    steps = {'export': ('block-export-del', {'id': 'exp-disk', 'mode': 'hard'}),
             'server': ('nbd-server-stop', {}), 'node': ('blockdev-del', {'node-name': 'disk'}),
             'file': ('blockdev-del', {'node-name': 'f'}), 'thread': ('object-del', {'id': 'io0'})}
    with Daemon() as r:
        empty = None
        for order in (list(steps), list(steps)[::-1], ['server', 'thread', 'file', 'node', 'export'],
                      ['node', 'server', 'thread', 'file']):
            r.cmd('object-add', qom_type='iothread', id='io0')
            path = r.path('any.raw')
            if not os.path.exists(path):
                r.create('any.raw', 'raw', '1M')
            r.add('f', driver='file', filename=path)
            r.add('disk', driver='raw', file='f')
            r.export('disk', iothread='io0')
            clients = [r.wire('disk') for _ in range(3)]
            for c in clients:
                c.request(w.READ, 0, 65536)
            left = order
            for _ in range(6):              # what is refused now is possible later
                refused = []
                for step in left:
                    try:
                        r.qmp.cmd(*steps[step])
                    except QMPError:
                        refused.append(step)
                left = [s for s in refused if s not in ('export', 'server')]
            assert (left, r.nodes(), r.cmd('query-block-exports')) == ([], [], []), order
            for c in clients:
                c.close()
            if os.path.exists(r.path('nbd.sock')):
                r.cmd('nbd-server-stop')
            r.cmd('nbd-server-start', addr=unix(r.path('nbd.sock')), max_connections=0)
            state = r.state()
            state['fds'] = len(state['fds'])        # the server's socket is a new one
            del state['files']['nbd.sock']
            check_state(empty or state, state)
            empty = state


main(globals())
