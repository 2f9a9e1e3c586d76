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
        return qcow2_note_damage(bs, 0, 0, "refcount block %" PRIu64 " has the offset %" PRIu64,
                                 block, offset);
    }
    unsigned bits = qcow2_page_refcount_bits(g);
    *ret_number = in_block & ((UINT64_C(1) << bits) - 1);
    return qcow2_page_try(bs, w, QCOW2_PAGE_REFBLOCK,
                           offset + (in_block >> bits) * g->page_size, ret);
}

/* ---- freeing ---- */

/* The last reference to cluster @index went: nothing more may be packed into it (Z1,
 * allocator.c). */
static void pack_forget(Qcow2State *s, uint64_t index)
{
    if (s->pack_at >> s->g.cluster_bits == index) {
        s->pack_at = 0;
    }
}

typedef struct Drop {
    uint64_t index, clusters;       /* what is left to be dropped */
    bool discard;                   /* give back to the file system what nobody else has ... */
    uint64_t punch;                 /* ... out: so many clusters at @index, before dropping them */
    int ret;                        /* the first error, which is no reason to stop */
} Drop;

/* Clusters from @index on, number @number to @limit of @page, that have one reference and no
 * metadata in them. */
static uint64_t count_to_punch(Qcow2State *s, uint64_t index, Qcow2Page *page, size_t number,
                               size_t limit)
{
    const Qcow2Geometry *g = &s->g;
    uint64_t n = 0;

    while (number + n < limit &&
           qcow2_refcount_load(page->buf, g->refcount_order, number + n) == 1 &&
           !qcow2_overlaps(s, 0, host_offset((index + n) << g->cluster_bits), g->cluster_size)) {
        pack_forget(s, index + n);
        n++;
    }
    return n;
}

/*
 * One cluster of @page, number @number in there. False: it and others behind it are the last
 * reference's and go to the file system first; meanwhile nobody takes them, as their refcount is
 * not 0.
 */
static bool drop_one(BlockDriverState *bs, Drop *d, Qcow2Page *page, size_t number, size_t limit)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    uint64_t count = qcow2_refcount_load(page->buf, g->refcount_order, number);

    if (count == 0) {
        d->ret = qcow2_note_damage(bs, d->index << g->cluster_bits, g->cluster_size,
                                   "a cluster was in use with a refcount of 0");
        return true;
    }
    if (count == 1) {
        pack_forget(s, d->index);
    }
    if (count == 1 && d->discard) {
        /* In a damaged image it may be a table: that keeps its refcount, too. */
        d->ret = qcow2_overlap_check(bs, 0, host_offset(d->index << g->cluster_bits),
                                     g->cluster_size, "a discard") ?: d->ret;
        d->punch = count_to_punch(s, d->index, page, number, limit);
        return d->punch == 0;
    }
    qcow2_refcount_store(page->buf, g->refcount_order, number, count - 1);
    if (count == 1) {
        s->hole_cursor = MIN(s->hole_cursor, d->index);
    }
    return true;
}

/* Drop a reference of the clusters that are in the same page as the first one. */
static int co_fn drop_in_page(BlockDriverState *bs, Qcow2Walk *w, Drop *d)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    Qcow2Page *page;
    size_t number;
    int r = qcow2_refcount_try(bs, w, d->index, &page, &number);

    if (r == 0 && page) {
        r = qcow2_page_change_try(bs, w, page);
    }
    if (r < 0) {
        return r;
    }
    if (!page) {
        return qcow2_note_damage(bs, d->index << g->cluster_bits, g->cluster_size,
                                 "a cluster was in use that no refcount block covers");
    }
    size_t limit = MIN((uint64_t)1 << qcow2_page_refcount_bits(g), number + d->clusters);
    qcow2_cache_touch(&s->cache, page);
    for (; number < limit && drop_one(bs, d, page, number, limit); number++) {
        d->index++;
        d->clusters--;
    }
    return 0;
}

int co_fn qcow2_drop_references(BlockDriverState *bs, HostOffset offset, uint64_t clusters,
                                bool discard)
{
    Qcow2State *s = qcow2_state(bs);
    Drop d = { offset.v >> s->g.cluster_bits, clusters, discard };

    bdrv_debug_event(bs->file, "cluster_free");
    while (d.clusters) {
        d.punch = 0;
        qcow2_lock(s);
        int r = QCOW2_WALK_INNER(s, w, drop_in_page(bs, &w, &d));
        qcow2_unlock(s);
        if (r < 0) {                /* go on with the next cluster */
            d.ret = d.ret ?: r;
            d.index++;
            d.clusters--;
        } else if (d.punch) {
            HostOffset first = host_offset(d.index << s->g.cluster_bits);

            bdrv_co_pdiscard(bs->file, first.v, d.punch << s->g.cluster_bits);      /* advisory */
            r = qcow2_drop_references(bs, first, d.punch, false);
            d.ret = d.ret ?: r;
            d.index += d.punch;
            d.clusters -= d.punch;
        }
    }
    return d.ret;
}

int co_fn qcow2_free_now(BlockDriverState *bs, HostOffset offset, uint64_t clusters)
{
    return qcow2_drop_references(bs, offset, clusters, false);
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
        const Qcow2Free *f = &g_array_index(list, Qcow2Free, i);

        qcow2_drop_references(bs, f->offset, f->clusters, f->discard);    /* what fails is a leak */
    }
    g_array_unref(list);
    co_mutex_unlock(&s->free_lock);
}

void any_fn qcow2_free_later(Qcow2State *s, HostOffset offset, uint64_t clusters, bool discard)
{
    s->free_clusters += clusters;
    if (s->frees->len == 0) {
        aio_bh_schedule(&s->free_bh);
    }
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
        qcow2_compressed_clusters(&s->g, e->desc, &first, &clusters);
        qcow2_free_later(s, first, clusters, discard);
    } else if (e->has_host && !s->g.has_data_file) {
        qcow2_free_later(s, host_offset(e->host), 1, discard);
    }
}
