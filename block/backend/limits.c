/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limits of one backend: its membership of a group, and leaving it.
 *
 * (L3) A change of membership is made by one command at a time, under throttle_lock, which keeps
 *      the backend as well; it waits for no request of another member.
 * (L4) A request that waits in the group's queue is counted in @throttled; the group is let go of
 *      when none is.
 */
#include "qemu/osdep.h"

#include "block/backend/backend-internal.h"

/* The last request that waited has left the queue. */
static void leave_queue(BlockBackend *blk)
{
    if (__atomic_sub_fetch(&blk->throttled, 1, __ATOMIC_SEQ_CST) > 0) {
        return;
    }
    pthread_mutex_lock(&blk->lock);
    if (__atomic_load_n(&blk->throttled, __ATOMIC_SEQ_CST) == 0 && blk->throttle_waiter) {
        coroutine_wake(g_steal_pointer(&blk->throttle_waiter));
    }
    pthread_mutex_unlock(&blk->lock);
}

void co_fn blk_throttle(BlockBackend *blk, bool is_write, int64_t bytes)
{
    if (!__atomic_load_n(&blk->throttle, __ATOMIC_ACQUIRE)) {
        return;
    }
    /* Counted, then looked at again: who takes the backend out of its group waits for the count. */
    __atomic_fetch_add(&blk->throttled, 1, __ATOMIC_SEQ_CST);
    ThrottleGroup *group = __atomic_load_n(&blk->throttle, __ATOMIC_SEQ_CST);
    if (group) {
        throttle_group_wait(group, blk, is_write, bytes, &blk->unlimited);
    }
    leave_queue(blk);
}

ThrottleGroup *main_fn blk_throttle_group(BlockBackend *blk)
{
    return blk->throttle;
}

/* Requests do not wait for limits any more, as long as somebody wants that. */
static void main_fn begin_unlimited(BlockBackend *blk, ThrottleGroup *group)
{
    __atomic_fetch_add(&blk->unlimited, 1, __ATOMIC_SEQ_CST);
    if (group) {
        throttle_group_release(group, blk);
    }
}

void main_fn blk_user_leaves(BlockBackend *blk)
{
    if (!blk->user_leaves) {
        begin_unlimited(blk, blk->throttle);        /* never to end */
    }
    __atomic_store_n(&blk->user_leaves, true, __ATOMIC_SEQ_CST);
    blk_update_limiting_nodes();
    blk_give_up_stopped(blk);
}

static bool limits_lifted;

void main_fn blk_lift_limits_of_nodes(void)
{
    limits_lifted = true;
    blk_update_limiting_nodes();
}

/* Does somebody wait for the requests that are inside of @bs? */
static bool main_fn is_waited_for(BlockDriverState *bs)
{
    if (limits_lifted) {
        return true;
    }
    g_autoptr(GHashTable) backends = g_hash_table_new(NULL, NULL);
    GHashTableIter i;
    gpointer key;
    bool found = false;

    bdrv_collect_backends(bs, backends);
    g_hash_table_iter_init(&i, backends);
    while (!found && g_hash_table_iter_next(&i, &key, NULL)) {
        const BlockBackend *blk = key;
        found = blk_is_held(blk) || blk->user_leaves;
    }
    return found;
}

void main_fn blk_update_limiting_nodes(void)
{
    BlockDriverState *bs = bdrv_limiting_nodes() > 0 ? bdrv_next_of_all_nodes(NULL) : NULL;

    for (; bs; bs = bdrv_next_of_all_nodes(bs)) {
        /* One that is not open yet, or is closing, has no user. */
        if (bs->drv->set_unlimited && bs->followers.length + bs->others.length > 0) {
            bs->drv->set_unlimited(bs, is_waited_for(bs));
        }
    }
}

static void co_main_fn wait_for_empty_queue(BlockBackend *blk)
{
    pthread_mutex_lock(&blk->lock);
    while (__atomic_load_n(&blk->throttled, __ATOMIC_SEQ_CST) > 0) {
        blk->throttle_waiter = coroutine_self();
        pthread_mutex_unlock(&blk->lock);
        coroutine_yield();
        pthread_mutex_lock(&blk->lock);
    }
    pthread_mutex_unlock(&blk->lock);
}

bool co_main_fn blk_set_throttle_group(BlockBackend *blk, ThrottleGroup *group)
{
    blk_ref(blk);
    co_mutex_lock(&blk->throttle_lock);
    ThrottleGroup *old = blk->throttle;
    bool there = !blk->freed || !group;

    if (there && old != group) {
        __atomic_store_n(&blk->throttle, NULL, __ATOMIC_SEQ_CST);
        if (old) {
            begin_unlimited(blk, old);
            wait_for_empty_queue(blk);
            __atomic_fetch_sub(&blk->unlimited, 1, __ATOMIC_SEQ_CST);
            throttle_group_unref(old);
        }
        __atomic_store_n(&blk->throttle, group ? throttle_group_ref(group) : NULL,
                         __ATOMIC_SEQ_CST);
    }
    co_mutex_unlock(&blk->throttle_lock);
    blk_unref(blk);
    return there;
}
