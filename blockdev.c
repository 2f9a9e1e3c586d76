/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP commands of the block layer that change the graph.  Each resolves names, then calls one
 * function of the block layer.  What the group snapshot does is in block/snapshot/group-snapshot.c.
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/group-snapshot.h"
#include "block/quiesce.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"
#include "qemu/log.h"

/* ---- names ---- */

static BlockDriverState *main_fn backend_node(BlockBackend *blk, bool for_group, Error **errp)
{
    BlockDriverState *bs = blk_bs(blk);

    if (!bs) {
        error_set_class(errp, for_group ? ERROR_CLASS_DEVICE_HAS_NO_MEDIUM
                                        : ERROR_CLASS_GENERIC_ERROR,
                        "Device '%s' has no medium", blk_name(blk));
    }
    return bs;
}

BlockDriverState *main_fn blockdev_lookup(const char *device, const char *node_name,
                                          bool for_group, Error **errp)
{
    BlockBackend *blk = device ? blk_find(device) : NULL;

    if (blk) {
        return backend_node(blk, for_group, errp);
    }
    BlockDriverState *bs = node_name ? bdrv_find_node(node_name) : NULL;
    if (bs) {
        return bs;
    }
    if (for_group) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", device);
    } else {
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'", device ?: "",
                   node_name ?: "");
    }
    return NULL;
}

void any_fn blockdev_plain_error(Error **errp)
{
    if (!errp || !*errp) {
        return;
    }
    Error *old = *errp;
    ErrorClass cls = error_get_class(old);
    bool current = cls == ERROR_CLASS_COMMAND_NOT_FOUND || cls == ERROR_CLASS_DEVICE_NOT_FOUND ||
                   cls == ERROR_CLASS_DEVICE_NOT_ACTIVE;

    *errp = NULL;
    error_set_class(errp, current ? cls : ERROR_CLASS_GENERIC_ERROR, "%s",
                    error_get_pretty(old));
    error_free(old);
}

/* ---- blockdev-add, blockdev-del ---- */

BlockDriverState *co_main_fn blockdev_add_node(const BlockdevOptions *qapi, Error **errp)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "blockdev-add" };
    g_autoptr(BdrvOpenOptions) opts = NULL;

    if (!qapi->node_name) {
        error_setg(errp, "'node-name' must be specified for the root node");
        return NULL;
    }
    opts = blockdev_options_to_plain(qapi, errp);
    if (!opts) {
        return NULL;
    }
    bdrv_graph_lock();
    BdrvLink *link = bdrv_open(opts, &spec, errp);
    if (link) {
        link->bs->monitor_link = link;
    }
    bdrv_graph_unlock();
    return link ? link->bs : NULL;
}

bool co_main_fn qmp_blockdev_add(const BlockdevOptions *args, Error **errp)
{
    bool ok = blockdev_add_node(args, errp) != NULL;

    blockdev_plain_error(errp);
    return ok;
}

static bool co_main_fn del_node(const char *name, Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(name);

    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'", name);
        return false;
    }
    if (bs->followers.length > 0) {
        BdrvLink *user = bs->followers.head->data;
        if (user->backend && !blk_user(user->backend) && blk_name(user->backend)[0]) {
            error_setg(errp, "Node %s is in use", name);
            return false;
        }
    }
    if (!bs->monitor_link) {
        error_setg(errp, "Node %s is not owned by the monitor", name);
        return false;
    }
    if (bs->followers.length + bs->others.length > 1) {
        GList *e = bs->followers.head ?: bs->others.head;
        BdrvLink *user = e->data == bs->monitor_link ? e->next->data : e->data;
        g_autofree char *holder = bdrv_link_describe(user);
        error_setg(errp, "Block device %s is in use: by %s", name, holder);
        return false;
    }
    bdrv_link_free(g_steal_pointer(&bs->monitor_link));
    return true;
}

bool co_main_fn qmp_blockdev_del(const QmpBlockdevDelArgs *args, Error **errp)
{
    bdrv_graph_lock();
    bool ok = del_node(args->node_name, errp);
    bdrv_graph_unlock();
    return ok;
}

/* ---- block_resize ---- */

/* What was answered is there after a power cut; what cannot be made durable is undone. */
static bool co_main_fn resize_durably(BdrvLink *link, int64_t size, Error **errp)
{
    BlockDriverState *bs = link->bs;
    int64_t old = bdrv_length(bs);

    if (!bdrv_co_truncate(link, size, BDRV_PREALLOC_OFF, errp)) {
        return false;
    }
    int ret = bdrv_co_flush(link, 0);
    if (ret < 0) {
        bool undone = bdrv_co_truncate(link, old, BDRV_PREALLOC_OFF, NULL);
        error_setg(errp, "Cannot flush node '%s' (%s) after resizing it: %s%s", bs->node_name,
                   bs->filename, g_strerror(-ret), undone ? "" : "; it keeps its new length");
    }
    return ret == 0;
}

static bool co_main_fn resize_held(BlockDriverState *bs, int64_t size, Error **errp)
{
    BdrvLinkSpec spec = {
        .needs = CLAIM_RESIZE, .allows = CLAIM_ALL, .holder = "block_resize",
    };
    BdrvLink *link = bdrv_link_new(bs, &spec, errp);

    if (!link) {
        return false;
    }
    bool ok = resize_durably(link, size, errp);
    bdrv_link_free(link);
    return ok;
}

static bool co_main_fn resize_node(BlockDriverState *bs, int64_t size, Error **errp)
{
    g_autoptr(GHashTable) backends = g_hash_table_new(NULL, NULL);
    int64_t old = bdrv_length(bs);
    BlkQuiesce q;

    bdrv_collect_backends(bs, backends);
    if (!blk_quiesce_in_time(&q, backends, "resize", errp)) {
        return false;
    }
    bool ok = resize_held(bs, size, errp);
    blk_resume(&q);
    if (ok || bdrv_length(bs) != old) {     /* it may have been impossible to undo it */
        blk_notify_resize(bs);
    }
    return ok;
}

bool co_main_fn qmp_block_resize(const QmpBlockResizeArgs *args, Error **errp)
{
    if (args->size < 0) {
        error_setg(errp, "Parameter 'size' expects a >0 size");
        return false;
    }
    bdrv_graph_lock();
    BlockDriverState *bs;
    do {
        bs = blockdev_lookup(args->device, args->node_name, false, errp);
    } while (bs && group_snapshot_wait_for(bs));
    bool ok = bs && resize_node(bs, args->size, errp);
    bdrv_graph_unlock();
    blockdev_plain_error(errp);
    return ok;
}

/* ---- block-set-write-threshold ---- */

static void main_fn threshold_passed(const char *node_name, uint64_t exceeded, uint64_t threshold)
{
    EventBlockWriteThresholdArgs ev = {
        .node_name = (char *)node_name, .amount_exceeded = exceeded, .write_threshold = threshold,
    };

    qapi_event_send_block_write_threshold(&ev);
}

bool co_main_fn qmp_block_set_write_threshold(const QmpBlockSetWriteThresholdArgs *args,
                                              Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(args->node_name);

    if (!bs) {
        error_setg(errp, "Device '%s' not found", args->node_name);
        return false;
    }
    bdrv_set_write_threshold_cb(threshold_passed);
    bdrv_set_write_threshold(bs, args->write_threshold);
    return true;
}

/* ---- the group snapshot ---- */

static void main_fn send_completed(GroupSnapshot *g)
{
    GroupTimes t = group_snapshot_times(g);
    EventBlockGroupSnapshotCompletedArgs ev = {
        .pause_ns = t.pause_ns, .check_ns = t.check_ns, .create_ns = t.create_ns,
        .flush_ns = t.flush_ns, .quiesce_ns = t.quiesce_ns, .held_flush_ns = t.held_flush_ns,
        .pivot_ns = t.pivot_ns, .flushed_bytes = t.flushed_bytes,
    };
    BlockGroupSnapshotResultList **tail = &ev.members;

    for (guint i = 0; i < group_snapshot_count(g); i++) {
        GroupMemberResult r = group_snapshot_result(g, i);
        BlockGroupSnapshotResult *m = g_new0(BlockGroupSnapshotResult, 1);
        m->device = g_strdup(r.device);
        m->node = g_strdup(r.node_name);
        m->file = g_strdup(r.filename);
        m->base_node = g_strdup(r.base_node_name);
        m->base_read_only = r.base_read_only;
        m->base_read_only_error = g_strdup(r.base_read_only_error);
        BlockGroupSnapshotResultList_append(&tail, m);
    }
    qapi_event_send_block_group_snapshot_completed(&ev);
    BlockGroupSnapshotResultList_free(ev.members);
}

/* One line for the administrator's log. */
static void main_fn log_completed(GroupSnapshot *g)
{
    GroupTimes t = group_snapshot_times(g);

    log_line("snapshot of %u disk%s taken, guests held for %.3f ms", group_snapshot_count(g),
             group_snapshot_count(g) == 1 ? "" : "s", t.pause_ns / 1e6);
}

static bool main_fn add_group_member(GroupSnapshot *g, const BlockdevGroupSnapshotMember *q,
                                     int64_t index, Error **errp)
{
    ErrorMember member = { .device = q->device, .filename = q->snapshot_file, .index = index };
    Error *err = NULL;
    BlockDriverState *bs = blockdev_lookup(q->device, q->device, true, &err);

    if (!bs) {
        error_set_member(err, &member);
        error_propagate(errp, err);
        return false;
    }
    GroupMemberRequest req = {
        .device = q->device, .base = bs, .filename = q->snapshot_file,
        .format = q->format ?: "qcow2", .node_name = q->snapshot_node_name,
        .existing = q->has_mode && q->mode == NEW_IMAGE_MODE_EXISTING,
    };
    return group_snapshot_add(g, &req, errp);
}

static bool co_main_fn take_group(GroupSnapshot *g, const QmpBlockdevGroupSnapshotSyncArgs *args,
                                  Error **errp)
{
    int64_t timeout_ns = GROUP_SNAPSHOT_TIMEOUT_NS, index = 0;

    if (args->has_timeout) {
        timeout_ns = MIN(args->timeout, (uint64_t)(INT64_MAX / NS_PER_MS / 2)) * NS_PER_MS;
    }
    for (BlockdevGroupSnapshotMemberList *l = args->devlist; l; l = l->next) {
        if (!add_group_member(g, l->value, index++, errp)) {
            return false;
        }
    }
    return group_snapshot_prepare(g, true, errp) && group_snapshot_run(g, timeout_ns, errp);
}

bool co_main_fn qmp_blockdev_group_snapshot_sync(const QmpBlockdevGroupSnapshotSyncArgs *args,
                                                 Error **errp)
{
    GroupSnapshot *g = group_snapshot_new();

    group_snapshot_lock();
    bool ok = take_group(g, args, errp);
    group_snapshot_unlock();
    if (ok && group_snapshot_count(g) > 0) {
        send_completed(g);
        log_completed(g);
    }
    group_snapshot_free(g);
    return ok;
}

/* ---- today's snapshot commands: the same machinery ---- */

/*
 * The node that an action means.  Earlier actions count as done: a backend leads to the overlay it
 * will get, and a name may be one that an earlier action gives, once it is prepared.
 */
static BlockDriverState *co_main_fn resolve(GroupSnapshot *g, const char *device,
                                            const char *node_name, Error **errp)
{
    BlockBackend *blk = device ? blk_find(device) : NULL;
    BlockDriverState *bs = blockdev_lookup(device, node_name, false, NULL);

    if (!bs || (blk && group_snapshot_top(g, bs) != bs)) {
        if (!group_snapshot_prepare(g, false, errp)) {
            return NULL;
        }
        bs = blockdev_lookup(device, node_name, false, errp);
    }
    return bs && blk ? group_snapshot_top(g, bs) : bs;
}

static bool co_main_fn add_snapshot_sync(GroupSnapshot *g, const BlockdevSnapshotSync *q,
                                         Error **errp)
{
    if (!q->device && !q->node_name) {
        error_setg(errp, "Cannot find device='' nor node-name=''");
        return false;
    }
    BlockDriverState *bs = resolve(g, q->device, q->node_name, errp);
    if (!bs) {
        return false;
    }
    if (!q->device && !q->snapshot_node_name) {
        error_setg(errp, "New overlay node-name missing");
        return false;
    }
    GroupMemberRequest req = {
        .device = q->device ?: q->node_name, .base = bs, .filename = q->snapshot_file,
        .format = q->format ?: "qcow2", .node_name = q->snapshot_node_name,
        .existing = q->has_mode && q->mode == NEW_IMAGE_MODE_EXISTING,
    };
    return group_snapshot_add(g, &req, errp);
}

static bool co_main_fn add_snapshot(GroupSnapshot *g, const BlockdevSnapshot *q, Error **errp)
{
    BlockDriverState *bs = resolve(g, q->node, q->node, errp);
    BlockDriverState *overlay = bs ? resolve(g, NULL, q->overlay, errp) : NULL;

    if (!overlay) {
        return false;
    }
    GroupMemberRequest req = { .device = q->node, .base = bs, .overlay = overlay };
    return group_snapshot_add(g, &req, errp);
}

static bool co_main_fn add_action(GroupSnapshot *g, const TransactionAction *a, Error **errp)
{
    switch (a->type) {
    case TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC:
        return add_snapshot_sync(g, a->u.blockdev_snapshot_sync.data, errp);
    case TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT:
        return add_snapshot(g, a->u.blockdev_snapshot.data, errp);
    default:
        error_setg(errp, "Transaction aborted using Abort action");
        return false;
    }
}

static bool co_main_fn run_actions(const TransactionActionList *actions, Error **errp)
{
    GroupSnapshot *g = group_snapshot_new();
    bool ok = true;

    group_snapshot_lock();
    for (const TransactionActionList *l = actions; ok && l; l = l->next) {
        ok = add_action(g, l->value, errp);
    }
    if (!ok) {
        group_snapshot_abort(g);
    } else {
        ok = group_snapshot_prepare(g, true, errp) &&
             group_snapshot_run(g, GROUP_SNAPSHOT_TIMEOUT_NS, errp);
    }
    group_snapshot_unlock();
    group_snapshot_free(g);
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
    BlockdevSnapshotSyncWrapper w = { .data = (BlockdevSnapshotSync *)args };
    TransactionAction action = { .type = TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC };
    TransactionActionList list = { .value = &action };

    action.u.blockdev_snapshot_sync = w;
    return run_actions(&list, errp);
}

bool co_main_fn qmp_blockdev_snapshot(const BlockdevSnapshot *args, Error **errp)
{
    BlockdevSnapshotWrapper w = { .data = (BlockdevSnapshot *)args };
    TransactionAction action = { .type = TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT };
    TransactionActionList list = { .value = &action };

    action.u.blockdev_snapshot = w;
    return run_actions(&list, errp);
}
