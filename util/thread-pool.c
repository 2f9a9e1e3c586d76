/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads for system calls that block, shared by all contexts of the process.
 *
 * Any of them may not return for a long time: a disk or a file system that does not answer.  So
 * there are many, and reading, writing and syncing files never has all of them: some are left for
 * the rest, which is what commands do, and what others wait for.
 */
#include "qemu/osdep.h"

#include <pthread.h>
#include <signal.h>

#include "qemu/limits.h"
#include "util/aio-internal.h"

#define IDLE_SECONDS 10
/* No function of the pool needs more, and each thread's counts against limits on address space. */
#define STACK_BYTES (512 * KiB)

typedef struct PoolTask {       /* on the stack of the coroutine that waits */
    int (*fn)(void *opaque);
    void *opaque;
    int result;
    Coroutine *co;
    struct PoolTask *next;
    bool io;
} PoolTask;

typedef struct TaskList {
    PoolTask *head, *tail;
} TaskList;

static struct {
    pthread_mutex_t lock;       /* guards the rest; nothing is called while it is held */
    pthread_cond_t more;
    bool ready;                 /* ->more is initialised */
    TaskList io, other;         /* not begun; of ->io at most THREAD_POOL_MAX_IO_THREADS at once */
    int nio;                    /* threads at work on one of ->io */
    int nthreads;
    int nidle;                  /* waiting for ->more, perhaps signalled but not awake yet */
    int nqueued;                /* tasks in both lists */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

static PoolTask *list_pop(TaskList *l)
{
    PoolTask *task = l->head;

    if (task) {
        l->head = task->next;
        pool.nqueued--;
    }
    return task;
}

static void list_append(TaskList *l, PoolTask *task)
{
    *(l->head ? &l->tail->next : &l->head) = task;
    l->tail = task;
    pool.nqueued++;
}

/* Of what may be begun now.  With the lock held. */
static PoolTask *pop_task(void)
{
    PoolTask *task = list_pop(&pool.other);

    if (!task && pool.nio < THREAD_POOL_MAX_IO_THREADS) {
        task = list_pop(&pool.io);
        pool.nio += task != NULL;
    }
    return task;
}

/* With the lock held.  NULL: the thread has been idle for long and ends. */
static PoolTask *next_task(void)
{
    PoolTask *task;
    struct timespec until;
    int ret = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SECONDS;
    pool.nidle++;
    while (!(task = pop_task()) && ret != ETIMEDOUT) {
        ret = pthread_cond_timedwait(&pool.more, &pool.lock, &until);
    }
    pool.nidle--;
    return task;
}

static void *worker(void *unused)
{
    PoolTask *task;

    pthread_mutex_lock(&pool.lock);
    while ((task = next_task())) {
        bool io = task->io;
        pthread_mutex_unlock(&pool.lock);
        task->result = task->fn(task->opaque);
        coroutine_wake(task->co);   /* @task is gone after this */
        pthread_mutex_lock(&pool.lock);
        pool.nio -= io;             /* its place is this thread's, which looks next */
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
    pthread_attr_setstacksize(&attr, STACK_BYTES);
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
    if (pool.nqueued >= pool.nidle && pool.nthreads < THREAD_POOL_MAX_THREADS && start_thread()) {
        pool.nthreads++;
    }
    ok = pool.nthreads > 0;
    if (ok) {
        list_append(task->io ? &pool.io : &pool.other, task);
        pthread_cond_signal(&pool.more);
    }
    pthread_mutex_unlock(&pool.lock);
    return ok;
}

static int co_fn run(PoolTask task)
{
    task.co = coroutine_self();
    AioContext *ctx = coroutine_context(task.co);

    if (!enqueue(&task)) {
        return task.fn(task.opaque);
    }
    ctx->inflight++;
    coroutine_yield();
    ctx->inflight--;
    return task.result;
}

int co_fn thread_pool_co_run(int (*fn)(void *opaque), void *opaque)
{
    return run((PoolTask){ .fn = fn, .opaque = opaque });
}

int co_fn thread_pool_co_run_io(int (*fn)(void *opaque), void *opaque)
{
    return run((PoolTask){ .fn = fn, .opaque = opaque, .io = true });
}
