/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes that somebody is changing: nobody else changes them or becomes their user meanwhile.
 *
 * (X1) A node is marked by one owner at a time.
 * (X2) Whoever waits for a mark to go holds none, so there are no circles of waiters.
 * (X3) Claims that are being changed end before a node is marked: a pivot never moves a link whose
 *      claims are half changed.
 */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/claims.h"

static CoWaiter *waiters;           /* for any mark, or any change of claims, to end */
static unsigned marked;             /* nodes: as long as there are none, nobody has to look */

bool main_fn bdrv_change_begin(BlockDriverState *bs, const void *owner)
{
    g_assert(owner);
    if (bs->changed_by == owner) {
        return true;
    }
    if (bs->changed_by || bs->claims_change) {
        return false;
    }
    bs->changed_by = owner;
    marked++;
    return true;
}

void main_fn bdrv_change_end(BlockDriverState *bs, const void *owner)
{
    if (owner && bs->changed_by == owner) {
        g_assert(marked > 0);
        bs->changed_by = NULL;
        marked--;
        bdrv_change_wake();
    }
}

void main_fn bdrv_change_wake(void)
{
    CoWaiter *w = waiters;

    waiters = NULL;
    while (w) {
        CoWaiter *next = w->next;   /* it lives on the stack of the one that is woken */
        coroutine_wake(w->co);
        w = next;
    }
}

void co_main_fn bdrv_change_wait(void)
{
    CoWaiter w = { .co = coroutine_self(), .next = waiters };
    bool locked = bdrv_graph_is_locked_by_self();

    waiters = &w;
    if (locked) {
        bdrv_graph_unlock();
    }
    coroutine_yield();
    if (locked) {
        bdrv_graph_lock();
    }
}

bool co_main_fn bdrv_wait_until_unchanged(BlockDriverState *bs)
{
    if (marked == 0 || !bdrv_reaches_changing(bs)) {
        return false;
    }
    bdrv_change_wait();
    return true;
}
