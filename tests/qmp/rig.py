# SPDX-License-Identifier: GPL-2.0-or-later
"""
A daemon with disks in a directory of its own, for tests.

    with Rig() as rig:
        rig.disk('disk0', 'qcow2', '64M')
        rig.start()
        rig.export('disk0')
        with rig.nbd('disk0') as h: ...

The programs are found by $QSD (ours) and on PATH (the installed tools).  A test that lacks
something says so with skip(), and exits with 77 in the end.
"""

import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from qmp import QMP, QMPError                                           # noqa: E402

# The sanitizers do not see how glib's own allocator passes memory on, from thread to thread too.
os.environ['G_SLICE'] = 'always-malloc'

QSD = os.environ.get('QSD') or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), '../../build/tools/qemu-storage-daemon')


class Skipped(SystemExit):
    """One function of a test that is left out, or the whole test where none has begun."""


def skip(why):
    print('skipped:', why)
    raise Skipped(77)


def requires(*programs):
    for p in programs:
        if not shutil.which(p):
            skip(p + ' is not installed')


def import_nbd():
    try:
        import nbd
    except ImportError:
        skip('python3-libnbd is not installed')
    return nbd


def run(*args, **kwargs):
    """Run a program; its output; an exception with its output if it fails."""
    r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if r.returncode:
        raise AssertionError('%s: exit status %d\n%s' % (' '.join(args), r.returncode, r.stdout))
    return r.stdout


class Rig:
    def __init__(self, prefix='qsd-'):
        self.dir = tempfile.mkdtemp(prefix=prefix)
        self.proc = None
        self.qmp = None
        self.options = []
        self.log = ''
        self.status = 0             # that the daemon is to end with; 1: a disk cannot be flushed

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        try:
            self.stop(check=kind is None)
        finally:
            if kind is None:
                shutil.rmtree(self.dir)
            else:
                print('files are left in', self.dir, file=sys.stderr)
                print(self.log, file=sys.stderr)

    def path(self, name):
        return os.path.join(self.dir, name)

    # -- the daemon

    def start(self, *options, qsd=None, env=None, preexec_fn=None, cwd=None):
        sock = self.path('qmp.sock')
        cmd = [qsd or QSD, '--qmp', 'unix:%s,server=on,wait=off' % sock, '--nbd-server',
               'addr.type=unix,max-connections=1000,addr.path=' + self.path('nbd.sock'),
               *self.options, *options]
        self.proc = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, preexec_fn=preexec_fn, cwd=cwd,
                                     env=dict(os.environ, **(env or {})))
        try:
            self.qmp = QMP(sock, timeout=60)
        except Exception:
            self.proc.kill()
            self.log = self.proc.communicate()[0].decode(errors='replace')
            raise
        return self.qmp

    def is_sanitized(self):
        with open(QSD, 'rb') as f:
            program = f.read()
        return b'__asan_init' in program or b'__tsan_init' in program

    def connect(self, **kwargs):
        """Another QMP client."""
        return QMP(self.path('qmp.sock'), **kwargs)

    def stop(self, check=True, status=None):
        """@status: what the daemon ends with; 1 if something that it acknowledged is not on disk."""
        if not self.proc:
            return
        proc, self.proc = self.proc, None
        if proc.poll() is None:
            proc.send_signal(signal.SIGTERM)
        try:
            out, _ = proc.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            proc.kill()
            out, _ = proc.communicate()
            self.log += out.decode(errors='replace')
            raise AssertionError('the daemon did not end after SIGTERM')
        self.log += out.decode(errors='replace')
        if self.qmp:
            self.qmp.close()
        if check and proc.returncode != (self.status if status is None else status):
            raise AssertionError('the daemon ended with status %d:\n%s'
                                 % (proc.returncode, self.log))

    def kill(self):
        proc, self.proc = self.proc, None
        proc.kill()
        self.log += proc.communicate()[0].decode(errors='replace')
        self.qmp.close()
        # Its sockets may take clients for a moment longer: the next daemon's are to be waited for.
        for name in glob.glob(os.path.join(glob.escape(self.dir), '*.sock')):
            os.unlink(name)

    def cmd(self, execute, **kwargs):
        return self.qmp.cmd(execute, {k.replace('_', '-'): v for k, v in kwargs.items()})

    def error(self, execute, **kwargs):
        """The error that the command must end with."""
        try:
            self.cmd(execute, **kwargs)
        except QMPError as e:
            return e
        raise AssertionError('%s succeeded' % execute)

    # -- disks

    def create(self, name, fmt='raw', size='16M', *options):
        path = self.path(name)
        run('qemu-img', 'create', '-q', '-f', fmt, *options, path, size)
        return path

    def drive(self, name, fmt='raw', size='16M', extra=''):
        """A drive in a file of its own, given on the command line. Its backend has that name."""
        path = self.create(name + '.' + fmt, fmt, size)
        self.options += ['--drive', 'id=%s,file=%s,format=%s,if=none%s' % (name, path, fmt, extra)]
        return path

    def export(self, node, writable=True, name=None, **kwargs):
        name = name or node
        self.cmd('block-export-add', type='nbd', id='exp-' + name, node_name=node, name=name,
                 writable=writable, **kwargs)

    def uri(self, name):
        return 'nbd+unix:///%s?socket=%s' % (name, self.path('nbd.sock'))

    def nbd(self, name, **setup):
        """A connected libnbd handle."""
        nbd = import_nbd()
        h = nbd.NBD()
        h.add_meta_context('base:allocation')
        for k, v in setup.items():
            getattr(h, k)(v)
        h.connect_uri(self.uri(name))
        return h

    # -- snapshots

    def member(self, device, target, **extra):
        return dict({'device': device, 'snapshot-file': self.path(target)},
                    **{k.replace('_', '-'): v for k, v in extra.items()})

    def snapshot(self, *members, **kwargs):
        self.cmd('blockdev-group-snapshot-sync', devlist=list(members), **kwargs)
        return self.qmp.wait_event('BLOCK_GROUP_SNAPSHOT_COMPLETED')['data'] if members else None

    def snapshot_error(self, *members, **kwargs):
        return self.error('blockdev-group-snapshot-sync', devlist=list(members), **kwargs)

    def inserted(self, device):
        """What is in a drive, or behind an export."""
        for b in self.cmd('query-block'):
            if b['device'] == device:
                return b.get('inserted')
        for e in self.cmd('query-block-exports'):
            if e['id'] == device:       # listed as the drive that it shows, and not once more
                return [n for n in self.cmd('query-named-block-nodes')
                        if n['node-name'] == e['node-name']][0]
        raise AssertionError('no device ' + device)

    def chain(self, device):
        """File names from the top down."""
        image = self.inserted(device)['image']
        names = []
        while image:
            names.append(os.path.basename(image['filename']))
            image = image.get('backing-image')
        return names

    # -- what must not change

    def state(self):
        """All that a failed command has to leave as it was, once what went before has settled: a client
        that left may still be being cleaned up after."""
        last = None
        for _ in range(100):
            try:
                now = self._state()
            except FileNotFoundError:           # a descriptor was closed while we looked
                continue
            if now == last:
                return now
            last = now
        raise AssertionError('the daemon does not come to rest')

    def _state(self):
        pid = self.proc.pid
        nodes = sorted((n['node-name'], n['file'], n['ro'], n.get('backing_file'))
                       for n in self.cmd('query-named-block-nodes', flat=True))
        files = {}
        for name in sorted(os.listdir(self.dir)):
            st = os.lstat(self.path(name))
            files[name] = (st.st_ino, st.st_mode, st.st_size)
        fds = sorted(os.readlink('/proc/%d/fd/%s' % (pid, fd))
                     for fd in os.listdir('/proc/%d/fd' % pid))
        locks = []
        for fd in os.listdir('/proc/%d/fdinfo' % pid):
            with open('/proc/%d/fdinfo/%s' % (pid, fd)) as f:
                locks += [' '.join(line.split()[3:]) for line in f if line.startswith('lock:')]
        return {'nodes': nodes, 'files': files, 'fds': fds, 'locks': sorted(locks)}


def check_state(before, after):
    for key in before:
        if before[key] != after[key]:
            raise AssertionError('%s changed\nbefore: %s\nafter:  %s'
                                 % (key, before[key], after[key]))


def main(tests):
    """Run the functions of @tests (a module's globals) named test_..., in order.  A test of which a function was
    left out counts as skipped, and as failed if another one failed."""
    wanted = sys.argv[1:]
    failed = skipped = 0
    for name, fn in list(tests.items()):
        if not name.startswith('test_') or (wanted and name not in wanted):
            continue
        try:
            fn()
            print('ok', name)
        except Skipped:
            print('skipped', name)
            skipped += 1
        except SystemExit:
            raise
        except BaseException:
            traceback.print_exc()
            print('FAILED', name)
            failed += 1
        sys.stdout.flush()
    sys.exit(1 if failed else 77 if skipped else 0)


def main_in_folders(*tests):
    """Run @tests, each in a folder of its own as the working directory, up to the first that fails; what its daemon
    wrote to the file `stderr` there is shown then."""
    for test in tests:
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            try:
                test()
                print('ok', test.__name__)
            except BaseException:
                print('FAILED', test.__name__)
                if os.path.exists('stderr'):
                    with open('stderr', errors='replace') as f:
                        print(f.read())
                raise
            finally:
                os.chdir('/')
