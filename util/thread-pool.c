/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads for system calls that block, shared by all contexts of the process. */
#include "qemu/osdep.h"

#include <pthread.h>
#include <signal.h>

#include "util/aio-internal.h"

#define MAX_THREADS 64
#define IDLE_SECONDS 10

typedef struct PoolTask {       /* on the stack of the coroutine that waits */
    int (*fn)(void *opaque);
    void *opaque;
    int result;
    Coroutine *co;
    struct PoolTask *next;
} PoolTask;

static struct {
    pthread_mutex_t lock;       /* guards the rest; nothing is called while it is held */
    pthread_cond_t more;
    bool ready;                 /* ->more is initialised */
    PoolTask *head, *tail;
    int nthreads;
    int nidle;                  /* waiting for ->more, perhaps signalled but not awake yet */
    int nqueued;                /* tasks in the list; each idle thread will take one */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* With the lock held.  NULL: the thread has been idle for long and ends. */
static PoolTask *next_task(void)
{
    PoolTask *task;
    struct timespec until;
    int ret = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    pool.nidle++;
    while (!pool.head && ret != ETIMEDOUT) {
        ret = pthread_cond_timedwait(&pool.more, &pool.lock, &until);
    }
    pool.nidle--;
    task = pool.head;
    if (task) {
        pool.head = task->next;
        pool.nqueued--;
    }
    return task;
}

static void *worker(void *unused)
{
    PoolTask *task;

    pthread_mutex_lock(&pool.lock);
    while ((task = next_task())) {
        pthread_mutex_unlock(&pool.lock);
        task->result = task->fn(task->opaque);
        coroutine_wake(task->co);   /* @task is gone after this */
        pthread_mutex_lock(&pool.lock);
    }
    pool.nthreads--;
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

static void init_once(void)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool.more, &attr);
    pthread_condattr_destroy(&attr);
    pool.ready = true;
}

static bool start_thread(void)
{
    sigset_t all, old;
    pthread_attr_t attr;
    pthread_t thread;
    int ret;

    /* Signals are for the main thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    ret = pthread_create(&thread, &attr, worker, NULL);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ret == 0;
}

/* False: there is no thread to do it, and none can be had. */
static bool enqueue(PoolTask *task)
{
    bool ok;

    pthread_mutex_lock(&pool.lock);
    if (!pool.ready) {
        init_once();
    }
    if (pool.nqueued >= pool.nidle && pool.nthreads < MAX_THREADS && start_thread()) {
        pool.nthreads++;
    }
    ok = pool.nthreads > 0;
    if (ok) {
        *(pool.head ? &pool.tail->next : &pool.head) = task;
        pool.tail = task;
        pool.nqueued++;
        pthread_cond_signal(&pool.more);
    }
    pthread_mutex_unlock(&pool.lock);
    return ok;
}

int co_fn thread_pool_co_run(int (*fn)(void *opaque), void *opaque)
{
    PoolTask task = { .fn = fn, .opaque = opaque, .co = coroutine_self() };
    AioContext *ctx = coroutine_context(task.co);

    if (!enqueue(&task)) {
        return fn(opaque);
    }
    ctx->inflight++;
    coroutine_yield();
    ctx->inflight--;
    return task.result;
}
