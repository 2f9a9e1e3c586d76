/* SPDX-License-Identifier: GPL-2.0-or-later */
/* compress: a filter whose writes its file stores compressed. */
#include "qemu/osdep.h"

#include "block/claims.h"

static bool main_fn can_compress(const BlockDriverState *below, Error **errp)
{
    if (!below->limits.compress_unit) {
        if (below->data_file) {
            error_setg(errp, "Compression is not supported for node '%s': its data is in an "
                       "external data file", below->node_name);
        } else {
            error_setg(errp, "Compression is not supported for underlying format: %s",
                       below->drv->name);
        }
        return false;
    }
    return true;
}

static bool co_main_fn compress_open(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                     Error **errp)
{
    BlockDriverState *below = bs->file->bs;

    if (!can_compress(below, errp)) {
        return false;
    }
    bs->length = bdrv_length(below);
    bs->limits.compress_unit = below->limits.compress_unit;
    return true;
}

static bool co_main_fn compress_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to,
                                               Error **errp)
{
    return !to->file.replaces || can_compress(to->file.bs, errp);
}

/* A pivot may have put something below that cannot hold compressed data: then it is not. */
static int co_fn compress_map(BlockDriverState *bs, int64_t offset, int64_t bytes,
                              BdrvExtent *ret_extent)
{
    *ret_extent = (BdrvExtent){
        .kind = BDRV_EXTENT_DATA, .bytes = bytes, .link = bs->file, .host_offset = offset,
        .writable = true,
        .write_flags = bs->file->bs->limits.compress_unit ? BDRV_REQ_WRITE_COMPRESSED : 0,
    };
    return 0;
}

static bool co_fn compress_truncate(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                                    Error **errp)
{
    return bdrv_co_truncate(bs->file, length, prealloc, errp);
}

static const BlockDriver bdrv_compress = {
    .name           = "compress",
    .is_filter      = true,
    .co_open        = compress_open,
    .co_reopen_prepare = compress_reopen_prepare,
    .co_map         = compress_map,
    .co_truncate    = compress_truncate,
    .child_claims   = bdrv_filter_child_claims,
};

static void compress_init(void)
{
    bdrv_register(&bdrv_compress);
}

block_init(compress_init);
