/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The states of a connection, what is true in each, and the end of one.  This file uses none of the
 * server's other files, for all of them may end a connection.
 */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"
#include "qemu/trace.h"

static bool may_follow(NbdConnState from, NbdConnState to)
{
    return to == NBD_CONN_FINISHED ? from != NBD_CONN_FINISHED
                                   : from == NBD_CONN_NEGOTIATING && to == NBD_CONN_TRANSMITTING;
}

void main_fn nbd_conn_set_state(NbdConn *conn, NbdConnState state)
{
    g_assert(may_follow(conn->state, state));
    conn->state = state;
    trace_nbd_client_state(conn, state == NBD_CONN_TRANSMITTING ? conn->exp->name : NULL,
                           state == NBD_CONN_TRANSMITTING ? "transmission" : "end");
    g_assert(state != NBD_CONN_TRANSMITTING || (conn->exp->clients > 0 && !conn->shut));
    if (state == NBD_CONN_FINISHED) {
        g_assert(!conn->reader_waiter && conn->in_flight == 0);
        nbd_transmission_assert(conn);
    }
}

void any_fn nbd_transmission_assert(const NbdConn *conn)
{
    g_assert(conn->rpos <= conn->rlen && conn->rlen <= NBD_RBUF_BYTES);
    g_assert(conn->in_flight >= 0 && conn->in_flight <= NBD_MAX_IN_FLIGHT);
    g_assert(conn->in_flight > 0 || (conn->in_flight_bytes == 0 && !conn->out_head));
    g_assert(conn->in_flight <= 1 || conn->in_flight_bytes <= (size_t)NBD_MAX_IN_FLIGHT_BYTES);
    g_assert(!conn->out_head == !conn->out_tail);
    g_assert(!conn->out_tail || !conn->out_tail->next);
}

void main_fn nbd_conn_shutdown(NbdConn *conn)
{
    if (!conn->shut) {
        conn->shut = true;
        channel_hangup(&conn->chan);
    }
}

void main_fn nbd_conn_end(NbdConn *conn)
{
    if (conn->state == NBD_CONN_NEGOTIATING) {
        nbd_conn_shutdown(conn);
        return;
    }
    __atomic_store_n(&conn->ending, true, __ATOMIC_RELAXED);
    channel_end_input(&conn->chan);
}

static void wake(Coroutine **waiter)
{
    if (*waiter) {
        coroutine_wake(g_steal_pointer(waiter));
    }
}

void main_fn nbd_conn_finished(void *opaque)
{
    NbdConn *conn = opaque;
    NbdServer *server = conn->server;
    NbdExport *exp = conn->exp;

    nbd_conn_set_state(conn, NBD_CONN_FINISHED);
    channel_close(&conn->chan);
    g_queue_unlink(&server->conns, &conn->entry);
    g_free(conn->rbuf);
    g_free(conn);
    if (exp && --exp->clients == 0) {
        wake(&exp->waiter);
    }
    if (server->accept_parked) {
        server->accept_parked = false;
        coroutine_wake(server->accept_co);
    }
    if (server->conns.length == 0 && exp && server->idle_cb) {
        server->idle_cb(server->idle_opaque);
    }
    if (server->conns.length == 0) {
        wake(&server->stop_waiter);
    }
}
