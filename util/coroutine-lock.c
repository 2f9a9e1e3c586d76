/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What coroutines wait on: mutex, condition, limit, group. */
#include "qemu/osdep.h"

#include "qemu/coroutine.h"
#include "util/sanitizer.h"

/* ---- lists of waiters; each waiter is on the stack of the coroutine that waits ---- */

static void waiter_append(CoWaiter **head, CoWaiter **tail, CoWaiter *w)
{
    if (*head) {
        (*tail)->next = w;
    } else {
        *head = w;
    }
    *tail = w;
}

/* The first waiter's coroutine, or NULL. */
static Coroutine *waiter_pop(CoWaiter **head, CoWaiter **tail)
{
    CoWaiter *w = *head;

    if (!w) {
        return NULL;
    }
    *head = w->next;
    if (!*head) {
        *tail = NULL;
    }
    return w->co;
}

/* ---- CoMutex ---- */

void any_fn co_mutex_init(CoMutex *m)
{
    *m = (CoMutex){ 0 };
    g_mutex_init(&m->guard);
}

void any_fn co_mutex_destroy(CoMutex *m)
{
    assert(!m->locked);
    g_mutex_clear(&m->guard);
}

void co_fn co_mutex_lock(CoMutex *m)
{
    CoWaiter w = { .co = coroutine_self() };

    guard_lock(&m->guard);
    if (!m->locked) {
        m->locked = true;
        m->holder = w.co;
        guard_unlock(&m->guard);
        return;
    }
    assert(m->holder != w.co);
    waiter_append(&m->head, &m->tail, &w);
    guard_unlock(&m->guard);
    /* The mutex is never free in between: co_mutex_unlock() makes us the holder. */
    coroutine_yield();
}

void co_fn co_mutex_unlock(CoMutex *m)
{
    Coroutine *next;

    guard_lock(&m->guard);
    assert(m->locked && m->holder == coroutine_self());
    next = waiter_pop(&m->head, &m->tail);
    m->holder = next;
    m->locked = next != NULL;
    guard_unlock(&m->guard);
    if (next) {
        coroutine_wake(next);
    }
}

bool any_fn co_mutex_held_by_self(CoMutex *m)
{
    Coroutine *self = coroutine_self();
    bool held;

    guard_lock(&m->guard);
    held = self && m->locked && m->holder == self;
    guard_unlock(&m->guard);
    return held;
}

/* ---- CoQueue ---- */

void any_fn co_queue_init(CoQueue *q)
{
    *q = (CoQueue){ 0 };
}

void co_fn co_queue_wait(CoQueue *q, CoMutex *m)
{
    CoWaiter w = { .co = coroutine_self() };

    waiter_append(&q->head, &q->tail, &w);
    co_mutex_unlock(m);
    coroutine_yield();
    co_mutex_lock(m);
}

void any_fn co_queue_wake_one(CoQueue *q)
{
    Coroutine *co = waiter_pop(&q->head, &q->tail);

    if (co) {
        coroutine_wake(co);
    }
}

void any_fn co_queue_wake_all(CoQueue *q)
{
    Coroutine *co;

    /* Popped before it is woken: the waiter is gone as soon as its coroutine runs. */
    while ((co = waiter_pop(&q->head, &q->tail))) {
        coroutine_wake(co);
    }
}

bool any_fn co_queue_empty(const CoQueue *q)
{
    return !q->head;
}

/* ---- CoLimit ---- */

void any_fn co_limit_init(CoLimit *l, int max)
{
    *l = (CoLimit){ .free = max };
    g_mutex_init(&l->guard);
}

void any_fn co_limit_destroy(CoLimit *l)
{
    assert(!l->head);
    g_mutex_clear(&l->guard);
}

void co_fn co_limit_enter(CoLimit *l)
{
    CoWaiter w = { .co = coroutine_self() };

    guard_lock(&l->guard);
    bool wait = l->free == 0;
    if (wait) {
        waiter_append(&l->head, &l->tail, &w);
    } else {
        l->free--;
    }
    guard_unlock(&l->guard);
    if (wait) {
        coroutine_yield();      /* co_limit_leave() passes its share on to us */
    }
}

void co_fn co_limit_leave(CoLimit *l)
{
    guard_lock(&l->guard);
    Coroutine *next = waiter_pop(&l->head, &l->tail);
    l->free += !next;
    guard_unlock(&l->guard);
    if (next) {
        coroutine_wake(next);
    }
}

/* ---- CoGroup ---- */

typedef struct CoGroupMember {
    CoGroup *group;
    CoroutineEntry *entry;
    void *opaque;
} CoGroupMember;

static void group_entry(void *opaque)
{
    /* Copied before the first yield: the original is on the starter's stack. */
    CoGroupMember m = *(CoGroupMember *)opaque;

    m.entry(m.opaque);
    if (--m.group->running == 0 && m.group->waiter) {
        coroutine_wake(g_steal_pointer(&m.group->waiter));
    }
}

void co_fn co_group_start(CoGroup *g, CoroutineEntry *entry, void *opaque)
{
    CoGroupMember m = { g, entry, opaque };

    g->running++;
    coroutine_start(group_entry, &m);
}

void co_fn co_group_wait(CoGroup *g)
{
    assert(!g->waiter);
    if (g->running) {
        g->waiter = coroutine_self();
        coroutine_yield();
    }
}
