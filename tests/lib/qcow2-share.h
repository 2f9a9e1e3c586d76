/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internal snapshots for tests, made by editing the image: the driver only preserves them. */
#ifndef TESTS_QCOW2_SHARE_H
#define TESTS_QCOW2_SHARE_H

#include "tests/lib/memdisk.h"

/*
 * Make an internal snapshot of the (closed, small) version 3 image on @d: its L1 table is copied,
 * all refcounts of what it reaches go up, and the active tables lose their "copied" flags.
 * 16 bit refcounts; one refcount block.
 */
void qcow2_share_with_snapshot(MemDisk *d);

/* Make @to an image whose disk is the snapshot of the (closed) image on @d, to be read and no
 * more. */
void qcow2_view_snapshot(MemDisk *d, MemDisk *to);

/*
 * Gives the image on @d, of version 3 and with refcounts of 16 bits, a directory with one
 * persistent bitmap of no clusters; @flags are those of its entry. Returns the directory's offset.
 */
uint64_t qcow2_add_bitmap(MemDisk *d, uint32_t flags);

#endif
