/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several threads with a loop each: no wake-up is lost and no lock let go, however they race.
 * Meant to be run under the thread sanitizer too.
 */
#include "qemu/osdep.h"

#include "qemu/iothread.h"
#include "tests/unit/test-loop.h"

#define THREADS 4

static IOThread *threads[THREADS];

/* ---- start coroutines on the iothreads and wait for all of them ---- */

typedef struct Crew {
    CoroutineEntry *entry;
    int per_thread;
    int running;                /* atomic */
    Coroutine *waiter;
} Crew;

typedef struct Member {
    Crew *crew;
    int index;                  /* the thread's is index % THREADS */
} Member;

static Crew crew;
static Member members[THREADS * 16];

static void co_fn member_entry(void *opaque)
{
    Member *m = opaque;

    g_assert_true(aio_context_current() == iothread_context(threads[m->index % THREADS]));
    m->crew->entry(GINT_TO_POINTER(m->index));
    if (__atomic_sub_fetch(&m->crew->running, 1, __ATOMIC_SEQ_CST) == 0) {
        coroutine_wake(m->crew->waiter);
    }
}

static void co_fn crew_entry(void *opaque)
{
    int n = crew.per_thread * THREADS;

    crew.waiter = coroutine_self();
    crew.running = n;
    for (int i = 0; i < n; i++) {
        members[i] = (Member){ &crew, i };
        coroutine_start_in(iothread_context(threads[i % THREADS]), member_entry, &members[i]);
    }
    coroutine_yield();
    g_assert_cmpint(crew.running, ==, 0);
}

/* Run @per_thread coroutines @entry(index) on each iothread; returns when all have returned. */
static void run_crew(int per_thread, CoroutineEntry *entry)
{
    g_assert_cmpint(per_thread * THREADS, <=, G_N_ELEMENTS(members));
    crew = (Crew){ .entry = entry, .per_thread = per_thread };
    run_co(crew_entry, NULL);
}

/* ---- wake-ups ---- */

static Coroutine *mailbox[THREADS * 16];    /* atomic */

/* Even indices sleep, odd ones (on another thread) wake them. */
static void co_fn wake_entry(void *opaque)
{
    int index = GPOINTER_TO_INT(opaque);
    Coroutine **box = &mailbox[index / 2];

    for (int i = 0; i < 3000; i++) {
        if (index % 2 == 0) {
            __atomic_store_n(box, coroutine_self(), __ATOMIC_RELEASE);
            /* The wake may come here, before the yield. */
            coroutine_yield();
        } else {
            Coroutine *co;

            while (!(co = __atomic_exchange_n(box, NULL, __ATOMIC_ACQUIRE))) {
                if (i % 64 == 0) {
                    aio_co_sleep_ns(1000);  /* let the other loop fall asleep at times */
                } else {
                    coroutine_reschedule();
                }
            }
            coroutine_wake(co);
        }
    }
}

/* A wake-up from another thread is never lost, before the yield, after it or in the middle. */
static void test_no_lost_wakeup(void)
{
    run_crew(4, wake_entry);
}

/* ---- locks ---- */

static CoMutex mutex;
static CoQueue filled, drained;
static int counter, inside;                 /* guarded by mutex */

static void co_fn mutex_entry(void *opaque)
{
    for (int i = 0; i < 1500; i++) {
        co_mutex_lock(&mutex);
        g_assert_cmpint(inside++, ==, 0);
        counter++;
        if (i % 16 == 0) {
            coroutine_reschedule();         /* hold it across a yield at times */
        }
        g_assert_cmpint(--inside, ==, 0);
        co_mutex_unlock(&mutex);
        if (i % 5 == 0) {
            coroutine_reschedule();
        }
    }
}

/* A mutex lets one coroutine in at a time, of all threads. */
static void test_mutex_excludes(void)
{
    counter = 0;
    co_mutex_init(&mutex);
    run_crew(4, mutex_entry);
    g_assert_cmpint(counter, ==, 4 * THREADS * 1500);
    co_mutex_destroy(&mutex);
}

static void co_fn queue_entry(void *opaque)
{
    bool producer = GPOINTER_TO_INT(opaque) % 2;

    for (int i = 0; i < 1000; i++) {
        co_mutex_lock(&mutex);
        if (producer) {
            while (counter == 3) {
                co_queue_wait(&drained, &mutex);
            }
            counter++;
            co_queue_wake_one(&filled);
        } else {
            while (counter == 0) {
                co_queue_wait(&filled, &mutex);
            }
            counter--;
            co_queue_wake_one(&drained);
        }
        g_assert_true(counter >= 0 && counter <= 3);
        co_mutex_unlock(&mutex);
    }
}

/* Producers and consumers on four threads never miss each other. */
static void test_queue_between_threads(void)
{
    counter = 0;
    co_mutex_init(&mutex);
    co_queue_init(&filled);
    co_queue_init(&drained);
    run_crew(4, queue_entry);
    g_assert_cmpint(counter, ==, 0);
    co_mutex_destroy(&mutex);
}

/* ---- bottom halves ---- */

static AioBh shared_bh;
static int posted;                          /* atomic */
static int seen, oneshots;                  /* main thread */

static void shared_cb(void *opaque)
{
    seen = __atomic_load_n(&posted, __ATOMIC_RELAXED);
}

static void oneshot_cb(void *opaque)
{
    oneshots++;
}

static void co_fn bh_entry(void *opaque)
{
    for (int i = 0; i < 2000; i++) {
        __atomic_add_fetch(&posted, 1, __ATOMIC_RELAXED);
        aio_bh_schedule(&shared_bh);
        if (i % 10 == 0) {
            aio_bh_schedule_oneshot(shared_bh.ctx, oneshot_cb, NULL);
            coroutine_reschedule();
        }
    }
}

static void co_fn settle_entry(void *opaque)
{
    aio_co_sleep_ns(NS_PER_MS);
}

/* After the last aio_bh_schedule() from any thread there is a run that sees what came before. */
static void test_bh_from_all_threads(void)
{
    aio_bh_init(&shared_bh, aio_context_current(), shared_cb, NULL);
    posted = seen = oneshots = 0;
    run_crew(2, bh_entry);
    run_co(settle_entry, NULL);
    g_assert_cmpint(seen, ==, 2 * THREADS * 2000);
    g_assert_cmpint(oneshots, ==, 2 * THREADS * 200);
}

static void co_fn bh_cancel_schedule(void *opaque)
{
    for (int i = 0; i < 5000; i++) {
        aio_bh_schedule(&shared_bh);
    }
}

static bool cancelling;

static void co_fn bh_cancel_loop(void *opaque)
{
    while (cancelling) {
        aio_bh_cancel(&shared_bh);
        coroutine_reschedule();
    }
}

static void co_fn bh_cancel_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;

    cancelling = true;
    co_group_start(&g, bh_cancel_loop, NULL);
    crew = (Crew){ .entry = bh_cancel_schedule, .per_thread = 1 };
    crew_entry(NULL);
    cancelling = false;
    co_group_wait(&g);
    /* It still works. */
    posted = 77;
    seen = 0;
    aio_bh_schedule(&shared_bh);
    aio_co_sleep_ns(NS_PER_MS);
    g_assert_cmpint(seen, ==, 77);
}

/* Cancelling a bottom half while others schedule it neither loses nor breaks it. */
static void test_bh_cancel_races(void)
{
    aio_bh_init(&shared_bh, aio_context_current(), shared_cb, NULL);
    run_co(bh_cancel_entry, NULL);
}

/* ---- thread pool ---- */

static int add_in_pool(void *opaque)
{
    return *(int *)opaque + 1;
}

static void co_fn pool_entry(void *opaque)
{
    for (int i = 0; i < 300; i++) {
        int n = GPOINTER_TO_INT(opaque) * 1000 + i;

        g_assert_cmpint(thread_pool_co_run(add_in_pool, &n), ==, n + 1);
    }
}

/* The pool serves all threads, and each coroutine goes on in its own. */
static void test_pool_for_all(void)
{
    run_crew(4, pool_entry);
}

/* ---- the threads themselves ---- */

static int tids[THREADS];

static void co_fn tid_entry(void *opaque)
{
    tids[GPOINTER_TO_INT(opaque)] = gettid();
}

/* An iothread has the name and the thread id it says it has, and knows its users. */
static void test_identity(void)
{
    context_assert_main();
    run_crew(1, tid_entry);
    for (int i = 0; i < THREADS; i++) {
        g_autofree char *id = g_strdup_printf("io%d", i);

        g_assert_cmpstr(iothread_id(threads[i]), ==, id);
        g_assert_cmpint(iothread_tid(threads[i]), ==, tids[i]);
        g_assert_cmpint(tids[i], !=, getpid());
    }
    g_assert_false(iothread_in_use(threads[0]));
    iothread_ref(threads[0]);
    iothread_ref(threads[0]);
    iothread_unref(threads[0]);
    g_assert_true(iothread_in_use(threads[0]));
    iothread_unref(threads[0]);
    g_assert_false(iothread_in_use(threads[0]));
}

static void touch_cb(void *opaque)
{
    ++*(int *)opaque;
}

/* Iothreads come and go without leaving a descriptor behind, and do first what they were told. */
static void test_come_and_go(void)
{
    int before = dup(0), after, touched = 0;

    context_assert_main();
    close(before);
    for (int i = 0; i < 20; i++) {
        IOThread *t = iothread_new("short-lived", &error_abort);

        aio_bh_schedule_oneshot(iothread_context(t), touch_cb, &touched);
        iothread_free(t);
    }
    after = dup(0);
    close(after);
    g_assert_cmpint(after, ==, before);
    g_assert_cmpint(touched, ==, 20);
}

int main(int argc, char **argv)
{
    AioContext *ctx = test_loop_init(&argc, &argv);
    int ret;

    context_assert_main();
    for (int i = 0; i < THREADS; i++) {
        g_autofree char *id = g_strdup_printf("io%d", i);
        threads[i] = iothread_new(id, &error_abort);
    }
    g_test_add_func("/iothread/no-lost-wakeup", test_no_lost_wakeup);
    g_test_add_func("/iothread/mutex-excludes", test_mutex_excludes);
    g_test_add_func("/iothread/queue-between-threads", test_queue_between_threads);
    g_test_add_func("/iothread/bh-from-all-threads", test_bh_from_all_threads);
    g_test_add_func("/iothread/bh-cancel-races", test_bh_cancel_races);
    g_test_add_func("/iothread/pool-for-all", test_pool_for_all);
    g_test_add_func("/iothread/identity", test_identity);
    g_test_add_func("/iothread/come-and-go", test_come_and_go);
    ret = g_test_run();
    for (int i = 0; i < THREADS; i++) {
        iothread_free(threads[i]);
    }
    aio_context_free(ctx);
    return ret;
}
