#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Jobs, and whatever else happens at the same moment: four disks on four iothreads are written to, while they are
mirrored to new files and move there, backed up, get longer by group snapshots and shorter by commit and
stream; somebody pauses, resumes, slows down, completes and cancels whatever job is there, exports come and go,
nodes are reopened.  Every byte that is read back is compared.  In the end the daemon is told to go while all
that goes on.

Made for the thread sanitizer (make check-tsan), bounded in what is done and not in time.

jobs-at-once.py [ROUNDS [SEED]]
"""

import os
import random
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qmp'))
from actors import Actor, Bed                                           # noqa: E402
from load import SLOT, Model, Writer                                    # noqa: E402
from rig import Rig, requires                                           # noqa: E402

requires('qemu-img')
DISKS = 4
SLOTS = 64                      # that are written to
SIZE = 8 << 20
DEEPEST = 6


class JobActor(Actor):
    least = 4

    def new_image(self, n):
        """A node of an empty image; its name."""
        name = '%s%d' % (type(self).__name__.lower(), n)
        path = self.bed.rig.path(name + '.qcow2')
        with open(path, 'wb') as f:
            f.write(self.bed.empty)
        self.cmd('blockdev-add', driver='qcow2', node_name=name,
                 file={'driver': 'file', 'filename': path})
        return name

    def job(self, name):
        return next((j for j in self.cmd('query-jobs') if j['id'] == name), None)

    def follow(self, name, complete):
        """Until the job is over."""
        while job := self.job(name):
            if job['status'] == 'ready':
                if complete:
                    self.cmd('job-complete', id=name)
                else:
                    self.cmd('block-job-cancel', device=name)
            if job['status'] == 'pending':
                self.cmd('job-finalize', id=name)
            if job['status'] == 'concluded':
                self.check(job)
                self.cmd('job-dismiss', id=name)
            time.sleep(0.01)

    def check(self, job):
        if 'error' in job:
            self.check_refusal(job['error'])


class Mirrors(JobActor):
    def act(self):
        name, disk = self.new_image(self.done), self.any_disk()
        self.cmd('blockdev-mirror', job_id='mirror', device=disk, target=name, sync='full',
                 copy_mode=self.random.choice(['background', 'write-blocking']),
                 auto_finalize=self.random.random() < 0.5, auto_dismiss=False)
        self.follow('mirror', self.random.random() < 0.6)
        for n in range(self.done + 1):
            self.cmd('blockdev-del', node_name='mirrors%d' % n)


class Backups(JobActor):
    def act(self):
        name, disk = self.new_image(self.done), self.any_disk()
        backup = {'job-id': 'backup', 'device': disk, 'target': name,
                  'sync': self.random.choice(['full', 'top', 'none']), 'auto-dismiss': False}
        if self.random.random() < 0.5:
            self.cmd('transaction', {'actions': [{'type': 'blockdev-backup', 'data': backup}]})
        else:
            self.cmd('blockdev-backup', backup)
        if backup['sync'] == 'none':
            self.cmd('job-cancel', id='backup')
        self.follow('backup', True)
        self.cmd('blockdev-del', node_name=name)


class Snapshots(JobActor):
    def depth(self):
        return max(d['inserted']['backing_file_depth'] for d in self.cmd('query-block')
                   if 'inserted' in d)

    def act(self):
        if self.depth() >= DEEPEST:
            return time.sleep(0.05)
        self.cmd('blockdev-group-snapshot-sync', devlist=[
            {'device': 'disk%d' % i,
             'snapshot-file': self.bed.rig.path('o%d-%d.qcow2' % (i, self.done))}
            for i in range(DISKS)])


class Chains(JobActor):
    least = 8

    def act(self):
        disk = self.any_disk()
        image = next(d for d in self.cmd('query-block') if d['device'] == disk)['inserted']['image']
        files = []
        while image:
            files.append(image['filename'])
            image = image.get('backing-image')
        common = {'job-id': 'chain', 'device': disk, 'auto-dismiss': False}
        choice = self.random.random()
        if choice < 0.4:
            self.cmd('block-commit', common)
        elif choice < 0.7 and len(files) > 2:
            top = self.random.randrange(1, len(files) - 1)
            self.cmd('block-commit', dict(common, top=files[top], base=files[-1]))
        elif len(files) > 1:
            self.cmd('block-stream', dict(common, base=self.random.choice(files[1:])))
        self.follow('chain', self.random.random() < 0.8)


class Meddlers(JobActor):
    """Tell whatever job is there whatever may be told."""
    least = 40

    def act(self):
        jobs = self.cmd('query-jobs') + [{'id': 'nobody'}]
        job = self.random.choice(jobs)['id']
        verb = self.random.choice(['job-pause', 'job-resume', 'job-cancel', 'job-finalize',
                                   'job-dismiss', 'speed', 'change', 'query'])
        if verb == 'speed':
            self.cmd('block-job-set-speed', device=job,
                     speed=self.random.choice([0, 1 << 20, 1 << 24]))
        elif verb == 'change':
            self.cmd('block-job-change', id=job, copy_mode='write-blocking')
        elif verb == 'query':
            self.cmd('query-block-jobs')
            self.cmd('query-named-block-nodes')
        elif verb != 'job-cancel' or self.random.random() < 0.2:
            self.cmd(verb, id=job)
        if verb == 'job-pause':
            time.sleep(self.random.random() * 0.05)
            self.cmd('job-resume', id=job)
        time.sleep(self.random.random() * 0.03)


class Exports(JobActor):
    least = 8

    def act(self):
        export = {'type': 'nbd', 'id': 'more', 'node_name': self.any_disk(), 'name': 'more',
                  'writable': self.random.random() < 0.5}
        if self.random.random() < 0.7:
            export['iothread'] = 'io%d' % self.random.randrange(DISKS)
        self.cmd('block-export-add', **export)
        self.cmd('block-export-del', id='more', mode=self.random.choice(['safe', 'hard']))


class Reopens(JobActor):
    """Change the disks themselves: other caching, or what lies below them."""
    least = 8

    def act(self):
        nodes = [n for n in self.cmd('query-named-block-nodes', flat=True)
                 if n['drv'] == 'qcow2' and not n['node-name'].startswith('#')]
        if nodes:
            node = self.random.choice(nodes)
            self.cmd('blockdev-reopen', options=[{
                'driver': 'qcow2', 'node-name': node['node-name'], 'read-only': node['ro'],
                'cache': {'direct': False},
                'file': {'driver': 'file', 'filename': node['file']}}])
        time.sleep(0.02)


KINDS = [Mirrors, Backups, Snapshots, Chains, Meddlers, Exports, Reopens]


class Jobs(Bed):
    def __init__(self, rig, seed):
        super().__init__(rig, DISKS)
        self.models = [Model(SLOTS) for _ in range(DISKS)]
        with open(rig.create('empty', 'qcow2', str(SIZE)), 'rb') as f:
            self.empty = f.read()
        monitors = self.monitors(len(KINDS))
        for i in range(DISKS):
            rig.options += ['--object', 'iothread,id=io%d' % i]
            rig.drive('disk%d' % i, 'qcow2', str(SIZE), ',discard=unmap')
        rig.start()
        for i in range(DISKS):
            rig.export('disk%d' % i, iothread='io%d' % i)
        self.writers = [Writer(rig.nbd('disk%d' % i), self.models[i], 0, SLOTS, seed + i,
                               'disk%d' % i) for i in range(DISKS)]
        self.actors = [kind(self, seed, path) for kind, path in zip(KINDS, monitors)]

    def check_images(self):
        for name in sorted(os.listdir(self.rig.dir)):
            if name.endswith('.qcow2'):
                subprocess.check_call(['qemu-img', 'check', '-q', self.rig.path(name)])


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print('seed', seed, flush=True)
    for n in range(rounds):
        with Rig('jobs-') as rig:
            bed = Jobs(rig, seed + n)
            bed.run(n % 2 == 0)
            bed.check_images()
            print('round %d: %s; %d requests' % (
                n, ', '.join('%s %d' % (type(a).__name__, a.done) for a in bed.actors),
                sum(w.requests for w in bed.writers)), flush=True)


main()
