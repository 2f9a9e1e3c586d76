# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain with a real guest, whose program writes to all disks and is told what to do over a serial line."""

import os
import select
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from domain import Domain, DISK, BUSES, run, until                      # noqa: E402
import records                                                          # noqa: E402
import initramfs                                                        # noqa: E402
from rig import skip                                                    # noqa: E402

PROGRAM = os.environ.get('GUEST_INIT')
SIZE = 8 << 20
SLOTS = 1024                    # of 4 KiB: the writers' half of a disk
BOOT_LIMIT = 120                # seconds; a boot takes 3 to 30
COMMAND_LINE = 'console=ttyS0 quiet panic=-1 mitigations=off nokaslr'


class Line:
    """The guest's serial line; it answers each line with one."""

    def __init__(self, path):
        self.path = path
        self.buffer = b''
        self.sock = None

    def connect(self):
        self.close()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)
        self.buffer = b''

    def close(self):
        if self.sock:
            self.sock.close()
            self.sock = None

    def read(self, limit):
        deadline = time.monotonic() + limit
        while b'\n' not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise AssertionError('the guest says nothing; so far %r' % self.buffer)
            data = self.sock.recv(4096)
            if not data:
                raise AssertionError('the guest\'s line has ended')
            self.buffer += data
        text, _, self.buffer = self.buffer.partition(b'\n')
        return text.decode(errors='replace').strip()

    def wait_ready(self):
        while self.read(BOOT_LIMIT) != 'READY':
            pass

    def ask(self, text, limit=60):
        """The words after OK."""
        self.sock.sendall(text.encode() + b'\n')
        answer = ''
        while not answer.startswith(('OK', 'ERR')):         # READY may have come before
            answer = self.read(limit)
        if answer.startswith('ERR'):
            raise AssertionError('guest: %s: %s' % (text, answer))
        return answer.split()[1:]


def guest_disk(dev, path, fmt='qcow2', options=''):
    return DISK.format(dev=dev, bus=BUSES[dev[:2]], fmt=fmt, kind='disk', options=options,
                       source="\n  <source file='%s'/>" % path, more='<serial>%s</serial>' % serial(dev))


def serial(dev):
    return 'of-' + dev


class GuestVM(Domain):
    """Four disks on three buses, one with a thread of its own; booted, and written to on all of them."""

    def __init__(self, host, disks=('vda', 'vdb', 'sda', 'hda'), pause=0, with_thread='vdb'):
        found = initramfs.find_kernel()
        if not found:
            skip('there is no kernel for the guest')
        if not PROGRAM or not os.path.exists(PROGRAM):
            skip('the guest\'s program is not built: there is no static C library')
        self.kernel, version = found
        if not os.path.exists(host.path('initrd')):
            initramfs.make(host.path('initrd'), PROGRAM, version)
        self.pause = pause
        self.indexes = {}
        super().__init__(host, disks, start=False)
        xml = ''
        for dev in disks:
            run('qemu-img', 'create', '-q', '-f', 'qcow2', self.path(dev + '.base'), str(SIZE))
            thread = " iothread='1'" if dev == with_thread else ''
            xml += guest_disk(dev, self.path(dev + '.base'), options=thread)
        self.define(xml + self.serial_lines(), memory=192, boot=self.boot())
        self.start()
        self.line = Line(self.path('line'))
        self.line.connect()
        self.line.wait_ready()

    def boot(self):
        return ('<kernel>%s</kernel><initrd>%s</initrd><cmdline>%s</cmdline>'
                % (self.kernel, self.host.path('initrd'), COMMAND_LINE))

    def serial_lines(self):
        return ("<serial type='file'><source path='%s'/><target port='0'/></serial>\n"
                "<serial type='unix'><source mode='bind' path='%s'/><target port='1'/></serial>\n"
                % (self.path('console'), self.path('line')))

    def __exit__(self, kind, *rest):
        self.line.close()
        if kind is not None:
            print(self.console(), file=sys.stderr)
        super().__exit__(kind, *rest)

    def console(self):
        with open(self.path('console'), errors='replace') as f:
            return f.read()

    # -- writers

    def write_on(self, *devs):
        """Starts the writers, of all disks or these; they go on after what is there."""
        for dev in devs or self.model:
            index = self.indexes.setdefault(dev, len(self.indexes))
            self.line.ask('start %s %d %d %d' % (serial(dev), index, SLOTS, self.pause))

    def stop_writing(self, *devs):
        for dev in devs or self.model:
            self.line.ask('stop ' + serial(dev))

    def state(self):
        """By disk: (records, errors, longest gap in microseconds since the last call)."""
        words = [word.split('=') for word in self.line.ask('state')]
        return {name[len('of-'):]: tuple(int(n) for n in numbers) for name, *numbers in words}

    def wait_for_writes(self, count=100):
        """Each running writer has done so many more."""
        start = self.state()
        until('writes', lambda: all(self.state()[dev][0] >= start[dev][0] + count for dev in self.model))

    def disks(self):
        """By disk: its size as the guest sees it."""
        words = [word.split('=') for word in self.line.ask('disks')]
        return {name[len('of-'):]: int(size) for name, _, size in words if name.startswith('of-')}

    def power_off(self):
        """The guest does it itself; what each disk must hold is known after it."""
        self.stop_writing()
        self.written = self.state()
        self.line.ask('poweroff')
        until('the end', lambda: self.virsh('domstate') == 'shut off')

    # -- what is on disks

    def check_guest(self):
        """After it has ended: no error was seen, and every disk holds what its writer says."""
        text = self.console()
        for bad in ('guest: ', 'I/O error', 'BUG:', 'blk_update_request', 'hung_task', 'Call Trace'):
            assert bad not in text, text
        for dev in self.model:
            number, errors, _ = self.written[dev]
            assert errors == 0, '%s: %d errors' % (dev, errors)
            data = self.read(self.path(self.chain(dev)[0]))
            records.check(data, self.indexes[dev], SLOTS, number)

    def check_instant(self, suffix):
        """The images of all disks with that ending are one instant; its numbers by disk."""
        images = {self.indexes[dev]: self.read(self.path(dev + '.' + suffix)) for dev in self.model}
        numbers = records.check_instant(images, SLOTS)
        return {dev: numbers[self.indexes[dev]] for dev in self.model}

    def take(self, name, *args):
        """A group snapshot of all disks."""
        specs = []
        for dev in self.model:
            specs += ['--diskspec', '%s,snapshot=external,file=%s' % (dev, self.path(dev + '.' + name))]
        self.virsh('snapshot-create-as', name, '--atomic', *(args or ['--disk-only']), *specs)
