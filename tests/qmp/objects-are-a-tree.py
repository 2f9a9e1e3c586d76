#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
qom-list, qom-get, qom-set and their types show what object-add and chardev-add have made ($QSD), with the errors that
clients know, and change what can be changed; throttle groups know both forms of their limits.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from daemon import Daemon                                       # noqa: E402
from qmp import QMPError                                        # noqa: E402


def fails(qmp, cls, desc, command, **arguments):
    try:
        qmp.cmd(command, arguments)
    except QMPError as e:
        assert (e.cls, e.desc) == (cls, desc), (e.cls, e.desc)
        return
    raise AssertionError('%s %s succeeded' % (command, arguments))


def listing(qmp, path):
    return [(p['name'], p['type']) for p in qmp.cmd('qom-list', path=path)]


def add_all(qmp):
    qmp.cmd('object-add', {'qom-type': 'secret', 'id': 'sec0', 'data': 'YWJj',
                           'format': 'base64'})
    qmp.cmd('object-add', {'qom-type': 'iothread', 'id': 'io0', 'poll-max-ns': 4000})
    qmp.cmd('object-add', {'qom-type': 'throttle-group', 'id': 'tg0', 'x-iops-total': 100,
                           'limits': {'iops-total': 7, 'bps-read': 4096}})
    qmp.cmd('chardev-add', id='c0', backend={'type': 'ringbuf', 'data': {}})
    qmp.cmd('chardev-add', id='c1', backend={'type': 'socket', 'data': {
        'addr': {'type': 'inet', 'data': {'host': '127.0.0.1', 'port': '0'}}}})


def paths(qmp):
    container = [('type', 'string')]
    assert listing(qmp, '/') == container + [
        ('objects', 'child<container>'), ('chardevs', 'child<container>')]
    objects = container + [('sec0', 'child<secret>'), ('io0', 'child<iothread>'),
                           ('tg0', 'child<throttle-group>')]
    for path in ('/objects', '/objects/', '//objects', 'objects'):
        assert listing(qmp, path) == objects, path
    assert ('c0', 'child<chardev-ringbuf>') in listing(qmp, '/chardevs')
    iothread = [('type', 'string'), ('poll-max-ns', 'int')]
    for path in ('/objects/io0', 'objects/io0', 'io0'):
        assert listing(qmp, path) == iothread, path
    assert listing(qmp, 'c0') == [('type', 'string')]
    assert listing(qmp, 'c1') == [('type', 'string'), ('connected', 'bool'),
                                  ('addr', 'SocketAddress')]
    for path in ('/machine', '/io0', '/objects/n', 'nope', '/objects/io0/x'):
        for command, more in (('qom-list', {}), ('qom-get', {'property': 'type'}),
                              ('qom-set', {'property': 'type', 'value': 1})):
            fails(qmp, 'DeviceNotFound', "Device '%s' not found" % path, command, path=path, **more)
    fails(qmp, 'GenericError', "Path '' is ambiguous", 'qom-list', path='')
    qmp.cmd('chardev-add', id='io0', backend={'type': 'null', 'data': {}})
    fails(qmp, 'GenericError', "Path 'io0' is ambiguous", 'qom-list', path='io0')
    assert listing(qmp, 'objects/io0') == iothread
    qmp.cmd('chardev-remove', id='io0')


def properties(qmp):
    def get(path, name):
        return qmp.cmd('qom-get', path=path, property=name)
    assert get('/', 'type') == 'container' and get('/', 'objects') == '/objects'
    assert get('/objects', 'io0') == '/objects/io0' and get('io0', 'type') == 'iothread'
    assert get('io0', 'poll-max-ns') == 4000
    assert qmp.cmd('query-iothreads')[0]['poll-max-ns'] == 4000
    assert (get('sec0', 'data'), get('sec0', 'format'), get('sec0', 'file'),
            get('sec0', 'loaded')) == ('YWJj', 'base64', '', True)
    limits = get('tg0', 'limits')
    assert len(limits) == 19 and limits['iops-total'] == 100 and limits['bps-read'] == 4096
    assert limits['iops-total-max-length'] == 1
    for name, value in limits.items():
        assert get('tg0', 'x-' + name) == value, name
    assert len(listing(qmp, 'tg0')) == 21
    assert get('c1', 'connected') is False and get('c1', 'addr')['type'] == 'inet'
    assert int(get('c1', 'addr')['port']) > 0
    fails(qmp, 'GenericError', "Property 'iothread.nope' not found", 'qom-get', path='io0',
          property='nope')
    fails(qmp, 'GenericError', "Property 'chardev-ringbuf.addr' not found", 'qom-get', path='c0',
          property='addr')


def changes(qmp):
    def change(path, name, value):
        return qmp.cmd('qom-set', path=path, property=name, value=value)

    def refused(desc, path, name, value):
        fails(qmp, 'GenericError', desc, 'qom-set', path=path, property=name, value=value)
    change('io0', 'poll-max-ns', 1000)
    assert qmp.cmd('qom-get', path='io0', property='poll-max-ns') == 1000
    refused("Invalid parameter type for 'poll-max-ns', expected: integer", 'io0', 'poll-max-ns',
            '1000')
    refused('poll-max-ns value must be in range [0, 9223372036854775807]', 'io0', 'poll-max-ns', -1)
    change('tg0', 'limits', {'iops-total': 50})         # what is not given stays
    limits = qmp.cmd('qom-get', path='tg0', property='limits')
    assert (limits['iops-total'], limits['bps-read']) == (50, 4096)
    refused('Property cannot be set after initialization', 'tg0', 'x-iops-total', 5)
    refused('Property cannot be set after initialization', 'sec0', 'data', 'x')
    for path, kind, name in (('io0', 'iothread', 'type'), ('/objects', 'container', 'io0'),
                             ('sec0', 'secret', 'loaded'), ('c1', 'chardev-socket', 'addr')):
        refused("Property '%s.%s' is not writable" % (kind, name), path, name, '')
    refused("Property 'iothread.nope' not found", 'io0', 'nope', 1)
    for bad in ({'iops-total': -1}, {'nope': 1}, 5):
        try:
            change('tg0', 'limits', bad)
            raise AssertionError(bad)
        except QMPError:
            pass
    assert qmp.cmd('qom-get', path='tg0', property='limits') == limits


def types(qmp):
    def names(**args):
        return {t['name'] for t in qmp.cmd('qom-list-types', args)}
    assert names(implements='user-creatable') == {'iothread', 'secret', 'throttle-group'}
    assert names(implements='nope') == set()
    assert names(implements='chardev-ringbuf') == {'chardev-ringbuf', 'chardev-memory'}
    kinds = {'chardev-' + b['name'] for b in qmp.cmd('query-chardev-backends')}
    assert names(implements='chardev') == kinds
    assert names(abstract=True) - names() == {'object', 'interface', 'user-creatable', 'chardev',
                                              'chardev-fd', 'event-loop-base', 'secret_common'}
    for path in ('io0', 'sec0', 'tg0', 'c0', 'c1'):
        kind = qmp.cmd('qom-get', path=path, property='type')
        assert listing(qmp, path) == [(p['name'], p['type']) for p in qmp.cmd(
            'qom-list-properties', typename=kind)]
    fails(qmp, 'DeviceNotFound', "Class 'nope' not found", 'qom-list-properties', typename='nope')
    fails(qmp, 'GenericError', "Parameter 'typename' expects a QOM type", 'qom-list-properties',
          typename='user-creatable')


def what_goes_is_gone(qmp):
    for name in ('sec0', 'io0', 'tg0'):
        qmp.cmd('object-del', id=name)
        fails(qmp, 'DeviceNotFound', "Device '%s' not found" % name, 'qom-list', path=name)
    assert listing(qmp, '/objects') == [('type', 'string')]


def main():
    with Daemon() as d:
        add_all(d.qmp)
        for test in (paths, properties, changes, types, what_goes_is_gone):
            try:
                test(d.qmp)
            except BaseException:
                print('FAILED: %s' % test.__name__)
                raise


if __name__ == '__main__':
    main()
