#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A service manager can hand sockets over, and is told when the daemon is ready and when it ends."""

import os
import re
import shlex
import shutil
import socket
import subprocess

from qmp import QMP
from rig import QSD, Rig, import_nbd, main, run

HERE = os.path.dirname(os.path.abspath(__file__))
UNIT = os.environ.get('UNIT') or os.path.join(
    HERE, '../../build/contrib/systemd/qemu-storage-daemon@.service')
EXAMPLES = os.path.join(HERE, '../../contrib/systemd')
SOCKET_UNITS = {'nbd': 'qemu-storage-daemon@.socket', 'qmp': 'qemu-storage-daemon-qmp@.socket'}

nbd = import_nbd()


def test_sockets_by_name_and_readiness():
    with Rig() as r:
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(r.path('notify'))
        notify.settimeout(20)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(r.path('nbd'))
        listener.listen(5)
        cmd = ('exec 3<&%d; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=disks; exec "$@"'
               % listener.fileno())
        proc = subprocess.Popen(
            ['sh', '-c', cmd, 'sh', QSD, '--blockdev', 'null-co,node-name=n,size=1M,read-zeroes=on',
             '--nbd-server', 'addr.type=fd,addr.str=disks', '--export',
             'nbd,id=e,node-name=n,name=n'],
            pass_fds=[listener.fileno()], env=dict(os.environ, NOTIFY_SOCKET=r.path('notify')))
        try:
            assert notify.recv(100) == b'READY=1'
            h = nbd.NBD()
            h.connect_uri('nbd+unix:///n?socket=' + r.path('nbd'))
            assert h.get_size() == 1 << 20
            h.shutdown()
            proc.terminate()
            assert notify.recv(100) == b'STOPPING=1'
            assert proc.wait(20) == 0
        finally:
            if proc.poll() is None:
                proc.kill()
                proc.wait()
        notify.close()
        listener.close()


def test_an_unknown_name_is_refused():
    r = subprocess.run([QSD, '--nbd-server', 'addr.type=fd,addr.str=nosuch'], capture_output=True,
                       text=True, timeout=20)
    assert r.returncode == 1 and 'nosuch' in r.stderr, r


def unit_value(key, unit=UNIT):
    with open(unit) as f:
        return re.search(r'^%s=(.*)$' % key, f.read(), re.M).group(1)


def example_options(name='example.conf'):
    """The OPTIONS of an example, as the service manager reads the file."""
    with open(os.path.join(EXAMPLES, name)) as f:
        text = ''.join(line for line in f if not line.startswith('#')).replace('\\\n', '')
    return shlex.split(text)[0].partition('=')[2].split()


def test_the_unit_starts_the_example_and_is_told_when_it_serves():
    assert unit_value('Type') == 'notify' and unit_value('EnvironmentFile').endswith('/%i.conf')
    command = unit_value('ExecStart').split()
    assert os.path.basename(command[0]) == 'qemu-storage-daemon' and os.path.isabs(command[0])
    with Rig() as r:
        r.create('data.raw')
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(r.path('notify'))
        notify.settimeout(20)
        # The folders of the machine become ours, and the journal, which is not everywhere, a file.
        args = [a.replace('/run/qemu-storage-daemon/example', r.dir).replace('/srv/disks', r.dir)
                for word in command[1:]
                for a in (example_options() if word == '$OPTIONS'
                          else [word.replace('%i', 'example').replace('journal', r.path('log'))])]
        proc = subprocess.Popen([QSD, *args], env=dict(os.environ, NOTIFY_SOCKET=r.path('notify')))
        try:
            assert notify.recv(100) == b'READY=1'
            h = nbd.NBD()
            h.connect_uri('nbd+unix:///data?socket=' + r.path('nbd.sock'))
            h.pwrite(b'x' * 512, 0)
            h.shutdown()
            for name in ('nbd.sock', 'qmp.sock'):
                assert os.stat(r.path(name)).st_mode & 0o777 == 0o660
            proc.terminate()
            assert notify.recv(100) == b'STOPPING=1'
            assert proc.wait(20) == 0
        finally:
            if proc.poll() is None:
                proc.kill()
                proc.wait()
            notify.close()


def socket_unit(which):
    return os.path.join(os.path.dirname(UNIT), SOCKET_UNITS[which])


def test_the_daemon_of_the_socket_units_takes_both_sockets_over():
    with Rig() as r:
        r.create('data.raw')
        run('qemu-img', 'create', '-q', '-f', 'qcow2', r.path('wal.qcow2'), '1M')
        sockets = []
        for which in SOCKET_UNITS:
            assert unit_value('FileDescriptorName', socket_unit(which)) == which
            path = unit_value('ListenStream', socket_unit(which))
            assert path == '/run/qemu-storage-daemon/%%i.%s.sock' % which
            # The daemon's own folder goes with it, and must not take the sockets along.
            assert not path.startswith('/run/' + unit_value('RuntimeDirectory') + '/')
            s = socket.socket(socket.AF_UNIX)
            s.bind(r.path(which))
            s.listen(5)
            sockets.append(s)
        assert unit_value('Service', socket_unit('qmp')) == 'qemu-storage-daemon@%i.service'
        args = [a.replace('/srv/disks', r.dir) for a in example_options('sockets.conf')]
        nbd_fd, qmp_fd = (os.dup(s.fileno()) for s in sockets)
        cmd = 'exec 8<&%d 9<&%d; exec 3<&8 4<&9 8<&- 9<&-; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=nbd:qmp; exec "$@"' % (
            nbd_fd, qmp_fd)
        proc = subprocess.Popen(['bash', '-c', cmd, 'bash', QSD, *args], pass_fds=[nbd_fd, qmp_fd])
        try:
            for name in 'data', 'wal':
                h = nbd.NBD()
                h.connect_uri('nbd+unix:///%s?socket=%s' % (name, r.path('nbd')))
                h.pwrite(b'x' * 512, 0)
                h.shutdown()
            with QMP(r.path('qmp')) as q:
                assert len(q.cmd('query-block-exports')) == 2
            proc.terminate()
            assert proc.wait(20) == 0
        finally:
            if proc.poll() is None:
                proc.kill()
                proc.wait()
            for s in sockets:
                s.close()
            os.close(nbd_fd)
            os.close(qmp_fd)
        assert os.path.exists(r.path('nbd')) and os.path.exists(r.path('qmp'))


def test_the_unit_is_one_that_systemd_takes():
    if not shutil.which('systemd-analyze'):
        print('without systemd-analyze')
        return
    with Rig() as r:
        unit = r.path('qemu-storage-daemon@.service')
        with open(UNIT) as f, open(unit, 'w') as out:
            out.write(re.sub(r'^ExecStart=\S+', 'ExecStart=' + os.path.abspath(QSD), f.read(),
                             flags=re.M))
        sockets = [shutil.copy(socket_unit(which), r.dir) for which in SOCKET_UNITS]
        said = run('systemd-analyze', '--man=no', 'verify', unit, *sockets)
        assert r.dir not in said, said


main(globals())
