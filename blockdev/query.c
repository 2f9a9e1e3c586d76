/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What clients ask about backends and nodes.  Looks, never waits and never holds anybody up. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "qapi/qapi-commands.h"

static bool shows_devices;

void main_fn blockdev_show_devices(void)
{
    shows_devices = true;
}

/* ---- images ---- */

static Qcow2BitmapInfo *main_fn qcow2_bitmap(const BdrvDirtyBitmap *bitmap)
{
    Qcow2BitmapInfo *info = g_new0(Qcow2BitmapInfo, 1);
    bool in_use = bdrv_dirty_bitmap_inconsistent(bitmap);
    Qcow2BitmapInfoFlagsList **tail = &info->flags;

    info->name = g_strdup(bdrv_dirty_bitmap_name(bitmap));
    info->granularity = bdrv_dirty_bitmap_granularity(bitmap);
    if (in_use) {
        Qcow2BitmapInfoFlagsList_append(&tail, QCOW2_BITMAP_INFO_FLAGS_IN_USE);
    }
    if (bdrv_dirty_bitmap_enabled(bitmap) || bdrv_dirty_bitmap_recorded(bitmap)) {
        Qcow2BitmapInfoFlagsList_append(&tail, QCOW2_BITMAP_INFO_FLAGS_AUTO);
    }
    return info;
}

/* As they stand in the image, the oldest first. */
static Qcow2BitmapInfoList *main_fn qcow2_bitmaps(BlockDriverState *bs)
{
    Qcow2BitmapInfoList *list = NULL;

    for (BdrvDirtyBitmap *b = bdrv_next_dirty_bitmap(bs, NULL); b;
         b = bdrv_next_dirty_bitmap(bs, b)) {
        if (bdrv_dirty_bitmap_persistent(b)) {
            Qcow2BitmapInfoList *first = g_new0(Qcow2BitmapInfoList, 1);
            first->value = qcow2_bitmap(b);
            first->next = list;
            list = first;
        }
    }
    return list;
}

static ImageInfoSpecific *main_fn qcow2_specific(BlockDriverState *bs, const Qcow2ImageInfo *q)
{
    ImageInfoSpecific *spec = g_new0(ImageInfoSpecific, 1);
    ImageInfoSpecificQCow2 *info = g_new0(ImageInfoSpecificQCow2, 1);

    spec->type = IMAGE_INFO_SPECIFIC_KIND_QCOW2;
    spec->u.qcow2.data = info;
    info->compat = g_strdup(q->version == 2 ? "0.10" : "1.1");
    info->refcount_bits = q->refcount_bits;
    /* A build that lacks a type does not open its images. */
    info->compression_type = qapi_enum_find(&Qcow2CompressionType_lookup, q->compression_type);
    if (q->version >= 3) {
        info->has_lazy_refcounts = info->has_corrupt = info->has_extended_l2 = true;
        info->lazy_refcounts = q->lazy_refcounts;
        info->corrupt = q->corrupt;
        info->extended_l2 = q->extended_l2;
    }
    info->bitmaps = qcow2_bitmaps(bs);
    if (q->data_file) {
        info->data_file = g_strdup(q->data_file);
        info->has_data_file_raw = true;
        info->data_file_raw = q->data_file_raw;
    }
    return spec;
}

/* Bytes that the file of @bs occupies, or -1. */
static int64_t main_fn actual_size(const BlockDriverState *bs)
{
    while (bs->file) {
        bs = bs->file->bs;
    }
    if (!bs->drv->get_allocated) {
        return 0;                   /* it is no file, and occupies nothing */
    }
    return bs->drv->get_allocated((BlockDriverState *)bs);
}

#define LOOK_AGAIN_NS (2 * NS_PER_MS)

void co_main_fn blockdev_refresh_sizes(void)
{
    bool wait, begin = true;

    do {
        wait = false;
        for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
            wait |= bs->drv->refresh_allocated && bs->drv->refresh_allocated(bs, begin);
        }
        begin = false;
        if (wait) {
            aio_co_sleep_ns(LOOK_AGAIN_NS);
        }
    } while (wait);
}

/* NULL: there are none. */
static SnapshotInfoList *snapshots_info(const GPtrArray *snapshots)
{
    SnapshotInfoList *list = NULL, **tail = &list;

    for (guint i = 0; i < snapshots->len; i++) {
        SnapshotInfoList_append(&tail, blockdev_snapshot_info(snapshots->pdata[i]));
    }
    return list;
}

/* A file, or all that a raw image is: QEMU says of these that they are not dirty. */
static bool main_fn is_plain_file(const BlockDriverState *bs)
{
    while (bs->drv->shows_file && bs->file) {
        bs = bs->file->bs;
    }
    return bs->drv->get_identity != NULL;
}

ImageInfo *main_fn blockdev_image_info(BlockDriverState *bs)
{
    ImageInfo *info = g_new0(ImageInfo, 1);
    int64_t size = actual_size(bs);
    BdrvInfo details = { 0 };

    info->filename = g_strdup(bs->filename);
    info->format = g_strdup(bs->drv->name);
    /* QEMU counts in sectors, and scripts compare what an emulator says. */
    info->virtual_size = shows_devices ? ROUND_UP(bdrv_length(bs), 512) : bdrv_length(bs);
    info->has_actual_size = size >= 0;
    info->actual_size = size;
    if (bs->drv->get_info) {
        bs->drv->get_info(bs, &details);
    }
    info->has_cluster_size = details.cluster_size > 0;
    info->cluster_size = details.cluster_size;
    info->has_dirty_flag = details.has_dirty_flag || is_plain_file(bs);
    info->dirty_flag = details.dirty;
    if (details.kind == BDRV_INFO_QCOW2) {
        info->format_specific = qcow2_specific(bs, &details.qcow2);
        info->snapshots = snapshots_info(details.qcow2.snapshots);
    }
    if (bs->backing_file) {
        info->backing_filename = g_strdup(bs->backing_file);
        info->backing_filename_format = g_strdup(bs->backing_format);
        info->full_backing_filename =
            bdrv_path_has_protocol(bs->backing_file)
            ? g_strdup(bs->backing_file) : bdrv_path_combine(bs->filename, bs->backing_file);
    }
    return info;
}

static ImageInfo *main_fn image_info(BlockDriverState *bs, bool flat)
{
    ImageInfo *top = blockdev_image_info(bs), *last = top;

    for (int depth = 1; !flat && bs->backing && depth < QMP_MAX_CHAIN_NESTING; depth++) {
        bs = bs->backing->bs;
        last->backing_image = blockdev_image_info(bs);
        last = last->backing_image;
    }
    return top;
}

static int chain_depth(const BlockDriverState *bs)
{
    int depth = 0;

    for (; bs->backing; bs = bs->backing->bs) {
        depth++;
    }
    return depth;
}

BlockDeviceInfo *main_fn blockdev_node_info(BlockDriverState *bs, BlockBackend *blk, bool flat)
{
    BlockDeviceInfo *info = g_new0(BlockDeviceInfo, 1);

    info->file = g_strdup(bs->filename);
    info->node_name = g_strdup(bs->node_name);
    info->ro = bs->read_only && !bs->inactive;
    info->drv = g_strdup(bs->drv->name);
    info->backing_file = bs->backing ? g_strdup(bs->backing->bs->filename) : NULL;
    info->backing_file_depth = flat ? (bs->backing ? 1 : 0) : chain_depth(bs);
    info->detect_zeroes = (BlockdevDetectZeroesOptions)bs->detect_zeroes;
    info->cache = g_new0(BlockdevCacheInfo, 1);
    info->cache->writeback = !blk || blk_write_cache(blk);
    info->cache->direct = bs->cache_direct;
    info->cache->no_flush = bs->cache_no_flush;
    info->write_threshold = bdrv_get_write_threshold(bs);
    info->image = image_info(bs, flat);
    info->dirty_bitmaps = blockdev_bitmaps_info(bs);
    if (blk) {
        blockdev_throttle_info(blk, info);
    }
    return info;
}

/* ---- who uses a node ---- */

static BlockClaimKindList *claim_list(unsigned claims)
{
    BlockClaimKindList *list = NULL, **tail = &list;

    for (int i = 0; i < BLOCK_CLAIM_KIND__MAX; i++) {
        if (claims & (1u << i)) {
            BlockClaimKindList_append(&tail, (BlockClaimKind)i);
        }
    }
    return list;
}

static BlockClaimList *main_fn node_claims(BlockDriverState *bs)
{
    BlockClaimList *list = NULL, **tail = &list;
    GQueue *users[] = { &bs->followers, &bs->others };

    for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
        for (GList *e = users[i]->head; e; e = e->next) {
            BdrvLink *link = e->data;
            BlockClaim *claim = g_new0(BlockClaim, 1);
            claim->holder = bdrv_link_describe(link);
            claim->needs = claim_list(link->needs);
            claim->allows = claim_list(link->allows);
            BlockClaimList_append(&tail, claim);
        }
    }
    return list;
}

static BlockLocks *main_fn node_locks(BlockDriverState *bs)
{
    unsigned needs, refuses;

    if (!bs->drv->get_locks || !bs->drv->get_locks(bs, &needs, &refuses)) {
        return NULL;
    }
    BlockLocks *locks = g_new0(BlockLocks, 1);
    locks->needs = claim_list(needs);
    locks->refuses = claim_list(refuses);
    return locks;
}

/* ---- commands ---- */

static BlockDeviceIoStatus io_status(int stop_reason)
{
    return stop_reason == 0       ? BLOCK_DEVICE_IO_STATUS_OK :
           stop_reason == -ENOSPC ? BLOCK_DEVICE_IO_STATUS_NOSPACE
                                  : BLOCK_DEVICE_IO_STATUS_FAILED;
}

/* Is @blk that of an export with nothing to tell that the drive in front of @bs does not? */
static bool main_fn is_shown_by_a_drive(BlockBackend *blk, BlockDriverState *bs,
                                        const BlockDeviceInfo *inserted)
{
    if (!bs || !blk_user(blk) || blk_may_stop(blk) || inserted->group) {
        return false;
    }
    for (GList *e = bs->followers.head; e; e = e->next) {
        const BlockBackend *other = ((const BdrvLink *)e->data)->backend;
        if (other && !blk_user(other) && blk_name(other)[0]) {
            return true;
        }
    }
    return false;
}

/* How clients know what has @blk; NULL: nothing has. */
static const char *main_fn qdev_of(BlockBackend *blk)
{
    const BlkDevice *dev = blk_device(blk);

    return dev ? dev->qdev : blk_user(blk) ? blk_name(blk) : NULL;
}

/* Of devices: those that are attached and the drives that wait for one; exports and jobs are none. */
static bool main_fn is_a_device(BlockBackend *blk)
{
    return blk_device(blk) || (!blk_user(blk) && blk_name(blk)[0]);
}

static BlockInfo *main_fn backend_info(BlockBackend *blk, BlockDeviceInfo *inserted)
{
    const BlkDevice *dev = blk_device(blk);
    BlockInfo *info = g_new0(BlockInfo, 1);

    info->device = g_strdup(blk_name(blk));
    info->type = g_strdup("unknown");
    info->qdev = g_strdup(qdev_of(blk));
    info->inserted = inserted;
    info->has_io_status = dev ? !dev->no_io_status : blk_may_stop(blk);
    info->io_status = io_status(dev && dev->stop_reason ? dev->stop_reason : blk_stop_reason(blk));
    info->removable = dev ? dev->removable : shows_devices;
    info->locked = dev && dev->locked;
    info->has_tray_open = dev && dev->has_tray;
    info->tray_open = dev && dev->tray_open;
    return info;
}

bool co_main_fn qmp_query_block(BlockInfoList **ret, Error **errp)
{
    BlockInfoList *list = NULL, **tail = &list;

    blockdev_refresh_sizes();
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        BlockDriverState *bs = bdrv_skip_implicit(blk_bs(blk));
        BlockDeviceInfo *inserted = bs ? blockdev_node_info(bs, blk, false) : NULL;
        if (shows_devices ? !is_a_device(blk) : is_shown_by_a_drive(blk, bs, inserted)) {
            BlockDeviceInfo_free(inserted);
            continue;
        }
        BlockInfoList_append(&tail, backend_info(blk, inserted));
    }
    *ret = list;
    return true;
}

/* Nodes that are looked at before others have their turn: it takes less than a millisecond. */
#define NODES_IN_ONE_GO 64

/* Of all nodes; some may have gone when they are looked for. */
static GPtrArray *main_fn node_names(void)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        g_ptr_array_add(names, g_strdup(bs->node_name));
    }
    return names;
}

bool co_main_fn qmp_query_named_block_nodes(const QmpQueryNamedBlockNodesArgs *args,
                                            BlockDeviceInfoList **ret, Error **errp)
{
    bool flat = args->has_flat && args->flat;
    BlockDeviceInfoList *list = NULL, **tail = &list;

    blockdev_refresh_sizes();
    g_autoptr(GPtrArray) names = node_names();
    for (guint i = 0; i < names->len; i++) {
        /* The youngest first, as QEMU has them. */
        BlockDriverState *bs = bdrv_find_node(names->pdata[names->len - 1 - i]);
        if (bs) {
            BlockDeviceInfo *info = blockdev_node_info(bs, NULL, flat);
            /* Scripts compare what an emulator says word by word. */
            info->claims = shows_devices ? NULL : node_claims(bs);
            info->locks = shows_devices ? NULL : node_locks(bs);
            BlockDeviceInfoList_append(&tail, info);
        }
        if (i % NODES_IN_ONE_GO == NODES_IN_ONE_GO - 1) {
            coroutine_reschedule();
        }
    }
    *ret = list;
    return true;
}

/* ---- statistics ---- */

static uint64_t get(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static BlockLatencyHistogramInfo *histogram(const BlkOpStats *op)
{
    BlockLatencyHistogramInfo *info = g_new0(BlockLatencyHistogramInfo, 1);
    uint64List **bounds = &info->boundaries, **bins = &info->bins;

    for (int i = 0; i < BLK_LATENCY_BINS; i++) {
        uint64List_append(&bins, get(&op->latency[i]));
        if (i < BLK_LATENCY_BINS - 1) {
            uint64List_append(&bounds, blk_latency_bound(i));
        }
    }
    return info;
}

static BlockDeviceStats *backend_stats(const BlkStats *s)
{
    BlockDeviceStats *d = g_new0(BlockDeviceStats, 1);
    const BlkOpStats *rd = &s->op[BLK_OP_READ], *wr = &s->op[BLK_OP_WRITE];
    const BlkOpStats *fl = &s->op[BLK_OP_FLUSH], *un = &s->op[BLK_OP_UNMAP];
    const BlkOpStats *look = &s->op[BLK_OP_STATUS];
    int64_t last = __atomic_load_n(&s->last_access_ns, __ATOMIC_RELAXED);

    d->rd_bytes = get(&rd->bytes);
    d->wr_bytes = get(&wr->bytes);
    d->unmap_bytes = get(&un->bytes);
    d->rd_operations = get(&rd->operations);
    d->wr_operations = get(&wr->operations);
    d->flush_operations = get(&fl->operations);
    d->unmap_operations = get(&un->operations);
    d->rd_total_time_ns = get(&rd->total_ns);
    d->wr_total_time_ns = get(&wr->total_ns);
    d->flush_total_time_ns = get(&fl->total_ns);
    d->unmap_total_time_ns = get(&un->total_ns);
    d->failed_rd_operations = get(&rd->failed) + get(&look->failed);
    d->failed_wr_operations = get(&wr->failed);
    d->failed_flush_operations = get(&fl->failed);
    d->failed_unmap_operations = get(&un->failed);
    d->invalid_rd_operations = get(&rd->invalid) + get(&look->invalid);
    d->invalid_wr_operations = get(&wr->invalid);
    d->invalid_flush_operations = get(&fl->invalid);
    d->invalid_unmap_operations = get(&un->invalid);
    /* Refused requests do not reach the disk, so they do not end its idleness; failed ones do. */
    d->account_failed = true;
    d->has_idle_time_ns = last != 0;
    d->idle_time_ns = last ? clock_ns() - last : 0;
    d->rd_latency_histogram = histogram(rd);
    d->wr_latency_histogram = histogram(wr);
    d->flush_latency_histogram = histogram(fl);
    d->held_ns = get(&s->held_ns);
    d->held_count = get(&s->held_count);
    d->has_held_ns = d->has_held_count = !shows_devices || d->held_count;
    return d;
}

/* Counters are the backend's; a node knows how far it was written. */
static BlockDeviceStats *main_fn node_counters(const BlockDriverState *bs)
{
    BlockDeviceStats *d = g_new0(BlockDeviceStats, 1);

    d->wr_highest_offset = get(&bs->wr_highest_offset);
    return d;
}

static BlockStats *main_fn node_stats(BlockDriverState *bs, bool chain)
{
    BlockStats *top = NULL, **where = &top;
    int left = chain ? QMP_MAX_CHAIN_NESTING : 1;

    for (; bs && left > 0; left--, bs = bs->backing ? bs->backing->bs : NULL) {
        BlockStats *s = g_new0(BlockStats, 1);
        s->node_name = g_strdup(bs->node_name);
        s->stats = node_counters(bs);
        if (bs->file) {
            s->parent = g_new0(BlockStats, 1);
            s->parent->node_name = g_strdup(bs->file->bs->node_name);
            s->parent->stats = node_counters(bs->file->bs);
        }
        *where = s;
        where = &s->backing;
    }
    return top;
}

static BlockStats *main_fn stats_of_backend(BlockBackend *blk)
{
    BlockDriverState *bs = bdrv_skip_implicit(blk_bs(blk));
    BlockStats *s = bs ? node_stats(bs, true) : g_new0(BlockStats, 1);

    if (s->stats) {
        BlockDeviceStats_free(s->stats);
    }
    s->stats = backend_stats(blk_stats(blk));
    s->stats->wr_highest_offset = bs ? get(&bs->wr_highest_offset) : 0;
    s->device = g_strdup(blk_name(blk));
    s->qdev = g_strdup(qdev_of(blk));
    return s;
}

bool co_main_fn qmp_query_blockstats(const QmpQueryBlockstatsArgs *args, BlockStatsList **ret,
                                     Error **errp)
{
    BlockStatsList *list = NULL, **tail = &list;

    if (args->has_query_nodes && args->query_nodes) {
        for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
            BlockStatsList_append(&tail, node_stats(bs, false));
        }
    } else {
        for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
            if (!shows_devices || is_a_device(blk)) {
                BlockStatsList_append(&tail, stats_of_backend(blk));
            }
        }
    }
    *ret = list;
    return true;
}
