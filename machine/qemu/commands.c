/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the program asks the child to do, for clients and for itself. */
#include "qemu/osdep.h"

#include "arguments.h"
#include "machine/routes.h"
#include "qemu-internal.h"

#define FOR_EVER (-1)

static QObject *co_main_fn ask(const char *name, const QDict *arguments, Error **errp)
{
    return machine_qmp_run(machine_qemu_qmp(), name, arguments, NULL, 0, MACHINE_QMP_IN_ORDER,
                           FOR_EVER, errp);
}

static bool co_main_fn tell(const char *name, const QDict *arguments, Error **errp)
{
    g_autoptr(QObject) ret = ask(name, arguments, errp);

    return ret != NULL;
}

/* ---- devices ---- */

static bool co_main_fn qemu_device_add(const QDict *options, MachineDisk *disk, Error **errp)
{
    bool medium = disk && blk_bs(disk->blk);
    g_autoptr(QDict) theirs = NULL;

    if (medium && !machine_qemu_disk_plug(disk, errp)) {
        return false;
    }
    theirs = disk ? machine_device_options(options, medium ? machine_qemu_node(disk) : NULL)
                  : qdict_copy_shallow(options);
    if (!tell("device_add", theirs, errp)) {
        if (medium) {
            machine_qemu_disk_unplug(disk);
        }
        return false;
    }
    if (disk) {
        machine_qemu_refresh();
    }
    return true;
}

static bool co_main_fn qemu_device_del(const char *id, Error **errp)
{
    g_autoptr(QDict) arguments = qdict_new();

    qdict_put_str(arguments, "id", id);
    return tell("device_del", arguments, errp);
}

static QDict *main_fn medium_arguments(const MachineDisk *disk)
{
    QDict *arguments = qdict_new();

    qdict_put_str(arguments, "id", disk->state.qdev ?: disk->id);
    return arguments;
}

static bool co_main_fn qemu_medium_insert(MachineDisk *disk, Error **errp)
{
    g_autoptr(QDict) arguments = medium_arguments(disk);

    if (!machine_qemu_disk_plug(disk, errp)) {
        return false;
    }
    qdict_put_str(arguments, "node-name", machine_qemu_node(disk));
    if (!tell("blockdev-insert-medium", arguments, errp)) {
        machine_qemu_disk_unplug(disk);
        return false;
    }
    return true;
}

static bool co_main_fn qemu_medium_remove(MachineDisk *disk, Error **errp)
{
    g_autoptr(QDict) arguments = medium_arguments(disk);

    if (!tell("blockdev-remove-medium", arguments, errp)) {
        return false;
    }
    machine_qemu_disk_unplug(disk);
    return true;
}

static bool co_main_fn qemu_tray(MachineDisk *disk, bool open, bool force, Error **errp)
{
    g_autoptr(QDict) arguments = medium_arguments(disk);

    if (open) {
        qdict_put_bool(arguments, "force", force);
    }
    return tell(open ? "blockdev-open-tray" : "blockdev-close-tray", arguments, errp);
}

static bool co_main_fn qemu_run(Error **errp)
{
    return tell("cont", NULL, errp);
}

/* ---- commands of clients ---- */

typedef struct Command {
    const char *name;
    QDict *arguments;
    QmpMarshal *own;                /* NULL: we have none of that name */
    const int *fds;
    size_t n_fds;
} Command;

static QObject *co_main_fn run_there(const Command *c, Error **errp)
{
    return machine_qmp_run(machine_qemu_qmp(), c->name, c->arguments, c->fds, c->n_fds,
                           MACHINE_QMP_IN_ORDER, FOR_EVER, errp);
}

/* What it says to people, without what is ours in it. */
static char *main_fn tidy(const char *text)
{
    g_autofree char *translated = machine_qemu_translate(text);
    g_auto(GStrv) lines = g_strsplit(translated, "\n", -1);
    GString *out = g_string_new(NULL);

    for (char **l = lines; *l; l++) {
        if (!g_str_has_prefix(*l, MACHINE_MONITOR_ID ":")) {
            g_string_append_printf(out, "%s%s", *l, l[1] ? "\n" : "");
        }
    }
    return g_string_free(out, false);
}

/* The same where text may be about disks. */
static QObject *co_main_fn run_there_tidily(const Command *c, Error **errp)
{
    g_autoptr(QObject) ret = run_there(c, errp);
    const char *text = qobject_get_str(ret);

    if (!text) {
        return g_steal_pointer(&ret);
    }
    g_autofree char *tidied = tidy(text);
    return qstring_new(tidied);
}

static QObject *co_main_fn run_here(const Command *c, Error **errp)
{
    return c->own(c->arguments, errp);
}

static QObject *co_main_fn run_joined(const Command *c, Error **errp)
{
    g_autoptr(QObject) theirs = run_there(c, errp), ours = NULL;
    QList *from, *all;

    if (!theirs || !c->own) {
        return g_steal_pointer(&theirs);
    }
    ours = run_here(c, errp);
    if (!qobject_to_qlist(ours)) {
        return g_steal_pointer(&ours);
    }
    all = qlist_new();
    for (int half = 0; half < 2; half++) {
        from = qobject_to_qlist(half == 0 ? ours : theirs);
        for (size_t i = 0; i < qlist_size(from); i++) {
            QDict *entry = qobject_to_qdict(qlist_get(from, i));
            const char *label = entry ? qdict_get_str(entry, "label") : NULL;
            if (!label || strcmp(label, MACHINE_MONITOR_ID) != 0) {
                qlist_append(all, qobject_ref(qlist_get(from, i)));
            }
        }
    }
    return QOBJECT(all);
}

static QObject *co_main_fn run_both(const Command *c, Error **errp)
{
    g_autoptr(QObject) ours = c->own ? run_here(c, errp) : NULL;

    return c->own && !ours ? NULL : run_there(c, errp);
}

/* Is it a command for the human monitor that is the machine's? */
static bool is_machines_hmp(const QDict *arguments)
{
    const char *line = qdict_get_str(arguments, "command-line");
    g_auto(GStrv) words = g_strsplit_set(line ?: "", " \t", -1);
    const char *first = NULL, *second = NULL;

    for (char **w = words; *w && !second; w++) {
        if (**w) {
            *(first ? &second : &first) = *w;
        }
    }
    return first && machine_has_hmp(first, second);
}

static QObject *co_main_fn run_either(const Command *c, Error **errp)
{
    Error *err = NULL;
    QObject *ret = run_there_tidily(c, &err);

    if (ret || !c->own || error_get_class(err) != ERROR_CLASS_DEVICE_NOT_FOUND) {
        error_propagate(errp, err);
        return ret;
    }
    error_free(err);
    return run_here(c, errp);
}

static QObject *co_main_fn run_object_add(const Command *c, Error **errp)
{
    const char *type = qdict_get_str(c->arguments, "qom-type"), *id = qdict_get_str(c->arguments,
                                                                                 "id");
    MachineObjectPlace place = type ? machine_object_place(type) : MACHINE_OBJECT_MACHINES;
    g_autoptr(QObject) theirs = NULL;
    g_autoptr(QDict) arguments = qdict_new();

    if (place == MACHINE_OBJECT_OURS && c->own) {
        return run_here(c, errp);
    }
    theirs = run_there(c, errp);
    if (!theirs || place == MACHINE_OBJECT_MACHINES || !c->own) {
        return g_steal_pointer(&theirs);
    }
    QObject *ours = run_here(c, errp);
    if (!ours && id) {
        qdict_put_str(arguments, "id", id);
        tell("object-del", arguments, NULL);
    }
    return ours;
}

/* Both may have it: it stays in both where one cannot let go of it. */
static QObject *co_main_fn run_object_del(const Command *c, Error **errp)
{
    Error *err = NULL;
    QObject *theirs = run_there(c, &err), *ours;

    if (err && !strstr(error_get_pretty(err), "not found")) {
        error_propagate(errp, err);
        return NULL;
    }
    error_free(err);
    err = NULL;
    ours = c->own ? run_here(c, &err) : NULL;
    if (!ours && !theirs) {
        if (!err) {
            error_setg(&err, "object '%s' not found", qdict_get_str(c->arguments, "id") ?: "");
        }
        error_propagate(errp, err);
        return NULL;
    }
    error_free(err);
    if (ours) {
        qobject_unref(theirs);
        return ours;
    }
    return theirs;
}

static QObject *co_main_fn run_merged(const Command *c, bool schema, Error **errp)
{
    g_autoptr(QObject) theirs = run_there(c, errp), ours = NULL;
    QList *ret;

    if (!theirs || !c->own || !qobject_to_qlist(theirs)) {
        return g_steal_pointer(&theirs);
    }
    ours = run_here(c, errp);
    if (!ours) {
        return NULL;
    }
    ret = schema ? machine_merge_schema(qobject_to_qlist(ours), qobject_to_qlist(theirs), errp)
                 : machine_merge_commands(qobject_to_qlist(ours), qobject_to_qlist(theirs));
    return QOBJECT(ret);
}

static bool co_main_fn qemu_intercept(const char *name, QDict *arguments, QmpMarshal *own,
                                      const int *fds, size_t n_fds, QObject **ret, Error **errp)
{
    Command c = { name, arguments, own, fds, n_fds };

    switch (machine_route(name)) {
    case MACHINE_ROUTE_OURS:
        if (strcmp(name, "query-block") == 0) {
            machine_qemu_refresh();
            machine_qemu_check_lengths();
        }
        return false;
    case MACHINE_ROUTE_MACHINE:
        *ret = run_there(&c, errp);
        break;
    case MACHINE_ROUTE_JOIN:
        *ret = run_joined(&c, errp);
        break;
    case MACHINE_ROUTE_BOTH:
        *ret = run_both(&c, errp);
        break;
    case MACHINE_ROUTE_HMP:
        if (!is_machines_hmp(arguments)) {
            return false;
        }
        *ret = run_there_tidily(&c, errp);
        break;
    case MACHINE_ROUTE_EITHER:
        *ret = run_either(&c, errp);
        break;
    case MACHINE_ROUTE_OBJECT_ADD:
        *ret = run_object_add(&c, errp);
        break;
    case MACHINE_ROUTE_OBJECT_DEL:
        *ret = run_object_del(&c, errp);
        break;
    case MACHINE_ROUTE_SCHEMA:
        *ret = run_merged(&c, true, errp);
        break;
    case MACHINE_ROUTE_COMMANDS:
        *ret = run_merged(&c, false, errp);
        break;
    }
    return true;
}

const MachineOps machine_qemu = {
    .disk_new           = machine_qemu_disk_new,
    .co_disk_free       = machine_qemu_disk_free,
    .pass_option        = machine_qemu_pass_option,
    .pass_dict          = machine_qemu_pass_dict,
    .pass_device        = machine_qemu_pass_device,
    .pass_drive         = machine_qemu_pass_drive,
    .pass_node          = machine_qemu_pass_node,
    .co_start           = machine_qemu_start,
    .quit               = machine_qemu_quit,
    .is_there           = machine_qemu_is_there,
    .co_stop            = machine_qemu_stop,
    .co_device_add      = qemu_device_add,
    .co_device_del      = qemu_device_del,
    .co_medium_insert   = qemu_medium_insert,
    .co_medium_remove   = qemu_medium_remove,
    .co_tray            = qemu_tray,
    .co_check_lengths   = machine_qemu_check_lengths,
    .co_refresh         = machine_qemu_refresh,
    .co_run             = qemu_run,
    .co_intercept       = qemu_intercept,
};
