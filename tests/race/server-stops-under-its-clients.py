#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
An NBD server can be stopped whatever its clients are doing: connecting, negotiating or reading.  They are cut
off, the command returns, the same address can be listened on again, and nothing is left of them.
"""

import os
import random
import socket
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qmp'))
import nbdwire                                                          # noqa: E402
from rig import Rig, check_state, main                                  # noqa: E402

STOPS = 25
CLIENTS = 4
GONE = (OSError, nbdwire.Closed, nbdwire.NbdError)


def connecting(path, rnd):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)


def negotiating(path, rnd):
    with nbdwire.Wire(path) as w:
        w.send(w_option(rnd)[:rnd.randrange(1, 40)])
        if rnd.random() < 0.5:
            w.recv(1)


def w_option(rnd):
    data = nbdwire.info_option('disk')
    return nbdwire.OPTS_MAGIC + bytes([0, 0, 0, rnd.choice([3, 6, 7])]) + \
        len(data).to_bytes(4, 'big') + data


def reading(path, rnd):
    with nbdwire.Wire(path) as w:
        if w.option(nbdwire.OPT_GO, nbdwire.info_option('disk'))[-1][0] != nbdwire.REP_ACK:
            return                              # it came before the export, or after
        while True:
            for _ in range(8):
                w.request(nbdwire.READ, 0, 1 << 16)
            w.recv(rnd.randrange(8 << 16))


class Client(threading.Thread):
    def __init__(self, what, path, seed):
        super().__init__(daemon=True)
        self.what, self.path, self.random = what, path, random.Random(seed)
        self.stop, self.error, self.visits = False, None, 0

    def run(self):
        try:
            while not self.stop:
                try:
                    self.what(self.path, self.random)
                except GONE:
                    pass
                self.visits += 1
        except Exception as e:
            self.error = e


def stop_under(what, iothread):
    with Rig('stop-') as rig:
        path = rig.path('second.sock')
        rig.options += ['--object', 'iothread,id=io0']
        rig.start()
        rig.cmd('blockdev-add', driver='null-co', node_name='disk', size=1 << 20)
        before = rig.state()
        clients = [Client(what, path, i) for i in range(CLIENTS)]
        for c in clients:
            c.start()
        rnd = random.Random(1)
        for _ in range(STOPS):
            rig.cmd('nbd-server-start', id='second',
                    addr={'type': 'unix', 'data': {'path': path}})
            rig.cmd('block-export-add', type='nbd', id='exp', server='second', node_name='disk',
                    name='disk', **({'iothread': 'io0'} if iothread else {}))
            wanted = sum(c.visits for c in clients) + rnd.randrange(8)
            for _ in range(200):
                rig.cmd('query-block-exports')
                if sum(c.visits for c in clients) >= wanted:
                    break
            rig.cmd('nbd-server-stop', id='second')
            assert not os.path.exists(path)
        for c in clients:
            c.stop = True
        for c in clients:
            c.join(60)
            assert not c.is_alive() and not c.error, c.error
        check_state(before, rig.state())


def test_clients_that_connect():
    stop_under(connecting, False)


def test_clients_that_negotiate():
    stop_under(negotiating, False)


def test_clients_that_read():
    stop_under(reading, False)


def test_clients_that_read_on_an_iothread():
    stop_under(reading, True)


main(globals())
