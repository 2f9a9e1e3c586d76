/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stackful coroutines, and the locks and queues on which they wait.
 *
 * A coroutine belongs to one AioContext (one thread) for its whole life and
 * always runs there.  Whatever wakes it (coroutine_wake(), from any thread) puts
 * it on that context's ready list; it never runs on the waker's stack.
 */
#ifndef QEMU_COROUTINE_H
#define QEMU_COROUTINE_H

#include "qemu/osdep.h"

typedef struct AioContext AioContext;
typedef struct Coroutine Coroutine;
typedef void CoroutineEntry(void *opaque);

/*
 * A new coroutine of the calling thread's context, run until it first yields or
 * ends.  It frees itself when @entry returns.  Stacks are pooled per thread.
 */
void any_fn coroutine_start(CoroutineEntry *entry, void *opaque);

/*
 * The same for what somebody outside asks for, who can be told to wait: false, and nothing is
 * started, where COROUTINE_MAX_ASKED_FOR run or a stack cannot be had.
 */
bool any_fn coroutine_try_start(CoroutineEntry *entry, void *opaque);

/* How many more of those would be started for the calling thread now; others may be quicker. */
int any_fn coroutine_stacks_left(void);

/* A new coroutine of @ctx, put on its ready list; from any thread. */
void any_fn coroutine_start_in(AioContext *ctx, CoroutineEntry *entry, void *opaque);

/* The running coroutine, or NULL outside of any. */
Coroutine *any_fn coroutine_self(void);
AioContext *any_fn coroutine_context(const Coroutine *co);

/* Give up the thread until coroutine_wake().  Exactly one wake ends one yield;
 * a wake that comes between the decision to wait and the yield is not lost. */
void co_fn coroutine_yield(void);

/* Make @co runnable; from any thread.  Once per yield. */
void any_fn coroutine_wake(Coroutine *co);

/* Let everything else that is ready in this context run first. */
void co_fn coroutine_reschedule(void);

/* ---- waiting in line (users: lists below; not for drivers) ---- */

typedef struct CoWaiter {
    Coroutine *co;
    struct CoWaiter *next;
} CoWaiter;

/* ---- CoMutex: taken by coroutines of any thread, fair (first come, first served) ---- */

typedef struct CoMutex {
    GMutex guard;               /* protects the rest; held for a few instructions */
    bool locked;
    Coroutine *holder;
    CoWaiter *head, *tail;
} CoMutex;

void any_fn co_mutex_init(CoMutex *m);
void any_fn co_mutex_destroy(CoMutex *m);          /* must be unlocked */
void co_fn co_mutex_lock(CoMutex *m);
void co_fn co_mutex_unlock(CoMutex *m);
bool any_fn co_mutex_held_by_self(CoMutex *m);

/* ---- CoQueue: a condition variable under a CoMutex ---- */

typedef struct CoQueue {
    CoWaiter *head, *tail;      /* guarded by the CoMutex given to co_queue_wait() */
} CoQueue;

void any_fn co_queue_init(CoQueue *q);
/* Unlocks @m, waits for a wake-up, locks @m again. */
void co_fn co_queue_wait(CoQueue *q, CoMutex *m);
/* The caller holds the queue's CoMutex. */
void any_fn co_queue_wake_one(CoQueue *q);
void any_fn co_queue_wake_all(CoQueue *q);
bool any_fn co_queue_empty(const CoQueue *q);

/* ---- CoLimit: so many coroutines, of any thread, at a time; fair ---- */

typedef struct CoLimit {
    GMutex guard;               /* protects the rest; held for a few instructions */
    int free;
    CoWaiter *head, *tail;      /* only while free is 0 */
} CoLimit;

void any_fn co_limit_init(CoLimit *l, int max);
void any_fn co_limit_destroy(CoLimit *l);           /* nobody is in it */
void co_fn co_limit_enter(CoLimit *l);
void co_fn co_limit_leave(CoLimit *l);

/* ---- CoGroup: start several coroutines on this thread and wait for all ---- */

typedef struct CoGroup {
    int running;                /* all members run on one context: needs no lock */
    Coroutine *waiter;
} CoGroup;

#define CO_GROUP_INIT { 0, NULL }

/* Runs @entry(@opaque) as a coroutine of the calling thread's context. */
void co_fn co_group_start(CoGroup *g, CoroutineEntry *entry, void *opaque);
/* Returns when every started one has returned. */
void co_fn co_group_wait(CoGroup *g);

#endif
