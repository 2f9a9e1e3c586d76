#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Scripts that use the installed qemu-img find the same files, texts and exit codes with this one.

The same lines are run in two folders, once with each program; files are made and looked at by the installed tools in
both.  QEMU_IMG names the program under test.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

LINES = {}


def topic(name, text):
    LINES[name] = [line for line in text.strip().split('\n') if line]


# `$I` is the program under test or the installed one; whatever else there is, is the installed one.
topic('images are created', r'''
$I create -f qcow2 a.qcow2 64M
$I create -f qcow2 -o cluster_size=64k,extended_l2=off,compression_type=zlib,size=64M,compat=1.1,data_file=a.data,data_file_raw=on,preallocation=metadata,lazy_refcounts=on,refcount_bits=16  c.qcow2
qemu-img check c.qcow2; stat -c %s a.data
$I create -f qcow2 -o cluster_size=64k,size=64M,compat=1.1,backing_file=a.qcow2,backing_fmt=qcow2,preallocation=off,lazy_refcounts=on c.qcow2
qemu-img info c.qcow2 | grep -v disk.size
$I create -f qcow2 -o compat=v2 c.qcow2 1M; qemu-img info c.qcow2 | grep compat
$I create -f raw -o preallocation=off c.raw 1M
$I create -f raw -o preallocation=full c.raw 1M; du c.raw
$I create -f raw -o preallocation=metadata c.raw 1M
$I create -f raw -o preallocation=foo c.raw 1M
$I create -f qcow2 -o preallocation=full c.qcow2 1M; qemu-img check c.qcow2
$I create -f qcow2 -o preallocation=falloc,extended_l2=on c.qcow2 1M; qemu-img check c.qcow2
$I create -f qcow2 -o cluster_size=2M,refcount_bits=1 c.qcow2 1G; qemu-img check c.qcow2
$I create -f raw -o nocow=on,extent_size_hint=1M c.raw 1M
$I create -f qcow2 -o nocow=on c.qcow2 1M
$I create -f raw -o help c.raw
$I create -f raw -o help
$I create -f raw -b a.qcow2 -F qcow2 c.raw
$I create -f qcow2 -b nope -F qcow2 c.qcow2
$I create -f qcow2 -b nope -F qcow2 c.qcow2 1M
$I create -f qcow2 -u -b nope -F qcow2 c.qcow2 1M
$I create -f qcow2 -u -b nope -F qcow2 c.qcow2
$I create -f qcow2 -u -b nope c.qcow2 1M
$I create -f qcow2 -b a.qcow2 -F foo c.qcow2
$I create -f qcow2 -b c.qcow2 -F qcow2 c.qcow2
$I create -f qcow2 -o cluster_size=1 c.qcow2 1M
$I create -f qcow2 -o compat=0.11 c.qcow2 1M
$I create -f qcow2 -o refcount_bits=7 c.qcow2 1M
$I create -f qcow2 -o refcount_bits=128 c.qcow2 1M
$I create -f qcow2 -o refcount_bits=8,compat=0.10 c.qcow2 1M
$I create -f qcow2 -o lazy_refcounts=on,compat=0.10 c.qcow2 1M
$I create -f qcow2 -o extended_l2=on,compat=0.10 c.qcow2 1M
$I create -f qcow2 -o extended_l2=on,cluster_size=4k c.qcow2 1M
$I create -f qcow2 -o compression_type=zstd,compat=0.10 c.qcow2 1M
$I create -f qcow2 -o compression_type=foo c.qcow2 1M
$I create -f qcow2 -o data_file=x,compat=0.10 c.qcow2 1M
$I create -f qcow2 -o data_file_raw=on c.qcow2 1M
$I create -f qcow2 -o data_file=x,data_file_raw=on,backing_file=a.qcow2,backing_fmt=qcow2 c.qcow2 1M
$I create -f qcow2 -o preallocation=metadata,backing_file=a.qcow2,backing_fmt=qcow2 x 1M
$I create -f qcow2 -o preallocation=foo c.qcow2 1M
$I create -f qcow2 -o lazy_refcounts=foo c.qcow2 1M
$I create -f qcow2 -o cluster_size=foo c.qcow2 1M
$I create -f qcow2 -o foo=bar c.qcow2 1M
$I create -f qcow2 -o size=foo c.qcow2
$I create -f qcow2 -o size=1M c.qcow2 1M
$I create -f qcow2 c.qcow2 1M 2M
$I create -f qcow2 c.qcow2 9E
$I create -f qcow2 c.qcow2 7E
$I create c.raw 1000; stat -c %s c.raw
$I create -f qcow2 /nope/x 1M
$I create -f raw /nope/x 1M
$I create -f qcow2 foo:x 1M
$I create -f foo x 1M
$I create -f qcow2 -o backing_file=,backing_fmt=raw x 1M
$I create -f qcow2 -b '' -F raw x 1M
$I create -f qcow2 -o ,help x 1M
$I create -f qcow2 -o help, x 1M
$I create -f qcow2 -o cluster_size=4k -o cluster_size=8k x 1M
$I create -f qcow2 -b a.qcow2 -F qcow2 -o backing_file=b.qcow2 x 1M
$I create -f qcow2 -o backing_file=b,,x.qcow2,backing_fmt=raw -u x 1M; qemu-img info x | grep backing
mkdir d; $I create -f qcow2 -b ../a.qcow2 -F qcow2 d/x
$I
$I foo
$I create
$I create -Z
$I create -o
$I create -f qcow2 x
$I create -f qcow2 x 1Z
$I create -f qcow2 x -- -1k
$I create -f qcow2 x 1.5b
$I create -f qcow2 x 1024.0b
$I create -q -f qcow2 x 1.5G && qemu-img info x | sed -n 3p
$I create -f qcow2 x 0; qemu-img check x
''')

IMAGES = r'''
qemu-img create -q -f qcow2 a.qcow2 64M
qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 b.qcow2
mkdir d; qemu-img create -q -f qcow2 -b ../a.qcow2 -F qcow2 d/c.qcow2 128M
qemu-io -c 'write -P 1 0 1M' -c 'write -z 2M 1M' -c 'write -P 2 -c 4M 64k' -c 'write -P 3 4992k 64k' a.qcow2 >/dev/null
qemu-io -c 'write -P 4 10M 1M' b.qcow2 > /dev/null
qemu-io -c 'write -P 5 100M 1M' d/c.qcow2 > /dev/null
truncate -s 1M h.raw; qemu-io -f raw -c 'write 512k 64k' h.raw >/dev/null
'''

topic('images are described', IMAGES + r'''
$I map a.qcow2
$I map --output=json a.qcow2
$I map --output=json b.qcow2
$I map --output=json d/c.qcow2
$I map --output=json h.raw
$I map h.raw
$I map --output=json --start-offset=512k --max-length=1M b.qcow2
$I map --output=foo b.qcow2
$I map --start-offset=x b.qcow2
$I info a.qcow2
$I info b.qcow2
$I info --output=json b.qcow2
$I info --backing-chain d/c.qcow2
$I info --backing-chain --output=json d/c.qcow2
$I info h.raw
$I info -f qcow2 h.raw
$I info -f foo h.raw
$I info nope
$I info
$I info -f
$I info --image-opts -f raw a.qcow2
$I info --image-opts driver=qcow2,file.filename=a.qcow2 | grep -A9 cluster_size
$I info --image-opts file.filename=a.qcow2 | grep -A9 cluster_size
$I info 'json:{"driver":"qcow2","file.filename":"a.qcow2"}' | grep -A9 cluster_size
$I info --image-opts filename=a.qcow2
$I info foo:bar
qemu-img create -q -f qcow2 -u -b self.qcow2 -F qcow2 self.qcow2 1M; $I info --backing-chain self.qcow2 2>&1 | tail -1
qemu-img create -q -f qcow2 -u -b missing.qcow2 -F qcow2 m.qcow2 1M; $I info m.qcow2
$I info --backing-chain m.qcow2 2>&1 | tail -1
cd /; $I info $OLDPWD/d/c.qcow2 | sed 's,/[^ ]*/,DIR/,g'
qemu-img bitmap --add a.qcow2 b1; qemu-img bitmap --add --disable -g 4k a.qcow2 b2; $I info a.qcow2
$I info -U a.qcow2 --output=json
$I check a.qcow2
$I check --output=json a.qcow2
$I check h.raw
$I check -r foo a.qcow2
$I check nope
cp a.qcow2 leak.qcow2; printf '\0\1' | dd of=leak.qcow2 bs=1 seek=$((131072+38)) conv=notrunc 2>/dev/null; $I check -q leak.qcow2; echo $?
''')

topic('images are converted', IMAGES + r'''
$I convert -O raw b.qcow2 x.raw; sha1sum x.raw
$I convert -O qcow2 b.qcow2 x.qcow2; qemu-img check x.qcow2; qemu-img compare x.raw x.qcow2
$I convert -O qcow2 -c b.qcow2 x.qcow2; qemu-img check x.qcow2; qemu-img map --output=json x.qcow2;  qemu-img compare x.raw x.qcow2
$I convert -O qcow2 -c -o compression_type=zstd x.raw x.qcow2; qemu-img check x.qcow2; qemu-img compare x.raw x.qcow2
$I convert -O qcow2 -B a.qcow2 -F qcow2 b.qcow2 y.qcow2; qemu-img check y.qcow2; qemu-img map y.qcow2; qemu-img compare x.raw y.qcow2
$I convert -S 0 -O qcow2 b.qcow2 x.qcow2; qemu-img check x.qcow2; qemu-img map x.qcow2; qemu-img compare x.raw x.qcow2
$I convert -S 64k -m 3 -W -O raw b.qcow2 x3.raw; qemu-img compare x.raw x3.raw
printf abc >> h.raw; $I convert -O raw h.raw x4.raw; stat -c %s x4.raw
$I convert -O qcow2 h.raw x4.qcow2; qemu-img info x4.qcow2 | head -3
$I convert -O raw a.qcow2 b.qcow2 xx.raw; stat -c %s xx.raw; sha1sum xx.raw
$I convert -O raw nope x
$I convert -O foo a.qcow2 x
$I convert -c -O raw a.qcow2 x
$I convert -n -O raw a.qcow2 nox
$I create -q -f raw small 1M; $I convert -n -O raw a.qcow2 small
$I convert -C -c -O qcow2 a.qcow2 x
$I convert -C -S 4k -O qcow2 a.qcow2 x
$I convert -C -O qcow2 a.qcow2 x; qemu-img compare a.qcow2 x
$I convert -O qcow2 -B a.qcow2 a.qcow2 x
$I convert a.qcow2
$I convert
$I convert -O qcow2 -o backing_file=nope,backing_fmt=qcow2 a.qcow2 x
$I convert -n -o cluster_size=4k -O qcow2 a.qcow2 small
$I convert --target-is-zero -O raw a.qcow2 x
$I convert --target-image-opts a.qcow2 x
$I convert --bitmaps -O raw a.qcow2 x
$I convert --bitmaps -O qcow2 small x
$I convert --skip-broken-bitmaps -O qcow2 a.qcow2 x
$I convert -S 100 a.qcow2 x
$I convert -t foo a.qcow2 x
$I convert -T foo a.qcow2 x
$I convert -m 100 a.qcow2 x
$I convert -O qcow2 -B a.qcow2 -F qcow2 b.qcow2 a.qcow2 x
$I convert -r foo a.qcow2 x
$I convert -r 1G -O raw a.qcow2 x
$I convert -O qcow2 -o preallocation=foo a.qcow2 x
$I convert -O qcow2 -o backing_file=a.qcow2 b.qcow2 x
$I convert -c -O qcow2 -o preallocation=metadata b.qcow2 x
$I convert --salvage -C b.qcow2 x
$I convert -O raw b.qcow2 /nope/x
qemu-img bitmap --add a.qcow2 b1; qemu-img bitmap --add --disable -g 4k a.qcow2 b2; qemu-io -c 'write -P 9 0 1M' a.qcow2 >/dev/null;  $I convert --bitmaps -O qcow2 a.qcow2 x; qemu-img info x | grep -A1 name; qemu-img check x
$I convert -n -O qcow2 b.qcow2 x; qemu-img compare x b.qcow2
$I create -q -f raw t.raw 64M; $I convert -n --target-is-zero -O raw b.qcow2 t.raw; qemu-img compare t.raw b.qcow2
$I create -q -f raw t.raw 64M; qemu-io -f raw -c 'write -P 7 0 64M' t.raw > /dev/null; $I convert -n -O raw b.qcow2 t.raw; qemu-img compare t.raw b.qcow2
$I convert -n --image-opts --target-image-opts driver=qcow2,file.filename=b.qcow2 driver=raw,file.filename=t.raw; qemu-img compare t.raw b.qcow2
$I convert -O qcow2 -o data_file=dd.raw,data_file_raw=on b.qcow2 x; qemu-img compare x b.qcow2; qemu-img compare dd.raw b.qcow2; qemu-img check x
$I convert -O qcow2 -o extended_l2=on b.qcow2 x; qemu-img compare x b.qcow2; qemu-img check x
truncate -s 0 zero; $I convert -O qcow2 zero x; qemu-img info x | sed -n 3p
truncate -s 1 one; $I convert -O raw one x; stat -c %s x
qemu-img create -q -f qcow2 -b h.raw -F raw long.qcow2 40M; $I convert -O qcow2 -B h.raw -F raw long.qcow2 y; qemu-img compare y long.qcow2; qemu-img map y | grep -c y
$I dd if=a.qcow2 of=x.raw; stat -c %s x.raw; cmp x.raw a.qcow2 | head -1
$I dd -f qcow2 -O raw if=a.qcow2 of=x.raw bs=1M count=3 skip=1; stat -c %s x.raw; sha1sum x.raw
$I dd -f qcow2 -O qcow2 if=a.qcow2 of=x.qcow2 bs=1000 skip=5; qemu-img info x.qcow2 | sed -n 3p; qemu-img convert -O raw x.qcow2 x.raw; sha1sum x.raw
$I dd if=a.qcow2
$I dd
$I dd if=a.qcow2 of=x foo=bar
$I dd if=a.qcow2 of=x bs=0
$I dd if=a.qcow2 of=x bs=foo
$I dd if=a.qcow2 of=x count=foo
$I dd if=a.qcow2 of=x skip=foo
$I dd if=nope of=x
$I dd bs=4k count=1 if=a.qcow2 of=y a
$I dd -n if=a.qcow2 of=x
''')

topic('images are compared, resized and measured', IMAGES + r'''
$I compare a.qcow2 b.qcow2
$I compare -q a.qcow2 b.qcow2
$I compare a.qcow2 a.qcow2
$I compare -s a.qcow2 b.qcow2 | cut -c1-19
$I compare a.qcow2
$I compare a.qcow2 nope
$I compare a.qcow2 b.qcow2 c
$I compare -f raw -F qcow2 a.qcow2 b.qcow2 | tail -1
cp h.raw g.raw; truncate -s 2M g.raw; $I compare g.raw h.raw
$I compare h.raw g.raw
$I compare -s h.raw g.raw
qemu-io -f raw -c 'write -P 1 1500k 4k' g.raw >/dev/null; $I compare h.raw g.raw
$I compare -U a.qcow2 a.qcow2
$I compare --image-opts driver=raw,file.filename=h.raw driver=raw,file.filename=h.raw
$I resize a.qcow2 32M
$I resize --shrink a.qcow2 32M; qemu-img check a.qcow2
$I resize a.qcow2 +32M; qemu-img info a.qcow2 | sed -n 3p
$I resize --shrink a.qcow2 -16M; qemu-img info a.qcow2 | sed -n 3p
$I resize --shrink a.qcow2 -160M
$I resize a.qcow2 48M
$I resize a.qcow2 foo
$I resize a.qcow2 +0
$I resize a.qcow2
$I resize
$I resize nope 1M
$I resize -f raw g.raw 3M; stat -c %s g.raw
$I resize g.raw 4M; stat -c %s g.raw
$I resize -f raw g.raw 1000000; stat -c %s g.raw
$I resize -f raw --shrink g.raw 1M; stat -c %s g.raw
$I resize -q -f raw g.raw +1M; stat -c %s g.raw
$I resize -f raw --preallocation=full g.raw +1M; stat -c %s g.raw
$I resize -f raw --preallocation=foo g.raw +1M
$I resize --shrink -f raw --preallocation=full g.raw 1M
$I resize --preallocation=metadata a.qcow2 +1M; qemu-img check -q a.qcow2
$I resize --preallocation=full a.qcow2 +1M; qemu-img check -q a.qcow2
$I resize a.qcow2 9E
$I resize --image-opts driver=qcow2,file.filename=a.qcow2 128M
$I measure --size 1G
$I measure -O qcow2 --size 1G
$I measure -O qcow2 --size 1T
$I measure -O qcow2 -o cluster_size=4k --size 1T
$I measure -O qcow2 -o cluster_size=2M,refcount_bits=1 --size 10G
$I measure -O qcow2 -o extended_l2=on --size 10G
$I measure -O qcow2 -o cluster_size=512,refcount_bits=64 --size 10G
$I measure -O qcow2 -o preallocation=full --size 1G
$I measure -O qcow2 -o preallocation=metadata --size 1G
$I measure -O qcow2 b.qcow2 | tail -2
$I measure -O raw b.qcow2
$I measure -O qcow2 -f raw h.raw
$I measure --output=json -O qcow2 -f raw h.raw
$I measure
$I measure --size 1G b.qcow2
$I measure a b
$I measure --size foo
$I measure --image-opts
$I measure --size 1G -l foo
$I measure -O foo --size 1G
$I measure -O qcow2 --size 0
$I measure -O raw --size 1
$I measure -O qcow2 --size 1
$I measure -O qcow2 -o foo=bar --size 1
$I measure -O qcow2 -o cluster_size=1 --size 1
$I measure -O qcow2 --size 9223372036854775807
$I measure -O qcow2 --size 16E
qemu-img bitmap --add d/c.qcow2 b1; qemu-img bitmap --add -g 512 d/c.qcow2 b2; $I measure -O qcow2 d/c.qcow2 | tail -1
$I bench -c 10 -d 1 a.qcow2 | sed 's/[0-9.]* seconds/T/'
$I bench -c 10 -w --pattern=5 -s 64k -S 128k -o 1M a.qcow2 | sed 's/[0-9.]* seconds/T/'; qemu-io -c 'read -P 5 1152k 64k' a.qcow2 | head -1
$I bench -c 10 -w --flush-interval=5 -d 3 a.qcow2 | sed 's/[0-9.]* seconds/T/; s/completed requests/requests/'
$I bench -c 10 -w --flush-interval=5 -d 3 --no-drain a.qcow2 | sed 's/[0-9.]* seconds/T/'
$I bench -c 10 --flush-interval=2 a.qcow2
$I bench -c 10 -w --flush-interval=2 -d 3 a.qcow2
$I bench -c foo a.qcow2
$I bench -s foo a.qcow2
$I bench --pattern=256 a.qcow2
$I bench -t foo a.qcow2
$I bench -i foo a.qcow2
$I bench a b
''')

topic('chains are changed', r'''
qemu-img create -q -f qcow2 base.qcow2 8M; qemu-io -c 'write -P 1 0 1M' base.qcow2 > /dev/null
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2; qemu-io -c 'write -P 2 1M 1M' -c 'write -z 0 64k' mid.qcow2 > /dev/null
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 10M; qemu-io -c 'write -P 3 2M 1M' -c 'write -P 4 9M 64k' top.qcow2 > /dev/null
for i in base mid top; do cp $i.qcow2 s-$i.qcow2; done; qemu-img convert -O raw top.qcow2 want.raw
$I commit base.qcow2
$I commit nope
$I commit -b nope top.qcow2
$I commit top.qcow2; qemu-img map --output=json top.qcow2 | grep -c '"depth": 0, "present": true'; qemu-img compare want.raw mid.qcow2; qemu-img compare want.raw top.qcow2; qemu-img check -q top.qcow2; qemu-img check -q mid.qcow2
for i in base mid top; do cp s-$i.qcow2 $i.qcow2; done; $I commit -d top.qcow2; qemu-img map top.qcow2 | cut -c1-32; qemu-img compare want.raw mid.qcow2
for i in base mid top; do cp s-$i.qcow2 $i.qcow2; done; $I commit -b base.qcow2 top.qcow2; qemu-img compare want.raw base.qcow2; qemu-img info base.qcow2 | sed -n 3p;  qemu-img check -q base.qcow2
for i in base mid top; do cp s-$i.qcow2 $i.qcow2; done; $I commit -q -r 100M -t none top.qcow2; qemu-img compare want.raw mid.qcow2
$I commit -t foo top.qcow2
$I commit -f raw top.qcow2
mkdir -p sub; for i in base mid top; do cp s-$i.qcow2 $i.qcow2; cp s-$i.qcow2 sub/$i.qcow2; done; $I commit -b base.qcow2 sub/top.qcow2; qemu-img compare want.raw sub/base.qcow2; qemu-img compare want.raw base.qcow2
$I commit -b sub/base.qcow2 sub/top.qcow2
$I rebase top.qcow2
$I rebase -b base.qcow2 top.qcow2
$I rebase -b base.qcow2 -F qcow2 top.qcow2; qemu-img compare want.raw top.qcow2; qemu-img check -q top.qcow2; qemu-img info top.qcow2 | grep backing
for i in base mid top; do cp s-$i.qcow2 $i.qcow2; done; $I rebase -b '' top.qcow2; qemu-img compare want.raw top.qcow2; qemu-img check -q top.qcow2; qemu-img info top.qcow2 | grep backing
$I rebase -b base.qcow2 -F qcow2 top.qcow2; qemu-img compare want.raw top.qcow2; qemu-img check -q top.qcow2
for i in base mid top; do cp s-$i.qcow2 $i.qcow2; done; $I rebase -u -b nope -F qcow2 top.qcow2; qemu-img info top.qcow2 | grep backing
$I rebase -u -b base.qcow2 top.qcow2
$I rebase -b base.qcow2 -F qcow2 top.qcow2
$I rebase -u -b '' top.qcow2;  qemu-img info top.qcow2 | grep backing
for i in base mid top; do cp s-$i.qcow2 $i.qcow2; done; $I rebase -b nope -F qcow2 top.qcow2
$I rebase -b base.qcow2 -F foo top.qcow2
$I rebase -b want.raw -F raw top.qcow2; qemu-img compare want.raw top.qcow2
$I rebase -b '' want.raw
$I rebase -u -b x -F raw -f raw want.raw
$I rebase -t foo -b '' top.qcow2
$I rebase -T foo -b '' top.qcow2
for i in base mid top; do cp s-$i.qcow2 $i.qcow2; done; qemu-img create -q -f qcow2 small.qcow2 1M; $I rebase -b small.qcow2 -F qcow2 top.qcow2; qemu-img compare want.raw top.qcow2
qemu-img create -q -f qcow2 alone.qcow2 8M; qemu-io -c 'write -P 7 1M 64k' alone.qcow2 >/dev/null; qemu-img convert -O raw alone.qcow2 alone.raw; $I rebase -b base.qcow2 -F qcow2 alone.qcow2; qemu-img compare alone.raw alone.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F raw fmt.qcow2 8M; $I rebase -u -b s-base.qcow2 -F qcow2 fmt.qcow2; qemu-img info fmt.qcow2 | grep backing; qemu-img check -q fmt.qcow2
''')

topic('bitmaps are changed', r'''
qemu-img create -q -f qcow2 a.qcow2 64M
$I bitmap a.qcow2
$I bitmap a.qcow2 b1
$I bitmap --add a.qcow2 b1; qemu-img info a.qcow2 | tail -8
$I bitmap --add a.qcow2 b1
$I bitmap --add -g 1000 a.qcow2 b2
$I bitmap --add -g 32k --disable a.qcow2 b2
$I bitmap --remove a.qcow2 nope
$I bitmap --enable a.qcow2 b2
$I bitmap --merge b1 a.qcow2 b2
$I bitmap --merge nope a.qcow2 b2
$I bitmap -g 4k --remove a.qcow2 b2
$I bitmap -b a.qcow2 --clear a.qcow2 b2
$I bitmap -F qcow2 --clear a.qcow2 b2
cp a.qcow2 c.qcow2; qemu-io -c 'write 1M 64k' c.qcow2 >/dev/null; $I bitmap -b c.qcow2 -F qcow2 --merge b1 a.qcow2 b2; $I check a.qcow2
$I bitmap -b c.qcow2 -F raw --merge b1 a.qcow2 b2
$I bitmap -b nope -F qcow2 --merge b1 a.qcow2 b2
$I bitmap --clear --enable --disable a.qcow2 b2; qemu-img info a.qcow2 | grep -c auto
$I bitmap --remove a.qcow2 b2; qemu-img info a.qcow2 | tail -4
$I bitmap --remove a.qcow2 b1; qemu-img info a.qcow2 | tail -4; qemu-img check a.qcow2
$I bitmap --add nope b1
$I bitmap --add --image-opts driver=qcow2,file.filename=a.qcow2 b7; qemu-img info a.qcow2 | grep name
''')


topic('snapshots are kept inside', r'''
qemu-img create -q -f qcow2 a.qcow2 64M
qemu-io -c 'write -P 1 0 1M' a.qcow2 > /dev/null
$I snapshot -c s1 a.qcow2; qemu-io -c 'write -P 2 0 1M' -c 'write -P 3 10M 64k' a.qcow2 > /dev/null
$I snapshot -c s2 a.qcow2
$I snapshot -l a.qcow2
$I info a.qcow2
qemu-img check a.qcow2; qemu-img snapshot -l a.qcow2
$I snapshot -a s1 a.qcow2; qemu-io -c 'read -P 1 0 1M' a.qcow2 | head -1; qemu-img check a.qcow2
$I snapshot a.qcow2
$I snapshot -a nope a.qcow2
$I snapshot -d nope a.qcow2
$I snapshot -c s1 -d s1 a.qcow2
$I convert -l s2 -O raw a.qcow2 x.raw; sha1sum x.raw
$I convert -l snapshot.name=s1 -O raw a.qcow2 x.raw; sha1sum x.raw
$I convert -l snapshot.id=2 -O raw a.qcow2 x.raw; sha1sum x.raw
$I convert -l nope -O raw a.qcow2 x.raw
$I convert -f raw -l s1 -O raw x.raw y.raw
$I measure -l s1 -O qcow2 a.qcow2
$I snapshot -d s1 a.qcow2; $I snapshot -d 2 a.qcow2; $I snapshot -l a.qcow2; qemu-img check a.qcow2
$I snapshot
$I snapshot -c x nope
$I snapshot -q -c x a.qcow2; $I snapshot -U -l a.qcow2
''')

topic('images are amended', r'''
qemu-img create -q -f qcow2 a.qcow2 64M; qemu-io -c 'write -P 1 0 1M' a.qcow2 > /dev/null; qemu-img snapshot -c s1 a.qcow2
$I amend
$I amend a.qcow2
$I amend -o compat=0.10
$I amend -o compat=0.10 a.qcow2; qemu-img info a.qcow2 | grep compat; qemu-img check a.qcow2
$I amend -o compat=1.1,lazy_refcounts=on a.qcow2; qemu-img info a.qcow2 | grep -E 'compat|lazy'
$I amend -f qcow2 -o lazy_refcounts=off,refcount_bits=64 a.qcow2; qemu-img info a.qcow2 | grep -E 'refc|lazy'; qemu-img check a.qcow2
$I amend -f qcow2 -o compat=0.10 a.qcow2
$I amend -f qcow2 -o refcount_bits=7 a.qcow2
$I amend -f qcow2 -o refcount_bits=1 a.qcow2 2>&1 | cut -c1-50
$I amend -f qcow2 -o cluster_size=1M a.qcow2
$I amend -f qcow2 -o size=128M a.qcow2; qemu-img info a.qcow2 | sed -n 3p
$I amend -f qcow2 -o size=32M a.qcow2; qemu-img info a.qcow2 | sed -n 3p
$I amend -f qcow2 -o backing_file=x a.qcow2
$I amend -f qcow2 -o backing_fmt=raw a.qcow2
$I amend -f qcow2 -o data_file=x a.qcow2
$I amend -f qcow2 -o data_file_raw=on a.qcow2
$I amend -f qcow2 -o foo=bar a.qcow2
$I amend -f qcow2 -o compat=foo a.qcow2
$I amend -f qcow2 -o lazy_refcounts=foo a.qcow2
truncate -s 1M x.raw; $I amend -f raw -o size=1M x.raw
$I amend -o ,help a.qcow2
$I amend -t foo -o compat=1.1 a.qcow2
qemu-img create -q -f qcow2 -o data_file=d.raw df.qcow2 1M; mv d.raw e.raw; $I amend -o data_file=e.raw --image-opts driver=qcow2,file.filename=df.qcow2,data-file.driver=file,data-file.filename=e.raw; qemu-img info df.qcow2 | grep data
''')

topic('images that cannot be read', IMAGES + r'''
for e in read_aio l2_load; do printf '[inject-error]\nevent = "%s"\n' $e > $e; done
$I compare blkdebug:read_aio:a.qcow2 b.qcow2
$I compare b.qcow2 blkdebug:read_aio:a.qcow2
$I compare -s a.qcow2 blkdebug:read_aio:a.qcow2
$I compare blkdebug:l2_load:a.qcow2 b.qcow2
$I compare b.qcow2 blkdebug:l2_load:a.qcow2
$I compare -s a.qcow2 blkdebug:l2_load:a.qcow2
''')

topic('bitmaps keep their places', IMAGES + r'''
for b in m z a; do $I bitmap --add a.qcow2 $b; done; qemu-img info a.qcow2 | grep name:
$I bitmap --clear a.qcow2 z; qemu-img info a.qcow2 | grep name:
$I bitmap --remove a.qcow2 z; $I bitmap --add a.qcow2 z; qemu-img info a.qcow2 | grep name:
$I convert --bitmaps -O qcow2 a.qcow2 x; qemu-img info x | grep name:
''')

topic('snapshots, sizes and versions', r'''
$I create -q -f qcow2 -o compat=0.10 a 32M; $I snapshot -c foo a; $I amend -o compat=1.1,size=128M a; qemu-img info a | sed -n 3p
$I snapshot -c bar a; $I amend -o compat=0.10 a
$I amend -o compat=0.10,size=32M a
$I amend -o compat=0.10,size=128M a
$I snapshot -d bar a; $I amend -o compat=0.10,size=64M a
$I amend -o compat=0.10,size=32M a; qemu-img info a | grep -E 'virtual|compat'; qemu-img check a
''')

topic('a repair takes back what autoclear bits promise', r'''
bits() { od -An -tx1 -j88 -N8 $1; }; $I create -q -f qcow2 a 1M; printf '\200' | dd of=a bs=1 seek=88 conv=notrunc status=none; $I check a; bits a; $I check -r all a; bits a; $I check -r leaks a
''')

topic('zero clusters that keep their place', r'''
qemu-img create -q -f qcow2 a 2M; qemu-io -c 'write 0 2M' -c 'write -z 64k 192k' -c 'discard 128k 64k' -c 'write -z 512k 4k' a >/dev/null; $I map --output=json a
$I map a
$I compare -s a a
qemu-img create -q -f qcow2 -o extended_l2=on x 2M; qemu-io -c 'write 0 2M' -c 'write -z 64k 192k' -c 'write -z 516k 4k' x >/dev/null; $I map --output=json x
qemu-img create -q -f qcow2 -o data_file=d.raw d 1M; qemu-io -c 'write 0 1M' -c 'write -z 64k 192k' d >/dev/null; $I map --output=json d
''')

topic('an overlay grows into room of its own', r'''
qemu-img create -q -f raw h.raw 4M; qemu-io -f raw -c 'write -P 7 0 4M' h.raw >/dev/null; for p in off metadata falloc full; do qemu-img create -q -f qcow2 -b h.raw -F raw $p 1000k; qemu-io -c 'write -P 8 960k 40k' $p >/dev/null; $I resize --preallocation=$p $p 5M; done
for p in off metadata falloc full; do qemu-img check -q $p; qemu-io -c 'read -q -P 7 0 960k' -c 'read -q -P 8 960k 40k' -c 'read -P 0 1000k 4120k' $p | head -1; done
for p in off falloc full; do qemu-img map --output=json $p | tail -1 | grep -c 'data": true.*offset'; done; test $(stat -c %b full) -gt 8000 && echo has its room
''')


def normalize(text):
    """What newer QEMUs say besides, and what no two programs have in common."""
    text = re.sub(r", \"compressed\": (true|false)", '', text)
    text = re.sub(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d', 'DATE', text)
    text = re.sub(r'("(date-sec|date-nsec)": )\d+', r'\1N', text)
    text = re.sub(r"Child node '.*':\n(    .*\n)*", '', text)
    text = re.sub(r'\n( *)"children": \[\n(\1 .*\n)*\1\],', '', text)
    text = re.sub(r'(disk size: |"actual-size": )[0-9.]+( [KM]iB)?', r'\1SIZE', text)
    text = re.sub(r'completed in [0-9.]+', 'completed in T', text)
    text = re.sub(r"Can't store persistent bitmaps to \S+:", "Can't store persistent bitmaps to NODE:", text)
    return re.sub(r'(^|\n)Image end offset: \d+', '', re.sub(r'\d+\.\d+% fragmented', 'F', text))


def run(lines, program, folder):
    env = dict(os.environ, I=program, LC_ALL='C', TZ='UTC')
    for line in lines:
        p = subprocess.run(['bash', '-c', line], cwd=folder, env=env, stdin=subprocess.DEVNULL, timeout=120,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors='replace')
        yield normalize(p.stdout), normalize(p.stderr), p.returncode


def compare(lines):
    different = []
    with tempfile.TemporaryDirectory(prefix='qemu-img-') as d:
        folders = [os.path.join(d, name) for name in ('theirs', 'ours')]
        for folder in folders:
            os.mkdir(folder)
        link = os.path.join(d, 'qemu-img')      # both are called the same in messages
        os.symlink(os.path.abspath(os.environ['QEMU_IMG']), link)
        for line, theirs, ours in zip(lines, run(lines, 'qemu-img', folders[0]), run(lines, link, folders[1])):
            if theirs != ours:
                different.append(f'$ {line}\n  theirs: {theirs}\n  ours:   {ours}')
    return different


def main():
    if not shutil.which('qemu-img') or not shutil.which('qemu-io'):
        print('skipped: the installed qemu-img is not there')
        sys.exit(77)
    different, n = [], 0
    for name, lines in LINES.items():
        if len(sys.argv) < 2 or sys.argv[1] in name:
            different += compare(lines)
            n += len(lines)
    print('\n'.join(different))
    print(n, 'lines,', len(different), 'with another result')
    sys.exit(1 if different else 0)


main()
