/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A new size.  The header, which decides, is written last: growing, after all that the disk shows from then on
 * is zero, also where its backing file has something; shrinking, after everything past the new end was
 * unmapped.  A larger L1 table is complete on disk before the header points to it.  The caller holds the
 * whole node, so nothing else changes its map.
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

static int co_fn grow_l1(BlockDriverState *bs, uint64_t entries)
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

/* ---- the cluster that the end of the disk lies in ---- */

/* Unallocated bytes, which the backing file has.  It may end before. */
static int co_fn read_backing(BlockDriverState *bs, int64_t offset, int64_t bytes, uint8_t *buf)
{
    if (!bs->backing) {
        return bs->backing_file ? -ENOTSUP : 0;         /* it is there but not open, or zeroes */
    }
    int64_t n = MIN(bytes, bdrv_length(bs->backing->bs) - offset);

    return n > 0 ? bdrv_co_pread(bs->backing, offset, n, buf) : 0;
}

/* What [@offset, @end), part of one cluster, reads as; @buf is zeroes. */
static int co_fn read_part(BlockDriverState *bs, int64_t offset, int64_t end, uint8_t *buf)
{
    int ret = 0;

    while (offset < end && ret == 0) {
        BdrvExtent e = { 0 };
        IoVec v;

        ret = qcow2_co_map(bs, offset, end - offset, &e);
        if (ret < 0) {
            break;
        }
        if (e.kind == BDRV_EXTENT_DATA) {
            ret = bdrv_co_pread(e.link, e.host_offset, e.bytes, buf);
        } else if (e.kind == BDRV_EXTENT_BACKING) {
            ret = read_backing(bs, offset, e.bytes, buf);
        } else if (e.kind == BDRV_EXTENT_SPECIAL) {
            iovec_init_buf(&v, buf, e.bytes);
            ret = qcow2_co_read_special(bs, &e, offset, e.bytes, &v);
        }
        offset += e.bytes;
        buf += e.bytes;
    }
    return ret;
}

/*
 * Make what lies from @from on zero in the unit (subcluster or cluster) at @pos >= @from, or in the whole
 * cluster where that must be replaced (it is compressed, or a snapshot has it, too).
 */
static int co_fn rewrite_unit(BlockDriverState *bs, int64_t pos, int64_t from)
{
    int64_t unit = bs->limits.zero_unit;
    BdrvAlloc a = { 0 };
    int ret = qcow2_co_map_write(bs, ROUND_DOWN(pos, unit), unit, &a);

    if (ret < 0) {
        return ret;
    }
    uint8_t *buf = bdrv_try_blockalign(a.bytes);
    if (buf) {
        memset(buf, 0, a.bytes);
        ret = a.offset < from ? read_part(bs, a.offset, from, buf) : 0;
    } else {
        ret = -ENOMEM;
    }
    if (ret == 0) {
        ret = bdrv_co_pwrite(a.link, a.host_offset, a.bytes, buf, 0);
    }
    if (ret == 0) {
        ret = qcow2_co_map_commit(bs, &a);
    } else {
        qcow2_co_map_abort(bs, &a);
    }
    free(buf);
    return ret;
}

/* What lies behind offset @from in its cluster must be zero, or growing would show it.  What the backing
 * file has there is shown up to @shown, and only whole units are left to hide_backing(). */
static int co_fn clear_tail(BlockDriverState *bs, int64_t from, int64_t shown)
{
    int64_t end = ROUND_UP((uint64_t)from, qcow2_state(bs)->g.cluster_size);
    int64_t pos = from, unit = bs->limits.zero_unit;
    int ret = 0;

    while (pos < end && ret == 0) {
        BdrvExtent e = { 0 };

        ret = qcow2_co_map(bs, pos, end - pos, &e);
        if (ret < 0) {
            break;
        }
        if (e.kind == BDRV_EXTENT_SPECIAL || (e.kind == BDRV_EXTENT_DATA && !e.writable)) {
            return rewrite_unit(bs, pos, from);         /* the whole cluster */
        }
        if (e.kind == BDRV_EXTENT_DATA) {
            ret = bdrv_co_pwrite_zeroes(e.link, e.host_offset, e.bytes, 0);
        } else if (e.kind == BDRV_EXTENT_BACKING && pos % unit && pos < shown) {
            ret = rewrite_unit(bs, pos, from);
        }
        pos += e.bytes;
    }
    return ret;
}

/* ---- preallocation of what was added ---- */

static int co_fn fill_allocation(const BdrvAlloc *a, BdrvPrealloc prealloc)
{
    g_autofree uint8_t *zeroes = NULL;
    int ret = 0;

    if (prealloc == BDRV_PREALLOC_METADATA && a->host_is_zero) {
        return 0;
    }
    if (prealloc != BDRV_PREALLOC_FULL) {
        return bdrv_co_pwrite_zeroes(a->link, a->host_offset, a->bytes, 0);
    }
    zeroes = g_malloc0(MIN(a->bytes, MiB));
    for (int64_t done = 0; done < a->bytes && ret == 0; done += MiB) {
        ret = bdrv_co_pwrite(a->link, a->host_offset + done, MIN(MiB, a->bytes - done), zeroes,
                             0);
    }
    return ret;
}

static int co_fn preallocate(BlockDriverState *bs, int64_t offset, int64_t end,
                             BdrvPrealloc prealloc)
{
    int ret = 0;

    while (offset < end && ret == 0) {
        BdrvAlloc a = { 0 };

        ret = qcow2_co_map_write(bs, offset, end - offset, &a);
        if (ret < 0) {
            break;
        }
        ret = fill_allocation(&a, prealloc);
        if (ret < 0) {
            qcow2_co_map_abort(bs, &a);
            break;
        }
        ret = qcow2_co_map_commit(bs, &a);
        offset = a.offset + a.bytes;
    }
    return ret;
}

/* ---- a backing file that is longer than the disk was ---- */

/* Offset up to which a disk of @length bytes shows what its backing file has. */
static int64_t backing_end(const BlockDriverState *bs, int64_t length)
{
    return bs->backing ? MIN(bdrv_length(bs->backing->bs), length) : 0;
}

/* What the backing file has in [@from, @end), which becomes part of the disk, must not appear. */
static int co_fn hide_backing(BlockDriverState *bs, int64_t from, int64_t end)
{
    from = ROUND_UP(from, bs->limits.zero_unit);
    if (from >= end) {
        return 0;
    }
    return qcow2_state(bs)->g.has_zero_flag ? qcow2_co_zero(bs, from, end - from, 0)
                                            : preallocate(bs, from, end, BDRV_PREALLOC_METADATA);
}

/* ---- the operation ---- */

static bool check_new_size(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                           Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    bool shrink = length < (int64_t)s->header.size;

    if (length % 512) {
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
    } else if (prealloc != BDRV_PREALLOC_OFF && qcow2_has_backing(bs)) {
        error_setg(errp, "Cannot preallocate the new part of '%s': it has a backing file",
                   qcow2_name(bs));
    } else {
        return true;
    }
    return false;
}

static int co_fn shrink_to(BlockDriverState *bs, int64_t length)
{
    Qcow2State *s = qcow2_state(bs);
    int64_t end = MIN(ROUND_UP(s->header.size, s->g.cluster_size),
                      (uint64_t)s->l1_size << (s->g.cluster_bits + s->g.l2_bits));
    int ret = qcow2_unmap(bs, ROUND_UP((uint64_t)length, s->g.cluster_size), end);

    if (ret == 0) {
        ret = clear_tail(bs, length, 0);
    }
    return ret == 0 ? qcow2_co_flush(bs, 0) : ret;
}

static int co_fn grow_to(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                         Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t entries = qcow2_l1_entries_for(&s->g, length);
    int64_t old = s->header.size, shown = backing_end(bs, length);
    int ret = old % s->g.cluster_size ? clear_tail(bs, old, shown) : 0;

    if (ret == 0 && entries > s->l1_size) {
        ret = grow_l1(bs, entries);
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
        ret = preallocate(bs, ROUND_UP((uint64_t)old, s->g.cluster_size), length, prealloc);
    }
    /* Settled: the file reaches as far as what was mapped. */
    return ret == 0 ? qcow2_co_flush(bs, BDRV_FLUSH_SETTLE) : ret;
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
    if (ret == 0 && s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS) {
        ret = qcow2_bitmaps_mark_in_use(bs, true);
        ret = ret == -EINVAL ? 0 : ret;     /* then the bit is off by now */
    }
    if (ret == 0) {
        ret = length < (int64_t)s->header.size ? shrink_to(bs, length)
                                               : grow_to(bs, length, prealloc, &err);
    }
    if (ret == 0) {
        ret = qcow2_header_set_size(bs, length, s->l1_offset, s->l1_size);
    }
    if (ret == 0 && s->raw_data && length < bdrv_length(bs->data_file->bs) &&
        !bdrv_co_truncate(bs->data_file, length, BDRV_PREALLOC_OFF, &err)) {
        ret = -EIO;
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
    s->header.size = length;
    return true;
}
