# SPDX-License-Identifier: GPL-2.0-or-later
"""An NBD server that answers as it is told to, right or wrong.  Numbers as in nbdwire.py."""

import os
import socket
import struct
import threading

import nbdwire as w

SIZE = 1 << 20


class Gone(Exception):
    """The client has left."""


class Connection:
    """One client; methods are overridden by tests."""

    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.structured = False
        self.contexts = []

    # -- bytes

    def send(self, *data):
        try:
            self.sock.sendall(b''.join(data))
        except OSError:
            raise Gone

    def recv(self, n):
        data = b''
        while len(data) < n:
            try:
                got = self.sock.recv(n - len(data))
            except OSError:
                got = b''
            if not got:
                raise Gone
            data += got
        return data

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        raise Gone

    # -- handshake

    flags = w.HAS_FLAGS | w.SEND_FLUSH | w.SEND_FUA | w.SEND_TRIM | w.SEND_WRITE_ZEROES | w.SEND_FAST_ZERO
    size = SIZE
    block_size = None               # (minimum, preferred, maximum)
    takes_structured = True
    offers = ('base:allocation',)

    def greet(self):
        self.send(struct.pack('>QQH', 0x4e42444d41474943, 0x49484156454f5054,
                              w.FIXED_NEWSTYLE | w.NO_ZEROES))
        self.recv(4)

    def reply(self, option, kind, data=b''):
        self.send(struct.pack('>QIII', w.REP_MAGIC, option, kind, len(data)), data)

    def negotiate(self):
        self.greet()
        while True:
            magic, option, length = struct.unpack('>QII', self.recv(16))
            data = self.recv(length)
            if self.option(option, data):
                return

    def option(self, option, data):
        """True: the export is chosen."""
        if option == w.OPT_STRUCTURED and self.takes_structured:
            self.structured = True
            self.reply(option, w.REP_ACK)
        elif option == w.OPT_SET_META:
            n, = struct.unpack('>I', data[:4])
            at = 8 + n
            while at < len(data):
                n, = struct.unpack('>I', data[at:at + 4])
                name = data[at + 4:at + 4 + n].decode()
                at += 4 + n
                if name in self.offers:
                    self.contexts.append(name)
                    self.reply(option, w.REP_META, struct.pack('>I', len(self.contexts)) + name.encode())
            self.reply(option, w.REP_ACK)
        elif option == w.OPT_GO:
            self.reply(option, w.REP_INFO, struct.pack('>HQH', w.INFO_EXPORT, self.size, self.flags))
            if self.block_size:
                self.reply(option, w.REP_INFO, struct.pack('>HIII', w.INFO_BLOCK_SIZE, *self.block_size))
            self.reply(option, w.REP_ACK)
            return True
        elif option == w.OPT_ABORT:
            self.reply(option, w.REP_ACK)
            raise Gone
        else:
            self.reply(option, w.ERR_UNSUP)
        return False

    # -- requests

    def run(self):
        self.negotiate()
        while True:
            magic, flags, cmd, cookie, offset, length = struct.unpack('>IHHQQI', self.recv(28))
            assert magic == w.REQUEST_MAGIC
            payload = self.recv(length) if cmd == w.WRITE else b''
            if cmd == w.DISC:
                self.server.goodbyes += 1
                raise Gone
            with self.server.lock:
                self.server.requests.append((cmd, flags, offset, length))
            self.request(cmd, flags, cookie, offset, length, payload)

    def request(self, cmd, flags, cookie, offset, length, payload):
        data = self.server.data
        if cmd == w.READ:
            self.read(cookie, offset, length)
        elif cmd == w.BLOCK_STATUS:
            self.status(cookie, offset, length)
        else:
            if cmd == w.WRITE:
                data[offset:offset + length] = payload
            elif cmd == w.WRITE_ZEROES:
                data[offset:offset + length] = bytes(length)
            self.simple(cookie)

    def read(self, cookie, offset, length):
        data = bytes(self.server.data[offset:offset + length])
        if self.structured:
            self.chunk(cookie, w.CHUNK_DATA, struct.pack('>Q', offset) + data)
        else:
            self.simple(cookie, data=data)

    def status(self, cookie, offset, length):
        self.chunk(cookie, w.CHUNK_STATUS, struct.pack('>III', 1, length, 0))

    def simple(self, cookie, error=0, data=b''):
        self.send(struct.pack('>IIQ', w.SIMPLE_MAGIC, error, cookie), data)

    def chunk(self, cookie, kind, data=b'', done=True, length=None):
        self.send(struct.pack('>IHHQI', w.CHUNK_MAGIC, int(done), kind, cookie,
                              len(data) if length is None else length), data)


class Server:
    """Serves @connection's kind at @path until it is closed."""

    def __init__(self, path, connection=Connection):
        self.path = path
        self.kind = connection
        self.data = bytearray(SIZE)
        self.requests = []
        self.clients = []
        self.count = self.goodbyes = 0
        self.lock = threading.Lock()
        self.open()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def open(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(self.path)
        self.sock.listen(100)
        threading.Thread(target=self.accept, args=(self.sock,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.count += 1
                c = self.kind(self, sock, self.count)
                self.clients.append(c)
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        try:
            c.run()
        except (Gone, OSError):
            pass
        c.sock.close()

    def close(self):
        """Nobody is served any more, and nobody answers."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.drop()

    def drop(self):
        """Connections break."""
        with self.lock:
            clients, self.clients = self.clients, []
        for c in clients:
            try:
                c.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
