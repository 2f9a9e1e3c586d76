/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A new size that cannot be had changes nothing, and what lies behind the end of a disk is never
 * seen. */
#include "qemu/osdep.h"

#include "block/formats/qcow2/types.h"
#include "tests/lib/qcow2-rig.h"
#include "tests/lib/qcow2-share.h"

#define OLD_BYTES (1 * MiB)
#define NEW_BYTES (300 * KiB + 512)
#define BASE_VALUE 0x22
#define DISK_VALUE 0x77

typedef struct Variant {
    const char *name;
    int64_t cluster_size;
    bool extended_l2, snapshot, backing, raw_data, compressed;
    int64_t cache_size;
} Variant;

static const Variant variants[] = {
    { "default", 65536 },
    { "tiny-clusters", 512 },
    { "tiny-cache", 512, .cache_size = 1 },
    { "backing", 4096, .backing = true },
    { "extended-l2-backing", 16384, .extended_l2 = true, .backing = true },
    { "snapshot", 4096, .snapshot = true },
    { "compressed", 65536, .compressed = true, .backing = true },
    { "raw-data-file", 4096, .raw_data = true },
};

typedef struct Bed {
    const Variant *v;
    MemDisk *d, *data, *base_disk;
    BdrvLink *base, *link;
} Bed;

static void co_main_fn bed_open(Bed *b)
{
    b->link = rig_open(b->d, &(RigOpen){ .cache_size = b->v->cache_size, .backing = b->base,
                                         .data_file = b->data });
}

static void co_main_fn bed_reopen(Bed *b)
{
    rig_close(b->link);
    bed_open(b);
}

/* The disk has data everywhere, and so has its base, which is as long. */
static void co_main_fn bed_setup(Bed *b, const Variant *v)
{
    BdrvCreateOptions opts = rig_create_options(OLD_BYTES);

    *b = (Bed){ .v = v, .d = memdisk_new("disk") };
    if (v->backing) {
        b->base_disk = memdisk_new("base");
        rig_create(b->base_disk, &opts);
        b->base = rig_open(b->base_disk, NULL);
        rig_write(b->base, 0, OLD_BYTES, BASE_VALUE);
        opts.u.qcow2.backing_file = (char *)"base";
    }
    if (v->raw_data) {
        b->data = memdisk_new("data");
        opts.u.qcow2.data_file = (char *)"data";
        opts.u.qcow2.data_file_raw = true;
    }
    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.extended_l2 = v->extended_l2;
    rig_create(b->d, &opts);
    bed_open(b);
    g_autofree uint8_t *buf = g_malloc(OLD_BYTES);
    memset(buf, DISK_VALUE, OLD_BYTES);
    g_assert_cmpint(bdrv_co_pwrite(b->link, 0, OLD_BYTES, buf,
                                   v->compressed ? BDRV_REQ_WRITE_COMPRESSED : 0), ==, 0);
    rig_flush(b->link);
    if (v->snapshot) {
        rig_close(b->link);
        qcow2_share_with_snapshot(b->d);
        bed_open(b);
    }
}

static void co_main_fn bed_teardown(Bed *b)
{
    rig_close(b->link);
    memdisk_free(b->d);
    if (b->base) {
        rig_close(b->base);
        memdisk_free(b->base_disk);
    }
    if (b->data) {
        memdisk_free(b->data);
    }
}

/* Whatever its length is: all of it is data. */
static void co_fn expect_data(BdrvLink *link)
{
    int64_t length = bdrv_length(link->bs);

    g_assert_true(length == OLD_BYTES || length == NEW_BYTES);
    rig_expect(link, 0, length, DISK_VALUE);
}

/* ---- a size that cannot be had ---- */

/* False: it did not get as far as operation @after. */
static bool co_main_fn shrink_with_fault(const Variant *v, MemDisk *(*where)(Bed *b), int64_t after,
                                         int error, bool sticky)
{
    Bed b;

    bed_setup(&b, v);
    MemDisk *failing = where(&b);
    int64_t before = memdisk_operations(failing);
    memdisk_fail(failing, after, error, sticky);
    bool ok = bdrv_co_truncate(b.link, NEW_BYTES, BDRV_PREALLOC_OFF, NULL);
    bool struck = memdisk_operations(failing) - before > after;
    memdisk_fail(failing, -1, 0, false);
    g_assert_cmpint(bdrv_length(b.link->bs), ==, ok ? NEW_BYTES : OLD_BYTES);
    expect_data(b.link);
    rig_flush(b.link);
    bed_reopen(&b);
    g_assert_cmpint(bdrv_length(b.link->bs), ==, ok ? NEW_BYTES : OLD_BYTES);
    expect_data(b.link);
    rig_check(b.link);
    /* And nothing of what was cut off comes back, however little could be cleared. */
    if (ok) {
        g_assert_true(bdrv_co_truncate(b.link, OLD_BYTES, BDRV_PREALLOC_OFF, &error_abort));
        rig_expect(b.link, 0, NEW_BYTES, DISK_VALUE);
        rig_expect(b.link, NEW_BYTES, OLD_BYTES - NEW_BYTES, 0);
    }
    bed_teardown(&b);
    return struck;
}

static MemDisk *image_of(Bed *b)
{
    return b->d;
}

static MemDisk *data_of(Bed *b)
{
    return b->data;
}

static void co_main_fn test_failed_shrinking_changes_nothing(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        const Variant *v = &variants[i];

        for (int64_t n = 0; shrink_with_fault(v, image_of, n, EIO, false);
             n += n < 24 ? 1 : n / 4) {
            shrink_with_fault(v, image_of, n, ENOSPC, true);
        }
        for (int64_t n = 0; v->raw_data && shrink_with_fault(v, data_of, n, EIO, n % 2); n++) {
        }
    }
}

static void co_main_fn judge_cut(MemDisk *d, void *opaque)
{
    Bed *b = opaque;
    MemDisk *to = memdisk_new("crashed");

    for (uint64_t seed = 0; seed < 20; seed++) {
        memdisk_crash(d, to, seed % 5, seed);
        BdrvLink *link = rig_open(to, &(RigOpen){ .backing = b->base });
        rig_check(link);
        expect_data(link);
        rig_close(link);
    }
    memdisk_free(to);
}

/* A power cut leaves the old disk or the new one. */
static void co_main_fn test_power_cut_leaves_the_old_disk_or_the_new_one(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        Bed b;

        if (variants[i].raw_data) {
            continue;               /* two disks */
        }
        bed_setup(&b, &variants[i]);
        memdisk_on_sync(b.d, judge_cut, &b);
        g_assert_true(bdrv_co_truncate(b.link, NEW_BYTES, BDRV_PREALLOC_OFF, &error_abort));
        judge_cut(b.d, &b);
        memdisk_on_sync(b.d, NULL, NULL);
        bed_teardown(&b);
    }
}

/* ---- behind the end ---- */

/* Another program made the disk shorter and left everything else as it was. */
static void co_main_fn test_growing_shows_nothing_that_was_mapped_behind_the_end(void)
{
    static const int64_t ends[] = { 0, 512, 64 * KiB, NEW_BYTES };

    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        for (size_t k = 0; k < G_N_ELEMENTS(ends); k++) {
            Bed b;

            bed_setup(&b, &variants[i]);
            rig_close(b.link);
            rig_poke64(b.d, QCOW2_HDR_SIZE, ends[k]);
            bed_open(&b);
            g_assert_true(bdrv_co_truncate(b.link, OLD_BYTES, BDRV_PREALLOC_OFF, &error_abort));
            if (ends[k]) {
                rig_expect(b.link, 0, ends[k], DISK_VALUE);
            }
            rig_expect(b.link, ends[k], OLD_BYTES - ends[k], 0);
            rig_check(b.link);
            bed_teardown(&b);
        }
    }
}

/* And one that makes it longer does not find what was cut off here, not even in the last
 * cluster. */
static void co_main_fn test_shrinking_leaves_nothing_behind_the_end(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        Bed b;

        bed_setup(&b, &variants[i]);
        g_assert_true(bdrv_co_truncate(b.link, NEW_BYTES, BDRV_PREALLOC_OFF, &error_abort));
        rig_close(b.link);
        if (b.base) {               /* without it all that is not the disk's reads as zeroes */
            rig_close(g_steal_pointer(&b.base));
            memdisk_free(b.base_disk);
        }
        rig_poke64(b.d, QCOW2_HDR_SIZE, OLD_BYTES);
        bed_open(&b);
        rig_expect(b.link, 0, NEW_BYTES, DISK_VALUE);
        rig_expect(b.link, NEW_BYTES, OLD_BYTES - NEW_BYTES, 0);
        bed_teardown(&b);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/resize-fails/failed-shrinking-changes-nothing",
            test_failed_shrinking_changes_nothing);
    rig_add("/qcow2/resize-fails/power-cut-leaves-the-old-disk-or-the-new-one",
            test_power_cut_leaves_the_old_disk_or_the_new_one);
    rig_add("/qcow2/resize-fails/growing-shows-nothing-that-was-mapped-behind-the-end",
            test_growing_shows_nothing_that_was_mapped_behind_the_end);
    rig_add("/qcow2/resize-fails/shrinking-leaves-nothing-behind-the-end",
            test_shrinking_leaves_nothing_behind_the_end);
    return g_test_run();
}
