# SPDX-License-Identifier: GPL-2.0-or-later
"""
The programs of QEMU that ours are compared with.  Ours have the same names, and once they are
installed they may come first on PATH: what is QEMU's is known by what it says about itself.
"""

import os
import shutil
import subprocess


class NotThere(Exception):
    pass


def version_of(program):
    """The first line of what @program says about its version, if it is QEMU's; else None."""
    try:
        said = subprocess.run([program, '--version'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.splitlines()[0] if 'QEMU Project' in said else None


def reference_program(name, folder=None):
    """(path, version) of QEMU's program @name: in @folder, or else on PATH.  NotThere."""
    folders = [folder] if folder else os.environ.get('PATH', os.defpath).split(os.pathsep)
    others = []
    for where in folders:
        path = shutil.which(name, path=where or '.')
        if path:
            version = version_of(path)
            if version:
                return os.path.abspath(path), version
            others.append(path)
    if others:
        raise NotThere("'%s' is not QEMU's: it does not say so when asked for its version"
                       % "', '".join(others))
    raise NotThere('there is no %s in %s' % (name, folder) if folder else
                   '%s is not installed' % name)
