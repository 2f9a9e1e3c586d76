/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Repairing what the check found, on disk, so that a power cut at any point leaves the image no
 * worse.
 *
 * (K1) Whatever is written in place - a refcount, a table entry - is old or new after a power cut,
 *      and new is right for the references that there are: refcounts are made to fit the
 *      references, never the other way round.  The one kind of reference that is taken away leads
 *      to a place that nothing keeps free and that reads as zeroes; what replaces it reads the
 *      same.
 * (K2) A "copied" flag is taken away, durably, before any refcount changes, and set only after
 *      refcounts are durable: no flag comes to promise what is not so.
 * (K3) Refcounts that cannot be corrected where they are (blocks that are missing, invalid or
 *      shared) are written anew, behind everything that is referenced and behind the old ones. The
 *      header points there only after they are durable, in one sector.
 * (K4) Where some references could not be followed no refcount goes down, no flag is set, and new
 *      refcounts go behind the end of the file: what seems to be unused may be in use.
 * (K5) The marks "dirty" and "corrupt" are cleared only after another check found nothing
 *      (check.c).
 *
 * The order: flags and entries away | refcounts, or new ones and the header | flags set
 *                                 sync                                    sync      sync
 */
#include "qemu/osdep.h"

#include "check.h"

typedef enum TableFix {
    TAKE_AWAY,                      /* flags and entries that are wrong */
    SET_FLAGS,
} TableFix;

static int co_fn sync_file(Qcow2Check *c)
{
    bdrv_debug_event(c->bs->file, "flush_to_disk");
    return bdrv_co_flush(c->bs->file, 0);
}

/* The refcount that cluster @cluster, whose is @old now, shall have. */
static uint64_t repaired_refcount(const Qcow2Check *c, BdrvFix fix, uint64_t cluster, uint64_t old)
{
    uint64_t n = qcow2_refs_get(&c->refs, cluster) & QCOW2_REF_COUNT;

    if (n < old ? c->incomplete : fix == BDRV_FIX_LEAKS) {
        return old;                 /* (K4) */
    }
    return n;
}

static uint32_t as_count(uint64_t n)
{
    return MIN(n, QCOW2_REF_COUNT);
}

/* From now on the counts in c->refs are what the refcounts shall be. */
static bool co_fn plan(Qcow2Check *c, BdrvFix fix)
{
    const Qcow2Geometry *g = c->g;

    for (uint64_t b = 0; b < c->n_blocks; b++) {
        uint64_t offset = qcow2_check_block(c, b);

        if (!offset) {
            continue;
        }
        if (!qcow2_check_read(c, offset, c->table, g->cluster_size, "a refcount block")) {
            return false;
        }
        for (uint64_t k = 0; k < UINT64_C(1) << g->refblock_bits; k++) {
            uint64_t cluster = (b << g->refblock_bits) + k;
            uint64_t old = qcow2_refcount_load(c->table, g->refcount_order, k);
            qcow2_refs_set(&c->refs, cluster, as_count(repaired_refcount(c, fix, cluster, old)));
            qcow2_check_yield(cluster);
        }
    }
    return qcow2_check_step(c);
}

/* ---- tables ---- */

static bool is_exclusive(const Qcow2Check *c, uint64_t offset)
{
    return (qcow2_refs_get(&c->refs, offset >> c->g->cluster_bits) & QCOW2_REF_COUNT) == 1;
}

/* Write the pages of @now that differ from @old, at @offset. */
static int co_fn write_changes(Qcow2Check *c, uint64_t offset, const uint8_t *now,
                               const uint8_t *old, uint64_t bytes)
{
    int ret = 0;

    for (uint64_t pos = 0; pos < bytes && ret == 0; pos += c->g->page_size) {
        size_t n = MIN(c->g->page_size, bytes - pos);
        if (memcmp(now + pos, old + pos, n) != 0) {
            ret = qcow2_write_table(c->bs, host_offset(offset + pos), now + pos, n);
        }
    }
    return ret;
}

/* Its host cluster is a place past the end: let it read as zeroes without. */
static void drop_host(Qcow2Check *c, Qcow2Entry *e)
{
    if (c->g->has_zero_flag) {
        e->zero |= e->alloc;
    } else if (qcow2_has_backing(c->bs)) {
        return;                     /* version 2 cannot say that it is zero */
    }
    e->alloc = 0;
    e->has_host = false;
    e->copied = false;
}

static void fix_entry(Qcow2Check *c, TableFix fix, uint8_t *p, uint64_t guest)
{
    const Qcow2Geometry *g = c->g;
    Qcow2Entry e;

    if (!qcow2_entry_decode(g, p, guest, &e)) {
        return;
    }
    if (e.compressed) {
        if (fix == TAKE_AWAY) {
            be64_store(p, e.desc & ~QCOW2_COPIED);
        }
        return;
    }
    if (!e.has_host || g->has_data_file) {
        return;
    }
    if (fix == TAKE_AWAY && qcow2_check_past_end(c, e.host)) {
        drop_host(c, &e);
    } else if (fix == TAKE_AWAY) {
        e.copied = e.copied && is_exclusive(c, e.host);
    } else {
        e.copied = e.copied || is_exclusive(c, e.host);
    }
    qcow2_entry_encode(g, &e, p);
}

static int co_fn fix_table(Qcow2Check *c, TableFix fix, uint64_t offset, uint64_t guest)
{
    const Qcow2Geometry *g = c->g;
    g_autofree uint8_t *old = g_try_malloc(g->cluster_size);
    int ret = old ? qcow2_read_table(c->bs, host_offset(offset), old, g->cluster_size) : -ENOMEM;

    if (ret < 0) {
        return ret;
    }
    memcpy(c->table, old, g->cluster_size);
    for (uint64_t i = 0; i < UINT64_C(1) << g->l2_bits; i++) {
        fix_entry(c, fix, c->table + i * g->entry_size, guest + (i << g->cluster_bits));
    }
    return write_changes(c, offset, c->table, old, g->cluster_size);
}

static uint64_t fix_l1_entry(const Qcow2Check *c, TableFix fix, uint64_t entry)
{
    uint64_t table = entry & QCOW2_OFFSET_MASK;

    if (!table || table & (c->g->cluster_size - 1)) {
        return entry;
    }
    if (fix == TAKE_AWAY) {
        return qcow2_check_past_end(c, table) ? 0 :
               is_exclusive(c, table) ? entry : entry & ~QCOW2_COPIED;
    }
    return is_exclusive(c, table) ? entry | QCOW2_COPIED : entry;
}

/* The active tables. */
static int co_fn fix_tables(Qcow2Check *c, TableFix fix)
{
    const Qcow2Geometry *g = c->g;
    uint64_t bytes = c->l1_size * UINT64_C(8);
    g_autofree uint8_t *old = g_try_malloc(MAX(bytes, 1));
    int ret = old ? 0 : -ENOMEM;

    if (ret == 0) {
        memcpy(old, c->l1, bytes);
    }
    for (uint64_t i = 0; i < c->l1_size && ret == 0; i++) {
        uint64_t entry = fix_l1_entry(c, fix, be64_load(c->l1 + i * 8));
        uint64_t table = entry & QCOW2_OFFSET_MASK;

        Qcow2TableUse *use = g_hash_table_lookup(c->tables, &table);

        be64_store(c->l1 + i * 8, entry);
        if (use && !(use->fixed & 1u << fix) && qcow2_check_table_ok(c, table)) {
            use->fixed |= 1u << fix;
            ret = fix_table(c, fix, table, i << (g->l2_bits + g->cluster_bits));
        }
    }
    if (ret == 0) {
        ret = write_changes(c, qcow2_state(c->bs)->l1_offset.v, c->l1, old, bytes);
    }
    return ret == 0 ? sync_file(c) : ret;
}

/* ---- refcounts where they are ---- */

static void fill_block(const Qcow2Check *c, uint64_t block, uint8_t *buf, bool keep_large)
{
    const Qcow2Geometry *g = c->g;
    uint64_t max = UINT64_MAX >> (64 - (1 << g->refcount_order));

    for (uint64_t k = 0; k < UINT64_C(1) << g->refblock_bits; k++) {
        uint32_t n = qcow2_refs_get(&c->refs, (block << g->refblock_bits) + k) & QCOW2_REF_COUNT;

        /* A refcount too large to be counted here stays what it is. */
        if (!keep_large || n < QCOW2_REF_COUNT) {
            qcow2_refcount_store(buf, g->refcount_order, k, MIN(n, max));
        }
    }
}

static int co_fn fix_blocks(Qcow2Check *c)
{
    const Qcow2Geometry *g = c->g;
    g_autofree uint8_t *old = g_try_malloc(g->cluster_size);
    int ret = old ? 0 : -ENOMEM;

    for (uint64_t b = 0; b < c->n_blocks && ret == 0; b++) {
        uint64_t offset = qcow2_check_block(c, b);

        if (!offset) {
            continue;
        }
        ret = qcow2_read_table(c->bs, host_offset(offset), old, g->cluster_size);
        if (ret == 0) {
            memcpy(c->table, old, g->cluster_size);
            fill_block(c, b, c->table, true);
            ret = write_changes(c, offset, c->table, old, g->cluster_size);
        }
    }
    return ret == 0 ? sync_file(c) : ret;
}

/* ---- new refcounts ---- */

typedef struct Rebuild {
    GArray *blocks;                 /* of uint64_t: indexes of the blocks that are needed,
                                     * ascending */
    HostOffset area;                /* the blocks, then the table */
    uint64_t table_clusters;
} Rebuild;

static void drop_ref(Qcow2Check *c, uint64_t cluster)
{
    uint32_t n = qcow2_refs_get(&c->refs, cluster) & QCOW2_REF_COUNT;

    qcow2_refs_set(&c->refs, cluster, n - (n > 0));
}

/* The old refcounts are not referenced any more.  Returns the number of the cluster behind them. */
static uint64_t forget_old_refcounts(Qcow2Check *c)
{
    const Qcow2Geometry *g = c->g;
    uint64_t first = qcow2_state(c->bs)->reftable_offset.v >> g->cluster_bits;
    uint64_t end = first + DIV_ROUND_UP(c->n_blocks * 8, g->cluster_size);

    for (uint64_t i = first; i < end; i++) {
        drop_ref(c, i);
    }
    for (uint64_t b = 0; b < c->n_blocks; b++) {
        if (qcow2_check_block(c, b)) {
            uint64_t cluster = qcow2_check_block(c, b) >> g->cluster_bits;
            drop_ref(c, cluster);
            end = MAX(end, cluster + 1);
        }
    }
    return end;
}

/* Blocks for everything that is referenced; *@ret_end: past the last such cluster. */
static GArray *blocks_needed(const Qcow2Check *c, uint64_t *ret_end)
{
    g_autoptr(GArray) chunks = qcow2_refs_chunks(&c->refs);
    GArray *blocks = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    *ret_end = 0;
    for (guint i = 0; i < chunks->len; i++) {
        uint64_t first = g_array_index(chunks, uint64_t, i) << QCOW2_REFS_CHUNK_BITS;

        for (uint64_t k = first; k < first + (UINT64_C(1) << QCOW2_REFS_CHUNK_BITS); k++) {
            uint64_t block = k >> c->g->refblock_bits;

            if (!(qcow2_refs_get(&c->refs, k) & QCOW2_REF_COUNT)) {
                continue;
            }
            *ret_end = k + 1;
            if (blocks->len == 0 || g_array_index(blocks, uint64_t, blocks->len - 1) != block) {
                g_array_append_val(blocks, block);
            }
        }
    }
    return blocks;
}

/* Where the new ones go, with blocks for themselves: not before cluster @from. */
static int rebuild_plan(Qcow2Check *c, uint64_t from, Rebuild *r)
{
    const Qcow2Geometry *g = c->g;
    uint64_t end, first, last_block;

    r->blocks = blocks_needed(c, &end);
    first = MAX(end, c->incomplete ? MAX(from, c->file_clusters) : from);
    r->area = host_offset(first << g->cluster_bits);
    last_block = g_array_index(r->blocks, uint64_t, r->blocks->len - 1);   /* >= the header's */
    for (;;) {
        r->table_clusters = DIV_ROUND_UP((last_block + 1) * 8, g->cluster_size);
        if (r->table_clusters > QCOW2_MAX_REFTABLE_BYTES >> g->cluster_bits) {
            return -EFBIG;
        }
        uint64_t area_end = first + r->blocks->len + r->table_clusters;
        uint64_t need = (area_end - 1) >> g->refblock_bits;

        /* Blocks are ascending, and the area is behind all that is referenced. */
        if (need <= last_block) {
            break;
        }
        last_block = MAX(last_block + 1, first >> g->refblock_bits);
        g_array_append_val(r->blocks, last_block);
    }
    uint64_t clusters = r->blocks->len + r->table_clusters;
    if (first + clusters > QCOW2_MAX_HOST_OFFSET >> g->cluster_bits) {
        return -EFBIG;
    }
    for (uint64_t i = 0; i < clusters; i++) {
        qcow2_refs_add(&c->refs, first + i, 1, 0);
    }
    return c->refs.state == QCOW2_REFS_OK ? 0 : -ENOMEM;
}

static int co_fn rebuild_write(Qcow2Check *c, const Rebuild *r)
{
    const Qcow2Geometry *g = c->g;
    uint64_t table_bytes = r->table_clusters << g->cluster_bits;
    uint8_t *table = bdrv_try_blockalign(table_bytes);
    int ret = table ? 0 : -ENOMEM;

    if (ret == 0) {
        memset(table, 0, table_bytes);
    }
    for (guint i = 0; i < r->blocks->len && ret == 0; i++) {
        uint64_t block = g_array_index(r->blocks, uint64_t, i);
        HostOffset at = host_add(r->area, (uint64_t)i << g->cluster_bits);

        memset(c->table, 0, g->cluster_size);
        fill_block(c, block, c->table, false);
        be64_store(table + block * 8, at.v);
        ret = qcow2_write_table(c->bs, at, c->table, g->cluster_size);
    }
    if (ret == 0) {
        ret = qcow2_write_table(c->bs, host_add(r->area, (uint64_t)r->blocks->len
                                                         << g->cluster_bits), table, table_bytes);
    }
    free(table);
    return ret == 0 ? sync_file(c) : ret;
}

static int co_fn rebuild_refcounts(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->bs);
    Rebuild r = { 0 };

    int ret = rebuild_plan(c, forget_old_refcounts(c), &r);
    if (ret == 0) {
        ret = rebuild_write(c, &r);
    }
    HostOffset table = host_add(r.area, (uint64_t)r.blocks->len << c->g->cluster_bits);
    if (ret == 0) {
        ret = qcow2_header_set_refcounts(c->bs, table, r.table_clusters, c->g->refcount_order);
    }
    if (ret == 0) {
        qcow2_lock(s);
        s->reftable_offset = table;
        s->reftable_entries = r.table_clusters << (c->g->cluster_bits - 3);
        qcow2_unlock(s);
    }
    g_array_unref(r.blocks);
    return ret;
}

/* False: a cluster has more references than a refcount of @g can count. */
static bool refcounts_fit(const Qcow2Check *c, const Qcow2Geometry *g)
{
    g_autoptr(GArray) chunks = qcow2_refs_chunks(&c->refs);
    uint64_t max = UINT64_MAX >> (64 - (1u << g->refcount_order));

    for (guint i = 0; i < chunks->len; i++) {
        uint64_t first = g_array_index(chunks, uint64_t, i) << QCOW2_REFS_CHUNK_BITS;

        for (uint64_t k = first; k < first + (UINT64_C(1) << QCOW2_REFS_CHUNK_BITS); k++) {
            uint32_t n = qcow2_refs_get(&c->refs, k) & QCOW2_REF_COUNT;

            if (n > max) {
                error_setg(c->errp, "Cannot decrease refcount entry width to %u bits: Cluster at "
                           "offset 0x%" PRIx64 " has a refcount of %u", 1u << g->refcount_order,
                           k << g->cluster_bits, n);
                return false;
            }
        }
    }
    return true;
}

bool co_fn qcow2_rewrite_refcounts(Qcow2Check *c, const Qcow2Geometry *g)
{
    if (!refcounts_fit(c, g)) {
        return false;
    }
    c->g = g;                       /* what is old needs only the size of clusters, the same */
    int ret = rebuild_refcounts(c);
    if (ret < 0) {
        error_setg_errno(c->errp, -ret, "Cannot write new refcounts to '%s'", qcow2_name(c->bs));
    }
    return ret == 0;
}

/* ---- the whole ---- */

static int co_fn repair_all(Qcow2Check *c, bool *ret_ended)
{
    int ret = fix_tables(c, TAKE_AWAY);

    *ret_ended = ret < 0 || !qcow2_check_step(c);
    if (*ret_ended) {
        return ret;
    }
    ret = c->rebuild ? rebuild_refcounts(c) : fix_blocks(c);
    *ret_ended = ret < 0 || !qcow2_check_step(c);
    return *ret_ended || c->incomplete ? ret : fix_tables(c, SET_FLAGS);       /* (K4) */
}

bool co_fn qcow2_repair(Qcow2Check *c, BdrvFix fix)
{
    bool flags = c->res->corruptions == 0, ended = false;
    int ret = 0;

    if (fix == BDRV_FIX_LEAKS && c->rebuild) {
        return true;                /* nothing is known of leaks */
    }
    if (!plan(c, fix)) {
        return false;
    }
    ret = qcow2_header_drop_unknown(c->bs);
    if (ret < 0) {
        /* nothing may be written */
    } else if (fix == BDRV_FIX_ALL) {
        ret = repair_all(c, &ended);
    } else {
        ret = fix_blocks(c);
        if (ret == 0 && flags) {
            ret = fix_tables(c, SET_FLAGS);
        }
    }
    if (ret < 0) {
        error_setg_errno(c->errp, -ret, "Cannot repair '%s'", qcow2_name(c->bs));
    }
    return ret == 0 && !ended;
}
