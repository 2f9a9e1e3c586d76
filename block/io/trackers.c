/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trackers: those that learn of changes of a node's content.
 *
 * (T1) A tracker that is added learns of every change that completes afterwards.
 * (T2) The list is read by any thread without a lock: trackers are put in front of it by one atomic
 *      store, and none is taken out while the node lives.
 */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"

void main_fn bdrv_add_write_tracker(BlockDriverState *bs, BdrvWriteTracker *tracker)
{
    tracker->next = bs->trackers;
    __atomic_store_n(&bs->trackers, tracker, __ATOMIC_RELEASE);
}

void any_fn bdrv_mark_changed(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    __atomic_fetch_add(&bs->unflushed_bytes, bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&bs->write_gen, 1, __ATOMIC_SEQ_CST);
    for (BdrvWriteTracker *t = __atomic_load_n(&bs->trackers, __ATOMIC_ACQUIRE); t; t = t->next) {
        t->written(t, bs, offset, bytes);
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
