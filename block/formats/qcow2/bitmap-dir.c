/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory of persistent bitmaps, and their tables: from and to what is on disk. */
#include "qemu/osdep.h"

#include "bitmap-dir.h"

/* Fields of an entry, from its beginning; the extra data and then the name are behind them. */
enum {
    OFF_TABLE = 0, OFF_ENTRIES = 8, OFF_FLAGS = 12, OFF_TYPE = 16, OFF_GRANULARITY = 17,
    OFF_NAME_BYTES = 18, OFF_EXTRA_BYTES = 20, FIXED_BYTES = 24,
};
#define TYPE_DIRTY 1
#define FLAGS_KNOWN (QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO | QCOW2_BITMAP_EXTRA)
#define MIN_GRANULARITY_BITS 9
#define MAX_GRANULARITY_BITS 31

static void entry_free(void *opaque)
{
    Qcow2BitmapEntry *e = opaque;

    g_free(e->name);
    g_free(e->raw);
    g_free(e);
}

GPtrArray *any_fn qcow2_bitmap_dir_new(void)
{
    return g_ptr_array_new_with_free_func(entry_free);
}

static uint64_t padded_bytes(const uint8_t *p)
{
    return ROUND_UP(FIXED_BYTES + (uint64_t)be16_load(p + OFF_NAME_BYTES) +
                    be32_load(p + OFF_EXTRA_BYTES), 8);
}

/* Of a kind, with fields and a name, that can be used here?  Else the entry is only kept. */
static bool is_usable(const Qcow2Geometry *g, const uint8_t *p)
{
    uint32_t flags = be32_load(p + OFF_FLAGS), extra = be32_load(p + OFF_EXTRA_BYTES);
    uint16_t name_bytes = be16_load(p + OFF_NAME_BYTES);
    uint64_t table = be64_load(p + OFF_TABLE);

    return p[OFF_TYPE] == TYPE_DIRTY && !(flags & ~FLAGS_KNOWN) &&
           p[OFF_GRANULARITY] >= MIN_GRANULARITY_BITS &&
           p[OFF_GRANULARITY] <= MAX_GRANULARITY_BITS && extra == 0 &&
           name_bytes > 0 && name_bytes <= BDRV_BITMAP_MAX_NAME &&
           g_utf8_validate_len((const char *)p + FIXED_BYTES, name_bytes, NULL) && table != 0 &&
           (table & (g->cluster_size - 1)) == 0 && table < QCOW2_MAX_HOST_OFFSET;
}

/* @len: its padded bytes. */
static Qcow2BitmapEntry *entry_parse(const Qcow2Geometry *g, const uint8_t *p, size_t len)
{
    Qcow2BitmapEntry *e = g_new0(Qcow2BitmapEntry, 1);

    e->table = host_offset(be64_load(p + OFF_TABLE));
    e->table_entries = be32_load(p + OFF_ENTRIES);
    e->flags = be32_load(p + OFF_FLAGS);
    e->granularity_bits = p[OFF_GRANULARITY];
    e->raw = g_memdup2(p, len);
    e->raw_bytes = len;
    if (is_usable(g, p)) {
        e->name = g_strndup((const char *)p + FIXED_BYTES, be16_load(p + OFF_NAME_BYTES));
    }
    return e;
}

GHashTable *any_fn qcow2_bitmap_dir_by_name(const GPtrArray *dir)
{
    GHashTable *names = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < dir->len; i++) {
        Qcow2BitmapEntry *e = dir->pdata[i];

        if (e->name) {
            g_hash_table_insert(names, e->name, e);
        }
    }
    return names;
}

/* False: it is no directory of that many entries, or two have the same name. */
static bool parse_all(const Qcow2Geometry *g, const Qcow2Header *h, const uint8_t *buf,
                      GPtrArray *dir)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    uint64_t size = h->bitmap_directory_size, pos = 0;

    for (uint32_t i = 0; i < h->nb_bitmaps; i++) {
        if (size - pos < FIXED_BYTES) {
            return false;
        }
        uint64_t len = padded_bytes(buf + pos);
        if (len > size - pos) {
            return false;
        }
        Qcow2BitmapEntry *e = entry_parse(g, buf + pos, len);
        g_ptr_array_add(dir, e);
        if (e->name && !g_hash_table_add(names, e->name)) {
            return false;
        }
        pos += len;
    }
    return true;
}

GPtrArray *co_fn qcow2_bitmap_dir_read(BlockDriverState *bs, int *ret)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Header *h = &s->header;
    GPtrArray *dir = qcow2_bitmap_dir_new();

    *ret = 0;
    if (!h->has_bitmaps) {
        return dir;
    }
    g_autofree uint8_t *buf = g_try_malloc(MAX(h->bitmap_directory_size, 1));
    *ret = !buf ? -ENOMEM
                : qcow2_read_table(bs, h->bitmap_directory, buf, h->bitmap_directory_size);
    if (*ret == 0 && !parse_all(&s->g, h, buf, dir)) {
        *ret = -EINVAL;
    }
    if (*ret < 0) {
        g_ptr_array_unref(dir);
        return NULL;
    }
    return dir;
}

Qcow2BitmapEntry *any_fn qcow2_bitmap_entry_new(const char *name, uint8_t granularity_bits,
                                                HostOffset table, uint32_t table_entries,
                                                uint32_t flags)
{
    Qcow2BitmapEntry *e = g_new0(Qcow2BitmapEntry, 1);
    size_t name_bytes = strlen(name);

    *e = (Qcow2BitmapEntry){
        .table = table, .table_entries = table_entries, .flags = flags,
        .granularity_bits = granularity_bits, .name = g_strdup(name),
        .raw_bytes = ROUND_UP(FIXED_BYTES + name_bytes, 8),
    };
    e->raw = g_malloc0(e->raw_bytes);
    be64_store(e->raw + OFF_TABLE, table.v);
    be32_store(e->raw + OFF_ENTRIES, table_entries);
    be32_store(e->raw + OFF_FLAGS, flags);
    e->raw[OFF_TYPE] = TYPE_DIRTY;
    e->raw[OFF_GRANULARITY] = granularity_bits;
    be16_store(e->raw + OFF_NAME_BYTES, name_bytes);
    memcpy(e->raw + FIXED_BYTES, name, name_bytes);
    return e;
}

Qcow2BitmapEntry *any_fn qcow2_bitmap_entry_copy(const Qcow2BitmapEntry *e)
{
    Qcow2BitmapEntry *copy = g_memdup2(e, sizeof(*e));

    copy->name = g_strdup(e->name);
    copy->raw = g_memdup2(e->raw, e->raw_bytes);
    return copy;
}

void any_fn qcow2_bitmap_entry_set_flags(Qcow2BitmapEntry *e, uint32_t flags)
{
    e->flags = flags;
    be32_store(e->raw + OFF_FLAGS, flags);
}

uint8_t *any_fn qcow2_bitmap_dir_format(const GPtrArray *dir, size_t *ret_bytes)
{
    GByteArray *out = g_byte_array_new();

    for (guint i = 0; i < dir->len; i++) {
        const Qcow2BitmapEntry *e = dir->pdata[i];

        g_byte_array_append(out, e->raw, e->raw_bytes);
    }
    gsize len;
    uint8_t *buf = g_byte_array_steal(out, &len);
    g_byte_array_unref(out);
    *ret_bytes = len;
    return buf;
}

/* ---- tables ---- */

static bool entry_ok(const Qcow2Geometry *g, uint64_t entry)
{
    uint64_t data = QCOW2_BITMAP_DATA(entry), rest = entry & ~QCOW2_OFFSET_MASK;

    return data ? rest == 0 && (data & (g->cluster_size - 1)) == 0 : rest <= 1;
}

uint64_t *co_fn qcow2_bitmap_table_read(BlockDriverState *bs, const Qcow2BitmapEntry *e, int *ret)
{
    const Qcow2Geometry *g = &qcow2_state(bs)->g;
    size_t bytes = e->table_entries * sizeof(uint64_t);

    *ret = -EINVAL;
    if (e->table_entries > QCOW2_MAX_BITMAP_BYTES >> g->cluster_bits) {
        return NULL;
    }
    g_autofree uint64_t *table = g_try_malloc(MAX(bytes, 1));
    *ret = table ? qcow2_read_table(bs, e->table, table, bytes) : -ENOMEM;
    for (uint32_t i = 0; *ret == 0 && i < e->table_entries; i++) {
        table[i] = be64_load(&table[i]);
        if (!entry_ok(g, table[i])) {
            *ret = -EINVAL;
        }
    }
    return *ret == 0 ? g_steal_pointer(&table) : NULL;
}
