#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A damaged image that was repaired here is clean for the installed qemu-img, and has the data that it had;
what qemu-img repaired is clean here.

usage: qcow2-repair-both-ways.py PATH-OF-qcow2-tool [VARIANT...]

$INTEROP_FULL: all damages to all variants.
"""
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

TOOL = sys.argv[1] if len(sys.argv) > 1 else None
OFFSET = 0x00fffffffffffe00
COPIED = 1 << 63


def run(*cmd, ok=(0,)):
    p = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode not in ok:
        raise AssertionError('%s: exit status %d\n%s' % (' '.join(cmd), p.returncode,
                                                         p.stdout.decode(errors='replace')))
    return p.stdout


def tool(*args):
    p = subprocess.run([TOOL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return p.stdout if p.returncode == 0 else None


class Image:
    """A qcow2 file's metadata, for damaging it."""

    def __init__(self, path):
        self.path = path
        self.f = open(path, 'r+b', buffering=0)
        self.cluster = 1 << self.u32(20)
        self.l1_size, self.l1 = self.u32(36), self.u64(40)
        self.reftable, self.reftable_clusters = self.u64(48), self.u32(56)
        v3 = self.u32(4) == 3
        self.bits = 1 << (self.u32(96) if v3 else 4)
        self.v3 = v3
        self.incompatible = self.u64(72) if v3 else 0
        self.entry = 16 if self.incompatible & 16 else 8
        self.data_file = bool(self.incompatible & 4)

    def read(self, at, n):
        self.f.seek(at)
        return self.f.read(n).ljust(n, b'\0')

    def write(self, at, data):
        self.f.seek(at)
        self.f.write(data)

    def u32(self, at):
        return struct.unpack('>I', self.read(at, 4))[0]

    def u64(self, at):
        return struct.unpack('>Q', self.read(at, 8))[0]

    def set64(self, at, value):
        self.write(at, struct.pack('>Q', value))

    def length(self):
        return os.fstat(self.f.fileno()).st_size

    def l2_tables(self):
        """(position of the L1 entry, offset of the table)"""
        for i in range(self.l1_size):
            table = self.u64(self.l1 + i * 8) & OFFSET
            if table:
                yield self.l1 + i * 8, table

    def entries(self):
        """Positions of L2 entries that have a plain cluster with data."""
        for _, table in self.l2_tables():
            raw = self.read(table, self.cluster)
            for at in range(0, self.cluster, self.entry):
                e = struct.unpack_from('>Q', raw, at)[0]
                if e & OFFSET and not e >> 62 & 1 and not e & 1:
                    yield table + at

    def host(self, at):
        return self.u64(at) & OFFSET

    def block_of(self, offset):
        """Position of the refcount table's entry, and number in the block."""
        per_block = self.cluster * 8 // self.bits
        index = offset // self.cluster
        return self.reftable + index // per_block * 8, index % per_block

    def set_count(self, offset, value):
        entry, n = self.block_of(offset)
        block = self.u64(entry)
        assert block
        if self.bits >= 8:
            self.write(block + n * self.bits // 8, value.to_bytes(self.bits // 8, 'big'))
        else:
            bit = n * self.bits
            byte = self.read(block + bit // 8, 1)[0]
            mask = (1 << self.bits) - 1
            byte = byte & ~(mask << bit % 8) | value << bit % 8
            self.write(block + bit // 8, bytes([byte]))

    def count(self, offset):
        entry, n = self.block_of(offset)
        block = self.u64(entry)
        raw = self.read(block + n * self.bits // 8, 8)
        if self.bits >= 8:
            return int.from_bytes(raw[:self.bits // 8], 'big')
        return raw[0] >> n * self.bits % 8 & (1 << self.bits) - 1


class Skip(Exception):
    pass


# -- damages: each changes the image and may raise Skip

def some_entry(i, rng):
    entries = list(i.entries())
    if not entries or i.data_file:
        raise Skip
    return rng.choice(entries)


def some_l2(i, rng):
    tables = list(i.l2_tables())
    if not tables:
        raise Skip
    return rng.choice(tables)


def leak(i, rng):
    end = (i.length() + i.cluster - 1) // i.cluster * i.cluster
    entry, n = i.block_of(end)
    if i.u64(entry) == 0 or n + 1 >= i.cluster * 8 // i.bits:
        raise Skip
    i.f.truncate(end + i.cluster)
    i.set_count(end, 1)


def data_count_zero(i, rng):
    i.set_count(i.host(some_entry(i, rng)), 0)


def data_count_high(i, rng):
    at = i.host(some_entry(i, rng))
    if i.count(at) + 1 >= 1 << i.bits:
        raise Skip
    i.set_count(at, i.count(at) + 1)


def l2_count_zero(i, rng):
    i.set_count(some_l2(i, rng)[1], 0)


def header_count_zero(i, rng):
    i.set_count(0, 0)


def block_zeroed(i, rng):
    i.write(i.u64(i.reftable), bytes(i.cluster))


def block_garbage(i, rng):
    i.write(i.u64(i.reftable), rng.randbytes(i.cluster))


def block_missing(i, rng):
    i.set64(i.reftable, 0)


def block_unaligned(i, rng):
    i.set64(i.reftable, i.u64(i.reftable) + 512 if i.cluster > 512 else i.u64(i.reftable) | 1 << 9)


def block_past_end(i, rng):
    i.set64(i.reftable, (i.length() // i.cluster + 100) * i.cluster)


def block_twice(i, rng):
    i.set64(i.reftable + 8, i.u64(i.reftable))


def block_is_data(i, rng):
    i.set64(i.reftable, i.host(some_entry(i, rng)))


def block_is_l2(i, rng):
    i.set64(i.reftable, some_l2(i, rng)[1])


def reftable_is_gone(i, rng):
    i.write(56, struct.pack('>I', 0))


def reftable_elsewhere(i, rng):
    i.set64(48, (i.length() // i.cluster + 7) * i.cluster)


def reftable_is_l1(i, rng):
    i.set64(48, i.l1)


def copied_missing(i, rng):
    at = some_entry(i, rng)
    i.set64(at, i.u64(at) & ~COPIED)


def copied_wrong(i, rng):
    at = some_entry(i, rng)
    i.set64(at, i.u64(at) ^ COPIED)


def l1_copied_wrong(i, rng):
    at, _ = some_l2(i, rng)
    i.set64(at, i.u64(at) ^ COPIED)


def data_twice(i, rng):
    a, b = some_entry(i, rng), some_entry(i, rng)
    if i.bits == 1 or a == b:
        raise Skip
    i.set64(a, i.u64(b))


def data_is_l2(i, rng):
    if i.bits == 1:
        raise Skip
    at = some_entry(i, rng)
    i.set64(at, some_l2(i, rng)[1] | COPIED)


def data_is_block(i, rng):
    if i.bits == 1:
        raise Skip
    at = some_entry(i, rng)
    i.set64(at, i.u64(i.reftable) | COPIED)


def data_past_end(i, rng):
    if not i.v3:
        raise Skip
    at = some_entry(i, rng)
    i.set64(at, (i.length() // i.cluster + rng.randrange(1 << 20, 1 << 24)) * i.cluster | COPIED)


def l2_past_end(i, rng):
    at, _ = some_l2(i, rng)
    i.set64(at, (i.length() // i.cluster + rng.randrange(1 << 20, 1 << 24)) * i.cluster | COPIED)


def marked_dirty(i, rng):
    if not i.v3:
        raise Skip
    i.set64(72, i.incompatible | 1)
    if not i.data_file:
        data_count_zero(i, rng)


def marked_corrupt(i, rng):
    if not i.v3:
        raise Skip
    i.set64(72, i.incompatible | 2)


def several(i, rng):
    for f in rng.sample(IN_PLACE, 4):
        try:
            f(i, rng)
        except Skip:
            pass


IN_PLACE = [leak, data_count_zero, data_count_high, l2_count_zero, header_count_zero, copied_missing,
            copied_wrong, l1_copied_wrong, data_twice, data_past_end]
# The last ones are beyond what qemu-img opens or repairs.
DAMAGES = IN_PLACE + [
    block_zeroed, block_garbage, block_missing, block_unaligned, block_past_end, block_twice,
    block_is_data, block_is_l2, data_is_l2, data_is_block, l2_past_end, marked_dirty, marked_corrupt,
    several, reftable_is_gone, reftable_elsewhere, reftable_is_l1]

# -- images

SIZE = 640 * 1024


def make(path, options='', size=SIZE, snapshot=False, bitmap=False, compressed=False):
    create = ['qemu-img', 'create', '-q', '-f', 'qcow2']
    if 'data_file' in options:
        options = options.replace('DATA', path + '.data')
    run(*create, *(['-o', options] if options else []), path, str(size))
    if compressed:
        raw = path + '.raw'
        with open(raw, 'wb') as f:
            f.write(bytes(i // 512 % 251 for i in range(size)))
        run('qemu-img', 'convert', '-c', '-n', '-O', 'qcow2', raw, path)
        os.unlink(raw)
    run('qemu-io', '-f', 'qcow2', '-c', 'write -P 1 0 %d' % (size // 2),
        '-c', 'write -P 2 %d 4096' % (size // 4), '-c', 'write -P 3 %d 8192' % (size - 65536),
        '-c', 'write -z %d 65536' % (size // 8), path)
    if snapshot:
        run('qemu-img', 'snapshot', '-c', 'one', path)
        run('qemu-io', '-f', 'qcow2', '-c', 'write -P 4 8192 100000', path)
        run('qemu-img', 'snapshot', '-c', 'two', path)
        run('qemu-io', '-f', 'qcow2', '-c', 'write -P 5 20000 10000', path)
    if bitmap:
        run('qemu-img', 'bitmap', '--add', path, 'b0')
        run('qemu-img', 'bitmap', '--add', '--disable', path, 'b1')


def variants():
    yield 'default', dict()
    yield 'v2', dict(options='compat=0.10')
    yield 'v2-snapshot', dict(options='compat=0.10,cluster_size=4k', snapshot=True)
    for n, bits in ((512, 16), (512, 64), (1024, 8), (4096, 1), (4096, 2), (65536, 4), (2 << 20, 32)):
        yield 'cluster%d-bits%d' % (n, bits), dict(
            options='cluster_size=%d,refcount_bits=%d' % (n, bits), size=max(SIZE, 4 * n))
    yield 'snapshots', dict(options='cluster_size=4k', snapshot=True)
    yield 'bitmaps', dict(bitmap=True)
    yield 'compressed', dict(options='cluster_size=4k', compressed=True)
    yield 'extended-l2', dict(options='extended_l2=on,cluster_size=16k', snapshot=True)
    yield 'lazy', dict(options='lazy_refcounts=on')
    yield 'data-file', dict(options='data_file=DATA')


def snapshots_of(path, d):
    """Content of each internal snapshot."""
    out = []
    for name in ('one', 'two'):
        raw = os.path.join(d, 'snapshot.raw')
        p = subprocess.run(['qemu-img', 'convert', '-l', 'snapshot.name=' + name, '-O', 'raw', path,
                            raw], stderr=subprocess.DEVNULL)
        out.append(open(raw, 'rb').read() if p.returncode == 0 else None)
    return out


def check_ours(path):
    return (tool('check', path) or b'failed').decode().strip()


def repaired_here(path, before, snapshots, d):
    """@before: None if it cannot be the same"""
    r = tool('repair', path, 'all')
    assert r is not None, 'the repair failed'
    assert r.startswith(b'0 0 '), 'left: ' + r.decode()
    run('qemu-img', 'check', '-q', path)
    assert before is None or tool('read', path) == before, 'the data is another'
    if snapshots:
        assert snapshots_of(path, d) == snapshots, 'a snapshot is another'
    assert tool('edit', path, 'w:4096:65536:9', 'f:') is not None
    left = check_ours(path)
    # What two clusters shared is copied for one of them; that the other could be written in place now
    # is not noted down, which is harmless.
    assert left == '0 0' or 'not marked as exclusive but has refcount 1' in left, left
    if left == '0 0':
        run('qemu-img', 'check', '-q', path)


def repaired_there(path):
    p = subprocess.run(['qemu-img', 'check', '-q', '-r', 'all', path], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    clean = subprocess.run(['qemu-img', 'check', '-q', path], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL).returncode == 0
    if p.returncode == 0 and clean:
        # It does not look at refcounts past the end of the file.
        assert check_ours(path).startswith('0 '), check_ours(path)
    return clean


def run_damage(base, damage, rng, d, has_snapshots):
    path, other = os.path.join(d, 'here'), os.path.join(d, 'there')
    shutil.copyfile(base, path)
    i = Image(path)
    before_damage, snapshots = tool('read', path), has_snapshots and snapshots_of(path, d)
    try:
        damage(i, rng)
    except Skip:
        return None
    i.f.close()
    shutil.copyfile(path, other)
    before = tool('read', path)
    if before is None:
        before = before_damage
    if damage == data_is_l2:            # repairing the table changes what it is as data
        before = None
    repaired_here(path, before, snapshots if damage in IN_PLACE else None, d)
    return repaired_there(other)


def leaks_only(base, rng, d):
    """-r leaks: leaks go, errors stay."""
    path = os.path.join(d, 'leaks')
    shutil.copyfile(base, path)
    i = Image(path)
    try:
        leak(i, rng)
        i.f.close()
        assert check_ours(path) == '0 1', check_ours(path)
        assert tool('repair', path, 'leaks').strip() == b'0 0'
        run('qemu-img', 'check', '-q', path)
        i = Image(path)
        leak(i, rng)
        data_count_zero(i, rng)
        i.f.close()
        r = tool('repair', path, 'leaks').split()
        assert r[0] != b'0' and r[1] == b'0', r
    except Skip:
        pass


def main():
    if not TOOL:
        sys.exit(__doc__.strip())
    if not shutil.which('qemu-img') or not shutil.which('qemu-io'):
        print('skipped: qemu-img and qemu-io are not installed')
        sys.exit(77)
    done = there = 0
    failures = []
    with tempfile.TemporaryDirectory(prefix='qcow2-repair-') as d:
        for name, how in variants():
            if len(sys.argv) > 2 and name not in sys.argv[2:]:
                continue
            base = os.path.join(d, name)
            make(base, **how)
            rng = random.Random(name)
            full = os.environ.get('INTEROP_FULL') or len(sys.argv) > 2
            if name == 'default' or full:
                damages = DAMAGES
            else:
                damages = rng.sample(DAMAGES, 2)
            leaks_only(base, rng, d)
            for damage in damages:
                try:
                    r = run_damage(base, damage, rng, d, how.get('snapshot'))
                except AssertionError as e:
                    failures.append('%s, %s: %s' % (name, damage.__name__, e))
                    continue
                done += r is not None
                there += r is True
    print('%d damages repaired here, %d there' % (done, there))
    if failures:
        sys.exit('\n'.join(failures))


main()
