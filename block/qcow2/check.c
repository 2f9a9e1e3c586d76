/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is an image consistent?  Counts the references to each cluster by walking everything that the format
 * defines, and compares with the refcounts.  Reads the disk, not the cache: it is the judge of the
 * other files of this folder, and shares nothing with them but the codecs.
 */
#include "qemu/osdep.h"

#include "block/qcow2.h"
#include "qcow2.h"

/* More clusters than any file system holds, to bound the arrays below. */
#define MAX_CLUSTERS (UINT64_C(1) << 32)

typedef struct Check {
    BlockDriverState *bs;
    const Qcow2Geometry *g;
    Qcow2CheckResult *res;
    uint64_t n;                     /* clusters; what lies behind has a refcount of 0 */
    uint32_t *refs;                 /* references found, per cluster */
    uint32_t *counts;               /* refcounts, per cluster; saturated */
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

/* One reference to each cluster of [@offset, @offset + @bytes). */
static void mark(Check *c, uint64_t offset, uint64_t bytes, const char *what)
{
    uint64_t first = offset >> c->g->cluster_bits;
    uint64_t end = DIV_ROUND_UP(offset + bytes, c->g->cluster_size);

    for (uint64_t i = first; bytes && i < end; i++) {
        if (i >= c->n) {
            corrupt(c, "%s at offset %" PRIu64 " refers to cluster %" PRIu64
                    ", which has no refcount", what, offset, i);
            return;
        }
        c->refs[i] += c->refs[i] < UINT32_MAX;
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

/* ---- refcounts ---- */

/* The refcount table, in memory; caller frees. */
static uint8_t *co_fn read_reftable(Check *c, uint64_t *ret_entries)
{
    Qcow2State *s = qcow2_state(c->bs);
    uint64_t bytes = s->reftable_entries * UINT64_C(8);
    uint8_t *table = g_try_malloc(bytes);

    if (!table) {
        error_setg(c->errp, "Cannot check '%s': out of memory", qcow2_name(c->bs));
        return NULL;
    }
    if (!read_or_fail(c, s->reftable_offset.v, table, bytes, "the refcount table")) {
        g_free(table);
        return NULL;
    }
    *ret_entries = s->reftable_entries;
    return table;
}

static bool block_offset(Check *c, const uint8_t *reftable, uint64_t i, uint64_t *ret)
{
    *ret = be64_load(reftable + i * 8) & ~UINT64_C(511);
    return *ret != 0 && (*ret & (c->g->cluster_size - 1)) == 0 && *ret < QCOW2_MAX_HOST_OFFSET;
}

/* How many clusters have to be looked at: those of the file, and all that have a refcount. */
static bool co_fn count_clusters(Check *c, const uint8_t *reftable, uint64_t entries)
{
    const Qcow2Geometry *g = c->g;
    uint64_t per_block = UINT64_C(1) << g->refblock_bits;

    c->n = DIV_ROUND_UP((uint64_t)bdrv_length(c->bs->file->bs), g->cluster_size);
    for (uint64_t i = entries; i-- > 0; ) {
        uint64_t offset, n = per_block;

        if (!block_offset(c, reftable, i, &offset)) {
            continue;
        }
        if (!read_or_fail(c, offset, c->table, g->cluster_size, "a refcount block")) {
            return false;
        }
        while (n > 0 && qcow2_refcount_load(c->table, g->refcount_order, n - 1) == 0) {
            n--;
        }
        if (n > 0) {
            c->n = MAX(c->n, i * per_block + n);
            break;
        }
    }
    if (c->n > MAX_CLUSTERS) {
        error_setg(c->errp, "Cannot check '%s': it has refcounts for %" PRIu64 " clusters",
                   qcow2_name(c->bs), c->n);
        return false;
    }
    c->refs = g_try_new0(uint32_t, c->n);
    c->counts = g_try_new0(uint32_t, c->n);
    if (!c->refs || !c->counts) {
        error_setg(c->errp, "Cannot check '%s': out of memory for %" PRIu64 " clusters",
                   qcow2_name(c->bs), c->n);
        return false;
    }
    return true;
}

static bool co_fn load_refcounts(Check *c, const uint8_t *reftable, uint64_t entries)
{
    const Qcow2Geometry *g = c->g;
    uint64_t per_block = UINT64_C(1) << g->refblock_bits;

    for (uint64_t i = 0; i < entries; i++) {
        uint64_t offset;

        if (!block_offset(c, reftable, i, &offset)) {
            if (offset) {
                corrupt(c, "refcount block %" PRIu64 " has the invalid offset %" PRIu64, i,
                        offset);
            }
            continue;
        }
        mark(c, offset, g->cluster_size, "refcount block");
        if (i * per_block >= c->n) {
            continue;
        }
        if (!read_or_fail(c, offset, c->table, g->cluster_size, "a refcount block")) {
            return false;
        }
        for (uint64_t k = 0; k < per_block && i * per_block + k < c->n; k++) {
            uint64_t count = qcow2_refcount_load(c->table, g->refcount_order, k);
            c->counts[i * per_block + k] = MIN(count, UINT32_MAX);
        }
    }
    return true;
}

/* ---- guest clusters ---- */

/* "Copied" promises that there is no other reference, and its absence that there may be one. */
static void check_copied(Check *c, uint64_t host, bool copied, const char *what)
{
    uint64_t i = host >> c->g->cluster_bits;

    if (i < c->n && copied != (c->counts[i] == 1)) {
        corrupt(c, "%s at offset %" PRIu64 " is %smarked as exclusive but has refcount %u", what,
                host, copied ? "" : "not ", c->counts[i]);
    }
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
        mark(c, first.v, clusters << g->cluster_bits, "compressed cluster");
        c->res->compressed_clusters += active;
        c->res->allocated_clusters += active;
        c->res->fragmented_clusters += active;
        return;
    }
    if (!e.has_host) {
        return;
    }
    if (!g->has_data_file) {
        mark(c, e.host, g->cluster_size, "data cluster");
    }
    if (active) {
        if (!g->has_data_file) {
            check_copied(c, e.host, e.copied, "data cluster");
        }
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
    g_autofree uint8_t *l1 = g_try_malloc(MAX(entries * UINT64_C(8), 1));

    if (!l1) {
        error_setg(c->errp, "Cannot check '%s': out of memory", qcow2_name(c->bs));
        return false;
    }
    mark(c, offset, entries * UINT64_C(8), "L1 table");
    if (!read_or_fail(c, offset, l1, entries * UINT64_C(8), "an L1 table")) {
        return false;
    }
    for (uint64_t i = 0; i < entries; i++) {
        uint64_t entry = be64_load(l1 + i * 8), table = entry & QCOW2_OFFSET_MASK;

        if (!table || !aligned_ok(c, table, "L2 table")) {
            continue;
        }
        mark(c, table, g->cluster_size, "L2 table");
        if (active) {
            check_copied(c, table, entry & QCOW2_COPIED, "L2 table");
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
    mark(c, s->header.snapshots_offset.v, table_bytes, "snapshot table");
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
    g_autofree uint8_t *table = g_try_malloc(MAX(bytes, 1));
    if (!table) {
        error_setg(c->errp, "Cannot check '%s': out of memory", qcow2_name(c->bs));
        return false;
    }
    mark(c, offset, bytes, "bitmap table");
    if (!read_or_fail(c, offset, table, bytes, "a bitmap table")) {
        return false;
    }
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t data = be64_load(table + i * 8) & QCOW2_OFFSET_MASK;
        if (data && aligned_ok(c, data, "bitmap data")) {
            mark(c, data, c->g->cluster_size, "bitmap data");
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
    g_autofree uint8_t *dir = g_try_malloc(MAX(size, 1));
    if (!dir) {
        error_setg(c->errp, "Cannot check '%s': out of memory", qcow2_name(c->bs));
        return false;
    }
    mark(c, h->bitmap_directory.v, size, "bitmap directory");
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

static void compare(Check *c)
{
    for (uint64_t i = 0; i < c->n; i++) {
        if (c->refs[i] > c->counts[i]) {
            corrupt(c, "cluster %" PRIu64 " has refcount %u but %u references", i, c->counts[i],
                    c->refs[i]);
        } else if (c->refs[i] < c->counts[i]) {
            c->res->leaks++;
        }
        if (c->counts[i]) {
            c->res->image_end_offset = (i + 1) << c->g->cluster_bits;
        }
    }
}

static bool co_fn check_all(Check *c)
{
    Qcow2State *s = qcow2_state(c->bs);
    uint64_t entries;
    g_autofree uint8_t *reftable = read_reftable(c, &entries);

    if (!reftable || !count_clusters(c, reftable, entries)) {
        return false;
    }
    mark(c, 0, c->g->cluster_size, "header");
    mark(c, s->reftable_offset.v, entries * 8, "refcount table");
    if (!load_refcounts(c, reftable, entries) || !check_guest_data(c) || !check_bitmaps(c)) {
        return false;
    }
    compare(c);
    return true;
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
    c.table = bdrv_try_blockalign(s->g.cluster_size);
    if (!c.table) {
        error_setg(errp, "Cannot check '%s': out of memory", qcow2_name(bs));
        return false;
    }
    bool ok = check_all(&c);
    free(c.table);
    g_free(c.refs);
    g_free(c.counts);
    if (!ok) {
        g_clear_pointer(&res->first, g_free);
    }
    return ok;
}
