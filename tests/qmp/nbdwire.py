# SPDX-License-Identifier: GPL-2.0-or-later
"""
An NBD client that sends what it is told to, right or wrong.  Numbers are those of the protocol
document (doc/proto.md of the NetworkBlockDevice project).
"""

import socket
import struct
import time

# When the server drops who has not chosen an export, where nobody says otherwise.
HANDSHAKE_SECONDS = 10

MAGIC = b'NBDMAGIC'
OPTS_MAGIC = b'IHAVEOPT'
REP_MAGIC = 0x3e889045565a9
REQUEST_MAGIC = 0x25609513
SIMPLE_MAGIC = 0x67446698
CHUNK_MAGIC = 0x668e33ef

FIXED_NEWSTYLE, NO_ZEROES = 1, 2

OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS = 1, 2, 3, 5
OPT_INFO, OPT_GO, OPT_STRUCTURED, OPT_LIST_META, OPT_SET_META = 6, 7, 8, 9, 10

REP_ACK, REP_SERVER, REP_INFO, REP_META = 1, 2, 3, 4
ERR = 1 << 31
ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_UNKNOWN, ERR_TOO_BIG = (ERR + n for n in (1, 2, 3, 6, 9))

INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE = range(4)

HAS_FLAGS, READ_ONLY, SEND_FLUSH, SEND_FUA = 1, 2, 4, 8
SEND_TRIM, SEND_WRITE_ZEROES, SEND_DF, MULTI_CONN = 1 << 5, 1 << 6, 1 << 7, 1 << 8
SEND_CACHE, SEND_FAST_ZERO = 1 << 10, 1 << 11

READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16

CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS = 0, 1, 2, 5
CHUNK_ERROR = 32769

EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP = 1, 5, 12, 22, 28, 75, 95


class Closed(Exception):
    """The server has ended the connection."""


class NbdError(Exception):
    def __init__(self, number):
        super().__init__('NBD error %d' % number)
        self.number = number


def name_option(name):
    data = name if isinstance(name, bytes) else name.encode()
    return struct.pack('>I', len(data)) + data


def info_option(name, *infos):
    return name_option(name) + struct.pack('>H%dH' % len(infos), len(infos), *infos)


def meta_option(name, *queries):
    return (name_option(name) + struct.pack('>I', len(queries)) +
            b''.join(name_option(q) for q in queries))


class Wire:
    def __init__(self, path, flags=FIXED_NEWSTYLE | NO_ZEROES, timeout=20):
        """@flags: what the client answers to the greeting; None: nothing yet."""
        if isinstance(path, tuple):
            self.sock = socket.create_connection(path)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(path)
        self.sock.settimeout(timeout)
        self.cookie = 0
        self.structured = False
        self.flags = flags
        if flags is not None:
            self.greet(flags)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def close(self):
        self.sock.close()

    # -- bytes

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed

    def send_in_pieces(self, data, length):
        for at in range(0, len(data), length):
            self.send(data[at:at + length])

    def recv(self, n):
        buf = bytearray(n)
        view = memoryview(buf)
        while view:
            try:
                got = self.sock.recv_into(view)
            except ConnectionResetError:
                got = 0
            if not got:
                raise Closed
            view = view[got:]
        return bytes(buf)

    def unpack(self, fmt):
        return struct.unpack('>' + fmt, self.recv(struct.calcsize('>' + fmt)))

    def expect_closed(self, within=20):
        """The server must end the connection without a further byte."""
        self.sock.settimeout(within)
        try:
            data = self.sock.recv(1)
        except ConnectionResetError:
            data = b''
        assert data == b'', 'the server sent %r' % data

    # -- handshake

    def greet(self, flags):
        self.server_flags = self.read_greeting()
        self.flags = flags
        self.send(struct.pack('>I', flags))

    def read_greeting(self):
        magic, opts, flags = self.unpack('8s8sH')
        assert magic == MAGIC and opts == OPTS_MAGIC
        return flags

    def send_option(self, code, data=b'', length=None, magic=OPTS_MAGIC):
        self.send(magic + struct.pack('>II', code, len(data) if length is None else length) + data)

    def recv_reply(self, code):
        magic, opt, kind, length = self.unpack('QIII')
        assert magic == REP_MAGIC, hex(magic)
        assert opt == code, (opt, code)
        return kind, self.recv(length)

    def option(self, code, data=b''):
        """All replies to one option: a list of (type, data) up to ACK or an error."""
        self.send_option(code, data)
        replies = []
        while not replies or (replies[-1][0] != REP_ACK and not replies[-1][0] & ERR):
            replies.append(self.recv_reply(code))
        return replies

    def option_error(self, code, data=b''):
        """The error that the option must end with: its number; text is checked."""
        kind, text = self.option(code, data)[-1]
        assert kind & ERR, 'option %d succeeded' % code
        assert len(text) <= 4096
        text.decode()
        return kind

    def negotiate(self, name, structured=True, meta=()):
        """Structured replies, contexts and GO; .size and .export_flags are then known."""
        if structured:
            assert self.option(OPT_STRUCTURED) == [(REP_ACK, b'')]
            self.structured = True
        self.contexts = {}
        if meta:
            for kind, data in self.option(OPT_SET_META, meta_option(name, *meta))[:-1]:
                assert kind == REP_META
                self.contexts[data[4:].decode()] = struct.unpack('>I', data[:4])[0]
        return self.go(name)

    def go(self, name):
        replies = self.option(OPT_GO, info_option(name))
        assert replies[-1] == (REP_ACK, b''), replies
        for kind, data in replies[:-1]:
            if struct.unpack('>H', data[:2])[0] == INFO_EXPORT:
                self.size, self.export_flags = struct.unpack('>QH', data[2:])
        return self

    # -- transmission

    def request_bytes(self, cmd, offset=0, length=0, flags=0, cookie=0, magic=REQUEST_MAGIC):
        return struct.pack('>IHHQQI', magic, flags, cmd, cookie, offset, length)

    def request(self, cmd, offset=0, length=0, flags=0, payload=b''):
        """Send a request; its cookie."""
        self.cookie += 1
        self.send(self.request_bytes(cmd, offset, length, flags, self.cookie) + payload)
        return self.cookie

    def recv_answer(self):
        """
        The next simple reply (without data) or chunk: (cookie, done, type, content).  A simple
        reply has the type 'simple' and its error number as content.
        """
        magic, = self.unpack('I')
        if magic == SIMPLE_MAGIC:
            error, cookie = self.unpack('IQ')
            return cookie, True, 'simple', error
        assert magic == CHUNK_MAGIC, hex(magic)
        flags, kind, cookie, length = self.unpack('HHQI')
        assert flags in (0, 1)
        assert length <= (32 << 20) + 8, length
        return cookie, bool(flags), kind, self.recv(length)

    def call(self, cmd, offset=0, length=0, flags=0, payload=b''):
        """
        Carry a request out: list of chunks (type, content) or, with simple replies, what was
        read; NbdError.
        """
        cookie = self.request(cmd, offset, length, flags, payload)
        return self.finish(cookie, cmd, length)

    def finish(self, cookie, cmd, length):
        chunks = []
        done = False
        while not done:
            got, done, kind, content = self.recv_answer()
            assert got == cookie, (got, cookie)
            if kind == 'simple':
                # "a server MUST NOT use a simple reply for READ once structured ones are agreed"
                assert not self.structured or cmd not in (READ, BLOCK_STATUS)
                if content:
                    raise NbdError(content)
                return self.recv(length) if cmd == READ else chunks
            if kind & 0x8000:
                number, text_len = struct.unpack('>IH', content[:6])
                content[6:6 + text_len].decode()
                assert done
                raise NbdError(number)
            chunks.append((kind, content))
        return chunks

    def error(self, cmd, offset=0, length=0, flags=0, payload=b''):
        """The number of the error that the request must end with."""
        try:
            self.call(cmd, offset, length, flags, payload)
        except NbdError as e:
            return e.number
        raise AssertionError('request %d succeeded' % cmd)

    def read(self, offset, length, flags=0):
        """Data of a read, put together from its chunks, which must cover it exactly once."""
        got = self.call(READ, offset, length, flags)
        return got if isinstance(got, bytes) else join_chunks(got, offset, length)

    def write(self, offset, data, flags=0):
        self.call(WRITE, offset, len(data), flags, data)

    def block_status(self, offset, length, flags=0):
        return parse_status(self.call(BLOCK_STATUS, offset, length, flags))

    def alive(self):
        """The connection still answers."""
        self.call(FLUSH)
        return True

    def disconnect(self):
        self.send(self.request_bytes(DISC))
        self.expect_closed()
        self.close()


def parse_status(chunks):
    """{context id: [(length, flags), ...]}"""
    result = {}
    for kind, content in chunks:
        assert kind == CHUNK_STATUS
        ident, = struct.unpack('>I', content[:4])
        assert ident not in result
        result[ident] = [struct.unpack('>II', content[i:i + 8])
                         for i in range(4, len(content), 8)]
    return result


def join_chunks(chunks, offset, length):
    buf = bytearray(length)
    seen = 0
    for kind, content in chunks:
        if kind == CHUNK_NONE:
            assert content == b''
            continue
        at, = struct.unpack('>Q', content[:8])
        if kind == CHUNK_DATA:
            n = len(content) - 8
            data = content[8:]
        else:
            assert kind == CHUNK_HOLE and len(content) == 12
            n, = struct.unpack('>I', content[8:])
            data = bytes(n)
        assert n > 0 and offset <= at and at + n <= offset + length
        buf[at - offset:at - offset + n] = data
        seen += n
    assert seen == length, 'chunks cover %d of %d bytes' % (seen, length)
    return bytes(buf)


def wait_until(what, seconds=20):
    """Poll until @what() is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, 'it did not happen in time'
        time.sleep(0.01)
