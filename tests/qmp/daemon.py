# SPDX-License-Identifier: GPL-2.0-or-later
"""A started daemon with nothing but an NBD server, for tests of commands."""

import json

from nbdwire import Wire
from rig import QMPError, Rig, check_state, run

KiB, MiB = 1 << 10, 1 << 20


def image_info(path):
    return json.loads(run('qemu-img', 'info', '-U', '--output=json', path))


class Daemon(Rig):
    """Started, with nothing but an NBD server."""

    def __enter__(self):
        self.start()
        return self

    def add(self, name, **options):
        self.qmp.cmd('blockdev-add', {'node-name': name, **options})

    def add_null(self, name, size=MiB):
        self.add(name, driver='null-co', size=size, **{'read-zeroes': True})

    def add_file(self, name, fmt='qcow2', size='1M'):
        """A node over a new file."""
        path = self.create(name + '.' + fmt, fmt, size)
        self.add(name, driver=fmt, file={'driver': 'file', 'filename': path})
        return path

    def refuse(self, *texts, execute='blockdev-add', cls='GenericError', **arguments):
        """The command fails with a message that has @texts, and nothing has changed."""
        before = self.state()
        try:
            self.qmp.cmd(execute, {k.replace('_', '-'): v for k, v in arguments.items()})
        except QMPError as e:
            for text in texts:
                assert text in e.desc, e
            assert e.cls == cls, e
            after = self.state()
            if set(after['fds']) < set(before['fds']):      # a client's end was just seen
                before['fds'] = after['fds']
            check_state(before, after)
            return e
        raise AssertionError('%s %s succeeded' % (execute, arguments))

    def nodes(self):
        return [n['node-name'] for n in self.cmd('query-named-block-nodes', flat=True)]

    def wire(self, name, **kwargs):
        return Wire(self.path('nbd.sock')).negotiate(name, **kwargs)
