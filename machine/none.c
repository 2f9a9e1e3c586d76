/* SPDX-License-Identifier: GPL-2.0-or-later */
/* No machine: devices and media are what is above, and there is nobody to tell of them. */
#include "qemu/osdep.h"

#include "machine-internal.h"

static void no_disk(MachineDisk *disk)
{
}

static void co_no_disk(MachineDisk *disk)
{
}

static void no_option(const char *name, const char *value)
{
}

static void no_dict(const char *name, const QDict *options)
{
}

static void no_device(const QDict *options, bool json, MachineDisk *disk)
{
}

static void no_drive(const QDict *options, MachineDisk *disk)
{
}

static const char *no_node(MachineDisk *disk)
{
    return NULL;
}

static bool none_start(int *ret_status, Error **errp)
{
    return true;
}

static void none_quit(MachineQuit why)
{
}

static bool none_is_there(void)
{
    return false;
}

static void none_stop(void)
{
}

static bool none_device_add(const QDict *options, MachineDisk *disk, Error **errp)
{
    return true;
}

static bool none_device_del(const char *id, Error **errp)
{
    return true;
}

static bool none_medium(MachineDisk *disk, Error **errp)
{
    return true;
}

static bool none_tray(MachineDisk *disk, bool open, bool force, Error **errp)
{
    return true;
}

static void none_nothing(void)
{
}

static bool none_run(Error **errp)
{
    return true;
}

static bool none_intercept(const char *name, QDict *arguments, QmpMarshal *own, const int *fds,
                           size_t n_fds, QObject **ret, Error **errp)
{
    return false;
}

const MachineOps machine_none = {
    .disk_new           = no_disk,
    .co_disk_free       = co_no_disk,
    .pass_option        = no_option,
    .pass_dict          = no_dict,
    .pass_device        = no_device,
    .pass_drive         = no_drive,
    .pass_node          = no_node,
    .co_start           = none_start,
    .quit               = none_quit,
    .is_there           = none_is_there,
    .co_stop            = none_stop,
    .co_device_add      = none_device_add,
    .co_device_del      = none_device_del,
    .co_medium_insert   = none_medium,
    .co_medium_remove   = none_medium,
    .co_tray            = none_tray,
    .co_check_lengths   = none_nothing,
    .co_refresh         = none_nothing,
    .co_run             = none_run,
    .co_intercept       = none_intercept,
};
