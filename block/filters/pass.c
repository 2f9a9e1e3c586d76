/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/filters/pass.h"

void any_fn filter_pass_open(BlockDriverState *bs)
{
    bs->length = bdrv_length(bs->file->bs);
    bs->limits = (BdrvLimits){
        .request_alignment = 1, .mem_alignment = 1, .native_fua = true,
        .compress_unit = bs->file->bs->limits.compress_unit,
    };
}

void any_fn filter_note_length(BlockDriverState *bs)
{
    __atomic_store_n(&bs->length, bdrv_length(bs->file->bs), __ATOMIC_RELAXED);
}

bool co_main_fn filter_keeps_file(BlockDriverState *bs, const BdrvReopen *to, Error **errp)
{
    if (to->file.replaces) {
        error_setg(errp, "Cannot change the option 'file'");
    }
    return !to->file.replaces;
}

bool co_main_fn filter_cannot_reopen(BlockDriverState *bs, const BdrvReopen *to, Error **errp)
{
    if (to->options || to->file.replaces) {
        error_setg(errp, "Block format '%s' used by node '%s' does not support reopening files",
                   bs->drv->name, bs->node_name);
        return false;
    }
    return true;
}

int co_fn filter_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    return bdrv_co_preadv(bs->file, offset, bytes, qiov);
}

int co_fn filter_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                         unsigned flags)
{
    int ret = bdrv_co_pwritev(bs->file, offset, bytes, qiov, flags);

    filter_note_length(bs);
    return ret;
}

int co_fn filter_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                               unsigned flags)
{
    int ret = bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);

    filter_note_length(bs);
    return ret;
}

int co_fn filter_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return bdrv_co_pdiscard(bs->file, offset, bytes);
}

int co_fn filter_status_of(BdrvLink *link, int64_t offset, int64_t bytes, int64_t *ret_bytes)
{
    int ret = bdrv_co_block_status(link, offset, bytes, 0, ret_bytes, NULL);

    return ret < 0 ? ret : (ret & BDRV_BLOCK_DATA ? BDRV_STATUS_DATA : 0) |
                           (ret & BDRV_BLOCK_ZERO ? BDRV_STATUS_ZERO : 0);
}

int co_fn filter_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                              int64_t *ret_bytes)
{
    return filter_status_of(bs->file, offset, bytes, ret_bytes);
}

int co_fn filter_extend(BlockDriverState *bs, int64_t length)
{
    int ret = bdrv_co_extend(bs->file, length);

    filter_note_length(bs);
    return ret;
}

bool co_fn filter_truncate(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                           Error **errp)
{
    return bdrv_co_truncate(bs->file, length, prealloc, errp);
}

int64_t co_fn filter_getlength(BlockDriverState *bs)
{
    return bdrv_co_getlength(bs->file);
}
