/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The n-th operation of the disk below fails, for every n, whether or not it has done what it was
 * asked for, or a part of that: the request says so, the image stays consistent, what was flushed
 * before is there, and once the disk works again so does the image.
 */
#include "qemu/osdep.h"

#include "block/formats/qcow2/types.h"
#include "tests/lib/qcow2-rig.h"
#include "tests/lib/qcow2-share.h"

typedef struct Variant {
    const char *name;
    int64_t cluster_size;
    bool extended_l2, snapshot, lazy;
    int refcount_bits;
    int64_t more;                   /* bytes behind DISK_BYTES, written before */
    int64_t cache_size;
} Variant;

static const Variant variants[] = {
    { "default", 65536 },
    { "small-clusters", 512 },
    { "extended-l2", 16384, .extended_l2 = true },
    { "snapshot", 4096, .snapshot = true },
    { "lazy", 4096, .lazy = true },
    { "tiny-cache", 512, .cache_size = 1 },
    { "refcount-table-grows", 512, .refcount_bits = 64, .more = 1536 * KiB },
};

#define DISK_BYTES (2 * MiB)
#define FLUSHED_BYTES (256 * KiB)

/* Requests of every kind; each may fail. */
static void co_fn work(BdrvLink *link)
{
    g_autofree uint8_t *buf = g_malloc(300 * KiB);

    memset(buf, 0x22, 300 * KiB);
    bdrv_co_pwrite(link, 512 * KiB, 300 * KiB, buf, 0);
    bdrv_co_pwrite(link, MiB + 512, 1024, buf, 0);
    bdrv_co_pwrite_zeroes(link, 600 * KiB, 64 * KiB, BDRV_REQ_MAY_UNMAP);
    bdrv_co_flush(link, 0);
    bdrv_co_pdiscard(link, 512 * KiB, 64 * KiB);
    bdrv_co_pwrite(link, MiB + 128 * KiB, 100 * KiB, buf, 0);
    bdrv_co_pwrite(link, MiB + 300 * KiB, 100 * KiB, buf, BDRV_REQ_WRITE_COMPRESSED);
    bdrv_co_pwrite(link, MiB + 64 * KiB, 160 * KiB, buf, BDRV_REQ_WRITE_COMPRESSED);
    bdrv_co_flush(link, BDRV_FLUSH_SETTLE);
    bdrv_co_pwrite(link, MiB + 64 * KiB, 300 * KiB, buf, BDRV_REQ_WRITE_COMPRESSED);
    bdrv_co_truncate(link, 3 * MiB, 0, NULL);
    bdrv_co_pwrite(link, DISK_BYTES - 4096, 4096, buf, 0);
    bdrv_co_flush(link, 0);
}

static void co_main_fn expect_consistent(MemDisk *d, const char *when)
{
    BdrvLink *link = rig_open(d, NULL);
    BdrvCheckResult res;

    bdrv_co_check(link->bs, BDRV_FIX_NONE, NULL, &res, &error_abort);
    if (res.corruptions) {
        g_error("%s: %s", when, res.first);
    }
    rig_expect(link, 0, FLUSHED_BYTES, 0x11);
    rig_close(link);
}

/* True: the fault struck. */
static bool co_main_fn run_with_fault(const Variant *v, int64_t after, bool sticky, int error,
                                      MemFailure failure)
{
    MemDisk *d = memdisk_new("disk"), *crashed = memdisk_new("crashed");
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES + v->more);
    g_autofree char *when = g_strdup_printf("%s, operation %" PRId64 "%s", v->name, after,
                                            sticky ? " and all later ones" : "");

    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.extended_l2 = v->extended_l2;
    opts.u.qcow2.lazy_refcounts = v->lazy;
    opts.u.qcow2.refcount_bits = v->refcount_bits ?: 16;
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, &(RigOpen){ .cache_size = v->cache_size });
    rig_write(link, 0, FLUSHED_BYTES, 0x11);
    if (v->more) {
        rig_write(link, DISK_BYTES, v->more, 0x55);
    }
    rig_flush(link);
    if (v->snapshot) {
        rig_close(link);
        qcow2_share_with_snapshot(d);
        link = rig_open(d, NULL);
    }
    int64_t before = memdisk_operations(d);
    memdisk_set_failure(d, failure);
    memdisk_fail(d, after, error, sticky);
    work(link);
    bool struck = memdisk_operations(d) - before > after;
    memdisk_fail(d, -1, 0, false);
    for (uint64_t seed = 0; seed < 4; seed += SANITIZE_ADDRESS ? 3 : 1) {
        memdisk_crash(d, crashed, seed, seed);
        expect_consistent(crashed, when);
    }
    rig_expect(link, 0, FLUSHED_BYTES, 0x11);
    rig_write(link, DISK_BYTES - 256 * KiB, 128 * KiB, 0x44);
    rig_flush(link);
    rig_expect(link, DISK_BYTES - 256 * KiB, 128 * KiB, 0x44);
    rig_close(link);
    expect_consistent(d, when);
    memdisk_free(d);
    memdisk_free(crashed);
    return struck;
}

static void co_main_fn test_failing_operation_harms_nothing(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        int64_t n = 0, step = g_test_thorough() ? 1 : RIG_STRIDE + i % 3;

        while (run_with_fault(&variants[i], n, false, EIO, MEM_FAILURE_NOTHING)) {
            MemFailure failure = n / step / 2 % 2 ? MEM_FAILURE_TORN : MEM_FAILURE_ALL;

            run_with_fault(&variants[i], n, true, ENOSPC, MEM_FAILURE_NOTHING);
            run_with_fault(&variants[i], n, n / step % 2, EIO, failure);
            /* The first ones one by one, then fewer: they are alike. */
            n += n < 60 ? step : n / 8;
        }
        g_test_message("%s: %" PRId64 " operations", variants[i].name, n);
        g_assert_cmpint(n, >, 20);
    }
}

/* A flush that failed is not forgotten: the next one writes everything again. */
static void co_main_fn test_data_survives_a_failed_flush(void)
{
    for (int64_t after = 0; after < 12; after++) {
        MemDisk *d = memdisk_new("disk"), *crashed = memdisk_new("crashed");
        BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

        rig_create(d, &opts);
        BdrvLink *link = rig_open(d, NULL);
        rig_write(link, 0, 100 * KiB, 0x33);
        memdisk_fail(d, after, EIO, false);
        int ret = bdrv_co_flush(link, 0);
        g_assert_true(ret == 0 || ret == -EIO);
        memdisk_fail(d, -1, 0, false);
        rig_flush(link);
        memdisk_crash(d, crashed, MEM_CRASH_DROP_ALL, 0);
        BdrvLink *c = rig_open(crashed, NULL);
        rig_expect(c, 0, 100 * KiB, 0x33);
        rig_check(c);
        rig_close(c);
        rig_close(link);
        memdisk_free(d);
        memdisk_free(crashed);
    }
}

/* A table that cannot be written is not the end of the others, however often it is tried. */
static void co_main_fn test_flush_writes_what_can_be_written(void)
{
    for (int known = 0; known < 2; known++) {
        MemDisk *d = memdisk_new("disk"), *crashed = memdisk_new("crashed");
        BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

        opts.u.qcow2.cluster_size = 512;        /* 32 KiB a table */
        rig_create(d, &opts);
        BdrvLink *link = rig_open(d, NULL);
        if (known) {                /* the table is on disk, and others are not */
            rig_write(link, 0, 512, 0x10);
            rig_flush(link);
        } else {
            rig_write(link, 0, 512, 0x10);
            rig_zero(link, 0, 512, 0);
        }
        for (int64_t i = 1; i < 32; i++) {
            rig_write(link, i * 32 * KiB, 512, i);
        }
        /* The first table that was made is the first cluster that was taken. */
        uint64_t first = rig_load64(d, QCOW2_HDR_L1_OFFSET) + 512;
        memdisk_set_bad(d, first, 512);
        rig_write(link, 1024, 512, 0x33);
        g_assert_cmpint(bdrv_co_flush(link, 0), ==, -EIO);
        for (int how = 0; how < 2; how++) {
            memdisk_crash(d, crashed, how ? MEM_CRASH_KEEP_ALL : MEM_CRASH_DROP_ALL, 0);
            BdrvLink *c = rig_open(crashed, NULL);
            rig_check(c);
            for (int64_t i = 1; i < 32; i++) {
                rig_expect(c, i * 32 * KiB, 512, i);
            }
            rig_expect(c, 0, 512, known ? 0x10 : 0);
            rig_expect(c, 1024, 512, 0);
            rig_close(c);
        }
        memdisk_set_bad(d, 0, 0);
        rig_flush(link);
        memdisk_crash(d, crashed, MEM_CRASH_DROP_ALL, 0);
        BdrvLink *c = rig_open(crashed, NULL);
        rig_expect(c, 1024, 512, 0x33);
        rig_check(c);
        rig_close(c);
        rig_close(link);
        memdisk_free(d);
        memdisk_free(crashed);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/faults/failing-operation-harms-nothing",
            test_failing_operation_harms_nothing);
    rig_add("/qcow2/faults/data-survives-a-failed-flush", test_data_survives_a_failed_flush);
    rig_add("/qcow2/faults/flush-writes-what-can-be-written",
            test_flush_writes_what_can_be_written);
    return g_test_run();
}
