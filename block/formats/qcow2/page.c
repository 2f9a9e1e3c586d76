/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages of tables: finding them in the cache, reading them from the image. */
#include "qemu/osdep.h"

#include "qcow2.h"

static const char *const load_events[QCOW2_PAGE_CLASSES] = {
    [QCOW2_PAGE_REFBLOCK] = "refblock_load",
    [QCOW2_PAGE_REFTABLE] = "reftable_load",
    [QCOW2_PAGE_L2] = "l2_load",
    [QCOW2_PAGE_L1] = "l1_load",
};

void any_fn qcow2_forget_metadata(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_lock(s);
    qcow2_cache_forget_all(&s->cache);
    s->hole_cursor = 0;
    s->tail_cursor = 0;
    s->tail_known = false;
    s->pack_at = 0;
    g_hash_table_remove_all(s->metadata);
    __atomic_store_n(&s->overlap_loaded, false, __ATOMIC_RELEASE);
    s->fresh_from = bdrv_length(bs->file->bs);
    qcow2_unlock(s);
}

void any_fn qcow2_walk_end(Qcow2State *s, Qcow2Walk *w)
{
    for (unsigned i = 0; i < MIN(w->n, G_N_ELEMENTS(w->pins)); i++) {
        qcow2_cache_unpin(&s->cache, w->pins[i]);
    }
    w->n = 0;
}

void any_fn qcow2_walk_pin(Qcow2State *s, Qcow2Walk *w, Qcow2Page *page)
{
    unsigned slot = w->n % G_N_ELEMENTS(w->pins);

    if (w->n >= G_N_ELEMENTS(w->pins)) {
        qcow2_cache_unpin(&s->cache, w->pins[slot]);
    }
    qcow2_cache_pin(page);
    w->pins[slot] = page;
    w->n++;
}

/* Under cache.lock; yields without it. */
static void co_fn wait_until_loaded(Qcow2State *s, Qcow2Page *page)
{
    Qcow2PageWaiter me = { .co = coroutine_self(), .next = page->waiters };

    page->waiters = &me;
    qcow2_unlock(s);
    coroutine_yield();
    qcow2_lock(s);
}

static int co_fn load(BlockDriverState *bs, Qcow2Walk *w, Qcow2Page *page)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2PageClass cls = page->cls;

    qcow2_unlock(s);
    bdrv_debug_event(bs->file, load_events[cls]);
    int ret = qcow2_read_table(bs, host_offset(page->offset), page->buf, s->cache.page_size);
    qcow2_lock(s);
    if (ret < 0) {
        qcow2_cache_load_failed(&s->cache, page);
        return ret;
    }
    page->has_space = !buffer_is_zero(page->buf, s->cache.page_size) ||
                      qcow2_space_known(s, page->offset);
    if (qcow2_cache_loaded(&s->cache, page)) {
        qcow2_walk_pin(s, w, page);
    }
    return -EAGAIN;
}

int co_fn qcow2_page_try(BlockDriverState *bs, Qcow2Walk *w, Qcow2PageClass cls, uint64_t offset,
                          Qcow2Page **ret)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2Page *page = qcow2_cache_find(&s->cache, offset);

    if (page && !page->loading) {
        if (page->cls != cls) {
            return qcow2_note_damage(bs, offset, s->g.page_size, "two tables are in one place");
        }
        *ret = page;
        return 0;
    }
    if (page) {
        wait_until_loaded(s, page);
        return -EAGAIN;
    }
    page = qcow2_cache_add(&s->cache, cls, offset, w->inner);
    if (!page && s->cache.n_dirty + s->cache.n_frozen == 0) {
        /* Everything is in use by walks, which end. */
        page = qcow2_cache_add(&s->cache, cls, offset, true);
    }
    if (page) {
        return load(bs, w, page);
    }
    w->full = true;
    return -EAGAIN;
}

int co_fn qcow2_table_read_whole(BlockDriverState *bs, HostOffset from, uint8_t *buf)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_lock(s);
    bool newer = qcow2_cache_is_dirty(&s->cache, from.v, s->g.cluster_size);
    qcow2_unlock(s);
    if (!newer) {
        return qcow2_read_table(bs, from, buf, s->g.cluster_size);
    }
    int ret = 0;
    for (uint64_t pos = 0; ret == 0 && pos < s->g.cluster_size; pos += s->g.page_size) {
        Qcow2Page *page;

        qcow2_lock(s);
        ret = QCOW2_WALK_INNER(s, w, qcow2_page_try(bs, &w, QCOW2_PAGE_L2, from.v + pos, &page));
        if (ret == 0) {
            memcpy(buf + pos, page->buf, s->g.page_size);
        }
        qcow2_unlock(s);
    }
    return ret;
}
