/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a group snapshot promises, without a daemon around it. */
#include "qemu/osdep.h"

#include "../lib/group-rig.h"
#include "qemu/iothread.h"

static const char *const two[] = { "raw", "qcow2" };

/* After a snapshot each backend is on its overlay, the base below it, and both read as they should.
 */
static void co_main_fn pivot_entry(void *opaque)
{
    Rig *r = rig_new(2, two, 8 * MiB);
    BlockDriverState *base = blk_bs(rig_disk(r, 0));

    rig_write(r, 0, 0, 65536, 0x11);
    rig_write(r, 1, 0, 65536, 0x22);
    rig_snapshot(r, 1, &error_abort);
    g_assert(blk_bs(rig_disk(r, 0)) != base);
    g_assert(blk_bs(rig_disk(r, 0))->backing->bs == base);
    g_assert(base->read_only);
    g_assert_cmpstr(blk_bs(rig_disk(r, 0))->drv->name, ==, "qcow2");

    rig_write(r, 0, 4096, 4096, 0x33);
    g_assert(rig_verify(r, 0, 0, 4096, 0x11));
    g_assert(rig_verify(r, 0, 4096, 4096, 0x33));
    g_assert(rig_verify(r, 0, 8192, 4096, 0x11));
    g_assert(rig_verify(r, 1, 0, 65536, 0x22));
    uint8_t b;
    g_assert_cmpint(bdrv_co_pread(blk_bs(rig_disk(r, 0))->backing, 4096, 1, &b), ==, 0);
    g_assert_cmphex(b, ==, 0x11);
    rig_free(r);
    g_assert_cmpint(rig_count_nodes(), ==, 0);
}

static void test_pivot(void)
{
    rig_run(pivot_entry, NULL);
}

/* Many snapshots of the same disks: all data is there, reading through the whole chain. */
static void co_main_fn deep_entry(void *opaque)
{
    Rig *r = rig_new(2, two, 8 * MiB);

    for (int n = 1; n <= 20; n++) {
        rig_write(r, 0, n * 8192, 4096, n);
        rig_write(r, 1, n * 8192 + 512, 1024, n);
        rig_snapshot(r, n, &error_abort);
    }
    for (int n = 1; n <= 20; n++) {
        g_assert(rig_verify(r, 0, n * 8192, 4096, n));
        g_assert(rig_verify(r, 0, n * 8192 + 4096, 4096, 0));
        g_assert(rig_verify(r, 1, n * 8192 + 512, 1024, n));
        g_assert(rig_verify(r, 1, n * 8192, 512, 0));
    }
    rig_free(r);
    g_assert_cmpint(rig_count_nodes(), ==, 0);
}

static void test_deep(void)
{
    rig_run(deep_entry, NULL);
}

/* If one overlay cannot be made, nothing has changed: no file, no node, no descriptor, and the
 * correct repeat works. */
static void co_main_fn fails_as_one_entry(void *opaque)
{
    Rig *r = rig_new(2, two, 8 * MiB);
    BlockDriverState *bases[] = { blk_bs(rig_disk(r, 0)), blk_bs(rig_disk(r, 1)) };
    g_autofree char *obstacle = rig_overlay_name(r, 1, 1);
    Error *err = NULL;

    g_file_set_contents(obstacle, "precious", -1, NULL);
    g_autofree char *before = rig_files(r);
    int nodes = rig_count_nodes(), fds = rig_open_fds();

    g_assert(!rig_snapshot(r, 1, &err));
    g_assert(strstr(error_get_pretty(err), "File exists"));
    g_assert_cmpint(error_get_class(err), ==, ERROR_CLASS_OPEN_FILE_FAILED);
    g_assert_cmpint(error_get_member(err)->index, ==, 1);
    g_assert_cmpstr(error_get_member(err)->device, ==, "disk1");
    error_free(err);

    g_autofree char *after = rig_files(r);
    g_assert_cmpstr(before, ==, after);
    g_assert_cmpint(rig_count_nodes(), ==, nodes);
    g_assert_cmpint(rig_open_fds(), ==, fds);
    g_assert(blk_bs(rig_disk(r, 0)) == bases[0] && blk_bs(rig_disk(r, 1)) == bases[1]);
    rig_write(r, 0, 0, 512, 1);
    remove(obstacle);
    rig_snapshot(r, 1, &error_abort);
    rig_free(r);
}

static void test_fails_as_one(void)
{
    rig_run(fails_as_one_entry, NULL);
}

/* ---- one instant ---- */

#define PROBE_DISKS 4
#define PROBE_WRITERS 3
#define PROBE_SLOT 4096

/* Each writer writes counter n to all disks in turn, each write after the one before was
 * acknowledged. In a snapshot the counters of the disks are therefore n n n n-1 n-1: never smaller
 * before larger. */
typedef struct Writer {
    Rig *r;
    int slot;
    uint64_t counter;
    int *stop;
    int *running;
    Coroutine *done;                /* woken when the last writer ends */
} Writer;

static void co_fn writer_entry(void *opaque)
{
    Writer *w = opaque;

    while (!__atomic_load_n(w->stop, __ATOMIC_SEQ_CST)) {
        w->counter++;
        for (int i = 0; i < PROBE_DISKS; i++) {
            IoVec v;
            iovec_init_buf(&v, &w->counter, sizeof(w->counter));
            g_assert_cmpint(blk_co_pwritev(rig_disk(w->r, i), NULL, w->slot * PROBE_SLOT,
                                           sizeof(w->counter), &v, 0), ==, 0);
        }
    }
    if (__atomic_sub_fetch(w->running, 1, __ATOMIC_SEQ_CST) == 0) {
        coroutine_wake(w->done);
    }
}

static uint64_t co_main_fn read_counter(BdrvLink *link, int slot)
{
    uint64_t n;

    g_assert_cmpint(bdrv_co_pread(link, slot * PROBE_SLOT, sizeof(n), &n), ==, 0);
    return n;
}

static void co_main_fn check_instant(Rig *r)
{
    for (int slot = 0; slot < PROBE_WRITERS; slot++) {
        uint64_t first = read_counter(blk_bs(rig_disk(r, 0))->backing, slot), last = first;
        for (int i = 1; i < PROBE_DISKS; i++) {
            uint64_t n = read_counter(blk_bs(rig_disk(r, i))->backing, slot);
            g_assert_cmpuint(n, <=, last);
            g_assert_cmpuint(n + 1, >=, first);
            last = n;
        }
    }
}

static void co_main_fn instant_entry(void *opaque)
{
    static const char *const four[] = { "raw", "qcow2", "raw", "qcow2" };
    Rig *r = rig_new(PROBE_DISKS, four, 8 * MiB);
    IOThread *threads[PROBE_WRITERS];
    Writer writers[PROBE_WRITERS];
    int stop = 0, running = PROBE_WRITERS;

    for (int i = 0; i < PROBE_WRITERS; i++) {
        g_autofree char *id = g_strdup_printf("io%d", i);
        threads[i] = iothread_new(id, &error_abort);
        writers[i] = (Writer){ r, i, 0, &stop, &running, coroutine_self() };
        coroutine_start_in(iothread_context(threads[i]), writer_entry, &writers[i]);
    }
    for (int n = 1; n <= 15; n++) {
        aio_co_sleep_ns(3 * NS_PER_MS);
        rig_snapshot(r, n, &error_abort);
        check_instant(r);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    coroutine_yield();
    for (int i = 0; i < PROBE_WRITERS; i++) {
        for (int d = 0; d < PROBE_DISKS; d++) {     /* nothing that was acknowledged is lost */
            g_assert_cmpuint(read_counter(blk_root(rig_disk(r, d)), i), ==, writers[i].counter);
        }
        iothread_free(threads[i]);
    }
    rig_free(r);
}

static void test_instant(void)
{
    rig_run(instant_entry, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/group-snapshot/backends-move-to-their-overlays", test_pivot);
    g_test_add_func("/group-snapshot/twenty-generations-keep-all-data", test_deep);
    g_test_add_func("/group-snapshot/one-failure-leaves-nothing-changed", test_fails_as_one);
    g_test_add_func("/group-snapshot/one-instant-for-writers-on-several-threads", test_instant);
    return g_test_run();
}
