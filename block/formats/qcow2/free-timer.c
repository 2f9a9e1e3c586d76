/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clusters that wait to be freed do so for a few seconds at most, also on a disk that nobody writes
 * to or flushes any more. The first one that waits arms a timer, whose callback starts a coroutine
 * for a writeback.
 *
 * Nothing of that is under way after a settling flush, as it waits for what others are freeing and
 * leaves nothing to be freed; after qcow2_free_timer_stop() not even the coroutine is.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

#define DELAY_NS (5 * NS_PER_SEC)

static bool co_fn anything_waits(Qcow2State *s)
{
    qcow2_lock(s);
    bool waits = s->frees->len > 0;
    qcow2_unlock(s);
    return waits;
}

static void co_main_fn free_entry(void *opaque)
{
    BlockDriverState *bs = opaque;
    Qcow2State *s = qcow2_state(bs);

    co_mutex_lock(&s->free_timer_lock);
    if (anything_waits(s) && qcow2_end(bs, qcow2_writeback(bs)) < 0) {
        aio_bh_schedule(&s->free_bh);       /* later, again */
    }
    co_mutex_unlock(&s->free_timer_lock);
}

static void on_timer(void *opaque)
{
    BlockDriverState *bs = opaque;

    qcow2_state(bs)->free_timer_armed = false;
    coroutine_start(free_entry, bs);
}

static void on_first_free(void *opaque)
{
    Qcow2State *s = qcow2_state(opaque);

    if (!s->free_timer_armed) {
        s->free_timer_armed = true;
        aio_timer_arm(&s->free_timer, clock_ns() + s->free_delay_ns);
    }
}

void any_fn qcow2_free_timer_init(BlockDriverState *bs, AioContext *ctx)
{
    Qcow2State *s = qcow2_state(bs);

    s->free_delay_ns = DELAY_NS;
    co_mutex_init(&s->free_timer_lock);
    aio_bh_init(&s->free_bh, ctx, on_first_free, bs);
    aio_timer_init(&s->free_timer, ctx, on_timer, bs);
}

void co_main_fn qcow2_free_timer_stop(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    /* A coroutine that runs may schedule it once more. */
    co_mutex_lock(&s->free_timer_lock);
    aio_bh_cancel(&s->free_bh);
    aio_timer_disarm(&s->free_timer);
    co_mutex_unlock(&s->free_timer_lock);
    co_mutex_destroy(&s->free_timer_lock);
}
