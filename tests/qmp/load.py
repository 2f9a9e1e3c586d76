# SPDX-License-Identifier: GPL-2.0-or-later
"""
Write load over NBD that knows what every byte may be.

A disk is looked at in slots of 4096 bytes.  A slot is filled with one number, each write has a
number of its own, and each writer has slots of its own.  The model of a slot knows what a reader
must see now, and what may be found after the daemon was killed: what was there at the last flush,
or anything that was sent since.
"""

import random
import struct
import threading
import time

SLOT = 4096
UNKNOWN = -1            # trimmed: anything


def fill(value):
    return struct.pack('>Q', value) * (SLOT // 8)


def slot_value(data, slot):
    """The number that fills slot @slot of @data, or None if it is torn."""
    piece = data[slot * SLOT:(slot + 1) * SLOT]
    value = struct.unpack('>Q', piece[:8])[0]
    return value if piece == fill(value) else None


class Model:
    def __init__(self, slots):
        self.slots = slots
        self.current = [0] * slots              # what was acknowledged last
        self.allowed = [{0} for _ in range(slots)]
        self.sent = [0] * slots                 # what was sent last: it may be under way
        self.log = None                         # for each slot: values it had since begin_log()
        self.lock = threading.Lock()
        self.next_value = 1

    def begin(self, first, n, value):
        """A write is about to be sent."""
        with self.lock:
            for s in range(first, first + n):
                self.sent[s] = value
                self.allowed[s].add(value)
                if self.log is not None:
                    self.log[s].add(value)

    def end(self, first, n, value, durable=False):
        with self.lock:
            for s in range(first, first + n):
                self.current[s] = value
                if durable:
                    self.allowed[s] = {value}

    def flushed(self, slots):
        """All writes to @slots that had been answered are safe now; none is under way."""
        with self.lock:
            for s in slots:
                self.allowed[s] = {self.current[s]}

    def begin_log(self):
        with self.lock:
            self.log = [{a, b} for a, b in zip(self.current, self.sent)]

    def end_log(self):
        """For each slot what a snapshot taken since begin_log() may hold."""
        with self.lock:
            log, self.log = self.log, None
        return log

    def new_value(self):
        with self.lock:
            self.next_value += 1
            return self.next_value

    def after_crash(self, data, who):
        """Judge what a restarted daemon shows, and go on from there."""
        for s in range(self.slots):
            v = slot_value(data, s)
            ok = UNKNOWN in self.allowed[s] or v in self.allowed[s]
            assert ok, '%s: slot %d is %s, may be %s' % (who, s, v, sorted(self.allowed[s]))
            if UNKNOWN in self.allowed[s] and v is None:
                v = UNKNOWN
            self.current[s] = self.sent[s] = v
            self.allowed[s] = {v}


def judge_snapshot(data, log, who):
    """The frozen image @data against what end_log() said."""
    for s, values in enumerate(log):
        v = slot_value(data, s)
        assert UNKNOWN in values or v in values, '%s: slot %d of the snapshot is %s, may be %s' % (
            who, s, v, sorted(values))


class Writer(threading.Thread):
    """Random requests to slots first..first+n-1 until .stop is set or the connection ends."""

    def __init__(self, handle, model, first, n, seed, who=''):
        super().__init__(daemon=True)
        self.handle, self.model, self.first, self.n = handle, model, first, n
        self.random = random.Random(seed)
        self.who = who
        self.stop = False
        self.error = None               # of the connection
        self.wrong = None               # what was read and should not have been
        self.requests = 0
        self.gate = threading.Lock()    # whoever holds it has the writer pause

    def run(self):
        try:
            while not self.stop and not self.wrong:
                with self.gate:
                    self.one()
                self.requests += 1
                time.sleep(0)           # let somebody else have the gate
        except Exception as e:
            self.error = e

    def one(self):
        r, m = self.random, self.model
        kind = r.random()
        n = min(r.choice([1, 1, 1, 2, 3, 17]), self.n)
        first = self.first + r.randrange(self.n - n + 1)
        if kind < 0.55:
            value, fua = m.new_value(), r.random() < 0.1
            m.begin(first, n, value)
            self.handle.pwrite(fill(value) * n, first * SLOT, flags=1 if fua else 0)
            m.end(first, n, value, fua)
        elif kind < 0.65:
            m.begin(first, n, 0)
            self.handle.zero(n * SLOT, first * SLOT)
            m.end(first, n, 0)
        elif kind < 0.70:
            m.begin(first, n, UNKNOWN)
            self.handle.trim(n * SLOT, first * SLOT)
            m.end(first, n, UNKNOWN)
        elif kind < 0.85:
            data = self.handle.pread(n * SLOT, first * SLOT)
            for i in range(n):
                want, have = m.current[first + i], slot_value(data, i)
                if want != UNKNOWN and want != have:
                    self.wrong = '%s: slot %d reads %s, was written %s' % (self.who, first + i,
                                                                           have, want)
        else:
            self.handle.flush()
            m.flushed(range(self.first, self.first + self.n))


def finish(writers):
    """Stop them; an AssertionError if one of them read what it had not written."""
    for w in writers:
        w.stop = True
    for w in writers:
        w.join(60)
        assert not w.is_alive(), 'a request of %s does not end' % w.who
    for w in writers:
        assert not w.wrong, w.wrong
