# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt changes what a running domain has: sizes, limits, disks, media; and asks it how it is."""

from host import in_a_namespace, Host

in_a_namespace()

import os                                                               # noqa: E402
import re                                                               # noqa: E402
from domain import Domain, MIB, SIZE, disk_xml, run, until              # noqa: E402
from rig import main                                                    # noqa: E402

host = Host()
WITHOUT_A_MACHINE = os.environ.get('QEMU_INNER') == 'off'


def numbers(text):
    """Lines of a name and a number, however they are put: as a table of numbers."""
    return {m[0]: int(m[1]) for m in re.findall(r'([a-z_]+)\s*:?\s+(\d+)', text)}


def test_sizes_grow():
    with Domain(host) as vm:
        vm.write_all()
        vm.snapshot('s1')
        for dev in vm.model:
            vm.virsh('blockresize', dev, '6M')
            vm.model[dev] += bytes(2 * MIB)
            assert numbers(vm.virsh('domblkinfo', dev))['apacity'] == 6 * MIB
            vm.write(dev, 5 * MIB, MIB)
        vm.snapshot('s2')
        vm.write_all()
        vm.check()
        vm.destroy()
        vm.check()


def test_limits_stay_with_the_device():
    with Domain(host, disks=['vda', 'sda', 'hda']) as vm:
        vm.virsh('blkdeviotune', 'vda', '--total-iops-sec', '5000', '--total-bytes-sec', '10485760')
        vm.virsh('blkdeviotune', 'sda', '--read-iops-sec', '700', '--group-name', 'together')
        vm.snapshot('s1')

        def limits():
            vda, sda = (numbers(vm.virsh('blkdeviotune', dev)) for dev in ('vda', 'sda'))
            assert vda['total_iops_sec'] == 5000 and vda['total_bytes_sec'] == 10485760, vda
            assert sda['read_iops_sec'] == 700, sda
            assert vm.inserted('vda')['iops'] == 5000 and vm.inserted('sda')['iops_rd'] == 700
        limits()
        vm.virsh('blockcommit', 'vda', '--active', '--pivot', '--wait')
        vm.frozen.pop('vda.base')
        host.restart()
        limits()
        vm.virsh('blkdeviotune', 'vda', '--total-iops-sec', '0', '--total-bytes-sec', '0')
        assert vm.inserted('vda')['iops'] == 0
        vm.write_all()
        vm.check()


def test_a_limit_holds():
    """A megabyte at a quarter of a megabyte a second; the first second's is free."""
    import time
    with Domain(host, disks=['vda']) as vm:
        vm.virsh('blkdeviotune', 'vda', '--total-bytes-sec', str(MIB // 4))
        start = time.monotonic()
        for i in range(8):
            vm.write('vda', i * MIB // 8, MIB // 8)
        assert time.monotonic() - start > 1.5
        vm.virsh('blkdeviotune', 'vda', '--total-bytes-sec', '0')
        vm.check()


def added(vm, dev, fmt='qcow2'):
    path = vm.path(dev + '.base')
    run('qemu-img', 'create', '-q', '-f', fmt, path, str(SIZE))
    vm.xml('attach-device', disk_xml(dev, path, fmt, more="<serial>of-%s</serial>" % dev))
    vm.model[dev] = bytearray(SIZE)


def removed(vm, dev):
    vm.virsh('detach-disk', dev)
    until('the disk to go', lambda: dev not in vm.virsh('domblklist'))
    vm.check_bytes(dev, vm.read(vm.path(dev + '.base')), vm.model.pop(dev))


def test_disks_come_and_go():
    with Domain(host, disks=['vda', 'sda']) as vm:
        added(vm, 'sdb')
        vm.write_all()
        removed(vm, 'sdb')
        added(vm, 'vdb')
        added(vm, 'sdc')
        vm.write_all()
        vm.snapshot('s1')
        vm.write_all()
        vm.check()
        names = [n['node-name'] for n in vm.qmp('query-named-block-nodes', flat=True)]
        removed_chain(vm, 'sdc')
        after = [n['node-name'] for n in vm.qmp('query-named-block-nodes', flat=True)]
        assert len(after) == len(names) - 4, after
        if WITHOUT_A_MACHINE:               # a guest has to let go of it elsewhere
            removed_chain(vm, 'vdb')
        vm.write_all()
        vm.check()


def removed_chain(vm, dev):
    vm.virsh('detach-disk', dev)
    until('the disk to go', lambda: dev not in vm.virsh('domblklist'))
    vm.check_bytes(dev, vm.read(vm.path(dev + '.s1')), vm.model.pop(dev))


def test_a_disk_that_cannot_be_added():
    with Domain(host, disks=['vda', 'sda']) as vm:
        with open(vm.path('bad'), 'wb') as f:
            f.write(bytes(65536))
        before = vm.qmp('query-named-block-nodes', flat=True)
        host.write('argument.xml', disk_xml('sdb', vm.path('bad')))
        message = vm.fails('attach-device', host.path('argument.xml'))
        assert 'qcow2' in message, message
        after = vm.qmp('query-named-block-nodes', flat=True)
        assert [n['node-name'] for n in after] == [n['node-name'] for n in before], after
        vm.write_all()
        vm.check()


def test_media_change():
    with Domain(host, disks=['vda'], start=False) as vm:
        for i, name in enumerate(('first.iso', 'second.iso')):
            with open(vm.path(name), 'wb') as f:
                f.write(bytes([0x41 + i]) * MIB)
        cd = [disk_xml('hdc', vm.path('first.iso'), 'raw', 'cdrom', more='<readonly/>'),
              disk_xml('sdd', None, 'raw', 'cdrom', more='<readonly/>')]
        vm.define(disk_xml('vda', vm.path('vda.base')) + ''.join(cd))
        vm.start(paused=True)               # or the BIOS looks for something to boot from
        reads(vm, 'hdc', 0x41)
        vm.virsh('change-media', 'hdc', vm.path('second.iso'), '--live', '--update')
        reads(vm, 'hdc', 0x42)
        vm.virsh('change-media', 'hdc', '--eject', '--live')
        assert 'second' not in vm.virsh('domblklist')
        vm.virsh('change-media', 'hdc', vm.path('first.iso'), '--live', '--insert')
        vm.virsh('change-media', 'sdd', vm.path('second.iso'), '--live', '--insert')
        reads(vm, 'hdc', 0x41)
        reads(vm, 'sdd', 0x42)
        vm.fails('change-media', 'hdc', vm.path('nowhere.iso'), '--live', '--update')
        vm.virsh('change-media', 'hdc', '--eject', '--live', '--force')
        vm.snapshot('s1')
        vm.check()


def reads(vm, dev, byte):
    image = vm.inserted(dev)['image']
    vm.check_bytes(dev, vm.read(image['filename'], 'raw'), bytes([byte]) * MIB)
    vm.guest(dev, 'read -P %d 0 %d' % (byte, MIB))


def test_statistics():
    with Domain(host, disks=['vda', 'sda', 'hda']) as vm:
        for dev in vm.model:
            seen = numbers(vm.virsh('domblkstat', dev).replace(dev, ''))
            assert {'rd_req', 'rd_bytes', 'wr_req', 'wr_bytes', 'flush_operations'} <= set(seen), seen
            assert numbers(vm.virsh('domblkinfo', dev))['apacity'] == SIZE
        text = vm.virsh('domstats', '--block', '--state')
        assert 'block.count=3' in text and 'block.0.capacity=%d' % SIZE in text, text
        vm.snapshot('s1')
        text = vm.virsh('domstats', '--block', '--backing')
        assert 'vda.base' in text and 'vda.s1' in text, text
        vm.virsh('domblkthreshold', 'vda', '1M')


def test_settings_of_disks():
    """With a thread of its own, a cache, a serial number; throttled and read-only from the beginning."""
    with Domain(host, disks=['vda'], start=False) as vm:
        run('qemu-img', 'create', '-q', '-f', 'qcow2', vm.path('vdb.base'), str(SIZE))
        run('qemu-img', 'create', '-q', '-f', 'raw', vm.path('sda.base'), str(SIZE))
        run('qemu-img', 'create', '-q', '-f', 'qcow2', vm.path('vdc.base'), str(SIZE))
        vm.model['vdb'] = bytearray(SIZE)
        vm.model['sda'] = bytearray(SIZE)
        vm.fmt = 'raw'
        vm.define(disk_xml('vda', vm.path('vda.base'), options=" cache='none' io='threads' discard='unmap'")
                  + disk_xml('vdb', vm.path('vdb.base'), options=" cache='writethrough' error_policy='stop'",
                             more='<serial>abc</serial><iotune><total_iops_sec>4000</total_iops_sec></iotune>')
                  + disk_xml('sda', vm.path('sda.base'), 'raw', options=" cache='unsafe' detect_zeroes='on'",
                             more='<shareable/>')
                  + disk_xml('vdc', vm.path('vdc.base'), more='<readonly/>'))
        vm.start()
        assert vm.inserted('vdb')['iops'] == 4000
        assert vm.inserted('vdc')['ro']
        vm.write_all()
        vm.check()
        vm.model.pop('sda')                 # libvirt takes no snapshots of disks that others share
        vm.destroy()
        vm.check()


def test_domain_restarts_from_its_chain():
    with Domain(host) as vm:
        for name in ('s1', 's2'):
            vm.write_all()
            vm.snapshot(name)
        vm.write_all()
        vm.destroy()
        vm.check()
        vm.start()
        for dev in vm.model:
            assert vm.chain(dev) == [dev + '.s2', dev + '.s1', dev + '.base']
        vm.write_all()
        vm.snapshot('s3')
        vm.check()


def test_libvirtd_restarts():
    with Domain(host) as vm:
        vm.write_all()
        vm.snapshot('s1')
        vm.virsh('suspend')
        host.restart()
        assert vm.state() == 'paused'
        vm.virsh('resume')
        host.restart()
        assert vm.state() == 'running'
        vm.write_all()
        vm.snapshot('s2')
        vm.write_all()
        vm.check()


def test_domain_runs_and_ends():
    with Domain(host, disks=['vda']) as vm:
        vm.virsh('reset')
        assert vm.state() == 'running'
        vm.virsh('suspend')
        vm.virsh('resume')
        vm.write_all()
        vm.guest('vda', 'flush')
        pid = int(open(host.path('ru/libvirt/qemu/run/%s.pid' % vm.name)).read())
        os.kill(pid, 9)
        until('libvirt to notice', lambda: vm.state() == 'shut off')
        vm.start()
        vm.write_all()
        vm.check()
        vm.destroy()
        assert vm.state() == 'shut off'


def test_a_disk_that_is_in_use_is_not_started():
    with Domain(host, disks=['vda']) as vm, Domain(host, disks=['vda'], start=False) as other:
        other.define(disk_xml('vda', vm.path('vda.base')))
        message = other.fails('start')
        assert 'lock' in message, message
        vm.write_all()
        vm.check()
        other.model = {}


if __name__ == '__main__':
    with host:
        main(globals())
