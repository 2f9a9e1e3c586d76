/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon that the monitor is in: its version, its name, its end. */
#include "qemu/osdep.h"

#include "config-host.h"
#include "daemon.h"
#include "monitor-internal.h"

#define PACKAGE "qemu-group-snapshot"

static void (*shutdown_daemon)(void);
static void (*on_stop)(void);
static bool stopping;
static char *daemon_name;
static const char *qemu_version = QEMU_VERSION;     /* what clients go by */

/* ---- version ---- */

VersionInfo *monitor_version(void)
{
    VersionInfo *info = g_new0(VersionInfo, 1);
    int major = 0, minor = 0, micro = 0;

    sscanf(qemu_version, "%d.%d.%d", &major, &minor, &micro);
    info->qemu = g_new0(VersionTriple, 1);
    info->qemu->major = major;
    info->qemu->minor = minor;
    info->qemu->micro = micro;
    info->package = g_strdup(PACKAGE);
    return info;
}

const char *monitor_qemu_version(void)
{
    return qemu_version;
}

void monitor_set_qemu_version(const char *version)
{
    qemu_version = version;
}

/* ---- name ---- */

void monitor_set_name(const char *name)
{
    g_free(daemon_name);
    daemon_name = g_strdup(name);
}

const char *monitor_name(void)
{
    return daemon_name;
}

/* ---- end ---- */

void monitor_set_shutdown(void (*shutdown)(void))
{
    shutdown_daemon = shutdown;
    stopping = false;
}

bool monitor_is_stopping(void)
{
    return stopping;
}

void monitor_set_on_stop(void (*cb)(void))
{
    on_stop = cb;
}

void monitor_stop_commands(void)
{
    stopping = true;
    monitor_chardev_cancel_open();
    if (on_stop) {
        on_stop();
    }
}

void monitor_quit(void)
{
    shutdown_daemon();
}
