/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When metadata is written: at a flush, when too much of it is dirty, and when there is no
 * memory for more. */
#include "qemu/osdep.h"

#include "block/qcow2.h"
#include "qcow2.h"

/* Unlinked ranges, and bytes in them, that may wait before a writeback is due. */
#define MAX_FREES 1024
#define MAX_FREE_BYTES (32 * MiB)
/* Dirty pages that make the next writer start a writeback; twice that, and everybody waits for
 * it. */
#define SOFT_DIRTY_DIVISOR 4

/* ---- writing back ---- */

static int co_fn write_and_free(BlockDriverState *bs, Qcow2WritebackMode mode)
{
    int ret = qcow2_write_dirty(bs, mode);

    qcow2_free_unlinked(bs);
    return ret;
}

int co_fn qcow2_writeback(BlockDriverState *bs)
{
    return write_and_free(bs, QCOW2_WRITEBACK_ROOM);
}

int co_fn qcow2_walk_make_room(BlockDriverState *bs, Qcow2Walk *w)
{
    Qcow2State *s = qcow2_state(bs);

    w->full = false;
    qcow2_unlock(s);
    int ret = qcow2_writeback(bs);
    qcow2_lock(s);
    return ret;
}

void co_fn qcow2_co_reclaim(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_lock(s);
    bool waiting = s->frees->len > 0;
    qcow2_unlock(s);
    if (waiting || __atomic_load_n(&s->writeback_running, __ATOMIC_RELAXED)) {
        qcow2_writeback(bs);
    } else {
        qcow2_free_unlinked(bs);    /* or somebody is about to */
    }
    qcow2_lock(s);
    s->scarce = true;
    qcow2_unlock(s);
    qcow2_end(bs, 0);
}

static size_t soft_limit(Qcow2State *s)
{
    size_t pages = MIN(s->cache.max_pages, qcow2_cache_global_budget() / s->g.page_size);

    return MAX(pages / SOFT_DIRTY_DIVISOR, 8);
}

int co_fn qcow2_writeback_throttle(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_lock(s);
    size_t dirty = s->cache.n_dirty, soft = soft_limit(s);
    bool frees = s->frees->len > MAX_FREES ||
                 s->free_clusters > MAX_FREE_BYTES >> s->g.cluster_bits;
    qcow2_unlock(s);
    if (dirty <= soft && !frees) {
        return 0;
    }
    bool running = __atomic_load_n(&s->writeback_running, __ATOMIC_RELAXED);
    if (running && dirty <= 2 * soft && !frees) {
        return 0;
    }
    return qcow2_writeback(bs);
}

int co_fn qcow2_prepare_reserve(BlockDriverState *bs)
{
    int r = qcow2_prepare_change(bs);

    return r < 0 ? r : qcow2_writeback_throttle(bs);
}

/* ---- flush ---- */

static bool anything_dirty(Qcow2State *s)
{
    qcow2_lock(s);
    bool dirty = s->cache.n_dirty || s->frees->len || s->unlinked->len;
    qcow2_unlock(s);
    return dirty;
}

/* The end of the last cluster in use, bytes, if the file does not reach as far; else 0. */
static int64_t missing_end(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_lock(s);
    int64_t end = s->tail_known ? s->tail_cursor << s->g.cluster_bits : 0;
    qcow2_unlock(s);
    return end > bdrv_length(bs->file->bs) ? end : 0;
}

/* Clusters at the end that were not written whole read as zeroes; make the file's length say so,
 * too. Where the file may not be that long nothing is lost: reads behind its end give zeroes. */
static int co_fn extend_file(BlockDriverState *bs)
{
    int64_t end = missing_end(bs);

    return end && bdrv_co_extend(bs->file, end) == 0 ? bdrv_co_flush(bs->file, 0) : 0;
}

int co_main_fn qcow2_set_file_end(BlockDriverState *bs)
{
    int64_t end = bs->read_only ? 0 : missing_end(bs);

    return end && bdrv_co_truncate(bs->file, end, BDRV_PREALLOC_OFF, NULL)
           ? bdrv_co_flush(bs->file, 0) : 0;
}

int co_fn qcow2_co_flush(BlockDriverState *bs, unsigned flags)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2WritebackMode mode = flags & BDRV_FLUSH_SETTLE ? QCOW2_WRITEBACK_SETTLE
                                                        : QCOW2_WRITEBACK_FLUSH;
    int ret = write_and_free(bs, mode);

    if (ret == 0 && flags & BDRV_FLUSH_BITMAPS) {
        context_assert_main();
        ret = qcow2_bitmaps_store(bs);
    }
    if (!(flags & BDRV_FLUSH_SETTLE) || ret < 0) {
        return qcow2_end(bs, ret);
    }
    /* Frees make refcounts dirty, which need another round; more only if guests go on writing. */
    for (int i = 0; i < 8 && ret == 0 && anything_dirty(s); i++) {
        ret = write_and_free(bs, mode);
    }
    return qcow2_end(bs, ret < 0 ? ret : extend_file(bs));
}
