/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers: a binary heap by deadline; the loop waits no longer than until the first one. */
#include "qemu/osdep.h"

#include "util/aio-internal.h"

static void heap_put(AioContext *ctx, int i, AioTimer *t)
{
    ctx->timers[i] = t;
    t->heap_index = i;
}

static void heap_up(AioContext *ctx, int i, AioTimer *t)
{
    while (i > 0 && t->deadline_ns < ctx->timers[(i - 1) / 2]->deadline_ns) {
        heap_put(ctx, i, ctx->timers[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(ctx, i, t);
}

static void heap_down(AioContext *ctx, int i, AioTimer *t)
{
    for (;;) {
        int child = 2 * i + 1;

        if (child + 1 < ctx->ntimers &&
            ctx->timers[child + 1]->deadline_ns < ctx->timers[child]->deadline_ns) {
            child++;
        }
        if (child >= ctx->ntimers || t->deadline_ns <= ctx->timers[child]->deadline_ns) {
            break;
        }
        heap_put(ctx, i, ctx->timers[child]);
        i = child;
    }
    heap_put(ctx, i, t);
}

void any_fn aio_timer_init(AioTimer *t, AioContext *ctx, void (*cb)(void *), void *opaque)
{
    *t = (AioTimer){ .ctx = ctx, .cb = cb, .opaque = opaque, .heap_index = -1 };
}

void any_fn aio_timer_arm(AioTimer *t, int64_t deadline_ns)
{
    AioContext *ctx = t->ctx;

    assert(ctx == aio_context_current());
    aio_timer_disarm(t);
    t->deadline_ns = deadline_ns;
    if (ctx->ntimers == ctx->timers_alloc) {
        ctx->timers_alloc = MAX(16, 2 * ctx->timers_alloc);
        ctx->timers = g_renew(AioTimer *, ctx->timers, ctx->timers_alloc);
    }
    heap_up(ctx, ctx->ntimers++, t);
}

void any_fn aio_timer_disarm(AioTimer *t)
{
    AioContext *ctx = t->ctx;
    int i = t->heap_index;
    AioTimer *last;

    if (i < 0) {
        return;
    }
    assert(ctx == aio_context_current());
    t->heap_index = -1;
    last = ctx->timers[--ctx->ntimers];
    if (last == t) {
        return;
    }
    if (i > 0 && last->deadline_ns < ctx->timers[(i - 1) / 2]->deadline_ns) {
        heap_up(ctx, i, last);
    } else {
        heap_down(ctx, i, last);
    }
}

int64_t any_fn aio_timers_timeout(const AioContext *ctx)
{
    int64_t left;

    if (!ctx->ntimers) {
        return -1;
    }
    left = ctx->timers[0]->deadline_ns - clock_ns();
    return MAX(0, left);
}

void any_fn aio_timers_run(AioContext *ctx)
{
    int64_t now;

    if (!ctx->ntimers) {
        return;
    }
    /* One reading of the clock: a callback that arms for "now" must not keep us here. */
    now = clock_ns();
    while (ctx->ntimers && ctx->timers[0]->deadline_ns <= now) {
        AioTimer *t = ctx->timers[0];
        aio_timer_disarm(t);
        t->cb(t->opaque);
    }
}
