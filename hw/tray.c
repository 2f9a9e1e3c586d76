/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trays and media: opened, closed, taken out, put in. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/export.h"
#include "hw/device.h"
#include "machine/machine.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"

BlockBackend *main_fn device_find_backend(const char *name, const char *id, Error **errp)
{
    if (!name == !id) {
        error_setg(errp, "Need exactly one of 'device' and 'id'");
        return NULL;
    }
    Device *dev = id ? device_find(id) : NULL;
    BlockBackend *blk = name ? blk_find(name) : dev ? dev->blk : NULL;
    if (!blk && id && dev) {
        error_setg(errp, "Device '%s' is not a block device", id);
    } else if (!blk) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", name ?: id);
    }
    return blk;
}

void main_fn device_move_tray(Device *dev, bool open)
{
    EventDeviceTrayMovedArgs ev = {
        .device = (char *)blk_name(dev->blk), .id = dev->qdev, .tray_open = open,
    };

    if (dev->as_seen.has_tray && dev->as_seen.tray_open != open) {
        dev->as_seen.tray_open = open;
        qapi_event_send_device_tray_moved(&ev);
    }
}

/* ---- one step each; @name is what the command called it ---- */

/* A drive without a device has a medium that can be changed and no tray. */
static bool main_fn check_removable(BlockBackend *blk, const char *name, Error **errp)
{
    const BlkDevice *dev = blk_device(blk);

    if (dev && !dev->removable) {
        error_setg(errp, "Device '%s' is not removable", name);
        return false;
    }
    return true;
}

static bool main_fn has_tray(BlockBackend *blk)
{
    return blk_device(blk) && blk_device(blk)->has_tray;
}

/* The machine's disk on @blk; NULL: there is no machine, or no device. */
static MachineDisk *main_fn machine_disk(const BlockBackend *blk)
{
    const Device *dev = device_of_backend(blk);

    return dev ? dev->machine : NULL;
}

static bool co_main_fn open_tray(BlockBackend *blk, const char *name, bool force, Error **errp)
{
    if (!check_removable(blk, name, errp)) {
        return false;
    }
    if (machine_disk(blk)) {
        return machine_co_tray(machine_disk(blk), true, force, errp);
    }
    if (!has_tray(blk) || blk_device(blk)->tray_open) {
        return true;
    }
    if (blk_device(blk)->locked && !force) {
        error_setg(errp, "Device '%s' is locked and force was not specified, wait for tray to open "
                   "and try again", name);
        return false;
    }
    device_move_tray(device_of_backend(blk), true);
    return true;
}

static bool co_main_fn close_tray(BlockBackend *blk, const char *name, Error **errp)
{
    if (!check_removable(blk, name, errp)) {
        return false;
    }
    if (machine_disk(blk)) {
        return machine_co_tray(machine_disk(blk), false, false, errp);
    }
    if (has_tray(blk)) {
        device_move_tray(device_of_backend(blk), false);
    }
    return true;
}

/* Is the way to the medium free? */
static bool main_fn check_open(BlockBackend *blk, const char *name, Error **errp)
{
    if (!machine_disk(blk) && has_tray(blk) && !blk_device(blk)->tray_open) {
        error_setg(errp, "Tray of device '%s' is not open", name);
        return false;
    }
    return true;
}

/* Exports that nbd-server-add has made of the drive. */
static void co_main_fn end_exports(const BlockDriverState *bs)
{
    BlkExport *exp = blk_export_next(NULL);

    while (exp) {
        BlkExport *next = blk_export_next(exp);
        if (exp->ends_with_medium && !exp->shutting_down && blk_bs(exp->blk) == bs) {
            blk_export_del(exp);
            next = blk_export_next(NULL);       /* others may have gone meanwhile */
        }
        exp = next;
    }
}

static bool co_main_fn remove_medium(BlockBackend *blk, const char *name, Error **errp)
{
    if (!check_removable(blk, name, errp) || !check_open(blk, name, errp)) {
        return false;
    }
    if (machine_disk(blk) && !machine_co_medium_remove(machine_disk(blk), errp)) {
        return false;
    }
    if (blk_bs(blk)) {
        end_exports(blk_bs(blk));
        bdrv_graph_lock();
        blk_remove(blk);
        bdrv_graph_unlock();
    }
    return true;
}

/* What a device wants of its medium, which may be write-protected. */
static bool co_main_fn insert(BlockBackend *blk, BlockDriverState *bs, Error **errp)
{
    const Device *dev = device_of_backend(blk);
    bool read_only = (dev && dev->model->kind == DEVICE_CDROM) || (bs->read_only && !bs->inactive);
    unsigned allows = CLAIM_READ | CLAIM_WRITE_SAME | CLAIM_PIVOT;

    return (!dev || blk_set_claims(blk, read_only ? CLAIM_READ : CLAIM_READ | CLAIM_WRITE, allows,
                                   errp)) &&
           blk_insert(blk, bs, errp);
}

static bool co_main_fn insert_medium(BlockBackend *blk, const char *name, BlockDriverState *bs,
                                     Error **errp)
{
    if (!check_removable(blk, name, errp)) {
        return false;
    }
    if (!check_open(blk, name, NULL)) {
        error_setg(errp, "Tray of the device is not open");     /* QEMU's text here */
        return false;
    }
    if (blk_bs(blk)) {
        error_setg(errp, "There already is a medium in device '%s'", name);
        return false;
    }
    return insert(blk, bs, errp);
}

/* @blk has a medium now; it has not if the machine does not take it. */
static bool co_main_fn tell_machine(BlockBackend *blk, Error **errp)
{
    MachineDisk *disk = machine_disk(blk);

    if (!disk) {
        return true;
    }
    disk->read_only = !blk_is_writable(blk);
    if (machine_co_medium_insert(disk, errp)) {
        return true;
    }
    bdrv_graph_lock();
    blk_remove(blk);
    bdrv_graph_unlock();
    return false;
}

/* ---- commands ---- */

bool co_main_fn qmp_blockdev_open_tray(const QmpBlockdevOpenTrayArgs *args, Error **errp)
{
    BlockBackend *blk = device_find_backend(args->device, args->id, errp);

    return blk && open_tray(blk, args->device ?: args->id, args->has_force && args->force, errp);
}

bool co_main_fn qmp_blockdev_close_tray(const QmpBlockdevCloseTrayArgs *args, Error **errp)
{
    BlockBackend *blk = device_find_backend(args->device, args->id, errp);

    return blk && close_tray(blk, args->device ?: args->id, errp);
}

bool co_main_fn qmp_blockdev_remove_medium(const QmpBlockdevRemoveMediumArgs *args, Error **errp)
{
    BlockBackend *blk = device_find_backend(NULL, args->id, errp);

    return blk && remove_medium(blk, args->id, errp);
}

/* Is a device or a drive on @bs already? */
static bool main_fn has_backend(BlockDriverState *bs)
{
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        if (blk_bs(blk) == bs && !blk_user(blk)) {
            return true;
        }
    }
    return false;
}

bool co_main_fn qmp_blockdev_insert_medium(const QmpBlockdevInsertMediumArgs *args, Error **errp)
{
    BlockBackend *blk = device_find_backend(NULL, args->id, errp);

    if (!blk) {
        return false;
    }
    bdrv_graph_lock();
    BlockDriverState *bs = bdrv_find_node(args->node_name);
    bool ok = false;
    if (!bs) {
        error_setg(errp, "Node '%s' not found", args->node_name);
    } else if (has_backend(bs)) {
        error_setg(errp, "Node '%s' is already in use", args->node_name);
    } else {
        ok = insert_medium(blk, args->id, bs, errp);
    }
    bdrv_graph_unlock();
    return ok && tell_machine(blk, errp);
}

bool co_main_fn qmp_eject(const QmpEjectArgs *args, Error **errp)
{
    const char *name = args->device ?: args->id;
    BlockBackend *blk = device_find_backend(args->device, args->id, errp);

    return blk && open_tray(blk, name, args->has_force && args->force, errp) &&
           remove_medium(blk, name, errp);
}

/* ---- a medium by the name of its file ---- */

static BdrvLink *co_main_fn open_medium(const QmpBlockdevChangeMediumArgs *args, bool read_only,
                                        Error **errp)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "blockdev-change-medium" };
    g_autoptr(BdrvOpenOptions) opts =
        bdrv_options_from_filename(args->filename, args->format, NULL, errp);

    for (BdrvOpenOptions *o = opts; o; o = o->file.options) {
        o->read_only = read_only;
    }
    return opts ? bdrv_open(opts, &spec, errp) : NULL;
}

static bool main_fn will_be_read_only(const QmpBlockdevChangeMediumArgs *args, BlockBackend *blk)
{
    const Device *dev = device_of_backend(blk);

    if (args->has_read_only_mode &&
        args->read_only_mode != BLOCKDEV_CHANGE_READ_ONLY_MODE_RETAIN) {
        return args->read_only_mode == BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_ONLY;
    }
    return blk_bs(blk) ? blk_bs(blk)->read_only : dev && dev->model->kind == DEVICE_CDROM;
}

static bool co_main_fn put_in(BlockBackend *blk, const char *name, BdrvLink *link, Error **errp)
{
    bdrv_graph_lock();
    bool ok = insert_medium(blk, name, link->bs, errp);
    bdrv_link_free(link);
    bdrv_graph_unlock();
    return ok && tell_machine(blk, errp);
}

static void co_main_fn drop(BdrvLink *link)
{
    bdrv_graph_lock();
    bdrv_link_free(link);
    bdrv_graph_unlock();
}

bool co_main_fn qmp_blockdev_change_medium(const QmpBlockdevChangeMediumArgs *args, Error **errp)
{
    const char *name = args->device ?: args->id;
    BlockBackend *blk = device_find_backend(args->device, args->id, errp);

    if (!blk) {
        return false;
    }
    bdrv_graph_lock();
    BdrvLink *link = open_medium(args, will_be_read_only(args, blk), errp);
    bdrv_graph_unlock();
    blockdev_plain_error(errp);
    if (!link) {
        return false;
    }
    if (!open_tray(blk, name, args->has_force && args->force, errp) ||
        !remove_medium(blk, name, errp)) {
        drop(link);
        return false;
    }
    return put_in(blk, name, link, errp) && close_tray(blk, name, errp);
}
