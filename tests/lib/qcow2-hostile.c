/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/formats/qcow2/entry.h"
#include "tests/lib/qcow2-hostile.h"
#include "tests/lib/qcow2-rig.h"
#include "tests/lib/qcow2-share.h"

const HostileLayout hostile_layouts[] = {
    { "v3", 3, 4096, 16, .snapshot = true },
    { "v2", 2, 4096, 16 },
    { "extended-l2", 3, 16384, 16, .extended_l2 = true },
    { "small-clusters", 3, 512, 64 },
    { "bitmaps", 3, 4096, 16, .bitmaps = true },
    { "data-file", 3, 4096, 16, .data_file = true },
};
const size_t hostile_n_layouts = G_N_ELEMENTS(hostile_layouts);

uint64_t hostile_load(const GByteArray *image, uint64_t offset, unsigned bytes)
{
    uint64_t v = 0;

    g_assert_cmpuint(offset + bytes, <=, image->len);
    for (unsigned i = 0; i < bytes; i++) {
        v = v << 8 | image->data[offset + i];
    }
    return v;
}

void hostile_store(GByteArray *image, uint64_t offset, unsigned bytes, uint64_t value)
{
    g_assert_cmpuint(offset + bytes, <=, image->len);
    for (unsigned i = 0; i < bytes; i++) {
        image->data[offset + i] = value >> (8 * (bytes - 1 - i));
    }
}

/* ---- walking ---- */

static uint64_t load64(const HostileBed *b, uint64_t offset)
{
    return hostile_load(b->image, offset, 8);
}

static uint64_t cluster_size(const HostileBed *b)
{
    return b->layout->cluster_size;
}

static unsigned entry_size(const HostileBed *b)
{
    return b->layout->extended_l2 ? 16 : 8;
}

static uint64_t l1_offset(const HostileBed *b)
{
    return load64(b, QCOW2_HDR_L1_OFFSET);
}

static uint64_t reftable_offset(const HostileBed *b)
{
    return load64(b, QCOW2_HDR_REFTABLE_OFFSET);
}

/* All beds are small enough for one refcount block with entries of whole bytes. */
static uint64_t refcount_at(const HostileBed *b, uint64_t host)
{
    uint64_t block = load64(b, reftable_offset(b));

    return block + host / cluster_size(b) * (b->layout->refcount_bits / 8);
}

/* Where the L2 entry of guest cluster @i is. */
static uint64_t l2_entry_at(const HostileBed *b, unsigned i)
{
    unsigned per_table = cluster_size(b) / entry_size(b);
    uint64_t table = load64(b, l1_offset(b) + i / per_table * 8) & QCOW2_OFFSET_MASK;

    g_assert_cmpuint(table, !=, 0);
    return table + i % per_table * entry_size(b);
}

static uint64_t end_of_extensions(const HostileBed *b)
{
    uint64_t pos = b->layout->version < 3 ? QCOW2_HDR_V2_LENGTH : hostile_load(b->image, 100, 4);

    while (hostile_load(b->image, pos, 4) != QCOW2_EXT_END) {
        pos += 8 + ROUND_UP(hostile_load(b->image, pos + 4, 4), 8);
    }
    return pos;
}

/* ---- making a bed ---- */

/* A new cluster at the end of the image, with a refcount of 1. */
static uint64_t add_cluster(HostileBed *b, GByteArray *image)
{
    uint64_t at = ROUND_UP(image->len, cluster_size(b));

    g_byte_array_set_size(image, at + cluster_size(b));
    memset(image->data + at, 0, cluster_size(b));
    hostile_store(image, refcount_at(b, at), b->layout->refcount_bits / 8, 1);
    return at;
}

/* Two bitmaps, one that records changes and one that does not; the first has bits. */
static void add_bitmaps(HostileBed *b)
{
    GByteArray *im = b->image;
    uint64_t dir = add_cluster(b, im), table = add_cluster(b, im), bits = add_cluster(b, im);
    uint64_t empty = add_cluster(b, im), ext = end_of_extensions(b);

    hostile_store(im, table, 8, bits);
    im->data[bits] = 5;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t e = dir + 32 * i;
        hostile_store(im, e, 8, i ? empty : table);
        hostile_store(im, e + 8, 4, 1);
        hostile_store(im, e + 12, 4, i ? 0 : 2);        /* auto */
        im->data[e + 16] = 1;                           /* dirty tracking */
        im->data[e + 17] = 16;                          /* granularity */
        hostile_store(im, e + 18, 2, 4);
        memcpy(im->data + e + 24, i ? "rest" : "auto", 4);
    }
    hostile_store(im, ext, 4, QCOW2_EXT_BITMAPS);
    hostile_store(im, ext + 4, 4, 24);
    hostile_store(im, ext + 8, 4, 2);
    hostile_store(im, ext + 16, 8, 64);
    hostile_store(im, ext + 24, 8, dir);
    hostile_store(im, ext + 32, 8, 0);
    hostile_store(im, QCOW2_HDR_AUTOCLEAR, 8, QCOW2_AUTOCLEAR_BITMAPS);
}

static void co_main_fn write_cluster(HostileBed *b, BdrvLink *link, unsigned i, unsigned flags)
{
    uint64_t cs = cluster_size(b);
    uint8_t *p = b->guest + i * cs;

    for (uint64_t k = 0; k < cs; k++) {
        p[k] = flags ? i * 7 + 1 : (i * 7 + 1) ^ (k >> 9);
    }
    g_assert_cmpint(bdrv_co_pwrite(link, i * cs, cs, p, flags), ==, 0);
}

/* What the snapshot has, too. */
static void co_main_fn fill_first(HostileBed *b, BdrvLink *link)
{
    for (unsigned i = 0; i < 16; i++) {
        write_cluster(b, link, i, 0);
    }
    write_cluster(b, link, HOSTILE_CLUSTERS - 1, 0);
}

static void co_main_fn fill_second(HostileBed *b, BdrvLink *link)
{
    uint64_t cs = cluster_size(b);

    for (unsigned i = 0; i < 4; i++) {
        write_cluster(b, link, i, 0);
    }
    for (unsigned i = 16; i < 24 && !b->layout->data_file; i++) {
        write_cluster(b, link, i, BDRV_REQ_WRITE_COMPRESSED);
    }
    write_cluster(b, link, 24, 0);
    memset(b->guest + 24 * cs, 0, cs);
    rig_zero(link, 24 * cs, cs, 0);         /* with a cluster (from version 3 on) */
    rig_zero(link, 25 * cs, cs, BDRV_REQ_MAY_UNMAP);
    if (b->layout->extended_l2) {           /* some parts of a cluster */
        memset(b->guest + 30 * cs, 9, cs / 4);
        rig_write(link, 30 * cs, cs / 4, 9);
        rig_zero(link, 30 * cs + cs / 2, cs / 4, 0);
    }
}

static GByteArray *take_disk(MemDisk *d)
{
    GByteArray *a = g_byte_array_new();

    g_byte_array_set_size(a, memdisk_length(d));
    memdisk_read(d, 0, a->len, a->data);
    memdisk_free(d);
    return a;
}

static void co_main_fn make_image(HostileBed *b)
{
    const HostileLayout *v = b->layout;
    MemDisk *d = memdisk_new("disk"), *data = v->data_file ? memdisk_new("data") : NULL;
    BdrvCreateOptions opts = rig_create_options(b->disk_bytes);

    opts.u.qcow2.version = v->version;
    opts.u.qcow2.cluster_size = v->cluster_size;
    opts.u.qcow2.refcount_bits = v->refcount_bits;
    opts.u.qcow2.extended_l2 = v->extended_l2;
    if (v->data_file) {
        opts.u.qcow2.data_file = (char *)"data";
    } else if (!v->bitmaps) {
        opts.u.qcow2.backing_file = (char *)"base";
        opts.u.qcow2.backing_fmt = (char *)"raw";
    }
    rig_create(d, &opts);
    BdrvLink *link = rig_open(d, &(RigOpen){ .data_file = data });
    fill_first(b, link);
    rig_close(link);
    if (v->snapshot) {
        qcow2_share_with_snapshot(d);
    }
    link = rig_open(d, &(RigOpen){ .data_file = data });
    fill_second(b, link);
    g_assert_cmpint(bdrv_co_flush(link, BDRV_FLUSH_SETTLE), ==, 0);
    g_assert_cmpuint(rig_check(link), ==, 0);
    rig_close(link);
    b->image = take_disk(d);
    b->data = data ? take_disk(data) : NULL;
}

/* ---- the table of fields ---- */

static void G_GNUC_PRINTF(5, 6) add(HostileBed *b, HostileKind kind, uint64_t offset,
                                    unsigned bytes, const char *fmt, ...)
{
    HostileField f = { NULL, offset, bytes, kind };
    va_list ap;

    va_start(ap, fmt);
    f.name = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_array_append_val(b->fields, f);
}

static void add_header_fields(HostileBed *b)
{
    static const struct { const char *name; unsigned offset, bytes; HostileKind kind; } fields[] = {
        { "magic", 0, 4 }, { "version", 4, 4 }, { "backing_file_offset", 8, 8 },
        { "backing_file_size", 16, 4 }, { "cluster_bits", 20, 4 }, { "size", 24, 8 },
        { "crypt_method", 32, 4 }, { "l1_size", 36, 4 },
        { "l1_table_offset", 40, 8, HOSTILE_OFFSET },
        { "refcount_table_offset", 48, 8, HOSTILE_OFFSET }, { "refcount_table_clusters", 56, 4 },
        { "nb_snapshots", 60, 4 }, { "snapshots_offset", 64, 8, HOSTILE_OFFSET },
        { "incompatible_features", 72, 8 }, { "compatible_features", 80, 8 },
        { "autoclear_features", 88, 8 }, { "refcount_order", 96, 4 }, { "header_length", 100, 4 },
        { "compression_type", 104, 1 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        if (b->layout->version > 2 || fields[i].offset < 72) {
            add(b, fields[i].kind, fields[i].offset, fields[i].bytes, "header.%s", fields[i].name);
        }
    }
    if (load64(b, 8)) {
        add(b, HOSTILE_TEXT, load64(b, 8), 4, "backing_file_name");
    }
}

static void add_extension_fields(HostileBed *b)
{
    uint64_t pos = b->layout->version < 3 ? 72 : hostile_load(b->image, 100, 4);
    uint32_t type;

    do {
        type = hostile_load(b->image, pos, 4);
        uint32_t len = hostile_load(b->image, pos + 4, 4);
        const char *name = type == QCOW2_EXT_END ? "end" :
                           type == QCOW2_EXT_BACKING_FORMAT ? "backing_format" :
                           type == QCOW2_EXT_FEATURE_NAMES ? "features" :
                           type == QCOW2_EXT_BITMAPS ? "bitmaps" : "data_file";

        add(b, HOSTILE_NUMBER, pos, 4, "extension.%s.type", name);
        add(b, HOSTILE_NUMBER, pos + 4, 4, "extension.%s.length", name);
        if (type == QCOW2_EXT_BITMAPS) {
            add(b, HOSTILE_NUMBER, pos + 8, 4, "extension.bitmaps.nb_bitmaps");
            add(b, HOSTILE_NUMBER, pos + 12, 4, "extension.bitmaps.reserved");
            add(b, HOSTILE_NUMBER, pos + 16, 8, "extension.bitmaps.directory_size");
            add(b, HOSTILE_OFFSET, pos + 24, 8, "extension.bitmaps.directory_offset");
        } else if (len >= 3) {
            add(b, HOSTILE_TEXT, pos + 8, 1, "extension.%s.data", name);
            add(b, HOSTILE_TEXT, pos + 9, 2, "extension.%s.data[1]", name);
        }
        pos += 8 + ROUND_UP(len, 8);
    } while (type != QCOW2_EXT_END);
    /* A type of its own in the place of the end: every one that is known. */
    add(b, HOSTILE_NUMBER, pos - 8, 8, "extension.added");
}

static void add_table_fields(HostileBed *b)
{
    static const struct { const char *name; unsigned cluster; } entries[] = {
        { "data", 1 }, { "shared_data", 8 }, { "compressed", 17 }, { "zero", 24 },
        { "zero_nowhere", 25 }, { "parts", 30 }, { "nowhere", HOSTILE_NEW },
        { "overwritten", HOSTILE_OVERWRITE },
    };
    unsigned per_table = cluster_size(b) / entry_size(b);

    for (unsigned i = 0; i < DIV_ROUND_UP(HOSTILE_CLUSTERS, per_table); i++) {
        add(b, HOSTILE_OFFSET, l1_offset(b) + 8 * i, 8, "l1[%u]", i);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(entries); i++) {
        uint64_t at = l2_entry_at(b, entries[i].cluster);
        add(b, HOSTILE_OFFSET, at, 8, "l2.%s", entries[i].name);
        if (b->layout->extended_l2) {
            add(b, HOSTILE_NUMBER, at + 8, 4, "l2.%s.zero_bits", entries[i].name);
            add(b, HOSTILE_NUMBER, at + 12, 4, "l2.%s.alloc_bits", entries[i].name);
        }
    }
}

static void add_refcount_fields(HostileBed *b)
{
    unsigned bytes = b->layout->refcount_bits / 8;
    uint64_t block = load64(b, reftable_offset(b)), l2 = l2_entry_at(b, 0);
    uint64_t data = load64(b, l2_entry_at(b, 1)) & QCOW2_OFFSET_MASK;
    const struct { const char *name; uint64_t host; } counted[] = {
        { "header", 0 }, { "reftable", reftable_offset(b) }, { "refblock", block },
        { "l1", l1_offset(b) }, { "l2", l2 }, { "data", data }, { "free", b->image->len + 65536 },
        { "last", b->image->len - 1 },
    };

    add(b, HOSTILE_OFFSET, reftable_offset(b), 8, "reftable[0]");
    add(b, HOSTILE_OFFSET, reftable_offset(b) + 8, 8, "reftable[1]");
    for (size_t i = 0; i < G_N_ELEMENTS(counted); i++) {
        uint64_t at = refcount_at(b, counted[i].host);
        if (at < block + cluster_size(b)) {
            add(b, HOSTILE_NUMBER, at, bytes, "refcount.%s", counted[i].name);
        }
    }
}

static void add_snapshot_fields(HostileBed *b)
{
    uint64_t e = load64(b, 64), l1 = b->layout->snapshot ? load64(b, e) : 0;
    static const struct { const char *name; unsigned offset, bytes; HostileKind kind; } fields[] = {
        { "l1_table_offset", 0, 8, HOSTILE_OFFSET }, { "l1_size", 8, 4 }, { "id_size", 12, 2 },
        { "name_size", 14, 2 }, { "date_sec", 16, 4 }, { "date_nsec", 20, 4 },
        { "vm_clock", 24, 8 }, { "vm_state_size", 32, 4 }, { "extra_size", 36, 4 },
        { "extra.vm_state_size", 40, 8 },
        { "extra.disk_size", 48, 8 }, { "id", 56, 1, HOSTILE_TEXT },
        { "name", 57, 1, HOSTILE_TEXT },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(fields) && l1; i++) {
        add(b, fields[i].kind, e + fields[i].offset, fields[i].bytes, "snapshot.%s",
            fields[i].name);
    }
    if (l1) {
        add(b, HOSTILE_OFFSET, l1, 8, "snapshot.l1[0]");
        add(b, HOSTILE_OFFSET, load64(b, l1) & QCOW2_OFFSET_MASK, 8, "snapshot.l2[0]");
    }
}

static void add_bitmap_fields(HostileBed *b)
{
    static const struct { const char *name; unsigned offset, bytes; HostileKind kind; } fields[] = {
        { "table_offset", 0, 8, HOSTILE_OFFSET }, { "table_size", 8, 4 }, { "flags", 12, 4 },
        { "type", 16, 1 }, { "granularity_bits", 17, 1 }, { "name_size", 18, 2 },
        { "extra_size", 20, 4 }, { "name", 24, 4, HOSTILE_TEXT },
    };
    uint64_t dir = load64(b, end_of_extensions(b) - 8);

    for (size_t i = 0; i < G_N_ELEMENTS(fields) && b->layout->bitmaps; i++) {
        add(b, fields[i].kind, dir + fields[i].offset, fields[i].bytes, "bitmap.%s",
            fields[i].name);
    }
    if (b->layout->bitmaps) {
        add(b, HOSTILE_OFFSET, load64(b, dir), 8, "bitmap.table[0]");
        add(b, HOSTILE_NUMBER, dir + 32 + 20, 4, "bitmap[1].extra_size");
    }
}

HostileBed *co_main_fn hostile_bed_new(const HostileLayout *layout)
{
    HostileBed *b = g_new0(HostileBed, 1);

    b->layout = layout;
    b->disk_bytes = HOSTILE_CLUSTERS * layout->cluster_size;
    b->guest = g_malloc0(b->disk_bytes);
    b->fields = g_array_new(FALSE, FALSE, sizeof(HostileField));
    make_image(b);
    if (layout->bitmaps) {
        add_bitmaps(b);
    }
    add_header_fields(b);
    add_extension_fields(b);
    add_table_fields(b);
    add_refcount_fields(b);
    add_snapshot_fields(b);
    add_bitmap_fields(b);
    return b;
}

void hostile_bed_free(HostileBed *b)
{
    for (guint i = 0; i < b->fields->len; i++) {
        g_free(g_array_index(b->fields, HostileField, i).name);
    }
    g_array_unref(b->fields);
    g_byte_array_unref(b->image);
    if (b->data) {
        g_byte_array_unref(b->data);
    }
    g_free(b->guest);
    g_free(b);
}

/* ---- values ---- */

static void add_value(GArray *values, const HostileField *f, uint64_t old, uint64_t v)
{
    v &= UINT64_MAX >> (64 - 8 * f->bytes);
    for (guint i = 0; i < values->len; i++) {
        if (g_array_index(values, uint64_t, i) == v) {
            return;
        }
    }
    if (v != old) {
        g_array_append_val(values, v);
    }
}

/* Offsets of everything there is, of @f's own place, and of nothing; with the flags that @old has,
 * and all others. */
static void add_offsets(const HostileBed *b, const HostileField *f, uint64_t old, GArray *values)
{
    uint64_t cs = cluster_size(b), flags = old & ~QCOW2_OFFSET_MASK, at = old & QCOW2_OFFSET_MASK;
    const uint64_t places[] = {
        0, cs, l1_offset(b), reftable_offset(b), load64(b, reftable_offset(b)),
        ROUND_DOWN(l2_entry_at(b, 0), cs), load64(b, l2_entry_at(b, 1)) & QCOW2_OFFSET_MASK,
        load64(b, 64), ROUND_DOWN(f->offset, cs), ROUND_DOWN(b->image->len - 1, cs),
        ROUND_UP(b->image->len, cs), ROUND_UP(b->image->len, cs) + 100 * cs,
        UINT64_C(1) << 40, (UINT64_C(1) << 55), QCOW2_OFFSET_MASK & ~(cs - 1),
        at + cs, at - cs, at + 512, at + 1, at + cs - 1,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        add_value(values, f, old, places[i] | flags);
    }
    const uint64_t bits[] = { 1, 2, UINT64_C(1) << 56, UINT64_C(1) << 61, QCOW2_COMPRESSED,
                              QCOW2_COPIED, QCOW2_COPIED | 1, QCOW2_COPIED | QCOW2_COMPRESSED };
    for (size_t i = 0; i < G_N_ELEMENTS(bits); i++) {
        add_value(values, f, old, old ^ bits[i]);
    }
}

GArray *hostile_values(const HostileBed *b, const HostileField *f)
{
    GArray *values = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    uint64_t old = hostile_load(b->image, f->offset, f->bytes);
    uint64_t max = UINT64_MAX >> (64 - 8 * f->bytes);
    const uint64_t numbers[] = {
        0, 1, 2, max, max - 1, max >> 1, (max >> 1) + 1, old + 1, old - 1, old * 2, old + 8,
        old ^ 4, old ^ 8, old ^ 16, old ^ 32, max - 7, 22, 1024, 65536, 65537, 16 * MiB,
        (uint64_t)QCOW2_EXT_CRYPTO << 32 | 16, (uint64_t)QCOW2_EXT_DATA_FILE << 32 | 4,
        (uint64_t)QCOW2_EXT_BITMAPS << 32 | 24, (uint64_t)QCOW2_EXT_BACKING_FORMAT << 32 | 1024,
        QCOW2_EXT_CRYPTO, QCOW2_EXT_DATA_FILE, QCOW2_EXT_BITMAPS, QCOW2_EXT_BACKING_FORMAT,
    };
    const uint64_t texts[] = { 0, max, 0x80, '/', 0x0a0a0a0a };

    for (size_t i = 0; i < G_N_ELEMENTS(numbers) && f->kind == HOSTILE_NUMBER; i++) {
        add_value(values, f, old, numbers[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(texts) && f->kind == HOSTILE_TEXT; i++) {
        add_value(values, f, old, texts[i]);
    }
    if (f->kind == HOSTILE_OFFSET) {
        add_value(values, f, old, max);
        add_value(values, f, old, 1);
        add_value(values, f, old, max >> 1);
        add_offsets(b, f, old, values);
    }
    return values;
}
