/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening, accepting, and the way of a connection through its phases.  All on the main thread. */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"
#include "qemu/trace.h"

static NbdServer *servers;

/* ---- connections ---- */

static void main_fn handshake_timeout(void *opaque)
{
    nbd_conn_shutdown(opaque);
}

static void co_main_fn conn_entry(void *opaque)
{
    NbdConn *conn = opaque;
    int64_t seconds = conn->server->limits.handshake_seconds;
    AioTimer timer;

    aio_timer_init(&timer, conn->server->main_ctx, handshake_timeout, conn);
    if (seconds) {
        aio_timer_arm(&timer, clock_ns() + seconds * NS_PER_SEC);
    }
    int ret = nbd_negotiate(conn);
    if (seconds) {
        aio_timer_disarm(&timer);
    }
    /* An export that went meanwhile has shut the connection down, and is not there to be looked at.
     */
    if (ret < 0 || conn->shut) {
        conn->exp = NULL;
        nbd_conn_finished(conn);
        return;
    }
    conn->exp->clients++;
    nbd_conn_set_state(conn, NBD_CONN_TRANSMITTING);
    coroutine_start_in(conn->exp->ctx, nbd_transmission_entry, conn);
}

static void main_fn conn_new(NbdServer *server, int fd)
{
    NbdConn *conn = g_new0(NbdConn, 1);

    socket_set_nodelay(fd);
    conn->server = server;
    channel_init(&conn->chan, fd, fd);
    conn->entry.data = conn;
    g_queue_push_tail_link(&server->conns, &conn->entry);
    trace_nbd_client_state(conn, NULL, "negotiation");
    if (!coroutine_try_start(conn_entry, conn)) {
        nbd_conn_finished(conn);        /* too much is under way to talk with one more */
    }
}

/* ---- accepting ---- */

static bool is_full(const NbdServer *server)
{
    unsigned max = server->limits.max_connections;

    return server->limits.closed || (max && server->conns.length >= max);
}

static void co_main_fn accept_entry(void *opaque)
{
    NbdServer *server = opaque;

    while (!server->stopping) {
        if (is_full(server)) {
            server->accept_parked = true;
            coroutine_yield();
            continue;
        }
        int fd = socket_accept(&server->listener);
        if (fd >= 0 && server->stopping) {
            close(fd);              /* it came in the same turn as the end */
        } else if (fd >= 0) {
            conn_new(server, fd);
        } else if (!server->stopping) {
            /* Out of descriptors or memory: it may pass, and a loop without a pause helps nobody.
             */
            aio_co_sleep_ns(100 * NS_PER_MS);
        }
    }
    server->accept_co = NULL;
    if (server->stop_waiter) {
        coroutine_wake(g_steal_pointer(&server->stop_waiter));
    }
}

static void co_main_fn accept_start(void *opaque)
{
    NbdServer *server = opaque;

    server->accept_co = coroutine_self();
    accept_entry(server);
}

/* ---- servers ---- */

NbdServer *main_fn nbd_server_find(const char *id)
{
    for (NbdServer *s = servers; s; s = s->next) {
        if (strcmp(s->id, id) == 0) {
            return s;
        }
    }
    return NULL;
}

NbdServer *main_fn nbd_server_next(NbdServer *prev)
{
    return prev ? prev->next : servers;
}

const char *main_fn nbd_server_id(const NbdServer *server)
{
    return server->id;
}

void main_fn nbd_server_open(NbdServer *server)
{
    server->limits.closed = false;
    if (server->accept_parked) {
        server->accept_parked = false;
        coroutine_wake(server->accept_co);
    }
}

void main_fn nbd_server_set_idle_cb(NbdServer *server, void (*cb)(void *opaque), void *opaque)
{
    server->idle_cb = cb;
    server->idle_opaque = opaque;
}

/* It serves nobody yet. */
static NbdServer *main_fn server_new(void)
{
    NbdServer *server = g_new0(NbdServer, 1);

    server->listener = SOCKET_LISTENER_NONE;
    server->main_ctx = aio_context_current();
    g_queue_init(&server->conns);
    server->exports_by_name = g_hash_table_new(g_str_hash, g_str_equal);
    return server;
}

NbdServer *co_main_fn nbd_server_start(const char *id, const SocketSpec *addr,
                                       const NbdServerLimits *limits, Error **errp)
{
    SocketListener listener;

    if (!socket_listen(addr, &listener, errp)) {
        return NULL;
    }
    if (nbd_server_find(id)) {
        /* Somebody else was faster meanwhile. */
        error_setg(errp, "NBD server already running");
        socket_unlink_co(addr);
        socket_listener_close(&listener);
        return NULL;
    }
    NbdServer *server = server_new();
    server->id = g_strdup(id);
    socket_spec_copy(&server->addr, addr);
    socket_spec_pin(&server->addr);
    server->listener = listener;
    server->limits = *limits;
    server->next = servers;
    servers = server;
    coroutine_start(accept_start, server);
    return server;
}

NbdServer *main_fn nbd_server_new_private(void)
{
    return server_new();
}

void main_fn nbd_server_serve(NbdServer *server, int fd)
{
    g_assert(!server->stopping);
    conn_new(server, fd);
}

static void main_fn list_remove(NbdServer *server)
{
    NbdServer **p = &servers;

    while (*p != server) {
        p = &(*p)->next;
    }
    *p = server->next;
}

void co_main_fn nbd_server_stop(NbdServer *server)
{
    g_assert(server->exports.length == 0 && !server->stopping);
    server->stopping = true;
    if (server->id) {
        list_remove(server);
        socket_unlink_co(&server->addr);
        socket_listener_shutdown(&server->listener);
    }
    if (server->accept_parked) {
        server->accept_parked = false;
        coroutine_wake(server->accept_co);
    } else if (server->accept_co) {
        aio_co_cancel(server->accept_co);
    }
    for (GList *e = server->conns.head; e; e = e->next) {
        nbd_conn_shutdown(e->data);
    }
    while (server->accept_co || server->conns.length > 0) {
        server->stop_waiter = coroutine_self();
        coroutine_yield();
    }
    socket_listener_close(&server->listener);
    socket_spec_clear(&server->addr);
    g_hash_table_unref(server->exports_by_name);
    g_free(server->id);
    g_free(server);
}
