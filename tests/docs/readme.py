#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The README's session happens as it is printed: its commands are run, its replies are compared."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../qmp'))
from qmp import QMP                                                    # noqa: E402

spec = importlib.util.spec_from_file_location('examples', os.path.join(HERE, 'qmp-examples.py'))
examples = importlib.util.module_from_spec(spec)
spec.loader.exec_module(examples)


def parts(readme):
    """(commands that prepare and start the daemon, lines of the session, commands that start it again)"""
    shell = re.search(r'## A session.*?```sh\n(.*?)```', readme, re.S).group(1)
    session = re.search(r'<!-- session -->\n```\n(.*?)```', readme, re.S).group(1)
    restart = re.search(r'<!-- restart -->\n```sh\n(.*?)```', readme, re.S).group(1)
    return shell, session.strip().splitlines(), restart


def start(commands, directory):
    commands = commands.replace('build/tools/qemu-storage-daemon', 'exec "$QSD"')
    return subprocess.Popen(['sh', '-e', '-c', commands], cwd=directory, stderr=subprocess.PIPE, text=True)


def disks():
    """The files that the daemon's exports are in; it ends."""
    with QMP('qmp.sock', timeout=20) as qmp:
        nodes = {n['node-name']: os.path.basename(n['file'])
                 for n in qmp.cmd('query-named-block-nodes', flat=True)}
        exports = {e['id']: nodes[e['node-name']] for e in qmp.cmd('query-block-exports')}
        qmp.quit()
    return exports


def keys(line):
    """The names of members, in the order in which they are printed."""
    return re.findall(r'"([a-z-]+)":', re.sub(r'"timestamp": {.*?}', '"timestamp": ...', line))


def main():
    if not shutil.which('qemu-img'):
        print('skipped: qemu-img is not installed')
        return 77
    with open(os.path.join(HERE, '../../README.md'), encoding='utf-8') as f:
        shell, lines, restart = parts(f.read())
    assert lines[0].startswith('<- '), 'a session begins with the greeting'
    directory = tempfile.mkdtemp(prefix='readme-')
    daemon = start(shell, directory)
    os.chdir(directory)
    try:
        qmp = QMP('qmp.sock', negotiate=False, timeout=20)
        assert examples.matches(examples.parse_pattern(lines[0][3:]), qmp.greeting), qmp.greeting
        for line in lines[1:]:
            if line.startswith('-> '):
                qmp.send_raw(line[3:].encode() + b'\n')
                continue
            got = qmp.recv_line()
            want = examples.parse_pattern(line[3:])
            assert examples.matches(want, json.loads(got)), (line, got)
            assert keys(line) == keys(got.decode()), (line, got)
        said = daemon.communicate(timeout=20)[1]
        assert 'warning' not in said and daemon.returncode == 0, (said, daemon.returncode)
        daemon = start(restart, directory)
        assert disks() == {'exp-data': 'data.snap', 'exp-wal': 'wal.snap'}
        said = daemon.communicate(timeout=20)[1]
        assert 'warning' not in said and daemon.returncode == 0, (said, daemon.returncode)
        # And the start that the README warns of is warned of.
        daemon = start(shell[shell.index('build/tools'):], directory)
        assert disks() == {'exp-data': 'data.raw', 'exp-wal': 'wal.qcow2'}
        said = daemon.communicate(timeout=20)[1]
        assert daemon.returncode == 0
        for base, overlay in (('data.raw', 'data.snap'), ('wal.qcow2', 'wal.snap')):
            assert re.search("warning: '[^']*/%s' .*'[^']*/%s' records it" % (base, overlay), said), said
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
        os.chdir('/')
    shutil.rmtree(directory)
    return 0


sys.exit(main())
