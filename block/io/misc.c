/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flush, length, truncate, block status, debug events. */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"

int64_t any_fn bdrv_length(const BlockDriverState *bs)
{
    return __atomic_load_n(&bs->length, __ATOMIC_RELAXED);
}

/* ---- flush ---- */

static bool is_dirty(const BlockDriverState *bs)
{
    return __atomic_load_n(&bs->flushed_gen, __ATOMIC_SEQ_CST) <
           __atomic_load_n(&bs->write_gen, __ATOMIC_SEQ_CST);
}

/* Somebody may have written there before @bs came, or beside it. */
static bool stores_are_dirty(const BlockDriverState *bs)
{
    const BdrvLink *stores[] = { bs->file, bs->data_file };

    for (size_t i = 0; i < G_N_ELEMENTS(stores); i++) {
        const BlockDriverState *store = stores[i] ? stores[i]->bs : NULL;
        if (store && !store->read_only && (is_dirty(store) || stores_are_dirty(store))) {
            return true;
        }
    }
    return false;
}

static int co_fn flush_stores(BlockDriverState *bs, unsigned flags)
{
    int ret = bs->file ? bdrv_co_flush(bs->file, flags) : 0;

    if (ret == 0 && bs->data_file) {
        ret = bdrv_co_flush(bs->data_file, flags);
    }
    return ret;
}

int co_fn bdrv_flush_node(BlockDriverState *bs, unsigned flags)
{
    int ret = 0;

    if (bs->read_only) {
        return 0;
    }
    /* Only a format with metadata of its own may have something left to settle; it may lie below. */
    bool settle = flags & BDRV_FLUSH_SETTLE && bs->file;
    bool behind = !is_dirty(bs) && stores_are_dirty(bs);
    if (!settle && !behind && !is_dirty(bs)) {
        return 0;
    }
    /* Whoever waits here for a flush that began after its own call finds its work done. */
    uint64_t needed_gen = __atomic_load_n(&bs->write_gen, __ATOMIC_SEQ_CST);
    co_mutex_lock(&bs->flush_lock);
    if (settle || __atomic_load_n(&bs->flushed_gen, __ATOMIC_SEQ_CST) < needed_gen ||
        (behind && stores_are_dirty(bs))) {
        uint64_t gen = __atomic_load_n(&bs->write_gen, __ATOMIC_SEQ_CST);
        int64_t bytes = __atomic_load_n(&bs->unflushed_bytes, __ATOMIC_RELAXED);
        ret = bs->drv->co_flush ? bdrv_drv_flush(bs, flags) : flush_stores(bs, flags);
        if (ret == 0) {
            __atomic_store_n(&bs->flushed_gen, gen, __ATOMIC_SEQ_CST);
            __atomic_fetch_sub(&bs->unflushed_bytes, bytes, __ATOMIC_RELAXED);
        }
    }
    co_mutex_unlock(&bs->flush_lock);
    return ret;
}

int co_fn bdrv_co_flush(BdrvLink *link, unsigned flags)
{
    return bdrv_flush_node(link->bs, flags);
}

/* ---- length ---- */

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
    bdrv_range_lock(bs->ranges, &range, 0, INT64_MAX, true);
    bool ok = bs->drv->co_truncate(bs, length, prealloc, errp);
    if (ok) {
        __atomic_store_n(&bs->length, length, __ATOMIC_RELAXED);
    }
    bdrv_range_unlock(bs->ranges, &range);
    bdrv_mark_written(bs, 0);
    return ok;
}

int co_fn bdrv_co_extend(BdrvLink *link, int64_t length)
{
    BlockDriverState *bs = link->bs;

    if (bs->read_only) {
        return -EPERM;
    }
    int ret = length > bdrv_length(bs) ? bdrv_drv_extend(bs, length) : 0;
    bdrv_mark_written(bs, 0);
    return ret;
}

/* ---- block status ---- */

/* A format without a map of its own (raw) knows as much as the file it lies in. */
static int co_fn status_below(const BdrvExtent *e, int64_t *ret_bytes)
{
    int64_t n;
    BlockDriverState *bs = e->link->bs;

    if (bdrv_is_mapped(bs)) {
        int status = bdrv_co_block_status(e->link, e->host_offset, e->bytes, 0, ret_bytes, NULL);
        return status < 0 ? status : status | BDRV_BLOCK_ALLOCATED | BDRV_BLOCK_DECIDED;
    }
    if (!bdrv_range_in_node(bs, e->host_offset, e->bytes)) {
        *ret_bytes = e->bytes;
        return BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED | BDRV_BLOCK_DECIDED;
    }
    int ret = bdrv_drv_block_status(bs, e->host_offset, e->bytes, &n);
    if (ret < 0) {
        return ret;
    }
    *ret_bytes = n;
    return BDRV_BLOCK_ALLOCATED | BDRV_BLOCK_DECIDED |
           (ret & BDRV_STATUS_DATA ? BDRV_BLOCK_DATA : 0) |
           (ret & BDRV_STATUS_ZERO ? BDRV_BLOCK_ZERO : 0);
}

static int co_fn status_mapped(BlockDriverState *bs, int64_t offset, int64_t bytes,
                               int max_depth, int64_t *ret_bytes, int *ret_depth)
{
    BlockDriverState *layer;
    BdrvExtent e;
    int depth;
    int ret = bdrv_map_chain(bs, offset, bytes, max_depth, &e, &layer, &depth);

    if (ret < 0) {
        return ret;
    }
    *ret_bytes = e.bytes;
    if (ret_depth) {
        *ret_depth = depth;
    }
    int who = (depth == 0 ? BDRV_BLOCK_ALLOCATED : 0) | (depth >= 0 ? BDRV_BLOCK_DECIDED : 0);
    if (e.kind == BDRV_EXTENT_DATA && !layer->drv->co_map_write) {
        int status = status_below(&e, ret_bytes);
        return status < 0 ? status : (status & (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO)) | who;
    }
    if (e.kind == BDRV_EXTENT_ZERO) {
        return BDRV_BLOCK_ZERO | (e.link ? BDRV_BLOCK_DATA : 0) | who;
    }
    return BDRV_BLOCK_DATA | who;
}

int co_fn bdrv_co_block_status(BdrvLink *link, int64_t offset, int64_t bytes, int max_depth,
                               int64_t *ret_bytes, int *ret_depth)
{
    BlockDriverState *bs = link->bs;

    if (bytes <= 0 || !bdrv_range_in_node(bs, offset, bytes)) {
        return -EIO;
    }
    if (!bdrv_is_mapped(bs)) {
        BdrvExtent e = { .bytes = bytes, .link = link, .host_offset = offset };
        if (ret_depth) {
            *ret_depth = 0;
        }
        return status_below(&e, ret_bytes);
    }
    BdrvRange range;
    bool hold = bdrv_needs_ranges(bs);
    if (hold) {
        bdrv_range_lock(bs->ranges, &range, offset, offset + bytes, false);
    }
    int ret = status_mapped(bs, offset, bytes, max_depth, ret_bytes, ret_depth);
    if (hold) {
        bdrv_range_unlock(bs->ranges, &range);
    }
    return ret;
}

/* ---- debug events ---- */

void co_fn bdrv_debug_event(BdrvLink *link, const char *event)
{
    for (; link; link = link->bs->file) {
        if (link->bs->drv->debug_event) {
            link->bs->drv->debug_event(link->bs, event);
            return;
        }
        if (!link->bs->drv->is_filter) {
            return;
        }
    }
}
