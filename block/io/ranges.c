/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/ranges.h"

struct BdrvRangeSet {
    pthread_mutex_t lock;                    /* held for a walk over the requests in flight */
    GQueue ranges;                  /* of BdrvRange, holders and waiters in order of arrival */
};

BdrvRangeSet *any_fn bdrv_ranges_new(void)
{
    BdrvRangeSet *set = g_new0(BdrvRangeSet, 1);
    pthread_mutex_init(&set->lock, NULL);
    return set;
}

void any_fn bdrv_ranges_free(BdrvRangeSet *set)
{
    if (set) {
        g_assert(set->ranges.length == 0);
        pthread_mutex_destroy(&set->lock);
        g_free(set);
    }
}

static bool conflict(const BdrvRange *a, const BdrvRange *b)
{
    return (a->exclusive || b->exclusive) && a->start < b->end && b->start < a->end;
}

/* May @range be held, as far as those that came before it are concerned? */
static bool is_free(const BdrvRange *range)
{
    for (const GList *e = range->entry.prev; e; e = e->prev) {
        if (conflict(range, e->data)) {
            return false;
        }
    }
    return true;
}

void co_fn bdrv_range_lock(BdrvRangeSet *set, BdrvRange *range, int64_t start, int64_t end,
                           bool exclusive)
{
    *range = (BdrvRange){ .start = start, .end = end, .exclusive = exclusive };
    range->entry.data = range;

    pthread_mutex_lock(&set->lock);
    g_queue_push_tail_link(&set->ranges, &range->entry);
    range->waiting = !is_free(range);
    range->waiter = range->waiting ? coroutine_self() : NULL;
    bool wait = range->waiting;
    pthread_mutex_unlock(&set->lock);

    if (wait) {
        coroutine_yield();
    }
}

void any_fn bdrv_range_unlock(BdrvRangeSet *set, BdrvRange *range)
{
    pthread_mutex_lock(&set->lock);
    GList *next = range->entry.next;
    g_queue_unlink(&set->ranges, &range->entry);
    for (GList *e = next; e; e = e->next) {
        BdrvRange *later = e->data;
        if (later->waiting && conflict(later, range) && is_free(later)) {
            Coroutine *co = later->waiter;
            later->waiting = false;
            coroutine_wake(co);
        }
    }
    pthread_mutex_unlock(&set->lock);
}
