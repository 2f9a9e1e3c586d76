/* SPDX-License-Identifier: GPL-2.0-or-later */
/* transaction, and the snapshot commands that are a transaction of one action. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/snapshot.h"
#include "qapi/qapi-commands.h"

/* ---- names ---- */

/*
 * The node that an action means.  Earlier actions count as done: a backend leads to the overlay it
 * will get, and a name may be one that an earlier action gives, once it is prepared.
 */
static BlockDriverState *co_main_fn resolve(Transaction *t, const char *device,
                                            const char *node_name, Error **errp)
{
    bool settled;

    for (;;) {
        BlockBackend *blk = blockdev_find_backend(
            device, node_name ? bdrv_find_node(node_name) : NULL);
        BlockDriverState *bs = blockdev_lookup(device, node_name, false, NULL);

        if (bs && !blk) {
            return bs;
        }
        BlockDriverState *found = bs ? snapshot_top(t, bs, &settled)
                                     : node_name ? snapshot_find_overlay(t, node_name) : NULL;
        if (found && (!bs || settled)) {
            return found;
        }
        if (transaction_is_settled(t)) {
            return blockdev_lookup(device, node_name, false, errp);     /* it says what is wrong */
        }
        if (!transaction_settle(t, errp)) {
            return NULL;
        }
    }
}

/* ---- actions ---- */

static bool co_main_fn add_snapshot_sync(Transaction *t, const TransactionAction *a, Error **errp)
{
    const BlockdevSnapshotSync *q = a->u.blockdev_snapshot_sync.data;

    if (!q->device && !q->node_name) {
        error_setg(errp, "Neither 'device' nor 'node-name' says which disk is meant");
        return false;
    }
    BlockDriverState *bs = resolve(t, q->device, q->node_name, errp);
    if (!bs) {
        return false;
    }
    if (!q->device && !q->snapshot_node_name) {
        error_setg(errp, "New overlay node-name missing");
        return false;
    }
    SnapshotRequest req = {
        .device = q->device ?: q->node_name, .base = bs, .filename = q->snapshot_file,
        .format = q->format ?: "qcow2", .node_name = q->snapshot_node_name,
        .existing = q->has_mode && q->mode == NEW_IMAGE_MODE_EXISTING,
        .layout = blockdev_snapshot_layout(q->has_cluster_size, q->cluster_size,
                                           q->has_extended_l2, q->extended_l2),
    };
    return snapshot_action_add(t, &req, errp);
}

static bool co_main_fn add_snapshot(Transaction *t, const TransactionAction *a, Error **errp)
{
    const BlockdevSnapshot *q = a->u.blockdev_snapshot.data;
    BlockDriverState *bs = resolve(t, q->node, q->node, errp);
    BlockDriverState *overlay = bs ? resolve(t, q->overlay, q->overlay, errp) : NULL;

    if (!overlay) {
        return false;
    }
    SnapshotRequest req = { .device = q->node, .base = bs, .overlay = overlay };
    return snapshot_action_add(t, &req, errp);
}

static bool co_main_fn add_abort(Transaction *t, const TransactionAction *a, Error **errp)
{
    /* Fails where others would, when all before it are prepared. */
    if (transaction_settle(t, errp)) {
        error_setg(errp, "Transaction aborted using Abort action");
    }
    return false;
}

/* How each kind is added. */
static bool (*const add_kind[TRANSACTION_ACTION_KIND__MAX])(Transaction *t,
                                                            const TransactionAction *a,
                                                            Error **errp) = {
    [TRANSACTION_ACTION_KIND_ABORT]                  = add_abort,
    [TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT]      = add_snapshot,
    [TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC] = add_snapshot_sync,
};

static bool co_main_fn add_actions(Transaction *t, const void *opaque, Error **errp)
{
    for (const TransactionActionList *l = opaque; l; l = l->next) {
        if (!add_kind[l->value->type](t, l->value, errp)) {
            return false;
        }
    }
    return true;
}

/* ---- commands ---- */

static bool co_main_fn run_actions(const TransactionActionList *actions, Error **errp)
{
    bool ok = blockdev_run_transaction(add_actions, actions, errp);

    blockdev_plain_error(errp);
    return ok;
}

bool co_main_fn qmp_transaction(const QmpTransactionArgs *args, Error **errp)
{
    if (args->properties && args->properties->has_completion_mode &&
        args->properties->completion_mode != ACTION_COMPLETION_MODE_INDIVIDUAL) {
        error_setg(errp, "Action does not support transaction property completion-mode = grouped");
        return false;
    }
    return run_actions(args->actions, errp);
}

bool co_main_fn qmp_blockdev_snapshot_sync(const BlockdevSnapshotSync *args, Error **errp)
{
    TransactionAction action = { .type = TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC };
    TransactionActionList list = { .value = &action };

    action.u.blockdev_snapshot_sync.data = (BlockdevSnapshotSync *)args;
    return run_actions(&list, errp);
}

bool co_main_fn qmp_blockdev_snapshot(const BlockdevSnapshot *args, Error **errp)
{
    TransactionAction action = { .type = TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT };
    TransactionActionList list = { .value = &action };

    action.u.blockdev_snapshot.data = (BlockdevSnapshot *)args;
    return run_actions(&list, errp);
}
