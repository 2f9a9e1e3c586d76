/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images on devices that something was on before: whatever that was, nothing of it is ever seen, by
 * a reader or by the image itself. A device can be truncated, which changes nothing, and does not
 * read as zeroes.
 */
#include "qemu/osdep.h"

#include "block/formats/qcow2/types.h"
#include "tests/lib/qcow2-rig.h"

#define DEVICE_BYTES (24 * MiB)
#define DISK_BYTES (2 * MiB)
#define LARGE_BYTES (7 * MiB)
#define UNIT 512

typedef enum Junk { JUNK_ONES, JUNK_RANDOM, JUNK_OLD_IMAGE, JUNKS } Junk;

typedef struct Variant {
    const char *name;
    int64_t cluster_size;
    int version, refcount_bits;
    bool extended_l2, lazy, data_file, data_file_raw;
    BdrvPrealloc prealloc;
} Variant;

static const Variant variants[] = {
    { "default", 65536 },
    { "v2", 4096, .version = 2 },
    { "l1-and-refcount-table-grow", 512, .refcount_bits = 64 },
    { "tiny-clusters", 512 },
    { "refcount1", 1024, .refcount_bits = 1 },
    { "extended-l2", 16384, .extended_l2 = true },
    { "large-clusters", 2 * MiB },
    { "lazy", 4096, .lazy = true },
    { "metadata", 4096, .prealloc = BDRV_PREALLOC_METADATA },
    { "falloc", 65536, .prealloc = BDRV_PREALLOC_FALLOC },
    { "full", 65536, .prealloc = BDRV_PREALLOC_FULL },
    { "data-file", 65536, .data_file = true },
    { "data-file-raw", 65536, .data_file = true, .data_file_raw = true },
    { "data-file-raw-small", 512, .data_file = true, .data_file_raw = true },
};

static BdrvCreateOptions create_options(const Variant *v)
{
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

    opts.preallocation = v->prealloc;
    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.version = v->version ?: 3;
    opts.u.qcow2.refcount_bits = v->refcount_bits ?: 16;
    opts.u.qcow2.extended_l2 = v->extended_l2;
    opts.u.qcow2.lazy_refcounts = v->lazy;
    opts.u.qcow2.data_file = v->data_file ? (char *)"data" : NULL;
    opts.u.qcow2.data_file_raw = v->data_file_raw;
    return opts;
}

static void co_main_fn fill(MemDisk *d, Junk junk, const Variant *v)
{
    g_autofree uint8_t *buf = g_malloc(DEVICE_BYTES);
    uint64_t seed = 4711;

    memset(buf, 0xff, DEVICE_BYTES);
    for (int64_t i = 0; junk == JUNK_RANDOM && i < DEVICE_BYTES; i += 8) {
        be64_store(buf + i, rig_random(&seed));
    }
    if (junk == JUNK_OLD_IMAGE) {
        Variant old_variant = *v;
        MemDisk *old = memdisk_new("old");
        old_variant.data_file = old_variant.data_file_raw = false;
        BdrvCreateOptions opts = create_options(&old_variant);
        rig_create(old, &opts);
        BdrvLink *link = rig_open(old, NULL);
        for (int64_t i = 0; i < DISK_BYTES; i += 64 * KiB) {
            rig_write(link, i, 32 * KiB, 0xee);
        }
        rig_close(link);
        memdisk_read(old, 0, memdisk_length(old), buf);
        memdisk_free(old);
    }
    memdisk_fix_length(d, DEVICE_BYTES);
    memdisk_poke(d, 0, DEVICE_BYTES, buf);
}

typedef struct Bed {
    MemDisk *d, *data;
    BdrvLink *link;
    uint64_t seed;
    uint8_t model[LARGE_BYTES / UNIT];
} Bed;

static void co_fn expect_model(Bed *b, const Variant *v, Junk junk)
{
    int64_t bytes = bdrv_length(b->link->bs);
    g_autofree uint8_t *buf = g_malloc(bytes);

    g_assert_cmpint(bdrv_co_pread(b->link, 0, bytes, buf), ==, 0);
    for (int64_t i = 0; i < bytes; i++) {
        if (buf[i] != b->model[i / UNIT]) {
            g_error("%s, junk %d: offset %" PRId64 " reads 0x%02x, not 0x%02x", v->name, junk, i,
                    buf[i], b->model[i / UNIT]);
        }
    }
}

static void co_fn requests(Bed *b, int n)
{
    int64_t units = bdrv_length(b->link->bs) / UNIT;
    g_autofree uint8_t *buf = g_malloc(64 * UNIT);

    for (int i = 0; i < n; i++) {
        int64_t first = rig_random(&b->seed) % units;
        int64_t count = MIN(1 + (int64_t)(rig_random(&b->seed) % 64), units - first);
        int kind = rig_random(&b->seed) % 6;
        uint8_t value = kind < 4 ? rig_random(&b->seed) % 250 + 1 : 0;

        if (kind < 4) {
            memset(buf, value, count * UNIT);
            g_assert_cmpint(bdrv_co_pwrite(b->link, first * UNIT, count * UNIT, buf, 0), ==, 0);
        } else {
            rig_zero(b->link, first * UNIT, count * UNIT, kind == 4 ? BDRV_REQ_MAY_UNMAP : 0);
        }
        memset(b->model + first, value, count);
    }
}

static void co_main_fn reopen(Bed *b, const Variant *v)
{
    if (b->link) {
        rig_close(b->link);
    }
    b->link = rig_open(b->d, &(RigOpen){ .data_file = b->data });
    rig_check(b->link);
}

static void co_main_fn run(const Variant *v, Junk junk)
{
    Bed b = { .d = memdisk_new("disk"), .seed = junk + 1 };
    BdrvCreateOptions opts = create_options(v);
    static const BdrvPrealloc growing[] = { BDRV_PREALLOC_OFF, BDRV_PREALLOC_METADATA };

    if (v->data_file) {
        b.data = memdisk_new("data");
        fill(b.data, junk, v);
    }
    fill(b.d, junk, v);
    rig_create(b.d, &opts);
    reopen(&b, v);
    if (v->data_file_raw) {         /* what is in a raw data file is the disk's */
        rig_zero(b.link, 0, DISK_BYTES, 0);
    }
    expect_model(&b, v, junk);
    requests(&b, 40);
    expect_model(&b, v, junk);
    for (size_t i = 0; i < G_N_ELEMENTS(growing); i++) {
        int64_t bytes = i ? LARGE_BYTES : 4 * MiB - 512;

        g_assert_true(bdrv_co_truncate(b.link, bytes, growing[i], &error_abort));
        expect_model(&b, v, junk);
        requests(&b, 60);
        reopen(&b, v);
        expect_model(&b, v, junk);
    }
    rig_close(b.link);
    memdisk_free(b.d);
    if (b.data) {
        memdisk_free(b.data);
    }
}

static void co_main_fn test_nothing_is_seen_of_what_was_there(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        for (int junk = 0; junk < JUNKS; junk++) {
            run(&variants[i], junk);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/device/nothing-is-seen-of-what-was-there",
            test_nothing_is_seen_of_what_was_there);
    return g_test_run();
}
