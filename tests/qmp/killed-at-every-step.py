#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Whenever the daemon is killed around a group snapshot, everything acknowledged as flushed is there
afterwards, every image is consistent, and a group that was answered is there as a whole or not at all.

killed-at-every-step.py [ROUNDS [SEED]]
"""

import json
import os
import random
import subprocess
import sys
import threading
import time

from load import SLOT, Model, Writer, finish
from rig import Rig, import_nbd, requires, run

requires('qemu-img')
nbd = import_nbd()
SLOTS = 96
DISKS = 3
MAX_DEPTH = 8


class Bed:
    """Disks under load in a daemon that is killed again and again."""

    def __init__(self, rig, rnd):
        self.rig, self.random = rig, rnd
        self.tops = [rig.create('disk%d' % i, 'qcow2' if i % 2 else 'raw', str(SLOTS * SLOT))
                     for i in range(DISKS)]
        self.formats = ['qcow2' if i % 2 else 'raw' for i in range(DISKS)]
        self.models = [Model(SLOTS) for _ in range(DISKS)]
        self.writers = []
        self.duration = 0.03            # of a snapshot, about

    def start(self):
        rig = self.rig
        rig.options = ['--object', 'iothread,id=io0']
        for i in range(DISKS):
            rig.options += ['--drive', 'id=disk%d,if=none,discard=unmap,file=%s,format=%s'
                            % (i, self.tops[i], self.formats[i])]
        rig.start()
        for i in range(DISKS):
            rig.export('disk%d' % i, **({'iothread': 'io0'} if i == 2 else {}))

    def verify(self):
        for i in range(DISKS):
            h = self.rig.nbd('disk%d' % i)
            self.models[i].after_crash(h.pread(SLOTS * SLOT, 0), 'disk%d' % i)
            h.shutdown()

    def load(self):
        self.writers = [
            Writer(self.rig.nbd('disk%d' % i), self.models[i], k * SLOTS // 2, SLOTS // 2,
                   self.random.random(), 'disk%d' % i)
            for i in range(DISKS) for k in range(2)]
        for w in self.writers:
            w.start()

    def snapshot_and_kill(self, targets):
        """The reply, or None if there was none."""
        rig = self.rig
        time.sleep(self.random.random() * 0.03)
        began = time.monotonic()
        rig.qmp.send('blockdev-group-snapshot-sync', {'devlist': [
            {'device': 'disk%d' % i, 'snapshot-file': t} for i, t in enumerate(targets)]})
        reply = []

        def receive():
            try:
                reply.append((rig.qmp.recv_reply(), time.monotonic()))
            except (ConnectionError, OSError):
                pass
        t = threading.Thread(target=receive)
        t.start()
        time.sleep(self.random.random() * 1.5 * self.duration)
        rig.kill()
        t.join()
        finish(self.writers)
        if reply:
            self.duration = (self.duration + reply[0][1] - began) / 2
        else:
            self.duration *= 1.15       # half of the rounds shall be answered
        return reply[0][0] if reply else None


def check_image(path):
    """No corruption.  Clusters may be leaked (status 3), that is what a crash may do."""
    r = subprocess.run(['qemu-img', 'check', '-q', path], capture_output=True, text=True)
    assert r.returncode in (0, 3), (path, r.stdout, r.stderr)


def open_overlay(path, base):
    """Whether @path is a complete overlay of @base; an AssertionError if it is half of one."""
    if not os.path.exists(path) or os.path.getsize(path) == 0:
        return False
    check_image(path)
    info = json.loads(run('qemu-img', 'info', '--output=json', path))
    assert info['full-backing-filename'] == base, info
    return True


def check_images(bed):
    for path, fmt in zip(bed.tops, bed.formats):
        if fmt == 'qcow2':
            check_image(path)


def one_round(bed, n, counts):
    rig = bed.rig
    fails = bed.random.random() < 0.2
    targets = [rig.path('o%d-%d' % (i, n)) for i in range(DISKS)]
    if fails:
        targets[bed.random.randrange(DISKS)] = rig.path('no/such/directory')
    bed.start()
    bed.verify()
    bed.load()
    reply = bed.snapshot_and_kill(targets)
    check_images(bed)
    complete = [open_overlay(t, base) for t, base in zip(targets, bed.tops)]
    if reply is None:
        counts['unanswered'] += 1
        counts['leftovers'] += any(os.path.exists(t) for t in targets)
    elif 'error' in reply:
        counts['failed'] += 1
        assert not any(os.path.exists(t) for t in targets), targets
    else:
        counts['succeeded'] += 1
        assert all(complete), (targets, complete)
    if all(complete):
        bed.tops, bed.formats = targets, ['qcow2'] * DISKS
        check_images(bed)
        return
    for t in targets:
        if os.path.exists(t):
            os.unlink(t)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 14
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print('seed', seed, flush=True)
    rnd = random.Random(seed)
    counts = dict.fromkeys(['succeeded', 'failed', 'unanswered', 'leftovers'], 0)
    done = 0
    while done < rounds:
        with Rig('killed-') as rig:
            bed = Bed(rig, rnd)
            for _ in range(min(MAX_DEPTH, rounds - done)):
                one_round(bed, done, counts)
                done += 1
            bed.start()
            bed.verify()
    print(rounds, 'rounds:', counts)


main()
