/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Refcounts of host clusters: finding them in the cached refcount blocks, and giving clusters back.
 *
 * (R2) A refcount in memory goes down only when nothing on disk and nothing in memory refers to the
 *      cluster any more (qcow2_free_now); so what (R1, allocator.c) hands out is free on disk, too.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/* ---- finding a refcount ---- */

int co_fn qcow2_refcount_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t cluster_index,
                              Qcow2Page **ret, size_t *ret_number)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    uint64_t block = cluster_index >> g->refblock_bits;
    uint64_t in_block = cluster_index & ((UINT64_C(1) << g->refblock_bits) - 1);
    Qcow2Page *table;

    *ret = NULL;
    if (block >= s->reftable_entries) {
        return 0;
    }
    int r = qcow2_page_try(bs, w, QCOW2_PAGE_REFTABLE,
                            s->reftable_offset.v + ROUND_DOWN(block * 8, g->page_size), &table);
    if (r < 0) {
        return r;
    }
    uint64_t offset = be64_load(table->buf + block * 8 % g->page_size) & ~UINT64_C(511);
    if (offset == 0) {
        return 0;
    }
    if (offset & (g->cluster_size - 1) || offset >= QCOW2_MAX_HOST_OFFSET) {
        return qcow2_note_damage(bs, 0, 0, "refcount block %" PRIu64 " has the offset %" PRIu64, block,
                                 offset);
    }
    unsigned bits = qcow2_page_refcount_bits(g);
    *ret_number = in_block & ((UINT64_C(1) << bits) - 1);
    return qcow2_page_try(bs, w, QCOW2_PAGE_REFBLOCK,
                           offset + (in_block >> bits) * g->page_size, ret);
}

/* ---- freeing ---- */

/* The last reference to cluster @index went: nothing more may be packed into it (Z1, allocator.c). */
static void pack_forget(Qcow2State *s, uint64_t index)
{
    if (s->pack_at >> s->g.cluster_bits == index) {
        s->pack_at = 0;
    }
}

/* Drop a reference of cluster @index and those that follow in the same page, at most @clusters. */
static int co_fn drop_in_page(BlockDriverState *bs, Qcow2Walk *w, uint64_t index,
                              uint64_t clusters, uint64_t *ret_done)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    Qcow2Page *page;
    size_t number;
    int r = qcow2_refcount_try(bs, w, index, &page, &number);

    if (r < 0) {
        return r;
    }
    *ret_done = 1;
    if (!page) {
        return qcow2_note_damage(bs, index << g->cluster_bits, g->cluster_size,
                                 "a cluster was in use that no refcount block covers");
    }
    r = qcow2_page_change_try(bs, w, page);
    if (r < 0) {
        return r;
    }
    uint64_t n = MIN(clusters, ((uint64_t)1 << qcow2_page_refcount_bits(g)) - number);
    qcow2_cache_touch(&s->cache, page);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t count = qcow2_refcount_load(page->buf, g->refcount_order, number + i);
        if (count == 0) {
            r = qcow2_note_damage(bs, (index + i) << g->cluster_bits, g->cluster_size,
                                  "a cluster was in use with a refcount of 0");
            continue;
        }
        qcow2_refcount_store(page->buf, g->refcount_order, number + i, count - 1);
        if (count == 1) {
            s->hole_cursor = MIN(s->hole_cursor, index + i);
            pack_forget(s, index + i);
        }
    }
    *ret_done = n;
    return r;
}

int co_fn qcow2_free_now(BlockDriverState *bs, HostOffset offset, uint64_t clusters)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t index = offset.v >> s->g.cluster_bits;
    int ret = 0;

    bdrv_debug_event(bs->file, "cluster_free");
    while (clusters) {
        uint64_t done = 1;          /* a page that cannot be read: go on with the next cluster */

        qcow2_lock(s);
        int r = QCOW2_WALK_INNER(s, w, drop_in_page(bs, &w, index, clusters, &done));
        qcow2_unlock(s);

        ret = ret ?: r;
        index += done;
        clusters -= done;
    }
    return ret;
}

static void co_fn free_one(BlockDriverState *bs, const Qcow2Free *f)
{
    Qcow2State *s = qcow2_state(bs);

    if (f->discard) {
        /* Not free yet, so nobody else's. Advisory. */
        bdrv_co_pdiscard(bs->file, f->offset.v, f->clusters << s->g.cluster_bits);
    }
    /* What cannot be given back is a leak. */
    qcow2_free_now(bs, f->offset, f->clusters);
}

void co_fn qcow2_free_unlinked(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    co_mutex_lock(&s->free_lock);
    qcow2_lock(s);
    GArray *list = s->unlinked;
    s->unlinked = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    qcow2_unlock(s);
    for (guint i = 0; i < list->len; i++) {
        free_one(bs, &g_array_index(list, Qcow2Free, i));
    }
    g_array_unref(list);
    co_mutex_unlock(&s->free_lock);
}

void any_fn qcow2_free_later(Qcow2State *s, HostOffset offset, uint64_t clusters, bool discard)
{
    if (s->frees->len) {
        Qcow2Free *last = &g_array_index(s->frees, Qcow2Free, s->frees->len - 1);
        if (last->discard == discard &&
            last->offset.v + (last->clusters << s->g.cluster_bits) == offset.v) {
            last->clusters += clusters;
            return;
        }
    }
    Qcow2Free f = { offset, clusters, discard };
    g_array_append_val(s->frees, f);
}

void any_fn qcow2_free_entry_later(Qcow2State *s, const Qcow2Entry *e, bool discard)
{
    HostOffset first;
    uint64_t clusters;

    if (e->compressed) {
        /* Others may use the same cluster: never given back to the file system. */
        qcow2_compressed_clusters(&s->g, e->desc, &first, &clusters);
        qcow2_free_later(s, first, clusters, false);
    } else if (e->has_host && !s->g.has_data_file) {
        qcow2_free_later(s, host_offset(e->host), 1, discard && e->copied);
    }
}
