/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices: made, found, removed. */
#include "qemu/osdep.h"

#include "hw/bus.h"
#include "hw/device-internal.h"
#include "qapi/qapi-events.h"
#include "qemu/id.h"

static GQueue devices;              /* of Device */
/* Numbers of devices without an id: of users, of the board.  They are not used again. */
static unsigned anonymous, unattached;

const GQueue *main_fn device_list(void)
{
    return &devices;
}

Device *main_fn device_find(const char *id_or_path)
{
    for (GList *e = devices.head; e; e = e->next) {
        Device *dev = e->data;
        if (g_strcmp0(dev->id, id_or_path) == 0 || strcmp(dev->path, id_or_path) == 0 ||
            g_strcmp0(dev->qdev, id_or_path) == 0) {
            return dev;
        }
    }
    return NULL;
}

Device *main_fn device_of_backend(const BlockBackend *blk)
{
    for (GList *e = devices.head; e; e = e->next) {
        if (((Device *)e->data)->blk == blk) {
            return e->data;
        }
    }
    return NULL;
}

/* ---- names ---- */

/* A device that is two for QEMU, a transport and the disk on it: the disk is known by its path. */
static const char *inner_name(const DeviceModel *model)
{
    return strcmp(model->bus, "virtio-bus") != 0 && g_str_has_prefix(model->name, "virtio-blk")
           ? "/virtio-backend" : NULL;
}

static void main_fn give_names(Device *dev, bool by_board)
{
    const char *inner = inner_name(dev->model);

    if (dev->id) {
        dev->path = g_strdup_printf("/machine/peripheral/%s", dev->id);
    } else if (by_board && !inner) {
        dev->path = g_strdup_printf("/machine/unattached/device[%u]", unattached++);
    } else {
        dev->path = g_strdup_printf("/machine/peripheral-anon/device[%u]", anonymous++);
    }
    if (device_model_is_disk(dev->model)) {
        dev->qdev = inner       ? g_strconcat(dev->path, inner, NULL) :
                    dev->id     ? g_strdup(dev->id) : g_strdup(dev->path);
    }
}

/* ---- making ---- */

/* A disk of a model that only the machine knows. */
static const DeviceModel foreign_disk = {
    .name = "disk", .bus = "", .kind = DEVICE_DISK, .takes_iothread = true,
};

static const DeviceModel *main_fn find_model(const QDict *options, bool by_board, Error **errp)
{
    const char *driver = qdict_get_str(options, "driver");

    if (!driver) {
        error_setg(errp, "Parameter 'driver' is missing");
        return NULL;
    }
    const DeviceModel *model = device_find_model(driver);
    if (device_board() == BOARD_MACHINE) {
        return model ?: &foreign_disk;
    }
    if (!model || (model->not_by_user && !by_board)) {
        error_setg(errp, "'%s' is not a valid device model name", driver);
        return NULL;
    }
    return model;
}

static bool main_fn check_id(const char *id, Error **errp)
{
    if (id && !id_is_well_formed(id)) {
        error_setg(errp, "Parameter 'id' expects an identifier");
        return false;
    }
    if (id && device_find(id)) {
        error_setg(errp, "Duplicate device ID '%s'", id);
        return false;
    }
    return true;
}

static bool main_fn check_properties(const DeviceModel *model, const QDict *options,
                                     Error **errp)
{
    const char *key;
    QObject *value;

    for (size_t i = 0; device_board() != BOARD_MACHINE && qdict_member(options, i, &key, &value);
         i++) {
        if (strcmp(key, "driver") != 0 && strcmp(key, "id") != 0 && strcmp(key, "bus") != 0 &&
            !device_model_has_property(model, key)) {
            error_setg(errp, "Property '%s.%s' not found", model->name, key);
            return false;
        }
    }
    return true;
}

static void main_fn device_free(Device *dev)
{
    device_bus_unplug(dev);
    qobject_unref(QOBJECT(dev->options));
    g_free(dev->id);
    g_free(dev->path);
    g_free(dev->qdev);
    g_free(dev->iothread);
    g_free(dev);
}

/* NULL: with @errp, or with a machine, which knows its buses itself. */
static DeviceBus *main_fn find_bus(const DeviceModel *model, const QDict *options, bool hotplug,
                                   Error **errp)
{
    if (device_board() == BOARD_MACHINE) {
        return NULL;
    }
    DeviceBus *bus = device_bus_find(model, options, errp);
    if (bus && hotplug && !bus->hotplug) {
        error_setg(errp, "Bus '%s' does not support hotplugging", bus->name);
        return NULL;
    }
    return bus;
}

static Device *main_fn device_new(const DeviceModel *model, const QDict *options, bool by_board)
{
    Device *dev = g_new0(Device, 1);

    dev->model = model;
    dev->id = g_strdup(qdict_get_str(options, "id"));
    dev->slot = -1;
    dev->options = qdict_copy_shallow(options);
    dev->iothread = g_strdup(qdict_get_str(options, "iothread"));
    give_names(dev, by_board);
    return dev;
}

Device *co_main_fn device_add(const QDict *options, bool hotplug, bool by_board, Error **errp)
{
    const DeviceModel *model = find_model(options, by_board, errp);
    DeviceBus *bus = model ? find_bus(model, options, hotplug, errp) : NULL;

    if (!model || (!bus && device_board() != BOARD_MACHINE) ||
        !check_id(qdict_get_str(options, "id"), errp) ||
        !check_properties(model, options, errp)) {
        return NULL;
    }
    Device *dev = device_new(model, options, by_board);
    /* A second one of that name is refused from here on, while this one is being made. */
    g_queue_push_tail(&devices, dev);
    if ((bus && !device_bus_plug(bus, dev, errp)) ||
        (device_model_is_disk(model) && !device_disk_realize(dev, errp))) {
        g_queue_remove(&devices, dev);
        device_free(dev);
        return NULL;
    }
    device_bus_add_own(dev);
    return dev;
}

/* ---- removing ---- */

static void co_main_fn remove_quietly(Device *dev)
{
    if (device_model_is_disk(dev->model)) {
        device_disk_unrealize(dev);
    }
    device_bus_free_own(dev);
    g_queue_remove(&devices, dev);
}

static void main_fn send_deleted(const char *id, const char *path)
{
    EventDeviceDeletedArgs ev = { .device = (char *)id, .path = (char *)path };

    qapi_event_send_device_deleted(&ev);
}

/* With what is plugged into it, that first. */
void co_main_fn device_remove(Device *dev)
{
    dev->leaving = true;
    for (GList *e = dev->buses.head; e; e = e->next) {
        DeviceBus *bus = e->data;
        while (!g_queue_is_empty(&bus->devices)) {
            device_remove(g_queue_peek_head(&bus->devices));
        }
    }
    remove_quietly(dev);
    if (dev->qdev && g_str_has_prefix(dev->qdev, dev->path) && strcmp(dev->qdev, dev->path) != 0) {
        send_deleted(NULL, dev->qdev);
    }
    send_deleted(dev->id, dev->path);
    device_free(dev);
}

void co_main_fn device_forget(Device *dev)
{
    remove_quietly(dev);
    device_free(dev);
}

void co_main_fn device_remove_all(void)
{
    while (!g_queue_is_empty(&devices)) {
        Device *dev = g_queue_peek_tail(&devices);     /* controllers after what is on them */
        device_forget(dev);
    }
    device_bus_free_all();
    drive_forget_all();
}
