/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whenever the power goes, a qcow2 image is consistent afterwards, has everything that was flushed,
 * and shows nothing that was never written.
 *
 * Random requests run side by side, over and over; in front of every sync of the disk below,
 * the test makes states that a power cut could leave then, opens each and judges it.
 *
 * With CRASH_DIR in the environment it also leaves every tenth state there, for other judges
 * (tests/interop/crash-states.py).
 */
#include "qemu/osdep.h"

#include "block/formats/qcow2/header.h"
#include "config-host.h"
#include "tests/lib/qcow2-rig.h"
#include "tests/lib/qcow2-share.h"

#define SECTOR 512
#define STATES_PER_SYNC 3

typedef struct Variant {
    const char *name;
    int version;
    int64_t cluster_size;
    int refcount_bits;
    bool lazy, extended_l2, backing, snapshot, zstd, data_file, data_file_raw, bitmap, resize;
    bool snapshots;                 /* are made, gone back to and deleted meanwhile */
    int64_t disk_bytes;
    int64_t cache_size;
    int64_t prefill;                /* bytes written before */
} Variant;

static const Variant variants[] = {
    { "default", 3, 65536, 16, .disk_bytes = 4 * MiB },
    { "v2", 2, 4096, 16, .disk_bytes = MiB },
    { "small-clusters", 3, 512, 16, .disk_bytes = 512 * KiB },
    { "refcount64", 3, 512, 64, .disk_bytes = 256 * KiB },
    { "refcount1", 3, 1024, 1, .disk_bytes = 512 * KiB },
    { "extended-l2", 3, 16384, 16, .extended_l2 = true, .disk_bytes = 2 * MiB },
    { "refcount-table-grows", 3, 512, 64, .disk_bytes = 3 * MiB, .prefill = 1600 * KiB },
    { "backing", 3, 4096, 16, .backing = true, .disk_bytes = MiB },
    { "backing-extended-l2", 3, 16384, 16, .extended_l2 = true, .backing = true,
      .disk_bytes = 2 * MiB },
    { "tiny-cache", 3, 512, 16, .disk_bytes = 512 * KiB, .cache_size = 1 },
    { "snapshot", 3, 4096, 16, .snapshot = true, .disk_bytes = MiB },
    { "snapshot-extended-l2", 3, 16384, 16, .extended_l2 = true, .snapshot = true,
      .disk_bytes = 2 * MiB },
    { "lazy", 3, 4096, 16, .lazy = true, .disk_bytes = MiB },
    { "lazy-small-clusters", 3, 512, 64, .lazy = true, .disk_bytes = MiB, .prefill = 700 * KiB },
    { "lazy-tiny-cache", 3, 512, 16, .lazy = true, .disk_bytes = 512 * KiB, .cache_size = 1 },
    { "lazy-snapshot", 3, 4096, 16, .lazy = true, .snapshot = true, .disk_bytes = MiB },
    { "lazy-extended-l2", 3, 16384, 16, .lazy = true, .extended_l2 = true, .backing = true,
      .disk_bytes = 2 * MiB },
    { "zstd", 3, 65536, 16, .zstd = true, .disk_bytes = 4 * MiB },
    { "data-file", 3, 4096, 16, .data_file = true, .disk_bytes = MiB },
    { "data-file-extended-l2", 3, 16384, 16, .data_file = true, .extended_l2 = true,
      .backing = true, .disk_bytes = 2 * MiB },
    { "bitmap", 3, 4096, 16, .bitmap = true, .disk_bytes = MiB },
    { "lazy-bitmap-snapshot", 3, 4096, 16, .bitmap = true, .snapshot = true, .lazy = true,
      .disk_bytes = MiB },
    { "resize", 3, 4096, 16, .resize = true, .disk_bytes = MiB },
    { "resize-small-clusters", 3, 512, 16, .resize = true, .disk_bytes = 512 * KiB },
    { "resize-backing", 3, 16384, 16, .extended_l2 = true, .resize = true, .backing = true,
      .disk_bytes = 2 * MiB },
    { "lazy-resize-data-file", 3, 4096, 16, .lazy = true, .resize = true, .data_file = true,
      .disk_bytes = MiB },
    { "data-file-raw", 3, 4096, 16, .data_file = true, .data_file_raw = true, .disk_bytes = MiB },
    { "snapshots", 3, 4096, 16, .snapshots = true, .disk_bytes = MiB },
    { "snapshots-small-clusters", 3, 512, 16, .snapshots = true, .disk_bytes = 512 * KiB },
    { "snapshots-extended-l2", 3, 16384, 16, .extended_l2 = true, .snapshots = true,
      .backing = true, .disk_bytes = 2 * MiB },
    { "snapshots-lazy", 3, 4096, 16, .lazy = true, .snapshots = true, .disk_bytes = MiB },
    { "snapshots-tiny-cache", 3, 512, 64, .snapshots = true, .disk_bytes = 512 * KiB,
      .cache_size = 1 },
    { "snapshots-bitmap", 3, 4096, 16, .snapshots = true, .bitmap = true, .disk_bytes = MiB },
};

typedef struct Bed {
    const Variant *v;
    MemDisk *disk, *crashed, *base_disk;
    MemDisk *data, *data_crashed;   /* of the external data file, or NULL */
    MemDisk *view;                  /* of an internal snapshot, or NULL */
    BdrvLink *base, *link;
    uint64_t seed;
    uint32_t next_value;
    int64_t n_sectors;              /* of the disk at its largest */
    int64_t n_random;               /* that random requests are for: all, or what every size has */
    int64_t sizes[2];               /* bytes: that may be found */
    uint64_t bitmap_directory;
    uint32_t *at_start;             /* per sector, with a bitmap */
    GArray **allowed;               /* of uint32_t, per sector: what a crash may show */
    GArray *since;                  /* of Since: requests begun since the running flush began */
    bool flushing;
    bool judging;                   /* a state; who syncs meanwhile (a timer) is not stopped
                                     * again */
    unsigned states, in_flight;
} Bed;

typedef struct Since {
    int64_t first, n;               /* sectors */
    uint32_t value;
} Since;

/* ---- the model ---- */

/* Values with this bit, and not the one above it, stand for sectors of which a part, as large as
 * the value says, is noise. */
#define NOISY (UINT32_C(1) << 30)

static void fill_sector(uint32_t *sector, uint32_t value)
{
    unsigned noisy = value >> 30 == 1 ? value * 7 % (SECTOR / 4) : 0;
    uint64_t seed = value;

    for (unsigned i = 0; i < SECTOR / 4; i++) {
        sector[i] = i > 0 && i < noisy ? (uint32_t)rig_random(&seed) : value;
    }
}

static void allow(Bed *b, int64_t first, int64_t n, uint32_t value)
{
    Since s = { first, n, value };

    for (int64_t i = first; i < first + n; i++) {
        g_array_append_val(b->allowed[i], value);
    }
    if (b->flushing) {
        g_array_append_val(b->since, s);
    }
}

static uint32_t *co_fn read_sectors(Bed *b, BdrvLink *link)
{
    uint32_t *values = g_new(uint32_t, b->n_sectors);
    g_autofree uint8_t *buf = g_malloc0(b->n_sectors * SECTOR);

    g_assert_cmpint(bdrv_co_pread(link, 0, bdrv_length(link->bs), buf), ==, 0);
    for (int64_t i = 0; i < b->n_sectors; i++) {
        uint32_t whole[SECTOR / 4];
        memcpy(&values[i], buf + i * SECTOR, sizeof(uint32_t));
        fill_sector(whole, values[i]);
        g_assert_cmpint(memcmp(buf + i * SECTOR, whole, SECTOR), ==, 0);  /* never half a sector */
    }
    return values;
}

static void set_allowed(Bed *b, const uint32_t *values)
{
    for (int64_t i = 0; i < b->n_sectors; i++) {
        g_array_set_size(b->allowed[i], 0);
        g_array_append_val(b->allowed[i], values[i]);
    }
}

/* ---- judging a state ---- */

/* A bitmap that says nothing has changed is right. */
static void judge_bitmap(Bed *b, const uint32_t *values)
{
    enum { IN_USE = 1 };
    uint32_t flags = rig_load64(b->crashed, b->bitmap_directory + 8);
    bool valid = rig_load64(b->crashed, QCOW2_HDR_AUTOCLEAR) & QCOW2_AUTOCLEAR_BITMAPS;

    if (valid && !(flags & IN_USE) &&
        memcmp(values, b->at_start, b->n_sectors * sizeof(*values)) != 0) {
        g_error("%s, state %u: the bitmap is valid, and the disk has changed", b->v->name,
                b->states);
    }
}

static void save_state(Bed *b)
{
    static unsigned saved;
    const char *dir = g_getenv("CRASH_DIR");

    if (!dir || b->states % 10 || b->data) {        /* with a data file it is not whole */
        return;
    }
    g_autofree char *path = g_strdup_printf("%s/%s-%u", dir, b->v->name, saved++);
    g_assert_true(memdisk_save(b->crashed, path));
}

static void co_main_fn judge(Bed *b, const char *what)
{
    BdrvLink *link = rig_open(b->crashed, &(RigOpen){ .backing = b->base,
                                                      .data_file = b->data_crashed });
    g_autofree uint32_t *values = NULL;

    rig_check(link);
    int64_t bytes = bdrv_length(link->bs);
    if (bytes != b->sizes[0] && bytes != b->sizes[1]) {
        g_error("%s, state %u (%s): it has %" PRId64 " bytes", b->v->name, b->states, what, bytes);
    }
    values = read_sectors(b, link);
    if (b->at_start) {
        judge_bitmap(b, values);
    }
    for (int64_t i = 0; i < bytes / SECTOR; i++) {
        bool ok = false;
        for (guint k = 0; k < b->allowed[i]->len && !ok; k++) {
            ok = g_array_index(b->allowed[i], uint32_t, k) == values[i];
        }
        if (!ok) {
            g_error("%s, state %u (%s): sector %" PRId64 " has %u, flushed was %u", b->v->name,
                    b->states, what, i, values[i], g_array_index(b->allowed[i], uint32_t, 0));
        }
    }
    /* And life goes on. */
    if (b->states % 8 == 0) {
        rig_write(link, 0, MIN(64 * KiB, b->n_sectors * SECTOR), 0x11);
        rig_zero(link, 8192, 65536, BDRV_REQ_MAY_UNMAP);
        rig_check(link);
    }
    rig_close(link);
    if (b->view && b->states % 4 == 0) {
        qcow2_view_snapshot(b->crashed, b->view);
        link = rig_open(b->view, &(RigOpen){ .read_only = true });
        rig_expect(link, 0, b->v->disk_bytes / 2, 0xcc);
        rig_close(link);
    }
    b->states++;
}

static void co_main_fn at_sync(MemDisk *d, void *opaque)
{
    static const char *const names[] = { "drop all", "keep all", "random", "torn", "prefix" };
    Bed *b = opaque;

    if (b->judging || memdisk_unsynced(b->disk) + (b->data ? memdisk_unsynced(b->data) : 0) == 0) {
        return;
    }
    b->judging = true;
    for (int i = 0; i < STATES_PER_SYNC; i++) {
        MemCrash how = rig_random(&b->seed) % G_N_ELEMENTS(names);
        memdisk_crash(b->disk, b->crashed, how, rig_random(&b->seed));
        if (b->data) {
            memdisk_crash(b->data, b->data_crashed, how, rig_random(&b->seed));
        }
        save_state(b);
        judge(b, names[how]);
    }
    b->judging = false;
}

/* ---- requests ---- */

typedef struct Request {
    Bed *b;
    int kind;
    int64_t first, n;
    uint32_t value;
} Request;

static void co_fn request_entry(void *opaque)
{
    Request *r = opaque;
    int64_t offset = r->first * SECTOR, bytes = r->n * SECTOR;

    if (r->kind < 6 || r->kind >= 10) {
        unsigned flags = r->kind >= 10 && !r->b->data ? BDRV_REQ_WRITE_COMPRESSED : 0;
        g_autofree uint32_t *buf = g_malloc(bytes);
        for (int64_t i = 0; i < r->n; i++) {
            fill_sector(buf + i * (SECTOR / 4), r->value);
        }
        allow(r->b, r->first, r->n, r->value);
        g_assert_cmpint(bdrv_co_pwrite(r->b->link, offset, bytes, buf, flags), ==, 0);
    } else if (r->kind < 8) {
        allow(r->b, r->first, r->n, 0);
        rig_zero(r->b->link, offset, bytes, r->kind == 6 ? BDRV_REQ_MAY_UNMAP : 0);
    } else {
        allow(r->b, r->first, r->n, 0);
        rig_discard(r->b->link, offset, bytes);
    }
    r->b->in_flight--;
    g_free(r);
}

static void co_fn start_requests(Bed *b, CoGroup *group, int n)
{
    for (int i = 0; i < n; i++) {
        Request *r = g_new(Request, 1);
        int64_t unit = rig_random(&b->seed) % 2 ? 1 : 8;

        r->b = b;
        r->kind = rig_random(&b->seed) % 15;
        r->first = rig_random(&b->seed) % (b->n_random / unit) * unit;
        r->n = (1 + rig_random(&b->seed) % 24) * unit;
        r->n = MIN(r->n, b->n_random - r->first);
        r->value = ++b->next_value | (rig_random(&b->seed) % 2 ? NOISY : 0);
        b->in_flight++;
        co_group_start(group, request_entry, r);
    }
}

/* Behind what random requests are for: nobody else is there. */
static void co_fn write_behind(Bed *b, int64_t bytes)
{
    int64_t first = b->n_random + rig_random(&b->seed) % (bytes / SECTOR - b->n_random);
    int64_t n = 1 + rig_random(&b->seed) % 64;
    uint32_t value = ++b->next_value;
    g_autofree uint32_t *buf = g_malloc(64 * SECTOR);

    n = MIN(n, bytes / SECTOR - first);
    for (int64_t i = 0; i < n; i++) {
        fill_sector(buf + i * (SECTOR / 4), value);
    }
    allow(b, first, n, value);
    g_assert_cmpint(bdrv_co_pwrite(b->link, first * SECTOR, n * SECTOR, buf, 0), ==, 0);
}

/* Some new sizes, among requests to what is there in all of them. */
static void co_fn resize_entry(void *opaque)
{
    Bed *b = opaque;

    for (int i = 0; i < 3; i++) {
        int64_t n = b->n_random + 1 + rig_random(&b->seed) % (b->n_sectors - b->n_random);
        b->sizes[1] = n * SECTOR;
        g_assert_true(bdrv_co_truncate(b->link, n * SECTOR, BDRV_PREALLOC_OFF, &error_abort));
        b->sizes[0] = n * SECTOR;
        for (int64_t k = n; k < b->n_sectors; k++) {    /* it comes back as zeroes */
            uint32_t zero = 0;
            g_array_set_size(b->allowed[k], 0);
            g_array_append_val(b->allowed[k], zero);
        }
        write_behind(b, n * SECTOR);
    }
    b->in_flight--;
}

/* Some snapshots are made and deleted, among requests to the disk. */
static void co_main_fn snapshots_entry(void *opaque)
{
    Bed *b = opaque;

    for (int i = 0; i < 3; i++) {
        g_autoptr(GPtrArray) list = bdrv_co_snapshot_list(b->link->bs, &error_abort);

        if (list->len > rig_random(&b->seed) % 4) {
            const BdrvSnapshot *sn = list->pdata[rig_random(&b->seed) % list->len];
            g_assert_true(bdrv_co_snapshot_delete(b->link->bs, sn->id, NULL, &error_abort));
        } else {
            BdrvSnapshot sn = { .name = (char *)"snapshot" };
            g_assert_cmpint(bdrv_co_snapshot_create(b->link->bs, &sn), ==, 0);
        }
    }
    b->in_flight--;
}

static void co_fn flush_entry(void *opaque)
{
    Bed *b = opaque;

    rig_flush(b->link);
}

/* A flush, with more requests running during it. */
static void co_fn flush_under_load(Bed *b)
{
    g_autofree uint32_t *before = read_sectors(b, b->link);
    CoGroup flush = CO_GROUP_INIT, load = CO_GROUP_INIT;

    b->flushing = true;
    g_array_set_size(b->since, 0);
    co_group_start(&flush, flush_entry, b);
    start_requests(b, &load, rig_random(&b->seed) % 6);
    co_group_wait(&flush);
    b->flushing = false;
    set_allowed(b, before);
    for (guint i = 0; i < b->since->len; i++) {
        Since s = g_array_index(b->since, Since, i);
        allow(b, s.first, s.n, s.value);
    }
    co_group_wait(&load);
}

/* ---- the bed ---- */

static void co_main_fn make_base(Bed *b)
{
    BdrvCreateOptions opts = rig_create_options(b->v->disk_bytes / 2);

    b->base_disk = memdisk_new("base");
    rig_create(b->base_disk, &opts);
    b->base = rig_open(b->base_disk, NULL);
    g_autofree uint32_t *buf = g_malloc(opts.size);
    for (int64_t i = 0; i < opts.size / 4; i++) {
        buf[i] = 0xbbbbbbbb;
    }
    g_assert_cmpint(bdrv_co_pwrite(b->base, 0, opts.size, buf, 0), ==, 0);
    rig_flush(b->base);
}

/* Some data to begin with; an internal snapshot may then have the other reference to it. */
static void co_main_fn fill_before(Bed *b)
{
    int64_t bytes = b->v->snapshot ? b->v->disk_bytes / 2 : b->v->prefill;

    if (bytes) {
        b->link = rig_open(b->disk, NULL);
        rig_write(b->link, 0, bytes, 0xcc);
        rig_close(b->link);
    }
    if (b->v->snapshot) {
        qcow2_share_with_snapshot(b->disk);
        b->view = memdisk_new("view");
    }
    if (b->v->bitmap) {
        b->bitmap_directory = qcow2_add_bitmap(b->disk, 2);     /* it records changes */
    }
}

/* Anything that has no influence on what a power cut may leave. */
static RigOpen random_options(Bed *b)
{
    uint64_t bits = rig_random(&b->seed);

    return (RigOpen){
        .cache_size = b->v->cache_size, .backing = b->base, .data_file = b->data,
        .discard_other = bits & 1, .keep_space = bits & 2,
    };
}

static void co_main_fn bed_setup(Bed *b, const Variant *v, uint64_t seed)
{
    BdrvCreateOptions opts = rig_create_options(v->disk_bytes);

    *b = (Bed){ .v = v, .seed = seed, .n_sectors = v->disk_bytes / SECTOR,
                .sizes = { v->disk_bytes, v->disk_bytes } };
    b->n_random = v->resize ? b->n_sectors / 4 : b->n_sectors;
    b->disk = memdisk_new("disk");
    b->crashed = memdisk_new("crashed");
    if (v->backing) {
        make_base(b);
        opts.u.qcow2.backing_file = (char *)"base";
    }
    opts.u.qcow2.version = v->version;
    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.refcount_bits = v->refcount_bits;
    opts.u.qcow2.extended_l2 = v->extended_l2;
    opts.u.qcow2.lazy_refcounts = v->lazy;
    opts.u.qcow2.compression_type = v->zstd && CONFIG_ZSTD;
    if (v->data_file) {
        b->data = memdisk_new("data");
        b->data_crashed = memdisk_new("data-crashed");
        opts.u.qcow2.data_file = (char *)"data";
        opts.u.qcow2.data_file_raw = v->data_file_raw;
    }
    rig_create(b->disk, &opts);
    fill_before(b);
    b->allowed = g_new(GArray *, b->n_sectors);
    for (int64_t i = 0; i < b->n_sectors; i++) {
        b->allowed[i] = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    }
    b->since = g_array_new(FALSE, FALSE, sizeof(Since));
    RigOpen how = random_options(b);
    b->link = rig_open(b->disk, &how);
    g_autofree uint32_t *values = read_sectors(b, b->link);
    set_allowed(b, values);
    b->at_start = v->bitmap ? g_steal_pointer(&values) : NULL;
    memdisk_shuffle(b->disk, 2);
    memdisk_on_sync(b->disk, at_sync, b);
    if (b->data) {
        memdisk_shuffle(b->data, 2);
        memdisk_on_sync(b->data, at_sync, b);
    }
}

static void co_main_fn bed_teardown(Bed *b)
{
    memdisk_on_sync(b->disk, NULL, NULL);
    if (b->data) {
        memdisk_on_sync(b->data, NULL, NULL);
    }
    rig_close(b->link);
    if (b->data) {
        memdisk_free(b->data);
        memdisk_free(b->data_crashed);
    }
    if (b->view) {
        memdisk_free(b->view);
    }
    if (b->base) {
        rig_close(b->base);
        memdisk_free(b->base_disk);
    }
    for (int64_t i = 0; i < b->n_sectors; i++) {
        g_array_unref(b->allowed[i]);
    }
    g_free(b->allowed);
    g_array_unref(b->since);
    g_free(b->at_start);
    memdisk_free(b->disk);
    memdisk_free(b->crashed);
}

static void co_main_fn run_variant(const Variant *v, uint64_t seed)
{
    Bed b;

    bed_setup(&b, v, seed);
    for (int round = 0; round < 12; round++) {
        CoGroup group = CO_GROUP_INIT;

        start_requests(&b, &group, 1 + rig_random(&b.seed) % 12);
        if (v->resize) {
            b.in_flight++;
            co_group_start(&group, resize_entry, &b);
        }
        if (v->snapshots) {
            b.in_flight++;
            co_group_start(&group, snapshots_entry, &b);
        }
        co_group_wait(&group);
        if (rig_random(&b.seed) % 2) {
            flush_under_load(&b);
        }
        at_sync(b.disk, &b);
    }
    g_assert_cmpuint(b.in_flight, ==, 0);
    rig_flush(b.link);
    rig_check(b.link);
    g_test_message("%s: %u states", v->name, b.states);
    g_assert_cmpuint(b.states, >, 10);
    bed_teardown(&b);
}

static void co_main_fn test_power_cut_leaves_a_consistent_image(void)
{
    int seeds = g_test_thorough() ? 40 : SANITIZE_ADDRESS ? 1 : 3;

    for (size_t i = 0; i < G_N_ELEMENTS(variants); i++) {
        for (int seed = 1; seed <= seeds; seed++) {
            run_variant(&variants[i], seed * 100 + i);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_add("/qcow2/crash/power-cut-leaves-a-consistent-image",
            test_power_cut_leaves_a_consistent_image);
    return g_test_run();
}
