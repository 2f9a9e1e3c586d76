# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the pictures that qemu-img writes, and checks all of the file's checksums while at it."""

import collections
import functools
import struct
import zlib


class Png:
    """.width, .height; .at(x, y) is (red, green, blue)"""

    def __init__(self, path):
        with open(path, 'rb') as f:
            data = f.read()
        assert data[:8] == b'\x89PNG\r\n\x1a\n', data[:8]
        pos, idat, kinds = 8, b'', []
        while pos < len(data):
            length, kind = struct.unpack('>I4s', data[pos:pos + 8])
            body = data[pos + 8:pos + 8 + length]
            crc, = struct.unpack('>I', data[pos + 8 + length:pos + 12 + length])
            assert crc == zlib.crc32(kind + body), kind
            kinds.append(kind)
            if kind == b'IHDR':
                self.width, self.height, depth, color, *_, interlace = struct.unpack('>IIBBBBB', body)
                assert (depth, color, interlace) == (8, 2, 0), (depth, color, interlace)
            elif kind == b'IDAT':
                idat += body
            pos += 12 + length
        assert kinds[-1] == b'IEND', kinds
        self._raw = zlib.decompress(idat)
        assert len(self._raw) == self.height * (3 * self.width + 1), len(self._raw)

    @functools.cached_property
    def rows(self):
        """Of bytes; made when somebody looks."""
        raw, stride = self._raw, self.width * 3
        above = bytearray(stride)
        rows = []
        for y in range(self.height):
            kind, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
            for i in range(stride) if kind else ():
                a, b, c = (row[i - 3] if i >= 3 else 0), above[i], (above[i - 3] if i >= 3 else 0)
                if kind == 4:
                    p = a + b - c
                    da, db, dc = abs(p - a), abs(p - b), abs(p - c)
                    guess = a if da <= db and da <= dc else b if db <= dc else c
                else:
                    guess = (None, a, b, (a + b) // 2)[kind]
                row[i] = (row[i] + guess) & 255
            rows.append(row)
            above = row
        return rows

    def at(self, x, y):
        return tuple(self.rows[y][3 * x:3 * x + 3])

    def colors(self, x, y, width, height):
        """How often each is there."""
        return collections.Counter(self.at(i, k) for k in range(y, y + height) for i in range(x, x + width))
