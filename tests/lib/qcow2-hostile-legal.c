/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Legal edits: whoever refuses these refuses healthy images. */
#include "qemu/osdep.h"

#include "block/formats/qcow2/entry.h"
#include "tests/lib/qcow2-hostile.h"

typedef struct Edit {
    const HostileBed *b;
    GByteArray *im;
    uint8_t *guest;
} Edit;

static uint64_t get(const Edit *e, uint64_t at)
{
    return hostile_load(e->im, at, 8);
}

static uint64_t cs(const Edit *e)
{
    return e->b->layout->cluster_size;
}

/* The field of that name; NULL: this bed has none. */
static const HostileField *field(const Edit *e, const char *name)
{
    for (guint i = 0; i < e->b->fields->len; i++) {
        const HostileField *f = &g_array_index(e->b->fields, HostileField, i);
        if (strcmp(f->name, name) == 0) {
            return f;
        }
    }
    return NULL;
}

static bool set(const Edit *e, const char *name, uint64_t value)
{
    const HostileField *f = field(e, name);

    if (f) {
        hostile_store(e->im, f->offset, f->bytes, value);
    }
    return f;
}

static uint64_t refcount_at(const Edit *e, uint64_t host)
{
    return get(e, get(e, QCOW2_HDR_REFTABLE_OFFSET)) +
           host / cs(e) * (e->b->layout->refcount_bits / 8);
}

static uint64_t refcount(const Edit *e, uint64_t host)
{
    return hostile_load(e->im, refcount_at(e, host), e->b->layout->refcount_bits / 8);
}

static void set_refcount(const Edit *e, uint64_t host, uint64_t n)
{
    hostile_store(e->im, refcount_at(e, host), e->b->layout->refcount_bits / 8, n);
}

/* What the field of that name points to, one cluster, lies at the end of the file instead. */
static bool move(const Edit *e, const char *name)
{
    const HostileField *f = field(e, name);
    uint64_t old = f ? get(e, f->offset) : 0, host = old & QCOW2_OFFSET_MASK;

    if (!f || host == 0 || old & QCOW2_COMPRESSED || e->b->layout->data_file) {
        return false;
    }
    uint64_t to = ROUND_UP(e->im->len, cs(e));
    g_byte_array_set_size(e->im, to + cs(e));
    memset(e->im->data + to, 0, cs(e));
    set_refcount(e, to, refcount(e, host));
    set_refcount(e, host, 0);
    memcpy(e->im->data + to, e->im->data + host, MIN(cs(e), e->im->len - host));
    hostile_store(e->im, f->offset, 8, to | (old & ~QCOW2_OFFSET_MASK));
    return true;
}

static bool move_backing_name(const Edit *e)
{
    uint64_t from = get(e, 8), len = hostile_load(e->im, 16, 4);

    if (from) {
        memmove(e->im->data + cs(e) - len, e->im->data + from, len);
        hostile_store(e->im, 8, 8, cs(e) - len);
    }
    return from;
}

/* What follows the shorter header looks like the end of the extensions. */
static bool shorten_header(const Edit *e)
{
    return e->b->layout->version > 2 && !e->b->layout->bitmaps && !e->b->layout->data_file &&
           set(e, "header.header_length", 104);
}

static bool drop_data(const Edit *e)
{
    const HostileField *f = field(e, "l2.data");

    if (e->b->layout->data_file) {
        return false;
    }
    set_refcount(e, get(e, f->offset) & QCOW2_OFFSET_MASK, 0);
    memset(e->im->data + f->offset, 0, e->b->layout->extended_l2 ? 16 : 8);
    memset(e->guest + cs(e), 0, cs(e));
    return true;
}

static bool zero_data(const Edit *e)
{
    const HostileField *f = field(e, "l2.data");

    if (e->b->layout->version < 3) {
        return false;
    }
    if (e->b->layout->extended_l2) {
        hostile_store(e->im, f->offset + 8, 8, UINT64_C(0xffffffff00000000));
    } else {
        hostile_store(e->im, f->offset, 8, get(e, f->offset) | QCOW2_ZERO);
    }
    memset(e->guest + cs(e), 0, cs(e));
    return true;
}

/* One more field in the extra data; the names move up. */
static bool longer_extra_data(const Edit *e)
{
    const HostileField *f = field(e, "snapshot.id");

    if (f) {
        memcpy(e->im->data + f->offset + 8, e->im->data + f->offset, 2);
        hostile_store(e->im, f->offset, 8, UINT64_MAX);
        set(e, "snapshot.extra_size", 24);
    }
    return f;
}

static bool other_snapshot_values(const Edit *e)
{
    return set(e, "snapshot.date_sec", UINT32_MAX) && set(e, "snapshot.date_nsec", 999999999) &&
           set(e, "snapshot.vm_clock", UINT64_MAX) && set(e, "snapshot.id", '7') &&
           set(e, "snapshot.name", 'z');
}

const char *hostile_legal_edit(const HostileBed *bed, size_t n, GByteArray *image, uint8_t *guest)
{
    static const char *const moves[] = {
        "header.l1_table_offset", "header.refcount_table_offset", "reftable[0]", "l1[0]", "l2.data",
        "l2.zero", "header.snapshots_offset", "snapshot.l1_table_offset", "bitmap.table_offset",
        "bitmap.table[0]", "extension.bitmaps.directory_offset",
    };
    static const struct { const char *name, *field; uint64_t value; } values[] = {
        { "an unknown compatible feature", "header.compatible_features", UINT64_C(1) << 40 },
        { "an unknown autoclear feature", "header.autoclear_features", UINT64_C(1) << 40 | 1 },
        { "an unknown extension", "extension.features.type", 0x12345678 },
        { "no backing format", "extension.backing_format.type", 0x12345678 },
        { "another feature name", "extension.features.data[1]", 0x0541 },
        { "a larger L1 table", "header.l1_size", 60 },
        { "another granularity", "bitmap.granularity_bits", 17 },
        { "another bitmap name", "bitmap.name", 0x41424344 },
        { "a bitmap in use", "bitmap.flags", 3 },
        { "a leaked cluster", "refcount.free", 1 },
        { "a leaked reference to a table", "refcount.l1", 2 },
    };
    static const struct { const char *name; bool (*edit)(const Edit *e); } edits[] = {
        { "backing name at the end of the cluster", move_backing_name },
        { "a header without the compression type", shorten_header },
        { "data given up", drop_data }, { "data that reads as zeroes", zero_data },
        { "longer extra data of a snapshot", longer_extra_data },
        { "other values of a snapshot", other_snapshot_values },
    };
    Edit e = { bed, image, guest };

    if (n < G_N_ELEMENTS(moves)) {
        return move(&e, moves[n]) ? moves[n] : "";
    }
    n -= G_N_ELEMENTS(moves);
    if (n < G_N_ELEMENTS(values)) {
        return set(&e, values[n].field, values[n].value) ? values[n].name : "";
    }
    n -= G_N_ELEMENTS(values);
    if (n < G_N_ELEMENTS(edits)) {
        return edits[n].edit(&e) ? edits[n].name : "";
    }
    return NULL;
}
