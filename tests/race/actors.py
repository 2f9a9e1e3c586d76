# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the tests of races share: actors, each on a monitor of its own, who do one kind of thing again and again
while disks are written to, until the daemon is told to go under all of them.
"""

import errno
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'qmp'))
import nbdwire                                                          # noqa: E402
from qmp import QMP, QMPError                                           # noqa: E402
from rig import import_nbd                                              # noqa: E402

nbd = import_nbd()
# Whoever comes second is refused, with one of many texts.  What none of them has is the cause of
# something that broke, or that the test asks for what there is not.
BROKEN = [os.strerror(e) for e in (errno.EIO, errno.EINVAL, errno.EBADF, errno.EFAULT, errno.ENOMEM,
                                   errno.ENOSPC, errno.EPERM, errno.EACCES, errno.ENOTSUP,
                                   errno.EAGAIN, errno.ETIMEDOUT)]
BROKEN += ['Parameter', 'Invalid parameter', 'has not been found']
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

    least = 12              # actions, before the daemon is told to go

    def check_refusal(self, text):
        assert text and not any(word in text for word in BROKEN), text

    def cmd(self, execute, arguments=None, **kwargs):
        """What it returns, or None if it was refused as one may be."""
        try:
            return self.qmp.cmd(execute, arguments, **kwargs)
        except QMPError as e:
            self.check_refusal(e.desc)
            return None
        finally:
            self.qmp.take_events()

    def any_disk(self):
        return 'disk%d' % self.random.randrange(self.bed.disks)


class Bed:
    """A rig, its disks and who works on them."""

    def __init__(self, rig, disks):
        self.rig, self.disks, self.ending, self.ready = rig, disks, False, set()
        self.condition = threading.Condition()
        self.writers, self.actors = [], []

    def monitors(self, n):
        """Paths of @n monitors that the daemon will have."""
        paths = [self.rig.path('actor%d.sock' % i) for i in range(n)]
        for path in paths:
            self.rig.options += ['--qmp', 'unix:%s,server=on,wait=off' % path]
        return paths

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
