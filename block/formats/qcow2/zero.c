/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zeroes, discards and unmapping: changes of L2 entries without any data.
 *
 * What a cluster had is not freed here but after the change is on disk (flush.c, (F4)).
 */
#include "qemu/osdep.h"

#include "qcow2.h"

typedef enum ClearMode {
    CLEAR_ZERO,                     /* reads as zeroes, keeps its space */
    CLEAR_ZERO_UNMAP,               /* reads as zeroes, gives its space back */
    CLEAR_DISCARD,                  /* the same; where that is hard, stays as it is */
    CLEAR_UNMAP,                    /* not in this image any more */
} ClearMode;

typedef struct Clear {
    BlockDriverState *bs;
    ClearMode mode;
    uint64_t pos, end;              /* guest bytes; @end is rounded up to a whole unit */
} Clear;

/* The whole cluster of @e becomes what the mode says. True: its space, if any, is to be freed. */
static bool clear_whole(const Clear *c, Qcow2Entry *e)
{
    const Qcow2Geometry *g = &qcow2_state(c->bs)->g;
    bool keep_host = c->mode == CLEAR_ZERO && !e->compressed && e->has_host && e->copied;
    uint32_t zero = c->mode == CLEAR_UNMAP || !g->has_zero_flag ? 0 : g->all_subs;

    if (keep_host) {
        e->alloc = 0;
        e->zero = zero;
        return false;
    }
    *e = (Qcow2Entry){ .zero = zero };
    return true;
}

/*
 * May what is nowhere stay so?  Not where zeroes are written and the map can say that there are
 * some: who looks at the map is told what was written.  What a discard finds unallocated shows what
 * it showed.
 */
static bool stays_nowhere(const Clear *c)
{
    return c->mode >= CLEAR_DISCARD ||
           (!qcow2_state(c->bs)->g.has_zero_flag && !qcow2_has_backing(c->bs));
}

/* One cluster; @subs are the subclusters to clear. 0 or -ENOTSUP. */
static int clear_entry(const Clear *c, Qcow2Entry *e, uint32_t subs)
{
    Qcow2State *s = qcow2_state(c->bs);
    Qcow2Entry old = *e;
    bool unallocated = !e->compressed && !e->has_host && !e->zero;

    if (unallocated && stays_nowhere(c)) {
        return 0;
    }
    if (subs == s->g.all_subs) {
        if (clear_whole(c, e)) {
            bool discard = c->mode == CLEAR_UNMAP ? s->discard_other : s->discard_request;
            qcow2_free_entry_later(s, &old, discard);
        }
        return 0;
    }
    if (e->compressed) {
        return c->mode == CLEAR_DISCARD ? 0 : -ENOTSUP;
    }
    e->alloc &= ~subs;
    e->zero |= subs;
    return 0;
}

/* The subclusters of the cluster at @guest from c->pos on, as far as the request goes. */
static uint32_t subs_to_clear(const Clear *c, uint64_t guest)
{
    const Qcow2Geometry *g = &qcow2_state(c->bs)->g;
    unsigned first = (MAX(c->pos, guest) - guest) >> g->subcluster_bits;
    unsigned end = (MIN(c->end, guest + g->cluster_size) - guest) >> g->subcluster_bits;

    return (UINT32_MAX >> (32 - (end - first))) << first;
}

static int clear_page(Clear *c, const Qcow2L2Ref *ref)
{
    Qcow2State *s = qcow2_state(c->bs);
    const Qcow2Geometry *g = &s->g;

    for (unsigned i = 0; i < ref->count && c->pos < c->end; i++) {
        uint64_t guest = ref->guest + ((uint64_t)i << g->cluster_bits);
        uint8_t *p = qcow2_l2_entry(g, ref, i);
        uint8_t image[16];
        Qcow2Entry e;

        if (!qcow2_entry_decode(g, p, guest, &e)) {
            return qcow2_note_damage(c->bs, 0, 0, "the L2 entry of guest offset %" PRIu64
                                     " is invalid", guest);
        }
        int r = clear_entry(c, &e, subs_to_clear(c, guest));
        if (r < 0) {
            return r;
        }
        qcow2_entry_encode(g, &e, image);
        if (memcmp(image, p, g->entry_size) != 0) {
            qcow2_cache_touch(&s->cache, ref->page);
            memcpy(qcow2_l2_entry(g, ref, i), image, g->entry_size);
        }
        c->pos = MIN(guest + g->cluster_size, c->end);
    }
    return 0;
}

/* As much as one page of an L2 table covers. */
static int co_fn clear_try(Clear *c, Qcow2Walk *w)
{
    Qcow2L2Ref ref;
    int r = qcow2_l2_try(c->bs, w, c->pos, &ref);

    if (r < 0) {
        return r;
    }
    /* A page without space is a hole: nothing is mapped there. */
    bool no_table_needed = (!ref.page || !ref.page->has_space) && stays_nowhere(c);
    if (no_table_needed) {
        c->pos = MIN(c->end, ref.guest +
                     ((uint64_t)ref.count << qcow2_state(c->bs)->g.cluster_bits));
        return 0;
    }
    r = qcow2_l2_writable_try(c->bs, w, c->pos, &ref);
    return r < 0 ? r : clear_page(c, &ref);
}

static int co_fn clear_range(BlockDriverState *bs, ClearMode mode, uint64_t offset, uint64_t end)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t unit = UINT64_C(1) << s->g.subcluster_bits;
    Clear c = { .bs = bs, .mode = mode, .pos = offset, .end = ROUND_UP(end, unit) };
    int r = qcow2_prepare_change(bs);

    for (unsigned i = 1; r == 0 && c.pos < c.end; i++) {
        if (i % 256 == 0) {
            coroutine_reschedule();     /* others get their turn */
        }
        r = qcow2_writeback_throttle(bs);
        if (r == 0) {
            r = QCOW2_WALK(bs, w, clear_try(&c, &w));
        }
    }
    return qcow2_end(bs, r);
}

/* The part of the external data file that belongs to the range: its offsets are the guest's. */
static int co_fn clear_data_file(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                 unsigned flags)
{
    Qcow2State *s = qcow2_state(bs);

    if (s->raw_data) {
        int ret = qcow2_prepare_change(bs);
        return ret < 0 ? ret : bdrv_co_pwrite_zeroes(bs->data_file, offset, bytes, flags);
    }
    return 0;
}

/*
 * Give the space in the data file back, if that is wanted.  At once, not after the next
 * writeback: a later write goes to the same place.  The range is held, and zeroes or nothing is
 * what it reads as from now on, crash or not.
 */
static void co_fn punch_data_file(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    if (bs->data_file && qcow2_state(bs)->discard_request) {
        bdrv_co_pdiscard(bs->data_file, offset, bytes);
    }
}

int co_fn qcow2_co_zero(BlockDriverState *bs, int64_t offset, int64_t bytes, unsigned flags)
{
    Qcow2State *s = qcow2_state(bs);
    bool unmap = flags & BDRV_REQ_MAY_UNMAP;

    /* Version 2 has no zero clusters: only what is nowhere reads as zeroes. */
    if (!s->g.has_zero_flag && (qcow2_has_backing(bs) || !unmap)) {
        return -ENOTSUP;
    }
    int ret = clear_data_file(bs, offset, bytes, flags);
    if (ret == 0) {
        ret = clear_range(bs, unmap ? CLEAR_ZERO_UNMAP : CLEAR_ZERO, offset, offset + bytes);
    }
    if (ret == 0 && unmap && !s->raw_data) {
        punch_data_file(bs, offset, bytes);
    }
    return ret;
}

int co_fn qcow2_co_discard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Qcow2State *s = qcow2_state(bs);

    if (!s->g.has_zero_flag && qcow2_has_backing(bs)) {
        return -ENOTSUP;            /* would show what the backing file has there */
    }
    if (s->raw_data) {
        return qcow2_co_zero(bs, offset, bytes, BDRV_REQ_MAY_UNMAP);
    }
    int ret = clear_range(bs, CLEAR_DISCARD, offset, offset + bytes);
    if (ret == 0) {
        punch_data_file(bs, offset, bytes);
    }
    return ret;
}

int co_fn qcow2_unmap(BlockDriverState *bs, int64_t offset, int64_t end)
{
    return clear_range(bs, CLEAR_UNMAP, offset, end);
}

int co_fn qcow2_co_make_empty(BlockDriverState *bs)
{
    if (qcow2_state(bs)->raw_data) {
        return -ENOTSUP;            /* what the data file has is the disk */
    }
    int ret = qcow2_unmap(bs, 0, bs->length);
    if (ret == 0) {
        punch_data_file(bs, 0, bs->length);
    }
    return ret;
}
