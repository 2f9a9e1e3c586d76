/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A channel, the monitor on it, the sessions of its clients; all on the main thread. */
#ifndef MONITOR_INTERNAL_H
#define MONITOR_INTERNAL_H

#include "monitor/monitor.h"
#include "qapi/command.h"
#include "qemu/aio.h"
#include "qemu/channel.h"
#include "qemu/sockets.h"
#include "qobject/json.h"

/* ---- output of a session: a queue, and a coroutine that writes it ---- */

typedef struct MonitorOutput {
    Channel *chan;
    GString *pending;           /* not taken by the writer yet */
    size_t writing;             /* bytes that the writer has taken and not written */
    bool ending;                /* write what there is, then end */
    bool broken;                /* the client is gone or too slow: everything is dropped */
    Coroutine *writer;          /* while it runs */
    bool writer_idle;           /* it waits for something to write */
    Coroutine *drain_waiter;    /* waits until the queue is short */
    void (*on_broken)(void *opaque);
    void *opaque;
} MonitorOutput;

void main_fn monitor_output_init(MonitorOutput *out, Channel *chan, void (*on_broken)(void *opaque),
                                 void *opaque);
/* The writer has ended. */
void main_fn monitor_output_destroy(MonitorOutput *out);
/* The writer: entry of a coroutine. */
void co_main_fn monitor_output_writer(void *out);
/* Queue @len bytes; never waits.  Past the limit the client is cut off. */
void main_fn monitor_output_put(MonitorOutput *out, const char *text, size_t len);
/* Wait until the client has taken most of it, or is gone. */
void co_main_fn monitor_output_wait_short(MonitorOutput *out);
/* The writer ends once everything is written. */
void main_fn monitor_output_end(MonitorOutput *out);
/* Drop everything; the writer ends soon. */
void main_fn monitor_output_break(MonitorOutput *out);

/* ---- sessions ---- */

typedef struct MonitorSession {
    Channel *chan;
    bool pretty;
    bool negotiated;
    bool oob;                   /* exec-oob was enabled */
    bool ended;                 /* nothing more will be read */
    MonitorOutput out;
    JsonStream *json;
    GQueue requests;            /* of MonitorRequest, to be run in order */
    Coroutine *reader;          /* while it reads */
    Coroutine *room_waiter;     /* the reader, waiting for room in requests */
    Coroutine *dispatcher_waiter;   /* the dispatcher, waiting for requests */
} MonitorSession;

/* Serve the client on @chan (not closed) until it leaves or monitors are shut down. */
void co_main_fn monitor_session_run(Channel *chan, bool pretty);
/* All sessions that there are. */
extern GList *monitor_sessions;
/* The session read from no more; what it has begun is finished. */
void main_fn monitor_session_end(MonitorSession *s);
/* Write @obj (borrowed) as a line. */
void main_fn monitor_session_send(MonitorSession *s, const QObject *obj);

/* ---- QMP ---- */

QObject *any_fn qmp_greeting(void);
/* Run @request and return the reply, or NULL if there is none; @request is borrowed. */
QObject *co_main_fn qmp_dispatch(MonitorSession *s, QObject *request);
/* The reply that is an error; takes @err; @id may be NULL, borrowed. */
QObject *any_fn qmp_error_reply(Error *err, QObject *id);
/* Is @request to be run ahead of others? */
bool any_fn qmp_is_oob(const QObject *request);
/* Whose command has just been begun: only until its handler yields. */
extern MonitorSession *monitor_current_session;
extern bool monitor_stopping;

/* ---- channels ---- */

typedef struct MonitorChardev {
    char *id;
    bool is_stdio;
    SocketSpec address;
    bool server;
    bool wait;
    bool delay;                 /* small messages may wait for acknowledgements of earlier ones */
    bool no_signals;            /* stdio: Ctrl-C on the terminal is a character */
    bool in_use;
    SocketListener listener;    /* may be none */
    int fd;                     /* connected already; -1: none */
    GQueue clients;             /* of Channel, those that are served, oldest first */
} MonitorChardev;

MonitorChardev *main_fn monitor_chardev_find(const char *id);
/* All of them, oldest first. */
GList *main_fn monitor_chardevs(void);
/* Make the channel described by @options (borrowed), a flat dict as of -chardev. */
MonitorChardev *co_main_fn monitor_chardev_new(QDict *options, Error **errp);
void main_fn monitor_chardev_free_all(void);
/* If monitor_chardev_new() waits for a client or server, it fails. */
void main_fn monitor_chardev_cancel_open(void);

/* Serve the clients of @chr. */
bool main_fn monitor_serve(MonitorChardev *chr, bool pretty, Error **errp);

/* ---- HMP ---- */

void co_main_fn hmp_info_block(GString *out, int argc, char **argv);
void co_main_fn hmp_info_blockstats(GString *out, int argc, char **argv);

#endif
