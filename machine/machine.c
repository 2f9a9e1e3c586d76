/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which implementation there is, and what both share: the list of disks, events. */
#include "qemu/osdep.h"

#include "machine-internal.h"
#include "qobject/keyval.h"

static const MachineOps *ops = &machine_none;

/* ---- which machine ---- */

/* Places where distributions put it. */
static const char *const places[] = {
    "/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm", "/usr/bin/qemu-kvm",
    "/usr/local/bin/qemu-system-x86_64",
};

typedef struct Wanted {
    bool none;                          /* -machine none */
    bool off;                           /* x-inner=off */
    bool accel, qtest;                  /* an accelerator is named; it is qtest */
} Wanted;

/* "kvm:tcg", "qtest,thread=single": the first names it. */
static void look_at_accel(Wanted *w, const char *accel)
{
    if (accel && *accel) {
        w->accel = true;
        w->qtest |= strcmp(accel, "qtest") == 0 || g_str_has_prefix(accel, "qtest,");
    }
}

static bool look_at_machine(Wanted *w, const char *text, Error **errp)
{
    g_autoptr(QDict) options = text ? keyval_parse_flat(text, "type", errp) : qdict_new();
    const char *type, *inner;
    bool on;

    if (!options) {
        return false;
    }
    type = qdict_get_str(options, "type");
    w->none = type && strcmp(type, "none") == 0;
    look_at_accel(w, qdict_get_str(options, "accel"));
    inner = qdict_get_str(options, MACHINE_OUR_OPTION);
    if (inner && !keyval_parse_bool(inner, &on)) {
        error_setg(errp, "Parameter 'x-inner' expects 'on' or 'off'");
        return false;
    }
    w->off = inner && !on;
    return true;
}

/* Is it a program, and another one than this? */
static bool blocking_fn is_another_program(const char *path)
{
    struct stat its, ours;

    return stat(path, &its) == 0 && S_ISREG(its.st_mode) && access(path, X_OK) == 0 &&
           !(stat("/proc/self/exe", &ours) == 0 && its.st_dev == ours.st_dev &&
             its.st_ino == ours.st_ino);
}

/* NULL: none, or (with @errp) not what the environment says. */
static const char *blocking_fn find_program(Error **errp)
{
    const char *asked = g_getenv("QEMU_INNER");

    if (asked && *asked) {
        if (is_another_program(asked)) {
            return asked;
        }
        error_setg(errp, "QEMU_INNER=%s is no other program that can be run", asked);
        return NULL;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        if (is_another_program(places[i])) {
            return places[i];
        }
    }
    return NULL;
}

bool blocking_fn machine_choose(const MachineWish *wish, Error **errp)
{
    const char *env = g_getenv("QEMU_INNER");
    Wanted w = { 0 };
    Error *err = NULL;

    if (g_getenv(MACHINE_CHILD_ENV)) {
        error_setg(errp, "This program was started as its own machine: QEMU_INNER says where the "
                   "installed QEMU is");
        return false;
    }
    if (!look_at_machine(&w, wish->machine, errp)) {
        return false;
    }
    look_at_accel(&w, wish->accel);
    if (w.off || w.qtest || wish->qtest || (w.none && !w.accel) ||
        (env && strcmp(env, "off") == 0)) {
        return true;
    }
    const char *found = find_program(&err);
    if (!found && !err && !w.none) {
        error_setg(&err, "A machine needs an installed QEMU (%s, or where QEMU_INNER says), and "
                   "there is none; without one: -machine none, or x-inner=off", places[0]);
    }
    if (err) {
        error_propagate(errp, err);
        return false;
    }
    if (found) {
        machine_set_program(found, wish->detached);
        ops = &machine_qemu;
    }
    return true;
}

bool any_fn machine_is_real(void)
{
    return ops == &machine_qemu;
}

MachineDisk *main_fn machine_disk_new(const char *id, BlockBackend *blk)
{
    MachineDisk *disk = g_new0(MachineDisk, 1);

    disk->id = g_strdup(id);
    disk->blk = blk;
    machine_disks = g_list_append(machine_disks, disk);
    ops->disk_new(disk);
    return disk;
}

void co_main_fn machine_disk_free(MachineDisk *disk)
{
    if (!disk) {
        return;
    }
    machine_disks = g_list_remove(machine_disks, disk);
    ops->co_disk_free(disk);
    g_free(disk->state.qdev);
    g_free(disk->state.io_status);
    g_free(disk->shown);
    g_free(disk->id);
    g_free(disk);
}

/* ---- what differs ---- */

void main_fn machine_pass_option(const char *name, const char *value)
{
    ops->pass_option(name, value);
}

void main_fn machine_pass_dict(const char *name, const QDict *options)
{
    ops->pass_dict(name, options);
}

void main_fn machine_pass_device(const QDict *options, bool json, MachineDisk *disk)
{
    ops->pass_device(options, json, disk);
}

void main_fn machine_pass_drive(const QDict *options, MachineDisk *disk)
{
    ops->pass_drive(options, disk);
}

const char *main_fn machine_pass_node(MachineDisk *disk)
{
    return ops->pass_node(disk);
}

bool co_main_fn machine_co_start(int *ret_status, Error **errp)
{
    return ops->co_start(ret_status, errp);
}

void main_fn machine_quit(MachineQuit why)
{
    ops->quit(why);
}

bool main_fn machine_is_there(void)
{
    return ops->is_there();
}

void co_main_fn machine_co_stop(void)
{
    ops->co_stop();
}

bool co_main_fn machine_co_device_add(const QDict *options, MachineDisk *disk, Error **errp)
{
    return ops->co_device_add(options, disk, errp);
}

bool co_main_fn machine_co_device_del(const char *id, Error **errp)
{
    return ops->co_device_del(id, errp);
}

bool co_main_fn machine_co_medium_insert(MachineDisk *disk, Error **errp)
{
    return ops->co_medium_insert(disk, errp);
}

bool co_main_fn machine_co_medium_remove(MachineDisk *disk, Error **errp)
{
    return ops->co_medium_remove(disk, errp);
}

bool co_main_fn machine_co_tray(MachineDisk *disk, bool open, bool force, Error **errp)
{
    return ops->co_tray(disk, open, force, errp);
}

void co_main_fn machine_co_check_lengths(void)
{
    ops->co_check_lengths();
}

void co_main_fn machine_co_refresh(void)
{
    ops->co_refresh();
}

bool co_main_fn machine_co_run(Error **errp)
{
    return ops->co_run(errp);
}

bool co_main_fn machine_co_intercept(const char *name, QDict *arguments, QmpMarshal *own,
                                     const int *fds, size_t n_fds, QObject **ret, Error **errp)
{
    return ops->co_intercept(name, arguments, own, fds, n_fds, ret, errp);
}
