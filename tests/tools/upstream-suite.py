#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/qemu-iotests/upstream runs a suite against this build; here one of a few lines."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../qmp'))
from rig import main                                                    # noqa: E402

RUNNER = os.path.join(HERE, '../qemu-iotests/upstream')
BUILD = os.path.dirname(os.environ.get('QEMU_IMG') or os.path.join(HERE, '../../build/tools/x'))

# What the runner counts on in the suite: the command line of its `check`, and the lines it prints.
CHECK = r'''#!/usr/bin/python3
import os, subprocess, sys
args = sys.argv[1:]
words = [a for a in args if not a.startswith('-')]
here = os.path.dirname(os.readlink(sys.argv[0]))
if '-n' in args:
    print('\n'.join(words or sorted(n for n in os.listdir(here) if n.startswith('0'))))
    sys.exit()
name = words[-1]
os.environ['HERE'] = here
os.environ['FORMAT'] = ' '.join(a for a in args if a.startswith('-'))
print('%-8s ...        [10:00:00]              ...' % name, end='\r')
status = subprocess.run(['sh', os.path.join(here, name)]).returncode
if status == 9:
    sys.exit(9)
word, why = {0: ('pass', ''), 2: ('not run', 'not suitable'),
             1: ('fail', 'output mismatch (see /tmp/x)')}[status]
print('%-8s %-10s [10:00:00] [10:00:01]   0.5s  (last: 0.4s)   %s' % (name, word, why))
if word == 'fail':
    print('--- a\n+++ b\n same\n-expected\n+seen')
'''

TESTS = {
    '001': '"$QEMU_IMG_PROG" create -q -f qcow2 a.qcow2 1M && '
           '"$QEMU_IO_PROG" -c "write 0 1M" a.qcow2 && test -x "$QEMU_NBD_PROG" && test -x "$QSD_PROG" && test -n "$SOCK_DIR" && touch a && '
           'test ! "$PWD" -ef "$HERE"',
    '002': 'exit 1',
    '003': 'exit 2',
    '004': '"$QEMU_PROG" -machine help > /dev/null; "$QEMU_PROG" -machine none; exit 1',
    '005': 'echo $$ > "$HERE/pid"; setsid sleep 1000 & echo $! >> "$HERE/pid"; sleep 1000',
    '006': 'echo broken; exit 9',
    '007': 'test "$FORMAT" = "-raw -nbd"',
}


def running(pid):
    """Whether the process is there, and more than what its parent has not asked about yet."""
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


class Suite:
    """A checkout, removed in the end."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix='suite-')
        self.inner = os.path.join(self.dir, 'tests/qemu-iotests')
        os.makedirs(self.inner)
        for name, text in {'check': CHECK, **TESTS}.items():
            with open(os.path.join(self.inner, name), 'w') as f:
                f.write(text)
        self.before = self.files()
        return self

    def __exit__(self, *exc):
        shutil.rmtree(self.dir)

    def files(self):
        return sorted(os.listdir(self.inner))

    def run(self, *words, where=None):
        r = subprocess.run([RUNNER, where or self.dir, '--build', BUILD, *words], text=True,
                           stdin=subprocess.DEVNULL, capture_output=True, timeout=100)
        return re.sub(r' +\d+\.\d( +|$)', ' ', r.stdout, flags=re.M).split('\n')[:-1], r.stderr, r.returncode


def test_every_test_has_a_line_with_its_reason_and_the_last_line_counts():
    with Suite() as s:
        out, err, status = s.run('001', '002', '003', '006')
        assert [' '.join(line.split()) for line in out] == [
            'PASS 001',
            'FAIL 002 output mismatch: -expected',
            'SKIP 003 not suitable',
            'FAIL 006 check ended with status 9: broken',
            '1 passed, 2 failed, 1 skipped'], out
        assert (err, status) == ('', 1)
        assert s.files() == s.before


def test_the_status_is_0_when_none_failed():
    with Suite() as s:
        # The folder of the suite is as good as the top of the checkout
        out, err, status = s.run('001', '003', where=s.inner)
        assert (out[-1], err, status) == ('1 passed, 0 failed, 1 skipped', '', 0), out


def test_format_and_protocol_reach_the_suite():
    with Suite() as s:
        assert s.run('--format', 'raw', '--protocol', 'nbd', '007')[2] == 0
        assert s.run('007')[2] == 1


def test_a_test_that_starts_a_machine_is_skipped():
    with Suite() as s:
        out, _, status = s.run('004')
        assert 'starts a virtual machine' in out[0] and status == 0, out


def test_a_test_that_takes_too_long_ends_and_all_that_it_started():
    with Suite() as s:
        began = time.monotonic()
        out, _, status = s.run('--timeout', '1', '005')
        assert 'not done after 1 s' in out[0] and status == 1, out
        assert time.monotonic() - began < 30
        with open(os.path.join(s.inner, 'pid')) as f:
            for pid in f.read().split():
                assert not running(int(pid)), pid


def test_names_come_from_a_file_and_output_is_kept():
    with Suite() as s:
        listed = os.path.join(s.dir, 'list')
        with open(listed, 'w') as f:
            f.write('# some\n002\n\n003 # and why\n')
        out, _, _ = s.run('--logs', os.path.join(s.dir, 'logs'), '@' + listed)
        assert out[-1] == '0 passed, 1 failed, 1 skipped', out
        with open(os.path.join(s.dir, 'logs/002.log')) as f:
            assert '+seen' in f.read()


def test_what_cannot_be_started_has_status_2():
    with Suite() as s:
        out, err, status = s.run(where='/nowhere')
        assert status == 2 and 'has no "check"' in err and out == [], err
        out, err, status = s.run('--build', '/nowhere')
        assert status == 2 and 'there is no /nowhere' in err and out == [], err


if __name__ == '__main__':
    main(globals())
