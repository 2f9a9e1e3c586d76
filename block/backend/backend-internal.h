/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of a backend: for block/backend/ and block/hold.c. */
#ifndef BLOCK_BACKEND_INTERNAL_H
#define BLOCK_BACKEND_INTERNAL_H

#include "block/backend.h"
#include "qemu/throttle.h"

/* Coroutines of any thread that wait, first come first; on their stacks. */
typedef struct WaiterList {
    CoWaiter *head, *tail;
} WaiterList;

struct BlockBackend {
    char *name;                     /* NULL: cannot be named */
    bool of_export;                 /* @name is the id of an export, among which it is unique */
    char *user;                     /* what it is attached to, or NULL */
    const BlkDevice *device;        /* that has it, or NULL; borrowed */
    void (*co_leave)(void *opaque); /* of a visitor; NULL: there is none */
    void *visitor;
    bool visits_ended;              /* there will be none */
    char *iothread;                 /* or NULL */
    unsigned needs, allows;         /* claims for what it holds */
    bool quiet;                     /* its user tells of failures itself */
    bool outlasts_handover;
    bool lenient;                   /* it allows all, as what it allows stands in somebody's way */
    bool write_cache;
    BdrvLink *root;                 /* NULL: empty */
    BlkStats stats;

    /* Failed requests (block/backend/io-error.c). */
    BlkOnError rerror, werror;
    int64_t io_error_reported_ns;   /* atomic: clock_ns() of the last report, 0: never */
    int stop_reason;                /* atomic, set under @lock: -errno that stopped it; 0: it
                                     * runs */
    WaiterList stopped;             /* under @lock, of StoppedRequest: wait for it to be
                                     * continued */

    /* Limits (block/backend/limits.c). */
    CoMutex throttle_lock;          /* changes of the membership, one at a time */
    ThrottleGroup *throttle;        /* atomic; NULL: none */
    int throttled;                  /* atomic: requests in the group's queue */
    int unlimited;                  /* atomic; > 0: whoever waits shall go, limits are ignored */
    Coroutine *throttle_waiter;     /* under @lock: waits for @throttled to become 0 */
    int refs;                       /* of the memory; main thread */
    bool freed;                     /* blk_free() has been called */
    bool user_leaves;               /* atomic */
    BlockBackend *prev, *next;      /* all backends, oldest first */

    /*
     * The request bracket.  A request counts itself in, then looks at @quiesced; who quiesces sets
     * @quiesced, then looks at @in_flight (both sequentially consistent): one of the two sees the
     * other.
     */
    int in_flight;                  /* atomic */
    int quiesced;                   /* atomic; number of holds; changed by the main thread under
                                     * @lock */
    pthread_mutex_t lock;                    /* guards the rest */
    WaiterList held;                /* requests that wait for the hold to end */
    WaiterList drains;              /* who waits for in_flight to become 0: several commands, and
                                     * its user leaving */
};

/* Add @w to @list, under @blk's lock; who waits yields after unlocking. */
static inline void waiter_list_add(WaiterList *list, CoWaiter *w)
{
    *(list->tail ? &list->tail->next : &list->head) = w;
    list->tail = w;
}

/* Wake all that were taken off @blk's list @taken; without the lock. */
void any_fn blk_wake_all(WaiterList taken);

/*
 * A request of @client has failed with @error (-errno); inside its bracket.  Says what shall become
 * of it, reports it, and stops the backend if need be: the request then leaves the bracket, waits
 * and tries again.
 */
BlkErrorAction any_fn blk_handle_error(BlockBackend *blk, const BlkClient *client, bool is_write,
                                       int error);
/* Wait as long as @blk is stopped; outside of the bracket.  0, or, when @client or the backend's
 * user leaves, the -errno that stopped it: the request is given up. */
int co_fn blk_wait_while_stopped(BlockBackend *blk, const BlkClient *client);
/* The backend's user leaves: give up what waits, and let it run. */
void main_fn blk_give_up_stopped(BlockBackend *blk);

/* Keep the memory of @blk, not what it holds. */
void main_fn blk_ref(BlockBackend *blk);
void main_fn blk_unref(BlockBackend *blk);

/* Wait for the turn of a request that is not in flight yet. */
void co_fn blk_throttle(BlockBackend *blk, bool is_write, int64_t bytes);

/*
 * Backends were held or let go, or a user leaves: requests that wait for their turn in a node below
 * go at once while that is so, and no longer.
 */
void main_fn blk_update_limiting_nodes(void);

/* Begin a hold / end it and let the queued requests go.  Holds nest. */
void main_fn blk_hold(BlockBackend *blk);
void main_fn blk_release(BlockBackend *blk);
/* Returns when the hold ends, at once if there is none; another one may have begun. */
void co_fn blk_wait_while_held(BlockBackend *blk);
/* New requests queue. */
bool main_fn blk_is_held(const BlockBackend *blk);
int main_fn blk_holds(const BlockBackend *blk);
/* Returns true when nothing is in flight; else arranges for the calling coroutine to be woken once
 * by way of @w, which has to stay until then, and returns false.  blk_drain_forget() takes that
 * back: true if the wake-up will not come. */
bool co_main_fn blk_drain_check(BlockBackend *blk, CoWaiter *w);
bool main_fn blk_drain_forget(BlockBackend *blk, CoWaiter *w);

#endif
