/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits to the request and to the nanosecond, on the clock of a simulated machine: it moves when
 * everybody waits, and then as far as the first of them waits for.
 */
#include "qemu/osdep.h"

#include "qemu/throttle.h"
#include "qemu/aio.h"
#include "tests/lib/qmp-rig.h"
#include "tests/lib/sim.h"

static const int limited;           /* an "unlimited" that is 0 */

static ThrottleGroup *main_fn group_with(ThrottleLimit limit, ThrottleRate rate)
{
    ThrottleGroup *g = throttle_group_new("g", &error_abort);
    ThrottleConfig cfg;

    throttle_config_init(&cfg);
    cfg.rate[limit] = rate;
    g_assert_true(throttle_config_check(&cfg, &error_abort));
    throttle_group_set(g, &cfg);
    return g;
}

/* How many requests of @bytes, one after the other, go within @ns from now on. */
static int co_fn requests_within(ThrottleGroup *g, bool is_write, int64_t bytes, int64_t ns)
{
    int64_t end = clock_ns() + ns;
    int n = 0;

    for (;;) {
        throttle_group_wait(g, g, is_write, bytes, &limited);
        if (clock_ns() > end) {
            return n;               /* the last one is counted in the buckets, and not here */
        }
        n++;
        g_assert_cmpint(n, <, 100000);
    }
}

/* Time that @n requests take. */
static int64_t co_fn time_of(ThrottleGroup *g, bool is_write, int64_t bytes, int n)
{
    int64_t start = clock_ns();

    for (int i = 0; i < n; i++) {
        throttle_group_wait(g, g, is_write, bytes, &limited);
    }
    return clock_ns() - start;
}

/* ---- promises ---- */

/* A tenth of a second's worth goes at once, and then one each hundredth of a second. */
static void co_main_fn co_average(void *opaque)
{
    ThrottleGroup *g = group_with(THROTTLE_IOPS_TOTAL, (ThrottleRate){ 100, 0, 1 });

    g_assert_cmpint(time_of(g, true, 4096, 11), ==, 0);
    g_assert_cmpint(time_of(g, true, 4096, 1), ==, 10 * NS_PER_MS);
    g_assert_cmpint(time_of(g, false, 4096, 200), <=, 2 * NS_PER_SEC + NS_PER_MS);
    g_assert_cmpint(time_of(g, false, 4096, 200), >=, 2 * NS_PER_SEC - NS_PER_MS);
    /* Nothing is saved up beyond that however long nobody asks. */
    aio_co_sleep_ns(3600 * NS_PER_SEC);
    int n = requests_within(g, true, 4096, NS_PER_SEC);
    g_assert_cmpint(n, >=, 110);
    g_assert_cmpint(n, <=, 112);
    throttle_group_unref(g);
}

static void co_main_fn co_bytes(void *opaque)
{
    ThrottleGroup *g = group_with(THROTTLE_BPS_WRITE, (ThrottleRate){ 64 * KiB, 0, 1 });

    g_assert_cmpint(time_of(g, false, MiB, 1000), ==, 0);       /* reads have no limit */
    time_of(g, true, 64 * KiB, 1);
    /* A request that is larger than the bucket is paid for by those after it. */
    int64_t ns = time_of(g, true, 64 * KiB, 10);
    g_assert_cmpint(ns, >=, 10 * NS_PER_SEC - NS_PER_SEC / 10 - NS_PER_MS);
    g_assert_cmpint(ns, <=, 10 * NS_PER_SEC);
    throttle_group_unref(g);
}

static void co_main_fn co_bursts(void *opaque)
{
    ThrottleGroup *g = group_with(THROTTLE_IOPS_WRITE, (ThrottleRate){ 50, 300, 2 });

    g_assert_cmpint(time_of(g, true, 512, 601), ==, 0);
    int n = requests_within(g, true, 512, 10 * NS_PER_SEC);
    g_assert_cmpint(n, >=, 499);
    g_assert_cmpint(n, <=, 501);
    throttle_group_unref(g);
}

static void co_main_fn co_large_requests(void *opaque)
{
    ThrottleGroup *g = group_with(THROTTLE_IOPS_TOTAL, (ThrottleRate){ 10, 0, 1 });
    ThrottleConfig cfg;

    throttle_group_get(g, &cfg);
    cfg.iops_size = 4096;
    throttle_group_set(g, &cfg);
    time_of(g, true, 40960, 1);     /* counts as ten */
    g_assert_cmpint(time_of(g, true, 512, 1), >=, 9 * NS_PER_SEC / 10);
    throttle_group_unref(g);
}

typedef struct Member {
    ThrottleGroup *g;
    int unlimited;                  /* atomic */
    int n, done;
    int64_t ended_ns;
} Member;

static void co_fn member_entry(void *opaque)
{
    Member *m = opaque;

    for (int i = 0; i < m->n; i++) {
        throttle_group_wait(m->g, m, true, 4096, &m->unlimited);
        m->done++;
    }
    m->ended_ns = clock_ns();
}

/* All members together have the limit, and take turns. */
static void co_main_fn co_shared(void *opaque)
{
    ThrottleGroup *g = group_with(THROTTLE_IOPS_TOTAL, (ThrottleRate){ 100, 0, 1 });
    Member m[3];
    CoGroup group = CO_GROUP_INIT;
    int64_t start = clock_ns();

    for (int i = 0; i < 3; i++) {
        m[i] = (Member){ .g = g, .n = 100 };
        co_group_start(&group, member_entry, &m[i]);
    }
    aio_co_sleep_ns(NS_PER_SEC);
    int done = m[0].done + m[1].done + m[2].done;
    g_assert_cmpint(done, >=, 110);
    g_assert_cmpint(done, <=, 112);
    g_assert_cmpint(MAX(m[1].done, m[2].done) - MIN(m[1].done, m[2].done), <=, 1);
    co_group_wait(&group);
    int64_t ns = clock_ns() - start;
    g_assert_cmpint(ns, >=, 2880 * NS_PER_MS);
    g_assert_cmpint(ns, <=, 2900 * NS_PER_MS);
    throttle_group_unref(g);
}

/* Who is let go of its limit goes now, however many stand before it. */
static void co_main_fn co_released(void *opaque)
{
    ThrottleGroup *g = group_with(THROTTLE_IOPS_TOTAL, (ThrottleRate){ 1, 0, 1 });
    Member first = { .g = g, .n = 20 }, second = { .g = g, .n = 20 };
    CoGroup group = CO_GROUP_INIT;

    co_group_start(&group, member_entry, &first);
    co_group_start(&group, member_entry, &second);
    aio_co_sleep_ns(NS_PER_SEC / 2);
    int64_t now = clock_ns();
    __atomic_store_n(&second.unlimited, 1, __ATOMIC_SEQ_CST);
    throttle_group_release(g, &second);
    aio_co_sleep_ns(100 * NS_PER_MS);
    g_assert_cmpint(second.done, ==, 20);
    g_assert_cmpint(second.ended_ns, <=, now + 100 * NS_PER_MS);
    g_assert_cmpint(first.done, <, 4);
    __atomic_store_n(&first.unlimited, 1, __ATOMIC_SEQ_CST);
    throttle_group_release(g, &first);
    co_group_wait(&group);
    throttle_group_unref(g);
}

/* New limits hold from the next look of those that wait. */
static void co_main_fn co_changed(void *opaque)
{
    ThrottleGroup *g = group_with(THROTTLE_IOPS_TOTAL, (ThrottleRate){ 1, 0, 1 });
    Member m = { .g = g, .n = 1000 };
    CoGroup group = CO_GROUP_INIT;
    ThrottleConfig cfg;

    co_group_start(&group, member_entry, &m);
    aio_co_sleep_ns(NS_PER_SEC / 2);
    throttle_group_get(g, &cfg);
    cfg.rate[THROTTLE_IOPS_TOTAL].avg = 1000;
    throttle_group_set(g, &cfg);
    int64_t start = clock_ns();
    co_group_wait(&group);
    g_assert_cmpint(clock_ns() - start, <=, NS_PER_SEC + 100 * NS_PER_MS);
    throttle_group_unref(g);
}

static void run_simulated(gconstpointer entry)
{
    sim_start(1);
    qmp_rig_run((CoroutineEntry *)entry, NULL);
    sim_stop();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        CoroutineEntry *entry;
    } tests[] = {
        { "/throttle/average-is-exact", co_average },
        { "/throttle/bytes-of-one-direction", co_bytes },
        { "/throttle/bursts-are-as-long-as-they-may", co_bursts },
        { "/throttle/large-requests-count-as-several", co_large_requests },
        { "/throttle/a-group-shares-its-limit-and-takes-turns", co_shared },
        { "/throttle/leaving-waits-for-nobody", co_released },
        { "/throttle/new-limits-hold-at-once", co_changed },
    };

    g_setenv("QEMU_AIO", "threads", true);
    g_test_init(&argc, &argv, NULL);
    qmp_rig_init(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add_data_func(tests[i].path, tests[i].entry, run_simulated);
    }
    return g_test_run();
}
