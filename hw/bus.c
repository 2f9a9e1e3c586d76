/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buses: those of the board, those of controllers; names and places. */
#include "qemu/osdep.h"

#include "hw/bus.h"
#include "qobject/keyval.h"

static GQueue buses;                /* of DeviceBus, the board's first */
static Board board;

/* ---- buses come and go ---- */

static DeviceBus *main_fn bus_new(char *takes_name, const char *type, unsigned slots, bool hotplug,
                                  Device *owner)
{
    DeviceBus *bus = g_new0(DeviceBus, 1);

    bus->name = takes_name;
    bus->type = type;
    bus->slots = slots;
    bus->hotplug = hotplug;
    bus->owner = owner;
    g_queue_push_tail(&buses, bus);
    return bus;
}

static void main_fn bus_free(DeviceBus *bus)
{
    g_assert(g_queue_is_empty(&bus->devices));
    g_queue_remove(&buses, bus);
    g_free(bus->name);
    g_free(bus);
}

void main_fn device_init_board(Board which)
{
    board = which;
    if (board == BOARD_MACHINE) {
        return;
    }
    bus_new(g_strdup("main-system-bus"), "System", 0, false, NULL);
    if (board == BOARD_NONE) {
        return;
    }
    bool pc = board == BOARD_PC;
    bus_new(g_strdup(pc ? "pci.0" : "pcie.0"), "PCI", 0, true, NULL);
    bus_new(g_strdup("isa.0"), "ISA", 0, false, NULL);
    for (int i = 0; i < (pc ? 2 : 6); i++) {
        bus_new(g_strdup_printf("ide.%d", i), "IDE", pc ? 2 : 1, false, NULL);
    }
    if (pc) {
        bus_new(g_strdup("floppy-bus.0"), "floppy-bus", 2, false, NULL);
    }
}

Board main_fn device_board(void)
{
    return board;
}

static bool main_fn name_is_taken(const char *name)
{
    for (GList *e = buses.head; e; e = e->next) {
        if (strcmp(((DeviceBus *)e->data)->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* "ID.0", of a bridge "ID", or, of a device without an id, the first free of "scsi.0", "scsi.1", ... */
static char *main_fn new_name(const Device *dev, unsigned index)
{
    if (dev->id && strcmp(dev->model->provides, "PCI") == 0 && !name_is_taken(dev->id)) {
        return g_strdup(dev->id);
    }
    for (unsigned n = 0;; n++) {
        char *name = dev->id ? g_strdup_printf("%s.%u", dev->id, index + n)
                             : g_strdup_printf("%s.%u", dev->model->bus_prefix, n);
        if (!name_is_taken(name)) {
            return name;
        }
        g_free(name);
    }
}

void main_fn device_bus_add_own(Device *dev)
{
    const DeviceModel *m = dev->model;

    for (unsigned i = 0; i < m->buses; i++) {
        bool hotplug = strcmp(m->provides, "IDE") != 0 && strcmp(m->provides, "floppy-bus") != 0;
        g_queue_push_tail(&dev->buses,
                          bus_new(new_name(dev, i), m->provides, m->slots, hotplug, dev));
    }
}

void main_fn device_bus_free_own(Device *dev)
{
    DeviceBus *bus;

    while ((bus = g_queue_pop_head(&dev->buses))) {
        bus_free(bus);
    }
}

bool main_fn device_bus_has_devices(const Device *dev)
{
    for (GList *e = dev->buses.head; e; e = e->next) {
        if (!g_queue_is_empty(&((DeviceBus *)e->data)->devices)) {
            return true;
        }
    }
    return false;
}

void main_fn device_bus_free_all(void)
{
    while (!g_queue_is_empty(&buses)) {
        bus_free(g_queue_peek_head(&buses));
    }
}

/* ---- which bus ---- */

static bool main_fn is_full(const DeviceBus *bus)
{
    return bus->slots && bus->devices.length >= bus->slots;
}

/* The last word of a path, for whoever names a bus as a path. */
static DeviceBus *main_fn find_named(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    for (GList *e = buses.head; e; e = e->next) {
        DeviceBus *bus = e->data;
        if (strcmp(bus->name, name) == 0) {
            return bus;
        }
    }
    return NULL;
}

/* A virtio device without its own transport goes where virtio-mmio would have it: nowhere here. */
DeviceBus *main_fn device_bus_find(const DeviceModel *model, const QDict *options, Error **errp)
{
    const char *name = qdict_get_str(options, "bus");
    bool one_is_full = false;

    if (name) {
        DeviceBus *bus = find_named(name);
        if (!bus) {
            error_setg(errp, "Bus '%s' not found", name);
        } else if (strcmp(bus->type, model->bus) != 0) {
            error_setg(errp, "Device '%s' can't go on %s bus", model->name, bus->type);
            bus = NULL;
        } else if (is_full(bus)) {
            error_setg(errp, "Bus '%s' is full", name);
            bus = NULL;
        }
        return bus;
    }
    for (GList *e = buses.head; e; e = e->next) {
        DeviceBus *bus = e->data;
        if (strcmp(bus->type, model->bus) != 0) {
            continue;
        }
        if (!is_full(bus)) {
            return bus;
        }
        one_is_full = true;
    }
    if (one_is_full) {
        error_setg(errp, "Bus '%s' is full", model->bus);
    } else {
        error_setg(errp, "No '%s' bus found for device '%s'", model->bus, model->name);
    }
    return NULL;
}

/* ---- places ---- */

static bool main_fn is_taken(const DeviceBus *bus, int slot)
{
    for (GList *e = bus->devices.head; e; e = e->next) {
        if (((Device *)e->data)->slot == slot) {
            return true;
        }
    }
    return false;
}

/* The property that says the place, NULL: none does. */
static const char *place_property(const DeviceBus *bus)
{
    return strcmp(bus->type, "SCSI") == 0 ? "scsi-id" :
           strcmp(bus->type, "IDE") == 0 || strcmp(bus->type, "floppy-bus") == 0 ? "unit" : NULL;
}

/* SCSI has units below a target: a place is both. */
#define LUNS 16384

/* -1: not given. */
static bool main_fn given_place(const DeviceBus *bus, const QDict *options, int *ret, Error **errp)
{
    const char *property = place_property(bus);
    const char *text = property ? qdict_get_str(options, property) : NULL;
    bool scsi = property && strcmp(property, "scsi-id") == 0;
    const char *lun = scsi ? qdict_get_str(options, "lun") : NULL;
    uint64_t place = 0, unit = 0;

    *ret = -1;
    if (!text && !lun) {
        return true;
    }
    if ((text && !keyval_parse_size(text, &place, errp)) ||
        (lun && !keyval_parse_size(lun, &unit, errp))) {
        return false;
    }
    if (place >= (scsi ? 256 : bus->slots ?: 1) || unit >= LUNS) {
        if (scsi) {
            error_setg(errp, "bad scsi device id: %" PRIu64, place);
        } else if (strcmp(bus->type, "IDE") == 0) {
            error_setg(errp, "Can't create IDE unit %" PRIu64 ", bus supports only %u units",
                       place, bus->slots);
        } else {
            error_setg(errp, "Can't create floppy unit %" PRIu64 ", bus supports only %u units",
                       place, bus->slots);
        }
        return false;
    }
    *ret = scsi ? (int)(place * LUNS + unit) : (int)place;
    return true;
}

bool main_fn device_bus_plug(DeviceBus *bus, Device *dev, Error **errp)
{
    int slot;

    if (!given_place(bus, dev->options, &slot, errp)) {
        return false;
    }
    if (slot >= 0 && is_taken(bus, slot)) {
        if (strcmp(bus->type, "SCSI") == 0) {
            error_setg(errp, "lun already used by another device");
        } else {
            error_setg(errp, "%s unit %d is in use",
                       strcmp(bus->type, "IDE") == 0 ? "IDE" : "Floppy", slot);
        }
        return false;
    }
    for (int n = 0; slot < 0 && place_property(bus); n++) {
        int candidate = strcmp(bus->type, "SCSI") == 0 ? n * LUNS : n;
        if (!is_taken(bus, candidate)) {
            slot = candidate;
        }
    }
    dev->slot = slot;
    dev->bus = bus;
    g_queue_push_tail(&bus->devices, dev);
    return true;
}

void main_fn device_bus_unplug(Device *dev)
{
    if (dev->bus) {
        g_queue_remove(&dev->bus->devices, dev);
        dev->bus = NULL;
    }
}
