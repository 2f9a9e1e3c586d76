/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a backend did: counters that any thread adds to and the main thread reads. */
#ifndef BLOCK_STATS_H
#define BLOCK_STATS_H

#include "qemu/osdep.h"

typedef enum BlkOp {
    BLK_OP_READ, BLK_OP_WRITE, BLK_OP_FLUSH, BLK_OP_UNMAP,
    BLK_OP_STATUS,              /* a look at where data is */
    BLK_OP__MAX,
} BlkOp;

/* Upper bounds of the latency histogram's bins, ns; the last bin is open. */
#define BLK_LATENCY_BINS 16

typedef struct BlkOpStats {
    uint64_t operations, bytes, failed, invalid, total_ns;
    uint64_t latency[BLK_LATENCY_BINS];         /* bin i: below blk_latency_bound(i) */
} BlkOpStats;

/* All fields are atomics with relaxed order. */
typedef struct BlkStats {
    BlkOpStats op[BLK_OP__MAX];
    uint64_t held_ns, held_count;               /* by quiescing */
    int64_t last_access_ns;                     /* clock_ns(), 0: never */
} BlkStats;

/* Upper bound (ns, exclusive) of latency bin @i; UINT64_MAX for the last. */
uint64_t any_fn blk_latency_bound(int i);
/* A finished request of @bytes bytes that began at @start_ns and returned @ret. */
void any_fn blk_stats_account(BlkStats *s, BlkOp op, int64_t bytes, int64_t start_ns, int ret);
/* A request refused before it reached the image. */
void any_fn blk_stats_invalid(BlkStats *s, BlkOp op);

#endif
