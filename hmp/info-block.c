/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info block` and `info blockstats`. */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "qapi/qapi-commands.h"

/* ---- images, as qemu-img info has them ---- */

static void append_qcow2_info(GString *out, const ImageInfoSpecificQCow2 *q)
{
    g_string_append_printf(out, "Format specific information:\n    compat: %s\n", q->compat);
    g_string_append_printf(out, "    compression type: %s\n",
                           Qcow2CompressionType_str(q->compression_type));
    if (q->has_lazy_refcounts) {
        g_string_append_printf(out, "    lazy refcounts: %s\n",
                               q->lazy_refcounts ? "true" : "false");
    }
    g_string_append_printf(out, "    refcount bits: %" PRId64 "\n", q->refcount_bits);
    if (q->data_file) {
        g_string_append_printf(out, "    data file: %s\n", q->data_file);
    }
    if (q->has_data_file_raw) {
        g_string_append_printf(out, "    data file raw: %s\n",
                               q->data_file_raw ? "true" : "false");
    }
    if (q->has_corrupt) {
        g_string_append_printf(out, "    corrupt: %s\n", q->corrupt ? "true" : "false");
    }
    if (q->has_extended_l2) {
        g_string_append_printf(out, "    extended l2: %s\n", q->extended_l2 ? "true" : "false");
    }
}

static void append_backing_name(GString *out, const ImageInfo *image)
{
    if (!image->backing_filename) {
        return;
    }
    g_string_append_printf(out, "backing file: %s", image->backing_filename);
    if (image->full_backing_filename &&
        strcmp(image->backing_filename, image->full_backing_filename) != 0) {
        g_string_append_printf(out, " (actual path: %s)", image->full_backing_filename);
    }
    g_string_append_c(out, '\n');
    if (image->backing_filename_format) {
        g_string_append_printf(out, "backing file format: %s\n", image->backing_filename_format);
    }
}

static void append_snapshots(GString *out, const SnapshotInfoList *list)
{
    if (list) {
        g_string_append(out, "Snapshot list:\n");
        hmp_append_snapshot_head(out);
    }
    for (; list; list = list->next) {
        hmp_append_snapshot(out, NULL, list->value);
    }
}

static void append_image(GString *out, const ImageInfo *image)
{
    g_string_append_printf(out, "image: %s\nfile format: %s\nvirtual size: ", image->filename,
                           image->format);
    hmp_append_size(out, image->virtual_size);
    g_string_append_printf(out, " (%" PRId64 " bytes)\ndisk size: ", image->virtual_size);
    if (image->has_actual_size) {
        hmp_append_size(out, image->actual_size);
    } else {
        g_string_append(out, "unavailable");
    }
    g_string_append_c(out, '\n');
    if (image->has_cluster_size) {
        g_string_append_printf(out, "cluster_size: %" PRId64 "\n", image->cluster_size);
    }
    if (image->has_dirty_flag && image->dirty_flag) {
        g_string_append(out, "cleanly shut down: no\n");
    }
    append_backing_name(out, image);
    append_snapshots(out, image->snapshots);
    if (image->format_specific && image->format_specific->type == IMAGE_INFO_SPECIFIC_KIND_QCOW2) {
        append_qcow2_info(out, image->format_specific->u.qcow2.data);
    }
}

/* ---- info block ---- */

static void append_inserted(GString *out, const BlockDeviceInfo *node)
{
    g_string_append_printf(out, ": %s (%s%s%s)\n", node->file, node->drv,
                           node->ro ? ", read-only" : "", node->encrypted ? ", encrypted" : "");
}

static void append_limits(GString *out, const BlockDeviceInfo *node)
{
    if (!node->bps && !node->bps_rd && !node->bps_wr && !node->iops && !node->iops_rd &&
        !node->iops_wr) {
        return;
    }
    g_string_append_printf(out, "    I/O throttling:   bps=%" PRId64 " bps_rd=%" PRId64 " bps_wr=%"
                           PRId64 " bps_max=%" PRId64 " bps_rd_max=%" PRId64 " bps_wr_max=%" PRId64
                           " iops=%" PRId64 " iops_rd=%" PRId64 " iops_wr=%" PRId64 " iops_max=%"
                           PRId64 " iops_rd_max=%" PRId64 " iops_wr_max=%" PRId64 " iops_size=%"
                           PRId64 " group=%s\n", node->bps, node->bps_rd, node->bps_wr,
                           node->bps_max, node->bps_rd_max, node->bps_wr_max, node->iops,
                           node->iops_rd, node->iops_wr, node->iops_max, node->iops_rd_max,
                           node->iops_wr_max, node->iops_size, node->group ?: "");
}

static void append_details(GString *out, const BlockDeviceInfo *node, bool verbose)
{
    g_string_append_printf(out, "    Cache mode:       %s%s%s\n",
                           node->cache->writeback ? "writeback" : "writethrough",
                           node->cache->direct ? ", direct" : "",
                           node->cache->no_flush ? ", ignore flushes" : "");
    if (node->backing_file) {
        g_string_append_printf(out, "    Backing file:     %s (chain depth: %" PRId64 ")\n",
                               node->backing_file, node->backing_file_depth);
    }
    if (node->detect_zeroes != BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF) {
        g_string_append_printf(out, "    Detect zeroes:    %s\n",
                               BlockdevDetectZeroesOptions_str(node->detect_zeroes));
    }
    append_limits(out, node);
    if (verbose) {
        g_string_append(out, "\nImages:\n");
        for (const ImageInfo *image = node->image; image; image = image->backing_image) {
            append_image(out, image);
        }
    }
}

static void append_disk(GString *out, const BlockInfo *disk, bool verbose)
{
    const BlockDeviceInfo *node = disk->inserted;

    /* By what it has first of its own name, its node's, or its device's. */
    g_string_append(out, disk->device);
    if (node && node->node_name) {
        g_string_append_printf(out, *disk->device ? " (%s)" : "%s", node->node_name);
    } else if (!*disk->device) {
        g_string_append(out, disk->qdev ?: "");
    }
    if (node) {
        append_inserted(out, node);
    } else {
        g_string_append(out, ": [not inserted]\n");
    }
    if (disk->qdev) {
        g_string_append_printf(out, "    Attached to:      %s\n", disk->qdev);
    }
    if (disk->has_io_status && disk->io_status != BLOCK_DEVICE_IO_STATUS_OK) {
        g_string_append_printf(out, "    I/O status:       %s\n",
                               BlockDeviceIoStatus_str(disk->io_status));
    }
    if (disk->removable) {
        g_string_append_printf(out, "    Removable device: %slocked, tray %s\n",
                               disk->locked ? "" : "not ",
                               disk->has_tray_open && disk->tray_open ? "open" : "closed");
    }
    if (node) {
        append_details(out, node, verbose);
    }
}

/*
 * Scripts know the empty line in front of each entry but the first of all, also where the others
 * are not shown.
 */
static void append_separator(GString *out, bool is_first)
{
    g_string_append(out, is_first ? "" : "\n");
}

/* Returns whether there was any. */
static bool co_main_fn append_disks(GString *out, const char *name, bool verbose)
{
    g_autoptr(BlockInfoList) list = NULL;
    Error *err = NULL;

    qmp_query_block(&list, &err);
    if (hmp_failed(out, err)) {
        return true;
    }
    for (BlockInfoList *l = list; l; l = l->next) {
        if (!name || strcmp(name, l->value->device) == 0) {
            append_separator(out, l == list);
            append_disk(out, l->value, verbose);
        }
    }
    return out->len > 0;
}

static bool co_main_fn append_nodes(GString *out, const char *name, bool verbose)
{
    g_autoptr(BlockDeviceInfoList) list = NULL;
    QmpQueryNamedBlockNodesArgs args = { .has_flat = true, .flat = !verbose };
    Error *err = NULL;

    qmp_query_named_block_nodes(&args, &list, &err);
    if (hmp_failed(out, err)) {
        return true;
    }
    for (BlockDeviceInfoList *l = list; l; l = l->next) {
        const BlockDeviceInfo *node = l->value;

        if (!name || strcmp(name, node->node_name) == 0) {
            append_separator(out, l == list);
            g_string_append(out, node->node_name);
            append_inserted(out, node);
            append_details(out, node, verbose);
        }
    }
    return out->len > 0;
}

static void co_main_fn info_block(GString *out, const HmpArgs *args)
{
    const char *name = hmp_str(args, "device");
    bool nodes = hmp_flag(args, "n"), verbose = hmp_flag(args, "v");

    if (!nodes && append_disks(out, name, verbose)) {
        return;
    }
    if ((nodes || name) && !append_nodes(out, name, verbose) && name) {
        g_string_append_printf(out, "Error: there is no %s '%s'\n", nodes ? "node" : "drive", name);
    }
}

/* ---- info blockstats ---- */

static void append_stats(GString *out, const BlockStats *disk)
{
    const BlockDeviceStats *s = disk->stats;

    g_string_append_printf(out, "%s: rd_bytes=%" PRId64 " wr_bytes=%" PRId64
                           " rd_operations=%" PRId64 " wr_operations=%" PRId64
                           " flush_operations=%" PRId64 " wr_total_time_ns=%" PRId64
                           " rd_total_time_ns=%" PRId64 " flush_total_time_ns=%" PRId64
                           " rd_merged=%" PRId64 " wr_merged=%" PRId64
                           " idle_time_ns=%" PRId64 "\n", disk->device, s->rd_bytes,
                           s->wr_bytes, s->rd_operations, s->wr_operations,
                           s->flush_operations, s->wr_total_time_ns, s->rd_total_time_ns,
                           s->flush_total_time_ns, s->rd_merged, s->wr_merged,
                           s->has_idle_time_ns ? s->idle_time_ns : 0);
}

static void co_main_fn info_blockstats(GString *out, const HmpArgs *args)
{
    g_autoptr(BlockStatsList) list = NULL;
    QmpQueryBlockstatsArgs query = { .query_nodes = false };
    Error *err = NULL;

    qmp_query_blockstats(&query, &list, &err);
    if (hmp_failed(out, err)) {
        return;
    }
    for (BlockStatsList *l = list; l; l = l->next) {
        if (l->value->device) {
            append_stats(out, l->value);
        }
    }
}

const HmpCommand hmp_info_block_commands[] = {
    { "block", "[-n] [-v] [device]", "show info of one block device or all block devices "
      "(-n: show named nodes; -v: show details)", info_block,
      { { "n", HMP_FLAG }, { "v", HMP_FLAG }, { "device", HMP_DEVICE, true } } },
    { "blockstats", NULL, "show block device statistics", info_blockstats },
    { NULL },
};
