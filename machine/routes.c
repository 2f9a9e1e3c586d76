/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who runs what.  The machine has a block layer of its own that holds nothing but connections to
 * ours; a client never sees it, so what is about disks is ours, whether we have it or not.
 */
#include "qemu/osdep.h"

#include "machine/routes.h"

typedef struct RouteRule {
    const char *pattern;            /* a name; with * at its end: how names begin */
    MachineRoute route;
} RouteRule;

/* The first that matches counts; what none does is the machine's. */
static const RouteRule rules[] = {
    { "query-qmp-schema",           MACHINE_ROUTE_SCHEMA },
    { "query-commands",             MACHINE_ROUTE_COMMANDS },
    { "object-add",                 MACHINE_ROUTE_OBJECT_ADD },
    { "object-del",                 MACHINE_ROUTE_OBJECT_DEL },
    { "qom-get",                    MACHINE_ROUTE_EITHER },
    { "qom-set",                    MACHINE_ROUTE_EITHER },
    { "qom-list",                   MACHINE_ROUTE_EITHER },
    { "query-chardev",              MACHINE_ROUTE_JOIN },
    /* the monitor itself, and what goes through functions above the machine */
    { "qmp_capabilities",           MACHINE_ROUTE_OURS },
    { "human-monitor-command",      MACHINE_ROUTE_HMP },
    { "trace-event-*",              MACHINE_ROUTE_OURS },
    { "quit",                       MACHINE_ROUTE_OURS },
    { "cont",                       MACHINE_ROUTE_BOTH },    /* exports that wait go on too */
    { "device_add",                 MACHINE_ROUTE_OURS },
    { "device_del",                 MACHINE_ROUTE_OURS },
    /* disks */
    { "block*",                     MACHINE_ROUTE_OURS },
    { "x-block*",                   MACHINE_ROUTE_OURS },
    { "drive*",                     MACHINE_ROUTE_OURS },
    { "job*",                       MACHINE_ROUTE_OURS },
    { "nbd-server-*",               MACHINE_ROUTE_OURS },
    { "snapshot-*",                 MACHINE_ROUTE_OURS },
    { "transaction",                MACHINE_ROUTE_OURS },
    { "eject",                      MACHINE_ROUTE_OURS },
    { "change-backing-file",        MACHINE_ROUTE_OURS },
    { "change",                     MACHINE_ROUTE_OURS },
    { "query-block*",               MACHINE_ROUTE_OURS },
    { "query-named-block-nodes",    MACHINE_ROUTE_OURS },
    { "query-jobs",                 MACHINE_ROUTE_OURS },
    { "query-nbd*",                 MACHINE_ROUTE_OURS },
    { "x-debug-query-block-*",      MACHINE_ROUTE_OURS },
};

/* The machine's answers about its own block layer are no use to anybody; the names of commands of
 * the human monitor, in full and short. */
static const char *const our_hmp[] = {
    "?", "block*", "c", "change", "commit", "cont", "delvm", "device_add", "device_del", "drive_*",
    "eject", "help", "loadvm", "logfile", "nbd_server_*", "q", "qemu-io", "quit", "s", "savevm",
    "snapshot_*", "stop", "trace-event", "trace-file", "object_add", "object_del",
};

static const char *const our_info[] = {
    "block*", "jobs", "named-block-nodes", "snapshots", "trace-events",
};

static bool matches(const char *pattern, const char *name)
{
    size_t len = strlen(pattern);

    return pattern[len - 1] == '*' ? strncmp(pattern, name, len - 1) == 0
                                   : strcmp(pattern, name) == 0;
}

static bool matches_any(const char *const *patterns, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (matches(patterns[i], name)) {
            return true;
        }
    }
    return false;
}

MachineRoute any_fn machine_route(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        if (matches(rules[i].pattern, name)) {
            return rules[i].route;
        }
    }
    return MACHINE_ROUTE_MACHINE;
}

bool any_fn machine_has_hmp(const char *command, const char *argument)
{
    if (strcmp(command, "change") == 0 && argument && strcmp(argument, "vnc") == 0) {
        return true;
    }
    if (strcmp(command, "info") == 0) {
        return argument && !matches_any(our_info, G_N_ELEMENTS(our_info), argument);
    }
    return !matches_any(our_hmp, G_N_ELEMENTS(our_hmp), command);
}

MachineObjectPlace any_fn machine_object_place(const char *qom_type)
{
    static const char *const ours[] = { "throttle-group" };
    /* A disk's driver may ask for them, and so may a device of the machine. */
    static const char *const both[] = { "iothread", "secret*", "tls-creds-*", "authz-*",
                                        "tls-cipher-suites" };

    return matches_any(ours, G_N_ELEMENTS(ours), qom_type) ? MACHINE_OBJECT_OURS :
           matches_any(both, G_N_ELEMENTS(both), qom_type) ? MACHINE_OBJECT_BOTH
                                                           : MACHINE_OBJECT_MACHINES;
}

bool any_fn machine_event_is_forwarded(const char *name)
{
    /* A policy for errors that the guest's device has is in the machine. */
    static const char *const swallowed[] = { "BLOCK_JOB_*", "BLOCK_EXPORT_*", "BLOCK_WRITE_*",
                                             "BLOCK_IMAGE_*", "JOB_*", "QUORUM_*" };

    return !matches_any(swallowed, G_N_ELEMENTS(swallowed), name);
}
