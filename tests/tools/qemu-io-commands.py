#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands of qemu-io do to the image what they say, and its exit status says whether all of them could."""

import os
import pty
import resource
import select
import shutil
import signal
import subprocess
import time

from qemuio import QEMU_IO, Images, main, read, requires, run, skip, wrote

requires('qemu-img')


def test_what_is_written_is_there_afterwards():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        assert d.ok('a.qcow2', 'write -P 7 1000 100k') == wrote(102400, 1000, '100 KiB')
        assert d.ok('a.qcow2', 'read -P 7 1000 100k', 'read -P 0 0 1000') == \
            read(102400, 1000, '100 KiB') + read(1000, 0, '1000 bytes')
        run('qemu-img', 'check', '-q', d.path('a.qcow2'))


def test_the_status_says_whether_all_commands_could():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        assert d.io('a.qcow2', 'read -P 1 0 512', 'length')[2] == 1
        assert d.io('a.qcow2', 'length', 'nosuch')[2] == 1
        assert d.io('a.qcow2', 'length')[2] == 0
        assert d.start(['a.qcow2'], stdin='read -P 1 0 512\nlength\n')[2] == 1
        assert d.start(['a.qcow2'], stdin='length\nquit\nnosuch\n')[2] == 0
        assert d.start(['nosuch'])[2] == 1
        # Asynchronous requests only say it.
        out, err, status = d.io('a.qcow2', 'aio_read -P 1 0 512')
        assert out.startswith('Pattern verification failed') and status == 0, (out, status)
        # And what cannot be said makes it fail.
        r = subprocess.run('%s %s -c length > /dev/full' % (QEMU_IO, d.path('a.qcow2')), shell=True,
                           capture_output=True, text=True)
        assert r.returncode == 1 and 'standard output' in r.stderr, r


def test_a_crash_leaves_what_was_written():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        out, err, status = d.io('a.qcow2', 'write 0 64k', 'sigraise 9')
        assert status == -signal.SIGKILL and out == wrote(65536, 0, '64 KiB'), (out, err, status)
        core = dict(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        out, err, status = d.io('a.qcow2', 'write 64k 64k', 'abort', **core)
        assert status == -signal.SIGABRT and out == wrote(65536, 65536, '64 KiB'), (out, status)
        assert d.ok('a.qcow2', 'read -P 0xcd 0 128k') == read(131072, 0, '128 KiB')


# Nodes between an image and its file: how the image's options name them, and the file below them.
NODES_BETWEEN = {
    'raw': ('file.driver=raw', 'file.file'),
    'raw behind an offset': ('file.driver=raw,file.offset=512', 'file.file'),
    'raw over raw': ('file.driver=raw,file.file.driver=raw', 'file.file.file'),
    'raw over preallocate': ('file.driver=raw,file.file.driver=preallocate', 'file.file.file'),
    'copy-on-read': ('file.driver=copy-on-read', 'file.file'),
    'preallocate': ('file.driver=preallocate', 'file.file'),
    'blkdebug': ('file.driver=blkdebug', 'file.image'),
}


def test_an_image_grows_through_whatever_lies_between_it_and_its_file():
    writes = ('write -P 1 1000 5000', 'write -P 2 1M 3M', 'write -z 5M 100k', 'write -P 3 16380k 4k')
    reads = ('read -P 0 0 1000', 'read -P 1 1000 5000', 'read -P 0 6000 60000', 'read -P 2 1M 3M',
             'read -P 0 5M 1M', 'read -P 0 16368k 12k', 'read -P 3 16380k 4k')
    for name, (options, file) in NODES_BETWEEN.items():
        with Images() as d:
            d.create('a.qcow2', 'qcow2', '16M')
            skip_bytes = 512 if 'offset' in name else 0
            with open(d.path('a.qcow2'), 'rb') as f:
                image = f.read()
            with open(d.path('a.qcow2'), 'wb') as f:
                f.write(bytes(skip_bytes) + image)
            image = 'driver=qcow2,%s,%s.driver=file,%s.filename=%s' % (options, file, file,
                                                                       d.path('a.qcow2'))
            for commands in (writes + reads, reads):
                out, err, status = d.start(['--image-opts', *sum((['-c', c] for c in commands), []),
                                            image])
                assert status == 0 and not err, (name, out, err)
            with open(d.path('a.qcow2'), 'rb') as f:
                image = f.read()
            with open(d.path('b.qcow2'), 'wb') as f:
                f.write(image[skip_bytes:])
            run('qemu-img', 'check', '-q', d.path('b.qcow2'))


def test_what_has_a_size_of_its_own_is_full():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '16M')
        size = os.path.getsize(d.path('a.qcow2'))
        image = 'driver=qcow2,file.driver=raw,file.size=%d,file.file.driver=file,' \
            'file.file.filename=%s' % (size, d.path('a.qcow2'))
        out, err, status = d.start(['--image-opts', '-c', 'write 0 1M', image])
        assert status == 1 and 'No space left on device' in out + err, (out, err, status)
        assert os.path.getsize(d.path('a.qcow2')) == size
        run('qemu-img', 'check', '-q', d.path('a.qcow2'))


def test_a_temporary_overlay_leaves_nothing_behind():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        with open(d.path('a.qcow2'), 'rb') as f:
            before = f.read()
        os.mkdir(d.path('tmp'))
        env = dict(os.environ, TMPDIR=d.path('tmp'))
        assert d.ok('a.qcow2', 'write -P 5 100 64k', 'read -P 5 100 64k', options=['-s'], env=env) \
            == wrote(65536, 100, '64 KiB') + read(65536, 100, '64 KiB')
        with open(d.path('a.qcow2'), 'rb') as f:
            assert f.read() == before
        assert os.listdir(d.path('tmp')) == []
        env['TMPDIR'] = d.path('nosuch')
        out, err, status = d.io('a.qcow2', 'length', options=['-s'], env=env)
        assert status == 1 and 'temporary overlay' in err and 'No such file' in err, err
        # The image itself need not be writable.
        d.ok(None, 'open -s -o driver=qcow2 a.qcow2', 'write 0 1k', 'close')


def test_pattern_files_are_repeated():
    with Images() as d:
        d.create('a.raw', 'raw', '1M')
        d.write('pattern', 'abc')
        d.ok('a.raw', 'write -s pattern 512 10', options=['-f', 'raw'])
        with open(d.path('a.raw'), 'rb') as f:
            assert f.read()[510:524] == b'\0\0abcabcabca\0\0'


def test_quiet_leaves_out_statistics_only():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        assert d.ok('a.qcow2', 'write 0 1k', 'length', 'discard 0 1k', options=['-q']) == '4 MiB\n'
        d.ok('a.qcow2', 'length', options=['-x'])       # of older scripts


def test_zones_are_refused():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        for command in ('zone_report 0 1', 'zrp 0 1', 'zone_open 0 1', 'zone_close 0 1', 'zone_finish 0 1',
                        'zone_reset 0 1', 'zone_append 0 512'):
            out, err, status = d.io('a.qcow2', command)
            assert status == 1 and 'zones of a device are not supported' in out, (command, out, err)


def test_every_command_has_help():
    with Images() as d:
        for line in d.ok(None, 'help').split('\n'):
            if ' -- ' in line:
                name = line.split()[0]
                assert d.ok(None, 'help ' + name).startswith(line), name


def test_the_size_of_one_request_is_limited_and_memory_that_there_is_not_is_an_error():
    def little():
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4G')
        out, err, status = d.io('a.qcow2', 'write 0 2047M', 'length', preexec_fn=little)
        if 'AddressSanitizer' in err:
            skip('a sanitizer needs all addresses that there are')
        assert status == 1 and 'memory' in err and out == '4 GiB\n', (out, err)


def test_images_of_others():
    """While somebody else writes to it, an image is opened only with -rU."""
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        p = subprocess.Popen([QEMU_IO, d.path('a.qcow2')], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True)
        p.stdin.write('length\n')
        p.stdin.flush()
        assert '4 MiB' in p.stdout.readline()
        for options in ([], ['-r']):
            out, err, status = d.io('a.qcow2', 'length', options=options)
            assert status == 1 and 'lock' in err, (options, err)
        d.ok('a.qcow2', 'length', options=['-rU'])
        p.communicate('quit\n')
        assert p.returncode == 0, p.returncode


class Terminal:
    """qemu-io with a terminal."""

    def __init__(self, *args):
        self.fd, slave = pty.openpty()
        self.process = subprocess.Popen([QEMU_IO, *args], stdin=slave, stdout=slave, stderr=slave,
                                        env=dict(os.environ, TERM='dumb'), start_new_session=True)
        os.close(slave)
        self.seen = ''

    def expect(self, text):
        end = time.monotonic() + 30
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], (text, self.seen)
            self.seen += os.read(self.fd, 4096).decode()
        self.seen = self.seen[self.seen.index(text) + len(text):]

    def type(self, text):
        os.write(self.fd, text.encode())


def test_a_terminal_has_history_and_completion():
    lib = subprocess.run(['ldd', QEMU_IO], capture_output=True, text=True).stdout
    if 'libreadline' not in lib and 'libedit' not in lib:
        skip('built without a library for lines')
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        t = Terminal(d.path('a.qcow2'))
        t.expect('qemu-io> ')
        t.type('leng\t\n')
        t.expect('4 MiB')
        t.expect('qemu-io> ')
        t.type('\x10\n')                # the line before
        t.expect('4 MiB')
        t.expect('qemu-io> ')
        t.type('quit\n')
        assert t.process.wait(timeout=30) == 0


if __name__ == '__main__':
    main(globals())
