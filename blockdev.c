/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The group snapshot, in its two phases, and QMP commands that add, remove and resize nodes.  Each
 * resolves names, then calls one function of the block layer.
 */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "block/blockdev.h"
#include "block/snapshot.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"
#include "qemu/log.h"

/* ---- names ---- */

static BlockDriverState *main_fn backend_node(BlockBackend *blk, bool for_group, Error **errp)
{
    BlockDriverState *bs = bdrv_skip_implicit(blk_bs(blk));

    if (!bs) {
        error_set_class(errp, for_group ? ERROR_CLASS_DEVICE_HAS_NO_MEDIUM
                                        : ERROR_CLASS_GENERIC_ERROR,
                        "Device '%s' has no medium", blk_name(blk));
    }
    return bs;
}

/*
 * The backend that @device (NULL: none) means, if what was also given has found the node @bs (NULL:
 * none). Exports have names of their own: where a name may be that of an export and of something
 * else, it is the other.
 */
BlockBackend *main_fn blockdev_find_backend(const char *device, const BlockDriverState *bs)
{
    BlockBackend *blk = device ? blk_find(device) : NULL;

    return blk || bs || !device ? blk : blk_find_export(device);
}

BlockDriverState *main_fn blockdev_lookup_node(const char *name, Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(name);

    if (!bs && !blockdev_find_backend(name, NULL)) {
        error_setg(errp, "Cannot find device='' nor node-name='%s'", name);
        return NULL;
    }
    return blockdev_lookup(name, name, false, errp);
}

BlockDriverState *main_fn blockdev_lookup(const char *device, const char *node_name,
                                          bool for_group, Error **errp)
{
    BlockDriverState *bs = node_name ? bdrv_find_node(node_name) : NULL;
    BlockBackend *blk = blockdev_find_backend(device, bs);

    if (blk) {
        return backend_node(blk, for_group, errp);
    }
    if (bs) {
        return bs;
    }
    if (for_group) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", device);
    } else {
        /* QEMU's text to the letter: scripts compare it. */
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'", device ?: "",
                   node_name ?: "");
    }
    return NULL;
}

BlockDriverState *co_main_fn blockdev_lookup_unchanged(const char *name, Error **errp)
{
    BlockDriverState *bs;

    do {
        bs = blockdev_lookup_node(name, errp);
    } while (bs && bdrv_wait_until_unchanged(bs));
    return bs;
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

bool co_main_fn blockdev_add_node(const BlockdevOptions *qapi, Error **errp)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "blockdev-add", .hidden = true };
    g_autoptr(BdrvOpenOptions) opts = NULL;

    if (!qapi->node_name) {
        error_setg(errp, "'node-name' must be specified for the root node");
        return false;
    }
    opts = blockdev_options_to_plain(qapi, errp);
    if (!opts) {
        return false;
    }
    BdrvLink *link = bdrv_open(opts, &spec, errp);
    if (!link) {
        return false;
    }
    link->bs->monitor_link = link;
    bdrv_show(link->bs);
    /* A file node that may turn out to be read-only is not yet anybody's to write to. */
    if (!(link->bs->drv->is_protocol && opts->auto_read_only)) {
        blockdev_warn_of_overlays(link->bs);
    }
    return true;
}

bool co_main_fn qmp_blockdev_add(const BlockdevOptions *args, Error **errp)
{
    bool ok = blockdev_add_node(args, errp);

    blockdev_plain_error(errp);
    return ok;
}

/* May @bs be deleted? */
static bool main_fn check_deletable(BlockDriverState *bs, Error **errp)
{
    if (bs->followers.length > 0) {
        BdrvLink *user = bs->followers.head->data;
        if (user->backend && !blk_user(user->backend) && blk_name(user->backend)[0]) {
            error_setg(errp, "Node %s is in use: by the drive '%s', which was opened by --drive "
                       "and stays until the daemon ends; a disk that comes and goes is opened by "
                       "blockdev-add", bs->node_name, blk_name(user->backend));
            return false;
        }
    }
    if (!bs->monitor_link) {
        error_setg(errp, "Node %s is not owned by the monitor", bs->node_name);
        return false;
    }
    if (bs->followers.length + bs->others.length > 1) {
        GList *e = bs->followers.head ?: bs->others.head;
        BdrvLink *user = e->data == bs->monitor_link ? e->next->data : e->data;
        g_autofree char *holder = bdrv_link_describe(user);
        error_setg(errp, "Block device %s is in use: by %s", bs->node_name, holder);
        return false;
    }
    return true;
}

/* Nobody becomes a user of @bs meanwhile.  What cannot be written stays: it is not lost by a
 * deletion. */
static bool co_main_fn flush_and_delete(BlockDriverState *bs, Error **errp)
{
    int ret = bdrv_co_flush(bs->monitor_link, BDRV_FLUSH_SETTLE);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot delete node '%s': '%s' cannot be flushed",
                         bs->node_name, bs->filename);
        return false;
    }
    bdrv_link_free(g_steal_pointer(&bs->monitor_link));
    return true;
}

bool co_main_fn qmp_blockdev_del(const QmpBlockdevDelArgs *args, Error **errp)
{
    BlockDriverState *bs;

    do {
        bs = bdrv_find_node(args->node_name);
        if (!bs) {
            error_setg(errp, "Failed to find node with node-name='%s'", args->node_name);
            return false;
        }
        if (!check_deletable(bs, errp)) {
            return false;
        }
        if (bdrv_change_begin(bs, args)) {
            break;
        }
        bdrv_change_wait();
    } while (true);
    bool ok = flush_and_delete(bs, errp);
    if (!ok) {
        bdrv_change_end(bs, args);
    }
    return ok;
}

/* ---- block_resize ---- */

static bool co_main_fn add_resize(Transaction *t, const void *opaque, Error **errp)
{
    const QmpBlockResizeArgs *args = opaque;
    BlockDriverState *bs = blockdev_lookup(args->device, args->node_name, false, errp);

    return bs && resize_action_add(t, bs, args->size, errp);
}

static void (*co_resized)(void);

void main_fn blockdev_set_resized(void (*cb)(void))
{
    co_resized = cb;
}

bool co_main_fn qmp_block_resize(const QmpBlockResizeArgs *args, Error **errp)
{
    if (args->size < 0) {
        error_setg(errp, "Parameter 'size' expects a >0 size");
        return false;
    }
    bool ok = blockdev_run_transaction(add_resize, args, errp);
    blockdev_plain_error(errp);
    if (ok && co_resized) {
        co_resized();
    }
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

/* ---- transactions ---- */

/*
 * The seven steps, in two phases.  In the first one every image is made and opened while guests
 * run; after the last one exists nothing but a disk that fails or does not answer can make the
 * second one fail, in which guests are held.  Whatever fails, all is as it was before.
 */
bool co_main_fn blockdev_take(Transaction *t, TransactionAdd *add, const void *args, Error **errp)
{
    bool ok = transaction_check(t, add, args, errp) &&  /* 1 check, touching no disk */
              transaction_prepare(t, errp) &&           /* 2 make and open every image */
              transaction_flush(t, errp) &&             /* 3 flush the bases, while guests run */
              transaction_hold(t, errp) &&              /* 4 hold the guests of all of them */
              transaction_work_held(t, errp);           /* 5 flush what became dirty since 3 */
    if (ok) {
        transaction_commit(t);                          /* 6 pivot: cannot fail */
    }
    transaction_resume(t);                              /* 7 let the guests go on */
    transaction_end(t);
    return ok;
}

bool co_main_fn blockdev_run_transaction(TransactionAdd *add, const void *args, Error **errp)
{
    Transaction *t = transaction_new(-1);
    bool ok = blockdev_take(t, add, args, errp);

    transaction_free(t);
    return ok;
}

/* ---- the group snapshot ---- */

static void main_fn send_completed(Transaction *t)
{
    TransactionTimes times = transaction_times(t);
    EventBlockGroupSnapshotCompletedArgs ev = {
        .pause_ns = times.pause_ns, .check_ns = times.check_ns, .create_ns = times.prepare_ns,
        .flush_ns = times.flush_ns, .quiesce_ns = times.hold_ns,
        .held_flush_ns = times.held_work_ns, .pivot_ns = times.commit_ns,
        .flushed_bytes = times.flushed_bytes,
    };
    BlockGroupSnapshotResultList **tail = &ev.members;

    for (guint i = 0; i < transaction_count(t); i++) {
        SnapshotResult r = snapshot_result(t, i);
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
static void main_fn log_completed(Transaction *t)
{
    log_line("snapshot of %u disk%s taken, guests held for %.3f ms", transaction_count(t),
             transaction_count(t) == 1 ? "" : "s", transaction_times(t).pause_ns / 1e6);
}

SnapshotLayout any_fn blockdev_snapshot_layout(bool has_cluster_size, uint64_t cluster_size,
                                               bool has_extended_l2, bool extended_l2)
{
    return (SnapshotLayout){
        .cluster_size = !has_cluster_size ? 0 : CLAMP(cluster_size, 1, (uint64_t)INT64_MAX),
        .has_extended_l2 = has_extended_l2, .extended_l2 = has_extended_l2 && extended_l2,
    };
}

static bool co_main_fn add_member(Transaction *t, const BlockdevGroupSnapshotMember *q,
                                  int64_t index, bool carry_bitmaps, Error **errp)
{
    ErrorMember member = { .device = q->device, .filename = q->snapshot_file, .index = index };
    Error *err = NULL;
    BlockDriverState *bs = blockdev_lookup(q->device, q->device, true, &err);

    if (!bs) {
        error_set_member(err, &member);
        error_propagate(errp, err);
        return false;
    }
    SnapshotRequest req = {
        .device = q->device, .base = bs, .filename = q->snapshot_file,
        .format = q->format ?: "qcow2", .node_name = q->snapshot_node_name,
        .existing = q->has_mode && q->mode == NEW_IMAGE_MODE_EXISTING,
        .carry_bitmaps = carry_bitmaps,
        .layout = blockdev_snapshot_layout(q->has_cluster_size, q->cluster_size,
                                           q->has_extended_l2, q->extended_l2),
    };
    return snapshot_action_add(t, &req, errp);
}

/* Members that are checked before others have their turn. */
#define MEMBERS_IN_ONE_GO 64

static bool co_main_fn add_members(Transaction *t, const void *opaque, Error **errp)
{
    const QmpBlockdevGroupSnapshotSyncArgs *args = opaque;
    bool carry = args->has_bitmaps && args->bitmaps == SNAPSHOT_BITMAPS_CARRY;
    int64_t index = 0;

    if (!args->devlist) {
        log_line("warning: blockdev-group-snapshot-sync with an empty devlist: there is no "
                 "snapshot");
    }
    for (BlockdevGroupSnapshotMemberList *l = args->devlist; l; l = l->next) {
        if (!add_member(t, l->value, index++, carry, errp)) {
            return false;
        }
        if (index % MEMBERS_IN_ONE_GO == 0) {
            coroutine_reschedule();
        }
    }
    return true;
}

bool co_main_fn qmp_blockdev_group_snapshot_sync(const QmpBlockdevGroupSnapshotSyncArgs *args,
                                                 Error **errp)
{
    int64_t timeout_ms = MIN(args->timeout, (uint64_t)(INT64_MAX / NS_PER_MS / 2));
    Transaction *t = transaction_new(args->has_timeout ? timeout_ms * NS_PER_MS : -1);
    bool ok = blockdev_take(t, add_members, args, errp);

    if (ok && transaction_count(t) > 0) {
        send_completed(t);
        log_completed(t);
        coroutine_reschedule();     /* of a thousand members each of these takes a while */
    }
    transaction_free(t);
    return ok;
}
