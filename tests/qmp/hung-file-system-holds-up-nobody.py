#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Whatever operation of a file system does not return, and whatever brought it about: commands, queries and clients that are
about other disks are answered.

Each row makes a file system of ours hang in one kind of operation; then all that can be asked of a healthy disk is.
"""

import fcntl
import os
import signal
import struct
import time

import nbdwire as w
from faultfs import FaultFs
from nbdwire import Wire, wait_until
from rig import Rig, main, requires, run

requires('qemu-img')
KiB, MiB = 1 << 10, 1 << 20
F_OFD_GETLK, F_OFD_SETLK = 36, 37
PATIENCE = 20


class Bed(Rig):
    """Disk "ok" in a folder of its own; disks "sick" and "sick-direct" on @fs; "spare0" to "spare3" for snapshots."""

    def __init__(self, fs, backend):
        super().__init__('hung-')
        self.fs = fs
        for name in 'ok', 'spare0', 'spare1', 'spare2', 'spare3':
            self.drive(name)
        for name in 'sick', 'sick-direct', 'sick-new':
            with open(fs.path(name), 'wb') as f:
                f.truncate(16 * MiB)
        self.start('--object', 'iothread,id=io0', env={'QEMU_AIO': backend})
        for name in 'sick', 'sick-direct':
            self.cmd('blockdev-add', driver='raw', node_name=name, discard='unmap', file={
                'driver': 'file', 'filename': fs.path(name), 'discard': 'unmap',
                'cache': {'direct': name == 'sick-direct'}})
            self.export(name)
        self.export('ok')
        self.ok = self.wire('ok')
        self.used = 0

    def wire(self, name):
        return Wire(self.path('nbd.sock'), timeout=PATIENCE).negotiate(name, meta=('base:allocation',))

    def stop(self, check=True):
        if self.fs.proc.poll() is None:
            self.fs.proc.send_signal(signal.SIGCONT)
            self.fs.disarm()
        super().stop(check)

    def job(self, command, **args):
        """A job from its beginning to its end."""
        self.used += 1
        job = 'job%d' % self.used
        self.cmd(command, job_id=job, **args)
        wait_until(lambda: [j for j in self.cmd('query-jobs') if j['id'] == job][0]['status'] == 'concluded')
        info = [j for j in self.cmd('query-jobs') if j['id'] == job][0]
        assert 'error' not in info, info
        self.cmd('job-dismiss', id=job)


# ---- what is asked of others while a file system hangs ----

def ask_queries(r):
    for query in ('query-block', 'query-named-block-nodes', 'query-blockstats', 'query-jobs', 'query-status',
                  'query-block-exports', 'query-iothreads', 'query-version'):
        r.qmp.cmd(query, timeout=PATIENCE)


def ask_client(r):
    r.ok.write(0, b'guest' * 100)
    r.ok.write(64 * KiB, b'fua' * 100, w.FUA)
    assert r.ok.read(0, 5) == b'guest'
    r.ok.call(w.FLUSH)
    r.ok.call(w.TRIM, MiB, MiB)
    r.ok.call(w.WRITE_ZEROES, 2 * MiB, MiB)
    r.ok.block_status(0, 4 * MiB)


def ask_new_client(r):
    with r.wire('ok') as c:
        assert c.read(0, 5) == b'guest'


def ask_objects(r):
    with open(r.path('password'), 'w') as f:
        f.write('password')
    r.cmd('object-add', qom_type='secret', id='s', file=r.path('password'))
    r.cmd('object-add', qom_type='iothread', id='t')
    r.cmd('object-add', qom_type='throttle-group', id='g')
    for name in 's', 't', 'g':
        r.cmd('object-del', id=name)


def ask_server(r):
    r.cmd('nbd-server-start', id='other', addr={'type': 'unix', 'data': {'path': r.path('other.sock')}})
    r.cmd('nbd-server-stop', id='other')


def ask_create(r):
    r.used += 1
    r.job('blockdev-create', options={'driver': 'file', 'filename': r.path('new%d' % r.used), 'size': MiB})


def ask_snapshot(r):
    r.used += 1
    r.cmd('blockdev-group-snapshot-sync', devlist=[r.member('ok', 'over%d' % r.used)])


def ask_resize(r):
    r.used += 1
    r.cmd('block_resize', device='ok', size=16 * MiB + r.used * MiB)


def ask_nodes(r):
    r.cmd('blockdev-add', driver='qcow2', node_name='n',
          file={'driver': 'file', 'filename': r.create('n', 'qcow2')})
    r.export('n')
    r.cmd('block-export-del', id='exp-n')
    r.qmp.wait_event('BLOCK_EXPORT_DELETED', id='exp-n')
    r.cmd('blockdev-del', node_name='n')


ASK = [ask_queries, ask_client, ask_new_client, ask_objects, ask_server, ask_create, ask_snapshot, ask_resize,
       ask_nodes]


def ask_all(r):
    for ask in ASK:
        try:
            ask(r)
        except (TimeoutError, AssertionError) as e:
            raise AssertionError('%s: not answered: %r' % (ask.__name__, e)) from e


# ---- what hangs ----

def requests(r, name, *requests):
    """They are under way; wait for their ends with the result."""
    c = r.wire(name)
    cookies = [c.request(cmd, offset, length, flags, payload) for cmd, offset, length, flags, payload in requests]

    def finish():
        for _ in cookies:
            while not c.recv_answer()[1]:
                pass
        c.close()
    return finish


def command(r, execute, **args):
    q = r.connect(timeout=60)
    q.send(execute, {k.replace('_', '-'): v for k, v in args.items()})

    def finish():
        reply = q.recv_reply()
        q.close()
        return reply
    return finish


def data(name, cmd, payload=b''):
    def client(r):
        return requests(r, name, (cmd, 0, 4 * KiB, 0, payload))
    return client


def flush(r):
    c = r.wire('sick')
    r.fs.disarm()
    c.write(0, b'dirty')
    r.fs.arm_hang('fsync', part='sick')
    c.close()
    return requests(r, 'sick', (w.FLUSH, 0, 0, 0, b''))


def add(r):
    finish = command(r, 'blockdev-add', driver='file', node_name='new', filename=r.fs.path('sick-new'))

    def finish_and_delete():
        reply = finish()
        assert reply == {'return': {}}, reply
        r.cmd('blockdev-del', node_name='new')
    return finish_and_delete


def lock(r):
    r.fs.disarm()
    r.cmd('blockdev-add', driver='file', node_name='new', filename=r.fs.path('sick-new'))
    r.fs.arm_hang('lock', part='sick')
    finish = command(r, 'block-export-add', type='nbd', id='exp-new', node_name='new',
                     writable=True)

    def finish_and_delete():
        reply = finish()
        assert reply == {'return': {}}, reply
        r.cmd('block-export-del', id='exp-new')
        r.qmp.wait_event('BLOCK_EXPORT_DELETED', id='exp-new')
        r.cmd('blockdev-del', node_name='new')
    return finish_and_delete


def delete(r):
    r.fs.disarm()
    r.cmd('blockdev-add', driver='file', node_name='new', filename=r.fs.path('sick-new'))
    r.fs.arm_hang('flush', part='sick')
    return command(r, 'blockdev-del', node_name='new')


def snapshot(r):
    """Of two spare disks, the first onto the file system; fails for the second, which somebody has locked."""
    r.used += 1
    locked = r.path('locked%d' % r.used)
    fd = os.open(locked, os.O_RDWR | os.O_CREAT)
    for byte in 101, 201:
        fcntl.fcntl(fd, F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, byte, 1, 0))
    finish = command(r, 'blockdev-group-snapshot-sync', devlist=[
        {'device': 'spare0', 'snapshot-file': r.fs.path('sick-over')},
        {'device': 'spare1', 'snapshot-file': locked}])

    def finish_and_close():
        assert 'lock' in finish()['error']['desc']
        assert not os.path.exists(r.fs.path('sick-over'))
        os.close(fd)
    return finish_and_close


def nothing(r):
    return lambda: None


# Kind of operation, and what brings it about.
ROWS = [
    ('read', data('sick', w.READ)), ('read', data('sick-direct', w.READ)),
    ('write', data('sick', w.WRITE, b'x' * 4 * KiB)), ('write', data('sick-direct', w.WRITE, b'x' * 4 * KiB)),
    ('fsync', flush), ('fallocate', data('sick', w.TRIM)),
    ('fallocate', data('sick-direct', w.WRITE_ZEROES)), ('lseek', data('sick', w.BLOCK_STATUS)),
    ('getattr', nothing),
    ('create', snapshot), ('write', snapshot), ('rename', snapshot), ('unlink', snapshot),
    ('open', add), ('getattr', add), ('statfs', add), ('lock', lock), ('flush', delete),
]


def each_operation(backend):
    with FaultFs('locks') as fs, Bed(fs, backend) as r:
        for kind, bring_about in ROWS:
            where = '%s, %s, %s' % (kind, bring_about.__name__, backend)
            fs.arm_hang(kind, part='.undo' if kind == 'unlink' else 'sick')     # its name by then
            finish = bring_about(r)
            if bring_about is not nothing:
                wait_until(fs.struck)
            try:
                ask_all(r)
                struck = fs.struck()
            except Exception as e:
                raise AssertionError('while %s hangs' % where) from e
            fs.disarm()
            finish()
            print('ok', where, '' if struck else '(nothing hung)')


def test_each_operation_hangs_with_io_uring():
    each_operation('io_uring')


def test_each_operation_hangs_with_threads():
    each_operation('threads')


def is_locked(path, byte):
    with open(path, 'rb+') as f:
        lock = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, byte, 1, 0)
        return struct.unpack('hhqqi4x', fcntl.fcntl(f, F_OFD_GETLK, lock))[0] != fcntl.F_UNLCK


def test_what_is_claimed_while_it_is_being_given_up_is_locked_in_the_end():
    for backend in 'io_uring', 'threads':
        with FaultFs('locks') as fs, Bed(fs, backend) as r:
            r.cmd('blockdev-add', driver='file', node_name='new', filename=fs.path('sick-new'))
            r.cmd('block-export-add', type='nbd', id='old', name='old', node_name='new', writable=True)
            assert is_locked(os.path.join(fs.below, 'sick-new'), 101)
            fs.arm_hang('lock', part='sick')
            finish_old = command(r, 'block-export-del', id='old')
            wait_until(fs.struck)
            finish = command(r, 'block-export-add', type='nbd', id='new', name='new', node_name='new', writable=True)
            ask_queries(r)
            fs.disarm()
            assert finish_old() == finish() == {'return': {}}
            assert is_locked(os.path.join(fs.below, 'sick-new'), 101)


def test_the_daemon_ends_after_a_disk_is_let_go_of():
    for backend in 'io_uring', 'threads':
        with FaultFs('locks') as fs, Bed(fs, backend) as r:
            r.cmd('blockdev-add', driver='file', node_name='new', filename=fs.path('sick-new'))
            r.cmd('block-export-add', type='nbd', id='old', name='old', node_name='new', writable=True)
            fs.arm_hang('lock', part='sick')
            r.qmp.send('quit')
            wait_until(fs.struck)
            time.sleep(0.2)                                 # the daemon waits for it, or ends wrongly
            fs.disarm()
            assert r.proc.wait(PATIENCE) == 0


def test_a_backing_image_is_in_use_until_its_overlay_is_closed():
    for backend in 'io_uring', 'threads':
        with FaultFs() as fs, Bed(fs, backend) as r:
            r.cmd('blockdev-add', driver='file', node_name='base', filename=fs.path('sick-new'))
            run('qemu-img', 'create', '-q', '-f', 'qcow2', fs.path('sick-over'), '16M')
            r.cmd('blockdev-add', driver='qcow2', node_name='over', backing='base',
                  file={'driver': 'file', 'filename': fs.path('sick-over')})
            fs.arm_hang('flush', part='sick-over')
            finish = command(r, 'blockdev-del', node_name='over')
            wait_until(fs.struck)
            assert 'in use' in r.error('blockdev-del', node_name='base').desc
            fs.disarm()
            assert finish() == {'return': {}}
            r.cmd('blockdev-del', node_name='base')


def everything(backend):
    """The file system stops as a whole, with more under way than there are threads for one disk."""
    with FaultFs() as fs, Bed(fs, backend) as r:
        finish = []
        fs.proc.send_signal(signal.SIGSTOP)
        for name in 'sick', 'sick-direct':
            for cmd, payload in (w.READ, b''), (w.WRITE, b'y' * 4096), (w.BLOCK_STATUS, b''), (w.TRIM, b''):
                finish.append(requests(r, name, *((cmd, i * 4096, 4096, 0, payload) for i in range(80))))
            finish.append(requests(r, name, (w.FLUSH, 0, 0, 0, b'')))
        ask_all(r)
        fs.proc.send_signal(signal.SIGCONT)
        for f in finish:
            f()


def test_more_requests_than_threads_hang_with_io_uring():
    everything('io_uring')


def test_more_requests_than_threads_hang_with_threads():
    everything('threads')


def test_many_disks_hang_in_a_flush():
    for backend in 'io_uring', 'threads':
        with FaultFs() as fs, Bed(fs, backend) as r:
            finish = []
            for i in range(60):
                path = fs.path('many%d' % i)
                with open(path, 'wb') as f:
                    f.truncate(MiB)
                r.cmd('blockdev-add', driver='raw', node_name='many%d' % i,
                      file={'driver': 'file', 'filename': path})
                r.export('many%d' % i)
                with r.wire('many%d' % i) as c:
                    c.write(0, b'dirty')
            fs.proc.send_signal(signal.SIGSTOP)
            for i in range(60):
                finish.append(requests(r, 'many%d' % i, (w.FLUSH, 0, 0, 0, b'')))
            ask_all(r)
            fs.proc.send_signal(signal.SIGCONT)
            for f in finish:
                f()


def test_a_secret_that_does_not_come():
    for backend in 'io_uring', 'threads':
        with FaultFs() as fs, Bed(fs, backend) as r:
            os.mkfifo(r.path('fifo'))
            finish = command(r, 'object-add', qom_type='secret', id='slow', file=r.path('fifo'))
            ask_all(r)
            with open(r.path('fifo'), 'w') as f:
                f.write('password')
            assert finish() == {'return': {}}
            r.cmd('object-del', id='slow')


def test_channels_on_a_disk_that_hangs():
    """A monitor on a file, the log of a channel and a new channel; the daemon ends all the same."""
    for backend in 'io_uring', 'threads':
        with FaultFs() as fs, Rig() as r:
            r.start('--chardev', 'file,id=f,path=' + fs.path('out'), '--monitor', 'f',
                    '--chardev', 'null,id=n,logfile=' + fs.path('log'), '--monitor', 'n',
                    env={'QEMU_AIO': backend})
            wait_until(lambda: os.path.getsize(fs.path('out')) and os.path.getsize(fs.path('log')))
            fs.arm_hang('write')
            r.cmd('chardev-add', id='m', backend={'type': 'ringbuf', 'data': {
                'logfile': fs.path('log2')}})
            r.cmd('ringbuf-write', device='m', data='x' * 4096)
            wait_until(fs.struck)
            for _ in range(9):
                r.cmd('ringbuf-write', device='m', data='x' * 4096)
            fs.proc.send_signal(signal.SIGSTOP)
            finish = command(r, 'chardev-add', id='late', backend={
                'type': 'file', 'data': {'out': fs.path('late')}})
            assert r.cmd('query-status')['running']
            r.cmd('ringbuf-write', device='m', data='x')
            fs.proc.send_signal(signal.SIGCONT)
            assert finish() == {'return': {}}
            r.proc.send_signal(signal.SIGTERM)          # what was written to the log is not there yet
            wait_until(lambda: not os.path.exists(r.path('qmp.sock')))
            fs.disarm()                                 # the kernel keeps a process until its writes end
            r.stop()


def test_a_log_that_nobody_reads():
    for backend in 'io_uring', 'threads':
        with FaultFs() as fs, Bed(fs, backend) as r:
            fcntl.fcntl(r.proc.stdout, 1031, 4096)          # F_SETPIPE_SZ
            for _ in range(100):                            # one line each
                ask_snapshot(r)
            ask_all(r)


main(globals())
