/* SPDX-License-Identifier: GPL-2.0-or-later */
/* transaction, and the commands of snapshots and bitmaps that are a transaction of one action. */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "block/blockdev.h"
#include "block/snapshot.h"
#include "qapi/qapi-commands.h"

/* ---- names ---- */

/*
 * The node that an action means.  Earlier actions count as done: a backend leads to the overlay it
 * will get, and a name may be one that an earlier action gives, once it is prepared.  NULL without
 * an error: there is none.
 */
static BlockDriverState *co_main_fn try_resolve(Transaction *t, const char *device,
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
        if (transaction_is_settled(t) || !transaction_settle(t, errp)) {
            return NULL;
        }
    }
}

static BlockDriverState *co_main_fn resolve(Transaction *t, const char *device,
                                            const char *node_name, Error **errp)
{
    Error *err = NULL;
    BlockDriverState *bs = try_resolve(t, device, node_name, &err);

    if (!bs && !err) {
        blockdev_lookup(device, node_name, false, &err);    /* it says what is wrong */
    }
    error_propagate(errp, err);
    return bs;
}

/* ---- actions ---- */

static bool co_main_fn add_snapshot_sync(Transaction *t, const TransactionAction *a, Error **errp)
{
    const BlockdevSnapshotSync *q = a->u.blockdev_snapshot_sync.data;

    if (!q->device && !q->node_name) {
        error_setg(errp, "Cannot find device='' nor node-name=''");     /* QEMU's text */
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
        .carry_bitmaps = q->has_bitmaps && q->bitmaps == SNAPSHOT_BITMAPS_CARRY,
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
    SnapshotRequest req = {
        .device = q->node, .base = bs, .overlay = overlay,
        .carry_bitmaps = q->has_bitmaps && q->bitmaps == SNAPSHOT_BITMAPS_CARRY,
    };
    return snapshot_action_add(t, &req, errp);
}

static bool co_main_fn add_internal_snapshot(Transaction *t, const TransactionAction *a,
                                             Error **errp)
{
    const BlockdevSnapshotInternal *q = a->u.blockdev_snapshot_internal_sync.data;
    Error *err = NULL;
    BlockDriverState *bs = try_resolve(t, q->device, q->device, &err);

    /* A node that an earlier action makes has its users from the commit on. */
    if (!err && (!bs || bs == blockdev_lookup(q->device, q->device, false, NULL))) {
        bs = blockdev_lookup_root(q->device, &err);
    }
    error_propagate(errp, err);
    return bs && !err && internal_snapshot_action_add(t, bs, q->device, q->name, 0, errp);
}

/* The node of a bitmap, which QEMU's commands other than the one that makes one ask for by
 * another text. */
static BlockDriverState *co_main_fn resolve_of_bitmap(Transaction *t, const char *node,
                                                      Error **errp)
{
    Error *err = NULL;
    BlockDriverState *bs = try_resolve(t, node, node, &err);

    if (!bs && !err) {
        error_setg(&err, "Node '%s' not found", node);
    }
    error_propagate(errp, err);
    return bs;
}

static bool co_main_fn add_bitmap_add(Transaction *t, const TransactionAction *a, Error **errp)
{
    const BlockDirtyBitmapAdd *q = a->u.block_dirty_bitmap_add.data;
    BlockDriverState *bs = resolve(t, q->node, q->node, errp);

    if (!bs) {
        return false;
    }
    if (q->has_granularity && q->granularity == 0) {
        error_setg(errp, "Granularity must be power of 2 and at least 512");
        return false;
    }
    return bitmap_add_action_add(t, bs, q->name, q->has_granularity ? q->granularity : 0,
                                 q->has_persistent && q->persistent,
                                 q->has_disabled && q->disabled, errp);
}

static bool co_main_fn add_bitmap_verb(Transaction *t, BitmapVerb verb,
                                       const BlockDirtyBitmap *q, Error **errp)
{
    BlockDriverState *bs = resolve_of_bitmap(t, q->node, errp);

    return bs && bitmap_action_add(t, verb, bs, q->name, errp);
}

static bool co_main_fn add_bitmap_remove(Transaction *t, const TransactionAction *a, Error **errp)
{
    return add_bitmap_verb(t, BITMAP_REMOVE, a->u.block_dirty_bitmap_remove.data, errp);
}

static bool co_main_fn add_bitmap_clear(Transaction *t, const TransactionAction *a, Error **errp)
{
    return add_bitmap_verb(t, BITMAP_CLEAR, a->u.block_dirty_bitmap_clear.data, errp);
}

static bool co_main_fn add_bitmap_enable(Transaction *t, const TransactionAction *a, Error **errp)
{
    return add_bitmap_verb(t, BITMAP_ENABLE, a->u.block_dirty_bitmap_enable.data, errp);
}

static bool co_main_fn add_bitmap_disable(Transaction *t, const TransactionAction *a, Error **errp)
{
    return add_bitmap_verb(t, BITMAP_DISABLE, a->u.block_dirty_bitmap_disable.data, errp);
}

static bool co_main_fn add_bitmap_merge(Transaction *t, const TransactionAction *a, Error **errp)
{
    const BlockDirtyBitmapMerge *q = a->u.block_dirty_bitmap_merge.data;
    BlockDriverState *bs = resolve_of_bitmap(t, q->node, errp);
    g_autoptr(GArray) sources = g_array_new(false, false, sizeof(BitmapSource));

    for (const BlockDirtyBitmapOrStrList *l = q->bitmaps; bs && l; l = l->next) {
        BitmapSource source = { bs, NULL };

        if (l->value->type == QTYPE_QSTRING) {
            source.name = l->value->u.local;
        } else {
            source.name = l->value->u.external.name;
            source.bs = resolve_of_bitmap(t, l->value->u.external.node, errp);
            if (!source.bs) {
                return false;
            }
        }
        g_array_append_val(sources, source);
    }
    return bs && bitmap_merge_action_add(t, bs, q->target, (BitmapSource *)sources->data,
                                         sources->len, errp);
}

static bool co_main_fn add_backup(Transaction *t, JobGroup *group, const TransactionAction *a,
                                  Error **errp)
{
    const BlockdevBackup *q = a->u.blockdev_backup.data;
    BlockDriverState *source = resolve(t, q->device, q->device, errp);
    BlockDriverState *target = source ? resolve(t, q->target, q->target, errp) : NULL;

    return target && blockdev_add_backup(t, q, source, target, group, errp);
}

static bool co_main_fn add_drive_backup(Transaction *t, JobGroup *group,
                                        const TransactionAction *a, Error **errp)
{
    const DriveBackup *q = a->u.drive_backup.data;
    BlockDriverState *source = resolve(t, q->device, q->device, errp);

    return source && blockdev_add_drive_backup(t, q, source, group, errp);
}

static bool co_main_fn add_abort(Transaction *t, const TransactionAction *a, Error **errp)
{
    /* Fails where others would, when all before it are prepared. */
    if (transaction_settle(t, errp)) {
        error_setg(errp, "Transaction aborted using Abort action");
    }
    return false;
}

/* How each kind is added that begins no job. */
static bool (*const add_kind[TRANSACTION_ACTION_KIND__MAX])(Transaction *t,
                                                            const TransactionAction *a,
                                                            Error **errp) = {
    [TRANSACTION_ACTION_KIND_ABORT]                  = add_abort,
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD] = add_bitmap_add,
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_CLEAR] = add_bitmap_clear,
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_DISABLE] = add_bitmap_disable,
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE] = add_bitmap_enable,
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_MERGE] = add_bitmap_merge,
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE] = add_bitmap_remove,
    [TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT]      = add_snapshot,
    [TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_INTERNAL_SYNC] = add_internal_snapshot,
    [TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC] = add_snapshot_sync,
};

typedef struct Actions {
    const TransactionActionList *list;
    JobGroup *group;                /* in which jobs end together; NULL: each by itself */
} Actions;

static bool co_main_fn add_action(Transaction *t, const Actions *actions,
                                  const TransactionAction *a, Error **errp)
{
    if (a->type == TRANSACTION_ACTION_KIND_BLOCKDEV_BACKUP) {
        return add_backup(t, actions->group, a, errp);
    }
    if (a->type == TRANSACTION_ACTION_KIND_DRIVE_BACKUP) {
        return add_drive_backup(t, actions->group, a, errp);
    }
    if (actions->group) {
        error_setg(errp, "Action '%s' does not support Transaction property "
                   "completion-mode = grouped", TransactionActionKind_str(a->type));
        return false;
    }
    return add_kind[a->type](t, a, errp);
}

static bool co_main_fn add_actions(Transaction *t, const void *opaque, Error **errp)
{
    const Actions *actions = opaque;

    for (const TransactionActionList *l = actions->list; l; l = l->next) {
        if (!add_action(t, actions, l->value, errp)) {
            return false;
        }
    }
    return true;
}

/* ---- commands ---- */

static bool co_main_fn run_in_group(const TransactionActionList *list, JobGroup *group,
                                    Error **errp)
{
    Actions actions = { list, group };
    bool ok = blockdev_run_transaction(add_actions, &actions, errp);

    blockdev_plain_error(errp);
    return ok;
}

static bool co_main_fn run_actions(const TransactionActionList *list, Error **errp)
{
    return run_in_group(list, NULL, errp);
}

bool co_main_fn qmp_transaction(const QmpTransactionArgs *args, Error **errp)
{
    bool grouped = args->properties && args->properties->has_completion_mode &&
                   args->properties->completion_mode == ACTION_COMPLETION_MODE_GROUPED;
    JobGroup *group = grouped ? job_group_new() : NULL;
    bool ok = run_in_group(args->actions, group, errp);

    job_group_release(group);
    return ok;
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

bool co_main_fn qmp_blockdev_snapshot_internal_sync(const BlockdevSnapshotInternal *args,
                                                    Error **errp)
{
    TransactionAction action = { .type = TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_INTERNAL_SYNC };
    TransactionActionList list = { .value = &action };

    action.u.blockdev_snapshot_internal_sync.data = (BlockdevSnapshotInternal *)args;
    return run_actions(&list, errp);
}

bool co_main_fn qmp_block_dirty_bitmap_add(const BlockDirtyBitmapAdd *args, Error **errp)
{
    TransactionAction action = { .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD };
    TransactionActionList list = { .value = &action };

    action.u.block_dirty_bitmap_add.data = (BlockDirtyBitmapAdd *)args;
    return run_actions(&list, errp);
}

bool co_main_fn qmp_block_dirty_bitmap_remove(const BlockDirtyBitmap *args, Error **errp)
{
    TransactionAction action = { .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE };
    TransactionActionList list = { .value = &action };

    action.u.block_dirty_bitmap_remove.data = (BlockDirtyBitmap *)args;
    return run_actions(&list, errp);
}

bool co_main_fn qmp_block_dirty_bitmap_clear(const BlockDirtyBitmap *args, Error **errp)
{
    TransactionAction action = { .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_CLEAR };
    TransactionActionList list = { .value = &action };

    action.u.block_dirty_bitmap_clear.data = (BlockDirtyBitmap *)args;
    return run_actions(&list, errp);
}

bool co_main_fn qmp_block_dirty_bitmap_enable(const BlockDirtyBitmap *args, Error **errp)
{
    TransactionAction action = { .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE };
    TransactionActionList list = { .value = &action };

    action.u.block_dirty_bitmap_enable.data = (BlockDirtyBitmap *)args;
    return run_actions(&list, errp);
}

bool co_main_fn qmp_block_dirty_bitmap_disable(const BlockDirtyBitmap *args, Error **errp)
{
    TransactionAction action = { .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_DISABLE };
    TransactionActionList list = { .value = &action };

    action.u.block_dirty_bitmap_disable.data = (BlockDirtyBitmap *)args;
    return run_actions(&list, errp);
}

bool co_main_fn qmp_block_dirty_bitmap_merge(const BlockDirtyBitmapMerge *args, Error **errp)
{
    TransactionAction action = { .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_MERGE };
    TransactionActionList list = { .value = &action };

    action.u.block_dirty_bitmap_merge.data = (BlockDirtyBitmapMerge *)args;
    return run_actions(&list, errp);
}
