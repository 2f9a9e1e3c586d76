/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info snapshots`. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/internal-snapshot.h"
#include "hmp-commands.h"

/* A disk of the machine. */
typedef struct Disk {
    char *name;
    bool can_have;              /* it is of a format that has snapshots */
    ImageInfo *image;
} Disk;

static void disk_free(void *opaque)
{
    Disk *d = opaque;

    ImageInfo_free(d->image);
    g_free(d->name);
    g_free(d);
}

static GPtrArray *main_fn all_disks(void)
{
    GPtrArray *disks = g_ptr_array_new_with_free_func(disk_free);

    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        if (blockdev_is_disk(bs)) {
            BlockDriverState *image = blockdev_image_of_disk(bs);
            Disk *d = g_new0(Disk, 1);
            d->name = g_strdup(blockdev_disk_name(bs));
            d->can_have = bdrv_can_snapshot(image);
            d->image = blockdev_image_info(image);
            g_ptr_array_add(disks, d);
        }
    }
    return disks;
}

static bool has_snapshot(const Disk *disk, const char *name)
{
    for (const SnapshotInfoList *l = disk->image->snapshots; l; l = l->next) {
        if (strcmp(l->value->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_on_all(const GPtrArray *disks, const char *name)
{
    for (guint i = 0; i < disks->len; i++) {
        if (!has_snapshot(disks->pdata[i], name)) {
            return false;
        }
    }
    return true;
}

/* The first disk that can have a machine's state. */
static const Disk *state_disk(const GPtrArray *disks)
{
    for (guint i = 0; i < disks->len; i++) {
        const Disk *d = disks->pdata[i];
        if (d->can_have) {
            return d;
        }
    }
    return NULL;
}

static void append_complete(GString *out, const GPtrArray *disks, const Disk *first)
{
    bool any = false;

    g_string_append(out, "List of snapshots present on all disks:\n");
    for (const SnapshotInfoList *l = first->image->snapshots; l; l = l->next) {
        if (is_on_all(disks, l->value->name)) {
            if (!any) {
                hmp_append_snapshot_head(out);
            }
            hmp_append_snapshot(out, "--", l->value);
            any = true;
        }
    }
    if (!any) {
        g_string_append(out, "None\n");
    }
}

static void append_partial(GString *out, const GPtrArray *disks, const Disk *disk)
{
    bool any = false;

    for (const SnapshotInfoList *l = disk->image->snapshots; l; l = l->next) {
        if (is_on_all(disks, l->value->name)) {
            continue;
        }
        if (!any) {
            g_string_append_printf(out, "\nList of partial (non-loadable) snapshots on '%s':\n",
                                   disk->name);
            hmp_append_snapshot_head(out);
        }
        hmp_append_snapshot(out, NULL, l->value);
        any = true;
    }
}

static bool has_any(const GPtrArray *disks)
{
    for (guint i = 0; i < disks->len; i++) {
        if (((const Disk *)disks->pdata[i])->image->snapshots) {
            return true;
        }
    }
    return false;
}

static void main_fn info_snapshots(GString *out, const HmpArgs *args)
{
    g_autoptr(GPtrArray) disks = all_disks();
    const Disk *first = state_disk(disks);

    if (!first) {
        g_string_append(out, "no block device can store vmstate for snapshot\n");
        return;
    }
    if (!has_any(disks)) {
        g_string_append(out, "There is no snapshot available.\n");
        return;
    }
    append_complete(out, disks, first);
    for (guint i = 0; i < disks->len; i++) {
        append_partial(out, disks, disks->pdata[i]);
    }
}

const HmpCommand hmp_info_snapshot_commands[] = {
    { "snapshots", NULL, "show the currently saved VM snapshots", info_snapshots },
    { NULL },
};
