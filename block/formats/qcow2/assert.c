/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The numbered invariants of this folder, as far as memory can tell, at every moment at which
 * nobody holds cache.lock. In debug builds each operation has them checked when it begins to change
 * something and when it ends.
 *
 * What tables say is not asserted: an image may be damaged (damage.c). So (F1), that refcounts are
 * not less than references, is for the check to tell and for the crash tests to judge.
 */
#include "qemu/osdep.h"

#include "snapshot.h"

/* Caches with more pages are looked through now and then. */
#define MAX_PAGES 256
#define ONE_IN 64

/* (C1): which list a page is in. */
static void assert_page(const Qcow2Page *page)
{
    assert(!page->stale || page->loading);          /* else it is not found any more */
    assert(!(page->loading && (page->dirty || page->flush_buf)));
    assert(page->buf);
    /* (S1) */
    assert(page->has_space || (!page->dirty && !page->flush_buf));
}

static size_t list_length(const struct Qcow2PageList *list, bool dirty)
{
    const Qcow2Page *page;
    size_t n = 0;

    TAILQ_FOREACH(page, list, link) {
        assert(page->dirty == dirty);
        assert(dirty || !page->flush_buf);
        n++;
    }
    return n;
}

static void assert_cache(const Qcow2Cache *c)
{
    size_t found = 0, dirty = 0, frozen = 0, nowhere = 0;

    for (size_t i = 0; i < c->n_buckets; i++) {
        for (const Qcow2Page *page = c->buckets[i]; page; page = page->hash_next) {
            assert_page(page);
            found++;
            dirty += page->dirty;
            frozen += page->flush_buf != NULL;
            nowhere += page->loading || (page->flush_buf && !page->dirty);
        }
    }
    assert(dirty == c->n_dirty);
    assert(found <= c->n_pages && frozen <= c->n_frozen);      /* others are stale, and in use */
    assert(list_length(&c->dirty, true) == dirty);
    assert(list_length(&c->clean, false) == found - dirty - nowhere);
}

/* (F4): what waits to be freed. */
static void assert_frees(const Qcow2State *s)
{
    uint64_t clusters = 0;

    for (guint i = 0; i < s->frees->len; i++) {
        const Qcow2Free *f = &g_array_index(s->frees, Qcow2Free, i);

        assert((f->offset.v & (s->g.cluster_size - 1)) == 0 && f->clusters > 0);
        clusters += f->clusters;
    }
    assert(clusters == s->free_clusters);
}

void any_fn qcow2_assert_order(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_lock(s);
    /* (F5): pages are frozen by a writeback, and by no other. */
    assert(s->cache.n_frozen == 0 || __atomic_load_n(&s->writeback_running, __ATOMIC_RELAXED));
    /* (Z1): where compressed data goes is inside of a cluster. */
    assert(s->pack_at == 0 || s->pack_at & (s->g.cluster_size - 1));
    assert(!s->tail_known || s->tail_cursor > 0);
    /* A read-only image was settled before it became that. */
    assert(!bs->read_only || s->cache.n_dirty + s->cache.n_frozen + s->frees->len == 0);
    if (s->cache.n_pages <= MAX_PAGES || s->assert_calls++ % ONE_IN == 0) {
        assert_cache(&s->cache);
        assert_frees(s);
        qcow2_draft_assert(s);
    }
    qcow2_unlock(s);
}
