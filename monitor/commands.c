/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that are about the monitor and the daemon itself. */
#include "qemu/osdep.h"

#include "daemon.h"
#include "monitor-internal.h"
#include "qapi/qapi-commands.h"

void monitor_init(const QmpCommand *commands, void (*shutdown)(void))
{
    monitor_commands = commands;
    monitor_set_shutdown(shutdown);
    monitor_hmp_init();
}

/* ---- what there is ---- */

bool qmp_query_version(VersionInfo **ret, Error **errp)
{
    *ret = monitor_version();
    return true;
}

bool qmp_query_commands(CommandInfoList **ret, Error **errp)
{
    CommandInfoList *list = NULL, **tail = &list;

    for (const QmpCommand *cmd = monitor_commands; cmd->name; cmd++) {
        CommandInfo *info = g_new0(CommandInfo, 1);

        info->name = g_strdup(cmd->name);
        CommandInfoList_append(&tail, info);
    }
    *ret = list;
    return true;
}

bool qmp_query_qmp_schema(QDict *arguments, QObject **ret, Error **errp)
{
    if (qdict_size(arguments)) {
        error_setg(errp, "query-qmp-schema takes no arguments");
        return false;
    }
    *ret = json_parse_str(qmp_schema_json, &error_abort);
    return true;
}

/* ---- the daemon ---- */

bool qmp_query_name(NameInfo **ret, Error **errp)
{
    *ret = g_new0(NameInfo, 1);
    (*ret)->name = g_strdup(monitor_name());
    return true;
}

static RunState (*run_state)(void);

void any_fn monitor_set_run_state(RunState (*state)(void))
{
    run_state = state;
}

bool qmp_query_status(StatusInfo **ret, Error **errp)
{
    *ret = g_new0(StatusInfo, 1);
    (*ret)->status = run_state ? run_state() : RUN_STATE_RUNNING;
    (*ret)->running = (*ret)->status == RUN_STATE_RUNNING;
    return true;
}

bool qmp_quit(Error **errp)
{
    monitor_quit();
    return true;
}

bool qmp_human_monitor_command(const QmpHumanMonitorCommandArgs *args, char **ret, Error **errp)
{
    *ret = monitor_hmp_run(args->command_line);
    return true;
}
