#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
A target installs what it needs and no more, also when a package went after the first build; and `make install`
takes a prefix.  dpkg and apt are replaced by programs that note what they are asked.
"""

import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
# What is for the tests only, and what for the sanitizers only.
TESTS_ONLY = {'qemu-system-x86', 'fio', 'fuse3', 'libfuse3-dev', 'man-db', 'libjansson-dev', 'libnbd-bin', 'dpkg-dev'}
CLANG = {'clang', 'libclang-rt-14-dev'}


def program(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, 'w') as f:
        f.write('#!/bin/sh\n' + text)
    os.chmod(path, 0o755)


def installed_by(*args, there=()):
    """The packages that apt-get is told to install, where those @there are installed."""
    with tempfile.TemporaryDirectory() as d:
        program(d, 'dpkg-query', ''.join("echo '%s installed'\n" % p for p in there) + 'exit 1\n')
        program(d, 'apt-get', 'echo "$@" >> %s/log\n' % d)
        program(d, 'sudo', '"$@"\n')
        r = subprocess.run([os.path.join(TOP, 'scripts/install-deps'), *args], text=True, timeout=60,
                           capture_output=True, env=dict(os.environ, PATH=d + ':' + os.environ['PATH']))
        assert r.returncode == 0, r
        if not os.path.exists(d + '/log'):
            return set()
        with open(d + '/log') as f:
            words = [line for line in f if ' install ' in line][0].split()
        assert all(p in r.stdout for p in words[words.index('--no-install-recommends') + 1:]), r.stdout
        return set(words[words.index('--no-install-recommends') + 1:])


def make(*args):
    return subprocess.run(['make', '-n', '-C', TOP, *args], capture_output=True, text=True, timeout=60).stdout


def main():
    if not shutil.which('make'):
        print('skipped: make is not installed')
        sys.exit(77)
    build, demo, check, clang = (installed_by('--quiet', s) for s in ('build', 'demo', 'check', 'clang'))
    assert {'meson', 'ninja-build', 'libglib2.0-dev', 'gcc'} <= build < demo < check, (build, demo, check)
    assert not demo & (TESTS_ONLY | CLANG) and TESTS_ONLY <= check and not check & CLANG
    assert clang == CLANG
    assert installed_by('--quiet', 'deb') == build | {'dpkg-dev'}
    assert installed_by('--quiet', 'build', there=build) == set()
    assert installed_by('--quiet', 'build', there=build - {'zlib1g-dev'}) == {'zlib1g-dev'}
    assert installed_by('--quiet', 'build', '--also', 'xfsprogs', there=build) == {'xfsprogs'}
    # Looked for at each build, not at the first one only.
    for target in 'all', 'demo', 'check':
        assert 'install-deps --quiet build' in make(target), target
    assert 'install-deps --quiet check' in make('check') and 'quiet check' not in make('demo')
    assert '-Dprefix=\'/nosuch/prefix\'' in make('install', 'prefix=/nosuch/prefix')
    assert '-Dprefix' not in make('install')
    assert "--ref '/nosuch/qemu'" in make('bench', 'REF=/nosuch/qemu')


main()
