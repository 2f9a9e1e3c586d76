#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A client written for QEMU finds here what it knows: each command, event and member that both this
project and the installed QEMU have has the same type and is optional where it is there.  What is
ours alone is listed below and nothing else is.  $QSD is the daemon.
"""

import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'qmp'))
from qmp import QMP

# Ours alone: commands and events, and members by the command or event they are in.
EXTRA = {'blockdev-group-snapshot-sync', 'BLOCK_GROUP_SNAPSHOT_COMPLETED', 'cont', 'blockdev-check',
         'BLOCKDEV_CHECK_COMPLETED', 'block-job-change'}
EXTRA_MEMBERS = {
    'claims', 'id', 'server', 'handshake-max-seconds', 'held-ns', 'held-count', 'delay-ns', 'nth',
    'rerror', 'werror', 'mode', 'locks', 'for-check', 'cluster-size', 'extended-l2',
    'actively-synced', 'unmap', 'auto-converge', 'backing-mask-protocol',
    'min-cluster-size', 'bitmaps',
}
# Values of enums.
EXTRA_VALUES = {'check'}
# allow-oob is a promise that ours makes for more commands.


def schema(argv):
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'qmp')
        proc = subprocess.Popen([a.replace('SOCKET', path) for a in argv],
                                stdin=subprocess.DEVNULL)
        try:
            with QMP(path) as qmp:
                result = {e['name']: e for e in qmp.cmd('query-qmp-schema')}
                qmp.quit()
        finally:
            proc.wait()
    return result


class Comparison:
    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs
        self.problems = []
        self.done = set()

    def problem(self, path, text):
        self.problems.append('%s: %s' % (path, text))

    def types(self, path, a, b):
        if (a, b) in self.done:
            return
        self.done.add((a, b))
        mine, other = self.ours[a], self.theirs[b]
        kind = mine['meta-type']
        if kind != other['meta-type']:
            self.problem(path, 'is %s, not %s' % (kind, other['meta-type']))
        elif kind == 'builtin' and mine['json-type'] != other['json-type']:
            self.problem(path, 'is %s, not %s' % (mine['json-type'], other['json-type']))
        elif kind == 'array':
            self.types(path + '[]', mine['element-type'], other['element-type'])
        elif kind == 'enum':
            more = set(mine['values']) - set(other['values']) - EXTRA_VALUES
            if more:
                self.problem(path, 'has values of its own: %s' % sorted(more))
        elif kind == 'object':
            self.objects(path, mine, other)
        elif kind == 'alternate':
            self.alternates(path, mine, other)

    def objects(self, path, mine, other):
        known = {m['name']: m for m in other['members']}
        for m in mine['members']:
            name = '%s.%s' % (path, m['name'])
            if m['name'] not in known:
                if m['name'] not in EXTRA_MEMBERS:
                    self.problem(name, 'is not in QEMU')
                elif 'default' not in m:
                    self.problem(name, 'is not in QEMU and not optional')
                continue
            if ('default' in m) != ('default' in known[m['name']]):
                self.problem(name, 'optional in one only')
            self.types(name, m['type'], known[m['name']]['type'])
        missing = {n for n, m in known.items() if 'default' not in m} - {
            m['name'] for m in mine['members']}
        if missing:
            self.problem(path, 'lacks %s' % sorted(missing))
        if mine.get('tag') != other.get('tag'):
            self.problem(path, 'has another tag')
        cases = {v['case']: v['type'] for v in other.get('variants', [])}
        for v in mine.get('variants', []):
            if v['case'] in cases:
                self.types('%s(%s)' % (path, v['case']), v['type'], cases[v['case']])

    def alternates(self, path, mine, other):
        def by_kind(where, members):
            return {where[m['type']]['meta-type'] if where[m['type']]['meta-type'] != 'builtin'
                    else where[m['type']]['json-type']: m['type'] for m in members}
        a, b = by_kind(self.ours, mine['members']), by_kind(self.theirs, other['members'])
        if set(a) != set(b):
            self.problem(path, 'has other branches')
        for kind in set(a) & set(b):
            self.types('%s(%s)' % (path, kind), a[kind], b[kind])

    def run(self):
        for name, entity in self.ours.items():
            if entity['meta-type'] not in ('command', 'event'):
                continue
            if name not in self.theirs:
                if name not in EXTRA:
                    self.problem(name, 'is not in QEMU')
                continue
            self.types(name, entity['arg-type'], self.theirs[name]['arg-type'])
            if 'ret-type' in entity:
                self.types(name + '()', entity['ret-type'], self.theirs[name]['ret-type'])
            if entity.get('features', []) != self.theirs[name].get('features', []):
                if not set(entity.get('features', [])) <= set(
                        self.theirs[name].get('features', [])):
                    self.problem(name, 'has features of its own')
        return self.problems


def main():
    qsd = os.environ['QSD']
    qemu = shutil.which('qemu-system-x86_64')
    if not qemu:
        print('skipped: no qemu-system-x86_64')
        sys.exit(77)
    ours = schema([qsd, '--qmp', 'unix:SOCKET,server=on,wait=off'])
    theirs = schema([qemu, '-M', 'none', '-display', 'none', '-qmp',
                     'unix:SOCKET,server=on,wait=off'])
    problems = Comparison(ours, theirs).run()
    for p in problems:
        print(p)
    sys.exit(1 if problems else 0)


if __name__ == '__main__':
    main()
