/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent bitmaps when the power goes or an operation fails, at every point of their lives: the
 * image is consistent, what was stored once is there, and a bitmap that is not marked has every
 * write that was acknowledged.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/formats/qcow2/qcow2.h"
#include "tests/lib/qcow2-rig.h"

#define GRANULE 4096
#define GRANULES 64
#define DISK_BYTES (GRANULE * GRANULES)

/* ---- the model ---- */

/* What has to be true of the disk after a crash just now. */
typedef struct Model {
    uint64_t written;               /* granules: acknowledged since the bitmaps were made */
    bool stored;                    /* the bitmaps were, durably */
    bool removed;                   /* bitmap "a" may have gone */
} Model;

typedef struct State {
    MemDisk *disk;
    Model model;
} State;

static Model model;
static GArray *states;              /* of State, still to be looked at */
static uint64_t seed;

static void keep_state(MemDisk *d, MemCrash how)
{
    g_autofree char *name = g_strdup_printf("crash-%" PRIu64, ++seed);
    State s = { memdisk_new(name), model };

    memdisk_crash(d, s.disk, how, seed);
    g_array_append_val(states, s);
}

static void on_sync(MemDisk *d, void *opaque)
{
    keep_state(d, MEM_CRASH_DROP_ALL);
    keep_state(d, MEM_CRASH_KEEP_ALL);
    for (int i = 0; i < 3; i++) {
        keep_state(d, MEM_CRASH_RANDOM);
        keep_state(d, MEM_CRASH_TORN);
        keep_state(d, MEM_CRASH_PREFIX);
    }
}

static uint64_t bits_of(BdrvDirtyBitmap *b)
{
    uint64_t bits = 0;

    for (int i = 0; i < GRANULES; i++) {
        bits |= (uint64_t)hbitmap_get(bdrv_dirty_bitmap_hbitmap(b), i * GRANULE) << i;
    }
    return bits;
}

/* Returns how many bitmaps could be relied on. */
static int co_main_fn check_disk(MemDisk *d, const Model *m)
{
    BdrvLink *link = rig_open(d, &(RigOpen){ .read_only = true });
    BdrvDirtyBitmap *a = bdrv_find_dirty_bitmap(link->bs, "a");
    BdrvDirtyBitmap *off = bdrv_find_dirty_bitmap(link->bs, "off");
    int valid = 0;

    rig_check(link);
    g_assert_true(!m->stored || (off && (a || m->removed)));
    if (a && !bdrv_dirty_bitmap_inconsistent(a)) {
        g_assert_true(bdrv_dirty_bitmap_enabled(a));
        g_assert_cmphex(m->written & ~bits_of(a), ==, 0);
        valid++;
    }
    if (off && !bdrv_dirty_bitmap_inconsistent(off)) {
        g_assert_false(bdrv_dirty_bitmap_enabled(off));
        g_assert_cmphex(bits_of(off), ==, 0x5);
        valid++;
    }
    rig_close(link);
    return valid;
}

static void co_main_fn check_states(int *valid)
{
    for (guint i = 0; i < states->len; i++) {
        State *s = &g_array_index(states, State, i);

        *valid += check_disk(s->disk, &s->model);
        memdisk_free(s->disk);
    }
    g_array_set_size(states, 0);
}

/* ---- a life ---- */

static void co_main_fn add(BdrvLink *link, const char *name, bool enabled)
{
    g_assert_true(bdrv_can_store_bitmap(link->bs, name, GRANULE, &error_abort));
    g_assert_true(bdrv_dirty_bitmap_changing(link->bs, name, &error_abort));

    BdrvDirtyBitmap *b = bdrv_create_dirty_bitmap(link->bs, GRANULE, name, &error_abort);
    bdrv_dirty_bitmap_set_persistent(b, true);
    if (!enabled) {
        bdrv_disable_dirty_bitmap(b);
        bdrv_set_dirty_bitmap(b, 0, 1);
        bdrv_set_dirty_bitmap(b, 2 * GRANULE, 1);
    }
}

static void co_main_fn write_granule(BdrvLink *link, int i)
{
    rig_write(link, i * GRANULE + 7, 100, i + 1);
    model.written |= UINT64_C(1) << i;
}

static MemDisk *co_main_fn image(int cluster_size)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

    opts.u.qcow2.cluster_size = cluster_size;
    rig_create(d, &opts);
    model = (Model){ 0 };
    return d;
}

/* Made, written, stored; again, with one that is unchanged; stored while open, and changed
 * afterwards; one removed. */
static void co_main_fn live(MemDisk *d, int *valid)
{
    BdrvLink *link = rig_open(d, NULL);

    add(link, "a", true);
    add(link, "off", false);
    write_granule(link, 3);
    check_states(valid);
    rig_close(link);
    check_states(valid);
    model.stored = true;
    for (int round = 0; round < 2; round++) {
        link = rig_open(d, NULL);
        write_granule(link, 10 + round);
        rig_flush(link);
        write_granule(link, 20 + round);
        check_states(valid);
        g_assert_cmpint(bdrv_co_flush(link, BDRV_FLUSH_SETTLE | BDRV_FLUSH_BITMAPS), ==, 0);
        check_states(valid);
        if (round == 1) {
            bdrv_dirty_bitmaps_undone(link->bs);
        }
        write_granule(link, 30 + round);
        rig_flush(link);
        rig_close(link);
        check_states(valid);
    }
    link = rig_open(d, NULL);
    g_assert_true(bdrv_dirty_bitmap_changing(link->bs, "a", &error_abort));
    bdrv_release_dirty_bitmap(bdrv_find_dirty_bitmap(link->bs, "a"));
    model.removed = true;
    rig_close(link);
    check_states(valid);
}

static void co_main_fn test_power_cuts(void)
{
    static const int sizes[] = { 1024, 4096, 65536 };

    states = g_array_new(FALSE, FALSE, sizeof(State));
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        MemDisk *d = image(sizes[i]);
        int valid = 0;
        uint64_t before = seed;

        memdisk_on_sync(d, on_sync, NULL);
        live(d, &valid);
        memdisk_on_sync(d, NULL, NULL);
        BdrvLink *link = rig_open(d, NULL);
        g_assert_cmpuint(rig_check(link), ==, 0);       /* nothing leaks without a crash */
        g_assert_null(bdrv_find_dirty_bitmap(link->bs, "a"));
        rig_close(link);
        memdisk_free(d);
        g_test_message("clusters of %d: %" PRIu64 " states, %d valid bitmaps", sizes[i],
                       seed - before, valid);
        g_assert_cmpint(valid, >, 100);
    }
    g_array_unref(states);
}

/* ---- failing operations ---- */

static bool co_main_fn fail_one(int64_t n, MemFailure failure, bool sticky)
{
    MemDisk *d = image(4096);
    BdrvLink *link = rig_open(d, NULL);

    add(link, "a", true);
    add(link, "off", false);
    write_granule(link, 3);
    rig_close(link);
    model.stored = true;

    link = rig_open(d, NULL);
    int64_t begin = memdisk_operations(d);
    memdisk_set_failure(d, failure);
    memdisk_fail(d, n, EIO, sticky);
    uint8_t byte = 0x77;
    if (bdrv_co_pwrite(link, 10 * GRANULE, 1, &byte, 0) == 0) {
        model.written |= UINT64_C(1) << 10;
    }
    bdrv_co_flush(link, 0);
    bdrv_co_flush(link, BDRV_FLUSH_SETTLE | BDRV_FLUSH_BITMAPS);
    if (bdrv_co_pwrite(link, 11 * GRANULE, 1, &byte, 0) == 0) {
        model.written |= UINT64_C(1) << 11;
    }
    memdisk_fail(d, -1, 0, false);
    bool reached = memdisk_operations(d) - begin > n;

    /* What the medium has by now, if the process is gone. */
    MemDisk *crashed = memdisk_new("crashed");
    Model m = model;
    m.removed = true;               /* who cannot tell what is on disk gives bitmaps up */
    m.stored = false;
    memdisk_crash(d, crashed, MEM_CRASH_KEEP_ALL, 0);
    check_disk(crashed, &m);
    memdisk_free(crashed);

    memdisk_set_failure(d, MEM_FAILURE_NOTHING);
    rig_close(link);
    check_disk(d, &m);
    memdisk_free(d);
    return reached;
}

static void co_main_fn test_failing_operations(void)
{
    static const MemFailure failures[] = { MEM_FAILURE_NOTHING, MEM_FAILURE_ALL,
                                           MEM_FAILURE_TORN };

    for (size_t f = 0; f < G_N_ELEMENTS(failures); f++) {
        for (int sticky = 0; sticky < 2; sticky++) {
            int64_t n = 0;

            while (fail_one(n, failures[f], sticky)) {
                n += RIG_STRIDE;
            }
            g_assert_cmpint(n, >, 20);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/bitmaps/power-cuts", test_power_cuts);
    rig_add("/qcow2/bitmaps/failing-operations", test_failing_operations);
    return g_test_run();
}
