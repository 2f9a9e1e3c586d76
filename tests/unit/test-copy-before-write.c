/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What copy-before-write costs, and what jobs and readers of the snapshot can rely on. */
#include "qemu/osdep.h"

#include "block/copy-before-write.h"
#include "qemu/aio.h"
#include "tests/lib/qcow2-rig.h"

#define CLUSTER (64 * KiB)
#define DISK_BYTES (8 * MiB - 512)

typedef struct Setup {
    MemDisk *source, *target;
    BdrvLink *cbw;
    uint8_t *old;                   /* the disk as it was */
} Setup;

static void co_main_fn setup_open(Setup *s, bool break_snapshot)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("copy-before-write");
    BdrvLinkSpec spec = {
        .allows = CLAIM_ALL, .holder = "test", .follows = true, .needs = CLAIM_READ | CLAIM_WRITE,
    };
    uint64_t seed = 1;

    *s = (Setup){ memdisk_new("source"), memdisk_new("target"), .old = g_malloc(DISK_BYTES) };
    for (int64_t i = 0; i < DISK_BYTES; i += 512) {
        memset(s->old + i, 1 + rig_random(&seed) % 255, MIN(512, DISK_BYTES - i));
    }
    memset(s->old + 4 * MiB, 0, MiB);
    memdisk_set_content(s->source, s->old, DISK_BYTES);
    g_autofree uint8_t *none = g_malloc0(DISK_BYTES);
    memdisk_set_content(s->target, none, DISK_BYTES);
    opts->file.options = memdisk_options(s->source, false);
    opts->u.cbw.target.options = memdisk_options(s->target, false);
    opts->u.cbw.break_snapshot = break_snapshot;
    opts->discard = true;
    s->cbw = bdrv_open(opts, &spec, &error_abort);
    g_assert_cmpint(bdrv_cbw_cluster_size(s->cbw->bs), ==, CLUSTER);
}

static void co_main_fn setup_close(Setup *s)
{
    bdrv_link_free(s->cbw);
    memdisk_free(s->source);
    memdisk_free(s->target);
    g_free(s->old);
}

static int co_fn read_snapshot(Setup *s, int64_t offset, int64_t bytes, void *buf)
{
    IoVec v;

    iovec_init_buf(&v, buf, bytes);
    return bdrv_cbw_co_preadv_snapshot(s->cbw->bs, offset, bytes, &v);
}

static void co_fn expect_old(Setup *s, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    g_assert_cmpint(read_snapshot(s, offset, bytes, buf), ==, 0);
    g_assert_cmpint(memcmp(buf, s->old + offset, bytes), ==, 0);
}

static MemCounts since(MemDisk *d, MemCounts before)
{
    MemCounts now = memdisk_counts(d);

    return (MemCounts){ now.reads - before.reads, now.writes - before.writes,
                        now.zeroes - before.zeroes, now.discards - before.discards,
                        now.flushes - before.flushes };
}

static void co_main_fn test_a_copy_is_one_read_and_one_write(void)
{
    MemCounts src, dst;
    Setup s;

    setup_open(&s, false);
    src = memdisk_counts(s.source), dst = memdisk_counts(s.target);
    rig_write(s.cbw, CLUSTER + 5000, 100, 0xee);
    g_assert_cmpuint(since(s.source, src).reads, ==, 1);
    g_assert_cmpuint(since(s.target, dst).writes, ==, 1);
    /* again: nothing but the write */
    src = memdisk_counts(s.source), dst = memdisk_counts(s.target);
    rig_write(s.cbw, CLUSTER, CLUSTER, 0xef);
    g_assert_cmpuint(since(s.source, src).reads, ==, 0);
    g_assert_cmpuint(since(s.source, src).writes, ==, 1);
    g_assert_cmpuint(since(s.target, dst).writes + since(s.target, dst).reads, ==, 0);
    /* neighbours, of which one is there already */
    src = memdisk_counts(s.source), dst = memdisk_counts(s.target);
    rig_write(s.cbw, 100, 8 * CLUSTER, 0xed);
    g_assert_cmpuint(since(s.source, src).reads, ==, 2);
    g_assert_cmpuint(since(s.target, dst).writes, ==, 2);
    /* zeroes are written as such */
    src = memdisk_counts(s.source), dst = memdisk_counts(s.target);
    rig_write(s.cbw, 4 * MiB, MiB, 0xec);
    g_assert_cmpuint(since(s.source, src).reads, ==, 1);
    g_assert_cmpuint(since(s.target, dst).writes, ==, 0);
    g_assert_cmpuint(since(s.target, dst).zeroes, ==, 1);
    expect_old(&s, 0, DISK_BYTES);
    setup_close(&s);
}

static void co_main_fn test_jobs_and_guests_share_copies(void)
{
    Setup s;
    int64_t copied;

    setup_open(&s, false);
    HBitmap *to_copy = bdrv_cbw_to_copy(s.cbw->bs);
    rig_write(s.cbw, 0, 3 * CLUSTER, 0xee);
    g_assert_cmpint(hbitmap_count(to_copy), ==, ROUND_UP(DISK_BYTES, CLUSTER) - 3 * CLUSTER);
    MemCounts src = memdisk_counts(s.source);
    g_assert_cmpint(bdrv_cbw_co_copy(s.cbw->bs, CLUSTER, 4 * CLUSTER, &copied, NULL), ==, 0);
    g_assert_cmpint(copied, ==, 2 * CLUSTER);
    g_assert_cmpuint(since(s.source, src).reads, ==, 1);
    g_assert_cmpint(bdrv_cbw_co_copy(s.cbw->bs, 0, DISK_BYTES, &copied, NULL), ==, 0);
    g_assert_cmpint(copied, ==, DISK_BYTES - 5 * CLUSTER);
    g_assert_cmpint(hbitmap_count(to_copy), ==, 0);
    rig_zero(s.cbw, 0, DISK_BYTES, 0);
    expect_old(&s, 0, DISK_BYTES);
    g_autofree uint8_t *target = g_malloc(DISK_BYTES);
    memdisk_read(s.target, 0, DISK_BYTES, target);
    g_assert_cmpint(memcmp(target, s.old, DISK_BYTES), ==, 0);
    setup_close(&s);
}

static void co_main_fn test_what_is_not_wanted_is_not_copied(void)
{
    HBitmap *which = hbitmap_new(DISK_BYTES, 4096);
    uint8_t buf[512];
    Setup s;

    setup_open(&s, false);
    hbitmap_set(which, 2 * CLUSTER + 5000, 10);
    hbitmap_set(which, 5 * CLUSTER, 1);
    bdrv_cbw_set_to_copy(s.cbw->bs, which);
    g_assert_cmpint(hbitmap_count(bdrv_cbw_to_copy(s.cbw->bs)), ==, 2 * CLUSTER);
    MemCounts dst = memdisk_counts(s.target);
    rig_write(s.cbw, 0, 2 * CLUSTER, 0xee);
    g_assert_cmpuint(since(s.target, dst).writes, ==, 0);
    expect_old(&s, 2 * CLUSTER, CLUSTER);
    g_assert_cmpint(read_snapshot(&s, 0, 512, buf), ==, -EACCES);
    g_assert_cmpint(read_snapshot(&s, 3 * CLUSTER - 1, 2, buf), ==, -EACCES);
    /* a part of a cluster is not enough */
    g_assert_cmpint(bdrv_cbw_co_forget(s.cbw->bs, 2 * CLUSTER, CLUSTER - 512, true), ==, 0);
    expect_old(&s, 2 * CLUSTER, CLUSTER);
    g_assert_cmpint(bdrv_cbw_co_forget(s.cbw->bs, 2 * CLUSTER, CLUSTER, true), ==, 0);
    g_assert_cmpint(read_snapshot(&s, 2 * CLUSTER, 512, buf), ==, -EACCES);
    g_assert_cmpint(hbitmap_count(bdrv_cbw_to_copy(s.cbw->bs)), ==, CLUSTER);
    rig_write(s.cbw, 2 * CLUSTER, CLUSTER, 0xee);
    g_assert_cmpuint(since(s.target, dst).writes, ==, 0);
    hbitmap_free(which);
    setup_close(&s);
}

/* Each operation of the target and of the source fails once. */
static void co_main_fn run_with_failure(bool of_target, bool break_snapshot, int64_t nth)
{
    g_autofree uint8_t *data = g_malloc(3 * CLUSTER), *now = g_malloc(DISK_BYTES);
    uint8_t buf[512];
    Setup s;

    setup_open(&s, break_snapshot);
    memset(data, 0xee, 3 * CLUSTER);
    memdisk_fail(of_target ? s.target : s.source, nth, EIO, true);
    int ret = bdrv_co_pwrite(s.cbw, CLUSTER / 2, 3 * CLUSTER, data, 0);
    memdisk_fail(s.target, -1, 0, false);
    memdisk_fail(s.source, -1, 0, false);
    g_assert_cmpint(bdrv_co_pread(s.cbw, 0, DISK_BYTES, now), ==, 0);
    if (!break_snapshot || !bdrv_cbw_error(s.cbw->bs)) {
        expect_old(&s, 0, DISK_BYTES);
        g_assert_true(ret == 0 || ret == -EIO);
    } else {
        g_assert_cmpint(bdrv_cbw_error(s.cbw->bs), ==, -EIO);
        g_assert_cmpint(read_snapshot(&s, 0, 512, buf), ==, -EACCES);
        g_assert_cmpint(bdrv_cbw_co_copy(s.cbw->bs, 0, DISK_BYTES, NULL, NULL), ==, -EIO);
    }
    if (ret == 0) {
        g_assert_cmpint(memcmp(now + CLUSTER / 2, data, 3 * CLUSTER), ==, 0);
    }
    setup_close(&s);
}

static void co_main_fn test_a_failure_harms_one_of_the_two(void)
{
    for (int i = 0; i < 16; i++) {
        run_with_failure(i & 1, i & 2, i >> 2);
    }
}

/* ---- side by side ---- */

typedef struct Worker {
    Setup *s;
    uint64_t seed;
    int kind;
} Worker;

static void co_fn worker_entry(void *opaque)
{
    Worker *w = opaque;

    for (int i = 0; i < 60; i++) {
        int64_t n = 1 + rig_random(&w->seed) % (3 * CLUSTER);
        int64_t at = rig_random(&w->seed) % (DISK_BYTES - n);

        if (w->kind == 0) {
            rig_write(w->s->cbw, at, n, rig_random(&w->seed) % 256);
        } else if (w->kind == 1) {
            expect_old(w->s, at, n);
        } else {
            g_assert_cmpint(bdrv_cbw_co_copy(w->s->cbw->bs, at, n, NULL, NULL), ==, 0);
        }
        coroutine_reschedule();
    }
}

static void co_main_fn test_guests_readers_and_a_job_side_by_side(void)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        CoGroup group = CO_GROUP_INIT;
        Worker workers[9];
        Setup s;

        setup_open(&s, false);
        memdisk_shuffle(s.source, 2);
        memdisk_shuffle(s.target, 2);
        for (size_t i = 0; i < G_N_ELEMENTS(workers); i++) {
            workers[i] = (Worker){ &s, seed * 100 + i, i % 3 };
            co_group_start(&group, worker_entry, &workers[i]);
        }
        co_group_wait(&group);
        expect_old(&s, 0, DISK_BYTES);
        setup_close(&s);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/copy-before-write/a-copy-is-one-read-and-one-write",
            test_a_copy_is_one_read_and_one_write);
    rig_add("/copy-before-write/jobs-and-guests-share-copies", test_jobs_and_guests_share_copies);
    rig_add("/copy-before-write/what-is-not-wanted-is-not-copied",
            test_what_is_not_wanted_is_not_copied);
    rig_add("/copy-before-write/a-failure-harms-one-of-the-two",
            test_a_failure_harms_one_of_the_two);
    rig_add("/copy-before-write/guests-readers-and-a-job-side-by-side",
            test_guests_readers_and_a_job_side_by_side);
    return g_test_run();
}
