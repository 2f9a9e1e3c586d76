/* SPDX-License-Identifier: GPL-2.0-or-later */
/* drive-mirror and drive-backup: as blockdev-mirror and blockdev-backup, to a file that the command
 * makes, or opens. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/jobs.h"
#include "qapi/qapi-commands.h"

/* The image: with sync mode top it builds on what the disk builds on, with none on the disk. */
static BlockDriverState *co_main_fn add_image(Transaction *t, BlockDriverState *source,
                                              const char *filename, const char *format,
                                              const char *node_name, bool existing,
                                              MirrorSyncMode sync, Error **errp)
{
    NewImageRequest req = {
        .source = source, .filename = filename, .node_name = node_name, .existing = existing,
        .format = format ?: existing ? NULL : source->drv->name,
        .backing = sync == MIRROR_SYNC_MODE_TOP ? job_next_image(source) :
                   sync == MIRROR_SYNC_MODE_NONE ? source : NULL,
    };

    return new_image_action_add(t, &req, errp);
}

static bool is_existing(bool has_mode, NewImageMode mode)
{
    return has_mode && mode == NEW_IMAGE_MODE_EXISTING;
}

/* ---- drive-backup ---- */

bool co_main_fn blockdev_add_drive_backup(Transaction *t, const DriveBackup *q,
                                          BlockDriverState *source, JobGroup *group,
                                          Error **errp)
{
    BlockdevBackup backup = {
        .job_id = q->job_id, .device = q->device, .target = q->target, .sync = q->sync,
        .has_speed = q->has_speed, .speed = q->speed, .bitmap = q->bitmap,
        .has_bitmap_mode = q->has_bitmap_mode, .bitmap_mode = q->bitmap_mode,
        .has_compress = q->has_compress, .compress = q->compress,
        .has_on_source_error = q->has_on_source_error, .on_source_error = q->on_source_error,
        .has_on_target_error = q->has_on_target_error, .on_target_error = q->on_target_error,
        .has_auto_finalize = q->has_auto_finalize, .auto_finalize = q->auto_finalize,
        .has_auto_dismiss = q->has_auto_dismiss, .auto_dismiss = q->auto_dismiss,
        .filter_node_name = q->filter_node_name, .x_perf = q->x_perf,
    };
    BlockDriverState *target = add_image(t, source, q->target, q->format, NULL,
                                         is_existing(q->has_mode, q->mode), q->sync, errp);

    return target && blockdev_add_backup(t, &backup, source, target, group, errp);
}

static bool co_main_fn add_backup(Transaction *t, const void *opaque, Error **errp)
{
    const DriveBackup *q = opaque;
    BlockDriverState *source = blockdev_lookup_either(q->device, errp);

    return source && blockdev_add_drive_backup(t, q, source, NULL, errp);
}

bool co_main_fn qmp_drive_backup(const DriveBackup *args, Error **errp)
{
    bool ok = blockdev_run_transaction(add_backup, args, errp);

    blockdev_plain_error(errp);
    return ok;
}

/* ---- drive-mirror ---- */

static bool co_main_fn add_mirror(Transaction *t, const void *opaque, Error **errp)
{
    const DriveMirror *q = opaque;
    QmpBlockdevMirrorArgs mirror = {
        .job_id = q->job_id, .device = q->device, .target = q->target, .replaces = q->replaces,
        .sync = q->sync, .has_speed = q->has_speed, .speed = q->speed,
        .has_granularity = q->has_granularity, .granularity = q->granularity,
        .has_buf_size = q->has_buf_size, .buf_size = q->buf_size,
        .has_on_source_error = q->has_on_source_error, .on_source_error = q->on_source_error,
        .has_on_target_error = q->has_on_target_error, .on_target_error = q->on_target_error,
        .has_copy_mode = q->has_copy_mode, .copy_mode = q->copy_mode,
        .has_unmap = q->has_unmap, .unmap = q->unmap,
        .has_auto_finalize = q->has_auto_finalize, .auto_finalize = q->auto_finalize,
        .has_auto_dismiss = q->has_auto_dismiss, .auto_dismiss = q->auto_dismiss,
    };
    BlockDriverState *source = blockdev_lookup_root(q->device, errp);
    BlockDriverState *target = !source ? NULL
        : add_image(t, source, q->target, q->format, q->node_name,
                    is_existing(q->has_mode, q->mode), q->sync, errp);

    return target && blockdev_add_mirror(t, &mirror, source, target, errp);
}

bool co_main_fn qmp_drive_mirror(const DriveMirror *args, Error **errp)
{
    bool ok = blockdev_run_transaction(add_mirror, args, errp);

    blockdev_plain_error(errp);
    return ok;
}
