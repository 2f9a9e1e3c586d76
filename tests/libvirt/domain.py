# SPDX-License-Identifier: GPL-2.0-or-later
"""
A domain with small disks whose every byte is known.

    with Domain(host) as vm:                # four disks, running
        vm.write('vda', 0, 4096)            # as the guest does it
        vm.snapshot('s1')
        vm.check()                          # all disks, byte for byte

The guest's part is played by the monitor's `qemu-io`, which writes to a device as its guest would.
"""

import json
import os
import random
import shutil
import subprocess
import time

MIB = 1 << 20
SIZE = 4 * MIB
LIMIT = 60

DOMAIN = """<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>{vcpus}</vcpu>
  <iothreads>1</iothreads>
  <os><type arch='x86_64' machine='pc'>hvm</type>{boot}</os>
  <features><acpi/></features>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>{emulator}</emulator>
{devices}
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""

DISK = """<disk type='file' device='{kind}'>
  <driver name='qemu' type='{fmt}'{options}/>{source}
  <target dev='{dev}' bus='{bus}'/>{more}
</disk>
"""

BUSES = {'vd': 'virtio', 'sd': 'scsi', 'hd': 'ide'}


def run(*args):
    r = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, timeout=LIMIT)
    if r.returncode:
        raise AssertionError('%s: exit status %d\n%s' % (' '.join(args), r.returncode, r.stdout))
    return r.stdout


def until(what, happened, limit=LIMIT):
    """Waits for @happened() to be true, and returns what it returned."""
    deadline = time.monotonic() + limit
    while True:
        value = happened()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError('not in %d seconds: %s' % (limit, what))
        time.sleep(0.05)


def disk_xml(dev, path, fmt='qcow2', kind='disk', options='', more=''):
    source = '' if path is None else "\n  <source file='%s'/>" % path
    return DISK.format(dev=dev, bus=BUSES[dev[:2]], fmt=fmt, kind=kind, options=options, more=more,
                       source=source)


class Domain:
    count = 0

    def __init__(self, host, disks=('vda', 'vdb', 'sda', 'hda'), fmt='qcow2', devices='', start=True,
                 paused=False):
        Domain.count += 1
        self.host = host
        self.name = 'vm%d' % Domain.count
        self.uuid = '00000000-0000-4000-8000-%012d' % Domain.count
        self.folder = host.path(self.name)
        os.makedirs(self.folder)
        self.random = random.Random(self.name)
        self.fmt = fmt
        self.model = {}                     # what each disk has to hold
        self.frozen = {}                    # what images that were frozen have to hold
        xml = ''
        for dev in disks:
            run('qemu-img', 'create', '-q', '-f', fmt, self.path(dev + '.base'), str(SIZE))
            self.model[dev] = bytearray(SIZE)
            xml += disk_xml(dev, self.path(dev + '.base'), fmt)
        self.define(xml + devices)
        if start:
            self.start(paused)

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        if self.is_running():
            self.destroy()
        self.virsh('undefine', '--snapshots-metadata', '--checkpoints-metadata')
        if kind is None:
            shutil.rmtree(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def files(self):
        return sorted(os.listdir(self.folder))

    # -- libvirt

    def define(self, devices, memory=64, vcpus=1, boot=''):
        scsi = "<controller type='scsi' model='virtio-scsi'/>"
        self.host.write('vm.xml', DOMAIN.format(name=self.name, uuid=self.uuid, memory=memory, vcpus=vcpus,
                                                boot=boot, emulator=self.host.emulator,
                                                devices=devices + scsi))
        self.host.virsh('define', self.host.path('vm.xml'))

    def virsh(self, command, *args, **kwargs):
        return self.host.virsh(command, self.name, *args, **kwargs)

    def fails(self, command, *args):
        """The message with which virsh must fail."""
        ok, text = self.host.try_virsh(command, self.name, *args)
        if ok:
            raise AssertionError('virsh %s %s succeeded' % (command, ' '.join(args)))
        return text

    def xml(self, command, text, *args):
        """A command that takes a file of XML."""
        self.host.write('argument.xml', text)
        return self.virsh(command, self.host.path('argument.xml'), *args)

    def start(self, paused=False):
        self.virsh('start', *['--paused'] * paused)

    def destroy(self):
        self.virsh('destroy')

    def state(self):
        return self.virsh('domstate')

    def is_running(self):
        ok, text = self.host.try_virsh('domstate', self.name)
        return ok and text in ('running', 'paused')

    def qmp(self, command, **arguments):
        request = {'execute': command}
        if arguments:
            request['arguments'] = {k.replace('_', '-'): v for k, v in arguments.items()}
        reply = json.loads(self.virsh('qemu-monitor-command', json.dumps(request)))
        if 'error' in reply:
            raise AssertionError('%s: %s' % (command, reply['error']['desc']))
        return reply['return']

    # -- the guest

    def qdev(self, dev):
        """The device as the emulator calls it: by the place that libvirt gives to a disk of that name."""
        n = 'abcdefghijklmnopqrstuvwxyz'.index(dev[2])
        if dev.startswith('vd'):
            return '/machine/peripheral/virtio-disk%d/virtio-backend' % n
        if dev.startswith('sd'):
            return 'scsi0-0-0-%d' % n
        return 'ide0-%d-%d' % (n // 2, n % 2)

    def guest(self, dev, command):
        """One command of qemu-io; what it wrote, which is nothing where the emulator prints it."""
        text = self.virsh('qemu-monitor-command', '--hmp', 'qemu-io -d %s "%s"' % (self.qdev(dev), command))
        if 'rror' in text or 'failed' in text or 'nknown command' in text:
            raise AssertionError('%s: %s: %s' % (dev, command, text))
        return text

    def write(self, dev, offset, length, byte=None):
        byte = byte or self.random.randrange(1, 256)
        self.guest(dev, 'write -P %d %d %d' % (byte, offset, length))
        self.model[dev][offset:offset + length] = bytes([byte]) * length

    def write_all(self, *devs):
        """Something new in a place drawn, on each disk."""
        for dev in devs or self.model:
            length = self.random.randrange(1, 64) * 4096
            offset = self.random.randrange((len(self.model[dev]) - length) // 512) * 512
            self.write(dev, offset, length)

    # -- disks

    def images(self, dev):
        """The file names of a disk's images from the top down: the top as libvirt says, the others by what the
        images say themselves."""
        lines = self.virsh('domblklist').splitlines()
        top = [line.split()[1] for line in lines if line.split()[0] == dev][0]
        out = run('qemu-img', 'info', '-U', '--backing-chain', top)
        return [os.path.basename(line[len('image: '):]) for line in out.splitlines()
                if line.startswith('image: ')]

    def chain(self, dev):
        """The same; with a domain that runs, the emulator says so too."""
        names = self.images(dev)
        if self.is_running() and self.emulators_chain(dev) != names:
            time.sleep(0.2)                 # a job was just about to end
            names, seen = self.images(dev), self.emulators_chain(dev)
            if seen != names:
                raise AssertionError('%s is on %s, and its images say %s' % (dev, seen, names))
        return names

    def inserted(self, dev):
        qdev = self.qdev(dev)
        for entry in self.qmp('query-block'):
            if entry.get('qdev') in (qdev, qdev.replace('/virtio-backend', '')) or entry['device'] == qdev:
                return entry['inserted']
        if dev.startswith('hd'):            # not "ide0-0-0" but a path of the machine's own making
            for entry in self.qmp('query-block'):
                if entry.get('qdev', '').endswith(qdev):
                    return entry['inserted']
        raise AssertionError('query-block knows no ' + qdev)

    def emulators_chain(self, dev):
        image = self.inserted(dev)['image']
        names = []
        while image:
            names.append(os.path.basename(image['filename']))
            image = image.get('backing-image')
        return names

    def snapshot(self, name, *args, disks=None):
        """A group snapshot of all disks, or of @disks; the layers below are remembered as they were."""
        disks = disks or list(self.model)
        specs = []
        for dev in self.model:
            specs += ['--diskspec', '%s,snapshot=external,file=%s' % (dev, self.path(dev + '.' + name))
                      if dev in disks else dev + ',snapshot=no']
        below = {dev: self.chain(dev)[0] for dev in disks}
        self.virsh('snapshot-create-as', name, '--disk-only', '--atomic', *args, *specs)
        for dev in disks:
            self.frozen[below[dev]] = bytes(self.model[dev])

    def read(self, path, fmt=None, *options):
        """All bytes of an image, or of what an NBD server exports; of one that is in use too."""
        out = self.path('read.tmp')
        options = list(options) + (['-f', fmt] if fmt else [])
        try:
            run('qemu-img', 'convert', '-U', *options, '-O', 'raw', path, out)
            with open(out, 'rb') as f:
                return f.read()
        finally:
            if os.path.exists(out):
                os.unlink(out)

    def check_bytes(self, what, data, wanted):
        if data != bytes(wanted):
            if len(data) != len(wanted):
                raise AssertionError('%s: %d bytes and not %d' % (what, len(data), len(wanted)))
            first = next(i for i in range(len(data)) if data[i] != wanted[i])
            raise AssertionError('%s: byte %d is %d and not %d' % (what, first, data[first], wanted[first]))

    def check(self):
        """All disks hold what was written, all frozen images what they were frozen with."""
        running = self.is_running()
        for dev, wanted in self.model.items():
            if running:
                self.guest(dev, 'flush')
            self.check_bytes(dev, self.read(self.path(self.chain(dev)[0])), wanted)
        for name, wanted in self.frozen.items():
            if os.path.exists(self.path(name)):
                self.check_bytes(name, self.read(self.path(name)), wanted)
        for name in {n for dev in self.model for n in self.chain(dev)} if not running else ():
            if not (self.fmt == 'raw' and name.endswith('.base')):
                run('qemu-img', 'check', '-q', self.path(name))


