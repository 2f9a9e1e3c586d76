/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of connections, each of which has a coroutine of the main thread.  The first one of a
 * node comes again after it was lost; further ones come when there is much to do and the server
 * lets a client have several.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "block/block.h"
#include "block/protocols/nbd/library.h"
#include "block/protocols/nbd/nbd-internal.h"
#include "qemu/limits.h"
#include "qemu/log.h"
#include "qemu/trace.h"

/* From one attempt to the next. */
#define FIRST_PAUSE_NS (20 * NS_PER_MS)
#define LONGEST_PAUSE_NS (2 * NS_PER_SEC)
/* How long the server is given to take what a client says on leaving. */
#define GOODBYE_NS (1 * NS_PER_SEC)
/* How long a server that has requests may say nothing while the program ends. */
#define LAST_PATIENCE_NS (20 * NS_PER_SEC)
/* Requests of each connection from which on another one may help. */
#define BUSY 16

static void main_fn start(NbdState *s, int index);

static int64_t next_pause(int64_t pause_ns)
{
    return MIN(2 * pause_ns, LONGEST_PAUSE_NS);
}

/* ---- serving ---- */

static void main_fn start_another_if_busy(NbdState *s)
{
    int free = -1;

    if (!s->info.can_multi_conn || s->enough_conns) {
        return;
    }
    for (int i = 0; i < NBD_CLIENT_MAX_CONNECTIONS; i++) {
        const NbdConn *c = &s->conns[i];
        if (!c->co) {
            free = i;
        } else if (!c->ready || c->in_flight < BUSY) {
            return;
        }
    }
    if (free > 0) {
        start(s, free);
    }
}

/* Lets libnbd go on.  While the program ends a server that says nothing is hung up on. */
static bool co_main_fn serve_step(NbdConn *c)
{
    int64_t end_ns = clock_ns() + LAST_PATIENCE_NS;

    if (!bdrv_has_given_up_waiting() || c->in_flight == 0) {
        return nbd_step(c, -1);
    }
    bool goes_on = nbd_step(c, LAST_PATIENCE_NS);
    if (goes_on && clock_ns() >= end_ns) {
        log_line("node '%s': NBD server '%s' says nothing, and the program is to end",
                 c->s->bs->node_name, c->s->address);
        shutdown(nbd_library.aio_get_fd(c->h), SHUT_RDWR);
    }
    return goes_on;
}

/* Until it is lost, or is to end; libnbd has answered all its requests then, or it has none. */
static void co_main_fn serve(NbdConn *c)
{
    bool hung_up = false;

    nbd_conn_is_ready(c);
    trace_nbd_connection(c->s->bs->node_name, c->index, "ready", NULL);
    while (serve_step(c)) {
        nbd_dispatch(c->s);
        start_another_if_busy(c->s);
        if (c->stop && c->in_flight == 0) {
            return;
        }
        if (c->stop && !hung_up) {
            shutdown(nbd_library.aio_get_fd(c->h), SHUT_RDWR);
            hung_up = true;
        }
    }
}

static void co_main_fn say_goodbye(NbdConn *c)
{
    int64_t deadline_ns = clock_ns() + GOODBYE_NS;

    c->ready = false;
    if (nbd_library.aio_is_ready(c->h) <= 0 || nbd_library.aio_disconnect(c->h, 0) < 0) {
        return;
    }
    while (nbd_library.aio_get_direction(c->h) & LIBNBD_AIO_DIRECTION_WRITE &&
           clock_ns() < deadline_ns &&
           nbd_step(c, deadline_ns - clock_ns())) {
    }
}

static void main_fn lose(NbdConn *c)
{
    const char *cause = nbd_library.aio_is_closed(c->h) ? "the server ended it"
                                                        : nbd_library.get_error();

    if (!c->stop && c->index == 0) {
        log_line("node '%s': the connection to NBD server '%s' is lost: %s", c->s->bs->node_name,
                 c->s->address, cause ?: "unknown cause");
    }
    trace_nbd_connection(c->s->bs->node_name, c->index, "lost", cause);
    c->ready = false;
    nbd_library.close(c->h);
    c->h = NULL;
    nbd_conn_is_lost(c);
}

/* ---- connecting ---- */

static bool co_main_fn connect_again(NbdConn *c)
{
    g_autoptr(Error) err = NULL;
    NbdExportInfo info;

    trace_nbd_connection(c->s->bs->node_name, c->index, "connecting", NULL);
    if (!nbd_handshake(c, &info, &err)) {
        trace_nbd_connection(c->s->bs->node_name, c->index, "failed", error_get_pretty(err));
        return false;
    }
    if (!nbd_check_same_export(c->s, &info, &err)) {
        log_line("node '%s': %s", c->s->bs->node_name, error_get_pretty(err));
        nbd_library.close(c->h);
        c->h = NULL;
        return false;
    }
    return true;
}

/* The first connection comes again and again; others are had at once or not at all. */
static void co_main_fn connect_until_it_works(NbdConn *c)
{
    int64_t pause_ns = FIRST_PAUSE_NS;

    while (!c->stop && !c->h && !connect_again(c) && !c->stop) {
        if (c->index > 0) {
            c->s->enough_conns = true;
            return;
        }
        aio_co_sleep_ns(pause_ns);
        pause_ns = next_pause(pause_ns);
    }
}

static void co_main_fn conn_entry(void *opaque)
{
    NbdConn *c = opaque;
    NbdState *s = c->s;
    bool was_lost = false;

    c->co = coroutine_self();
    while (!c->stop) {
        connect_until_it_works(c);
        if (!c->h || c->stop) {
            break;
        }
        if (was_lost) {
            log_line("node '%s': NBD server '%s' is there again", s->bs->node_name, s->address);
        }
        serve(c);
        if (c->stop && c->in_flight == 0 && !nbd_library.aio_is_dead(c->h)) {
            break;
        }
        lose(c);
        was_lost = true;
        if (c->index > 0) {
            break;
        }
    }
    if (c->h) {
        say_goodbye(c);
        nbd_library.close(c->h);
        c->h = NULL;
    }
    trace_nbd_connection(s->bs->node_name, c->index, "ended", NULL);
    c->co = NULL;
    if (s->closer) {
        coroutine_wake(g_steal_pointer(&s->closer));
    }
}

static void main_fn start(NbdState *s, int index)
{
    NbdConn *c = &s->conns[index];

    g_assert(!c->co && !c->h);
    *c = (NbdConn){ .s = s, .index = index };
    coroutine_start(conn_entry, c);
}

/* ---- of a node ---- */

bool co_main_fn nbd_connect_first(NbdState *s, Error **errp)
{
    int64_t deadline_ns = clock_ns() + s->open_timeout * NS_PER_SEC;
    int64_t pause_ns = FIRST_PAUSE_NS;
    NbdConn *c = &s->conns[0];

    *c = (NbdConn){ .s = s, .co = coroutine_self() };
    for (;;) {
        Error *err = NULL;
        if (nbd_handshake(c, &s->info, &err)) {
            return true;
        }
        if (clock_ns() >= deadline_ns) {
            error_propagate(errp, err);
            c->co = NULL;
            return false;
        }
        error_free(err);
        aio_co_sleep_ns(MIN(pause_ns, deadline_ns - clock_ns()));
        pause_ns = next_pause(pause_ns);
    }
}

void main_fn nbd_serve_first(NbdState *s)
{
    coroutine_start(conn_entry, &s->conns[0]);
}

static bool main_fn any_is_served(const NbdState *s)
{
    for (int i = 0; i < NBD_CLIENT_MAX_CONNECTIONS; i++) {
        if (s->conns[i].co) {
            return true;
        }
    }
    return false;
}

void co_main_fn nbd_disconnect_all(NbdState *s)
{
    s->enough_conns = true;
    for (int i = 0; i < NBD_CLIENT_MAX_CONNECTIONS; i++) {
        NbdConn *c = &s->conns[i];
        c->stop = true;
        if (c->co && c->said) {                 /* it is connecting */
            aio_timer_arm(&c->timer, clock_ns());
        } else if (c->co) {
            aio_co_cancel(c->co);
        }
    }
    while (any_is_served(s)) {
        s->closer = coroutine_self();
        coroutine_yield();
    }
}
