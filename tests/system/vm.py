# SPDX-License-Identifier: GPL-2.0-or-later
"""Emulators without a machine that are clients of each other, with QMP by tests/qmp/qmp.py."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../qmp'))

from emulator import PROGRAM                                # noqa: E402
from qmp import QMP                                         # noqa: E402

BUILD = os.path.dirname(PROGRAM)
IMG = os.path.join(BUILD, 'qemu-img')
IO = os.path.join(BUILD, 'qemu-io')


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it does not come to that: ' + what
        time.sleep(0.02)


class VM:
    """One emulator in the working directory; @name: of its sockets."""

    def __init__(self, name, *options, program=PROGRAM, machine=('-accel', 'qtest')):
        self.name = name
        sock = name + '.qmp'
        if os.path.exists(sock):
            os.unlink(sock)
        self.out = open(name + '.out', 'w+b')
        self.proc = subprocess.Popen(
            [program, '-nodefaults', '-display', 'none', *machine, '-qmp', 'unix:%s,server=on,wait=off' % sock, *options],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=subprocess.STDOUT)
        wait_for(lambda: os.path.exists(sock) or self.proc.poll() is not None, 'a monitor of ' + name)
        assert self.proc.poll() is None, self.said()
        self.qmp = QMP(sock, timeout=60)
        self.cmd = self.qmp.cmd

    def said(self):
        with open(self.name + '.out', errors='replace') as f:
            return f.read()

    def error(self, command, **arguments):
        """The text with which it fails."""
        reply = self.qmp.cmd_obj({'execute': command, 'arguments': {k.replace('_', '-'): v for k, v in arguments.items()}})
        return reply['error']['desc']

    def io(self, line, disk='d0'):
        """What a command of qemu-io on a disk says."""
        before = len(self.said())
        answer = self.cmd('human-monitor-command', **{'command-line': 'qemu-io %s "%s"' % (disk, line)})
        return answer + self.said()[before:]

    def good_io(self, line, disk='d0'):
        said = self.io(line, disk)
        assert 'ops' in said and 'failed' not in said and 'Error' not in said, (line, said)

    def status(self):
        return self.cmd('query-status')['status']

    def migrated(self):
        """How its migration ends."""
        wait_for(lambda: self.cmd('query-migrate').get('status') in ('completed', 'failed', 'cancelled'), 'a migration')
        return self.cmd('query-migrate')

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def end(self, status=0):
        if self.proc.poll() is None:
            self.proc.terminate()
        assert self.proc.wait(timeout=30) == status, (self.proc.returncode, self.said())
        self.out.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        if kind is None:
            self.end()
        elif self.proc.poll() is None:
            self.kill()
