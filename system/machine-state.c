/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What there is to save of a machine that does not run: where its trays are. */
#include "qemu/osdep.h"

#include "block/activity.h"
#include "machine/machine.h"
#include "migration/migration.h"
#include "system.h"
#include "tools/common/serve.h"

static bool co_main_fn can_save(Error **errp)
{
    if (device_board() == BOARD_MACHINE) {
        error_setg(errp, "The state of a machine that runs cannot be saved into an image yet: "
                   "save it by migrating to a file, and take snapshots of its disks");
        return false;
    }
    return true;
}

static bool co_main_fn stop(RunState state)
{
    return system_pause_as(state);
}

static void co_main_fn cont(void)
{
    system_run(NULL);
}

static QDict *main_fn save(void)
{
    QDict *state = qdict_new(), *trays = qdict_new();

    for (GList *e = device_list()->head; e; e = e->next) {
        const Device *dev = e->data;
        if (dev->as_seen.has_tray) {
            qdict_put_bool(trays, dev->path, dev->as_seen.tray_open);
        }
    }
    qdict_put(state, "trays", QOBJECT(trays));
    return state;
}

/* Devices have to be those that there were. */
static bool co_main_fn load(const QDict *state, Error **errp)
{
    const QDict *trays = qobject_to_qdict(qdict_get(state, "trays"));
    const char *path;
    QObject *value;

    for (size_t i = 0; trays && qdict_member(trays, i, &path, &value); i++) {
        Device *dev = device_find(path);
        bool open = false;

        if (!dev || !dev->as_seen.has_tray || !qobject_get_bool(value, &open)) {
            error_setg(errp, "The snapshot is of a machine with a device '%s', which this one has "
                       "not", path);
            return false;
        }
        dev->as_seen.tray_open = open;
    }
    return true;
}

static const MachineStateOps ops = { can_save, stop, cont, save, load };

/* ---- migration ---- */

static bool main_fn starts_by_itself(void)
{
    return !command_line.paused;
}

static void main_fn incoming_failed(Error *err)
{
    error_report_err(err);
    tool_serve_set_status(1);
    tool_serve_end(SHUTDOWN_CAUSE_HOST_ERROR, false);
}

static const MigrationOps migration = {
    .state = system_state, .set_state = system_set_state, .co_run = system_run,
    .starts_by_itself = starts_by_itself, .incoming_failed = incoming_failed, .machine = &ops,
};

void main_fn system_init_machine_state(void)
{
    vmstate_init(&ops);
    migration_init(&migration);
    if (command_line.incoming && !machine_is_real()) {
        bdrv_open_inactive(true);
        system_set_state(RUN_STATE_INMIGRATE);
    }
}

bool co_main_fn system_load_at_start(Error **errp)
{
    const VmStateDisks all = { NULL, NULL };

    if (command_line.incoming && !machine_is_real()) {
        return migration_incoming(command_line.incoming, errp);
    }
    return !command_line.loadvm || vmstate_load(command_line.loadvm, &all, errp);
}
