/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A snapshot in the image has what the disk had when it was taken, whoever writes meanwhile, and
 * goes without a trace. */
#include "qemu/osdep.h"

#include "block/formats/qcow2/types.h"
#include "tests/lib/qcow2-rig.h"

#define UNIT 4096
#define N_WRITERS 6

typedef struct Variant {
    const char *name;
    int version;
    int64_t cluster_size;
    int refcount_bits;
    bool extended_l2, lazy;
    bool plain;                     /* no compressed clusters, which share a host cluster */
    int64_t disk_bytes, cache_size;
} Variant;

static const Variant variants[] = {
    { "default", 3, 65536, 16, .disk_bytes = 8 * MiB },
    { "v2", 2, 4096, 16, .disk_bytes = 2 * MiB },
    { "tiny-clusters", 3, 512, 16, .disk_bytes = MiB },
    { "tiny-cache", 3, 512, 64, .disk_bytes = MiB, .cache_size = 1 },
    { "narrow-refcounts", 3, 4096, 4, .plain = true, .disk_bytes = 2 * MiB },
    { "extended-l2", 3, 16384, 16, .extended_l2 = true, .disk_bytes = 4 * MiB },
    { "lazy", 3, 4096, 16, .lazy = true, .disk_bytes = 2 * MiB },
};

typedef struct Bed {
    const Variant *v;
    MemDisk *d;
    BdrvLink *link;
    uint64_t seed;
    bool stop, hold;
    unsigned in_flight, writers;
    unsigned requests;
} Bed;

static void co_main_fn bed_open(Bed *b)
{
    b->link = rig_open(b->d, &(RigOpen){ .cache_size = b->v->cache_size });
}

static void co_main_fn bed_setup(Bed *b, const Variant *v)
{
    BdrvCreateOptions opts = rig_create_options(v->disk_bytes);

    *b = (Bed){ .v = v, .d = memdisk_new("disk"), .seed = 7 };
    memdisk_set_max_bytes(b->d, 200 * MiB);
    opts.u.qcow2.version = v->version;
    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.refcount_bits = v->refcount_bits;
    opts.u.qcow2.extended_l2 = v->extended_l2;
    opts.u.qcow2.lazy_refcounts = v->lazy;
    rig_create(b->d, &opts);
    bed_open(b);
    rig_write(b->link, 0, v->disk_bytes / 2, 0x11);
}

static void co_main_fn bed_teardown(Bed *b)
{
    rig_close(b->link);
    memdisk_free(b->d);
}

static uint8_t *co_main_fn content(BdrvLink *link)
{
    uint8_t *buf = g_malloc(bdrv_length(link->bs));

    g_assert_cmpint(bdrv_co_pread(link, 0, bdrv_length(link->bs), buf), ==, 0);
    return buf;
}

/* ---- guests ---- */

static void co_fn one_request(Bed *b)
{
    uint64_t r = rig_random(&b->seed);
    int64_t bytes = (1 + r % 20) * UNIT, offset = r / 32 % (b->v->disk_bytes / UNIT) * UNIT;
    g_autofree uint8_t *buf = g_malloc(20 * UNIT);

    bytes = MIN(bytes, b->v->disk_bytes - offset);
    memset(buf, r >> 40, 20 * UNIT);
    switch (r % 8) {
    case 0:
        rig_discard(b->link, offset, bytes);
        break;
    case 1:
        rig_zero(b->link, offset, bytes, BDRV_REQ_MAY_UNMAP);
        break;
    case 2:
        g_assert_cmpint(bdrv_co_pwrite(b->link, offset, bytes, buf,
                                       b->v->plain ? 0 : BDRV_REQ_WRITE_COMPRESSED), ==, 0);
        break;
    default:
        g_assert_cmpint(bdrv_co_pwrite(b->link, offset, bytes, buf, 0), ==, 0);
    }
}

static void co_fn writer_entry(void *opaque)
{
    Bed *b = opaque;

    while (!b->stop) {
        if (!b->hold) {
            b->in_flight++;
            one_request(b);
            b->in_flight--;
            b->requests++;
        }
        coroutine_reschedule();
    }
    b->writers--;
}

static void co_fn hold(Bed *b)
{
    b->hold = true;
    while (b->in_flight) {
        coroutine_reschedule();
    }
}

/* ---- tests ---- */

/* The snapshot @id of the closed image has @expect. */
static void co_main_fn expect_snapshot(Bed *b, const char *id, const uint8_t *expect)
{
    BdrvLink *link = rig_open(b->d, &(RigOpen){ .read_only = true, .snapshot = id });
    g_autofree uint8_t *has = content(link);

    g_assert_cmpint(bdrv_length(link->bs), ==, b->v->disk_bytes);
    g_assert_cmpint(memcmp(has, expect, b->v->disk_bytes), ==, 0);
    rig_close(link);
}

static void co_main_fn expect_clean(Bed *b)
{
    rig_flush(b->link);
    rig_close(b->link);
    bed_open(b);
    g_assert_cmpuint(rig_check(b->link), ==, 0);
    g_assert_cmpuint(rig_load64(b->d, QCOW2_HDR_INCOMPATIBLE) & QCOW2_INCOMPAT_DIRTY, ==, 0);
}

#define N_SNAPSHOTS 4

static void co_main_fn take_one(Bed *b, uint8_t **ret_content)
{
    BdrvSnapshot sn = { .name = (char *)"live", .date_sec = 1 };

    g_assert_cmpint(bdrv_co_snapshot_prepare(b->link->bs, &sn), ==, 0);
    hold(b);
    *ret_content = content(b->link);
    g_assert_cmpint(bdrv_co_snapshot_take(b->link->bs), ==, 0);
    b->hold = false;
    for (int i = 0; i < 20; i++) {
        coroutine_reschedule();
    }
    bdrv_co_snapshot_end(b->link->bs);
}

static void co_main_fn live_variant(const Variant *v)
{
    uint8_t *contents[N_SNAPSHOTS];
    Bed b;

    bed_setup(&b, v);
    memdisk_shuffle(b.d, 2);
    for (b.writers = 0; b.writers < N_WRITERS; b.writers++) {
        coroutine_start(writer_entry, &b);
    }
    for (int i = 0; i < N_SNAPSHOTS; i++) {
        take_one(&b, &contents[i]);
    }
    g_assert_true(bdrv_co_snapshot_delete(b.link->bs, "2", NULL, &error_abort));
    g_assert_cmpuint(b.requests, >, 20);
    b.stop = true;
    while (b.writers) {
        coroutine_reschedule();
    }
    memdisk_shuffle(b.d, 0);
    g_autofree uint8_t *last = content(b.link);
    expect_clean(&b);
    g_autofree uint8_t *now = content(b.link);
    g_assert_cmpint(memcmp(now, last, v->disk_bytes), ==, 0);
    rig_close(b.link);
    for (int i = 0; i < N_SNAPSHOTS; i++) {
        g_autofree char *id = g_strdup_printf("%d", i + 1);
        if (i != 1) {
            expect_snapshot(&b, id, contents[i]);
        }
        g_free(contents[i]);
    }
    bed_open(&b);
    bed_teardown(&b);
}

static void co_main_fn test_it_has_what_the_disk_had(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        live_variant(&variants[i]);
    }
}

/* A prepare that comes to nothing, and deleting, leave every cluster as it was. */
static void co_main_fn trace_variant(const Variant *v)
{
    BdrvSnapshot sn = { .name = (char *)"gone" };
    Bed b;

    bed_setup(&b, v);
    memdisk_shuffle(b.d, 2);
    for (b.writers = 0; b.writers < N_WRITERS; b.writers++) {
        coroutine_start(writer_entry, &b);
    }
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(bdrv_co_snapshot_prepare(b.link->bs, &sn), ==, 0);
        g_assert_cmpint(bdrv_co_snapshot_prepare(b.link->bs, &sn), ==, -EBUSY);
        bdrv_co_snapshot_end(b.link->bs);
        g_assert_cmpint(bdrv_co_snapshot_create(b.link->bs, &sn), ==, 0);
        g_assert_true(bdrv_co_snapshot_delete(b.link->bs, NULL, "gone", &error_abort));
    }
    b.stop = true;
    while (b.writers) {
        coroutine_reschedule();
    }
    memdisk_shuffle(b.d, 0);
    expect_clean(&b);
    g_autoptr(GPtrArray) list = bdrv_co_snapshot_list(b.link->bs, &error_abort);
    g_assert_cmpuint(list->len, ==, 0);
    bed_teardown(&b);
}

static void co_main_fn test_it_goes_without_a_trace(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        trace_variant(&variants[i]);
    }
}

static void co_main_fn test_going_back_brings_the_size_back(void)
{
    BdrvSnapshot sn = { .name = (char *)"small" };
    Bed b;

    bed_setup(&b, &variants[0]);
    g_assert_cmpint(bdrv_co_snapshot_create(b.link->bs, &sn), ==, 0);
    g_autofree uint8_t *before = content(b.link);
    g_assert_true(bdrv_co_truncate(b.link, 3 * GiB, BDRV_PREALLOC_OFF, &error_abort));
    rig_write(b.link, 0, MiB, 0x22);
    rig_write(b.link, 2 * GiB, MiB, 0x33);
    sn.name = (char *)"large";
    g_assert_cmpint(bdrv_co_snapshot_create(b.link->bs, &sn), ==, 0);
    g_assert_true(bdrv_co_snapshot_apply(b.link, "small", &error_abort));
    g_assert_cmpint(bdrv_length(b.link->bs), ==, variants[0].disk_bytes);
    g_autofree uint8_t *after = content(b.link);
    g_assert_cmpint(memcmp(before, after, variants[0].disk_bytes), ==, 0);
    rig_write(b.link, 0, MiB, 0x44);
    expect_clean(&b);
    g_assert_true(bdrv_co_snapshot_apply(b.link, "large", &error_abort));
    g_assert_cmpint(bdrv_length(b.link->bs), ==, 3 * GiB);
    rig_expect(b.link, 2 * GiB, MiB, 0x33);
    rig_expect(b.link, 0, MiB, 0x22);
    expect_clean(&b);
    bed_teardown(&b);
}

/* One reference more than a refcount can count is refused, and changes nothing. */
static void co_main_fn test_refcounts_do_not_overflow(void)
{
    static const Variant narrow = { "refcount2", 3, 4096, 2, .disk_bytes = MiB };
    BdrvSnapshot sn = { .name = (char *)"one more" };
    Bed b;

    bed_setup(&b, &narrow);
    g_assert_cmpint(bdrv_co_snapshot_create(b.link->bs, &sn), ==, 0);
    g_assert_cmpint(bdrv_co_snapshot_create(b.link->bs, &sn), ==, 0);
    g_assert_cmpint(bdrv_co_snapshot_create(b.link->bs, &sn), ==, -EINVAL);
    expect_clean(&b);
    rig_expect(b.link, 0, narrow.disk_bytes / 2, 0x11);
    g_assert_false(bdrv_co_snapshot_apply(b.link, "1", NULL));
    expect_clean(&b);
    rig_expect(b.link, 0, narrow.disk_bytes / 2, 0x11);
    bed_teardown(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/snapshots/it-has-what-the-disk-had", test_it_has_what_the_disk_had);
    rig_add("/qcow2/snapshots/it-goes-without-a-trace", test_it_goes_without_a_trace);
    rig_add("/qcow2/snapshots/going-back-brings-the-size-back",
            test_going_back_brings_the_size_back);
    rig_add("/qcow2/snapshots/refcounts-do-not-overflow", test_refcounts_do_not_overflow);
    return g_test_run();
}
