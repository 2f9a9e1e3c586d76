/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a node of the driver copy-before-write, which lies between a guest and its disk, offers to
 * those who want the disk as it was when the node was put there: backup jobs, and readers of the
 * snapshot.  docs/design/filters.md; the invariants are at the head of block/filters/cbw-copy.c.
 *
 * @bs is such a node everywhere.  Functions that move data are called as those of block/io.h are:
 * on any thread, inside a request bracket or where the graph cannot change otherwise.
 */
#ifndef BLOCK_COPY_BEFORE_WRITE_H
#define BLOCK_COPY_BEFORE_WRITE_H

#include "block/block.h"
#include "qemu/hbitmap.h"

/* Is @bs a node of that driver? */
bool any_fn bdrv_is_cbw(const BlockDriverState *bs);
/* What is copied as one, bytes, a power of two. */
int64_t any_fn bdrv_cbw_cluster_size(BlockDriverState *bs);
/* Length of the snapshot, bytes. */
int64_t any_fn bdrv_cbw_length(BlockDriverState *bs);

/*
 * What is still to be copied, cluster by cluster: for finding areas and for progress; nobody but
 * the functions below changes it.  It never gets more.  The node's.
 */
HBitmap *any_fn bdrv_cbw_to_copy(BlockDriverState *bs);

/*
 * Before the first request: only what is dirty in @which is copied and can be read of the snapshot.
 * Its granularity may be another one.  NULL: nothing is.
 */
void main_fn bdrv_cbw_set_to_copy(BlockDriverState *bs, const HBitmap *which);

/* Flags of the writes to the target: BDRV_REQ_WRITE_COMPRESSED.  Before the first request. */
void main_fn bdrv_cbw_set_write_flags(BlockDriverState *bs, unsigned flags);

/*
 * Copies those clusters that [@offset, @offset + @bytes) touches and that are still to be copied,
 * and waits for those that somebody else is copying.  0, or -errno of the first failure, or what
 * broke the snapshot.  *@ret_copied: bytes that this call copied; *@ret_on_read: was it a read that
 * failed?  Either may be NULL.  Several calls at a time are useful; the node bounds what it does at
 * a time.
 */
int co_fn bdrv_cbw_co_copy(BlockDriverState *bs, int64_t offset, int64_t bytes,
                           int64_t *ret_copied, bool *ret_on_read);

/*
 * The clusters that lie wholly in the range need not be copied (any more): nobody wants them.
 * @unreadable: they cannot be read of the snapshot either, and the target may forget them.
 */
int co_fn bdrv_cbw_co_forget(BlockDriverState *bs, int64_t offset, int64_t bytes, bool unreadable);

/* 0, or -errno of the copy that failed and broke the snapshot (on-cbw-error: break-snapshot). */
int any_fn bdrv_cbw_error(BlockDriverState *bs);

/* The snapshot's content.  -EACCES: it is broken, or the range is not part of it. */
int co_fn bdrv_cbw_co_preadv_snapshot(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      IoVec *qiov);
/* BDRV_BLOCK_DATA and _ZERO of the first *@ret_bytes bytes, or -errno as above. */
int co_fn bdrv_cbw_co_snapshot_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      int64_t *ret_bytes);

#endif
