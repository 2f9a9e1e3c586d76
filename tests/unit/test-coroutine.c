/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What users of coroutines are promised: order, no lost wake-up, fair locks, bounded memory. */
#include "qemu/osdep.h"

#include "qemu/coroutine.h"
#include "tests/unit/test-loop.h"

/* ---- a log of what happened in which order ---- */

static GString *trace;

static void say(const char *what)
{
    g_string_append(trace, what);
}

static void expect(const char *what)
{
    g_assert_cmpstr(trace->str, ==, what);
    g_string_truncate(trace, 0);
}

/* ---- starting, yielding, waking ---- */

static Coroutine *sleeper;

static void co_fn sleeper_entry(void *opaque)
{
    say("b");
    sleeper = coroutine_self();
    coroutine_yield();
    say("e");
    sleeper = NULL;
}

static void co_fn start_entry(void *opaque)
{
    Coroutine *self = coroutine_self();

    say("a");
    coroutine_start(sleeper_entry, NULL);
    g_assert_true(coroutine_self() == self);
    say("c");
    coroutine_wake(sleeper);
    say("d");
    coroutine_reschedule();
    say("f");
}

/* A new coroutine runs at once, inside its starter; a woken one only when its waker has yielded. */
static void test_start_runs_at_once(void)
{
    g_assert_null(coroutine_self());
    run_co(start_entry, NULL);
    g_assert_null(coroutine_self());
    expect("abcdef");
}

static void co_fn wake_first_entry(void *opaque)
{
    coroutine_wake(coroutine_self());
    say("1");
    coroutine_yield();
    say("2");
}

/* A wake that comes before the yield ends that yield. */
static void test_wake_before_yield(void)
{
    run_co(wake_first_entry, NULL);
    expect("12");
}

static void co_fn letters_entry(void *opaque)
{
    for (int i = 0; i < 3; i++) {
        say(opaque);
        coroutine_reschedule();
    }
}

static void co_fn fair_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;

    co_group_start(&g, letters_entry, (void *)"x");
    co_group_start(&g, letters_entry, (void *)"y");
    co_group_start(&g, letters_entry, (void *)"z");
    co_group_wait(&g);
    say(".");
    co_group_wait(&g);          /* with nobody left: returns at once */
}

/* Coroutines that give way to each other take turns, and a group ends with its last member. */
static void test_reschedule_takes_turns(void)
{
    run_co(fair_entry, NULL);
    expect("xyzxyzxyz.");
}

static void co_fn deep_entry(void *opaque)
{
    volatile char frame[128 * 1024];
    uint64_t fold = 0;

    memset((char *)frame, 0x5a, sizeof(frame));
    coroutine_reschedule();
    for (size_t i = 0; i < sizeof(frame); i++) {
        fold += frame[i];
    }
    g_assert_cmpuint(fold, ==, sizeof(frame) * 0x5a);
}

static void co_fn many_entry(void *opaque)
{
    for (int round = 0; round < 2; round++) {
        CoGroup g = CO_GROUP_INIT;

        for (int i = 0; i < 400; i++) {
            co_group_start(&g, deep_entry, NULL);
        }
        co_group_wait(&g);
    }
}

/* Four hundred coroutines at once, each with 128 KiB on its stack, keep their own data. */
static void test_many_stacks(void)
{
    run_co(many_entry, NULL);
}

typedef struct Floats {
    double d;
} Floats;

static void co_fn floats_entry(void *opaque)
{
    Floats *f = opaque;
    double a = f->d, b = f->d * 2, c = f->d * 3;

    for (int i = 0; i < 10; i++) {
        coroutine_reschedule();
        a += 1;
        b += 2;
        c += 3;
    }
    g_assert_true(a == f->d + 10 && b == 2 * f->d + 20 && c == 3 * f->d + 30);
}

static void co_fn registers_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;
    Floats f[8];

    for (int i = 0; i < 8; i++) {
        f[i].d = i * 1.25;
        co_group_start(&g, floats_entry, &f[i]);
    }
    co_group_wait(&g);
}

/* Local variables survive a yield, whatever registers they are in. */
static void test_locals_survive(void)
{
    run_co(registers_entry, NULL);
}

/* ---- CoMutex ---- */

static CoMutex mutex;

static void co_fn lock_entry(void *opaque)
{
    say("(");
    co_mutex_lock(&mutex);
    g_assert_true(co_mutex_held_by_self(&mutex));
    say(opaque);
    coroutine_reschedule();
    say(")");
    co_mutex_unlock(&mutex);
    g_assert_false(co_mutex_held_by_self(&mutex));
}

static void co_fn mutex_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;

    co_mutex_init(&mutex);
    g_assert_false(co_mutex_held_by_self(&mutex));
    co_mutex_lock(&mutex);
    co_group_start(&g, lock_entry, (void *)"1");
    co_group_start(&g, lock_entry, (void *)"2");
    co_group_start(&g, lock_entry, (void *)"3");
    co_mutex_unlock(&mutex);
    /* It was handed over to the first in line: nobody can slip in between. */
    co_group_start(&g, lock_entry, (void *)"4");
    co_group_wait(&g);
    co_mutex_destroy(&mutex);
}

/* A mutex is held by one, and given in the order in which it was asked for. */
static void test_mutex_is_fair(void)
{
    run_co(mutex_entry, NULL);
    expect("((((1)2)3)4)");
}

/* ---- CoQueue ---- */

static CoQueue queue;

static void co_fn queue_member(void *opaque)
{
    co_mutex_lock(&mutex);
    co_queue_wait(&queue, &mutex);
    g_assert_true(co_mutex_held_by_self(&mutex));
    say(opaque);
    co_mutex_unlock(&mutex);
}

static void co_fn queue_entry(void *opaque)
{
    CoGroup g = CO_GROUP_INIT;

    co_mutex_init(&mutex);
    co_queue_init(&queue);
    g_assert_true(co_queue_empty(&queue));
    co_group_start(&g, queue_member, (void *)"1");
    co_group_start(&g, queue_member, (void *)"2");
    co_group_start(&g, queue_member, (void *)"3");
    co_mutex_lock(&mutex);
    g_assert_false(co_queue_empty(&queue));
    co_queue_wake_one(&queue);
    co_mutex_unlock(&mutex);
    coroutine_reschedule();
    coroutine_reschedule();
    say("|");
    co_mutex_lock(&mutex);
    co_queue_wake_all(&queue);
    g_assert_true(co_queue_empty(&queue));
    co_queue_wake_one(&queue);  /* of nobody */
    co_mutex_unlock(&mutex);
    co_group_wait(&g);
    co_mutex_destroy(&mutex);
}

/* One wake-up ends one wait, the oldest; waking all ends all; each holds the lock again. */
static void test_queue_wakes_in_order(void)
{
    run_co(queue_entry, NULL);
    expect("1|23");
}

int main(int argc, char **argv)
{
    AioContext *ctx = test_loop_init(&argc, &argv);
    int ret;

    trace = g_string_new(NULL);
    g_test_add_func("/coroutine/start-runs-at-once", test_start_runs_at_once);
    g_test_add_func("/coroutine/wake-before-yield", test_wake_before_yield);
    g_test_add_func("/coroutine/reschedule-takes-turns", test_reschedule_takes_turns);
    g_test_add_func("/coroutine/many-stacks", test_many_stacks);
    g_test_add_func("/coroutine/locals-survive", test_locals_survive);
    g_test_add_func("/coroutine/mutex-is-fair", test_mutex_is_fair);
    g_test_add_func("/coroutine/queue-wakes-in-order", test_queue_wakes_in_order);
    ret = g_test_run();
    g_string_free(trace, TRUE);
    aio_context_free(ctx);
    return ret;
}
