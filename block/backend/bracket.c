/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bracket around each request to a backend, and holding: requests that come while a backend is
 * held queue before their bracket, and a drained backend has none in it.
 */
#include "qemu/osdep.h"

#include "block/backend/backend-internal.h"

void any_fn blk_end(BlockBackend *blk)
{
    if (__atomic_sub_fetch(&blk->in_flight, 1, __ATOMIC_SEQ_CST) > 0 ||
        __atomic_load_n(&blk->quiesced, __ATOMIC_SEQ_CST) == 0) {
        return;
    }
    WaiterList taken = { NULL };
    pthread_mutex_lock(&blk->lock);
    if (__atomic_load_n(&blk->in_flight, __ATOMIC_SEQ_CST) == 0) {
        taken = blk->drains;
        blk->drains = (WaiterList){ NULL };
    }
    pthread_mutex_unlock(&blk->lock);
    blk_wake_all(taken);
}

void any_fn blk_wake_all(WaiterList taken)
{
    for (CoWaiter *w = taken.head, *next; w; w = next) {
        next = w->next;             /* it lives on the stack of the one that is woken */
        coroutine_wake(w->co);
    }
}

void co_fn blk_wait_while_held(BlockBackend *blk)
{
    CoWaiter w = { .co = coroutine_self() };

    pthread_mutex_lock(&blk->lock);
    bool wait = __atomic_load_n(&blk->quiesced, __ATOMIC_SEQ_CST) > 0;
    if (wait) {
        waiter_list_add(&blk->held, &w);
    }
    pthread_mutex_unlock(&blk->lock);
    if (wait) {
        coroutine_yield();
    }
}

void co_fn blk_begin(BlockBackend *blk)
{
    for (;;) {
        __atomic_fetch_add(&blk->in_flight, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&blk->quiesced, __ATOMIC_SEQ_CST) == 0) {
            return;
        }
        blk_end(blk);
        blk_wait_while_held(blk);
    }
}

void main_fn blk_hold(BlockBackend *blk)
{
    __atomic_fetch_add(&blk->quiesced, 1, __ATOMIC_SEQ_CST);
}

bool main_fn blk_is_held(const BlockBackend *blk)
{
    return blk_holds(blk) > 0;
}

int main_fn blk_holds(const BlockBackend *blk)
{
    return __atomic_load_n(&blk->quiesced, __ATOMIC_SEQ_CST);
}

void main_fn blk_release(BlockBackend *blk)
{
    WaiterList taken = { NULL };

    pthread_mutex_lock(&blk->lock);
    if (__atomic_sub_fetch(&blk->quiesced, 1, __ATOMIC_SEQ_CST) == 0) {
        taken = blk->held;
        blk->held = (WaiterList){ NULL };
    }
    pthread_mutex_unlock(&blk->lock);
    blk_wake_all(taken);
}

/* Under @blk's lock.  False: @w was not there. */
static bool main_fn take_out(WaiterList *list, const CoWaiter *w)
{
    CoWaiter *prev = NULL, *e = list->head;

    while (e && e != w) {
        prev = e;
        e = e->next;
    }
    if (e) {
        *(prev ? &prev->next : &list->head) = e->next;
        list->tail = list->tail == e ? prev : list->tail;
    }
    return e != NULL;
}

bool co_main_fn blk_drain_check(BlockBackend *blk, CoWaiter *w)
{
    *w = (CoWaiter){ .co = coroutine_self() };
    pthread_mutex_lock(&blk->lock);
    waiter_list_add(&blk->drains, w);
    /* The last one may have left before that. */
    bool idle = __atomic_load_n(&blk->in_flight, __ATOMIC_SEQ_CST) == 0;
    if (idle) {
        take_out(&blk->drains, w);
    }
    pthread_mutex_unlock(&blk->lock);
    return idle;
}

bool main_fn blk_drain_forget(BlockBackend *blk, CoWaiter *w)
{
    pthread_mutex_lock(&blk->lock);
    bool waiting = take_out(&blk->drains, w);
    pthread_mutex_unlock(&blk->lock);
    return waiting;
}
