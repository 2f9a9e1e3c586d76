# SPDX-License-Identifier: GPL-2.0-or-later
"""What libvirt asks an emulator before it uses it is answered, in the way that it is asked: a program in the background
with a pid file, whose parent ends once a client can connect."""

import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../qmp'))
from qmp import QMP, QMPError                                           # noqa: E402
from rig import main                                                    # noqa: E402

EMULATOR = os.environ['EMULATOR']


class Probe:
    def __init__(self, *options):
        self.options = options

    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory()
        pidfile, socket = self.dir.name + '/pid', self.dir.name + '/qmp'
        with open(self.dir.name + '/stderr', 'w') as log:
            subprocess.run([EMULATOR, '-S', '-no-user-config', '-nodefaults', '-nographic', '-machine',
                            'none,accel=kvm:tcg', '-qmp', 'unix:%s,server=on,wait=off' % socket, '-pidfile', pidfile,
                            '-daemonize', *self.options], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                           timeout=60, check=True, env=dict(os.environ, QEMU_INNER='off'))
        with open(pidfile) as f:
            self.pid = int(f.read())
        qmp = QMP(socket)
        assert qmp.greeting['QMP']['version']['qemu']['major'] >= 5, qmp.greeting
        return qmp

    def __exit__(self, *exc):
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not self.is_running()
        assert not os.path.exists(self.dir.name + '/pid')
        self.dir.cleanup()

    def is_running(self):
        try:
            with open('/proc/%d/stat' % self.pid) as f:
                return f.read().rpartition(')')[2].split()[0] != 'Z'
        except FileNotFoundError:
            return False


def fails(qmp, cls, command, **arguments):
    try:
        qmp.cmd(command, **arguments)
    except QMPError as e:
        assert e.cls == cls, e
        return
    raise AssertionError(command + ' succeeded')


def test_who_it_is():
    with Probe() as qmp:
        assert qmp.cmd('query-target') == {'arch': 'x86_64'}
        assert qmp.cmd('query-kvm') == {'enabled': False, 'present': False}
        machines = qmp.cmd('query-machines')
        pc = [m for m in machines if m.get('alias') == 'pc'][0]
        assert pc['name'].startswith('pc-i440fx-') and pc['is-default'], pc
        assert not pc['hotpluggable-cpus'] and 'default-ram-id' not in pc, pc
        assert 'none' in [m['name'] for m in machines]
        assert qmp.cmd('query-cpus-fast') == []
        assert qmp.cmd('query-tpm-models') == qmp.cmd('query-tpm-types') == []
        assert 'sandbox' not in [o['option'] for o in qmp.cmd('query-command-line-options')]
        assert 'events' in [c['capability'] for c in qmp.cmd('query-migrate-capabilities')]


def test_types_and_properties():
    with Probe() as qmp:
        types = {t['name'] for t in qmp.cmd('qom-list-types')}
        assert {'tcg-accel', 'virtio-blk-pci', 'virtio-scsi-pci', 'scsi-hd', 'ide-hd', 'iothread', 'isa-serial',
                'none-machine'} <= types, types
        for model in ('virtio-blk-pci', 'scsi-hd', 'ide-hd'):
            names = {p['name'] for p in qmp.cmd('device-list-properties', typename=model)}
            assert {'drive', 'serial', 'write-cache', 'share-rw'} <= names, names
        for model in ('PIIX4_PM', 'kvm-pit', 'usb-host'):
            fails(qmp, 'DeviceNotFound', 'device-list-properties', typename=model)
        for name in ('memory-backend-file', 'none-machine'):    # libvirt 9.0 crashes on an error
            assert isinstance(qmp.cmd('qom-list-properties', typename=name), list)


def test_what_makes_libvirt_use_it_in_full():
    with Probe() as qmp:
        commands = {c['name'] for c in qmp.cmd('query-commands')}
        assert {'blockdev-reopen', 'block-export-add', 'device_add', 'device_del', 'stop', 'cont'} <= commands
        schema = {e['name']: e for e in qmp.cmd('query-qmp-schema')}
        assert 'json-cli-hotplug' in schema['device_add']['features']

        def member(of, name):
            found = [m for m in schema[of]['members'] if m['name'] == name]
            return found[0]['type'] if found else None
        assert member(schema['query-named-block-nodes']['arg-type'], 'flat')
        kinds = schema[member(schema['object-add']['arg-type'], 'qom-type')]
        assert 'secret' in kinds['values'], kinds
        mapping = schema[member(schema['migrate-set-parameters']['arg-type'], 'block-bitmap-mapping')]
        bitmaps = schema[member(mapping['element-type'], 'bitmaps')]
        assert member(bitmaps['element-type'], 'transform')


def test_run_state():
    with Probe() as qmp:
        def status():
            s = qmp.cmd('query-status')
            assert s['running'] == (s['status'] == 'running'), s
            return s['status']
        assert status() == 'prelaunch'
        qmp.cmd('cont')
        qmp.cmd('cont')
        assert status() == 'running'
        qmp.cmd('stop')
        assert status() == 'paused'
        qmp.cmd('system_reset')
        qmp.cmd('system_powerdown')
        fails(qmp, 'GenericError', 'system_wakeup')
        fails(qmp, 'DeviceNotActive', 'query-balloon')
        assert [e['event'] for e in qmp.take_events()] == ['RESUME', 'STOP', 'RESET', 'POWERDOWN']
        qmp.cmd('set-action', reboot='shutdown', shutdown='pause')
        qmp.cmd('cont')
        qmp.cmd('system_reset')
        assert status() == 'shutdown'
        fails(qmp, 'GenericError', 'cont')
        assert [e['event'] for e in qmp.take_events()] == ['RESUME', 'SHUTDOWN', 'STOP']


def test_end_by_a_reset():
    with Probe('-no-reboot') as qmp:
        qmp.cmd('system_reset')
        event = qmp.wait_event('SHUTDOWN')
        assert event['data'] == {'guest': False, 'reason': 'host-qmp-system-reset'}, event
        qmp.recv_line()


def test_settings_of_migration():
    with Probe() as qmp:
        qmp.cmd('migrate-set-capabilities', capabilities=[{'capability': 'events', 'state': True}])
        assert {'capability': 'events', 'state': True} in qmp.cmd('query-migrate-capabilities')
        mapping = [{'node-name': 'a', 'alias': 'x', 'bitmaps': [{'name': 'b', 'alias': 'y'}]}]
        qmp.cmd('migrate-set-parameters', block_bitmap_mapping=mapping)
        assert qmp.cmd('query-migrate-parameters')['block-bitmap-mapping'] == mapping
        fails(qmp, 'GenericError', 'migrate-set-parameters', block_bitmap_mapping=mapping * 2)


if __name__ == '__main__':
    main(globals())
