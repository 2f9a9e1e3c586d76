/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Would a write hit metadata?  In a healthy image never; where refcounts or tables are wrong, this
 * is what stands between a guest's write and the loss of the image.
 *
 * The header, the active L1 table, the refcount table, the table of snapshots and the directory of
 * bitmaps are ranges that are known anyway.  Of the others - L2 tables, refcount blocks, L1 tables
 * of snapshots - a set of their clusters is made before the first change and kept up to date.
 *
 * (V1) The set is complete before anything changes, unless the image has more than MAX_KNOWN such
 *      clusters: then it has those that were found first, and new ones.
 */
#include "qemu/osdep.h"

#include "snapshot.h"

/* About 5 MiB at most. */
#define MAX_KNOWN 131072
#define PIECE_BYTES (64 * KiB)

/* Kinds that are in the set. */
#define SET_KINDS (QCOW2_OL_ACTIVE_L2 | QCOW2_OL_REFBLOCK | QCOW2_OL_INACTIVE_L1 | \
                   QCOW2_OL_INACTIVE_L2)

/* What pages of a class are themselves. */
static const unsigned page_kinds[QCOW2_PAGE_CLASSES] = {
    [QCOW2_PAGE_REFBLOCK] = QCOW2_OL_REFBLOCK,
    [QCOW2_PAGE_REFTABLE] = QCOW2_OL_REFTABLE,
    [QCOW2_PAGE_L2] = QCOW2_OL_ACTIVE_L2,
    [QCOW2_PAGE_L1] = QCOW2_OL_ACTIVE_L1,
};

static const char *const kind_names[] = {
    "the header", "the active L1 table", "an active L2 table", "the refcount table",
    "a refcount block", "the table of snapshots", "an L1 table of a snapshot",
    "an L2 table of a snapshot", "the directory of bitmaps",
};

/* ---- the set ---- */

static unsigned kinds_at(Qcow2State *s, uint64_t cluster)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(s->metadata, GSIZE_TO_POINTER(cluster)));
}

void any_fn qcow2_overlap_add(Qcow2State *s, unsigned kind, HostOffset offset)
{
    uint64_t cluster = offset.v >> s->g.cluster_bits;
    unsigned old = kinds_at(s, cluster);

    if (old || g_hash_table_size(s->metadata) < MAX_KNOWN) {
        g_hash_table_insert(s->metadata, GSIZE_TO_POINTER(cluster), GUINT_TO_POINTER(old | kind));
    }
}

void any_fn qcow2_overlap_remove(Qcow2State *s, unsigned kind, HostOffset offset)
{
    uint64_t cluster = offset.v >> s->g.cluster_bits;
    unsigned left = kinds_at(s, cluster) & ~kind;

    if (left) {
        g_hash_table_insert(s->metadata, GSIZE_TO_POINTER(cluster), GUINT_TO_POINTER(left));
    } else {
        g_hash_table_remove(s->metadata, GSIZE_TO_POINTER(cluster));
    }
}

/* ---- filling it ---- */

/* The clusters that the entries of a table lead to. */
static int co_fn add_entries(BlockDriverState *bs, unsigned kind, HostOffset table,
                             uint64_t bytes)
{
    Qcow2State *s = qcow2_state(bs);
    g_autofree uint8_t *buf = g_try_malloc(PIECE_BYTES);
    bool full = false;
    int ret = buf ? 0 : -ENOMEM;

    for (uint64_t pos = 0; pos < bytes && ret == 0 && !full; pos += PIECE_BYTES) {
        uint64_t n = MIN(PIECE_BYTES, bytes - pos);

        ret = qcow2_read_table(bs, host_add(table, pos), buf, n);
        qcow2_lock(s);
        for (uint64_t i = 0; i < n && ret == 0; i += 8) {
            uint64_t offset = be64_load(buf + i) & QCOW2_OFFSET_MASK;
            if (offset) {
                qcow2_overlap_add(s, kind, host_offset(offset));
            }
        }
        full = g_hash_table_size(s->metadata) == MAX_KNOWN;
        qcow2_unlock(s);
    }
    return ret;
}

static int co_fn add_snapshots(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t bytes;
    g_autoptr(GPtrArray) list = qcow2_snapshots_read(bs, &bytes, NULL);
    int ret = list ? 0 : -EIO;

    for (guint i = 0; ret == 0 && i < list->len; i++) {
        const Qcow2Snapshot *sn = list->pdata[i];
        uint64_t l1_bytes = sn->l1_size * UINT64_C(8);

        qcow2_lock(s);
        for (uint64_t pos = 0; pos < l1_bytes; pos += s->g.cluster_size) {
            qcow2_overlap_add(s, QCOW2_OL_INACTIVE_L1, host_add(sn->l1_offset, pos));
        }
        bool full = g_hash_table_size(s->metadata) == MAX_KNOWN;
        qcow2_unlock(s);
        if (full) {
            break;
        }
        if (s->overlap_checks & QCOW2_OL_INACTIVE_L2) {
            ret = add_entries(bs, QCOW2_OL_INACTIVE_L2, sn->l1_offset, l1_bytes);
        }
    }
    return ret;
}

int co_fn qcow2_overlap_load(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);
    unsigned checks = s->overlap_checks;
    int ret = 0;

    if (checks & QCOW2_OL_REFBLOCK) {
        ret = add_entries(bs, QCOW2_OL_REFBLOCK, s->reftable_offset,
                          s->reftable_entries * UINT64_C(8));
    }
    if (ret == 0 && checks & QCOW2_OL_ACTIVE_L2) {
        ret = add_entries(bs, QCOW2_OL_ACTIVE_L2, s->l1_offset, s->l1_size * UINT64_C(8));
    }
    if (ret == 0 && checks & (QCOW2_OL_INACTIVE_L1 | QCOW2_OL_INACTIVE_L2)) {
        ret = add_snapshots(bs);
    }
    return ret;
}

/* What is a table of something else as well goes on being that. */
static void drop_inactive(Qcow2State *s)
{
    GHashTableIter iter;
    gpointer kinds;

    g_hash_table_iter_init(&iter, s->metadata);
    while (g_hash_table_iter_next(&iter, NULL, &kinds)) {
        unsigned left = GPOINTER_TO_UINT(kinds) & ~(QCOW2_OL_INACTIVE_L1 | QCOW2_OL_INACTIVE_L2);

        if (left) {
            g_hash_table_iter_replace(&iter, GUINT_TO_POINTER(left));
        } else {
            g_hash_table_iter_remove(&iter);
        }
    }
}

void co_fn qcow2_overlap_reload_snapshots(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_lock(s);
    drop_inactive(s);
    qcow2_unlock(s);
    if (s->overlap_checks & (QCOW2_OL_INACTIVE_L1 | QCOW2_OL_INACTIVE_L2)) {
        add_snapshots(bs);          /* what cannot be read is not looked for */
    }
}

/* ---- asking ---- */

unsigned any_fn qcow2_page_kind(Qcow2PageClass cls)
{
    return page_kinds[cls];
}

static bool overlaps(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return b_bytes && a < b + b_bytes && b < a + a_bytes;
}

unsigned any_fn qcow2_overlaps(Qcow2State *s, unsigned except, HostOffset offset, uint64_t bytes)
{
    unsigned checks = s->overlap_checks & ~except, hit = 0;
    const struct {
        unsigned kind;
        uint64_t offset, bytes;
    } ranges[] = {
        { QCOW2_OL_HEADER, 0, s->g.cluster_size },
        { QCOW2_OL_ACTIVE_L1, s->l1_offset.v, s->l1_size * UINT64_C(8) },
        { QCOW2_OL_REFTABLE, s->reftable_offset.v, s->reftable_entries * UINT64_C(8) },
        { QCOW2_OL_SNAPSHOT_TABLE, s->header.snapshots_offset.v, s->snapshots_bytes },
        { QCOW2_OL_BITMAP_DIRECTORY, s->header.bitmap_directory.v,
          s->header.bitmap_directory_size },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        if (checks & ranges[i].kind &&
            overlaps(offset.v, bytes, ranges[i].offset, ranges[i].bytes)) {
            hit |= ranges[i].kind;
        }
    }
    if (checks & SET_KINDS && bytes) {
        uint64_t last = (offset.v + bytes - 1) >> s->g.cluster_bits;

        for (uint64_t i = offset.v >> s->g.cluster_bits; i <= last; i++) {
            hit |= kinds_at(s, i) & checks;
        }
    }
    return hit;
}

int any_fn qcow2_overlap_check(BlockDriverState *bs, unsigned except, HostOffset offset,
                               uint64_t bytes, const char *what)
{
    unsigned hit = qcow2_overlaps(qcow2_state(bs), except, offset, bytes);

    if (!hit) {
        return 0;
    }
    return qcow2_note_damage(bs, offset.v, bytes, "%s would have been written over %s", what,
                             kind_names[__builtin_ctz(hit)]);
}
