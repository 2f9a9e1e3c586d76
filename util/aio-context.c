/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A context: made, run turn by turn, freed.  Its work comes to it by aio-ready.c. */
#include "qemu/osdep.h"

#include <sched.h>
#include <sys/eventfd.h>

#include "qemu/trace.h"
#include "util/aio-internal.h"

/* Coroutines run in one go, and such rounds in one turn, before the kernel is asked for news. */
#define ROUND_MAX 256
#define TURN_ROUNDS 8
/* When a turn has lasted so long nothing further is begun in it.  What divides long work by
 * coroutine_reschedule() would otherwise do eight parts in one go. */
#define TURN_NS NS_PER_MS
#define LOOK_AT_CLOCK 16        /* coroutines between two looks where none did that */

/* Of the processor, in one turn: what is told of for whoever looks for what holds others up. */
#define LONG_TURN_NS NS_PER_MS

/* ---- making and freeing ---- */

static bool backend_from_env(AioBackend *backend, Error **errp)
{
    const char *name = getenv("QEMU_AIO");

    if (!name || !name[0]) {
        return true;
    }
    if (strcmp(name, "io_uring") == 0) {
        *backend = AIO_BACKEND_IO_URING;
    } else if (strcmp(name, "threads") == 0) {
        *backend = AIO_BACKEND_THREADS;
    } else {
        error_setg(errp, "QEMU_AIO is '%s', but must be 'io_uring' or 'threads'", name);
        return false;
    }
    return true;
}

static bool try_backend(AioContext *ctx, const AioBackendOps *ops, Error **errp)
{
    ctx->ops = ops;
    return ops->init(ctx, errp);
}

AioContext *any_fn aio_context_new(AioBackend backend, Error **errp)
{
    AioContext *ctx;
    bool ok;

    assert(!aio_context_current());
    if (backend == AIO_BACKEND_AUTO && !backend_from_env(&backend, errp)) {
        return NULL;
    }
    ctx = g_aligned_alloc0(1, ROUND_UP(sizeof(*ctx), 64), 64);
    ctx->event_fd = eventfd(0, EFD_CLOEXEC);
    if (ctx->event_fd < 0) {
        error_setg_errno(errp, errno, "Cannot create an eventfd");
        g_aligned_free(ctx);
        return NULL;
    }
    if (backend == AIO_BACKEND_AUTO) {
        ok = try_backend(ctx, &aio_uring_ops, NULL) || try_backend(ctx, &aio_epoll_ops, errp);
    } else {
        ok = try_backend(ctx, backend == AIO_BACKEND_IO_URING ? &aio_uring_ops : &aio_epoll_ops,
                         errp);
    }
    if (!ok) {
        close(ctx->event_fd);
        g_aligned_free(ctx);
        return NULL;
    }
    aio_context_set_current(ctx);
    return ctx;
}

void any_fn aio_context_free(AioContext *ctx)
{
    assert(ctx == aio_context_current() && !ctx->running && !coroutine_self());
    assert(!ctx->ready_head && !ctx->bh_head && !ctx->ntimers && !ctx->inflight);
    assert(!__atomic_load_n(&ctx->remote, __ATOMIC_SEQ_CST));
    assert(!__atomic_load_n(&ctx->bh_stack, __ATOMIC_SEQ_CST));
    while (__atomic_load_n(&ctx->visitors, __ATOMIC_SEQ_CST)) {
        sched_yield();          /* a few instructions from the end */
    }
    ctx->ops->destroy(ctx);
    coroutine_pool_clear(ctx);
    close(ctx->event_fd);
    g_free(ctx->timers);
    aio_context_set_current(NULL);
    g_aligned_free(ctx);
}

/* ---- ready coroutines ---- */

/* False: the time is over. */
static bool run_ready(AioContext *ctx, int64_t end_ns)
{
    for (int i = 0; i < ROUND_MAX && ctx->ready_head; i++) {
        Coroutine *co = ctx->ready_head;

        if ((ctx->gave_way || i % LOOK_AT_CLOCK == LOOK_AT_CLOCK - 1) && clock_ns() >= end_ns) {
            return false;
        }
        ctx->gave_way = false;
        ctx->ready_head = co->next;
        co->next = NULL;
        __atomic_store_n(&co->scheduled, 0, __ATOMIC_RELAXED);
        coroutine_enter(co);
    }
    return true;
}

/* ---- the loop ---- */

static bool has_work(AioContext *ctx)
{
    return ctx->ready_head || ctx->bh_head || ctx->coroutine_done ||
           __atomic_load_n(&ctx->bh_stack, __ATOMIC_SEQ_CST) ||
           __atomic_load_n(&ctx->remote, __ATOMIC_SEQ_CST) ||
           __atomic_load_n(&ctx->quit, __ATOMIC_SEQ_CST);
}

static void run_work(AioContext *ctx)
{
    int64_t end_ns = clock_ns() + TURN_NS;

    for (int i = 0; i < TURN_ROUNDS; i++) {
        aio_take_remote(ctx);
        bool in_time = run_ready(ctx, end_ns);
        aio_run_bhs(ctx);
        if (!ctx->ready_head && !ctx->bh_head &&
            !__atomic_load_n(&ctx->bh_stack, __ATOMIC_RELAXED) &&
            !__atomic_load_n(&ctx->remote, __ATOMIC_RELAXED)) {
            break;
        }
        if (!in_time || clock_ns() >= end_ns) {
            break;
        }
    }
}

static int64_t thread_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static void trace_turn(int64_t begin_ns)
{
    int64_t ns = thread_cpu_ns() - begin_ns;

    if (ns >= LONG_TURN_NS) {
        trace_loop_long_turn(ns);
    }
}

static void turn(AioContext *ctx)
{
    int64_t timeout_ns, cpu_ns = trace_enabled(LOOP_LONG_TURN) ? thread_cpu_ns() : -1;

    aio_timers_run(ctx);
    run_work(ctx);
    timeout_ns = has_work(ctx) ? 0 : aio_timers_timeout(ctx);
    if (timeout_ns != 0) {
        __atomic_store_n(&ctx->sleeping, 1, __ATOMIC_SEQ_CST);
        if (has_work(ctx)) {
            timeout_ns = 0;
        }
    }
    ctx->ops->poll(ctx, timeout_ns);
    __atomic_store_n(&ctx->sleeping, 0, __ATOMIC_RELAXED);
    ctx->immediate = 0;
    if (cpu_ns >= 0) {
        trace_turn(cpu_ns);
    }
}

static void loop_begin(AioContext *ctx)
{
    assert(ctx == aio_context_current() && !ctx->running && !coroutine_self());
    ctx->running = true;
}

void any_fn aio_context_run(AioContext *ctx)
{
    loop_begin(ctx);
    while (!__atomic_load_n(&ctx->quit, __ATOMIC_SEQ_CST)) {
        turn(ctx);
    }
    /* What was ready when it was told to quit still runs; bounded, and without waiting. */
    run_work(ctx);
    __atomic_store_n(&ctx->quit, 0, __ATOMIC_SEQ_CST);
    ctx->running = false;
}

typedef struct RunCoroutine {
    AioContext *ctx;
    CoroutineEntry *entry;
    void *opaque;
} RunCoroutine;

static void run_coroutine_entry(void *opaque)
{
    RunCoroutine *r = opaque;

    r->entry(r->opaque);
    r->ctx->coroutine_done = true;
}

void any_fn aio_context_run_coroutine(AioContext *ctx, CoroutineEntry *entry, void *opaque)
{
    RunCoroutine r = { ctx, entry, opaque };

    loop_begin(ctx);
    ctx->coroutine_done = false;
    coroutine_start(run_coroutine_entry, &r);
    while (!ctx->coroutine_done) {
        turn(ctx);
    }
    ctx->coroutine_done = false;
    ctx->running = false;
}
