/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing zeroes and discarding: what is aligned goes to the driver, the rest is written or left.
 */
#include "qemu/osdep.h"

#include "block/io/io-zero.h"

/* Zeroes that are written where nothing better works, per request. */
#define ZERO_BUFFER_BYTES (256 * KiB)

typedef struct ZeroRequest {
    BlockDriverState *bs;
    BdrvLink *link;
    unsigned flags;
    BdrvRange *range;               /* held exclusively, or NULL */
} ZeroRequest;

/* Plain writes of a buffer of zeroes. */
static int co_fn zero_by_buffer(ZeroRequest *r, int64_t offset, int64_t bytes)
{
    int64_t chunk = MIN(bytes, ZERO_BUFFER_BYTES);
    void *buf;
    int ret = 0;

    if (r->flags & BDRV_REQ_NO_FALLBACK) {
        return -ENOTSUP;
    }
    buf = bdrv_try_blockalign(chunk);
    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, chunk);
    while (bytes > 0 && ret == 0) {
        int64_t n = MIN(bytes, chunk);
        IoVec v;

        iovec_init_buf(&v, buf, n);
        ret = bdrv_is_mapped(r->bs)
              ? bdrv_write_mapped_held(r->bs, offset, n, &v, r->flags & BDRV_WRITE_COPIED,
                                       r->range)
              : bdrv_co_pwritev(r->link, offset, n, &v, 0);
        offset += n;
        bytes -= n;
    }
    free(buf);
    return ret;
}

/* ---- protocols ---- */

/* Of ranges that a protocol zeroes or discards without being given the bytes. */
static int64_t space_align(const BlockDriverState *bs)
{
    return MAX(bs->limits.request_alignment, bs->limits.zero_unit);
}

static int co_fn zero_protocol(ZeroRequest *r, int64_t offset, int64_t bytes)
{
    int64_t align = space_align(r->bs);
    int64_t start = ROUND_UP(offset, align), end = ROUND_DOWN(offset + bytes, align);
    int ret;

    if (start >= end) {
        return zero_by_buffer(r, offset, bytes);
    }
    ret = bdrv_drv_pwrite_zeroes(r->bs, start, end - start, r->flags & ~BDRV_REQ_FUA);
    if (ret == -ENOTSUP) {
        return zero_by_buffer(r, offset, bytes);
    }
    if (ret == 0 && start > offset) {
        ret = zero_by_buffer(r, offset, start - offset);
    }
    if (ret == 0 && end < offset + bytes) {
        ret = zero_by_buffer(r, end, offset + bytes - end);
    }
    return ret;
}

/* ---- formats without a map of their own (raw): pass it on ---- */

static int co_fn zero_passed_on(ZeroRequest *r, int64_t offset, int64_t bytes)
{
    while (bytes > 0) {
        BdrvExtent e;
        int ret = bdrv_drv_map(r->bs, offset, bytes, &e);

        if (ret == 0) {
            ret = e.kind == BDRV_EXTENT_DATA && e.writable
                  ? bdrv_co_pwrite_zeroes(e.link, e.host_offset, e.bytes, r->flags)
                  : -EPERM;
        }
        if (ret < 0) {
            return ret;
        }
        offset += e.bytes;
        bytes -= e.bytes;
    }
    return 0;
}

/* ---- formats ---- */

/* 1: what lies from @offset to @end reads as zeroes anyway; 0; or -errno. */
static int co_fn rest_is_zero(const ZeroRequest *r, int64_t offset, int64_t end)
{
    return offset < end ? bdrv_maps_to_zero(r->bs, offset, end - offset) : 1;
}

/*
 * The range in whole units: those that are in it, and those of which the rest reads as zeroes,
 * which become zeroes without bytes being written.  Nothing: *@ret_end <= *@ret_start.
 */
static int co_fn whole_units(const ZeroRequest *r, int64_t offset, int64_t limit,
                             int64_t *ret_start, int64_t *ret_end)
{
    int64_t unit = r->bs->limits.zero_unit, length = bdrv_length(r->bs);
    int64_t first = ROUND_DOWN(offset, unit), last = MIN(ROUND_UP(limit, unit), length);
    bool one = last - first <= unit;
    int head = rest_is_zero(r, first, offset);
    int tail = head < 0 ? head : rest_is_zero(r, limit, last);

    if (tail < 0) {
        return tail;
    }
    if (one) {
        head = tail = head && tail;
    }
    *ret_start = head ? first : ROUND_UP(offset, unit);
    *ret_end = tail ? last : ROUND_DOWN(limit, unit);
    return 0;
}

/* Whole units.  What of a cluster the driver cannot clear by itself is written, and only that. */
static int co_fn zero_units(ZeroRequest *r, int64_t start, int64_t end)
{
    int64_t cluster = MAX(r->bs->limits.alloc_unit, r->bs->limits.zero_unit);
    int ret = 0;

    for (int64_t next; start < end && ret == 0; start = next) {
        next = MIN(ROUND_UP(start, cluster), end);
        if (next == start) {
            next = MAX(ROUND_DOWN(end, cluster), start);
            next = next == start ? end : next;
        }
        ret = bdrv_drv_zero(r->bs, start, next - start,
                            r->flags & ~(BDRV_REQ_FUA | BDRV_WRITE_COPIED));
        if (ret == -ENOTSUP) {
            ret = zero_by_buffer(r, start, next - start);
        }
    }
    return ret;
}

static int co_fn zero_mapped(ZeroRequest *r, int64_t offset, int64_t bytes)
{
    int64_t limit = offset + bytes, start, end;
    int ret = whole_units(r, offset, limit, &start, &end);

    if (ret < 0) {
        return ret;
    }
    if (start >= end) {
        return zero_by_buffer(r, offset, bytes);
    }
    ret = zero_units(r, start, end);
    if (ret == 0 && start > offset) {
        ret = zero_by_buffer(r, offset, start - offset);
    }
    if (ret == 0 && end < limit) {
        ret = zero_by_buffer(r, end, limit - end);
    }
    return ret;
}

int co_fn bdrv_zero_held(BlockDriverState *bs, int64_t offset, int64_t bytes, unsigned flags)
{
    ZeroRequest r = { .bs = bs, .flags = flags };

    return bs->drv->co_zero ? zero_mapped(&r, offset, bytes) : zero_by_buffer(&r, offset, bytes);
}

static int co_fn zero_mapped_locked(ZeroRequest *r, int64_t offset, int64_t bytes)
{
    int64_t unit = MAX(r->bs->limits.alloc_unit, 1);
    BdrvRange range;

    bdrv_range_lock(r->bs->ranges, &range, ROUND_DOWN(offset, unit),
                    ROUND_UP(offset + bytes, unit), true);
    r->range = &range;
    int ret = r->bs->drv->co_zero ? zero_mapped(r, offset, bytes)
                                  : zero_by_buffer(r, offset, bytes);
    bdrv_range_unlock(r->bs->ranges, &range);
    return ret;
}

int co_fn bdrv_co_pwrite_zeroes(BdrvLink *link, int64_t offset, int64_t bytes, unsigned flags)
{
    BlockDriverState *bs = link->bs;
    ZeroRequest r = { .bs = bs, .link = link, .flags = flags };
    int ret;

    if (bs->read_only) {
        return -EPERM;
    }
    if (bytes == 0) {
        return 0;
    }
    if (offset < 0 || bytes < 0 || offset > BDRV_MAX_LENGTH - bytes) {
        return -EIO;
    }
    ret = bdrv_is_mapped(bs) ? bdrv_make_room(bs, offset + bytes) : 0;
    if (ret < 0) {
        return ret;
    }
    if (!bs->discard) {
        r.flags &= ~BDRV_REQ_MAY_UNMAP;
    }
    if (!bdrv_is_mapped(bs)) {
        ret = zero_protocol(&r, offset, bytes);
    } else if (!bs->drv->co_map_write) {
        ret = zero_passed_on(&r, offset, bytes);
    } else {
        ret = zero_mapped_locked(&r, offset, bytes);
        if (bdrv_reclaim_after(bs, ret)) {
            ret = zero_mapped_locked(&r, offset, bytes);
        }
    }
    bdrv_mark_written(bs, offset, bytes);
    if (ret == 0 && flags & BDRV_REQ_FUA) {
        ret = bdrv_flush_node(bs, 0);
    }
    return ret;
}

/* ---- discard ---- */

static int co_fn discard_protocol(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t align = space_align(bs);
    int64_t start = ROUND_UP(offset, align), end = ROUND_DOWN(offset + bytes, align);

    return start < end ? bdrv_drv_pdiscard(bs, start, end - start) : 0;
}

static int co_fn discard_passed_on(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    while (bytes > 0) {
        BdrvExtent e;
        int ret = bdrv_drv_map(bs, offset, bytes, &e);

        if (ret == 0 && e.kind == BDRV_EXTENT_DATA && e.writable) {
            ret = bdrv_co_pdiscard(e.link, e.host_offset, e.bytes);
        }
        if (ret < 0) {
            return ret;
        }
        offset += e.bytes;
        bytes -= e.bytes;
    }
    return 0;
}

/*
 * Whole units that the map covers.  What an image below has there would be carried along by each
 * copy of the chain, so it is covered by zeroes, which take no data; what reads as zeroes anyway is
 * left alone.
 */
static int co_fn discard_units(BlockDriverState *bs, int64_t start, int64_t end)
{
    int64_t unit = bs->limits.zero_unit;
    int ret = 0;

    while (start < end && ret == 0) {
        BlockDriverState *layer;
        BdrvExtent e;

        ret = bdrv_map_chain(bs, start, end - start, 0, &e, &layer, NULL);
        if (ret < 0) {
            break;
        }
        int64_t n = MIN(ROUND_UP(e.bytes, unit), end - start);
        if (layer == bs) {
            ret = bdrv_drv_discard(bs, start, n);
        } else if (e.kind == BDRV_EXTENT_ZERO && e.bytes >= MIN(unit, end - start)) {
            n = e.bytes == end - start ? e.bytes : ROUND_DOWN(e.bytes, unit);
        } else {
            ret = bdrv_drv_zero(bs, start, n, BDRV_REQ_MAY_UNMAP);
        }
        start += n;
    }
    return ret;
}

static int co_fn discard_mapped(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t unit = bs->limits.zero_unit, limit = offset + bytes;
    int64_t start = ROUND_UP(offset, unit);
    int64_t end = limit == bdrv_length(bs) ? limit : ROUND_DOWN(limit, unit);
    int64_t lock_unit = MAX(bs->limits.alloc_unit, 1);
    BdrvRange range;

    if (start >= end || !bs->drv->co_discard) {
        return 0;
    }
    bdrv_range_lock(bs->ranges, &range, ROUND_DOWN(start, lock_unit), ROUND_UP(end, lock_unit),
                    true);
    int ret = bs->backing && bs->drv->co_zero ? discard_units(bs, start, end)
                                              : bdrv_drv_discard(bs, start, end - start);
    bdrv_range_unlock(bs->ranges, &range);
    return ret;
}

int co_fn bdrv_co_make_empty(BdrvLink *link)
{
    BlockDriverState *bs = link->bs;
    BdrvRange range;

    if (bs->read_only) {
        return -EPERM;
    }
    if (!bs->drv->co_make_empty) {
        return -ENOTSUP;
    }
    bdrv_range_lock(bs->ranges, &range, 0, INT64_MAX, true);
    int ret = bdrv_drv_make_empty(bs);
    bdrv_mark_changed(bs, 0, bdrv_length(bs));
    bdrv_range_unlock(bs->ranges, &range);
    return ret;
}

int co_fn bdrv_co_pdiscard(BdrvLink *link, int64_t offset, int64_t bytes)
{
    BlockDriverState *bs = link->bs;
    int ret;

    if (bs->read_only) {
        return -EPERM;
    }
    if (bytes == 0) {
        return 0;
    }
    if (!bdrv_range_in_node(bs, offset, bytes)) {
        return -EIO;
    }
    if (!bs->discard) {
        return 0;
    }
    if (!bdrv_is_mapped(bs)) {
        ret = discard_protocol(bs, offset, bytes);
    } else if (!bs->drv->co_map_write) {
        ret = discard_passed_on(bs, offset, bytes);
    } else {
        ret = discard_mapped(bs, offset, bytes);
        if (bdrv_reclaim_after(bs, ret)) {
            ret = discard_mapped(bs, offset, bytes);
        }
    }
    bdrv_mark_changed(bs, offset, bytes);
    /* A discard is a hint: one that there is no table for changes nothing. */
    return ret == -ENOTSUP || ret == -ENOSPC ? 0 : ret;
}
