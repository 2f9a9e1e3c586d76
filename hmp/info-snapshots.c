/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `info snapshots`. */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "qapi/qapi-commands.h"

/* Is @disk one of those that a snapshot of the machine has to be on? */
static bool counts(const BlockInfo *disk)
{
    return *disk->device && disk->inserted && !disk->inserted->ro;
}

static bool has_snapshot(const BlockInfo *disk, const char *name)
{
    for (const SnapshotInfoList *l = disk->inserted->image->snapshots; l; l = l->next) {
        if (strcmp(l->value->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_on_all(const BlockInfoList *disks, const char *name)
{
    for (; disks; disks = disks->next) {
        if (counts(disks->value) && !has_snapshot(disks->value, name)) {
            return false;
        }
    }
    return true;
}

/* The first disk that can have a machine's state. */
static const BlockInfo *state_disk(const BlockInfoList *disks)
{
    for (; disks; disks = disks->next) {
        if (counts(disks->value) && strcmp(disks->value->inserted->drv, "qcow2") == 0) {
            return disks->value;
        }
    }
    return NULL;
}

static void append_complete(GString *out, const BlockInfoList *disks, const BlockInfo *first)
{
    bool any = false;

    g_string_append(out, "List of snapshots present on all disks:\n");
    for (const SnapshotInfoList *l = first->inserted->image->snapshots; l; l = l->next) {
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

static void append_partial(GString *out, const BlockInfoList *disks, const BlockInfo *disk)
{
    bool any = false;

    for (const SnapshotInfoList *l = disk->inserted->image->snapshots; l; l = l->next) {
        if (is_on_all(disks, l->value->name)) {
            continue;
        }
        if (!any) {
            g_string_append_printf(out, "\nList of partial (non-loadable) snapshots on '%s':\n",
                                   disk->device);
            hmp_append_snapshot_head(out);
        }
        hmp_append_snapshot(out, NULL, l->value);
        any = true;
    }
}

static bool has_any(const BlockInfoList *disks)
{
    for (; disks; disks = disks->next) {
        if (counts(disks->value) && disks->value->inserted->image->snapshots) {
            return true;
        }
    }
    return false;
}

static void co_main_fn info_snapshots(GString *out, const HmpArgs *args)
{
    g_autoptr(BlockInfoList) disks = NULL;
    const BlockInfo *first;
    Error *err = NULL;

    qmp_query_block(&disks, &err);
    if (hmp_failed(out, err)) {
        return;
    }
    first = state_disk(disks);
    if (!first) {
        g_string_append(out, "no block device can store vmstate for snapshot\n");
        return;
    }
    if (!has_any(disks)) {
        g_string_append(out, "There is no snapshot available.\n");
        return;
    }
    append_complete(out, disks, first);
    for (const BlockInfoList *l = disks; l; l = l->next) {
        if (counts(l->value)) {
            append_partial(out, disks, l->value);
        }
    }
}

const HmpCommand hmp_info_snapshot_commands[] = {
    { "snapshots", NULL, "show the currently saved VM snapshots", info_snapshots },
    { NULL },
};
