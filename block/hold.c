/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The held instant: backends at rest together, and work on nodes that has a deadline.
 *
 * (D1) From bdrv_hold_begin() returning true to bdrv_hold_end() no request of these backends is
 *      inside its bracket, on any thread.
 * (D2) All backends are held before the first is waited for: the time held is that of the slowest
 *      request in flight, not the sum over backends.
 * (D3) After a failure everything runs as before.
 * (D4) Work that outlives its command keeps its node alive, and the process waits for it at the
 *      end.
 */
#include "qemu/osdep.h"

#include "block/backend/backend-internal.h"
#include "block/hold.h"
#include "qemu/log.h"

/* ---- the hold ---- */

void main_fn bdrv_hold_init(BdrvHold *h)
{
    *h = (BdrvHold){ .chosen = g_hash_table_new(NULL, NULL), .backends = g_ptr_array_new() };
}

void main_fn bdrv_hold_clear(BdrvHold *h)
{
    g_assert(h->state == BDRV_HOLD_IDLE);
    g_hash_table_unref(h->chosen);
    g_ptr_array_unref(h->backends);
}

void main_fn bdrv_hold_assert(const BdrvHold *h)
{
    g_assert((h->state == BDRV_HOLD_IDLE) == (h->held_since_ns == 0));
    g_assert(h->state != BDRV_HOLD_IDLE || h->backends->len == 0);
    for (guint i = 0; i < h->backends->len; i++) {
        g_assert(blk_is_held(h->backends->pdata[i]));
    }
}

void main_fn bdrv_hold_add(BdrvHold *h, BlockDriverState *bs)
{
    g_assert(h->state == BDRV_HOLD_IDLE);
    bdrv_collect_backends(bs, h->chosen);
}

typedef struct DrainWait {
    BlockBackend *blk;
    CoWaiter waiter;
    bool late;
} DrainWait;

static void main_fn drain_timeout_cb(void *opaque)
{
    DrainWait *w = opaque;

    /* Either the last request or this wakes the waiter, never both. */
    if (blk_drain_forget(w->blk, &w->waiter)) {
        w->late = true;
        coroutine_wake(w->waiter.co);
    }
}

/* Wait until nothing of @blk is in flight; false: not before @deadline_ns. */
static bool co_main_fn drain_one(BlockBackend *blk, int64_t deadline_ns)
{
    DrainWait w = { .blk = blk };
    AioTimer timer;

    aio_timer_init(&timer, aio_context_current(), drain_timeout_cb, &w);
    while (!w.late && !blk_drain_check(blk, &w.waiter)) {
        if (deadline_ns >= 0) {
            aio_timer_arm(&timer, deadline_ns);
        }
        coroutine_yield();
        aio_timer_disarm(&timer);
    }
    return !w.late;
}

bool co_main_fn bdrv_hold_begin(BdrvHold *h, int64_t deadline_ns, BlockBackend **ret_late)
{
    bdrv_hold_assert(h);
    /* In their own order, so that what is done to them is the same each time. */
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        if (g_hash_table_contains(h->chosen, blk)) {
            g_ptr_array_add(h->backends, blk);
        }
    }
    h->state = BDRV_HOLD_DRAINING;
    h->held_since_ns = clock_ns();
    for (guint i = 0; i < h->backends->len; i++) {
        blk_hold(h->backends->pdata[i]);
    }
    blk_update_limiting_nodes();
    for (guint i = 0; i < h->backends->len; i++) {
        if (!drain_one(h->backends->pdata[i], deadline_ns)) {
            *ret_late = h->backends->pdata[i];
            bdrv_hold_end(h);
            return false;
        }
    }
    h->state = BDRV_HOLD_HELD;
    bdrv_hold_assert(h);
    return true;
}

int64_t main_fn bdrv_hold_end(BdrvHold *h)
{
    if (h->state == BDRV_HOLD_IDLE) {
        return 0;
    }
    int64_t since_ns = h->held_since_ns, held_ns = clock_ns() - since_ns;

    for (guint i = 0; i < h->backends->len; i++) {
        BlockBackend *blk = h->backends->pdata[i];
        __atomic_fetch_add(&blk->stats.held_ns, held_ns, __ATOMIC_RELAXED);
        __atomic_fetch_add(&blk->stats.held_count, 1, __ATOMIC_RELAXED);
        blk_release(blk);
    }
    blk_update_limiting_nodes();
    g_ptr_array_set_size(h->backends, 0);
    h->held_since_ns = 0;
    h->state = BDRV_HOLD_IDLE;
    return clock_ns() - since_ns;
}

/* ---- work with a deadline ---- */

typedef struct WorkTask {
    BdrvWork *work;
    BdrvLink *link;                 /* keeps the node until the work is done */
    BdrvWorkFn *fn;
    void *opaque;
    GDestroyNotify destroy;
    bool done, ok;
    Error *err;
} WorkTask;

struct BdrvWork {
    GPtrArray *tasks;               /* of WorkTask */
    int refs;                       /* the command, and every task under way */
    int running;
    bool abandoned;                 /* the command has stopped waiting: there is nobody to wake */
    Coroutine *waiter;              /* the command, while it waits */
};

static unsigned outliving;          /* tasks whose command has stopped waiting */
static Coroutine *end_waiter;

void main_fn bdrv_outliving_work_begin(void)
{
    outliving++;
}

void main_fn bdrv_outliving_work_end(void)
{
    if (--outliving == 0 && end_waiter) {
        coroutine_wake(g_steal_pointer(&end_waiter));
    }
}

void co_main_fn bdrv_outliving_work_wait(void)
{
    if (outliving > 0) {
        log_line("waiting for %u request%s of disks that do not answer", outliving,
                 outliving == 1 ? "" : "s");
    }
    while (outliving > 0) {
        end_waiter = coroutine_self();
        coroutine_yield();
    }
}

BdrvWork *main_fn bdrv_work_new(void)
{
    BdrvWork *w = g_new0(BdrvWork, 1);

    w->tasks = g_ptr_array_new();
    w->refs = 1;
    return w;
}

static void work_unref(BdrvWork *w)
{
    if (--w->refs > 0) {
        return;
    }
    for (guint i = 0; i < w->tasks->len; i++) {
        WorkTask *t = w->tasks->pdata[i];
        error_free(t->err);
        g_free(t);
    }
    g_ptr_array_unref(w->tasks);
    g_free(w);
}

static void co_main_fn task_entry(void *opaque)
{
    WorkTask *t = opaque;
    BdrvWork *w = t->work;

    t->ok = t->fn(t->link->bs, t->opaque, &t->err);
    t->done = true;
    if (t->destroy) {
        t->destroy(t->opaque);
    }
    w->running--;
    if (w->abandoned) {
        bdrv_link_free(g_steal_pointer(&t->link));   /* the last user closes it */
        bdrv_outliving_work_end();
    } else if (w->running == 0 && w->waiter) {
        coroutine_wake(g_steal_pointer(&w->waiter));
    }
    work_unref(w);
}

void co_main_fn bdrv_work_start(BdrvWork *w, BlockDriverState *bs, const char *holder,
                                BdrvWorkFn *fn, void *opaque, GDestroyNotify destroy)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = holder };
    WorkTask *t = g_new0(WorkTask, 1);

    *t = (WorkTask){ .work = w, .fn = fn, .opaque = opaque, .destroy = destroy,
                     .link = bdrv_link_new(bs, &spec, &error_abort) };
    g_ptr_array_add(w->tasks, t);
    w->refs++;
    w->running++;
    coroutine_start(task_entry, t);
}

static void main_fn work_timeout_cb(void *opaque)
{
    BdrvWork *w = opaque;

    if (w->waiter) {
        coroutine_wake(g_steal_pointer(&w->waiter));
    }
}

bool co_main_fn bdrv_work_wait(BdrvWork *w, int64_t deadline_ns)
{
    AioTimer timer;

    aio_timer_init(&timer, aio_context_current(), work_timeout_cb, w);
    if (w->running > 0) {
        w->waiter = coroutine_self();
        if (deadline_ns >= 0) {
            aio_timer_arm(&timer, deadline_ns);
        }
        coroutine_yield();
        aio_timer_disarm(&timer);
    }
    w->abandoned = w->running > 0;
    outliving += w->running;
    return !w->abandoned;
}

BdrvWorkResult main_fn bdrv_work_result(BdrvWork *w, guint i, Error **errp)
{
    WorkTask *t = w->tasks->pdata[i];

    if (!t->done) {
        return BDRV_WORK_LATE;
    }
    if (!t->ok) {
        error_propagate(errp, g_steal_pointer(&t->err));
        return BDRV_WORK_FAILED;
    }
    return BDRV_WORK_DONE;
}

void co_main_fn bdrv_work_free(BdrvWork *w)
{
    for (guint i = 0; i < w->tasks->len; i++) {
        WorkTask *t = w->tasks->pdata[i];
        if (t->done && t->link) {
            bdrv_link_free(g_steal_pointer(&t->link));  /* not the last: the caller has the node */
        }
    }
    work_unref(w);
}
