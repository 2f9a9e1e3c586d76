/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a connection, and what is true in each part of it. */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"

static bool may_follow(NbdConnState from, NbdConnState to)
{
    return to == NBD_CONN_FINISHED ? from != NBD_CONN_FINISHED
                                   : from == NBD_CONN_NEGOTIATING && to == NBD_CONN_TRANSMITTING;
}

void main_fn nbd_conn_set_state(NbdConn *conn, NbdConnState state)
{
    g_assert(may_follow(conn->state, state));
    conn->state = state;
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
