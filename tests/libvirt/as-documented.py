# SPDX-License-Identifier: GPL-2.0-or-later
"""What docs/libvirt.md shows happens: its domain, its commands, its script."""

from host import in_a_namespace, Host

in_a_namespace()

import os                                                               # noqa: E402
import re                                                               # noqa: E402
import subprocess                                                       # noqa: E402
from host import EMULATOR, HERE                                         # noqa: E402
from rig import main                                                    # noqa: E402

IMAGES, PROGRAM = '/var/lib/libvirt/images', '/usr/local/bin/qemu-system-x86_64'
host = Host()


def part(name):
    with open(os.path.join(HERE, '../../docs/libvirt.md')) as f:
        return re.search(r'<!-- %s -->\n```\w+\n(.*?)```' % name, f.read(), re.S).group(1)


def test_the_page():
    folder = host.path('images')
    os.mkdir(folder)
    emulator = host.emulator
    if os.environ.get('QEMU_INNER') == 'off':
        emulator = os.path.join(folder, 'emulator')
        with open(emulator, 'w') as f:
            f.write(part('script').replace(PROGRAM, os.path.abspath(EMULATOR)))
        os.chmod(emulator, 0o755)
    with open(os.path.join(folder, 'vm.xml'), 'w') as f:
        f.write(part('domain').replace(IMAGES, folder).replace(PROGRAM, emulator))
    r = subprocess.run(['sh', '-e', '-c', part('commands').replace(IMAGES, folder)], cwd=folder, env=host.env, text=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert r.returncode == 0, r.stdout
    first, second = r.stdout.split('Target')[1:]
    assert 'data.s1' in first and 'log.s1' in first, r.stdout
    assert 'data.s2' in second and 'log.s2' in second, r.stdout


def test_the_readme():
    with open(os.path.join(HERE, '../../README.md')) as f:
        readme = f.read()
    assert '<emulator>%s</emulator>' % PROGRAM in readme and PROGRAM in part('domain')


if __name__ == '__main__':
    with host:
        main(globals())
