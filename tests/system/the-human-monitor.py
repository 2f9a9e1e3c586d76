#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person at the emulator's monitor, or a script in the place of one, can count on."""

import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import time

from emulator import NO_MACHINE, PROGRAM, Folder, Machine, terminal
from rig import main

GREETING = r"QEMU \d+\.\d+\.\d+ monitor - type 'help' for more information\r\n\(qemu\) "
DISK = ['-drive', 'if=none,id=d0,file=a.qcow2']
BREAKS = ['-drive', 'if=none,id=d0,driver=qcow2,file.driver=blkdebug,file.image.driver=file,'
          'file.image.filename=a.qcow2']


def disk(f, size='8M'):
    f.create('a.qcow2', 'qcow2', size)


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it does not come to that'
        time.sleep(0.02)


class Terminal:
    """A monitor at the other end of a file descriptor."""

    def __init__(self, fd):
        self.fd = fd
        self.seen = b''

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern, seconds=20):
        """What has come up to a match of @pattern."""
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern.encode(), self.seen)
            if match:
                text, self.seen = self.seen[:match.end()], self.seen[match.end():]
                return text.decode()
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, (pattern, self.seen)
            data = os.read(self.fd, 65536)
            assert data, (pattern, self.seen)
            self.seen += data

    def line(self, text):
        self.type(text + '\n')
        return self.expect(r'\(qemu\) ')


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    wait_until(lambda: sock.connect_ex(path) == 0)
    return sock


# -- sessions

def test_a_script_finds_each_answer_below_its_line():
    with Folder() as f:
        disk(f)
        text = terminal(['info status', 'qemu-io d0 "write 0 4k"', 'qemu-io d0 foo', 'info name', 'quit', 'info name'],
                        *DISK)
        lines = re.sub(r'sec \(.*\)', 'sec', text).split('\n')
        assert lines[1:] == ['(qemu) info status', 'VM status: running', '(qemu) qemu-io d0 "write 0 4k"',
                             'wrote 4096/4096 bytes at offset 0', '4 KiB, 1 ops; 00.00 sec',
                             '(qemu) qemu-io d0 foo', 'command "foo" not found', '(qemu) info name',
                             '(qemu) quit', ''], lines


def test_a_device_that_cannot_be_made_is_told_below_the_greeting():
    text = terminal([], '-device', 'nosuch', status=1)
    assert re.fullmatch(r"QEMU [\d.]+ monitor - type 'help' for more information\nqemu-system-x86_64: -device nosuch: "
                        r".*\n", text), text


def test_clients_come_one_after_the_other_and_at_the_same_time():
    with Folder(), Machine('-monitor', 'unix:hmp.sock,server,nowait'):
        for _ in range(3):
            with connect('hmp.sock') as a, connect('hmp.sock') as b:
                first, second = Terminal(a.fileno()), Terminal(b.fileno())
                first.expect(GREETING)
                second.expect(GREETING)
                assert 'VM status: running' in second.line('info status')
                assert 'VM status: running' in first.line('info status')


def test_a_client_that_does_not_read_holds_up_nobody():
    with Folder(), Machine('-mon', 'chardev=c,mode=readline', '-chardev',
                           'socket,id=c,path=hmp.sock,server=on,wait=off') as m:
        with connect('hmp.sock') as lazy:
            lazy.settimeout(1)
            try:
                for _ in range(5000):
                    lazy.sendall(b'help\n' * 100)
            except socket.timeout:
                pass
            with connect('hmp.sock') as s:
                other = Terminal(s.fileno())
                other.expect(GREETING)
                assert 'VM status' in other.line('info status')
            assert m.hmp('info status').startswith('VM status')


def test_the_end_of_input_leaves_the_emulator_running():
    with Folder():
        proc = subprocess.Popen([PROGRAM, *NO_MACHINE, '-monitor', 'stdio', '-qmp', 'unix:q.sock,server=on,wait=off'],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        connect('q.sock').close()
        time.sleep(0.2)
        assert proc.poll() is None
        proc.terminate()
        text, _ = proc.communicate(timeout=30)
        assert proc.returncode == 0 and '(qemu) ' in text, text


def test_a_terminal_is_edited_by_us_and_left_as_it_was():
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    proc = subprocess.Popen([PROGRAM, *NO_MACHINE, '-monitor', 'stdio'], stdin=slave, stdout=slave, stderr=slave,
                            start_new_session=True)
    t = Terminal(master)
    t.expect(GREETING.replace(r'\r\n', r'\r+\n'))
    assert not termios.tcgetattr(slave)[3] & (termios.ICANON | termios.ECHO)
    t.type('info stxx\x7f\x7fatus\r')
    t.expect(r'VM status: running')
    t.expect(r'\(qemu\) ')
    t.type('\x1b[A\r')
    t.expect(r'VM status: running')
    t.expect(r'\(qemu\) ')
    t.type('info stat\t')
    t.expect('us ')
    t.type('\x15quit\r')
    assert proc.wait(timeout=30) == 0
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_monitors_that_nobody_has():
    for kind in ('none', 'null'):
        with Folder(), Machine('-monitor', kind) as m:
            assert m.hmp('info name') == ''


# -- what commands do

def test_the_answer_of_qemu_io_is_on_standard_output():
    with Folder() as f:
        disk(f)
        with Machine(*DISK) as m:
            assert m.io('write -P 1 0 64k').startswith('wrote 65536/65536 bytes at offset 0\n')
            assert m.io('read -P 1 0 64k').startswith('read 65536/65536 bytes at offset 0\n')
            assert m.io('read -P 2 0 64k').startswith('Pattern verification failed')
            assert m.io('foo') == ''
            with open('stderr') as err:
                assert 'command "foo" not found\n' in err.read()


def test_what_is_printed_for_qmp_on_standard_output_stands_above_the_reply():
    with Folder() as f:
        disk(f)
        request = '{"execute": "human-monitor-command", "arguments": {"command-line": "qemu-io d0 \\"%s\\""}}\n'
        r = subprocess.run([PROGRAM, *NO_MACHINE, *DISK, '-qmp', 'stdio'], text=True, stdout=subprocess.PIPE,
                           input='{"execute": "qmp_capabilities"}\n' + request % 'write 0 4k' + request % 'length' +
                           '{"execute": "quit"}\n', timeout=60)
        lines = r.stdout.replace('\r', '').split('\n')
        assert lines[2].startswith('wrote 4096') and lines[3].startswith('4 KiB'), lines
        assert lines[4] == '{"return": ""}' and lines[5:7] == ['8 MiB', '{"return": ""}'], lines


def test_requests_go_on_between_commands():
    with Folder() as f:
        disk(f)
        with Machine(*BREAKS) as m:
            assert m.io('break write_aio A') == ''
            assert m.io('aio_write -P 9 0 64k') == ''
            m.io('wait_break A')
            assert 'd0' in m.hmp('info block')
            m.io('resume A')
            m.io('aio_flush')
            with open('stdout') as out:
                assert 'wrote 65536/65536 bytes' in out.read()
            assert m.io('read -P 9 0 64k').startswith('read 65536')


def test_a_request_that_waits_ends_with_the_emulator():
    for last in ('aio_write 0 64k', 'wait_break B', 'sleep 1000000'):
        with Folder() as f:
            disk(f)
            with Machine(*BREAKS) as m:
                m.io('break write_aio A')
                m.send('human-monitor-command', **{'command-line': 'qemu-io d0 "%s"' % last})
                time.sleep(0.2)
                m.proc.terminate()
                assert m.proc.wait(timeout=20) == 0, last


def test_a_disk_is_claimed_only_as_long_as_it_is_written():
    """An overlay that somebody has lets nobody write to its base."""
    with Folder() as f:
        disk(f)
        f.create('over.qcow2', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', '8M')
        over = {'driver': 'qcow2', 'node-name': 'over', 'file': {'driver': 'file', 'filename': 'over.qcow2'},
                'backing': 'n'}
        with Machine(*[option + ',node-name=n' if 'a.qcow2' in option else option for option in DISK]) as m:
            assert m.io('write -P 1 0 64k').startswith('wrote')
            m.cmd('blockdev-add', **over)
            assert m.hmp('nbd_server_start unix:n.sock') == ''
            assert m.hmp('nbd_server_add -w over') == ''
            assert m.hmp('qemu-io d0 "write -P 2 0 64k"') == 'Block node is read-only\r\n'
            assert m.io('read -P 1 0 64k').startswith('read')


def test_commit_keeps_the_disk():
    with Folder() as f:
        f.create('base.qcow2', 'qcow2', '8M')
        f.create('a.qcow2', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', '16M')
        with Machine(*DISK) as m:
            m.io('write -P 1 0 1M')
            m.io('write -P 2 12M 64k')
            m.io('write -z 1M 64k')
            assert m.hmp('commit d0') == ''
            assert '16 MiB (0x1000000) bytes not allocated' in m.io('map')
            for pattern, where in ((1, '0 1M'), (2, '12M 64k'), (0, '1M 64k')):
                assert m.io('read -P %d %s' % (pattern, where)).startswith('read ')
            m.io('write -P 3 0 64k')
            node, = (n for n in m.cmd('query-named-block-nodes') if n['file'] == 'base.qcow2' and n['drv'] == 'qcow2')
            assert node['ro']
        r = subprocess.run(['qemu-io', '-r', '-c', 'read -P 1 0 1M', '-c', 'read -P 2 12M 64k', 'base.qcow2'],
                           stdout=subprocess.PIPE, text=True, check=True)
        assert 'failed' not in r.stdout, r.stdout
        subprocess.run(['qemu-img', 'check', '-q', 'base.qcow2'], check=True)


def test_commit_holds_a_disk_in_use():
    """Requests that come meanwhile wait; those that were there do not hold it up for ever."""
    with Folder() as f:
        f.create('base.qcow2', 'qcow2', '64M')
        f.create('a.qcow2', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', '64M')
        with Machine(*DISK, '-blockdev', 'null-co,node-name=null') as m:
            m.io('write -P 1 0 64M')
            assert m.hmp('nbd_server_start unix:n.sock') == ''
            assert m.hmp('nbd_server_add -w d0 x') == ''
            writer = subprocess.Popen(['qemu-io', '-f', 'raw', 'nbd+unix:///x?socket=n.sock'], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            for i in range(200):
                writer.stdin.write('write -P %d %dk 4k\n' % (i + 1, i * 64))
            writer.stdin.flush()
            assert m.hmp('commit d0') == ''
            writer.stdin.close()
            assert writer.wait(timeout=30) == 0
            for i in range(200):
                assert m.io('read -q -P %d %dk 4k' % (i + 1, i * 64)) == '', i
            assert m.io('read -q -P 1 4k 60k') == ''


def test_commit_of_a_device():
    """Which lets nobody else write to its disk."""
    with Folder() as f:
        f.create('base.qcow2', 'qcow2', '8M')
        f.create('a.qcow2', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', '8M')
        options = ['-M', 'pc', '-accel', 'qtest', '-qtest', 'null', *DISK, '-device', 'virtio-blk-pci,drive=d0,id=v']
        with Machine(*options) as m:
            m.io('write -P 1 0 1M', disk='-d v/virtio-backend')
            assert m.hmp('commit d0') == ''
            assert 'not allocated' in m.io('map') and m.io('read -P 1 0 1M').startswith('read')


def test_a_base_that_others_read_is_not_committed_to():
    with Folder() as f:
        f.create('base.qcow2', 'qcow2', '8M')
        for name in ('a', 'b'):
            f.create(name + '.qcow2', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', '8M')
        options = ['-blockdev', 'qcow2,node-name=base,read-only=on,file.driver=file,file.filename=base.qcow2']
        for name in ('a', 'b'):
            options += ['-drive', 'if=none,id=%s,driver=qcow2,file.driver=file,file.filename=%s.qcow2,backing=base'
                        % (name, name)]
        with Machine(*options) as m:
            m.io('write -P 1 0 64k', disk='a')
            assert "'commit' error for 'a': " in m.hmp('commit a')
            assert m.io('read -P 1 0 64k', disk='a').startswith('read')
            assert m.io('read -P 0 0 64k', disk='b').startswith('read')


def test_snapshots_of_all_disks_and_of_some():
    with Folder() as f:
        f.create('a.qcow2', 'qcow2', '1M')
        f.create('b.qcow2', 'qcow2', '1M')
        subprocess.run(['qemu-img', 'snapshot', '-c', 'both', 'a.qcow2'], check=True)
        subprocess.run(['qemu-img', 'snapshot', '-c', 'both', 'b.qcow2'], check=True)
        subprocess.run(['qemu-img', 'snapshot', '-c', 'one', 'b.qcow2'], check=True)
        with Machine(*DISK, '-drive', 'if=none,id=d1,file=b.qcow2') as m:
            lines = m.hmp('info snapshots').split('\r\n')
            assert lines[0] == 'List of snapshots present on all disks:' and lines[2].startswith('--        both ')
            assert lines[4] == "List of partial (non-loadable) snapshots on 'd1':" and lines[6].startswith('2         one ')
            assert 'Snapshot list:\r\nID ' in m.hmp('info block -v d0')
        nodes = ['-blockdev', 'qcow2,node-name=n,file.driver=file,file.filename=a.qcow2',
                 '-blockdev', 'copy-on-read,node-name=filter,file=n']
        with Machine(*nodes) as m:
            lines = m.hmp('info snapshots').split('\r\n')
            assert len(lines) == 4 and lines[2].startswith('--        both '), lines
        with Machine() as m:
            assert m.hmp('info snapshots') == 'no block device can store vmstate for snapshot\r\n'


if __name__ == '__main__':
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    main(globals())
