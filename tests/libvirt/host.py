# SPDX-License-Identifier: GPL-2.0-or-later
"""
A libvirtd of a test's own, unmodified, in session mode: for what runs below it nothing else of this machine is
there but files and programs.

    in_a_namespace()                        # first thing a test does: starts itself once more, inside
    with Host() as host:
        print(host.virsh('list'))

Everything runs in a user and a process namespace of its own.  When the test ends, however that comes about, the
kernel ends whatever it has started; all files are below one temporary folder.

The emulator is $EMULATOR.  libvirt starts it with an environment of its own making, so variables that begin with
QEMU_ reach it through a script of two lines in its place.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../qmp'))
from virsh import Virsh                                                 # noqa: E402
from rig import skip                                                    # noqa: E402

EMULATOR = os.environ.get('EMULATOR', '/usr/bin/qemu-system-x86_64')
INSIDE = 'TEST_IS_INSIDE_OF_ITS_NAMESPACE'
UNSHARE = ['unshare', '--user', '--map-user=1000', '--map-group=1000', '--pid', '--fork', '--kill-child',
           '--mount-proc']
# Nothing here runs on KVM.  Where the host has it, libvirt would ask an emulator without it again, at every call.
WITHOUT_KVM = ['unshare', '--user', '--map-root-user', '--mount', 'bash', '-c',
               'mount --bind "$0" /dev/kvm && exec "$@"']
LIMIT = 60              # seconds for one call of virsh; many times what any takes
MODULES = '/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so'


def in_a_namespace(limit=280):
    """Starts the test anew in its namespace, and ends with its status; returns inside of it.  Process 1 there is
    a shell, which takes in orphans: libvirt waits for the emulator that it probes to be gone, zombies count."""
    if INSIDE in os.environ:
        return
    for program in ('libvirtd', 'virsh', 'unshare', 'setpriv', 'qemu-img'):
        if not shutil.which(program, path=os.environ.get('PATH', '') + ':/usr/sbin'):
            skip(program + ' is not installed')
    if not os.path.exists(MODULES):
        skip('libvirt has no driver for QEMU here')
    if not os.path.exists(EMULATOR):
        skip('there is no emulator ' + EMULATOR)
    if subprocess.run(UNSHARE + ['true'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL, timeout=20).returncode:
        skip('no user namespace with processes of its own can be made here')
    folder = tempfile.mkdtemp(prefix='lv-', dir='/tmp')         # short: paths of sockets are
    command = UNSHARE + ['bash', '-c', '"$@"; exit $?', 'bash', sys.executable, *sys.argv]
    if os.access('/dev/kvm', os.R_OK | os.W_OK):
        nothing = os.path.join(folder, 'no-kvm')
        os.close(os.open(nothing, os.O_CREAT, 0))
        command = WITHOUT_KVM + [nothing] + command
    command = ['setpriv', '--pdeathsig', 'KILL'] + command      # also where only this process is killed
    try:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=limit,
                                env=dict(os.environ, **{INSIDE: folder})).returncode
    except subprocess.TimeoutExpired:
        print('the test was not done after %d seconds' % limit)
        status = 1
    finally:
        if os.environ.get('KEEP'):
            print('files are left in', folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)


class VirshError(AssertionError):
    """What a failed virsh wrote."""


class Host:
    def __init__(self):
        self.dir = os.environ[INSIDE]
        self.env = dict(os.environ, HOME=self.dir, LIBVIRT_DEFAULT_URI='qemu:///session',
                        LIBVIRT_AUTOSTART='0', LC_ALL='C',
                        PATH=os.environ.get('PATH', '') + ':/usr/sbin:/sbin')
        for name in ('CONFIG_HOME', 'CACHE_HOME', 'DATA_HOME', 'RUNTIME_DIR'):
            folder = os.path.join(self.dir, name[:2].lower())
            os.makedirs(folder + '/libvirt', mode=0o700, exist_ok=True)
            self.env['XDG_' + name] = folder
        self.write('co/libvirt/qemu.conf', 'security_driver = "none"\nstdio_handler = "file"\n')
        self.write('libvirtd.conf', 'log_filters = "3:qemu 3:util.command 4:util.dbus"\n'
                   'log_outputs = "3:file:%s"\n' % self.path('libvirtd.log'))
        self.emulator = self._emulator()
        self.is_installed = EMULATOR.startswith('/usr/bin/')
        self.proc = None
        self.client = None

    def __enter__(self):
        try:
            self.start()
        except BaseException as e:
            self.__exit__(type(e))
            raise
        return self

    def __exit__(self, kind, value=None, traceback=None):
        self.stop()
        if kind and not (kind is SystemExit and value.code in (0, 77)):
            self.show_logs()

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), 'w') as f:
            f.write(text)

    def _emulator(self):
        handed_on = {k: v for k, v in os.environ.items()
                     if k.startswith(('QEMU_', 'ASAN_OPTIONS', 'UBSAN_OPTIONS'))}
        if not handed_on:
            return os.path.abspath(EMULATOR)
        name = 'qemu-system-x86_64'
        self.write(name, '#!/bin/sh\n%s exec %s "$@"\n'
                   % (' '.join(k + '=' + shlex.quote(v) for k, v in handed_on.items()),
                      shlex.quote(os.path.abspath(EMULATOR))))
        os.chmod(self.path(name), 0o755)
        return self.path(name)

    # -- the daemon

    def start(self):
        log = open(self.path('libvirtd.out'), 'a')
        self.proc = subprocess.Popen(['libvirtd', '-f', self.path('libvirtd.conf')], env=self.env,
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + LIMIT
        while not os.path.exists(self.path('ru/libvirt/libvirt-sock')):
            if self.proc.poll() is not None or time.monotonic() > deadline:
                raise AssertionError('libvirtd does not start')
            time.sleep(0.02)

    def stop(self):
        """Ends libvirtd; domains run on."""
        self.forget_client()
        if not self.proc:
            return
        self.proc.terminate()
        try:
            self.proc.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise AssertionError('libvirtd did not end after SIGTERM')
        finally:
            self.proc = None

    def restart(self):
        self.stop()
        self.start()

    def show_logs(self):
        for root, _, names in os.walk(self.dir):
            for name in names:
                if name.endswith('.log') or name == 'libvirtd.out':
                    with open(os.path.join(root, name), errors='replace') as f:
                        print('--- %s\n%s' % (name, f.read()[-3000:]), file=sys.stderr)

    # -- its client

    def try_virsh(self, *args, limit=LIMIT):
        """Whether it succeeded, and what it wrote."""
        if not self.client:
            self.client = Virsh(self.env)
        try:
            return self.client.run(args, limit)
        except TimeoutError:
            self.forget_client()
            raise AssertionError('virsh %s: not done after %d seconds' % (' '.join(args), limit))

    def forget_client(self):
        if self.client:
            self.client.close()
            self.client = None

    def virsh(self, *args, **kwargs):
        ok, text = self.try_virsh(*args, **kwargs)
        if not ok:
            raise VirshError('virsh %s:\n%s' % (' '.join(args), text))
        return text
