/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is an image consistent?  Counts the references to each cluster (check-walk.c) and compares with
 * the refcounts; repairs what is wrong (repair.c).  Reads the disk, not the cache: it is the judge
 * of the other files of this folder, and shares nothing with them but the codecs.
 *
 * Memory: 4 bytes for each cluster of the file that is referenced (in chunks of 4096 clusters; at
 * most 1 GiB, then the check is refused), about 100 bytes for each L2 table, the refcount table
 * (8 MiB at most) and one L1 table at a time next to the active one (32 MiB each at most).
 */
#include "qemu/osdep.h"

#include "check.h"

/* ---- refcounts ---- */

static bool co_fn read_reftable(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->bs);
    uint64_t bytes = s->reftable_entries * UINT64_C(8);

    c->reftable = qcow2_check_alloc(c, bytes);
    c->n_blocks = s->reftable_entries;
    if (c->n_blocks == 0) {
        qcow2_check_corrupt(c, "there is no refcount table");
        c->rebuild = true;
    }
    return c->reftable && (bytes == 0 || qcow2_check_read(c, s->reftable_offset.v, c->reftable,
                                                          bytes, "the refcount table"));
}

/* Entries that count nothing become 0: invalid ones, and the second of two alike. */
static void sanitize_reftable(Qcow2Check *c)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);

    for (uint64_t i = 0; i < c->n_blocks; i++) {
        uint64_t offset = qcow2_check_block(c, i) & ~UINT64_C(511);
        const char *how = NULL;

        if (offset & (c->g->cluster_size - 1)) {
            how = "not aligned to a cluster";
        } else if (offset >= c->file_length) {
            how = "past the end of the file";
        } else if (offset && !g_hash_table_add(seen, g_memdup2(&offset, sizeof(offset)))) {
            how = "used twice";
        }
        if (how) {
            qcow2_check_corrupt(c, "refcount block %" PRIu64 " has the offset %" PRIu64
                                ", which is %s", i, offset, how);
            c->rebuild = true;
            offset = 0;
        }
        be64_store(c->reftable + i * 8, offset);
        c->total += offset != 0;
    }
}

/* Refcounts that share their place with something else cannot be changed there. */
static void find_shared_refcounts(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->bs);
    uint64_t first = s->reftable_offset.v >> c->g->cluster_bits;
    uint64_t n = DIV_ROUND_UP(c->n_blocks * 8, c->g->cluster_size);
    bool shared = false;

    for (uint64_t i = first; i < first + n; i++) {
        shared |= (qcow2_refs_get(&c->refs, i) & QCOW2_REF_COUNT) > 1;
    }
    for (uint64_t i = 0; i < c->n_blocks; i++) {
        uint64_t offset = qcow2_check_block(c, i);
        shared |= offset && (qcow2_refs_get(&c->refs, offset >> c->g->cluster_bits) &
                             QCOW2_REF_COUNT) > 1;
    }
    c->rebuild |= shared;
}

static void compare_cluster(Qcow2Check *c, uint64_t cluster, uint32_t ref, uint64_t count)
{
    uint32_t n = ref & QCOW2_REF_COUNT;

    if (n > count) {
        qcow2_check_corrupt(c, "cluster %" PRIu64 " refcount=%" PRIu64 " reference=%u", cluster,
                            count, n);
    } else if (n < count) {
        qcow2_check_leak(c, cluster, count, n);
    }
    /* "Copied" promises that there is no other reference, and its absence that there may be one. */
    if ((ref & QCOW2_REF_COPIED && count != 1) || (ref & QCOW2_REF_SHARED && count == 1)) {
        qcow2_check_corrupt(c, "cluster %" PRIu64 " is %smarked as exclusive but has refcount %"
                            PRIu64, cluster, ref & QCOW2_REF_COPIED ? "" : "not ", count);
    }
    if (count) {
        c->res->image_end_offset = MAX(c->res->image_end_offset,
                                       (cluster + 1) << c->g->cluster_bits);
    }
}

static bool co_fn compare(Qcow2Check *c)
{
    const Qcow2Geometry *g = c->g;

    for (uint64_t i = 0; i < c->n_blocks; i++) {
        uint64_t offset = qcow2_check_block(c, i);

        if (!offset) {
            continue;
        }
        if (!qcow2_check_read(c, offset, c->table, g->cluster_size, "a refcount block")) {
            return false;
        }
        for (uint64_t k = 0; k < UINT64_C(1) << g->refblock_bits; k++) {
            uint64_t cluster = (i << g->refblock_bits) + k;
            compare_cluster(c, cluster, qcow2_refs_get(&c->refs, cluster),
                            qcow2_refcount_load(c->table, g->refcount_order, k));
            qcow2_check_yield(cluster);
        }
        if (!qcow2_check_step(c)) {
            return false;
        }
    }
    return true;
}

/* ---- the whole ---- */

static bool co_fn check_all(Qcow2Check *c)
{
    if (!read_reftable(c)) {
        return false;
    }
    sanitize_reftable(c);
    if (!qcow2_check_walk(c) || !qcow2_check_step(c)) {
        return false;
    }
    find_shared_refcounts(c);
    return compare(c);
}

static bool co_fn check_begin(Qcow2Check *c, BlockDriverState *bs, BdrvCheckProgress *progress,
                              BdrvCheckResult *res, Error **errp)
{
    Qcow2State *s = qcow2_state(bs);

    *c = (Qcow2Check){
        .bs = bs, .g = &s->g, .res = res, .progress = progress, .errp = errp,
        .file_length = bdrv_length(bs->file->bs), .total = 1,
    };
    *res = (BdrvCheckResult){
        .total_clusters = DIV_ROUND_UP(s->header.size, s->g.cluster_size),
    };
    c->file_clusters = DIV_ROUND_UP(c->file_length, s->g.cluster_size);
    c->table = bdrv_try_blockalign(s->g.cluster_size);
    c->tables = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    qcow2_refs_init(&c->refs);
    if (!c->table) {
        error_setg_errno(errp, ENOMEM, "Cannot check \'%s\'", qcow2_name(bs));
    }
    return c->table != NULL;
}

static void check_end(Qcow2Check *c)
{
    qcow2_refs_destroy(&c->refs);
    g_hash_table_unref(c->tables);
    g_free(c->reftable);
    g_free(c->l1);
    free(c->table);
}

/* One round: check and, as @fix says, repair. */
static bool co_fn check_round(BlockDriverState *bs, BdrvFix fix, BdrvCheckProgress *progress,
                              BdrvCheckResult *res, Error **errp)
{
    Qcow2Check c;
    bool ok = check_begin(&c, bs, progress, res, errp);

    c.fix = fix;
    ok = ok && check_all(&c);
    if (ok && fix != BDRV_FIX_NONE && (res->corruptions || res->leaks)) {
        ok = qcow2_repair(&c, fix);
    }
    check_end(&c);
    return ok;
}

/* Under no lock; nothing is dirty. */
static bool co_fn change_refcounts(Qcow2Check *c, unsigned order)
{
    Qcow2State *s = qcow2_state(c->bs);
    Qcow2Geometry g;

    qcow2_geometry_init(&g, s->g.cluster_bits, s->g.subclusters > 1, order, s->g.has_zero_flag,
                        s->g.has_data_file);
    if (c->res->corruptions) {
        error_setg(c->errp, "Cannot change the refcounts of '%s': they are not right; repair it "
                   "first (qemu-img check -r all)", qcow2_name(c->bs));
        return false;
    }
    if (!qcow2_rewrite_refcounts(c, &g)) {
        return false;
    }
    qcow2_lock(s);
    s->g = s->header.geometry = g;
    qcow2_unlock(s);
    return true;
}

bool co_fn qcow2_change_refcounts(BlockDriverState *bs, unsigned order,
                                  BdrvCheckProgress *progress, Error **errp)
{
    BdrvCheckResult res = { 0 };
    Qcow2Check c;
    bool ok = check_begin(&c, bs, progress, &res, errp) && check_all(&c) &&
              change_refcounts(&c, order);

    check_end(&c);
    bdrv_check_result_clear(&res);
    qcow2_forget_metadata(bs);
    return ok;
}

/* Repair, and say what is left. */
static bool co_fn check_and_fix(BlockDriverState *bs, BdrvFix fix, BdrvCheckProgress *progress,
                                BdrvCheckResult *res, Error **errp)
{
    BdrvCheckResult before = { 0 };

    if (!check_round(bs, fix, progress, &before, errp)) {
        bdrv_check_result_clear(&before);
        return false;
    }
    bdrv_check_result_clear(&before);
    if (!check_round(bs, BDRV_FIX_NONE, progress, res, errp)) {
        return false;
    }
    res->corruptions_fixed = before.corruptions - MIN(before.corruptions, res->corruptions);
    res->leaks_fixed = before.leaks - MIN(before.leaks, res->leaks);
    if (res->corruptions == 0) {
        int ret = qcow2_header_mark(bs, 0, QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT);
        /* A repair is a change, also where it finds nothing to change. */
        ret = ret ?: qcow2_header_drop_unknown(bs);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Cannot mark '%s' as repaired", qcow2_name(bs));
            return false;
        }
        qcow2_forget_damage(bs);
    }
    return true;
}

bool co_fn qcow2_co_check(BlockDriverState *bs, BdrvFix fix, BdrvCheckProgress *progress,
                          BdrvCheckResult *res, Error **errp)
{
    bool settle = fix != BDRV_FIX_NONE || qcow2_state(bs)->lazy_refcounts;
    int ret = bs->read_only ? 0 : qcow2_co_flush(bs, settle ? BDRV_FLUSH_SETTLE : 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot check '%s': flushing it failed", qcow2_name(bs));
        return false;
    }
    if (fix == BDRV_FIX_NONE) {
        return check_round(bs, fix, progress, res, errp);
    }
    bool ok = check_and_fix(bs, fix, progress, res, errp);
    qcow2_forget_metadata(bs);
    if (ok && res->image_end_offset > (uint64_t)bdrv_length(bs->file->bs)) {
        /* What lies there reads as zeroes; where the file may not be that long nothing is lost. */
        bdrv_co_truncate(bs->file, res->image_end_offset, BDRV_PREALLOC_OFF, NULL);
    }
    return ok;
}
