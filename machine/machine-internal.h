/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an implementation of include/machine/machine.h has: a function for each that differs. */
#ifndef MACHINE_INTERNAL_H
#define MACHINE_INTERNAL_H

#include "machine/machine.h"

/* In the environment of a machine that is a process: its presence keeps us from becoming one. */
#define MACHINE_CHILD_ENV "QEMU_INNER_OF"

/* Of -machine: `on` or `off`, is it the installed QEMU? */
#define MACHINE_OUR_OPTION "x-inner"

typedef struct MachineOps {
    void (*disk_new)(MachineDisk *disk);
    void (*co_disk_free)(MachineDisk *disk);
    void (*pass_option)(const char *name, const char *value);
    void (*pass_dict)(const char *name, const QDict *options);
    void (*pass_device)(const QDict *options, bool json, MachineDisk *disk);
    void (*pass_drive)(const QDict *options, MachineDisk *disk);
    const char *(*pass_node)(MachineDisk *disk);
    bool (*co_start)(int *ret_status, Error **errp);
    void (*quit)(MachineQuit why);
    bool (*is_there)(void);
    void (*co_stop)(void);
    bool (*co_device_add)(const QDict *options, MachineDisk *disk, Error **errp);
    bool (*co_device_del)(const char *id, Error **errp);
    bool (*co_medium_insert)(MachineDisk *disk, Error **errp);
    bool (*co_medium_remove)(MachineDisk *disk, Error **errp);
    bool (*co_tray)(MachineDisk *disk, bool open, bool force, Error **errp);
    void (*co_check_lengths)(void);
    void (*co_refresh)(void);
    bool (*co_run)(Error **errp);
    bool (*co_intercept)(const char *name, QDict *arguments, QmpMarshal *own, const int *fds,
                         size_t n_fds, QObject **ret, Error **errp);
} MachineOps;

extern const MachineOps machine_none, machine_qemu;

/* As machine_set_callbacks() got them. */
extern MachineCallbacks machine_callbacks;
/* The installed QEMU that is the machine. */
void any_fn machine_set_program(const char *path, bool is_detached);
/* Its standard input and output are void. */
bool any_fn machine_is_detached(void);
/* Of MachineDisk, oldest first. */
extern GList *machine_disks;

/* Descriptors that were inherited and nobody here has made use of: closed. */
void main_fn machine_close_inherited(void);

#endif
