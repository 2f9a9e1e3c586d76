# SPDX-License-Identifier: GPL-2.0-or-later
"""
qemu-system-x86_64 with a machine, for tests: the program is $SYSTEM, its machine the installed QEMU.

The guest is a boot sector that writes a number, one higher each round, to the second sector of each of its disks, one
disk after the other: at any instant the first disks have the number N and the others N - 1.
"""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../qmp'))
from rig import main, requires, run, skip                               # noqa: E402,F401

SYSTEM = os.environ.get('SYSTEM') or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), '../../build/tools/qemu-system-x86_64')
INSTALLED = '/usr/bin/qemu-system-x86_64'
MiB = 1 << 20

# What as(1) makes of this; the limit of the drives' numbers is byte 0x29.
#         xor %ax, %ax; mov %ax, %ds; mov %ax, %ss; mov $0x7c00, %sp; movl $0, 0x8000
# round:  incl 0x8000; mov $0x80, %dl
# each:   mov $dap, %si; mov $0x4300, %ax; push %dx; int $0x13; pop %dx; jc bad
#         inc %dl; cmp $LIMIT, %dl; jb each
#         mov $'.', %al
# say:    out %al, $0xe9; jmp round
# bad:    mov $'E', %al; jmp say
# dap:    .byte 16, 0, 1, 0, 0, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0
BOOT = bytes.fromhex('31c08ed88ed0bc007c66c70600800000000066ff06008 0b280be367cb8004352cd135a720dfec280fa8472edb02ee6e9'
                     .replace(' ', '') + 'ebe0b045ebf81000010000800000 01'.replace(' ', '') + '00' * 7)


def boot_sector(disks):
    code = bytearray(BOOT)
    code[0x29] = 0x80 + disks
    return bytes(code) + bytes(510 - len(code)) + b'\x55\xaa'


def number(path):
    """What the guest wrote to the image, of any format."""
    raw = subprocess.run(['qemu-img', 'dd', '-U', '-O', 'raw', 'bs=512', 'count=2', 'if=' + path, 'of=/dev/stdout'],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if raw.returncode or len(raw.stdout) < 1024:        # it cannot write to a pipe
        out = path + '.raw'
        run('qemu-img', 'convert', '-U', '-O', 'raw', path, out)
        with open(out, 'rb') as f:
            f.seek(512)
            data = f.read(4)
        os.unlink(out)
        return struct.unpack('<I', data)[0]
    return struct.unpack('<I', raw.stdout[512:516])[0]


def check_instant(numbers):
    """They are of one instant."""
    assert all(a >= b for a, b in zip(numbers, numbers[1:])) and numbers[-1] >= numbers[0] - 1, numbers


class Error(Exception):
    def __init__(self, error):
        super().__init__('%s: %s' % (error['class'], error['desc']))
        self.cls, self.desc = error['class'], error['desc']


class Machine:
    """A process and a monitor.  @program: another one, for comparison."""

    def __init__(self, *options, program=SYSTEM, env=None, wait=True):
        self.dir = tempfile.mkdtemp(prefix='machine-')
        self.options, self.program, self.events, self.proc = list(options), program, [], None
        self.env = dict(os.environ, **(env or {}))
        self.disks = 0
        self.wait = wait

    def path(self, name):
        return os.path.join(self.dir, name)

    def __enter__(self):
        return self

    def __exit__(self, *what):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        shutil.rmtree(self.dir)

    def disk(self, device, fmt='qcow2', size=64 * MiB, bootable=True, **properties):
        """A disk on @device, as node nN over node fN."""
        n, self.disks = self.disks, self.disks + 1
        path = self.path('disk%d' % n)
        run('qemu-img', 'create', '-q', '-f', fmt, path, str(size))
        props = ''.join(',%s=%s' % (k.replace('_', '-'), v) for k, v in properties.items())
        self.options += ['-blockdev', 'driver=file,node-name=f%d,filename=%s' % (n, path),
                         '-blockdev', 'driver=%s,node-name=n%d,file=f%d' % (fmt, n, n), '-device',
                         '%s,drive=n%d,id=d%d%s%s' % (device, n, n, ',bootindex=%d' % (n + 1) if bootable else '', props)]
        return path

    def install_guest(self):
        """The boot sector into the first disk, which is not open yet."""
        raw = self.path('boot')
        with open(raw, 'wb') as f:
            f.write(boot_sector(self.disks))
        with open(raw, 'r+b') as f:
            f.truncate(64 * MiB)
        path = self.path('disk0')
        run('qemu-img', 'convert', '-O', 'qcow2', raw, path)
        self.options += ['-debugcon', 'file:' + self.path('debug')]

    def rounds(self):
        """What the guest has said: a dot a round."""
        try:
            with open(self.path('debug')) as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def wait_rounds(self, more=5, timeout=60):
        """The guest goes on, without an error."""
        start, deadline = len(self.rounds()), time.monotonic() + timeout
        while len(self.rounds()) < start + more:
            assert time.monotonic() < deadline, 'the guest does nothing: %r, %s' % (self.rounds()[-20:], self.stderr())
            time.sleep(0.02)
        assert 'E' not in self.rounds(), 'the guest saw an error after %d rounds' % self.rounds().index('E')

    def stderr(self):
        with open(self.path('stderr'), errors='replace') as f:
            return f.read()

    def start(self, *more, basic=('-machine', 'pc', '-accel', 'tcg', '-m', '32', '-nodefaults', '-display', 'none')):
        ours, theirs = socket.socketpair()
        with theirs, open(self.path('stderr'), 'wb') as err:
            self.proc = subprocess.Popen(
                [self.program, *basic, '-chardev', 'socket,id=mon0,fd=%d' % theirs.fileno(),
                 '-mon', 'chardev=mon0,mode=control', *self.options, *more],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=self.env)
        self.sock, self.buf = ours, b''
        self.sock.settimeout(60)
        if self.wait:
            assert 'QMP' in self.read(), self.stderr()
            self.cmd('qmp_capabilities')
        return self

    def read(self):
        while b'\n' not in self.buf:
            got = self.sock.recv(65536)
            if not got:
                raise EOFError(self.stderr())
            self.buf += got
        line, self.buf = self.buf.split(b'\n', 1)
        return json.loads(line)

    def send(self, command, fds=(), **arguments):
        text = json.dumps({'execute': command, 'arguments': {k.replace('_', '-'): v for k, v in arguments.items()}})
        socket.send_fds(self.sock, [text.encode() + b'\r\n'], list(fds))

    def reply(self):
        while True:
            message = self.read()
            if 'event' not in message:
                break
            self.events.append(message)
        if 'error' in message:
            raise Error(message['error'])
        return message['return']

    def cmd(self, command, fds=(), **arguments):
        self.send(command, fds, **arguments)
        return self.reply()

    def error(self, command, **arguments):
        try:
            self.cmd(command, **arguments)
        except Error as e:
            return e
        raise AssertionError(command + ' succeeded')

    def hmp(self, line):
        return self.cmd('human-monitor-command', command_line=line)

    def wait_event(self, name, timeout=30):
        """The first one of that name that was not waited for yet."""
        self.sock.settimeout(timeout)
        while True:
            for e in self.events:
                if e['event'] == name:
                    self.events.remove(e)
                    return e.get('data', {})
            message = self.read()
            assert 'event' in message, message
            self.events.append(message)

    def child(self):
        """The process that is the machine."""
        out = subprocess.run(['ps', '-o', 'pid=', '--ppid', str(self.proc.pid)], stdout=subprocess.PIPE, text=True).stdout
        pids = [int(p) for p in out.split()]
        assert len(pids) == 1, pids
        return pids[0]

    def end(self, timeout=30):
        """Wait for the end; the exit status as a shell has it."""
        self.sock.close()
        status = self.proc.wait(timeout)
        return 128 - status if status < 0 else status

    def quit(self):
        self.cmd('quit')
        self.sock.settimeout(30)
        try:
            while True:
                self.events.append(self.read())
        except (EOFError, ConnectionResetError):
            pass
        return self.end()


def wait_for(what, timeout=30):
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, 'not within %d s' % timeout
        time.sleep(0.02)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open('/proc/%d/stat' % pid) as f:
        return f.read().rpartition(')')[2].split()[0] != 'Z'


def needs_machine():
    requires('qemu-img', 'ps')
    if not os.access(INSTALLED, os.X_OK):
        skip('no installed QEMU')


__all__ = ['Error', 'INSTALLED', 'Machine', 'MiB', 'SYSTEM', 'check_instant', 'is_alive', 'main', 'needs_machine',
           'number', 'run', 'signal', 'skip', 'wait_for']
