/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Monitors: serving the clients of a channel, each by itself; the end. */
#include "qemu/osdep.h"

#include "qemu/limits.h"
#include "qemu/log.h"
#include "monitor-internal.h"

/* How long clients have at the end to take what was written to them. */
#define FAREWELL_NS (2 * NS_PER_SEC)

typedef struct MonitorServer {
    MonitorChardev *chr;
    MonitorMode mode;
    CoGroup sessions;
    Coroutine *acceptor;        /* while it waits for a client */
    Coroutine *full;            /* the acceptor, while it waits for a client to leave */
} MonitorServer;

typedef struct MonitorClient {
    MonitorServer *srv;
    Channel chan;
} MonitorClient;

static GList *servers;          /* of MonitorServer, while their coroutines run */
static Coroutine *shutdown_waiter;
static bool shutting_down;
static bool cut_off;            /* clients have had their time */
static bool given_up;           /* somebody's disk does not take what is written to it */

static void main_fn wake(Coroutine **waiter)
{
    if (*waiter) {
        coroutine_wake(g_steal_pointer(waiter));
    }
}

static void co_main_fn client_entry(void *opaque)
{
    MonitorClient *c = opaque;
    MonitorServer *srv = c->srv;

    context_assert_main();
    context_assert_coroutine();
    if (srv->mode == MONITOR_HUMAN) {
        monitor_hmp_session_run(&c->chan);
    } else {
        monitor_session_run(&c->chan, srv->mode == MONITOR_QMP_PRETTY);
    }
    g_queue_remove(&srv->chr->clients, &c->chan);
    if (srv->chr->kind == CHARDEV_BACKEND_KIND_SOCKET) {
        channel_close(&c->chan);    /* of the other kinds the channel itself has the descriptors */
    }
    g_free(c);
    wake(&srv->full);
}

static void main_fn client_was_sent(void *opaque, const char *bytes, size_t len)
{
    MonitorClient *c = opaque;

    monitor_chardev_sent(c->srv->chr, bytes, len);
}

static void co_main_fn serve(MonitorServer *srv, int in_fd, int out_fd)
{
    MonitorClient *c = g_new0(MonitorClient, 1);

    c->srv = srv;
    channel_init(&c->chan, in_fd, out_fd);
    c->chan.sent = client_was_sent;
    c->chan.opaque = c;
    g_queue_push_tail(&srv->chr->clients, &c->chan);
    co_group_start(&srv->sessions, client_entry, c);
}

static void co_main_fn serve_socket(MonitorServer *srv, int fd)
{
    if (!srv->chr->delay) {
        socket_set_nodelay(fd);
    }
    serve(srv, fd, fd);
}

static void co_main_fn accept_clients(MonitorServer *srv)
{
    while (!shutting_down) {
        int fd;

        if (srv->chr->clients.length >= MONITOR_MAX_CLIENTS) {
            srv->full = coroutine_self();
            coroutine_yield();
            continue;
        }
        srv->acceptor = coroutine_self();
        fd = socket_accept(&srv->chr->listener);
        srv->acceptor = NULL;
        if (fd >= 0 && shutting_down) {
            close(fd);              /* it came in the same turn as the end */
        } else if (fd >= 0) {
            serve_socket(srv, fd);
        } else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
            /* Others will have to give something up first: do not spin. */
            aio_co_sleep_ns(100 * NS_PER_MS);
        } else if (fd != -ECONNABORTED && fd != -EINTR && fd != -EAGAIN) {
            break;
        }
    }
}

static void co_main_fn serve_socket_clients(MonitorServer *srv)
{
    if (srv->chr->fd >= 0) {
        int fd = srv->chr->fd;

        srv->chr->fd = -1;
        serve_socket(srv, fd);
    }
    if (srv->chr->listener.n > 0) {
        accept_clients(srv);
    }
}

/* Each who opens the terminal has a session until it is closed. */
static void co_main_fn serve_terminal(MonitorServer *srv)
{
    while (!shutting_down) {
        srv->acceptor = coroutine_self();
        int ret = monitor_pty_wait(srv->chr);
        srv->acceptor = NULL;
        if (ret < 0 || shutting_down) {
            break;
        }
        serve(srv, srv->chr->in_fd, srv->chr->out_fd);
        co_group_wait(&srv->sessions);
    }
}

static void co_main_fn server_entry(void *opaque)
{
    MonitorServer *srv = opaque;

    context_assert_main();
    context_assert_coroutine();
    switch (srv->chr->kind) {
    case CHARDEV_BACKEND_KIND_SOCKET:
        serve_socket_clients(srv);
        break;
    case CHARDEV_BACKEND_KIND_STDIO:
        serve(srv, STDIN_FILENO, STDOUT_FILENO);
        break;
    case CHARDEV_BACKEND_KIND_PTY:
        serve_terminal(srv);
        break;
    default:
        serve(srv, srv->chr->in_fd, srv->chr->out_fd);
        break;
    }
    co_group_wait(&srv->sessions);
    servers = g_list_remove(servers, srv);
    g_free(srv);
    if (!servers) {
        wake(&shutdown_waiter);
    }
}

bool monitor_serve(MonitorChardev *chr, MonitorMode mode, Error **errp)
{
    MonitorServer *srv;

    if (chr->in_use) {
        error_setg(errp, "Device '%s' is in use", chr->id);
        return false;
    }
    chr->in_use = true;
    if (mode == MONITOR_HUMAN) {
        monitor_chardev_edit_lines(chr);
    }
    srv = g_new0(MonitorServer, 1);
    srv->chr = chr;
    srv->mode = mode;
    srv->sessions = (CoGroup)CO_GROUP_INIT;
    servers = g_list_append(servers, srv);
    coroutine_start(server_entry, srv);
    return true;
}

bool monitor_is_there(void)
{
    return servers != NULL;
}

void monitor_flush(void)
{
    int64_t until = clock_ns() + FAREWELL_NS;

    for (GList *l = monitor_sessions; l && clock_ns() < until;) {
        if (monitor_output_is_empty(&((MonitorSession *)l->data)->out)) {
            l = l->next;
        } else {
            aio_co_sleep_ns(NS_PER_MS);
            l = monitor_sessions;
        }
    }
}

/* ---- the end ---- */

/* Files cannot be cut off: whoever still waits for a disk then is left behind. */
static void cut_off_all(void *opaque)
{
    context_assert_main();
    if (cut_off) {
        given_up = true;
        wake(&shutdown_waiter);
        return;
    }
    cut_off = true;
    aio_timer_arm(opaque, clock_ns() + FAREWELL_NS);
    for (GList *l = monitor_sessions; l; l = l->next) {
        monitor_output_break(&((MonitorSession *)l->data)->out);
    }
}

void monitor_shutdown_all(void)
{
    AioTimer timer;

    monitor_stop_commands();
    shutting_down = true;
    cut_off = given_up = false;
    for (GList *l = servers; l; l = l->next) {
        MonitorServer *srv = l->data;

        if (srv->acceptor) {
            aio_co_cancel(srv->acceptor);
        }
        wake(&srv->full);
    }
    for (GList *l = monitor_sessions; l; l = l->next) {
        monitor_session_end(l->data);
    }
    aio_timer_init(&timer, aio_context_current(), cut_off_all, &timer);
    aio_timer_arm(&timer, clock_ns() + FAREWELL_NS);
    while (servers && !given_up) {
        shutdown_waiter = coroutine_self();
        coroutine_yield();
    }
    aio_timer_disarm(&timer);
    monitor_print_finish(FAREWELL_NS);
    if (given_up) {
        log_line("warning: a file that a monitor writes to does not answer; not all is written");
    } else {
        monitor_chardev_free_all();
    }
    shutting_down = false;
}
