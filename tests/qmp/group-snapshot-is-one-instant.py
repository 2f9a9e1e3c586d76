#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
If a client sent write B after write A was acknowledged, no snapshot holds B without A.

Several clients, each with its own slot on every disk, write a counter to one disk after the
other, each write when the one before is acknowledged.  In a snapshot the counters of a slot are
then n n n n-1 n-1 over the disks.  At the end no acknowledged write is missing.
"""

import sys
import threading

from rig import Rig, import_nbd, main, requires

requires('qemu-img')
nbd = import_nbd()
SLOT = 4096
BETWEEN = 3         # cuts that must have fallen between two writes of a round ...
MOST = 60           # ... of so many


class Client(threading.Thread):
    def __init__(self, rig, slot, disks):
        super().__init__()
        self.handles = [rig.nbd('disk%d' % i) for i in range(disks)]
        self.offset = slot * SLOT
        self.counter = 0
        self.stop = False
        self.error = None

    def run(self):
        try:
            while not self.stop:
                self.counter += 1
                data = self.counter.to_bytes(8, 'big')
                for h in self.handles:
                    h.pwrite(data, self.offset)
        except Exception as e:
            self.error = e


def read_counter(handle, slot):
    return int.from_bytes(handle.pread(8, slot * SLOT), 'big')


def check_cut(rig, event, disks, clients, generation):
    """The counters in the bases, read through exports of the base nodes; how many clients were between two
    writes of one round."""
    between = 0
    bases = []
    for i in range(disks):
        name = 'base%d-%d' % (generation, i)
        rig.export(event['members'][i]['base-node'], writable=False, name=name)
        bases.append(rig.nbd(name))
    for slot in range(clients):
        seen = [read_counter(h, slot) for h in bases]
        assert all(a >= b for a, b in zip(seen, seen[1:])), (slot, seen)
        assert seen[0] - seen[-1] <= 1, (slot, seen)
        between += seen[0] != seen[-1]
    for h in bases:
        h.shutdown()
    for i in range(disks):
        rig.cmd('block-export-del', id='exp-base%d-%d' % (generation, i), mode='hard')
    return between


def probe(disks, clients, snapshots, iothreads):
    with Rig() as rig:
        for i in range(disks):
            rig.drive('disk%d' % i, 'qcow2' if i % 2 else 'raw', '1M')
        rig.start(*[o for t in range(iothreads) for o in ('--object', 'iothread,id=io%d' % t)])
        for i in range(disks):
            extra = {'iothread': 'io%d' % (i % iothreads)} if iothreads else {}
            rig.export('disk%d' % i, **extra)
        threads = [Client(rig, n, disks) for n in range(clients)]
        for t in threads:
            t.start()
        try:
            n = between = 0
            # A cut that fell between two rounds would look the same if the disks were cut one by one.
            while n < snapshots or between < BETWEEN:
                n += 1
                assert n <= MOST, 'of %d cuts only %d fell between two writes' % (MOST, between)
                event = rig.snapshot(*[rig.member('disk%d' % i, 'o%d-%d' % (i, n))
                                       for i in range(disks)])
                between += check_cut(rig, event, disks, clients, n)
        finally:
            for t in threads:
                t.stop = True
            for t in threads:
                t.join()
        for slot, t in enumerate(threads):
            assert t.error is None, t.error
            for h in t.handles:
                assert read_counter(h, slot) == t.counter


def test_two_disks_one_client():
    probe(2, 1, 5, 0)


def test_eight_disks_four_clients_on_iothreads():
    probe(8, 4, 5, 3)


def test_two_members_on_one_iothread():
    probe(2, 2, 5, 1)


def test_sixty_four_disks_three_clients():
    probe(64, 3, 3, 2)


main(globals())
