#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A service manager can hand sockets over, and is told when the daemon is ready and when it ends."""

import os
import socket
import subprocess

from rig import QSD, Rig, import_nbd, main

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


main(globals())
