/* SPDX-License-Identifier: GPL-2.0-or-later */
/* L1 and L2 tables: finding an entry, making its table writable. */
#include "qemu/osdep.h"

#include "snapshot.h"

static unsigned page_entries(const Qcow2Geometry *g)
{
    return g->page_size / g->entry_size;
}

static uint32_t l1_index(const Qcow2State *s, uint64_t guest)
{
    return guest >> (s->g.cluster_bits + s->g.l2_bits);
}

/* Where the L1 entry for @guest is: *@ret_offset is its page, the result the offset
 * in that page. */
static size_t l1_position(Qcow2State *s, uint64_t guest, uint64_t *ret_offset)
{
    uint32_t index = l1_index(s, guest);
    uint64_t byte = index * UINT64_C(8);

    assert(index < s->l1_size);
    *ret_offset = s->l1_offset.v + ROUND_DOWN(byte, s->g.page_size);
    return byte % s->g.page_size;
}

/* 0 or -EIO: an L1 entry that no healthy image has. */
static int l1_entry_check(BlockDriverState *bs, uint64_t guest, uint64_t entry)
{
    if (entry & QCOW2_OFFSET_MASK & (qcow2_state(bs)->g.cluster_size - 1)) {
        return qcow2_note_damage(bs, 0, 0, "the L1 entry of guest offset %" PRIu64 " leads to an "
                                 "L2 table that is not aligned to a cluster", guest);
    }
    return 0;
}

/* Everything of @ret but the page; returns the offset of the page in the table. */
static uint64_t ref_init(Qcow2State *s, uint64_t guest, uint64_t l1_entry, Qcow2L2Ref *ret)
{
    const Qcow2Geometry *g = &s->g;
    uint64_t index = guest >> g->cluster_bits & ((UINT64_C(1) << g->l2_bits) - 1);
    unsigned per_page = page_entries(g);

    *ret = (Qcow2L2Ref){
        .index = index % per_page,
        .guest = ROUND_DOWN(guest, g->cluster_size),
        .writable = qcow2_l1_is_writable(s, l1_index(s, guest), l1_entry),
    };
    ret->count = l1_entry & QCOW2_OFFSET_MASK ? per_page - ret->index
                                              : (UINT64_C(1) << g->l2_bits) - index;
    return index / per_page * g->page_size;
}

int co_fn qcow2_l2_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t guest, Qcow2L2Ref *ret)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2Page *l1;
    uint64_t l1_page;
    size_t pos = l1_position(s, guest, &l1_page);
    int r = qcow2_page_try(bs, w, QCOW2_PAGE_L1, l1_page, &l1);

    if (r < 0) {
        return r;
    }
    uint64_t entry = be64_load(l1->buf + pos), table = entry & QCOW2_OFFSET_MASK;
    r = l1_entry_check(bs, guest, entry);
    if (r < 0) {
        return r;
    }
    uint64_t in_table = ref_init(s, guest, entry, ret);
    return table ? qcow2_page_try(bs, w, QCOW2_PAGE_L2, table + in_table, &ret->page) : 0;
}

int co_fn qcow2_l1_entry_try(BlockDriverState *bs, Qcow2Walk *w, uint32_t index,
                             Qcow2Page **ret_page, size_t *ret_pos)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t page;

    *ret_pos = l1_position(s, (uint64_t)index << (s->g.cluster_bits + s->g.l2_bits), &page);
    return qcow2_page_try(bs, w, QCOW2_PAGE_L1, page, ret_page);
}

bool any_fn qcow2_l2_peek(BlockDriverState *bs, uint64_t guest, Qcow2L2Ref *ret)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t l1_page;
    size_t pos = l1_position(s, guest, &l1_page);
    Qcow2Page *l1 = qcow2_cache_find(&s->cache, l1_page);

    if (!l1 || l1->loading || l1->cls != QCOW2_PAGE_L1) {
        return false;
    }
    uint64_t entry = be64_load(l1->buf + pos), table = entry & QCOW2_OFFSET_MASK;
    if (l1_entry_check(bs, guest, entry) < 0) {
        return false;
    }
    uint64_t in_table = ref_init(s, guest, entry, ret);
    if (!table) {
        return true;
    }
    ret->page = qcow2_cache_find(&s->cache, table + in_table);
    return ret->page && !ret->page->loading && ret->page->cls == QCOW2_PAGE_L2;
}

/* ---- making a table writable ---- */

/* Fill the new table at @to: with zeroes, or with what the table at @from has, which others use
 * as well. */
static int co_fn table_fill(BlockDriverState *bs, HostOffset from, HostOffset to)
{
    Qcow2State *s = qcow2_state(bs);
    size_t bytes = s->g.cluster_size;

    if (from.v == 0) {
        bdrv_debug_event(bs->file, "l2_alloc_write");
        return qcow2_space_take(bs, to, 1);
    }
    void *buf = bdrv_try_blockalign(bytes);
    if (!buf) {
        return -ENOMEM;
    }
    bdrv_debug_event(bs->file, "l2_alloc_cow_read");
    int ret = qcow2_table_read_whole(bs, from, buf);
    if (ret == 0) {
        if (!s->g.has_data_file) {
            qcow2_table_clear_copied(&s->g, buf, bytes);    /* all that is in it is shared */
        }
        bdrv_debug_event(bs->file, "l2_alloc_write");
        ret = qcow2_write_table(bs, to, buf, bytes);
    }
    if (ret == 0) {
        qcow2_lock(s);
        qcow2_space_note(s, to, 1);
        qcow2_unlock(s);
    }
    free(buf);
    return ret;
}

static int co_fn l1_entry_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t guest,
                              Qcow2Page **ret_page,
                               size_t *ret_pos)
{
    uint64_t l1_page;

    *ret_pos = l1_position(qcow2_state(bs), guest, &l1_page);
    int ret = qcow2_page_try(bs, w, QCOW2_PAGE_L1, l1_page, ret_page);
    return ret < 0 ? ret : qcow2_page_change_try(bs, w, *ret_page);
}

/* The page of the L1 table with the entry for @guest, in memory and ready to be changed; returns
 * with cache.lock held. */
static int co_fn lock_l1_entry(BlockDriverState *bs, uint64_t guest, Qcow2Page **ret_page,
                               size_t *ret_pos)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_lock(s);
    return QCOW2_WALK_INNER(s, w, l1_entry_try(bs, &w, guest, ret_page, ret_pos));
}

/* The part of the new, empty table at @table that is going to be used first.  Dirty, so that the
 * file reaches to the table before the L1 table on disk points there. */
static void add_first_page(Qcow2State *s, HostOffset table, uint64_t guest)
{
    Qcow2L2Ref ref;
    uint64_t in_table = ref_init(s, guest, table.v, &ref);
    Qcow2Page *page = qcow2_cache_add(&s->cache, QCOW2_PAGE_L2, table.v + in_table, true);

    memset(page->buf, 0, s->g.page_size);
    page->has_space = true;
    qcow2_cache_loaded(&s->cache, page);
    qcow2_cache_touch(&s->cache, page);
}

/* Under cache.lock. */
static void table_link(Qcow2State *s, Qcow2Page *l1, size_t pos, uint64_t guest, HostOffset old,
                       HostOffset table)
{
    qcow2_cache_touch(&s->cache, l1);       /* or making room could evict it */
    be64_store(l1->buf + pos, table.v | QCOW2_COPIED);
    qcow2_draft_note_table(s, l1_index(s, guest));
    qcow2_overlap_add(s, QCOW2_OL_ACTIVE_L2, table);
    if (old.v) {
        qcow2_overlap_remove(s, QCOW2_OL_ACTIVE_L2, old);
        qcow2_free_later(s, old, 1, s->discard_other);
    } else {
        add_first_page(s, table, guest);
    }
}

/* Put a new table, filled, in the place of the old one (0: none). Under l2_lock. */
static int co_fn table_replace(BlockDriverState *bs, uint64_t guest, HostOffset old)
{
    Qcow2State *s = qcow2_state(bs);
    HostOffset table;
    Qcow2Page *l1;
    size_t pos;
    bool zero;
    int ret = qcow2_alloc_contiguous(bs, 1, &table, &zero);

    if (ret < 0) {
        return ret;
    }
    qcow2_lock(s);
    if (qcow2_cache_is_dirty(&s->cache, table.v, s->g.cluster_size)) {
        ret = qcow2_note_damage(bs, table.v, s->g.cluster_size, "a table was to be made in a "
                                "cluster that is in use as one");
    } else {
        qcow2_cache_forget(&s->cache, table.v, s->g.cluster_size);
    }
    qcow2_unlock(s);
    if (ret < 0) {
        return ret;                 /* the cluster stays allocated */
    }
    ret = table_fill(bs, old, table);
    if (ret == 0) {
        bdrv_debug_event(bs->file, "l1_update");
        ret = lock_l1_entry(bs, guest, &l1, &pos);
        if (ret == 0) {
            table_link(s, l1, pos, guest, old, table);
        }
        qcow2_unlock(s);
    }
    if (ret < 0) {
        qcow2_free_now(bs, table, 1);
    }
    return ret;
}

static int co_fn make_writable(BlockDriverState *bs, uint64_t guest)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2Page *l1;
    size_t pos;
    uint64_t entry = 0;
    bool writable = false;

    co_mutex_lock(&s->l2_lock);
    int ret = lock_l1_entry(bs, guest, &l1, &pos);
    if (ret == 0) {
        entry = be64_load(l1->buf + pos);
        ret = l1_entry_check(bs, guest, entry);
        writable = qcow2_l1_is_writable(s, l1_index(s, guest), entry);
    }
    qcow2_unlock(s);
    if (ret == 0 && !writable) {        /* else somebody else has done it */
        ret = table_replace(bs, guest, host_offset(entry & QCOW2_OFFSET_MASK));
    }
    co_mutex_unlock(&s->l2_lock);
    return ret;
}

int co_fn qcow2_l2_writable_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t guest,
                                 Qcow2L2Ref *ret)
{
    Qcow2State *s = qcow2_state(bs);
    int r = qcow2_l2_try(bs, w, guest, ret);

    if (r < 0) {
        return r;
    }
    if (ret->page && ret->writable) {
        return qcow2_page_change_try(bs, w, ret->page);
    }
    /* "Writable" without a table is an entry that no healthy image has. */
    if (ret->writable) {
        return qcow2_note_damage(bs, 0, 0, "the L1 entry of guest offset %" PRIu64 " has a flag "
                                 "and no L2 table", guest);
    }
    qcow2_unlock(s);
    r = make_writable(bs, guest);
    qcow2_lock(s);
    return r < 0 ? r : -EAGAIN;
}
