#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark never takes ourselves for QEMU, wherever we are installed; and measures the programs that it was given."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../qmp'))
from reference import NotThere, reference_program                      # noqa: E402
from rig import QSD, Rig, main, skip                                   # noqa: E402

try:
    QEMU = {name: reference_program(name)[0] for name in ('qemu-storage-daemon', 'qemu-img')}
except NotThere as e:
    skip(e)


def bench(*args, path):
    r = subprocess.run([sys.executable, os.path.join(HERE, 'bench'), 'build', '--who', *args],
                       env=dict(os.environ, PATH=path), capture_output=True, text=True, timeout=60)
    return r.returncode, r.stdout.split(), r.stderr


def folder(r, name, **programs):
    os.mkdir(r.path(name))
    for program, target in programs.items():
        os.symlink(os.path.abspath(target), os.path.join(r.path(name), program.replace('_', '-')))
    return r.path(name)


def test_ours_first_on_the_path_is_passed_over():
    with Rig() as r:
        ours = folder(r, 'ours', qemu_storage_daemon=QSD)
        status, who, err = bench(path=ours + ':' + os.environ['PATH'])
        assert (status, who) == (0, [QEMU['qemu-storage-daemon'], QEMU['qemu-img']]), (who, err)


def test_ours_alone_is_refused():
    with Rig() as r:
        ours = folder(r, 'ours', qemu_storage_daemon=QSD, qemu_img=QEMU['qemu-img'])
        for args, path in (((), ours), (('--ref', ours), os.environ['PATH'])):
            status, who, err = bench(*args, path=path)
            assert status == 1 and who == [] and "is not QEMU's" in err, (who, err)


def test_the_programs_of_a_folder():
    with Rig() as r:
        theirs = folder(r, 'theirs', qemu_storage_daemon=QEMU['qemu-storage-daemon'],
                        qemu_img=QEMU['qemu-img'])
        status, who, err = bench('--ref', theirs, path='/nosuch')
        assert (status, who) == (0, [theirs + '/qemu-storage-daemon', theirs + '/qemu-img']), err
        status, _, err = bench('--ref', r.path('nosuch'), path=os.environ['PATH'])
        assert status == 1 and 'there is no qemu-storage-daemon' in err, err


main(globals())
