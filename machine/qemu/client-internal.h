/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the two files of the client of the child's monitor. */
#ifndef MACHINE_QEMU_CLIENT_INTERNAL_H
#define MACHINE_QEMU_CLIENT_INTERNAL_H

#include "qemu-internal.h"
#include "qemu/channel.h"
#include "qobject/json.h"

/* Requests that are not answered. */
#define MACHINE_MAX_OPEN 4096
#define MAX_FDS 16

typedef struct Request {
    int64_t id;
    MachineQmpOrder order;
    Coroutine *waiter;              /* NULL: nobody waits any more */
    bool done;
    QDict *reply;                   /* NULL, and done: the connection has ended, or time is up */
    bool late;                      /* time is up */
    AioTimer timer;
} Request;

/* Text that is to be sent, with the descriptors that go with it. */
typedef struct Outgoing {
    char *text;
    size_t len;
    int fds[MAX_FDS];
    size_t n_fds;
} Outgoing;

struct MachineQmp {
    Channel chan;
    MachineQmpCallbacks cbs;
    JsonStream *json;
    GHashTable *requests;           /* of Request by their id, which is a part of them */
    int64_t last_id;
    GQueue inbox;                   /* of Incoming */
    size_t inbox_bytes, value_bytes;    /* of all; read since the last value */
    GQueue outbox;                  /* of Outgoing */
    QDict *greeting;
    bool ended, gone;               /* gone: it has left by itself */
    int late;                       /* requests that were given up and are not answered */
    char *why;                      /* with ended */
    Coroutine *reader, *inbox_waiter, *outbox_waiter, *greeting_waiter, *free_waiter, *writer;
    Coroutine *end_waiter;
    int workers, users;             /* coroutines of this file; callers in it */
};

void machine_outgoing_free(void *outgoing);
/* One of *@count, of q->workers or q->users, does no more with @q. */
void main_fn machine_qmp_leave(MachineQmp *q, int *count);

#endif
