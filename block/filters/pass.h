/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a filter that moves bytes does with requests that do not concern it: they are its file's. */
#ifndef BLOCK_FILTERS_PASS_H
#define BLOCK_FILTERS_PASS_H

#include "block/claims.h"

/* For co_open, with the file open: length and limits.  Requests of any alignment come through; the
 * file pads them, and takes FUA as the core does. */
void any_fn filter_pass_open(BlockDriverState *bs);
/* After a write that may have made the file longer. */
void any_fn filter_note_length(BlockDriverState *bs);
/* For drivers whose options cannot change: refuses another file, and nothing else. */
bool co_main_fn filter_keeps_file(BlockDriverState *bs, const BdrvReopen *to, Error **errp);

/* For drivers that take no other options while they are open; becoming read-only is fine. */
bool co_main_fn filter_cannot_reopen(BlockDriverState *bs, const BdrvReopen *to, Error **errp);

/* Operations of the driver, see BlockDriver. */
int co_fn filter_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov);
int co_fn filter_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                         unsigned flags);
int co_fn filter_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                               unsigned flags);
int co_fn filter_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes);
int co_fn filter_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                              int64_t *ret_bytes);
/* The BDRV_STATUS_ flags of a range of the node at @link, or -errno. */
int co_fn filter_status_of(BdrvLink *link, int64_t offset, int64_t bytes, int64_t *ret_bytes);
int co_fn filter_extend(BlockDriverState *bs, int64_t length);
bool co_fn filter_truncate(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                           Error **errp);
int64_t co_fn filter_getlength(BlockDriverState *bs);

#endif
