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
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qmp'))
import nbdwire                                                          # noqa: E402
from load import SLOT, Model, Writer                                    # noqa: E402
from qmp import QMP, QMPError                                           # noqa: E402
from rig import Rig, import_nbd, requires                               # noqa: E402

requires('qemu-img')
nbd = import_nbd()
DISKS = 4
SLOTS = 64
ACTIONS = 12            # of each actor, before the daemon is told to go
SNAPSHOTS = 5

# What an actor may be told; anything else is wrong.
REFUSALS = ('in use', 'already', 'not found', 'not running', 'Cannot find', 'Failed to find',
            'No such', 'shutting down', 'does not allow', 'not owned', 'is using it')
GONE = (ConnectionError, OSError, nbd.Error, nbdwire.Closed, nbdwire.NbdError)


class Actor(threading.Thread):
    """Does one kind of thing again and again, on a monitor of its own."""

    def __init__(self, bed, seed, monitor=None):
        super().__init__(daemon=True)
        self.bed, self.random = bed, random.Random('%s-%s' % (seed, type(self).__name__))
        self.qmp = QMP(monitor) if monitor else None
        self.done, self.error = 0, None

    def run(self):
        try:
            while not self.bed.ending or self.done < self.least:
                self.act()
                self.done += 1
                if self.done >= self.least:
                    self.bed.one_is_ready(self)
                    time.sleep(0.01)            # leave the others some time
        except Exception as e:
            if not self.bed.ending or not isinstance(e, GONE):
                self.error = e
        self.bed.one_is_ready(self)

    least = ACTIONS

    def cmd(self, execute, arguments=None, **kwargs):
        """What it returns, or None if it was refused as one may be."""
        try:
            return self.qmp.cmd(execute, arguments, **kwargs)
        except QMPError as e:
            assert any(word in e.desc for word in REFUSALS), e
            return None
        finally:
            self.qmp.take_events()

    def any_disk(self):
        return 'disk%d' % self.random.randrange(DISKS)


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


class Bed:
    def __init__(self, rig, seed):
        self.rig, self.ending, self.ready = rig, False, set()
        self.condition = threading.Condition()
        self.models = [Model(SLOTS) for _ in range(DISKS)]
        rig.create('spare', 'raw', str(1 << 20))
        monitors = [rig.path('actor%d.sock' % i) for i in range(8)]
        for path in monitors:
            rig.options += ['--qmp', 'unix:%s,server=on,wait=off' % path]
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

    def one_is_ready(self, actor):
        with self.condition:
            self.ready.add(actor)
            self.condition.notify()

    def run(self, quit_by_command):
        for t in self.writers + self.actors:
            t.start()
        with self.condition:
            while len(self.ready) < len(self.actors):
                self.condition.wait()
        self.ending = True
        if quit_by_command:
            try:
                self.rig.cmd('quit')
            except ConnectionError:
                pass
        else:
            self.rig.proc.terminate()
        out = self.rig.proc.communicate(timeout=300)[0].decode(errors='replace')
        self.rig.log += out
        for t in self.writers + self.actors:
            t.join(60)
            assert not t.is_alive(), t
        assert self.rig.proc.returncode == 0, self.rig.proc.returncode
        for a in self.actors:
            if a.error:
                raise AssertionError(type(a).__name__) from a.error
        for w in self.writers:
            assert not w.wrong, w.wrong
            assert w.requests > 0, w.who

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
            bed = Bed(rig, seed + n)
            bed.run(n % 2 == 0)
            bed.check_images()
            print('round %d: %s; %d requests' % (
                n, ', '.join('%s %d' % (type(a).__name__, a.done) for a in bed.actors),
                sum(w.requests for w in bed.writers)), flush=True)


main()
