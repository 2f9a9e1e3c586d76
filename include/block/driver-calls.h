/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one crossing between the core and the drivers: a trampoline for each data operation.
 * Each asserts what the driver may rely on and what it must return.  The core calls these and
 * never a driver's function pointer.
 */
#ifndef BLOCK_DRIVER_CALLS_H
#define BLOCK_DRIVER_CALLS_H

#include "block/block.h"

int co_fn bdrv_drv_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov);
int co_fn bdrv_drv_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                           unsigned flags);
int co_fn bdrv_drv_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                 unsigned flags);
int co_fn bdrv_drv_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes);
int co_fn bdrv_drv_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                int64_t *ret_bytes);
int co_fn bdrv_drv_map(BlockDriverState *bs, int64_t offset, int64_t bytes,
                       BdrvExtent *ret_extent);
int co_fn bdrv_drv_map_write(BlockDriverState *bs, int64_t offset, int64_t bytes,
                             BdrvAlloc *ret_alloc);
int co_fn bdrv_drv_map_commit(BlockDriverState *bs, BdrvAlloc *alloc);
void co_fn bdrv_drv_map_abort(BlockDriverState *bs, BdrvAlloc *alloc);
int co_fn bdrv_drv_zero(BlockDriverState *bs, int64_t offset, int64_t bytes, unsigned flags);
int co_fn bdrv_drv_discard(BlockDriverState *bs, int64_t offset, int64_t bytes);
int co_fn bdrv_drv_make_empty(BlockDriverState *bs);
int co_fn bdrv_drv_read_special(BlockDriverState *bs, const BdrvExtent *extent, int64_t offset,
                                int64_t bytes, IoVec *qiov);
int co_fn bdrv_drv_write_compressed(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                    const void *buf, bool *ret_stored);
int co_fn bdrv_drv_extend(BlockDriverState *bs, int64_t length);
void co_fn bdrv_drv_reclaim(BlockDriverState *bs);
int co_fn bdrv_drv_flush(BlockDriverState *bs, unsigned flags);
int co_fn bdrv_drv_bitmap_changing(BlockDriverState *bs, const char *name);

/* A failure is logged: it has nowhere else to go. */
void co_main_fn bdrv_drv_close(BlockDriverState *bs);

/* An image of a format (or filter), whose data the core finds with co_map. */
static inline bool bdrv_is_mapped(const BlockDriverState *bs)
{
    return bs->drv->co_map != NULL;
}

#endif
