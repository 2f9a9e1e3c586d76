/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flushing a node and what stores it; skipped where nothing changed. */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"
#include "qemu/log.h"

static bool is_dirty(const BlockDriverState *bs)
{
    return __atomic_load_n(&bs->flushed_gen, __ATOMIC_SEQ_CST) <
           __atomic_load_n(&bs->write_gen, __ATOMIC_SEQ_CST);
}

/* Somebody may have written there before @bs came, or beside it. */
static bool stores_are_dirty(const BlockDriverState *bs)
{
    const BdrvLink *child;

    BDRV_FOREACH_CHILD(bs, child) {
        const BlockDriverState *store = child->bs;
        if (child->role->stores && !store->read_only &&
            (is_dirty(store) || stores_are_dirty(store))) {
            return true;
        }
    }
    return false;
}

static int co_fn flush_stores(BlockDriverState *bs, unsigned flags)
{
    BdrvLink *child;
    int ret = 0;

    BDRV_FOREACH_CHILD(bs, child) {
        if (ret == 0 && child->role->stores) {
            ret = bdrv_co_flush(child, flags);
        }
    }
    return ret;
}

/* What has a say in whether @bs is settled: it, or what it passes everything to. */
static const BlockDriverState *who_settles(const BlockDriverState *bs)
{
    while (!bs->drv->settles && bs->file && (bs->drv->is_filter || bs->drv->shows_file)) {
        bs = bs->file->bs;
    }
    return bs;
}

/* Formats flush their files by themselves and know nothing of settling what lies below. */
static bool is_to_be_settled(const BlockDriverState *bs)
{
    return who_settles(bs)->drv->settles;
}

/* A format with metadata of its own may have something left to settle. */
static bool may_settle(const BlockDriverState *bs)
{
    bs = who_settles(bs);
    return bs->drv->settles || bs->file;
}

static int co_fn settle_stores(BlockDriverState *bs)
{
    BdrvLink *child;
    int ret = 0;

    BDRV_FOREACH_CHILD(bs, child) {
        if (ret == 0 && child->role->stores && is_to_be_settled(child->bs)) {
            ret = bdrv_co_flush(child, BDRV_FLUSH_SETTLE);
        }
    }
    return ret;
}

int co_fn bdrv_flush_node(BlockDriverState *bs, unsigned flags)
{
    int ret = 0;

    if (bs->read_only) {
        return 0;
    }
    bool settle = flags & BDRV_FLUSH_SETTLE && may_settle(bs);
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
        if (ret == 0 && settle && bs->drv->co_flush) {
            ret = settle_stores(bs);
        }
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

static unsigned lossy_closes;       /* atomic */

unsigned any_fn bdrv_lossy_closes(void)
{
    return __atomic_load_n(&lossy_closes, __ATOMIC_RELAXED);
}

void co_main_fn bdrv_flush_before_close(BlockDriverState *bs)
{
    /* Others may go on writing to what stores a node that has no bitmaps to store itself. */
    unsigned flags = BDRV_FLUSH_SETTLE | (bs->drv->can_store_bitmap ? BDRV_FLUSH_BITMAPS : 0);
    int ret = bs->read_only ? 0 : bdrv_flush_node(bs, flags);

    if (ret < 0) {
        log_line("cannot flush node '%s' (%s) on close: %s", bs->node_name, bs->filename,
                 g_strerror(-ret));
        __atomic_fetch_add(&lossy_closes, 1, __ATOMIC_RELAXED);
    }
}
