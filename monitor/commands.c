/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that are about the monitor and the daemon itself. */
#include "qemu/osdep.h"

#include "config-host.h"
#include "monitor-internal.h"
#include "qapi/qapi-commands.h"
#include "version.h"

#define PACKAGE "qemu-group-snapshot"

static void (*shutdown_daemon)(void);
static char *daemon_name;

void monitor_init(const QmpCommand *commands, void (*shutdown)(void))
{
    monitor_commands = commands;
    shutdown_daemon = shutdown;
    monitor_stopping = false;
}

void monitor_set_name(const char *name)
{
    g_free(daemon_name);
    daemon_name = g_strdup(name);
}

void monitor_stop_commands(void)
{
    monitor_stopping = true;
    monitor_chardev_cancel_open();
}

/* ---- version ---- */

VersionInfo *monitor_version(void)
{
    VersionInfo *info = g_new0(VersionInfo, 1);
    int major = 0, minor = 0, micro = 0;

    sscanf(QEMU_VERSION, "%d.%d.%d", &major, &minor, &micro);
    info->qemu = g_new0(VersionTriple, 1);
    info->qemu->major = major;
    info->qemu->minor = minor;
    info->qemu->micro = micro;
    info->package = g_strdup(PACKAGE);
    return info;
}

const char *monitor_version_text(void)
{
    return QEMU_VERSION " (" PACKAGE ")";
}

bool qmp_query_version(VersionInfo **ret, Error **errp)
{
    *ret = monitor_version();
    return true;
}

/* ---- what there is ---- */

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
    (*ret)->name = g_strdup(daemon_name);
    return true;
}

bool qmp_query_status(StatusInfo **ret, Error **errp)
{
    *ret = g_new0(StatusInfo, 1);
    (*ret)->running = true;
    (*ret)->status = RUN_STATE_RUNNING;
    return true;
}

bool qmp_quit(Error **errp)
{
    monitor_stop_commands();
    shutdown_daemon();
    return true;
}

bool qmp_human_monitor_command(const QmpHumanMonitorCommandArgs *args, char **ret, Error **errp)
{
    *ret = monitor_hmp_run(args->command_line);
    return true;
}
