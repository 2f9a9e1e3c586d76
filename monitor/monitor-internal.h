/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A channel, the monitor on it, the sessions of its clients; all on the main thread. */
#ifndef MONITOR_INTERNAL_H
#define MONITOR_INTERNAL_H

#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/command.h"
#include "qapi/qapi-types.h"
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
/* The same for all of @text, which it takes. */
void main_fn monitor_output_give(MonitorOutput *out, GString *text);
/* Wait until the client has taken most of it, or is gone. */
void co_main_fn monitor_output_wait_short(MonitorOutput *out);
bool main_fn monitor_output_is_empty(const MonitorOutput *out);
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
    GArray *fds;                /* of int: descriptors that came with the newest request */
    Coroutine *reader;          /* while it reads */
    Coroutine *room_waiter;     /* the reader, waiting for room in requests */
    Coroutine *dispatcher_waiter;   /* the dispatcher, waiting for requests */
} MonitorSession;

/* Serve the client on @chan (not closed) until it leaves or monitors are shut down. */
void co_main_fn monitor_session_run(Channel *chan, bool pretty);
/* The same for a client that is a person. */
void co_main_fn monitor_hmp_session_run(Channel *chan);

/* The parts of both that are the same: from the first to the last thing of a session ... */
void co_main_fn monitor_session_begin(MonitorSession *s, Channel *chan, CoGroup *workers);
void co_main_fn monitor_session_finish(MonitorSession *s, CoGroup *workers);
/* ... wait until commands may run; false: it has ended ... */
bool co_main_fn monitor_session_may_run(MonitorSession *s);
/* ... and what a command is between. */
void main_fn monitor_command_begins(void);
void main_fn monitor_command_ends(void);

/* All sessions that there are. */
extern GList *monitor_sessions;
/* The session read from no more; what it has begun is finished. */
void main_fn monitor_session_end(MonitorSession *s);
/* Write @obj (borrowed) as a line. */
void main_fn monitor_session_send(MonitorSession *s, const QObject *obj);

/* long-answers.c: the text of @obj as a session sends it, with the end of the line. */
GString *any_fn monitor_line(const QObject *obj, bool pretty);
/* The same for a reply, which is consumed; a long one by a thread, while the coroutine waits. */
GString *co_main_fn monitor_reply_line(QObject *reply, bool pretty);

/* ---- intercept.c: what stands in front of the commands ---- */

bool main_fn monitor_has_interceptor(void);
/* True: it has run the command, *@ret or @errp is set.  @s: whose descriptors may go with it, NULL:
 * nobody's.  @own: the handler of that name or NULL. */
bool co_main_fn monitor_intercept(MonitorSession *s, const char *name, QDict *arguments,
                                  QmpMarshal *own, QObject **ret, Error **errp);
/* The same for a line of the human monitor: its output is in @out. */
bool co_main_fn monitor_intercept_line(GString *out, const char *line);
/* Descriptors that came with a request and are nobody's. */
void main_fn monitor_drop_fds(MonitorSession *s);

/* ---- QMP ---- */

/* Those that there are, as monitor_init() got them. */
extern const QmpCommand *monitor_commands;
QObject *any_fn qmp_greeting(void);
/* Run @request and return the reply, or NULL if there is none; @request is borrowed. */
QObject *co_main_fn qmp_dispatch(MonitorSession *s, QObject *request);
/* The reply that is an error; takes @err; @id may be NULL, borrowed. */
QObject *any_fn qmp_error_reply(Error *err, QObject *id);
/* Is @request to be run ahead of others? */
bool any_fn qmp_is_oob(const QObject *request);
/* Whose command has just been begun: only until its handler yields. */
extern MonitorSession *monitor_current_session;
/* What monitor_set_after_command() asked for. */
void main_fn monitor_after_command(void);

/* ---- channels ---- */

typedef struct MonitorRing MonitorRing;
typedef struct MonitorLog MonitorLog;

typedef struct MonitorChardev {
    char *id;
    ChardevBackendKind kind;
    bool in_use;                /* a monitor is on it */
    GQueue clients;             /* of Channel, those that are served, oldest first */
    MonitorLog *log;            /* gets all that clients are sent; NULL: there is none */

    /* socket */
    SocketSpec address;
    bool server;
    bool wait;
    bool delay;                 /* small messages may wait for acknowledgements of earlier ones */
    SocketListener listener;    /* may be none */
    int fd;                     /* connected already; -1: none */

    /* stdio */
    bool no_signals;            /* Ctrl-C on the terminal is a character */
    bool edits_lines;           /* we, not the terminal, show what is typed */

    /* file, pipe, pty: -1: none */
    int in_fd, out_fd;          /* the same for a pty, and for a pipe without .in and .out */

    /* pty */
    char *pty_name;
    int pty_watch_fd;           /* inotify: somebody opens it; -1: look now and then */

    /* ringbuf, memory */
    MonitorRing *ring;
} MonitorChardev;

MonitorChardev *main_fn monitor_chardev_find(const char *id);
/* All of them, oldest first. */
GList *main_fn monitor_chardevs(void);
/* Put @chr into the list: in the place of @old, or, if that is NULL, at the end. */
void main_fn monitor_chardev_list(MonitorChardev *chr, MonitorChardev *old);
void main_fn monitor_chardev_unlist(MonitorChardev *chr);

/*
 * Make the channel @id that @backend (borrowed) describes; NULL with @errp set.  It is in the list
 * when this returns.  @old, NULL or one that nobody uses, gives its place and name to it.
 */
MonitorChardev *co_main_fn monitor_chardev_new(const char *id, const ChardevBackend *backend,
                                               MonitorChardev *old, Error **errp);
/* Nobody uses it. */
void co_main_fn monitor_chardev_remove(MonitorChardev *chr);
/* At the end. */
void co_main_fn monitor_chardev_free_all(void);
/* If monitor_chardev_new() waits for a client or server, it fails. */
void main_fn monitor_chardev_cancel_open(void);

/* The id and the channel that @options describe, a flat dict as of --chardev; caller frees both. */
ChardevBackend *any_fn monitor_chardev_parse(const QDict *options, char **ret_id, Error **errp);

/* Both: make the channel that @options describe. */
MonitorChardev *co_main_fn monitor_chardev_from_dict(const QDict *options, Error **errp);

/* The steps of monitor_chardev_new(): fill in @chr, which is all zeroes and -1, from @backend. */
bool co_main_fn monitor_chardev_open(MonitorChardev *chr, const ChardevBackend *backend,
                                     Error **errp);
bool co_main_fn monitor_chardev_open_files(MonitorChardev *chr, const ChardevBackend *backend,
                                           Error **errp);
bool co_main_fn monitor_chardev_open_pty(MonitorChardev *chr, Error **errp);
/* Characters of @chr come as they are typed, and are shown by whoever reads them, until it is
 * closed.  Of a terminal; others are like that. */
void main_fn monitor_chardev_edit_lines(MonitorChardev *chr);
/* Close what these have opened, remove the socket's file. */
void co_main_fn monitor_chardev_close(MonitorChardev *chr);

/* A non-blocking descriptor or -errno.  Of a pipe nobody has to be at the other end. */
int co_main_fn monitor_open_file(const char *path, int flags);

/* Wait until somebody has opened the terminal: 0, or -ECANCELED by aio_co_cancel(). */
int co_main_fn monitor_pty_wait(MonitorChardev *chr);

/* Of a socket: where it is, as a SocketAddress. */
QObject *main_fn monitor_chardev_address(const MonitorChardev *chr);

/* What clients of @chr are sent: into its memory and its log, if it has these. */
void main_fn monitor_chardev_sent(MonitorChardev *chr, const char *bytes, size_t len);

/* ---- memory of a channel: the last bytes that were written ---- */

/* NULL with @errp set: @size is no power of two, or too much. */
MonitorRing *any_fn monitor_ring_new(int64_t size, Error **errp);
void any_fn monitor_ring_free(MonitorRing *ring);
void any_fn monitor_ring_put(MonitorRing *ring, const char *bytes, size_t len);
/* Bytes that there are. */
size_t any_fn monitor_ring_used(const MonitorRing *ring);
/* Copy the oldest @len bytes, of those that there are, to @buf; they stay. */
void any_fn monitor_ring_peek(const MonitorRing *ring, char *buf, size_t len);
void any_fn monitor_ring_drop(MonitorRing *ring, size_t len);

/* ---- log of a channel ---- */

/* @path is opened; NULL with @errp set. */
MonitorLog *co_main_fn monitor_log_new(const char *path, bool append, Error **errp);
/* Never waits: what is too much for the file's disk is left out, and the operator told. */
void main_fn monitor_log_put(MonitorLog *log, const char *bytes, size_t len);
/* What was put is still written, if that takes no longer than @patience_ns.  NULL is fine. */
void co_main_fn monitor_log_free(MonitorLog *log, int64_t patience_ns);

/* ---- serving ---- */

typedef enum MonitorMode { MONITOR_QMP, MONITOR_QMP_PRETTY, MONITOR_HUMAN } MonitorMode;

/* Serve the clients of @chr. */
bool main_fn monitor_serve(MonitorChardev *chr, MonitorMode mode, Error **errp);

/* ---- the process's standard output ---- */

/* What monitor_print() got is written; what is not after @patience_ns is dropped. */
void co_main_fn monitor_print_finish(int64_t patience_ns);

/* ---- HMP ---- */

/* The commands that are the monitor's own; all others are gone. */
void main_fn monitor_hmp_init(void);
/* For completion: name number @i of the commands (@first: "info": of its subcommands), or NULL. */
const char *main_fn monitor_hmp_name(const char *first, size_t i);
/* Do what @line says; the output, with lines ending in '\n', goes to @out. */
void co_main_fn monitor_hmp_execute(GString *out, const char *line);

#endif
