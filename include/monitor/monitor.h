/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP monitors: channels that clients connect to, sessions, commands, events.
 *
 * Each session answers its commands in order, several sessions work at the same time.  A client
 * that does not read is never waited for by anybody but itself.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "qapi/command.h"
#include "qapi/error.h"
#include "qapi/qapi-types.h"
#include "qobject/qobject.h"

/*
 * Once, before all others.  @commands, the program's qmp_commands, are what clients can run; they
 * stay the caller's.  @shutdown is called by `quit`: it calls monitor_stop_commands() and tells the main loop to end,
 * at once or later.
 */
void main_fn monitor_init(const QmpCommand *commands, void (*shutdown)(void));

/* The version of QEMU that clients are told, for programs whose clients decide by it; before
 * monitors are there.  @version stays the caller's. */
void any_fn monitor_set_qemu_version(const char *version);

/* What query-status tells; default: that everything runs. */
void any_fn monitor_set_run_state(RunState (*state)(void));

/* What query-name returns; copied. */
void any_fn monitor_set_name(const char *name);

/*
 * --chardev OPTIONS: `KIND,id=ID[,...]`.  A socket listens when this returns; with wait=on, the
 * default of a server, it waits for the first client.  An fd is a listening or a connected socket,
 * whichever it is.
 */
bool co_main_fn monitor_chardev_add(const char *options, Error **errp);

/* Something else in the place of the channel @id, which nobody uses: KIND[,...]. */
bool co_main_fn monitor_chardev_change(const char *id, const char *options, Error **errp);

/* Kinds of channels, and the keys that each has (NULL: there is none called @backend). */
const char *const *any_fn monitor_chardev_backends(void);
const char *const *any_fn monitor_chardev_keys(const char *backend);
/* Standard input and output are nobody's: no channel may be on them. */
void main_fn monitor_refuse_stdio(void);

/* --monitor OPTIONS: `[chardev=]ID[,mode=control][,pretty=on|off]`; the channel must be there. */
bool co_main_fn monitor_option_add(const char *options, Error **errp);

/* -mon OPTIONS: the same, with mode=readline, which is the default, for people. */
bool co_main_fn monitor_mon_add(const char *options, Error **errp);

/*
 * --qmp OPTIONS: `unix:PATH[,server=on][,wait=off]`, `tcp:HOST:PORT[,...]`, `pipe:PATH`,
 * `file:PATH`, `pty`, `null`, `stdio`; `chardev:ID`, which is there; or `none`.
 */
bool co_main_fn monitor_qmp_add(const char *options, Error **errp);
/* --qmp-pretty: the same, and output is laid out for people. */
bool co_main_fn monitor_qmp_pretty_add(const char *options, Error **errp);
/* -monitor OPTIONS: the same for people. */
bool co_main_fn monitor_hmp_add(const char *options, Error **errp);

/*
 * What has been said to clients is written, as far as they take it in a short time: for a program
 * that has something to say on the same terminal.
 */
void co_main_fn monitor_flush(void);

/*
 * To standard output or standard error, as what a command prints and does not answer; in order with
 * what a client on standard output is told.  Never waits for the reader.
 */
void main_fn monitor_print(bool is_error, const char *text);
/* It is written, or this time has passed. */
void co_main_fn monitor_print_wait(int64_t patience_ns);

/* Is there a monitor, with or without clients? */
bool main_fn monitor_is_there(void);

/*
 * Run the program's QMP command @name for somebody who is no client of it.  Takes @arguments;
 * *@ret, if wanted, is the caller's.  Programs that do not have it say so.
 */
bool co_main_fn monitor_call(const char *name, QDict *arguments, QObject **ret, Error **errp);

/* Called after every command; for assertions.  NULL (the default): nothing is. */
void main_fn monitor_set_after_command(void (*cb)(void));

/*
 * Something in front of the commands, which may run one in the place of the monitor: true, with
 * *@ret or @errp set.  @own: the monitor's handler of that name, NULL: there is none.  @fds: what
 * came with the command; they stay the monitor's.  NULL (the default): there is nothing.
 */
typedef bool MonitorInterceptor(const char *name, QDict *arguments, QmpMarshal *own,
                                const int *fds, size_t n_fds, QObject **ret, Error **errp);
void main_fn monitor_set_interceptor(MonitorInterceptor *fn);

/* Begin to run commands.  What clients sent before has waited: the command line comes first. */
void main_fn monitor_start_commands(void);

/* @cb, called when no command is begun any more, lets those go that wait for people.  NULL, the
 * default: there are none. */
void main_fn monitor_set_on_stop(void (*cb)(void));
/* No command is begun any more; those under way go on.  An option that waits for a client fails. */
void main_fn monitor_stop_commands(void);
/* The same, and returns when those under way have ended: before what they work on is taken down.
 * Not from a command. */
void co_main_fn monitor_finish_commands(void);

/*
 * End all sessions: waits for commands under way, and a short time for clients to take what is
 * written to them; then closes everything and removes socket files.
 */
void co_main_fn monitor_shutdown_all(void);

/* Send @event to every session that has finished its negotiation.  Takes @event. */
void main_fn monitor_emit_event(QObject *event);

#endif
