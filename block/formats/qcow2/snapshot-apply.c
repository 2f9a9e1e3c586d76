/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Going back to an internal snapshot: the active L1 table becomes a copy of the snapshot's, and the
 * size of the disk that of then.  Both are in the header's first sector, so a power cut leaves the
 * one disk or the other.  References to what the snapshot has are raised before (I1), those of what
 * the disk had go after (I2).
 *
 * The core holds the whole node.
 */
#include "qemu/osdep.h"

#include "snapshot.h"

typedef struct Apply {
    BlockDriverState *bs;
    const Qcow2Snapshot *sn;
    uint64_t *l1;                   /* the snapshot's, without flags, zeroes up to @entries */
    uint32_t entries;               /* of the new active L1 table */
    uint64_t clusters;              /* for that */
    HostOffset at;
    uint64_t *old_l1;
    uint32_t old_entries;
    HostOffset old_at;
} Apply;

static bool check_snapshot(BlockDriverState *bs, const Qcow2Snapshot *sn, Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    int64_t size = sn->info->disk_size;

    if (size < 0 || size > BDRV_MAX_LENGTH || size % 512 ||
        qcow2_l1_entries_for(&s->g, size) > QCOW2_MAX_L1_BYTES / 8) {
        error_setg(errp, "Snapshot '%s' of '%s' is of a disk of %" PRId64 " bytes, which cannot be",
                   sn->info->name, qcow2_name(bs), size);
        return false;
    }
    return true;
}

static int co_fn read_l1(Apply *a)
{
    Qcow2State *s = qcow2_state(a->bs);
    int ret;
    uint64_t *l1 = qcow2_l1_read(a->bs, a->sn->l1_offset, a->sn->l1_size, &ret);

    if (ret < 0) {
        return ret;
    }
    a->entries = MAX(a->sn->l1_size, qcow2_l1_entries_for(&s->g, a->sn->info->disk_size));
    a->clusters = qcow2_clusters_for(&s->g, a->entries * UINT64_C(8));
    a->l1 = bdrv_try_blockalign(MAX(a->clusters, 1) << s->g.cluster_bits);
    if (a->l1) {
        memset(a->l1, 0, a->clusters << s->g.cluster_bits);
        for (uint32_t i = 0; i < a->sn->l1_size; i++) {
            be64_store(&a->l1[i], be64_load(&l1[i]) & QCOW2_OFFSET_MASK);
        }
    }
    free(l1);
    return a->l1 ? 0 : -ENOMEM;
}

/* The new L1 table, and everything that has to be on disk before the header leads there. */
static int co_fn write_l1(Apply *a)
{
    Qcow2State *s = qcow2_state(a->bs);
    bool zero;
    int ret = a->clusters ? qcow2_alloc_contiguous(a->bs, a->clusters, &a->at, &zero) : 0;

    if (ret < 0) {
        a->clusters = 0;
        return ret;
    }
    if (a->clusters) {
        ret = qcow2_write_table(a->bs, a->at, a->l1, a->clusters << s->g.cluster_bits);
    }
    return ret == 0 ? qcow2_write_dirty(a->bs, QCOW2_WRITEBACK_SETTLE) : ret;
}

/* In memory, now that the header has gone over. Nothing is dirty. */
static void switch_map(Apply *a)
{
    Qcow2State *s = qcow2_state(a->bs);

    qcow2_lock(s);
    s->l1_offset = a->at;
    s->l1_size = a->entries;
    s->header.size = a->sn->info->disk_size;
    g_clear_pointer(&s->inflated, qcow2_inflated_unref);
    qcow2_unlock(s);
    qcow2_forget_metadata(a->bs);
}

/* References raised, the header gone over, in this order; what fails before the last is undone. */
static int co_fn go_over(Apply *a)
{
    Qcow2State *s = qcow2_state(a->bs);
    int ret = qcow2_map_raise(a->bs, a->l1, a->entries);

    if (ret < 0) {
        return ret;
    }
    ret = write_l1(a);
    if (ret == 0) {
        ret = qcow2_header_set_size(a->bs, a->sn->info->disk_size, a->at, a->entries);
    }
    if (ret == 0) {
        switch_map(a);
    } else if (!__atomic_load_n(&s->header_unknown, __ATOMIC_ACQUIRE)) {
        qcow2_map_drop(a->bs, a->l1, a->entries);
        if (a->clusters) {
            qcow2_free_now(a->bs, a->at, a->clusters);
        }
    }
    return ret;
}

/* *@ret_done: the disk is the snapshot's, whatever the result is. */
static int co_fn apply_marked(Apply *a, bool *ret_done)
{
    Qcow2State *s = qcow2_state(a->bs);
    /* What is unlinked so far is freed, and tables on disk are as in memory. */
    int ret = qcow2_co_flush(a->bs, BDRV_FLUSH_SETTLE);

    a->old_at = s->l1_offset;
    a->old_entries = s->l1_size;
    if (ret == 0) {
        a->old_l1 = qcow2_l1_read(a->bs, a->old_at, a->old_entries, &ret);
    }
    if (ret == 0) {
        ret = read_l1(a);
    }
    if (ret == 0) {
        ret = go_over(a);
        *ret_done = ret == 0;
    }
    if (ret == 0) {
        ret = qcow2_prepare_change(a->bs);      /* finds out where tables are now */
    }
    if (ret == 0) {
        ret = qcow2_map_drop(a->bs, a->old_l1, a->old_entries);
        if (a->old_entries) {
            qcow2_free_now(a->bs, a->old_at,
                           qcow2_clusters_for(&s->g, a->old_entries * UINT64_C(8)));
        }
    }
    /* Also where nothing was done: tables that others share lost a reference again. */
    int r = qcow2_flags_refresh(a->bs);
    return ret ?: r;
}

static int co_fn apply(BlockDriverState *bs, const Qcow2Snapshot *sn, bool *ret_done)
{
    Apply a = { .bs = bs, .sn = sn };
    int ret = qcow2_prepare_change(bs);

    if (ret == 0) {
        ret = qcow2_unsettled_begin(bs);
    }
    if (ret < 0) {
        return ret;
    }
    ret = apply_marked(&a, ret_done);
    qcow2_unsettled_end(bs, ret == 0 || !*ret_done);
    qcow2_co_flush(bs, BDRV_FLUSH_SETTLE);
    free(a.l1);
    free(a.old_l1);
    return ret;
}

bool co_fn qcow2_co_snapshot_apply(BlockDriverState *bs, const char *id, int64_t *ret_length,
                                   Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t bytes;
    bool done = false;

    if (s->snapshot_busy) {
        error_setg(errp, "Cannot apply snapshot '%s' of '%s': another one is being made or deleted",
                   id, qcow2_name(bs));
        return false;
    }
    g_autoptr(GPtrArray) list = qcow2_snapshots_read(bs, &bytes, errp);
    if (!list) {
        return false;
    }
    int i = qcow2_snapshot_find(list, id);
    if (i < 0) {
        error_setg_errno(errp, ENOENT, "Failed to load snapshot");
        return false;
    }
    const Qcow2Snapshot *sn = list->pdata[i];
    if (!check_snapshot(bs, sn, errp)) {
        return false;
    }
    int ret = qcow2_end(bs, apply(bs, sn, &done));
    if (!done) {
        error_setg_errno(errp, -ret, "Failed to load snapshot");
    } else {
        *ret_length = sn->info->disk_size;
    }
    return done;
}
