/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The context of a thread, and what its loop is to do: ready coroutines and bottom halves, left by
 * itself or by other threads; waking it.
 *
 * Other threads leave work in two lock-free stacks (->remote, ->bh_stack), which the loop empties
 * as a whole.  A thread that adds to one then looks at ->sleeping; the loop sets ->sleeping and
 * then looks at the stacks.  All of these are sequentially consistent, so at least one of the two
 * sees the other: a thread that adds while the loop is busy needs no system call, and no work is
 * left behind while the loop sleeps.
 *
 * What a thread adds may be run at once, and may lead to the context being freed, before the
 * thread has looked at ->sleeping.  So it counts itself in ->visitors first, and freeing waits.
 */
#include "qemu/osdep.h"

#include <sys/eventfd.h>

#include "util/aio-internal.h"

static __thread AioContext *current_ctx;

AioContext *any_fn aio_context_current(void)
{
    return current_ctx;
}

void any_fn aio_context_set_current(AioContext *ctx)
{
    current_ctx = ctx;
}

AioBackend any_fn aio_context_backend(const AioContext *ctx)
{
    return ctx->ops->backend;
}

/* ---- waking the loop ---- */

/* async-signal-safe */
static void write_event(const AioContext *ctx)
{
    int saved_errno = errno;
    uint64_t one = 1;
    ssize_t n;

    do {
        n = write(ctx->event_fd, &one, sizeof(one));
    } while (n < 0 && errno == EINTR);
    errno = saved_errno;
}

static void visit_begin(AioContext *ctx)
{
    __atomic_add_fetch(&ctx->visitors, 1, __ATOMIC_SEQ_CST);
}

/* @ctx may be gone after this. */
static void visit_end(AioContext *ctx)
{
    __atomic_sub_fetch(&ctx->visitors, 1, __ATOMIC_SEQ_CST);
}

/* After adding to a stack.  Of many that find the loop asleep, one writes. */
static void wake_if_sleeping(AioContext *ctx)
{
    if (__atomic_load_n(&ctx->sleeping, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&ctx->sleeping, 0, __ATOMIC_SEQ_CST)) {
        write_event(ctx);
    }
}

void any_fn aio_context_quit(AioContext *ctx)
{
    visit_begin(ctx);
    __atomic_store_n(&ctx->quit, 1, __ATOMIC_SEQ_CST);
    write_event(ctx);
    visit_end(ctx);
}

/* ---- ready coroutines ---- */

static void ready_append(AioContext *ctx, Coroutine *co)
{
    co->next = NULL;
    if (ctx->ready_head) {
        ctx->ready_tail->next = co;
    } else {
        ctx->ready_head = co;
    }
    ctx->ready_tail = co;
}

void any_fn aio_context_make_ready(AioContext *ctx, Coroutine *co)
{
    Coroutine *old;

    if (ctx == current_ctx) {
        ready_append(ctx, co);
        return;
    }
    visit_begin(ctx);
    old = __atomic_load_n(&ctx->remote, __ATOMIC_RELAXED);
    do {
        co->next = old;
    } while (!__atomic_compare_exchange_n(&ctx->remote, &old, co, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    wake_if_sleeping(ctx);
    visit_end(ctx);
}

void any_fn aio_take_remote(AioContext *ctx)
{
    Coroutine *co, *list = NULL;

    if (!__atomic_load_n(&ctx->remote, __ATOMIC_RELAXED)) {
        return;
    }
    co = __atomic_exchange_n(&ctx->remote, NULL, __ATOMIC_SEQ_CST);
    while (co) {
        Coroutine *next = co->next;
        co->next = list;
        list = co;
        co = next;
    }
    while (list) {
        co = list;
        list = co->next;
        ready_append(ctx, co);
    }
}

/* ---- bottom halves ---- */

#define BH_QUEUED    1          /* in a list, or about to be put there */
#define BH_SCHEDULED 2          /* is to run */

void any_fn aio_bh_init(AioBh *bh, AioContext *ctx, void (*cb)(void *opaque), void *opaque)
{
    *bh = (AioBh){ .cb = cb, .opaque = opaque, .ctx = ctx };
}

void any_fn aio_bh_schedule(AioBh *bh)
{
    AioContext *ctx = bh->ctx;
    bool other_thread = ctx != current_ctx;
    AioBh *old;

    if (__atomic_fetch_or(&bh->scheduled, BH_QUEUED | BH_SCHEDULED, __ATOMIC_SEQ_CST) &
        BH_QUEUED) {
        return;
    }
    if (other_thread) {
        visit_begin(ctx);
    }
    old = __atomic_load_n(&ctx->bh_stack, __ATOMIC_RELAXED);
    do {
        bh->next = old;
    } while (!__atomic_compare_exchange_n(&ctx->bh_stack, &old, bh, true, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    if (other_thread) {
        wake_if_sleeping(ctx);
        visit_end(ctx);
    }
}

/* Move what was scheduled, in that order, to the context's own list. */
static void take_bhs(AioContext *ctx)
{
    AioBh *bh, *list = NULL, *last;

    if (!__atomic_load_n(&ctx->bh_stack, __ATOMIC_RELAXED)) {
        return;
    }
    bh = last = __atomic_exchange_n(&ctx->bh_stack, NULL, __ATOMIC_SEQ_CST);
    while (bh) {
        AioBh *next = bh->next;
        bh->next = list;
        list = bh;
        bh = next;
    }
    if (ctx->bh_head) {
        ctx->bh_tail->next = list;
    } else {
        ctx->bh_head = list;
    }
    ctx->bh_tail = last;
}

void any_fn aio_bh_cancel(AioBh *bh)
{
    AioContext *ctx = bh->ctx;
    AioBh *prev = NULL;

    assert(ctx == current_ctx);
    if (!__atomic_load_n(&bh->scheduled, __ATOMIC_SEQ_CST)) {
        return;
    }
    /* Out of the list, not just unmarked: the caller may free @bh now. */
    take_bhs(ctx);
    for (AioBh *b = ctx->bh_head; b; prev = b, b = b->next) {
        if (b == bh) {
            *(prev ? &prev->next : &ctx->bh_head) = bh->next;
            if (ctx->bh_tail == bh) {
                ctx->bh_tail = prev;
            }
            __atomic_store_n(&bh->scheduled, 0, __ATOMIC_SEQ_CST);
            return;
        }
    }
    /* Another thread is just about to put it there; aio_run_bhs() will find it unmarked. */
    __atomic_fetch_and(&bh->scheduled, ~BH_SCHEDULED, __ATOMIC_SEQ_CST);
}

void any_fn aio_run_bhs(AioContext *ctx)
{
    AioBh *last;
    bool more = true;

    take_bhs(ctx);
    last = ctx->bh_head ? ctx->bh_tail : NULL;
    while (more && ctx->bh_head) {
        AioBh *bh = ctx->bh_head;

        /* If a callback cancels @last, some that were scheduled later run a round early. */
        more = bh != last;
        ctx->bh_head = bh->next;
        if (__atomic_exchange_n(&bh->scheduled, 0, __ATOMIC_SEQ_CST) & BH_SCHEDULED) {
            bh->cb(bh->opaque);
        }
    }
}

typedef struct OneshotBh {
    AioBh bh;
    void (*cb)(void *opaque);
    void *opaque;
} OneshotBh;

static void oneshot_cb(void *opaque)
{
    OneshotBh o = *(OneshotBh *)opaque;

    g_free(opaque);
    o.cb(o.opaque);
}

void any_fn aio_bh_schedule_oneshot(AioContext *ctx, void (*cb)(void *opaque), void *opaque)
{
    OneshotBh *o = g_new(OneshotBh, 1);

    o->cb = cb;
    o->opaque = opaque;
    aio_bh_init(&o->bh, ctx, oneshot_cb, o);
    aio_bh_schedule(&o->bh);
}
