#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A service manager can hand sockets over, and is told when the daemon is ready and when it ends."""

import os
import re
import shlex
import shutil
import socket
import subprocess

from rig import QSD, Rig, import_nbd, main, run

HERE = os.path.dirname(os.path.abspath(__file__))
UNIT = os.environ.get('UNIT') or os.path.join(
    HERE, '../../build/contrib/systemd/qemu-storage-daemon@.service')
EXAMPLE = os.path.join(HERE, '../../contrib/systemd/example.conf')

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


def unit_value(key):
    with open(UNIT) as f:
        return re.search(r'^%s=(.*)$' % key, f.read(), re.M).group(1)


def example_options():
    """The OPTIONS of the example, as the service manager reads the file."""
    with open(EXAMPLE) as f:
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


def test_the_unit_is_one_that_systemd_takes():
    if not shutil.which('systemd-analyze'):
        print('without systemd-analyze')
        return
    with Rig() as r:
        unit = r.path('qemu-storage-daemon@.service')
        with open(UNIT) as f, open(unit, 'w') as out:
            out.write(re.sub(r'^ExecStart=\S+', 'ExecStart=' + os.path.abspath(QSD), f.read(),
                             flags=re.M))
        said = run('systemd-analyze', '--man=no', 'verify', unit)
        assert r.dir not in said, said


main(globals())
