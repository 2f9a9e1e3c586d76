#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
--trace tells what the daemon ($QSD) does: each trace point that is listed is passed in what is done here and tells what
its description says; what is not asked for is silent; a file that nobody reads holds up nobody.
"""

import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from nbdwire import EIO, READ, Wire                                       # noqa: E402
from qmp import QMP, QMPError                                   # noqa: E402
from rig import main_in_folders                                    # noqa: E402

QSD = os.environ['QSD']
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
LINE = re.compile(r'(\d+)@(\d+\.\d{6}):(\w+)((?: \w+=.*)?)$')


class Daemon:
    """With a monitor on the socket `s`, an NBD server on `n`; .qmp, and .log once it has ended."""

    def __init__(self, *args):
        self.proc = subprocess.Popen(
            [QSD, *args, '--nbd-server', 'addr.type=unix,addr.path=n',
             '--qmp', 'unix:s,server=on,wait=off'],
            stdin=subprocess.DEVNULL, stderr=open('stderr', 'wb'))

    def __enter__(self):
        self.qmp = QMP('s')
        return self

    def __exit__(self, *exc):
        if exc[0]:
            self.proc.kill()
        else:
            self.qmp.quit()
        status = self.proc.wait(timeout=30)
        assert status == 0 or exc[0], status
        with open('stderr', encoding='utf-8') as f:
            self.log = f.read()


def parse(text):
    """(name, arguments) of each line."""
    events = []
    for line in text.splitlines():
        m = LINE.match(line)
        assert m, line
        events.append((m.group(3), dict(re.findall(r' (\w+)=(.*?)(?= \w+=|$)', m.group(4)))))
    return events


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def listed():
    out = subprocess.check_output([QSD, '-T', 'help'], text=True).split()
    for form in (['--trace', 'help'], ['--trace', 'enable=?']):
        assert subprocess.check_output([QSD, *form], text=True).split() == out
    return out


def described():
    """Those of the table, and their arguments."""
    return {m.group(1): [a.split(':')[0] for a in m.group(2).split()]
            for m in re.finditer(r'^(\w+)((?: \w+:\w)*)$',
                                 read(os.path.join(SOURCE, 'util/trace-events')), re.M)}


def fails(qmp, command, **arguments):
    try:
        qmp.cmd(command, arguments)
    except QMPError as e:
        return e.desc
    raise AssertionError(command + ' succeeded')


def work(qmp):
    """Passes every trace point."""
    def add(name, **options):
        qmp.cmd('blockdev-add', {'node-name': name, **options})
    for name in ('a.snap', 'b.snap', 'f'):              # of an earlier turn
        if os.path.exists(name):
            os.unlink(name)
    for name in 'ab':
        with open(name + '.raw', 'wb') as f:
            f.truncate(1 << 20)
        add(name, driver='raw', file={'driver': 'file', 'filename': name + '.raw'})
        qmp.cmd('block-export-add', {'type': 'nbd', 'id': 'e' + name, 'node-name': name,
                                     'name': name, 'writable': True})
    fails(qmp, 'blockdev-add', **{'node-name': 'c', 'driver': 'file', 'filename': 'nosuch'})
    fails(qmp, 'blockdev-add', junk=[{}] * 300000)      # takes the loop a while
    wire = Wire('n').negotiate('a')
    wire.write(4096, b'x' * 512)
    wire.close()
    group = [{'device': n, 'snapshot-file': n + '.snap', 'snapshot-node-name': n + 's'}
             for n in 'ab']
    qmp.cmd('blockdev-group-snapshot-sync', devlist=group)
    fails(qmp, 'blockdev-group-snapshot-sync', devlist=[
        {'device': 'a', 'snapshot-file': 'a.snap2'}, {'device': 'b', 'snapshot-file': 'no/b.snap2'}])
    # A disk of a server: of this one.
    add('own', driver='nbd', server={'type': 'unix', 'path': 'n'}, export='a', **{'read-only': True})
    qmp.cmd('blockdev-del', {'node-name': 'own'})
    # A disk that fails.
    add('bad', driver='blkdebug', image={'driver': 'null-co', 'size': 1 << 20},
        **{'inject-error': [{'event': 'none', 'iotype': 'read', 'errno': 5}]})
    qmp.cmd('block-export-add', {'type': 'nbd', 'id': 'ebad', 'node-name': 'bad', 'name': 'bad'})
    wire = Wire('n').negotiate('bad')
    assert wire.error(READ, 0, 512) == EIO
    wire.close()
    qmp.cmd('blockdev-create', {'job-id': 'j', 'options': {
        'driver': 'file', 'filename': 'f', 'size': 0}})
    qmp.wait_event('JOB_STATUS_CHANGE', status='concluded')
    qmp.cmd('job-dismiss', id='j')
    qmp.cmd('block-export-del', id='ebad', mode='hard')
    qmp.wait_event('BLOCK_EXPORT_DELETED', id='ebad')
    qmp.cmd('blockdev-del', {'node-name': 'bad'})


def each_one_is_passed_and_tells():
    names = listed()
    assert names == list(described()), names
    with Daemon('--trace', 'enable=*,file=trace') as d:
        work(d.qmp)
    assert '@' not in d.log, d.log
    events = parse(read('trace'))
    # Those of the emulator's machine are passed in tests/system.
    missing = {n for n in names if not n.startswith('machine_')} - {n for n, args in events}
    assert not missing, missing
    for name, args in events:
        assert list(args) == described()[name], (name, args)

    def of(name, **wanted):
        found = [a for n, a in events if n == name and all(a[k] == v for k, v in wanted.items())]
        assert found, (name, wanted, [e for e in events if e[0] == name])
        return found
    write, = of('nbd_request_begin', command='write')
    assert write['offset'] == '4096' and write['bytes'] == '512'
    ended, = of('nbd_request_end', cookie=write['cookie'], client=write['client'], command='write')
    assert ended['error'] == '0'
    assert of('nbd_request_end', command='read')[0]['error'] == '5'
    assert of('nbd_client_state', export='a')[0]['state'] == 'transmission'
    assert of('node_io_error', node='bad', operation='read')[0]['error'] == '5'
    assert of('backend_io_error', action='report')[0]['write'] == 'false'
    assert of('node_open', node='as', driver='qcow2')[0]['file'].endswith('a.snap')
    of('node_close', node='bad')
    assert 'No such file' in of('node_open_failed', driver='file')[0]['error']
    of('job_state', job='j', to='concluded')
    of('qmp_command_begin', command='blockdev-group-snapshot-sync', oob='false')
    assert 'no/b.snap2' in of('qmp_command_end', command='blockdev-group-snapshot-sync')[1]['error']
    of('qmp_event', event='BLOCK_GROUP_SNAPSHOT_COMPLETED')
    # The steps of one group snapshot, in their order.
    two = of('transaction_action')[0]['transaction']
    steps = [a for n, a in events if n == 'transaction_step' and a['transaction'] == two][:7]
    assert [s['step'] for s in steps] == ['check', 'prepare', 'flush', 'hold', 'work', 'commit',
                                          'resume'], steps
    assert all(s['ok'] == 'true' and int(s['ns']) >= 0 for s in steps)
    assert 'no/b.snap2' in of('transaction_error', index='1')[0]['error']


def only_what_is_asked_for():
    with Daemon() as d:
        work(d.qmp)
    assert '@' not in d.log, d.log                      # off: silent
    with open('events', 'w', encoding='utf-8') as f:
        f.write('# steps\n\n  transaction_s?ep \nnbd_*\n-nbd_client*\n')
    with Daemon('-T', 'events=events', '-T', 'job_state') as d:
        work(d.qmp)
    lines = [line.partition(': ')[2] for line in d.log.splitlines() if '@' in line]
    assert {n for n, args in parse('\n'.join(lines))} == {
        'transaction_step', 'nbd_request_begin', 'nbd_request_end', 'nbd_connection', 'job_state'}, lines


def switched_while_it_runs():
    with Daemon() as d:
        assert d.qmp.cmd('trace-event-get-state', name='job_state') == [
            {'name': 'job_state', 'state': 'disabled', 'vcpu': False}]
        d.qmp.cmd('trace-event-set-state', name='qmp_command_*', enable=True)
        assert {e['name'] for e in d.qmp.cmd('trace-event-get-state', name='*')
                if e['state'] == 'enabled'} == {'qmp_command_begin', 'qmp_command_end'}
        assert 'qmp_command_end : state 1\r\n' in d.qmp.hmp('info trace-events qmp_c*')
        assert d.qmp.hmp('trace-event qmp_* off') == ''
        d.qmp.cmd('query-version')
        assert 'state 1' not in d.qmp.hmp('info trace-events')
        for command, more in (('trace-event-get-state', {}),
                              ('trace-event-set-state', {'enable': True})):
            assert 'unknown event "none"' in fails(d.qmp, command, name='none', **more)
        d.qmp.cmd('trace-event-set-state', {'name': 'none', 'enable': True,
                                            'ignore-unavailable': True})
        assert 'unknown event' in d.qmp.hmp('trace-event none on')
        assert "'on' or 'off'" in d.qmp.hmp('trace-event job_state')
    assert 'command=trace-event-get-state' in d.log and 'query-version' not in d.log, d.log


def nobody_waits_for_the_file():
    os.mkfifo('pipe')
    fd = os.open('pipe', os.O_RDWR | os.O_NONBLOCK)     # takes 64 KiB and no more
    start = time.monotonic()
    with Daemon('-T', '*,file=pipe') as d:
        for _ in range(60000 // 3):
            d.qmp.send_raw(b'{"execute": "nosuch"}{"execute": "query-name"}{"execute": "query-name"}')
            if _ % 100 == 99:
                for _ in range(300):
                    d.qmp.recv_reply()
        assert d.qmp.cmd('query-status')['running']
    assert time.monotonic() - start < 60
    os.close(fd)


def wrong_options():
    for value, text in (('foo=bar', "Invalid parameter 'foo'"),
                        ('events=/nosuch', "Cannot read the trace events of '/nosuch'"),
                        ('job*,file=/nosuch/x', "Cannot open the trace file '/nosuch/x': No such")):
        run = subprocess.run([QSD, '-T', value], stdin=subprocess.DEVNULL, capture_output=True,
                             timeout=30, text=True, check=False)
        assert run.returncode == 1 and text in run.stderr, run
    run = subprocess.run([QSD, '-T', 'nosuch', '--version'], capture_output=True, text=True,
                         timeout=30, check=True)
    assert "warning: trace event 'nosuch' does not exist" in run.stderr, run


def are_probes():
    """Where the build found sys/sdt.h, debuggers can attach to each of them."""
    if shutil.which('readelf'):
        notes = subprocess.check_output(['readelf', '-n', QSD], text=True)
        found = set(re.findall(r'Provider: qsd\s+Name: (\w+)', notes))
        # The daemon has no machine.
        wanted = {n for n in listed() if not n.startswith('machine_')}
        assert not found or found == wanted, found ^ wanted


def documented():
    page = read(os.path.join(SOURCE, 'docs/design/tracing.md'))
    missing = [n for n in described() if '`%s`' % n not in page]
    assert not missing, missing


if __name__ == '__main__':
    main_in_folders(each_one_is_passed_and_tells, only_what_is_asked_for, switched_while_it_runs,
                    nobody_waits_for_the_file, wrong_options, are_probes, documented)
