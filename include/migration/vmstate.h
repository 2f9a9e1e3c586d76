/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of the machine: its disks at one instant, in snapshots inside of their images, and its
 * own state beside one of them.  docs/design/machine-snapshots.md.
 */
#ifndef MIGRATION_VMSTATE_H
#define MIGRATION_VMSTATE_H

#include "qapi/error.h"
#include "qapi/qapi-types.h"
#include "qemu/context.h"
#include "qobject/qobject.h"

/* What the machine is asked for; set by the program, all on the main thread. */
typedef struct MachineStateOps {
    /* Is there a machine whose state can be saved?  NULL with @errp: not now. */
    bool (*co_can_save)(Error **errp);
    /* Stop it for the reason @state; returns whether it ran. */
    bool (*co_stop)(RunState state);
    void (*co_cont)(void);
    /* Its state as JSON; caller unrefs. */
    QDict *(*save)(void);
    /* What it has becomes @state; false with @errp: the state is of another machine. */
    bool (*co_load)(const QDict *state, Error **errp);
} MachineStateOps;

void main_fn vmstate_init(const MachineStateOps *ops);

/* savevm, loadvm and delvm, for people. */
void main_fn vmstate_hmp_init(void);

/* Which disks; both NULL: all that can be written, the first of which has the state. */
typedef struct VmStateDisks {
    const char *vmstate;            /* name of the node that has the machine's state */
    const char *const *nodes;       /* NULL-terminated, with @vmstate among them */
} VmStateDisks;

/* A snapshot @tag of all of @disks, in place of one that has that name. */
bool co_main_fn vmstate_save(const char *tag, const VmStateDisks *disks, Error **errp);
/* The machine and @disks become what they were; they stay stopped if that fails half-way. */
bool co_main_fn vmstate_load(const char *tag, const VmStateDisks *disks, Error **errp);
/* Wherever there is one. */
bool co_main_fn vmstate_delete(const char *tag, const VmStateDisks *disks, Error **errp);

#endif
