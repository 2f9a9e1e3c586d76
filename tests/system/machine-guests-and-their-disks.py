# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of the installed QEMU writes to disks that are ours, on any bus, and snapshots are of one instant."""

import os
import shutil
import subprocess

from machine_rig import Machine, MiB, SYSTEM, check_instant, main, needs_machine, number, run, skip

needs_machine()
BUSES = {
    'virtio-blk': ['virtio-blk-pci'] * 4,
    'virtio-scsi': ['scsi-hd'] * 4,
    'ide': ['ide-hd,bus=ide.0', 'ide-hd,bus=ide.0', 'ide-hd,bus=ide.1', 'ide-hd,bus=ide.1'],
    'mixed': ['virtio-blk-pci', 'scsi-hd', 'ide-hd', 'ide-hd,bus=ide.1'],
    'nvme': ['nvme', 'virtio-blk-pci'],
    'usb': ['usb-storage', 'virtio-blk-pci'],
    'sata': ['ide-hd,bus=sata.0', 'ide-hd,bus=sata.1'],
}
SCSI, USB = ['-device', 'virtio-scsi-pci,id=scsi0'], ['-device', 'qemu-xhci,id=usb']
SATA = ['-device', 'ich9-ahci,id=sata']
CONTROLLERS = SCSI + USB


def machine(devices, *options):
    m = Machine(*CONTROLLERS, *(SATA if 'sata' in devices[0] else []), *options)
    for i, device in enumerate(devices):
        m.disk(device, **({'serial': 'serial%d' % i} if device == 'nvme' else {}))
    m.install_guest()
    return m


def overlays(m, name):
    return [m.path('%s.%d' % (name, i)) for i in range(m.disks)]


def snapshot(m, name):
    m.cmd('blockdev-group-snapshot-sync', devlist=[
        {'device': n, 'snapshot-file': f, 'format': 'qcow2', 'snapshot-node-name': '%s-%d' % (name, i)}
        for i, (n, f) in enumerate(zip(m.tops, overlays(m, name)))])
    m.tops = ['%s-%d' % (name, i) for i in range(m.disks)]


def test_group_snapshots_are_one_instant_on_every_bus():
    for bus, devices in BUSES.items():
        with machine(devices) as m:
            m.start()
            m.tops = ['n%d' % i for i in range(m.disks)]
            m.wait_rounds()
            chains = [[m.path('disk%d' % i) for i in range(m.disks)]]
            for name in ('a', 'b', 'c'):
                snapshot(m, name)
                m.wait_rounds()
                chains.append(overlays(m, name))
            assert m.quit() == 0, (bus, m.stderr())
            seen = [[number(f) for f in files] for files in chains]
            for numbers in seen:
                check_instant(numbers)
            assert all(a[0] < b[0] for a, b in zip(seen, seen[1:])), (bus, seen)
            print('%s: %s' % (bus, seen))


def test_disks_are_shown_as_qemu_shows_them():
    """The machine's paths and states, our nodes; as the installed QEMU tells of the same command line."""
    def look(**program):
        with Machine(*CONTROLLERS, *SATA, **program) as m:
            for device in ('virtio-blk-pci', 'scsi-hd', 'ide-hd', 'usb-storage'):
                m.disk(device)
            m.start('-S', '-device', 'ide-cd,id=cd0,bus=sata.2', '-device', 'scsi-cd,id=cd1,bus=scsi0.0')
            blocks = m.cmd('query-block')
            stats = m.cmd('query-blockstats')
            assert m.quit() == 0, m.stderr()
        return ([(b['qdev'], b['device'], b['removable'], b['locked'], b.get('tray_open'), b.get('io-status'),
                  b.get('inserted', {}).get('node-name'), b.get('inserted', {}).get('ro')) for b in blocks],
                [(s.get('qdev'), s.get('node-name')) for s in stats])
    ours, theirs = look(), look(program='/usr/bin/qemu-system-x86_64')
    assert ours == theirs, '%s\n%s' % (ours, theirs)


def test_disks_of_drives_are_shown_as_qemu_shows_them():
    def look(**program):
        with Machine(**program) as m:
            options = []
            for i, text in enumerate(('if=ide', 'if=virtio', 'if=ide,index=1', 'if=floppy', 'if=none,id=none0')):
                run('qemu-img', 'create', '-q', '-f', 'raw', m.path('raw%d' % i), '1440K')
                options += ['-drive', 'file=%s,format=raw,%s' % (m.path('raw%d' % i), text)]
            run('qemu-img', 'create', '-q', '-f', 'raw', m.path('iso'), '1M')
            m.start('-S', '-cdrom', m.path('iso'), '-device', 'ide-hd,drive=none0,bus=ide.1,unit=1,id=x', *options)
            blocks = m.cmd('query-block')
            assert m.quit() == 0, m.stderr()
        return sorted((b['device'], b.get('qdev', '').split('[')[0], b['removable'], b.get('inserted', {}).get('drv'))
                      for b in blocks)
    ours, theirs = look(), look(program='/usr/bin/qemu-system-x86_64')
    assert ours == theirs, '%s\n%s' % (ours, theirs)


def test_firmware_is_a_node_too():
    """In flash memory, as libvirt has UEFI and its variables."""
    bios = '/usr/share/seabios/bios-256k.bin'
    if not os.path.exists(bios):
        skip('no firmware')
    with machine(['virtio-blk-pci']) as m:
        shutil.copy(bios, m.path('flash'))
        m.start('-blockdev', 'driver=file,node-name=flash-file,filename=' + m.path('flash'),
                '-blockdev', 'driver=raw,node-name=flash,file=flash-file,read-only=on,auto-read-only=off',
                basic=('-machine', 'pc,pflash0=flash', '-accel', 'tcg', '-m', '32', '-nodefaults', '-display', 'none'))
        m.wait_rounds()
        assert 'in use' in m.error('blockdev-del', node_name='flash').desc
        assert m.quit() == 0
        assert 'can\'t find value' in outcome('-machine', 'pc,pflash0=nosuch')


def outcome(*options):
    return subprocess.run([SYSTEM, '-nodefaults', '-display', 'none', '-S', *options], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout


def test_drives_that_the_board_makes_take_media():
    def look(**program):
        with Machine(**program) as m:
            m.start('-S', basic=('-machine', 'pc', '-accel', 'tcg', '-m', '32', '-display', 'none', '-net', 'none'))
            blocks = [(b['device'], b.get('qdev', '').split('[')[0], b['removable'], b['locked'], b.get('tray_open'))
                      for b in m.cmd('query-block')]
            run('qemu-img', 'create', '-q', '-f', 'raw', m.path('iso'), '4M')
            m.cmd('blockdev-change-medium', device='ide1-cd0', filename=m.path('iso'), format='raw')
            inserted = [b['inserted']['file'] == m.path('iso') for b in m.cmd('query-block') if 'inserted' in b]
            m.cmd('eject', device='ide1-cd0')
            left = [b for b in m.cmd('query-block') if 'inserted' in b]
            assert m.quit() == 0
        return sorted(blocks), inserted, left
    ours, theirs = look(), look(program='/usr/bin/qemu-system-x86_64')
    assert ours == theirs, '%s\n%s' % (ours, theirs)


def test_disks_come_and_go_under_a_running_guest():
    with machine(['virtio-blk-pci', 'scsi-hd']) as m:
        m.start()
        m.wait_rounds()
        run('qemu-img', 'create', '-q', '-f', 'qcow2', m.path('plug'), '8M')
        for _ in range(3):
            m.cmd('blockdev-add', driver='qcow2', node_name='plug', file={'driver': 'file', 'filename': m.path('plug')})
            m.cmd('device_add', driver='scsi-hd', bus='scsi0.0', drive='plug', id='new')
            assert [b['qdev'] for b in m.cmd('query-block')][-1] == 'new'
            e = m.error('blockdev-del', node_name='plug')
            assert 'in use' in e.desc, e
            m.cmd('device_del', id='new')
            m.wait_event('DEVICE_DELETED')
            assert 'new' not in [b['qdev'] for b in m.cmd('query-block')]
            m.cmd('blockdev-del', node_name='plug')     # at once: nothing of the machine is on it
        e = m.error('device_add', driver='scsi-hd', bus='nosuch.0', drive='n0', id='new')
        assert "'n0'" in e.desc or 'nosuch.0' in e.desc, e
        assert m.error('device_del', id='new').cls == 'DeviceNotFound'
        m.wait_rounds()
        assert m.quit() == 0


def test_a_device_that_the_machine_refuses_leaves_nothing():
    with machine(['virtio-blk-pci']) as m:
        m.start()
        m.cmd('blockdev-add', driver='null-co', node_name='x', size=MiB)
        for _ in range(3):
            e = m.error('device_add', driver='scsi-hd', bus='nosuch.0', drive='x', id='new')
            assert "Bus 'nosuch.0' not found" == e.desc, e
        m.cmd('blockdev-del', node_name='x')
        m.wait_rounds()
        assert m.quit() == 0


def test_disks_grow_under_a_running_guest():
    """The machine is told of each new length, while the guest writes on.  (A SCSI disk tells of it by failing a
    request, QEMU's too.)"""
    with machine(['virtio-blk-pci', 'ide-hd']) as m:
        m.start('-trace', 'enable=machine_disk,file=' + m.path('trace'))
        m.wait_rounds()
        for i in range(m.disks):
            m.cmd('block_resize', node_name='n%d' % i, size=96 * MiB)
        m.wait_rounds()
        for i in range(m.disks):
            m.cmd('block_resize', node_name='n%d' % i, size=128 * MiB)
        m.wait_rounds()
        assert [b['inserted']['image']['virtual-size'] for b in m.cmd('query-block')] == [128 * MiB] * 2
        assert m.quit() == 0
        with open(m.path('trace')) as f:
            assert f.read().count('what=exchange') == 4
        assert 'length' not in m.stderr(), m.stderr()


def test_media_are_changed():
    with Machine('-device', 'ide-cd,id=cd0') as m:
        for name in ('one', 'two'):
            run('qemu-img', 'create', '-q', '-f', 'raw', m.path(name), '4M')
        m.start('-S')
        for name in ('one', 'two'):
            m.cmd('blockdev-add', driver='raw', node_name=name, read_only=True,
                  file={'driver': 'file', 'filename': m.path(name)})
        assert 'Tray' in m.error('blockdev-insert-medium', id='cd0', node_name='one').desc
        for name in ('one', 'two', 'one'):
            m.cmd('blockdev-open-tray', id='cd0', force=False)
            m.cmd('blockdev-insert-medium', id='cd0', node_name=name)
            m.cmd('blockdev-close-tray', id='cd0')
            assert m.cmd('query-block')[0]['inserted']['node-name'] == name
            assert 'Tray' in m.error('blockdev-remove-medium', id='cd0').desc
            m.cmd('eject', id='cd0')
            moves = [m.wait_event('DEVICE_TRAY_MOVED')['tray-open'] for _ in range(3)]
            assert moves == [True, False, True], moves
            assert 'inserted' not in m.cmd('query-block')[0]
            m.cmd('blockdev-close-tray', id='cd0')
            assert m.wait_event('DEVICE_TRAY_MOVED')['tray-open'] is False
        m.cmd('blockdev-change-medium', id='cd0', filename=m.path('two'), format='raw')
        assert m.cmd('query-block')[0]['inserted']['file'] == m.path('two')
        assert m.quit() == 0


def test_nothing_of_the_machines_disks_is_shown():
    with machine(['virtio-blk-pci', 'scsi-hd']) as m:
        m.start('-S')
        assert m.cmd('query-block-exports') == []
        names = sorted(n['node-name'] for n in m.cmd('query-named-block-nodes', flat=True))
        assert names == ['f0', 'f1', 'n0', 'n1'], names
        assert 'x-inner' not in [c['label'] for c in m.cmd('query-chardev')]
        assert [c['label'] for c in m.cmd('query-chardev')][0] == 'mon0'
        for command in ('info block', 'info block-jobs', 'info blockstats', 'info chardev', 'info qtree'):
            text = m.hmp(command)
            assert not [line for line in text.splitlines() if 'x-inner' in line or '"x-' in line], text
        assert 'drive = "n0"' in m.hmp('info qtree')
        assert m.cmd('qom-get', path='/machine/peripheral/d0', property='drive') == 'n0'
        assert m.quit() == 0


def test_policies_of_drives_are_the_machines():
    with Machine() as m:
        for name in ('one', 'two'):
            run('qemu-img', 'create', '-q', '-f', 'raw', m.path(name), '4M')
        m.start('-S', '-drive', 'file=%s,format=raw,if=none,id=a,werror=stop,rerror=ignore' % m.path('one'),
                '-device', 'virtio-blk-pci,drive=a,id=d0', '-drive',
                'file=%s,format=raw,if=virtio,werror=report,cache=writethrough' % m.path('two'))
        tree = m.hmp('info qtree')
        assert 'werror = "stop"' in tree and 'rerror = "ignore"' in tree, tree
        assert m.quit() == 0


def test_a_write_that_fails_stops_the_guest_and_is_done_later():
    """As the device says; the event is about the node that the user knows."""
    with machine(['virtio-blk-pci', 'virtio-blk-pci,werror=stop']) as m:
        m.options[m.options.index('driver=qcow2,node-name=n1,file=f1')] = (
            'driver=qcow2,node-name=n1,file.driver=blkdebug,file.image=f1,file.inject-error.0.event=l2_update,'
            'file.inject-error.0.errno=28,'
            'file.inject-error.0.once=on')
        m.start()
        error = m.wait_event('BLOCK_IO_ERROR')
        assert (error['node-name'], error['operation'], error['action'], error['nospace']) == (
            'n1', 'write', 'stop', True), error
        m.wait_event('STOP')
        assert m.cmd('query-status')['status'] == 'io-error'
        assert 'BLOCK_IO_ERROR' not in [e['event'] for e in m.events]       # one of them, not one of each half
        assert [b['io-status'] for b in m.cmd('query-block')] == ['ok', 'nospace']
        before = len(m.rounds())
        m.cmd('cont')
        m.wait_rounds()
        assert len(m.rounds()) > before
        assert m.quit() == 0
        check_instant([number(m.path('disk%d' % i)) for i in range(2)])


def test_a_paused_guest_writes_nothing_and_its_disks_are_snapshotted():
    with machine(['virtio-blk-pci', 'ide-hd']) as m:
        m.start()
        m.tops = ['n0', 'n1']
        m.wait_rounds()
        m.cmd('stop')
        m.wait_event('STOP')
        before = len(m.rounds())
        snapshot(m, 'paused')
        assert len(m.rounds()) == before
        m.cmd('cont')
        m.wait_event('RESUME')
        m.wait_rounds()
        assert m.quit() == 0
        check_instant([number(m.path('disk%d' % i)) for i in range(2)])


main(globals())
