/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trackers: those that learn of changes of a node's content.
 *
 * (T1) A tracker that is added learns of every change that completes afterwards.
 * (T2) The list is read by any thread without a lock: trackers are put in front of it and taken out
 *      by one atomic store each, on the main thread.  One that was taken out still leads to those
 *      behind it.
 * (T3) Each walk over the list is counted before it looks at the list and until it has left it. A
 *      tracker that was taken out is released once the count was seen to be 0 afterwards: who has
 *      been counted since does not find it.  Walks are short and do not yield, so that comes soon;
 *      nobody waits for it.
 */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/io/io-internal.h"
#include "qemu/aio.h"

#define RETRY_NS NS_PER_MS

/* Taken out and not released yet.  Main thread. */
static BdrvWriteTracker *removed;
static AioTimer retry;
static bool retrying;

void main_fn bdrv_add_write_tracker(BlockDriverState *bs, BdrvWriteTracker *tracker)
{
    tracker->bs = bs;
    tracker->next = bs->trackers;
    __atomic_store_n(&bs->trackers, tracker, __ATOMIC_SEQ_CST);
}

/* ---- walks ---- */

/* The first tracker of @bs; NULL: there is none, and nothing to leave. */
static BdrvWriteTracker *walk_enter(BlockDriverState *bs)
{
    if (!__atomic_load_n(&bs->trackers, __ATOMIC_SEQ_CST)) {
        return NULL;
    }
    __atomic_fetch_add(&bs->tracker_walks, 1, __ATOMIC_SEQ_CST);
    BdrvWriteTracker *first = __atomic_load_n(&bs->trackers, __ATOMIC_SEQ_CST);
    if (!first) {
        __atomic_fetch_sub(&bs->tracker_walks, 1, __ATOMIC_SEQ_CST);
    }
    return first;
}

static void walk_leave(BlockDriverState *bs)
{
    __atomic_fetch_sub(&bs->tracker_walks, 1, __ATOMIC_SEQ_CST);
}

static BdrvWriteTracker *next_tracker(BdrvWriteTracker *t)
{
    return __atomic_load_n(&t->next, __ATOMIC_SEQ_CST);
}

void any_fn bdrv_mark_unflushed(BlockDriverState *bs, int64_t bytes)
{
    __atomic_fetch_add(&bs->unflushed_bytes, bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&bs->write_gen, 1, __ATOMIC_SEQ_CST);
}

void any_fn bdrv_mark_changed(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    bdrv_mark_unflushed(bs, bytes);

    BdrvWriteTracker *first = walk_enter(bs);
    for (BdrvWriteTracker *t = first; t; t = next_tracker(t)) {
        t->written(t, bs, offset, bytes);
    }
    if (first) {
        walk_leave(bs);
    }
}

void any_fn bdrv_mark_written(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    uint64_t end = offset + bytes;
    uint64_t seen = __atomic_load_n(&bs->wr_highest_offset, __ATOMIC_RELAXED);

    while (seen < end && !__atomic_compare_exchange_n(&bs->wr_highest_offset, &seen, end, true,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    bdrv_mark_changed(bs, offset, bytes);
}

bool any_fn bdrv_trackers_reserve(BlockDriverState *bs, int64_t length, Error **errp)
{
    BdrvWriteTracker *first = walk_enter(bs);
    bool ok = true;

    for (BdrvWriteTracker *t = first; t && ok; t = next_tracker(t)) {
        ok = !t->reserve || t->reserve(t, bs, length, errp);
    }
    if (first) {
        walk_leave(bs);
    }
    return ok;
}

void any_fn bdrv_trackers_resized(BlockDriverState *bs, int64_t length)
{
    BdrvWriteTracker *first = walk_enter(bs);

    for (BdrvWriteTracker *t = first; t; t = next_tracker(t)) {
        if (t->resized) {
            t->resized(t, bs, length);
        }
    }
    if (first) {
        walk_leave(bs);
    }
}

/* ---- taking out ---- */

static void main_fn unlink_tracker(BdrvWriteTracker *tracker)
{
    BdrvWriteTracker **p = &tracker->bs->trackers;

    while (*p != tracker) {
        p = &(*p)->next;
    }
    __atomic_store_n(p, tracker->next, __ATOMIC_SEQ_CST);
}

/* Releases those that were removed from @bs, or NULL: from any node, and are found by nobody. */
static void main_fn release_removed(BlockDriverState *bs)
{
    BdrvWriteTracker **p = &removed;

    while (*p) {
        BdrvWriteTracker *t = *p;

        if ((bs && t->bs != bs) || __atomic_load_n(&t->bs->tracker_walks, __ATOMIC_SEQ_CST) > 0) {
            p = &t->next_removed;
            continue;
        }
        *p = t->next_removed;
        t->release(t);
    }
}

static void main_fn retry_cb(void *opaque)
{
    release_removed(NULL);
    retrying = removed != NULL;
    if (retrying) {
        aio_timer_arm(&retry, clock_ns() + RETRY_NS);
    }
}

void main_fn bdrv_remove_write_tracker(BdrvWriteTracker *tracker)
{
    BlockDriverState *bs = tracker->bs;

    unlink_tracker(tracker);
    if (__atomic_load_n(&bs->tracker_walks, __ATOMIC_SEQ_CST) == 0) {
        tracker->release(tracker);
        return;
    }
    /* Walkers go on from it along the old @next: the list of those removed needs another one. */
    tracker->next_removed = removed;
    removed = tracker;
    if (!retrying) {
        retrying = true;
        aio_timer_init(&retry, aio_context_current(), retry_cb, NULL);
        aio_timer_arm(&retry, clock_ns() + RETRY_NS);
    }
}

void main_fn bdrv_free_write_trackers(BlockDriverState *bs)
{
    g_assert(__atomic_load_n(&bs->tracker_walks, __ATOMIC_SEQ_CST) == 0);
    while (bs->trackers) {
        BdrvWriteTracker *tracker = bs->trackers;
        bs->trackers = tracker->next;
        tracker->release(tracker);
    }
    release_removed(bs);
    if (!removed && retrying) {
        retrying = false;
        aio_timer_disarm(&retry);
    }
}
