/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting the references to each cluster by walking everything that the format defines.
 *
 * Time is bounded by what the file holds: an L2 table is read once however many L1 entries refer
 * to it, L1 tables together may not be larger than the file, and holes are not read.
 */
#include "qemu/osdep.h"

#include "check.h"
#include "snapshot.h"

/* ---- references ---- */

bool any_fn qcow2_check_past_end(const Qcow2Check *c, uint64_t offset)
{
    uint64_t cluster = offset >> c->g->cluster_bits;

    return cluster >= c->file_clusters && !qcow2_check_is_counted(c, cluster);
}

void any_fn qcow2_check_mark(Qcow2Check *c, uint64_t offset, uint64_t bytes, uint32_t n,
                             uint32_t flags)
{
    uint64_t end = DIV_ROUND_UP(offset + bytes, c->g->cluster_size);

    for (uint64_t i = offset >> c->g->cluster_bits; bytes && i < end; i++) {
        if (!qcow2_check_is_counted(c, i)) {
            qcow2_check_corrupt(c, "cluster %" PRIu64 " refcount=0 reference=%u", i, n);
            if (i >= c->file_clusters) {
                continue;
            }
            c->rebuild = true;
        }
        qcow2_refs_add(&c->refs, i, n, flags);
    }
}

static bool aligned_ok(Qcow2Check *c, uint64_t offset, const char *what)
{
    if (offset & (c->g->cluster_size - 1)) {
        qcow2_check_corrupt(c, "%s at offset %" PRIu64 " is not aligned to a cluster", what,
                            offset);
        c->incomplete = true;
        return false;
    }
    return true;
}

/* ---- guest clusters ---- */

static uint32_t active_flag(bool active, bool copied)
{
    return !active ? 0 : copied ? QCOW2_REF_COPIED : QCOW2_REF_SHARED;
}

static void check_compressed(Qcow2Check *c, uint64_t desc, const Qcow2TableUse *use)
{
    HostOffset first;
    uint64_t clusters;

    qcow2_compressed_clusters(c->g, desc, &first, &clusters);
    if (use->active && desc & QCOW2_COPIED) {
        qcow2_check_corrupt(c, "a compressed cluster at %" PRIu64 " is marked as exclusive",
                            first.v);
    }
    qcow2_check_mark(c, first.v, clusters << c->g->cluster_bits, use->count, 0);
    c->res->compressed_clusters += use->active;
    c->res->allocated_clusters += use->active;
    c->res->fragmented_clusters += use->active;
}

static void check_entry(Qcow2Check *c, const uint8_t *p, uint64_t guest, const Qcow2TableUse *use)
{
    const Qcow2Geometry *g = c->g;
    Qcow2Entry e;

    if (!qcow2_entry_decode(g, p, guest, &e)) {
        qcow2_check_corrupt(c, "the L2 entry of guest offset %" PRIu64 " is invalid", guest);
        c->incomplete = true;
        return;
    }
    if (e.compressed) {
        check_compressed(c, e.desc, use);
        return;
    }
    if (!e.has_host) {
        return;
    }
    if (!g->has_data_file) {
        qcow2_check_mark(c, e.host, g->cluster_size, use->count,
                         active_flag(use->active, e.copied));
    }
    if (use->active) {
        c->res->allocated_clusters++;
        c->res->fragmented_clusters += c->next_host && e.host != c->next_host;
        c->next_host = e.host + g->cluster_size;
    }
}

static bool co_fn check_table(Qcow2Check *c, Qcow2TableUse *use)
{
    const Qcow2Geometry *g = c->g;

    if (use->walked) {
        return true;
    }
    use->walked = true;
    if (!qcow2_check_read(c, use->offset, c->table, g->cluster_size, "an L2 table")) {
        return false;
    }
    for (uint64_t i = 0; i < UINT64_C(1) << g->l2_bits; i++) {
        check_entry(c, c->table + i * g->entry_size, use->guest + (i << g->cluster_bits), use);
    }
    return qcow2_check_step(c);
}

/* ---- L1 tables ---- */

static void use_table(Qcow2Check *c, uint64_t table, uint64_t guest, bool active)
{
    Qcow2TableUse *use = g_hash_table_lookup(c->tables, &table);

    if (table >= c->file_length) {
        return;                     /* reads as zeroes */
    }
    if (!use) {
        use = g_new0(Qcow2TableUse, 1);
        use->offset = table;
        use->guest = guest;
        g_hash_table_insert(c->tables, &use->offset, use);
        c->total++;
    } else if (c->g->has_data_file) {
        qcow2_check_corrupt(c, "the L2 table at offset %" PRIu64 " is used twice", table);
    }
    use->count += use->count < UINT32_MAX;
    use->active |= active;
}

/* The reference of entry @i to an L2 table. */
static void scan_l1_entry(Qcow2Check *c, uint64_t i, uint64_t entry, bool active)
{
    const Qcow2Geometry *g = c->g;
    uint64_t table = entry & QCOW2_OFFSET_MASK;

    if (!table || !aligned_ok(c, table, "L2 table")) {
        return;
    }
    qcow2_check_mark(c, table, g->cluster_size, 1, active_flag(active, entry & QCOW2_COPIED));
    use_table(c, table, i << (g->l2_bits + g->cluster_bits), active);
}

/* The active L1 table, which the repair needs as a whole; caller frees. */
static uint8_t *co_fn read_l1(Qcow2Check *c, uint64_t offset, uint32_t entries)
{
    g_autofree uint8_t *l1 = qcow2_check_alloc(c, entries * UINT64_C(8));

    if (!l1) {
        return NULL;
    }
    qcow2_check_mark(c, offset, entries * UINT64_C(8), 1, QCOW2_REF_FIXED);
    if (!qcow2_check_read(c, offset, l1, entries * UINT64_C(8), "an L1 table")) {
        return NULL;
    }
    return g_steal_pointer(&l1);
}

static void scan_snapshot_entry(Qcow2Check *c, uint64_t i, uint64_t entry)
{
    scan_l1_entry(c, i, entry, false);
}

static bool co_fn scan_snapshots(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->bs);
    uint64_t table_bytes = 0, l1_bytes = 0;
    g_autoptr(GPtrArray) list = qcow2_snapshots_read(c->bs, &table_bytes, c->errp);

    if (!list) {
        return false;
    }
    qcow2_check_mark(c, s->header.snapshots_offset.v, table_bytes, 1, QCOW2_REF_FIXED);
    for (guint i = 0; i < list->len; i++) {
        const Qcow2Snapshot *sn = list->pdata[i];

        l1_bytes += sn->l1_size * UINT64_C(8);
        if (l1_bytes > c->file_length) {
            qcow2_check_corrupt(c, "the L1 tables of its snapshots are larger than the file");
            c->incomplete = true;
            return true;
        }
        qcow2_check_mark(c, sn->l1_offset.v, sn->l1_size * UINT64_C(8), 1, QCOW2_REF_FIXED);
        if (!qcow2_check_entries(c, sn->l1_offset.v, sn->l1_size, scan_snapshot_entry,
                                 "an L1 table")) {
            return false;
        }
    }
    return true;
}

/* The active tables in the guest's order, then those that only snapshots have. */
static bool co_fn check_tables(Qcow2Check *c)
{
    GHashTableIter iter;
    gpointer value;

    for (uint64_t i = 0; i < c->l1_size; i++) {
        uint64_t table = be64_load(c->l1 + i * 8) & QCOW2_OFFSET_MASK;
        Qcow2TableUse *use = g_hash_table_lookup(c->tables, &table);

        if (use && !check_table(c, use)) {
            return false;
        }
    }
    g_hash_table_iter_init(&iter, c->tables);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (!check_table(c, value)) {
            return false;
        }
    }
    return true;
}

bool any_fn qcow2_check_table_ok(const Qcow2Check *c, uint64_t offset)
{
    return offset != 0 && (offset & (c->g->cluster_size - 1)) == 0 && offset < c->file_length &&
           !(qcow2_refs_get(&c->refs, offset >> c->g->cluster_bits) & QCOW2_REF_FIXED);
}

/* ---- bitmaps ---- */

static void check_bitmap_entry(Qcow2Check *c, uint64_t i, uint64_t entry)
{
    uint64_t data = entry & QCOW2_OFFSET_MASK;

    if (data && aligned_ok(c, data, "bitmap data")) {
        qcow2_check_mark(c, data, c->g->cluster_size, 1, QCOW2_REF_FIXED);
    }
}

/* @ret_total: bytes of all tables so far. */
static bool co_fn check_bitmap(Qcow2Check *c, uint64_t offset, uint32_t entries,
                               uint64_t *ret_total)
{
    uint64_t bytes = entries * UINT64_C(8);

    if (!aligned_ok(c, offset, "bitmap table")) {
        return true;
    }
    if (entries > QCOW2_MAX_BITMAP_BYTES >> c->g->cluster_bits ||
        *ret_total + bytes > c->file_length) {
        qcow2_check_corrupt(c, "the table of a bitmap has %u entries, which is too large", entries);
        c->incomplete = true;
        return true;
    }
    *ret_total += bytes;
    qcow2_check_mark(c, offset, bytes, 1, QCOW2_REF_FIXED);
    return qcow2_check_entries(c, offset, entries, check_bitmap_entry, "a bitmap table");
}

static bool bad_directory(Qcow2Check *c, const char *how, uint32_t i)
{
    qcow2_check_corrupt(c, "entry %u of the bitmap directory %s", i, how);
    c->incomplete = true;
    return true;
}

static bool co_fn check_bitmaps(Qcow2Check *c)
{
    const Qcow2Header *h = &qcow2_state(c->bs)->header;
    uint64_t size = h->bitmap_directory_size, pos = 0, tables = 0;

    if (!h->has_bitmaps) {
        return true;
    }
    g_autofree uint8_t *dir = qcow2_check_alloc(c, size);
    if (!dir) {
        return false;
    }
    qcow2_check_mark(c, h->bitmap_directory.v, size, 1, QCOW2_REF_FIXED);
    if (!qcow2_check_read(c, h->bitmap_directory.v, dir, size, "the bitmap directory")) {
        return false;
    }
    for (uint32_t i = 0; i < h->nb_bitmaps; i++) {
        if (size - pos < 24) {
            return bad_directory(c, "is not there", i);
        }
        const uint8_t *e = dir + pos;
        uint64_t len = ROUND_UP(24 + (uint64_t)be16_load(e + 18) + be32_load(e + 20), 8);

        if (len > size - pos) {
            return bad_directory(c, "does not fit into it", i);
        }
        if (!check_bitmap(c, be64_load(e), be32_load(e + 8), &tables)) {
            return false;
        }
        pos += len;
    }
    return true;
}

/* ---- the whole ---- */

bool co_fn qcow2_check_walk(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->bs);

    qcow2_check_mark(c, 0, c->g->cluster_size, 1, QCOW2_REF_FIXED);
    qcow2_check_mark(c, s->reftable_offset.v, c->n_blocks * 8, 1, 0);
    for (uint64_t i = 0; i < c->n_blocks; i++) {
        if (qcow2_check_block(c, i)) {
            qcow2_check_mark(c, qcow2_check_block(c, i), c->g->cluster_size, 1, 0);
        }
    }
    c->l1_size = s->l1_size;
    c->l1 = read_l1(c, s->l1_offset.v, c->l1_size);
    if (!c->l1) {
        return false;
    }
    for (uint32_t i = 0; i < c->l1_size; i++) {
        scan_l1_entry(c, i, be64_load(c->l1 + i * UINT64_C(8)), true);
    }
    return scan_snapshots(c) && check_tables(c) && check_bitmaps(c);
}
