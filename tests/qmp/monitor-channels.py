#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A QMP client reaches the daemon ($QSD) by every kind of channel: unix socket and TCP, as server and
as client, inherited descriptors that listen or are connected, and standard input and output.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
import termios

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from qmp import QMP                                             # noqa: E402
from rig import main_in_folders                                    # noqa: E402

QSD = os.environ['QSD']


class Daemon:
    def __init__(self, *args, fds=(), **kwargs):
        self.proc = subprocess.Popen([QSD, *args], pass_fds=fds,
                                     **{'stdin': subprocess.DEVNULL, **kwargs})

    def __enter__(self):
        return self.proc

    def __exit__(self, *exc):
        if exc[0]:
            self.proc.kill()
        status = self.proc.wait(timeout=30)
        assert exc[0] or status == 0, status


def unix_server():
    """The socket is there as soon as the daemon is, and is gone after it."""
    with Daemon('--qmp', 'unix:s,server=on,wait=off'):
        QMP('s').close()
        QMP('s').quit()
    assert not os.path.exists('s')


def several_clients_at_once():
    """Who is stuck, or only looks, keeps nobody else from the socket; each has a session of its own."""
    with Daemon('--qmp', 'unix:s,server=on,wait=off'):
        plain, urgent, half = QMP('s'), QMP('s', oob=True), QMP('s')
        silent = socket.socket(socket.AF_UNIX)          # does not negotiate, and reads nothing
        silent.connect('s')
        half.send_raw(b'{"execute": ')                  # a request that does not end
        deaf = QMP('s')
        deaf.sock.setblocking(False)
        try:
            while True:
                deaf.sock.send(b'{"execute":"query-qmp-schema"}' * 100)
        except BlockingIOError:
            pass
        for _ in range(20):
            for client in (plain, urgent):
                assert client.cmd('query-status')['running']
        assert 'error' in plain.cmd_obj({'exec-oob': 'query-version'})
        assert 'return' in urgent.cmd_obj({'exec-oob': 'query-version'})
        plain.cmd('blockdev-create', {'job-id': 'j', 'options': {
            'driver': 'file', 'filename': 'f', 'size': 0}})
        for client in (plain, urgent, half):            # events go to all
            client.wait_event('JOB_STATUS_CHANGE')
        plain.close()
        assert urgent.cmd('query-jobs')[0]['id'] == 'j'
        half.send_raw(b'"query-jobs"}')
        assert half.recv_reply()['return'][0]['id'] == 'j'
        late = QMP('s')
        late.cmd('query-version')
        deaf.close()
        silent.close()
        late.send('quit')
        for client in (late, urgent, half):
            client.wait_event('SHUTDOWN')
        assert late.recv_reply() == {'return': {}}


def more_clients_than_one_channel_takes():
    """Those that are too many are greeted when others leave."""
    with Daemon('--qmp', 'unix:s,server=on,wait=off') as proc:
        clients = [QMP('s') for _ in range(64)]
        waiting = []
        for _ in range(2):
            s = socket.socket(socket.AF_UNIX)
            s.connect('s')
            s.settimeout(0.2)
            waiting.append(s)
        for s in waiting:
            try:
                raise AssertionError('greeted: %r' % s.recv(1))
            except TimeoutError:
                s.settimeout(None)
        clients.pop(7).close()
        QMP(waiting[0]).cmd('query-version')
        clients.pop(0).close()
        QMP(waiting[1]).cmd('query-version')
        assert clients[0].cmd('query-status')['running']
        for s in range(2):                              # and the daemon ends while somebody waits
            waiting[s] = socket.socket(socket.AF_UNIX)
            waiting[s].connect('s')
        proc.terminate()
        assert clients[0].recv_object()['event'] == 'SHUTDOWN'


def channels_are_listed():
    """With what is at the other end, if somebody is."""
    ours, theirs = socket.socketpair()
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen()
        port = listener.getsockname()[1]
        with Daemon('--chardev', 'socket,id=a,path=s,server=on,wait=off', '--monitor', 'a',
                    '--chardev', 'socket,id=b,path=t,server=on,wait=off', '--monitor', 'b',
                    '--chardev', 'socket,id=c,path=u,server=on,wait=off',
                    '--chardev', 'socket,id=d,host=127.0.0.1,port=%d' % port, '--monitor', 'd',
                    '--chardev', 'socket,id=e,host=127.0.0.1,port=0,server=on,wait=off',
                    '--monitor', 'e', '--chardev', 'socket,id=f,fd=%d' % theirs.fileno(),
                    '--monitor', 'f', '--chardev', 'stdio,id=g', '--monitor', 'g',
                    fds=(theirs.fileno(),), stdout=subprocess.DEVNULL):
            qmp = QMP('s')

            def seen():
                return {c['label']: (c['filename'], c['frontend-open'])
                        for c in qmp.cmd('query-chardev')}

            got = seen()
            assert list(got) == list('abcdefg')
            assert got['a'] == ('unix:s,server=on', True)
            assert got['b'] == ('disconnected:unix:t,server=on', True)
            assert got['c'] == ('disconnected:unix:u,server=on', False)
            far = listener.accept()[0]
            assert got['d'] == ('tcp:127.0.0.1:%d <-> 127.0.0.1:%d'
                                % (far.getpeername()[1], port), True)
            text, there = got['e']
            assert there and text.startswith('disconnected:tcp:127.0.0.1:'), text
            assert got['f'] == ('unix:', True) and got['g'] == ('stdio', True), got
            at = int(text.split(',')[0].rpartition(':')[2])
            with QMP(('127.0.0.1', at)) as other:
                mine = other.sock.getsockname()[1]
                assert seen()['e'][0] == 'tcp:127.0.0.1:%d,server=on <-> 127.0.0.1:%d' % (at, mine)
                with QMP('t'), QMP('t'):
                    assert seen()['b'][0] == 'unix:t,server=on'
            qmp.quit()


def waits_for_client():
    """With wait=on (the default) options after it are only looked at when a client has come."""
    with Daemon('--chardev', 'socket,id=c,path=s,server=on', '--monitor', 'c', '--blockdev',
                'null-co,node-name=n', stderr=subprocess.DEVNULL):
        qmp = QMP('s')
        assert [n['node-name'] for n in qmp.cmd('query-named-block-nodes')] == ['n']
        qmp.quit()


def tcp_server():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    with Daemon('--qmp', 'tcp:127.0.0.1:%d,server=on,wait=off' % port):
        QMP(('127.0.0.1', port)).quit()


def client_mode():
    """The daemon connects to whoever waits for it."""
    for options, family, address in (('socket,id=c,path=l', socket.AF_UNIX, 'l'),
                                     ('socket,id=c,host=127.0.0.1,port=%d', socket.AF_INET,
                                      ('127.0.0.1', 0))):
        with socket.socket(family) as listener:
            listener.bind(address)
            listener.listen()
            if family == socket.AF_INET:
                options %= listener.getsockname()[1]
            with Daemon('--chardev', options, '--monitor', 'chardev=c,mode=control'):
                QMP(listener.accept()[0]).quit()


def inherited_descriptors():
    """Listening or connected: the daemon sees which it is."""
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind('i')
        listener.listen()
        with Daemon('--chardev', 'socket,id=a,fd=%d' % theirs.fileno(), '--monitor', 'a',
                    '--chardev', 'socket,id=b,fd=%d' % listener.fileno(), '--monitor', 'b',
                    fds=(theirs.fileno(), listener.fileno())):
            theirs.close()
            a, b = QMP(ours), QMP('i')
            b.close()
            b = QMP('i')
            a.send('quit')
            assert b.recv_object()['event'] == 'SHUTDOWN'
            assert a.recv_object()['event'] == 'SHUTDOWN'
            assert a.recv_object() == {'return': {}}


def stdio_script():
    """A script may send all its commands and close; every one is answered."""
    script = ''.join(json.dumps({'execute': c}) for c in
                     ('qmp_capabilities', 'query-name', 'query-status', 'quit'))
    with open('script', 'w', encoding='utf-8') as f:
        f.write(script)
    for stdin in ('file', 'pipe'):
        for pretty in (False, True):
            args = ['--chardev', 'stdio,id=c', '--monitor',
                    'chardev=c,pretty=%s' % ('on' if pretty else 'off')]
            if stdin == 'file':
                with open('script', 'rb') as f:
                    out = subprocess.run([QSD, *args], stdin=f, stdout=subprocess.PIPE,
                                         timeout=30, check=True).stdout
            else:
                out = subprocess.run([QSD, *args], input=script.encode(), timeout=30, check=True,
                                     stdout=subprocess.PIPE).stdout
            assert all(line.endswith(b'\r') for line in out.split(b'\n')[:-1]), out
            assert out.count(b'\n') == 6 or pretty, out
            texts = out.decode()
            decoder, objects = json.JSONDecoder(), []
            while texts.strip():
                obj, end = decoder.raw_decode(texts.lstrip())
                objects.append(obj)
                texts = texts.lstrip()[end:]
            kinds = [next(iter(set(o) - {'timestamp', 'data'})) for o in objects]
            assert kinds == ['QMP', 'return', 'return', 'return', 'event', 'return'], kinds


def end_of_stdio():
    """When a client of stdin is gone the daemon goes on."""
    with Daemon('--qmp', 'stdio', '--qmp', 'unix:s,server=on,wait=off', stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL):
        QMP('s').quit()


def client_that_does_not_read():
    """It is not served further until it reads, and others do not notice."""
    with Daemon('--qmp', 'unix:s,server=on,wait=off', '--qmp', 'unix:t,server=on,wait=off'):
        slow, quick = QMP('s'), QMP('t')
        slow.sock.setblocking(False)
        sent = 0
        request = b'{"execute":"query-qmp-schema"}' * 100
        try:
            while sent < 1000:
                slow.sock.send(request)
                sent += 1
        except BlockingIOError:
            pass
        assert sent < 1000, 'everything was taken from a client that does not read'
        for _ in range(100):
            quick.cmd('query-name')
        slow.close()
        quick.quit()


def signal_with_clients():
    """SIGTERM ends sessions that are open, after SHUTDOWN."""
    with Daemon('--qmp', 'unix:s,server=on,wait=off') as proc:
        qmp = QMP('s')
        proc.terminate()
        event = qmp.recv_object()
        assert event['event'] == 'SHUTDOWN' and event['data']['reason'] == 'host-signal', event
        assert qmp.recv_object() is None


def signal_while_waiting_for_client():
    """A daemon that waits for its first client ends when it is told to."""
    with Daemon('--qmp', 'unix:s,server=on', stderr=subprocess.PIPE) as proc:
        assert b'waiting for connection on' in proc.stderr.readline()
        proc.terminate()
        assert proc.wait(timeout=30) in (0, 1)
        proc.returncode = 0
        proc.stderr.close()
    assert not os.path.exists('s')


def nodelay_of(pid):
    """TCP_NODELAY of the daemon's connections, borrowed from it; None: they cannot be."""
    libc = ctypes.CDLL(None)
    pidfd = os.pidfd_open(pid)
    found = []
    for fd in os.listdir('/proc/%d/fd' % pid):
        copy = libc.syscall(438, pidfd, int(fd), 0)         # pidfd_getfd
        if copy < 0:
            continue
        try:
            with socket.socket(fileno=copy) as s:
                if s.family == socket.AF_INET and s.getpeername():
                    found.append(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        except OSError:
            pass
    os.close(pidfd)
    return found or None


def small_messages_wait_if_asked_to():
    """delay and nodelay are the same switch, and it is obeyed."""
    for option, want in (('', 1), (',nodelay=on', 1), (',delay=off', 1), (',nodelay=off', 0),
                         (',delay=on', 0)):
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            listener.listen()
            with Daemon('--chardev', 'socket,id=c,host=127.0.0.1,port=%d%s'
                        % (listener.getsockname()[1], option), '--monitor', 'c') as proc:
                qmp = QMP(listener.accept()[0])
                assert nodelay_of(proc.pid) in (None, [want]), option
                qmp.quit()


def terminal_keys(options):
    """Whether Ctrl-C is a signal on a daemon's terminal: while it runs, and after."""
    ours, theirs = os.openpty()
    with Daemon('--chardev', options, '--monitor', 'c', stdin=theirs, stdout=theirs):
        os.set_blocking(ours, True)
        out = b''
        while b'QMP' not in out:
            out += os.read(ours, 4096)
        during = bool(termios.tcgetattr(theirs)[3] & termios.ISIG)
        os.write(ours, b'{"execute":"qmp_capabilities"} {"execute":"quit"}\n')
    after = bool(termios.tcgetattr(theirs)[3] & termios.ISIG)
    os.close(ours)
    os.close(theirs)
    return during, after


def terminal_keys_are_signals_or_not():
    assert terminal_keys('stdio,id=c') == (True, True)
    assert terminal_keys('stdio,id=c,signal=on') == (True, True)
    assert terminal_keys('stdio,id=c,signal=off') == (False, True)


def wrong_options():
    """What makes no sense is refused on stderr, with a status that is not zero."""
    for args in (['--chardev', 'socket,id=x'], ['--monitor', 'x'], ['--qmp', 'x:y'],
                 ['--chardev', 'stdio,id=x', '--chardev', 'stdio,id=y'],
                 ['--qmp', 'unix:/nonexistent/s,server=on,wait=off'],
                 ['--chardev', 'socket,id=x,path=s,server=on,wait=off,mux=on'],
                 ['--chardev', 'socket,id=x,path=s,server=on,wait=off,delay=on,nodelay=on'],
                 ['--chardev', 'socket,id=x,path=s,server=on,wait=off,nodelay=perhaps'],
                 ['--chardev', 'stdio,id=x,mux=on'], ['--chardev', 'stdio,id=x,signal=perhaps']):
        run = subprocess.run([QSD, *args], stdin=subprocess.DEVNULL, capture_output=True,
                             timeout=30, check=False)
        assert run.returncode == 1 and run.stderr.startswith(b'qemu-storage-daemon: '), run


if __name__ == '__main__':
    main_in_folders(unix_server, several_clients_at_once, more_clients_than_one_channel_takes,
                    channels_are_listed, waits_for_client, tcp_server, client_mode, inherited_descriptors,
                    stdio_script, end_of_stdio, client_that_does_not_read, signal_with_clients,
                    signal_while_waiting_for_client, small_messages_wait_if_asked_to,
                    terminal_keys_are_signals_or_not, wrong_options)
