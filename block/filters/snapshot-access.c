/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-access: the disk as it was when the copy-before-write node below was put before it.  Who
 * has read a part can discard it: it need not be kept any longer, and cannot be read again.
 */
#include "qemu/osdep.h"

#include "block/copy-before-write.h"
#include "block/filters/pass.h"

static bool co_main_fn snapshot_access_open(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                            Error **errp)
{
    BlockDriverState *cbw = bs->file->bs;

    if (!bdrv_is_cbw(cbw)) {
        error_setg(errp, "Cannot open a snapshot-access node: its file '%s' keeps no snapshot, it "
                   "is no copy-before-write node", cbw->node_name);
        return false;
    }
    bs->length = bdrv_cbw_length(cbw);
    return true;
}

static int co_fn snapshot_access_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                        IoVec *qiov)
{
    return bdrv_cbw_co_preadv_snapshot(bs->file->bs, offset, bytes, qiov);
}

static int co_fn snapshot_access_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                              int64_t *ret_bytes)
{
    int ret = bdrv_cbw_co_snapshot_status(bs->file->bs, offset, bytes, ret_bytes);

    return ret < 0 ? ret : (ret & BDRV_BLOCK_DATA ? BDRV_STATUS_DATA : 0) |
                           (ret & BDRV_BLOCK_ZERO ? BDRV_STATUS_ZERO : 0);
}

static int co_fn snapshot_access_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                         IoVec *qiov, unsigned flags)
{
    return -ENOTSUP;
}

static int co_fn snapshot_access_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return bdrv_cbw_co_forget(bs->file->bs, offset, bytes, true);
}

static int co_fn snapshot_access_flush(BlockDriverState *bs, unsigned flags)
{
    return 0;
}

/* The snapshot is there whoever writes to the disk. */
static void main_fn snapshot_access_child_claims(BlockDriverState *bs, BdrvLink *link,
                                                 unsigned needs, unsigned allows,
                                                 unsigned *ret_needs, unsigned *ret_allows)
{
    *ret_needs = CLAIM_NONE;
    *ret_allows = CLAIM_ALL;
}

static const BlockDriver bdrv_snapshot_access = {
    .name               = "snapshot-access",
    .is_protocol        = true,
    .has_file           = true,
    .co_open            = snapshot_access_open,
    .co_reopen_prepare  = filter_keeps_file,
    .co_preadv          = snapshot_access_preadv,
    .co_pwritev         = snapshot_access_pwritev,
    .co_pdiscard        = snapshot_access_pdiscard,
    .co_block_status    = snapshot_access_block_status,
    .co_flush           = snapshot_access_flush,
    .child_claims       = snapshot_access_child_claims,
};

static void snapshot_access_init(void)
{
    bdrv_register(&bdrv_snapshot_access);
}

block_init(snapshot_access_init);
