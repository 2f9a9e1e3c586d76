# SPDX-License-Identifier: GPL-2.0-or-later
"""
The guest's kernel, which is the one that Debian has for clouds, and an initramfs of our program and the modules that
it needs for disks.

    kernel, version = find_kernel()
    make(path, program, version)
"""

import glob
import os
import stat

MODULES = ['virtio_pci', 'virtio_blk', 'virtio_scsi', 'sd_mod', 'ata_piix', 'ahci']


def find_kernel():
    """(path, version) of a kernel whose modules are there too; None if there is none."""
    for pattern in ('/boot/vmlinuz-*-cloud-amd64', '/boot/vmlinuz-*-amd64', '/boot/vmlinuz-*'):
        for path in sorted(glob.glob(pattern), reverse=True):
            version = os.path.basename(path)[len('vmlinuz-'):]
            if os.access(path, os.R_OK) and os.path.exists('/lib/modules/%s/modules.dep' % version):
                return path, version
    return None


def modules(version):
    """Files of what MODULES needs, in the order in which they are to be loaded; what is built in has none."""
    folder = '/lib/modules/%s/' % version
    needs = {}
    with open(folder + 'modules.dep') as f:
        for line in f:
            name, _, rest = line.partition(':')
            needs[name] = rest.split()
    by_name = {os.path.basename(path).split('.')[0].replace('-', '_'): path for path in needs}
    order = []

    def add(path):
        for other in reversed(needs[path]):
            add(other)
        if path not in order:
            order.append(path)
    for name in MODULES:
        if name in by_name:
            add(by_name[name])
    return [folder + path for path in order]


def entry(name, mode, data, number, device=(0, 0)):
    """A member of an archive of cpio's "newc" format."""
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0]
    head = b'070701' + b''.join(b'%08x' % n for n in fields) + name.encode() + b'\0'
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def make(path, program, version):
    members = [('dev', stat.S_IFDIR | 0o755, b'', (0, 0)),
               ('dev/console', stat.S_IFCHR | 0o600, b'', (5, 1)),
               ('modules', stat.S_IFDIR | 0o755, b'', (0, 0))]
    with open(program, 'rb') as f:
        members.append(('init', stat.S_IFREG | 0o755, f.read(), (0, 0)))
    for i, module in enumerate(modules(version)):
        with open(module, 'rb') as f:
            members.append(('modules/%02d-%s' % (i, os.path.basename(module)), stat.S_IFREG | 0o644, f.read(), (0, 0)))
    with open(path, 'wb') as out:
        for number, (name, mode, data, device) in enumerate(members, 1):
            out.write(entry(name, mode, data, number, device))
        out.write(entry('TRAILER!!!', 0, b'', 0))
