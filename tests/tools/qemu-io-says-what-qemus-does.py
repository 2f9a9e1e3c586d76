#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What qemu-io says, on which stream, and its exit status are those of the installed one, but for times."""

import difflib
import shlex
import shutil

from qemuio import Images, main, skip

INSTALLED = shutil.which('qemu-io')
if not INSTALLED or not shutil.which('qemu-img'):
    skip('qemu-io or qemu-img is not installed')

# One command line each; the directory has raw.img (1M), base.raw (4M), a.qcow2 (4M), and over.qcow2 with a.qcow2
# behind it.
REQUESTS = r"""
-f raw raw.img -c 'write 0 64k' -c 'read -v 0 40' -c 'read -P 1 0 64k' -c 'read -P 0xcd 0 64k'
-f raw raw.img -c 'write x 64k' -c 'write 0 x' -c 'write 0' -c write -c 'write -P 256 0 512' -c 'write -P x 0 512'
-f raw raw.img -c bogus -c 'read 0 1 -q' -c 'read	0	1' -c 'readv 0	512 	1k' -c 'write 0 3G' -c 'write 0 8E' -c 'write 16E 1'
-f raw raw.img -c 'read 0 2147483648' -c 'read 0 0' -c 'write 0 0' -c 'read -C 0 64k' -c 'read -q 0 64k' -c 'write -C 0 1'
-f raw raw.img -c 'write -- -1 512' -c 'write 0 1' -c 'write 1M 512' -c 'read 1M 512' -c 'write -z 0 512'
-f raw raw.img -c 'write -z -P 1 0 512' -c 'write -zc 0 512' -c 'write -u 0 512' -c 'write -n 0 512'
-f raw raw.img -c 'write -f -b 0 512' -c 'write -b -c 0 512' -c 'write -zb 0 512' -c 'write -s a -P 1 0 512'
-f raw raw.img -c 'write -zs a 0 512' -c 'write -s nosuch 0 512' -c 'write -c 0 512' -c 'write -b 0 512' -c 'read -b 0 512'
-f raw raw.img -c 'read -P 1 -s 512 0 512' -c 'read -P 1 -l 513 0 512' -c 'read -P 1 -s x 0 512' -c 'read -P 1 -l x 0 512'
-f raw raw.img -c 'read -P 1 -s -l 1 0 512' -c 'read -P 1 -s 1024 0 512' -c 'read -P 0 -s 300 -l 300 0 512'
-f raw raw.img -c 'write 0 1k' -c 'read -P 0xcd -s 100 0 2k' -c 'read -P 0 -l 512 0 2k' -c 'read -p 0 512'
-f raw raw.img -c 'readv 0 512 1k' -c 'writev 0 512 1k' -c 'readv 0 513' -c 'readv 0' -c 'readv 0 x' -c 'readv x 1'
-f raw raw.img -c 'writev -P 3 0 1 2 3' -c 'readv -P 3 0 6' -c 'readv -P 3 0 6 1' -c 'readv -q -v 0 17 20' -c 'writev 0 0'
-f raw raw.img -c 'writev 0 512 0' -c 'writev x 1' -c 'writev 0 3G' -c 'readv 0 1G 1G' -c 'writev -P 300 0 1'
-f raw raw.img -c 'aio_read 0 512' -c aio_flush -c 'aio_write 0 512' -c aio_flush -c 'aio_write -z 0 1k 1k' -c aio_flush
-f raw raw.img -c 'aio_write -z 0 64k' -c aio_flush -c 'aio_write -P 9 0 1k 512' -c aio_flush -c 'aio_read -P 8 0 512 1k' -c aio_flush
-f raw raw.img -c 'aio_read -i 0 512' -c 'aio_write -i 0 512' -c 'aio_read -v 0 20 10' -c aio_flush -c 'aio_write -u 0 512'
-f raw raw.img -c 'aio_read x 1' -c 'aio_read 0 x' -c 'aio_write 2M 512' -c aio_flush -c 'aio_read 2M 512' -c aio_flush
-f raw raw.img -c 'aio_write -C 0 512' -c aio_flush -c 'aio_write -q 0 512' -c 'aio_flush x' -c 'aio_write 0 3G' -c 'aio_write -P 300 0 1'
-f raw raw.img -c flush -c 'flush x' -c 'discard 0 64k' -c 'discard 0 x' -c 'discard x 0' -c 'discard -C 0 512' -c 'discard -q 0 512'
-f raw raw.img -c 'discard 2M 512' -c 'discard 0 3G' -c 'discard 0' -c 'discard -z 0 1' -c 'discard 0 0' -c 'discard 0 1 2'
-f raw raw.img -c 'write -P 0x21 0 1' -c 'write -P 0x41 1 1' -c 'write -P 0x7f 2 1' -c 'write -P 0xe9 3 1' -c 'read -v 0 33'
-f raw raw.img -c 'write -P 7 -q 0 100' -c 'write -s raw.img -q 0 1000' -c 'read -v 0 20' -c 'write -s /dev/null 0 1'
a.qcow2 -c 'write -q 0 1M' -c 'read -v 0 16' -c 'write -c 1M 64k' -c 'write -c 2M 64k' -c 'write -zu 0 64k' -c 'write -zn 0 64k'
a.qcow2 -c 'write -b -P 7 0 3M' -c 'write -b -P 9 700k 10k' -c 'read -b -P 7 0 700k' -c 'read -b -P 9 700k 10k' -c 'read -P 7 0 1k'
a.qcow2 -c 'write -b 0 0' -c 'read -b -P 0 9M 1k' -c 'read -b 0 0' -c 'write -bf 0 1' -c map
-r a.qcow2 -c 'write -b 0 1k' -c 'read -b -P 0 0 1k'
a.qcow2 -c 'write -f 0 1' -c 'write -zf 0 1k' -c 'write -cu 0 1' -c map
-r a.qcow2 -c 'write -q 0 1' -c 'aio_write 0 1' -c 'writev 0 1' -c discard -c 'discard 0 64k' -c 'truncate 8M' -c flush -c 'write x'
"""

NUMBERS = r"""
-f raw raw.img -c 'read 1.5k 1' -c 'read 0.5 1' -c 'read 0x200 1' -c 'read 1K 1b' -c 'read 1k 1B' -c 'read 1e 1' -c 'read 0X10 1'
-f raw raw.img -c 'read 0x 1' -c 'read 1kk 1' -c 'read 1kB 1' -c 'read 1.0 1' -c 'discard 0 -1' -c 'read -P 0x100 0 1'
-f raw raw.img -c 'read -P -1 0 1' -c 'read -P 1z 0 1' -c 'write -P 0xff 0 1' -c 'read -P 010 0 1' -c 'sleep -1' -c 'sleep x'
-f raw raw.img -c 'alloc 0 2000G' -c 'alloc 0 8E' -c 'alloc 7E' -c 'alloc 1 2 3' -c 'write -zn 0 3G'
"""

IMAGE = r"""
-f raw raw.img -c 'truncate 2M' -c length -c 'truncate x' -c 'truncate -m foo 1M' -c truncate -c 'truncate -1' -c length -c 'length x'
-f raw raw.img -c 'truncate 512k' -c 'truncate -m falloc 2M' -c l -c 'truncate -m full 3M' -c l -c 'truncate -m off 1M' -c l
a.qcow2 -c 'truncate 8M' -c l -c 'truncate 2M' -c l -c 'truncate -m metadata 16M' -c l -c 'truncate -m full 17M' -c 'truncate -m falloc 18M' -c map
a.qcow2 -c info -c length -c 'alloc 0' -c 'alloc 0 64k' -c 'write 0 64k' -c 'write 256k 64k' -c 'alloc 0 64k' -c 'alloc 0 1M' -c map
a.qcow2 -c 'alloc 4k 1k' -c 'alloc x' -c 'alloc 0 x' -c 'alloc 5M' -c 'alloc 0 5M' -c 'alloc 0 0' -c 'alloc 4M' -c 'alloc 0 16k' -c 'map x'
over.qcow2 -c map -c 'alloc 0 4M' -c 'write 64k 100' -c map -c 'alloc 64k 100' -c 'write -z 1M 64k' -c map -c 'discard 64k 64k' -c map -c info
-f raw raw.img -c info -c map -c 'alloc 0 1k'
a.qcow2 -c 'sleep 10' -c sleep -c 'sleep 1 2' -c 'sigraise x' -c sigraise -c 'sigraise 0' -c 'sigraise 999' -c 'sigraise -1' -c 'info x'
a.qcow2 -c break -c 'break x y' -c 'break a b c' -c 'resume A' -c 'remove_break A' -c resume -c 'help foo' -c 'help read foo'
a.qcow2 -c '' -c ' ' -c "write '0' 512" -c 'read 0 "512"' -c 'length;length' -c quit -c length
"""

OPENING = r"""
nonexist -c length
-f foo a.qcow2 -c length
-s a.qcow2 -c 'write 0 512' -c 'read -P 0xcd 0 512'
-n a.qcow2 -c 'read 0 512'
-m -n -f raw raw.img -c 'read 0 512' -c 'write 0 512'
-k a.qcow2 -c length
-n -k a.qcow2 -c length
-t foo a.qcow2 -c length
-t none a.qcow2 -c 'write 0 512'
-t writeback a.qcow2 -c 'write 0 512'
-d foo a.qcow2
-i foo a.qcow2
-i threads a.qcow2 -c length
-U a.qcow2 -c length
-r -U a.qcow2 -c length
-C a.qcow2 -c length
-C -r a.qcow2 -c length
--image-opts driver=qcow2,file.filename=a.qcow2 -c length
--image-opts -f qcow2 driver=qcow2,file.filename=a.qcow2 -c length
--image-opts file.filename=a.qcow2 -c info
--image-opts driver=nope -c length
--image-opts file.filename=raw.img -c 'write -s a.qcow2 0 64k'
--object secret,id=s,data=x a.qcow2 -c length
-T foo a.qcow2 -c length
-c length -c 'help length' -c 'open a.qcow2' -c length
-c 'open a.qcow2' -c 'open a.qcow2' -c close -c close -c map
-c length -c 'read 0 512' a.qcow2
a.qcow2 -c 'aio_read -P 1 0 512' -c length
a.qcow2 -c 'read 0 512' -c quit -c bogus
a.qcow2 -c close -c 'open -r a.qcow2' -c 'write 0 512' -c close -c 'open -U a.qcow2' -c length -c close -c 'open -rU a.qcow2' -c length
-c 'open -t foo a.qcow2' -c 'open -d foo a.qcow2' -c 'open -i foo a.qcow2' -c 'open -s a.qcow2' -c 'write 0 512' -c 'read -P 0xcd 0 512'
-c 'open -C a.qcow2' -c length -c close -c 'open -k a.qcow2' -c length -c close -c 'open -n a.qcow2' -c length -c close -c 'open nonexist' -c open
-c 'open -o driver=qcow2 over.qcow2' -c info
-c 'open -o node-name=foo a.qcow2' -c close -c 'open -o file.node-name=foo a.qcow2' -c length
-c 'open -o overlap-check.inactive-l2=on a.qcow2' -c length -c close -c 'open -o file.filename=a.qcow2' -c length
-c 'open -o driver=nope a.qcow2' -c 'open -o foo=1 a.qcow2' -c 'open -o driver=qcow2,foo=1 a.qcow2' -c 'open -o driver=raw,foo=1 a.qcow2'
-c 'open -r -o read-only=off a.qcow2' -c 'write 0 1'
-c 'open -o read-only=on a.qcow2' -c 'write 0 1'
-c 'open -o lazy-refcounts=on a.qcow2' -c length -c close -c 'open -o lazy-refcounts=foo a.qcow2' -c 'open -o overlap-check=blubb a.qcow2'
-c 'open -o driver=null-co,size=1M' -c length
-c 'open -o driver=qcow2 json:{"file":{"filename":"a.qcow2"}}' -c length
-c 'open -o driver=qcow2 json:{"driver":"raw","file":{"filename":"a.qcow2"}}' -c length
-c 'open -o driver=copy-on-read,file.driver=qcow2 over.qcow2' -c info
'json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"}}' -c length
'json:{"driver":"raw","file":{"driver":"null-co","size":"65536"}}' -c length
null-co:// -c length -c 'read 0 1M'
null-co://foo -c length
null-aio:// -c length
foo:bar -c length
"""

REOPENING = r"""
a.qcow2 -c 'reopen -r' -c 'write 0 512' -c 'reopen -w' -c 'write 0 512' -c 'reopen -rw' -c 'reopen -c none' -c 'reopen -c foo'
a.qcow2 -c 'reopen -o lazy-refcounts=on' -c 'reopen x' -c 'reopen -z' -c reopen -c 'write 0 1' -c 'reopen -d x'
a.qcow2 -c 'reopen -o lazy-refcounts=off' -c 'reopen -c writethrough -o cache.direct=on' -c 'reopen -w -o read-only=on' -c 'reopen -c unsafe'
-r a.qcow2 -c 'reopen -w' -c 'write -q 0 1' -c 'reopen -r' -c 'reopen -r' -c 'write 0 1'
over.qcow2 -c 'reopen -o node-name=foo' -c 'reopen -o file.node-name=foo' -c 'reopen -o backing.node-name=foo' -c 'reopen -o driver=raw'
over.qcow2 -c 'reopen -o file.driver=host_device' -c 'reopen -o backing.driver=raw' -c 'reopen -o driver=qcow2' -c 'reopen -o backing.driver=qcow2'
a.qcow2 -c 'reopen -o read-only=foo' -c 'reopen -o cache.no-flush=bar' -c 'reopen -o cache.direct=baz' -c 'reopen -o auto-read-only=qux'
a.qcow2 -c 'reopen -o overlap-check=blubb' -c 'reopen -o lazy-refcounts=42' -c 'reopen -o foo=1' -c 'reopen -o overlap-check.template=all'
over.qcow2 -c 'reopen -o backing.detect-zeroes=on' -c 'reopen -o detect-zeroes=on' -c 'write -z 0 64k' -c 'write -P 0 64k 64k' -c map
-r over.qcow2 -c 'reopen -o backing.read-only=on' -c 'reopen -w' -c 'write 0 1k' -c map
"""

FILTERS = r"""
blkdebug::a.qcow2 -c length -c info
blkdebug:nonexist:a.qcow2 -c length
blkverify:base.raw:a.qcow2 -c length -c 'write 0 64k' -c 'read -P 0xcd 0 64k' -c 'read 0 1k'
-c 'open blkdebug::a.qcow2' -c 'break write_aio A' -c 'aio_write 0 64k' -c 'wait_break A' -c 'resume A' -c aio_flush
-c 'open blkdebug::a.qcow2' -c 'break foo A' -c 'resume B' -c 'remove_break B' -c 'break write_aio A' -c 'remove_break A' -c 'write 0 64k'
-c 'open blkdebug::a.qcow2' -c 'break write_aio A' -c 'aio_write 0 32k' -c 'wait_break A' -c 'aio_write 64k 32k' -c 'sleep 100' -c 'resume A' -c aio_flush
-c 'open -o driver=qcow2,file.align=4k blkdebug::a.qcow2' -c 'write 0 1' -c info
-c 'open -o driver=raw,file.driver=blkverify,file.raw.filename=base.raw a.qcow2' -c 'read 0 64k' -c 'write 0 64k'
-c 'open -o file.driver=blkdebug,file.inject-error.event=read_aio a.qcow2' -c 'write 0 64k' -c 'read 0 64k'
'json:{"driver":"raw","file":{"driver":"blkdebug","inject-error":[{"event":"write_aio","once":true}],"image":{"driver":"file","filename":"raw.img"}}}' -c 'write 0 64k' -c 'write 64k 64k'
'json:{"driver":"raw","file":{"driver":"blkdebug","inject-error":[{"event":"read_aio"}],"image":{"driver":"file","filename":"raw.img"}}}' -c 'write 0 64k' -c 'read 0 64k'
'json:{"driver":"qcow2","file":{"driver":"blkdebug","inject-error":[{"event":"write_aio","once":true}],"image":{"driver":"file","filename":"a.qcow2"}}}' -c 'write 0 64k' -c 'write 64k 64k'
'json:{"driver":"raw","file.driver":"blkdebug","file.image":{"driver":"null-co","size":65536},"file.align":512,"file.max-transfer":1000}' -c length
"""

# Raw images that nobody has called so.
GUESSED = r"""
raw.img -c 'write 0 512' -c 'writev 0 100' -c 'aio_write -P 1 0 1k' -c aio_flush -c 'write -z 0 64k' -c 'write -P 0x51 0 1' -c 'discard 0 64k'
raw.img -c 'write -s a.qcow2 0 64k' -c 'write -s a.qcow2 0 512' -c 'write -s a.qcow2 512 64k' -c 'write -s a.qcow2 0 3' -c 'write -P 0xfb 3 1'
-f raw raw.img -c 'write -s a.qcow2 0 64k'
"""


def both(args, stdin=''):
    results = []
    for program in (INSTALLED, None):
        with Images() as d:
            d.create('raw.img', 'raw', '1M')
            d.create('base.raw', 'raw', '4M')
            d.create('a.qcow2', 'qcow2', '4M')
            d.create('over.qcow2', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', '4M')
            results.append(d.start(args, *([program] if program else []), stdin=stdin))
    return results


# Words of usage lines that came with later releases than the installed one.
NEWER = (('[-abCqrv]', '[-abCqv]'), ('[-bcCfnqruz]', '[-bcCfnquz]'), ('[-Cqrv]', '[-Cqv]'), ('[-Cfqr]', '[-Cfq]'),
         ('[-Ciqrv]', '[-Ciqv]'), ('[-Cfiqruz]', '[-Cfiquz]'))


def compare(lines):
    for line in lines.strip().split('\n'):
        theirs, ours = both(shlex.split(line))
        for what, a, b in zip(('stdout', 'stderr', 'status'), theirs, ours):
            if what == 'stdout':
                for new, old in NEWER:
                    b = b.replace(new, old)
            if a != b and what != 'status':
                print('\n'.join(difflib.unified_diff(a.split('\n'), b.split('\n'), 'installed', 'ours', n=0)))
            assert a == b, (what, line)


def test_requests():
    compare(REQUESTS)


def test_numbers():
    compare(NUMBERS)


def test_what_concerns_the_image():
    compare(IMAGE)


def test_opening():
    compare(OPENING)


def test_reopening():
    compare(REOPENING)


def test_filters_for_tests():
    compare(FILTERS)


def test_raw_images_that_were_only_guessed():
    compare(GUESSED)


def test_lines_from_a_pipe():
    for text in ('length\nread 0 512\n\nbogus\nquit\nlength\n', 'length', 'length\n', '',
                 'aio_read 0 512\n', 'sleep 10\nread -P 1 0 512\n', '? length\nw 0 1\nr 0 1\nl\nf\nd 0 1\nq\n'):
        theirs, ours = both(['a.qcow2'], text)
        assert theirs == ours, (text, theirs, ours)


if __name__ == '__main__':
    main(globals())
