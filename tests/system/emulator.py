# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator without a machine, with a monitor for people: lines in, what is on the terminal out."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../qmp'))

from rig import requires                                    # noqa: E402

PROGRAM = os.path.abspath(os.environ.get('QEMU_SYSTEM', 'build/tools/qemu-system-x86_64'))
INSTALLED = shutil.which('qemu-system-x86_64')
NO_MACHINE = ['-M', 'none', '-nodefaults', '-display', 'none']

requires('qemu-img', 'qemu-io')


class Folder:
    """A folder of its own as the working directory, with images."""

    def __enter__(self):
        self.old = os.getcwd()
        self.dir = tempfile.mkdtemp(prefix='hmp-')
        os.chdir(self.dir)
        return self

    def __exit__(self, *rest):
        os.chdir(self.old)
        shutil.rmtree(self.dir)

    def create(self, name, fmt, *options):
        subprocess.run(['qemu-img', 'create', '-q', '-f', fmt, *options[:-1], name, options[-1]], check=True)


def plain(text):
    """Without what a line editor sends to a terminal."""
    lines = [re.sub(r'^(\(qemu\) )?.*\x1b\[D', r'\1', line) for line in text.split('\n')]
    return '\n'.join(lines).replace('\x1b[K', '').replace('\r', '')


def terminal(lines, *options, program=PROGRAM, status=0, timeout=60):
    """All that is on standard output and error after @lines, of a monitor there."""
    command = [program, *NO_MACHINE, *options, '-monitor', 'stdio']
    text = '\n'.join(lines) + '\n'
    if program == PROGRAM:
        r = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=timeout)
        said = r.stdout
    else:                   # the end of what it writes to a pipe may be lost
        with tempfile.TemporaryFile('w+') as out:
            r = subprocess.run(command, input=text, stdout=out, stderr=subprocess.STDOUT, text=True, timeout=timeout)
            out.seek(0)
            said = out.read()
    assert r.returncode == status, (r.returncode, said)
    return plain(said)


class Machine:
    """An emulator that runs, with QMP, and standard output in a file."""

    def __init__(self, *options, program=PROGRAM):
        ours, theirs = socket.socketpair()
        ours.settimeout(60)
        with open('stdout', 'wb') as out, open('stderr', 'wb') as err:
            self.proc = subprocess.Popen(
                [program, *NO_MACHINE, '-chardev', 'socket,id=mon0,fd=%d' % theirs.fileno(), '-mon',
                 'chardev=mon0,mode=control', *options],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, pass_fds=[theirs.fileno()])
        theirs.close()
        self.sock = ours
        self.stream = ours.makefile('rw')
        self.stream.readline()
        self.cmd('qmp_capabilities')

    def __enter__(self):
        return self

    def __exit__(self, *rest):
        if self.proc.poll() is None:
            self.proc.terminate()
        try:
            self.proc.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            raise
        self.stream.close()
        self.sock.close()

    def send(self, execute, **arguments):
        self.stream.write(json.dumps({'execute': execute, 'arguments': arguments}) + '\n')
        self.stream.flush()

    def receive(self):
        while True:
            line = self.stream.readline()
            assert line, 'the emulator has ended'
            reply = json.loads(line)
            if 'event' not in reply:
                assert 'return' in reply, reply
                return reply['return']

    def cmd(self, execute, **arguments):
        self.send(execute, **arguments)
        return self.receive()

    def hmp(self, line):
        return self.cmd('human-monitor-command', **{'command-line': line})

    def io(self, line, disk='d0'):
        """What a command of qemu-io printed."""
        with open('stdout') as f:
            f.seek(0, os.SEEK_END)
            answer = self.hmp('qemu-io %s "%s"' % (disk, line))
            assert answer == '', answer
            return f.read()
