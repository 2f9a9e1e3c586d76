# SPDX-License-Identifier: GPL-2.0-or-later
"""Two processes that are one program to whoever starts it: start, signals, deaths, descriptors, save and restore."""

import os
import signal
import socket
import subprocess
import tempfile
import time

from machine_rig import (INSTALLED, Machine, SYSTEM, check_instant, is_alive, main, needs_machine, number, run, wait_for)

needs_machine()
NOTHING = ('-nodefaults', '-display', 'none')


def guest(devices=('virtio-blk-pci', 'virtio-blk-pci'), **kwargs):
    m = Machine(**kwargs)
    for d in devices:
        m.disk(d)
    m.install_guest()
    return m


def outcome(program, *options, env=None):
    """Exit status and words of a start that fails."""
    r = subprocess.run([program, *NOTHING, '-S', *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=60, env=dict(os.environ, **(env or {})))
    return r.returncode, r.stdout, r.stderr.replace(os.path.basename(program), 'qemu')


def test_what_the_machine_does_not_take_is_said_as_qemu_says_it():
    null = ['-blockdev', 'driver=null-co,node-name=n0']
    for options in (['-device', 'nosuch'], ['-M', 'nosuch'], ['-cpu', 'nosuch'], ['-m', '1x'],
                    ['-netdev', 'user,id=x,foo'], [*null, '-device', 'virtio-blk-pci,drive=n0,foo=1'],
                    [*null, '-device', 'scsi-hd,drive=n0'], ['-object', 'nosuch,id=x'], ['-accel', 'nosuch'],
                    ['-bios', '/nonexistent'], ['-serial', 'foo:bar'], ['-machine', 'pc,foo=bar'],
                    [*null, '-device', '{"driver":"virtio-blk-pci","drive":"n0","addr":"99"}']):
        ours, theirs = outcome(SYSTEM, *options), outcome(INSTALLED, *options)
        assert ours == theirs, '%s:\n%s\n%s' % (options, ours, theirs)


def test_without_an_installed_qemu_there_is_no_machine():
    status, out, err = outcome(SYSTEM, '-machine', 'pc', env={'QEMU_INNER': '/nonexistent'})
    assert status == 1 and 'QEMU_INNER=/nonexistent' in err, err
    status, out, err = outcome(SYSTEM, '-machine', 'pc', env={'QEMU_INNER': SYSTEM})
    assert status == 1 and 'no other program' in err, err


def test_a_copy_of_ours_is_not_its_own_machine():
    with tempfile.TemporaryDirectory() as d:
        copy = os.path.join(d, 'qemu')
        run('cp', SYSTEM, copy)
        status, out, err = outcome(SYSTEM, '-machine', 'pc', env={'QEMU_INNER': copy})
        assert status == 1 and 'its own machine' in err, err


def test_a_signal_ends_both_halves_and_the_disks_are_whole():
    for sig in (signal.SIGTERM, signal.SIGINT):
        with guest() as m:
            m.start()
            m.wait_rounds()
            child = m.child()
            m.proc.send_signal(sig)
            reason = m.wait_event('SHUTDOWN')
            assert reason == {'guest': False, 'reason': 'host-signal'}, reason
            assert m.end() == 0, m.stderr()
            assert not is_alive(child)
            check_instant([number(m.path('disk%d' % i)) for i in range(2)])
            run('qemu-img', 'check', '-q', m.path('disk1'))


def test_a_machine_that_is_killed_ends_the_program_with_its_signal():
    for sig in (signal.SIGKILL, signal.SIGSEGV):
        with guest() as m:
            m.start()
            m.wait_rounds()
            os.kill(m.child(), sig)
            assert m.end() == 128 + sig
            assert 'has ended with status %d' % (128 + sig) in m.stderr(), m.stderr()
            for i in range(2):
                run('qemu-img', 'check', '-q', m.path('disk%d' % i))
            check_instant([number(m.path('disk%d' % i)) for i in range(2)])


def test_a_program_that_is_killed_takes_its_machine_with_it():
    with guest() as m:
        m.start()
        m.wait_rounds()
        child = m.child()
        m.proc.kill()
        assert m.end() == 128 + signal.SIGKILL
        wait_for(lambda: not is_alive(child), 5)
        check_instant([number(m.path('disk%d' % i)) for i in range(2)])


def test_a_machine_that_does_not_run_holds_nobody_up():
    """It is stopped by a signal that it cannot catch: our own commands go on, and so does the end."""
    with guest() as m:
        m.start()
        m.wait_rounds()
        child = m.child()
        os.kill(child, signal.SIGSTOP)
        start = time.monotonic()
        m.cmd('blockdev-snapshot-sync', node_name='n0', snapshot_file=m.path('over'), snapshot_node_name='over')
        m.cmd('query-named-block-nodes')
        assert time.monotonic() - start < 2
        assert [b['inserted']['node-name'] for b in m.cmd('query-block')] == ['over', 'n1']
        assert time.monotonic() - start < 6
        for _ in range(5):
            m.cmd('query-block')
        assert time.monotonic() - start < 7             # it is not asked again
        os.kill(child, signal.SIGCONT)
        m.wait_rounds()
        os.kill(child, signal.SIGSTOP)
        start = time.monotonic()
        m.proc.terminate()
        assert m.end() == 128 + signal.SIGKILL
        assert time.monotonic() - start < 9
        assert not is_alive(child)


def test_it_goes_to_the_background_when_both_halves_are_there():
    """Whoever started it sees the end of all its output, as libvirt's probe waits for."""
    with tempfile.TemporaryDirectory() as d:
        pidfile, qmp = os.path.join(d, 'pid'), os.path.join(d, 'qmp')
        r = subprocess.run([SYSTEM, *NOTHING, '-S', '-machine', 'none,accel=kvm:tcg', '-no-user-config', '-nographic',
                            '-qmp', 'unix:%s,server=on,wait=off' % qmp, '-pidfile', pidfile, '-daemonize'],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        assert (r.returncode, r.stdout) == (0, b''), r
        with open(pidfile) as f:
            pid = int(f.read())
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(qmp)
            s.settimeout(20)
            s.sendall(b'{"execute": "qmp_capabilities"}{"execute": "query-machines"}{"execute": "qom-list-types"}')
            text = b''
            while text.count(b'"return"') < 3:
                text += s.recv(1 << 20)
        assert b'pc-q35-7' in text or b'pc-q35-' in text
        assert b'tcg-accel' in text
        child = int(subprocess.run(['ps', '-o', 'pid=', '--ppid', str(pid)], stdout=subprocess.PIPE).stdout)
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not is_alive(pid) and not is_alive(child), 10)
        assert not os.path.exists(pidfile)


def test_a_start_in_the_background_that_fails_says_so():
    status, out, err = outcome(SYSTEM, '-daemonize', '-device', 'nosuch')
    assert status == 1 and "'nosuch' is not a valid device model name" in err, (status, err)


def open_fds(pid):
    return {os.readlink('/proc/%d/fd/%s' % (pid, f)) for f in os.listdir('/proc/%d/fd' % pid)}


def test_descriptors_are_where_they_are_used():
    """One that only the machine uses is closed here; the monitor's is not there."""
    with guest() as m:
        a, b = socket.socketpair()
        c, e = socket.socketpair()
        with a, b, c, e:
            for s in (b, e):
                os.set_inheritable(s.fileno(), True)
            links = [os.readlink('/proc/self/fd/%d' % s.fileno()) for s in (b, e)]
            popen = subprocess.Popen

            def with_fds(*args, pass_fds, **kwargs):
                return popen(*args, pass_fds=[*pass_fds, b.fileno(), e.fileno()], **kwargs)
            subprocess.Popen = with_fds
            try:
                m.start('-chardev', 'socket,id=serial0,fd=%d' % b.fileno(), '-serial', 'chardev:serial0',
                        '-netdev', 'socket,id=net0,fd=%d' % e.fileno(), '-device', 'e1000,netdev=net0')
            finally:
                subprocess.Popen = popen
            ours, theirs = open_fds(m.proc.pid), open_fds(m.child())
            assert not ours & set(links), 'inherited ones are still open here'
            assert set(links) <= theirs
            assert os.path.realpath(m.path('disk0.qcow2')) not in theirs
            assert not [f for f in theirs if f.endswith(('disk0', 'disk1'))], theirs
            labels = {c['label']: c['filename'] for c in m.cmd('query-chardev')}
            assert set(labels) == {'mon0', 'serial0', 'debugcon'}, labels
            assert m.quit() == 0


def save(m, path):
    """As libvirt does: the stream into a descriptor that comes over the monitor."""
    with open(path, 'wb') as f:
        m.cmd('getfd', fds=[f.fileno()], fdname='migrate')
    m.cmd('migrate', uri='fd:migrate')
    deadline = time.monotonic() + 60
    while True:
        status = m.cmd('query-migrate').get('status')
        if status == 'completed':
            return
        assert status in ('setup', 'active', 'device', 'pre-switchover', 'none', None), status
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_guest_is_saved_and_restored():
    with guest() as m:
        m.start()
        m.wait_rounds()
        m.cmd('stop')
        save(m, m.path('state'))
        assert m.quit() == 0, m.stderr()
        at_save = [number(m.path('disk%d' % i)) for i in range(2)]
        said = m.rounds()
        m.events = []
        m.options[m.options.index('file:' + m.path('debug'))] = 'file:' + m.path('debug2')
        m.start('-incoming', 'defer', '-S')
        m.cmd('migrate-incoming', uri='exec:cat ' + m.path('state'))
        wait_for(lambda: m.cmd('query-status')['status'] == 'paused', 60)
        m.cmd('cont')
        wait_for(lambda: os.path.exists(m.path('debug2')) and os.path.getsize(m.path('debug2')) > 5, 60)
        with open(m.path('debug2')) as f:
            assert 'E' not in f.read()
        assert m.quit() == 0, m.stderr()
        now = [number(m.path('disk%d' % i)) for i in range(2)]
        check_instant(at_save)
        check_instant(now)
        assert now[0] > at_save[0] and said, (at_save, now)


def test_the_program_runs_what_the_command_line_says():
    """Without -S it runs at once; with it after `cont`."""
    with guest() as m:
        m.start()
        assert m.cmd('query-status')['status'] == 'running'
        assert m.quit() == 0
    with guest() as m:
        m.start('-S')
        assert m.cmd('query-status')['status'] == 'prelaunch'
        m.cmd('cont')
        m.wait_event('RESUME')
        m.wait_rounds()
        m.cmd('system_reset')
        m.wait_event('RESET')
        m.wait_rounds()
        assert m.quit() == 0


def test_a_guest_that_powers_off_ends_the_program():
    with guest() as m:
        m.start('-no-reboot')
        m.wait_rounds()
        m.cmd('system_reset')
        assert m.wait_event('SHUTDOWN')['guest'] is False
        assert m.end() == 0, m.stderr()


def test_what_is_handed_to_the_machine_can_be_followed():
    """Each trace point of the machine, and the names of commands, events and disks in them."""
    with guest() as m:
        m.start('-S', '-trace', 'enable=machine_*,file=' + m.path('trace'))
        m.cmd('query-cpus-fast')
        m.error('no-such-command')
        m.cmd('block_resize', node_name='n1', size=80 << 20)
        m.cmd('cont')
        m.wait_event('RESUME')
        assert m.quit() == 0
        with open(m.path('trace')) as f:
            text = f.read()
        for words in ('machine_child', 'what=begin', 'what=end', 'machine_request_begin', 'command=query-cpus-fast',
                      'machine_request_end', 'has not been found', 'machine_event', 'event=RESUME', 'machine_disk',
                      'what=exchange'):
            assert words in text, '%s\n%s' % (words, text)


def test_the_schema_and_the_commands_are_those_of_both_halves():
    with Machine() as m:
        m.start('-S')
        commands = [c['name'] for c in m.cmd('query-commands')]
        schema = m.cmd('query-qmp-schema')
        names = [e['name'] for e in schema if e['meta-type'] == 'command']
        assert len(set(commands)) == len(commands) and sorted(names) == sorted(commands)
        for name in ('blockdev-group-snapshot-sync', 'query-cpus-fast', 'device_add', 'balloon', 'migrate', 'transaction'):
            assert name in commands, name
        types = {e['name'] for e in schema}
        assert len(types) == len(schema)
        for e in schema:
            for key in ('arg-type', 'ret-type', 'element-type'):
                assert key not in e or e[key] in types, e
            for member in e.get('members', []):
                assert 'type' not in member or member['type'] in types, e
        for name in commands:                   # each is known to somebody
            if name.startswith('query-') and name not in ('query-qmp-schema',):
                try:
                    m.cmd(name)
                except Exception as err:
                    assert 'CommandNotFound' not in str(err), name
        assert m.quit() == 0


main(globals())
