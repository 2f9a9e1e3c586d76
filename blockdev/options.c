/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The option parser: QAPI's BlockdevOptions to plain structs. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "qapi/sockets.h"

/* ---- children ---- */

static bool set_definition(BdrvChildOption *child, const BlockdevOptions *q, Error **errp)
{
    child->options = blockdev_options_to_plain(q, errp);
    return child->options != NULL;
}

static bool set_child(BdrvChildOption *child, const BlockdevRef *ref, Error **errp)
{
    if (!ref) {
        return true;
    }
    if (ref->type == QTYPE_QSTRING) {
        child->reference = g_strdup(ref->u.reference);
        return true;
    }
    return set_definition(child, &ref->u.definition, errp);
}

static bool set_backing(BdrvOpenOptions *o, const BlockdevRefOrNull *ref, Error **errp)
{
    if (!ref) {
        return true;
    }
    switch (ref->type) {
    case QTYPE_QNULL:
        o->backing.is_null = true;
        return true;
    case QTYPE_QSTRING:
        /* the historical spelling of null */
        if (!ref->u.reference[0]) {
            o->backing.is_null = true;
        } else {
            o->backing.reference = g_strdup(ref->u.reference);
        }
        return true;
    default:
        return set_definition(&o->backing, &ref->u.definition, errp);
    }
}

/* ---- drivers ---- */

static bool convert_file(const BlockdevOptionsFile *q, BdrvOpenOptions *o, Error **errp)
{
    FileOpenOptions *f = &o->u.file;

    f->filename = g_strdup(q->filename);
    if (q->has_locking) {
        f->locking = q->locking == ON_OFF_AUTO_ON  ? FILE_LOCKING_ON :
                     q->locking == ON_OFF_AUTO_OFF ? FILE_LOCKING_OFF : FILE_LOCKING_AUTO;
    }
    if (!q->has_aio) {
        return true;
    }
    switch (q->aio) {
    case BLOCKDEV_AIO_OPTIONS_THREADS:
        f->aio = FILE_AIO_THREADS;
        return true;
    case BLOCKDEV_AIO_OPTIONS_IO_URING:
        f->aio = FILE_AIO_IO_URING;
        return true;
    default:
        f->aio = FILE_AIO_NATIVE;
        return true;
    }
}

static void convert_null(const BlockdevOptionsNull *q, BdrvOpenOptions *o)
{
    if (q->has_size) {
        o->u.null.size = q->size;
    }
    if (q->has_latency_ns) {
        o->u.null.latency_ns = MIN(q->latency_ns, (uint64_t)INT64_MAX);
    }
    o->u.null.read_zeroes = q->has_read_zeroes && q->read_zeroes;
    o->u.null.has_size = q->has_size;
    o->u.null.has_read_zeroes = q->has_read_zeroes;
}

static bool convert_nbd(const BlockdevOptionsNbd *q, BdrvOpenOptions *o, Error **errp)
{
    NbdOpenOptions *n = &o->u.nbd;

    n->export = g_strdup(q->export);
    n->dirty_bitmap = g_strdup(q->x_dirty_bitmap);
    n->tls_creds = g_strdup(q->tls_creds ?: q->tls_hostname);
    n->reconnect_delay = q->has_reconnect_delay ? q->reconnect_delay : 0;
    n->open_timeout = q->has_open_timeout ? q->open_timeout : 0;
    return socket_spec_from_qapi(q->server, &n->server, errp);
}

static bool convert_raw(const BlockdevOptionsRaw *q, BdrvOpenOptions *o, Error **errp)
{
    if (q->has_offset) {
        o->u.raw.offset = q->offset;
    }
    if (q->has_size) {
        if (q->size < 0) {
            error_setg(errp, "The size of a raw image must not be negative");
            return false;
        }
        o->u.raw.size = q->size;
    }
    return set_child(&o->file, q->file, errp);
}

static unsigned overlap_mode(Qcow2OverlapCheckMode mode)
{
    static const unsigned modes[] = {
        [QCOW2_OVERLAP_CHECK_MODE_NONE] = 0,
        [QCOW2_OVERLAP_CHECK_MODE_CONSTANT] = QCOW2_OL_CONSTANT,
        [QCOW2_OVERLAP_CHECK_MODE_CACHED] = QCOW2_OL_CACHED,
        [QCOW2_OVERLAP_CHECK_MODE_ALL] = QCOW2_OL_ALL,
    };

    return modes[mode];
}

static unsigned overlap_checks(const Qcow2OverlapChecks *q)
{
    if (q->type == QTYPE_QSTRING) {
        return overlap_mode(q->u.mode);
    }
    const Qcow2OverlapCheckFlags *f = &q->u.flags;
    unsigned checks = f->has_template ? overlap_mode(f->template) : QCOW2_OL_CACHED;
    const struct {
        bool given, value;
        unsigned kind;
    } flags[] = {
        { f->has_main_header, f->main_header, QCOW2_OL_HEADER },
        { f->has_active_l1, f->active_l1, QCOW2_OL_ACTIVE_L1 },
        { f->has_active_l2, f->active_l2, QCOW2_OL_ACTIVE_L2 },
        { f->has_refcount_table, f->refcount_table, QCOW2_OL_REFTABLE },
        { f->has_refcount_block, f->refcount_block, QCOW2_OL_REFBLOCK },
        { f->has_snapshot_table, f->snapshot_table, QCOW2_OL_SNAPSHOT_TABLE },
        { f->has_inactive_l1, f->inactive_l1, QCOW2_OL_INACTIVE_L1 },
        { f->has_inactive_l2, f->inactive_l2, QCOW2_OL_INACTIVE_L2 },
        { f->has_bitmap_directory, f->bitmap_directory, QCOW2_OL_BITMAP_DIRECTORY },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (flags[i].given) {
            checks = flags[i].value ? checks | flags[i].kind : checks & ~flags[i].kind;
        }
    }
    return checks;
}

static bool check_cache_sizes(const BlockdevOptionsQcow2 *q, Error **errp)
{
    const char *wrong =
        q->has_cache_size && q->has_l2_cache_size && q->has_refcount_cache_size
            ? "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time" :
        q->has_cache_size && q->has_l2_cache_size && q->l2_cache_size > q->cache_size
            ? "l2-cache-size may not exceed cache-size" :
        q->has_cache_size && q->has_refcount_cache_size && q->refcount_cache_size > q->cache_size
            ? "refcount-cache-size may not exceed cache-size" : NULL;

    if (wrong) {
        error_setg(errp, "%s", wrong);
    }
    return !wrong;
}

static bool convert_qcow2(const BlockdevOptionsQcow2 *q, BdrvOpenOptions *o, Error **errp)
{
    Qcow2OpenOptions *p = &o->u.qcow2;

    if (q->has_cache_size) {
        p->cache_size = q->cache_size;
    }
    if (q->has_l2_cache_size) {
        p->l2_cache_size = q->l2_cache_size;
    }
    if (q->has_refcount_cache_size) {
        p->refcount_cache_size = q->refcount_cache_size;
    }
    if ((q->has_cache_size && q->cache_size < 0) ||
        (q->has_l2_cache_size && q->l2_cache_size < 0) ||
        (q->has_refcount_cache_size && q->refcount_cache_size < 0)) {
        error_setg(errp, "Cache sizes must not be negative");
        return false;
    }
    if (!check_cache_sizes(q, errp)) {
        return false;
    }
    if (q->overlap_check) {
        p->overlap_checks = overlap_checks(q->overlap_check);
    }
    if (q->has_cache_clean_interval) {
        if (q->cache_clean_interval < 0 || q->cache_clean_interval > UINT32_MAX) {
            error_setg(errp, "Cache clean interval too big");
            return false;
        }
        p->cache_clean_interval = q->cache_clean_interval;
    }
    if (q->has_l2_cache_entry_size) {
        p->l2_cache_entry_size = q->l2_cache_entry_size ?: -1;
    }
    p->for_check = q->has_for_check && q->for_check;
    p->has_lazy_refcounts = q->has_lazy_refcounts;
    p->lazy_refcounts = q->lazy_refcounts;
    p->has_discard_request = q->has_pass_discard_request;
    p->discard_request = q->pass_discard_request;
    p->has_discard_snapshot = q->has_pass_discard_snapshot;
    p->discard_snapshot = q->pass_discard_snapshot;
    p->has_discard_other = q->has_pass_discard_other;
    p->discard_other = q->pass_discard_other;
    return set_child(&o->file, q->file, errp) && set_child(&o->data_file, q->data_file, errp) &&
           set_backing(o, q->backing, errp);
}

/* ---- all ---- */

static void convert_common(const BlockdevOptions *q, BdrvOpenOptions *o)
{
    o->node_name = g_strdup(q->node_name);
    o->read_only = q->has_read_only && q->read_only;
    o->auto_read_only = q->has_auto_read_only && q->auto_read_only;
    o->force_share = q->has_force_share && q->force_share;
    o->discard = q->has_discard && q->discard == BLOCKDEV_DISCARD_OPTIONS_UNMAP;
    if (q->cache) {
        o->cache_direct = q->cache->has_direct && q->cache->direct;
        o->cache_no_flush = q->cache->has_no_flush && q->cache->no_flush;
    }
    if (q->has_detect_zeroes) {
        o->detect_zeroes =
            q->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_ON    ? BDRV_DETECT_ZEROES_ON :
            q->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP ? BDRV_DETECT_ZEROES_UNMAP
                                                                     : BDRV_DETECT_ZEROES_OFF;
    }
}

/* Options that a node does not set itself but takes from the one above it, as QEMU's do. */
static void inherit_down(const BdrvOpenOptions *o, const BlockdevOptions *child_q,
                         BdrvChildOption *child)
{
    BdrvOpenOptions *c = child->options;

    if (!c || !child_q) {
        return;
    }
    if (!child_q->has_read_only) {
        c->read_only = o->read_only;
    }
    if (!child_q->has_auto_read_only) {
        c->auto_read_only = o->auto_read_only;
    }
    if (!child_q->has_force_share) {
        c->force_share = o->force_share;
    }
    if (!child_q->has_discard) {
        c->discard = true;          /* what the format lets through, the file shall do */
    }
    if (!child_q->cache || !child_q->cache->has_direct) {
        c->cache_direct = o->cache_direct;
    }
    if (!child_q->cache || !child_q->cache->has_no_flush) {
        c->cache_no_flush = o->cache_no_flush;
    }
}

static const BlockdevOptions *definition_of(const BlockdevRef *ref)
{
    return ref && ref->type == QTYPE_QDICT ? &ref->u.definition : NULL;
}

/*
 * What a driver's own members mean; *@ret_file is what they say of the file, if they do.  A new
 * driver adds one function to the table.
 */
typedef bool Convert(const BlockdevOptions *q, BdrvOpenOptions *o, const BlockdevRef **ret_file,
                     Error **errp);

static bool from_file(const BlockdevOptions *q, BdrvOpenOptions *o, const BlockdevRef **ret_file,
                      Error **errp)
{
    return convert_file(&q->u.file, o, errp);
}

static bool from_host_device(const BlockdevOptions *q, BdrvOpenOptions *o,
                             const BlockdevRef **ret_file, Error **errp)
{
    return convert_file(&q->u.host_device, o, errp);
}

static bool from_nbd(const BlockdevOptions *q, BdrvOpenOptions *o, const BlockdevRef **ret_file,
                     Error **errp)
{
    return convert_nbd(&q->u.nbd, o, errp);
}

static bool from_null(const BlockdevOptions *q, BdrvOpenOptions *o, const BlockdevRef **ret_file,
                      Error **errp)
{
    convert_null(&q->u.null_co, o);
    return true;
}

static bool from_null_aio(const BlockdevOptions *q, BdrvOpenOptions *o,
                          const BlockdevRef **ret_file, Error **errp)
{
    convert_null(&q->u.null_aio, o);
    return true;
}

static bool from_raw(const BlockdevOptions *q, BdrvOpenOptions *o, const BlockdevRef **ret_file,
                     Error **errp)
{
    *ret_file = q->u.raw.file;
    return convert_raw(&q->u.raw, o, errp);
}

static bool from_qcow2(const BlockdevOptions *q, BdrvOpenOptions *o, const BlockdevRef **ret_file,
                       Error **errp)
{
    *ret_file = q->u.qcow2.file;
    if (!convert_qcow2(&q->u.qcow2, o, errp)) {
        return false;
    }
    inherit_down(o, definition_of(q->u.qcow2.data_file), &o->data_file);
    return true;
}

static bool from_compress(const BlockdevOptions *q, BdrvOpenOptions *o,
                          const BlockdevRef **ret_file, Error **errp)
{
    *ret_file = q->u.compress.file;
    return set_child(&o->file, *ret_file, errp);
}

static bool from_blkdebug(const BlockdevOptions *q, BdrvOpenOptions *o,
                          const BlockdevRef **ret_file, Error **errp)
{
    *ret_file = q->u.blkdebug.image;
    blockdev_blkdebug_to_plain(&q->u.blkdebug, o);
    return set_child(&o->file, *ret_file, errp);
}

static bool from_snapshot_access(const BlockdevOptions *q, BdrvOpenOptions *o,
                                 const BlockdevRef **ret_file, Error **errp)
{
    *ret_file = q->u.snapshot_access.file;
    return set_child(&o->file, *ret_file, errp);
}

static bool from_copy_on_read(const BlockdevOptions *q, BdrvOpenOptions *o,
                              const BlockdevRef **ret_file, Error **errp)
{
    *ret_file = q->u.copy_on_read.file;
    o->u.cor.bottom = g_strdup(q->u.copy_on_read.bottom);
    return set_child(&o->file, *ret_file, errp);
}

static bool from_copy_before_write(const BlockdevOptions *q, BdrvOpenOptions *o,
                                   const BlockdevRef **ret_file, Error **errp)
{
    const BlockdevOptionsCbw *c = &q->u.copy_before_write;
    CbwOpenOptions *cbw = &o->u.cbw;

    *ret_file = c->file;
    if (c->bitmap) {
        cbw->bitmap_node = g_strdup(c->bitmap->node);
        cbw->bitmap_name = g_strdup(c->bitmap->name);
    }
    cbw->break_snapshot = c->has_on_cbw_error && c->on_cbw_error == ON_CBW_ERROR_BREAK_SNAPSHOT;
    cbw->timeout_s = c->has_cbw_timeout ? c->cbw_timeout : 0;
    cbw->min_cluster_size = c->has_min_cluster_size ? MIN(c->min_cluster_size, INT64_MAX) : 0;
    if (!set_child(&o->file, *ret_file, errp) || !set_child(&cbw->target, c->target, errp)) {
        return false;
    }
    inherit_down(o, definition_of(c->target), &cbw->target);
    return true;
}

static bool from_throttle(const BlockdevOptions *q, BdrvOpenOptions *o,
                          const BlockdevRef **ret_file, Error **errp)
{
    *ret_file = q->u.throttle.file;
    o->u.throttle.group = g_strdup(q->u.throttle.throttle_group);
    return set_child(&o->file, *ret_file, errp);
}

static bool from_blkverify(const BlockdevOptions *q, BdrvOpenOptions *o,
                           const BlockdevRef **ret_file, Error **errp)
{
    *ret_file = q->u.blkverify.raw;
    if (!set_child(&o->file, *ret_file, errp) ||
        !set_child(&o->u.blkverify.test, q->u.blkverify.test, errp)) {
        return false;
    }
    inherit_down(o, definition_of(q->u.blkverify.test), &o->u.blkverify.test);
    return true;
}

static bool from_blklogwrites(const BlockdevOptions *q, BdrvOpenOptions *o,
                              const BlockdevRef **ret_file, Error **errp)
{
    const BlockdevOptionsBlklogwrites *b = &q->u.blklogwrites;
    BlklogwritesOpenOptions *l = &o->u.blklogwrites;

    *ret_file = b->file;
    l->has_sector_size = b->has_log_sector_size;
    l->sector_size = b->has_log_sector_size ? b->log_sector_size : 0;
    l->append = b->has_log_append && b->log_append;
    l->update_interval = b->has_log_super_update_interval ? b->log_super_update_interval : 4096;
    if (!set_child(&o->file, *ret_file, errp) || !set_child(&l->log, b->log, errp)) {
        return false;
    }
    inherit_down(o, definition_of(b->log), &l->log);
    return true;
}

static bool from_preallocate(const BlockdevOptions *q, BdrvOpenOptions *o,
                             const BlockdevRef **ret_file, Error **errp)
{
    const BlockdevOptionsPreallocate *p = &q->u.preallocate;

    *ret_file = p->file;
    if (p->has_prealloc_align) {
        o->u.preallocate.align = p->prealloc_align;
    }
    if (p->has_prealloc_size) {
        o->u.preallocate.size = p->prealloc_size;
    }
    return set_child(&o->file, *ret_file, errp);
}

static bool from_quorum(const BlockdevOptions *q, BdrvOpenOptions *o, const BlockdevRef **ret_file,
                        Error **errp)
{
    const BlockdevOptionsQuorum *p = &q->u.quorum;
    QuorumOpenOptions *u = &o->u.quorum;

    u->threshold = p->vote_threshold;
    u->blkverify = p->has_blkverify && p->blkverify;
    u->rewrite_corrupted = p->has_rewrite_corrupted && p->rewrite_corrupted;
    u->fifo = p->has_read_pattern && p->read_pattern == QUORUM_READ_PATTERN_FIFO;
    for (const BlockdevRefList *l = p->children; l; l = l->next) {
        BdrvChildOption child = { NULL };
        if (!set_child(&child, l->value, errp)) {
            return false;
        }
        inherit_down(o, definition_of(l->value), &child);
        g_array_append_val(u->children, child);
    }
    return true;
}

static Convert *const converters[BLOCKDEV_DRIVER__MAX] = {
    [BLOCKDEV_DRIVER_BLKDEBUG]    = from_blkdebug,
    [BLOCKDEV_DRIVER_BLKLOGWRITES] = from_blklogwrites,
    [BLOCKDEV_DRIVER_BLKVERIFY]   = from_blkverify,
    [BLOCKDEV_DRIVER_COMPRESS]    = from_compress,
    [BLOCKDEV_DRIVER_COPY_BEFORE_WRITE] = from_copy_before_write,
    [BLOCKDEV_DRIVER_COPY_ON_READ] = from_copy_on_read,
    [BLOCKDEV_DRIVER_FILE]        = from_file,
    [BLOCKDEV_DRIVER_HOST_DEVICE] = from_host_device,
    [BLOCKDEV_DRIVER_NBD]         = from_nbd,
    [BLOCKDEV_DRIVER_NULL_AIO]    = from_null_aio,
    [BLOCKDEV_DRIVER_NULL_CO]     = from_null,
    [BLOCKDEV_DRIVER_PREALLOCATE] = from_preallocate,
    [BLOCKDEV_DRIVER_QCOW2]       = from_qcow2,
    [BLOCKDEV_DRIVER_QUORUM]      = from_quorum,
    [BLOCKDEV_DRIVER_RAW]         = from_raw,
    [BLOCKDEV_DRIVER_SNAPSHOT_ACCESS] = from_snapshot_access,
    [BLOCKDEV_DRIVER_THROTTLE]    = from_throttle,
};

static bool convert(const BlockdevOptions *q, BdrvOpenOptions *o, Error **errp)
{
    const BlockdevRef *file = NULL;

    convert_common(q, o);
    if (!converters[q->driver](q, o, &file, errp)) {
        return false;
    }
    inherit_down(o, definition_of(file), &o->file);
    if (o->backing.options) {       /* somebody's base is not written to through this chain */
        o->backing.options->read_only = true;
        if (o->backing.options->file.options) {
            o->backing.options->file.options->read_only = true;
        }
    }
    return true;
}

BdrvOpenOptions *any_fn blockdev_options_to_plain(const BlockdevOptions *qapi, Error **errp)
{
    g_autoptr(BdrvOpenOptions) o = bdrv_open_options_new(BlockdevDriver_str(qapi->driver));

    return convert(qapi, o, errp) ? g_steal_pointer(&o) : NULL;
}
