/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the length of a node, and asking its driver for it. */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"

int64_t co_fn bdrv_co_getlength(BdrvLink *link)
{
    BlockDriverState *bs = link->bs;

    if (!bs->drv->co_getlength) {
        return bdrv_length(bs);
    }
    int64_t length = bs->drv->co_getlength(bs);
    if (length > BDRV_MAX_LENGTH) {
        return -EFBIG;
    }
    if (length >= 0) {
        if (length > bdrv_length(bs)) {
            bdrv_trackers_resized(bs, length);
        }
        __atomic_store_n(&bs->length, length, __ATOMIC_RELAXED);
    }
    return length;
}

bool co_fn bdrv_co_truncate(BdrvLink *link, int64_t length, int prealloc, Error **errp)
{
    BlockDriverState *bs = link->bs;
    BdrvRange range;

    if (bs->read_only) {
        error_setg(errp, "Cannot resize node '%s': it is read-only", bs->node_name);
        return false;
    }
    if (!bs->drv->co_truncate) {
        error_setg(errp, "Image format driver '%s' does not support resize", bs->drv->name);
        return false;
    }
    if (length < 0 || length > BDRV_MAX_LENGTH) {
        error_setg(errp, "Cannot resize node '%s' to %" PRId64 " bytes", bs->node_name, length);
        return false;
    }
    if (!bdrv_trackers_reserve(bs, length, errp)) {
        return false;
    }
    bdrv_range_lock(bs->ranges, &range, 0, INT64_MAX, true);
    int64_t old = bdrv_length(bs);
    uint64_t longer = MAX((uint64_t)old, (uint64_t)length);
    __atomic_store_n(&bs->resize_end, ROUND_UP(longer, MAX(bs->limits.alloc_unit, 1)),
                     __ATOMIC_RELAXED);
    bool ok = bs->drv->co_truncate(bs, length, prealloc, errp);
    __atomic_store_n(&bs->resize_end, 0, __ATOMIC_RELAXED);
    if (ok) {
        bdrv_trackers_resized(bs, length);
        __atomic_store_n(&bs->length, length, __ATOMIC_RELAXED);
    }
    bdrv_range_unlock(bs->ranges, &range);
    if (!ok || length != old || prealloc != BDRV_PREALLOC_OFF) {
        bdrv_mark_changed(bs, 0, 0);
    }
    return ok;
}

int co_fn bdrv_co_extend(BdrvLink *link, int64_t length)
{
    BlockDriverState *bs = link->bs;

    if (bs->read_only) {
        return -EPERM;
    }
    int ret = length > bdrv_length(bs) ? bdrv_drv_extend(bs, length) : 0;
    bdrv_mark_changed(bs, 0, 0);
    return ret;
}
