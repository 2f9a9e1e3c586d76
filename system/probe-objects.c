/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine and its devices in the tree of objects. */
#include "qemu/osdep.h"

#include "monitor/qom.h"
#include "qobject/keyval.h"
#include "system.h"

/* Types without which clients think that nothing can be run here, or crash. */
static const QomType fixed_types[] = {
    { "accel", "object", true, false },
    { "tcg-accel", "accel", false, false },
    { "qtest-accel", "accel", false, false },
    { "memory-backend", "object", true, false },
    { "memory-backend-file", "memory-backend", false, false },
    { "machine", "object", true, false },
    { "device", "object", true, false },
};

static const char *machine_type;    /* of the machine that there is */

static void main_fn add_types(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(fixed_types); i++) {
        monitor_add_qom_type(&fixed_types[i]);
    }
    for (const SystemMachine *m = system_machines; m->name; m++) {
        /* It is part of the program's tables until the end. */
        QomType type = { .name = g_strconcat(m->name, "-machine", NULL), .parent = "machine" };

        monitor_add_qom_type(&type);
        if (m->board == device_board()) {
            machine_type = type.name;
        }
    }
    for (const DeviceModel *m = device_models; m->name; m++) {
        monitor_add_qom_type(&(QomType){ .name = m->name, .parent = "device" });
    }
}

/* ---- the tree ---- */

typedef bool ObjectFn(const QomObject *o, void *opaque);

/* A device, and the disk that clients see inside of it. */
static bool visit(Device *dev, ObjectFn *fn, void *opaque)
{
    QomObject o = { .path = dev->path + 1, .type = dev->model->name, .opaque = dev };

    if (fn(&o, opaque)) {
        return true;
    }
    if (dev->qdev && strcmp(dev->qdev, dev->path) != 0 && dev->qdev[0] == '/') {
        return fn(&(QomObject){ .path = dev->qdev + 1, .type = "virtio-blk-device", .opaque = dev },
                  opaque);
    }
    return false;
}

static bool each(ObjectFn *fn, void *opaque)
{
    const QomObject fixed[] = {
        { "machine", machine_type, NULL },
        { "machine/peripheral", "container", NULL },
        { "machine/peripheral-anon", "container", NULL },
        { "machine/unattached", "container", NULL },
    };

    context_assert_main();
    for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++) {
        if (fn(&fixed[i], opaque)) {
            return true;
        }
    }
    for (GList *e = device_list()->head; e; e = e->next) {
        if (visit(e->data, fn, opaque)) {
            return true;
        }
    }
    return false;
}

static char **properties(const char *type)
{
    const DeviceModel *model = device_find_model(type);

    return model ? device_model_properties(model) : NULL;
}

/* "name=<type>": is the type one of numbers, or of switches? */
static QObject *typed(const char *piece, const char *text)
{
    uint64_t number;
    bool on;

    if (strstr(piece, "=<bool>") && keyval_parse_bool(text, &on)) {
        return qbool_new(on);
    }
    if ((strstr(piece, "=<int") || strstr(piece, "=<uint") || strstr(piece, "=<size>")) &&
        keyval_parse_size(text, &number, NULL)) {
        return qint_new(number);
    }
    return qstring_new(text);
}

/* What it was given; what a model has by itself is the machine's matter. */
static QObject *get(const QomObject *o, const char *name)
{
    Device *dev = o->opaque;
    const char *text = dev ? qdict_get_str(dev->options, name) : NULL;
    g_auto(GStrv) pieces = text ? device_model_properties(dev->model) : NULL;

    for (char **p = pieces; p && *p; p++) {
        if (strcspn(*p, "=") == strlen(name) && g_str_has_prefix(*p, name)) {
            return typed(*p, text);
        }
    }
    return NULL;
}

static const QomTree tree = { .each = each, .properties = properties, .get = get };

void main_fn system_init_objects(void)
{
    add_types();
    monitor_set_qom_tree(&tree);
}
