# SPDX-License-Identifier: GPL-2.0-or-later
"""
qemu-io and a directory of its own for a test.

    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        out, err, status = d.io('a.qcow2', 'write 0 64k', 'read -P 0xcd 0 64k')

Ours is found by $QEMU_IO, the installed one and qemu-img on PATH.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../qmp'))
from rig import main, requires, run, skip                               # noqa: E402,F401

QEMU_IO = os.path.abspath(os.environ.get('QEMU_IO') or
                          os.path.join(HERE, '../../build/tools/qemu-io'))


def mask(text):
    """Times and speeds, which are never the same twice."""
    text = re.sub(r'ops; [^(\n]*\([^)\n]*\)', 'ops; TIME', text)
    return re.sub(r'^(\d+,\d+),[\d:.]+,[\d.]+,[\d.]+$', r'\1,TIME', text, flags=re.M)


class Images:
    """A directory with images."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix='qemuio-')
        return self

    def __exit__(self, *exc):
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def create(self, name, fmt, *args):
        run('qemu-img', 'create', '-q', '-f', fmt, *args[:-1], name, args[-1], cwd=self.dir)
        return name

    def write(self, name, text):
        with open(self.path(name), 'w') as f:
            f.write(text)
        return name

    def start(self, args, program=QEMU_IO, stdin='', timeout=60, **kwargs):
        """The program with @args, to its end: (masked stdout, masked stderr, status)."""
        r = subprocess.run([program, *args], cwd=self.dir, input=stdin, capture_output=True,
                           text=True, timeout=timeout, **kwargs)
        return mask(r.stdout), mask(r.stderr), r.returncode

    def io(self, *words, options=(), program=QEMU_IO, **kwargs):
        """The first of @words is the image (None: none), the others are commands."""
        args = list(options) + ([words[0]] if words[0] else [])
        for command in words[1:]:
            args += ['-c', command]
        return self.start(args, program, **kwargs)

    def ok(self, *words, **kwargs):
        """The same, for what works and has nothing to say on stderr: its output."""
        out, err, status = self.io(*words, **kwargs)
        assert (err, status) == ('', 0), (words, out, err, status)
        return out


def wrote(bytes_, offset, human, verb='wrote'):
    return '%s %d/%d bytes at offset %d\n%s, 1 ops; TIME\n' % (verb, bytes_, bytes_, offset, human)


def read(bytes_, offset, human):
    return wrote(bytes_, offset, human, 'read')
