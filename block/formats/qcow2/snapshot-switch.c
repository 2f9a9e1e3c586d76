/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header goes over to another table of snapshots: (I1) and (I2) of snapshot.h. */
#include "qemu/osdep.h"

#include "snapshot.h"

Qcow2SnapshotTable any_fn qcow2_snapshot_table(Qcow2State *s)
{
    return (Qcow2SnapshotTable){ s->header.nb_snapshots, s->header.snapshots_offset,
                                 s->snapshots_bytes };
}

/* The table's bytes, zeroes up to a whole number of clusters; caller frees. */
static uint8_t *format(const Qcow2Geometry *g, const GPtrArray *list, uint64_t *ret_bytes,
                       uint64_t *ret_clusters)
{
    uint64_t bytes = 0;

    for (guint i = 0; i < list->len; i++) {
        bytes += ((Qcow2Snapshot *)list->pdata[i])->raw_bytes;
    }
    *ret_bytes = bytes;
    *ret_clusters = qcow2_clusters_for(g, bytes);
    if (list->len > QCOW2_MAX_SNAPSHOTS || bytes > QCOW2_MAX_SNAPSHOT_TABLE) {
        return NULL;
    }
    uint8_t *buf = g_malloc0(*ret_clusters << g->cluster_bits), *p = buf;
    for (guint i = 0; i < list->len; i++) {
        const Qcow2Snapshot *sn = list->pdata[i];
        memcpy(p, sn->raw, sn->raw_bytes);
        p += sn->raw_bytes;
    }
    return buf;
}

int co_fn qcow2_snapshot_table_write(BlockDriverState *bs, const GPtrArray *list,
                                     Qcow2SnapshotTable *ret_table)
{
    const Qcow2Geometry *g = &qcow2_state(bs)->g;
    uint64_t bytes, clusters;
    HostOffset at;
    bool zero;

    *ret_table = (Qcow2SnapshotTable){ 0 };
    if (list->len == 0) {
        return 0;
    }
    g_autofree uint8_t *buf = format(g, list, &bytes, &clusters);
    if (!buf) {
        return -EFBIG;
    }
    int ret = qcow2_alloc_contiguous(bs, clusters, &at, &zero);
    if (ret < 0) {
        return ret;
    }
    ret = qcow2_write_table(bs, at, buf, clusters << g->cluster_bits);
    if (ret < 0) {
        qcow2_free_now(bs, at, clusters);
        return ret;
    }
    *ret_table = (Qcow2SnapshotTable){ list->len, at, bytes };
    return 0;
}

void any_fn qcow2_snapshots_note(Qcow2State *s, const GPtrArray *list)
{
    g_clear_pointer(&s->snapshots, g_ptr_array_unref);
    s->snapshots = g_ptr_array_new_with_free_func(bdrv_snapshot_free);
    for (guint i = 0; i < list->len; i++) {
        const BdrvSnapshot *info = ((Qcow2Snapshot *)list->pdata[i])->info;

        g_ptr_array_add(s->snapshots, bdrv_snapshot_copy(info));
    }
}

int co_fn qcow2_snapshot_table_activate(BlockDriverState *bs, const Qcow2SnapshotTable *table,
                                        const GPtrArray *list)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = qcow2_header_set_snapshots(bs, table->n, table->offset);

    if (ret == 0) {
        qcow2_lock(s);
        s->header.nb_snapshots = table->n;
        s->header.snapshots_offset = table->offset;
        s->snapshots_bytes = table->bytes;
        qcow2_unlock(s);
        qcow2_snapshots_note(s, list);
    }
    return ret;
}

void co_fn qcow2_snapshot_table_free(BlockDriverState *bs, const Qcow2SnapshotTable *table)
{
    if (table->n) {
        qcow2_free_now(bs, table->offset, qcow2_clusters_for(&qcow2_state(bs)->g, table->bytes));
    }
}
