/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks and drives: which backend they have, and what they want of it. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "hw/device-internal.h"
#include "machine/machine.h"
#include "qobject/keyval.h"

/* ---- options ---- */

static bool get_bool(const Device *dev, const char *name, bool *ret, Error **errp)
{
    const char *text = qdict_get_str(dev->options, name);

    if (text && !keyval_parse_bool(text, ret)) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", name);
        return false;
    }
    return true;
}

/* `auto`, or a boolean. */
static bool get_switch(const Device *dev, const char *name, OnOffAuto *ret, Error **errp)
{
    const char *text = qdict_get_str(dev->options, name);
    bool on = false;

    *ret = ON_OFF_AUTO_AUTO;
    if (!text || strcmp(text, "auto") == 0) {
        return true;
    }
    if (!keyval_parse_bool(text, &on)) {
        error_setg(errp, "Parameter '%s' does not accept value '%s'", name, text);
        return false;
    }
    *ret = on ? ON_OFF_AUTO_ON : ON_OFF_AUTO_OFF;
    return true;
}

static bool get_policy(const Device *dev, const char *name, bool is_write, BlkOnError *ret,
                       Error **errp)
{
    const char *text = qdict_get_str(dev->options, name);
    int policy = text ? qapi_enum_find(&BlockdevOnError_lookup, text) : BLOCKDEV_ON_ERROR_AUTO;

    if (policy < 0) {
        error_setg(errp, "Parameter '%s' does not accept value '%s'", name, text);
        return false;
    }
    *ret = blockdev_on_error(true, policy, is_write);
    return true;
}

static bool check_block_sizes(const Device *dev, Error **errp)
{
    static const char *const names[] = { "logical_block_size", "physical_block_size" };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *text = qdict_get_str(dev->options, names[i]);
        uint64_t size;

        if (!text) {
            continue;
        }
        if (!keyval_parse_size(text, &size, errp)) {
            return false;
        }
        if (size != 0 && (size & (size - 1))) {
            error_setg(errp, "Property .%s doesn't take value '%s', it's not a power of 2",
                       names[i], text);
            return false;
        }
        if (size != 0 && (size < 512 || size > 2 * MiB)) {
            error_setg(errp, "Property .%s doesn't take value %" PRIu64
                       " (minimum: 512, maximum: 2097152)", names[i], size);
            return false;
        }
    }
    return true;
}

/* ---- the backend ---- */

static bool main_fn check_free(BlockBackend *blk, const char *name, Error **errp)
{
    Drive *drive = drive_of_backend(blk);

    if (!blk_device(blk)) {
        return true;
    }
    if (drive && drive->interface != DRIVE_IF_NONE) {
        error_setg(errp, "Drive '%s' is already in use because it has been automatically connected "
                   "to another device (did you need 'if=none' in the drive options?)", name);
    } else {
        error_setg(errp, "Drive '%s' is already in use by another device", name);
    }
    return false;
}

/* A drive, a node, or, without `drive`, an empty drive for media.  NULL with @errp. */
static BlockBackend *co_main_fn find_backend(Device *dev, Error **errp)
{
    const char *name = qdict_get_str(dev->options, "drive");
    BlockBackend *blk = name ? blk_find(name) : NULL;

    if (!name && dev->model->kind == DEVICE_DISK) {
        error_setg(errp, "drive property not set");
        return NULL;
    }
    if (blk) {
        return check_free(blk, name, errp) ? blk : NULL;
    }
    BlockDriverState *bs = name ? bdrv_find_node(name) : NULL;
    if (name && !bs) {
        error_setg(errp, "Property '%s.drive' can't find value '%s'", dev->model->name, name);
        return NULL;
    }
    blk = blk_new(NULL, CLAIM_NONE, CLAIM_ALL, errp);
    if (blk && bs && !blk_insert(blk, bs, errp)) {
        blk_free(blk);
        blk = NULL;
    }
    dev->owns_blk = blk != NULL;
    return blk;
}

/* An IDE disk cannot be write-protected; a CD always is. */
static bool main_fn check_medium(const Device *dev, BlockBackend *blk, bool *ret_read_only,
                                 Error **errp)
{
    BlockDriverState *bs = blk_bs(blk);

    *ret_read_only = dev->model->kind == DEVICE_CDROM ||
                     (bs && bs->read_only && !bs->inactive);
    if (!bs && dev->model->kind == DEVICE_DISK) {
        error_setg(errp, "Device needs media, but drive is empty");
        return false;
    }
    if (*ret_read_only && dev->model->kind == DEVICE_DISK &&
        strcmp(dev->model->bus, "IDE") == 0) {
        error_setg(errp, "Block node is read-only");
        return false;
    }
    return true;
}

static bool co_main_fn claim(Device *dev, BlockBackend *blk, bool read_only, Error **errp)
{
    unsigned needs = CLAIM_READ, allows = CLAIM_READ | CLAIM_WRITE_SAME | CLAIM_PIVOT;
    bool share = false;

    if (!get_bool(dev, "share-rw", &share, errp)) {
        return false;
    }
    if (!read_only) {
        needs |= CLAIM_WRITE;
    }
    if (share) {
        allows |= CLAIM_WRITE;
    }
    if (dev->model->kind == DEVICE_DISK) {
        allows |= CLAIM_RESIZE;
    }
    return blk_set_claims(blk, needs, allows, errp);
}

static bool co_main_fn configure(Device *dev, BlockBackend *blk, Error **errp)
{
    OnOffAuto write_cache;
    BlkOnError rerror, werror;
    bool read_only;

    if (!check_medium(dev, blk, &read_only, errp) || !check_block_sizes(dev, errp) ||
        !get_switch(dev, "write-cache", &write_cache, errp) ||
        !get_policy(dev, "rerror", false, &rerror, errp) ||
        !get_policy(dev, "werror", true, &werror, errp)) {
        return false;
    }
    if (dev->iothread && !blockdev_find_iothread(dev->iothread)) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
                        dev->iothread);
        return false;
    }
    if (!claim(dev, blk, read_only, errp)) {
        return false;
    }
    if (write_cache != ON_OFF_AUTO_AUTO) {
        blk_set_write_cache(blk, write_cache == ON_OFF_AUTO_ON);
    }
    if (device_board() == BOARD_MACHINE) {
        /* It has the policy, and tells. */
        blk_set_on_error(blk, BLK_ON_ERROR_REPORT, BLK_ON_ERROR_REPORT);
        blk_set_quiet(blk);
    } else if (qdict_has(dev->options, "rerror") || qdict_has(dev->options, "werror") || dev->owns_blk) {
        blk_set_on_error(blk, rerror, werror);
    }
    return true;
}

bool co_main_fn device_disk_realize(Device *dev, Error **errp)
{
    bool ok;

    bdrv_graph_lock();
    BlockBackend *blk = find_backend(dev, errp);
    ok = blk && configure(dev, blk, errp);
    if (ok) {
        bool removable = dev->model->kind != DEVICE_DISK;
        dev->as_seen = (BlkDevice){
            .qdev = dev->qdev, .removable = removable,
            .has_tray = dev->model->kind == DEVICE_CDROM,
            .no_io_status = dev->model->kind == DEVICE_FLOPPY,
        };
        dev->blk = blk;
        blk_set_device(blk, &dev->as_seen);
    } else if (dev->owns_blk) {
        blk_free(blk);
    }
    bdrv_graph_unlock();
    return ok;
}

void co_main_fn device_disk_unrealize(Device *dev)
{
    Drive *drive = drive_of_backend(dev->blk);

    machine_disk_free(g_steal_pointer(&dev->machine));
    if (dev->owns_blk || drive) {
        blk_end_visits(dev->blk);
    }
    bdrv_graph_lock();
    blk_user_leaves(dev->blk);
    blk_set_device(dev->blk, NULL);
    if (dev->owns_blk) {
        blk_free(dev->blk);
    } else if (drive) {
        drive_remove(drive);        /* it was there for the device */
    }
    dev->blk = NULL;
    bdrv_graph_unlock();
}
