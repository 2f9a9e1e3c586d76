/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of a place: for block/backend*.c and block/quiesce.c. */
#ifndef BLOCK_BACKEND_INTERNAL_H
#define BLOCK_BACKEND_INTERNAL_H

#include "block/backend.h"
#include "block/throttle.h"

struct BlockBackend {
    char *name;                     /* NULL: cannot be named */
    char *user;                     /* what it is attached to, or NULL */
    char *iothread;                 /* or NULL */
    unsigned needs, allows;         /* claims for what it holds */
    bool write_cache;
    BdrvLink *root;                 /* NULL: empty */
    void (*resize_cb)(void *opaque);
    void *resize_opaque;
    BlkStats stats;
    int64_t io_error_reported_ns;   /* atomic: clock_ns() of the last report, 0: never */

    /* Limits.  Changed by the main thread while held, read inside a throttled wait. */
    ThrottleGroup *throttle;        /* NULL: none */
    int throttled;                  /* atomic: requests waiting for their turn */
    bool throttle_off;              /* atomic: whoever waits shall go, limits are ignored */
    BlockBackend *prev, *next;      /* all places, oldest first */

    /*
     * The request bracket.  A request counts itself in, then looks at @quiesced; who quiesces sets
     * @quiesced, then looks at @in_flight (both sequentially consistent): one of the two sees the other.
     */
    int in_flight;                  /* atomic */
    int quiesced;                   /* atomic; number of holds; changed by the main thread under @lock */
    pthread_mutex_t lock;                    /* guards the rest */
    CoWaiter *held_head, *held_tail;    /* requests that wait for the hold to end */
    Coroutine *drain_waiter;        /* who waits for in_flight to become 0 */
};

/* A request has failed with @error (-errno); inside its bracket. */
void any_fn blk_report_io_error(BlockBackend *blk, bool is_write, int error);

/* Begin a hold / end it and let the queued requests go.  Holds nest. */
void main_fn blk_hold(BlockBackend *blk);
void main_fn blk_release(BlockBackend *blk);
/* Returns true when nothing is in flight; else arranges for the calling coroutine to be woken once and
 * returns false.  blk_drain_forget() takes that back: true if the wake-up will not come. */
bool co_main_fn blk_drain_check(BlockBackend *blk);
bool main_fn blk_drain_forget(BlockBackend *blk);

#endif
