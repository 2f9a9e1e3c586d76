# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt makes chains shorter and copies disks, while the guest writes on: commit, pull, copy."""

from host import in_a_namespace, Host

in_a_namespace()

from domain import Domain, SIZE, run, until                        # noqa: E402
from rig import main                                                    # noqa: E402

host = Host()


def chained(vm, *names):
    for name in names or ('s1', 's2', 's3'):
        vm.write_all()
        vm.snapshot(name)
    vm.write_all()


def test_active_commit_with_pivot():
    with Domain(host) as vm:
        chained(vm, 's1', 's2')
        vm.virsh('blockcommit', 'vda', '--active', '--pivot', '--verbose')
        assert vm.chain('vda') == ['vda.base'], vm.chain('vda')
        vm.frozen.pop('vda.base')
        vm.frozen.pop('vda.s1')             # it lies on what has changed
        vm.write_all()
        vm.check()
        vm.destroy()
        vm.check()


def test_active_commit_of_all_disks_at_once():
    with Domain(host) as vm:
        chained(vm, 's1')
        for dev in vm.model:
            vm.virsh('blockcommit', dev, '--active')
        vm.write_all()
        for dev in vm.model:
            until('pivot', lambda dev=dev: host.try_virsh('blockjob', vm.name, dev, '--pivot')[0])
        for dev in vm.model:
            until('the end of the job', lambda dev=dev: vm.chain(dev) == [dev + '.base'])
            vm.frozen.pop(dev + '.base')
        vm.write_all()
        vm.check()


def test_active_commit_that_is_given_up():
    with Domain(host, disks=['vda', 'sda']) as vm:
        chained(vm, 's1')
        vm.virsh('blockcommit', 'sda', '--active', '--wait', '--keep-overlay')
        assert vm.chain('sda') == ['sda.s1', 'sda.base']
        vm.frozen.pop('sda.base')
        vm.write_all()
        vm.check()
        vm.virsh('blockcommit', 'vda', '--active')
        vm.virsh('blockjob', 'vda', '--abort')
        vm.frozen.pop('vda.base')
        vm.write_all()
        vm.check()
        vm.snapshot('s2')
        vm.check()


def test_commit_in_the_middle():
    with Domain(host) as vm:
        chained(vm)
        for dev in vm.model:
            vm.virsh('blockcommit', dev, '--top', vm.path(dev + '.s2'), '--base', vm.path(dev + '.s1'), '--wait')
            assert vm.chain(dev) == [dev + '.s3', dev + '.s1', dev + '.base'], vm.chain(dev)
            vm.frozen[dev + '.s1'] = vm.frozen.pop(dev + '.s2')
        vm.write_all()
        vm.check()
        vm.destroy()
        vm.check()
        vm.start()
        vm.virsh('blockcommit', 'vda', '--top', vm.path('vda.s1'), '--wait', '--delete')
        assert vm.chain('vda') == ['vda.s3', 'vda.base'], vm.chain('vda')
        vm.frozen['vda.base'] = vm.frozen.pop('vda.s1')
        vm.check()


def test_pull():
    with Domain(host) as vm:
        chained(vm)
        vm.virsh('blockpull', 'vda', '--wait')
        assert vm.chain('vda') == ['vda.s3']
        vm.virsh('blockpull', 'sda', '--base', vm.path('sda.base'), '--wait')
        assert vm.chain('sda') == ['sda.s3', 'sda.base']
        vm.write_all()
        vm.check()
        vm.destroy()
        vm.check()


def test_pull_at_a_speed_that_changes():
    with Domain(host, disks=['vda']) as vm:
        vm.write('vda', 0, SIZE)
        vm.snapshot('s1')
        vm.virsh('blockpull', 'vda', '--bandwidth', '65536', '--bytes')
        assert 'Block Pull' in vm.virsh('blockjob', 'vda', '--info')
        vm.write_all()
        vm.virsh('blockjob', 'vda', '--bandwidth', '0')
        until('the end of the job', lambda: vm.chain('vda') == ['vda.s1'])
        vm.check()


def test_pull_that_is_given_up():
    with Domain(host, disks=['vda']) as vm:
        vm.write('vda', 0, SIZE)
        vm.snapshot('s1')
        vm.virsh('blockpull', 'vda', '--bandwidth', '65536', '--bytes')
        vm.virsh('blockjob', 'vda', '--abort')
        assert vm.chain('vda') == ['vda.s1', 'vda.base']
        vm.write_all()
        vm.check()


def test_copy_with_pivot():
    with Domain(host) as vm:
        chained(vm, 's1')
        for dev in vm.model:
            vm.virsh('blockcopy', dev, vm.path(dev + '.copy'), '--transient-job', '--format', 'qcow2', '--wait')
        vm.write_all()
        for dev in vm.model:
            vm.virsh('blockjob', dev, '--pivot')
            assert vm.chain(dev) == [dev + '.copy'], vm.chain(dev)
        vm.write_all()
        vm.check()
        vm.snapshot('s2')
        vm.check()


def test_copy_that_becomes_a_backup():
    with Domain(host, disks=['vda', 'sda']) as vm:
        chained(vm, 's1')
        copy = vm.path('vda.copy')
        vm.virsh('blockcopy', 'vda', copy, '--transient-job', '--format', 'raw', '--wait', '--finish')
        vm.check_bytes('the copy', vm.read(copy, 'raw'), vm.model['vda'])
        assert vm.chain('vda') == ['vda.s1', 'vda.base']
        vm.write_all()
        vm.check()


def test_copy_of_the_top_only():
    with Domain(host, disks=['vda', 'hda']) as vm:
        chained(vm, 's1')
        for dev in vm.model:
            run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', vm.path(dev + '.base'), '-F', 'qcow2',
                vm.path(dev + '.copy'))
            vm.virsh('blockcopy', dev, vm.path(dev + '.copy'), '--transient-job', '--shallow', '--reuse-external',
                     '--wait', '--pivot')
            assert vm.chain(dev) == [dev + '.copy', dev + '.base'], vm.chain(dev)
        vm.write_all()
        vm.check()
        vm.destroy()
        vm.check()


def test_snapshot_while_a_job_runs_is_refused():
    with Domain(host, disks=['vda', 'vdb']) as vm:
        chained(vm, 's1')
        vm.virsh('blockcopy', 'vda', vm.path('vda.copy'), '--transient-job', '--format', 'qcow2', '--wait')
        files = vm.files()
        vm.fails('snapshot-create-as', 's2', '--disk-only', '--atomic')
        assert vm.files() == files
        vm.virsh('blockjob', 'vda', '--abort')
        vm.snapshot('s2')
        vm.check()


def test_libvirtd_comes_back_to_jobs():
    with Domain(host) as vm:
        vm.write('hda', 0, SIZE)            # there is something to pull
        chained(vm, 's1')
        vm.virsh('blockcommit', 'vda', '--active')
        vm.virsh('blockcopy', 'sda', vm.path('sda.copy'), '--transient-job', '--format', 'qcow2')
        vm.virsh('blockpull', 'hda', '--bandwidth', '65536', '--bytes')
        # One that becomes ready while nobody listens is not seen to be so by libvirt 9.0.
        until('ready', lambda: vm.virsh('dumpxml').count("ready='yes'") == 2)
        host.restart()
        vm.write_all()
        vm.virsh('blockjob', 'hda', '--bandwidth', '0')
        for dev, chain in (('vda', ['vda.base']), ('sda', ['sda.copy'])):
            until('pivot', lambda dev=dev: host.try_virsh('blockjob', vm.name, dev, '--pivot')[0])
            until('its chain', lambda dev=dev, chain=chain: vm.chain(dev) == chain)
        until('the pull', lambda: vm.chain('hda') == ['hda.s1'])
        vm.frozen.pop('vda.base')
        vm.write_all()
        vm.check()
        vm.destroy()
        vm.check()


if __name__ == '__main__':
    with host:
        main(globals())
