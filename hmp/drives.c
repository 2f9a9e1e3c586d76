/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done to a disk as a whole: its length, its limits, snapshots of it. */
#include "qemu/osdep.h"

#include "block/jobs.h"
#include "hmp-commands.h"
#include "qapi/qapi-commands.h"

static char *str(const HmpArgs *args, const char *name)
{
    return (char *)hmp_str(args, name);
}

static void co_main_fn block_resize(GString *out, const HmpArgs *args)
{
    QmpBlockResizeArgs q = { .device = str(args, "device"), .size = hmp_int(args, "size") };
    Error *err = NULL;

    qmp_block_resize(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn set_io_throttle(GString *out, const HmpArgs *args)
{
    BlockIOThrottle q = {
        .device = str(args, "device"),
        .bps = hmp_int(args, "bps"), .bps_rd = hmp_int(args, "bps_rd"),
        .bps_wr = hmp_int(args, "bps_wr"), .iops = hmp_int(args, "iops"),
        .iops_rd = hmp_int(args, "iops_rd"), .iops_wr = hmp_int(args, "iops_wr"),
    };
    Error *err = NULL;

    qmp_block_set_io_throttle(&q, &err);
    hmp_failed(out, err);
}

/* ---- commit ---- */

/* @shown: what a failure is said of. */
static bool co_main_fn commit_one(GString *out, BlockBackend *blk, const char *shown)
{
    g_autoptr(Error) err = NULL;

    if (bdrv_commit_in_place(blk, &err)) {
        return true;
    }
    g_string_append_printf(out, "'commit' error for '%s': %s\n", shown, error_get_pretty(err));
    return false;
}

/* Whatever has a backing file; the first that fails is the last. */
static void co_main_fn commit_all(GString *out)
{
    bool ok = true;

    for (BlockBackend *blk = blk_next(NULL); blk && ok; blk = blk_next(blk)) {
        if (*blk_name(blk) && blk_bs(blk) && blk_bs(blk)->backing) {
            ok = commit_one(out, blk, "all");
        }
    }
}

static void co_main_fn commit(GString *out, const HmpArgs *args)
{
    const char *device = hmp_str(args, "device");

    bdrv_graph_lock();          /* no disk comes or goes */
    BlockBackend *blk = blk_find(device);
    if (strcmp(device, "all") == 0) {
        commit_all(out);
    } else if (!blk) {
        g_string_append_printf(out, "Device '%s' not found\n", device);
    } else if (!blk_bs(blk)) {
        g_string_append_printf(out, "Device '%s' has no medium\n", device);
    } else {
        commit_one(out, blk, device);
    }
    bdrv_graph_unlock();
}

/* ---- snapshots ---- */

static void co_main_fn snapshot(GString *out, const HmpArgs *args)
{
    BlockdevSnapshotSync q = {
        .device = str(args, "device"), .snapshot_file = str(args, "file"),
        .format = str(args, "format"), .has_mode = true,
        .mode = hmp_flag(args, "n") ? NEW_IMAGE_MODE_EXISTING : NEW_IMAGE_MODE_ABSOLUTE_PATHS,
    };
    Error *err = NULL;

    if (q.snapshot_file) {
        qmp_blockdev_snapshot_sync(&q, &err);
    } else {
        error_setg(&err, "Parameter 'snapshot-file' is missing");
    }
    hmp_failed(out, err);
}

static void co_main_fn snapshot_internal(GString *out, const HmpArgs *args)
{
    BlockdevSnapshotInternal q = { .device = str(args, "device"), .name = str(args, "name") };
    Error *err = NULL;

    qmp_blockdev_snapshot_internal_sync(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn delete_internal(GString *out, const HmpArgs *args)
{
    QmpBlockdevSnapshotDeleteInternalSyncArgs q = {
        .device = str(args, "device"), .id = str(args, "id"), .name = str(args, "name"),
    };
    g_autoptr(SnapshotInfo) deleted = NULL;
    Error *err = NULL;

    qmp_blockdev_snapshot_delete_internal_sync(&q, &deleted, &err);
    hmp_failed(out, err);
}

const HmpCommand hmp_drive_commands[] = {
    { "block_resize", "device size", "resize a block image", block_resize,
      { { "device", HMP_DEVICE }, { "size", HMP_SIZE } } },
    { "block_set_io_throttle", "device bps bps_rd bps_wr iops iops_rd iops_wr",
      "change I/O throttle limits for a block drive", set_io_throttle,
      { { "device", HMP_DEVICE }, { "bps", HMP_INT }, { "bps_rd", HMP_INT },
        { "bps_wr", HMP_INT }, { "iops", HMP_INT }, { "iops_rd", HMP_INT },
        { "iops_wr", HMP_INT } } },
    { "commit", "device|all", "commit changes to the disk images (if -snapshot is used) or backing "
      "files", commit, { { "device", HMP_DEVICE } } },
    { "snapshot_blkdev", "[-n] device [new-image-file] [format]", "initiates a live snapshot of "
      "device: the new image file becomes its root image, in that format (qcow2) (-n: with the "
      "image that is in that file)", snapshot,
      { { "n", HMP_FLAG }, { "device", HMP_DEVICE }, { "file", HMP_STRING, true },
        { "format", HMP_STRING, true } } },
    { "snapshot_blkdev_internal", "device name", "take an internal snapshot of device, in a format "
      "that has them", snapshot_internal,
      { { "device", HMP_DEVICE }, { "name", HMP_STRING } } },
    { "snapshot_delete_blkdev_internal", "device name [id]", "delete an internal snapshot of "
      "device (id: the one with both)", delete_internal,
      { { "device", HMP_DEVICE }, { "name", HMP_STRING }, { "id", HMP_STRING, true } } },
    { NULL },
};
