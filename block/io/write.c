/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing: in place where the format says that this is allowed, else into clusters that the format
 * reserves, with what lies around the request copied there, and only then the map changed.
 *
 * (W1) Until co_map_commit() succeeded the node reads as before.
 * (W2) A request that changes the map of a range holds it exclusively; all other requests hold
 *      theirs shared.  So nobody reads or writes a cluster while it is being replaced or freed.
 */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"
#include "block/io/io-zero.h"

/* ---- protocols ---- */

/* What happens to @bs itself, if that is a node that acts on events. */
static void co_fn node_event(BlockDriverState *bs, const char *event)
{
    if (bs->drv->debug_event) {
        bs->drv->debug_event(bs, event);
    }
}

/* A block at an edge of a request that is not aligned. */
typedef struct Edge {
    int64_t offset;                 /* of the node */
    bool head, tail;                /* has bytes that are not the request's before, behind it */
} Edge;

static int co_fn read_edge(BlockDriverState *bs, const Edge *e, char *buf)
{
    int64_t align = bs->limits.request_alignment;
    IoVec v;

    if (e->offset >= ROUND_UP(bdrv_length(bs), align)) {
        memset(buf, 0, align);
        return 0;
    }
    if (!e->head && !e->tail) {
        return 0;
    }
    if (e->head) {
        node_event(bs, "pwritev_rmw_head");
    }
    if (e->tail) {
        node_event(bs, "pwritev_rmw_tail");
    }
    iovec_init_buf(&v, buf, align);
    int ret = bdrv_drv_preadv(bs, e->offset, align, &v);
    if (ret == 0 && e->head) {
        node_event(bs, "pwritev_rmw_after_head");
    }
    if (ret == 0 && e->tail) {
        node_event(bs, "pwritev_rmw_after_tail");
    }
    return ret;
}

/* Read, change and write back whole blocks. The caller holds them exclusively. */
static int co_fn write_padded(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                              unsigned flags)
{
    int64_t align = bs->limits.request_alignment;
    int64_t start = ROUND_DOWN(offset, align), end = ROUND_UP(offset + bytes, align);
    int64_t node_end = bdrv_length(bs);
    char *buf = bdrv_try_blockalign(end - start);
    bool one = end - start == align;            /* block has both edges */
    int ret = 0;
    IoVec v;

    if (!buf) {
        return -ENOMEM;
    }
    /* Only the first and the last block can hold bytes that are not the request's. */
    Edge edges[] = {
        { start, start < offset, one && end > offset + bytes },
        { end - align, false, end > offset + bytes },
    };
    for (int i = 0; i < (one ? 1 : 2) && ret == 0; i++) {
        ret = read_edge(bs, &edges[i], buf + (edges[i].offset - start));
    }
    if (ret == 0) {
        node_event(bs, "pwritev");
        iovec_to_buf(qiov, 0, buf + (offset - start), bytes);
        /* Padding does not make the node longer: its last block may be a part of one. */
        if (offset + bytes <= node_end) {
            end = MIN(end, node_end);
        }
        iovec_init_buf(&v, buf, end - start);
        ret = bdrv_drv_pwritev(bs, start, end - start, &v, flags);
        node_event(bs, "pwritev_done");
    }
    free(buf);
    return ret;
}

static int co_fn write_whole(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                             unsigned flags)
{
    node_event(bs, "pwritev");
    int ret = bdrv_drv_pwritev(bs, offset, bytes, qiov, flags);
    node_event(bs, "pwritev_done");
    return ret;
}

static int co_fn write_protocol(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                                unsigned flags)
{
    int64_t align = bs->limits.request_alignment;
    BdrvRange range;
    int ret;

    if (align == 1 && bs->limits.mem_alignment == 1) {
        return write_whole(bs, offset, bytes, qiov, flags);
    }
    bool aligned = !((offset | bytes) & (align - 1));
    bdrv_range_lock(bs->ranges, &range, ROUND_DOWN(offset, align),
                    ROUND_UP(offset + bytes, align), !aligned);
    if (aligned && iovec_is_aligned(qiov, bs->limits.mem_alignment)) {
        ret = write_whole(bs, offset, bytes, qiov, flags);
    } else {
        ret = write_padded(bs, offset, bytes, qiov, flags);
    }
    bdrv_range_unlock(bs->ranges, &range);
    return ret;
}

/* ---- formats: writing into a new allocation ---- */

int co_fn bdrv_maps_to_zero(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    while (bytes > 0) {
        BlockDriverState *layer;
        BdrvExtent e;
        int ret = bdrv_map_chain(bs, offset, bytes, 0, &e, &layer, NULL);

        if (ret < 0) {
            return ret;
        }
        if (e.kind != BDRV_EXTENT_ZERO) {
            return false;
        }
        offset += e.bytes;
        bytes -= e.bytes;
    }
    return true;
}

/* What surrounds the request inside the allocation. */
typedef struct Margin {
    int64_t offset, bytes;          /* of the node */
    bool skip;                      /* the allocation has these zeroes already */
    void *buf;
} Margin;

static int co_fn margin_fill(BlockDriverState *bs, BdrvAlloc *alloc, Margin *m)
{
    if (m->bytes == 0) {
        return 0;
    }
    int zero = bdrv_maps_to_zero(bs, m->offset, m->bytes);
    if (zero < 0) {
        return zero;
    }
    if (zero && alloc->host_is_zero) {
        m->skip = true;
        return 0;
    }
    m->buf = bdrv_try_blockalign(m->bytes);
    if (!m->buf) {
        return -ENOMEM;
    }
    if (zero) {
        memset(m->buf, 0, m->bytes);
        return 0;
    }
    IoVec v;
    iovec_init_buf(&v, m->buf, m->bytes);
    alloc->copied = true;
    bdrv_debug_event(bs->file, "cow_read");
    return bdrv_read_mapped(bs, m->offset, m->bytes, &v);
}

/* Write the request's part and its margins into the allocation with one request. */
static int co_fn write_allocation(BlockDriverState *bs, BdrvAlloc *alloc, int64_t offset,
                                  int64_t bytes,
                            IoVec *qiov, size_t qiov_offset)
{
    int64_t end = offset + bytes, alloc_end = alloc->offset + alloc->bytes;
    Margin head = { alloc->offset, offset - alloc->offset, false, NULL };
    Margin tail = { end, alloc_end - end, false, NULL };
    int ret = margin_fill(bs, alloc, &head);

    if (ret == 0) {
        ret = margin_fill(bs, alloc, &tail);
    }
    if (ret == 0) {
        g_auto(IoVec) v;
        int64_t start = alloc->offset;

        iovec_init(&v);
        if (head.buf) {
            iovec_add(&v, head.buf, head.bytes);
        } else {
            start = offset;
        }
        iovec_add_slice(&v, qiov, qiov_offset, bytes);
        if (tail.buf) {
            iovec_add(&v, tail.buf, tail.bytes);
        }
        bdrv_debug_event(bs->file, "write_aio");
        ret = bdrv_co_pwritev(alloc->link, alloc->host_offset + (start - alloc->offset), v.size,
                              &v, 0);
    }
    free(head.buf);
    free(tail.buf);
    return ret;
}

/* Write the beginning of the range to a new allocation; *@ret_done is how much. Range held
 * exclusively. */
static int co_fn write_to_new_allocation(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                         IoVec *qiov, size_t qiov_offset, unsigned flags,
                                         int64_t *ret_done)
{
    BdrvAlloc alloc;
    int ret = bdrv_drv_map_write(bs, offset, bytes, &alloc);

    if (ret < 0) {
        return ret;
    }
    alloc.copied = flags & BDRV_WRITE_COPIED;
    int64_t n = MIN(bytes, alloc.offset + alloc.bytes - offset);
    ret = write_allocation(bs, &alloc, offset, n, qiov, qiov_offset);
    if (ret < 0) {
        bdrv_drv_map_abort(bs, &alloc);
        return ret;
    }
    *ret_done = n;
    return bdrv_drv_map_commit(bs, &alloc);
}

static int co_fn write_in_place(BlockDriverState *bs, const BdrvExtent *e, IoVec *qiov,
                                size_t qiov_offset, unsigned flags)
{
    bdrv_debug_event(bs->file, "write_aio");
    flags = (flags & ~BDRV_WRITE_COPIED) | e->write_flags;
    if (qiov_offset == 0 && (int64_t)qiov->size == e->bytes) {
        return bdrv_co_pwritev(e->link, e->host_offset, e->bytes, qiov, flags);
    }
    g_auto(IoVec) part;
    iovec_init_slice(&part, qiov, qiov_offset, e->bytes);
    return bdrv_co_pwritev(e->link, e->host_offset, e->bytes, &part, flags);
}

static void co_fn lock_for_write(BlockDriverState *bs, BdrvRange *range, int64_t offset,
                                 int64_t bytes, bool exclusive)
{
    int64_t unit = exclusive ? MAX(bs->limits.alloc_unit, 1) : 1;

    bdrv_range_lock(bs->ranges, range, ROUND_DOWN(offset, unit),
                    ROUND_UP(offset + bytes, unit), exclusive);
}

int co_fn bdrv_write_mapped_held(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                                 unsigned flags, BdrvRange *range)
{
    int64_t done = 0;
    int ret = 0;

    while (done < bytes && ret == 0) {
        BdrvExtent e;

        ret = bdrv_drv_map(bs, offset + done, bytes - done, &e);
        if (ret < 0) {
            break;
        }
        if (e.kind == BDRV_EXTENT_DATA && e.writable) {
            ret = write_in_place(bs, &e, qiov, done, flags);
            done += e.bytes;
        } else if (!bs->drv->co_map_write) {
            ret = -EPERM;
        } else if (range && !range->exclusive) {
            bdrv_range_unlock(bs->ranges, range);
            lock_for_write(bs, range, offset, bytes, true);
        } else {
            int64_t n = 0;
            ret = write_to_new_allocation(bs, offset + done, bytes - done, qiov, done, flags,
                                          &n);
            done += n;
        }
    }
    return ret;
}

static int co_fn write_mapped(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                              unsigned flags)
{
    BdrvRange range;

    if (!bs->drv->co_map_write) {
        return bdrv_write_mapped_held(bs, offset, bytes, qiov, flags, NULL);
    }
    lock_for_write(bs, &range, offset, bytes, false);
    int ret = bdrv_write_mapped_held(bs, offset, bytes, qiov, 0, &range);
    bdrv_range_unlock(bs->ranges, &range);
    return ret;
}

static int co_fn write_format(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                              unsigned flags)
{
    return flags & BDRV_REQ_WRITE_COMPRESSED && bs->drv->co_write_compressed
           ? bdrv_write_compressed(bs, offset, bytes, qiov)
           : write_mapped(bs, offset, bytes, qiov, flags);
}

/* ---- an image of which nobody has said what it is ---- */

/* The first bytes become what @qiov has for them; @buf is what they are then. */
static int co_fn first_bytes(BdrvLink *link, int64_t offset, IoVec *qiov, uint8_t *buf)
{
    int64_t length = bdrv_length(link->bs);
    int ret = bdrv_co_pread(link, 0, MIN(length, BDRV_PROBED_BYTES), buf);

    iovec_to_buf(qiov, 0, buf + offset, BDRV_PROBED_BYTES - offset);
    return ret;
}

/* Of two writes that touch the first bytes the second one sees what the first has made of them. */
static int co_fn write_guarded(BdrvLink *link, int64_t offset, int64_t bytes, IoVec *qiov,
                                    unsigned flags)
{
    BlockDriverState *bs = link->bs;
    uint8_t buf[BDRV_PROBED_BYTES] = { 0 };
    BdrvRange range;

    bdrv_range_lock(bs->ranges, &range, 0, BDRV_PROBED_BYTES, true);
    int ret = first_bytes(link, offset, qiov, buf);
    if (ret == 0 && !bs->drv->may_begin_with(bs, buf)) {
        ret = -EPERM;
    }
    ret = ret ?: write_format(bs, offset, bytes, qiov, flags);
    bdrv_range_unlock(bs->ranges, &range);
    return ret;
}

/* ---- both ---- */

int co_fn bdrv_make_room(BlockDriverState *bs, int64_t end)
{
    int ret = end <= bdrv_length(bs) ? 0 :
              bs->drv->co_extend     ? bdrv_drv_extend(bs, end) : -EIO;

    return ret == -ENOTSUP ? -EIO : ret;
}

/* A FUA write costs one sync: the protocol's own if it has one, else a flush that covers it. */
static int co_fn write_protocol_fua(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                    IoVec *qiov, unsigned flags)
{
    bool flush = flags & BDRV_REQ_FUA && !bs->limits.native_fua;
    int ret = write_protocol(bs, offset, bytes, qiov, flush ? flags & ~BDRV_REQ_FUA : flags);

    bdrv_mark_written(bs, offset, bytes);
    return ret == 0 && flush ? bdrv_flush_node(bs, 0) : ret;
}

int co_fn bdrv_co_pwritev(BdrvLink *link, int64_t offset, int64_t bytes, IoVec *qiov,
                          unsigned flags)
{
    BlockDriverState *bs = link->bs;
    int ret;

    if (bs->read_only) {
        return -EPERM;
    }
    if (bytes == 0) {
        return flags & BDRV_REQ_FUA ? bdrv_co_flush(link, 0) : 0;
    }
    if (offset < 0 || bytes < 0 || offset > BDRV_MAX_LENGTH - bytes) {
        return -EIO;
    }
    if (flags & BDRV_REQ_WRITE_COMPRESSED && !bs->limits.compress_unit) {
        return -ENOTSUP;
    }
    if (!bdrv_is_mapped(bs)) {
        return write_protocol_fua(bs, offset, bytes, qiov, flags);
    }
    ret = bdrv_make_room(bs, offset + bytes);
    if (ret < 0) {
        return ret;
    }
    if (bs->detect_zeroes != BDRV_DETECT_ZEROES_OFF && iovec_is_zero(qiov)) {
        bool unmap = bs->detect_zeroes == BDRV_DETECT_ZEROES_UNMAP;
        return bdrv_co_pwrite_zeroes(link, offset, bytes,
                                     (flags & ~BDRV_REQ_WRITE_COMPRESSED) |
                                     (unmap ? BDRV_REQ_MAY_UNMAP : 0));
    }
    if (bs->guards_first_sector && offset < BDRV_PROBED_BYTES) {
        ret = write_guarded(link, offset, bytes, qiov, flags);
        bdrv_mark_written(bs, offset, bytes);
        return ret;
    }
    ret = write_format(bs, offset, bytes, qiov, flags);
    if (bdrv_reclaim_after(bs, ret)) {
        ret = write_format(bs, offset, bytes, qiov, flags);
    }
    bdrv_mark_written(bs, offset, bytes);
    /* What has no map of its own (raw) has passed the flag on. */
    if (ret == 0 && flags & BDRV_REQ_FUA && bs->drv->co_map_write) {
        /* The map may be newer than the last flush, whether or not this request changed it. */
        ret = bdrv_flush_node(bs, 0);
    }
    return ret;
}

int co_fn bdrv_co_pwrite(BdrvLink *link, int64_t offset, int64_t bytes, const void *buf,
                         unsigned flags)
{
    IoVec v;

    iovec_init_buf(&v, (void *)buf, bytes);
    return bdrv_co_pwritev(link, offset, bytes, &v, flags);
}
