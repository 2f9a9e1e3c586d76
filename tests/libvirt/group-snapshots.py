# SPDX-License-Identifier: GPL-2.0-or-later
"""Group snapshots as libvirt takes them: of all disks or some, all or nothing, into new files or prepared ones."""

from host import in_a_namespace, Host

in_a_namespace()

from domain import Domain, run, SIZE, until                                    # noqa: E402
from rig import main                                                    # noqa: E402

host = Host()


def nodes(vm):
    """What the emulator has open."""
    return sorted((n['node-name'], n['file']) for n in vm.qmp('query-named-block-nodes', flat=True))


def refused(vm, name, specs, *args):
    """The snapshot fails, and nothing has come of it; the message."""
    files, chains = vm.files(), {dev: vm.chain(dev) for dev in vm.model}
    args = list(args)
    for dev in vm.model:
        args += ['--diskspec', specs.get(dev, '%s,snapshot=external,file=%s' % (dev, vm.path(dev + '.' + name)))]
    message = vm.fails('snapshot-create-as', name, '--disk-only', '--atomic', *args)
    assert vm.files() == files, vm.files()
    assert {dev: vm.chain(dev) for dev in vm.model} == chains
    assert name not in vm.virsh('snapshot-list', '--name').split()
    vm.write_all()
    vm.check()
    return message


def test_of_all_disks():
    with Domain(host) as vm:
        vm.write_all()
        vm.snapshot('s1')
        vm.write_all()
        vm.snapshot('s2')
        vm.write_all()
        for dev in vm.model:
            assert vm.chain(dev) == [dev + '.s2', dev + '.s1', dev + '.base'], vm.chain(dev)
        vm.check()
        vm.destroy()
        vm.check()


def test_of_raw_disks():
    with Domain(host, fmt='raw') as vm:
        vm.write_all()
        vm.snapshot('s1')
        vm.write_all()
        vm.check()
        vm.destroy()
        vm.check()


def test_of_some_disks():
    with Domain(host) as vm:
        vm.write_all()
        vm.snapshot('s1', disks=['vdb', 'hda'])
        vm.write_all()
        assert vm.chain('vda') == ['vda.base'] and vm.chain('sda') == ['sda.base']
        assert vm.chain('vdb') == ['vdb.s1', 'vdb.base'] and vm.chain('hda') == ['hda.s1', 'hda.base']
        vm.check()
        vm.snapshot('s2', disks=['vda', 'vdb'])
        vm.write_all()
        vm.check()


def test_of_a_paused_domain():
    with Domain(host, start=False) as vm:
        vm.start(paused=True)
        vm.write_all()
        vm.snapshot('s1')
        vm.write_all()
        vm.check()
        assert vm.state() == 'paused'
        vm.virsh('resume')
        assert vm.state() == 'running'
        vm.virsh('suspend')
        assert vm.state() == 'paused'
        vm.snapshot('s2')
        assert vm.state() == 'paused'
        vm.check()


def test_that_libvirt_remembers():
    with Domain(host) as vm:
        vm.snapshot('first')
        vm.snapshot('second', '--description', 'another')
        assert vm.virsh('snapshot-list', '--name').split() == ['first', 'second']
        assert vm.virsh('snapshot-current', '--name') == 'second'
        assert vm.virsh('snapshot-parent', 'second') == 'first'
        xml = vm.virsh('snapshot-dumpxml', 'second')
        assert 'vda.second' in xml and '<description>another' in xml, xml
        host.restart()
        assert vm.virsh('snapshot-list', '--name').split() == ['first', 'second']
        vm.virsh('snapshot-delete', 'second', '--metadata')
        assert vm.virsh('snapshot-list', '--name').split() == ['first']


def test_without_metadata():
    with Domain(host) as vm:
        vm.write_all()
        vm.snapshot('s1', '--no-metadata')
        assert vm.virsh('snapshot-list', '--name') == ''
        assert vm.chain('vda') == ['vda.s1', 'vda.base']
        vm.check()


def prepared(vm, name, devs=None):
    """Overlays that somebody has made before."""
    for dev in devs or vm.model:
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', vm.path(vm.chain(dev)[0]), '-F', 'qcow2',
            vm.path(dev + '.' + name))


def test_into_prepared_files():
    with Domain(host) as vm:
        vm.write_all()
        prepared(vm, 's1')
        vm.snapshot('s1', '--reuse-external')
        vm.write_all()
        vm.check()
        vm.destroy()
        vm.check()


def test_early_failure_leaves_nothing():
    with Domain(host) as vm:
        vm.write_all()
        before = nodes(vm)
        for dev in vm.model:
            message = refused(vm, 's1', {dev: dev + ',snapshot=external,file=%s/no/folder' % vm.folder})
            assert 'No such file' in message, message
            assert nodes(vm) == before
        vm.snapshot('s1')
        vm.write_all()
        vm.check()


def test_failure_at_the_last_disk_leaves_nothing():
    with Domain(host) as vm:
        vm.write_all()
        prepared(vm, 's1', ['vda', 'vdb', 'sda'])
        with open(vm.path('hda.s1'), 'wb') as f:
            f.write(b'not an image' * 1000)
        message = refused(vm, 's1', {}, '--reuse-external')
        assert 'hda.s1' in message or 'qcow2' in message, message
        # libvirt 9.0 leaves the file below the image that could not be opened; that must not be in the way.
        prepared(vm, 's1', ['hda'])
        vm.snapshot('s1', '--reuse-external')
        vm.write_all()
        vm.check()


def test_failure_in_the_transaction_leaves_nothing():
    """One disk has a job of which libvirt does not know, so all is prepared when the emulator refuses."""
    with Domain(host) as vm:
        vm.write('hda', 0, SIZE)
        vm.snapshot('s0')
        vm.write_all()
        vm.write('hda', 0, SIZE)
        top = vm.inserted('hda')['node-name']
        vm.qmp('block-commit', job_id='stranger', device=top, speed=65536)
        message = refused_on_a_job(vm)
        assert top in message or 'job' in message, message
        vm.qmp('block-job-cancel', device='stranger', force=True)
        until('the job to end', lambda: not vm.qmp('query-block-jobs'))
        vm.frozen.pop('hda.base')
        vm.snapshot('s2')
        vm.write_all()
        vm.check()


def refused_on_a_job(vm):
    files = vm.files()
    args = []
    for dev in vm.model:
        args += ['--diskspec', '%s,snapshot=external,file=%s' % (dev, vm.path(dev + '.s1'))]
    message = vm.fails('snapshot-create-as', 's1', '--disk-only', '--atomic', *args)
    assert vm.files() == files, vm.files()
    for dev in ('vda', 'vdb', 'sda'):
        assert vm.chain(dev) == [dev + '.s0', dev + '.base'], vm.chain(dev)
    vm.write_all()
    return message


def test_without_a_file_name():
    """libvirt chooses it: the disk's name with the snapshot's at its end."""
    with Domain(host) as vm:
        vm.write_all()
        vm.virsh('snapshot-create-as', 'named', '--disk-only', '--atomic')
        for dev in vm.model:
            assert vm.chain(dev) == [dev + '.named', dev + '.base'], vm.chain(dev)
        vm.write_all()
        vm.check()


def test_again_and_again():
    with Domain(host) as vm:
        for i in range(8):
            vm.write_all()
            vm.snapshot('s%d' % i)
        assert len(vm.chain('sda')) == 9
        vm.check()
        vm.destroy()
        vm.start()
        vm.write_all()
        vm.snapshot('after')
        vm.check()


if __name__ == '__main__':
    with host:
        main(globals())
