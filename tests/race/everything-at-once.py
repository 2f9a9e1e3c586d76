#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Whatever happens at the same moment, nobody is disturbed: four disks on four iothreads are written to, while
from a monitor each, group snapshots are taken, exports and nodes come and go, disks grow and shrink, an NBD
server starts and stops under its clients, limits change, everything is queried, and clients leave in the
middle of anything.  In the end the daemon is told to go while all that goes on.

Made for the thread sanitizer (make check-tsan, make race), bounded in what is done and not in time.

everything-at-once.py [ROUNDS [SEED]]
"""

import os
import random
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qmp'))
import nbdwire                                                          # noqa: E402
from actors import GONE, Actor, Bed                                     # noqa: E402
from load import SLOT, Model, Writer                                    # noqa: E402
from rig import Rig, requires                                           # noqa: E402

requires('qemu-img')
DISKS = 4
SLOTS = 64
SNAPSHOTS = 5


class Snapshots(Actor):
    least = SNAPSHOTS

    def act(self):
        if self.done >= 3 * SNAPSHOTS:          # deep enough
            return self.cmd('query-status')
        bed, n = self.bed, self.done
        names = [bed.rig.path('o%d-%d' % (i, n)) for i in range(DISKS)]
        good = self.random.random() < 0.7
        if not good:
            names[self.random.randrange(DISKS)] = bed.rig.path('no/such/directory')
        reply = self.cmd('blockdev-group-snapshot-sync', devlist=[
            {'device': 'disk%d' % i, 'snapshot-file': names[i]} for i in range(DISKS)])
        assert good == (reply is not None), (good, reply)


class Exports(Actor):
    def act(self):
        export = {'type': 'nbd', 'id': 'more', 'node_name': self.any_disk(), 'name': 'more',
                  'writable': self.random.random() < 0.5}
        if self.random.random() < 0.7:
            export['iothread'] = 'io%d' % self.random.randrange(DISKS)
        self.cmd('block-export-add', **export)
        self.cmd('block-export-del', id='more', mode=self.random.choice(['safe', 'hard']))


class Sizes(Actor):
    """Grows and shrinks beyond what the writers use."""

    def act(self):
        disk = self.any_disk()
        self.cmd('block_resize', device=disk, size=(SLOTS + self.random.randrange(64)) * SLOT)


class Servers(Actor):
    def act(self):
        path = self.bed.rig.path('second.sock')
        self.cmd('nbd-server-start', id='second',
                 addr={'type': 'unix', 'data': {'path': path}})
        for i in range(2):
            self.cmd('block-export-add', type='nbd', id='second%d' % i, server='second',
                     node_name=self.any_disk(), name='second%d' % i, writable=True,
                     iothread='io%d' % self.random.randrange(DISKS))
        for _ in range(self.random.randrange(4)):
            self.cmd('query-block-exports')
        self.cmd('nbd-server-stop', id='second')


class Nodes(Actor):
    def act(self):
        rig = self.bed.rig
        self.cmd('blockdev-add', driver='raw', node_name='node',
                 file={'driver': 'file', 'filename': rig.path('spare')})
        if self.random.random() < 0.5:
            self.cmd('block-export-add', type='nbd', id='of-node', node_name='node', name='node',
                     writable=True, iothread='io%d' % self.random.randrange(DISKS))
            self.cmd('block-export-del', id='of-node', mode='hard')
        self.cmd('blockdev-del', node_name='node')


class Throttle(Actor):
    def act(self):
        limit = self.random.choice([0, 0, 1 << 20, 1 << 30])
        self.cmd('block_set_io_throttle', {
            'device': self.any_disk(), 'bps': limit, 'bps_rd': 0, 'bps_wr': 0, 'iops': 0,
            'iops_rd': 0, 'iops_wr': 0})


class Queries(Actor):
    def act(self):
        for command in ('query-block', 'query-named-block-nodes', 'query-blockstats',
                        'query-block-exports', 'query-iothreads', 'query-jobs'):
            self.cmd(command)
        self.cmd('block-set-write-threshold', node_name=self.cmd('query-named-block-nodes')[0][
            'node-name'], write_threshold=self.random.randrange(SLOTS * SLOT))


class Visitors(Actor):
    """Clients that connect to anything that may be there, and leave in the middle."""

    def act(self):
        server, names = self.random.choice([
            ('nbd.sock', ['more', 'node'] + ['disk%d' % i for i in range(DISKS)]),
            ('second.sock', ['second0', 'second1'])])
        try:
            self.visit(self.bed.rig.path(server), self.random.choice(names))
        except GONE:
            pass

    def visit(self, path, name):
        stage = self.random.randrange(4)
        if stage == 0:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
            return
        with nbdwire.Wire(path) as w:
            if stage == 1:
                w.send(b'\0' * self.random.randrange(40))
                return
            answer = w.option(nbdwire.OPT_GO, nbdwire.info_option(name))[-1]
            if answer[0] != nbdwire.REP_ACK:
                return                          # there is no such export now
            for _ in range(1 + self.random.randrange(8)):
                w.request(nbdwire.READ, 0, 65536)
            if stage == 3:
                w.recv(1)


class Everything(Bed):
    def __init__(self, rig, seed):
        super().__init__(rig, DISKS)
        self.models = [Model(SLOTS) for _ in range(DISKS)]
        rig.create('spare', 'raw', str(1 << 20))
        monitors = self.monitors(8)
        for i in range(DISKS):
            rig.options += ['--object', 'iothread,id=io%d' % i]
            rig.drive('disk%d' % i, 'qcow2' if i % 2 else 'raw', str(2 * SLOTS * SLOT),
                      ',discard=unmap')
        rig.start()
        for i in range(DISKS):
            rig.export('disk%d' % i, iothread='io%d' % i)
        self.writers = [Writer(rig.nbd('disk%d' % i), self.models[i], 0, SLOTS, seed + i,
                               'disk%d' % i) for i in range(DISKS)]
        self.actors = [kind(self, seed, path) for kind, path in
                       zip([Snapshots, Exports, Sizes, Servers, Nodes, Throttle, Queries], monitors)]
        self.actors += [Visitors(self, '%s-%d' % (seed, i)) for i in range(2)]

    def check_images(self):
        for name in sorted(os.listdir(self.rig.dir)):
            if name.endswith('.qcow2') or name.startswith('o'):
                subprocess.check_call(['qemu-img', 'check', '-q', self.rig.path(name)])


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print('seed', seed, flush=True)
    for n in range(rounds):
        with Rig('race-') as rig:
            bed = Everything(rig, seed + n)
            bed.run(n % 2 == 0)
            bed.check_images()
            print('round %d: %s; %d requests' % (
                n, ', '.join('%s %d' % (type(a).__name__, a.done) for a in bed.actors),
                sum(w.requests for w in bed.writers)), flush=True)


main()
