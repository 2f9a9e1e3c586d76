/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The marks of an image, dirty and corrupt: set before it becomes true, and cleared only when it is
 * not. */
#include "qemu/osdep.h"

#include "block/formats/qcow2/qcow2.h"
#include "tests/lib/qcow2-rig.h"
#include "tests/lib/qcow2-share.h"

#define DISK_BYTES MiB

/* The incompatible feature bits of what is durable. */
static uint64_t durable_marks(MemDisk *d)
{
    MemDisk *crashed = memdisk_new("durable");

    memdisk_crash(d, crashed, MEM_CRASH_DROP_ALL, 0);
    uint64_t marks = rig_load64(crashed, QCOW2_HDR_INCOMPATIBLE);
    memdisk_free(crashed);
    return marks;
}

static MemDisk *co_main_fn image(bool lazy)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

    opts.u.qcow2.lazy_refcounts = lazy;
    rig_create(d, &opts);
    return d;
}

/* ---- dirty ---- */

static void co_main_fn lazy_life(MemDisk *d, const RigOpen *how)
{
    BdrvLink *link = rig_open(d, how);

    g_assert_cmpuint(durable_marks(d), ==, 0);
    rig_write(link, 0, 65536, 0x11);
    rig_flush(link);
    g_assert_cmpuint(durable_marks(d), ==, QCOW2_INCOMPAT_DIRTY);
    rig_write(link, 65536, 65536, 0x22);
    rig_flush(link);
    g_assert_cmpint(bdrv_co_flush(link, BDRV_FLUSH_SETTLE), ==, 0);
    g_assert_cmpuint(durable_marks(d), ==, 0);
    rig_write(link, 4 * 65536, 65536, 0x33);
    rig_flush(link);
    g_assert_cmpuint(durable_marks(d), ==, QCOW2_INCOMPAT_DIRTY);
    rig_close(link);
    g_assert_cmpuint(durable_marks(d), ==, 0);
    link = rig_open(d, &(RigOpen){ .read_only = true });
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_expect(link, 65536, 65536, 0x22);
    rig_expect(link, 4 * 65536, 65536, 0x33);
    rig_close(link);
    memdisk_free(d);
}

static void co_main_fn test_lazy_image_is_marked_while_refcounts_wait(void)
{
    lazy_life(image(true), NULL);
    lazy_life(image(false), &(RigOpen){ .lazy_refcounts = true });
}

/* The mark is of the image and not of one of its users: it stays until the last one has gone. */
static void co_main_fn test_mark_stays_when_one_of_several_users_leaves(void)
{
    MemDisk *d = image(true), *crashed = memdisk_new("crashed");
    BdrvLink *first = rig_open(d, NULL);
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE, .allows = CLAIM_ALL, .holder = "second user",
    };
    BdrvLink *second = bdrv_link_new(first->bs, &spec, &error_abort);

    rig_write(first, 0, 65536, 0x11);
    rig_flush(first);
    rig_close(first);
    g_assert_cmpuint(durable_marks(d), ==, QCOW2_INCOMPAT_DIRTY);
    rig_write(second, 65536, 65536, 0x22);
    rig_flush(second);
    g_assert_cmpuint(durable_marks(d), ==, QCOW2_INCOMPAT_DIRTY);
    memdisk_crash(d, crashed, MEM_CRASH_DROP_ALL, 0);
    BdrvLink *c = rig_open(crashed, NULL);
    g_assert_cmpuint(rig_check(c), ==, 0);
    rig_expect(c, 0, 65536, 0x11);
    rig_expect(c, 65536, 65536, 0x22);
    rig_close(c);
    rig_close(second);
    g_assert_cmpuint(durable_marks(d), ==, 0);
    memdisk_free(d);
    memdisk_free(crashed);
}

/* Nor is one whose refcounts do not change. */
static void co_main_fn test_image_that_is_not_lazy_is_never_marked(void)
{
    MemDisk *d = image(false);
    BdrvLink *link = rig_open(d, NULL);

    rig_write(link, 0, 65536, 0x11);
    rig_flush(link);
    g_assert_cmpuint(durable_marks(d), ==, 0);
    rig_close(link);
    link = rig_open(d, &(RigOpen){ .lazy_refcounts = true });
    rig_write(link, 0, 65536, 0x22);
    rig_flush(link);
    g_assert_cmpuint(durable_marks(d), ==, 0);
    rig_close(link);
    memdisk_free(d);
}

/* Without the mark nothing is written that it has to announce. */
static void co_main_fn test_mark_that_cannot_be_written_stops_the_flush(void)
{
    for (int64_t after = 0; after < 3; after++) {
        MemDisk *d = image(true), *crashed = memdisk_new("crashed");
        BdrvLink *link = rig_open(d, NULL);

        rig_write(link, 0, 65536, 0x11);
        memdisk_fail(d, after, EIO, true);
        g_assert_cmpint(bdrv_co_flush(link, 0), ==, -EIO);
        memdisk_fail(d, -1, 0, false);
        memdisk_crash(d, crashed, MEM_CRASH_KEEP_ALL, 0);
        BdrvLink *c = rig_open(crashed, NULL);
        rig_check(c);
        rig_close(c);
        rig_flush(link);
        rig_close(link);
        memdisk_free(d);
        memdisk_free(crashed);
    }
}

static void co_main_fn test_version_2_cannot_be_lazy(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);
    g_autoptr(Error) err = NULL;

    opts.u.qcow2.version = 2;
    rig_create(d, &opts);
    g_assert_null(rig_try_open(d, &(RigOpen){ .lazy_refcounts = true }, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "version 3"));
    memdisk_free(d);
}

/* Somebody else's mark, on an image that is open to be repaired, is not ours to clear. */
static void co_main_fn test_mark_of_others_stays_until_repaired(void)
{
    MemDisk *d = image(true);
    uint8_t dirty[8];

    be64_store(dirty, QCOW2_INCOMPAT_DIRTY);
    memdisk_poke(d, QCOW2_HDR_INCOMPATIBLE, 8, dirty);
    BdrvLink *link = rig_open(d, &(RigOpen){ .for_check = true });
    g_assert_cmpint(bdrv_co_flush(link, BDRV_FLUSH_SETTLE), ==, 0);
    rig_close(link);
    g_assert_cmpuint(durable_marks(d), ==, QCOW2_INCOMPAT_DIRTY);
    memdisk_free(d);
}

/* ---- corrupt ---- */

/* Damages of an image of 64 KiB clusters whose first 8 clusters have data. */
static uint64_t l2_table(MemDisk *d)
{
    return rig_load64(d, rig_load64(d, QCOW2_HDR_L1_OFFSET)) & QCOW2_OFFSET_MASK;
}

static void entry_not_aligned(MemDisk *d)
{
    rig_poke64(d, l2_table(d) + 9 * 8, UINT64_C(512) | QCOW2_COPIED);
}

static void entry_leads_to_header(MemDisk *d)
{
    rig_poke64(d, l2_table(d) + 9 * 8, rig_load64(d, QCOW2_HDR_L1_OFFSET) | QCOW2_COPIED);
}

static void l1_entry_not_aligned(MemDisk *d)
{
    rig_poke64(d, rig_load64(d, QCOW2_HDR_L1_OFFSET), l2_table(d) + 512);
}

static void block_not_aligned(MemDisk *d)
{
    uint64_t table = rig_load64(d, QCOW2_HDR_REFTABLE_OFFSET);

    rig_poke64(d, table, rig_load64(d, table) + 512);
}

static void metadata_has_no_refcounts(MemDisk *d)
{
    uint64_t block = rig_load64(d, rig_load64(d, QCOW2_HDR_REFTABLE_OFFSET));
    uint8_t zeroes[64] = { 0 };

    memdisk_poke(d, block, sizeof(zeroes), zeroes);
}

static void (*const damages[])(MemDisk *d) = {
    entry_not_aligned, entry_leads_to_header, l1_entry_not_aligned, block_not_aligned,
    metadata_has_no_refcounts,
};

static MemDisk *co_main_fn damaged_image(size_t which)
{
    MemDisk *d = image(false);
    BdrvLink *link = rig_open(d, NULL);

    rig_write(link, 0, 8 * 65536, 0x44);
    rig_close(link);
    damages[which](d);
    return d;
}

/* It is noticed at the first write that it concerns: nothing is written from then on, reads go on.
 */
static void co_main_fn test_damage_stops_writes_and_marks_the_image(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(damages); i++) {
        MemDisk *d = damaged_image(i);
        BdrvLink *link = rig_open(d, NULL);
        uint8_t buf[512] = { 1 };

        g_assert_cmpint(bdrv_co_pwrite(link, 9 * 65536, 512, buf, 0), ==, -EIO);
        g_assert_cmpuint(durable_marks(d), ==, QCOW2_INCOMPAT_CORRUPT);
        g_assert_cmpint(bdrv_co_pwrite(link, 0, 512, buf, 0), ==, -EIO);
        g_assert_cmpint(bdrv_co_pwrite_zeroes(link, 0, 65536, 0), ==, -EIO);
        g_assert_false(bdrv_co_truncate(link, 2 * DISK_BYTES, 0, NULL));
        if (damages[i] != l1_entry_not_aligned) {
            rig_expect(link, 0, 8 * 65536, 0x44);
        }
        rig_close(link);
        g_assert_null(rig_try_open(d, NULL, NULL));
        link = rig_open(d, &(RigOpen){ .read_only = true });
        rig_close(link);
        memdisk_free(d);
    }
}

/* Nor is metadata punched out when an entry that leads there is discarded. */
static void co_main_fn test_discard_does_not_hit_metadata(void)
{
    for (int lost = 0; lost < 2; lost++) {
        MemDisk *d = damaged_image(1);              /* an entry leads to the L1 table ... */
        uint64_t l1 = rig_load64(d, QCOW2_HDR_L1_OFFSET), entry = rig_load64(d, l1);

        if (lost) {                                 /* ... or to the table that it is in */
            rig_poke64(d, l2_table(d) + 9 * 8, l2_table(d) | QCOW2_COPIED);
        }
        uint64_t first = rig_load64(d, l2_table(d));
        BdrvLink *link = rig_open(d, NULL);
        bdrv_co_pdiscard(link, 9 * 65536, 65536);
        bdrv_co_flush(link, 0);
        rig_expect(link, 0, 8 * 65536, 0x44);
        rig_close(link);
        g_assert_cmpuint(durable_marks(d), ==, QCOW2_INCOMPAT_CORRUPT);
        g_assert_cmpuint(rig_load64(d, l1), ==, entry);
        g_assert_cmpuint(rig_load64(d, l2_table(d)), ==, first);
        memdisk_free(d);
    }
}

/* Two tables in one place are damage like any other, whichever of them is in memory first. */
static void co_main_fn test_two_tables_in_one_place_are_damage(void)
{
    MemDisk *d = image(false);
    BdrvLink *link = rig_open(d, NULL);
    uint8_t buf[512] = { 1 };

    rig_write(link, 0, 8 * 65536, 0x44);
    rig_close(link);
    uint64_t block = rig_load64(d, rig_load64(d, QCOW2_HDR_REFTABLE_OFFSET));
    rig_poke64(d, rig_load64(d, QCOW2_HDR_L1_OFFSET), block | QCOW2_COPIED);
    /* Without the look at what a write would hit, which finds it first. */
    link = rig_open(d, &(RigOpen){ .no_overlap_checks = QCOW2_OL_ALL });
    g_assert_cmpint(bdrv_co_pwrite(link, 9 * 65536, 512, buf, 0), ==, -EIO);
    g_assert_cmpuint(durable_marks(d), ==, QCOW2_INCOMPAT_CORRUPT);
    g_assert_cmpint(bdrv_co_pwrite(link, 10 * 65536, 512, buf, 0), ==, -EIO);
    rig_close(link);
    memdisk_free(d);
}

static void co_main_fn test_read_only_image_is_never_marked(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(damages); i++) {
        MemDisk *d = damaged_image(i);
        BdrvLink *link = rig_open(d, &(RigOpen){ .read_only = true });
        uint8_t buf[512];

        bdrv_co_pread(link, 9 * 65536, 512, buf);
        rig_close(link);
        g_assert_cmpuint(durable_marks(d), ==, 0);
        memdisk_free(d);
    }
}

/* What was written before the damage was found still gets to the disk. */
static void co_main_fn test_what_was_written_before_is_not_lost(void)
{
    MemDisk *d = damaged_image(0), *crashed = memdisk_new("crashed");
    BdrvLink *link = rig_open(d, NULL);
    uint8_t buf[512] = { 1 };

    rig_write(link, 12 * 65536, 65536, 0x66);
    g_assert_cmpint(bdrv_co_pwrite(link, 9 * 65536, 512, buf, 0), ==, -EIO);
    rig_flush(link);
    memdisk_crash(d, crashed, MEM_CRASH_DROP_ALL, 0);
    rig_close(link);
    link = rig_open(crashed, &(RigOpen){ .read_only = true });
    rig_expect(link, 12 * 65536, 65536, 0x66);
    rig_close(link);
    memdisk_free(d);
    memdisk_free(crashed);
}

/* Repaired where that is possible, it can be written again without being opened anew. */
static void co_main_fn test_repaired_image_is_written_again(void)
{
    MemDisk *d = damaged_image(4);
    BdrvLink *link = rig_open(d, NULL);
    uint8_t buf[512] = { 1 };
    BdrvCheckResult res;

    g_assert_cmpint(bdrv_co_pwrite(link, 9 * 65536, 512, buf, 0), ==, -EIO);
    g_assert_true(bdrv_co_check(link->bs, BDRV_FIX_ALL, NULL, &res, NULL));
    g_assert_cmpuint(res.corruptions, ==, 0);
    g_assert_cmpuint(durable_marks(d), ==, 0);
    rig_write(link, 9 * 65536, 512, 0x55);
    rig_close(link);
    link = rig_open(d, NULL);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_close(link);
    memdisk_free(d);
}

/* ---- overlaps ---- */

/* Images with an internal snapshot and a bitmap: where metadata of each kind is. */
static uint64_t bitmap_directory;

static uint64_t place_of(MemDisk *d, unsigned kind)
{
    uint64_t snapshots = rig_load64(d, 64), l1 = rig_load64(d, QCOW2_HDR_L1_OFFSET);
    uint64_t snapshot_l1 = rig_load64(d, snapshots);

    switch (kind) {
    case QCOW2_OL_ACTIVE_L1:
        return l1;
    case QCOW2_OL_ACTIVE_L2:
        return rig_load64(d, l1) & QCOW2_OFFSET_MASK;
    case QCOW2_OL_REFTABLE:
        return rig_load64(d, QCOW2_HDR_REFTABLE_OFFSET);
    case QCOW2_OL_REFBLOCK:
        return rig_load64(d, rig_load64(d, QCOW2_HDR_REFTABLE_OFFSET));
    case QCOW2_OL_SNAPSHOT_TABLE:
        return snapshots;
    case QCOW2_OL_INACTIVE_L1:
        return snapshot_l1;
    case QCOW2_OL_INACTIVE_L2:
        return rig_load64(d, snapshot_l1) & QCOW2_OFFSET_MASK;
    case QCOW2_OL_BITMAP_DIRECTORY:
        return bitmap_directory;
    default:
        return 0;
    }
}

#define TARGET (9 * 65536)

static MemDisk *co_main_fn image_with_everything(void)
{
    MemDisk *d = image(false);
    BdrvLink *link = rig_open(d, NULL);

    rig_write(link, 0, 8 * 65536, 0x44);
    rig_close(link);
    qcow2_share_with_snapshot(d);
    link = rig_open(d, NULL);
    rig_write(link, 0, 65536, 0x45);        /* an L2 table of its own */
    rig_close(link);
    bitmap_directory = qcow2_add_bitmap(d, 0);      /* it records nothing, so it is not touched */
    return d;
}

/* A guest's cluster lies where metadata is, and says that it may be written there. */
static void aim_data_at(MemDisk *d, uint64_t place)
{
    uint64_t table = rig_load64(d, rig_load64(d, QCOW2_HDR_L1_OFFSET)) & QCOW2_OFFSET_MASK;

    rig_poke64(d, table + TARGET / 65536 * 8, place | QCOW2_COPIED);
}

/* Metadata has a refcount of 0, and everything else one. */
static void make_free(MemDisk *d, uint64_t place)
{
    uint64_t block = place_of(d, QCOW2_OL_REFBLOCK);
    uint8_t one[2] = { 0, 1 }, zero[2] = { 0 };

    for (int64_t i = 0; i < 40; i++) {
        memdisk_poke(d, block + i * 2, 2, one);
    }
    memdisk_poke(d, block + place / 65536 * 2, 2, zero);
}

static void co_main_fn write_over(unsigned kind, bool in_place, unsigned unchecked, bool stopped)
{
    MemDisk *d = image_with_everything();
    uint64_t place = place_of(d, kind);
    uint8_t buf[65536], before[512], after[512];

    if (in_place) {
        aim_data_at(d, place);
    } else {
        make_free(d, place);
    }
    memset(buf, 0xee, sizeof(buf));
    memdisk_read(d, place, sizeof(before), before);
    BdrvLink *link = rig_open(d, &(RigOpen){ .no_overlap_checks = unchecked });
    int ret = bdrv_co_pwrite(link, TARGET, sizeof(buf), buf, 0);
    memdisk_read(d, place, sizeof(after), after);
    if (stopped) {
        g_assert_cmpint(ret, ==, -EIO);
        g_assert_cmpint(memcmp(before, after, kind == QCOW2_OL_HEADER ? 72 : 512), ==, 0);
        g_assert_cmpuint(durable_marks(d), ==, QCOW2_INCOMPAT_CORRUPT);
    } else {
        g_assert_cmpint(ret, ==, 0);
        g_assert_cmpint(memcmp(buf, after, sizeof(after)), ==, 0);
    }
    rig_close(link);
    memdisk_free(d);
}

static void co_main_fn test_no_write_hits_metadata(void)
{
    for (unsigned kind = QCOW2_OL_ACTIVE_L1; kind <= QCOW2_OL_BITMAP_DIRECTORY; kind <<= 1) {
        write_over(kind, true, 0, true);
        write_over(kind, false, 0, true);
    }
    write_over(QCOW2_OL_HEADER, false, 0, true);
}

/* The default knows everything but what would have to be read for it. */
static void co_main_fn test_default_checks_leave_out_tables_of_snapshots_only(void)
{
    for (unsigned kind = QCOW2_OL_ACTIVE_L1; kind <= QCOW2_OL_BITMAP_DIRECTORY; kind <<= 1) {
        write_over(kind, true, QCOW2_OL_INACTIVE_L2, kind != QCOW2_OL_INACTIVE_L2);
    }
}

static void co_main_fn test_kinds_that_are_not_checked_are_written_over(void)
{
    /* In the others' place nothing would work any more. */
    write_over(QCOW2_OL_SNAPSHOT_TABLE, true, QCOW2_OL_SNAPSHOT_TABLE, false);
    write_over(QCOW2_OL_INACTIVE_L1, true, QCOW2_OL_INACTIVE_L1, false);
    write_over(QCOW2_OL_INACTIVE_L1, false, QCOW2_OL_INACTIVE_L1, false);
    write_over(QCOW2_OL_SNAPSHOT_TABLE, true, QCOW2_OL_ALL, false);
    write_over(QCOW2_OL_BITMAP_DIRECTORY, true, QCOW2_OL_BITMAP_DIRECTORY, false);
}

/* Tables that were made since the image was opened are known, too. */
static void co_main_fn test_new_tables_are_protected(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(8 * MiB);
    uint8_t buf[512] = { 0xee };

    opts.u.qcow2.cluster_size = 4096;
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, NULL);
    rig_write(link, 0, 4096, 0x11);
    rig_write(link, 4 * MiB, 4096, 0x22);
    rig_flush(link);
    uint64_t l1 = rig_load64(d, QCOW2_HDR_L1_OFFSET);
    uint64_t first = rig_load64(d, l1) & QCOW2_OFFSET_MASK;
    uint64_t second = rig_load64(d, l1 + 2 * 8) & QCOW2_OFFSET_MASK;
    g_assert_cmpuint(second, !=, 0);
    rig_poke64(d, first, second | QCOW2_COPIED);
    Qcow2State *s = qcow2_state(link->bs);
    qcow2_lock(s);
    qcow2_cache_forget_all(&s->cache);
    qcow2_unlock(s);
    g_assert_cmpint(bdrv_co_pwrite(link, 0, 512, buf, 0), ==, -EIO);
    rig_expect(link, 4 * MiB, 4096, 0x22);
    rig_close(link);
    memdisk_free(d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/marks/discard-does-not-hit-metadata", test_discard_does_not_hit_metadata);
    rig_add("/qcow2/marks/two-tables-in-one-place-are-damage",
            test_two_tables_in_one_place_are_damage);
    rig_add("/qcow2/marks/lazy-image-is-marked-while-refcounts-wait",
            test_lazy_image_is_marked_while_refcounts_wait);
    rig_add("/qcow2/marks/stay-when-one-of-several-users-leaves",
            test_mark_stays_when_one_of_several_users_leaves);
    rig_add("/qcow2/marks/image-that-is-not-lazy-is-never-marked",
            test_image_that_is_not_lazy_is_never_marked);
    rig_add("/qcow2/marks/mark-that-cannot-be-written-stops-the-flush",
            test_mark_that_cannot_be_written_stops_the_flush);
    rig_add("/qcow2/marks/version-2-cannot-be-lazy", test_version_2_cannot_be_lazy);
    rig_add("/qcow2/marks/mark-of-others-stays-until-repaired",
            test_mark_of_others_stays_until_repaired);
    rig_add("/qcow2/marks/damage-stops-writes-and-marks-the-image",
            test_damage_stops_writes_and_marks_the_image);
    rig_add("/qcow2/marks/read-only-image-is-never-marked", test_read_only_image_is_never_marked);
    rig_add("/qcow2/marks/what-was-written-before-is-not-lost",
            test_what_was_written_before_is_not_lost);
    rig_add("/qcow2/marks/repaired-image-is-written-again", test_repaired_image_is_written_again);
    rig_add("/qcow2/marks/no-write-hits-metadata", test_no_write_hits_metadata);
    rig_add("/qcow2/marks/default-checks-leave-out-tables-of-snapshots-only",
            test_default_checks_leave_out_tables_of_snapshots_only);
    rig_add("/qcow2/marks/kinds-that-are-not-checked-are-written-over",
            test_kinds_that_are_not_checked_are_written_over);
    rig_add("/qcow2/marks/new-tables-are-protected", test_new_tables_are_protected);
    return g_test_run();
}
