/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands for people about drives, which only the emulator makes while it runs. */
#include "qemu/osdep.h"

#include "monitor/hmp.h"
#include "qapi/qapi-commands.h"
#include "system.h"

static void say(GString *out, Error *err)
{
    if (err) {
        g_string_append_printf(out, "%s\n", error_get_pretty(err));
        error_free(err);
    }
}

/* ---- drive_add ---- */

static bool main_fn is_drive_of(const char *text, DriveInterface interface)
{
    const Drive *last = g_queue_peek_tail((GQueue *)drive_list());

    return last && strcmp(last->text, text) == 0 && last->interface == interface;
}

/* A device is what comes with device_add: a drive that is to be plugged in itself is of no use. */
static void co_main_fn add_drive(GString *out, const char *text)
{
    Error *err = NULL;

    if (!system_add_drive(text, &err)) {
        say(out, err);
        return;
    }
    if (is_drive_of(text, DRIVE_IF_NONE)) {
        g_string_append(out, "OK\n");
        return;
    }
    Drive *drive = g_queue_peek_tail((GQueue *)drive_list());
    g_string_append_printf(out, "Can't hot-add drive to type %d\n", drive->interface);
    blk_end_visits(drive->blk);
    bdrv_graph_lock();
    drive_remove(drive);
    bdrv_graph_unlock();
}

static void co_main_fn add_node(GString *out, const char *text)
{
    Error *err = NULL;

    if (!strstr(text, "node-name=")) {
        g_string_append(out, "'node-name' needs to be specified\n");
    } else if (!system_add_blockdev(text, &err)) {
        say(out, err);
    }
}

static void co_main_fn drive_add(GString *out, const HmpArgs *args)
{
    if (hmp_flag(args, "n")) {
        add_node(out, hmp_str(args, "opts"));
    } else {
        add_drive(out, hmp_str(args, "opts"));
    }
}

/* ---- drive_del ---- */

static void co_main_fn delete_node(GString *out, const char *name)
{
    QmpBlockdevDelArgs q = { .node_name = (char *)name };
    Error *err = NULL;

    qmp_blockdev_del(&q, &err);
    hmp_failed(out, err);
}

/* A device keeps the backend, empty. */
static void co_main_fn delete_drive(GString *out, const char *name)
{
    BlockBackend *blk = blk_find(name);
    Drive *drive = blk ? drive_of_backend(blk) : NULL;

    if (!blk) {
        g_string_append_printf(out, "Device '%s' not found\n", name);
        return;
    }
    if (!drive) {
        g_string_append(out, "Deleting device added with blockdev-add is not supported\n");
        return;
    }
    if (!device_of_backend(blk)) {
        blk_end_visits(blk);
    }
    bdrv_graph_lock();
    blk = blk_find(name);       /* somebody may have been quicker */
    drive = blk ? drive_of_backend(blk) : NULL;
    if (blk && device_of_backend(blk)) {
        blk_remove(blk);
    } else if (drive) {
        drive_remove(drive);
    }
    bdrv_graph_unlock();
}

static void co_main_fn drive_del(GString *out, const HmpArgs *args)
{
    const char *name = hmp_str(args, "id");

    if (bdrv_find_node(name)) {
        delete_node(out, name);
    } else {
        delete_drive(out, name);
    }
}

static const HmpCommand commands[] = {
    { "drive_add", "[-n] slot [file=file][,if=none][,id=id][,media=d][,format=f][,...]",
      "add a drive that a device can be given, like -drive on the command line; slot is ignored "
      "(-n: a node, like -blockdev)", drive_add,
      { { "n", HMP_FLAG }, { "slot", HMP_STRING }, { "opts", HMP_STRING } } },
    { "drive_del", "device", "remove host block device", drive_del, { { "id", HMP_DEVICE } } },
    { NULL },
};

void main_fn system_hmp_init(void)
{
    monitor_hmp_register(commands);
}
