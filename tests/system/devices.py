#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices, buses and media answer as those of the installed QEMU do, with its texts."""

import re
import subprocess

from emulator import INSTALLED, Folder
from rig import main, skip
from vm import IMG, VM

if not INSTALLED:
    skip('qemu-system-x86_64 is not installed')

OPTIONS = ['-S', '-drive', 'if=none,id=d0,file=a.qcow2,format=qcow2', '-drive', 'if=none,id=e0',
           '-blockdev', 'driver=file,node-name=f,filename=b.raw', '-blockdev', 'driver=raw,node-name=n,file=f',
           '-device', 'virtio-scsi-pci,id=s0', '-drive', 'if=virtio,driver=null-co,id=v0', '-drive', 'if=ide,driver=null-co',
           '-drive', 'if=ide,media=cdrom', '-drive', 'if=floppy']


def add(**options):
    return 'device_add', options


def by(command, **arguments):
    return command, arguments


REQUESTS = [
    add(driver='nope'), add(id='x'), add(driver='scsi-hd', id='x'), add(driver='scsi-hd', id='x', drive='nope'),
    add(driver='scsi-hd', id='x', drive='e0'), add(driver='scsi-cd', id='x', drive='e0'),
    add(driver='scsi-hd', id='x', drive='d0'), add(driver='scsi-hd', id='y', drive='d0'),
    add(driver='scsi-hd', id='w', drive='d0'), add(driver='scsi-hd', id='w', drive='v0'),
    add(driver='scsi-hd', id='y', bus='foo.0', drive='d0'), add(driver='scsi-hd', id='y', bus='pci.0', drive='n'),
    add(driver='virtio-blk', id='y', bus='s0.0', drive='n'), add(driver='ide-hd', id='i', drive='n'),
    add(driver='floppy', id='fl'), add(driver='virtio-blk', id='v', drive='n', foo='1'),
    add(driver='virtio-blk', id='9!'), add(driver='virtio-blk', id='q', drive='n', iothread='nope'),
    add(driver='virtio-blk', id='vb', drive='n', **{'logical_block_size': '513'}),
    add(driver='virtio-blk', id='vb', drive='n', **{'share-rw': 'maybe'}),
    add(driver='virtio-blk', id='vb', drive='n', **{'write-cache': 'maybe'}),
    add(driver='virtio-blk', id='vb', drive='n', **{'werror': 'maybe'}),
    add(driver='isa-fdc', id='q'), add(driver='scsi-hd', id='u', drive='n', **{'scsi-id': '300'}),
    by('device_del', id='nope'), by('blockdev-open-tray', id='nope'), by('blockdev-open-tray', device='nope'),
    by('blockdev-open-tray'), by('blockdev-open-tray', id='x', device='e0'), by('blockdev-close-tray', id='nope'),
    by('blockdev-open-tray', id='y'), by('blockdev-remove-medium', id='x'), by('blockdev-insert-medium', id='x', **{'node-name': 'n'}),
    by('blockdev-open-tray', id='x'), by('blockdev-open-tray', id='x'),
    by('blockdev-insert-medium', id='x', **{'node-name': 'nope'}), by('blockdev-insert-medium', id='x', **{'node-name': 'n'}),
    by('blockdev-insert-medium', id='x', **{'node-name': 'n'}), by('blockdev-close-tray', id='x'),
    by('blockdev-remove-medium', id='x'), by('eject', id='x'), by('eject', device='d0'), by('eject', device='v0'),
    by('eject', device='nope'), by('blockdev-change-medium', id='x', filename='nope'),
    by('blockdev-change-medium', id='x', filename='c.raw', format='nope'),
    by('blockdev-change-medium', id='x', filename='c.raw', format='raw'),
    by('blockdev-change-medium', device='v0', filename='c.raw', format='raw'),
    by('eject', device='ide0-cd1'), by('blockdev-close-tray', device='ide0-cd1'),
]


def answers(vm):
    found = []
    for command, arguments in REQUESTS:
        reply = vm.qmp.cmd_obj({'execute': command, 'arguments': arguments})
        error = reply.get('error')
        text = '%s: %s' % (error['class'], error['desc']) if error else 'done'
        events = ['%s %s' % (e['event'], e['data']['tray-open']) for e in vm.qmp.take_events() if e['event'] == 'DEVICE_TRAY_MOVED']
        found.append((command, arguments, text, events))
    return found


def drives(vm):
    """What query-block says of each but its numbers."""
    keys = 'device', 'qdev', 'removable', 'locked', 'tray_open', 'type', 'io-status'
    return [tuple(re.sub(r'device\[\d+\]', 'device[N]', str(d.get(k))) for k in keys) + (d.get('inserted', {}).get('drv'),)
            for d in vm.cmd('query-block')]


def test_answers_are_those_of_qemu():
    with Folder():
        subprocess.run([IMG, 'create', '-q', '-f', 'qcow2', 'a.qcow2', '8M'], check=True)
        for name in 'b.raw', 'c.raw':
            subprocess.run([IMG, 'create', '-q', '-f', 'raw', name, '8M'], check=True)
        with VM('ours', *OPTIONS, machine=('-machine', 'pc,x-inner=off')) as vm:
            ours, our_drives = answers(vm), drives(vm)
        with VM('theirs', *OPTIONS, program=INSTALLED, machine=('-machine', 'pc', '-m', '64')) as vm:
            theirs, their_drives = answers(vm), drives(vm)
        for a, b in zip(ours, theirs):
            assert a == b, (a, b)
        assert our_drives == their_drives, (our_drives, their_drives)


def test_an_export_of_a_drive_ends_with_its_medium():
    with Folder():
        subprocess.run([IMG, 'create', '-q', '-f', 'raw', 'c.raw', '1M'], check=True)
        with VM('a', '-drive', 'if=none,id=cd,file=c.raw,format=raw', '-device', 'ide-cd,drive=cd,id=x') as vm:
            vm.cmd('nbd-server-start', addr={'type': 'unix', 'data': {'path': 'nbd'}})
            vm.cmd('nbd-server-add', device='cd')
            node = vm.cmd('query-block')[0]['inserted']['node-name']
            vm.cmd('block-export-add', type='nbd', id='stays', node_name=node)
            vm.cmd('eject', id='x')
            vm.qmp.wait_event('BLOCK_EXPORT_DELETED', id='cd')
            assert [e['id'] for e in vm.cmd('query-block-exports')] == ['stays']


if __name__ == '__main__':
    main(globals())
