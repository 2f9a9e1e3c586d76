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

#include "block/io/io-internal.h"
#include "block/transaction.h"

typedef struct Pin {
    BdrvAction *action;
    BdrvLink *link;                 /* keeps the node */
    bool flush;
} Pin;

struct Transaction {
    TransactionState state;
    GPtrArray *actions;             /* of BdrvAction */
    GArray *pins;                   /* of Pin */
    bool found_pinned;              /* an action needs a node that another transaction changes */
    int64_t timeout_ns;
    int64_t make_timeout_ns;
    int64_t deadline_ns;            /* from the flush on, clock_ns() */
    BdrvHold hold;
    BdrvWork *work;                 /* of the step under way */
    GPtrArray *work_actions;        /* whose action the i-th work is */
    TransactionTimes times;
    int makers;                     /* coroutines inside of co_take or co_make functions */
    bool making;                    /* co_make, else co_take */
    guint next_to_make;
    bool give_up_making;            /* no further action is to be made */
    Coroutine *make_waiter;
    bool orphan;                    /* its command has ended; freed when the last maker returns */
};

/* ---- life ---- */

Transaction *main_fn transaction_new(int64_t timeout_ns)
{
    Transaction *t = g_new0(Transaction, 1);

    t->actions = g_ptr_array_new();
    t->pins = g_array_new(false, false, sizeof(Pin));
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

static void main_fn really_free(Transaction *t)
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
        really_free(t);
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

static Pin *pin_at(const Transaction *t, guint i)
{
    return &g_array_index(t->pins, Pin, i);
}

void main_fn transaction_assert(const Transaction *t)
{
    bool held = t->state == TRANSACTION_HELD;

    bdrv_hold_assert(&t->hold);
    g_assert(held ? t->hold.state == BDRV_HOLD_HELD
                  : t->hold.state == BDRV_HOLD_IDLE || t->state == TRANSACTION_COMMITTED);
    g_assert(t->state != TRANSACTION_ABORTED || t->pins->len == 0 || t->orphan);
    for (guint i = 0; i < t->pins->len; i++) {
        const Pin *p = pin_at(t, i);
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

static bool co_main_fn pin_one(BdrvAction *a, BlockDriverState *bs, bool flush, Error **errp)
{
    Transaction *t = a->txn;
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = a->ops->holder };

    if (!bdrv_change_begin(bs, t)) {
        t->found_pinned = true;
        error_setg(errp, "Cannot %s: another command is changing node '%s'", a->what,
                   bs->node_name);
        return false;
    }
    Pin p = {
        .action = a, .flush = flush, .link = bdrv_link_new(bs, &spec, &error_abort),
    };
    g_array_append_val(t->pins, p);
    return true;
}

bool co_main_fn transaction_pin(BdrvAction *a, BlockDriverState *bs, unsigned flags, Error **errp)
{
    g_autoptr(GPtrArray) stores = bdrv_stores(bs);

    for (guint i = 0; i < stores->len; i++) {
        bool flush = i == 0 && flags & TRANSACTION_PIN_FLUSH;
        if (!pin_one(a, stores->pdata[i], flush, errp)) {
            return false;
        }
    }
    return true;
}

bool main_fn transaction_is_pin(const Transaction *t, const BdrvLink *link)
{
    for (guint i = 0; i < t->pins->len; i++) {
        if (pin_at(t, i)->link == link) {
            return true;
        }
    }
    return false;
}

/* Others may change the nodes from now on; they live on. */
static void main_fn let_others_change(Transaction *t)
{
    for (guint i = 0; i < t->pins->len; i++) {
        Pin *p = pin_at(t, i);
        bdrv_change_end(p->link->bs, t);
    }
}

static void co_main_fn unpin_all(Transaction *t)
{
    let_others_change(t);
    g_autoptr(GArray) pins = t->pins;
    t->pins = g_array_new(false, false, sizeof(Pin));
    for (guint i = 0; i < pins->len; i++) {
        bdrv_link_free(g_array_index(pins, Pin, i).link);
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
    for (guint i = t->pins->len; i-- > 0 && pin_at(t, i)->action == a; ) {
        Pin p = *pin_at(t, i);
        bool shared = false;        /* with an earlier action of this transaction */
        g_array_set_size(t->pins, i);
        for (guint k = 0; k < i; k++) {
            shared |= pin_at(t, k)->link->bs == p.link->bs;
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

/* Names the member in @err. */
static void any_fn blame(const BdrvAction *a, Error *err)
{
    ErrorMember member = { .device = a->device, .filename = a->filename, .index = a->index };

    if (a->device) {
        error_set_member(err, &member);
    }
}

/* Hands the error of the first action that has one to @errp; false: none has. */
static bool main_fn fail_first(Transaction *t, Error **errp)
{
    for (guint i = 0; i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        if (a->err) {
            blame(a, a->err);
            error_propagate(errp, g_steal_pointer(&a->err));
            return true;
        }
    }
    return false;
}

static void co_main_fn abort_actions(Transaction *t)
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
        abort_actions(t);
        unpin_all(t);
        free_actions(t);
        error_free(g_steal_pointer(&err));
        bdrv_change_wait();
    }
    bdrv_graph_unlock();
    error_propagate(errp, err);
    t->times.check_ns = clock_ns() - start - t->times.prepare_ns;
    transaction_assert(t);
    return ok;
}

/* ---- 2: prepare ---- */

/* Actions that are made at the same time: enough that their syncs merge, few enough that guests
 * whose disks are served by the main thread get their turns. */
#define MAX_MAKERS 16

static void co_main_fn free_orphan(Transaction *t)
{
    abort_actions(t);
    unpin_all(t);
    really_free(t);
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

static bool main_fn check_all_taken(Transaction *t)
{
    for (guint i = 0; i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        if (!a->made && a->ops->check_taken && !a->ops->check_taken(a, &a->err)) {
            return false;
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
    let_others_change(t);
    if (fail_first(t, errp)) {
        return;
    }
    for (guint i = 0; i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        if (t->making ? a->made && a->ops->co_make : a->taken && a->ops->co_take) {
            Error *err = NULL;
            error_setg(&err, "Cannot %s: its file was not made in time", a->what);
            blame(a, err);
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
        fail_first(t, errp);
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
    transaction_assert(t);
    return ok;
}

/* ---- 3 and 5: flushes and other work ---- */

static bool co_main_fn flush_fn(BlockDriverState *bs, void *opaque, Error **errp)
{
    int ret = bdrv_flush_node(bs, BDRV_FLUSH_SETTLE);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot flush '%s' (%s)", (const char *)opaque, bs->filename);
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
        Pin *p = pin_at(t, i);
        BlockDriverState *bs = p->link->bs;
        if (p->flush && !bs->read_only) {
            const char *name = p->action->device ?: bs->node_name;
            transaction_start_work(p->action, bs, "a flush that does not return", flush_fn,
                                   g_strdup(name), g_free);
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
        ok = !fail_first(t, errp);
        quick = clock_ns() - start < QUICK_FLUSH_NS;
    }
    t->times.flush_ns = clock_ns() - begin;
    transaction_assert(t);
    return ok;
}

/* ---- 4: hold ---- */

/* The action with a node that is reached by @blk, the backend that did not come to rest. */
static BdrvAction *main_fn action_of_backend(Transaction *t, BlockBackend *blk)
{
    for (guint i = 0; i < t->pins->len; i++) {
        g_autoptr(GHashTable) backends = g_hash_table_new(NULL, NULL);
        bdrv_collect_backends(pin_at(t, i)->link->bs, backends);
        if (g_hash_table_contains(backends, blk)) {
            return pin_at(t, i)->action;
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
    for (guint i = 0; i < t->pins->len; i++) {
        bdrv_hold_add(&t->hold, pin_at(t, i)->link->bs);
    }
    if (bdrv_hold_begin(&t->hold, t->deadline_ns, &late)) {
        t->state = TRANSACTION_HELD;
        t->times.hold_ns = clock_ns() - start;
        transaction_assert(t);
        return true;
    }
    BdrvAction *a = action_of_backend(t, late);
    error_setg(&err, "Cannot %s: its requests did not finish within %" PRId64 " ms", a->what,
               timeout_ns / NS_PER_MS);
    blame(a, err);
    error_propagate(errp, err);
    return false;
}

bool co_main_fn transaction_work_held(Transaction *t, Error **errp)
{
    int64_t start = clock_ns();

    g_assert(t->state == TRANSACTION_HELD);
    begin_work(t);
    for (guint i = 0; i < t->pins->len; i++) {
        Pin *p = pin_at(t, i);
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
    return !fail_first(t, errp);
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
}

void main_fn transaction_resume(Transaction *t)
{
    t->times.pause_ns = bdrv_hold_end(&t->hold);
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
        abort_actions(t);
    }
    for (guint i = 0; t->state == TRANSACTION_COMMITTED && i < t->actions->len; i++) {
        BdrvAction *a = transaction_action(t, i);
        if (a->ops->co_clean) {
            a->ops->co_clean(a);
            coroutine_reschedule();     /* guests served by this thread take turns with us */
        }
    }
    unpin_all(t);
    transaction_assert(t);
}
