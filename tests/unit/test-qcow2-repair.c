/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Repairing a qcow2 image makes it clean and changes nothing of what guests read; whatever
 * interrupts it - a power cut, a failing disk, its user - the image is no worse, and a second
 * repair gets through.
 */
#include "qemu/osdep.h"

#include "block/formats/qcow2/entry.h"
#include "tests/lib/qcow2-rig.h"
#include "tests/lib/qcow2-share.h"

#define DISK_BYTES (512 * KiB)

/* Kinds of damage, to be or-ed. */
enum {
    COUNTS_ZERO  = 1 << 0,
    LEAKS        = 1 << 1,
    FLAGS        = 1 << 2,
    NO_BLOCK     = 1 << 3,
    SHARED_DATA  = 1 << 4,
    PAST_END     = 1 << 5,
    MARKED_DIRTY = 1 << 6,
    ALL_DAMAGES  = (1 << 7) - 1,
};

typedef struct Variant {
    const char *name;
    int64_t cluster_size;
    bool extended_l2, snapshot;
} Variant;

static const Variant variants[] = {
    { "default", 4096 },
    { "small-clusters", 512 },
    { "snapshot", 4096, .snapshot = true },
    { "extended-l2", 16384, .extended_l2 = true },
};

typedef struct Bed {
    const Variant *v;
    MemDisk *disk, *crashed;
    unsigned damage;
    uint8_t *data;                  /* what the disk reads as */
    int64_t entry[64];              /* L2 entries */
    unsigned n_entries;
    bool broken[64];                /* they promised to be exclusive and were not */
    uint64_t seed;
    unsigned states;
} Bed;

/* ---- damaging ---- */

static void set_count(MemDisk *d, uint64_t cluster, uint16_t value)
{
    uint64_t block = rig_load64(d, rig_load64(d, QCOW2_HDR_REFTABLE_OFFSET));
    uint8_t buf[2];

    be16_store(buf, value);
    memdisk_poke(d, block + cluster * 2, 2, buf);
}

static uint16_t get_count(MemDisk *d, uint64_t cluster)
{
    uint64_t block = rig_load64(d, rig_load64(d, QCOW2_HDR_REFTABLE_OFFSET));

    return rig_load64(d, block + cluster * 2) >> 48;
}

/* The entries of the first L2 table that are in use, at most @max. */
static unsigned find_entries(Bed *b, int64_t *at, unsigned max)
{
    uint64_t l1 = rig_load64(b->disk, QCOW2_HDR_L1_OFFSET);
    uint64_t table = rig_load64(b->disk, l1) & QCOW2_OFFSET_MASK;
    int entry_size = b->v->extended_l2 ? 16 : 8;
    unsigned n = 0;

    for (int64_t i = 0; i < b->v->cluster_size && n < max; i += entry_size) {
        if (rig_load64(b->disk, table + i) & QCOW2_OFFSET_MASK) {
            at[n++] = table + i;
        }
    }
    g_assert_cmpuint(n, >, 8);
    return n;
}

static void damage_tables(Bed *b)
{
    MemDisk *d = b->disk;
    int64_t *at = b->entry;
    unsigned n = b->n_entries;

    if (b->damage & FLAGS) {
        rig_poke64(d, at[1], rig_load64(d, at[1]) ^ QCOW2_COPIED);
        rig_poke64(d, at[n - 1], rig_load64(d, at[n - 1]) ^ QCOW2_COPIED);
    }
    if (b->damage & SHARED_DATA) {
        rig_poke64(d, at[2], rig_load64(d, at[3]));
    }
    if (b->damage & PAST_END) {
        rig_poke64(d, at[4], UINT64_C(1) << 40 | QCOW2_COPIED);
    }
    if (b->damage & COUNTS_ZERO) {
        for (unsigned i = 0; i < n; i += 3) {
            set_count(d, (rig_load64(d, at[i]) & QCOW2_OFFSET_MASK) / b->v->cluster_size, 0);
        }
    }
}

static void damage_image(Bed *b)
{
    MemDisk *d = b->disk;
    uint64_t end = DIV_ROUND_UP(memdisk_length(d), b->v->cluster_size);

    damage_tables(b);
    int64_t *at = b->entry;
    uint64_t cluster = (rig_load64(d, at[6]) & QCOW2_OFFSET_MASK) / b->v->cluster_size;

    if (b->damage & LEAKS && rig_load64(d, at[6]) & QCOW2_COPIED && get_count(d, cluster) == 1) {
        set_count(d, cluster, 2);
        rig_poke64(d, at[6], rig_load64(d, at[6]) & ~QCOW2_COPIED);
    }
    if (b->damage & LEAKS && end + 2 < (uint64_t)b->v->cluster_size / 2) {
        set_count(d, end, 1);
        set_count(d, end + 1, 3);
    }
    if (b->damage & NO_BLOCK) {
        rig_poke64(d, rig_load64(d, QCOW2_HDR_REFTABLE_OFFSET), 0);
    }
    if (b->damage & MARKED_DIRTY) {
        rig_poke64(d, QCOW2_HDR_INCOMPATIBLE,
                rig_load64(d, QCOW2_HDR_INCOMPATIBLE) | QCOW2_INCOMPAT_DIRTY);
    }
}

/* Does entry @i of @d say that its cluster is exclusive although its refcount is not 1? */
static bool is_broken(Bed *b, MemDisk *d, unsigned i)
{
    uint64_t e = rig_load64(d, b->entry[i]), cluster = (e & QCOW2_OFFSET_MASK) / b->v->cluster_size;

    return e & QCOW2_COPIED && cluster < (uint64_t)b->v->cluster_size / 2 &&
           get_count(d, cluster) != 1;
}

/* ---- the bed ---- */

static uint8_t *co_main_fn content(MemDisk *d)
{
    BdrvLink *link = rig_open(d, &(RigOpen){ .read_only = true });
    uint8_t *buf = g_malloc(DISK_BYTES);

    g_assert_cmpint(bdrv_co_pread(link, 0, DISK_BYTES, buf), ==, 0);
    rig_close(link);
    return buf;
}

static void co_main_fn bed_setup(Bed *b, const Variant *v, unsigned damage)
{
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

    *b = (Bed){ .v = v, .damage = damage, .seed = damage };
    b->disk = memdisk_new("disk");
    b->crashed = memdisk_new("crashed");
    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.extended_l2 = v->extended_l2;
    rig_create(b->disk, &opts);
    BdrvLink *link = rig_open(b->disk, NULL);
    /* As many clusters as one refcount block of the smallest size covers. */
    int64_t step = MAX(v->cluster_size, 4096);
    for (int64_t i = 0; i < 30; i++) {
        rig_write(link, i * step % DISK_BYTES, step, i + 1);
    }
    rig_close(link);
    if (v->snapshot) {
        qcow2_share_with_snapshot(b->disk);
        link = rig_open(b->disk, NULL);
        rig_write(link, 8 * KiB, 20 * KiB, 0x77);
        rig_close(link);
    }
    b->n_entries = find_entries(b, b->entry, 64);
    damage_image(b);
    for (unsigned i = 0; i < b->n_entries && !(damage & NO_BLOCK); i++) {
        b->broken[i] = is_broken(b, b->disk, i);
    }
    b->data = content(b->disk);
}

static void bed_teardown(Bed *b)
{
    memdisk_free(b->disk);
    memdisk_free(b->crashed);
    g_free(b->data);
}

static bool co_main_fn try_repair(MemDisk *d, BdrvFix fix, BdrvCheckProgress *progress,
                                  BdrvCheckResult *res)
{
    BdrvLink *link = rig_open(d, &(RigOpen){ .for_check = true });
    Error *err = NULL;
    bool ok = bdrv_co_check(link->bs, fix, progress, res, &err);

    g_assert(ok == !err);
    error_free(err);
    rig_close(link);
    return ok;
}

static void co_main_fn expect_same(Bed *b, MemDisk *d, const char *when)
{
    g_autofree uint8_t *now = content(d);

    for (int64_t i = 0; i < DISK_BYTES; i++) {
        if (now[i] != b->data[i]) {
            g_error("%s, damage 0x%x, %s: byte %" PRId64 " is %u, was %u", b->v->name, b->damage,
                    when, i, now[i], b->data[i]);
        }
    }
}

static void co_main_fn expect_repairable(Bed *b, MemDisk *d, const char *when)
{
    BdrvCheckResult res;

    expect_same(b, d, when);
    if (!try_repair(d, BDRV_FIX_ALL, NULL, &res) || res.corruptions || res.leaks) {
        g_error("%s, damage 0x%x, %s: not repaired: %s", b->v->name, b->damage, when, res.first);
    }
    bdrv_check_result_clear(&res);
    expect_same(b, d, when);
    /* And neither mark is left: it can be used. */
    BdrvLink *link = rig_open(d, NULL);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_write(link, 0, 64 * KiB, 0x99);
    rig_expect(link, 0, 64 * KiB, 0x99);
    g_autofree uint8_t *now = g_malloc(DISK_BYTES);
    g_assert_cmpint(bdrv_co_pread(link, 0, DISK_BYTES, now), ==, 0);
    g_assert_cmpint(memcmp(now + 64 * KiB, b->data + 64 * KiB, DISK_BYTES - 64 * KiB), ==, 0);
    rig_close(link);
}

/* ---- tests ---- */

static void co_main_fn at_sync(MemDisk *d, void *opaque)
{
    static const char *const names[] = { "drop all", "keep all", "random", "torn", "prefix" };
    Bed *b = opaque;

    if (memdisk_unsynced(d) == 0) {
        return;
    }
    for (MemCrash how = 0; how < G_N_ELEMENTS(names); how++) {
        memdisk_crash(d, b->crashed, how, rig_random(&b->seed));
        for (unsigned i = 0; i < b->n_entries && !(b->damage & NO_BLOCK); i++) {
            if (!b->broken[i] && is_broken(b, b->crashed, i)) {
                g_error("%s, damage 0x%x, %s: entry %u is worse", b->v->name, b->damage,
                        names[how], i);
            }
        }
        expect_repairable(b, b->crashed, names[how]);
        b->states++;
    }
}

static void co_main_fn test_power_cut_during_repair_harms_nothing(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        unsigned states = 0;

        for (unsigned damage = 1; damage <= ALL_DAMAGES; damage += (1 + 2 * i) * RIG_STRIDE) {
            BdrvCheckResult res;
            Bed b;

            bed_setup(&b, &variants[i], damage);
            memdisk_on_sync(b.disk, at_sync, &b);
            g_assert_true(try_repair(b.disk, BDRV_FIX_ALL, NULL, &res));
            memdisk_on_sync(b.disk, NULL, NULL);
            expect_repairable(&b, b.disk, "at last");
            states += b.states;
            bed_teardown(&b);
        }
        g_test_message("%s: %u states", variants[i].name, states);
        g_assert_cmpuint(states, >, 100 / RIG_STRIDE);
    }
}

static void co_main_fn test_failing_disk_during_repair_harms_nothing(void)
{
    for (unsigned damage = 1; damage <= ALL_DAMAGES; damage += 6 * RIG_STRIDE) {
        for (int64_t after = 0, more = true; more; after++) {
            BdrvCheckResult res;
            Bed b;

            bed_setup(&b, &variants[damage % G_N_ELEMENTS(variants)], damage);
            BdrvLink *link = rig_open(b.disk, &(RigOpen){ .for_check = true });
            int64_t before = memdisk_operations(b.disk);
            memdisk_fail(b.disk, after, EIO, damage & 1);
            bdrv_co_check(link->bs, BDRV_FIX_ALL, NULL, &res, NULL);
            bdrv_check_result_clear(&res);
            more = memdisk_operations(b.disk) - before > after;
            memdisk_fail(b.disk, -1, 0, false);
            rig_close(link);
            memdisk_crash(b.disk, b.crashed, MEM_CRASH_RANDOM, after);
            expect_repairable(&b, b.crashed, "after a failure and a power cut");
            expect_repairable(&b, b.disk, "after a failure");
            bed_teardown(&b);
        }
    }
}

typedef struct Canceller {
    BdrvCheckProgress progress;
    int left;
} Canceller;

static bool cancel_step(BdrvCheckProgress *p, uint64_t done, uint64_t total)
{
    g_assert_cmpuint(done, <=, total);
    return --container_of(p, Canceller, progress)->left > 0;
}

static void co_main_fn test_cancelled_repair_harms_nothing(void)
{
    for (unsigned damage = 1; damage <= ALL_DAMAGES; damage += 3 * RIG_STRIDE) {
        bool ended = false;

        for (int n = 1; !ended; n++) {
            Canceller c = { { cancel_step }, n };
            BdrvCheckResult res;
            Bed b;

            bed_setup(&b, &variants[damage % G_N_ELEMENTS(variants)], damage);
            ended = try_repair(b.disk, BDRV_FIX_ALL, &c.progress, &res);
            bdrv_check_result_clear(&res);
            expect_repairable(&b, b.disk, "after it was cancelled");
            bed_teardown(&b);
        }
    }
}

/* Giving back leaks does not touch what is wrong otherwise. */
static void co_main_fn test_leaks_go_and_errors_stay(void)
{
    BdrvCheckResult res;
    Bed b;

    bed_setup(&b, &variants[0], LEAKS);
    g_assert_true(try_repair(b.disk, BDRV_FIX_LEAKS, NULL, &res));
    g_assert_cmpuint(res.leaks_fixed, ==, 3);
    g_assert_cmpuint(res.leaks + res.corruptions, ==, 0);
    bed_teardown(&b);
    bed_setup(&b, &variants[0], LEAKS | COUNTS_ZERO);
    g_assert_true(try_repair(b.disk, BDRV_FIX_LEAKS, NULL, &res));
    g_assert_cmpuint(res.leaks_fixed, ==, 2);
    g_assert_cmpuint(res.corruptions, >, 0);
    g_assert_cmpuint(res.corruptions_fixed, ==, 0);
    bdrv_check_result_clear(&res);
    expect_same(&b, b.disk, "after giving back leaks");
    bed_teardown(&b);
}

/* Where a table cannot be followed, what it may refer to is not given back. */
static void co_main_fn test_what_may_be_in_use_is_not_given_back(void)
{
    BdrvCheckResult res;
    Bed b;

    bed_setup(&b, &variants[0], LEAKS);
    rig_poke64(b.disk, b.entry[5], rig_load64(b.disk, b.entry[5]) + 512);      /* not aligned */
    uint64_t l1 = rig_load64(b.disk, QCOW2_HDR_L1_OFFSET);
    g_assert_true(try_repair(b.disk, BDRV_FIX_ALL, NULL, &res));
    g_assert_cmpuint(res.corruptions, ==, 1);
    g_assert_cmpuint(res.leaks_fixed, ==, 0);
    g_assert_cmpuint(res.leaks, ==, 4);
    g_assert_cmpuint(rig_load64(b.disk, QCOW2_HDR_L1_OFFSET), ==, l1);
    bdrv_check_result_clear(&res);
    bed_teardown(&b);
}

/* Opening for writing repairs what was not closed properly; opening for reading changes nothing. */
static void co_main_fn test_dirty_image_is_repaired_on_opening(void)
{
    Bed b;

    bed_setup(&b, &variants[2], MARKED_DIRTY | COUNTS_ZERO | LEAKS | FLAGS);
    uint64_t before = rig_load64(b.disk, QCOW2_HDR_INCOMPATIBLE);
    expect_same(&b, b.disk, "read-only");
    g_assert_cmpuint(rig_load64(b.disk, QCOW2_HDR_INCOMPATIBLE), ==, before);
    BdrvLink *link = rig_open(b.disk, NULL);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_close(link);
    g_assert_cmpuint(rig_load64(b.disk, QCOW2_HDR_INCOMPATIBLE), ==, 0);
    expect_same(&b, b.disk, "repaired on opening");
    bed_teardown(&b);
}

/* Opened to be repaired, a damaged image cannot be written; repaired, it can. */
static void co_main_fn test_damaged_image_is_not_written_until_repaired(void)
{
    BdrvCheckResult res;
    Bed b;

    bed_setup(&b, &variants[0], COUNTS_ZERO);
    rig_poke64(b.disk, QCOW2_HDR_INCOMPATIBLE, QCOW2_INCOMPAT_CORRUPT);
    g_assert_null(rig_try_open(b.disk, NULL, NULL));
    BdrvLink *link = rig_open(b.disk, &(RigOpen){ .for_check = true });
    uint8_t buf[512] = { 1 };
    g_assert_cmpint(bdrv_co_pwrite(link, 0, 512, buf, 0), ==, -EIO);
    g_assert_cmpint(bdrv_co_pwrite_zeroes(link, 0, 65536, 0), ==, -EIO);
    g_assert_cmpint(bdrv_co_pwrite(link, DISK_BYTES - 512, 512, buf, 0), ==, -EIO);
    g_assert_true(bdrv_co_check(link->bs, BDRV_FIX_ALL, NULL, &res, NULL));
    g_assert_cmpuint(res.corruptions + res.leaks, ==, 0);
    g_assert_cmpuint(res.corruptions_fixed, >, 0);
    rig_write(link, 0, 512, 1);
    rig_close(link);
    link = rig_open(b.disk, NULL);
    rig_expect(link, 0, 512, 1);
    rig_close(link);
    bed_teardown(&b);
}

/* ---- new refcounts do not go where the old ones are (K3) ---- */

typedef struct OldRefcounts {
    MemDisk *crashed;
    uint64_t table;                 /* where the header has it before the repair */
    int64_t at;                     /* one cluster of the old refcounts */
    uint8_t before[512];
    unsigned states;
} OldRefcounts;

static void co_main_fn expect_old_refcounts(MemDisk *d, void *opaque)
{
    OldRefcounts *o = opaque;
    uint8_t now[512];

    for (MemCrash how = 0; how <= MEM_CRASH_PREFIX; how++) {
        memdisk_crash(d, o->crashed, how, o->states);
        if (rig_load64(o->crashed, QCOW2_HDR_REFTABLE_OFFSET) == o->table) {
            memdisk_read(o->crashed, o->at, sizeof(now), now);
            g_assert_cmpint(memcmp(now, o->before, sizeof(now)), ==, 0);
            o->states++;
        }
    }
}

/* Move the cluster that the 8 bytes at @pointer lead to to the end of the file; its new place. */
static int64_t move_to_end(MemDisk *d, int64_t pointer)
{
    uint8_t buf[512];
    int64_t to = ROUND_UP(memdisk_length(d), sizeof(buf));

    memdisk_read(d, rig_load64(d, pointer), sizeof(buf), buf);
    memdisk_poke(d, to, sizeof(buf), buf);
    rig_poke64(d, pointer, to);
    return to;
}

/* As long as the header leads to the old refcounts they are what they were, also if they are the
 * last that there is in the file: the table, or one of the blocks. */
static void co_main_fn test_old_refcounts_stay_until_new_ones_replace_them(void)
{
    for (int moves_block = 0; moves_block < 2; moves_block++) {
        BdrvCheckResult res;
        Bed b;

        bed_setup(&b, &variants[1], 0);
        int64_t block = rig_load64(b.disk, QCOW2_HDR_REFTABLE_OFFSET) + 8;
        int64_t at = move_to_end(b.disk, moves_block ? block : QCOW2_HDR_REFTABLE_OFFSET);
        OldRefcounts o = {
            .crashed = b.crashed, .at = at, .table = rig_load64(b.disk, QCOW2_HDR_REFTABLE_OFFSET),
        };
        rig_poke64(b.disk, o.table, 0);
        memdisk_read(b.disk, at, sizeof(o.before), o.before);
        memdisk_on_sync(b.disk, expect_old_refcounts, &o);
        g_assert_true(try_repair(b.disk, BDRV_FIX_ALL, NULL, &res));
        memdisk_on_sync(b.disk, NULL, NULL);
        bdrv_check_result_clear(&res);
        g_assert_cmpuint(o.states, >, 4);
        g_assert_cmpuint(rig_load64(b.disk, QCOW2_HDR_REFTABLE_OFFSET), !=, o.table);
        expect_repairable(&b, b.disk, "with refcounts at the end");
        bed_teardown(&b);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/repair/power-cut-during-repair-harms-nothing",
            test_power_cut_during_repair_harms_nothing);
    rig_add("/qcow2/repair/failing-disk-during-repair-harms-nothing",
            test_failing_disk_during_repair_harms_nothing);
    rig_add("/qcow2/repair/cancelled-repair-harms-nothing", test_cancelled_repair_harms_nothing);
    rig_add("/qcow2/repair/leaks-go-and-errors-stay", test_leaks_go_and_errors_stay);
    rig_add("/qcow2/repair/what-may-be-in-use-is-not-given-back",
            test_what_may_be_in_use_is_not_given_back);
    rig_add("/qcow2/repair/dirty-image-is-repaired-on-opening",
            test_dirty_image_is_repaired_on_opening);
    rig_add("/qcow2/repair/damaged-image-is-not-written-until-repaired",
            test_damaged_image_is_not_written_until_repaired);
    rig_add("/qcow2/repair/old-refcounts-stay-until-new-ones-replace-them",
            test_old_refcounts_stay_until_new_ones_replace_them);
    return g_test_run();
}
