#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Images that the installed qemu-img writes, with every option of the format, read back identically
here; images written here are clean for its check and have the data that was written.

usage: qcow2-images-both-ways.py PATH-OF-qcow2-tool
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

TOOL = sys.argv[1] if len(sys.argv) > 1 else None
SIZE = 3 * 1024 * 1024
FULL = bool(os.environ.get('INTEROP_FULL'))
UNIT = 512
ZSTD = True


def run(*cmd, **kw):
    p = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
    if p.returncode:
        sys.exit(f'{" ".join(cmd)}: exit status {p.returncode}\n{p.stdout.decode()}')
    return p.stdout


def ours(*args):
    p = subprocess.run([TOOL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if p.returncode:
        sys.exit(f'qcow2-tool {" ".join(args)}: {p.stderr.decode()}')
    return p.stdout


def same(a, b, what):
    if a != b:
        at = next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))
        sys.exit(f'{what}: lengths {len(a)} and {len(b)}, first difference at {at}')


def steps(rng, size, count, kinds='wwwwzu'):
    """Random requests: (kind, offset, bytes, pattern); c is a compressed write."""
    for _ in range(count):
        offset = rng.randrange(size // UNIT) * UNIT
        length = min(size - offset, rng.choice([1, 8, 128, 700]) * rng.randrange(1, 9) * UNIT)
        yield rng.choice(kinds), offset, length, rng.randrange(1, 255)


def apply(model, kind, offset, length, pattern):
    model[offset:offset + length] = bytes([pattern if kind in 'wc' else 0]) * length


def theirs_edit(path, model, rng, count=25):
    cmd = ['qemu-io', '-f', 'qcow2', '-d', 'unmap']
    for kind, offset, length, pattern in steps(rng, len(model), count):
        verb = {'w': f'write -P {pattern}', 'z': 'write -z', 'u': 'write -z -u'}[kind]
        cmd += ['-c', f'{verb} {offset} {length}']
        apply(model, kind, offset, length, pattern)
    out = run(*cmd, path)
    if b'failed' in out:
        sys.exit(out.decode())


def ours_edit(path, model, rng, count=25, kinds='wwwwzu'):
    args = []
    for kind, offset, length, pattern in steps(rng, len(model), count, kinds):
        args.append(f'{kind}:{offset}:{length}:{pattern}')
        apply(model, kind, offset, length, pattern)
    ours('edit', path, *args)


def judge(path, model, what):
    """Everybody agrees on what is in @path, and that it is in order."""
    same(ours('read', path), bytes(model), f'{what}, read here')
    raw = path + '.raw'
    run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', path, raw)
    with open(raw, 'rb') as f:
        same(f.read(), bytes(model), f'{what}, read by qemu-img')
    os.unlink(raw)
    run('qemu-img', 'check', '-f', 'qcow2', path)
    corruptions, leaks = ours('check', path).split()[:2]
    if (int(corruptions), int(leaks)) != (0, 0):
        sys.exit(f'{what}: {ours("check", path).decode()}')


# The same options in both spellings: qemu-img -o, and qcow2-tool create.
LAYOUTS = [
    ('default', '', ''),
    ('v2', 'compat=0.10', 'version=2'),
    ('512', 'cluster_size=512', 'cluster_size=512'),
    ('4k', 'cluster_size=4k', 'cluster_size=4096'),
    ('2M', 'cluster_size=2M', 'cluster_size=2097152'),
    *((f'refcount{n}', f'refcount_bits={n},cluster_size=1k', f'refcount_bits={n} cluster_size=1024')
      for n in (1, 2, 4, 8, 32, 64)),
    ('lazy', 'lazy_refcounts=on', 'lazy_refcounts=1'),
    ('extended-l2', 'extended_l2=on', 'extended_l2=1'),
    ('extended-l2-16k', 'extended_l2=on,cluster_size=16k', 'extended_l2=1 cluster_size=16384'),
    ('extended-l2-128k', 'extended_l2=on,cluster_size=128k', 'extended_l2=1 cluster_size=131072'),
    ('zstd', 'compression_type=zstd', 'compression_type=1'),
    *((f'preallocation-{p}', f'preallocation={p}', f'preallocation={p}')
      for p in ('metadata', 'falloc', 'full')),
    ('preallocated-extended-l2', 'extended_l2=on,preallocation=metadata',
     'extended_l2=1 preallocation=metadata'),
    ('data-file', 'data_file={d}/data', 'data_file={d}/data'),
    ('data-file-raw', 'data_file={d}/data,data_file_raw=on',
     'data_file={d}/data data_file_raw=1'),
    ('data-file-extended-l2', 'data_file={d}/data,extended_l2=on',
     'data_file={d}/data extended_l2=1'),
]


def create_theirs(d, opts):
    path = os.path.join(d, 'image')
    opts = opts.format(d=d)
    run('qemu-img', 'create', '-q', '-f', 'qcow2', *(['-o', opts] if opts else []), path, str(SIZE))
    return path


def create_ours(d, opts):
    path = os.path.join(d, 'image')
    opts = opts.format(d=d)
    if 'data_file=' in opts:
        with open(os.path.join(d, 'data'), 'wb') as f:
            f.truncate(SIZE)
    ours('create', path, str(SIZE), *opts.split())
    return path


def has_zstd():
    """Is the program under test built with libzstd?"""
    with tempfile.TemporaryDirectory(prefix='qcow2-') as d:
        return not subprocess.call([TOOL, 'create', os.path.join(d, 'zstd'), '65536', 'compression_type=1'],
                                   stderr=subprocess.DEVNULL)


def test_layouts(d, rng):
    for n, (name, theirs, tool) in enumerate(LAYOUTS):
        if name == 'zstd' and not ZSTD:
            continue
        # By turns, one of us makes the image and the other goes on with it.
        makers = (create_theirs, theirs), (create_ours, tool)
        for create, opts in makers if FULL else makers[n % 2:n % 2 + 1]:
            what = f'{name} ({create.__name__})'
            model = bytearray(SIZE)
            path = create(d, opts)
            first, second = (theirs_edit, ours_edit)[::1 if create is create_ours else -1]
            first(path, model, rng)
            judge(path, model, f'{what}, after {first.__name__}')
            second(path, model, rng)
            first(path, model, rng)
            second(path, model, rng)
            judge(path, model, what + ', written by turns')
            if 'data_file_raw' in opts:
                with open(os.path.join(d, 'data'), 'rb') as f:
                    same(f.read(), bytes(model), what + ', the raw data file')
            for f in os.listdir(d):
                os.unlink(os.path.join(d, f))


def test_compressed(d, rng):
    for opts in ('compression_type=zlib', 'compression_type=zstd', 'cluster_size=512', 'cluster_size=2M',
                 'compat=0.10', 'extended_l2=on')[::1 if FULL else 2]:
        if 'zstd' in opts and not ZSTD:
            continue
        raw, path = os.path.join(d, 'raw'), os.path.join(d, 'image')
        model = bytearray(rng.randbytes(SIZE // 2) + b'compress me ' * (SIZE // 24))
        with open(raw, 'wb') as f:
            f.write(model)
        run('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', opts, raw, path)
        judge(path, model, f'compressed, {opts}')
        ours_edit(path, model, rng)
        judge(path, model, f'compressed, {opts}, written here')
        ours_edit(path, model, rng, kinds='ccccwzu')
        judge(path, model, f'compressed, {opts}, compressed here')
        theirs_edit(path, model, rng, 10)
        ours_edit(path, model, rng, kinds='ccccwzu')
        run('qemu-img', 'snapshot', '-c', 'one', path)
        at_one = bytes(model)
        ours_edit(path, model, rng, kinds='ccw')
        judge(path, model, f'compressed, {opts}, with a snapshot')
        run('qemu-img', 'snapshot', '-a', 'one', path)
        run('qemu-img', 'snapshot', '-d', 'one', path)
        judge(path, at_one, f'compressed, {opts}, gone back')


def test_backing(d, rng):
    base, path = os.path.join(d, 'base'), os.path.join(d, 'image')
    for opts, tool in (('', ''), ('compat=0.10', 'version=2'),
                       ('extended_l2=on,cluster_size=128k', 'extended_l2=1 cluster_size=131072')):
        model = bytearray(SIZE)
        run('qemu-img', 'create', '-q', '-f', 'qcow2', base, str(SIZE // 2))
        theirs_edit(base, half := bytearray(SIZE // 2), rng)
        model[:SIZE // 2] = half
        for theirs in (True, False):
            m = bytearray(model)
            if theirs:
                run('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', 'base',
                    *(['-o', opts] if opts else []), path, str(SIZE))
            else:
                ours('create', path, str(SIZE), 'backing_file=base', 'backing_fmt=qcow2',
                     *tool.split())
            judge(path, m, f'overlay {opts}, empty')
            for _ in range(2):
                ours_edit(path, m, rng)
                judge(path, m, f'overlay {opts}, written here')
                theirs_edit(path, m, rng)
                judge(path, m, f'overlay {opts}, written by qemu-io')


def test_internal_snapshots_are_kept(d, rng):
    for opts in ('cluster_size=4k', 'extended_l2=on', 'compat=0.10,cluster_size=4k'):
        path = os.path.join(d, 'image')
        model = bytearray(SIZE)
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', opts, path, str(SIZE))
        theirs_edit(path, model, rng)
        run('qemu-img', 'snapshot', '-c', 'one', path)
        at_one = bytes(model)
        ours_edit(path, model, rng, 40)
        judge(path, model, f'snapshots, {opts}, written here')
        run('qemu-img', 'snapshot', '-c', 'two', path)
        ours_edit(path, model, rng, 40)
        judge(path, model, f'snapshots, {opts}, written here again')
        run('qemu-img', 'snapshot', '-a', 'one', path)
        judge(path, at_one, f'snapshots, {opts}, gone back to the first')
        run('qemu-img', 'snapshot', '-d', 'one', path)
        run('qemu-img', 'snapshot', '-d', 'two', path)
        judge(path, at_one, f'snapshots, {opts}, both deleted')


def bitmap_flags(path):
    out = run('qemu-img', 'info', '-f', 'qcow2', '--output=json', path)
    found = json.loads(out)['format-specific']['data']['bitmaps']
    return {b['name']: sorted(b['flags']) for b in found}


def test_bitmaps(d, rng):
    """Opening an image, even for writing, changes nothing of its bitmaps; a write is in those that record, and
    all of them have the disk's new size."""
    path = os.path.join(d, 'image')
    model = bytearray(SIZE)
    run('qemu-img', 'create', '-q', '-f', 'qcow2', path, str(SIZE))
    theirs_edit(path, model, rng)
    run('qemu-img', 'bitmap', '--add', path, 'records')
    run('qemu-img', 'bitmap', '--add', '--disable', path, 'rests')
    with open(path, 'rb') as f:
        before = f.read()
    ours('edit', path, 'f:')
    with open(path, 'rb') as f:
        same(f.read(), before, 'an image with a bitmap, opened for writing')
    ours('edit', path, 'w:0:512:1')
    model[:512] = b'\1' * 512
    if bitmap_flags(path) != {'records': ['auto'], 'rests': []}:
        sys.exit(f'after a write: {bitmap_flags(path)}')
    judge(path, model, 'an image with bitmaps')
    ours_edit(path, model, rng)
    judge(path, model, 'an image with bitmaps, written')
    ours('edit', path, f'r:{SIZE * 2}')
    if bitmap_flags(path) != {'records': ['auto'], 'rests': []}:
        sys.exit(f'after a new size: {bitmap_flags(path)}')
    run('qemu-img', 'bitmap', '--remove', path, 'records')
    run('qemu-img', 'bitmap', '--remove', path, 'rests')
    judge(path, model + bytes(SIZE), 'an image whose bitmaps are gone')


def test_resize(d, rng):
    for opts in ('cluster_size=512', 'cluster_size=64k', 'extended_l2=on', 'compat=0.10'):
        path = os.path.join(d, 'image')
        model = bytearray(SIZE // 2)
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', opts, path, str(len(model)))
        theirs_edit(path, model, rng)
        for size, prealloc in ((SIZE, 'off'), (SIZE // 3 // 512 * 512, 'off'), (SIZE, 'metadata'),
                               (SIZE + 512, 'off'), (512, 'off'), (SIZE, 'full')):
            ours('edit', path, f'r:{size}:{prealloc}')
            model = (model + bytes(max(0, size - len(model))))[:size]
            judge(path, model, f'resized to {size}, {opts}')
            if len(model) > 512:
                ours_edit(path, model, rng, 10)
                theirs_edit(path, model, rng, 10)
                judge(path, model, f'resized to {size}, {opts}, written')


def main():
    global ZSTD
    if not TOOL or not all(shutil.which(p) for p in ('qemu-img', 'qemu-io')):
        print(__doc__.strip() if not TOOL else 'skipped: qemu-img and qemu-io are not installed')
        sys.exit(77)
    ZSTD = has_zstd()
    rng = random.Random(int(os.environ.get('SEED', '1')))
    only = os.environ.get('ONLY', '')
    tests = [f for n, f in globals().items() if n.startswith('test_') and only in n]
    for test in tests:
        with tempfile.TemporaryDirectory(prefix='qcow2-') as d:
            test(d, rng)
        print('ok', test.__name__)
    if not ZSTD:
        print('left out: zstd, which is not in this build')


main()
