/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy-before-write: lies between a guest and its disk, and copies to its target what the guest is
 * about to change.  The disk as it was when the node was opened is what the file has and was not
 * copied, and what the target has.  How copies and requests keep out of each other's way:
 * cbw-copy.c.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/filters/cbw-internal.h"
#include "block/filters/pass.h"

/* The least that is copied as one, bytes. */
#define MIN_CLUSTER_SIZE (64 * KiB)

static void cbw_options_clear(BdrvOpenOptions *opts)
{
    bdrv_child_option_clear(&opts->u.cbw.target);
    g_free(opts->u.cbw.bitmap_node);
    g_free(opts->u.cbw.bitmap_name);
}

/* ---- opening ---- */

static int64_t timeout_of(const CbwOpenOptions *o)
{
    return (int64_t)o->timeout_s * 1000 * NS_PER_MS;
}

static BlockDriverState *main_fn behind_filters(BlockDriverState *bs)
{
    while (bs->drv->is_filter) {
        bs = bs->file->bs;
    }
    return bs;
}

/* What the image at @bs allocates as one, bytes. */
static int64_t main_fn cluster_of(BlockDriverState *bs)
{
    BdrvInfo info = { 0 };

    bs = behind_filters(bs);
    if (bs->drv->get_info) {
        bs->drv->get_info(bs, &info);
    }
    return info.cluster_size;
}

static bool main_fn check_target(BlockDriverState *bs, BlockDriverState *target, Error **errp)
{
    if (behind_filters(target) == behind_filters(bs->file->bs)) {
        error_setg(errp, "Cannot open node '%s': its target is its file '%s'", bs->node_name,
                   target->node_name);
        return false;
    }
    if (target->read_only) {
        error_setg(errp, "Cannot open node '%s': its target node '%s' is read-only", bs->node_name,
                   target->node_name);
        return false;
    }
    if (bdrv_length(target) < bs->length) {
        error_setg(errp, "Cannot open node '%s': its target node '%s' has %" PRId64 " bytes, fewer "
                   "than its file (%" PRId64 ")", bs->node_name, target->node_name,
                   bdrv_length(target), bs->length);
        return false;
    }
    return true;
}

static bool main_fn choose_cluster_size(BlockDriverState *bs, const CbwOpenOptions *o, Error **errp)
{
    Cbw *s = cbw_state(bs);

    if (o->min_cluster_size < 0 || !IS_POWER_OF_2(MAX(o->min_cluster_size, 1))) {
        error_setg(errp, "min-cluster-size needs to be a power of 2");
        return false;
    }
    if (o->min_cluster_size > CBW_MAX_CLUSTER_SIZE) {
        error_setg(errp, "min-cluster-size too large: %" PRId64 " > %" PRId64,
                   o->min_cluster_size, CBW_MAX_CLUSTER_SIZE);
        return false;
    }
    s->cluster_size = MAX(MAX(MIN_CLUSTER_SIZE, o->min_cluster_size), cluster_of(bs->target->bs));
    return true;
}

/* The bitmap that says what to copy; NULL without an error: all of it. */
static bool main_fn find_bitmap(const BlockDriverState *bs, const CbwOpenOptions *o,
                                const HBitmap **ret, Error **errp)
{
    *ret = NULL;
    if (!o->bitmap_node) {
        return true;
    }
    BlockDriverState *node = bdrv_find_node(o->bitmap_node);
    if (!node) {
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'", o->bitmap_node,
                   o->bitmap_node);
        return false;
    }
    BdrvDirtyBitmap *bitmap = bdrv_find_dirty_bitmap(node, o->bitmap_name);
    if (!bitmap) {
        error_setg(errp, "Dirty bitmap '%s' not found", o->bitmap_name);
        return false;
    }
    if (!bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_TO_READ, errp)) {
        return false;
    }
    *ret = bdrv_dirty_bitmap_hbitmap(bitmap);
    if (hbitmap_length(*ret) != bs->length) {
        error_setg(errp, "Bitmaps are of different sizes (destination size is %" PRId64 " bytes, "
                   "source size is %" PRId64 " bytes) and can't be merged", bs->length,
                   hbitmap_length(*ret));
        return false;
    }
    return true;
}

typedef struct MakeBitmaps {
    Cbw *s;
    bool all;                       /* they begin with all bits set */
} MakeBitmaps;

/* On a thread of the pool: a large disk has many bits. */
static int make_bitmaps_fn(void *opaque)
{
    const MakeBitmaps *m = opaque;
    Cbw *s = m->s;

    s->to_copy = hbitmap_new(s->length, s->cluster_size);
    s->readable = hbitmap_new(s->length, s->cluster_size);
    if (!s->to_copy || !s->readable) {
        return -ENOMEM;
    }
    if (m->all) {
        hbitmap_set(s->to_copy, 0, s->length);
        hbitmap_set(s->readable, 0, s->length);
    }
    return 0;
}

static void free_bitmaps(Cbw *s)
{
    hbitmap_free(s->to_copy);
    hbitmap_free(s->readable);
}

static bool co_main_fn make_bitmaps(BlockDriverState *bs, const CbwOpenOptions *o, Error **errp)
{
    Cbw *s = cbw_state(bs);
    MakeBitmaps m = { s, !o->bitmap_node };
    const HBitmap *which;

    if (thread_pool_co_run(make_bitmaps_fn, &m) < 0) {
        error_setg(errp, "Cannot open node '%s': there is no memory for its bitmaps",
                   bs->node_name);
        free_bitmaps(s);
        return false;
    }
    if (!find_bitmap(bs, o, &which, errp)) {
        free_bitmaps(s);
        return false;
    }
    if (which) {
        hbitmap_merge(s->to_copy, which);
        hbitmap_merge(s->readable, which);
    }
    return true;
}

static bool co_main_fn cbw_open(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    Cbw *s = cbw_state(bs);
    const CbwOpenOptions *o = &opts->u.cbw;

    filter_pass_open(bs);
    if (!bdrv_open_own_child(bs, &bdrv_role_target, &o->target, errp)) {
        return false;
    }
    s->length = bs->length;
    s->break_snapshot = o->break_snapshot;
    s->timeout_ns = timeout_of(o);
    if (!check_target(bs, bs->target->bs, errp) || !choose_cluster_size(bs, o, errp) ||
        !make_bitmaps(bs, o, errp)) {
        return false;
    }
    s->ranges = bdrv_ranges_new();
    s->main_ctx = aio_context_current();
    co_limit_init(&s->copies, CBW_MAX_COPIES);
    pthread_mutex_init(&s->lock, NULL);
    return true;
}

static int co_main_fn cbw_close(BlockDriverState *bs)
{
    Cbw *s = cbw_state(bs);

    cbw_wait_for_late_copies(s);
    bdrv_ranges_free(s->ranges);
    free_bitmaps(s);
    co_limit_destroy(&s->copies);
    pthread_mutex_destroy(&s->lock);
    return 0;
}

static bool co_main_fn cbw_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to, Error **errp)
{
    const Cbw *s = cbw_state(bs);
    const CbwOpenOptions *o = to->options ? &to->options->u.cbw : NULL;
    const char *reference = o ? o->target.reference : NULL;
    const char *what = to->file.replaces ? "file" : !o ? NULL :
                       !reference || strcmp(reference, bs->target->bs->node_name) != 0 ? "target" :
                       o->break_snapshot != s->break_snapshot ? "on-cbw-error" :
                       timeout_of(o) != s->timeout_ns ? "cbw-timeout" : NULL;

    if (what) {
        error_setg(errp, "Cannot change the option '%s'", what);
    }
    return !what;
}

/* The target, which may have the file below it, has nothing that anybody reads but through us. */
static void main_fn cbw_child_claims(BlockDriverState *bs, BdrvLink *link, unsigned needs,
                                     unsigned allows, unsigned *ret_needs, unsigned *ret_allows)
{
    if (link->role == &bdrv_role_target) {
        *ret_needs = CLAIM_WRITE;
        *ret_allows = CLAIM_ALL & ~CLAIM_RESIZE;
        return;
    }
    bdrv_filter_child_claims(bs, link, needs, allows, ret_needs, ret_allows);
    if (needs) {
        /* Nobody changes the file but through this node. */
        *ret_needs |= CLAIM_READ;
        *ret_allows &= ~(CLAIM_WRITE | CLAIM_RESIZE);
    }
}

/* ---- requests ---- */

static int co_fn cbw_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                             unsigned flags)
{
    int ret = cbw_before_change(bs, offset, bytes);

    return ret ?: filter_pwritev(bs, offset, bytes, qiov, flags);
}

static int co_fn cbw_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                   unsigned flags)
{
    int ret = cbw_before_change(bs, offset, bytes);

    return ret ?: filter_pwrite_zeroes(bs, offset, bytes, flags);
}

static int co_fn cbw_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int ret = cbw_before_change(bs, offset, bytes);

    return ret ?: filter_pdiscard(bs, offset, bytes);
}

/* No co_truncate: what would be cut off would have to be copied. */
static const BlockDriver bdrv_cbw = {
    .name               = "copy-before-write",
    .instance_size      = sizeof(Cbw),
    .is_protocol        = true,
    .is_filter          = true,
    .options_clear      = cbw_options_clear,
    .co_open            = cbw_open,
    .co_close           = cbw_close,
    .co_reopen_prepare  = cbw_reopen_prepare,
    .co_preadv          = filter_preadv,
    .co_pwritev         = cbw_pwritev,
    .co_pwrite_zeroes   = cbw_pwrite_zeroes,
    .co_pdiscard        = cbw_pdiscard,
    .co_block_status    = filter_block_status,
    .co_extend          = filter_extend,
    .co_getlength       = filter_getlength,
    .child_claims       = cbw_child_claims,
};

static void cbw_init(void)
{
    bdrv_register(&bdrv_cbw);
}

block_init(cbw_init);
