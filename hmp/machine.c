/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The emulator's machine, its devices and their media: what only a program with devices has, so
 * that commands are looked up by their names in QMP.
 */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "hmp/hmp.h"
#include "monitor/monitor.h"
#include "qobject/keyval.h"

/* @arguments is taken. */
static void co_main_fn call(GString *out, const char *command, QDict *arguments)
{
    Error *err = NULL;

    monitor_call(command, arguments, NULL, &err);
    hmp_failed(out, err);
}

/* The argument @name, if it was given. */
static void put(QDict *dict, const char *key, const HmpArgs *args, const char *name)
{
    if (hmp_has(args, name)) {
        qdict_put_str(dict, key, hmp_str(args, name));
    }
}

/* ---- the machine ---- */

static void co_main_fn stop(GString *out, const HmpArgs *args)
{
    call(out, "stop", qdict_new());
}

static void co_main_fn cont(GString *out, const HmpArgs *args)
{
    call(out, "cont", qdict_new());
}

static void co_main_fn reset(GString *out, const HmpArgs *args)
{
    call(out, "system_reset", qdict_new());
}

static void co_main_fn power_down(GString *out, const HmpArgs *args)
{
    call(out, "system_powerdown", qdict_new());
}

static void co_main_fn info_status(GString *out, const HmpArgs *args)
{
    g_autoptr(QObject) ret = NULL;
    Error *err = NULL;
    bool running = false;

    monitor_call("query-status", qdict_new(), &ret, &err);
    if (hmp_failed(out, err)) {
        return;
    }
    const QDict *info = qobject_to_qdict(ret);
    const char *status = qdict_get_str(info, "status");
    qobject_get_bool(qdict_get(info, "running"), &running);
    g_string_append_printf(out, "VM status: %s", running ? "running" : "paused");
    if (!running && strcmp(status, "paused") != 0) {
        g_string_append_printf(out, " (%s)", status);
    }
    g_string_append_c(out, '\n');
}

/* ---- devices ---- */

static void co_main_fn device_add_command(GString *out, const HmpArgs *args)
{
    Error *err = NULL;
    QDict *options = keyval_parse_flat(hmp_str(args, "device"), "driver", &err);

    if (options) {
        monitor_call("device_add", options, NULL, &err);
    }
    hmp_failed(out, err);
}

static void co_main_fn device_del(GString *out, const HmpArgs *args)
{
    QDict *q = qdict_new();

    put(q, "id", args, "id");
    call(out, "device_del", q);
}

/* ---- media ---- */

static void co_main_fn eject(GString *out, const HmpArgs *args)
{
    QDict *q = qdict_new();

    put(q, "device", args, "device");
    qdict_put_bool(q, "force", hmp_flag(args, "f"));
    call(out, "eject", q);
}

static void co_main_fn change(GString *out, const HmpArgs *args)
{
    QDict *q = qdict_new();

    put(q, "device", args, "device");
    put(q, "filename", args, "target");
    put(q, "format", args, "format");
    put(q, "read-only-mode", args, "read-only-mode");
    qdict_put_bool(q, "force", hmp_flag(args, "f"));
    call(out, "blockdev-change-medium", q);
}

static const HmpCommand commands[] = {
    { "change", "device [-f] filename [format [read-only-mode]]", "change a removable medium, "
      "optional format (-f: also if the tray is locked)", change,
      { { "device", HMP_DEVICE }, { "f", HMP_FLAG }, { "target", HMP_FILE },
        { "format", HMP_STRING, true }, { "read-only-mode", HMP_STRING, true } } },
    { "cont|c", NULL, "resume emulation", cont },
    { "device_add", "driver[,prop=value][,...]", "add device, like -device on the command line",
      device_add_command, { { "device", HMP_REST } } },
    { "device_del", "device", "remove device", device_del, { { "id", HMP_STRING } } },
    { "eject", "[-f] device", "eject a removable medium (use -f to force it)", eject,
      { { "f", HMP_FLAG }, { "device", HMP_DEVICE } } },
    { "stop|s", NULL, "stop emulation", stop },
    { "system_powerdown", NULL, "send system power down event", power_down },
    { "system_reset", NULL, "reset the system", reset },
    { NULL },
};

static const HmpCommand info_commands[] = {
    { "status", NULL, "show the current VM status (running|paused)", info_status },
    { NULL },
};

void main_fn hmp_machine_init(void)
{
    monitor_hmp_register(commands);
    hmp_io_init();
    monitor_hmp_register_info(info_commands);
}
