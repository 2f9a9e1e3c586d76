/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deleting an internal snapshot, while guests write: the header goes over to a table without it
 * (I1), and only then its references go (I2).  What fails after that is a leak, and the image stays
 * marked as dirty, so that the next one to open it for writing gets the space back.
 */
#include "qemu/osdep.h"

#include "snapshot.h"

/* The header goes over to @list, all of which is on disk by then. */
static int co_fn go_over(BlockDriverState *bs, const GPtrArray *list)
{
    Qcow2State *s = qcow2_state(bs);
    Qcow2SnapshotTable old = qcow2_snapshot_table(s), table;
    int ret = qcow2_snapshot_table_write(bs, list, &table);

    if (ret == 0) {
        ret = qcow2_write_dirty(bs, QCOW2_WRITEBACK_SETTLE);
        if (ret == 0) {
            ret = qcow2_snapshot_table_activate(bs, &table, list);
        }
        if (ret == 0) {
            qcow2_snapshot_table_free(bs, &old);
        } else if (!__atomic_load_n(&s->header_unknown, __ATOMIC_ACQUIRE)) {
            qcow2_snapshot_table_free(bs, &table);
        }
    }
    return ret;
}

/* Give back what @sn has, of which @l1 is the L1 table. */
static int co_fn give_back(BlockDriverState *bs, const Qcow2Snapshot *sn, const uint64_t *l1)
{
    int ret;

    qcow2_overlap_reload_snapshots(bs);
    ret = qcow2_map_drop(bs, l1, sn->l1_size);
    if (sn->l1_size) {
        qcow2_drop_references(bs, sn->l1_offset,
                              qcow2_clusters_for(&qcow2_state(bs)->g, sn->l1_size * UINT64_C(8)),
                              qcow2_state(bs)->discard_snapshot);
    }
    int r = qcow2_flags_refresh(bs);
    return ret ?: r;
}

/* The image is marked as dirty.  *@ret_gone: it is deleted, whatever the result is. */
static int co_fn delete_marked(BlockDriverState *bs, GPtrArray *list, guint i, bool *ret_gone)
{
    Qcow2Snapshot *sn = g_ptr_array_steal_index(list, i);
    int ret;
    uint64_t *l1 = qcow2_l1_read(bs, sn->l1_offset, sn->l1_size, &ret);

    if (ret == 0) {
        ret = go_over(bs, list);
    }
    if (ret == 0) {
        *ret_gone = true;
        ret = give_back(bs, sn, l1);
    }
    free(l1);
    qcow2_snapshot_free(sn);
    return ret;
}

static int co_fn delete(BlockDriverState *bs, GPtrArray *list, guint i, bool *ret_gone)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = qcow2_prepare_change(bs);

    if (ret < 0) {
        return ret;
    }
    s->snapshot_busy = true;
    ret = qcow2_unsettled_begin(bs);
    if (ret == 0) {
        ret = delete_marked(bs, list, i, ret_gone);
        qcow2_unsettled_end(bs, ret == 0 || !*ret_gone);
    }
    s->snapshot_busy = false;
    return ret;
}

bool co_fn qcow2_co_snapshot_delete(BlockDriverState *bs, const char *id, Error **errp)
{
    uint64_t bytes;
    bool gone = false;

    if (qcow2_state(bs)->snapshot_busy) {
        error_setg(errp, "Cannot delete snapshot '%s' of '%s': another one is being made or "
                   "deleted", id, qcow2_name(bs));
        return false;
    }
    g_autoptr(GPtrArray) list = qcow2_snapshots_read(bs, &bytes, errp);
    if (!list) {
        return false;
    }
    int i = qcow2_snapshot_find(list, id);
    if (i < 0) {
        error_setg(errp, "Can't find the snapshot");
        return false;
    }
    int ret = qcow2_end(bs, delete(bs, list, i, &gone));
    if (!gone) {
        error_setg_errno(errp, -ret, "Failed to remove snapshot from snapshot list");
    }
    return gone;
}
