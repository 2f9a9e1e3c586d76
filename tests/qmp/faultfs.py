# SPDX-License-Identifier: GPL-2.0-or-later
"""
A file system of ours below a daemon, which fails the n-th operation of a kind, or ends the daemon in its
place.  $FAULTFS is the program (tests/crash/faultfs.c).
"""

import os
import shutil
import subprocess
import tempfile
import time

from rig import skip

FAULTFS = os.environ.get('FAULTFS', '')
# What changes something.
CHANGES = 'create,write,fsync,fsyncdir,truncate,fallocate,unlink,rename,link'


class FaultFs:
    """A mounted file system over a directory of its own."""

    def __init__(self, *options):
        """@options of the program: "locks"."""
        if not FAULTFS or not os.path.exists(FAULTFS):
            skip('the build found no libfuse3 (libfuse3-dev)')
        if not os.path.exists('/dev/fuse'):
            skip('there is no /dev/fuse')
        if os.geteuid() != 0:
            if not shutil.which('fusermount3'):
                skip('only root can mount without fusermount3 (fuse3)')
            if not os.path.exists('/etc/mtab'):     # it would mount, and not find it again to unmount
                skip('fusermount3 cannot unmount without /etc/mtab')
        self.dir = tempfile.mkdtemp(prefix='faultfs-')
        self.below, self.mnt = os.path.join(self.dir, 'below'), os.path.join(self.dir, 'mnt')
        os.mkdir(self.below)
        os.mkdir(self.mnt)
        said = tempfile.TemporaryFile('w+')
        self.proc = subprocess.Popen([FAULTFS, self.below, self.mnt, *options], stderr=said)
        deadline = time.monotonic() + 30
        while not os.path.exists(self.path('.control')):
            if self.proc.poll() is not None or time.monotonic() > deadline:
                said.seek(0)
                why = said.read().strip().replace('\n', '; ')
                self.unmount()
                skip('FUSE cannot be used here: ' + why)
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.unmount()

    def unmount(self):
        """Whatever state it is in: nothing stays mounted."""
        self.proc.terminate()
        try:
            self.proc.wait(30)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        for command in (['umount', '-l'], ['fusermount3', '-u', '-z']):
            if self.is_mounted() and shutil.which(command[0]):
                subprocess.call([*command, self.mnt])
        assert not self.is_mounted(), self.mnt + ' stays mounted'
        shutil.rmtree(self.dir)

    def is_mounted(self):
        """Also where its program has ended, and nothing answers there."""
        with open('/proc/self/mounts') as f:
            return any(line.split()[1] == self.mnt for line in f)

    def path(self, name):
        return os.path.join(self.mnt, name)

    def control(self, line):
        with open(self.path('.control'), 'w') as f:
            f.write(line + '\n')

    def arm(self, kinds, nth, error, how, part=''):
        self.control('%s %d %d %s %s' % (kinds, nth, error, how, part))

    def arm_kill(self, kinds, nth, pid):
        """The process @pid ends in place of the @nth operation."""
        self.control('%s %d kill %d' % (kinds, nth, pid))

    def slow_down(self, kinds, milliseconds):
        """Each operation takes that long until disarm()."""
        self.control('%s 1 slow %d' % (kinds, milliseconds))

    def arm_hang(self, kinds, nth=1, part=''):
        """The @nth operation is not answered until disarm()."""
        self.control('%s %d hang %s' % (kinds, nth, part))

    def arm_drop(self, nth, error, part=''):
        """The @nth sync fails, and what it covered does not get to the disk by a later one either."""
        self.control('fsync %d %d drop %s' % (nth, error, part))

    def cache(self):
        """From now on data that was not synced is lost when the power is cut."""
        self.control('cache')

    def cut(self):
        """A power cut, after the daemon was killed."""
        self.control('cut')

    def struck(self):
        with open(self.path('.control')) as f:
            return int(f.readline().split()[1])

    def disarm(self):
        """How often it struck, and what it saw."""
        with open(self.path('.control')) as f:
            lines = f.read().splitlines()
        self.control('none')
        return int(lines[0].split()[1]), lines[1:]
