/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev-mirror and block-commit: from QAPI to plain requests. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/jobs.h"
#include "qapi/qapi-commands.h"

/* ---- what all jobs have ---- */

/* The drive that is called @device, or whose image the node of that name is. */
static BlockBackend *main_fn find_drive(const char *device)
{
    BlockBackend *blk = blk_find(device);
    const BlockDriverState *bs = blk ? NULL : bdrv_find_node(device);

    while (bs && (blk = blk_next(blk))) {
        if (blk_name(blk)[0] && bdrv_skip_implicit(blk_bs(blk)) == bs) {
            break;
        }
    }
    return blk;
}

bool main_fn blockdev_job_common(JobCommon *c, const char *device, const char *job_id,
                                 bool has_speed, int64_t speed, Error **errp)
{
    BlockBackend *blk = job_id ? NULL : find_drive(device);

    if (has_speed && speed < 0) {
        error_setg(errp, "Parameter 'speed' expects a non-negative value");
        return false;
    }
    /* A node that no drive leads to has no name to give: QEMU's text is about the empty one. */
    c->id = job_id ?: blk ? blk_name(blk) : "";
    c->speed = speed;
    return true;
}

BlkOnError any_fn blockdev_job_on_error(bool given, BlockdevOnError policy)
{
    static const BlkOnError map[] = {
        [BLOCKDEV_ON_ERROR_REPORT] = BLK_ON_ERROR_REPORT,
        [BLOCKDEV_ON_ERROR_IGNORE] = BLK_ON_ERROR_IGNORE,
        [BLOCKDEV_ON_ERROR_ENOSPC] = BLK_ON_ERROR_ENOSPC,
        [BLOCKDEV_ON_ERROR_STOP]   = BLK_ON_ERROR_STOP,
        [BLOCKDEV_ON_ERROR_AUTO]   = BLK_ON_ERROR_ENOSPC,
    };

    return given ? map[policy] : BLK_ON_ERROR_REPORT;
}

BlockDriverState *main_fn blockdev_lookup_either(const char *name, Error **errp)
{
    BlockDriverState *bs = blockdev_lookup(name, name, false, NULL);

    if (!bs) {
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'", name, name);
    }
    return bs;
}

BlockDriverState *main_fn blockdev_lookup_root(const char *device, Error **errp)
{
    BlockDriverState *bs = blockdev_lookup_either(device, errp);
    GQueue *users[] = { bs ? &bs->followers : NULL, bs ? &bs->others : NULL };

    for (size_t i = 0; bs && i < G_N_ELEMENTS(users); i++) {
        for (GList *e = users[i]->head; e; e = e->next) {
            if (((const BdrvLink *)e->data)->parent) {
                error_setg(errp, "Need a root block node");
                return NULL;
            }
        }
    }
    return bs;
}

/* ---- blockdev-mirror ---- */

static bool main_fn check_granularity(bool given, uint32_t granularity, Error **errp)
{
    if (given && granularity != 0 && (granularity < 512 || granularity > 64 * MiB)) {
        error_setg(errp, "Parameter 'granularity' expects a value in range [512B, 64MB]");
        return false;
    }
    if (given && granularity & (granularity - 1)) {
        error_setg(errp, "Parameter 'granularity' expects a power of 2");
        return false;
    }
    return true;
}

static bool main_fn check_buf_size(bool given, int64_t size, Error **errp)
{
    if (given && size < 0) {
        error_setg(errp, "Invalid parameter 'buf-size'");
    }
    return !given || size >= 0;
}

/* A node that has the same content as the source: it lies below filters. */
static bool main_fn find_replaces(const char *name, MirrorRequest *req, Error **errp)
{
    BlockDriverState *bs = name ? bdrv_find_node(name) : NULL, *content = req->source;

    if (name && !bs) {
        error_setg(errp, "Failed to find node with node-name='%s'", name);
        return false;
    }
    while (bs && content != bs && content->drv->is_filter) {
        content = content->file->bs;
    }
    if (bs && content != bs) {
        error_setg(errp, "Cannot replace '%s' by a node mirrored from '%s', because it cannot be "
                   "guaranteed that doing so would not lead to an abrupt change of visible data",
                   name, req->source->node_name);
        return false;
    }
    req->replaces = bs == req->source ? NULL : bs;
    return true;
}

static bool main_fn mirror_sync(const QmpBlockdevMirrorArgs *q, MirrorRequest *req, Error **errp)
{
    switch (q->sync) {
    case MIRROR_SYNC_MODE_FULL:
        req->sync = MIRROR_SYNC_FULL;
        return true;
    case MIRROR_SYNC_MODE_NONE:
        req->sync = MIRROR_SYNC_NONE;
        return true;
    case MIRROR_SYNC_MODE_TOP:
        req->base = job_next_image(req->source);
        req->sync = req->base ? MIRROR_SYNC_TOP : MIRROR_SYNC_FULL;
        return true;
    default:
        error_setg(errp, "Sync mode '%s' not supported", MirrorSyncMode_str(q->sync));
        return false;
    }
}

bool co_main_fn blockdev_add_mirror(Transaction *t, const QmpBlockdevMirrorArgs *q,
                                    BlockDriverState *source, BlockDriverState *target,
                                    Error **errp)
{
    MirrorRequest req = {
        .source = source, .target = target,
        .common = {
            .on_source_error = blockdev_job_on_error(q->has_on_source_error, q->on_source_error),
            .on_target_error = blockdev_job_on_error(q->has_on_target_error, q->on_target_error),
            .manual_finalize = q->has_auto_finalize && !q->auto_finalize,
            .manual_dismiss = q->has_auto_dismiss && !q->auto_dismiss,
        },
        .filter_name = q->filter_node_name,
        .granularity = q->has_granularity ? q->granularity : 0,
        .active = q->has_copy_mode && q->copy_mode == MIRROR_COPY_MODE_WRITE_BLOCKING,
        .stays_passive = q->has_auto_converge && !q->auto_converge,
        .keep_zeroes = q->has_unmap && !q->unmap,
    };

    if (!blockdev_job_common(&req.common, q->device, q->job_id, q->has_speed, q->speed, errp) ||
        !check_granularity(q->has_granularity, q->granularity, errp) ||
        !mirror_sync(q, &req, errp)) {
        return false;
    }
    return check_buf_size(q->has_buf_size, q->buf_size, errp) &&
           find_replaces(q->replaces, &req, errp) && mirror_action_add(t, &req, errp);
}

static bool co_main_fn add_mirror(Transaction *t, const void *opaque, Error **errp)
{
    const QmpBlockdevMirrorArgs *q = opaque;
    BlockDriverState *source = blockdev_lookup_root(q->device, errp);
    BlockDriverState *target = source ? blockdev_lookup_either(q->target, errp) : NULL;

    return target && blockdev_add_mirror(t, q, source, target, errp);
}

bool co_main_fn qmp_blockdev_mirror(const QmpBlockdevMirrorArgs *args, Error **errp)
{
    bool ok = blockdev_run_transaction(add_mirror, args, errp);

    blockdev_plain_error(errp);
    return ok;
}
