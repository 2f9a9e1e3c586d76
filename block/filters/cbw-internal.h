/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of copy-before-write. */
#ifndef BLOCK_FILTERS_CBW_INTERNAL_H
#define BLOCK_FILTERS_CBW_INTERNAL_H

#include "block/copy-before-write.h"
#include "block/ranges.h"
#include "qemu/aio.h"

/* Copies that one node makes at a time. */
#define CBW_MAX_COPIES 64

/* The opaque of a node of copy-before-write. */
typedef struct Cbw {
    int64_t length;                 /* of the snapshot, bytes */
    int64_t cluster_size;           /* bytes, a power of two */
    HBitmap *to_copy;               /* dirty: not copied yet (B1) */
    HBitmap *readable;              /* dirty: part of the snapshot (B5) */
    BdrvRangeSet *ranges;           /* of the snapshot: whoever copies has his exclusively */
    CoLimit copies;                 /* at a time (B6) */
    int error;                      /* atomic: what broke the snapshot, -errno; 0: nothing (B7) */
    bool break_snapshot;            /* rather than fail the guest's request */
    int64_t timeout_ns;             /* of the copies for one request; 0: none */
    unsigned write_flags;           /* of writes to the target */
    AioContext *main_ctx;
    pthread_mutex_t lock;           /* guards the rest */
    int timed;                      /* copies with a deadline that run, late ones too */
    Coroutine *close_waiter;        /* waits until there are none */
} Cbw;

static inline Cbw *cbw_state(BlockDriverState *bs)
{
    return bs->opaque;
}

/* [@offset, @offset + @bytes) of the node is about to change: copies what has to be copied before.
 * 0: it may; -errno: it must not. */
int co_fn cbw_before_change(BlockDriverState *bs, int64_t offset, int64_t bytes);
/* Waits until no copy runs any more that nobody waits for. */
void co_main_fn cbw_wait_for_late_copies(Cbw *s);

#endif
