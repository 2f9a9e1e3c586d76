/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The held instant: backends at rest together, and work on nodes that has a deadline.
 * docs/design/hold.md.
 */
#ifndef BLOCK_HOLD_H
#define BLOCK_HOLD_H

#include "block/backend.h"
#include "qemu/aio.h"

/* ---- the hold ---- */

/*
 * IDLE --bdrv_hold_begin()--> DRAINING --> HELD --bdrv_hold_end()--> IDLE
 *                                 `--- the deadline passes ---> IDLE
 */
typedef enum BdrvHoldState { BDRV_HOLD_IDLE, BDRV_HOLD_DRAINING, BDRV_HOLD_HELD } BdrvHoldState;

typedef struct BdrvHold {
    BdrvHoldState state;
    GHashTable *chosen;             /* of BlockBackend: those to hold */
    GPtrArray *backends;            /* those that are held, oldest first */
    int64_t held_since_ns;          /* clock_ns() when the first was held */
} BdrvHold;

void main_fn bdrv_hold_init(BdrvHold *h);
/* Nothing is held any more. */
void main_fn bdrv_hold_clear(BdrvHold *h);

/* Every backend from which @bs can be reached is to be held.  While idle. */
void main_fn bdrv_hold_add(BdrvHold *h, BlockDriverState *bs);

/*
 * Hold them: new requests queue, then wait for those in flight.  At @deadline_ns (clock_ns(); < 0:
 * none) it gives up: everything runs again, *@ret_late is a backend that did not come to rest, and
 * false is returned.  A backend that is held is not freed (blk_wait_while_held()).
 */
bool co_main_fn bdrv_hold_begin(BdrvHold *h, int64_t deadline_ns, BlockBackend **ret_late);
/* Let them run again.  Returns the nanoseconds the first was held; 0 if none was. */
int64_t main_fn bdrv_hold_end(BdrvHold *h);

/* Asserts what has to be true of @h in its state. */
void main_fn bdrv_hold_assert(const BdrvHold *h);

/* ---- work with a deadline ---- */

/*
 * Work on nodes, side by side, that one command waits for until a deadline.  Work on a disk that
 * does not answer cannot be called back: past the deadline it is left to itself, counted on its
 * node, which it keeps alive, and the command goes on.
 */
typedef struct BdrvWork BdrvWork;

/* In a coroutine of its own; @opaque is the work's.  False: failed, with @errp set. */
typedef bool BdrvWorkFn(BlockDriverState *bs, void *opaque, Error **errp);

typedef enum BdrvWorkResult { BDRV_WORK_DONE, BDRV_WORK_FAILED, BDRV_WORK_LATE } BdrvWorkResult;

BdrvWork *main_fn bdrv_work_new(void);
/*
 * Begin @fn(@bs, @opaque).  The caller keeps @bs alive until this returns.  @holder says who keeps
 * the node while the work goes on: "a flush that does not return".  Takes @opaque; @destroy (NULL:
 * none) frees it when the work is done.
 */
void co_main_fn bdrv_work_start(BdrvWork *w, BlockDriverState *bs, const char *holder,
                                BdrvWorkFn *fn, void *opaque, GDestroyNotify destroy);
/* Wait until all of it is done (true) or @deadline_ns (clock_ns(), < 0: none) has come.  Once. */
bool co_main_fn bdrv_work_wait(BdrvWork *w, int64_t deadline_ns);
/* After the wait: what became of the work that was started as number @i, from 0. */
BdrvWorkResult main_fn bdrv_work_result(BdrvWork *w, guint i, Error **errp);
/* After the wait. */
void co_main_fn bdrv_work_free(BdrvWork *w);

/* For work of another shape that may outlive its command: it is counted from begin to end. */
void main_fn bdrv_outliving_work_begin(void);
void main_fn bdrv_outliving_work_end(void);
/* Wait for all of that, and for all that was left to itself: at the end, before nodes are closed.
 */
void co_main_fn bdrv_outliving_work_wait(void);

#endif
