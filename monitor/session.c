/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The session of one client, in three coroutines: one reads and parses, one runs commands, one
 * writes.
 *
 * Commands run in the order in which they came.  The reader waits while MAX_REQUESTS of them are
 * queued (one, unless exec-oob is enabled), so a client can have no more than that outstanding.
 * A command with exec-oob is run by the reader at once.  What was read before the client closed
 * its end is still run: a script may send its commands and close.
 */
#include "qemu/osdep.h"

#include "daemon.h"
#include "monitor-internal.h"
#include "qemu/trace.h"

#define MAX_REQUESTS 8
#define READ_BYTES 65536

GList *monitor_sessions;

/* Something to be answered, in turn. */
typedef struct MonitorRequest {
    QObject *value;             /* NULL: not to be understood */
    Error *err;                 /* why not */
} MonitorRequest;

static void request_free(void *opaque)
{
    MonitorRequest *req = opaque;

    qobject_unref(req->value);
    error_free(req->err);
    g_free(req);
}

static void main_fn wake(Coroutine **waiter)
{
    if (*waiter) {
        coroutine_wake(g_steal_pointer(waiter));
    }
}

void monitor_session_send(MonitorSession *s, const QObject *obj)
{
    g_autoptr(GString) text = monitor_line(obj, s->pretty);

    monitor_output_put(&s->out, text->str, text->len);
}

void monitor_session_end(MonitorSession *s)
{
    if (s->ended) {
        return;
    }
    s->ended = true;
    if (s->reader) {
        aio_co_cancel(s->reader);
    }
    wake(&s->room_waiter);
    wake(&s->dispatcher_waiter);
}

/* ---- running commands ---- */

/* The daemon is set up: before, commands would find half of what was asked for. */
static bool commands_started;

void monitor_start_commands(void)
{
    commands_started = true;
    for (GList *l = monitor_sessions; l; l = l->next) {
        wake(&((MonitorSession *)l->data)->dispatcher_waiter);
    }
}

static int commands_running;            /* of all sessions */
static Coroutine *finish_waiter;

void monitor_finish_commands(void)
{
    monitor_stop_commands();
    while (commands_running > 0) {
        finish_waiter = coroutine_self();
        coroutine_yield();
    }
}

void monitor_command_begins(void)
{
    commands_running++;
}

void monitor_command_ends(void)
{
    if (--commands_running == 0) {
        wake(&finish_waiter);
    }
}

bool monitor_session_may_run(MonitorSession *s)
{
    while (!commands_started && !s->ended) {
        s->dispatcher_waiter = coroutine_self();
        coroutine_yield();
    }
    return !s->ended && !monitor_is_stopping();
}

static void co_main_fn answer(MonitorSession *s, MonitorRequest *req)
{
    QObject *reply;

    monitor_command_begins();
    reply = req->err ? qmp_error_reply(g_steal_pointer(&req->err), NULL)
                     : qmp_dispatch(s, req->value);
    if (reply) {
        monitor_output_give(&s->out, monitor_reply_line(reply, s->pretty));
    }
    monitor_command_ends();
}

static void co_main_fn dispatcher(void *opaque)
{
    MonitorSession *s = opaque;

    context_assert_main();
    context_assert_coroutine();
    for (;;) {
        MonitorRequest *req;

        monitor_output_wait_short(&s->out);
        if (s->out.broken || monitor_is_stopping()) {
            break;
        }
        if (!commands_started) {
            s->dispatcher_waiter = coroutine_self();
            coroutine_yield();
            continue;
        }
        req = g_queue_pop_head(&s->requests);
        if (!req) {
            if (s->ended) {
                break;
            }
            s->dispatcher_waiter = coroutine_self();
            coroutine_yield();
            continue;
        }
        answer(s, req);
        request_free(req);
        wake(&s->room_waiter);
    }
    /* Nothing is run any more, so the reader must not wait for it. */
    s->ended = true;
    wake(&s->room_waiter);
    monitor_output_end(&s->out);
}

/* ---- reading ---- */

/* In the reader's coroutine, as it feeds the parser. */
static void got_value(void *opaque, QObject *value, Error *err)
{
    MonitorSession *s = opaque;
    MonitorRequest *req = g_new0(MonitorRequest, 1);

    context_assert_main();
    context_assert_coroutine();
    req->value = value;
    req->err = err;
    if (s->oob && value && qmp_is_oob(value) && !monitor_is_stopping()) {
        answer(s, req);
        request_free(req);
        return;
    }
    g_queue_push_tail(&s->requests, req);
    wake(&s->dispatcher_waiter);
    while (!s->ended && g_queue_get_length(&s->requests) >= (s->oob ? MAX_REQUESTS : 1)) {
        s->room_waiter = coroutine_self();
        coroutine_yield();
    }
}

static void co_main_fn read_requests(MonitorSession *s)
{
    g_autofree char *buf = g_malloc(READ_BYTES);
    int fds[CHANNEL_MAX_FDS];
    size_t n_fds;

    while (!s->ended) {
        struct iovec iov = { buf, READ_BYTES };
        ssize_t n;

        s->reader = coroutine_self();
        n = channel_recv_fds(s->chan, &iov, 1, fds, &n_fds);
        s->reader = NULL;
        if (n_fds > 0) {
            monitor_drop_fds(s);    /* those of a request that did not want them */
            g_array_append_vals(s->fds, fds, n_fds);
        }
        if (n <= 0) {
            break;
        }
        json_stream_feed(s->json, buf, n);
    }
    if (!s->ended) {
        json_stream_end(s->json);
    }
    monitor_session_end(s);
}

/* ---- life ---- */

static void client_is_gone(void *opaque)
{
    context_assert_main();
    monitor_session_end(opaque);
}

void monitor_session_begin(MonitorSession *s, Channel *chan, CoGroup *workers)
{
    s->chan = chan;
    s->fds = g_array_new(false, false, sizeof(int));
    g_queue_init(&s->requests);
    monitor_output_init(&s->out, chan, client_is_gone, s);
    monitor_sessions = g_list_append(monitor_sessions, s);
    trace_qmp_session_begin(s);
    co_group_start(workers, monitor_output_writer, &s->out);
}

void monitor_session_finish(MonitorSession *s, CoGroup *workers)
{
    co_group_wait(workers);
    monitor_sessions = g_list_remove(monitor_sessions, s);
    g_queue_clear_full(&s->requests, request_free);
    monitor_drop_fds(s);
    g_array_unref(s->fds);
    monitor_output_destroy(&s->out);
    trace_qmp_session_end(s);
}

void monitor_session_run(Channel *chan, bool pretty)
{
    MonitorSession s = { .pretty = pretty };
    CoGroup workers = CO_GROUP_INIT;
    g_autoptr(QObject) greeting = qmp_greeting();

    s.json = json_stream_new(got_value, &s);
    monitor_session_begin(&s, chan, &workers);
    monitor_session_send(&s, greeting);
    co_group_start(&workers, dispatcher, &s);
    read_requests(&s);
    monitor_session_finish(&s, &workers);
    json_stream_free(s.json);
}
