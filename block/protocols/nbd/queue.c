/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests on their way: from any thread to the main thread, there to a connection, and back to who
 * waits for the answer.  What was lost with a connection waits for another one.
 */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/protocols/nbd/library.h"
#include "block/protocols/nbd/nbd-internal.h"
#include "qemu/limits.h"
#include "util/sanitizer.h"

/* ---- answers ---- */

/* @r, and if it was the last one of its batch where it lives, is gone afterwards. */
static void answer(NbdRequest *r, int ret)
{
    NbdBatch *batch = r->batch;

    r->ret = ret;
    if (--batch->left == 0) {
        coroutine_wake(batch->co);
    }
}

/* How long a request waits for a connection. */
static int64_t main_fn patience_ns(const NbdState *s)
{
    return bdrv_has_given_up_waiting() ? 0 : s->reconnect_delay * NS_PER_SEC;
}

static void main_fn answer_lost(NbdState *s, NbdRequest *r)
{
    int64_t now = clock_ns();

    if (r->give_up_ns == 0) {
        r->give_up_ns = now + patience_ns(s);
    }
    if (now < r->give_up_ns) {
        nbd_list_append(&s->waiting, r);
    } else {
        answer(r, -EIO);
    }
}

static void main_fn answer_finished(NbdConn *c)
{
    NbdRequest *r;

    while ((r = nbd_list_pop(&c->finished))) {
        if (r->ret == -ENOTCONN) {
            answer_lost(c->s, r);
        } else if (r->ret == -EAGAIN) {
            nbd_list_append(&c->s->waiting, r);
        } else {
            answer(r, r->ret);
        }
    }
}

/* ---- to connections ---- */

static bool has_room(const NbdConn *c)
{
    return c->ready && c->in_flight < NBD_CLIENT_MAX_IN_FLIGHT &&
           c->in_flight_bytes < NBD_CLIENT_MAX_IN_FLIGHT_BYTES;
}

static NbdConn *best_connection(NbdState *s)
{
    NbdConn *best = NULL;

    for (int i = 0; i < NBD_CLIENT_MAX_CONNECTIONS; i++) {
        NbdConn *c = &s->conns[i];
        if (has_room(c) && (!best || c->in_flight_bytes < best->in_flight_bytes ||
                            (c->in_flight_bytes == best->in_flight_bytes &&
                             c->in_flight < best->in_flight))) {
            best = c;
        }
    }
    return best;
}

static bool any_is_ready(const NbdState *s)
{
    for (int i = 0; i < NBD_CLIENT_MAX_CONNECTIONS; i++) {
        if (s->conns[i].ready) {
            return true;
        }
    }
    return false;
}

static void take_incoming(NbdState *s)
{
    NbdRequest *r;

    guard_lock(&s->guard);
    NbdRequestList l = s->incoming;
    s->incoming.head = NULL;
    guard_unlock(&s->guard);
    while ((r = nbd_list_pop(&l))) {
        nbd_list_append(&s->waiting, r);
    }
}

static void fail_waiting(NbdState *s)
{
    NbdRequest *r;

    while ((r = nbd_list_pop(&s->waiting))) {
        answer(r, -EIO);
    }
}

/* A new request may have what libnbd waits for changed, from reading to writing. */
static void update_polls(NbdState *s)
{
    for (int i = 0; i < NBD_CLIENT_MAX_CONNECTIONS; i++) {
        NbdConn *c = &s->conns[i];
        if (c->ready && c->polled && nbd_library.aio_get_direction(c->h) != c->polled) {
            aio_co_cancel(c->co);
        }
    }
}

/* Whoever serves @c waits anew: for as long as it has to by now. */
static void wait_anew(NbdConn *c)
{
    if (c->ready && c->polled) {
        aio_co_cancel(c->co);
    }
}

void main_fn nbd_dispatch(NbdState *s)
{
    NbdConn *c;

    take_incoming(s);
    for (int i = 0; i < NBD_CLIENT_MAX_CONNECTIONS; i++) {
        answer_finished(&s->conns[i]);
    }
    while (s->waiting.head && (c = best_connection(s))) {
        nbd_issue(c, nbd_list_pop(&s->waiting));
        answer_finished(c);
        if (bdrv_has_given_up_waiting()) {
            wait_anew(c);
        }
        if (nbd_library.aio_is_dead(c->h) || nbd_library.aio_is_closed(c->h)) {
            c->ready = false;       /* whoever serves it is told below, and sees why */
            aio_co_cancel(c->co);
        }
    }
    if (s->given_up && !any_is_ready(s)) {
        fail_waiting(s);
    }
    update_polls(s);
}

static void dispatch_bh(void *opaque)
{
    context_assert_main();
    nbd_dispatch(opaque);
}

/* ---- connections come and go ---- */

void main_fn nbd_give_up_waiting(BlockDriverState *bs)
{
    NbdState *s = bs->opaque;

    s->given_up |= !any_is_ready(s);
    for (int i = 0; i < NBD_CLIENT_MAX_CONNECTIONS && bdrv_has_given_up_waiting(); i++) {
        wait_anew(&s->conns[i]);
    }
    nbd_dispatch(s);
}

static void give_up(void *opaque)
{
    NbdState *s = opaque;

    context_assert_main();
    s->given_up = true;
    nbd_dispatch(s);
}

void main_fn nbd_conn_is_ready(NbdConn *c)
{
    NbdState *s = c->s;

    c->ready = true;
    s->given_up = false;
    aio_timer_disarm(&s->timer);
    nbd_dispatch(s);
}

void main_fn nbd_conn_is_lost(NbdConn *c)
{
    NbdState *s = c->s;

    c->ready = false;
    if (!any_is_ready(s)) {
        s->given_up = patience_ns(s) == 0;
        aio_timer_arm(&s->timer, clock_ns() + patience_ns(s));
    }
    nbd_dispatch(s);
}

/* ---- from any thread ---- */

void main_fn nbd_queue_init(NbdState *s)
{
    g_mutex_init(&s->guard);
    aio_bh_init(&s->bh, s->ctx, dispatch_bh, s);
    aio_timer_init(&s->timer, s->ctx, give_up, s);
}

void main_fn nbd_queue_destroy(NbdState *s)
{
    g_assert(!s->incoming.head && !s->waiting.head);
    aio_timer_disarm(&s->timer);
    aio_bh_cancel(&s->bh);
    g_mutex_clear(&s->guard);
}

int co_fn nbd_run(NbdState *s, NbdRequest *r, int n)
{
    NbdBatch batch = { .co = coroutine_self(), .left = n };

    guard_lock(&s->guard);
    for (int i = 0; i < n; i++) {
        r[i].batch = &batch;
        nbd_list_append(&s->incoming, &r[i]);
    }
    guard_unlock(&s->guard);
    aio_bh_schedule(&s->bh);
    coroutine_yield();
    for (int i = 0; i < n; i++) {
        if (r[i].ret < 0) {
            return r[i].ret;
        }
    }
    return 0;
}
