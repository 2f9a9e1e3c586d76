/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an image takes from below becomes its own, and nothing that it reads as changes. */
#include "qemu/osdep.h"

#include "block/copy-up.h"
#include "block/formats/qcow2/types.h"
#include "qemu/aio.h"
#include "tests/lib/qcow2-rig.h"

#define DISK_BYTES (4 * MiB + 1536)
#define LAYERS 4

typedef struct Layout {
    int version;
    int64_t cluster_size;
    bool extended_l2;
} Layout;

static const Layout layouts[] = {
    { 3, 65536, false },
    { 3, 16384, true },
    { 3, 512, false },
    { 2, 4096, false },
    { 3, 2097152, false },
};

/* A chain of images on disks in memory, the lowest one first. */
typedef struct Chain {
    MemDisk *disks[LAYERS];
    BdrvLink *links[LAYERS];
    uint8_t *data;                  /* what the top reads as */
    uint64_t seed;
} Chain;

static int64_t layer_bytes(int i)
{
    static const int64_t lengths[LAYERS] = { DISK_BYTES, MiB + 512, DISK_BYTES, DISK_BYTES };

    return lengths[i];
}

/* Some pieces of the layer at @i, data or zeroes. */
static void co_fn fill_layer(Chain *c, int i)
{
    static const int64_t units[] = { 512, 4096, 65536 };

    for (int n = 0; n < 12; n++) {
        int64_t unit = units[rig_random(&c->seed) % G_N_ELEMENTS(units)];
        int64_t offset = rig_random(&c->seed) % (layer_bytes(i) / unit) * unit;
        int64_t units_long = 1 + rig_random(&c->seed) % 6;
        int64_t bytes = MIN(units_long * unit, layer_bytes(i) - offset);

        if (rig_random(&c->seed) % 3 == 0) {
            rig_zero(c->links[i], offset, bytes, 0);
        } else {
            rig_write(c->links[i], offset, bytes, rig_random(&c->seed) % 256);
        }
    }
}

static void co_main_fn chain_open(Chain *c, const Layout *top, uint64_t seed)
{
    *c = (Chain){ .seed = seed, .data = g_malloc(DISK_BYTES) };
    for (int i = 0; i < LAYERS; i++) {
        g_autofree char *name = g_strdup_printf("disk%d", i);
        BdrvCreateOptions opts = rig_create_options(layer_bytes(i));

        if (i == LAYERS - 1) {
            opts.u.qcow2.version = top->version;
            opts.u.qcow2.cluster_size = top->cluster_size;
            opts.u.qcow2.extended_l2 = top->extended_l2;
        }
        c->disks[i] = memdisk_new(name);
        rig_create(c->disks[i], &opts);
        c->links[i] = rig_open(c->disks[i], &(RigOpen){ .backing = i ? c->links[i - 1] : NULL });
        fill_layer(c, i);
    }
    g_assert_cmpint(bdrv_co_pread(c->links[LAYERS - 1], 0, DISK_BYTES, c->data), ==, 0);
}

static BdrvLink *top_of(Chain *c)
{
    return c->links[LAYERS - 1];
}

static void co_main_fn chain_close(Chain *c)
{
    for (int i = LAYERS; i-- > 0; ) {
        if (c->links[i]) {
            rig_close(c->links[i]);
        }
        memdisk_free(c->disks[i]);
    }
    g_free(c->data);
}

static void co_fn expect_model(BdrvLink *link, const uint8_t *data)
{
    g_autofree uint8_t *buf = g_malloc(DISK_BYTES);

    g_assert_cmpint(bdrv_co_pread(link, 0, DISK_BYTES, buf), ==, 0);
    for (int64_t i = 0; i < DISK_BYTES; i++) {
        if (buf[i] != data[i]) {
            g_error("offset %" PRId64 " reads 0x%02x, not 0x%02x", i, buf[i], data[i]);
        }
    }
}

/* Close the chain's top and open it on @backing (NULL: nothing). */
static void co_main_fn top_onto(Chain *c, BdrvLink *backing)
{
    rig_close(top_of(c));
    c->links[LAYERS - 1] = rig_open(c->disks[LAYERS - 1], &(RigOpen){ .backing = backing });
}

static void co_main_fn test_nothing_below_is_needed_afterwards(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        for (uint64_t seed = 1; seed <= 4; seed++) {
            Chain c;
            int64_t copied;

            chain_open(&c, &layouts[i], seed * 100 + i);
            g_assert_cmpint(bdrv_co_copy_up(top_of(&c), 0, DISK_BYTES, NULL, &copied), ==, 0);
            g_assert_true(copied > 0 || layouts[i].cluster_size > 64 * KiB);
            expect_model(top_of(&c), c.data);
            g_assert_cmpint(bdrv_co_copy_up(top_of(&c), 0, DISK_BYTES, NULL, &copied), ==, 0);
            g_assert_cmpint(copied, ==, 0);
            g_assert_cmpuint(rig_check(top_of(&c)), ==, 0);
            top_onto(&c, NULL);
            expect_model(top_of(&c), c.data);
            chain_close(&c);
        }
    }
}

/* Above a base the chain becomes one image: it reads the same on the base alone. */
static void co_main_fn test_down_to_a_base(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        for (int base = 0; base < LAYERS - 1; base++) {
            Chain c;
            int64_t copied;

            chain_open(&c, &layouts[i], 1000 + base * 100 + i);
            g_assert_cmpint(bdrv_co_copy_up(top_of(&c), 0, DISK_BYTES, c.links[base]->bs, &copied),
                            ==, 0);
            expect_model(top_of(&c), c.data);
            g_assert_true(copied == 0 || base < LAYERS - 2);
            top_onto(&c, c.links[base]);
            expect_model(top_of(&c), c.data);
            chain_close(&c);
        }
    }
}

/* ---- what it is not: a write ---- */

typedef struct Counter {
    BdrvWriteTracker tracker;
    unsigned count;
} Counter;

static void counter_written(BdrvWriteTracker *tracker, BlockDriverState *bs, int64_t offset,
                            int64_t bytes)
{
    container_of(tracker, Counter, tracker)->count++;
}

static void counter_release(BdrvWriteTracker *tracker)
{
}

static void co_main_fn test_is_no_write_and_is_flushed(void)
{
    Counter counter = { .tracker = { .written = counter_written, .release = counter_release } };
    MemDisk *crashed = memdisk_new("crashed");
    Chain c;

    chain_open(&c, &layouts[0], 7);
    rig_flush(top_of(&c));
    uint64_t highest = top_of(&c)->bs->wr_highest_offset;
    bdrv_add_write_tracker(top_of(&c)->bs, &counter.tracker);
    g_assert_cmpint(bdrv_co_copy_up(top_of(&c), 0, DISK_BYTES, NULL, NULL), ==, 0);
    g_assert_cmpuint(counter.count, ==, 0);
    g_assert_cmpuint(top_of(&c)->bs->wr_highest_offset, ==, highest);
    rig_flush(top_of(&c));
    memdisk_crash(c.disks[LAYERS - 1], crashed, MEM_CRASH_DROP_ALL, 0);
    BdrvLink *after = rig_open(crashed, NULL);
    expect_model(after, c.data);
    rig_close(after);
    memdisk_free(crashed);
    chain_close(&c);
}

/* What was readable before the call is so after a power cut at any time, whatever was written. */
static void co_main_fn test_power_cut_keeps_the_content(void)
{
    MemDisk *crashed = memdisk_new("crashed");

    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        Chain c;

        chain_open(&c, &layouts[i], 50 + i);
        rig_flush(top_of(&c));
        g_assert_cmpint(bdrv_co_copy_up(top_of(&c), 0, DISK_BYTES, NULL, NULL), ==, 0);
        for (uint64_t seed = 0; seed < 12; seed++) {
            memdisk_crash(c.disks[LAYERS - 1], crashed,
                          seed % 2 ? MEM_CRASH_RANDOM : MEM_CRASH_TORN, seed);
            BdrvLink *after = rig_open(crashed, &(RigOpen){ .backing = c.links[LAYERS - 2] });
            expect_model(after, c.data);
            rig_close(after);
        }
        chain_close(&c);
    }
    memdisk_free(crashed);
}

/* ---- failures ---- */

static void co_main_fn test_a_failure_changes_nothing_that_is_read(void)
{
    for (int64_t n = 0; ; n += RIG_STRIDE) {
        Chain c;

        chain_open(&c, &layouts[n % 2], 9);
        memdisk_fail(c.disks[LAYERS - 1], n, EIO, false);
        int ret = bdrv_co_copy_up(top_of(&c), 0, DISK_BYTES, NULL, NULL);
        memdisk_fail(c.disks[LAYERS - 1], -1, 0, false);
        expect_model(top_of(&c), c.data);
        g_assert_cmpint(bdrv_co_copy_up(top_of(&c), 0, DISK_BYTES, NULL, NULL), ==, 0);
        expect_model(top_of(&c), c.data);
        rig_check(top_of(&c));
        chain_close(&c);
        if (ret == 0) {
            g_assert_cmpint(n, >, 0);
            return;
        }
        g_assert_cmpint(ret, ==, -EIO);
    }
}

static void co_main_fn test_bad_ranges_and_read_only_nodes_are_errors(void)
{
    Chain c;

    chain_open(&c, &layouts[0], 3);
    g_assert_cmpint(bdrv_co_copy_up(top_of(&c), DISK_BYTES - 512, 1024, NULL, NULL), ==, -EIO);
    g_assert_cmpint(bdrv_co_copy_up(top_of(&c), -512, 512, NULL, NULL), ==, -EIO);
    g_assert_cmpint(bdrv_co_copy_up(top_of(&c), INT64_MAX, INT64_MAX, NULL, NULL), ==, -EIO);
    g_assert_cmpint(bdrv_co_copy_up(c.links[0], 0, DISK_BYTES, NULL, NULL), ==, 0);
    rig_close(top_of(&c));
    c.links[LAYERS - 1] = rig_open(c.disks[LAYERS - 1], &(RigOpen){ .backing = c.links[2],
                                                                    .read_only = true });
    g_assert_cmpint(bdrv_co_copy_up(top_of(&c), 0, DISK_BYTES, NULL, NULL), ==, -EPERM);
    chain_close(&c);
}

/* ---- side by side with guests ---- */

typedef struct Guest {
    Chain *c;
    int slot;
    int failures;
} Guest;

/* Writes where only it does, and reads what it wrote back. */
static void co_fn guest_entry(void *opaque)
{
    Guest *g = opaque;
    uint64_t seed = 77 + g->slot;

    for (int i = 0; i < 60; i++) {
        int64_t offset = (int64_t)(rig_random(&seed) % (4 * MiB / 2048)) * 2048 + g->slot * 512;
        uint8_t pattern = 1 + rig_random(&seed) % 255, back[512];
        rig_write(top_of(g->c), offset, 512, pattern);
        memset(g->c->data + offset, pattern, 512);
        coroutine_reschedule();
        g_assert_cmpint(bdrv_co_pread(top_of(g->c), offset, 512, back), ==, 0);
        g_assert_cmpint(memcmp(back, g->c->data + offset, 512), ==, 0);
    }
}

static void co_fn copier_entry(void *opaque)
{
    Guest *g = opaque;
    int64_t half = DISK_BYTES / 2, from = g->slot ? half : 0;

    g_assert_cmpint(bdrv_co_copy_up(top_of(g->c), from, g->slot ? DISK_BYTES - half : half + 4096,
                                    NULL, NULL), ==, 0);
}

static void co_main_fn test_guests_write_meanwhile(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        CoGroup group = CO_GROUP_INIT;
        Guest guests[4], copiers[2];
        Chain c;

        chain_open(&c, &layouts[i], 20 + i);
        for (int d = 0; d < LAYERS; d++) {
            memdisk_shuffle(c.disks[d], 2);
        }
        for (int k = 0; k < 4; k++) {
            guests[k] = (Guest){ .c = &c, .slot = k };
            co_group_start(&group, guest_entry, &guests[k]);
        }
        for (int k = 0; k < 2; k++) {
            copiers[k] = (Guest){ .c = &c, .slot = k };
            co_group_start(&group, copier_entry, &copiers[k]);
        }
        co_group_wait(&group);
        expect_model(top_of(&c), c.data);
        top_onto(&c, NULL);
        expect_model(top_of(&c), c.data);
        chain_close(&c);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/copy-up/nothing-below-is-needed-afterwards", test_nothing_below_is_needed_afterwards);
    rig_add("/copy-up/down-to-a-base", test_down_to_a_base);
    rig_add("/copy-up/is-no-write-and-is-flushed", test_is_no_write_and_is_flushed);
    rig_add("/copy-up/power-cut-keeps-the-content", test_power_cut_keeps_the_content);
    rig_add("/copy-up/failure-changes-nothing-that-is-read",
            test_a_failure_changes_nothing_that_is_read);
    rig_add("/copy-up/bad-ranges-and-read-only-nodes-are-errors",
            test_bad_ranges_and_read_only_nodes_are_errors);
    rig_add("/copy-up/guests-write-meanwhile", test_guests_write_meanwhile);
    return g_test_run();
}
