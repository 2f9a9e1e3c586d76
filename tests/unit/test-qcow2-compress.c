/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written compressed is what is read, takes less room, and gives it back. */
#include "qemu/osdep.h"

#include "block/formats/qcow2/types.h"
#include "config-host.h"
#include "tests/lib/qcow2-rig.h"

typedef struct Variant {
    const char *name;
    int version;
    int64_t cluster_size;
    int refcount_bits;
    bool extended_l2, zstd;
} Variant;

static const Variant variants[] = {
    { "default", 3, 65536, 16 },
    { "zstd", 3, 65536, 16, .zstd = true },
    { "v2", 2, 65536, 16 },
    { "small-clusters", 3, 512, 16 },
    { "small-clusters-zstd", 3, 512, 16, .zstd = true },
    { "refcount1", 3, 4096, 1 },
    { "refcount2", 3, 4096, 2 },
    { "refcount64", 3, 4096, 64 },
    { "large-clusters", 3, 2097152, 16 },
    { "large-clusters-zstd", 3, 2097152, 16, .zstd = true },
    { "extended-l2", 3, 16384, 16, .extended_l2 = true },
    { "extended-l2-zstd", 3, 65536, 16, .extended_l2 = true, .zstd = true },
};

/* Not a multiple of any cluster size. */
#define DISK_BYTES (4 * MiB + 1536)

static bool usable(const Variant *v)
{
    return !v->zstd || CONFIG_ZSTD;
}

static BdrvCreateOptions create_options(const Variant *v)
{
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

    opts.u.qcow2.version = v->version;
    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.refcount_bits = v->refcount_bits;
    opts.u.qcow2.extended_l2 = v->extended_l2;
    opts.u.qcow2.compression_type = v->zstd;
    return opts;
}

/* Bytes of which about @percent per cent are noise. */
static void fill(uint8_t *buf, int64_t bytes, uint64_t *seed, unsigned percent)
{
    for (int64_t i = 0; i < bytes; i++) {
        uint64_t r = rig_random(seed);
        buf[i] = r % 100 < percent ? r >> 32 : 'c';
    }
}

static void co_fn write_compressed(BdrvLink *link, int64_t offset, int64_t bytes,
                                   const uint8_t *buf)
{
    g_assert_cmpint(bdrv_co_pwrite(link, offset, bytes, buf, BDRV_REQ_WRITE_COMPRESSED), ==, 0);
}

static void co_fn write_pattern(BdrvLink *link, int64_t offset, int64_t bytes, uint8_t pattern)
{
    g_autofree uint8_t *buf = g_malloc(bytes);

    memset(buf, pattern, bytes);
    write_compressed(link, offset, bytes, buf);
}

static uint64_t co_main_fn compressed_clusters(BdrvLink *link)
{
    BdrvCheckResult res;

    bdrv_co_check(link->bs, BDRV_FIX_NONE, NULL, &res, &error_abort);
    g_assert_cmpuint(res.corruptions, ==, 0);
    return res.compressed_clusters;
}

/* ---- everything at random, side by side, against an array ---- */

typedef struct Bed {
    BdrvLink *link;
    uint8_t *model;
    uint64_t seed;
} Bed;

typedef struct Request {
    Bed *b;
    int kind;
    int64_t offset, bytes;
    uint8_t *buf;
} Request;

static void co_fn request_entry(void *opaque)
{
    Request *r = opaque;
    int ret;

    if (r->kind < 6) {
        ret = bdrv_co_pwrite(r->b->link, r->offset, r->bytes, r->buf, BDRV_REQ_WRITE_COMPRESSED);
    } else if (r->kind < 8) {
        ret = bdrv_co_pwrite(r->b->link, r->offset, r->bytes, r->buf, 0);
    } else {
        ret = bdrv_co_pwrite_zeroes(r->b->link, r->offset, r->bytes,
                                    r->kind == 8 ? BDRV_REQ_MAY_UNMAP : 0);
    }
    g_assert_cmpint(ret, ==, 0);
    g_free(r->buf);
    g_free(r);
}

/* A request inside [@from, @end) of the disk. */
static void co_fn start_request(Bed *b, CoGroup *group, int64_t from, int64_t end)
{
    static const unsigned noise[] = { 0, 1, 20, 60, 100 };
    Request *r = g_new0(Request, 1);

    r->b = b;
    r->kind = rig_random(&b->seed) % 10;
    r->offset = from + rig_random(&b->seed) % (end - from);
    r->bytes = 1 + rig_random(&b->seed) % (end - r->offset);
    r->buf = g_malloc(r->bytes);
    fill(r->buf, r->bytes, &b->seed, noise[rig_random(&b->seed) % G_N_ELEMENTS(noise)]);
    if (r->kind < 8) {
        memcpy(b->model + r->offset, r->buf, r->bytes);
    } else {
        memset(b->model + r->offset, 0, r->bytes);
    }
    co_group_start(group, request_entry, r);
}

static void co_fn expect_model(Bed *b, const char *what)
{
    g_autofree uint8_t *buf = g_malloc(DISK_BYTES);

    g_assert_cmpint(bdrv_co_pread(b->link, 0, DISK_BYTES, buf), ==, 0);
    for (int64_t i = 0; i < DISK_BYTES; i++) {
        if (buf[i] != b->model[i]) {
            g_error("%s: offset %" PRId64 " reads 0x%02x, not 0x%02x", what, i, buf[i],
                    b->model[i]);
        }
    }
}

static void co_main_fn run_variant(const Variant *v)
{
    BdrvCreateOptions opts = create_options(v);
    MemDisk *d = memdisk_new("disk");
    g_autofree uint8_t *model = g_malloc0(DISK_BYTES);
    Bed b = { .model = model, .seed = v->cluster_size + v->zstd };

    rig_create(d, &opts);
    memdisk_shuffle(d, 3);
    for (int round = 0; round < 2; round++) {
        b.link = rig_open(d, NULL);
        for (int i = 0; i < 6; i++) {
            CoGroup group = CO_GROUP_INIT;
            /* Requests that run at the same time lie in different parts, which share clusters. */
            for (int part = 0; part < 6; part++) {
                int64_t from = part * (DISK_BYTES / 6), end = from + DISK_BYTES / 6;
                if (i % 2) {
                    from = end - 3 * v->cluster_size < from ? from : end - 3 * v->cluster_size;
                }
                start_request(&b, &group, from, part == 5 ? DISK_BYTES : end);
            }
            co_group_wait(&group);
            if (i % 3 == 2) {
                rig_flush(b.link);
            }
        }
        expect_model(&b, v->name);
        rig_check(b.link);
        rig_close(b.link);
        b.link = rig_open(d, &(RigOpen){ .read_only = true });
        expect_model(&b, v->name);
        g_assert_cmpuint(rig_check(b.link), ==, 0);
        rig_close(b.link);
    }
    memdisk_free(d);
}

static void co_main_fn test_reads_back_what_was_written(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        if (usable(&variants[i])) {
            run_variant(&variants[i]);
        }
    }
}

/* ---- room ---- */

static BdrvLink *co_main_fn new_image(MemDisk *d, int64_t cluster_size, int refcount_bits)
{
    Variant v = { .version = 3, .cluster_size = cluster_size, .refcount_bits = refcount_bits };
    BdrvCreateOptions opts = create_options(&v);

    rig_create(d, &opts);
    return rig_open(d, NULL);
}

/* Sixty-four clusters of one byte repeated take less room than three. */
static void co_main_fn test_small_ones_share_a_host_cluster(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvLink *link = new_image(d, 65536, 16);

    write_pattern(link, 0, 512, 1);         /* the L2 table is made */
    rig_flush(link);
    int64_t before = memdisk_length(d);
    write_pattern(link, 65536, 63 * 65536, 2);
    rig_flush(link);
    g_assert_cmpint(memdisk_length(d) - before, <, 2 * 65536);
    g_assert_cmpuint(compressed_clusters(link), ==, 64);
    rig_close(link);
    memdisk_free(d);
}

/* A refcount of one bit cannot count two: then each has a cluster of its own. */
static void co_main_fn test_refcounts_that_are_full_are_not_shared(void)
{
    for (int bits = 1; bits <= 2; bits++) {
        MemDisk *d = memdisk_new("disk");
        BdrvLink *link = new_image(d, 4096, bits);

        write_pattern(link, 0, 64 * 4096, 3);
        g_assert_cmpuint(compressed_clusters(link), ==, 64);
        g_assert_cmpint(memdisk_length(d), >, 64 / (bits == 1 ? 1 : 3) * 4096);
        rig_expect(link, 0, 64 * 4096, 3);
        rig_close(link);
        memdisk_free(d);
    }
}

static void co_main_fn test_what_does_not_get_smaller_is_stored_as_it_is(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvLink *link = new_image(d, 4096, 16);
    g_autofree uint8_t *noise = g_malloc(MiB), *back = g_malloc(MiB);
    uint64_t seed = 7;

    fill(noise, MiB, &seed, 100);
    write_compressed(link, 0, MiB, noise);
    g_assert_cmpuint(compressed_clusters(link), ==, 0);
    g_assert_cmpint(bdrv_co_pread(link, 0, MiB, back), ==, 0);
    g_assert_cmpmem(noise, MiB, back, MiB);
    rig_close(link);
    memdisk_free(d);
}

/* Over and over the same clusters: the file does not grow for ever, and nothing is lost. */
static void co_main_fn test_rewriting_gives_the_room_back(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvLink *link = new_image(d, 4096, 16);
    g_autofree uint8_t *buf = g_malloc(256 * KiB);
    int64_t length_early = 0;
    uint64_t seed = 1;

    for (int i = 0; i < 60; i++) {
        fill(buf, 256 * KiB, &seed, 40);
        write_compressed(link, 0, 256 * KiB, buf);
        rig_flush(link);
        if (i == 10) {
            length_early = memdisk_length(d);
        }
    }
    g_assert_cmpint(memdisk_length(d), <, length_early + 256 * KiB);
    rig_close(link);
    link = rig_open(d, NULL);
    g_assert_cmpuint(rig_check(link), ==, 0);
    /* Nothing is left of them after a discard of everything. */
    rig_discard(link, 0, DISK_BYTES);
    g_assert_cmpint(bdrv_co_flush(link, BDRV_FLUSH_SETTLE), ==, 0);
    g_assert_cmpuint(rig_check(link), ==, 0);
    g_assert_cmpuint(compressed_clusters(link), ==, 0);
    rig_close(link);
    memdisk_free(d);
}

/* A host cluster that was given back and is an ordinary one now gets no compressed data. */
static void co_main_fn test_freed_room_is_not_packed_into(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvLink *link = new_image(d, 4096, 16);

    for (int i = 0; i < 8; i++) {
        int64_t at = i * 64 * 4096;

        write_pattern(link, at, 3 * 4096, 0x40);
        rig_discard(link, at, 3 * 4096);
        g_assert_cmpint(bdrv_co_flush(link, BDRV_FLUSH_SETTLE), ==, 0);
        rig_write(link, at + 8 * 4096, 4 * 4096, 0x50 + i);
        write_pattern(link, at, 2 * 4096, 0x60 + i);
    }
    for (int i = 0; i < 8; i++) {
        rig_expect(link, i * 64 * 4096, 2 * 4096, 0x60 + i);
        rig_expect(link, (i * 64 + 8) * 4096, 4 * 4096, 0x50 + i);
    }
    rig_check(link);
    rig_close(link);
    memdisk_free(d);
}

/* The same place in the file, with another content: what was read before is not shown again. */
static void co_main_fn test_reused_place_shows_the_new_content(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvLink *link = new_image(d, 4096, 16);

    for (int i = 1; i < 20; i++) {
        write_pattern(link, 0, 4096, i);
        rig_expect(link, 0, 4096, i);
        rig_discard(link, 0, 4096);
        g_assert_cmpint(bdrv_co_flush(link, BDRV_FLUSH_SETTLE), ==, 0);
    }
    rig_close(link);
    memdisk_free(d);
}

/* ---- around it ---- */

/* A part of a cluster: the rest is what it was, from wherever it came. */
static void co_main_fn test_rest_of_the_cluster_is_kept(void)
{
    MemDisk *base_disk = memdisk_new("base"), *d = memdisk_new("disk");
    BdrvLink *base = new_image(base_disk, 65536, 16);
    BdrvCreateOptions opts = rig_create_options(DISK_BYTES);

    rig_write(base, 0, MiB, 0xbb);
    rig_flush(base);
    opts.u.qcow2.backing_file = (char *)"base";
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, &(RigOpen){ .backing = base });
    write_pattern(link, 70000, 1000, 1);    /* over the backing file */
    rig_write(link, 131072, 65536, 2);
    write_pattern(link, 140000, 1000, 3);   /* over an ordinary cluster */
    write_pattern(link, 140500, 1000, 4);   /* over a compressed one */
    rig_zero(link, 196608, 65536, 0);
    write_pattern(link, 200000, 1000, 5);   /* over zeroes */
    write_pattern(link, DISK_BYTES - 100, 100, 6);
    rig_expect(link, 65536, 70000 - 65536, 0xbb);
    rig_expect(link, 70000, 1000, 1);
    rig_expect(link, 71000, 131072 - 71000, 0xbb);
    rig_expect(link, 131072, 140000 - 131072, 2);
    rig_expect(link, 140000, 500, 3);
    rig_expect(link, 140500, 1000, 4);
    rig_expect(link, 141500, 196608 - 141500, 2);
    rig_expect(link, 196608, 200000 - 196608, 0);
    rig_expect(link, 200000, 1000, 5);
    rig_expect(link, 201000, 262144 - 201000, 0);
    rig_expect(link, DISK_BYTES - 100, 100, 6);
    g_assert_cmpuint(compressed_clusters(link), ==, 4);
    rig_close(link);
    rig_close(base);
    memdisk_free(d);
    memdisk_free(base_disk);
}

/* The disk ends inside a compressed cluster: grown, it reads as zeroes there. */
static void co_main_fn test_grown_disk_is_zero_behind_a_compressed_end(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvLink *link = new_image(d, 65536, 16);

    write_pattern(link, 4 * MiB, 1536, 9);
    bdrv_co_truncate(link, 5 * MiB, BDRV_PREALLOC_OFF, &error_abort);
    rig_expect(link, 4 * MiB, 1536, 9);
    rig_expect(link, DISK_BYTES, 5 * MiB - DISK_BYTES, 0);
    rig_check(link);
    rig_close(link);
    memdisk_free(d);
}

static void co_main_fn test_refused_where_it_cannot_be(void)
{
    MemDisk *d = memdisk_new("disk"), *data = memdisk_new("data");
    BdrvCreateOptions opts = rig_create_options(MiB);
    uint8_t byte = 1;

    opts.u.qcow2.data_file = (char *)"data";
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, &(RigOpen){ .data_file = data });
    g_assert_cmpint(bdrv_co_pwrite(link, 0, 1, &byte, BDRV_REQ_WRITE_COMPRESSED), ==, -ENOTSUP);
    g_assert_cmpint(bdrv_co_pwrite(link->bs->file, 0, 1, &byte, BDRV_REQ_WRITE_COMPRESSED), ==,
                    -ENOTSUP);
    rig_close(link);
    memdisk_free(d);
    memdisk_free(data);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/compress/reads-back-what-was-written", test_reads_back_what_was_written);
    rig_add("/qcow2/compress/small-ones-share-a-host-cluster",
            test_small_ones_share_a_host_cluster);
    rig_add("/qcow2/compress/refcounts-that-are-full-are-not-shared",
            test_refcounts_that_are_full_are_not_shared);
    rig_add("/qcow2/compress/what-does-not-get-smaller-is-stored-as-it-is",
            test_what_does_not_get_smaller_is_stored_as_it_is);
    rig_add("/qcow2/compress/rewriting-gives-the-room-back", test_rewriting_gives_the_room_back);
    rig_add("/qcow2/compress/freed-room-is-not-packed-into", test_freed_room_is_not_packed_into);
    rig_add("/qcow2/compress/reused-place-shows-the-new-content",
            test_reused_place_shows_the_new_content);
    rig_add("/qcow2/compress/rest-of-the-cluster-is-kept", test_rest_of_the_cluster_is_kept);
    rig_add("/qcow2/compress/grown-disk-is-zero-behind-a-compressed-end",
            test_grown_disk_is_zero_behind_a_compressed_end);
    rig_add("/qcow2/compress/refused-where-it-cannot-be", test_refused_where_it_cannot_be);
    return g_test_run();
}
