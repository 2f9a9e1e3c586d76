/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk below that is full: whatever was acknowledged gets there all the same, and what was given
 * back can be used again.
 */
#include "qemu/osdep.h"

#include "block/formats/qcow2/qcow2.h"
#include "tests/lib/qcow2-rig.h"
#include "tests/lib/qcow2-share.h"

#define DISK_BYTES (8 * MiB)
#define UNIT 4096
#define UNITS (DISK_BYTES / UNIT)

typedef struct Variant {
    const char *name;
    int64_t cluster_size;
    int version, refcount_bits;
    bool extended_l2, snapshot, backing, lazy;
    int64_t cache_size;
} Variant;

static const Variant variants[] = {
    { "default", 65536 },
    { "v2", 4096, .version = 2 },
    { "tiny-clusters", 512 },
    { "refcount-table-grows", 512, .refcount_bits = 64 },
    { "small-clusters", 4096 },
    { "extended-l2", 131072, .extended_l2 = true },
    { "extended-l2-backing", 16384, .extended_l2 = true, .backing = true },
    { "snapshot", 4096, .snapshot = true },
    { "snapshot-64k", 65536, .snapshot = true },
    { "backing", 65536, .backing = true },
    { "lazy", 4096, .lazy = true },
    { "tiny-cache", 512, .cache_size = 1 },
};

typedef enum Limit {
    LIMIT_SPACE,                    /* blocks of the file system */
    LIMIT_LENGTH,                   /* of the file */
    LIMITS,
} Limit;

typedef struct Bed {
    const Variant *v;
    MemDisk *disk, *base_disk;
    BdrvLink *base, *link;
    uint64_t seed;
    uint8_t value[UNITS];           /* what was acknowledged */
    unsigned acknowledged, refused;
} Bed;

static void co_main_fn bed_open(Bed *b)
{
    b->link = rig_open(b->disk, &(RigOpen){ .cache_size = b->v->cache_size, .backing = b->base });
}

static void co_main_fn bed_setup(Bed *b, const Variant *v, uint64_t seed)
{
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

    *b = (Bed){ .v = v, .seed = seed };
    if (v->backing) {
        b->base_disk = memdisk_new("base");
        rig_create(b->base_disk, &opts);
        b->base = rig_open(b->base_disk, NULL);
        rig_write(b->base, 0, DISK_BYTES, 0xbb);
        rig_flush(b->base);
        memset(b->value, 0xbb, sizeof(b->value));
        opts.u.qcow2.backing_file = (char *)"base";
    }
    b->disk = memdisk_new("disk");
    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.version = v->version ?: 3;
    opts.u.qcow2.refcount_bits = v->refcount_bits ?: 16;
    opts.u.qcow2.extended_l2 = v->extended_l2;
    opts.u.qcow2.lazy_refcounts = v->lazy;
    rig_create(b->disk, &opts);
    bed_open(b);
    if (v->snapshot) {
        rig_write(b->link, 0, 256 * KiB, 0xcc);
        memset(b->value, 0xcc, 256 * KiB / UNIT);
        rig_close(b->link);
        qcow2_share_with_snapshot(b->disk);
        bed_open(b);
    }
}

static void co_main_fn bed_teardown(Bed *b)
{
    rig_close(b->link);
    memdisk_free(b->disk);
    if (b->base) {
        rig_close(b->base);
        memdisk_free(b->base_disk);
    }
}

static void bed_limit(Bed *b, Limit limit, int64_t bytes)
{
    if (limit == LIMIT_SPACE) {
        memdisk_set_free_space(b->disk, bytes);
    } else {
        memdisk_set_max_bytes(b->disk, memdisk_length(b->disk) + bytes);
    }
}

static void bed_unlimit(Bed *b)
{
    memdisk_set_free_space(b->disk, -1);
    memdisk_set_max_bytes(b->disk, 64 * MiB);
}

/* One request somewhere; if it is refused, what is there is not known any more. */
static void co_fn one_request(Bed *b)
{
    uint64_t unit = rig_random(&b->seed) % UNITS;
    uint8_t value = rig_random(&b->seed) % 250 + 1;
    uint8_t buf[UNIT];
    int ret;

    memset(buf, value, UNIT);
    switch (rig_random(&b->seed) % 8) {
    case 0:
        value = 0;
        ret = bdrv_co_pwrite_zeroes(b->link, unit * UNIT, UNIT,
                                    rig_random(&b->seed) % 2 ? BDRV_REQ_MAY_UNMAP : 0);
        break;
    case 1:
        ret = bdrv_co_pwrite(b->link, unit * UNIT, UNIT, buf,
                             b->v->version == 2 ? 0 : BDRV_REQ_WRITE_COMPRESSED);
        break;
    default:
        ret = bdrv_co_pwrite(b->link, unit * UNIT, UNIT, buf, 0);
    }
    g_assert_true(ret == 0 || ret == -ENOSPC);
    if (ret == 0) {
        b->value[unit] = value;
        b->acknowledged++;
    } else {
        b->refused++;
        b->value[unit] = 0xff;
    }
}

static void co_fn expect_all(Bed *b)
{
    uint8_t buf[UNIT];

    for (int64_t i = 0; i < UNITS; i++) {
        g_assert_cmpint(bdrv_co_pread(b->link, i * UNIT, UNIT, buf), ==, 0);
        if (b->value[i] != 0xff && (buf[0] != b->value[i] || buf[UNIT - 1] != b->value[i])) {
            g_error("%s: unit %" PRId64 " is 0x%02x, 0x%02x was acknowledged", b->v->name, i,
                    buf[0], b->value[i]);
        }
    }
}

static void co_main_fn run_full(const Variant *v, Limit limit, int64_t bytes, uint64_t seed)
{
    Bed b;

    bed_setup(&b, v, seed);
    bed_limit(&b, limit, bytes);
    while (b.refused < 5 && b.acknowledged < 3000) {
        one_request(&b);
    }
    rig_flush(b.link);
    rig_close(b.link);
    bed_open(&b);
    expect_all(&b);
    rig_check(b.link);
    /* And with space it goes on. */
    bed_unlimit(&b);
    rig_write(b.link, 0, 64 * KiB, 0x55);
    memset(b.value, 0x55, 64 * KiB / UNIT);
    rig_flush(b.link);
    expect_all(&b);
    rig_check(b.link);
    bed_teardown(&b);
}

static void co_main_fn test_acknowledged_writes_survive_a_full_disk(void)
{
    uint64_t seed = 1;

    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        for (int limit = 0; limit < LIMITS; limit++) {
            for (int64_t bytes = 0; bytes < MiB;
                 bytes += bytes < 96 * KiB ? 4096 * RIG_STRIDE : 256 * KiB) {
                run_full(&variants[i], limit, bytes, seed++);
            }
        }
    }
}

/* ---- what is given back ---- */

/*
 * 8 MiB are written and given back over and over, with 3 MiB of space for it and no flush: a
 * request that finds no space has what waits to be freed freed first. What was written once before
 * stays.
 */
static void co_main_fn run_cycles(const Variant *v, bool keep_space)
{
    Bed b;

    bed_setup(&b, v, 1);
    rig_close(b.link);
    b.link = rig_open(b.disk, &(RigOpen){ .cache_size = v->cache_size, .backing = b.base,
                                          .keep_space = keep_space });
    for (int64_t i = 0; i < 16; i++) {
        rig_write(b.link, 4 * MiB + i * 256 * KiB, UNIT, i + 1);
    }
    memdisk_set_free_space(b.disk, 3 * MiB);
    for (int i = 0; i < 24; i++) {
        rig_write(b.link, MiB, MiB, 0x5a);
        if (v->version == 2 && v->backing) {
            break;
        }
        rig_discard(b.link, MiB, MiB);
    }
    rig_flush(b.link);
    rig_write(b.link, MiB, MiB, 0x5b);
    rig_close(b.link);
    bed_open(&b);
    for (int64_t i = 0; i < 16; i++) {
        rig_expect(b.link, 4 * MiB + i * 256 * KiB, UNIT, i + 1);
    }
    rig_expect(b.link, MiB, MiB, 0x5b);
    rig_check(b.link);
    bed_teardown(&b);
}

static void co_main_fn test_space_that_is_given_back_can_be_used_without_a_flush(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        run_cycles(&variants[i], false);
        run_cycles(&variants[i], true);
    }
}

/* However much is given back, little of it waits. */
static void co_main_fn test_space_that_waits_to_be_freed_is_bounded(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(256 * MiB);

    rig_create(d, &opts);
    memdisk_set_max_bytes(d, 256 * MiB);
    memdisk_set_free_space(d, 256 * MiB);
    BdrvLink *link = rig_open(d, NULL);
    int64_t empty = memdisk_free_space(d);
    for (int64_t i = 0; i < 6; i++) {
        rig_write(link, i * 16 * MiB, 16 * MiB, 0x11);
    }
    for (int64_t i = 0; i < 96; i++) {
        rig_discard(link, i * MiB, MiB);
    }
    g_assert_cmpint(memdisk_free_space(d), >, empty - 48 * MiB);
    rig_close(link);
    memdisk_free(d);
}

/* Nor does it wait until somebody flushes. */
static void co_main_fn test_space_comes_back_on_an_idle_disk(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

    rig_create(d, &opts);
    memdisk_set_free_space(d, 16 * MiB);
    BdrvLink *link = rig_open(d, NULL);
    qcow2_state(link->bs)->free_delay_ns = NS_PER_MS;
    rig_write(link, 0, MiB, 0x11);
    rig_discard(link, 0, MiB);
    int64_t used = memdisk_free_space(d);
    while (memdisk_free_space(d) < used + MiB) {
        aio_co_sleep_ns(NS_PER_MS);
    }
    g_assert_cmpuint(rig_check(link), ==, 0);
    /* It may be closed while one is under way. */
    rig_write(link, 0, MiB, 0x11);
    rig_discard(link, 0, MiB);
    memdisk_shuffle(d, 1);
    qcow2_state(link->bs)->free_delay_ns = 1;
    coroutine_reschedule();
    rig_close(link);
    link = rig_open(d, NULL);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_close(link);
    memdisk_free(d);
}

/* ---- over and over ---- */

/* What is written again and flushed takes no more space than the first time. */
static void co_main_fn test_flushes_do_not_make_the_file_grow(void)
{
    for (int lazy = 0; lazy < 2; lazy++) {
        MemDisk *d = memdisk_new("disk");
        BdrvCreateOptions opts = rig_create_options(DISK_BYTES);
        int64_t length = 0;

        opts.u.qcow2.cluster_size = 4096;
        opts.u.qcow2.lazy_refcounts = lazy;
        rig_create(d, &opts);
        BdrvLink *link = rig_open(d, NULL);
        for (int i = 0; i < 400; i++) {
            rig_write(link, MiB, 3 * 4096, i % 250 + 1);
            if (i % 3 == 1) {
                rig_zero(link, MiB, 4096, BDRV_REQ_MAY_UNMAP);
            }
            rig_flush(link);
            if (i == 8) {
                length = memdisk_length(d);
            }
        }
        g_assert_cmpint(memdisk_length(d), <=, length);
        g_assert_cmpint(bdrv_co_flush(link, BDRV_FLUSH_SETTLE), ==, 0);
        g_assert_cmpuint(rig_check(link), ==, 0);
        rig_close(link);
        memdisk_free(d);
    }
}

#define LONG_DISK_BYTES (192 * KiB)
#define LONG_UNIT 512

/* One change out of many, all of them remembered in @model. */
static void co_fn change_one(BdrvLink *link, uint8_t *model, uint64_t *seed)
{
    int64_t n_units = LONG_DISK_BYTES / LONG_UNIT, first = rig_random(seed) % n_units;
    int64_t n = 1 + rig_random(seed) % 16, kind = rig_random(seed) % 8;
    uint8_t value = kind < 4 ? 1 + rig_random(seed) % 250 : 0;

    n = MIN(n, n_units - first);
    if (kind < 4) {
        rig_write(link, first * LONG_UNIT, n * LONG_UNIT, value);
    } else if (kind < 7) {          /* of whole clusters, so it reads as zeroes */
        rig_discard(link, first * LONG_UNIT, n * LONG_UNIT);
    } else {
        rig_flush(link);
        return;
    }
    memset(model + first, value, n);
}

/*
 * An image lives long: everything in it is given back and handed out again hundreds of times, and
 * the search for space begins anew as often. No table that is in use is ever taken for free.
 */
static void co_main_fn test_tables_are_not_handed_out_again_in_a_long_life(void)
{
    int rounds = g_test_thorough() ? 400 : SANITIZE_ADDRESS ? 6 : 40;
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(LONG_DISK_BYTES);
    g_autofree uint8_t *model = g_malloc0(LONG_DISK_BYTES / LONG_UNIT);
    uint64_t seed = 1;

    opts.u.qcow2.cluster_size = LONG_UNIT;
    rig_create(d, &opts);
    memdisk_set_free_space(d, 2 * LONG_DISK_BYTES);
    for (int round = 0; round < rounds; round++) {
        BdrvLink *link = rig_open(d, &(RigOpen){ .cache_size = round % 2 ? 1 : 0,
                                                 .discard_other = round % 3 });
        for (int i = 0; i < 500; i++) {
            change_one(link, model, &seed);
        }
        rig_check(link);
        for (int64_t i = 0; i < LONG_DISK_BYTES / LONG_UNIT; i++) {
            rig_expect(link, i * LONG_UNIT, LONG_UNIT, model[i]);
        }
        rig_close(link);
    }
    memdisk_free(d);
}

/* ---- what others still have ---- */

static void co_main_fn change_all(BdrvLink *link, int how)
{
    switch (how) {
    case 0:
        rig_write(link, 64 * KiB, 64 * KiB, 0x77);
        break;
    case 1:
        rig_zero(link, 64 * KiB, 64 * KiB, BDRV_REQ_MAY_UNMAP);
        break;
    case 2:
        rig_discard(link, 64 * KiB, 64 * KiB);
        break;
    case 3:
        rig_discard(link, 0, DISK_BYTES);
        break;
    case 4:
        g_assert_true(bdrv_co_truncate(link, 64 * KiB, BDRV_PREALLOC_OFF, &error_abort));
        break;
    default: {
        g_autofree uint8_t *buf = g_malloc0(256 * KiB);
        g_assert_cmpint(bdrv_co_pwrite(link, 0, 256 * KiB, buf, BDRV_REQ_WRITE_COMPRESSED), ==, 0);
    }
    }
}

/* Whatever is passed on: only space that nobody refers to any more is given back. */
static void co_main_fn test_snapshot_keeps_what_the_disk_gives_back(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        if (!variants[i].snapshot) {
            continue;
        }
        for (int how = 0; how < 6; how++) {
            MemDisk *view = memdisk_new("view");
            Bed b;

            bed_setup(&b, &variants[i], 1);
            rig_close(b.link);
            b.link = rig_open(b.disk, &(RigOpen){ .discard_other = true });
            unsigned discards = memdisk_counts(b.disk).discards;
            change_all(b.link, how);
            rig_flush(b.link);
            change_all(b.link, how);                    /* what is the disk's alone does go */
            rig_check(b.link);
            rig_close(b.link);
            qcow2_view_snapshot(b.disk, view);
            BdrvLink *snapshot = rig_open(view, &(RigOpen){ .read_only = true });
            rig_expect(snapshot, 0, 256 * KiB, 0xcc);
            rig_expect(snapshot, 256 * KiB, DISK_BYTES - 256 * KiB, 0);
            rig_close(snapshot);
            g_assert_true(how > 0 || memdisk_counts(b.disk).discards == discards);
            b.link = rig_open(b.disk, &(RigOpen){ .read_only = true });
            bed_teardown(&b);
            memdisk_free(view);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/space/acknowledged-writes-survive-a-full-disk",
            test_acknowledged_writes_survive_a_full_disk);
    rig_add("/qcow2/space/given-back-can-be-used-without-a-flush",
            test_space_that_is_given_back_can_be_used_without_a_flush);
    rig_add("/qcow2/space/waiting-to-be-freed-is-bounded",
            test_space_that_waits_to_be_freed_is_bounded);
    rig_add("/qcow2/space/comes-back-on-an-idle-disk", test_space_comes_back_on_an_idle_disk);
    rig_add("/qcow2/space/flushes-do-not-make-the-file-grow",
            test_flushes_do_not_make_the_file_grow);
    rig_add("/qcow2/space/tables-are-not-handed-out-again-in-a-long-life",
            test_tables_are_not_handed_out_again_in_a_long_life);
    rig_add("/qcow2/space/snapshot-keeps-what-the-disk-gives-back",
            test_snapshot_keeps_what_the_disk_gives_back);
    return g_test_run();
}
