/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ranges of a node that requests have to themselves.  Shared holders overlap each other; an
 * exclusive holder overlaps nobody.  First come, first served among those that overlap.
 */
#ifndef BLOCK_RANGES_H
#define BLOCK_RANGES_H

#include "qemu/coroutine.h"

typedef struct BdrvRangeSet BdrvRangeSet;

typedef struct BdrvRange {
    int64_t start, end;             /* bytes, [start, end) */
    bool exclusive;
    bool waiting;
    Coroutine *waiter;              /* while waiting */
    GList entry;
} BdrvRange;

BdrvRangeSet *any_fn bdrv_ranges_new(void);
void any_fn bdrv_ranges_free(BdrvRangeSet *set);

/* Waits until [@start, @end) can be held. @range lives until bdrv_range_unlock(). */
void co_fn bdrv_range_lock(BdrvRangeSet *set, BdrvRange *range, int64_t start, int64_t end,
                           bool exclusive);
void any_fn bdrv_range_unlock(BdrvRangeSet *set, BdrvRange *range);

#endif
