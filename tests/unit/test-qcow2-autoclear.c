/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What autoclear bits promise: persistent bitmaps are valid as long as theirs is set and nobody
 * writes who does not care, and a bit that is not known here does not survive any write.
 */
#include "qemu/osdep.h"

#include "block/formats/qcow2/qcow2.h"
#include "tests/lib/qcow2-rig.h"

#define CLUSTER 65536
#define DISK_BYTES (4 * MiB)
#define UNKNOWN_BIT (UINT64_C(1) << 40)
#define FLAG_IN_USE 1
#define FLAG_AUTO 2

typedef struct Bitmaps {
    MemDisk *d;
    uint64_t directory, table, data;
    int64_t extension;              /* offset of its type */
} Bitmaps;

static void poke32(MemDisk *d, int64_t offset, uint32_t value)
{
    uint8_t buf[4];

    be32_store(buf, value);
    memdisk_poke(d, offset, 4, buf);
}

static void count(MemDisk *d, uint64_t offset, uint16_t n)
{
    uint64_t block = rig_load64(d, rig_load64(d, QCOW2_HDR_REFTABLE_OFFSET));
    uint8_t buf[2];

    be16_store(buf, n);
    memdisk_poke(d, block + offset / CLUSTER * 2, 2, buf);
}

/* An image with something in it and two bitmaps, one of which records changes. */
static Bitmaps co_main_fn image(void)
{
    Bitmaps b = { .d = memdisk_new("disk") };
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

    rig_create(b.d, &opts);
    BdrvLink *link = rig_open(b.d, NULL);
    rig_write(link, 0, MiB, 0x11);
    rig_close(link);
    b.directory = ROUND_UP(memdisk_length(b.d), CLUSTER);
    b.table = b.directory + CLUSTER;
    b.data = b.table + CLUSTER;
    for (uint64_t o = b.directory; o <= b.data; o += CLUSTER) {
        count(b.d, o, 1);
    }
    poke32(b.d, b.data + CLUSTER - 4, 0);
    rig_poke64(b.d, b.table, b.data);
    for (int i = 0; i < 2; i++) {
        int64_t e = b.directory + i * 32;

        rig_poke64(b.d, e, i ? 0 : b.table);
        poke32(b.d, e + 8, !i);
        poke32(b.d, e + 12, i ? 0 : FLAG_AUTO);
        /* type, granularity, length of the name */
        poke32(b.d, e + 16, UINT32_C(1) << 24 | 16 << 16 | 1);
        poke32(b.d, e + 24, (uint32_t)('a' + i) << 24);
    }
    b.extension = 112;
    while (rig_load64(b.d, b.extension)) {
        b.extension += 8 + ROUND_UP(rig_load64(b.d, b.extension) & UINT32_MAX, 8);
    }
    rig_poke64(b.d, b.extension, (uint64_t)QCOW2_EXT_BITMAPS << 32 | 24);
    rig_poke64(b.d, b.extension + 8, UINT64_C(2) << 32);
    rig_poke64(b.d, b.extension + 16, 64);
    rig_poke64(b.d, b.extension + 24, b.directory);
    rig_poke64(b.d, QCOW2_HDR_AUTOCLEAR, QCOW2_AUTOCLEAR_BITMAPS);
    return b;
}

static uint32_t flags(const Bitmaps *b, int i)
{
    return rig_load64(b->d, b->directory + i * 32 + 8) & UINT32_MAX;
}

static uint64_t autoclear(MemDisk *d)
{
    return rig_load64(d, QCOW2_HDR_AUTOCLEAR);
}

/* ---- bitmaps ---- */

static void co_main_fn test_bitmaps_are_void_once_the_disk_changes(void)
{
    Bitmaps b = image();
    BdrvLink *link = rig_open(b.d, NULL);

    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_expect(link, 0, MiB, 0x11);
    g_assert_cmpuint(flags(&b, 0), ==, FLAG_AUTO);
    rig_write(link, 0, 512, 0x22);
    g_assert_cmpuint(flags(&b, 0), ==, FLAG_AUTO | FLAG_IN_USE);
    g_assert_cmpuint(flags(&b, 1), ==, 0);              /* records nothing: still right */
    g_assert_true(bdrv_co_truncate(link, 2 * DISK_BYTES, BDRV_PREALLOC_OFF, &error_abort));
    g_assert_cmpuint(flags(&b, 1), ==, FLAG_IN_USE);    /* of another size */
    g_assert_cmpuint(autoclear(b.d), ==, QCOW2_AUTOCLEAR_BITMAPS);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_close(link);
    memdisk_free(b.d);
}

/* Writes until every free cluster was used. */
static void co_main_fn use_every_cluster(BdrvLink *link)
{
    for (int64_t i = MiB; i < DISK_BYTES; i += CLUSTER) {
        rig_write(link, i, CLUSTER, 0x33);
    }
    rig_flush(link);
    rig_expect(link, 0, MiB, 0x11);
    rig_expect(link, MiB, DISK_BYTES - MiB, 0x33);
}

/* An older program wrote to the image, and cleared the bit: where bitmaps were is anything, or
 * free. */
static void co_main_fn test_bitmaps_without_their_bit_are_nothing(void)
{
    for (int rubbish = 0; rubbish < 4; rubbish++) {
        Bitmaps b = image();
        BdrvInfo info = { 0 };

        rig_poke64(b.d, QCOW2_HDR_AUTOCLEAR, 0);
        for (uint64_t o = b.directory; o <= b.data; o += CLUSTER) {
            count(b.d, o, 0);
        }
        if (rubbish == 1) {
            rig_poke64(b.d, b.extension + 24, 12345);
        } else if (rubbish == 2) {
            poke32(b.d, b.extension + 8, 0);
        } else if (rubbish == 3) {
            rig_poke64(b.d, b.extension + 16, UINT64_MAX);
        }
        BdrvLink *link = rig_open(b.d, NULL);
        link->bs->drv->get_info(link->bs, &info);
        g_assert_cmpuint(info.qcow2.nb_bitmaps, ==, 0);
        g_assert_cmpuint(rig_check(link), ==, 0);
        use_every_cluster(link);
        g_assert_cmpuint(rig_check(link), ==, 0);
        rig_close(link);
        g_assert_cmpuint(rig_load64(b.d, QCOW2_HDR_INCOMPATIBLE), ==, 0);
        memdisk_free(b.d);
    }
}

/* A directory that makes no sense: the bit goes, and with it all that the bitmaps were. */
static void co_main_fn test_directory_without_sense_is_given_up(void)
{
    Bitmaps b = image();

    poke32(b.d, b.directory + 20, UINT32_MAX);          /* extra data */
    for (uint64_t o = b.directory; o <= b.data; o += CLUSTER) {
        count(b.d, o, 0);
    }
    BdrvLink *link = rig_open(b.d, &(RigOpen){ .no_overlap_checks = QCOW2_OL_BITMAP_DIRECTORY });
    use_every_cluster(link);
    g_assert_cmpuint(autoclear(b.d), ==, 0);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_close(link);
    memdisk_free(b.d);
}

/* The limit of other implementations: 512 MiB of bitmap, so that no image decides how long a
 * check takes. */
static void co_main_fn test_check_refuses_a_bitmap_that_is_too_large(void)
{
    static const uint32_t entries[] = { 8192, 8193, 64 * MiB, UINT32_MAX };

    for (size_t i = 0; i < G_N_ELEMENTS(entries); i++) {
        Bitmaps b = image();
        BdrvCheckResult res;

        poke32(b.d, b.directory + 8, entries[i]);
        rig_poke64(b.d, b.table + CLUSTER - 8, 0);
        BdrvLink *link = rig_open(b.d, NULL);
        unsigned reads = memdisk_counts(b.d).reads;
        g_assert_true(bdrv_co_check(link->bs, BDRV_FIX_NONE, NULL, &res, &error_abort));
        g_assert_cmpuint(res.corruptions, ==, i > 0);
        g_assert_true(i == 0 || strstr(res.first, "too large"));
        g_assert_cmpuint(memdisk_counts(b.d).reads, <, reads + 20);
        bdrv_check_result_clear(&res);
        rig_close(link);
        memdisk_free(b.d);
    }
}

/* ---- unknown bits ---- */

static void co_main_fn by_write(MemDisk *d)
{
    BdrvLink *link = rig_open(d, NULL);

    rig_write(link, 0, 512, 1);
    rig_close(link);
}

static void co_main_fn by_dirty_mark(MemDisk *d)
{
    BdrvLink *link = rig_open(d, &(RigOpen){ .lazy_refcounts = true });

    rig_write(link, 2 * MiB, CLUSTER, 1);
    rig_flush(link);
    rig_close(link);
}

static void co_main_fn by_resize(MemDisk *d)
{
    BdrvLink *link = rig_open(d, NULL);

    g_assert_true(bdrv_co_truncate(link, MiB, BDRV_PREALLOC_OFF, &error_abort));
    rig_close(link);
}

/* A read finds an entry that makes no sense: the image is marked as corrupt. */
static void co_main_fn by_corrupt_mark(MemDisk *d)
{
    uint64_t l2 = rig_load64(d, rig_load64(d, QCOW2_HDR_L1_OFFSET)) & QCOW2_OFFSET_MASK;
    uint8_t buf[512];

    rig_poke64(d, l2 + 20 * 8, 512 | QCOW2_COPIED);
    BdrvLink *link = rig_open(d, NULL);
    g_assert_cmpint(bdrv_co_pread(link, 20 * CLUSTER, 512, buf), ==, -EIO);
    rig_close(link);
    g_assert_cmpuint(rig_load64(d, QCOW2_HDR_INCOMPATIBLE), ==, QCOW2_INCOMPAT_CORRUPT);
}

static void co_main_fn repair(MemDisk *d, BdrvFix fix)
{
    BdrvLink *link = rig_open(d, &(RigOpen){ .for_check = true });
    BdrvCheckResult res;

    g_assert_true(bdrv_co_check(link->bs, fix, NULL, &res, &error_abort));
    g_assert_cmpuint(res.corruptions + res.leaks, ==, 0);
    g_assert_cmpuint(res.corruptions_fixed + res.leaks_fixed, ==, 1);
    bdrv_check_result_clear(&res);
    rig_close(link);
}

static void co_main_fn by_repair_of_leaks(MemDisk *d)
{
    count(d, ROUND_UP(memdisk_length(d), CLUSTER), 1);
    repair(d, BDRV_FIX_LEAKS);
}

static void co_main_fn by_repair(MemDisk *d)
{
    uint64_t l1 = rig_load64(d, QCOW2_HDR_L1_OFFSET);

    count(d, l1, 0);
    repair(d, BDRV_FIX_ALL);
}

static void (*const writers[])(MemDisk *d) = {
    by_write, by_dirty_mark, by_resize, by_corrupt_mark, by_repair_of_leaks, by_repair,
};

static void co_main_fn test_unknown_bits_survive_no_write(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(writers); i++) {
        Bitmaps b = image();

        rig_poke64(b.d, QCOW2_HDR_AUTOCLEAR, UNKNOWN_BIT | QCOW2_AUTOCLEAR_BITMAPS);
        BdrvLink *link = rig_open(b.d, NULL);
        rig_expect(link, 0, MiB, 0x11);
        rig_close(link);
        g_assert_cmpuint(autoclear(b.d), ==, UNKNOWN_BIT | QCOW2_AUTOCLEAR_BITMAPS);
        writers[i](b.d);
        g_assert_cmpuint(autoclear(b.d), ==, QCOW2_AUTOCLEAR_BITMAPS);
        memdisk_free(b.d);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/autoclear/bitmaps-are-void-once-the-disk-changes",
            test_bitmaps_are_void_once_the_disk_changes);
    rig_add("/qcow2/autoclear/bitmaps-without-their-bit-are-nothing",
            test_bitmaps_without_their_bit_are_nothing);
    rig_add("/qcow2/autoclear/directory-without-sense-is-given-up",
            test_directory_without_sense_is_given_up);
    rig_add("/qcow2/autoclear/check-refuses-a-bitmap-that-is-too-large",
            test_check_refuses_a_bitmap_that_is_too_large);
    rig_add("/qcow2/autoclear/unknown-bits-survive-no-write", test_unknown_bits_survive_no_write);
    return g_test_run();
}
