/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which board there is, and what is on it without having been asked for. */
#include "qemu/osdep.h"

#include "machine/machine.h"
#include "qobject/keyval.h"
#include "system.h"

#define DEFAULT_MACHINE "pc"

const SystemMachine system_machines[] = {
    { "pc-i440fx-8.2", "pc", "Standard PC (i440FX + PIIX, 1996)", BOARD_PC },
    { "pc-q35-8.2", "q35", "Standard PC (Q35 + ICH9, 2009)", BOARD_Q35 },
    { "none", NULL, "empty machine", BOARD_NONE },
    { NULL },
};

void system_print_machines(void)
{
    printf("Supported machines are:\n");
    for (const SystemMachine *m = system_machines; m->name; m++) {
        if (m->alias) {
            printf("%-20s %s (alias of %s)\n", m->alias, m->desc, m->name);
        }
        printf("%-20s %s%s\n", m->name, m->desc, m == system_machines ? " (default)" : "");
    }
}

static bool board_of_type(const char *type, Board *ret)
{
    *ret = g_str_has_prefix(type, "pc-q35") || strcmp(type, "q35") == 0 ? BOARD_Q35 :
           g_str_has_prefix(type, "pc") ? BOARD_PC : BOARD_NONE;
    return *ret != BOARD_NONE || strcmp(type, "none") == 0;
}

bool any_fn system_choose_board(Error **errp)
{
    g_autoptr(QDict) machine = keyval_parse_flat(command_line.machine ?: DEFAULT_MACHINE, "type",
                                                 errp);

    if (!machine) {
        return false;
    }
    if (machine_is_real()) {
        command_line.board = BOARD_MACHINE;     /* it knows its type, or says so */
        return true;
    }
    const char *type = qdict_get_str(machine, "type") ?: DEFAULT_MACHINE;
    if (!board_of_type(type, &command_line.board)) {
        error_setg(errp, "unsupported machine type\nUse -machine help to list supported machines");
        return false;
    }
    return true;
}

DriveInterface main_fn system_default_interface(void)
{
    return device_board() == BOARD_NONE ? DRIVE_IF_NONE : DRIVE_IF_IDE;
}

/* ---- what a board has anyway ---- */

/* Models that take the place of a default drive. */
static bool has_device_for(const char *const *models)
{
    for (guint i = 0; i < command_line.given->len; i++) {
        const GivenOption *g = &g_array_index(command_line.given, GivenOption, i);
        g_autofree char *model = NULL;
        if (g->option->phase == PHASE_DEVICE) {
            model = g_strndup(g->value, strcspn(g->value, ","));
            if (g_strv_contains(models, model)) {
                return true;
            }
        }
    }
    return false;
}

static bool main_fn has_drive(DriveInterface interface, int bus, int unit)
{
    for (GList *e = drive_list()->head; e; e = e->next) {
        const Drive *d = e->data;
        if (d->interface == interface && d->bus == bus && d->unit == unit) {
            return true;
        }
    }
    return false;
}

bool co_main_fn system_add_default_drives(Error **errp)
{
    static const char *const cdroms[] = { "ide-cd", "ide-hd", "scsi-cd", "scsi-hd", NULL };
    static const char *const floppies[] = { "isa-fdc", "floppy", NULL };

    if (command_line.no_defaults || device_board() == BOARD_NONE ||
        device_board() == BOARD_MACHINE) {
        return true;
    }
    if (!has_drive(DRIVE_IF_IDE, 1, 0) && !has_device_for(cdroms) &&
        !system_add_drive("if=ide,index=2,media=cdrom", errp)) {
        return false;
    }
    if (device_board() == BOARD_PC && !has_drive(DRIVE_IF_FLOPPY, 0, 0) &&
        !has_device_for(floppies) && !system_add_drive("if=floppy,index=0", errp)) {
        return false;
    }
    return has_drive(DRIVE_IF_SD, 0, 0) || system_add_drive("if=sd,index=0", errp);
}

/* ---- drives become devices ---- */

static bool co_main_fn add_for_drive(const Drive *drive, const char *model, Error **errp)
{
    g_autoptr(QDict) options = qdict_new();
    bool virtio = drive->interface == DRIVE_IF_VIRTIO;

    qdict_put_str(options, "driver", model);
    qdict_put_str(options, "drive", blk_name(drive->blk));
    if (!virtio) {
        g_autofree char *unit = g_strdup_printf("%d", drive->unit);
        qdict_put_str(options, "unit", unit);
    }
    if (drive->interface == DRIVE_IF_IDE) {
        g_autofree char *bus = g_strdup_printf("ide.%d", drive->bus);
        qdict_put_str(options, "bus", bus);
    }
    if (device_add(options, false, !virtio, errp)) {
        return true;
    }
    if (virtio) {
        error_prepend(errp, "-drive %s: ", drive->text);
    }
    return false;
}

static const char *model_for(const Drive *drive)
{
    switch (drive->interface) {
    case DRIVE_IF_IDE:
        return drive->cdrom ? "ide-cd" : "ide-hd";
    case DRIVE_IF_FLOPPY:
        return "floppy";
    default:
        return NULL;
    }
}

bool co_main_fn system_add_board_devices(Error **errp)
{
    static const char *const names[] = {
        "none", "ide", "scsi", "floppy", "pflash", "mtd", "sd", "virtio", "xen",
    };

    for (GList *e = drive_list()->head; e; e = e->next) {
        const Drive *d = e->data;
        if (device_board() == BOARD_MACHINE) {
            if (d->interface != DRIVE_IF_NONE &&
                !device_machine_add_drive(d, names[d->interface], errp)) {
                return false;
            }
            continue;
        }
        const char *model = device_board() == BOARD_NONE ? NULL : model_for(d);
        bool needs_none = d->interface == DRIVE_IF_NONE || d->interface == DRIVE_IF_VIRTIO ||
                          d->interface == DRIVE_IF_SD || d->interface == DRIVE_IF_PFLASH;
        if (!model && !needs_none) {
            error_setg(errp, "-drive %s: machine type does not support if=%s,bus=%d,unit=%d",
                       d->text, names[d->interface], d->bus, d->unit);
            return false;
        }
        if (model && !add_for_drive(d, model, errp)) {
            return false;
        }
    }
    return true;
}

bool co_main_fn system_add_virtio_drives(Error **errp)
{
    for (GList *e = drive_list()->head; e && device_board() != BOARD_MACHINE; e = e->next) {
        const Drive *d = e->data;
        if (d->interface == DRIVE_IF_VIRTIO && !add_for_drive(d, "virtio-blk-pci", errp)) {
            return false;
        }
    }
    return true;
}
