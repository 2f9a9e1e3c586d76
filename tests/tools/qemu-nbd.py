#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-nbd says and does what the installed program of that name does, and a disk that it serves is what was written."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qmp'))
from nbdwire import wait_until                                          # noqa: E402
from reference import NotThere, reference_program                       # noqa: E402
from rig import import_nbd, main, requires, run, skip                   # noqa: E402

requires('qemu-img', 'qemu-io')
nbd = import_nbd()
OURS = os.path.abspath(os.environ.get('QEMU_NBD') or os.path.join(HERE, '../../build/tools/qemu-nbd'))
try:
    THEIRS, _ = reference_program('qemu-nbd')
except NotThere as e:
    skip(str(e))
MiB = 1 << 20


class Folder:
    """A folder with images; programs run in it, and those that serve end with it."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix='qnbd-')
        self.sock = self.path('sock')
        self.procs = []
        with open(self.path('raw'), 'wb') as f:
            f.truncate(MiB)
        run('qemu-img', 'create', '-q', '-f', 'qcow2', self.path('qcow2'), '1M')
        run('qemu-img', 'bitmap', '--add', self.path('qcow2'), 'b0')
        return self

    def __exit__(self, *exc):
        for p in self.procs:
            if p.poll() is None:
                p.kill()
            p.wait()
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def run(self, program, *args, env=None):
        """(status, what it printed)"""
        r = subprocess.run(['qemu-nbd', *args], executable=program, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=60, env=dict(os.environ, **(env or {})))
        return r.returncode, r.stdout

    def serve(self, *args, program=OURS, **kwargs):
        """The process, which serves by now."""
        if os.path.exists(self.sock):
            os.unlink(self.sock)
        p = subprocess.Popen([program, '-k', self.sock, *args], cwd=self.dir, stdin=subprocess.DEVNULL, **kwargs)
        self.procs.append(p)
        wait_until(lambda: os.path.exists(self.sock) or p.poll() is not None)
        assert p.poll() is None, 'it ended with status %d' % p.returncode
        return p

    def connect(self, name='', **setup):
        h = nbd.NBD()
        h.set_export_name(name)
        for k, v in setup.items():
            getattr(h, k)(v)
        h.connect_unix(self.sock)
        return h


def test_what_is_wrong_is_said_in_the_same_words():
    with Folder() as f:
        long_name = 'x' * 5000
        for args in (
                (), ('a', 'b'), ('-p',), ('--zork',), ('-e', 'foo', 'raw'), ('-e', '-1', 'raw'), ('-o', 'foo', 'raw'),
                ('-o', '2M', 'raw'), ('-o', '2097152', '-k', f.sock, '-f', 'raw', 'raw'), ('-k', 'relative', 'raw'),
                ('-n', '--cache=none', 'raw'), ('--cache=foo', 'raw'), ('--aio=foo', 'raw'),
                ('--aio=native', '--aio=threads', 'raw'), ('--discard=foo', 'raw'),
                ('--discard=unmap', '--discard=unmap', 'raw'), ('--detect-zeroes=foo', 'raw'),
                ('--detect-zeroes=unmap', 'raw'), ('-L', 'raw'), ('-L', '-x', 'foo'), ('-L', '-k', f.path('none')),
                ('-L', '-p', '1'), ('-L', '-b', '127.0.0.1', '-p', '1'), ('-k', f.sock, '--image-opts', '-f', 'raw', 'raw'),
                ('-k', f.sock, 'none'), ('-k', f.sock, '-f', 'foo', 'raw'), ('-k', f.sock, '-f', 'qcow2', 'raw'),
                ('-k', f.sock, '-B', 'none', 'qcow2'), ('-k', f.sock, '-f', 'raw', '-B', 'b0', 'raw'),
                ('-k', f.path('no/where'), '-f', 'raw', 'raw'), ('-b', '1.2.3.4', '-f', 'raw', 'raw'),
                ('-k', f.sock, '-f', 'raw', '--aio=native', '--cache=writeback', 'raw'),
                ('-k', f.sock, '--fork', '--pid-file=' + f.path('no/where'), '-f', 'raw', 'raw'),
                ('-x', long_name, 'raw'), ('-D', long_name, 'raw'), ('-r', '-k', f.sock, '-f', 'raw', '/'),
                ('-c', '/dev/null', '-f', 'raw', 'raw'), ('-c', f.path('no-device'), '-f', 'raw', 'raw'),
                ('-d',), ('-d', f.path('no-device')), ('-d', '/dev/null')):
            ours, theirs = f.run(OURS, *args), f.run(THEIRS, *args)
            assert ours == theirs, (args, ours, theirs)


def test_what_is_not_there_is_refused_by_name():
    with Folder() as f:
        for args, text in ((('--tls-creds=x', 'raw'), 'TLS is not supported'),
                           (('--tls-authz=x', 'raw'), 'TLS is not supported'),
                           (('-l', 'snap', '-f', 'qcow2', 'qcow2'), "Failed to load snapshot: Can't find snapshot"),
                           (('--selinux-label=x', 'raw'), 'not supported')):
            status, said = f.run(OURS, *args)
            assert status == 1 and text in said, (args, said)


def test_lists_are_the_same():
    with Folder() as f:
        for options in (('-f', 'raw', 'raw'), ('-r', '-f', 'raw', 'raw'), ('-e', '0', '-f', 'raw', 'raw'),
                        ('-f', 'qcow2', '-x', 'foo', '-D', 'some text', '-B', 'b0', '-A', '-e', '3', 'qcow2'),
                        ('-o', '512', '-f', 'raw', 'raw')):
            lists = []
            for server in THEIRS, OURS:
                p = f.serve('-t', *options, program=server)
                for client in THEIRS, OURS:
                    lists.append(f.run(client, '-L', '-k', f.sock))
                p.terminate()
                assert p.wait(20) == 0
                wait_until(lambda: not os.path.exists(f.sock))
            # of what they serve they may think differently how large requests best are
            assert lists[0] == lists[1] and lists[2] == lists[3]
            without = [[line for line in said.split('\n') if 'opt block' not in line] for _, said in lists]
            assert without[0] == without[2], (options, lists)


def test_bytes_are_those_of_the_image():
    rng = random.Random(1)
    for options, fmt in ((('-f', 'raw'), 'raw'), (('-f', 'qcow2', '--discard=unmap', '--detect-zeroes=on'), 'qcow2'),
                         (('-n', '--aio=native', '-f', 'qcow2'), 'qcow2'), (('--cache=writethrough',), 'qcow2')):
        with Folder() as f:
            p = f.serve(*options, fmt)
            h = f.connect()
            model = bytearray(MiB)
            for _ in range(50):
                n = rng.choice((1, 512, 4096, 100000))
                at = rng.randrange(MiB - n)
                data = rng.choice((bytes(n), rng.randbytes(n)))
                h.pwrite(data, at)
                model[at:at + n] = data
            assert h.pread(MiB, 0) == model
            h.flush()
            h.shutdown()
            assert p.wait(20) == 0          # its only client has left
            assert not os.path.exists(f.sock)
            run('qemu-img', 'convert', '-f', fmt, '-O', 'raw', f.path(fmt), f.path('out'))
            with open(f.path('out'), 'rb') as out:
                assert out.read() == model


def test_a_part_of_an_image_can_be_served():
    with Folder() as f:
        f.serve('-f', 'raw', '-o', '4096', 'raw')
        h = f.connect()
        assert h.get_size() == MiB - 4096
        h.pwrite(b'here', 0)
        h.flush()
        h.shutdown()
        with open(f.path('raw'), 'rb') as raw:
            assert raw.read()[4096:4100] == b'here'


def test_an_internal_snapshot_is_served():
    with Folder() as f:
        image = f.path('inside')
        for args in (['qemu-img', 'create', '-q', '-f', 'qcow2', image, '4M'],
                     ['qemu-io', '-c', 'write -q -P 1 0 1M', image], ['qemu-img', 'snapshot', '-c', 'then', image],
                     ['qemu-io', '-c', 'write -q -P 2 0 1M', image]):
            subprocess.check_call(args)
        for which in 'then', '1', 'snapshot.name=then', 'snapshot.id=1':
            p = f.serve('-f', 'qcow2', '-l', which, image)
            h = f.connect()
            assert h.is_read_only() and h.pread(1 << 20, 0) == b'\1' * (1 << 20)
            h.shutdown()
            p.wait(10)


def test_what_is_written_to_a_snapshot_goes():
    with Folder() as f:
        with open(f.path('raw'), 'r+b') as raw:
            raw.write(b'old')
        p = f.serve('-s', '-f', 'raw', 'raw', env=dict(os.environ, TMPDIR=f.dir))
        before = set(os.listdir(f.dir))
        h = f.connect()
        h.pwrite(b'new' * 1000, 0)
        h.flush()
        assert h.pread(3000, 0) == b'new' * 1000 and h.pread(4096, 4096) == bytes(4096)
        assert set(os.listdir(f.dir)) == before
        h.shutdown()
        assert p.wait(20) == 0
        with open(f.path('raw'), 'rb') as raw:
            assert raw.read() == b'old' + bytes(MiB - 3)


def test_as_many_clients_as_it_is_told():
    with Folder() as f:
        p = f.serve('-f', 'raw', '-e', '2', 'raw')
        a, b = f.connect(), f.connect()
        assert a.can_multi_conn()
        third = nbd.NBD()
        third.aio_connect_unix(f.sock)
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            third.poll(100)
        assert not third.aio_is_ready()
        a.shutdown()
        while not third.aio_is_ready():
            third.poll(-1)
        b.shutdown()
        third.shutdown()
        assert p.wait(20) == 0
        # a client that only looks is none
        p = f.serve('-f', 'raw', 'raw')
        f.run(OURS, '-L', '-k', f.sock)
        assert p.poll() is None
        p.terminate()
        assert p.wait(20) == 0
        p = f.serve('-t', '-f', 'raw', 'raw')
        f.connect().shutdown()
        f.connect().shutdown()
        assert p.poll() is None
        p.terminate()
        assert p.wait(20) == 0
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            p = f.serve('-t', '-f', 'raw', 'raw')
            p.send_signal(number)
            assert p.wait(20) == 0
            assert not os.path.exists(f.sock)


def test_clients_may_only_read_where_it_says_so():
    with Folder() as f:
        os.chmod(f.path('raw'), 0o444)
        f.serve('-r', '-f', 'raw', 'raw')
        h = f.connect()
        assert h.is_read_only() and h.pread(512, 0) == bytes(512)
        h.shutdown()


def test_it_goes_to_the_background_once_it_serves():
    with Folder() as f:
        began = time.monotonic()
        status, said = f.run(OURS, '--fork', '--pid-file=' + f.path('pid'), '-t', '-k', f.sock, '-f', 'raw', 'raw')
        assert status == 0 and said == '' and time.monotonic() - began < 20
        with open(f.path('pid')) as pid:
            number = int(pid.read())
        try:
            h = f.connect()
            assert h.pread(512, 0) == bytes(512)
            h.shutdown()
        finally:
            os.kill(number, signal.SIGTERM)
        # Its pid file goes last.
        wait_until(lambda: not os.path.exists(f.sock) and not os.path.exists(f.path('pid')))


def test_a_service_manager_may_listen():
    with Folder() as f:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f.sock)
        listener.listen(10)

        def hand_over():
            os.dup2(listener.fileno(), 3)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')
        if listener.fileno() == 3:
            listener = socket.socket(fileno=os.dup(listener.detach()))
        pid = os.fork()
        if pid == 0:
            os.chdir(f.dir)
            hand_over()
            os.set_inheritable(3, True)
            os.execv(OURS, [OURS, '-f', 'raw', 'raw'])
        listener.close()
        try:
            h = f.connect()
            assert h.pread(512, 0) == bytes(512)
            h.shutdown()
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            status = os.waitpid(pid, 0)[1]
        assert status == 0
        assert os.path.exists(f.sock)           # it is not ours to remove
        env = {'LISTEN_FDS': '1'}
        for options, text in ((('-k', '/x'), 'Unix socket'), (('-p', '1'), 'TCP port number'),
                              (('-b', 'x'), 'The interface')):
            r = subprocess.run(['/bin/sh', '-c', 'LISTEN_PID=$$ exec "$@" 3</dev/null', 'sh', OURS, *options, '-f', 'raw',
                                'raw'], cwd=f.dir, env=dict(os.environ, **env), stderr=subprocess.PIPE, text=True)
            assert r.returncode == 1
            assert r.stderr == "qemu-nbd: %s can't be set when using socket activation\n" % text, r.stderr


def test_tcp_serves_as_well():
    with Folder() as f:
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            port = s.getsockname()[1]
        p = subprocess.Popen([OURS, '-b', '127.0.0.1', '-p', str(port), '-t', '-f', 'raw', 'raw'], cwd=f.dir)
        f.procs.append(p)

        def listed():
            return f.run(OURS, '-L', '-b', '127.0.0.1', '-p', str(port))[0] == 0
        wait_until(listed)
        p.terminate()
        assert p.wait(20) == 0


main(globals())
