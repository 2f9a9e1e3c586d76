#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A monitor works on each kind of channel ($QSD): files, named pipes, terminals, memory, nothing; channels have logs that
hold up nobody; commands make, change and remove channels.
"""

import base64
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from qmp import QMP, QMPError                                   # noqa: E402
from rig import main_in_folders                                    # noqa: E402

QSD = os.environ['QSD']
SERVER = ('--qmp', 'unix:s,server=on,wait=off')
SCRIPT = b'{"execute": "qmp_capabilities"}{"execute": "query-version", "id": 1}'


class Daemon:
    """The daemon, with a monitor on the socket `s`."""

    def __init__(self, *args):
        self.proc = subprocess.Popen([QSD, *SERVER, *args], stdin=subprocess.DEVNULL,
                                     stderr=open('stderr', 'wb'))

    def __enter__(self):
        self.qmp = QMP('s')
        return self.qmp

    def __exit__(self, *exc):
        if exc[0]:
            self.proc.kill()
        else:
            self.qmp.quit()
        assert self.proc.wait(timeout=30) == 0 or exc[0]


def until(condition, what):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def refused(qmp, text, command, **arguments):
    try:
        qmp.cmd(command, arguments)
    except QMPError as e:
        assert text in e.desc, (text, e.desc)
        return
    raise AssertionError('%s %s succeeded' % (command, arguments))


def add(qmp, name, kind, **data):
    return qmp.cmd('chardev-add', id=name, backend={'type': kind, 'data': data})


def names(qmp):
    return {c['label']: c['filename'] for c in qmp.cmd('query-chardev')}


def has_answer(data):
    lines = [json.loads(line) for line in data.splitlines() if line]
    return any(o.get('id') == 1 and 'qemu' in o['return'] for o in lines if 'event' not in o)


def file_as_monitor():
    """A script in a file is answered into another one."""
    with open('in', 'wb') as f:
        f.write(SCRIPT)
    with open('out', 'wb') as f:
        f.write(b'old')
    with Daemon('--chardev', 'file,id=f,path=out,input-path=in', '--monitor', 'f'):
        until(lambda: has_answer(read('out')), 'no answer in the file')
    assert not read('out').startswith(b'old')
    size = os.path.getsize('out')
    with Daemon('--chardev', 'file,id=f,path=out,append=on', '--monitor', 'f'):
        until(lambda: os.path.getsize('out') > size, 'no greeting behind the old text')


def pipes_as_monitor():
    """P.in and P.out; nobody has to be there when the daemon begins, and P alone will do."""
    for name in ('p.in', 'p.out'):
        os.mkfifo(name)
    with Daemon('--chardev', 'pipe,id=p,path=p', '--monitor', 'p'):
        for _ in range(2):                              # who leaves takes nothing with him
            with open('p.in', 'wb', buffering=0) as to, open('p.out', 'rb', buffering=0) as back:
                to.write(b'{"execute": "query-version", "id": 1}' if _ else SCRIPT)
                got = b''
                while not has_answer(got[:got.rfind(b'\n') + 1]):
                    got += back.read(4096)
    os.mkfifo('q')
    with Daemon('--chardev', 'pipe,id=p,path=q') as qmp:
        assert names(qmp)['p'] == 'pipe'


def pipe_that_nobody_reads():
    """A file may be a pipe: the daemon begins, and ends, without anybody at its other end."""
    os.mkfifo('p')
    with Daemon('--chardev', 'file,id=f,path=p', '--monitor', 'f',
                '--chardev', 'null,id=n,logfile=p') as qmp:
        add(qmp, 'g', 'file', **{'in': 'p', 'out': 'p'})
        assert qmp.cmd('query-status')['running']


def talk(fd, text):
    os.write(fd, text)
    got = b''
    while not has_answer(got[:got.rfind(b'\n') + 1]):
        assert select.select([fd], [], [], 30)[0], got
        got += os.read(fd, 65536)
    return got


def terminal_as_monitor():
    """Each who opens it is greeted, one after the other."""
    with Daemon('--chardev', 'pty,id=t', '--monitor', 't') as qmp:
        name = names(qmp)['t']
        assert name.startswith('pty:/dev/'), name
        for _ in range(3):
            fd = os.open(name[len('pty:'):], os.O_RDWR | os.O_NOCTTY)
            got = b''
            while b'\n' not in got:
                assert select.select([fd], [], [], 30)[0], got
                got += os.read(fd, 65536)
            assert got.startswith(b'{"QMP"'), got
            talk(fd, SCRIPT)
            os.close(fd)
            time.sleep(0.05)
        assert add(qmp, 'u', 'pty')['pty'] == names(qmp)['u'][len('pty:'):]
        qmp.cmd('chardev-remove', id='u')
        assert name.encode()[4:] in read('stderr'), read('stderr')


def nothing_as_monitor():
    with Daemon('--chardev', 'null,id=n,logfile=log', '--monitor', 'n') as qmp:
        until(lambda: b'QMP' in read('log'), 'the greeting is not in the log')
        assert names(qmp)['n'] == 'null'


def memory_as_monitor():
    with Daemon('--chardev', 'ringbuf,id=m,size=4096', '--monitor', 'm') as qmp:
        def get(size, **more):
            return qmp.cmd('ringbuf-read', device='m', size=size, **more)
        assert get(6) == '{"QMP"' and get(9000).endswith('\r\n')
        assert get(1) == ''
        qmp.cmd('ringbuf-write', device='m', data='a' * 5000 + 'end')
        assert get(9000) == 'a' * 4093 + 'end'
        qmp.cmd('ringbuf-write', device='m', data=base64.b64encode(b'\0\1\200x').decode(),
                format='base64')
        assert base64.b64decode(get(2, format='base64')) == b'\0\1'
        assert get(9) == '\ufffdx'
        qmp.cmd('ringbuf-write', device='m', data='A\u00ffB\u20ac')
        assert get(4) == 'A\u00ffB'                     # a part of a character is not torn off
        assert get(1) == '\ufffd'                       # unless there is no room for a whole one
        qmp.cmd('ringbuf-write', device='m', data='AGEA', format='base64')
        assert get(9) == '\ufffd\ufffd\ufffda\ufffd'
        refused(qmp, 'Base64 data contains invalid characters', 'ringbuf-write', device='m',
                data='!!!!', format='base64')
        for size in (0, -1):
            refused(qmp, 'size must be greater than zero', 'ringbuf-read', device='m', size=size)
        add(qmp, 'n', 'null')
        for command, more in (('ringbuf-read', {'size': 1}), ('ringbuf-write', {'data': ''})):
            refused(qmp, 'n is not a ringbuf device', command, device='n', **more)
            refused(qmp, "Device 'none' not found", command, device='none', **more)


def logs():
    """Have all that clients are sent; a log that nobody takes holds up no client."""
    with Daemon('--chardev', 'socket,id=c,path=t,server=on,wait=off,logfile=log',
                '--monitor', 'c'):
        with QMP('t') as other:
            other.cmd('query-version')
        until(lambda: read('log').count(b'\n') == 3, 'greeting and two answers')
    before = read('log')
    os.mkfifo('p')
    with Daemon('--chardev', 'null,id=n,logfile=log,logappend=on', '--monitor', 'n',
                '--chardev', 'socket,id=c,path=t,server=on,wait=off,logfile=p', '--monitor', 'c'):
        with QMP('t') as other:
            for _ in range(60):                         # several MiB; the pipe takes 64 KiB
                other.cmd('query-qmp-schema')
        until(lambda: len(read('log')) > len(before), 'nothing was appended')
    assert read('log').startswith(before)


def commands():
    with Daemon() as qmp:
        kinds = {b['name'] for b in qmp.cmd('query-chardev-backends')}
        assert kinds == {'file', 'pipe', 'socket', 'pty', 'null', 'stdio', 'ringbuf', 'memory'}
        assert add(qmp, 'a', 'file', out='x') == {}
        add(qmp, 'b', 'socket', addr={'type': 'unix', 'data': {'path': 't'}})
        assert names(qmp)['b'] == 'disconnected:unix:t,server=on' and os.path.exists('t')
        refused(qmp, "Chardev with id 'a' already exists", 'chardev-add', id='a',
                backend={'type': 'null', 'data': {}})
        for kind, data, text in (
                ('file', {'out': '/nosuch/x'}, "'/nosuch/x': No such file"),
                ('pipe', {'device': '/nosuch/x'}, "'/nosuch/x': No such file"),
                ('null', {'logfile': '/nosuch/x'}, "Could not create '/nosuch/x': No such"),
                ('ringbuf', {'size': 65}, 'must be power of two'),
                ('ringbuf', {'size': 1 << 40}, 'at most'),
                ('socket', {'addr': {'type': 'unix', 'data': {'path': 'u'}}, 'server': False,
                            'wait': True}, 'incompatible with socket in client'),
                ('socket', {'addr': {'type': 'unix', 'data': {'path': 'u'}}, 'server': False},
                 'No such file'),
                ('socket', {'addr': {'type': 'fd', 'data': {'str': '99'}}}, 'descriptor 99')):
            refused(qmp, "Failed to add chardev 'z': ", 'chardev-add', id='z',
                    backend={'type': kind, 'data': data})
            refused(qmp, text, 'chardev-add', id='z', backend={'type': kind, 'data': data})
        assert set(names(qmp)) == {'compat_monitor0', 'a', 'b'}
        qmp.cmd('chardev-send-break', id='a')
        # What cannot be opened leaves what there was.
        refused(qmp, '/nosuch/y', 'chardev-change', id='b',
                backend={'type': 'file', 'data': {'out': '/nosuch/y'}})
        assert names(qmp)['b'].startswith('disconnected:unix:t')
        qmp.cmd('chardev-change', id='b', backend={'type': 'ringbuf', 'data': {}})
        assert list(names(qmp).items())[-1] == ('b', 'ringbuf') and not os.path.exists('t')
        for command, more in (('chardev-remove', {}), ('chardev-send-break', {})):
            refused(qmp, "Chardev 'none' not found", command, id='none', **more)
        null = {'type': 'null', 'data': {}}
        refused(qmp, 'does not exist', 'chardev-change', id='none', backend=null)
        refused(qmp, 'hotswap', 'chardev-change', id='compat_monitor0', backend=null)
        refused(qmp, "Chardev 'compat_monitor0' is busy", 'chardev-remove', id='compat_monitor0')
        for name in 'ab':
            qmp.cmd('chardev-remove', id=name)
        assert set(names(qmp)) == {'compat_monitor0'}


def end_while_a_command_waits():
    """chardev-add waits for a client, its own session only; the end of the daemon ends it."""
    daemon = Daemon()
    with daemon as qmp:
        with QMP('s') as other:
            other.send('chardev-add', {'id': 'w', 'backend': {'type': 'socket', 'data': {
                'addr': {'type': 'unix', 'data': {'path': 't'}}, 'wait': True}}})
            until(lambda: os.path.exists('t'), 'it does not listen')
            assert qmp.cmd('query-status')['running']
            socket.socket(socket.AF_UNIX).connect('t')
            assert other.recv_reply() == {'return': {}}
            other.send('chardev-add', {'id': 'v', 'backend': {'type': 'socket', 'data': {
                'addr': {'type': 'unix', 'data': {'path': 'u'}}, 'wait': True}}})
            until(lambda: os.path.exists('u'), 'it does not listen')
            daemon.proc.send_signal(signal.SIGTERM)
            assert 'Cannot accept' in other.recv_reply()['error']['desc']
            daemon.proc.wait(timeout=30)
        daemon.qmp = type('Gone', (), {'quit': lambda self: None})()
    assert not os.path.exists('t') and not os.path.exists('u')


def wrong_options():
    for args, text in ((['file,id=x'], 'chardev: file: no filename given'),
                       (['pipe,id=x'], 'chardev: pipe: no device path given'),
                       (['file,id=x,path=/nosuch/x'], "Could not open '/nosuch/x': No such file"),
                       (['ringbuf,id=x,size=3'], 'size of ringbuf chardev must be power of two'),
                       (['ringbuf,id=x,size=x'], "Parameter 'size'"),
                       (['null'], 'chardev: no id specified'),
                       (['null,id=1x'], "Parameter 'id' expects an identifier"),
                       (['null,id=x,path=y'], "Invalid parameter 'path'"),
                       (['null,id=x,logappend=maybe'], "'logappend' expects 'on' or 'off'"),
                       (['null,id=x', 'null,id=x'], "'x' already exists"),
                       (['udp,id=x'], "'udp' is not a valid char driver name"),
                       (['ringbuf,id=x,mux=on'], "'mux=on' is not supported")):
        argv = [QSD]
        for a in args:
            argv += ['--chardev', a]
        run = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=30,
                             text=True, check=False)
        assert run.returncode == 1 and text in run.stderr, (args, run)


if __name__ == '__main__':
    main_in_folders(file_as_monitor, pipes_as_monitor, pipe_that_nobody_reads, terminal_as_monitor,
                    nothing_as_monitor, memory_as_monitor, logs, commands, end_while_a_command_waits,
                    wrong_options)
