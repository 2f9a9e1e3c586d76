/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Headers and table entries: what is written is what is parsed, and no damaged image does
 * more than be refused, with an error that names the image and what is wrong.
 */
#include "qemu/osdep.h"

#include "block/formats/qcow2/header.h"
#include "tests/lib/qcow2-rig.h"

/* ---- codecs ---- */

static void test_refcounts_of_all_widths_round_trip(void)
{
    for (unsigned order = 0; order <= 6; order++) {
        uint8_t buf[512] = { 0 };
        size_t n = sizeof(buf) * 8 >> order;
        uint64_t max = order == 6 ? UINT64_MAX : (UINT64_C(1) << (1 << order)) - 1;

        for (size_t i = 0; i < n; i++) {
            qcow2_refcount_store(buf, order, i, (i * UINT64_C(0x9e3779b97f4a7c15)) & max);
        }
        for (size_t i = 0; i < n; i++) {
            g_assert_cmpuint(qcow2_refcount_load(buf, order, i), ==,
                             (i * UINT64_C(0x9e3779b97f4a7c15)) & max);
        }
    }
    /* Below a byte, the first is in the low bits; above, the order is big endian. */
    uint8_t buf[8] = { 0 };
    qcow2_refcount_store(buf, 0, 1, 1);
    g_assert_cmpuint(buf[0], ==, 2);
    qcow2_refcount_store(buf, 4, 1, 0x1234);
    g_assert_cmpuint(buf[2], ==, 0x12);
}

static void entry_round_trip(const Qcow2Geometry *g, const Qcow2Entry *e)
{
    uint8_t buf[16], again[16];
    Qcow2Entry out;

    qcow2_entry_encode(g, e, buf);
    g_assert_true(qcow2_entry_decode(g, buf, e->host, &out));
    g_assert_cmpuint(out.has_host, ==, e->has_host);
    g_assert_cmpuint(out.copied, ==, e->copied);
    g_assert_cmpuint(out.host, ==, e->host);
    g_assert_cmpuint(out.alloc, ==, e->alloc);
    g_assert_cmpuint(out.zero, ==, e->zero);
    qcow2_entry_encode(g, &out, again);
    g_assert_cmpint(memcmp(buf, again, g->entry_size), ==, 0);
}

static void test_entries_round_trip(void)
{
    static const Qcow2Entry entries[] = {
        { 0 },
        { .zero = 1 },
        { .has_host = true, .copied = true, .host = 5 << 16, .alloc = 1 },
        { .has_host = true, .host = 5 << 16, .alloc = 1 },
        { .has_host = true, .copied = true, .host = 5 << 16, .zero = 1 },
    };
    Qcow2Geometry g;

    qcow2_geometry_init(&g, 16, false, 4, true, false);
    for (size_t i = 0; i < G_N_ELEMENTS(entries); i++) {
        entry_round_trip(&g, &entries[i]);
    }
    qcow2_geometry_init(&g, 17, true, 4, true, false);
    Qcow2Entry e = {
        .has_host = true, .copied = true, .host = 6 << 17, .alloc = 0xf0f0f0f0, .zero = 0x0f000000,
    };
    entry_round_trip(&g, &e);
}

static void test_impossible_entries_are_refused(void)
{
    Qcow2Geometry g;
    Qcow2Entry e;
    uint8_t buf[16] = { 0 };

    qcow2_geometry_init(&g, 16, false, 4, true, false);
    be64_store(buf, (5 << 16) + 512);                           /* not aligned */
    g_assert_false(qcow2_entry_decode(&g, buf, 0, &e));
    qcow2_geometry_init(&g, 16, false, 4, false, false);
    be64_store(buf, 1);                                         /* zero cluster in version 2 */
    g_assert_false(qcow2_entry_decode(&g, buf, 0, &e));
    qcow2_geometry_init(&g, 16, false, 4, true, true);
    be64_store(buf, (5 << 16) | QCOW2_COPIED);                  /* data file, other offset */
    g_assert_false(qcow2_entry_decode(&g, buf, 0, &e));
    be64_store(buf, QCOW2_COMPRESSED);                          /* data file, compressed */
    g_assert_false(qcow2_entry_decode(&g, buf, 0, &e));
    qcow2_geometry_init(&g, 17, true, 4, true, false);
    be64_store(buf, (UINT64_C(6) << 17) | QCOW2_COPIED);
    be64_store(buf + 8, UINT64_C(1) << 32 | 1);                 /* data and zero at once */
    g_assert_false(qcow2_entry_decode(&g, buf, 0, &e));
    be64_store(buf, 0);
    be64_store(buf + 8, 1);                                     /* data nowhere */
    g_assert_false(qcow2_entry_decode(&g, buf, 0, &e));
}

static void test_compressed_descriptor(void)
{
    Qcow2Geometry g;
    uint64_t offset, bytes, clusters;
    HostOffset first;

    qcow2_geometry_init(&g, 16, false, 4, true, false);
    /* x = 62 - 8 = 54: the sector count is in bits 54 to 61. */
    uint64_t desc = QCOW2_COMPRESSED | UINT64_C(3) << 54 | (65536 * 7 - 100);
    qcow2_compressed_range(&g, desc, &offset, &bytes);
    g_assert_cmpuint(offset, ==, 65536 * 7 - 100);
    g_assert_cmpuint(bytes, ==, 4 * 512 - 412);
    qcow2_compressed_clusters(&g, desc, &first, &clusters);
    g_assert_cmpuint(first.v, ==, 65536 * 6);
    g_assert_cmpuint(clusters, ==, 2);
}

/* ---- the header ---- */

static void co_main_fn test_created_header_is_parsed_as_asked_for(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(10 * GiB);
    uint8_t buf[4096];
    Qcow2Header h;
    size_t need = 0;

    opts.u.qcow2.extended_l2 = true;
    opts.u.qcow2.cluster_size = 128 * KiB;
    opts.u.qcow2.refcount_bits = 8;
    opts.u.qcow2.lazy_refcounts = true;
    opts.u.qcow2.compression_type = 1;
    opts.u.qcow2.backing_file = (char *)"the/base";
    opts.u.qcow2.backing_fmt = (char *)"raw";
    rig_create(d, &opts);
    memdisk_read(d, 0, sizeof(buf), buf);
    g_assert_true(qcow2_header_parse(buf, sizeof(buf), memdisk_length(d), "disk", &h, &need,
                                     &error_abort));
    g_assert_cmpuint(h.version, ==, 3);
    g_assert_cmpuint(h.size, ==, 10 * GiB);
    g_assert_cmpuint(h.geometry.cluster_size, ==, 128 * KiB);
    g_assert_cmpuint(h.geometry.subclusters, ==, 32);
    g_assert_cmpuint(h.geometry.refcount_order, ==, 3);
    g_assert_cmpuint(h.compatible, ==, QCOW2_COMPAT_LAZY_REFCOUNTS);
    g_assert_cmpuint(h.compression_type, ==, 1);
    g_assert_cmpstr(h.backing_file, ==, "the/base");
    g_assert_cmpstr(h.backing_format, ==, "raw");
    qcow2_header_clear(&h);
    memdisk_free(d);
}

typedef struct Damage {
    int offset, bytes;
    uint64_t value;
    const char *says;               /* part of the message */
} Damage;

static const Damage damages[] = {
    { 0, 4, 0, "not in qcow2 format" },
    { 4, 4, 1, "version 1" },
    { 4, 4, 4, "version 4" },
    { 8, 8, 8, "backing file offset" },
    { 8, 8, 65536, "Backing file name too long" },
    { 8, 8, UINT64_MAX, "backing file offset" },
    { 16, 4, 1024, "Backing file name too long" },
    { 16, 4, 0xffffffff, "Backing file name too long" },
    { 20, 4, 8, "cluster size" },
    { 20, 4, 22, "cluster size" },
    { 20, 4, 64, "cluster size" },
    { 20, 4, 0xffffffff, "cluster size" },
    { 24, 8, UINT64_MAX, "size" },
    { 24, 8, UINT64_C(1) << 62, "too big" },
    { 32, 4, 1, "AES" },
    { 32, 4, 2, "LUKS" },
    { 32, 4, 3, "unknown encryption" },
    { 36, 4, 0, "L1 table" },
    { 36, 4, 0xffffffff, "L1 table" },
    { 36, 4, (32 * MiB / 8) + 1, "L1 table" },
    { 40, 8, 0, "L1 table" },
    { 40, 8, 512, "L1 table" },
    { 40, 8, UINT64_C(1) << 56, "L1 table" },
    { 40, 8, UINT64_MAX & ~UINT64_C(65535), "L1 table" },
    { 40, 8, UINT64_C(1) << 40, "L1 table" },
    { 48, 8, 0, "eference count table" },
    { 48, 8, 1, "eference count table" },
    { 48, 8, UINT64_MAX & ~UINT64_C(65535), "eference count table" },
    { 48, 8, UINT64_C(1) << 40, "eference count table" },
    { 56, 4, 0, "eference count table" },
    { 56, 4, 129, "eference count table" },
    { 56, 4, 0xffffffff, "eference count table" },
    { 60, 4, 1, "Snapshot table" },
    { 60, 4, 65537, "Snapshot table" },
    { 60, 4, 0xffffffff, "Snapshot table" },
    { 72, 8, UINT64_C(1) << 5, "feature: 20" },
    { 72, 8, UINT64_C(1) << 63, "feature: 8000000000000000" },
    { 72, 8, 1 << 2, "data file" },
    { 72, 8, 1 << 3, "compression" },
    { 72, 8, 1 << 1, "corrupt" },
    { 96, 4, 7, "refcount width" },
    { 96, 4, 0xffffffff, "refcount width" },
    { 100, 4, 72, "header length" },
    { 100, 4, 105, "header length" },
    { 100, 4, 65544, "header exceeds" },
    { 100, 4, 0xfffffff8, "header exceeds" },
    { 104, 1, 1, "compression" },
    { 104, 1, 2, "compression" },
    { 112, 4, 0xe2792aca, "zero byte" },
    { 116, 4, 0xffffffff, "Header extension" },
};

static void poke(MemDisk *d, const Damage *m)
{
    uint8_t buf[8];

    be64_store(buf, m->value << (64 - 8 * m->bytes));
    memdisk_poke(d, m->offset, m->bytes, buf);
}

/* Each field on its own, with values that once were somebody's security hole. */
static void co_main_fn test_damaged_field_is_refused_by_name(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(damages); i++) {
        MemDisk *d = memdisk_new("disk");
        BdrvCreateOptions opts = rig_create_options(GiB);
        g_autoptr(Error) err = NULL;

        opts.u.qcow2.backing_file = (char *)"base";
        rig_create(d, &opts);
        poke(d, &damages[i]);
        BdrvLink *link = rig_try_open(d, NULL, &err);
        if (link) {
            g_error("damage %zu (offset %d) was not noticed", i, damages[i].offset);
        }
        if (!strstr(error_get_pretty(err), damages[i].says) ||
            !strstr(error_get_pretty(err), "disk")) {
            g_error("damage %zu: \"%s\" does not say \"%s\"", i, error_get_pretty(err),
                    damages[i].says);
        }
        memdisk_free(d);
    }
}

/* The image itself may say what a feature is called that we do not know. */
static void co_main_fn test_unknown_feature_is_named_by_the_image(void)
{
    MemDisk *d = memdisk_new("disk");
    BdrvCreateOptions opts = rig_create_options(MiB);
    g_autoptr(Error) err = NULL;
    char name[46] = "time travel\1";

    rig_create(d, &opts);
    /* The first entry of the table is that of bit 0; make it one of bit 9. */
    memdisk_poke(d, 121, 1, (uint8_t[]){ 9 });
    memdisk_poke(d, 122, sizeof(name), name);
    memdisk_poke(d, 72, 8, (uint8_t[8]){ 0, 0, 0, 0, 0, 0, 2, 0 });
    g_assert_null(rig_try_open(d, NULL, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "time travel?"));
    memdisk_free(d);
}

static void co_main_fn test_header_that_ends_with_the_file(void)
{
    for (int64_t length = 0; length < 600; length++) {
        MemDisk *d = memdisk_new("disk"), *cut = memdisk_new("cut");
        BdrvCreateOptions opts = rig_create_options(MiB);
        uint8_t buf[600];

        rig_create(d, &opts);
        memdisk_read(d, 0, sizeof(buf), buf);
        if (length) {
            memdisk_poke(cut, 0, length, buf);
        }
        g_assert_null(rig_try_open(cut, NULL, NULL));
        memdisk_free(d);
        memdisk_free(cut);
    }
}

/* ---- damage anywhere ---- */

/* Whatever a few damaged bytes of metadata do, requests end, with success or an error. */
static void co_main_fn test_random_damage_does_no_harm(void)
{
    uint64_t seed = 42;
    int rounds = g_test_thorough() ? 20000 : 1500;

    for (int i = 0; i < rounds; i++) {
        MemDisk *d = memdisk_new("disk");
        BdrvCreateOptions opts = rig_create_options(MiB);
        static const int64_t sizes[] = { 512, 4096, 65536 };
        g_autofree uint8_t *buf = g_malloc(MiB);
        BdrvCheckResult res;

        opts.u.qcow2.cluster_size = sizes[rig_random(&seed) % 3];
        rig_create(d, &opts);
        BdrvLink *link = rig_open(d, NULL);
        rig_write(link, 0, 100 * KiB, 0x55);
        rig_zero(link, 8192, 8192, BDRV_REQ_MAY_UNMAP);
        rig_close(link);
        for (int k = rig_random(&seed) % 8; k >= 0; k--) {
            /* The first clusters are metadata. */
            int64_t at = rig_random(&seed) % (opts.u.qcow2.cluster_size * 6);
            uint8_t bytes[8];
            be64_store(bytes, rig_random(&seed) % 2 ? rig_random(&seed)
                                                    : rig_random(&seed) % 16 * 65536);
            memdisk_poke(d, ROUND_DOWN(at, 8), 1 + rig_random(&seed) % 8, bytes);
        }
        link = rig_try_open(d, &(RigOpen){ .read_only = rig_random(&seed) % 2 }, NULL);
        if (link) {
            int64_t length = bdrv_length(link->bs);
            bdrv_co_pread(link, 0, MIN(length, MiB), buf);
            if (bdrv_co_check(link->bs, BDRV_FIX_NONE, NULL, &res, NULL)) {
                bdrv_check_result_clear(&res);
            }
            bdrv_co_pwrite(link, length / 2, MIN(65536, length - length / 2), buf, 0);
            bdrv_co_pwrite_zeroes(link, 0, MIN(length, 100000), BDRV_REQ_MAY_UNMAP);
            bdrv_co_pdiscard(link, 0, MIN(length, MiB));
            bdrv_co_flush(link, 0);
            rig_close(link);
        }
        memdisk_free(d);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/codec/refcounts-of-all-widths-round-trip",
            test_refcounts_of_all_widths_round_trip);
    rig_add("/qcow2/codec/entries-round-trip", test_entries_round_trip);
    rig_add("/qcow2/codec/impossible-entries-are-refused", test_impossible_entries_are_refused);
    rig_add("/qcow2/codec/compressed-descriptor", test_compressed_descriptor);
    rig_add("/qcow2/header/created-is-parsed-as-asked-for",
            test_created_header_is_parsed_as_asked_for);
    rig_add("/qcow2/header/damaged-field-is-refused-by-name",
            test_damaged_field_is_refused_by_name);
    rig_add("/qcow2/header/unknown-feature-is-named-by-the-image",
            test_unknown_feature_is_named_by_the_image);
    rig_add("/qcow2/header/that-ends-with-the-file", test_header_that_ends_with_the_file);
    rig_add("/qcow2/header/random-damage-does-no-harm", test_random_damage_does_no_harm);
    return g_test_run();
}
