#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A disk of an NBD server is used by many threads at once while its connections break: every request is answered
once, with the bytes that were written, and the node can go afterwards.
"""

import os
import random
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qmp'))
import nbdwire as w                                                     # noqa: E402
from daemon import Daemon                                               # noqa: E402
from nbdserver import SIZE, Connection, Server                          # noqa: E402
from rig import import_nbd, main, skip                                  # noqa: E402

nbd = import_nbd()
USERS = 6
SECONDS = 6


class Many(Connection):
    flags = Connection.flags | w.MULTI_CONN


def user(r, n, end, failed):
    rng = random.Random(n)
    part = SIZE // USERS // 4096 * 4096
    h = r.nbd('disk%d' % (n % 3))
    model = bytearray(part)
    try:
        while time.monotonic() < end:
            pending = []
            for _ in range(rng.randrange(1, 40)):       # beside each other, in order
                at = rng.randrange(part // 4096) * 4096
                if any(at == p[1] for p in pending):
                    continue
                data = rng.randbytes(4096)
                pending.append((h.aio_pwrite(data, n * part + at), at, data))
            for cookie, at, data in pending:
                while not h.aio_command_completed(cookie):
                    h.poll(-1)
                model[at:at + 4096] = data
            h.flush()
            at = rng.randrange(part - 8192)
            assert h.pread(8192, n * part + at) == model[at:at + 8192]
        assert h.pread(part, n * part) == model
        h.shutdown()
    except BaseException as e:
        failed.append(e)
        raise


def test_every_request_is_answered_once():
    with Daemon() as r:
        server = Server(r.path('s'), Many)
        where = {'type': 'unix', 'path': server.path}
        if r.qmp.cmd_obj({'execute': 'blockdev-add', 'arguments': {
                'node-name': 'disk', 'driver': 'nbd', 'server': where,
                'reconnect-delay': 60}}).get('error', {}).get('desc', '').endswith('without libnbd'):
            skip('the program was built without libnbd')
        for n in range(2):
            r.cmd('object-add', qom_type='iothread', id='io%d' % n)
        for n in range(3):
            r.export('disk', name='disk%d' % n, **({'iothread': 'io0'} if n else {}))
        failed = []
        end = time.monotonic() + SECONDS
        users = [threading.Thread(target=user, args=(r, n, end, failed)) for n in range(USERS)]
        for t in users:
            t.start()
        rng = random.Random(9)
        while time.monotonic() < end - 1:
            time.sleep(rng.uniform(0.05, 0.4))
            server.drop()
        for t in users:
            t.join()
        assert not failed
        assert server.count > 5
        for n in range(3):
            r.cmd('block-export-del', id='exp-disk%d' % n, mode='hard')
            r.qmp.wait_event('BLOCK_EXPORT_DELETED')
        r.cmd('blockdev-del', node_name='disk')
        server.close()


main(globals())
