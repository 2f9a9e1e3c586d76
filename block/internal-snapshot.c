/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots, as far as they are the same for every driver that has them.
 *
 * Whatever can be done while requests are under way is (raise); what guests change meanwhile is
 * caught up with, again and again while that is worth it, until little is left for the instant in
 * which nobody writes.
 */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/dirty-bitmap.h"
#include "block/internal-snapshot.h"
#include "block/io/io-internal.h"

/* Tables that are not worth another round, and rounds at most: a guest that writes everywhere has
 * to copy in each round what it writes to. */
#define FEW_TABLES 16
#define MAX_ROUNDS 3

bool any_fn bdrv_can_snapshot(const BlockDriverState *bs)
{
    return bs->drv->co_snapshot_list != NULL;
}

GPtrArray *co_main_fn bdrv_co_snapshot_list(BlockDriverState *bs, Error **errp)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(bdrv_snapshot_free);

    if (bdrv_can_snapshot(bs) && !bs->drv->co_snapshot_list(bs, list, errp)) {
        return NULL;
    }
    return g_steal_pointer(&list);
}

/* ---- a new one ---- */

/* The disk as it is now; returns how many tables raise has to look at. */
static uint64_t co_main_fn freeze(BlockDriverState *bs)
{
    BdrvRange range;

    bdrv_range_lock(bs->ranges, &range, 0, INT64_MAX, true);
    uint64_t n = bs->drv->snapshot_freeze(bs);
    bdrv_range_unlock(bs->ranges, &range);
    return n;
}

int co_main_fn bdrv_co_snapshot_prepare(BlockDriverState *bs, const BdrvSnapshot *sn)
{
    if (!bdrv_can_snapshot(bs)) {
        return -ENOTSUP;
    }
    if (bs->read_only) {
        return -EACCES;
    }
    int ret = bs->drv->co_snapshot_begin(bs, sn);
    if (ret < 0) {
        return ret;
    }
    for (int i = 0; ret == 0 && i < MAX_ROUNDS && (freeze(bs) > FEW_TABLES || i == 0); i++) {
        ret = bs->drv->co_snapshot_raise(bs);
    }
    if (ret < 0) {
        bdrv_co_snapshot_end(bs);
    }
    return ret;
}

int co_main_fn bdrv_co_snapshot_take(BlockDriverState *bs)
{
    BdrvRange range;

    bdrv_range_lock(bs->ranges, &range, 0, INT64_MAX, true);
    bs->drv->snapshot_freeze(bs);
    uint64_t written = __atomic_load_n(&bs->write_gen, __ATOMIC_SEQ_CST);
    uint64_t flushed = __atomic_load_n(&bs->flushed_gen, __ATOMIC_SEQ_CST);
    int ret = bs->drv->co_snapshot_take(bs, written == flushed);
    bdrv_range_unlock(bs->ranges, &range);
    return ret;
}

void co_main_fn bdrv_co_snapshot_end(BlockDriverState *bs)
{
    bs->drv->co_snapshot_end(bs);
    bdrv_mark_unflushed(bs, 0);
}

const char *main_fn bdrv_snapshot_id(BlockDriverState *bs)
{
    return bs->drv->snapshot_id(bs);
}

int co_main_fn bdrv_co_snapshot_create(BlockDriverState *bs, const BdrvSnapshot *sn)
{
    int ret = bdrv_co_snapshot_prepare(bs, sn);

    if (ret == 0) {
        ret = bdrv_co_snapshot_take(bs);
        bdrv_co_snapshot_end(bs);
    }
    return ret;
}

/* ---- going back, deleting ---- */

static bool main_fn can_apply(BlockDriverState *bs, Error **errp)
{
    if (!bdrv_can_snapshot(bs)) {
        error_setg(errp, "Block driver does not support snapshots");
    } else if (bdrv_next_dirty_bitmap(bs, NULL)) {
        error_setg(errp, "Device has active dirty bitmaps");
    } else if (bs->read_only) {
        error_setg(errp, "Device is not writable");
    } else {
        return true;
    }
    return false;
}

bool co_main_fn bdrv_co_snapshot_apply(BdrvLink *link, const char *id, Error **errp)
{
    BlockDriverState *bs = link->bs;
    int64_t length = bdrv_length(bs);
    BdrvRange range;

    if (!can_apply(bs, errp)) {
        return false;
    }
    bdrv_range_lock(bs->ranges, &range, 0, INT64_MAX, true);
    bool ok = bs->drv->co_snapshot_apply(bs, id, &length, errp);
    if (length != bdrv_length(bs)) {
        /* No bitmap is there that would have to be reserved for. */
        bdrv_trackers_resized(bs, length);
        __atomic_store_n(&bs->length, length, __ATOMIC_RELAXED);
    }
    bdrv_range_unlock(bs->ranges, &range);
    bdrv_mark_changed(bs, 0, 0);
    return ok;
}

bool co_main_fn bdrv_co_snapshot_delete(BlockDriverState *bs, const char *id, const char *name,
                                        Error **errp)
{
    g_autoptr(GPtrArray) list = bdrv_co_snapshot_list(bs, errp);

    if (!list) {
        return false;
    }
    const BdrvSnapshot *sn = bdrv_snapshot_find(list, id, name);
    if (!sn) {
        error_setg(errp, "snapshot not found");
        return false;
    }
    if (bs->read_only) {
        error_setg(errp, "Device is not writable");
        return false;
    }
    bool ok = bs->drv->co_snapshot_delete(bs, sn->id, errp);
    bdrv_mark_unflushed(bs, 0);
    return ok;
}
