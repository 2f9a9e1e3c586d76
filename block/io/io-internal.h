/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files block/io/. */
#ifndef BLOCK_IO_INTERNAL_H
#define BLOCK_IO_INTERNAL_H

#include "block/driver-calls.h"
#include "block/ranges.h"

/* [@offset, @offset + @bytes) lies in the node. Overflow-safe. */
bool any_fn bdrv_range_in_node(const BlockDriverState *bs, int64_t offset, int64_t bytes);

/*
 * Before a write to @bs, a mapped node, that ends at @end: a protocol grows by being written past
 * its end, and what passes requests on to one (raw) has to as well, for the format above allocates
 * like that.  -ENOSPC: it is full; -EIO: the node is as long as it is.
 */
int co_fn bdrv_make_room(BlockDriverState *bs, int64_t end);

/* Requests to this node have to keep out of each other's way: its map changes under writes. */
static inline bool bdrv_needs_ranges(const BlockDriverState *bs)
{
    return bs->drv->co_map_write && !bs->read_only;
}

/*
 * Where the data of [@offset, @offset + @ret_extent->bytes) of @bs is, looking down its chain.  The
 * kind is never BACKING.  *@ret_layer is the node that decided, *@ret_depth (may be NULL) its
 * depth, -1 where no layer has anything.
 */
int co_fn bdrv_map_chain(BlockDriverState *bs, int64_t offset, int64_t bytes, int max_depth,
                         BdrvExtent *ret_extent, BlockDriverState **ret_layer, int *ret_depth);

/* Read from a mapped node; the caller holds the range if it needs holding. */
int co_fn bdrv_read_mapped(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov);

/* Write [@offset, @offset + @bytes) of @bs compressed, for a node that has a compress_unit. */
int co_fn bdrv_write_compressed(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov);

/*
 * A change of [@offset, @offset + @bytes) of @bs is complete or has failed: flushes that begin from
 * now on have to cover it, and the node's trackers learn of it.  The one crossing for all changes
 * of content.
 */
void any_fn bdrv_mark_changed(BlockDriverState *bs, int64_t offset, int64_t bytes);
/* The same for a change that gave the range a content of its own: it counts for wr_highest_offset.
 */
void any_fn bdrv_mark_written(BlockDriverState *bs, int64_t offset, int64_t bytes);

/* What the node's trackers need for another length / they learn of it. */
bool any_fn bdrv_trackers_reserve(BlockDriverState *bs, int64_t length, Error **errp);
void any_fn bdrv_trackers_resized(BlockDriverState *bs, int64_t length);

/* @bytes of @bs are stored elsewhere, and read as before: flushes that begin from now on have to
 * cover it, and it is nobody's change. */
void any_fn bdrv_mark_unflushed(BlockDriverState *bs, int64_t bytes);

/*
 * A request to @bs, a format, ended with @ret. True: there was no space, and what waited to be
 * given back was: it is worth another try.
 */
bool co_fn bdrv_reclaim_after(BlockDriverState *bs, int ret);

/* Flush one node and what stores it (not its backing chain), whoever wrote there; skipped if
 * nothing changed. */
int co_fn bdrv_flush_node(BlockDriverState *bs, unsigned flags);

#endif
