/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bringing backends to rest; docs/design/quiesce.md. */
#ifndef BLOCK_QUIESCE_H
#define BLOCK_QUIESCE_H

#include "block/backend.h"
#include "qemu/aio.h"

typedef struct BlkQuiesce {
    GPtrArray *backends;              /* of BlockBackend */
    int64_t held_since_ns;          /* clock_ns() when the first was held */
} BlkQuiesce;

/*
 * Hold every backend of @backends (a set of BlockBackend): new requests queue, then wait for those in flight.
 * At @deadline_ns (clock_ns(); < 0: none) it gives up: everything runs again, *@ret_late (may be
 * NULL) is a backend that did not come to rest, and false is returned.
 */
bool co_main_fn blk_quiesce(BlkQuiesce *q, GHashTable *backends, int64_t deadline_ns,
                            BlockBackend **ret_late);
/* As blk_quiesce(), for at most BLK_QUIESCE_TIMEOUT_NS; the error says what could not be done (@what) and
 * which disk did not come to rest. */
#define BLK_QUIESCE_TIMEOUT_NS (10 * NS_PER_SEC)
bool co_main_fn blk_quiesce_in_time(BlkQuiesce *q, GHashTable *backends, const char *what,
                                    Error **errp);
/* Let them run again.  Returns the nanoseconds the first was held. */
int64_t main_fn blk_resume(BlkQuiesce *q);

#endif
