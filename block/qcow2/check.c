/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is an image consistent?  Counts the references to each cluster by walking everything that the
 * format defines, and compares with the refcounts.  Reads the disk, not the cache: it is the
 * judge of the other files of this folder, and shares nothing with them but the codecs.
 *
 * Time and memory are bounded by the size of the file, whatever its tables say: a refcount block,
 * and an L2 table under one L1 table, is read once.
 */
#include "qemu/osdep.h"

#include "block/qcow2.h"
#include "check-refs.h"
#include "qcow2.h"

typedef struct Check {
    BlockDriverState *bs;
    const Qcow2Geometry *g;
    Qcow2CheckResult *res;
    uint64_t file_length;
    uint8_t *reftable;              /* of @n_blocks entries */
    uint64_t n_blocks;
    Qcow2Refs refs;                 /* references found; a chunk is what a refcount block covers */
    bool out_of_memory;
    uint8_t *table;                 /* a cluster, for L2 tables and the like */
    uint64_t next_host;             /* for fragmentation */
    Error **errp;
} Check;

static void G_GNUC_PRINTF(2, 3) corrupt(Check *c, const char *fmt, ...)
{
    if (!c->res->first) {
        va_list ap;
        va_start(ap, fmt);
        c->res->first = g_strdup_vprintf(fmt, ap);
        va_end(ap);
    }
    c->res->corruptions++;
}

/* Does a refcount block cover @cluster? */
static bool is_counted(const Check *c, uint64_t cluster)
{
    uint64_t block = cluster >> c->g->refblock_bits;

    return block < c->n_blocks && be64_load(c->reftable + block * 8) != 0;
}

/* One reference to each cluster of [@offset, @offset + @bytes), which is bounded by the caller. */
static void mark(Check *c, uint64_t offset, uint64_t bytes, uint32_t flags)
{
    uint64_t end = DIV_ROUND_UP(offset + bytes, c->g->cluster_size);

    for (uint64_t i = offset >> c->g->cluster_bits; bytes && i < end; i++) {
        if (!is_counted(c, i)) {
            corrupt(c, "cluster %" PRIu64 " is referenced but has no refcount", i);
            continue;
        }
        c->out_of_memory |= !qcow2_refs_add(&c->refs, i, flags);
    }
}

static bool aligned_ok(Check *c, uint64_t offset, const char *what)
{
    if (offset & (c->g->cluster_size - 1)) {
        corrupt(c, "%s at offset %" PRIu64 " is not aligned to a cluster", what, offset);
        return false;
    }
    return true;
}

static bool co_fn read_or_fail(Check *c, uint64_t offset, void *buf, size_t bytes,
                               const char *what)
{
    int ret = qcow2_read_table(c->bs, host_offset(offset), buf, bytes);

    if (ret < 0) {
        error_setg_errno(c->errp, -ret, "Cannot check '%s': reading %s at %" PRIu64,
                         qcow2_name(c->bs), what, offset);
    }
    return ret == 0;
}

static void *try_alloc(Check *c, uint64_t bytes)
{
    void *buf = g_try_malloc(MAX(bytes, 1));

    if (!buf) {
        error_setg(c->errp, "Cannot check '%s': out of memory", qcow2_name(c->bs));
    }
    return buf;
}

/* ---- refcounts ---- */

static bool co_fn read_reftable(Check *c)
{
    Qcow2State *s = qcow2_state(c->bs);
    uint64_t bytes = s->reftable_entries * UINT64_C(8);

    c->reftable = try_alloc(c, bytes);
    c->n_blocks = s->reftable_entries;
    return c->reftable &&
           read_or_fail(c, s->reftable_offset.v, c->reftable, bytes, "the refcount table");
}

/* Entries that count nothing become 0: invalid ones, the second of two alike, and those past the
 * end of the file, where there are only zeroes. */
static void sanitize_reftable(Check *c)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);

    for (uint64_t i = 0; i < c->n_blocks; i++) {
        uint64_t offset = be64_load(c->reftable + i * 8) & ~UINT64_C(511);
        bool bad = (offset & (c->g->cluster_size - 1)) || offset >= QCOW2_MAX_HOST_OFFSET;

        if (bad || (offset && !g_hash_table_add(seen, g_memdup2(&offset, sizeof(offset))))) {
            corrupt(c, "refcount block %" PRIu64 " has the offset %" PRIu64 ", which is %s", i,
                    offset, bad ? "invalid" : "used twice");
            offset = 0;
        }
        be64_store(c->reftable + i * 8, offset < c->file_length ? offset : 0);
    }
}

static void mark_blocks(Check *c)
{
    for (uint64_t i = 0; i < c->n_blocks; i++) {
        uint64_t offset = be64_load(c->reftable + i * 8);
        if (offset) {
            mark(c, offset, c->g->cluster_size, 0);
        }
    }
}

static void compare_cluster(Check *c, uint64_t cluster, uint32_t ref, uint64_t count)
{
    uint32_t n = ref & QCOW2_REF_COUNT;

    if (n > count) {
        corrupt(c, "cluster %" PRIu64 " has refcount %" PRIu64 " but %u references", cluster,
                count, n);
    } else if (n < count) {
        c->res->leaks++;
    }
    /* "Copied" promises that there is no other reference, and its absence that there may be one. */
    if ((ref & QCOW2_REF_COPIED && count != 1) || (ref & QCOW2_REF_SHARED && count == 1)) {
        corrupt(c, "cluster %" PRIu64 " is %smarked as exclusive but has refcount %" PRIu64,
                cluster, ref & QCOW2_REF_COPIED ? "" : "not ", count);
    }
    if (count) {
        c->res->image_end_offset = MAX(c->res->image_end_offset,
                                       (cluster + 1) << c->g->cluster_bits);
    }
}

/* All clusters that block @i, in c->table, covers. */
static void compare_block(Check *c, uint64_t i)
{
    const Qcow2Geometry *g = c->g;
    const uint32_t *refs = qcow2_refs_chunk(&c->refs, i);

    for (uint64_t k = 0; k < UINT64_C(1) << g->refblock_bits; k++) {
        compare_cluster(c, (i << g->refblock_bits) + k, refs ? refs[k] : 0,
                        qcow2_refcount_load(c->table, g->refcount_order, k));
    }
}

static bool co_fn compare(Check *c)
{
    for (uint64_t i = 0; i < c->n_blocks; i++) {
        uint64_t offset = be64_load(c->reftable + i * 8);

        if (!offset) {
            continue;
        }
        if (!read_or_fail(c, offset, c->table, c->g->cluster_size, "a refcount block")) {
            return false;
        }
        compare_block(c, i);
    }
    return true;
}

/* ---- guest clusters ---- */

static uint32_t active_flag(bool active, bool copied)
{
    return !active ? 0 : copied ? QCOW2_REF_COPIED : QCOW2_REF_SHARED;
}

static void check_entry(Check *c, const uint8_t *p, uint64_t guest, bool active)
{
    const Qcow2Geometry *g = c->g;
    Qcow2Entry e;

    if (!qcow2_entry_decode(g, p, guest, &e)) {
        corrupt(c, "the L2 entry of guest offset %" PRIu64 " is invalid", guest);
        return;
    }
    if (e.compressed) {
        HostOffset first;
        uint64_t clusters;

        qcow2_compressed_clusters(g, e.desc, &first, &clusters);
        mark(c, first.v, clusters << g->cluster_bits, 0);
        c->res->compressed_clusters += active;
        c->res->allocated_clusters += active;
        c->res->fragmented_clusters += active;
        return;
    }
    if (!e.has_host) {
        return;
    }
    if (!g->has_data_file) {
        mark(c, e.host, g->cluster_size, active_flag(active, e.copied));
    }
    if (active) {
        c->res->allocated_clusters++;
        c->res->fragmented_clusters += c->next_host && e.host != c->next_host;
        c->next_host = e.host + g->cluster_size;
    }
}

static bool co_fn check_l2(Check *c, uint64_t table, uint64_t guest, bool active)
{
    const Qcow2Geometry *g = c->g;

    if (!read_or_fail(c, table, c->table, g->cluster_size, "an L2 table")) {
        return false;
    }
    for (uint64_t i = 0; i < UINT64_C(1) << g->l2_bits; i++) {
        check_entry(c, c->table + i * g->entry_size, guest + (i << g->cluster_bits), active);
    }
    return true;
}

static bool co_fn check_l1(Check *c, uint64_t offset, uint32_t entries, bool active)
{
    const Qcow2Geometry *g = c->g;
    g_autofree uint8_t *l1 = try_alloc(c, entries * UINT64_C(8));
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);

    if (!l1) {
        return false;
    }
    mark(c, offset, entries * UINT64_C(8), 0);
    if (!read_or_fail(c, offset, l1, entries * UINT64_C(8), "an L1 table")) {
        return false;
    }
    for (uint64_t i = 0; i < entries; i++) {
        uint64_t entry = be64_load(l1 + i * 8), table = entry & QCOW2_OFFSET_MASK;

        if (!table || !aligned_ok(c, table, "L2 table")) {
            continue;
        }
        mark(c, table, g->cluster_size, active_flag(active, entry & QCOW2_COPIED));
        if (!g_hash_table_add(seen, g_memdup2(&table, sizeof(table)))) {
            corrupt(c, "the L2 table at offset %" PRIu64 " is used twice", table);
            continue;
        }
        if (table >= c->file_length) {
            continue;               /* reads as zeroes */
        }
        if (!check_l2(c, table, i << (g->l2_bits + g->cluster_bits), active)) {
            return false;
        }
    }
    return true;
}

static bool co_fn check_guest_data(Check *c)
{
    Qcow2State *s = qcow2_state(c->bs);
    uint64_t table_bytes = 0;
    g_autoptr(GArray) list = qcow2_snapshots_read(c->bs, &table_bytes, c->errp);

    if (!list || !check_l1(c, s->l1_offset.v, s->l1_size, true)) {
        return false;
    }
    mark(c, s->header.snapshots_offset.v, table_bytes, 0);
    for (guint i = 0; i < list->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(list, Qcow2Snapshot, i);
        if (!check_l1(c, sn->l1_offset.v, sn->l1_size, false)) {
            return false;
        }
    }
    return true;
}

/* ---- bitmaps ---- */

static bool co_fn check_bitmap(Check *c, uint64_t offset, uint32_t entries)
{
    uint64_t bytes = entries * UINT64_C(8);

    if (!aligned_ok(c, offset, "bitmap table") || bytes > QCOW2_MAX_BITMAP_DIRECTORY) {
        return true;
    }
    g_autofree uint8_t *table = try_alloc(c, bytes);
    if (!table) {
        return false;
    }
    mark(c, offset, bytes, 0);
    if (!read_or_fail(c, offset, table, bytes, "a bitmap table")) {
        return false;
    }
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t data = be64_load(table + i * 8) & QCOW2_OFFSET_MASK;
        if (data && aligned_ok(c, data, "bitmap data")) {
            mark(c, data, c->g->cluster_size, 0);
        }
    }
    return true;
}

static bool co_fn check_bitmaps(Check *c)
{
    const Qcow2Header *h = &qcow2_state(c->bs)->header;
    uint64_t size = h->bitmap_directory_size, pos = 0;

    if (!h->has_bitmaps) {
        return true;
    }
    g_autofree uint8_t *dir = try_alloc(c, size);
    if (!dir) {
        return false;
    }
    mark(c, h->bitmap_directory.v, size, 0);
    if (!read_or_fail(c, h->bitmap_directory.v, dir, size, "the bitmap directory")) {
        return false;
    }
    for (uint32_t i = 0; i < h->nb_bitmaps; i++) {
        if (size - pos < 24) {
            corrupt(c, "the bitmap directory ends inside entry %u", i);
            return true;
        }
        const uint8_t *e = dir + pos;
        uint64_t len = ROUND_UP(24 + (uint64_t)be16_load(e + 18) + be32_load(e + 20), 8);

        if (len > size - pos) {
            corrupt(c, "entry %u of the bitmap directory does not fit into it", i);
            return true;
        }
        if (!check_bitmap(c, be64_load(e), be32_load(e + 8))) {
            return false;
        }
        pos += len;
    }
    return true;
}

/* ---- the whole ---- */

static bool co_fn check_all(Check *c)
{
    Qcow2State *s = qcow2_state(c->bs);

    if (!read_reftable(c)) {
        return false;
    }
    sanitize_reftable(c);
    mark(c, 0, c->g->cluster_size, 0);
    mark(c, s->reftable_offset.v, c->n_blocks * 8, 0);
    mark_blocks(c);
    if (!check_guest_data(c) || !check_bitmaps(c)) {
        return false;
    }
    if (c->out_of_memory) {
        error_setg(c->errp, "Cannot check '%s': out of memory", qcow2_name(c->bs));
        return false;
    }
    return compare(c);
}

bool co_fn qcow2_check(BlockDriverState *bs, Qcow2CheckResult *res, Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    Check c = { .bs = bs, .g = &s->g, .res = res, .errp = errp };

    *res = (Qcow2CheckResult){
        .total_clusters = DIV_ROUND_UP(s->header.size, s->g.cluster_size),
    };
    if (!bs->read_only) {
        int ret = qcow2_co_flush(bs, 0);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Cannot check '%s': flushing it failed",
                             qcow2_name(bs));
            return false;
        }
    }
    c.file_length = bdrv_length(bs->file->bs);
    c.table = bdrv_try_blockalign(s->g.cluster_size);
    if (!c.table) {
        error_setg(errp, "Cannot check '%s': out of memory", qcow2_name(bs));
        return false;
    }
    qcow2_refs_init(&c.refs, s->g.refblock_bits);
    bool ok = check_all(&c);
    qcow2_refs_destroy(&c.refs);
    g_free(c.reftable);
    free(c.table);
    if (!ok) {
        g_clear_pointer(&res->first, g_free);
    }
    return ok;
}
