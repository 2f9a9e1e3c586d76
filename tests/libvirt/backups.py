# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt makes checkpoints and backups, whole and incremental, which it takes (push) or serves (pull)."""

from host import in_a_namespace, Host

in_a_namespace()

import json                                                             # noqa: E402
from domain import Domain, MIB, SIZE, run, until                        # noqa: E402
from rig import main                                                    # noqa: E402

host = Host()


def backup_xml(vm, mode, since=None, suffix='backup', disks=None):
    text = "<domainbackup mode='%s'>" % mode
    if since:
        text += '<incremental>%s</incremental>' % since
    if mode == 'pull':
        text += "<server transport='unix' socket='%s'/>" % vm.path('nbd.sock')
    text += '<disks>'
    for dev in vm.model:
        if disks and dev not in disks:
            text += "<disk name='%s' backup='no'/>" % dev
        elif mode == 'push':
            text += ("<disk name='%s' type='file'><driver type='qcow2'/><target file='%s'/></disk>"
                     % (dev, vm.path(dev + '.' + suffix)))
        else:
            text += ("<disk name='%s' backup='yes' type='file' exportname='%s' exportbitmap='changed'>"
                     "<scratch file='%s'/></disk>" % (dev, dev, vm.path(dev + '.scratch')))
    return text + '</disks></domainbackup>'


def begin(vm, xml, checkpoint=None):
    """Starts it; what the disks hold at that moment."""
    args = []
    if checkpoint:
        host.write('checkpoint.xml', '<domaincheckpoint><name>%s</name></domaincheckpoint>' % checkpoint)
        args = ['--checkpointxml', host.path('checkpoint.xml')]
    vm.xml('backup-begin', xml, *args)
    return {dev: bytes(data) for dev, data in vm.model.items()}


def push(vm, suffix, since=None, checkpoint=None, disks=None):
    then = begin(vm, backup_xml(vm, 'push', since, suffix, disks), checkpoint)
    vm.write_all()
    until('the backup', lambda: 'Unbounded' not in vm.virsh('domjobinfo'))
    assert 'None' in vm.virsh('domjobinfo') or 'Completed' in vm.virsh('domjobinfo'), vm.virsh('domjobinfo')
    return then


def check_backup(vm, suffix, then, disks=None):
    for dev in disks or vm.model:
        vm.check_bytes(dev + '.' + suffix, vm.read(vm.path(dev + '.' + suffix)), then[dev])


def checkpoint(vm, name):
    vm.virsh('checkpoint-create-as', name)


def test_push_of_whole_disks():
    with Domain(host) as vm:
        vm.write_all()
        then = push(vm, 'full')
        check_backup(vm, 'full', then)
        vm.check()


def test_push_of_some_disks():
    with Domain(host) as vm:
        vm.write_all()
        vm.snapshot('s1')
        vm.write_all()
        then = push(vm, 'full', disks=['vda', 'hda'])
        check_backup(vm, 'full', then, ['vda', 'hda'])
        assert 'vdb.full' not in vm.files()
        vm.check()


def test_push_of_increments():
    with Domain(host) as vm:
        vm.write_all()
        then = push(vm, 'full', checkpoint='c0')
        check_backup(vm, 'full', then)
        below = 'full'
        for i in range(1, 4):
            vm.write_all()
            suffix, name = 'inc%d' % i, 'c%d' % i
            then = push(vm, suffix, since='c%d' % (i - 1), checkpoint=name)
            for dev in vm.model:
                run('qemu-img', 'rebase', '-u', '-b', vm.path(dev + '.' + below), '-F', 'qcow2',
                    vm.path(dev + '.' + suffix))
            below = suffix
            check_backup(vm, suffix, then)
        assert vm.virsh('checkpoint-list', '--name').split() == ['c0', 'c1', 'c2', 'c3']
        vm.check()


def test_checkpoints_survive_a_restart():
    with Domain(host, disks=['vda', 'sda']) as vm:
        vm.write_all()
        then = push(vm, 'full', checkpoint='c0')
        check_backup(vm, 'full', then)
        vm.write_all()
        checkpoint(vm, 'c1')
        vm.destroy()
        host.restart()
        vm.start()
        vm.write_all()
        then = push(vm, 'inc', since='c0')
        for dev in vm.model:
            run('qemu-img', 'rebase', '-u', '-b', vm.path(dev + '.full'), '-F', 'qcow2', vm.path(dev + '.inc'))
        check_backup(vm, 'inc', then)
        vm.check()


def test_checkpoints_across_a_snapshot_and_a_commit():
    with Domain(host, disks=['vda', 'sda']) as vm:
        vm.write_all()
        then = push(vm, 'full', checkpoint='c0')
        vm.write_all()
        vm.snapshot('s1')
        vm.write_all()
        checkpoint(vm, 'c1')
        vm.write_all()
        then = push(vm, 'inc', since='c0')
        for dev in vm.model:
            run('qemu-img', 'rebase', '-u', '-b', vm.path(dev + '.full'), '-F', 'qcow2', vm.path(dev + '.inc'))
        check_backup(vm, 'inc', then)
        vm.virsh('blockcommit', 'vda', '--active', '--pivot', '--wait')
        vm.frozen.pop('vda.base')
        vm.write_all()
        then = push(vm, 'inc2', since='c0')
        for dev in vm.model:
            run('qemu-img', 'rebase', '-u', '-b', vm.path(dev + '.full'), '-F', 'qcow2', vm.path(dev + '.inc2'))
        check_backup(vm, 'inc2', then)
        vm.check()


def test_checkpoints_are_deleted():
    with Domain(host, disks=['vda', 'hda']) as vm:
        for name in ('c0', 'c1', 'c2'):
            checkpoint(vm, name)
            vm.write_all()
        size = vm.virsh('checkpoint-dumpxml', 'c0', '--size')
        assert "size='" in size, size
        vm.virsh('checkpoint-delete', 'c1')
        assert vm.virsh('checkpoint-list', '--name').split() == ['c0', 'c2']
        vm.virsh('checkpoint-delete', 'c0', '--children')
        assert vm.virsh('checkpoint-list', '--name').split() == []
        assert not any(n.get('dirty-bitmaps') for n in vm.qmp('query-named-block-nodes', flat=True))
        vm.check()


def served(vm, dev, *options):
    return ('driver=nbd,server.type=unix,server.path=%s,export=%s' % (vm.path('nbd.sock'), dev)
            + ''.join(',' + o for o in options))


def pulled(vm, then):
    """What is served is what the disks held, whatever the guest writes since."""
    for _ in range(2):
        vm.write_all()
        for dev in vm.model:
            data = vm.read(served(vm, dev), None, '--image-opts')
            vm.check_bytes(dev + ' as served', data, then[dev])


def test_pull_of_whole_disks():
    with Domain(host) as vm:
        vm.write_all()
        files = vm.files()
        then = begin(vm, backup_xml(vm, 'pull'))
        pulled(vm, then)
        vm.virsh('domjobabort')
        until('scratch files to go', lambda: vm.files() == files)
        vm.check()


def test_pull_of_an_increment():
    with Domain(host, disks=['vda', 'sda']) as vm:
        vm.write_all()
        checkpoint(vm, 'c0')
        vm.write('vda', MIB, 65536)
        vm.write('sda', 2 * MIB, 3 * 65536)
        then = begin(vm, backup_xml(vm, 'pull', since='c0'))
        pulled(vm, then)
        for dev, offset, length in (('vda', MIB, 65536), ('sda', 2 * MIB, 3 * 65536)):
            extents = json.loads(run('qemu-img', 'map', '--output=json', '--image-opts',
                                     served(vm, dev, 'x-dirty-bitmap=qemu:dirty-bitmap:changed')))
            changed = [(e['start'], e['length']) for e in extents if not e['data']]
            assert changed == [(offset, length)], extents
        vm.virsh('domjobabort')
        vm.check()


def test_domain_that_ends_during_a_backup():
    with Domain(host, disks=['vda', 'sda']) as vm:
        vm.write_all()
        full = begin(vm, backup_xml(vm, 'pull'), checkpoint='c0')
        pulled(vm, full)
        vm.destroy()
        vm.check()
        vm.start()
        vm.write_all()
        then = push(vm, 'inc', since='c0')
        for dev in vm.model:                # it has all that is not as it was
            with open(vm.path(dev + '.full'), 'wb') as f:
                f.write(full[dev])
            run('qemu-img', 'rebase', '-u', '-b', vm.path(dev + '.full'), '-F', 'raw', vm.path(dev + '.inc'))
        check_backup(vm, 'inc', then)
        vm.check()


if __name__ == '__main__':
    with host:
        main(globals())
