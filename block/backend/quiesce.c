/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bringing backends to rest.
 *
 * (D1) From blk_quiesce() returning true to blk_resume() no request of these backends is inside
 *      its bracket, on any thread.
 * (D2) All backends are held before the first is waited for: the time held is that of the slowest
 *      request in flight, not the sum over backends.
 * (D3) After a failure everything runs as before.
 */
#include "qemu/osdep.h"

#include "block/backend/backend-internal.h"
#include "block/quiesce.h"

typedef struct DrainWait {
    BlockBackend *blk;
    Coroutine *waiter;
    bool late;
} DrainWait;

static void main_fn drain_deadline(void *opaque)
{
    DrainWait *w = opaque;

    /* Either the last request or this wakes the waiter, never both. */
    if (blk_drain_forget(w->blk)) {
        w->late = true;
        coroutine_wake(w->waiter);
    }
}

/* Wait until nothing of @blk is in flight; false: not before @deadline_ns. */
static bool co_main_fn drain_one(BlockBackend *blk, int64_t deadline_ns)
{
    DrainWait w = { .blk = blk, .waiter = coroutine_self() };
    AioTimer timer;

    aio_timer_init(&timer, aio_context_current(), drain_deadline, &w);
    while (!w.late && !blk_drain_check(blk)) {
        if (deadline_ns >= 0) {
            aio_timer_arm(&timer, deadline_ns);
        }
        coroutine_yield();
        aio_timer_disarm(&timer);
    }
    return !w.late;
}

static void main_fn release_all(BlkQuiesce *q)
{
    int64_t held_ns = clock_ns() - q->held_since_ns;

    for (guint i = 0; i < q->backends->len; i++) {
        BlockBackend *blk = q->backends->pdata[i];
        __atomic_fetch_add(&blk->stats.held_ns, held_ns, __ATOMIC_RELAXED);
        __atomic_fetch_add(&blk->stats.held_count, 1, __ATOMIC_RELAXED);
        blk_release(blk);
    }
    g_ptr_array_free(g_steal_pointer(&q->backends), TRUE);
}

bool co_main_fn blk_quiesce(BlkQuiesce *q, GHashTable *backends, int64_t deadline_ns,
                            BlockBackend **ret_late)
{
    q->backends = g_ptr_array_sized_new(g_hash_table_size(backends));
    /* In their own order, so that what is done to them is the same each time. */
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        if (g_hash_table_contains(backends, blk)) {
            g_ptr_array_add(q->backends, blk);
        }
    }
    q->held_since_ns = clock_ns();
    for (guint i = 0; i < q->backends->len; i++) {
        blk_hold(q->backends->pdata[i]);
    }
    for (guint i = 0; i < q->backends->len; i++) {
        if (!drain_one(q->backends->pdata[i], deadline_ns)) {
            if (ret_late) {
                *ret_late = q->backends->pdata[i];
            }
            release_all(q);
            return false;
        }
    }
    return true;
}

bool co_main_fn blk_quiesce_in_time(BlkQuiesce *q, GHashTable *backends, const char *what,
                                    Error **errp)
{
    BlockBackend *late;

    if (blk_quiesce(q, backends, clock_ns() + BLK_QUIESCE_TIMEOUT_NS, &late)) {
        return true;
    }
    error_setg(errp, "Cannot %s: '%s' did not come to rest in time", what, blk_name(late));
    return false;
}

int64_t main_fn blk_resume(BlkQuiesce *q)
{
    release_all(q);
    return clock_ns() - q->held_since_ns;
}
