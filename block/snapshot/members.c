/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The snapshots among the actions of a transaction: finding them, and their results. */
#include "qemu/osdep.h"

#include "block/snapshot/snapshot-internal.h"

const char snapshot_holder[] = "the snapshot command";

/* ---- layout ---- */

/* docs/design/graph.md says why. */
static SnapshotLayout default_layout = {
    .cluster_size = 128 * KiB, .has_extended_l2 = true, .extended_l2 = true,
};

bool main_fn snapshot_complete_layout(SnapshotLayout *layout, Error **errp)
{
    bool extended = layout->has_extended_l2 ? layout->extended_l2 : default_layout.extended_l2;

    if (!layout->cluster_size) {
        layout->cluster_size = extended == default_layout.extended_l2
                               ? default_layout.cluster_size : 64 * KiB;
    }
    layout->extended_l2 = extended;
    layout->has_extended_l2 = true;
    if (!IS_POWER_OF_2(layout->cluster_size) || layout->cluster_size > 2 * MiB ||
        layout->cluster_size < (extended ? 16 * KiB : 512)) {
        error_setg(errp, "cluster-size must be a power of two from 512 (16k with extended-l2) "
                   "to 2M");
        return false;
    }
    return true;
}

bool main_fn snapshot_set_layout(const SnapshotLayout *layout, Error **errp)
{
    SnapshotLayout whole = *layout;

    if (!snapshot_complete_layout(&whole, errp)) {
        return false;
    }
    default_layout = whole;
    return true;
}

/* ---- members ---- */

void main_fn snapshot_release_name(SnapshotAction *s)
{
    if (s->name_reserved) {
        bdrv_release_node_name(s->req.node_name);
        s->name_reserved = false;
    }
}

SnapshotAction *main_fn snapshot_action_at(const Transaction *t, guint i)
{
    BdrvAction *a = transaction_action(t, i);

    return a->ops->holder == snapshot_holder ? container_of(a, SnapshotAction, action) : NULL;
}

BlockDriverState *main_fn snapshot_top(Transaction *t, BlockDriverState *bs, bool *ret_settled)
{
    SnapshotAction *s;

    *ret_settled = true;
    SNAPSHOT_FOREACH(t, transaction_count(t), s) {
        if (s->req.base == bs) {
            *ret_settled = s->overlay != NULL;
            bs = s->overlay ?: s->req.overlay ?: bs;
        }
    }
    return bs;
}

BlockDriverState *main_fn snapshot_find_overlay(Transaction *t, const char *node_name)
{
    SnapshotAction *s;

    SNAPSHOT_FOREACH(t, transaction_count(t), s) {
        if (s->overlay && strcmp(s->overlay->node_name, node_name) == 0) {
            return s->overlay;
        }
    }
    return NULL;
}

SnapshotResult main_fn snapshot_result(const Transaction *t, guint i)
{
    SnapshotAction *s = snapshot_action_at(t, i);

    g_assert(transaction_state(t) == TRANSACTION_COMMITTED);
    return (SnapshotResult){
        .device = s->req.device,
        .filename = s->overlay_filename,
        .node_name = s->overlay_node_name,
        .base_node_name = s->base_node_name,
        .base_read_only = s->base_is_read_only,
        .base_read_only_error = s->ro_error ? error_get_pretty(s->ro_error) : NULL,
    };
}
