/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The second step of a transaction: actions take names and make files, side by side, until a
 * deadline; then they are linked.  What is not done by then goes on without the command and undoes
 * itself.
 */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"
#include "block/transaction-internal.h"
#include "qemu/trace.h"

/* Actions that are made at the same time: enough that their syncs merge, few enough that guests
 * whose disks are served by the main thread get their turns. */
#define MAX_MAKERS 16

static void co_main_fn free_orphan(Transaction *t)
{
    transaction_abort_actions(t);
    transaction_unpin_all(t);
    transaction_really_free(t);
    bdrv_outliving_work_end();
}

/* One step of one action, unless it has been taken before. */
static void co_main_fn make_one(Transaction *t, BdrvAction *a)
{
    bool *begun = t->making ? &a->made : &a->taken;
    bool (*co_step)(BdrvAction *, Error **) = t->making ? a->ops->co_make : a->ops->co_take;

    if (*begun) {
        return;
    }
    *begun = true;
    if (co_step) {
        co_step(a, &a->err);
        coroutine_reschedule();     /* guests served by this thread take turns with us */
    }
}

static void co_main_fn maker_entry(void *opaque)
{
    Transaction *t = opaque;

    while (t->next_to_make < t->actions->len && !t->give_up_making) {
        make_one(t, transaction_action(t, t->next_to_make++));
    }
    if (--t->makers == 0) {
        if (t->orphan) {
            free_orphan(t);
        } else if (t->make_waiter) {
            coroutine_wake(g_steal_pointer(&t->make_waiter));
        }
    }
}

static void main_fn make_timeout_cb(void *opaque)
{
    Transaction *t = opaque;

    if (t->make_waiter) {
        coroutine_wake(g_steal_pointer(&t->make_waiter));
    }
}

/* That step of all actions, side by side.  False: not before the deadline, or some action failed.
 */
static bool co_main_fn make_step(Transaction *t, bool making, int64_t deadline_ns)
{
    AioTimer timer;
    bool ok = true;

    t->making = making;
    t->next_to_make = 0;
    for (int i = 0; i < MAX_MAKERS; i++) {
        t->makers++;
        coroutine_start(maker_entry, t);
    }
    if (t->makers > 0) {
        aio_timer_init(&timer, aio_context_current(), make_timeout_cb, t);
        aio_timer_arm(&timer, deadline_ns);
        t->make_waiter = coroutine_self();
        coroutine_yield();
        aio_timer_disarm(&timer);
    }
    for (guint i = 0; i < t->actions->len; i++) {
        ok &= !transaction_action(t, i)->err;
    }
    return ok && t->makers == 0;
}

/* Actions whose files are compared with those of all before them, until others have their turn. */
#define CHECKED_IN_ONE_GO 16

static bool co_main_fn check_all_taken(Transaction *t)
{
    for (guint i = 0; i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        if (!a->made && a->ops->check_taken && !a->ops->check_taken(a, &a->err)) {
            return false;
        }
        if (i % CHECKED_IN_ONE_GO == CHECKED_IN_ONE_GO - 1) {
            coroutine_reschedule();
        }
    }
    return true;
}

/* Everything that is not made yet. */
static bool co_main_fn make_all(Transaction *t)
{
    int64_t deadline_ns = clock_ns() + t->make_timeout_ns;

    return make_step(t, false, deadline_ns) && check_all_taken(t) &&
           make_step(t, true, deadline_ns);
}

/* The makers go on by themselves, undo what they made and free the transaction. */
static void main_fn leave_to_makers(Transaction *t, Error **errp)
{
    t->orphan = t->give_up_making = true;
    bdrv_outliving_work_begin();
    transaction_let_others_change(t);
    if (transaction_fail_first(t, errp)) {
        return;
    }
    for (guint i = 0; i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        if (t->making ? a->made && a->ops->co_make : a->taken && a->ops->co_take) {
            Error *err = NULL;
            error_setg(&err, "Cannot %s: its file was not made in time", a->what);
            transaction_blame(a, err);
            error_propagate(errp, err);
            return;
        }
    }
}

static bool co_main_fn prepare_actions(Transaction *t)
{
    for (guint i = 0; i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        if (!a->prepared) {
            a->prepared = true;
            if (a->ops->co_prepare && !a->ops->co_prepare(a, &a->err)) {
                return false;
            }
        }
        coroutine_reschedule();         /* guests served by this thread take turns with us */
    }
    return true;
}

/* Under the graph mutex, which is let go of while actions are made. */
bool co_main_fn transaction_settle(Transaction *t, Error **errp)
{
    int64_t start = clock_ns();

    bdrv_graph_unlock();
    bool ok = make_all(t);
    bdrv_graph_lock();
    if (t->makers > 0) {
        leave_to_makers(t, errp);
    } else if (!ok || !prepare_actions(t)) {
        transaction_fail_first(t, errp);
        ok = false;
    }
    t->times.prepare_ns += clock_ns() - start;
    return ok;
}

bool main_fn transaction_is_settled(const Transaction *t)
{
    for (guint i = 0; i < t->actions->len; i++) {
        if (!transaction_action(t, i)->prepared) {
            return false;
        }
    }
    return true;
}

bool co_main_fn transaction_prepare(Transaction *t, Error **errp)
{
    bdrv_graph_lock();
    bool ok = transaction_settle(t, errp);
    bdrv_graph_unlock();
    if (ok) {
        t->state = TRANSACTION_PREPARED;
    }
    trace_transaction_step(t, "prepare", t->times.prepare_ns, ok);
    transaction_assert(t);
    return ok;
}
