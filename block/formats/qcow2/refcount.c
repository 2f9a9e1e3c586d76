/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host clusters: reserving and giving back, through the cached refcount blocks.
 *
 * (R1) A cluster is handed out only if its refcount in memory is 0, and has a refcount of 1 when
 *      it is.
 * (R2) A refcount in memory goes down only when nothing on disk and nothing in memory refers to the
 *      cluster any more (qcow2_free_now); so what (R1) hands out is free on disk, too.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/* Returned by the searches below. */
#define NOT_FOUND 1

/* ---- finding a refcount ---- */

static unsigned page_refcount_bits(const Qcow2Geometry *g)
{
    return __builtin_ctz(g->page_size) + 3 - g->refcount_order;
}

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
    unsigned bits = page_refcount_bits(g);
    *ret_number = in_block & ((UINT64_C(1) << bits) - 1);
    return qcow2_page_try(bs, w, QCOW2_PAGE_REFBLOCK,
                           offset + (in_block >> bits) * g->page_size, ret);
}

/* ---- allocating ---- */

/* Number of the first free cluster in @page from number @from on, or of all in a page. */
static size_t find_free(const Qcow2Geometry *g, const Qcow2Page *page, size_t from)
{
    size_t n = (size_t)1 << page_refcount_bits(g);

    while (from < n && qcow2_refcount_load(page->buf, g->refcount_order, from) != 0) {
        from++;
    }
    return from;
}

/* Take up to @want clusters from number @number of @page on, which is that of cluster @index. */
static int take(BlockDriverState *bs, Qcow2Page *page, size_t number, uint64_t index, uint64_t want,
                HostOffset *ret_offset, uint64_t *ret_clusters, bool *ret_zero)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    size_t limit = MIN((size_t)1 << page_refcount_bits(g), number + want), end = number;
    uint64_t first = index << g->cluster_bits;

    if (index >= QCOW2_MAX_HOST_OFFSET >> g->cluster_bits) {
        return -ENOSPC;
    }
    while (end < limit && qcow2_refcount_load(page->buf, g->refcount_order, end) == 0) {
        end++;
    }
    uint64_t n = end - number;
    /* Refcounts that are wrong: writing there would do damage. */
    int ret = qcow2_overlap_check(bs, 0, host_offset(first), n << g->cluster_bits, "a new cluster");
    if (ret < 0) {
        return ret;
    }
    qcow2_cache_touch(&s->cache, page);
    for (size_t i = number; i < end; i++) {
        qcow2_refcount_store(page->buf, g->refcount_order, i, 1);
    }
    *ret_offset = host_offset(first);
    *ret_clusters = n;
    *ret_zero = first >= s->fresh_from;
    s->fresh_from = MAX(s->fresh_from, first + (n << g->cluster_bits));
    s->tail_cursor = MAX(s->tail_cursor, index + n);
    return 0;
}

/*
 * Look for a hole in one page of refcounts, then leave it to the next allocation to look further:
 * in a large old image the search must not hold up the first write.
 */
static int co_fn search_hole(BlockDriverState *bs, Qcow2Walk *w, uint64_t want,
                             HostOffset *ret_offset, uint64_t *ret_clusters, bool *ret_zero)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    uint64_t index = s->hole_cursor;
    Qcow2Page *page;
    size_t number;
    int r = qcow2_refcount_try(bs, w, index, &page, &number);

    if (r < 0) {
        return r;
    }
    if (!page) {
        s->hole_cursor = ((index >> g->refblock_bits) + 1) << g->refblock_bits;
        return NOT_FOUND;
    }
    size_t free = find_free(g, page, number);
    index += free - number;
    s->hole_cursor = index;
    if (free == (size_t)1 << page_refcount_bits(g) || index >= s->tail_cursor) {
        return NOT_FOUND;
    }
    r = take(bs, page, free, index, want, ret_offset, ret_clusters, ret_zero);
    if (r == 0) {
        s->hole_cursor = index + *ret_clusters;
    }
    return r;
}

static int co_fn alloc_at_tail(BlockDriverState *bs, Qcow2Walk *w, uint64_t want,
                               HostOffset *ret_offset, uint64_t *ret_clusters, bool *ret_zero)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;

    if (!s->tail_known) {
        qcow2_unlock(s);
        int r = qcow2_find_tail(bs);
        qcow2_lock(s);
        return r < 0 ? r : -EAGAIN;
    }
    for (;;) {
        uint64_t index = s->tail_cursor;
        bool no_holes = s->hole_cursor >= index;
        Qcow2Page *page;
        size_t number;
        int r = qcow2_refcount_try(bs, w, index, &page, &number);

        if (r < 0) {
            return r;
        }
        if (!page) {
            qcow2_unlock(s);
            r = qcow2_refblock_make(bs, index);
            qcow2_lock(s);
            return r < 0 ? r : -EAGAIN;
        }
        size_t free = find_free(g, page, number);
        index += free - number;
        if (free == (size_t)1 << page_refcount_bits(g)) {
            s->tail_cursor = index;
        } else {
            r = take(bs, page, free, index, want, ret_offset, ret_clusters, ret_zero);
        }
        if (no_holes) {
            s->hole_cursor = s->tail_cursor;
        }
        if (s->tail_cursor != index || r < 0) {
            return r;
        }
    }
}

int co_fn qcow2_alloc_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t want,
                           HostOffset *ret_offset, uint64_t *ret_clusters, bool *ret_zero)
{
    Qcow2State *s = qcow2_state(bs);

    if (s->tail_known && s->hole_cursor < s->tail_cursor) {
        int r = search_hole(bs, w, want, ret_offset, ret_clusters, ret_zero);
        if (r != NOT_FOUND) {
            return r;
        }
    }
    return alloc_at_tail(bs, w, want, ret_offset, ret_clusters, ret_zero);
}

int co_fn qcow2_alloc_contiguous(BlockDriverState *bs, uint64_t want, HostOffset *ret_offset,
                                 bool *ret_zero)
{
    Qcow2State *s = qcow2_state(bs);
    HostOffset start = host_offset(0), offset;
    uint64_t have = 0, n;
    bool all_zero = true;
    int ret = 0;

    while (have < want && ret == 0) {
        bool zero;

        bdrv_debug_event(bs->file, "cluster_alloc");
        ret = QCOW2_WALK(s, w, want == 1
                         ? qcow2_alloc_try(bs, &w, 1, &offset, &n, &zero)
                         : alloc_at_tail(bs, &w, want - have, &offset, &n, &zero));
        if (ret < 0) {
            break;
        }
        if (have && offset.v != start.v + (have << s->g.cluster_bits)) {
            qcow2_free_now(bs, start, have);
            have = 0;
        }
        if (have == 0) {
            start = offset;
            all_zero = true;
        }
        have += n;
        all_zero = all_zero && zero;
    }
    if (ret < 0 && have) {
        qcow2_free_now(bs, start, have);
    }
    *ret_offset = start;
    *ret_zero = all_zero;
    return ret;
}

/* ---- freeing ---- */

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
    uint64_t n = MIN(clusters, ((uint64_t)1 << page_refcount_bits(g)) - number);
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
            qcow2_pack_forget(s, index + i);
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
        int r = QCOW2_WALK(s, w, drop_in_page(bs, &w, index, clusters, &done));

        ret = ret ?: r;
        index += done;
        clusters -= done;
    }
    return ret;
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
