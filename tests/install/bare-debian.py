#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The Debian packages install on a Debian 12 that has nothing else, work there, and leave nothing when they are purged.
`make check-deb` makes that Debian; without it, or without being root, this is skipped.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
sys.path.insert(0, os.path.join(TOP, 'tests', 'qmp'))
from rig import main, skip                                              # noqa: E402

BUILD = os.path.join(TOP, 'build-deb')
ROOT = os.path.join(BUILD, 'debian-12.tar')
NAMES = ['qemu-group-snapshot-daemon', 'qemu-group-snapshot-utils']
# In the new root, where there is little more than a shell.
SESSION = r'''
set -e
cd /tmp
%(p)sqemu-img create -q -f qcow2 disk.qcow2 64M
%(p)sqemu-io -c 'write -P 7 1M 64k' disk.qcow2
%(p)sqemu-img check disk.qcow2
%(p)sqemu-img convert -O raw disk.qcow2 disk.raw
%(p)sqemu-img compare -f qcow2 -F raw disk.qcow2 disk.raw
%(p)sqemu-storage-daemon --daemonize --pidfile /tmp/pid --log /tmp/log --nbd-server addr.type=unix,addr.path=/tmp/nbd \
    --blockdev qcow2,node-name=d,file.driver=file,file.filename=/tmp/disk.qcow2 --export nbd,id=e,node-name=d,name=d
%(p)sqemu-io -r -f raw -c 'read -P 7 1M 64k' 'nbd+unix:///d?socket=/tmp/nbd'
kill "$(cat pid)"
while [ -e pid ]; do sleep 0.1; done
%(p)sqemu-nbd --fork -k /tmp/nbd2 -f qcow2 disk.qcow2
%(p)sqemu-io -r -f raw -c 'read -P 7 1M 64k' 'nbd+unix:///?socket=/tmp/nbd2'
bash -c '. /usr/share/bash-completion/completions/%(p)sqemu-img; complete -p %(p)sqemu-img'
echo session done
'''


class Debian:
    """Debian 12 in a folder of its own, with processes and mounts of its own."""

    def __enter__(self):
        if os.getuid() != 0:
            skip('only root can install into a folder')
        if not os.path.exists(ROOT):
            skip('no bare Debian 12 to install into: make check-deb makes one')
        if not shutil.which('dpkg-shlibdeps'):
            skip('dpkg-dev is not installed')
        self.dir = tempfile.mkdtemp(prefix='debian-')
        subprocess.run(['tar', '-x', '-C', self.dir, '--exclude=./dev/*', '-f', ROOT], check=True, timeout=300)
        for name in 'null', 'zero', 'random', 'urandom':
            os.mknod('%s/dev/%s' % (self.dir, name), 0o20666, os.stat('/dev/' + name).st_rdev)
        return self

    def __exit__(self, *exc):
        shutil.rmtree(self.dir)

    def run(self, script):
        r = subprocess.run(['unshare', '--mount', '--pid', '--fork', '--kill-child', '--net', 'sh', '-c',
                            'mount -t proc proc "$0/proc" && exec chroot "$0" /bin/sh -ec "$1"', self.dir, script],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
                           env={'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL': 'C', 'DEBIAN_FRONTEND': 'noninteractive'})
        assert r.returncode == 0, '%s\n%s' % (script, r.stdout[-4000:])
        return r.stdout

    def files(self):
        return set(self.run('find / -xdev -path /proc -prune -o -path /tmp -prune -o -path /var/cache -prune -o '
                            '-path /var/lib/dpkg -prune -o -path /var/log -prune -o -path /packages -prune -o '
                            '-path /var/lib/apt -prune -o -print').splitlines())


def packages(prefix):
    r = subprocess.run([os.path.join(TOP, 'scripts/make-deb'), '--build-dir=' + BUILD, '--program-prefix=' + prefix,
                        '--output=' + BUILD + '/packages'], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1200)
    assert r.returncode == 0, r
    return r.stdout.split()


def test_packages_install_work_and_go():
    with Debian() as debian:
        for prefix in 'own-', '':
            os.makedirs(debian.dir + '/packages', exist_ok=True)
            for package in packages(prefix):
                shutil.copy(package, debian.dir + '/packages')
        assert len(glob.glob(debian.dir + '/packages/*.deb')) == 4
        # Their dependencies stay when they go.
        debian.run('apt-get install -qq -y --no-install-recommends /packages/*.deb; apt-mark manual ".*" >/dev/null;'
                   ' apt-get purge -qq -y %s' % ' '.join(p + n for p in ('', 'own-') for n in NAMES))
        before = debian.files()
        debian.run('apt-get install -qq -y --no-install-recommends /packages/*.deb')
        for prefix in '', 'own-':
            assert 'session done' in debian.run(SESSION % {'p': prefix})
            assert os.path.exists('%s/lib/systemd/system/%sqemu-storage-daemon@.service' % (debian.dir, prefix))
        debian.run('apt-get purge -qq -y %s' % ' '.join(p + n for p in ('', 'own-') for n in NAMES))
        assert debian.files() == before, debian.files() ^ before


main(globals())
