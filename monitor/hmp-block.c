/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info block` and `info blockstats`. */
#include "qemu/osdep.h"

#include "monitor-internal.h"
#include "qapi/qapi-commands.h"

static void append_error(GString *out, Error *err)
{
    g_string_append_printf(out, "Error: %s\n", error_get_pretty(err));
    error_free(err);
}

/* ---- images, as qemu-img info has them ---- */

static void append_size(GString *out, int64_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double value = bytes;
    int unit = 0;

    while (value >= 1000 && unit + 1 < G_N_ELEMENTS(units)) {
        value /= 1024;
        unit++;
    }
    g_string_append_printf(out, "%0.3g %s", value, units[unit]);
}

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

static void append_image(GString *out, const ImageInfo *image)
{
    g_string_append_printf(out, "image: %s\nfile format: %s\nvirtual size: ", image->filename,
                           image->format);
    append_size(out, image->virtual_size);
    g_string_append_printf(out, " (%" PRId64 " bytes)\ndisk size: ", image->virtual_size);
    if (image->has_actual_size) {
        append_size(out, image->actual_size);
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

    g_string_append(out, disk->device);
    if (node && node->node_name) {
        g_string_append_printf(out, *disk->device ? " (%s)" : "%s", node->node_name);
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

static void co_main_fn append_disks(GString *out, const char *name, bool verbose)
{
    g_autoptr(BlockInfoList) list = NULL;
    Error *err = NULL;

    if (!qmp_query_block(&list, &err)) {
        append_error(out, err);
        return;
    }
    for (BlockInfoList *l = list; l; l = l->next) {
        if (name && strcmp(name, l->value->device) != 0) {
            continue;
        }
        g_string_append(out, out->len ? "\n" : "");
        append_disk(out, l->value, verbose);
    }
}

static void co_main_fn append_nodes(GString *out, const char *name, bool verbose)
{
    g_autoptr(BlockDeviceInfoList) list = NULL;
    QmpQueryNamedBlockNodesArgs args = { .has_flat = true, .flat = !verbose };
    Error *err = NULL;

    if (!qmp_query_named_block_nodes(&args, &list, &err)) {
        append_error(out, err);
        return;
    }
    for (BlockDeviceInfoList *l = list; l; l = l->next) {
        const BlockDeviceInfo *node = l->value;

        if (name && g_strcmp0(name, node->node_name) != 0) {
            continue;
        }
        g_string_append(out, out->len ? "\n" : "");
        g_string_append(out, node->node_name ?: "");
        append_inserted(out, node);
        append_details(out, node, verbose);
    }
}

void hmp_info_block(GString *out, int argc, char **argv)
{
    bool nodes = false, verbose = false;
    const char *name = NULL;

    for (int i = 0; i < argc; i++) {
        if (argv[i][0] == '-') {
            nodes |= strchr(argv[i], 'n') != NULL;
            verbose |= strchr(argv[i], 'v') != NULL;
        } else {
            name = argv[i];
        }
    }
    if (nodes) {
        append_nodes(out, name, verbose);
    } else {
        append_disks(out, name, verbose);
    }
    if (name && out->len == 0) {
        g_string_append_printf(out, "Error: there is no %s '%s'%s\n", nodes ? "node" : "drive",
                               name, nodes ? "" : "; -n looks for nodes");
    }
}

/* ---- info blockstats ---- */

void hmp_info_blockstats(GString *out, int argc, char **argv)
{
    g_autoptr(BlockStatsList) list = NULL;
    QmpQueryBlockstatsArgs args = { .query_nodes = false };
    Error *err = NULL;

    if (!qmp_query_blockstats(&args, &list, &err)) {
        append_error(out, err);
        return;
    }
    for (BlockStatsList *l = list; l; l = l->next) {
        const BlockDeviceStats *s = l->value->stats;

        if (!l->value->device) {
            continue;
        }
        g_string_append_printf(out, "%s: rd_bytes=%" PRId64 " wr_bytes=%" PRId64
                               " rd_operations=%" PRId64 " wr_operations=%" PRId64
                               " flush_operations=%" PRId64 " wr_total_time_ns=%" PRId64
                               " rd_total_time_ns=%" PRId64 " flush_total_time_ns=%" PRId64
                               " rd_merged=%" PRId64 " wr_merged=%" PRId64
                               " idle_time_ns=%" PRId64 "\n", l->value->device, s->rd_bytes,
                               s->wr_bytes, s->rd_operations, s->wr_operations,
                               s->flush_operations, s->wr_total_time_ns, s->rd_total_time_ns,
                               s->flush_total_time_ns, s->rd_merged, s->wr_merged,
                               s->has_idle_time_ns ? s->idle_time_ns : 0);
    }
}
