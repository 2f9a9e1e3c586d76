/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A new size: what was there stays, what is new reads as zeroes, what cannot be done is refused. */
#include "qemu/osdep.h"

#include "block/formats/qcow2/entry.h"
#include "tests/lib/qcow2-rig.h"
#include "tests/lib/qcow2-share.h"

static void co_main_fn test_growing_keeps_data_and_adds_zeroes(void)
{
    static const BdrvPrealloc modes[] = {
        BDRV_PREALLOC_OFF, BDRV_PREALLOC_METADATA, BDRV_PREALLOC_FALLOC, BDRV_PREALLOC_FULL,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        MemDisk *d = memdisk_new("disk");
        BdrvCreateOptions opts = rig_create_options(100 * KiB);

        opts.u.qcow2.cluster_size = 512;        /* the L1 table must grow as well */
        rig_create(d, &opts);
        BdrvLink *link = rig_open(d, NULL);
        rig_write(link, 0, 100 * KiB, 0x77);
        g_assert_true(bdrv_co_truncate(link, 2 * MiB, modes[i], &error_abort));
        rig_expect(link, 0, 100 * KiB, 0x77);
        rig_expect(link, 100 * KiB, 2 * MiB - 100 * KiB, 0);
        rig_write(link, 2 * MiB - 512, 512, 0x78);
        g_assert_cmpuint(rig_check(link), ==, 0);
        rig_close(link);
        link = rig_open(d, NULL);
        g_assert_cmpint(bdrv_length(link->bs), ==, 2 * MiB);
        rig_expect(link, 0, 100 * KiB, 0x77);
        rig_expect(link, 2 * MiB - 512, 512, 0x78);
        rig_close(link);
        memdisk_free(d);
    }
}

/* What was cut off does not come back, not even the rest of the last cluster. */
static void co_main_fn test_shrinking_forgets(void)
{
    static const bool extended[] = { false, true };

    for (size_t i = 0; i < G_N_ELEMENTS(extended); i++) {
        MemDisk *d = memdisk_new("disk");
        BdrvCreateOptions opts = rig_create_options(2 * MiB);

        opts.u.qcow2.extended_l2 = extended[i];
        rig_create(d, &opts);
        BdrvLink *link = rig_open(d, NULL);
        rig_write(link, 0, 2 * MiB, 0x77);
        g_assert_true(bdrv_co_truncate(link, 100 * KiB, 0, &error_abort));
        g_assert_true(bdrv_co_truncate(link, 2 * MiB, 0, &error_abort));
        rig_expect(link, 0, 100 * KiB, 0x77);
        rig_expect(link, 100 * KiB, 2 * MiB - 100 * KiB, 0);
        rig_flush(link);
        g_assert_cmpuint(rig_check(link), ==, 0);
        rig_close(link);
        memdisk_free(d);
    }
}

static void co_main_fn refuse(BdrvLink *link, int64_t length, BdrvPrealloc mode, const char *says)
{
    g_autoptr(Error) err = NULL;
    int64_t before = bdrv_length(link->bs);

    g_assert_false(bdrv_co_truncate(link, length, mode, &err));
    if (!strstr(error_get_pretty(err), says)) {
        g_error("\"%s\" does not say \"%s\"", error_get_pretty(err), says);
    }
    g_assert_cmpint(bdrv_length(link->bs), ==, before);
    rig_check(link);
}

static void co_main_fn test_impossible_sizes_are_refused(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(MiB);

    opts.u.qcow2.cluster_size = 4096;
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, NULL);
    rig_write(link, 0, 64 * KiB, 1);
    refuse(link, MiB + 1, 0, "multiple of 512");
    refuse(link, INT64_C(1) << 60, 0, "too large");
    refuse(link, 512, BDRV_PREALLOC_FULL, "shrinking");
    rig_close(link);
    qcow2_share_with_snapshot(d);
    link = rig_open(d, NULL);
    rig_close(link);
    uint8_t two = 2;
    memdisk_poke(d, 7, 1, &two);
    link = rig_open(d, NULL);
    refuse(link, 512, 0, "internal snapshots");
    refuse(link, 2 * MiB, 0, "internal snapshots");
    rig_close(link);
    memdisk_free(d);
}

/* The clusters of the snapshot's first L2 table, one after the other; caller frees. */
static uint8_t *snapshot_content(MemDisk *d, int n)
{
    uint8_t *buf = g_malloc0(n * 4096), e[8];

    memdisk_read(d, 64, 8, e);
    memdisk_read(d, be64_load(e), 8, e);
    memdisk_read(d, be64_load(e), 8, e);
    uint64_t table = be64_load(e) & QCOW2_OFFSET_MASK;
    for (int i = 0; i < n; i++) {
        memdisk_read(d, table + i * 8, 8, e);
        if (be64_load(e) & QCOW2_OFFSET_MASK) {
            memdisk_read(d, be64_load(e) & QCOW2_OFFSET_MASK, 4096, buf + i * 4096);
        }
    }
    return buf;
}

/* An image of version 3 with an internal snapshot changes its size; the snapshot does not change,
 * and what comes back when the disk grows again is zeroes. */
static void co_main_fn test_snapshots_survive_every_new_size(void)
{
    static const int64_t sizes[] = { 40 * KiB + 512, MiB, 2 * MiB, 8 * KiB, 8 * KiB + 1024, MiB };
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(MiB);
    int64_t end = 64 * KiB;

    opts.u.qcow2.cluster_size = 4096;
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, NULL);
    rig_write(link, 0, end, 0x5a);
    rig_close(link);
    qcow2_share_with_snapshot(d);
    g_autofree uint8_t *before = snapshot_content(d, 16);
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        link = rig_open(d, NULL);
        bdrv_co_truncate(link, sizes[i], 0, &error_abort);
        end = MIN(end, sizes[i]);
        rig_expect(link, 0, end, 0x5a);
        rig_expect(link, end, sizes[i] - end, 0);
        g_assert_cmpuint(rig_check(link), ==, 0);
        rig_close(link);
        g_autofree uint8_t *now = snapshot_content(d, 16);
        g_assert_cmpint(memcmp(before, now, 64 * KiB), ==, 0);
    }
    memdisk_free(d);
}

/* Nothing that lay behind the end of the disk is shown when it grows, also where a snapshot has it,
 * too. */
static void co_main_fn test_growing_shows_nothing_of_a_shared_cluster(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(MiB);
    uint8_t size[8];

    opts.u.qcow2.cluster_size = 4096;
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, NULL);
    rig_write(link, 0, 8 * KiB, 0x5a);
    rig_close(link);
    be64_store(size, 6 * KiB);
    memdisk_poke(d, QCOW2_HDR_SIZE, 8, size);
    qcow2_share_with_snapshot(d);
    link = rig_open(d, NULL);
    bdrv_co_truncate(link, MiB, 0, &error_abort);
    rig_expect(link, 0, 6 * KiB, 0x5a);
    rig_expect(link, 6 * KiB, MiB - 6 * KiB, 0);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_close(link);
    memdisk_free(d);
}

/* A crash while the size changes leaves one size or the other, and a consistent image. */
static void co_main_fn at_sync(MemDisk *d, void *opaque)
{
    MemDisk *to = opaque;

    for (uint64_t seed = 0; seed < 100; seed++) {
        memdisk_crash(d, to, seed % 5, seed);
        BdrvLink *link = rig_open(to, NULL);
        int64_t length = bdrv_length(link->bs);
        g_assert_true(length == 100 * KiB || length == MiB || length == 50 * KiB);
        rig_check(link);
        rig_expect(link, 0, 50 * KiB, 0x77);
        rig_close(link);
    }
}

static void co_main_fn test_resize_survives_a_power_cut(void)
{
    MemDisk *d = memdisk_new("disk"), *to = memdisk_new("crashed");
    BdrvCreateOptions opts = rig_create_options(100 * KiB);

    opts.u.qcow2.cluster_size = 512;
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, NULL);
    rig_write(link, 0, 100 * KiB, 0x77);
    rig_flush(link);
    memdisk_on_sync(d, at_sync, to);
    g_assert_true(bdrv_co_truncate(link, MiB, 0, &error_abort));
    g_assert_true(bdrv_co_truncate(link, 50 * KiB, 0, &error_abort));
    g_assert_true(bdrv_co_truncate(link, 100 * KiB, BDRV_PREALLOC_METADATA, &error_abort));
    rig_close(link);
    memdisk_on_sync(d, NULL, NULL);
    memdisk_free(d);
    memdisk_free(to);
}

/* ---- an overlay grows into what its base is longer ---- */

#define BASE_BYTES (300 * KiB)
#define OVERLAY_BYTES (100 * KiB + 512)
#define GROWN_BYTES (500 * KiB)

typedef struct Layout {
    int version;
    int64_t cluster_size;
    bool extended_l2;
} Layout;

static const Layout layouts[] = {
    { 3, 512, false }, { 3, 64 * KiB, false }, { 3, 128 * KiB, true }, { 2, 4 * KiB, false },
};

typedef struct Growth {
    MemDisk *to;
    BdrvLink *base;
    bool grown;                     /* it was answered: there is one length only */
} Growth;

/* What the disk shows: its base's data up to where it ended, and zeroes from there. */
static void co_main_fn expect_grown(BdrvLink *link)
{
    int64_t length = bdrv_length(link->bs);

    rig_expect(link, 0, 8 * KiB, 0x77);
    rig_expect(link, 8 * KiB, OVERLAY_BYTES - 8 * KiB, 0x22);
    rig_expect(link, OVERLAY_BYTES, length - OVERLAY_BYTES, 0);
}

static void co_main_fn cut_while_growing(MemDisk *d, void *opaque)
{
    Growth *g = opaque;

    for (uint64_t seed = 0; seed < 60; seed++) {
        memdisk_crash(d, g->to, seed % 5, seed);
        BdrvLink *link = rig_open(g->to, &(RigOpen){ .backing = g->base });
        g_assert_true(bdrv_length(link->bs) == GROWN_BYTES ||
                      (!g->grown && bdrv_length(link->bs) == OVERLAY_BYTES));
        rig_check(link);
        expect_grown(link);
        rig_close(link);
    }
}

static void co_main_fn grow_overlay(const Layout *layout, int64_t first_write)
{
    MemDisk *d = memdisk_new("disk"), *b = memdisk_new("base"), *to = memdisk_new("crashed");
    BdrvCreateOptions opts = rig_create_options(BASE_BYTES);

    rig_create(b, &opts);
    BdrvLink *base = rig_open(b, NULL);
    rig_write(base, 0, BASE_BYTES, 0x22);
    opts = rig_create_options(OVERLAY_BYTES);
    opts.u.qcow2.version = layout->version;
    opts.u.qcow2.cluster_size = layout->cluster_size;
    opts.u.qcow2.extended_l2 = layout->extended_l2;
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, &(RigOpen){ .backing = base });
    rig_write(link, 0, 8 * KiB, 0x77);
    if (first_write) {
        rig_write(link, OVERLAY_BYTES - first_write, first_write, 0x22);
    }
    rig_flush(link);
    Growth g = { to, base, false };
    memdisk_on_sync(d, cut_while_growing, &g);
    g_assert_true(bdrv_co_truncate(link, GROWN_BYTES, 0, &error_abort));
    memdisk_on_sync(d, NULL, NULL);
    expect_grown(link);
    rig_flush(link);
    g.grown = true;
    cut_while_growing(d, &g);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_close(link);
    rig_close(base);
    memdisk_free(d);
    memdisk_free(b);
    memdisk_free(to);
}

/* Whenever the power goes, an overlay that grows over a longer base never shows what lies there. */
static void co_main_fn test_growing_never_shows_the_backing_file(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        grow_overlay(&layouts[i], 0);
        grow_overlay(&layouts[i], 512);     /* the cluster at the old end is the overlay's own */
        grow_overlay(&layouts[i], 8 * KiB);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/resize/growing-keeps-data-and-adds-zeroes",
            test_growing_keeps_data_and_adds_zeroes);
    rig_add("/qcow2/resize/shrinking-forgets", test_shrinking_forgets);
    rig_add("/qcow2/resize/impossible-sizes-are-refused", test_impossible_sizes_are_refused);
    rig_add("/qcow2/resize/survives-a-power-cut", test_resize_survives_a_power_cut);
    rig_add("/qcow2/resize/snapshots-survive-every-new-size",
            test_snapshots_survive_every_new_size);
    rig_add("/qcow2/resize/growing-shows-nothing-of-a-shared-cluster",
            test_growing_shows_nothing_of_a_shared_cluster);
    rig_add("/qcow2/resize/growing-never-shows-the-backing-file",
            test_growing_never_shows_the_backing_file);
    return g_test_run();
}
