/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about devices. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "hw/device.h"
#include "machine/machine.h"
#include "qapi/qapi-commands.h"

/* NULL: it has none. */
static char *text_of(const QObject *value)
{
    bool on;

    return qobject_get_bool(value, &on)             ? g_strdup(on ? "on" : "off") :
           qobject_type(value) == QTYPE_QNUM        ? qnum_to_string(value)
                                                    : g_strdup(qobject_get_str(value));
}

/* Values as text, as they stand on a command line. */
QDict *any_fn device_options_as_text(const QDict *options, Error **errp)
{
    QDict *text = qdict_new();
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(options, i, &key, &value); i++) {
        g_autofree char *s = text_of(value);
        if (!s) {
            error_setg(errp, "Invalid parameter type for '%s', expected: string", key);
            qobject_unref(QOBJECT(text));
            return NULL;
        }
        qdict_put_str(text, key, s);
    }
    return text;
}

bool co_main_fn qmp_device_add(QDict *arguments, QObject **ret, Error **errp)
{
    g_autoptr(QDict) options = NULL;

    if (device_board() == BOARD_MACHINE) {
        if (!device_machine_add(arguments, NULL, errp)) {
            return false;
        }
        *ret = QOBJECT(qdict_new());
        return true;
    }
    options = device_options_as_text(arguments, errp);
    if (!options || !device_add(options, true, false, errp)) {
        return false;
    }
    *ret = QOBJECT(qdict_new());
    return true;
}

bool co_main_fn qmp_device_del(const QmpDeviceDelArgs *args, Error **errp)
{
    Device *dev = device_find(args->id);

    if (device_board() == BOARD_MACHINE) {
        return machine_co_device_del(args->id, errp);
    }
    if (!dev) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", args->id);
        return false;
    }
    if (dev->leaving) {
        error_setg(errp, "Device %s is already in the process of unplug", args->id);
        return false;
    }
    if (dev->bus && !dev->bus->hotplug) {
        error_setg(errp, "Bus '%s' does not support hotplugging", dev->bus->name);
        return false;
    }
    device_remove(dev);
    return true;
}

/* Is a device, an export or a job on @bs? */
static bool main_fn is_used(const BlockDriverState *bs)
{
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        if (blk_bs(blk) == bs) {
            return true;
        }
    }
    return false;
}

bool co_main_fn qmp_x_blockdev_set_iothread(const QmpXBlockdevSetIothreadArgs *args, Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(args->node_name);

    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'", args->node_name);
        return false;
    }
    if (is_used(bs) && !(args->has_force && args->force)) {
        error_setg(errp, "Node %s is associated with a BlockBackend and could be in use "
                   "(use force=true to override this check)", args->node_name);
        return false;
    }
    if (args->iothread->type == QTYPE_QSTRING && !blockdev_find_iothread(args->iothread->u.s)) {
        error_setg(errp, "Cannot find iothread %s", args->iothread->u.s);
        return false;
    }
    return true;
}
