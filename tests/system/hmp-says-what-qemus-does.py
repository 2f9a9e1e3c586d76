#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
People and scripts that use QEMU's monitor find the same commands, arguments and texts in this one.

The same lines go into both, and what is on the terminal then is compared.  QEMU_SYSTEM names the program under test.
"""

import difflib
import os
import re

from emulator import INSTALLED, PROGRAM, Folder, terminal
from rig import main, skip

if not INSTALLED or os.path.samefile(INSTALLED, PROGRAM):
    skip('there is no other qemu-system-x86_64')

DISKS = ['-drive', 'if=none,id=d0,file=a.qcow2', '-drive', 'if=none,id=d1,file=b.qcow2',
         '-drive', 'if=none,id=r0,file=r.raw,format=raw', '-drive', 'if=none,id=e0,media=cdrom',
         '-drive', 'if=none,id=ro,file=ro.raw,format=raw,readonly=on',
         '-blockdev', 'null-co,node-name=n2,size=1048576,read-zeroes=on', '-S']

LINES = '''
    foo
    bl
    info foo
    info b x
    help foo
    help info foo
    help block_resize
    help quit
    help cont
    help info block
    help nbd_server_add
    quit x

    info block
    info block -v
    info block d1
    info block -v d1
    info block e0
    info block n2
    info block a b
    info block -x
    info blockstats
    info blockstats x
    info block-jobs
    info snapshots
    info status
    stop
    cont
    info status
    s
    c
    s x

    block_resize
    block_resize d0
    block_resize d0 1x
    block_resize d0 -1
    block_resize d0 99999999999999T
    block_resize d0 16 17
    block_resize nope 16
    block_resize 'd0' 17
    block_resize "d\\"0" 17
    block_resize -x d0
    block_resize d0 9
    block_resize r0 0x500000
    block_resize "d0" 9.5M
    info block -v d0

    block_set_io_throttle d0 1
    block_set_io_throttle d0 1 2 3 4 5 6
    block_set_io_throttle d0 1+1*3 0 0 0x10 0 0
    info block d0
    block_set_io_throttle d0 (2+4)*2-3|16 0 0 ~-9 0 0
    info block d0
    block_set_io_throttle d0 $x 0 0 010 0 0
    block_set_io_throttle d0 1x 0 0 010 0 0
    block_set_io_throttle d0 1/0 0 0 010 0 0
    block_set_io_throttle d0 (1 0 0 010 0 0
    block_set_io_throttle d0 0 0 0 0 0 0
    info block d0

    commit
    commit nope
    commit e0
    commit r0
    commit ro
    commit d0
    qemu-io d1 "write -q -P 7 64k 64k"
    commit d1
    qemu-io d1 map
    qemu-io d1 "read -q -P 7 64k 64k"
    info block -v d1
    commit all

    snapshot_blkdev
    snapshot_blkdev d1
    snapshot_blkdev nope s.qcow2
    snapshot_blkdev d1 s.qcow2 nofmt
    snapshot_blkdev -n d1 nope.qcow2
    snapshot_blkdev -n d1 over.qcow2
    info block d1
    snapshot_blkdev_internal d1 sn1
    snapshot_blkdev_internal d1 sn1
    snapshot_blkdev_internal r0 sn1
    snapshot_blkdev_internal nope sn1
    snapshot_blkdev_internal d1
    info snapshots
    snapshot_delete_blkdev_internal d1 sn1
    snapshot_delete_blkdev_internal d1 sn1
    snapshot_delete_blkdev_internal d1 sn1 4
    snapshot_delete_blkdev_internal nope sn1 4
    info snapshots

    block_job_set_speed d1 10
    block_job_set_speed d1
    block_job_pause d1
    block_job_resume
    block_job_complete d1
    block_job_cancel d1
    block_job_cancel -f d1
    block_job_cancel -x d1
    block_stream
    block_stream nope
    drive_mirror
    drive_mirror d1
    drive_mirror nope x.img
    drive_mirror -n d1 x.img
    drive_mirror -n -x d1 x.img qcow2
    drive_backup
    drive_backup d0
    drive_backup -n d0 zz.img raw

    nbd_server_start
    nbd_server_start foo
    nbd_server_start -w unix:n.sock
    nbd_server_start unix:n.sock
    nbd_server_start unix:n2.sock
    nbd_server_add
    nbd_server_add d0
    nbd_server_add d0
    nbd_server_add -w d0 foo
    nbd_server_add nope
    nbd_server_add e0
    nbd_server_remove foo
    nbd_server_remove foo
    nbd_server_remove -f d0
    nbd_server_remove
    nbd_server_stop
    nbd_server_stop
    nbd_server_start -a unix:n3.sock
    nbd_server_stop
    nbd_server_start -a -w unix:n3.sock
    nbd_server_add n2
    nbd_server_stop

    object_add
    object_add iothread
    object_add foo,id=x
    object_add iothread,id=io1
    object_add qom-type=iothread,id=io2,poll-max-ns=5
    object_del io1
    object_del io1
    object_del
    chardev-add
    chardev-add foo
    chardev-add null
    chardev-add null,id=c1
    chardev-change c1 ringbuf,size=64
    chardev-change c9 ringbuf,size=64
    chardev-change c1
    ringbuf_write c1 hello
    ringbuf_write c1 "a\\nb\\\\c"
    ringbuf_read c1 20
    ringbuf_read c1 20
    chardev-send-break c1
    chardev-send-break c9
    chardev-remove c1
    chardev-remove c1
    trace-event foo on
    trace-event
    trace-event a b
    info trace-events nope

    drive_add
    drive_add 0
    drive_add 0 if=none,file=new.raw,format=raw,id=new
    drive_add 0 if=none,file=nope,id=n2
    drive_add 0 if=virtio,file=nope.raw,format=raw,id=n4
    drive_add 0:0 if=none,id=n5
    drive_add -n 0 driver=null-co,node-name=nn
    drive_add -n 0 driver=null-co
    qemu-io new "write -q 0 64k"
    drive_del
    drive_del nope
    drive_del new
    drive_del nn
    drive_del nn
    drive_del n5
    info block new

    qemu-io
    qemu-io d0
    qemu-io d0 read 0 64k
    qemu-io d0 "read 0 64k"
    qemu-io d0 "write -P 5 0 64k"
    qemu-io d0 "read -P 5 0 64k"
    qemu-io d0 "read -P 6 0 64k"
    qemu-io nope "read 0 64k"
    qemu-io e0 "read 0 64k"
    qemu-io ro "read 0 64k"
    qemu-io ro "write 0 64k"
    qemu-io -d nope "read 0 64k"
    qemu-io -d d0 "read 0 64k"
    qemu-io -x d0 "read 0 64k"
    qemu-io d0 foo
    qemu-io d0 read
    qemu-io d0 "read 0"
    qemu-io d0 "read 100M 1k"
    qemu-io d0 quit
    qemu-io d0 length
    qemu-io d0 map
    qemu-io d0 "aio_write -q -P 3 0 1M"
    qemu-io d0 aio_flush
    qemu-io d0 "read -q -P 3 0 1M"
    qemu-io n2 "read 0 4k"
    qemu-io n2 "aio_write 0 4k"
    qemu-io d0 "reopen -c none"
    info block d0
    qemu-io d0 "reopen -o cache.no-flush=on"
    info block d0
    qemu-io d0 "open a.qcow2"
    qemu-io d0 close
    qemu-io d0 "break pwritev_done A"
    qemu-io d0 ""
    qemu-io "" length
'''


def both(lines):
    for program in (INSTALLED, None):
        with Folder() as f:
            f.create('a.qcow2', 'qcow2', '8M')
            f.create('base.qcow2', 'qcow2', '8M')
            f.create('b.qcow2', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', '8M')
            f.create('over.qcow2', 'qcow2', '-b', 'b.qcow2', '-F', 'qcow2', '8M')
            f.create('r.raw', 'raw', '4M')
            f.create('ro.raw', 'raw', '1M')
            f.create('new.raw', 'raw', '1M')
            yield terminal(lines + ['quit'], *DISKS, **({'program': program} if program else {}))


def normal(text):
    """Names, times and versions are each one's own; ours says what else would have done, where a file is, and what
    is not there."""
    for pattern, word in ((r'^QEMU \S+ monitor', 'QEMU X.Y.Z monitor'), (r'#block\d+', '#block'),
                          (r'\d{4}-\d\d-\d\d [\d:]{8} +[\d:.]{12}', 'DATE'), (r'disk size: .*', 'disk size'),
                          (r'\d\d\.\d\d sec \(.*\)', 'TIME'),
                          (r' \(accepted: .*\)', ''), (r'/tmp/hmp-\w+/', ''), ('Unknown file format', 'Unknown format'),
                          (r"^Error: there is no (drive|node) '.*'\n", '')):
        text = re.sub(pattern, word, text, flags=re.M)
    return text


def test_all_lines():
    """One after the other, with the disks as the lines before have left them."""
    theirs, ours = (normal(text) for text in both([line.strip() for line in LINES.strip().split('\n')]))
    if theirs != ours:
        print('\n'.join(difflib.unified_diff(theirs.split('\n'), ours.split('\n'), 'installed', 'ours', n=2,
                                             lineterm='')))
    assert theirs == ours


def test_a_string_without_an_end():
    theirs, ours = (normal(text) for text in both(['block_resize "d0 17', 'nbd_server_add "\\q"']))
    assert theirs == ours, (theirs, ours)


if __name__ == '__main__':
    main(globals())
