/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/stats.h"

#define LATENCY_FIRST_BOUND_NS 8192

static void add(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

uint64_t any_fn blk_latency_bound(int i)
{
    return i < BLK_LATENCY_BINS - 1 ? (uint64_t)LATENCY_FIRST_BOUND_NS << i : UINT64_MAX;
}

static int latency_bin(uint64_t ns)
{
    uint64_t units = ns / LATENCY_FIRST_BOUND_NS;
    int bin = units ? 64 - __builtin_clzll(units) : 0;

    return MIN(bin, BLK_LATENCY_BINS - 1);
}

void any_fn blk_stats_account(BlkStats *s, BlkOp op, int64_t bytes, int64_t start_ns, int ret)
{
    int64_t now = clock_ns();
    BlkOpStats *o = &s->op[op];

    __atomic_store_n(&s->last_access_ns, now, __ATOMIC_RELAXED);
    if (ret < 0) {
        add(&o->failed, 1);
        return;
    }
    add(&o->operations, 1);
    add(&o->bytes, bytes);
    add(&o->total_ns, now - start_ns);
    add(&o->latency[latency_bin(now - start_ns)], 1);
}

void any_fn blk_stats_invalid(BlkStats *s, BlkOp op)
{
    add(&s->op[op].invalid, 1);
}
