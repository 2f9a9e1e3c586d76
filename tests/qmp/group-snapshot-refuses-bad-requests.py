#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A request that cannot be carried out is refused with its class, member and cause, and changes nothing."""

import os
import socket

from rig import Rig, check_state, main, requires, run

requires('qemu-img')


class Disks(Rig):
    """disk0 (raw) and disk1 (qcow2), running."""

    def __enter__(self):
        self.drive('disk0', 'raw')
        self.drive('disk1', 'qcow2')
        self.start('--drive', 'id=empty')
        return self

    def refuse(self, cls, text, index, *members, **kwargs):
        before = self.state()
        e = self.snapshot_error(*members, **kwargs)
        assert e.cls == cls, e
        assert text in e.desc, e
        if index is not None:
            assert e.data['index'] == index, e.data
            assert e.data['device'] == members[index]['device'], e.data
            assert e.data['filename'] == members[index]['snapshot-file'], e.data
        check_state(before, self.state())
        return e


def test_unknown_device():
    with Disks() as r:
        r.refuse('DeviceNotFound', "Device 'nosuch' not found", 1,
                 r.member('disk0', 'a'), r.member('nosuch', 'b'))


def test_device_without_medium():
    with Disks() as r:
        r.refuse('DeviceHasNoMedium', "Device 'empty' has no medium", 0, r.member('empty', 'a'))


def test_missing_and_unknown_members_and_wrong_types():
    with Disks() as r:
        r.refuse('GenericError', "Parameter 'devlist[0].snapshot-file' is missing", None,
                 {'device': 'disk0'})
        r.refuse('GenericError', "Parameter 'devlist[0].colour' is unexpected", None,
                 dict(r.member('disk0', 'a'), colour='red'))
        r.refuse('GenericError', "expected: string", None,
                 {'device': 'disk0', 'snapshot-file': 5})
        r.refuse('GenericError', 'mode', None, r.member('disk0', 'a', mode='sideways'))
        e = r.error('blockdev-group-snapshot-sync', devlist='disk0')
        assert 'expected: array' in e.desc, e
        e = r.error('blockdev-group-snapshot-sync')
        assert "Parameter 'devlist' is missing" in e.desc, e


def test_empty_list_changes_nothing_and_succeeds():
    with Disks() as r:
        before = r.state()
        r.snapshot()
        check_state(before, r.state())
    assert 'empty devlist: there is no snapshot' in r.log, r.log


def test_formats_that_cannot_be_used():
    with Disks() as r:
        r.refuse('InvalidBlockFormat', "Unknown format 'nosuch'", 0,
                 r.member('disk0', 'a', format='nosuch'))
        r.refuse('InvalidBlockFormat', "no backing files", 1, r.member('disk0', 'a'),
                 r.member('disk1', 'b', format='raw'))


def test_same_device_and_same_file_twice():
    with Disks() as r:
        r.refuse('GenericError', 'two snapshots', 1, r.member('disk0', 'a'), r.member('disk0', 'b'))
        r.refuse('GenericError', 'goes there', 1, r.member('disk0', 'a'), r.member('disk1', 'a'))
        # under another name
        os.mkdir(r.path('d'))
        os.symlink(r.dir, r.path('d/up'))
        r.refuse('GenericError', 'same file', 1, r.member('disk0', 'a'),
                 r.member('disk1', 'd/up/a'))


def test_node_names_that_are_taken():
    with Disks() as r:
        r.cmd('blockdev-add', driver='null-co', node_name='n0')
        for name in 'n0', 'disk1':
            r.refuse('GenericError', name, 0, r.member('disk0', 'a', snapshot_node_name=name))
        r.refuse('GenericError', 'Invalid node-name', 0,
                 r.member('disk0', 'a', snapshot_node_name='0 bad'))
        r.refuse('GenericError', 'twice', 1, r.member('disk0', 'a', snapshot_node_name='twice'),
                 r.member('disk1', 'b', snapshot_node_name='twice'))


def test_files_in_use_under_any_name():
    with Disks() as r:
        os.link(r.path('disk1.qcow2'), r.path('alias'))
        for target in 'disk0.raw', 'disk1.qcow2', 'alias':
            r.refuse('DeviceInUse', 'in use by', 0, r.member('disk0', target))
        run('qemu-img', 'create', '-q', '-f', 'raw', r.path('below'), '1M')
        r.cmd('blockdev-add', driver='qcow2', node_name='other',
              file={'driver': 'file', 'filename': r.create('o.qcow2', 'qcow2')})
        r.refuse('DeviceInUse', 'in use by', 0, r.member('disk0', 'o.qcow2'))


def test_a_file_with_content_is_left_to_the_byte():
    with Disks() as r:
        with open(r.path('precious'), 'w') as f:
            f.write('precious')
        r.refuse('OpenFileFailed', 'File exists', 1, r.member('disk0', 'a'),
                 r.member('disk1', 'precious'))
        with open(r.path('precious')) as f:
            assert f.read() == 'precious'


def test_directory_fifo_socket_and_device_are_refused_at_once():
    with Disks() as r:
        os.mkdir(r.path('dir'))
        os.mkfifo(r.path('fifo'))
        s = socket.socket(socket.AF_UNIX)
        s.bind(r.path('sock'))
        os.symlink('/dev/null', r.path('null'))
        for name, kind in ('dir', 'directory'), ('fifo', 'FIFO'), ('sock', 'socket'), \
                          ('null', 'character device'):
            r.refuse('OpenFileFailed', kind, 0, r.member('disk0', name))
        r.refuse('OpenFileFailed', 'No such file or directory', 0, r.member('disk0', 'no/such'))
        r.refuse('OpenFileFailed', 'File name too long', 0, r.member('disk0', 'x' * 300))
        s.close()


def test_a_link_at_the_target_is_never_followed_to_harm():
    """A name in a directory that others can write to leads where they like."""
    with Disks() as r:
        with open(r.path('precious'), 'wb') as f:
            f.write(b'precious')
        os.symlink('precious', r.path('link'))
        os.symlink('nowhere', r.path('dangling'))
        assert 'File exists' in r.snapshot_error(r.member('disk0', 'link')).desc
        r.snapshot_error(r.member('disk0', 'dangling'))
        with open(r.path('precious'), 'rb') as f:
            assert f.read() == b'precious'
        assert os.path.islink(r.path('link')) and os.path.islink(r.path('dangling'))
        assert not os.path.exists(r.path('nowhere'))


def test_an_empty_file_is_used_and_empty_again_after_a_failure():
    with Disks() as r:
        open(r.path('made'), 'w').close()
        ino = os.stat(r.path('made')).st_ino
        r.refuse('OpenFileFailed', 'No such file', 1, r.member('disk0', 'made'),
                 r.member('disk1', 'no/such'))
        r.snapshot(r.member('disk0', 'made'))
        assert os.stat(r.path('made')).st_ino == ino
        assert r.chain('disk0') == ['made', 'disk0.raw']


def test_relative_names_are_the_daemons():
    with Disks() as r:
        r.stop()
        r.start('--drive', 'id=empty', preexec_fn=lambda: os.chdir(r.dir))
        r.snapshot({'device': 'disk0', 'snapshot-file': 'rel'})
        assert os.path.exists(r.path('rel'))
        r.stop()
        assert r.path('disk0.raw') in run('qemu-img', 'info', r.path('rel'))


def test_the_first_failure_in_list_order_is_reported():
    with Disks() as r:
        r.refuse('OpenFileFailed', 'No such file', 0, r.member('disk0', 'no/such'),
                 r.member('disk1', 'no/such2'))


def test_two_overlays_in_a_circle():
    with Rig() as r:
        r.start()
        for name in 'ab':
            r.qmp.cmd('blockdev-add', {'driver': 'qcow2', 'node-name': name, 'file': {
                'driver': 'file', 'filename': r.create(name + '.qcow2', 'qcow2')}})
        before = r.state()
        e = r.error('transaction', actions=[
            {'type': 'blockdev-snapshot', 'data': {'node': node, 'overlay': overlay}}
            for node, overlay in ('ab', 'ba')])
        assert 'above' in e.desc or 'in use' in e.desc, e.desc
        check_state(before, r.state())
        r.cmd('blockdev-snapshot', node='a', overlay='b')


def test_names_that_are_no_local_files():
    with Rig() as r:
        r.drive('disk0')
        r.start()
        before = r.state()
        for name, text in (('', 'no file name'), ('nbd:localhost:10809', 'only local files'),
                           ('https://example.org/image', 'only local files')):
            e = r.snapshot_error({'device': 'disk0', 'snapshot-file': name})
            assert text in e.desc and e.data['index'] == 0, e
        check_state(before, r.state())


def test_overlays_that_cannot_be_put_in_front():
    with Rig() as r:
        r.start()
        for name in 'base', 'other', 'free', 'used', 'readonly':
            r.qmp.cmd('blockdev-add', {
                'driver': 'qcow2', 'node-name': name, 'read-only': name == 'readonly',
                'file': {'driver': 'file', 'filename': r.create(name + '.qcow2', 'qcow2')}})
        r.qmp.cmd('blockdev-add', {'driver': 'raw', 'node-name': 'plain', 'file': {
            'driver': 'file', 'filename': r.create('plain', 'raw')}})
        r.export('used')
        r.export('base')
        before = r.state()
        for overlay, text in (('plain', 'does not support backing'), ('used', 'already in use'),
                              ('readonly', 'read-only'), ('base', 'in use')):
            e = r.error('blockdev-snapshot', node='base', overlay=overlay)
            assert text in e.desc, (overlay, e)
        e = r.error('transaction', actions=[
            {'type': 'blockdev-snapshot', 'data': {'node': node, 'overlay': 'free'}}
            for node in ('base', 'other')])
        assert 'already in use' in e.desc, e
        check_state(before, r.state())
        r.cmd('blockdev-snapshot', node='base', overlay='free')
        e = r.error('blockdev-snapshot', node='other', overlay='free')
        assert 'already has a backing image' in e.desc or 'in use' in e.desc, e


def long_path(r, length):
    """A path of so many bytes in folders that exist."""
    folder = r.path('x' * 100)
    while len(folder) < length - 200:
        folder += '/' + 'x' * 100
    os.makedirs(folder, exist_ok=True)
    return folder + '/' + 'y' * (length - len(folder) - 1)


def test_a_name_that_no_snapshot_on_top_could_record():
    with Rig() as r:
        r.drive('disk0')
        r.start()
        for length in 1024, 1025, 3000:
            path = long_path(r, length)
            e = r.snapshot_error({'device': 'disk0', 'snapshot-file': path})
            assert '1023 bytes' in e.desc, e
            assert not os.path.exists(path)
        assert r.chain('disk0') == ['disk0.raw']
        path = long_path(r, 1023)
        r.snapshot({'device': 'disk0', 'snapshot-file': path})
        r.snapshot(r.member('disk0', 'top'))
        assert r.chain('disk0') == ['top', os.path.basename(path), 'disk0.raw']


main(globals())
