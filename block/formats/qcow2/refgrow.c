/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room for refcounts: new refcount blocks, larger refcount tables, and where the image ends.
 *
 * (G1) A new block describes itself: it is the first cluster of the range that it covers, which is
 *      free, since a range without a block has refcounts of 0 only.  So making one needs no
 *      allocation.
 * (G2) A larger table lies, together with the blocks for itself, in a range that no block covered
 *      before.  It is complete and durable before the header points to it, and the old table is
 *      given back after that is durable, too.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/* ---- a larger table ---- */

typedef struct Growth {
    uint64_t first_block;           /* index of the first new block */
    uint64_t blocks;                /* new blocks, at the start of the area */
    uint64_t table_clusters;        /* the new table, behind them */
    HostOffset area;
} Growth;

/* How much is needed so that the new area describes itself. */
static int growth_plan(Qcow2State *s, uint64_t first_block, Growth *ret)
{
    const Qcow2Geometry *g = &s->g;
    uint64_t per_cluster = g->cluster_size / 8;
    uint64_t entries = MAX(s->reftable_entries + s->reftable_entries / 2, first_block + 2);
    uint64_t area_index = first_block << g->refblock_bits;

    *ret = (Growth){
        .first_block = first_block,
        .blocks = 1,
        .table_clusters = DIV_ROUND_UP(entries, per_cluster),
        .area = host_offset(area_index << g->cluster_bits),
    };
    /* One more block makes room for a thousand clusters: this settles after a few rounds. */
    for (;;) {
        uint64_t clusters = ret->blocks + ret->table_clusters;
        uint64_t blocks = DIV_ROUND_UP(clusters, UINT64_C(1) << g->refblock_bits);
        uint64_t table = DIV_ROUND_UP(first_block + blocks, per_cluster);

        if (blocks <= ret->blocks && table <= ret->table_clusters) {
            break;
        }
        ret->blocks = MAX(ret->blocks, blocks);
        ret->table_clusters = MAX(ret->table_clusters, table);
    }
    uint64_t end = area_index + ret->blocks + ret->table_clusters;
    if (ret->table_clusters > QCOW2_MAX_REFTABLE_BYTES >> g->cluster_bits ||
        end > QCOW2_MAX_HOST_OFFSET >> g->cluster_bits) {
        return -ENOSPC;
    }
    return 0;
}

/* Write the blocks: everything in the area has a refcount of 1. */
static int co_fn growth_write_blocks(BlockDriverState *bs, const Growth *grow)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    uint64_t per_block = UINT64_C(1) << g->refblock_bits;
    uint64_t used = grow->blocks + grow->table_clusters;
    uint8_t *buf = bdrv_try_blockalign(g->cluster_size);
    int ret = 0;

    if (!buf) {
        return -ENOMEM;
    }
    for (uint64_t b = 0; b < grow->blocks && ret == 0; b++) {
        memset(buf, 0, g->cluster_size);
        for (uint64_t i = 0; i < per_block && b * per_block + i < used; i++) {
            qcow2_refcount_store(buf, g->refcount_order, i, 1);
        }
        bdrv_debug_event(bs->file, "refblock_alloc_write_blocks");
        ret = qcow2_write_table(bs, host_add(grow->area, b << g->cluster_bits), buf,
                                g->cluster_size);
    }
    free(buf);
    return ret;
}

/* Write the table: what the old one has, and the new blocks. */
static int co_fn growth_write_table(BlockDriverState *bs, const Growth *grow)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    uint64_t bytes = grow->table_clusters << g->cluster_bits;
    uint8_t *buf = bdrv_try_blockalign(bytes);

    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, bytes);
    int ret = qcow2_read_table(bs, s->reftable_offset, buf, s->reftable_entries * UINT64_C(8));
    if (ret == 0) {
        for (uint64_t b = 0; b < grow->blocks; b++) {
            be64_store(buf + (grow->first_block + b) * 8,
                       grow->area.v + (b << g->cluster_bits));
        }
        bdrv_debug_event(bs->file, "refblock_alloc_write_table");
        ret = qcow2_write_table(bs, host_add(grow->area, grow->blocks << g->cluster_bits), buf,
                                bytes);
    }
    free(buf);
    return ret;
}

/* Use the new table, on disk and here. */
static int co_fn growth_switch(BlockDriverState *bs, const Growth *grow)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    HostOffset table = host_add(grow->area, grow->blocks << g->cluster_bits);
    HostOffset old = s->reftable_offset;
    uint64_t old_bytes = s->reftable_entries * UINT64_C(8);
    uint64_t end = (grow->area.v >> g->cluster_bits) + grow->blocks + grow->table_clusters;

    bdrv_debug_event(bs->file, "refblock_alloc_switch_table");
    int ret = qcow2_header_set_reftable(bs, table, grow->table_clusters);
    if (ret < 0) {
        return ret;
    }
    qcow2_lock(s);
    qcow2_cache_forget(&s->cache, old.v, old_bytes);
    qcow2_cache_forget(&s->cache, grow->area.v,
                       (grow->blocks + grow->table_clusters) << g->cluster_bits);
    for (uint64_t b = 0; b < grow->blocks; b++) {
        qcow2_overlap_add(s, QCOW2_OL_REFBLOCK, host_add(grow->area, b << g->cluster_bits));
    }
    qcow2_space_note(s, grow->area, grow->blocks + grow->table_clusters);
    s->reftable_offset = table;
    s->reftable_entries = grow->table_clusters << (g->cluster_bits - 3);
    s->tail_cursor = MAX(s->tail_cursor, end);
    s->fresh_from = MAX(s->fresh_from, end << g->cluster_bits);
    qcow2_unlock(s);
    /* A failure leaks the old table. */
    qcow2_free_now(bs, old, DIV_ROUND_UP(old_bytes, g->cluster_size));
    return 0;
}

/* Is something in the area, although no refcount says so? */
static bool growth_hits_table(BlockDriverState *bs, const Growth *grow)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t bytes = (grow->blocks + grow->table_clusters) << s->g.cluster_bits;

    qcow2_lock(s);
    bool hits = qcow2_overlaps(s, 0, grow->area, bytes) ||
                qcow2_cache_is_dirty(&s->cache, grow->area.v, bytes);
    if (hits) {
        qcow2_note_damage(bs, grow->area.v, bytes, "a place for refcounts that no refcount block "
                          "covers has metadata in it");
    }
    qcow2_unlock(s);
    return hits;
}

/* A table that has an entry for block @block.  Under refcount_lock. */
static int co_fn grow_table(BlockDriverState *bs, uint64_t block)
{
    Qcow2State *s = qcow2_state(bs);
    Growth grow;
    int ret = growth_plan(s, block, &grow);

    if (ret == 0 && growth_hits_table(bs, &grow)) {
        ret = -EIO;
    }
    if (ret == 0) {
        /* Nothing but this function and new blocks, under the same lock, makes pages of the
         * table dirty: afterwards the disk has what is copied. */
        ret = qcow2_write_dirty(bs, QCOW2_WRITEBACK_ROOM);
    }
    if (ret == 0) {
        ret = growth_write_blocks(bs, &grow);
    }
    if (ret == 0) {
        ret = growth_write_table(bs, &grow);
    }
    if (ret == 0) {
        bdrv_debug_event(bs->file, "flush_to_disk");
        ret = bdrv_co_flush(bs->file, 0);
    }
    return ret == 0 ? growth_switch(bs, &grow) : ret;
}

/* ---- a new block ---- */

static int co_fn table_page_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t block, Qcow2Page **ret)
{
    Qcow2State *s = qcow2_state(bs);
    int r = qcow2_page_try(bs, w, QCOW2_PAGE_REFTABLE,
                           s->reftable_offset.v + ROUND_DOWN(block * 8, s->g.page_size), ret);

    return r < 0 ? r : qcow2_page_change_try(bs, w, *ret);
}

/* The page of the refcount table with the entry of @block, ready to be changed; returns with
 * cache.lock held. */
static int co_fn lock_table_page(BlockDriverState *bs, uint64_t block, Qcow2Page **ret)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_lock(s);
    return QCOW2_WALK_INNER(s, w, table_page_try(bs, &w, block, ret));
}

/* Under refcount_lock; the table has an empty entry for @block. */
static int co_fn make_block(BlockDriverState *bs, uint64_t block)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    uint64_t index = block << g->refblock_bits;
    HostOffset offset = host_offset(index << g->cluster_bits);
    Qcow2Page *table;

    if (index >= QCOW2_MAX_HOST_OFFSET >> g->cluster_bits) {
        return -ENOSPC;
    }
    qcow2_lock(s);
    bool bad = qcow2_overlaps(s, 0, offset, g->cluster_size) ||
               qcow2_cache_is_dirty(&s->cache, offset.v, g->cluster_size);
    if (bad) {
        qcow2_note_damage(bs, offset.v, g->cluster_size, "a place for a refcount block that no "
                          "refcount block covers has metadata in it");
    } else {
        qcow2_cache_forget(&s->cache, offset.v, g->cluster_size);
    }
    qcow2_unlock(s);
    if (bad) {
        return -EIO;
    }
    bdrv_debug_event(bs->file, "refblock_alloc_write");
    int ret = qcow2_space_take(bs, offset, 1);
    if (ret < 0) {
        return ret;
    }
    bdrv_debug_event(bs->file, "refblock_alloc_hookup");
    ret = lock_table_page(bs, block, &table);
    if (ret == 0) {
        qcow2_cache_touch(&s->cache, table);        /* or making room could evict it */
        Qcow2Page *page = qcow2_cache_add(&s->cache, QCOW2_PAGE_REFBLOCK, offset.v, true);
        memset(page->buf, 0, g->page_size);
        page->has_space = true;
        qcow2_cache_loaded(&s->cache, page);
        qcow2_cache_touch(&s->cache, page);
        qcow2_refcount_store(page->buf, g->refcount_order, 0, 1);
        be64_store(table->buf + block * 8 % g->page_size, offset.v);
        qcow2_overlap_add(s, QCOW2_OL_REFBLOCK, offset);
        s->fresh_from = MAX(s->fresh_from, offset.v + g->cluster_size);
        s->tail_cursor = MAX(s->tail_cursor, index + 1);
    }
    qcow2_unlock(s);
    return ret;
}

int co_fn qcow2_refblock_make(BlockDriverState *bs, uint64_t cluster_index)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t block = cluster_index >> s->g.refblock_bits;
    int ret = 0;

    bdrv_debug_event(bs->file, "refblock_alloc");
    co_mutex_lock(&s->refcount_lock);
    if (block >= s->reftable_entries) {
        ret = grow_table(bs, block);
    } else {
        Qcow2Page *table;

        ret = lock_table_page(bs, block, &table);
        /* The low bits are reserved: as everywhere, an entry without an offset is an empty one. */
        bool have = ret == 0 && be64_load(table->buf + block * 8 % s->g.page_size) >> 9;
        qcow2_unlock(s);
        if (ret == 0 && !have) {
            ret = make_block(bs, block);
        }
    }
    co_mutex_unlock(&s->refcount_lock);
    return ret;
}

/* ---- where the image ends ---- */

/* Blocks without any reference that are looked at before giving up. */
#define MAX_EMPTY_BLOCKS 16

/* *@ret_end: one more than the number of the last cluster in use of block @block, or 0. */
static int co_fn last_used(BlockDriverState *bs, uint64_t block, uint64_t offset, uint8_t *buf,
                           uint64_t *ret_end)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    int ret = qcow2_read_table(bs, host_offset(offset), buf, g->cluster_size);

    if (ret < 0) {
        return ret;
    }
    uint64_t n = UINT64_C(1) << g->refblock_bits;
    while (n > 0 && qcow2_refcount_load(buf, g->refcount_order, n - 1) == 0) {
        n--;
    }
    *ret_end = n ? (block << g->refblock_bits) + n : 0;
    return 0;
}

/* Look at the entries of @table, a piece of the refcount table that begins with entry @first,
 * from the end. */
static int co_fn find_end_in(BlockDriverState *bs, const uint8_t *table, uint64_t first,
                             uint64_t n, uint8_t *buf, unsigned *empty, uint64_t *ret_end)
{
    Qcow2State *s = qcow2_state(bs);

    while (n > 0) {
        uint64_t entry = be64_load(table + --n * 8) & ~UINT64_C(511);

        if (!entry) {
            continue;
        }
        if (entry & (s->g.cluster_size - 1) || entry >= QCOW2_MAX_HOST_OFFSET) {
            qcow2_lock(s);
            qcow2_note_damage(bs, 0, 0, "refcount block %" PRIu64 " has the offset %" PRIu64,
                              first + n, entry);
            qcow2_unlock(s);
            return -EIO;
        }
        if (*empty == MAX_EMPTY_BLOCKS) {
            *ret_end = (first + n + 1) << s->g.refblock_bits;
            return 0;
        }
        int ret = last_used(bs, first + n, entry, buf, ret_end);
        if (ret < 0 || *ret_end) {
            return ret;
        }
        (*empty)++;
    }
    return 0;
}

#define PIECE_BYTES (64 * KiB)

int co_fn qcow2_find_tail(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    g_autofree uint8_t *table = g_try_malloc(PIECE_BYTES);
    uint8_t *buf = bdrv_try_blockalign(s->g.cluster_size);
    unsigned empty = 0;
    uint64_t end = 0;
    int ret = table && buf ? 0 : -ENOMEM;

    co_mutex_lock(&s->refcount_lock);
    /* Nothing was allocated yet, and what was freed only makes the disk's counts too high. */
    for (uint64_t left = s->reftable_entries * UINT64_C(8); left && ret == 0 && !end; ) {
        uint64_t start = ROUND_DOWN(left - 1, PIECE_BYTES);

        ret = qcow2_read_table(bs, host_add(s->reftable_offset, start), table, left - start);
        if (ret == 0) {
            ret = find_end_in(bs, table, start / 8, (left - start) / 8, buf, &empty, &end);
        }
        left = start;
    }
    if (ret == 0) {
        qcow2_lock(s);
        if (!s->tail_known) {
            s->tail_known = true;
            s->tail_cursor = MAX(end, 1);
        }
        qcow2_unlock(s);
    }
    co_mutex_unlock(&s->refcount_lock);
    free(buf);
    return ret;
}
