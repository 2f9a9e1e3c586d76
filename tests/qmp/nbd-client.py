#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk of an NBD server is a disk like any other: its bytes are the server's, its errors name server and cause, and
a server that is gone for a moment is waited for as long as its user wants."""

import json
import os
import random
import signal
import subprocess
import threading
import time

import nbdwire as w
from daemon import Daemon
from nbdserver import Connection, Server
from nbdwire import wait_until
from rig import QSD, Rig, import_nbd, main, requires, run, skip

requires('qemu-img', 'qemu-nbd')
nbd = import_nbd()
MiB = 1 << 20


def unix(path):
    return {'type': 'unix', 'path': path}


def add(r, path, name='disk', **options):
    r.add(name, driver='nbd', server=unix(path),
          **{k.replace('_', '-'): v for k, v in options.items()})


class Served(Rig):
    """A daemon with the disks that others are clients of."""

    def __init__(self, *options):
        super().__init__('served-')
        self.args = options

    def __enter__(self):
        self.start(*self.args)
        return self

    def raw(self, name, size='16M', **kwargs):
        path = self.create(name + '.raw', 'raw', size)
        self.cmd('blockdev-add', driver='raw', node_name=name, discard='unmap',
                 file={'driver': 'file', 'filename': path, 'discard': 'unmap'})
        self.export(name, **kwargs)
        return path

    @property
    def socket(self):
        return self.path('nbd.sock')


def random_work(h, model, rng, steps, lo=0, hi=None):
    hi = hi or len(model)
    for _ in range(steps):
        n = rng.choice((1, 512, 4096, 5000, 70000, 300000))
        at = rng.randrange(lo, hi - n)
        what = rng.randrange(5)
        if what == 0:
            assert h.pread(n, at) == model[at:at + n]
        elif what == 1:
            h.zero(n, at, rng.choice((0, nbd.CMD_FLAG_NO_HOLE)))
            model[at:at + n] = bytes(n)
        elif what == 2:
            h.flush()
        else:
            data = rng.randbytes(n)
            h.pwrite(data, at, rng.choice((0, nbd.CMD_FLAG_FUA)))
            model[at:at + n] = data


def missing_libnbd():
    with Daemon() as r:
        e = r.error('blockdev-add', node_name='x', driver='nbd', server=unix('/nowhere'))
        return 'without libnbd' in e.desc


if missing_libnbd():
    skip('the program was built without libnbd')


def test_bytes_are_the_servers():
    rng = random.Random(1)
    with Served() as s, Daemon() as r:
        path = s.raw('disk')
        add(r, s.socket, export='disk', discard='unmap')
        r.export('disk')
        h = r.nbd('disk')
        model = bytearray(h.get_size())
        random_work(h, model, rng, 400)
        assert h.pread(len(model), 0) == model
        h.trim(4 * MiB, 8 * MiB)
        h.flush()
        h.shutdown()
        r.stop()
        s.stop()
        with open(path, 'rb') as f:
            data = f.read()
        assert data[:8 * MiB] == model[:8 * MiB] and data[12 * MiB:] == model[12 * MiB:]
        assert os.stat(path).st_blocks * 512 < len(model)


def test_it_can_be_used_from_any_thread_by_many():
    with Served() as s, Daemon() as r:
        s.raw('disk')
        add(r, s.socket, export='disk')
        r.cmd('object-add', qom_type='iothread', id='io1')
        r.export('disk', iothread='io1')
        r.export('disk', name='main')
        model = bytearray(16 * MiB)
        failed = []

        def user(n):
            try:
                rng = random.Random(n)
                h = r.nbd('disk' if n % 2 else 'main')
                random_work(h, model, rng, 150, n * 2 * MiB, (n + 1) * 2 * MiB)
                h.shutdown()
            except BaseException as e:
                failed.append(e)
                raise
        threads = [threading.Thread(target=user, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failed
        h = r.nbd('main')
        assert h.pread(len(model), 0) == model


def test_several_connections_serve_a_busy_disk():
    with Served() as s, Daemon() as r:
        s.raw('disk')
        add(r, s.socket, export='disk')
        r.export('disk')
        h = r.nbd('disk')
        bufs = [nbd.Buffer(64 << 10) for _ in range(400)]
        cookies = [h.aio_pread(b, i % 200 * 65536) for i, b in enumerate(bufs)]
        most = 0
        while cookies:
            h.poll(-1)
            cookies = [c for c in cookies if not h.aio_command_completed(c)]
        most = len(s.cmd('query-block-exports'))
        assert most == 1
        fds = os.listdir('/proc/%d/fd' % s.proc.pid)
        sockets = sum(os.readlink('/proc/%d/fd/%s' % (s.proc.pid, f)).startswith('socket:') for f in fds
                      if os.path.lexists('/proc/%d/fd/%s' % (s.proc.pid, f)))
        assert sockets >= 4, sockets
        h.shutdown()


def test_what_is_allocated_is_known():
    with Served() as s, Daemon() as r:
        path = s.create('img.qcow2', 'qcow2', '16M')
        s.cmd('blockdev-add', driver='qcow2', node_name='img', file={'driver': 'file', 'filename': path})
        s.cmd('block-dirty-bitmap-add', node='img', name='b0')
        s.export('img', bitmaps=['b0'])
        h = s.nbd('img')
        h.pwrite(b'x' * MiB, 2 * MiB)
        add(r, s.socket, export='img')
        add(r, s.socket, 'dirty', export='img', x_dirty_bitmap='qemu:dirty-bitmap:b0')
        r.export('disk')
        r.export('dirty')

        def extents(name):
            found = []
            h = r.nbd(name)
            h.block_status(16 * MiB, 0, lambda c, at, e, err: found.extend(zip(e[::2], e[1::2])))
            return found
        assert extents('disk') == [(2 * MiB, 3), (MiB, 0), (13 * MiB, 3)], extents('disk')
        # what is dirty counts as not allocated
        assert extents('dirty') == [(2 * MiB, 0), (MiB, 1), (13 * MiB, 0)], extents('dirty')
        e = r.error('blockdev-add', node_name='x', driver='nbd', server=unix(s.socket), export='img',
                    **{'x-dirty-bitmap': 'qemu:dirty-bitmap:none'})
        assert 'requested x-dirty-bitmap qemu:dirty-bitmap:none not found' in e.desc, e


def test_errors_name_server_and_cause():
    with Served() as s, Daemon() as r:
        s.raw('disk', writable=False)
        there, nowhere = unix(s.socket), unix(s.path('none'))
        for texts, options in (
                (("Failed to connect to '%s'" % s.path('none'), 'No such file'), {'server': nowhere}),
                (('Requested export not available', 'server reported'), {'server': there, 'export': 'x'}),
                (('Requested export not available',), {'server': there}),
                (('only be read', 'Permission denied'), {'server': there, 'export': 'disk'}),
                (('TLS', "'creds'"), {'server': there, 'export': 'disk', 'tls-creds': 'creds'}),
                (('too long',), {'server': there, 'export': 'x' * 4097}),
                (('Connection refused', '127.0.0.1:1'),
                 {'server': {'type': 'inet', 'host': '127.0.0.1', 'port': '1'}})):
            r.refuse(*texts, node_name='x', driver='nbd', **options)
        add(r, s.socket, 'ro', export='disk', read_only=True)
        add(r, s.socket, 'auto', export='disk', auto_read_only=True)
        r.refuse("Can't reopen read-only mount as read/write", execute='blockdev-reopen', options=[
            {'node-name': 'ro', 'driver': 'nbd', 'server': there, 'export': 'disk'}])
        r.refuse("Cannot change the option 'export'", execute='blockdev-reopen', options=[
            {'node-name': 'ro', 'driver': 'nbd', 'server': there, 'export': 'y', 'read-only': True}])
        for name in 'ro', 'auto':
            node, = [n for n in r.cmd('query-named-block-nodes') if n['node-name'] == name]
            assert node['ro'] and node['drv'] == 'nbd'
            assert node['file'] == 'nbd+unix:///disk?socket=' + s.socket, node['file']
            r.cmd('blockdev-del', node_name=name)


def test_a_backing_file_may_be_a_servers():
    with Served() as s, Daemon() as r:
        s.raw('base')
        h = s.nbd('base')
        h.pwrite(b'base' * 1024, MiB)
        for n, base in enumerate((s.uri('base'), 'nbd:unix:%s:exportname=base' % s.socket,
                                  'json:{"driver":"raw","file":{"driver":"nbd","path":"%s","export":"base"}}'
                                  % s.socket)):
            top = r.path('top%d' % n)
            run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', top)
            name = 'top%d' % n
            r.add(name, driver='qcow2', file={'driver': 'file', 'filename': top})
            r.export(name)
            c = r.nbd(name)
            assert c.pread(8192, MiB) == b'base' * 1024 + bytes(4096)
            c.pwrite(b'top', MiB)
            assert h.pread(3, MiB) == b'bas'
            c.shutdown()
        # an image that is there names another one: it lies on no folder
        path = s.create('there.qcow2', 'qcow2', '16M')
        run('qemu-img', 'rebase', '-u', '-b', 'base.raw', '-F', 'raw', path)
        s.cmd('blockdev-add', driver='file', node_name='there', filename=path)
        s.export('there')
        r.refuse('Cannot generate a base directory for nbd nodes', node_name='x', driver='qcow2',
                 file={'driver': 'nbd', 'server': unix(s.socket), 'export': 'there'})


def test_names_are_understood_as_qemu_does():
    with Served() as s, Daemon() as r:
        s.raw('base')
        for base, text in (('nbd:', 'NBD server address missing'), ('nbd:foo', "error parsing address 'foo'"),
                           ('nbd+unix:///e', 'No valid URL specified'), ('nbd://', 'No valid URL specified'),
                           ('nbd://127.0.0.1:1/a?b=c', 'No valid URL specified'),
                           ('nbd://127.0.0.1:99999/', 'No valid URL specified'),
                           ('nbd+unix://h/?socket=/x', 'No valid URL specified'),
                           ('nbd:127.0.0.1:1:exportname=f', "Failed to connect to '127.0.0.1:1'"),
                           ('nbd://[::1]:1', "Failed to connect to"), ('nbds://x', "Unknown protocol 'nbds'"),
                           ('nbd+unix:///b%61r?socket=' + s.socket, "export 'bar' not present")):
            top = r.path('top')
            run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-b', base, '-F', 'raw', top, '1M')
            r.refuse(text, node_name='x', driver='qcow2', file={'driver': 'file', 'filename': top})


def test_disks_are_copied_to_servers():
    """libvirt's way of moving a disk: to an export of the other daemon."""
    for job in 'blockdev-mirror', 'blockdev-backup':
        with Served() as s, Daemon() as r:
            path = s.raw('target')
            src = r.add_file('src', 'qcow2', '16M')
            r.export('src')
            h = r.nbd('src')
            model = bytearray(16 * MiB)
            random_work(h, model, random.Random(3), 100)
            add(r, s.socket, 'target', export='target', discard='unmap')
            r.cmd(job, job_id='j', device='src', target='target', sync='full')
            if job == 'blockdev-mirror':
                r.qmp.wait_event('BLOCK_JOB_READY')
                random_work(h, model, random.Random(4), 100)
                r.cmd('job-complete', id='j')
            done = r.qmp.wait_event('BLOCK_JOB_COMPLETED')['data']
            assert 'error' not in done, done
            h.flush()
            h.shutdown()
            r.stop()
            s.stop()
            with open(path, 'rb') as f:
                assert f.read() == model, job


def test_it_works_with_the_installed_server():
    for options in ((), ('-e', '8'), ('-B', 'b0', '-A')):
        with Daemon() as r:
            fmt = 'qcow2'
            path = r.create('img', fmt, '8M')
            run('qemu-img', 'bitmap', '--add', path, 'b0')
            sock = r.path('other.sock')
            server = subprocess.Popen(['qemu-nbd', '-t', '-k', sock, '-f', fmt, '-x', 'img', *options, path],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            try:
                wait_until(lambda: os.path.exists(sock))
                add(r, sock, export='img')
                r.export('disk')
                h = r.nbd('disk')
                model = bytearray(8 * MiB)
                random_work(h, model, random.Random(5), 200)
                assert h.pread(len(model), 0) == model
                h.shutdown()
                r.stop()
            finally:
                server.terminate()
                server.wait()
            raw = r.path('raw')
            run('qemu-img', 'convert', '-f', fmt, '-O', 'raw', path, raw)
            with open(raw, 'rb') as f:
                assert f.read() == model


# ---- servers that come and go ----

def in_background(fn):
    result = []
    t = threading.Thread(target=lambda: result.append(fn()))
    t.start()
    return t, result


def attempt(h, fn):
    """The errno of the failure of @fn, or 0."""
    try:
        fn()
    except nbd.Error as e:
        return e.errno
    return 0


def test_a_server_that_is_gone_is_waited_for():
    with Daemon() as r, Server(r.path('s')) as s:
        add(r, r.path('s'), reconnect_delay=30)
        r.export('disk')
        h = r.nbd('disk')
        h.pwrite(b'before', 0)
        s.close()
        t, result = in_background(lambda: h.pread(6, 0))
        time.sleep(0.5)
        assert not result
        s.open()
        t.join(20)
        assert result == [b'before']
        # a connection that breaks while a request is under way
        s.drop()
        h.pwrite(b'after', 0)
        assert h.pread(5, 0) == b'after'
        h.shutdown()
        r.stop()
        assert 'is lost' in r.log and 'is there again' in r.log, r.log


def test_waiting_has_an_end():
    with Daemon() as r, Server(r.path('s')) as s:
        add(r, r.path('s'), reconnect_delay=1)
        add(r, r.path('s'), 'at-once')
        r.export('disk')
        r.export('at-once')
        h, at_once = r.nbd('disk'), r.nbd('at-once')
        s.close()
        began = time.monotonic()
        wait_until(lambda: attempt(at_once, lambda: at_once.pread(512, 0)) == nbd_errno('EIO'))
        assert attempt(h, lambda: h.pread(512, 0)) == nbd_errno('EIO')
        assert 0.5 < time.monotonic() - began < 10
        began = time.monotonic()
        assert attempt(h, lambda: h.pread(512, 0)) == nbd_errno('EIO')
        assert time.monotonic() - began < 0.5
        s.open()
        for c in h, at_once:
            wait_until(lambda: attempt(c, lambda: c.pread(512, 0)) == 0)
        h.shutdown()
        at_once.shutdown()


def test_the_end_of_the_daemon_does_not_wait_for_a_server():
    for request in lambda h: h.pread(6, 0), lambda h: h.pwrite(b'lost', 0), lambda h: h.flush():
        for end in 'SIGTERM', 'quit':
            with Daemon() as r, Server(r.path('s')) as s:
                add(r, r.path('s'), reconnect_delay=3600)
                r.export('disk')
                h = r.nbd('disk')
                h.pwrite(b'before', 0)
                s.close()
                t, result = in_background(lambda: attempt(h, lambda: request(h)))
                time.sleep(0.2)
                if end == 'quit':
                    r.cmd('quit')
                r.stop(check=False)
                t.join(20)
                assert not t.is_alive()


def test_a_server_that_says_nothing_does_not_keep_the_daemon_from_ending():
    with Daemon() as r:
        path = r.create('image')
        server = subprocess.Popen([os.path.join(os.path.dirname(QSD), 'qemu-nbd'), '-t', '-f', 'raw', '-k', r.path('s'),
                                   path], stderr=subprocess.PIPE)
        wait_until(lambda: os.path.exists(r.path('s')))
        add(r, r.path('s'), reconnect_delay=3600)
        r.export('disk')
        h = r.nbd('disk')
        h.pwrite(b'before', 0)
        server.send_signal(signal.SIGSTOP)
        t, result = in_background(lambda: attempt(h, lambda: h.pread(6, 0)))
        time.sleep(0.2)
        r.stop(check=False)
        server.kill()
        server.communicate()
        t.join(20)
        assert not t.is_alive() and 'says nothing' in r.log, r.log


def nbd_errno(name):
    return name


def test_opening_waits_for_a_server():
    with Daemon() as r:
        timer = threading.Timer(1, lambda: servers.append(Server(r.path('s'))))
        servers = []
        timer.start()
        add(r, r.path('s'), open_timeout=20)
        timer.join()
        r.cmd('blockdev-del', node_name='disk')
        wait_until(lambda: servers[0].goodbyes == 1)
        servers[0].close()
        began = time.monotonic()
        r.refuse('Failed to connect', node_name='x', driver='nbd', server=unix(r.path('s')), open_timeout=1)
        assert 0.5 < time.monotonic() - began < 5


def test_another_disk_is_not_taken_for_the_one_that_was_there():
    class Longer(Connection):
        size = 2 << 20
    with Daemon() as r, Server(r.path('s')) as s:
        add(r, r.path('s'), reconnect_delay=1)
        r.export('disk')
        h = r.nbd('disk')
        h.pread(512, 0)
        s.kind = Longer
        s.drop()
        wait_until(lambda: attempt(h, lambda: h.pread(512, 0)) == nbd_errno('EIO'))
        s.kind = Connection
        wait_until(lambda: attempt(h, lambda: h.pread(512, 0)) == 0)
        h.shutdown()
        r.stop()
        assert 'has another disk' in r.log


def test_the_server_hears_a_goodbye():
    with Daemon() as r, Server(r.path('s')) as s:
        add(r, r.path('s'))
        r.cmd('blockdev-del', node_name='disk')
        wait_until(lambda: s.goodbyes == 1)


def test_a_job_that_is_cancelled_does_not_wait_for_a_server():
    for command, sync in (('blockdev-mirror', 'full'), ('blockdev-backup', 'full')):
        with Daemon() as r, Server(r.path('s')) as s:
            add(r, r.path('s'), reconnect_delay=60)
            size = [n for n in r.cmd('query-named-block-nodes') if n['node-name'] == 'disk'][0]['image']['virtual-size']
            r.add('src', driver='null-co', size=size, **{'read-zeroes': False})
            r.cmd(command, job_id='j', device='src', target='disk', sync=sync, speed=1 << 20)
            s.close()
            r.cmd('block-job-set-speed', device='j', speed=0)
            time.sleep(1)
            began = time.monotonic()
            r.cmd('block-job-cancel', device='j', force=True)
            r.qmp.wait_event('BLOCK_JOB_CANCELLED')
            assert time.monotonic() - began < 10
            s.open()
            r.export('disk')                    # others find the disk as before
            h = r.nbd('disk')
            wait_until(lambda: attempt(h, lambda: h.pread(512, 0)) == 0)
            h.shutdown()
            r.stop()


main(globals())
