/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "Copied" flags of the active tables, made to fit the refcounts while guests run.  A table is
 * looked at under l2_lock, so that nobody replaces it meanwhile; entries change under cache.lock.
 *
 * A flag is set only where the refcount in memory is 1, so nothing in memory or on disk has another
 * reference (R2).
 */
#include "qemu/osdep.h"

#include "snapshot.h"

typedef struct Scan {
    HostOffset table;
    uint64_t page;                  /* offset in the table */
    unsigned next;                  /* entry in that page */
} Scan;

/* *@ret: is its refcount 1? */
static int co_fn is_exclusive_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t offset, bool *ret)
{
    const Qcow2Geometry *g = &qcow2_state(bs)->g;
    Qcow2Page *page;
    size_t number;
    int r = qcow2_refcount_try(bs, w, offset >> g->cluster_bits, &page, &number);

    if (r == 0) {
        *ret = page && qcow2_refcount_load(page->buf, g->refcount_order, number) == 1;
    }
    return r;
}

/* Entry @i of @page. */
static int co_fn entry_try(BlockDriverState *bs, Qcow2Walk *w, Qcow2Page *page, unsigned i)
{
    Qcow2State *s = qcow2_state(bs);
    uint8_t *p = page->buf + (size_t)i * s->g.entry_size;
    Qcow2Entry e;
    bool exclusive;

    if (!qcow2_entry_decode(&s->g, p, 0, &e) || e.compressed || !e.has_host) {
        return 0;
    }
    int ret = is_exclusive_try(bs, w, e.host, &exclusive);
    if (ret < 0 || exclusive == e.copied) {
        return ret;
    }
    ret = qcow2_page_change_try(bs, w, page);
    if (ret == 0) {
        qcow2_cache_touch(&s->cache, page);
        e.copied = exclusive;
        /* Touching may have given the page another buffer. */
        qcow2_entry_encode(&s->g, &e, page->buf + (size_t)i * s->g.entry_size);
    }
    return ret;
}

static int co_fn page_scan_try(BlockDriverState *bs, Qcow2Walk *w, Scan *scan)
{
    const Qcow2Geometry *g = &qcow2_state(bs)->g;
    Qcow2Page *page;
    int ret = qcow2_page_try(bs, w, QCOW2_PAGE_L2, scan->table.v + scan->page, &page);

    while (ret == 0 && scan->next < g->page_size / g->entry_size) {
        ret = entry_try(bs, w, page, scan->next);
        scan->next += ret == 0;
    }
    return ret;
}

static int co_fn scan_table(BlockDriverState *bs, HostOffset table)
{
    Qcow2State *s = qcow2_state(bs);
    Scan scan = { .table = table };
    int ret = 0;

    for (; ret == 0 && scan.page < s->g.cluster_size; scan.page += s->g.page_size) {
        scan.next = 0;
        qcow2_lock(s);
        ret = QCOW2_WALK_INNER(s, w, page_scan_try(bs, &w, &scan));
        qcow2_unlock(s);
    }
    return ret;
}

static int co_fn l1_exclusive_try(BlockDriverState *bs, Qcow2Walk *w, uint32_t i,
                                  HostOffset *ret_table, bool *ret_exclusive)
{
    Qcow2Page *l1;
    size_t pos;
    int ret = qcow2_l1_entry_try(bs, w, i, &l1, &pos);

    ret_table->v = 0;
    if (ret == 0) {
        ret_table->v = be64_load(l1->buf + pos) & QCOW2_OFFSET_MASK;
    }
    return ret < 0 || !ret_table->v ? ret
                                    : is_exclusive_try(bs, w, ret_table->v, ret_exclusive);
}

static int co_fn l1_flag_try(BlockDriverState *bs, Qcow2Walk *w, uint32_t i, bool copied)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2Page *l1;
    size_t pos;
    int ret = qcow2_l1_entry_try(bs, w, i, &l1, &pos);

    if (ret < 0) {
        return ret;
    }
    uint64_t entry = be64_load(l1->buf + pos);
    uint64_t now = copied ? entry | QCOW2_COPIED : entry & ~QCOW2_COPIED;
    if (now != entry) {
        ret = qcow2_page_change_try(bs, w, l1);
        if (ret == 0) {
            qcow2_cache_touch(&s->cache, l1);
            be64_store(l1->buf + pos, now);
        }
    }
    return ret;
}

int co_fn qcow2_l1_set_copied(BlockDriverState *bs, uint32_t i, bool copied)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_lock(s);
    int ret = QCOW2_WALK_INNER(s, w, l1_flag_try(bs, &w, i, copied));
    qcow2_unlock(s);
    return ret;
}

/* The table at L1 entry @i. A table with other references has none but flags that are off. */
static int co_fn refresh_one(BlockDriverState *bs, uint32_t i)
{
    Qcow2State *s = qcow2_state(bs);
    HostOffset table;
    bool exclusive = false;

    qcow2_lock(s);
    int ret = QCOW2_WALK_INNER(s, w, l1_exclusive_try(bs, &w, i, &table, &exclusive));
    qcow2_unlock(s);
    if (ret < 0 || !table.v) {
        return ret;
    }
    if (exclusive) {
        ret = scan_table(bs, table);
    }
    return ret == 0 ? qcow2_l1_set_copied(bs, i, exclusive) : ret;
}

int co_fn qcow2_flags_refresh(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = 0;

    for (uint32_t i = 0; ret == 0 && i < s->l1_size; i++) {
        co_mutex_lock(&s->l2_lock);
        ret = refresh_one(bs, i);
        co_mutex_unlock(&s->l2_lock);
        if (ret == 0) {
            ret = qcow2_writeback_throttle(bs);
        }
    }
    return ret;
}
