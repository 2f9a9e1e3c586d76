/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev-backup: from QAPI to plain requests.  Texts are QEMU's. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/jobs.h"
#include "qapi/qapi-commands.h"

/* ---- the bitmap ---- */

static bool needs_bitmap(const BlockdevBackup *q)
{
    return q->sync == MIRROR_SYNC_MODE_BITMAP || q->sync == MIRROR_SYNC_MODE_INCREMENTAL;
}

static bool main_fn check_bitmap_mode(const BlockdevBackup *q, BackupRequest *req, Error **errp)
{
    static const BackupBitmapMode modes[] = {
        [BITMAP_SYNC_MODE_ON_SUCCESS] = BACKUP_BITMAP_ON_SUCCESS,
        [BITMAP_SYNC_MODE_NEVER]      = BACKUP_BITMAP_NEVER,
        [BITMAP_SYNC_MODE_ALWAYS]     = BACKUP_BITMAP_ALWAYS,
    };

    if (needs_bitmap(q) && !q->bitmap) {
        error_setg(errp, "must provide a valid bitmap name for '%s' sync mode",
                   MirrorSyncMode_str(q->sync));
        return false;
    }
    if (q->sync == MIRROR_SYNC_MODE_INCREMENTAL && q->has_bitmap_mode &&
        q->bitmap_mode != BITMAP_SYNC_MODE_ON_SUCCESS) {
        error_setg(errp, "Bitmap sync mode must be 'on-success' when using sync mode "
                   "'incremental'");
        return false;
    }
    if (q->bitmap && q->sync != MIRROR_SYNC_MODE_INCREMENTAL && !q->has_bitmap_mode) {
        error_setg(errp, "Bitmap sync mode must be given when providing a bitmap");
        return false;
    }
    if (!q->bitmap && q->has_bitmap_mode) {
        error_setg(errp, "Cannot specify bitmap sync mode without a bitmap");
        return false;
    }
    req->bitmap_mode = q->has_bitmap_mode ? modes[q->bitmap_mode] : BACKUP_BITMAP_ON_SUCCESS;
    return true;
}

/* It may be one that an earlier action of @t makes. */
static bool co_main_fn find_bitmap(Transaction *t, const BlockdevBackup *q, BackupRequest *req,
                                   Error **errp)
{
    if (!q->bitmap) {
        return true;
    }
    req->bitmap = bdrv_find_any_dirty_bitmap(req->source, q->bitmap);
    if (!req->bitmap && !transaction_is_settled(t)) {
        if (!transaction_settle(t, errp)) {
            return false;
        }
        req->bitmap = bdrv_find_any_dirty_bitmap(req->source, q->bitmap);
    }
    if (!req->bitmap) {
        error_setg(errp, "Bitmap '%s' could not be found", q->bitmap);
        return false;
    }
    if (!bdrv_dirty_bitmap_check(req->bitmap, req->bitmap_mode == BACKUP_BITMAP_NEVER
                                 ? BDRV_BITMAP_TO_READ : BDRV_BITMAP_TO_CHANGE, errp)) {
        return false;
    }
    if (!needs_bitmap(q)) {
        error_setg(errp, q->sync == MIRROR_SYNC_MODE_NONE
                   ? "sync mode 'none' does not produce meaningful bitmap outputs"
                   : "Bitmap sync mode '%s' has no meaningful effect when combined with sync "
                     "mode '%s'", BitmapSyncMode_str(q->bitmap_mode), MirrorSyncMode_str(q->sync));
        return false;
    }
    return true;
}

/* ---- the rest ---- */

static void main_fn set_sync(const BlockdevBackup *q, BackupRequest *req)
{
    switch (q->sync) {
    case MIRROR_SYNC_MODE_TOP:
        req->base = job_next_image(req->source);
        req->sync = req->base ? BACKUP_SYNC_TOP : BACKUP_SYNC_FULL;
        break;
    case MIRROR_SYNC_MODE_NONE:
        req->sync = BACKUP_SYNC_NONE;
        break;
    case MIRROR_SYNC_MODE_FULL:
        req->sync = BACKUP_SYNC_FULL;
        break;
    default:
        req->sync = BACKUP_SYNC_BITMAP;
    }
}

static bool main_fn set_perf(const BackupPerf *p, BackupRequest *req, Error **errp)
{
    if (p && p->has_max_workers && (p->max_workers < 1 || p->max_workers > INT_MAX)) {
        error_setg(errp, "max-workers must be between 1 and %d", INT_MAX);
        return false;
    }
    if (p && p->has_max_chunk && p->max_chunk < 0) {
        error_setg(errp, "max-chunk must be zero (which means no limit) or positive");
        return false;
    }
    if (p && p->has_max_chunk && p->max_chunk && p->max_chunk < 64 * KiB) {
        error_setg(errp, "Required max-chunk (%" PRId64 ") is less than backup cluster size (%d)",
                   p->max_chunk, (int)(64 * KiB));
        return false;
    }
    /* Both bound memory: what is asked for beyond the defaults is not taken. */
    req->workers = p && p->has_max_workers ? MIN(p->max_workers, BDRV_COPY_PARALLEL) : 0;
    req->chunk = p && p->has_max_chunk ? MIN(p->max_chunk, BDRV_COPY_CHUNK) : 0;
    return true;
}

bool co_main_fn blockdev_add_backup(Transaction *t, const BlockdevBackup *q,
                                    BlockDriverState *source, BlockDriverState *target,
                                    JobGroup *group, Error **errp)
{
    BackupRequest req = {
        .common = {
            .on_source_error = blockdev_job_on_error(q->has_on_source_error, q->on_source_error),
            .on_target_error = blockdev_job_on_error(q->has_on_target_error, q->on_target_error),
            .manual_finalize = q->has_auto_finalize && !q->auto_finalize,
            .manual_dismiss = q->has_auto_dismiss && !q->auto_dismiss,
            .group = group,
        },
        .source = source, .target = target, .filter_name = q->filter_node_name,
        .compress = q->has_compress && q->compress,
    };

    set_sync(q, &req);
    return check_bitmap_mode(q, &req, errp) && find_bitmap(t, q, &req, errp) &&
           set_perf(q->x_perf, &req, errp) &&
           blockdev_job_common(&req.common, q->device, q->job_id, q->has_speed, q->speed, errp) &&
           backup_action_add(t, &req, errp);
}

static bool co_main_fn add_backup(Transaction *t, const void *opaque, Error **errp)
{
    const BlockdevBackup *q = opaque;
    BlockDriverState *source = blockdev_lookup_either(q->device, errp);
    BlockDriverState *target = source ? blockdev_lookup_either(q->target, errp) : NULL;

    return target && blockdev_add_backup(t, q, source, target, NULL, errp);
}

bool co_main_fn qmp_blockdev_backup(const BlockdevBackup *args, Error **errp)
{
    bool ok = blockdev_run_transaction(add_backup, args, errp);

    blockdev_plain_error(errp);
    return ok;
}
