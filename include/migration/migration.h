/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine without a machine goes to another process: its disks, which both can open, its dirty
 * bitmaps and the little state that it has.  docs/design/migration.md.
 */
#ifndef MIGRATION_MIGRATION_H
#define MIGRATION_MIGRATION_H

#include "migration/vmstate.h"
#include "qapi/qapi-types.h"

/* What migration asks of the program, beside MachineStateOps; on the main thread. */
typedef struct MigrationOps {
    RunState (*state)(void);
    /* The machine does not run, for the reason @state. */
    void (*set_state)(RunState state);
    bool (*co_run)(Error **errp);
    /* Shall a machine that comes run at once?  No: not before `cont`. */
    bool (*starts_by_itself)(void);
    /* Nothing has come that could run; @err is taken. */
    void (*incoming_failed)(Error *err);
    const MachineStateOps *machine;
} MigrationOps;

void main_fn migration_init(const MigrationOps *ops);
/* Commands for people. */
void main_fn migration_hmp_init(void);
/* -incoming @uri; "defer": migrate-incoming says where from.  Waits for nobody. */
bool co_main_fn migration_incoming(const char *uri, Error **errp);
/* Does it wait for a machine? */
bool main_fn migration_is_incoming(void);
/* Disks that were handed over, or are still to come, are this process's again. */
bool co_main_fn migration_take_disks(Error **errp);
/* At the end of the program: nothing is under way any more when this returns. */
void co_main_fn migration_shutdown(void);

#endif
