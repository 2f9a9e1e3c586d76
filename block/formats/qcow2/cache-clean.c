/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metadata that nobody used for a while leaves the memory: every cache_clean_interval seconds the
 * clean pages that were not used since the last time are dropped.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/* Pages that are looked at in one hold of the lock. */
#define BATCH 128

static void arm(Qcow2State *s)
{
    if (s->clean_interval_ns) {
        aio_timer_arm(&s->clean_timer, clock_ns() + s->clean_interval_ns);
    } else {
        aio_timer_disarm(&s->clean_timer);
    }
}

void any_fn qcow2_cache_drop_unused(Qcow2State *s)
{
    qcow2_lock(s);
    size_t left = s->cache.n_pages;
    while (left > 0) {
        size_t n = MIN(left, BATCH);

        qcow2_cache_drop_idle(&s->cache, n);
        left -= n;
        qcow2_unlock(s);            /* requests get their turn */
        qcow2_lock(s);
    }
    s->cache.round++;
    qcow2_unlock(s);
}

static void on_timer(void *opaque)
{
    Qcow2State *s = opaque;

    qcow2_cache_drop_unused(s);
    arm(s);
}

void any_fn qcow2_clean_init(Qcow2State *s, AioContext *ctx)
{
    aio_timer_init(&s->clean_timer, ctx, on_timer, s);
}

void any_fn qcow2_clean_set_interval(Qcow2State *s, int64_t seconds)
{
    s->clean_interval_ns = seconds * NS_PER_SEC;
    arm(s);
}
