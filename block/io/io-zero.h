/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BLOCK_IO_ZERO_H
#define BLOCK_IO_ZERO_H

#include "block/io/io-internal.h"

/* Of the functions below: the bytes are what the range reads as already (see BdrvAlloc.copied). */
#define BDRV_WRITE_COPIED (1u << 16)

/* 1: [@offset, @offset + @bytes) of @bs reads as zeroes, as far as the maps of its chain tell; 0:
 * that is not known; or -errno. */
int co_fn bdrv_maps_to_zero(BlockDriverState *bs, int64_t offset, int64_t bytes);

/* Write to a mapped node. @range: what the caller holds (it may be exchanged for an exclusive
 * one), or NULL for a format whose map does not change. */
int co_fn bdrv_write_mapped_held(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                                 unsigned flags, BdrvRange *range);

/* Zeroes for a range of a format, all of which the caller holds.  @flags: BDRV_WRITE_COPIED */
int co_fn bdrv_zero_held(BlockDriverState *bs, int64_t offset, int64_t bytes, unsigned flags);

#endif
