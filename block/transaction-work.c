/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The third and fifth steps of a transaction: flushes and other work, while guests run and while
 * they are held. */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"
#include "block/transaction-internal.h"
#include "qemu/trace.h"

typedef struct FlushWork {
    char *name;                     /* for messages */
    unsigned flags;
} FlushWork;

static void flush_work_free(void *opaque)
{
    FlushWork *w = opaque;

    g_free(w->name);
    g_free(w);
}

static bool co_main_fn flush_fn(BlockDriverState *bs, void *opaque, Error **errp)
{
    FlushWork *w = opaque;
    int ret = bdrv_flush_node(bs, w->flags);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot flush '%s' (%s)", w->name, bs->filename);
        error_change_class(*errp, ERROR_CLASS_IO_ERROR);
    }
    return ret == 0;
}

void co_main_fn transaction_start_work(BdrvAction *a, BlockDriverState *bs,
                                       const char *holder, BdrvWorkFn *fn, void *opaque,
                                       GDestroyNotify destroy)
{
    g_ptr_array_add(a->txn->work_actions, a);
    bdrv_work_start(a->txn->work, bs, holder, fn, opaque, destroy);
}

static void co_main_fn start_flushes(Transaction *t)
{
    for (guint i = 0; i < t->pins->len; i++) {
        TransactionPin *p = transaction_pin_at(t, i);
        BlockDriverState *bs = p->link->bs;
        bool running = p->flush_running && t->state != TRANSACTION_HELD;
        if ((p->flush || running) && !bs->read_only) {
            const char *name = p->action->device ?: bs->node_name;
            FlushWork *w = g_new(FlushWork, 1);
            *w = (FlushWork){
                .name = g_strdup(name),
                .flags = BDRV_FLUSH_SETTLE |
                         (t->state == TRANSACTION_HELD ? BDRV_FLUSH_BITMAPS : 0),
            };
            transaction_start_work(p->action, bs, "a flush that does not return", flush_fn, w,
                                   flush_work_free);
        }
    }
}

static void main_fn begin_work(Transaction *t)
{
    t->work = bdrv_work_new();
    g_ptr_array_set_size(t->work_actions, 0);
}

/* Wait for what was started; errors go to the actions. */
static void co_main_fn end_work(Transaction *t, int64_t deadline_ns)
{
    bdrv_work_wait(t->work, deadline_ns);
    for (guint i = 0; i < t->work_actions->len; i++) {
        BdrvAction *a = t->work_actions->pdata[i];
        Error *err = NULL;

        if (bdrv_work_result(t->work, i, &err) == BDRV_WORK_LATE) {
            error_setg(&err, "Cannot %s: it was not flushed in time", a->what);
        }
        if (err && !a->err) {
            a->err = g_steal_pointer(&err);
        }
        error_free(err);
    }
    bdrv_work_free(g_steal_pointer(&t->work));
}

/* Flushes before the hold: at most so often, and no more once one is this quick. */
#define MAX_RUNNING_FLUSHES 2
#define QUICK_FLUSH_NS (10 * NS_PER_MS)

/* What guests write during a flush is for the next one: again, while that is worth it. */
bool co_main_fn transaction_flush(Transaction *t, Error **errp)
{
    int64_t begin = clock_ns();
    bool ok = true, quick = false;

    g_assert(t->state == TRANSACTION_PREPARED);
    t->deadline_ns = begin + (t->timeout_ns < 0 ? TRANSACTION_RUN_TIMEOUT_NS : t->timeout_ns);
    for (int pass = 0; ok && !quick && pass < MAX_RUNNING_FLUSHES; pass++) {
        int64_t start = clock_ns();
        begin_work(t);
        start_flushes(t);
        end_work(t, t->deadline_ns);
        ok = !transaction_fail_first(t, errp);
        quick = clock_ns() - start < QUICK_FLUSH_NS;
    }
    t->times.flush_ns = clock_ns() - begin;
    trace_transaction_step(t, "flush", t->times.flush_ns, ok);
    transaction_assert(t);
    return ok;
}

bool co_main_fn transaction_work_held(Transaction *t, Error **errp)
{
    int64_t start = clock_ns();

    g_assert(t->state == TRANSACTION_HELD);
    for (guint i = 0; i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        a->applied = true;
        if (a->ops->apply_held) {
            a->ops->apply_held(a);
        }
    }
    begin_work(t);
    for (guint i = 0; i < t->pins->len; i++) {
        TransactionPin *p = transaction_pin_at(t, i);
        if (p->flush) {
            t->times.flushed_bytes += __atomic_load_n(&p->link->bs->unflushed_bytes,
                                                      __ATOMIC_RELAXED);
        }
    }
    start_flushes(t);
    for (guint i = 0; i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        if (a->ops->co_start_held) {
            a->ops->co_start_held(a);
        }
    }
    end_work(t, t->deadline_ns);
    t->times.held_work_ns = clock_ns() - start;
    transaction_assert(t);
    bool ok = !transaction_fail_first(t, errp);
    trace_transaction_step(t, "work", t->times.held_work_ns, ok);
    return ok;
}
