/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2 as a BlockDriver: opening, closing, the table of operations. */
#include "qemu/osdep.h"

#include "block/claims.h"
#include "block/qcow2.h"
#include "qemu/log.h"
#include "qcow2.h"
#include "snapshot.h"

/* ---- reading the header ---- */

static bool co_fn read_header(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    size_t want = QCOW2_HEADER_FIRST_READ;

    for (;;) {
        Error *err = NULL;
        size_t len, need = 0;
        uint8_t *buf = bdrv_co_read_header(bs->file, want, &len, errp);

        if (!buf) {
            return false;
        }
        bool ok = qcow2_header_parse(buf, len, bdrv_length(bs->file->bs), qcow2_name(bs),
                                     &s->header, &need, &err);
        if (ok) {
            memset(s->header_sector, 0, sizeof(s->header_sector));
            memcpy(s->header_sector, buf, MIN(len, sizeof(s->header_sector)));
        }
        free(buf);
        if (ok) {
            return true;
        }
        if (need <= want) {
            error_propagate(errp, err);
            return false;
        }
        error_free(err);
        want = need;                /* once: never more than a cluster */
    }
}

/* ---- what a healthy image still may not be ---- */

static bool check_usable(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    const Qcow2Header *h = &qcow2_state(bs)->header;

    if (opts->u.qcow2.snapshot && !bs->read_only) {
        error_setg(errp, "Cannot open snapshot '%s' of '%s': only read-only",
                   opts->u.qcow2.snapshot, qcow2_name(bs));
        return false;
    }
    if (opts->u.qcow2.for_check) {
        return true;
    }
    if (h->reftable_problem) {
        error_setg(errp, "Cannot open '%s': %s", qcow2_name(bs), h->reftable_problem);
        return false;
    }
    if (!qcow2_check_options(bs, &opts->u.qcow2, errp)) {
        return false;
    }
    if (bs->read_only) {
        return true;
    }
    if (h->incompatible & QCOW2_INCOMPAT_CORRUPT) {
        error_setg(errp, "Cannot open '%s' for writing: it is marked as corrupt; it can be read, "
                   "or repaired with qemu-img check -r all", qcow2_name(bs));
        return false;
    }
    return true;
}

/* The refcounts of an image marked as dirty may be too low. */
static bool co_main_fn repair_dirty(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    BdrvCheckResult res;

    if (bs->read_only || s->damaged || !(s->header.incompatible & QCOW2_INCOMPAT_DIRTY)) {
        return true;
    }
    if (!qcow2_co_check(bs, BDRV_FIX_ALL, NULL, &res, errp)) {
        bdrv_check_result_clear(&res);
        return false;
    }
    bool clean = res.corruptions == 0;
    if (!clean) {
        error_setg(errp, "Cannot open '%s' for writing: it was not closed properly, and could not "
                   "be repaired: %s", qcow2_name(bs), res.first);
    } else {
        log_line("'%s' was not closed properly; repaired %" PRIu64 " errors and %" PRIu64
                 " leaked clusters", qcow2_name(bs), res.corruptions_fixed, res.leaks_fixed);
    }
    bdrv_check_result_clear(&res);
    return clean;
}

/* The external data file: as the user said, else as the image says. */
static bool co_main_fn open_data_file(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                      Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    const char *name = s->header.data_file;

    if (!s->g.has_data_file) {
        if (bs->data_file) {
            error_setg(errp, "Cannot open '%s': a data file was given, but it has none",
                       qcow2_name(bs));
            return false;
        }
        return true;
    }
    if (bs->data_file || (opts->u.qcow2.for_info && bs->read_only)) {
        return true;
    }
    if (!name) {
        error_setg(errp, "Cannot open '%s': it needs a data file and does not say which",
                   qcow2_name(bs));
        return false;
    }
    return bdrv_open_data_file(bs, name, errp);
}

/* ---- open and close ---- */

static void state_init(BlockDriverState *bs, const BdrvOpenOptions *opts)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Header *h = &s->header;

    co_mutex_init(&s->free_lock);
    co_mutex_init(&s->l2_lock);
    co_mutex_init(&s->refcount_lock);
    co_mutex_init(&s->space_lock);
    co_mutex_init(&s->bitmaps_lock);
    co_mutex_init(&s->header_lock);
    co_mutex_init(&s->writeback_lock);
    qcow2_cache_init(&s->cache, s->g.page_size);
    s->with_space = g_hash_table_new(NULL, NULL);
    s->metadata = g_hash_table_new(NULL, NULL);
    s->frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    s->unlinked = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    s->l1_offset = h->l1_offset;
    s->l1_size = h->l1_size;
    s->reftable_offset = h->reftable_offset;
    s->reftable_entries = h->reftable_clusters << (s->g.cluster_bits - 3);
    s->fresh_from = bdrv_length(bs->file->bs);
    s->damaged = opts->u.qcow2.for_check && (h->reftable_problem || h->incompatible &
                                  (QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT));
    s->shows_snapshot = opts->u.qcow2.snapshot != NULL;
    s->raw_data = s->g.has_data_file && h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA;
    s->autoclear_pending = h->autoclear & ~(s->raw_data ? QCOW2_AUTOCLEAR_RAW_DATA : 0);
    qcow2_clean_init(s, coroutine_context(coroutine_self()));
    qcow2_free_timer_init(bs, coroutine_context(coroutine_self()));
    qcow2_apply_options(s, &opts->u.qcow2, bs->discard);
}

static void state_destroy(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_clean_set_interval(s, 0);
    g_free(s->damage.text);
    g_ptr_array_unref(s->snapshots);
    qcow2_inflated_unref(s->inflated);
    g_array_unref(s->frees);
    g_array_unref(s->unlinked);
    g_hash_table_unref(s->with_space);
    g_hash_table_unref(s->metadata);
    qcow2_cache_destroy(&s->cache);
    co_mutex_destroy(&s->free_lock);
    co_mutex_destroy(&s->l2_lock);
    co_mutex_destroy(&s->refcount_lock);
    co_mutex_destroy(&s->space_lock);
    co_mutex_destroy(&s->bitmaps_lock);
    co_mutex_destroy(&s->header_lock);
    co_mutex_destroy(&s->writeback_lock);
}

static void node_init(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    bs->length = s->header.size;
    bs->backing_file = g_strdup(s->header.backing_file);
    bs->backing_format = g_strdup(s->header.backing_format);
    bs->limits = (BdrvLimits){
        .request_alignment = 1,
        .mem_alignment = bs->file->bs->limits.mem_alignment,
        .alloc_unit = s->g.cluster_size,
        .zero_unit = INT64_C(1) << s->g.subcluster_bits,
        .compress_unit = s->g.has_data_file ? 0 : s->g.cluster_size,
    };
}

/* A table that makes no sense is found now, not later. */
static bool co_fn check_snapshots(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    const char *id = opts->u.qcow2.snapshot;
    g_autoptr(GPtrArray) list = qcow2_snapshots_read(bs, &qcow2_state(bs)->snapshots_bytes, errp);

    if (!list || (id && !qcow2_open_snapshot(bs, id, errp))) {
        return false;
    }
    qcow2_snapshots_note(qcow2_state(bs), list);
    return true;
}

static bool co_main_fn qcow2_co_open(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                     Error **errp)
{
    Qcow2State *s = qcow2_state(bs);

    if (!read_header(bs, errp)) {
        return false;
    }
    s->g = s->header.geometry;
    if (!check_usable(bs, opts, errp) || !check_snapshots(bs, opts, errp) ||
        !open_data_file(bs, opts, errp)) {
        g_clear_pointer(&s->snapshots, g_ptr_array_unref);
        qcow2_header_clear(&s->header);
        return false;
    }
    state_init(bs, opts);
    node_init(bs);
    if (!repair_dirty(bs, errp)) {
        qcow2_free_timer_stop(bs);
        state_destroy(bs);
        qcow2_header_clear(&s->header);
        return false;
    }
    if (!opts->u.qcow2.for_check && !opts->u.qcow2.snapshot) {
        qcow2_bitmaps_load(bs);     /* those of the disk as it is now */
    }
    return true;
}

/* What was opened before, for an image that is read again. */
static BdrvOpenOptions *options_again(const BlockDriverState *bs)
{
    BdrvOpenOptions *opts = bdrv_open_options_new("qcow2");
    const Qcow2State *s = bs->opaque;

    opts->u.qcow2 = s->opened;
    opts->u.qcow2.snapshot = NULL;
    opts->discard = bs->discard;
    return opts;
}

/* Those that the image had are read from it again. */
static void main_fn forget_bitmaps(BlockDriverState *bs)
{
    BdrvDirtyBitmap *b = bdrv_next_dirty_bitmap(bs, NULL);

    while (b) {
        BdrvDirtyBitmap *next = bdrv_next_dirty_bitmap(bs, b);
        if (bdrv_dirty_bitmap_persistent(b)) {
            bdrv_release_dirty_bitmap(b);
        }
        b = next;
    }
}

/* The new state is made beside the old one, which stays if that fails. */
static bool co_main_fn qcow2_co_reload(BlockDriverState *bs, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = options_again(bs);
    void *old = bs->opaque, *fresh = g_malloc0(sizeof(Qcow2State));
    char *backing_file = bs->backing_file, *backing_format = bs->backing_format;

    if (qcow2_state(bs)->shows_snapshot) {
        g_free(fresh);
        return true;                /* what a snapshot has does not change */
    }
    forget_bitmaps(bs);
    bs->opaque = fresh;
    if (!qcow2_co_open(bs, opts, errp)) {
        bs->opaque = old;
        g_free(fresh);
        return false;
    }
    bs->opaque = old;
    qcow2_free_timer_stop(bs);
    state_destroy(bs);
    qcow2_header_clear(&qcow2_state(bs)->header);
    g_free(old);
    g_free(backing_file);
    g_free(backing_format);
    bs->opaque = fresh;
    return true;
}

static int co_main_fn qcow2_co_close(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    qcow2_free_timer_stop(bs);
    int ret = qcow2_set_file_end(bs);
    state_destroy(bs);
    qcow2_header_clear(&s->header);
    return ret;
}

static void qcow2_options_init(BdrvOpenOptions *opts)
{
    Qcow2OpenOptions *o = &opts->u.qcow2;

    o->cache_size = o->l2_cache_size = o->refcount_cache_size = -1;
    o->overlap_checks = QCOW2_OL_CACHED;
    o->cache_clean_interval = QCOW2_CACHE_CLEAN_INTERVAL;
}

static void qcow2_options_clear(BdrvOpenOptions *opts)
{
    g_free(opts->u.qcow2.snapshot);
}

static void any_fn qcow2_get_info(BlockDriverState *bs, BdrvInfo *ret)
{
    Qcow2State *s = qcow2_state(bs);
    const Qcow2Header *h = &s->header;

    ret->cluster_size = s->g.cluster_size;
    ret->has_dirty_flag = true;
    ret->dirty = h->incompatible & QCOW2_INCOMPAT_DIRTY;
    ret->kind = BDRV_INFO_QCOW2;
    ret->qcow2 = (Qcow2ImageInfo){
        .version = h->version,
        .refcount_bits = 1 << s->g.refcount_order,
        .extended_l2 = s->g.subclusters > 1,
        .lazy_refcounts = h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS,
        .corrupt = h->incompatible & QCOW2_INCOMPAT_CORRUPT,
        .data_file_raw = s->raw_data,
        .compression_type = h->compression_type == 1 ? "zstd" : "zlib",
        .data_file = h->data_file,
        .snapshots = s->snapshots,
        .nb_bitmaps = h->has_bitmaps ? h->nb_bitmaps : 0,
    };
}

static const BlockDriver bdrv_qcow2 = {
    .name             = "qcow2",
    .instance_size    = sizeof(Qcow2State),
    .supports_backing = true,
    .probe            = qcow2_probe,
    .options_init     = qcow2_options_init,
    .options_clear    = qcow2_options_clear,
    .get_info         = qcow2_get_info,
    .can_store_bitmap = qcow2_can_store_bitmap,
    .co_bitmap_changing = qcow2_co_bitmap_changing,
    .bitmaps_undone   = qcow2_bitmaps_undone,
    .co_open          = qcow2_co_open,
    .co_close         = qcow2_co_close,
    .co_reload        = qcow2_co_reload,
    .co_reopen_prepare = qcow2_co_reopen_prepare,
    .reopen_commit    = qcow2_reopen_commit,
    .co_map           = qcow2_co_map,
    .co_map_write     = qcow2_co_map_write,
    .co_map_commit    = qcow2_co_map_commit,
    .co_map_abort     = qcow2_co_map_abort,
    .co_zero          = qcow2_co_zero,
    .co_discard       = qcow2_co_discard,
    .co_make_empty    = qcow2_co_make_empty,
    .co_read_special  = qcow2_co_read_special,
    .co_write_compressed = qcow2_co_write_compressed,
    .co_reclaim       = qcow2_co_reclaim,
    .co_flush         = qcow2_co_flush,
    .co_truncate      = qcow2_co_truncate,
    .co_set_backing   = qcow2_co_set_backing,
    .co_amend         = qcow2_co_amend,
    .vmstate_offset   = qcow2_vmstate_offset,
    .vmstate_end      = qcow2_vmstate_end,
    .co_vmstate_extend = qcow2_co_vmstate_extend,
    .co_vmstate_drop  = qcow2_co_vmstate_drop,
    .co_snapshot_list = qcow2_co_snapshot_list,
    .co_snapshot_begin = qcow2_co_snapshot_begin,
    .snapshot_freeze  = qcow2_snapshot_freeze,
    .co_snapshot_raise = qcow2_co_snapshot_raise,
    .co_snapshot_take = qcow2_co_snapshot_take,
    .co_snapshot_end  = qcow2_co_snapshot_end,
    .snapshot_id      = qcow2_snapshot_id,
    .co_snapshot_apply = qcow2_co_snapshot_apply,
    .co_snapshot_delete = qcow2_co_snapshot_delete,
    .co_check         = qcow2_co_check,
    .co_create        = qcow2_co_create,
};

static void qcow2_init(void)
{
    bdrv_register(&bdrv_qcow2);
}

block_init(qcow2_init);
