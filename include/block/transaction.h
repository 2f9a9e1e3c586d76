/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of nodes that guests are using: several actions, all of them or none.
 * docs/design/hold.md has the picture; block/actions/ and block/snapshot/ have the kinds of actions
 * there are.
 *
 * Calling sequence (blockdev.c has it in one function):
 *
 *     t = transaction_new(timeout_ns);
 *     ok = transaction_check(t, add, args, errp) &&   guests run; adds the actions
 *          transaction_prepare(t, errp) &&            guests run
 *          transaction_flush(t, errp) &&              guests run
 *          transaction_hold(t, errp) &&               guests are held from here ...
 *          transaction_work_held(t, errp);
 *     if (ok) {
 *         transaction_commit(t);                      cannot fail
 *     }
 *     transaction_resume(t);                          ... to here
 *     transaction_end(t);                             cleans up, or undoes everything
 *     transaction_free(t);
 *
 * Between prepare and hold a transaction can be left alone for as long as its user likes: it keeps
 * its nodes from being changed by others, and no guest notices.
 */
#ifndef BLOCK_TRANSACTION_H
#define BLOCK_TRANSACTION_H

#include "block/hold.h"

typedef struct Transaction Transaction;
typedef struct BdrvAction BdrvAction;

/*
 * INIT --prepare--> PREPARED --hold--> HELD --commit--> COMMITTED
 *   `-----------------`----------------`----end----> ABORTED
 */
typedef enum TransactionState {
    TRANSACTION_INIT, TRANSACTION_PREPARED, TRANSACTION_HELD, TRANSACTION_COMMITTED,
    TRANSACTION_ABORTED,
} TransactionState;

/*
 * A kind of action.  Whoever adds one has checked the request (no disk is touched) and pinned the
 * nodes that it changes.  Functions that are NULL have nothing to do.
 */
typedef struct BdrvActionOps {
    const char *holder;             /* of pinned nodes, for messages: "the snapshot command" */
    size_t instance_size;           /* of the struct that begins with a BdrvAction, zeroed */
    bool alone_unheld;              /* alone in its transaction it needs no instant: nobody is held,
                                     * and requests are under way while it is done */
    /*
     * First half of the preparation: all that takes as long as a disk likes, side by side with
     * other actions, without the graph mutex.  All actions take what they want for themselves
     * (files); it is looked at in the order of the actions (does not yield); then they are made,
     * hidden from others.
     */
    bool (*co_take)(BdrvAction *a, Error **errp);
    bool (*check_taken)(BdrvAction *a, Error **errp);
    bool (*co_make)(BdrvAction *a, Error **errp);
    /* Second half: under the graph mutex, in the order of the actions.  What was true when the
     * action was checked is looked at again, for others have changed the graph meanwhile. */
    bool (*co_prepare)(BdrvAction *a, Error **errp);
    /*
     * First of all while guests are held, in the order of the actions: what the flushes that come
     * then are to store.  undo_held takes it back before guests run again, if there is no commit.
     * Neither yields, fails or allocates.
     */
    void (*apply_held)(BdrvAction *a);
    void (*undo_held)(BdrvAction *a);
    /* Work to be done while guests are held, begun by transaction_start_work(). */
    void (*co_start_held)(BdrvAction *a);
    void (*commit)(BdrvAction *a);       /* guests are held; does not yield, cannot fail */
    void (*co_abort)(BdrvAction *a);     /* undoes co_make and co_prepare, as far as they got */
    void (*co_clean)(BdrvAction *a);     /* after a commit, guests run */
    void (*release)(BdrvAction *a);      /* frees what the struct owns, last of all */
} BdrvActionOps;

struct BdrvAction {
    const BdrvActionOps *ops;
    Transaction *txn;
    int64_t index;                  /* in the order in which they were added */
    char *what;                     /* "take a snapshot of 'disk0'": for messages; owned */
    const char *device, *filename;  /* for the member that errors name; NULL: none; borrowed */

    /* The transaction's own. */
    Error *err;
    bool taken, made, prepared;     /* co_take, co_make, co_prepare has been begun */
    bool applied;                   /* apply_held */
};

/* Durations of the steps, ns. */
typedef struct TransactionTimes {
    int64_t check_ns, prepare_ns, flush_ns, hold_ns, held_work_ns, commit_ns, pause_ns;
    int64_t flushed_bytes;          /* by guests, still to be flushed when they were held */
} TransactionTimes;

/*
 * @timeout_ns bounds the steps from the flush to the commit together, those in which guests may
 * wait included.  < 0: guests are held for BDRV_HOLD_TIMEOUT_NS at most, and the flush before may
 * take TRANSACTION_RUN_TIMEOUT_NS.
 */
Transaction *main_fn transaction_new(int64_t timeout_ns);
/* As transaction_new(), but making files may not take longer than @timeout_ns either. */
Transaction *main_fn transaction_new_for_test(int64_t timeout_ns);
/* After transaction_end(). */
void main_fn transaction_free(Transaction *t);

/* ---- adding actions ---- */

/* Adds actions as @args say, under the graph mutex. */
typedef bool TransactionAdd(Transaction *t, const void *args, Error **errp);

/*
 * Step 1: runs @add.  If it comes upon a node that another transaction is changing, what was added
 * is undone, and @add runs again when a transaction has ended.
 */
bool co_main_fn transaction_check(Transaction *t, TransactionAdd *add, const void *args,
                                  Error **errp);
/* A new action at the end of the list; the caller fills in its own members.  Takes @what. */
void *main_fn transaction_add(Transaction *t, const BdrvActionOps *ops, char *what);
/* The last action is not wanted after all: its check failed. */
void co_main_fn transaction_drop_last(Transaction *t);

typedef enum TransactionPinFlags {
    TRANSACTION_PIN_FLUSH = 1 << 0, /* flush the node before the commit, so that it could be
                                     * closed */
    TRANSACTION_PIN_FLUSH_RUNNING = 1 << 1,     /* only while guests run */
} TransactionPinFlags;

/*
 * Keep @bs and what stores it alive, and keep other transactions and commands from changing them;
 * all backends that reach them will be held, and no new one can come to reach them.  False: another
 * transaction is changing it, *@errp says so, and transaction_check() tries again.
 */
bool co_main_fn transaction_pin(BdrvAction *a, BlockDriverState *bs, unsigned flags,
                             Error **errp);

/* Is @link one of the pins of @t? */
bool main_fn transaction_is_pin(const Transaction *t, const BdrvLink *link);

/* Does an action of @t want @bs to be as if it were closed when it is committed? */
bool main_fn transaction_flushes(const Transaction *t, const BlockDriverState *bs);

/* For @add, if an action needs what earlier ones make: prepare those.  Lets go of the graph mutex
 * meanwhile; nodes that are pinned stay. */
bool co_main_fn transaction_settle(Transaction *t, Error **errp);
/* All that was added is prepared. */
bool main_fn transaction_is_settled(const Transaction *t);

guint main_fn transaction_count(const Transaction *t);
BdrvAction *main_fn transaction_action(const Transaction *t, guint i);

/* ---- the steps ---- */

/* 2: without the graph mutex, and with it for a moment. */
bool co_main_fn transaction_prepare(Transaction *t, Error **errp);
/* 3: flush pinned nodes while guests run, so that little is left for 5. */
bool co_main_fn transaction_flush(Transaction *t, Error **errp);
/* 4 */
bool co_main_fn transaction_hold(Transaction *t, Error **errp);
/* 5: flush what became dirty since 3, and the actions' own work. */
bool co_main_fn transaction_work_held(Transaction *t, Error **errp);
/* 6 */
void main_fn transaction_commit(Transaction *t);
/* 7; nothing if guests are not held. */
void main_fn transaction_resume(Transaction *t);
/* After a commit: clean; else undo.  Others may change the nodes again. */
void co_main_fn transaction_end(Transaction *t);

/* For co_start_held: see bdrv_work_start(). */
void co_main_fn transaction_start_work(BdrvAction *a, BlockDriverState *bs,
                                       const char *holder, BdrvWorkFn *fn, void *opaque,
                                       GDestroyNotify destroy);

TransactionState main_fn transaction_state(const Transaction *t);
TransactionTimes main_fn transaction_times(const Transaction *t);
/* Asserts what has to be true in the state that @t is in. */
void main_fn transaction_assert(const Transaction *t);

#endif
