/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room for writes.  co_map_write() reserves, the core fills, co_map_commit() links.
 *
 * (A1) Between the two nothing on disk or in memory refers to new clusters but their refcounts: to
 *      give up is to leak at most.
 * (A2) The core holds the clusters of a request exclusively between the two, so their entries are
 *      the same in commit as they were in map_write.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/* What commit and abort have to know, in BdrvAlloc.opaque. */
typedef enum AllocationKind {
    ALLOCATION_IN_PLACE,                  /* everything is mapped already */
    /* clusters that the entries have, but not (all of) their data */
    ALLOCATION_OWN,
    ALLOCATION_NEW,                       /* clusters reserved for this request */
} AllocationKind;

static void allocation_set(BdrvAlloc *a, AllocationKind kind)
{
    a->opaque = GUINT_TO_POINTER(kind);
}

static AllocationKind allocation_kind(const BdrvAlloc *a)
{
    return GPOINTER_TO_UINT(a->opaque);
}

/* The subclusters of the cluster at @guest that [@start, @end) touches. */
static uint32_t touched(const Qcow2Geometry *g, uint64_t guest, uint64_t start, uint64_t end)
{
    uint64_t from = MAX(start, guest) - guest;
    uint64_t to = MIN(end, guest + g->cluster_size) - guest;
    unsigned first = from >> g->subcluster_bits;
    unsigned last = (to - 1) >> g->subcluster_bits;

    return (UINT32_MAX >> (31 - (last - first))) << first;
}

/* Does @e have a cluster that may be written, even if it holds no data yet? */
static bool has_own_cluster(const Qcow2Entry *e)
{
    return !e->compressed && e->has_host && e->copied;
}

/* Replacing the cluster of @e loses what it has, so all of it must be copied. */
static bool must_copy_whole(const Qcow2Entry *e)
{
    return e->compressed || e->alloc != 0;
}

static bool entry_at(const Qcow2Geometry *g, const Qcow2L2Ref *ref, unsigned i, Qcow2Entry *ret)
{
    return qcow2_entry_decode(g, qcow2_l2_entry(g, ref, i),
                              ref->guest + ((uint64_t)i << g->cluster_bits), ret);
}

/* [@start, @end) of the guest goes to existing clusters, at *@ret. */
static void allocation_own(BlockDriverState *bs, const Qcow2L2Ref *ref, uint64_t start,
                           uint64_t end,
                     BdrvAlloc *ret)
{
    const Qcow2Geometry *g = &qcow2_state(bs)->g;
    uint64_t sub_size = UINT64_C(1) << g->subcluster_bits;
    Qcow2Entry first, e;
    bool mapped = true;
    uint64_t pos = start;

    entry_at(g, ref, 0, &first);
    e = first;
    for (unsigned i = 0; i < ref->count && pos < end; i++) {
        uint64_t guest = ref->guest + ((uint64_t)i << g->cluster_bits);

        if (i > 0 && (!entry_at(g, ref, i, &e) || !has_own_cluster(&e) ||
                      e.host != first.host + ((uint64_t)i << g->cluster_bits))) {
            break;
        }
        uint32_t subs = touched(g, guest, start, end);
        mapped = mapped && (e.alloc & subs) == subs;
        pos = MIN(end, guest + g->cluster_size);
    }
    /* What already has data there is not copied: the request's own bytes are enough. */
    uint64_t from = start, to = pos;
    unsigned sub = (start - ref->guest) >> g->subcluster_bits;
    if (!(first.alloc >> sub & 1)) {
        from = ROUND_DOWN(from, sub_size);
    }
    entry_at(g, ref, ((pos - 1) >> g->cluster_bits) - (ref->guest >> g->cluster_bits), &e);
    sub = ((pos - 1) & (g->cluster_size - 1)) >> g->subcluster_bits;
    if (!(e.alloc >> sub & 1)) {
        to = ROUND_UP(to, sub_size);
    }
    *ret = (BdrvAlloc){
        .offset = from, .bytes = to - from,
        .link = g->has_data_file ? bs->data_file : bs->file,
        .host_offset = first.host + (from - ref->guest),
    };
    allocation_set(ret, mapped ? ALLOCATION_IN_PLACE : ALLOCATION_OWN);
}

/* How many clusters from the first on need new room, at most what [@start, @end) touches. */
static unsigned count_new(const Qcow2Geometry *g, const Qcow2L2Ref *ref, uint64_t end)
{
    uint64_t want = DIV_ROUND_UP(end - ref->guest, g->cluster_size);
    unsigned n = 1;
    Qcow2Entry e;

    while (n < MIN(want, ref->count) && entry_at(g, ref, n, &e) && !has_own_cluster(&e)) {
        n++;
    }
    return n;
}

/* [@start, @end) goes to new clusters. */
static int co_fn allocation_new_try(BlockDriverState *bs, Qcow2Walk *w, const Qcow2L2Ref *ref,
                               uint64_t start, uint64_t end, BdrvAlloc *ret)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    uint64_t sub_size = UINT64_C(1) << g->subcluster_bits;
    uint64_t n = count_new(g, ref, end);
    HostOffset host = host_offset(ref->guest);
    bool zero = false;
    Qcow2Entry first, last;

    /* Before the allocation, which is not undone: the table may be another one after a yield. */
    entry_at(g, ref, 0, &first);
    if (!g->has_data_file) {
        int r = qcow2_alloc_try(bs, w, n, &host, &n, &zero);
        if (r < 0) {
            return r;
        }
    }
    uint64_t limit = ref->guest + (n << g->cluster_bits), to = MIN(end, limit);
    entry_at(g, ref, n - 1, &last);
    uint64_t from = must_copy_whole(&first) ? ref->guest : ROUND_DOWN(start, sub_size);
    to = must_copy_whole(&last) ? limit : ROUND_UP(to, sub_size);
    *ret = (BdrvAlloc){
        .offset = from, .bytes = to - from,
        .link = g->has_data_file ? bs->data_file : bs->file,
        .host_offset = host.v + (from - ref->guest), .host_is_zero = zero,
    };
    allocation_set(ret, ALLOCATION_NEW);
    return 0;
}

static int co_fn map_write_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t start, uint64_t end,
                                BdrvAlloc *ret)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2L2Ref ref;
    Qcow2Entry e;
    int r = qcow2_l2_writable_try(bs, w, start, &ref);

    if (r < 0) {
        return r;
    }
    if (!entry_at(&s->g, &ref, 0, &e)) {
        return qcow2_note_damage(bs, 0, 0, "the L2 entry of guest offset %" PRIu64 " is invalid",
                                 ref.guest);
    }
    if (!has_own_cluster(&e)) {
        return allocation_new_try(bs, w, &ref, start, end, ret);
    }
    allocation_own(bs, &ref, start, end, ret);
    return s->g.has_data_file ? 0 : qcow2_overlap_check(bs, 0, host_offset(ret->host_offset),
                                                        ret->bytes, "guest data");
}

int co_fn qcow2_co_map_write(BlockDriverState *bs, int64_t offset, int64_t bytes, BdrvAlloc *ret)
{
    int r = qcow2_prepare_reserve(bs);

    if (r < 0) {
        return r;
    }
    bdrv_debug_event(bs->file, "cluster_alloc");
    r = QCOW2_WALK(bs, w, map_write_try(bs, &w, offset, offset + bytes, ret));
    return qcow2_end(bs, r);
}

/* ---- commit ---- */

/* The entry of one cluster, now that [@alloc->offset, + @alloc->bytes) is written. */
static void commit_entry(Qcow2State *s, const BdrvAlloc *alloc, uint64_t guest, uint8_t *p)
{
    const Qcow2Geometry *g = &s->g;
    uint32_t subs = touched(g, guest, alloc->offset, alloc->offset + alloc->bytes);
    Qcow2Entry e;

    qcow2_entry_decode(g, p, guest, &e);
    if (allocation_kind(alloc) == ALLOCATION_NEW) {
        qcow2_free_entry_later(s, &e, s->discard_other);
        e.has_host = true;
        e.copied = true;
        e.host = alloc->host_offset + (guest - alloc->offset);
        if (e.compressed) {
            e.compressed = false;
            e.zero = 0;
        }
        e.alloc = 0;
    }
    e.alloc |= subs;
    e.zero &= ~subs;
    qcow2_entry_encode(g, &e, p);
}

/*
 * By (A2) always true.  But the table may have left memory and come back, and what a disk says is
 * not to be trusted: whole clusters were copied where there was something to lose, and no more.
 */
static bool commit_fits(Qcow2State *s, const BdrvAlloc *alloc, const Qcow2L2Ref *ref, uint64_t n)
{
    const Qcow2Geometry *g = &s->g;
    Qcow2Entry e;

    if (!ref->page || !ref->writable || n > ref->count) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        uint32_t subs = touched(g, ref->guest + ((uint64_t)i << g->cluster_bits), alloc->offset,
                                alloc->offset + alloc->bytes);
        bool fits = entry_at(g, ref, i, &e) &&
                    (allocation_kind(alloc) == ALLOCATION_OWN ? has_own_cluster(&e)
                                                  : subs == g->all_subs || !must_copy_whole(&e));
        if (!fits) {
            return false;
        }
    }
    return true;
}

/* The entries of the request's clusters: all lie in one page of an L2 table. */
static int co_fn commit_try(BlockDriverState *bs, Qcow2Walk *w, const BdrvAlloc *alloc,
                             uint64_t end)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Geometry *g = &s->g;
    Qcow2L2Ref ref;
    int r = qcow2_l2_try(bs, w, alloc->offset, &ref);

    if (r < 0) {
        return r;
    }
    uint64_t n = DIV_ROUND_UP(end - ref.guest, g->cluster_size);
    if (!commit_fits(s, alloc, &ref, n)) {
        return qcow2_note_damage(bs, 0, 0, "the L2 table of guest offset %" PRId64 " changed by "
                                 "itself", alloc->offset);
    }
    r = qcow2_page_change_try(bs, w, ref.page);
    if (r < 0) {
        return r;
    }
    qcow2_cache_touch(&s->cache, ref.page);
    for (unsigned i = 0; i < n; i++) {
        commit_entry(s, alloc, ref.guest + ((uint64_t)i << g->cluster_bits),
                     qcow2_l2_entry(g, &ref, i));
    }
    return 0;
}

/* Give back what map_write reserved. */
static void co_fn allocation_free(BlockDriverState *bs, const BdrvAlloc *alloc)
{
    const Qcow2Geometry *g = &qcow2_state(bs)->g;

    if (allocation_kind(alloc) == ALLOCATION_NEW && !g->has_data_file) {
        uint64_t first = ROUND_DOWN((uint64_t)alloc->host_offset, g->cluster_size);
        uint64_t end = ROUND_UP((uint64_t)alloc->host_offset + alloc->bytes, g->cluster_size);
        qcow2_free_now(bs, host_offset(first), (end - first) >> g->cluster_bits);
    }
}

int co_fn qcow2_co_map_commit(BlockDriverState *bs, BdrvAlloc *alloc)
{
    if (allocation_kind(alloc) == ALLOCATION_IN_PLACE) {
        return 0;
    }
    int r = QCOW2_WALK(bs, w, commit_try(bs, &w, alloc, alloc->offset + alloc->bytes));
    if (r < 0) {
        allocation_free(bs, alloc);
    }
    return qcow2_end(bs, r);
}

void co_fn qcow2_co_map_abort(BlockDriverState *bs, BdrvAlloc *alloc)
{
    allocation_free(bs, alloc);
    qcow2_end(bs, 0);
}
