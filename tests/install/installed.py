#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
installed.py BUILD-DIR

What `make install` puts somewhere works there, beside QEMU's programs if it has a prefix; and so do the Debian
packages that `make deb` builds.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
sys.path.insert(0, os.path.join(TOP, 'tests', 'qmp'))
from nbdwire import wait_until                                          # noqa: E402
from rig import main, skip                                              # noqa: E402

BUILD = os.path.abspath(sys.argv.pop(1)) if sys.argv[1:2] and os.sep in sys.argv[1] else os.path.join(TOP, 'build')
PROGRAMS = {'qemu-img': 1, 'qemu-io': 1, 'qemu-nbd': 8, 'qemu-storage-daemon': 1, 'qemu-system-x86_64': 1}
WORK = tempfile.TemporaryDirectory(prefix='install-')
OWN_BUILD = os.path.join(WORK.name, 'build')


def run(*args, **kwargs):
    r = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=1200, **kwargs)
    assert r.returncode == 0, '%s: %s' % (args, r.stdout[-3000:])
    return r.stdout


def files_below(root):
    return {os.path.relpath(os.path.join(d, f), root) for d, _, names in os.walk(root) for f in names}


def installed_names(prefix):
    """Below the prefix of the installation."""
    names = {'share/man/man7/%sqemu-%s-ref.7' % (prefix, monitor) for monitor in ('hmp', 'qmp')}
    for program, section in PROGRAMS.items():
        names |= {'bin/' + prefix + program, 'share/man/man%d/%s%s.%d' % (section, prefix, program, section),
                  'share/bash-completion/completions/' + prefix + program}
    for unit in '@.service', '@.socket', '-qmp@.socket':
        names.add('lib/systemd/system/%sqemu-storage-daemon%s' % (prefix, unit))
    return names | {'share/doc/qemu-group-snapshot/%s%s.conf' % (prefix, n) for n in ('example', 'sockets')}


def programs_work(bindir, prefix=''):
    """Makes, writes, reads and serves an image with the programs in @bindir."""
    img, io, nbd, qsd, system = (os.path.join(bindir, prefix + p) for p in PROGRAMS)
    with tempfile.TemporaryDirectory() as d:
        disk, sock, qmp = (os.path.join(d, n) for n in ('disk.qcow2', 'nbd', 'qmp'))
        run(img, 'create', '-q', '-f', 'qcow2', disk, '1M')
        run(io, '-c', 'write -P 7 64k 64k', disk)
        run(img, 'check', disk)
        for server in ([nbd, '-k', sock, '--pid-file', d + '/pid', '--fork', '-f', 'qcow2', disk],
                       [qsd, '--daemonize', '--pidfile', d + '/pid', '--nbd-server', 'addr.type=unix,addr.path=' + sock,
                        '--blockdev', 'qcow2,node-name=d,file.driver=file,file.filename=' + disk,
                        '--qmp', 'unix:%s,server=on,wait=off' % qmp, '--export', 'nbd,id=e,node-name=d,name=']):
            with open(d + '/log', 'w') as log:
                subprocess.run(server, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=60)
            with open(d + '/pid') as f:
                pid = int(f.read())
            try:
                said = run(io, '-r', '-f', 'raw', '-c', 'read -P 7 64k 64k', 'nbd+unix:///?socket=' + sock)
                assert 'verification failed' not in said, said
            finally:
                if os.path.exists('/proc/%d' % pid):
                    os.kill(pid, 15)
            wait_until(lambda: not os.path.exists('/proc/%d' % pid))
        said = subprocess.run([system, '-machine', 'none', '-nodefaults', '-display', 'none', '-monitor', 'stdio', '-drive',
                               'if=none,id=d,file=' + disk], input='savevm now\nquit\n', capture_output=True, text=True, timeout=60)
        assert said.returncode == 0 and 'Error' not in said.stdout, said
        assert 'now' in run(img, 'snapshot', '-l', disk)


def texts_fit(root, prefix):
    """Pages, completions and units of what is installed below @root have the names that the programs have."""
    programs = [os.path.join(root, 'bin', prefix + p) for p in PROGRAMS]
    for program, section in PROGRAMS.items():
        page = run('man', '-l', os.path.join(root, 'share/man/man%d/%s%s.%d' % (section, prefix, program, section)))
        assert re.search(r'^ +%s +- ' % (prefix + program), page, re.M), page[:500]
        bare = re.findall(r'(?<![\w-])qemu-(?:img|nbd|io|storage-daemon|system-x86_64)\b', page) if prefix else []
        assert not bare, (program, bare)
    completion = os.path.join(root, 'share/bash-completion/completions', prefix + 'qemu-img')
    run('/usr/bin/python3', os.path.join(TOP, 'tests/tools/completion.py'), *programs, env=dict(os.environ, COMPLETION=completion))


def test_make_install_puts_everything_below_the_destination():
    with tempfile.TemporaryDirectory() as d:
        run('meson', 'install', '-C', BUILD, '--no-rebuild', '--quiet', '--destdir', d)
        (top,) = [os.path.dirname(p) for p in glob.glob(d + '/**/bin', recursive=True)]
        assert files_below(top) == installed_names(''), files_below(top) ^ installed_names('')
        programs_work(top + '/bin')
        texts_fit(top, '')
        with open(top + '/lib/systemd/system/qemu-storage-daemon@.service') as f:
            assert 'ExecStart=%s/bin/qemu-storage-daemon ' % top[len(d):] in f.read()


def own_build():
    """A build directory that a test may configure; the first call builds."""
    if not os.path.exists(OWN_BUILD):
        run(os.path.join(TOP, 'configure'), '--build-dir=' + OWN_BUILD, '--prefix=/opt/own', '--program-prefix=own-')
        run('ninja', '-C', OWN_BUILD, 'programs', 'installed-files')
    return OWN_BUILD


def test_with_a_prefix_the_names_differ_from_those_of_qemu():
    build = own_build()
    with tempfile.TemporaryDirectory() as d:
        run('meson', 'install', '-C', build, '--no-rebuild', '--quiet', '--destdir', d)
        assert files_below(d + '/opt/own') == installed_names('own-'), files_below(d) ^ installed_names('own-')
        programs_work(d + '/opt/own/bin', 'own-')
        texts_fit(d + '/opt/own', 'own-')
        with open(d + '/opt/own/lib/systemd/system/own-qemu-storage-daemon@.service') as f:
            unit = f.read()
        assert 'ExecStart=/opt/own/bin/own-qemu-storage-daemon ' in unit and '/etc/own-qemu-storage-daemon/%i.conf' in unit


# ---- Debian packages ----

def control(package, field):
    return run('dpkg-deb', '-f', package, field).strip()


def check_package(package, prefix):
    listed = run('dpkg-deb', '-c', package)
    assert re.search(r'^-rwxr-xr-x root/root .* \./usr/bin/%sqemu-' % prefix, listed, re.M), listed
    owners = {line.split()[1] for line in listed.splitlines()}
    assert owners == {'root/root'}, owners
    assert 'libc6' in control(package, 'Depends') and 'libglib2.0-0' in control(package, 'Depends')
    # Beside QEMU's, or instead of them.
    assert bool(control(package, 'Conflicts')) == (not prefix)
    if shutil.which('lintian'):
        found = run('lintian', '--allow-root', '--fail-on', 'error,warning', '--display-level', '>=warning', package)
        assert not found, found


def check_unpacked(packages, prefix):
    with tempfile.TemporaryDirectory() as d:
        for package in packages:
            run('dpkg-deb', '-x', package, d)
        programs_work(d + '/usr/bin', prefix)
        for path in glob.glob(d + '/usr/share/man/man*/*.gz'):
            run('gzip', '-d', path)
        texts_fit(d + '/usr', prefix)
        with open('%s/lib/systemd/system/%sqemu-storage-daemon@.service' % (d, prefix)) as f:
            assert 'ExecStart=/usr/bin/%sqemu-storage-daemon ' % prefix in f.read()
        profile = '%s/etc/apparmor.d/usr.bin.%sqemu-storage-daemon' % (d, prefix)
        with open(profile) as f:
            assert 'profile %sqemu-storage-daemon /usr/bin/%sqemu-storage-daemon {' % (prefix, prefix) in f.read()
        if shutil.which('apparmor_parser'):
            run('apparmor_parser', '--skip-kernel-load', '--skip-cache', profile)


def make_packages(prefix):
    if not shutil.which('dpkg-shlibdeps'):
        skip('dpkg-dev is not installed')
    out = os.path.join(WORK.name, 'packages' + prefix)
    made = run(os.path.join(TOP, 'scripts/make-deb'), '--build-dir=' + own_build(), '--program-prefix=' + prefix,
               '--output=' + out)
    packages = sorted(glob.glob(out + '/*.deb'))
    assert [os.path.basename(p).partition('_')[0] for p in packages] == [
        prefix + 'qemu-group-snapshot-daemon', prefix + 'qemu-group-snapshot-utils'] and packages[0] in made
    return packages


def test_packages_have_what_works():
    for prefix in 'own-', '':
        packages = make_packages(prefix)
        for package in packages:
            check_package(package, prefix)
        check_unpacked(packages, prefix)


main(globals())
