/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices of a machine that has its buses itself: disks are devices here too, all else is its. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "hw/device.h"
#include "hw/machine.h"

/* ---- what the machine tells ---- */

static Device *main_fn device_of(const MachineDisk *disk)
{
    for (GList *e = device_list()->head; e; e = e->next) {
        if (((Device *)e->data)->machine == disk) {
            return e->data;
        }
    }
    return NULL;
}

void co_main_fn device_machine_deleted(MachineDisk *disk)
{
    Device *dev = device_of(disk);

    if (dev) {
        device_forget(dev);
    }
}

static int reason_of(const char *io_status)
{
    return g_strcmp0(io_status, "nospace") == 0 ? -ENOSPC :
           g_strcmp0(io_status, "failed") == 0  ? -EIO    : 0;
}

void main_fn device_machine_changed(MachineDisk *disk)
{
    Device *dev = device_of(disk);

    if (!dev) {
        return;                     /* it is just being made */
    }
    if (disk->state.qdev && strcmp(disk->state.qdev, dev->qdev) != 0) {
        g_free(dev->qdev);
        dev->qdev = g_strdup(disk->state.qdev);
        dev->as_seen.qdev = dev->qdev;
    }
    if (disk->state.qdev) {
        dev->as_seen.removable = disk->state.removable;
        dev->as_seen.has_tray = disk->state.has_tray;
        dev->as_seen.tray_open = disk->state.tray_open;
        dev->as_seen.locked = disk->state.locked;
        dev->as_seen.stop_reason = reason_of(disk->state.io_status);
    }
}

/* ---- making ---- */

static unsigned anonymous;

static bool main_fn is_disk(const QDict *options)
{
    const char *driver = qdict_get_str(options, "driver");
    const DeviceModel *model = driver ? device_find_model(driver) : NULL;

    return qdict_has(options, "drive") || (model && device_model_is_disk(model));
}

/* The device, and what the machine gets to know of its disk. */
static Device *co_main_fn make(const QDict *options, bool hotplug, Error **errp)
{
    g_autoptr(QDict) text = device_options_as_text(options, errp);
    Device *dev = text ? device_add(text, hotplug, false, errp) : NULL;

    if (!dev) {
        return NULL;
    }
    g_autofree char *id = dev->id ? g_strdup(dev->id) : g_strdup_printf("#disk%u", anonymous++);
    dev->machine = machine_disk_new(id, dev->blk);
    dev->machine->iothread = dev->iothread ? blockdev_find_iothread(dev->iothread) : NULL;
    dev->machine->shown = g_strdup(qdict_get_str(text, "drive"));
    dev->machine->read_only = !blk_is_writable(dev->blk);
    return dev;
}

/* What is the machine's to do about failed requests, where -drive says other than what it does
 * anyway. */
static void main_fn put_policies(QDict *options, const Drive *drive)
{
    static const char *const names[] = {
        [BLK_ON_ERROR_REPORT] = "report", [BLK_ON_ERROR_IGNORE] = "ignore",
        [BLK_ON_ERROR_ENOSPC] = "enospc", [BLK_ON_ERROR_STOP] = "stop",
    };

    if (drive->rerror != BLK_ON_ERROR_REPORT && !qdict_has(options, "rerror")) {
        qdict_put_str(options, "rerror", names[drive->rerror]);
    }
    if (drive->werror != BLK_ON_ERROR_ENOSPC && !qdict_has(options, "werror")) {
        qdict_put_str(options, "werror", names[drive->werror]);
    }
}

/* What a -drive has said of a disk that a -device has. */
static QDict *main_fn with_drive_options(const QDict *options, const Device *dev)
{
    const Drive *drive = drive_of_backend(dev->blk);
    QDict *all = qdict_copy_shallow(options);

    if (drive && !blk_write_cache(dev->blk) && !qdict_has(all, "write-cache")) {
        qdict_put_str(all, "write-cache", "off");
    }
    if (drive) {
        put_policies(all, drive);
    }
    return all;
}

bool co_main_fn device_machine_add(const QDict *options, const char *text, Error **errp)
{
    Device *dev = is_disk(options) ? make(options, !text, errp) : NULL;
    g_autoptr(QDict) all = NULL;

    if (!dev && is_disk(options)) {
        return false;
    }
    all = dev ? with_drive_options(options, dev) : qdict_copy_shallow(options);
    if (text && !dev) {
        machine_pass_option("device", text);
        return true;
    }
    if (text) {
        machine_pass_device(all, text[0] == '{', dev->machine);
        return true;
    }
    if (!machine_co_device_add(all, dev ? dev->machine : NULL, errp)) {
        if (dev) {
            device_forget(dev);
        }
        return false;
    }
    return true;
}

bool co_main_fn device_machine_add_drive(const Drive *drive, const char *interface, Error **errp)
{
    static const char *const models[DRIVE_IF__MAX] = {
        [DRIVE_IF_IDE] = "ide-hd", [DRIVE_IF_SCSI] = "scsi-hd", [DRIVE_IF_FLOPPY] = "floppy",
        [DRIVE_IF_VIRTIO] = "virtio-blk-pci",
    };
    const char *model = drive->cdrom ? "ide-cd" : models[drive->interface];
    g_autoptr(QDict) options = qdict_new();
    g_autoptr(QDict) passed = qdict_new();
    Device *dev;

    qdict_put_str(options, "driver", model ?: "disk");
    qdict_put_str(options, "drive", blk_name(drive->blk));
    dev = make(options, false, errp);
    if (!dev) {
        return false;
    }
    g_free(dev->machine->id);
    dev->machine->id = g_strdup(blk_name(drive->blk));
    qdict_put_str(passed, "if", interface);
    qdict_put_int(passed, "bus", drive->bus);
    qdict_put_int(passed, "unit", drive->unit);
    if (drive->cdrom) {
        qdict_put_str(passed, "media", "cdrom");
    }
    if (!blk_write_cache(drive->blk)) {
        qdict_put_str(passed, "cache.writeback", "off");
    }
    put_policies(passed, drive);
    machine_pass_drive(passed, dev->machine);
    return true;
}

/* A name that something of ours has is left to it. */
static Drive *co_main_fn make_drive(const char *name, DriveInterface interface)
{
    Drive *drive;

    bdrv_graph_lock();
    bool ok = blockdev_drive_add(name, NULL, true, NULL);
    bdrv_graph_unlock();
    if (!ok) {
        return NULL;
    }
    drive = g_new0(Drive, 1);
    drive->blk = blk_find(name);
    drive->interface = interface;
    drive->cdrom = interface == DRIVE_IF_IDE;
    drive->is_default = true;
    drive->werror = BLK_ON_ERROR_ENOSPC;
    drive_register(drive);
    return drive;
}

void co_main_fn device_machine_drive_found(const char *name, const char *qdev)
{
    bool floppy = g_str_has_prefix(name, "floppy"), sd = g_str_has_prefix(name, "sd");
    g_autoptr(QDict) options = qdict_new();
    Drive *drive = make_drive(name, floppy ? DRIVE_IF_FLOPPY : sd ? DRIVE_IF_SD : DRIVE_IF_IDE);
    Device *dev;

    if (!drive || !qdev) {
        return;
    }
    qdict_put_str(options, "driver", floppy ? "floppy" : "ide-cd");
    qdict_put_str(options, "drive", name);
    dev = make(options, false, NULL);
    if (dev) {
        g_free(dev->machine->id);
        dev->machine->id = g_strdup(name);
    }
}
