/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making an internal snapshot while guests write.
 *
 * At a freeze all tables become immutable (I5 in snapshot-draft.c): a guest that writes gets a copy
 * of the table, and of the cluster, as it would after the snapshot.  So the references of all that
 * was there at the freeze are raised in peace, one table at a time, under l2_lock: a table is
 * raised as a whole or, if it is replaced before, not at all.  Tables that guests made meanwhile are
 * frozen and raised in another round; the last one is in the instant in which nobody writes, and
 * then the map is what the snapshot has.
 *
 * Until the header has gone over to the new table of snapshots (I1) nothing refers to all this but
 * refcounts, so what fails is undone, and what a power cut leaves is a leak.
 */
#include "qemu/osdep.h"

#include "snapshot.h"

static void draft_free(Qcow2Draft *d)
{
    if (d->sn && !d->list) {
        qcow2_snapshot_free(d->sn);
    }
    if (d->list) {
        g_ptr_array_unref(d->list);
    }
    g_free(d->l1);
    g_free(d->fresh);
    g_array_unref(d->fresh_list);
    g_array_unref(d->unraised);
    g_array_unref(d->orphans);
    g_free(d);
}

/* ---- begin ---- */

/* One more than the largest id that is a number. */
static char *next_id(const GPtrArray *list)
{
    uint64_t max = 0;

    for (guint i = 0; i < list->len; i++) {
        max = MAX(max, g_ascii_strtoull(((Qcow2Snapshot *)list->pdata[i])->info->id, NULL, 10));
    }
    return g_strdup_printf("%" PRIu64, max + 1);
}

static int draft_alloc(Qcow2State *s, Qcow2Draft **ret)
{
    Qcow2Draft *d = g_new0(Qcow2Draft, 1);

    d->l1_size = s->l1_size;
    d->l1 = g_try_new0(uint64_t, MAX(d->l1_size, 1));
    d->fresh = g_try_malloc0(MAX(d->l1_size, 1));
    d->fresh_list = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    d->unraised = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    d->orphans = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    d->all_unraised = true;
    if (!d->l1 || !d->fresh) {
        draft_free(d);
        return -ENOMEM;
    }
    *ret = d;
    return 0;
}

/* Clusters for its L1 table, and its entry in a list of all. */
static int co_fn draft_plan(BlockDriverState *bs, Qcow2Draft *d, const BdrvSnapshot *sn)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t bytes;
    HostOffset at = host_offset(0);
    g_autoptr(GPtrArray) list = qcow2_snapshots_read(bs, &bytes, NULL);
    int ret = list ? 0 : -EIO;

    if (ret == 0 && list->len >= QCOW2_MAX_SNAPSHOTS) {
        ret = -EFBIG;
    }
    if (ret == 0 && d->l1_size) {
        uint64_t clusters = qcow2_clusters_for(&s->g, d->l1_size * UINT64_C(8));
        bool zero;

        ret = qcow2_alloc_contiguous(bs, clusters, &at, &zero);
        d->l1_clusters = ret == 0 ? clusters : 0;
    }
    if (ret < 0) {
        return ret;
    }
    BdrvSnapshot info = *sn;
    g_autofree char *id = next_id(list);
    info.id = id;
    info.name = sn->name ?: (char *)"";
    info.disk_size = bdrv_length(bs);
    d->sn = qcow2_snapshot_new(&info, at, d->l1_size);
    if (!d->sn) {
        qcow2_free_now(bs, at, d->l1_clusters);
        return -ENAMETOOLONG;
    }
    g_ptr_array_add(list, d->sn);
    d->list = g_steal_pointer(&list);
    return 0;
}

int co_fn qcow2_co_snapshot_begin(BlockDriverState *bs, const BdrvSnapshot *sn)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2Draft *d = NULL;

    if (s->g.has_data_file) {
        return -ENOTSUP;
    }
    if (s->snapshot_busy) {
        return -EBUSY;
    }
    s->snapshot_busy = true;        /* before anything waits: another one may begin meanwhile */
    int ret = qcow2_prepare_change(bs);
    if (ret == 0) {
        ret = draft_alloc(s, &d);
    }
    if (ret < 0) {
        s->snapshot_busy = false;
        return qcow2_end(bs, ret);
    }
    ret = qcow2_unsettled_begin(bs);
    if (ret == 0) {
        ret = draft_plan(bs, d, sn);
        if (ret < 0) {
            qcow2_unsettled_end(bs, true);
        }
    }
    if (ret < 0) {
        draft_free(d);
        s->snapshot_busy = false;
        return qcow2_end(bs, ret);
    }
    qcow2_lock(s);
    s->draft = d;
    qcow2_unlock(s);
    return qcow2_end(bs, 0);
}

const char *any_fn qcow2_snapshot_id(BlockDriverState *bs)
{
    return qcow2_state(bs)->draft->sn->info->id;
}

/* ---- raising ---- */

/* What the active table at @table refers to, which may be newer in memory than on disk. */
static int co_fn active_runs(BlockDriverState *bs, HostOffset table, GArray *runs,
                             bool *ret_copied)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = 0;

    for (uint64_t pos = 0; ret == 0 && pos < s->g.cluster_size; pos += s->g.page_size) {
        Qcow2Page *page;

        qcow2_lock(s);
        ret = QCOW2_WALK_INNER(s, w, qcow2_page_try(bs, &w, QCOW2_PAGE_L2, table.v + pos, &page));
        if (ret == 0) {
            ret = qcow2_table_runs(bs, table, page->buf, s->g.page_size, runs, ret_copied);
        }
        qcow2_unlock(s);
    }
    qcow2_runs_add(s, runs, table, 1);
    return ret;
}

static int co_fn clear_page_try(BlockDriverState *bs, Qcow2Walk *w, uint64_t offset)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2Page *page;
    int ret = qcow2_page_try(bs, w, QCOW2_PAGE_L2, offset, &page);

    if (ret == 0) {
        ret = qcow2_page_change_try(bs, w, page);
    }
    if (ret == 0) {
        qcow2_cache_touch(&s->cache, page);
        qcow2_table_clear_copied(&s->g, page->buf, s->g.page_size);
    }
    return ret;
}

/* (I3) */
static int co_fn clear_copied(BlockDriverState *bs, HostOffset table)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = 0;

    for (uint64_t pos = 0; ret == 0 && pos < s->g.cluster_size; pos += s->g.page_size) {
        qcow2_lock(s);
        ret = QCOW2_WALK_INNER(s, w, clear_page_try(bs, &w, table.v + pos));
        qcow2_unlock(s);
    }
    return ret;
}

static int co_fn l1_get_try(BlockDriverState *bs, Qcow2Walk *w, uint32_t i, uint64_t *ret_entry)
{
    Qcow2Page *l1;
    size_t pos;
    int ret = qcow2_l1_entry_try(bs, w, i, &l1, &pos);

    if (ret == 0) {
        *ret_entry = be64_load(l1->buf + pos);
    }
    return ret;
}

/* It is raised from now on (I6). */
static void note_raised(Qcow2State *s, Qcow2Draft *d, uint32_t i, HostOffset table)
{
    qcow2_lock(s);
    be64_store(&d->l1[i], table.v);
    qcow2_unlock(s);
}

/* The table at L1 entry @i, which is frozen. Under l2_lock. */
static int co_fn raise_frozen(BlockDriverState *bs, Qcow2Draft *d, uint32_t i)
{
    Qcow2State *s = qcow2_state(bs);
    g_autoptr(GArray) runs = qcow2_runs_new();
    bool copied = false;
    uint64_t entry = 0;

    qcow2_lock(s);
    int ret = QCOW2_WALK_INNER(s, w, l1_get_try(bs, &w, i, &entry));
    if (ret == 0 && entry & QCOW2_OFFSET_MASK & (s->g.cluster_size - 1)) {
        ret = qcow2_note_damage(bs, 0, 0, "L1 entry %u leads to an L2 table that is not aligned "
                                "to a cluster", i);
    }
    qcow2_unlock(s);
    HostOffset table = host_offset(entry & QCOW2_OFFSET_MASK);
    if (ret < 0 || !table.v) {
        return ret;
    }
    ret = active_runs(bs, table, runs, &copied);
    if (ret == 0) {
        /* First of all: the table stays as it is also when there is no draft any more. */
        ret = qcow2_l1_set_copied(bs, i, false);
    }
    if (ret == 0) {
        ret = qcow2_runs_raise(bs, runs);
    }
    if (ret < 0) {
        return ret;
    }
    note_raised(s, d, i, table);
    return copied ? clear_copied(bs, table) : 0;
}

static int co_fn raise_index(BlockDriverState *bs, Qcow2Draft *d, uint32_t i)
{
    Qcow2State *s = qcow2_state(bs);

    co_mutex_lock(&s->l2_lock);
    qcow2_lock(s);
    bool skip = d->fresh[i] || d->l1[i];    /* it is for the next round, or has been raised */
    qcow2_unlock(s);
    int ret = skip ? 0 : raise_frozen(bs, d, i);
    co_mutex_unlock(&s->l2_lock);
    return ret;
}

/* All that was frozen and is not raised. @held: nobody writes, and nothing may take its time. */
static int co_fn raise_unraised(BlockDriverState *bs, Qcow2Draft *d, bool held)
{
    uint32_t n = d->all_unraised ? d->l1_size : d->unraised->len;
    int ret = 0;

    for (uint32_t k = 0; ret == 0 && k < n; k++) {
        ret = raise_index(bs, d, d->all_unraised ? k : g_array_index(d->unraised, uint32_t, k));
        if (ret == 0 && !held) {
            ret = qcow2_writeback_throttle(bs);
            if (k % 64 == 63) {
                coroutine_reschedule();
            }
        }
    }
    return ret;
}

/* ---- the L1 table in the file ---- */

static int co_fn write_l1_part(BlockDriverState *bs, Qcow2Draft *d, uint64_t pos, uint64_t bytes)
{
    return qcow2_write_table(bs, host_add(d->sn->l1_offset, pos), (uint8_t *)d->l1 + pos, bytes);
}

/* All of it, zeroes to the end of the last cluster. */
static int co_fn write_l1(BlockDriverState *bs, Qcow2Draft *d)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t bytes = d->l1_size * UINT64_C(8), tail = (d->l1_clusters << s->g.cluster_bits) - bytes;
    int ret = bytes ? write_l1_part(bs, d, 0, bytes) : 0;

    if (ret == 0 && tail) {
        ret = bdrv_co_pwrite_zeroes(bs->file, d->sn->l1_offset.v + bytes, tail, 0);
    }
    return ret;
}

/* What has changed since it was written. */
static int co_fn rewrite_l1(BlockDriverState *bs, Qcow2Draft *d)
{
    uint64_t bytes = d->l1_size * UINT64_C(8), done = UINT64_MAX;
    int ret = 0;

    for (guint k = 0; ret == 0 && k < d->unraised->len; k++) {
        uint64_t pos = ROUND_DOWN(g_array_index(d->unraised, uint32_t, k) * UINT64_C(8), 4096);

        if (pos != done) {
            ret = write_l1_part(bs, d, pos, MIN(4096, bytes - pos));
            done = pos;
        }
    }
    return ret;
}

int co_fn qcow2_co_snapshot_raise(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2Draft *d = s->draft;
    int ret = raise_unraised(bs, d, false);

    if (ret == 0) {
        d->all_unraised = false;
        g_array_set_size(d->unraised, 0);
        ret = write_l1(bs, d);
        d->l1_written = ret == 0;
    }
    if (ret == 0 && !d->table.n) {
        ret = qcow2_snapshot_table_write(bs, d->list, &d->table);
    }
    if (ret == 0) {
        ret = qcow2_write_dirty(bs, QCOW2_WRITEBACK_SETTLE);
    }
    return qcow2_end(bs, ret);
}

/* ---- the instant ---- */

static bool is_settled(Qcow2State *s)
{
    qcow2_lock(s);
    bool settled = s->cache.n_dirty + s->cache.n_frozen == 0;
    qcow2_unlock(s);
    return settled;
}

/* (I1), (I3): everything that the snapshot is, and that keeps it, is durable. */
static void assert_complete(Qcow2State *s, Qcow2Draft *d)
{
    qcow2_lock(s);
    assert(d->frozen && d->l1_written && d->table.n == d->list->len && d->fresh_list->len == 0);
    assert(d->l1_size == s->l1_size);
    if (QEMU_DEBUG_CHECKS) {
        for (uint32_t i = 0; i < d->l1_size; i++) {
            assert(!d->fresh[i] && (be64_load(&d->l1[i]) & (s->g.cluster_size - 1)) == 0);
        }
    }
    qcow2_unlock(s);
}

/* Its tables are not to be written to any more; nothing in them is dirty. */
static void note_taken(Qcow2State *s, Qcow2Draft *d)
{
    qcow2_lock(s);
    for (uint64_t i = 0; i < d->l1_clusters; i++) {
        qcow2_overlap_add(s, QCOW2_OL_INACTIVE_L1,
                          host_add(d->sn->l1_offset, i << s->g.cluster_bits));
    }
    for (uint32_t i = 0; s->overlap_checks & QCOW2_OL_INACTIVE_L2 && i < d->l1_size; i++) {
        if (d->l1[i]) {
            qcow2_overlap_add(s, QCOW2_OL_INACTIVE_L2, host_offset(be64_load(&d->l1[i])));
        }
    }
    d->frozen = false;              /* what it has are the snapshot's references now */
    qcow2_unlock(s);
}

int co_fn qcow2_co_snapshot_take(BlockDriverState *bs, bool flushed)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2Draft *d = s->draft;
    Qcow2SnapshotTable old = qcow2_snapshot_table(s);
    int ret = raise_unraised(bs, d, true);

    if (ret == 0) {
        ret = rewrite_l1(bs, d);
    }
    if (ret == 0 && (d->unraised->len || !flushed || !is_settled(s))) {
        ret = qcow2_write_dirty(bs, QCOW2_WRITEBACK_SETTLE);
    }
    if (ret == 0) {
        assert_complete(s, d);
        ret = qcow2_snapshot_table_activate(bs, &d->table, d->list);
    }
    if (ret == 0) {
        note_taken(s, d);
        d->table = old;             /* to be given back (I2) */
        d->taken = true;
    }
    return qcow2_end(bs, ret);
}

/* ---- the end ---- */

/* What was raised for tables that are not in the snapshot. */
static int co_fn drop_orphans(BlockDriverState *bs, Qcow2Draft *d)
{
    return qcow2_map_drop(bs, (uint64_t *)d->orphans->data, d->orphans->len);
}

static int co_fn undo(BlockDriverState *bs, Qcow2Draft *d)
{
    int ret = qcow2_map_drop(bs, d->l1, d->l1_size);
    int r = drop_orphans(bs, d);
    ret = ret ?: r;
    if (d->l1_clusters) {
        qcow2_free_now(bs, d->sn->l1_offset, d->l1_clusters);
    }
    qcow2_snapshot_table_free(bs, &d->table);
    r = qcow2_flags_refresh(bs);
    return ret ?: r;
}

void co_fn qcow2_co_snapshot_end(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2Draft *d = s->draft;
    int ret = -EIO;

    qcow2_lock(s);
    s->draft = NULL;
    qcow2_unlock(s);
    if (d->taken) {
        ret = drop_orphans(bs, d);
        qcow2_snapshot_table_free(bs, &d->table);
    } else if (!__atomic_load_n(&s->header_unknown, __ATOMIC_ACQUIRE)) {
        ret = undo(bs, d);          /* else the header may name it */
    }
    draft_free(d);
    s->snapshot_busy = false;
    qcow2_unsettled_end(bs, ret == 0);
}
