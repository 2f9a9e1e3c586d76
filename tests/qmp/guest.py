# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that writes all the time, and knows every byte that its disk must have."""
import random
import threading


class Guest:
    """
        with Guest(rig, 'disk0', 4 << 20) as guest: ...     # writes in a thread of its own
        guest.check(bytes_of_the_disk)

    Writes, zeroes and discards go one after the other to random places; what a discarded range reads as is read back
    at once: it must not change any more.
    """

    def __init__(self, rig, export, size, seed=1, most=128 << 10, pause=0.0):
        self.h = rig.nbd(export)
        self.model = bytearray(self.h.pread(size, 0))
        self.random = random.Random(seed)
        self.size, self.most, self.pause = size, most, pause
        self.ended = threading.Event()
        self.writes = 0
        self.error = None
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop()
        if exc[0] is None and self.error:
            raise self.error

    def stop(self):
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join()

    def step(self):
        r = self.random
        offset = r.randrange(self.size // 512) * 512
        length = min(self.size - offset, r.randrange(1, self.most // 512) * 512)
        kind = r.randrange(8)
        if kind == 0:
            self.h.zero(length, offset)
            self.model[offset:offset + length] = bytes(length)
        elif kind == 1:
            self.h.trim(length, offset)
            self.model[offset:offset + length] = self.h.pread(length, offset)
        elif kind == 2:
            self.h.flush()
        else:
            data = bytes([r.randrange(1, 256)]) * length
            self.h.pwrite(data, offset)
            self.model[offset:offset + length] = data
        self.writes += 1

    def run(self):
        try:
            while not self.ended.wait(self.pause):
                self.step()
        except Exception as e:              # the test's own thread looks at it
            self.error = e

    def check(self, data=None):
        """The disk, or these bytes, are what was written."""
        data = self.h.pread(self.size, 0) if data is None else data
        if bytes(data) != bytes(self.model):
            first = next(i for i in range(self.size) if data[i] != self.model[i])
            raise AssertionError('byte %d is %d and not %d' % (first, data[first], self.model[first]))
