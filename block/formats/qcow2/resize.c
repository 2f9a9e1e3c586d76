/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A new size.  The header, one sector, decides:
 *
 * (N1) Until the header has the new size on disk nothing that the disk shows has changed: a command
 *      that fails has changed nothing. Growing, all that the disk is going to show is zero before,
 *      also where its backing file has something; shrinking, nothing is unmapped before.
 * (N2) What is mapped behind the end (by a program that shrank the image, or by a power cut) is
 *      never shown.
 *
 * A larger L1 table is complete on disk before the header points to it.  The caller holds the
 * whole node, so nothing else changes its map; the core moves what bytes are to be moved.
 */
#include "qemu/osdep.h"

#include "qcow2.h"

/* ---- a larger L1 table ---- */

static int co_fn write_new_l1(BlockDriverState *bs, HostOffset to, uint64_t bytes)
{
    Qcow2State *s = qcow2_state(bs);
    uint8_t *buf = bdrv_try_blockalign(bytes);

    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, bytes);
    int ret = qcow2_read_table(bs, s->l1_offset, buf, s->l1_size * UINT64_C(8));
    if (ret == 0) {
        bdrv_debug_event(bs->file, "l1_grow_write_table");
        ret = qcow2_write_table(bs, to, buf, bytes);
    }
    if (ret == 0) {
        ret = bdrv_co_flush(bs->file, 0);
    }
    free(buf);
    return ret;
}

int co_fn qcow2_grow_l1(BlockDriverState *bs, uint64_t entries)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t clusters = DIV_ROUND_UP(entries * 8, s->g.cluster_size);
    uint64_t old_clusters = DIV_ROUND_UP(s->l1_size * UINT64_C(8), s->g.cluster_size);
    HostOffset to, old = s->l1_offset;

    bdrv_debug_event(bs->file, "l1_grow_alloc_table");
    bool zero;
    int ret = qcow2_alloc_contiguous(bs, clusters, &to, &zero);
    if (ret < 0) {
        return ret;
    }
    /* The refcounts of the new table, and the old table as it is in memory. */
    ret = qcow2_writeback(bs);
    if (ret == 0) {
        ret = write_new_l1(bs, to, clusters << s->g.cluster_bits);
    }
    if (ret == 0) {
        bdrv_debug_event(bs->file, "l1_grow_activate_table");
        ret = qcow2_header_set_size(bs, s->header.size, to, entries);
        if (ret < 0 && __atomic_load_n(&s->header_unknown, __ATOMIC_ACQUIRE)) {
            return ret;             /* whichever the header names: both stay allocated */
        }
    }
    if (ret < 0) {
        qcow2_free_now(bs, to, clusters);
        return ret;
    }
    qcow2_lock(s);
    qcow2_cache_forget(&s->cache, old.v, ROUND_UP(s->l1_size * UINT64_C(8), s->g.page_size));
    qcow2_cache_forget(&s->cache, to.v, clusters << s->g.cluster_bits);
    qcow2_space_note(s, to, clusters);
    s->l1_offset = to;
    s->l1_size = entries;
    qcow2_unlock(s);
    if (old_clusters) {
        qcow2_free_now(bs, old, old_clusters);
    }
    return 0;
}

/* ---- a backing file that is longer than the disk was ---- */

/* Offset up to which a disk of @length bytes shows what its backing file has. */
static int64_t backing_end(const BlockDriverState *bs, int64_t length)
{
    int64_t backing = bs->backing ? bdrv_length(bs->backing->bs) : 0;

    return MIN(backing, length);
}

/* What the backing file has in [@from, @end), which becomes part of the disk, must not appear. */
static int co_fn hide_backing(BlockDriverState *bs, int64_t from, int64_t end)
{
    from = ROUND_UP(from, bs->limits.zero_unit);
    if (from >= end) {
        return 0;
    }
    return qcow2_state(bs)->g.has_zero_flag ? qcow2_co_zero(bs, from, end - from, 0)
                                            : bdrv_resize_allocate(bs, from, end,
                                                                   BDRV_PREALLOC_METADATA);
}

/* ---- the operation ---- */

static bool check_new_size(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                           Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    bool shrink = length < (int64_t)s->header.size;

    if (s->snapshot_busy) {
        error_setg(errp, "Cannot resize '%s': an internal snapshot is being made or deleted",
                   qcow2_name(bs));
    } else if (length % 512) {
        error_setg(errp, "Cannot resize '%s' to %" PRId64 " bytes: not a multiple of 512",
                   qcow2_name(bs), length);
    } else if (qcow2_l1_entries_for(&s->g, length) > QCOW2_MAX_L1_BYTES / 8) {
        error_setg(errp, "Cannot resize '%s' to %" PRId64 " bytes: too large for its cluster "
                   "size", qcow2_name(bs), length);
    } else if (s->header.nb_snapshots && s->header.version < 3) {
        /* Its snapshots do not say how large the disk was. */
        error_setg(errp, "Cannot resize '%s': it is of version 2 and has internal snapshots",
                   qcow2_name(bs));
    } else if (shrink && prealloc != BDRV_PREALLOC_OFF) {
        error_setg(errp, "Cannot preallocate while shrinking '%s'", qcow2_name(bs));
    } else {
        return true;
    }
    return false;
}

/* Past the last cluster that the L1 table can map. */
static int64_t map_end(Qcow2State *s)
{
    return (int64_t)s->l1_size << (s->g.cluster_bits + s->g.l2_bits);
}

/* From its end on the disk of @length bytes has nothing. */
static int co_fn drop_behind(BlockDriverState *bs, int64_t length)
{
    Qcow2State *s = qcow2_state(bs);
    int64_t from = ROUND_UP((uint64_t)length, s->g.cluster_size);

    return from < map_end(s) ? qcow2_unmap(bs, from, map_end(s)) : 0;
}

/* The rest of the cluster that offset @end lies in. */
static int co_fn clear_tail(BlockDriverState *bs, int64_t end)
{
    int64_t tail = ROUND_UP((uint64_t)end, qcow2_state(bs)->g.cluster_size) - end;

    return tail ? bdrv_resize_zero(bs, end, tail) : 0;
}

/*
 * Once the header has the new size nothing fails any more. What lies behind the end is of no
 * consequence: it is cleared for programs that do not look when they grow an image, and to have its
 * space, as far as that is possible.
 */
static int co_fn shrink_to(BlockDriverState *bs, int64_t length)
{
    Qcow2State *s = qcow2_state(bs);
    int ret = qcow2_header_set_size(bs, length, s->l1_offset, s->l1_size);

    if (ret < 0) {
        return ret;
    }
    s->header.size = length;
    drop_behind(bs, length);
    clear_tail(bs, length);
    if (s->raw_data && length < bdrv_length(bs->data_file->bs)) {
        bdrv_co_truncate(bs->data_file, length, BDRV_PREALLOC_OFF, NULL);
    }
    qcow2_co_flush(bs, 0);
    return 0;
}

static int co_fn grow_to(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                         Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t entries = qcow2_l1_entries_for(&s->g, length);
    int64_t old = s->header.size, shown = backing_end(bs, length);
    /* Another program, or a power cut, may have left anything behind the end. */
    int ret = drop_behind(bs, old);

    if (ret == 0) {
        ret = clear_tail(bs, old);
    }
    if (ret == 0 && entries > s->l1_size) {
        ret = qcow2_grow_l1(bs, entries);
    }
    if (ret == 0) {
        ret = hide_backing(bs, old, shown);
    }
    if (ret == 0 && bs->data_file && bdrv_length(bs->data_file->bs) < length &&
        !bdrv_co_truncate(bs->data_file, length, prealloc, errp)) {
        return -EIO;
    }
    if (ret == 0 && s->raw_data && prealloc == BDRV_PREALLOC_OFF) {
        prealloc = BDRV_PREALLOC_METADATA;      /* (raw data) every cluster is mapped */
    }
    if (ret == 0 && prealloc != BDRV_PREALLOC_OFF) {
        ret = bdrv_resize_allocate(bs, ROUND_UP((uint64_t)old, s->g.cluster_size), length,
                                   prealloc);
    }
    if (ret == 0) {
        /* Settled: the file reaches as far as what was mapped. */
        ret = qcow2_co_flush(bs, BDRV_FLUSH_SETTLE);
    }
    if (ret == 0) {
        ret = qcow2_header_set_size(bs, length, s->l1_offset, s->l1_size);
    }
    if (ret == 0) {
        s->header.size = length;
    }
    return ret;
}

bool co_fn qcow2_co_truncate(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                             Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    Error *err = NULL;

    if (length == (int64_t)s->header.size) {
        return true;
    }
    if (!check_new_size(bs, length, prealloc, errp)) {
        return false;
    }
    int ret = qcow2_prepare_change(bs);
    if (ret == 0 && s->header.has_bitmaps) {
        co_mutex_lock(&s->bitmaps_lock);
        ret = qcow2_bitmaps_mark_in_use(bs, QCOW2_MARK_ALL, NULL);
        co_mutex_unlock(&s->bitmaps_lock);
        ret = ret == -EINVAL ? 0 : ret;     /* then the bit is off by now */
    }
    if (ret == 0) {
        ret = length < (int64_t)s->header.size ? shrink_to(bs, length)
                                               : grow_to(bs, length, prealloc, &err);
    }
    qcow2_end(bs, ret);
    if (err) {
        error_propagate(errp, err);
        return false;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot resize '%s'", qcow2_name(bs));
        return false;
    }
    return true;
}
