# SPDX-License-Identifier: GPL-2.0-or-later
"""
A client of the daemon as management programs are: it names every node, keeps jobs until it has read how they ended,
and believes events. What it was told is kept, so that two daemons' answers can be compared.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../qmp'))
from qmp import QMP, QMPError                                           # noqa: E402
from rig import QSD, Rig, run                                           # noqa: E402

SIZE = 4 << 20


# Members that QEMU 7.2 does not have.
LATER = {'actively-synced'}


def amounts(data):
    """How far a job is depends on the moment; that it is at its end, if nothing came in between, does not."""
    data = dict(data)
    for now, whole in ('offset', 'len'), ('current-progress', 'total-progress'):
        if now in data:
            data['at-end'] = data.pop(now) == data.pop(whole)
    if 'error' in data:
        data.pop('at-end', None)
    return data


class Consumer(Rig):
    """
        with Consumer(program) as c: ...

    @replies: (command, what it returned or its error), as far as that is the same each time.
    @story: of each job, its events in order.
    """

    def __init__(self, program=None):
        super().__init__()
        self.program = program or QSD
        self.replies, self.story = [], {}
        self.seen = []                  # all events, in the order in which they came

    def __enter__(self):
        self.proc = subprocess.Popen(
            [self.program, '--chardev', 'socket,id=m,server=on,wait=off,path=' + self.path('qmp.sock'),
             '--monitor', 'chardev=m'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.attach()
        return self

    def attach(self):
        self.qmp = QMP(self.path('qmp.sock'), timeout=10)

    def reattach(self):
        """The monitor is closed, and the jobs are looked at by a new one, as after a restart of the program."""
        self.take()
        self.qmp.close()
        self.attach()

    # -- commands

    def send(self, execute, arguments=None):
        """What the command returns; QMPError.  It goes into the record."""
        reply = self.qmp.cmd_obj(dict({'execute': execute}, **({'arguments': arguments} if arguments else {})))
        self.take()
        if 'error' in reply:
            self.replies.append((execute, reply['error']['class'], self.plain(reply['error']['desc'])))
            raise QMPError(execute, reply['error'])
        self.replies.append((execute, self.plain(reply['return'])) if reply['return'] == {} else (execute,))
        return reply['return']

    def refused(self, execute, arguments):
        try:
            self.send(execute, arguments)
        except QMPError as e:
            return e.desc
        raise AssertionError(execute + ' was not refused')

    def plain(self, value):
        if isinstance(value, str):
            return value.replace(self.dir, 'T')
        return value

    def transaction(self, *actions, **properties):
        """@actions: (type, data)."""
        arguments = {'actions': [{'type': t, 'data': d} for t, d in actions]}
        if properties:
            arguments['properties'] = properties
        return self.send('transaction', arguments)

    # -- events

    def take(self):
        for e in self.qmp.take_events():
            data = amounts(e.get('data', {}))
            if e['event'] == 'BLOCK_JOB_CANCELLED':
                data.pop('at-end')
            key = data.get('device') or data.get('id')
            self.seen.append((e['event'], data))
            self.story.setdefault(key, []).append((e['event'], self.plain(data.get('error')), data))

    def has_come(self, name, **data):
        return any(e == name and all(d.get(k) == v for k, v in data.items()) for e, d in self.seen)

    def wait(self, name, **data):
        self.take()
        while not self.has_come(name, **data):
            obj = self.qmp.recv_object()
            assert obj and 'event' in obj, obj
            self.qmp.events.append(obj)
            self.take()

    # -- jobs

    def job(self, ident):
        """It in query-jobs."""
        found = [j for j in self.send('query-jobs') if j['id'] == ident]
        assert len(found) == 1, (ident, found)
        return found[0]

    def is_at(self, ident, status):
        self.wait('JOB_STATUS_CHANGE', id=ident, status=status)

    def conclude(self, ident, error=None):
        """The job ends, how is read, and it is dismissed."""
        self.is_at(ident, 'concluded')
        j = self.job(ident)
        assert j['status'] == 'concluded' and j.get('error') == error, j
        self.replies.append(('job', tuple(sorted(amounts(j).items()))))
        self.send('job-dismiss', {'id': ident})
        self.is_at(ident, 'null')
        assert ident not in [j['id'] for j in self.send('query-jobs')]

    def block_job(self, ident):
        found = [j for j in self.send('query-block-jobs') if j['device'] == ident]
        assert len(found) == 1, (ident, found)
        self.replies.append(('block job', found[0]['type'], tuple(sorted(set(found[0]) - LATER))))
        return found[0]

    # -- nodes

    def storage(self, n, path):
        self.send('blockdev-add', {'driver': 'file', 'filename': path, 'node-name': 'libvirt-%d-storage' % n,
                                   'auto-read-only': True, 'discard': 'unmap'})

    def format_options(self, n, fmt='qcow2', backing=None, read_only=False):
        o = {'node-name': 'libvirt-%d-format' % n, 'read-only': read_only, 'driver': fmt, 'discard': 'unmap',
             'file': 'libvirt-%d-storage' % n}
        return o if fmt == 'raw' else dict(o, backing=backing)

    def open(self, n, path, fmt='qcow2', backing=None, read_only=False):
        self.storage(n, path)
        self.send('blockdev-add', self.format_options(n, fmt, backing, read_only))
        return 'libvirt-%d-format' % n

    def make(self, n, name, backing=None, backing_file=None, size=SIZE, fmt='qcow2'):
        """A new image, made by the daemon, and opened."""
        path = self.path(name)
        with open(path, 'w'):
            pass
        self.storage(n, path)
        node = 'libvirt-%d-format' % n
        if fmt == 'qcow2':
            options = {'driver': 'qcow2', 'file': 'libvirt-%d-storage' % n, 'size': size, 'cluster-size': 65536}
            if backing_file:
                options.update({'backing-file': self.path(backing_file), 'backing-fmt': 'qcow2'})
        else:
            options = {'driver': 'file', 'filename': path, 'size': size}
        self.send('blockdev-create', {'job-id': 'create-' + node, 'options': options})
        self.conclude('create-' + node)
        self.send('blockdev-add', self.format_options(n, fmt, backing))
        return node

    def close_node(self, n):
        self.send('blockdev-del', {'node-name': 'libvirt-%d-format' % n})
        self.send('blockdev-del', {'node-name': 'libvirt-%d-storage' % n})

    def nodes(self):
        """The nodes that the client has named, as it is told of them (QEMU's files stay writable)."""
        nodes = {n['node-name']: n for n in self.send('query-named-block-nodes', {'flat': True})
                 if not n['node-name'].startswith('#')}
        self.replies.append(('nodes', tuple(sorted(
            (name, n['ro'] and n['drv'] != 'file', n['drv'], self.plain(n.get('backing_file')), self.bitmaps_of(n))
            for name, n in nodes.items()))))
        return nodes

    @staticmethod
    def bitmaps_of(node):
        return tuple(sorted((b['name'], b['recording'], b['persistent'], b['busy'], b.get('inconsistent'))
                            for b in node.get('dirty-bitmaps', ())))

    def bitmap(self, node, name):
        found, = (b for b in self.nodes()[node]['dirty-bitmaps'] if b['name'] == name)
        return found

    # -- what a guest does, and what is on disk

    def serve(self, node='libvirt-3-format'):
        """The disk is there for its guest."""
        self.send('nbd-server-start', {'addr': {'type': 'unix', 'data': {'path': self.path('nbd.sock')}}})
        self.attach_guest(node)

    def attach_guest(self, node):
        self.send('block-export-add', {'type': 'nbd', 'id': 'guest', 'node-name': node, 'name': 'disk',
                                       'writable': True})

    def content(self, name, fmt='qcow2'):
        raw = self.path('content')
        run('qemu-img', 'convert', '-U', '-f', fmt, '-O', 'raw', self.path(name), raw)
        with open(raw, 'rb') as f:
            return f.read()

    def check_images(self):
        """The daemon ends, and leaves nothing lost in any image."""
        self.stop()
        for name in os.listdir(self.dir):
            if not os.path.isfile(self.path(name)):         # a socket that was left
                continue
            with open(self.path(name), 'rb') as f:
                if f.read(4) == b'QFI\xfb':
                    run('qemu-img', 'check', '-q', '-f', 'qcow2', self.path(name))

    def files(self, top):
        """The chain as the files say."""
        out = run('qemu-img', 'info', '-U', '--backing-chain', self.path(top))
        return [os.path.basename(line.split(': ', 1)[1]) for line in out.splitlines() if line.startswith('image: ')]
