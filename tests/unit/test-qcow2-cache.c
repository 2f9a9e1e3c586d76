/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory for metadata is bounded, however many, large and busy the images are. */
#include "qemu/osdep.h"

#include "block/formats/qcow2/qcow2.h"
#include "tests/lib/qcow2-rig.h"

#define MIN_BYTES_PER_IMAGE (16 * (4096 + 256))

/* An image of many L2 tables, with something in each. */
static BdrvLink *co_main_fn busy_image(MemDisk *d, int64_t cache_size)
{
    BdrvCreateOptions opts = rig_create_options(512 * MiB);

    opts.u.qcow2.cluster_size = 4096;
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, &(RigOpen){ .cache_size = cache_size });
    for (int64_t i = 0; i < 256; i++) {
        rig_write(link, i * 2 * MiB, 512, i % 250 + 1);
    }
    return link;
}

static void co_fn read_back(BdrvLink *link)
{
    for (int64_t i = 0; i < 256; i++) {
        rig_expect(link, i * 2 * MiB, 512, i % 250 + 1);
    }
}

static void co_main_fn test_budget_bounds_all_images_together(void)
{
    enum { N = 4 };
    MemDisk *d[N];
    BdrvLink *link[N];

    qcow2_cache_set_global_budget(512 * KiB);
    for (int i = 0; i < N; i++) {
        g_autofree char *name = g_strdup_printf("disk%d", i);
        d[i] = memdisk_new(name);
        link[i] = busy_image(d[i], 0);
        g_assert_cmpuint(qcow2_cache_global_usage(), <=, 512 * KiB + N * MIN_BYTES_PER_IMAGE);
    }
    for (int i = 0; i < N; i++) {
        read_back(link[i]);
        g_assert_cmpuint(qcow2_cache_global_usage(), <=, 512 * KiB + N * MIN_BYTES_PER_IMAGE);
        g_assert_cmpuint(rig_check(link[i]), ==, 0);
    }
    for (int i = 0; i < N; i++) {
        rig_close(link[i]);
        memdisk_free(d[i]);
    }
    g_assert_cmpuint(qcow2_cache_global_usage(), ==, 0);
    qcow2_cache_set_global_budget(QCOW2_DEFAULT_CACHE_BUDGET);
}

/* cache-size is a cap for one image, and enough for it to work at its smallest. */
static void co_main_fn test_cache_size_caps_one_image(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvLink *link = busy_image(d, 128 * KiB);

    read_back(link);
    g_assert_cmpuint(qcow2_cache_global_usage(), <=, 128 * KiB / 4096 * (4096 + 256));
    rig_close(link);
    memdisk_free(d);
}

/* ---- how much may wait to be written ---- */

#define CAP_PAGES 512
/* A quarter of the pages that an image may have: from there on a writer starts a writeback first;
 * everybody waits for it from twice that on. */
#define SOFT_PAGES (CAP_PAGES / 4)
/* The pages that one request makes dirty. */
#define PAGES_OF_REQUEST 4

static BdrvLink *co_main_fn image_with_cap(MemDisk *d)
{
    BdrvCreateOptions opts = rig_create_options(8 * (int64_t)GiB);

    opts.u.qcow2.cluster_size = 4096;
    rig_create(d, &opts);
    return rig_open(d, &(RigOpen){ .cache_size = CAP_PAGES * 4096 });
}

static size_t dirty_pages(BdrvLink *link)
{
    Qcow2State *s = qcow2_state(link->bs);

    qcow2_lock(s);
    size_t n = s->cache.n_dirty + s->cache.n_frozen;
    qcow2_unlock(s);
    return n;
}

/* Nobody flushes, and yet what would be lost, and has to be written at a flush, does not grow. */
static void co_main_fn test_metadata_that_waits_is_bounded(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvLink *link = image_with_cap(d);
    size_t most = 0;

    for (int64_t i = 0; i < 1500; i++) {
        rig_write(link, i * 2 * MiB, 512, i % 250 + 1);     /* a new L2 table each */
        most = MAX(most, dirty_pages(link));
    }
    g_test_message("%zu pages at most", most);
    g_assert_cmpuint(most, <=, SOFT_PAGES + PAGES_OF_REQUEST);
    g_assert_cmpuint(most, >, SOFT_PAGES / 2);      /* nor is each request written at once */
    rig_close(link);
    memdisk_free(d);
}

#define WRITERS 16

typedef struct Writer {
    BdrvLink *link;
    int64_t first;
    size_t *most;
} Writer;

static void co_fn writer_entry(void *opaque)
{
    Writer *w = opaque;

    for (int64_t i = 0; i < 100; i++) {
        rig_write(w->link, (w->first + i * WRITERS) * 2 * MiB, 512, 0x11);
        *w->most = MAX(*w->most, dirty_pages(w->link));
    }
}

static void co_main_fn test_metadata_that_waits_is_bounded_for_many_writers(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvLink *link = image_with_cap(d);
    CoGroup group = CO_GROUP_INIT;
    Writer writers[WRITERS];
    size_t most = 0;

    memdisk_shuffle(d, 2);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (Writer){ link, i, &most };
        co_group_start(&group, writer_entry, &writers[i]);
    }
    co_group_wait(&group);
    g_test_message("%zu pages at most", most);
    g_assert_cmpuint(most, <=, 2 * SOFT_PAGES + WRITERS * PAGES_OF_REQUEST);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_close(link);
    memdisk_free(d);
}

/* ---- what is not used ---- */

/* What nobody used for two rounds is gone; what is used, or not written yet, stays. */
static void co_main_fn test_unused_metadata_leaves_the_memory(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvLink *link = busy_image(d, 0);
    Qcow2State *s = qcow2_state(link->bs);

    rig_flush(link);
    read_back(link);
    size_t full = qcow2_cache_global_usage();
    qcow2_cache_drop_unused(s);
    g_assert_cmpuint(qcow2_cache_global_usage(), ==, full);
    rig_expect(link, 0, 512, 1);
    rig_write(link, 4 * MiB + 8192, 512, 9);            /* makes pages dirty */
    qcow2_cache_drop_unused(s);
    size_t left = qcow2_cache_global_usage();
    g_assert_cmpuint(left, <, full / 8);
    g_assert_cmpuint(left, >, 0);
    unsigned reads = memdisk_counts(d).reads;
    rig_expect(link, 0, 512, 1);
    g_assert_cmpuint(memdisk_counts(d).reads, ==, reads + 1);   /* of the data alone */
    read_back(link);
    rig_expect(link, 4 * MiB + 8192, 512, 9);
    rig_check(link);
    rig_close(link);
    memdisk_free(d);
}

/* An image that was busy does not keep another from having a cache. */
static void co_main_fn test_idle_image_gives_way(void)
{
    MemDisk *d = memdisk_new("old"), *e = memdisk_new("new");

    qcow2_cache_set_global_budget(MiB);
    BdrvLink *hog = busy_image(d, 0);
    read_back(hog);
    rig_flush(hog);
    BdrvLink *link = busy_image(e, 0);
    rig_flush(link);
    /* What the new one uses over and over stays in memory. */
    for (int i = 0; i < 2; i++) {
        for (int64_t k = 0; k < 64; k++) {
            rig_expect(link, k * 2 * MiB, 512, k % 250 + 1);
        }
    }
    unsigned reads = memdisk_counts(e).reads;
    for (int64_t k = 0; k < 64; k++) {
        rig_expect(link, k * 2 * MiB, 512, k % 250 + 1);
    }
    g_assert_cmpuint(memdisk_counts(e).reads - reads, <=, 64 + 8);      /* the data, no tables */
    rig_close(link);
    rig_close(hog);
    memdisk_free(d);
    memdisk_free(e);
    qcow2_cache_set_global_budget(QCOW2_DEFAULT_CACHE_BUDGET);
}

/* A huge disk costs nothing until it is used: its L1 table is read in pieces. */
static void co_main_fn test_huge_disk_needs_little_memory(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(INT64_C(1) << 50);

    opts.u.qcow2.cluster_size = 2 * MiB;
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, NULL);
    rig_expect(link, INT64_C(1) << 49, 4096, 0);
    rig_write(link, (INT64_C(1) << 50) - 512, 512, 9);
    rig_expect(link, (INT64_C(1) << 50) - 1024, 512, 0);
    g_assert_cmpuint(qcow2_cache_global_usage(), <=, 64 * KiB);
    rig_close(link);
    memdisk_free(d);
}

/* A chain of 200 images: what no layer but the last has is found, in bounded memory. */
static void co_main_fn test_deep_chain(void)
{
    enum { DEPTH = 200 };
    MemDisk *d[DEPTH];
    BdrvLink *link[DEPTH];
    BdrvCreateOptions opts = rig_create_options(64 * MiB);

    qcow2_cache_set_global_budget(256 * KiB);
    for (int i = 0; i < DEPTH; i++) {
        g_autofree char *name = g_strdup_printf("disk%d", i);

        d[i] = memdisk_new(name);
        opts.u.qcow2.backing_file = i ? (char *)"below" : NULL;
        rig_create(d[i], &opts);
        link[i] = rig_open(d[i], &(RigOpen){ .backing = i ? link[i - 1] : NULL });
        rig_write(link[i], i * 64 * KiB, 4096, i % 250 + 1);
    }
    for (int i = 0; i < DEPTH; i++) {
        rig_expect(link[DEPTH - 1], i * 64 * KiB, 4096, i % 250 + 1);
    }
    g_assert_cmpuint(qcow2_cache_global_usage(), <=, 256 * KiB + DEPTH * MIN_BYTES_PER_IMAGE);
    for (int i = DEPTH - 1; i >= 0; i--) {
        rig_close(link[i]);
        memdisk_free(d[i]);
    }
    qcow2_cache_set_global_budget(QCOW2_DEFAULT_CACHE_BUDGET);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/cache/budget-bounds-all-images-together",
            test_budget_bounds_all_images_together);
    rig_add("/qcow2/cache/size-caps-one-image", test_cache_size_caps_one_image);
    rig_add("/qcow2/cache/metadata-that-waits-is-bounded", test_metadata_that_waits_is_bounded);
    rig_add("/qcow2/cache/metadata-that-waits-is-bounded-for-many-writers",
            test_metadata_that_waits_is_bounded_for_many_writers);
    rig_add("/qcow2/cache/unused-metadata-leaves-the-memory",
            test_unused_metadata_leaves_the_memory);
    rig_add("/qcow2/cache/idle-image-gives-way", test_idle_image_gives_way);
    rig_add("/qcow2/cache/huge-disk-needs-little-memory", test_huge_disk_needs_little_memory);
    rig_add("/qcow2/cache/deep-chain", test_deep_chain);
    return g_test_run();
}
