# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest's writers leave on their disks (guest.h), looked at from outside."""

import struct
import zlib

SIZE, STEP, MAX_DISKS = 4096, 1009, 32
HEAD = struct.Struct('<8sIIQ%dQ' % MAX_DISKS)


def check(data, index, slots, number=None):
    """
    The disk's image holds exactly the records up to one number, all whole, each in its slot: @number if given.
    The number, and the newest of every disk that one of the records has seen.
    """
    found = {}
    for slot in range(slots):
        record = data[slot * SIZE:(slot + 1) * SIZE]
        magic, total, where, n, *seen = HEAD.unpack_from(record)
        if magic == b'guestrec':
            assert total == zlib.crc32(record[12:]), 'disk %d: slot %d: record %d is torn' % (index, slot, n)
            assert where == index, 'disk %d: slot %d is of disk %d' % (index, slot, where)
            found[slot] = n, seen
        else:
            assert not any(record), 'disk %d: slot %d holds neither a record nor zeroes' % (index, slot)
    newest = max((n for n, _ in found.values()), default=0)
    assert number is None or newest == number, 'disk %d ends with record %d and not %d' % (index, newest, number)
    inverse = pow(STEP, -1, slots)
    for slot in range(slots):
        wanted = newest - (newest - slot * inverse) % slots
        there = found.get(slot, (0,))[0]
        assert there == max(wanted, 0), 'disk %d: slot %d holds record %d and not %d' % (index, slot, there, wanted)
    most = [max((seen[i] for _, seen in found.values()), default=0) for i in range(MAX_DISKS)]
    return newest, most


def check_instant(images, slots):
    """
    Images of several disks, by index, are one instant: none has a record that was written after something that is
    missing on another.  The numbers, by index.
    """
    seen = {i: check(data, i, slots) for i, data in images.items()}
    for i, (_, most) in seen.items():
        for j, (newest, _) in seen.items():
            assert most[j] <= newest, 'a record on disk %d has seen record %d of disk %d, which ends with %d' % (
                i, most[j], j, newest)
    return {i: newest for i, (newest, _) in seen.items()}
