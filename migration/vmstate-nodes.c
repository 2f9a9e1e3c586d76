/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which nodes a snapshot of the machine is on. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/internal-snapshot.h"
#include "vmstate-internal.h"

static bool main_fn add(GPtrArray *nodes, BlockDriverState *bs, Error **errp)
{
    BlockDriverState *image = blockdev_image_of_disk(bs);

    if (!bdrv_can_snapshot(image) || image->data_file || image->inactive) {
        error_setg(errp, "Device '%s' is writable but does not support snapshots",
                   blockdev_disk_name(bs));
        return false;
    }
    if (!g_ptr_array_find(nodes, image, NULL)) {
        g_ptr_array_add(nodes, image);
    }
    return true;
}

static bool main_fn add_all(GPtrArray *nodes, Error **errp)
{
    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        if (blockdev_is_disk(bs) && !add(nodes, bs, errp)) {
            return false;
        }
    }
    return true;
}

static bool main_fn add_named(GPtrArray *nodes, const VmStateDisks *disks, Error **errp)
{
    const char *const *names = disks->nodes;
    BlockDriverState *first = bdrv_find_node(disks->vmstate);

    if (!first) {
        error_setg(errp, "vmstate block device '%s' does not exist", disks->vmstate);
        return false;
    }
    if (!add(nodes, first, errp)) {
        return false;
    }
    for (; names && *names; names++) {
        BlockDriverState *bs = bdrv_find_node(*names);
        if (!bs) {
            error_setg(errp, "No block device node '%s'", *names);
            return false;
        }
        if (bs->read_only) {
            error_setg(errp, "Device '%s' is read only", *names);
            return false;
        }
        if (!add(nodes, bs, errp)) {
            return false;
        }
    }
    return true;
}

GPtrArray *co_main_fn vmstate_nodes(const VmStateDisks *disks, Error **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();

    if (!(disks->vmstate ? add_named(nodes, disks, errp) : add_all(nodes, errp))) {
        return NULL;
    }
    if (nodes->len == 0) {
        error_setg(errp, "no block device can store vmstate for snapshot");
        return NULL;
    }
    return g_steal_pointer(&nodes);
}
