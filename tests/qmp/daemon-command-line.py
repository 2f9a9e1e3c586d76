#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's options do what the manual says; what is wrong with them is said on stderr and ends it; it starts, idles and ends properly."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import nbdwire as w
from nbdwire import Wire
from qmp import QMP
from rig import QSD, Rig, main, requires, run

requires('qemu-img', 'qemu-io')

NULL_NODE = ['--blockdev', 'null-co,node-name=n0,size=1M,read-zeroes=on']


def qsd(*args, timeout=30):
    """Run the daemon to its end: (status, stdout, stderr)."""
    r = subprocess.run([QSD, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=timeout)
    return r.returncode, r.stdout, r.stderr


def fails(option, value, *texts, before=()):
    """The option is fatal: status 1, and a message that names it and has @texts."""
    status, out, err = qsd(*before, option, value)
    assert status == 1, (option, value, status, err)
    for text in (option, *texts):
        assert text in err, (text, err)
    assert err.startswith('qemu-storage-daemon: '), err
    return err


def help_options():
    return set(re.findall(r'^ +(?:-., +)?(--[a-z-]+)', qsd('--help')[1], re.M))


def test_help_and_version():
    for opt in ('--help', '-h'):
        status, out, err = qsd(opt)
        assert status == 0 and 'Usage: qemu-storage-daemon' in out and err == ''
        assert {'--blockdev', '--export', '--nbd-server', '--object', '--chardev', '--monitor',
                '--qmp', '--drive', '--pidfile', '--daemonize', '--name'} <= help_options()
    for opt in ('--version', '-V'):
        status, out, err = qsd(opt)
        assert status == 0 and re.match(r'qemu-storage-daemon version \d+\.\d+', out), out


def listed(option, value):
    """What the option's help lists, without a daemon being started."""
    status, out, err = qsd(option, value)
    assert (status, err) == (0, ''), (status, err)
    title, *lines = out.splitlines()
    assert title.endswith(':') and lines and all(line.startswith('  ') for line in lines), out
    return [line.strip() for line in lines]


def test_help_lists_what_there_is():
    for value in ('help', 'qom-type=help'):
        assert listed('--object', value) == ['iothread', 'secret', 'throttle-group']
    assert listed('--object', 'iothread,help') == ['poll-max-ns=<int>']
    assert listed('--object', 'secret,help') == ['data=<string>', 'file=<string>',
                                                 'format=<raw|base64>']
    assert listed('--object', 'throttle-group,help')
    for value in ('help', 'backend=help'):
        assert listed('--chardev', value) == [
            'file', 'memory', 'null', 'pipe', 'pty', 'ringbuf', 'socket', 'stdio']
    assert {'path', 'host', 'port', 'to'} <= set(listed('--chardev', 'socket,help'))
    assert listed('--export', 'type=help') == ['nbd']
    drivers = listed('--blockdev', 'driver=help')
    assert {'qcow2', 'raw', 'file'} <= set(drivers)
    for option in ('--blockdev', '--export', '--nbd-server', '--monitor', '--qmp', '--drive'):
        fails(option, 'help', 'Help is not available for this option')
    # What is not there is refused; with the same list where that is short.
    fails('--blockdev', 'ssh,node-name=x', "does not accept value 'ssh'")
    fails('--object', 'tls-creds-x509,id=x', 'iothread, secret, throttle-group')
    fails('--export', 'fuse,id=x,node-name=y', '(accepted: nbd)')
    fails('--chardev', 'udp,id=x,path=y', '(accepted: file, pipe, socket, pty,')


def test_a_daemon_that_nobody_can_reach_says_so():
    text = 'nobody can reach this daemon'
    for options, reached in (([], False), (NULL_NODE, False), (['--chardev', 'socket,id=c,path=s,'
                             'server=on,wait=off'], False), (['--qmp', 'stdio'], True),
                             (['--nbd-server', 'addr.type=inet,addr.host=127.0.0.1,addr.port=0'],
                              True)):
        with Rig() as r:
            pidfile = r.path('pid')
            proc = subprocess.Popen([QSD, *options, '--pidfile', pidfile], cwd=r.dir,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE, text=True)
            if not reached:
                assert text in proc.stderr.readline()
            w.wait_until(lambda: os.path.exists(pidfile))
            proc.terminate()
            assert text not in proc.communicate()[1] and proc.returncode == 0


def test_a_daemon_in_the_background_has_no_monitor_on_standard_input():
    fails('--chardev', 'stdio,id=c', 'cannot use stdio with --daemonize', before=['--daemonize'])
    fails('--qmp', 'stdio', 'cannot use stdio with --daemonize', before=['--daemonize'])


def test_what_is_no_option_is_refused():
    for args in (['--colour'], ['-x'], ['file.img'], ['--blockdev'], ['--pidfile'],
                 ['--daemonize=yes']):
        status, out, err = qsd(*args)
        assert status == 1, args
        assert args[0].split('=')[0].lstrip('-') in err and '--help' in err, err
        assert err.startswith('qemu-storage-daemon: '), err     # not the path that it was run by


def test_a_fatal_option_is_named_with_its_cause():
    fails('--blockdev', 'nosuch,node-name=x', 'nosuch')
    fails('--blockdev', 'null-co', 'node-name')
    fails('--blockdev', 'null-co,node-name=1x', '1x')
    fails('--blockdev', 'null-co,node-name=n0', 'n0', before=NULL_NODE)
    fails('--blockdev', 'file,node-name=x,filename=/nosuch/file', '/nosuch/file',
          'No such file or directory')
    fails('--blockdev', 'raw,node-name=x,file=nosuch', 'nosuch')
    fails('--blockdev', 'null-co,node-name=x,colour=red', 'colour')
    fails('--blockdev', 'null-co,node-name=x,size=much', 'size')
    fails('--blockdev', '{"driver": "null-co", ', 'JSON')
    fails('--drive', 'file=/nosuch/file,id=d,format=raw', '/nosuch/file')
    fails('--drive', 'if=none', 'id')
    fails('--drive', 'id=d,cache=warm', 'warm')
    fails('--drive', 'id=d,if=virtio', 'if=virtio')
    fails('--drive', 'id=d,colour=red', 'colour')
    fails('--drive', 'id=d,readonly=maybe', 'readonly')
    fails('--object', 'iothread,id=io0', 'io0', before=['--object', 'iothread,id=io0'])
    fails('--object', 'toaster,id=t', 'toaster')
    fails('--object', 'secret,id=s', 'data')
    fails('--nbd-server', 'addr.type=unix,addr.path=/nosuch/dir/sock', '/nosuch/dir/sock')
    fails('--nbd-server', 'addr.type=unix', 'path')
    fails('--nbd-server', 'addr.type=inet,addr.host=127.0.0.1,addr.port=nosuch', 'nosuch')
    fails('--export', 'nbd,id=e,node-name=n0', 'server', before=NULL_NODE)
    fails('--export', 'nbd,id=e,node-name=nosuch', 'nosuch')
    fails('--export', 'smoke,id=e,node-name=n0', 'smoke', before=NULL_NODE)
    fails('--monitor', 'chardev=c,mode=readline', 'Only QMP is supported')
    fails('--monitor', 'chardev=c,mode=x', "Parameter 'mode' does not accept value 'x'")
    fails('--chardev', 'socket,id=c', 'c')
    fails('--chardev', 'pipe,id=c', 'pipe')
    fails('--chardev', 'socket,id=c,path=/nosuch/dir/s,server=on,wait=off', '/nosuch/dir/s')
    fails('--chardev', 'socket,id=c,fd=77,server=on,wait=off', '77')
    fails('--monitor', 'nosuch', 'nosuch')
    fails('--qmp', 'carrier-pigeon:x', 'carrier-pigeon')
    fails('--snapshot-layout', 'cluster-size=3', 'cluster-size')
    fails('--metadata-cache', 'much', 'much')
    fails('--nbd-memory', '63M', 'at least 64 MiB')
    fails('--pidfile', '/nosuch/dir/pid', '/nosuch/dir/pid')


def test_options_take_effect_in_their_order():
    """What an option refers to comes before it."""
    server = ['--nbd-server', 'addr.type=unix,addr.path=order.sock']
    with Rig() as r:
        os.chdir(r.dir)
        fails('--export', 'nbd,id=e,node-name=n0', 'n0', before=server)
        assert not os.path.exists('order.sock'), 'a failed start leaves its socket'
        os.chdir('/')


def test_every_option_at_once():
    with Rig() as r:
        raw = r.create('a.raw')
        secret = r.path('secret')
        with open(secret, 'w') as f:
            f.write('letmein')
        r.start(*NULL_NODE, '--blockdev', json.dumps({'driver': 'raw', 'node-name': 'j', 'file': {
                    'driver': 'file', 'filename': raw}}),
                '--object', 'iothread,id=io0', '--object', 'secret,id=s0,file=' + secret,
                '--object', '{"qom-type": "secret", "id": "s1", "data": "x"}',
                '--nbd-server', 'addr.type=inet,addr.host=127.0.0.1,addr.port=0,id=tcp,'
                'max-connections=3,handshake-max-seconds=5',
                '--export', 'type=nbd,id=e0,node-name=n0,name=null,description=nothing,'
                'writable=on,iothread=io0', '--export', 'nbd,id=e1,node-name=j',
                '--chardev', 'socket,id=c,path=%s,server=on,wait=off' % r.path('m.sock'),
                '--monitor', 'chardev=c,pretty=on', '--name', 'my daemon',
                '--snapshot-layout', 'cluster-size=64k,extended-l2=off', '--metadata-cache', '8M',
                '--nbd-memory', '64M', '--pidfile', r.path('pid'))
        assert r.cmd('query-name') == {'name': 'my daemon'}
        assert [e['id'] for e in r.cmd('query-block-exports')] == ['e0', 'e1']
        assert [i['id'] for i in r.cmd('query-iothreads')] == ['io0']
        with Wire(r.path('nbd.sock')) as c:
            names = [d for _, d in c.option(w.OPT_LIST)]
            assert names == [w.name_option('null') + b'nothing', w.name_option('j'), b'']


def test_drives_have_the_cache_mode_that_was_asked_for():
    want = {'writeback': (True, False, False), 'none': (True, True, False),
            'writethrough': (False, False, False), 'directsync': (False, True, False),
            'unsafe': (True, False, True), None: (True, False, False)}
    with Rig() as r:
        for mode in want:
            r.drive('d-%s' % mode, 'raw', '1M', ',cache=' + mode if mode else '')
        ro = r.create('ro.qcow2', 'qcow2', '1M')
        r.start('--drive', 'id=ro,file=%s,readonly=on' % ro, '--drive', 'id=empty')
        for mode, flags in want.items():
            c = r.inserted('d-%s' % mode)['cache']
            assert (c['writeback'], c['direct'], c['no-flush']) == flags, (mode, c)
        assert r.inserted('ro')['ro'] and r.inserted('ro')['drv'] == 'qcow2'
        assert r.inserted('empty') is None


def test_the_format_of_a_writable_disk_is_not_guessed_to_be_raw():
    """CVE-2008-2004: a guest could write another format's header, and have it followed next time."""
    with Rig() as r:
        raw, qcow2 = r.create('a.raw'), r.create('b.qcow2', 'qcow2')
        fails('--drive', 'id=d,file=' + raw, 'format', raw)
        r.start('--drive', 'id=probed,file=' + qcow2, '--drive', 'id=ro,readonly=on,file=' + raw)
        assert r.inserted('probed')['drv'] == 'qcow2' and r.inserted('ro')['drv'] == 'raw'


# -- start, end, rest

def test_the_pid_file_is_written_locked_and_removed():
    with Rig() as r:
        pid = r.path('pid')
        with open(pid, 'w') as f:
            f.write('99999999 left over from a crash\n')
        r.start('--pidfile', pid)
        assert open(pid).read() == '%d\n' % r.proc.pid
        err = fails('--pidfile', pid, pid)
        assert 'lock' in err.lower() and 'process %d (qemu-storage-d' % r.proc.pid in err, err
        assert open(pid).read() == '%d\n' % r.proc.pid, 'the second daemon wrote to it'
        r.stop()
        assert not os.path.exists(pid)


def test_daemonize_returns_when_the_daemon_serves():
    with Rig() as r:
        sock, pid = r.path('q'), r.path('pid')
        os.chdir(r.dir)                     # relative names keep their meaning
        start = time.monotonic()
        status, out, err = qsd('--daemonize', '--pidfile', 'pid', '--qmp',
                               'unix:q,server=on,wait=off', '--nbd-server',
                               'addr.type=unix,addr.path=nbd')
        os.chdir('/')
        assert (status, out, err) == (0, '', ''), err
        assert time.monotonic() - start < 10
        with socket.socket(socket.AF_UNIX) as s:    # no waiting needed
            s.connect(sock)
            assert b'QMP' in s.recv(4096)
        daemon = int(open(pid).read())
        assert os.getsid(daemon) != os.getsid(0)
        assert os.readlink('/proc/%d/cwd' % daemon) == '/'
        os.kill(daemon, signal.SIGTERM)
        w.wait_until(lambda: not os.path.exists('/proc/%d' % daemon)
                     or open('/proc/%d/stat' % daemon).read().split()[2] == 'Z')
        assert os.listdir(r.dir) == []


def test_daemonize_reports_a_failed_start():
    with Rig() as r:
        pid = r.path('pid')
        status, out, err = qsd('--daemonize', '--pidfile', pid, '--blockdev', 'nosuch,node-name=n')
        assert status == 1 and 'nosuch' in err and '--blockdev' in err, err
        assert not os.path.exists(pid)


def test_sockets_have_the_mode_that_was_asked_for():
    """Whatever the umask; and without a mode, what it leaves."""
    with Rig() as r:
        sock = {name: r.path(name) for name in ('a', 'b', 'nbd2')}
        r.start('--qmp', 'unix:%s,server=on,wait=off,mode=0660' % sock['a'],
                '--chardev', 'socket,id=c,server=on,wait=off,mode=600,path=' + sock['b'],
                '--monitor', 'chardev=c',
                '--nbd-server', 'id=n2,addr.type=unix,addr.mode=0666,addr.path=' + sock['nbd2'],
                preexec_fn=lambda: os.umask(0o027))
        modes = {name: os.stat(path).st_mode & 0o777 for name, path in sock.items()}
        assert modes == {'a': 0o660, 'b': 0o600, 'nbd2': 0o666}, modes
        assert os.stat(r.path('nbd.sock')).st_mode & 0o777 == 0o750
        for bad in ('0', '8', '01000', 'rw', '', '-1', '660x'):
            e = r.error('nbd-server-start', id='n3', addr={
                'type': 'unix', 'data': {'path': r.path('n3'), 'mode': bad}})
            assert 'is not the mode of a socket' in e.desc, e.desc
            assert not os.path.exists(r.path('n3'))
    status, _, err = qsd('--qmp', 'tcp:127.0.0.1:0,server=on,wait=off,mode=0660')
    assert status == 1 and 'mode' in err, err


def test_the_end_removes_sockets_whatever_ends_it():
    for how in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, 'quit'):
        with Rig() as r:
            pid = r.path('pid')
            qmp = r.start('--pidfile', pid)
            if how == 'quit':
                qmp.cmd('quit')
                assert [e for e in qmp.take_events() if e['event'] == 'SHUTDOWN'], 'no event'
            else:
                r.proc.send_signal(how)
                assert qmp.wait_event('SHUTDOWN')['data'] == {'guest': False,
                                                              'reason': 'host-signal'}
            assert r.proc.wait(30) == 0
            assert os.listdir(r.dir) == [], os.listdir(r.dir)


def log_of(path):
    with open(path) as f:
        return [re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z '
                             r'qemu-storage-daemon\[(\d+)\]: (.*)\n', line).groups() for line in f]


def daemon_in_background(r, *options):
    """Its process id, and a client."""
    assert qsd('--daemonize', '--pidfile', r.path('pid'), '--qmp',
               'unix:%s,server=on,wait=off' % r.path('q'), *options)[0] == 0
    r.qmp = QMP(r.path('q'))
    return int(open(r.path('pid')).read())


def test_the_log_of_a_daemon_in_the_background_is_a_file():
    """It is opened again on SIGHUP, so that it can be rotated; and it says how the daemon began and ended."""
    with Rig() as r:
        log = r.path('log')
        pid = daemon_in_background(r, '--log', log)
        w.wait_until(lambda: log_of(log))       # a thread writes it
        assert log_of(log)[0][0] == str(pid) and 'started' in log_of(log)[0][1]
        os.rename(log, r.path('log.1'))
        os.kill(pid, signal.SIGHUP)
        w.wait_until(lambda: os.path.exists(log) and log_of(log))
        r.qmp.cmd('quit')
        w.wait_until(lambda: not os.path.exists(r.path('pid')))
        w.wait_until(lambda: log_of(log)[-1][1] == 'ends')
        assert len(log_of(r.path('log.1'))) == 1
        assert os.stat(log).st_mode & 0o777 == 0o640
        r.qmp.close()


def test_what_start_up_says_is_on_standard_error_and_in_the_log():
    with Rig() as r:
        log = r.path('log')
        err = fails('--blockdev', 'nosuch,node-name=n', 'nosuch', before=['--log', log])
        assert err.count('nosuch,node-name') == 1, err
        assert 'cannot start: --blockdev nosuch' in log_of(log)[0][1]
        status, out, err = qsd('--daemonize', '--log', log, '--pidfile', r.path('pid'))
        assert status == 0 and 'nobody can reach this daemon' in err, err
        w.wait_until(lambda: any('nobody can reach' in text for _, text in log_of(log)))
        os.kill(int(open(r.path('pid')).read()), signal.SIGTERM)
        w.wait_until(lambda: not os.path.exists(r.path('pid')))
        fails('--log', r.path('nosuch/log'), 'No such file or directory')


# A journal that writes down what it is told, and is started again in between.
JOURNAL = """
import os, signal, socket, subprocess, sys
path = '/run/systemd/journal/socket'
def journal():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.settimeout(20)
    return s
os.makedirs(os.path.dirname(path))
s = journal()
daemon = subprocess.Popen([sys.argv[1], '--log', 'journal'], stderr=subprocess.DEVNULL)
told = [s.recv(10000) for _ in range(2)]
s.close()
os.unlink(path)
s = journal()
daemon.send_signal(signal.SIGUSR1)
told.append(s.recv(10000))
daemon.terminate()
assert daemon.wait(30) == 0
for n, (priority, text) in enumerate(((4, 'warning: nobody'), (5, 'started, '), (5, 'state: '))):
    fields = dict(line.split('=', 1) for line in told[n].decode().splitlines())
    assert fields['PRIORITY'] == str(priority) and fields['MESSAGE'].startswith(text), fields
    assert fields['SYSLOG_IDENTIFIER'] == 'qemu-storage-daemon', fields
    assert fields['SYSLOG_PID'] == str(daemon.pid), fields
"""


def test_the_journal_is_told_in_its_protocol():
    """In a mount namespace with a /run of its own; where that cannot be had, not."""
    own_run = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /run && exec "$0" "$@"']
    if not shutil.which('unshare') or subprocess.run([*own_run, 'true'], stderr=subprocess.DEVNULL).returncode:
        print('without a mount namespace')
        return
    run(*own_run, sys.executable, '-c', JOURNAL, os.path.abspath(QSD))


def test_the_log_can_be_the_system_s():
    """Where there is no journal, the option says so."""
    if not os.path.exists('/run/systemd/journal/socket'):
        fails('--log', 'journal', '/run/systemd/journal/socket', 'No such file or directory')
    for where in ('syslog', 'stderr'):
        with Rig() as r:
            r.start('--log', where)
            r.stop()
            assert r.log == '', r.log


def test_signals_that_are_no_end_leave_the_daemon_and_its_files():
    """SIGUSR1 has what is open written to the log, SIGUSR2 does nothing."""
    with Rig() as r:
        path = r.drive('disk', 'qcow2')
        r.start('--log', r.path('log'), '--pidfile', r.path('pid'))
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR1):
            r.proc.send_signal(number)
            r.cmd('query-name')
        w.wait_until(lambda: any('state: end' in text for _, text in log_of(r.path('log'))))
        assert any('disk' in text and path in text for _, text in log_of(r.path('log')))
        assert r.proc.poll() is None
        assert {'log', 'pid', 'qmp.sock', 'nbd.sock'} <= set(os.listdir(r.dir))
        r.stop()


def test_requests_in_flight_finish_when_the_daemon_ends():
    """Every write that was acknowledged is in the file, which is closed as it should be."""
    for fmt in ('raw', 'qcow2'):
        with Rig() as r:
            path = r.drive('disk', fmt, '64M')
            r.start('--object', 'iothread,id=io0')
            r.export('disk', iothread='io0')
            acked = []

            def writer():
                with Wire(r.path('nbd.sock')).negotiate('disk') as c:
                    sent = 0
                    try:
                        while True:
                            while sent < len(acked) + 32:
                                data = struct_block(sent)
                                c.send(c.request_bytes(w.WRITE, sent % 1024 * 65536, 4096,
                                                       cookie=sent) + data)
                                sent += 1
                            cookie, _, _, error = c.recv_answer()
                            assert error == 0
                            acked.append(cookie)
                    except w.Closed:
                        pass
            t = threading.Thread(target=writer)
            t.start()
            w.wait_until(lambda: len(acked) > 200)
            r.stop()                        # status 0
            t.join()
            last = {}
            for cookie in acked:
                last[cookie % 1024] = cookie
            run('qemu-img', 'check', '-q', '-f', fmt, path) if fmt == 'qcow2' else None
            flat = r.path('flat')
            run('qemu-img', 'convert', '-f', fmt, '-O', 'raw', path, flat)
            with open(flat, 'rb') as f:
                for slot, cookie in last.items():
                    f.seek(slot * 65536)
                    got = int(f.read(16))
                    assert got >= cookie, (slot, cookie, got)


def struct_block(n):
    return b'%016d' % n + bytes(4080)


def test_a_second_signal_changes_nothing():
    with Rig() as r:
        r.start()
        for _ in range(3):
            r.proc.send_signal(signal.SIGTERM)
        assert r.proc.wait(30) == 0


def test_it_idles_at_no_cost():
    def cpu(pid):
        fields = open('/proc/%d/stat' % pid).read().rsplit(')')[1].split()
        return int(fields[11]) + int(fields[12])
    with Rig() as r:
        r.drive('disk', 'qcow2')
        r.start('--object', 'iothread,id=io0')
        r.export('disk', iothread='io0')
        with Wire(r.path('nbd.sock')).negotiate('disk') as c:
            c.write(0, b'x' * 4096)
            w.wait_until(lambda: not moves(r, cpu), 15)


def moves(r, cpu):
    before = cpu(r.proc.pid)
    time.sleep(1)
    return cpu(r.proc.pid) != before


main(globals())
