/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reserving host clusters, whole and (for compressed data) in part.
 *
 * (R1) A cluster is handed out only if its refcount in memory is 0, and has a refcount of 1 when
 *      it is.
 * (Z1) A byte of a host cluster is written at most once between its allocation and its becoming
 *      free: @pack_at only goes up, and is dropped when the last reference goes (refcount.c). So
 *      what a compressed entry on disk points to is never overwritten.
 * (Z2) A reference is added (in memory) before anything is written there, and each is dropped by
 *      the clusters that the entry touches, no more and no less (qcow2_compressed_clusters()).
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/* Returned by the searches below. */
#define NOT_FOUND 1

/* ---- whole clusters ---- */

/* Number of the first free cluster in @page from number @from on, or of all in a page. */
static size_t find_free(const Qcow2Geometry *g, const Qcow2Page *page, size_t from)
{
    size_t n = (size_t)1 << qcow2_page_refcount_bits(g);

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
    size_t limit = MIN((size_t)1 << qcow2_page_refcount_bits(g), number + want), end = number;
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
    if (free == (size_t)1 << qcow2_page_refcount_bits(g) || index >= s->tail_cursor) {
        return NOT_FOUND;
    }
    r = qcow2_page_change_try(bs, w, page);
    if (r == 0) {
        r = take(bs, page, free, index, want, ret_offset, ret_clusters, ret_zero);
    }
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
        if (free == (size_t)1 << qcow2_page_refcount_bits(g)) {
            s->tail_cursor = index;
        } else {
            r = qcow2_page_change_try(bs, w, page);
            if (r < 0) {
                return r;
            }
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
        if (s->scarce) {
            qcow2_unlock(s);
            coroutine_reschedule();         /* others get their turn; the cursor goes on */
            qcow2_lock(s);
            return -EAGAIN;
        }
    }
    s->scarce = false;
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
        qcow2_lock(s);
        ret = QCOW2_WALK_INNER(s, w, want == 1
                               ? qcow2_alloc_try(bs, &w, 1, &offset, &n, &zero)
                               : alloc_at_tail(bs, &w, want - have, &offset, &n, &zero));
        qcow2_unlock(s);
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

/* ---- parts of clusters, for compressed data ---- */

static uint64_t refcount_max(const Qcow2Geometry *g)
{
    return UINT64_MAX >> (64 - (1u << g->refcount_order));
}

/* The refcount of the cluster at s->pack_at, if one more reference fits: *@ret_page is NULL if not,
 * then there is nothing to pack into any more. */
static int co_fn pack_refcount_try(BlockDriverState *bs, Qcow2Walk *w, Qcow2Page **ret_page,
                                    size_t *ret_number)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t count = 0;

    *ret_page = NULL;
    if (s->pack_at == 0) {
        return 0;
    }
    int r = qcow2_refcount_try(bs, w, s->pack_at >> s->g.cluster_bits, ret_page, ret_number);
    if (r < 0) {
        return r;
    }
    if (*ret_page) {
        r = qcow2_page_change_try(bs, w, *ret_page);
        if (r < 0) {
            return r;
        }
        count = qcow2_refcount_load((*ret_page)->buf, s->g.refcount_order, *ret_number);
    }
    if (count == 0 || count == refcount_max(&s->g)) {
        *ret_page = NULL;
        s->pack_at = 0;
    }
    return 0;
}

int co_fn qcow2_pack_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t bytes,
                         uint64_t *ret_offset)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    Qcow2Page *page;
    size_t number;
    int r = pack_refcount_try(bs, w, &page, &number);

    if (r < 0) {
        return r;
    }
    uint64_t at = s->pack_at, end = ROUND_UP(at, g->cluster_size);
    if (!page || end - at < bytes) {
        HostOffset fresh;
        uint64_t n;
        bool zero;

        r = qcow2_alloc_try(bs, w, 1, &fresh, &n, &zero);
        if (r < 0) {
            return r;
        }
        if (!page || fresh.v != end) {
            at = fresh.v;
            page = NULL;
        }
    }
    if (page) {
        qcow2_cache_touch(&s->cache, page);
        uint64_t count = qcow2_refcount_load(page->buf, g->refcount_order, number);
        qcow2_refcount_store(page->buf, g->refcount_order, number, count + 1);
    }
    *ret_offset = at;
    s->pack_at = (at + bytes) & (g->cluster_size - 1) ? at + bytes : 0;
    return 0;
}
