#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The pictures of qemu-img show of each image what it holds, and are written over nothing but pictures.  QEMU_IMG names
the program under test; the installed one makes the images and says what is in them.
"""

import collections
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qmp'))
sys.path.insert(0, HERE)
from pngfile import Png                                                 # noqa: E402
from rig import main, requires, run, skip                               # noqa: E402

requires('qemu-img', 'qemu-io')
OURS = os.path.abspath(os.environ.get('QEMU_IMG') or os.path.join(HERE, '../../build/tools/qemu-img'))
MiB = 1 << 20
# Where the disk is in a picture of a map, and how its bands are laid out.
LEFT, TOP, PITCH, BAND, COLUMNS = 116, 104, 20, 16, 1024
ZERO, NOTHING = (0xd3, 0xd6, 0xda), (0xf1, 0xf2, 0xf4)
FIRST, SECOND, THIRD = (0x2f, 0x6f, 0xb7), (0xee, 0x8a, 0x2b), (0x3f, 0x9b, 0x58)


def img(*args, status=0, **kwargs):
    r = subprocess.run(['qemu-img', *args], executable=OURS, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=120, **kwargs)
    assert r.returncode == status, (args, r.returncode, r.stdout)
    return r.stdout


def has_pictures():
    with tempfile.TemporaryDirectory() as d:
        run('qemu-img', 'create', '-q', d + '/x', '1M')
        r = subprocess.run([OURS, 'map', '--output=png', d + '/x.png', '-f', 'raw', d + '/x'], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    if 'built without pictures' in r.stdout:
        return False
    assert r.returncode == 0, r.stdout
    return True


class Folder:
    def __enter__(self):
        if not has_pictures():
            skip('this qemu-img was built without pictures')
        # In memory where that can be: nothing here is about what is on disk.
        self.dir = tempfile.mkdtemp(prefix='draws-', dir='/dev/shm' if os.access('/dev/shm', os.W_OK) else None)
        os.chdir(self.dir)
        return self

    def __exit__(self, *exc):
        os.chdir('/')
        shutil.rmtree(self.dir)


def create(name, size, base=None, *commands):
    run('qemu-img', 'create', '-q', '-f', 'qcow2', *(['-b', base, '-F', 'qcow2'] if base else []), name, size)
    if commands:
        run('qemu-io', *(a for c in commands for a in ('-c', c)), name)


def bands(png, n):
    """The colours of the first @n bands, which are full, and what each has of them."""
    colors = collections.Counter()
    for i in range(n):
        colors += png.colors(LEFT, TOP + i * PITCH, COLUMNS, BAND)
    total = sum(colors.values())
    return {c: count / total for c, count in colors.items()}


def chain():
    create('base', '64M', None, 'write 0 8M', 'write -z 40M 4M')
    create('middle', '64M', 'base', 'write 4M 16M')
    create('top', '64M', 'middle', 'write 6M 2M')


def test_each_image_has_the_share_of_the_picture_that_it_has_of_the_disk():
    with Folder():
        chain()
        img('map', '--output=png', 'map.png', 'top')
        shares = bands(Png('map.png'), 32)
        expected = {NOTHING: 0, ZERO: 0, FIRST: 0, SECOND: 0, THIRD: 0}
        for e in json.loads(run('qemu-img', 'map', '--output=json', 'top')):
            color = NOTHING if not e['present'] else ZERO if e['zero'] else (FIRST, SECOND, THIRD)[e['depth']]
            expected[color] += e['length'] / (64 * MiB)
        assert set(shares) == {c for c in expected if expected[c]}, shares
        for color, share in shares.items():
            assert abs(share - expected[color]) < 0.001, (color, share, expected[color])


def test_what_is_where_on_the_disk():
    with Folder():
        chain()
        img('map', '--output=png', 'map.png', 'top')
        png = Png('map.png')                    # a band is 2 MiB
        for offset, color in ((1, THIRD), (5, SECOND), (7, FIRST), (9, SECOND), (19, SECOND), (21, NOTHING), (41, ZERO)):
            x = LEFT + COLUMNS * (offset % 2) // 2 + 10
            assert png.at(x, TOP + offset // 2 * PITCH + 5) == color, (offset, color)


def test_a_part_of_the_disk():
    with Folder():
        chain()
        img('map', '--output=png', '--start-offset=5M', '--max-length=2M', 'part.png', 'top')
        shares = bands(Png('part.png'), 8)
        assert set(shares) == {FIRST, SECOND} and abs(shares[FIRST] - 0.5) < 0.01, shares
        img('map', '--output=png', '--start-offset=100M', 'none.png', 'top')
        Png('none.png')


def test_little_data_on_a_large_disk_is_seen():
    with Folder():
        with open('large', 'wb') as f:
            f.truncate(1 << 42)
            f.seek(1 << 40)
            f.write(b'x' * 4096)
        img('map', '--output=png', 'map.png', '-f', 'raw', 'large')
        assert Png('map.png').colors(LEFT, TOP, COLUMNS, 32 * PITCH)[FIRST] == 1


def test_disks_of_any_size():
    with Folder():
        for size in (0, 1, 511, 512, 5000, MiB, (1 << 63) - (1 << 30) - 512):
            try:
                with open('disk', 'wb') as f:
                    f.truncate(size)
            except OSError:
                continue                        # the file system has no files of that size
            img('map', '--output=png', 'map.png', '-f', 'raw', 'disk')
            Png('map.png')


def test_a_file_that_is_too_long_is_refused():
    d = '/dev/shm' if os.path.isdir('/dev/shm') else None
    with tempfile.NamedTemporaryFile(dir=d) as f:
        try:
            f.truncate((1 << 63) - 513)
        except OSError:
            skip('no file system has files of that size')
        assert 'File too large' in img('info', '-f', 'raw', f.name, status=1)


def test_many_images():
    with Folder():
        create('0', '64M', None, 'write 0 64k')
        for i in range(1, 200):
            create(str(i), '64M', str(i - 1), 'write %dk 64k' % (i * 192))
        img('map', '--output=png', 'map.png', '199')
        png = Png('map.png')
        assert png.height < 1400, png.height
        assert len(png.colors(LEFT, TOP, COLUMNS, 32 * PITCH)) > 100
        img('info', '--backing-chain', '--output=png', 'chain.png', '199')
        png = Png('chain.png')
        assert png.width < 2 * png.height < 4 * png.width, (png.width, png.height)


def test_fragmented_images_take_bounded_time_and_memory():
    with Folder():
        with open('disk', 'wb') as f:
            for i in range(20000):
                f.seek(i * 8192 + 4096)
                f.write(b'x' * 4096)
        # Every other one of its clusters.
        run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', 'full', '16M')
        lines = ''.join('write %d 512\n' % (i * 1024) for i in range(16384))
        subprocess.run(['qemu-io', 'full'], input=lines, stdout=subprocess.DEVNULL, text=True, check=True)
        begin = time.monotonic()
        with open(OURS, 'rb') as f:
            sanitized = b'__asan_init' in f.read()

        def less_memory():
            if not sanitized:                   # their shadow is large
                resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))

        img('map', '--output=png', 'full.png', 'full', preexec_fn=less_memory)
        img('map', '--output=png', 'disk.png', '-f', 'raw', 'disk', preexec_fn=less_memory)
        assert time.monotonic() - begin < 60
        shares = bands(Png('full.png'), 32)
        assert abs(shares[FIRST] - 0.5) < 0.01, shares


def test_a_picture_replaces_a_picture_and_nothing_else():
    with Folder():
        chain()
        img('map', '--output=png', 'map.png', 'top')
        os.chmod('map.png', 0o640)
        with open('map.png', 'rb') as f:
            before = f.read()
        os.symlink('map.png', 'link.png')
        img('info', '--backing-chain', '--output=png', 'link.png', 'top')
        assert os.path.islink('link.png') and os.stat('map.png').st_mode & 0o777 == 0o640
        with open('map.png', 'rb') as f:
            assert f.read() != before
        # Names the wrong way round, and what else is no picture.
        digest = run('sha1sum', 'base', 'middle', 'top')
        for name in ('top', 'base'):
            assert 'no PNG picture' in img('map', '--output=png', name, 'map.png', status=1)
            assert 'no PNG picture' in img('info', '--output=png', name, 'top', status=1)
        assert run('sha1sum', 'base', 'middle', 'top') == digest
        os.mkdir('folder')
        assert 'directory' in img('map', '--output=png', 'folder', 'top', status=1)
        assert 'No such file' in img('map', '--output=png', 'none/x.png', 'top', status=1)
        assert 'Expecting a file for the picture' in img('map', '--output=png', 'top', status=1)
        img('map', '--output=png', '/dev/null', 'top')


def test_a_failure_leaves_no_half_picture():
    with Folder():
        chain()
        names = sorted(os.listdir())

        def no_space():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))

        assert 'File too large' in img('map', '--output=png', 'map.png', 'top', status=1, preexec_fn=no_space)
        assert sorted(os.listdir()) == names
        img('map', '--output=png', 'map.png', 'top')
        with open('map.png', 'rb') as f:
            before = f.read()
        img('map', '--output=png', 'map.png', 'base', status=1, preexec_fn=no_space)
        with open('map.png', 'rb') as f:
            assert f.read() == before
        assert sorted(os.listdir()) == sorted(names + ['map.png'])


def test_graphs_as_text():
    with Folder():
        chain()
        text = img('info', '--backing-chain', '--output=dot', 'top')
        assert text.startswith('digraph chain {\n') and text.endswith('}\n'), text
        assert re.findall(r'^  "(\w+)" -> "(\w+)";$', text, re.M) == [('top', 'middle'), ('middle', 'base')], text
        run('qemu-img', 'create', '-q', '-f', 'qcow2', 'a"b\\c', '1M')
        text = img('info', '--output=dot', 'a"b\\c')
        assert r'"a\"b\\c" [label="a\"b\\c\nqcow2, disk of 1 MiB' in text, text
        if shutil.which('dot'):
            subprocess.run(['dot', '-Tsvg'], input=text, stdout=subprocess.DEVNULL, text=True, check=True)


def test_names_of_any_kind():
    with Folder():
        for name in (b'\xff\xfe\n', 'Öl-日本'.encode(), b'x' * 200):
            run('qemu-img', 'create', '-q', '-f', 'qcow2', os.fsdecode(name), '1M')
            img('map', '--output=png', 'n.png', os.fsdecode(name))
            Png('n.png')
            img('info', '--output=png', 'n.png', os.fsdecode(name))
            Png('n.png')


def test_text_is_the_default():
    with Folder():
        chain()
        assert img('map', 'top') == run('qemu-img', 'map', 'top')
        assert img('info', 'top').startswith('image: top\nfile format: qcow2\n')
        assert 'must be used with human or json' in img('map', '--output=dot', 'top', status=1)


if __name__ == '__main__':
    main(globals())
