/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What users of the event loop are promised: timers, bottom halves, fairness, idleness, threads. */
#include "qemu/osdep.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "tests/unit/test-loop.h"

static AioContext *ctx;

/* ---- timers and bottom halves ---- */

static GString *trace;

static void append_cb(void *opaque)
{
    g_string_append(trace, opaque);
}

static void co_fn timers_entry(void *opaque)
{
    static const char *const names[] = { "c", "a", "e", "b", "d" };
    static const int order[] = { 3, 1, 5, 2, 4 };
    AioTimer t[G_N_ELEMENTS(names)];
    int64_t now = clock_ns();

    for (int i = 0; i < G_N_ELEMENTS(t); i++) {
        aio_timer_init(&t[i], ctx, append_cb, (void *)names[i]);
        aio_timer_arm(&t[i], now + order[i] * NS_PER_MS);
    }
    aio_timer_disarm(&t[3]);                            /* no b */
    aio_timer_arm(&t[0], now + 6 * NS_PER_MS);          /* c last */
    aio_timer_disarm(&t[3]);                            /* nothing to do */
    aio_co_sleep_ns(10 * NS_PER_MS);
    g_assert_cmpstr(trace->str, ==, "adec");
    g_assert_cmpint(clock_ns() - now, >=, 10 * NS_PER_MS);
    g_string_truncate(trace, 0);
}

/* Timers fire in the order of their deadlines, moved ones at the new one, disarmed ones never. */
static void test_timers(void)
{
    run_co(timers_entry, NULL);
}

static void nothing_cb(void *opaque)
{
}

static void count_cb(void *opaque)
{
    ++*(int *)opaque;
}

static void co_fn timer_heap_entry(void *opaque)
{
    enum { N = 500 };
    g_autofree AioTimer *t = g_new(AioTimer, N);
    int64_t now = clock_ns();
    int fired = 0;

    for (int i = 0; i < N; i++) {
        aio_timer_init(&t[i], ctx, i % 3 ? count_cb : nothing_cb, &fired);
        aio_timer_arm(&t[i], now + g_random_int_range(0, 1000) * 1000);
    }
    for (int i = 0; i < N; i += 3) {
        aio_timer_disarm(&t[i]);
    }
    aio_co_sleep_ns(2 * NS_PER_MS);
    g_assert_cmpint(fired, ==, N - (N + 2) / 3);
}

/* Of hundreds of timers, exactly those that were not disarmed fire. */
static void test_many_timers(void)
{
    run_co(timer_heap_entry, NULL);
}

static AioBh bh_a, bh_b;

static void again_cb(void *opaque)
{
    append_cb(opaque);
    if (trace->len < 5) {
        aio_bh_schedule(&bh_a);
    }
}

static void co_fn say_entry(void *opaque)
{
    append_cb(opaque);
}

static void co_fn bh_entry(void *opaque)
{
    aio_bh_init(&bh_a, ctx, append_cb, (void *)"a");
    aio_bh_init(&bh_b, ctx, append_cb, (void *)"b");
    aio_bh_schedule(&bh_b);
    aio_bh_schedule(&bh_a);
    aio_bh_schedule(&bh_b);     /* scheduled already: one run */
    aio_bh_schedule_oneshot(ctx, append_cb, (void *)"o");
    coroutine_start_in(ctx, say_entry, (void *)"r");
    coroutine_reschedule();     /* everything that was ready goes before them */
    append_cb((void *)".");
    coroutine_reschedule();
    aio_co_sleep_ns(1);
    /* ".": on a slow machine the turn's time may have been over before. */
    g_assert_true(strcmp(trace->str, "r.bao") == 0 || strcmp(trace->str, "rbao.") == 0);
    g_string_truncate(trace, 0);

    aio_bh_schedule(&bh_a);
    aio_bh_schedule(&bh_b);
    aio_bh_cancel(&bh_a);
    aio_bh_cancel(&bh_a);
    aio_co_sleep_ns(1);
    g_assert_cmpstr(trace->str, ==, "b");
    g_string_truncate(trace, 0);

    aio_bh_init(&bh_a, ctx, again_cb, (void *)"x");
    aio_bh_schedule(&bh_a);
    aio_co_sleep_ns(5 * NS_PER_MS);
    g_assert_cmpstr(trace->str, ==, "xxxxx");
    g_string_truncate(trace, 0);
}

/* A bottom half runs once however often it was scheduled, in order, after what was ready. */
static void test_bottom_halves(void)
{
    run_co(bh_entry, NULL);
}

/* ---- the loop ---- */

static void co_fn busy_entry(void *opaque)
{
    bool *stop = opaque;

    while (!*stop) {
        coroutine_reschedule();
    }
}

static void co_fn starve_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;
    bool stop = false;
    char c;
    struct iovec iov = { &c, 1 };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                    ==, 0);
    co_group_start(&g, busy_entry, &stop);
    g_assert_cmpint(send(pair[1], "x", 1, 0), ==, 1);
    g_assert_cmpint(aio_co_recvmsg(pair[0], &msg, 0), ==, 1);
    aio_co_sleep_ns(NS_PER_MS);
    stop = true;
    co_group_wait(&g);
    close(pair[0]);
    close(pair[1]);
}

/* A coroutine that never waits does not keep I/O and timers from the others. */
static void test_no_starvation(void)
{
    run_co(starve_entry, NULL);
}

static int64_t cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static void co_fn idle_entry(void *opaque)
{
    struct rusage before, after;
    int64_t cpu = cpu_ns();

    getrusage(RUSAGE_THREAD, &before);
    aio_co_sleep_ns(300 * NS_PER_MS);
    getrusage(RUSAGE_THREAD, &after);
    g_assert_cmpint(after.ru_nvcsw - before.ru_nvcsw, <=, 3);
    g_assert_cmpint(cpu_ns() - cpu, <, 20 * NS_PER_MS);
}

/* A loop with nothing to do sleeps. */
static void test_idle_is_idle(void)
{
    run_co(idle_entry, NULL);
}

static void on_alarm(int sig)
{
    aio_context_quit(ctx);
}

/* A signal handler may tell the loop to quit, and it may run again afterwards. */
static void test_quit_from_signal(void)
{
    struct sigaction sa = { .sa_handler = on_alarm }, old;
    struct itimerval soon = { .it_value.tv_usec = 10000 };

    sigaction(SIGALRM, &sa, &old);
    for (int i = 0; i < 2; i++) {
        setitimer(ITIMER_REAL, &soon, NULL);
        aio_context_run(ctx);
    }
    sigaction(SIGALRM, &old, NULL);
    run_co(timers_entry, NULL);
}

/* ---- thread pool ---- */

static int in_pool(void *opaque)
{
    g_usleep(20000);
    return *(int *)opaque;
}

static void co_fn pool_member(void *opaque)
{
    int n = GPOINTER_TO_INT(opaque);

    g_assert_cmpint(thread_pool_co_run(in_pool, &n), ==, n);
}

static void co_fn pool_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;
    int64_t start = clock_ns();

    for (int i = 0; i < 200; i++) {
        co_group_start(&g, pool_member, GINT_TO_POINTER(i));
    }
    g_assert_cmpint(clock_ns() - start, <, NS_PER_SEC);     /* the loop did not wait */
    co_group_wait(&g);
}

/* More blocking calls than the pool has threads all run, side by side, each with its result. */
static void test_thread_pool(void)
{
    run_co(pool_entry, NULL);
}

static int slices, slices_seen = -1;

static void look_cb(void *opaque)
{
    slices_seen = slices;
}

static void co_fn divided_entry(void *opaque)
{
    AioTimer t;

    aio_timer_init(&t, ctx, look_cb, NULL);
    aio_timer_arm(&t, clock_ns() + NS_PER_MS);
    for (slices = 0; slices < 100; slices++) {
        int64_t end = clock_ns() + NS_PER_MS / 2;
        while (clock_ns() < end) {
        }
        coroutine_reschedule();
    }
    /* Due during the second, if not before, and seen when a turn of the loop has lasted a
     * millisecond. */
    g_assert_cmpint(slices_seen, >=, 0);
    g_assert_cmpint(slices_seen, <=, 6);
}

/* Whoever divides long work gives way to timers, clients and disks, not only to coroutines. */
static void test_divided_work(void)
{
    run_co(divided_entry, NULL);
}

int main(int argc, char **argv)
{
    int ret;

    ctx = test_loop_init(&argc, &argv);
    trace = g_string_new(NULL);
    g_test_add_func("/event-loop/timers", test_timers);
    g_test_add_func("/event-loop/many-timers", test_many_timers);
    g_test_add_func("/event-loop/bottom-halves", test_bottom_halves);
    g_test_add_func("/event-loop/no-starvation", test_no_starvation);
    g_test_add_func("/event-loop/divided-work-gives-way", test_divided_work);
    g_test_add_func("/event-loop/idle-is-idle", test_idle_is_idle);
    g_test_add_func("/event-loop/quit-from-signal", test_quit_from_signal);
    g_test_add_func("/event-loop/thread-pool", test_thread_pool);
    ret = g_test_run();
    g_string_free(trace, TRUE);
    aio_context_free(ctx);
    return ret;
}
