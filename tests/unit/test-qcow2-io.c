/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written to a qcow2 image is what is read, whatever its layout options. */
#include "qemu/osdep.h"

#include "block/formats/qcow2/types.h"
#include "tests/lib/qcow2-rig.h"
#include "tests/lib/qcow2-share.h"

typedef struct Variant {
    const char *name;
    int version;
    int64_t cluster_size;
    int refcount_bits;
    bool extended_l2;
    bool data_file, data_file_raw;
    BdrvPrealloc preallocation;
    int64_t cache_size;
} Variant;

static const Variant variants[] = {
    { "default", 3, 65536, 16 },
    { "v2", 2, 65536, 16 },
    { "v2-small-clusters", 2, 512, 16 },
    { "small-clusters", 3, 512, 16 },
    { "small-clusters-refcount64", 3, 512, 64 },
    { "refcount1", 3, 4096, 1 },
    { "refcount2", 3, 4096, 2 },
    { "refcount8", 3, 4096, 8 },
    { "refcount32", 3, 1024, 32 },
    { "large-clusters", 3, 2097152, 16 },
    { "extended-l2-16k", 3, 16384, 16, .extended_l2 = true },
    { "extended-l2-128k", 3, 131072, 16, .extended_l2 = true },
    { "data-file", 3, 65536, 16, .data_file = true },
    { "data-file-raw", 3, 65536, 16, .data_file = true, .data_file_raw = true },
    { "data-file-extended-l2", 3, 65536, 16, .data_file = true, .extended_l2 = true },
    { "preallocated", 3, 65536, 16, .preallocation = BDRV_PREALLOC_METADATA },
    { "preallocated-extended-l2", 3, 65536, 16, .extended_l2 = true,
      .preallocation = BDRV_PREALLOC_METADATA },
    { "tiny-cache", 3, 512, 16, .cache_size = 1 },
};

#define DISK_BYTES (6 * MiB)

/* A random mix of requests, compared with an array; closed and opened again now and then. */
typedef struct Model {
    uint8_t *data;
    int64_t length;
    uint64_t seed;
} Model;

static int64_t pick_range(Model *m, int64_t *ret_bytes)
{
    static const int64_t units[] = { 1, 512, 4096, 65536 };
    int64_t unit = units[rig_random(&m->seed) % G_N_ELEMENTS(units)];
    int64_t offset = rig_random(&m->seed) % (m->length / unit) * unit;
    int64_t bytes = (1 + rig_random(&m->seed) % 40) * unit;

    *ret_bytes = MIN(bytes, m->length - offset);
    return offset;
}

static void co_fn random_request(Model *m, BdrvLink *link)
{
    int64_t bytes, offset = pick_range(m, &bytes);
    uint8_t pattern = 1 + rig_random(&m->seed) % 255;
    g_autofree uint8_t *buf = NULL;

    switch (rig_random(&m->seed) % 12) {
    case 0 ... 4:
        rig_write(link, offset, bytes, pattern);
        memset(m->data + offset, pattern, bytes);
        break;
    case 5:
        rig_zero(link, offset, bytes, 0);
        memset(m->data + offset, 0, bytes);
        break;
    case 6:
        rig_zero(link, offset, bytes, BDRV_REQ_MAY_UNMAP);
        memset(m->data + offset, 0, bytes);
        break;
    case 7:
        /* Afterwards it reads as anything, but always the same. */
        rig_discard(link, offset, bytes);
        g_assert_cmpint(bdrv_co_pread(link, offset, bytes, m->data + offset), ==, 0);
        break;
    case 8:
        rig_flush(link);
        break;
    default:
        buf = g_malloc(bytes);
        g_assert_cmpint(bdrv_co_pread(link, offset, bytes, buf), ==, 0);
        g_assert_cmpint(memcmp(buf, m->data + offset, bytes), ==, 0);
        break;
    }
}

static void co_fn compare_all(Model *m, BdrvLink *link)
{
    g_autofree uint8_t *buf = g_malloc(m->length);

    g_assert_cmpint(bdrv_length(link->bs), ==, m->length);
    g_assert_cmpint(bdrv_co_pread(link, 0, m->length, buf), ==, 0);
    for (int64_t i = 0; i < m->length; i++) {
        if (buf[i] != m->data[i]) {
            g_error("offset %" PRId64 " reads 0x%02x, not 0x%02x", i, buf[i], m->data[i]);
        }
    }
}

static void co_main_fn create_variant(MemDisk *d, const Variant *v, int64_t size)
{
    BdrvCreateOptions opts = rig_create_options(size);

    opts.preallocation = v->preallocation;
    opts.u.qcow2.version = v->version;
    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.refcount_bits = v->refcount_bits;
    opts.u.qcow2.extended_l2 = v->extended_l2;
    opts.u.qcow2.data_file = v->data_file ? (char *)"data" : NULL;
    opts.u.qcow2.data_file_raw = v->data_file_raw;
    rig_create(d, &opts);
}

static void co_main_fn run_variant(const Variant *v, uint64_t seed)
{
    MemDisk *d = memdisk_new("disk"), *data = v->data_file ? memdisk_new("data") : NULL;
    RigOpen how = { .cache_size = v->cache_size, .data_file = data };
    Model m = { .data = g_malloc0(DISK_BYTES), .length = DISK_BYTES - 1536, .seed = seed };

    create_variant(d, v, m.length);
    for (int round = 0; round < 4; round++) {
        BdrvLink *link = rig_open(d, &how);
        for (int i = 0; i < 120; i += SANITIZE_ADDRESS ? 6 : 1) {
            random_request(&m, link);
        }
        compare_all(&m, link);
        rig_check(link);
        rig_close(link);
        link = rig_open(d, &how);
        compare_all(&m, link);
        g_assert_cmpuint(rig_check(link), ==, 0);       /* a clean close leaves no leak */
        rig_close(link);
    }
    if (v->data_file_raw) {
        g_autofree uint8_t *buf = g_malloc(m.length);
        memdisk_read(data, 0, m.length, buf);
        g_assert_cmpint(memcmp(buf, m.data, m.length), ==, 0);
    }
    g_free(m.data);
    memdisk_free(d);
    if (data) {
        memdisk_free(data);
    }
}

static void co_main_fn test_random_requests_read_back(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        g_test_message("%s", variants[i].name);
        for (uint64_t seed = 1; seed <= 2; seed++) {
            run_variant(&variants[i], seed * 1000 + i);
        }
    }
}

/* An empty image reads as zeroes to its last byte and takes no more than its tables. */
static void co_main_fn test_new_image_is_empty(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        const Variant *v = &variants[i];
        MemDisk *d = memdisk_new("disk"), *data = v->data_file ? memdisk_new("data") : NULL;
        RigOpen how = { .data_file = data };

        create_variant(d, v, 3 * MiB + 512);
        BdrvLink *link = rig_open(d, &how);
        rig_expect(link, 0, 3 * MiB + 512, 0);
        g_assert_cmpuint(rig_check(link), ==, 0);
        if (v->preallocation == BDRV_PREALLOC_OFF) {
            g_assert_cmpint(memdisk_length(d), <=, 4 * v->cluster_size + 64 * KiB);
        }
        rig_close(link);
        memdisk_free(d);
        if (data) {
            memdisk_free(data);
        }
    }
}

/* What a layer does not have comes from below; writing part of a cluster keeps the rest. */
static void co_main_fn test_overlay_shows_its_base(void)
{
    static const bool extended[] = { false, true };

    for (size_t i = 0; i < G_N_ELEMENTS(extended); i++) {
        MemDisk *bd = memdisk_new("base-disk"), *od = memdisk_new("overlay-disk");
        BdrvCreateOptions opts = rig_create_options(8 * MiB);

        rig_create(bd, &opts);
        BdrvLink *base = rig_open(bd, NULL);
        rig_write(base, 0, 4 * MiB, 0xaa);
        opts.u.qcow2.backing_file = (char *)"base";
        opts.u.qcow2.backing_fmt = (char *)"qcow2";
        opts.u.qcow2.extended_l2 = extended[i];
        opts.u.qcow2.cluster_size = extended[i] ? 128 * KiB : 64 * KiB;
        opts.size = 9 * MiB;
        rig_create(od, &opts);
        BdrvLink *top = rig_open(od, &(RigOpen){ .backing = base });
        g_assert_cmpstr(top->bs->backing_file, ==, "base");
        g_assert_cmpstr(top->bs->backing_format, ==, "qcow2");
        rig_expect(top, 0, 4 * MiB, 0xaa);
        rig_expect(top, 4 * MiB, 5 * MiB, 0);
        rig_write(top, MiB + 1000, 3000, 0xbb);
        rig_expect(top, MiB - 4096, 4096 + 1000, 0xaa);
        rig_expect(top, MiB + 1000, 3000, 0xbb);
        rig_expect(top, MiB + 4000, 2 * MiB, 0xaa);
        rig_zero(top, 2 * MiB, MiB, BDRV_REQ_MAY_UNMAP);
        rig_expect(top, 2 * MiB, MiB, 0);
        rig_expect(top, 3 * MiB, MiB, 0xaa);
        rig_write(top, 2 * MiB + 4096, 512, 0xcc);
        rig_expect(top, 2 * MiB, 4096, 0);
        rig_expect(top, 2 * MiB + 4608, MiB - 4608, 0);
        rig_expect(base, 0, 4 * MiB, 0xaa);
        g_assert_cmpuint(rig_check(top), ==, 0);
        rig_close(top);
        rig_close(base);
        memdisk_free(bd);
        memdisk_free(od);
    }
}

/* The first 4 KiB write into an empty overlay with subclusters reads nothing and copies nothing. */
static void co_main_fn test_subcluster_write_copies_nothing(void)
{
    MemDisk *bd = memdisk_new("base-disk"), *od = memdisk_new("overlay-disk");
    BdrvCreateOptions opts = rig_create_options(GiB);

    rig_create(bd, &opts);
    BdrvLink *base = rig_open(bd, NULL);
    rig_write(base, 0, MiB, 0xaa);
    rig_flush(base);
    opts.u.qcow2.backing_file = (char *)"base";
    opts.u.qcow2.extended_l2 = true;
    opts.u.qcow2.cluster_size = 128 * KiB;
    rig_create(od, &opts);
    BdrvLink *top = rig_open(od, &(RigOpen){ .backing = base });
    rig_write(top, 64 * KiB, 4096, 0xbb);           /* makes the first L2 table */

    unsigned reads = memdisk_counts(od).reads + memdisk_counts(bd).reads;
    unsigned writes = memdisk_counts(od).writes;
    for (int i = 0; i < 8; i++) {
        rig_write(top, i * 128 * KiB + 32 * KiB, 4096, 0xcc);
    }
    g_assert_cmpuint(memdisk_counts(od).reads + memdisk_counts(bd).reads, ==, reads);
    g_assert_cmpuint(memdisk_counts(od).writes, ==, writes + 8);
    rig_expect(top, 0, 32 * KiB, 0xaa);
    rig_expect(top, 36 * KiB, 28 * KiB, 0xaa);
    rig_close(top);
    rig_close(base);
    memdisk_free(bd);
    memdisk_free(od);
}

static unsigned co_fn syncs_of_flush(BdrvLink *link, MemDisk *d)
{
    unsigned before = memdisk_counts(d).flushes;

    rig_flush(link);
    return memdisk_counts(d).flushes - before;
}

/* A flush costs one sync for data in place, two for allocations, none if nothing was written. */
static void co_main_fn test_flush_costs_few_syncs(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(64 * MiB);

    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, NULL);
    rig_write(link, 0, 4096, 1);
    rig_flush(link);
    rig_write(link, MiB, 4096, 1);
    g_assert_cmpuint(syncs_of_flush(link, d), ==, 2);
    rig_write(link, MiB, 4096, 2);
    g_assert_cmpuint(syncs_of_flush(link, d), ==, 1);
    g_assert_cmpuint(syncs_of_flush(link, d), ==, 0);
    rig_close(link);
    memdisk_free(d);
}

/* Space that was discarded is used again, after the discard is durable. */
static void co_main_fn test_discarded_space_is_reused(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(64 * MiB);

    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, NULL);
    rig_write(link, 0, 8 * MiB, 1);
    rig_flush(link);
    int64_t length = memdisk_length(d);
    for (int i = 0; i < 10; i++) {
        rig_discard(link, 0, 8 * MiB);
        rig_flush(link);
        rig_write(link, 16 * MiB, 8 * MiB, 2);
        rig_discard(link, 16 * MiB, 8 * MiB);
        rig_flush(link);
        rig_write(link, 0, 8 * MiB, 3);
    }
    g_assert_cmpint(memdisk_length(d), <=, length + 64 * KiB);
    rig_close(link);
    memdisk_free(d);
}

/* A settling flush leaves what a clean close does: not even a leak after a power cut. */
static void co_main_fn test_settling_flush_leaves_no_leak(void)
{
    MemDisk *d = memdisk_new("disk"), *crashed = memdisk_new("crashed");
    BdrvCreateOptions opts = rig_create_options(16 * MiB);

    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, NULL);
    rig_write(link, 0, 4 * MiB, 1);
    rig_flush(link);
    rig_discard(link, 0, 2 * MiB);
    g_assert_cmpint(bdrv_co_flush(link, BDRV_FLUSH_SETTLE), ==, 0);
    memdisk_crash(d, crashed, MEM_CRASH_DROP_ALL, 0);
    BdrvLink *c = rig_open(crashed, NULL);
    g_assert_cmpuint(rig_check(c), ==, 0);
    rig_close(c);
    rig_close(link);
    memdisk_free(d);
    memdisk_free(crashed);
}

static uint16_t refcount_of(MemDisk *d, int64_t cluster)
{
    uint8_t block[8], count[2];
    uint64_t reftable = 65536;      /* as created */

    memdisk_read(d, reftable, 8, block);
    memdisk_read(d, be64_load(block) + cluster * 2, 2, count);
    return be16_load(count);
}

/* What an internal snapshot shares with the disk stays, whatever is written to the disk. */
static void co_main_fn test_snapshot_keeps_its_clusters(void)
{
    MemDisk *d = memdisk_new("disk"), *before = memdisk_new("before");
    BdrvCreateOptions opts = rig_create_options(16 * MiB);
    int64_t shared = 0;

    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, NULL);
    rig_write(link, 0, 4 * MiB, 1);
    rig_close(link);
    qcow2_share_with_snapshot(d);
    memdisk_crash(d, before, MEM_CRASH_KEEP_ALL, 0);
    link = rig_open(d, NULL);
    rig_write(link, 100, MiB, 2);
    rig_write(link, MiB + 4096, 512, 2);
    rig_zero(link, 2 * MiB, 100000, 0);
    rig_zero(link, 3 * MiB, 100000, BDRV_REQ_MAY_UNMAP);
    rig_discard(link, 3 * MiB + 512 * KiB, 256 * KiB);
    rig_close(link);
    link = rig_open(d, NULL);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_close(link);
    for (int64_t i = 0; i * 65536 < memdisk_length(before); i++) {
        g_autofree uint8_t *a = g_malloc(65536), *b = g_malloc(65536);

        if (refcount_of(before, i) < 2) {
            continue;
        }
        memdisk_read(before, i * 65536, 65536, a);
        memdisk_read(d, i * 65536, 65536, b);
        g_assert_cmpint(memcmp(a, b, 65536), ==, 0);
        g_assert_cmpuint(refcount_of(d, i), >=, 1);
        shared++;
    }
    g_assert_cmpint(shared, >=, 64);
    memdisk_free(d);
    memdisk_free(before);
}

/*
 * On a device, which may hold anything and does not grow, an image is laid out, used until the
 * device is full, and still in order; what is discarded makes room again.
 */
static void co_main_fn image_on_a_device(int64_t cluster_size, int refcount_bits,
                                         int64_t device_bytes)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(2 * device_bytes);
    g_autofree uint8_t *junk = g_malloc(device_bytes);
    int64_t full = 0, last = 2 * device_bytes - 4 * MiB;

    memdisk_fix_length(d, device_bytes);
    memset(junk, 0xee, device_bytes);
    memdisk_poke(d, 0, device_bytes, junk);
    opts.u.qcow2.cluster_size = cluster_size;
    opts.u.qcow2.refcount_bits = refcount_bits;
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, NULL);
    rig_expect(link, 0, 2 * device_bytes, 0);
    while (bdrv_co_pwrite(link, full, 96 * KiB, junk, 0) == 0) {
        full += 96 * KiB;
    }
    g_assert_cmpint(full, >, device_bytes / 4 * 3);
    g_assert_cmpint(bdrv_co_pwrite(link, full, 96 * KiB, junk, 0), ==, -ENOSPC);
    rig_expect(link, 0, full, 0xee);
    rig_flush(link);
    rig_check(link);
    rig_discard(link, 0, MiB);
    rig_flush(link);
    rig_write(link, last, 512, 0x44);
    rig_expect(link, last + 512, 64 * KiB - 512, 0);
    rig_close(link);
    link = rig_open(d, NULL);
    rig_expect(link, MiB, full - MiB, 0xee);
    rig_expect(link, last, 512, 0x44);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_close(link);
    memdisk_free(d);
}

static void co_main_fn test_image_on_a_device(void)
{
    image_on_a_device(65536, 16, 8 * MiB);
    image_on_a_device(512, 16, 8 * MiB);
    image_on_a_device(8192, 64, 20 * MiB);      /* more than one refcount block, of two pages */
}

typedef struct Settling {
    BdrvLink *link;
    int64_t next;
    bool done;
} Settling;

static void co_fn settle_entry(void *opaque)
{
    Settling *s = opaque;

    while (!s->done) {
        g_assert_cmpint(bdrv_co_flush(s->link, BDRV_FLUSH_SETTLE), ==, 0);
        coroutine_reschedule();
    }
}

static void co_fn grow_entry(void *opaque)
{
    Settling *s = opaque;

    while (s->next < MiB) {
        int64_t offset = s->next;
        s->next += 4096;
        rig_write(s->link, offset + 1024, 512, 1 + offset / 4096);  /* a part of a new cluster */
    }
}

/* A flush that settles the image makes the file longer, and never shorter than writes beside it
 * have. */
static void co_main_fn test_settling_cuts_nothing_off(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(MiB);
    CoGroup settling = CO_GROUP_INIT, growing = CO_GROUP_INIT;

    opts.u.qcow2.cluster_size = 4096;
    rig_create(d, &opts);
    memdisk_shuffle(d, 2);
    Settling s = { rig_open(d, NULL) };
    co_group_start(&settling, settle_entry, &s);
    for (int i = 0; i < 4; i++) {
        co_group_start(&growing, grow_entry, &s);
    }
    co_group_wait(&growing);
    s.done = true;
    co_group_wait(&settling);
    for (int64_t offset = 0; offset < MiB; offset += 4096) {
        rig_expect(s.link, offset + 1024, 512, 1 + offset / 4096);
    }
    rig_close(s.link);
    memdisk_free(d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/io/new-image-is-empty", test_new_image_is_empty);
    rig_add("/qcow2/io/random-requests-read-back", test_random_requests_read_back);
    rig_add("/qcow2/io/overlay-shows-its-base", test_overlay_shows_its_base);
    rig_add("/qcow2/io/subcluster-write-copies-nothing", test_subcluster_write_copies_nothing);
    rig_add("/qcow2/io/flush-costs-few-syncs", test_flush_costs_few_syncs);
    rig_add("/qcow2/io/discarded-space-is-reused", test_discarded_space_is_reused);
    rig_add("/qcow2/io/settling-flush-leaves-no-leak", test_settling_flush_leaves_no_leak);
    rig_add("/qcow2/io/snapshot-keeps-its-clusters", test_snapshot_keeps_its_clusters);
    rig_add("/qcow2/io/settling-cuts-nothing-off", test_settling_cuts_nothing_off);
    rig_add("/qcow2/io/image-on-a-device", test_image_on_a_device);
    return g_test_run();
}
