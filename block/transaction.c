/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transactions: the order of the steps, locks, pins, deadlines, and what is undone.
 *
 * (S1) Nothing that a guest or client can see changes before the commit.
 * (S2) No backend resumes before the last action is committed: a write that was sent after another
 *      one was acknowledged is in no snapshot that lacks the other.
 * (S3) A failure before the commit undoes all actions and reports the first one, in list order,
 *      that failed.
 * (S4) Nothing is created, opened or allocated while guests are held but memory for the flushes.
 * (S5) The graph mutex is held for checks and for linking, never over disk work.  Meanwhile other
 *      commands change the graph: what is being made is hidden from them, pinned nodes stay and are
 *      changed by nobody else, and what else was true is looked at again.
 * (S6) A pinned node is marked (block/graph/changing.c).  A transaction that finds a mark of
 *      somebody else's gives up all its own pins before it waits, so two of them cannot wait for
 *      each other.
 */
#include "qemu/osdep.h"

#include "block/transaction-internal.h"
#include "qemu/trace.h"

/* ---- life ---- */

Transaction *main_fn transaction_new(int64_t timeout_ns)
{
    Transaction *t = g_new0(Transaction, 1);

    t->actions = g_ptr_array_new();
    t->pins = g_array_new(false, false, sizeof(TransactionPin));
    t->work_actions = g_ptr_array_new();
    t->timeout_ns = timeout_ns;
    t->make_timeout_ns = timeout_ns < 0 ? TRANSACTION_RUN_TIMEOUT_NS
                                        : MAX(timeout_ns, TRANSACTION_MAKE_TIMEOUT_NS);
    bdrv_hold_init(&t->hold);
    return t;
}

Transaction *main_fn transaction_new_for_test(int64_t timeout_ns)
{
    Transaction *t = transaction_new(timeout_ns);

    t->make_timeout_ns = timeout_ns;
    return t;
}

static void main_fn free_actions(Transaction *t)
{
    while (t->actions->len > 0) {
        BdrvAction *a = g_ptr_array_steal_index(t->actions, t->actions->len - 1);
        if (a->ops->release) {
            a->ops->release(a);
        }
        error_free(a->err);
        g_free(a->what);
        g_free(a);
    }
}

void main_fn transaction_really_free(Transaction *t)
{
    g_assert(t->pins->len == 0 && t->makers == 0 && !t->work);
    free_actions(t);
    bdrv_hold_clear(&t->hold);
    g_ptr_array_unref(t->actions);
    g_ptr_array_unref(t->work_actions);
    g_array_unref(t->pins);
    g_free(t);
}

void main_fn transaction_free(Transaction *t)
{
    g_assert(t->state == TRANSACTION_COMMITTED || t->state == TRANSACTION_ABORTED);
    if (!t->orphan) {
        transaction_really_free(t);
    }
}

TransactionState main_fn transaction_state(const Transaction *t)
{
    return t->state;
}

TransactionTimes main_fn transaction_times(const Transaction *t)
{
    return t->times;
}

guint main_fn transaction_count(const Transaction *t)
{
    return t->actions->len;
}

BdrvAction *main_fn transaction_action(const Transaction *t, guint i)
{
    return t->actions->pdata[i];
}

TransactionPin *main_fn transaction_pin_at(const Transaction *t, guint i)
{
    return &g_array_index(t->pins, TransactionPin, i);
}

void main_fn transaction_assert(const Transaction *t)
{
    bool held = t->state == TRANSACTION_HELD;

    bdrv_hold_assert(&t->hold);
    g_assert(held ? t->hold.state == BDRV_HOLD_HELD
                  : t->hold.state == BDRV_HOLD_IDLE || t->state == TRANSACTION_COMMITTED);
    g_assert(t->state != TRANSACTION_ABORTED || t->pins->len == 0 || t->orphan);
    for (guint i = 0; i < t->pins->len; i++) {
        const TransactionPin *p = transaction_pin_at(t, i);
        g_assert(t->orphan || p->link->bs->changed_by == t);
    }
    for (guint i = 0; i < t->actions->len; i++) {
        const BdrvAction *a = transaction_action(t, i);
        g_assert(a->index == i && a->txn == t);
        g_assert(t->state != TRANSACTION_PREPARED || (a->made && a->prepared));
        g_assert(t->state != TRANSACTION_COMMITTED || !a->err);
    }
}

/* ---- pins ---- */

static bool co_main_fn pin_one(BdrvAction *a, BlockDriverState *bs, unsigned flags, Error **errp)
{
    Transaction *t = a->txn;
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = a->ops->holder };

    if (!bdrv_change_begin(bs, t)) {
        t->found_pinned = true;
        error_setg(errp, "Cannot %s: another command is changing node '%s'", a->what,
                   bs->node_name);
        return false;
    }
    TransactionPin p = {
        .action = a, .link = bdrv_link_new(bs, &spec, &error_abort),
        .flush = flags & TRANSACTION_PIN_FLUSH,
        .flush_running = flags & TRANSACTION_PIN_FLUSH_RUNNING,
    };
    g_array_append_val(t->pins, p);
    return true;
}

bool co_main_fn transaction_pin(BdrvAction *a, BlockDriverState *bs, unsigned flags, Error **errp)
{
    g_autoptr(GPtrArray) stores = bdrv_stores(bs);

    for (guint i = 0; i < stores->len; i++) {
        if (!pin_one(a, stores->pdata[i], i == 0 ? flags : 0, errp)) {
            return false;
        }
    }
    return true;
}

bool main_fn transaction_flushes(const Transaction *t, const BlockDriverState *bs)
{
    for (guint i = 0; i < t->pins->len; i++) {
        const TransactionPin *p = transaction_pin_at(t, i);
        if (p->flush && p->link->bs == bs) {
            return true;
        }
    }
    return false;
}

bool main_fn transaction_is_pin(const Transaction *t, const BdrvLink *link)
{
    for (guint i = 0; i < t->pins->len; i++) {
        if (transaction_pin_at(t, i)->link == link) {
            return true;
        }
    }
    return false;
}

void main_fn transaction_let_others_change(Transaction *t)
{
    for (guint i = 0; i < t->pins->len; i++) {
        TransactionPin *p = transaction_pin_at(t, i);
        bdrv_change_end(p->link->bs, t);
    }
}

void co_main_fn transaction_unpin_all(Transaction *t)
{
    transaction_let_others_change(t);
    g_autoptr(GArray) pins = t->pins;
    t->pins = g_array_new(false, false, sizeof(TransactionPin));
    for (guint i = 0; i < pins->len; i++) {
        bdrv_link_free(g_array_index(pins, TransactionPin, i).link);
    }
}

/* ---- 1: check ---- */

void *main_fn transaction_add(Transaction *t, const BdrvActionOps *ops, char *what)
{
    BdrvAction *a = g_malloc0(ops->instance_size);

    g_assert(t->state == TRANSACTION_INIT);
    a->ops = ops;
    a->txn = t;
    a->index = t->actions->len;
    a->what = what;
    g_ptr_array_add(t->actions, a);
    return a;
}

void co_main_fn transaction_drop_last(Transaction *t)
{
    BdrvAction *a = g_ptr_array_steal_index(t->actions, t->actions->len - 1);

    g_assert(!a->taken && !a->made && !a->prepared);
    for (guint i = t->pins->len; i-- > 0 && transaction_pin_at(t, i)->action == a; ) {
        TransactionPin p = *transaction_pin_at(t, i);
        bool shared = false;        /* with an earlier action of this transaction */
        g_array_set_size(t->pins, i);
        for (guint k = 0; k < i; k++) {
            shared |= transaction_pin_at(t, k)->link->bs == p.link->bs;
        }
        if (!shared) {
            bdrv_change_end(p.link->bs, t);
        }
        bdrv_link_free(p.link);
    }
    if (a->ops->release) {
        a->ops->release(a);
    }
    g_free(a->what);
    g_free(a);
}

void any_fn transaction_blame(const BdrvAction *a, Error *err)
{
    ErrorMember member = { .device = a->device, .filename = a->filename, .index = a->index };

    if (a->device) {
        error_set_member(err, &member);
    }
}

bool main_fn transaction_fail_first(Transaction *t, Error **errp)
{
    for (guint i = 0; i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        if (a->err) {
            trace_transaction_error(t, i, a->what, error_get_pretty(a->err));
            transaction_blame(a, a->err);
            error_propagate(errp, g_steal_pointer(&a->err));
            return true;
        }
    }
    return false;
}

void co_main_fn transaction_abort_actions(Transaction *t)
{
    /* The last goes first: it may build on earlier ones. */
    for (guint i = t->actions->len; i-- > 0; ) {
        BdrvAction *a = transaction_action(t, i);
        if (a->ops->co_abort && a->taken) {
            a->ops->co_abort(a);
        }
        a->taken = a->made = a->prepared = false;
    }
}

static void main_fn trace_actions(const Transaction *t)
{
    for (guint i = 0; trace_enabled(TRANSACTION_ACTION) && i < t->actions->len; i++) {
        const BdrvAction *a = transaction_action(t, i);
        trace_transaction_action(t, i, a->what, a->device);
    }
}

bool co_main_fn transaction_check(Transaction *t, TransactionAdd *add, const void *args,
                                  Error **errp)
{
    int64_t start = clock_ns();
    Error *err = NULL;
    bool ok;

    bdrv_graph_lock();
    for (;;) {
        t->found_pinned = false;
        ok = add(t, args, &err);
        if (ok || !t->found_pinned || t->orphan) {
            break;
        }
        transaction_abort_actions(t);
        transaction_unpin_all(t);
        free_actions(t);
        error_free(g_steal_pointer(&err));
        bdrv_change_wait();
    }
    bdrv_graph_unlock();
    error_propagate(errp, err);
    t->times.check_ns = clock_ns() - start - t->times.prepare_ns;
    trace_actions(t);
    trace_transaction_step(t, "check", t->times.check_ns, ok);
    transaction_assert(t);
    return ok;
}

/* ---- 4: hold ---- */

/* The action with a node that is reached by @blk, the backend that did not come to rest. */
static BdrvAction *main_fn action_of_backend(Transaction *t, BlockBackend *blk)
{
    for (guint i = 0; i < t->pins->len; i++) {
        g_autoptr(GHashTable) backends = g_hash_table_new(NULL, NULL);
        bdrv_collect_backends(transaction_pin_at(t, i)->link->bs, backends);
        if (g_hash_table_contains(backends, blk)) {
            return transaction_pin_at(t, i)->action;
        }
    }
    return transaction_action(t, 0);
}

bool co_main_fn transaction_hold(Transaction *t, Error **errp)
{
    int64_t start = clock_ns();
    int64_t timeout_ns = t->timeout_ns < 0 ? BDRV_HOLD_TIMEOUT_NS : t->timeout_ns;
    BlockBackend *late;
    Error *err = NULL;

    g_assert(t->state == TRANSACTION_PREPARED);
    if (t->timeout_ns < 0) {
        t->deadline_ns = start + timeout_ns;
    }
    bool unheld = t->actions->len == 1 && transaction_action(t, 0)->ops->alone_unheld;
    for (guint i = 0; i < t->pins->len && !unheld; i++) {
        bdrv_hold_add(&t->hold, transaction_pin_at(t, i)->link->bs);
    }
    if (bdrv_hold_begin(&t->hold, t->deadline_ns, &late)) {
        t->state = TRANSACTION_HELD;
        t->times.hold_ns = clock_ns() - start;
        trace_transaction_step(t, "hold", t->times.hold_ns, true);
        transaction_assert(t);
        return true;
    }
    trace_transaction_step(t, "hold", clock_ns() - start, false);
    BdrvAction *a = action_of_backend(t, late);
    error_setg(&err, "Cannot %s: its requests did not finish within %" PRId64 " ms", a->what,
               timeout_ns / NS_PER_MS);
    transaction_blame(a, err);
    error_propagate(errp, err);
    return false;
}

/* ---- 6 and 7 ---- */

void main_fn transaction_commit(Transaction *t)
{
    int64_t start = clock_ns();

    transaction_assert(t);
    g_assert(t->state == TRANSACTION_HELD);
    for (guint i = 0; i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        if (a->ops->commit) {
            a->ops->commit(a);
        }
    }
    t->state = TRANSACTION_COMMITTED;
    t->times.commit_ns = clock_ns() - start;
    trace_transaction_step(t, "commit", t->times.commit_ns, true);
}

void main_fn transaction_resume(Transaction *t)
{
    for (guint i = t->actions->len; t->state == TRANSACTION_HELD && i-- > 0; ) {
        BdrvAction *a = transaction_action(t, i);
        if (a->applied && a->ops->undo_held) {
            a->ops->undo_held(a);
        }
    }
    t->times.pause_ns = bdrv_hold_end(&t->hold);
    trace_transaction_step(t, "resume", t->times.pause_ns,
                           t->state == TRANSACTION_COMMITTED);
}

void co_main_fn transaction_end(Transaction *t)
{
    g_assert(t->hold.state == BDRV_HOLD_IDLE);
    if (t->orphan) {
        t->state = TRANSACTION_ABORTED;
        return;
    }
    if (t->state != TRANSACTION_COMMITTED) {
        t->state = TRANSACTION_ABORTED;
        transaction_abort_actions(t);
    }
    for (guint i = 0; t->state == TRANSACTION_COMMITTED && i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        if (a->ops->co_clean) {
            a->ops->co_clean(a);
            coroutine_reschedule();     /* guests served by this thread take turns with us */
        }
    }
    transaction_unpin_all(t);
    transaction_assert(t);
}
