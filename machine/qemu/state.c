/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the child tells of its devices: their state, and events. */
#include "qemu/osdep.h"

#include "machine/routes.h"
#include "qemu-internal.h"
#include "qemu/trace.h"

/* ---- devices ---- */

static void set_text(char **where, const char *text)
{
    g_free(*where);
    *where = g_strdup(text);
}

static bool get_bool(const QDict *dict, const char *key)
{
    bool value = false;

    qobject_get_bool(qdict_get(dict, key), &value);
    return value;
}

/* "/machine/peripheral/ID" and what lies below it is the device ID. */
static bool is_device(const char *qdev, const char *id)
{
    static const char place[] = "/machine/peripheral/";
    size_t len = strlen(id);

    if (strcmp(qdev, id) == 0) {
        return true;
    }
    if (!g_str_has_prefix(qdev, place)) {
        return false;
    }
    qdev += strlen(place);
    return strncmp(qdev, id, len) == 0 && (qdev[len] == 0 || qdev[len] == '/');
}

/* Whose entry of query-block it is.  A device without a medium is known by its name only. */
static MachineDisk *main_fn disk_of(const QDict *entry)
{
    QDict *inserted = qobject_to_qdict(qdict_get(entry, "inserted"));
    const char *node = inserted ? qdict_get_str(inserted, "node-name") : NULL;
    const char *device = qdict_get_str(entry, "device"), *qdev = qdict_get_str(entry, "qdev");

    for (GList *l = machine_disks; l; l = l->next) {
        MachineDisk *disk = l->data;

        if ((node && strcmp(node, machine_qemu_node(disk)) == 0) ||
            (device && strcmp(device, disk->id) == 0) ||
            (qdev && (is_device(qdev, disk->id) ||
                      (disk->state.qdev && strcmp(qdev, disk->state.qdev) == 0)))) {
            return disk;
        }
    }
    return NULL;
}

static void main_fn take_states(const QList *entries)
{
    for (size_t i = 0; i < qlist_size(entries); i++) {
        QDict *entry = qobject_to_qdict(qlist_get(entries, i));
        MachineDisk *disk = entry ? disk_of(entry) : NULL;

        if (!disk) {
            continue;
        }
        if (qdict_get_str(entry, "qdev")) {
            set_text(&disk->state.qdev, qdict_get_str(entry, "qdev"));
        }
        set_text(&disk->state.io_status, qdict_get_str(entry, "io-status"));
        disk->state.removable = get_bool(entry, "removable");
        disk->state.locked = get_bool(entry, "locked");
        disk->state.has_tray = qdict_has(entry, "tray_open");
        disk->state.tray_open = get_bool(entry, "tray_open");
        machine_callbacks.state_changed(disk);
    }
}

/* What looking at them may take: the answer of a command hangs on it. */
#define LOOK_NS (2 * NS_PER_SEC)

/* What query-block says, NULL: it does not answer soon. */
static QObject *co_main_fn ask(void)
{
    MachineQmp *q = machine_qemu_qmp();

    /* One that has not answered yet is not asked again. */
    if (!q || machine_qmp_is_late(q)) {
        return NULL;
    }
    return machine_qmp_run(q, "query-block", NULL, NULL, 0, MACHINE_QMP_AT_ONCE, LOOK_NS, NULL);
}

void co_main_fn machine_qemu_refresh(void)
{
    g_autoptr(QObject) ret = ask();

    if (qobject_to_qlist(ret)) {
        take_states(qobject_to_qlist(ret));
    }
}

void co_main_fn machine_qemu_find_drives(void)
{
    g_autoptr(QObject) ret = ask();
    const QList *entries = qobject_to_qlist(ret);

    if (!entries) {
        return;
    }
    for (size_t i = 0; machine_callbacks.co_drive_found && i < qlist_size(entries); i++) {
        QDict *entry = qobject_to_qdict(qlist_get(entries, i));
        const char *name = entry ? qdict_get_str(entry, "device") : NULL;

        if (name && *name && !qdict_has(entry, "inserted") && !disk_of(entry)) {
            machine_callbacks.co_drive_found(name, qdict_get_str(entry, "qdev"));
        }
    }
    take_states(entries);
}

/* ---- events ---- */

/* The disk whose device is gone, NULL: another device.  Of a device that consists of two each is
 * told of, the inner one first, without an id. */
static MachineDisk *main_fn deleted_disk(const QDict *data)
{
    const char *id = qdict_get_str(data, "device"), *path = qdict_get_str(data, "path");

    if (!path || g_str_has_suffix(path, "/virtio-backend")) {
        return NULL;
    }
    for (GList *l = machine_disks; l; l = l->next) {
        MachineDisk *disk = l->data;
        const char *qdev = disk->state.qdev;

        if ((id && strcmp(id, disk->id) == 0) ||
            (qdev && g_str_has_prefix(qdev, path) &&
             (strcmp(qdev + strlen(path), "") == 0 ||
              strcmp(qdev + strlen(path), "/virtio-backend") == 0))) {
            return disk;
        }
    }
    return NULL;
}

static void co_main_fn device_deleted(QDict *event, QDict *data)
{
    MachineDisk *disk = deleted_disk(data);

    if (disk) {
        machine_qemu_disk_unplug(disk);
        machine_callbacks.co_device_deleted(disk);
    }
}

static void co_main_fn tray_moved(QDict *event, QDict *data)
{
    const char *id = qdict_get_str(data, "id");
    MachineDisk *disk = id ? machine_disk_find(id) : NULL;

    if (disk) {
        disk->state.tray_open = get_bool(data, "tray-open");
        machine_callbacks.state_changed(disk);
    }
}

/* Its node is not a client's. */
static void co_main_fn io_error(QDict *event, QDict *data)
{
    const char *node = qdict_get_str(data, "node-name");

    for (GList *l = machine_disks; node && l; l = l->next) {
        MachineDisk *disk = l->data;
        BlockDriverState *bs = blk_bs(disk->blk);

        if (bs && strcmp(machine_qemu_node(disk), node) == 0) {
            QDict *copy = qdict_copy_shallow(data);
            qdict_put_str(copy, "node-name", bdrv_skip_implicit(bs)->node_name);
            qdict_put(event, "data", QOBJECT(copy));
            return;
        }
    }
}

static const struct {
    const char *name;
    void (*co_handle)(QDict *event, QDict *data);
} handlers[] = {
    { "DEVICE_DELETED", device_deleted },
    { "DEVICE_TRAY_MOVED", tray_moved },
    { "BLOCK_IO_ERROR", io_error },
};

void co_main_fn machine_qemu_event(void *opaque, QDict *event)
{
    const char *name = qdict_get_str(event, "event");
    bool forwarded = machine_event_is_forwarded(name);
    g_autoptr(QDict) no_data = qdict_new();
    QDict *data = qobject_to_qdict(qdict_get(event, "data"));

    trace_machine_event(name, forwarded);
    for (size_t i = 0; i < G_N_ELEMENTS(handlers); i++) {
        if (strcmp(handlers[i].name, name) == 0) {
            handlers[i].co_handle(event, data ?: no_data);
        }
    }
    if (forwarded) {
        machine_callbacks.event(QOBJECT(event));
    } else {
        qdict_unref(event);
    }
}
