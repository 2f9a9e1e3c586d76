#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Every example of qmp-commands.hx works as it is printed: each is run against a fresh daemon ($QSD)
in an empty directory, and what comes back is compared.

Usage: qmp-examples.py [COMMAND...]
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
sys.path[:0] = [os.path.join(TOP, 'tests', 'qmp'), os.path.join(TOP, 'scripts')]
from qapi import hx                                             # noqa: E402
from qmp import QMP                                             # noqa: E402

ANY = '<any>'           # a value that may be anything
REST = '<rest>'         # more members or elements may follow

QSD = os.environ['QSD']
PROGRAMS = {
    'qemu-storage-daemon': [QSD],
    'qemu-system-x86_64': [os.path.join(os.path.dirname(QSD), 'qemu-system-x86_64'),
                           '-nodefaults', '-display', 'none', '-machine', 'none'],
}


def parse_pattern(text):
    """JSON with `...` for: any value, the rest of an array or object, any text in a string."""
    strings = re.compile(r'"(?:[^"\\]|\\.)*"')
    out, pos = [], 0
    for m in list(strings.finditer(text)) + [None]:
        gap = text[pos:m.start() if m else len(text)]
        gap = re.sub(r',\s*\.\.\.\s*}', ', "%s": 0}' % REST, gap)
        gap = re.sub(r'([,\[])\s*\.\.\.\s*\]', r'\1 "%s"]' % REST, gap)
        gap = gap.replace('...', '"%s"' % ANY)
        out.append(gap)
        if m:
            out.append(m.group())
            pos = m.end()
    return json.loads(''.join(out))


def matches(want, got):
    if want == ANY:
        return True
    if isinstance(want, dict):
        if not isinstance(got, dict) or not all(
                k in got and matches(v, got[k]) for k, v in want.items() if k != REST):
            return False
        return REST in want or len(want) == len(got)
    if isinstance(want, list):
        rest = REST in want
        want = [w for w in want if w != REST]
        return (isinstance(got, list) and (len(got) >= len(want) if rest else
                                           len(got) == len(want))
                and all(matches(w, g) for w, g in zip(want, got)))
    if isinstance(want, str) and isinstance(got, str) and '...' in want:
        pattern = '.*'.join(re.escape(part) for part in want.split('...'))
        return re.fullmatch(pattern, got, re.S) is not None
    return type(want) is type(got) and want == got


def make_disk(directory, words):
    name, size, fmt = (words.split() + ['raw'])[:3]
    path = os.path.join(directory, name)
    if fmt == 'raw':
        units = {'k': 10, 'M': 20, 'G': 30}
        nbytes = int(size[:-1]) << units[size[-1]] if size[-1] in units else int(size)
        with open(path, 'wb') as f:
            f.truncate(nbytes)
    else:
        subprocess.run(['qemu-img', 'create', '-q', '-f', fmt, path, size], check=True)


class Example:
    def __init__(self, stanza, directory):
        self.stanza, self.directory = stanza, directory
        self.stash = []         # what came and was not expected yet

    def receive(self, want):
        """What @want describes; events in between may come in any order among themselves."""
        for i, obj in enumerate(self.stash):
            if matches(want, obj):
                return self.stash.pop(i)
        while True:
            obj = self.qmp.recv_object(timeout=20)
            if obj is None:
                raise AssertionError('the daemon ended instead of sending %s' % want)
            if matches(want, obj):
                return obj
            if 'event' not in obj:
                raise AssertionError('expected %s, got %s' % (json.dumps(want), json.dumps(obj)))
            self.stash.append(obj)

    def setup(self, text):
        reply = self.qmp.cmd_obj(json.loads(text))
        self.stash += self.qmp.take_events()
        if 'error' in reply:
            raise AssertionError('setup %s: %s' % (text, reply))

    def run(self):
        for disk in self.stanza.disks:
            make_disk(self.directory, disk)
        argv = PROGRAMS[self.stanza.program] + ['--qmp', 'unix:qmp.sock,server=on,wait=off']
        for options in self.stanza.options:
            argv += shlex.split(options)
        daemon = subprocess.Popen(argv, cwd=self.directory, stdin=subprocess.DEVNULL)
        here = os.getcwd()
        os.chdir(self.directory)
        try:
            negotiate = self.stanza.name != 'qmp_capabilities'
            self.qmp = QMP('qmp.sock', negotiate=negotiate, timeout=20)
            for kind, text in self.stanza.steps:
                if kind == 'setup':
                    self.setup(text)
                elif kind == 'send':
                    self.qmp.send_raw(text.encode() + b'\n')
                else:
                    self.receive(parse_pattern(text))
            self.qmp.close()
        finally:
            os.chdir(here)
            daemon.terminate()
            try:
                status = daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                raise
        if status != 0:
            raise AssertionError('the daemon ended with status %d' % status)


def main():
    stanzas = hx.read(os.path.join(TOP, 'qmp-commands.hx'))
    failed = 0
    for name in sys.argv[1:] or stanzas:
        directory = tempfile.mkdtemp(prefix='qmp-example-')
        stanza = stanzas[name]
        if any('qcow2' in d.split()[2:] for d in stanza.disks) and not shutil.which('qemu-img'):
            print('skipped (no qemu-img): %s' % name)
            continue
        try:
            Example(stanza, directory).run()
        except Exception as e:
            failed += 1
            print('FAILED %s (%s, files in %s): %r' % (name, stanza.where, directory, e))
        else:
            shutil.rmtree(directory)
    print('%d examples, %d failed' % (len(sys.argv[1:] or stanzas), failed))
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
