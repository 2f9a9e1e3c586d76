#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What an overlay records of its base leads to the bytes that the disk had, for whoever opens the overlay by its name
later, from anywhere: another daemon, or QEMU."""

import errno
import json
import os

from qmp import QMP
from rig import QSD, Rig, import_nbd, main, requires, run

requires('qemu-img', 'qemu-io')
nbd = import_nbd()
MIB = 1 << 20


class Images(Rig):
    """A window of a raw file, and images of one letter each; 'w' is what is wrong to be read anywhere."""

    def __enter__(self):
        super().__enter__()
        with open(self.path('parts.raw'), 'wb') as f:
            f.write(b'w' * MIB + b'r' * MIB + b'w' * MIB)
        return self

    def letter(self, name, letter, *options):
        path = self.create(name, 'qcow2', '1M', *options)
        run('qemu-io', '--image-opts', '-c', 'write -P %d 0 1M' % ord(letter),
            'driver=qcow2,file.driver=file,file.filename=' + path)
        return path

    def overlay_of(self, name, base):
        path = self.path(name)
        run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', base, path, '1M')
        return path

    def add(self, options):
        self.qmp.cmd('blockdev-add', dict(options, **{'node-name': 'base'}))

    def read(self, node):
        self.export(node, writable=False)
        data = self.nbd(node).pread(MIB, 0)
        self.cmd('block-export-del', id='exp-' + node, mode='hard')
        return data

    def reads_right(self, base, letter='r', cwd='/'):
        """@base, a node's options, reads as @letter; an overlay of it does, when others open it by its name."""
        self.start(cwd=cwd)
        self.add(base)
        expect = letter.encode() * MIB if isinstance(letter, str) else letter
        assert self.read('base') == expect
        self.cmd('blockdev-snapshot-sync', node_name='base', snapshot_file=self.path('over'),
                 snapshot_node_name='over')
        assert self.read('over') == expect
        self.stop()
        self.start(cwd='/')
        self.cmd('blockdev-add', driver='qcow2', node_name='over', read_only=True,
                 file={'driver': 'file', 'filename': self.path('over')})
        assert self.read('over') == expect, self.recorded()
        self.stop()
        run('qemu-img', 'convert', '-O', 'raw', self.path('over'), self.path('copy'), cwd='/')
        with open(self.path('copy'), 'rb') as f:
            assert f.read() == expect, self.recorded()
        recorded = self.recorded()
        os.unlink(self.path('over'))
        return recorded

    def recorded(self):
        info = run('qemu-img', 'info', '--output=json', self.path('over'))
        return json.loads(info).get('backing-filename')


def file(path):
    return {'driver': 'file', 'filename': path}


def qcow2(path, **more):
    return dict({'driver': 'qcow2', 'file': file(path)}, **more)


def test_names_that_json_has_to_escape():
    with Images() as r:
        for name in ('with "quotes"', 'with\\backslash', 'with\nline', 'with \u00e4'):
            os.rename(r.path('parts.raw'), r.path(name))
            recorded = r.reads_right({'driver': 'raw', 'offset': MIB, 'size': MIB, 'file': file(r.path(name))})
            assert recorded.startswith('json:'), recorded
            os.rename(r.path(name), r.path('parts.raw'))


def test_a_base_that_is_no_file():
    with Images() as r:
        recorded = r.reads_right({'driver': 'null-co', 'size': MIB, 'read-zeroes': True}, bytes(MIB))
        assert recorded.startswith('json:') and 'null-co' in recorded, recorded


def test_a_plain_name_is_recorded_as_it_was_given():
    """Not where its links lead to: relative names in the image begin where the name lies."""
    with Images() as r:
        os.mkdir(r.path('store'))
        os.mkdir(r.path('images'))
        r.letter('store/base', 'w')
        r.letter('images/base', 'r')
        r.overlay_of('store/disk', 'base')
        os.symlink('../store/disk', r.path('images/disk'))
        assert r.reads_right(qcow2(r.path('images/disk'))) == r.path('images/disk')
        assert r.reads_right(qcow2('images/disk'), cwd=r.dir) == r.path('images/disk')
        r.letter('col:on', 'r')
        assert r.reads_right(qcow2(r.path('col:on'))) == r.path('col:on')
        assert r.reads_right(qcow2('col:on'), cwd=r.dir) == r.path('col:on')


def test_a_base_of_which_a_name_does_not_tell_all_is_described():
    with Images() as r:
        window = {'driver': 'raw', 'offset': MIB, 'size': MIB, 'file': file(r.path('parts.raw'))}
        r.reads_right(window)
        r.reads_right({'driver': 'raw', 'file': window})
        right, wrong = r.letter('right', 'r'), r.letter('wrong', 'w')
        for recorded in wrong, 'wrong', None:
            top = r.overlay_of('top', recorded) if recorded else r.create('top', 'qcow2', '1M')
            name = r.reads_right(qcow2(top, backing=qcow2(right)))
            assert name.startswith('json:') and 'wrong' not in name, name
            name = r.reads_right(qcow2(top, backing=window))
            assert 'offset' in name, name
            # the same one and two levels up
            above = r.overlay_of('above', top)
            r.reads_right(qcow2(above, backing=qcow2(top, backing=qcow2(right))))
            again = r.overlay_of('again', 'above')
            r.reads_right(qcow2(again, backing=qcow2(above, backing=qcow2(top, backing=qcow2(right)))))
        top = r.overlay_of('top', wrong)
        assert '"backing":null' in r.reads_right(qcow2(top, backing=None), '\0')
        # what is as recorded is not spelt out, whoever says it
        top = r.overlay_of('top', right)
        assert r.reads_right(qcow2(top, backing=qcow2(right))) == top
        assert r.reads_right({'driver': 'blkdebug', 'image': qcow2(top)}) == top


def test_another_data_file_than_the_recorded_one():
    with Images() as r:
        for name in 'one', 'two':
            with open(r.path(name), 'wb') as f:
                f.write(b'r' * MIB)
        path = r.letter('disk', 'r', '-o', 'data_file=%s,data_file_raw=on' % r.path('one'))
        assert r.reads_right(qcow2(path)) == path
        with open(r.path('one'), 'wb') as f:
            f.write(b'w' * MIB)
        r.reads_right(qcow2(path, **{'data-file': file(r.path('two'))}))


def test_a_file_that_is_not_the_base_any_more_is_not_recorded():
    with Images() as r:
        path = r.letter('disk', 'r')
        r.start()
        r.add(qcow2(path))
        os.rename(path, r.path('elsewhere'))
        for present in False, True:
            if present:
                r.letter('disk', 'w')
            e = r.error('blockdev-snapshot-sync', node_name='base', snapshot_file=r.path('over'),
                        snapshot_node_name='over')
            text = 'another file has that name' if present else os.strerror(errno.ENOENT)
            assert text in e.desc and not os.path.exists(r.path('over')), e


def test_a_description_that_no_header_has_room_for_is_refused():
    with Images() as r:
        right, wrong = r.letter('right', 'r'), r.letter('wrong', 'w')
        base = qcow2(right)
        for i in range(12):
            base = qcow2(r.overlay_of('level%02d' % i + 'x' * 60, wrong), backing=base)
        r.start()
        r.add(base)
        e = r.error('blockdev-snapshot-sync', node_name='base', snapshot_file=r.path('over'),
                    snapshot_node_name='over')
        assert '1023 bytes' in e.desc, e
        assert not os.path.exists(r.path('over'))


def test_descriptions_in_every_form_that_images_have_them_in():
    """Nested or with dots in their keys, numbers and switches as text, the format beside it."""
    with Images() as r:
        right = r.letter('right', 'r')
        for description, fmt in (
                (qcow2(right), 'qcow2'), ({'file': file(right)}, 'qcow2'),
                ({'driver': 'qcow2', 'file.driver': 'file', 'file.filename': right}, 'qcow2'),
                ({'driver': 'qcow2', 'file.filename': right}, 'qcow2'),
                ({'file.driver': 'file', 'file.filename': r.path('parts.raw'), 'offset': str(MIB),
                  'size': MIB}, 'raw'),
                (qcow2(right, **{'read-only': 'on', 'cache.direct': 'off', 'backing': None}),
                 'qcow2')):
            top = r.path('described')
            run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-F', fmt, '-b',
                'json:' + json.dumps(description), top, '1M')
            assert r.reads_right(qcow2(top)) == top
        r.start()
        for bad in '[]', '1', '{"file.driver":"file","file":1}', '{"a..b":1}', '{"driver":null}':
            run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b', 'json:' + bad,
                r.path('bad'), '1M')
            e = r.error('blockdev-add', driver='qcow2', node_name='bad', read_only=True,
                        file=file(r.path('bad')))
            assert 'JSON options' in e.desc, e


def test_a_raw_disk_of_any_length():
    with Images() as r:
        for length in 1, 511, 512, 513, 1000003, MIB + 4095:
            data = os.urandom(length)
            with open(r.path('odd'), 'wb') as f:
                f.write(data)
            r.start()
            r.cmd('blockdev-add', driver='raw', node_name='odd', file=file(r.path('odd')))
            r.export('odd')
            r.snapshot(r.member('odd', 'over'))
            h = r.nbd('odd')
            size = h.get_size()
            assert length <= size < length + 512 and size % 512 == 0
            assert h.pread(size, 0) == data + bytes(size - length)
            h.pwrite(b'E', size - 1)
            h.shutdown()
            r.stop()
            run('qemu-img', 'convert', '-O', 'raw', r.path('over'), r.path('copy'))
            with open(r.path('copy'), 'rb') as f:
                assert f.read() == (data + bytes(size - length))[:size - 1] + b'E'
            with open(r.path('odd'), 'rb') as f:
                assert f.read() == data, 'the base is as long as it was'
            os.unlink(r.path('over'))


def test_relative_names_of_a_daemon_in_the_background():
    """It goes to the root directory; its disks stay where they are."""
    with Images() as r:
        r.letter('base', 'r')
        r.overlay_of('disk', 'base')
        run(QSD, '--daemonize', '--qmp', 'unix:qmp.sock,server=on,wait=off', '--blockdev',
            'qcow2,node-name=disk,file.driver=file,file.filename=disk', cwd=r.dir)
        q = QMP(r.path('qmp.sock'))
        q.cmd('blockdev-snapshot-sync', {'node-name': 'disk', 'snapshot-file': r.path('over'),
                                         'snapshot-node-name': 'over'})
        q.cmd('quit')
        assert r.recorded() == r.path('disk')
        run('qemu-io', '-r', '-f', 'qcow2', '-c', 'read -P %d 0 1M' % ord('r'), r.path('over'), cwd='/')


main(globals())
