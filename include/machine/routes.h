/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who runs a command, has an object, tells of an event, where there is a machine.  Pure. */
#ifndef MACHINE_ROUTES_H
#define MACHINE_ROUTES_H

#include "qapi/error.h"
#include "qobject/qobject.h"

typedef enum MachineRoute {
    MACHINE_ROUTE_OURS,             /* never the machine's */
    MACHINE_ROUTE_MACHINE,          /* its, whether we have one of that name or not */
    MACHINE_ROUTE_JOIN,             /* both answer with lists: one after the other */
    MACHINE_ROUTE_EITHER,           /* its, unless it knows no such thing: then ours */
    MACHINE_ROUTE_BOTH,             /* ours, then its, which answers */
    MACHINE_ROUTE_HMP,              /* by the command that is in it */
    MACHINE_ROUTE_OBJECT_ADD, MACHINE_ROUTE_OBJECT_DEL,     /* by the object's type */
    MACHINE_ROUTE_SCHEMA, MACHINE_ROUTE_COMMANDS,           /* put together from both */
} MachineRoute;

/* Of QMP command @name.  Commands of the block layer are ours, also those that nobody has. */
MachineRoute any_fn machine_route(const char *name);

/* Has the human monitor of the machine the command, and not the block layer?  @argument: what
 * follows it (`info NAME`, `change vnc`), NULL: nothing. */
bool any_fn machine_has_hmp(const char *command, const char *argument);

typedef enum MachineObjectPlace {
    MACHINE_OBJECT_OURS = 1,        /* throttle-group */
    MACHINE_OBJECT_MACHINES = 2,    /* memory-backend-ram, rng-random, ... */
    MACHINE_OBJECT_BOTH = 3,        /* iothread, secret, tls-creds-x509, authz-list */
} MachineObjectPlace;

/* Who has objects of that type, where there is a machine. */
MachineObjectPlace any_fn machine_object_place(const char *qom_type);

/* Is the machine's event @name for clients?  Those about its own block layer are not. */
bool any_fn machine_event_is_forwarded(const char *name);

/*
 * One schema (a list of SchemaInfo, as query-qmp-schema returns it) from @ours and the machine's:
 * its commands that are ours by their names are left out, and with them the types that only they
 * reach.  A command or event that both have is described by whoever runs it.  Its types get names
 * of their own.  NULL with @errp: @machines is
 * no schema.
 */
QList *any_fn machine_merge_schema(const QList *ours, const QList *machines, Error **errp);
/* The same for lists of {"name"}, as query-commands returns them. */
QList *any_fn machine_merge_commands(const QList *ours, const QList *machines);

#endif
