# SPDX-License-Identifier: GPL-2.0-or-later
"""
A QMP client for tests: small, no third-party modules, everything has a time limit.

    with QMP('/tmp/qmp.sock') as qmp:
        qmp.cmd('blockdev-add', driver='null-co', node_name='disk0')
        qmp.wait_event('JOB_STATUS_CHANGE', status='concluded')
"""

import json
import os
import select
import socket
import time

TIMEOUT = 60        # seconds; far above what anything takes


class QMPError(Exception):
    """An error reply; .error is its content."""

    def __init__(self, command, error):
        super().__init__('%s: %s: %s' % (command, error['class'], error['desc']))
        self.error = error
        self.cls = error['class']
        self.desc = error['desc']
        self.data = error.get('data')


class QMP:
    def __init__(self, address, negotiate=True, timeout=TIMEOUT, oob=False):
        """@address: path of a unix socket, (host, port), or a connected socket."""
        self.timeout = timeout
        self.events = []
        self._buf = b''
        if isinstance(address, socket.socket):
            self.sock = address
        else:
            self.sock = self._connect(address)
        self.greeting = self._greeting(address)
        if negotiate:
            self.cmd('qmp_capabilities', **({'enable': ['oob']} if oob else {}))

    def _greeting(self, address):
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return self.recv_object()
            except ConnectionResetError:        # by a socket that outlived its killed process
                if isinstance(address, socket.socket) or time.monotonic() > deadline:
                    raise
                self.sock.close()
                time.sleep(0.01)
                self.sock = self._connect(address)

    def _connect(self, address):
        """Wait until the server is there, as it may just be starting."""
        family = socket.AF_UNIX if isinstance(address, (str, os.PathLike)) else socket.AF_INET
        deadline = time.monotonic() + self.timeout
        while True:
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.connect(address)
                return sock
            except (FileNotFoundError, ConnectionRefusedError):
                sock.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    # -- bytes and lines

    def send_raw(self, data):
        self.sock.sendall(data)

    def recv_line(self, timeout=None):
        """One line without its end; b'' if the server has closed; TimeoutError."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while b'\n' not in self._buf:
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.sock], [], [], left)[0]:
                raise TimeoutError('nothing from the server in time; so far %r' % self._buf)
            data = self.sock.recv(1 << 16)
            if not data:
                return b''
            self._buf += data
        line, _, self._buf = self._buf.partition(b'\n')
        return line.rstrip(b'\r')

    def recv_object(self, timeout=None):
        """The next reply or event; None if the server has closed."""
        line = self.recv_line(timeout)
        return json.loads(line) if line else None

    # -- commands and events

    def send(self, execute, arguments=None, **members):
        """Send a request without waiting for its reply."""
        request = dict(members, execute=execute)
        if arguments is not None:
            request['arguments'] = arguments
        self.send_raw(json.dumps(request).encode() + b'\n')

    def recv_reply(self, timeout=None):
        """The next reply; events that come before it are kept."""
        while True:
            obj = self.recv_object(timeout)
            if obj is None:
                raise ConnectionError('the server has closed the connection')
            if 'event' not in obj:
                return obj
            self.events.append(obj)

    def cmd_obj(self, request, timeout=None):
        """Send a whole request, return the whole reply."""
        self.send_raw(json.dumps(request).encode() + b'\n')
        return self.recv_reply(timeout)

    def cmd(self, execute, arguments=None, timeout=None, **kwargs):
        """
        What the command returns; QMPError if it fails.  Arguments as a dict, or as keywords
        with _ for -.
        """
        args = dict(arguments or {}, **{k.replace('_', '-'): v for k, v in kwargs.items()})
        request = {'execute': execute}
        if args:
            request['arguments'] = args
        reply = self.cmd_obj(request, timeout)
        if 'error' in reply:
            raise QMPError(execute, reply['error'])
        return reply['return']

    def hmp(self, line):
        return self.cmd('human-monitor-command', {'command-line': line})

    def wait_event(self, name, timeout=None, **data):
        """The first event of this name whose data has these values; others are kept."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        seen = 0
        while True:
            for i, event in enumerate(self.events[seen:], seen):
                if event['event'] == name and all(
                        event.get('data', {}).get(k.replace('_', '-')) == v
                        for k, v in data.items()):
                    return self.events.pop(i)
            seen = len(self.events)
            obj = self.recv_object(max(0, deadline - time.monotonic()))
            if obj is None:
                raise ConnectionError('the server has closed the connection')
            if 'event' not in obj:
                raise AssertionError('a reply that nobody waits for: %r' % obj)
            self.events.append(obj)

    def take_events(self):
        """Events that came so far."""
        events, self.events = self.events, []
        return events

    def quit(self):
        self.cmd('quit')
