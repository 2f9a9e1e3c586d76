/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"
#include "qemu/log.h"
#include "qemu/trace.h"

static bool range_ok(const BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t length = bdrv_length(bs);
    int64_t resize_end = __atomic_load_n(&bs->resize_end, __ATOMIC_RELAXED);
    int64_t end = MAX(length, resize_end);

    return offset >= 0 && bytes > 0 && offset <= end - bytes;
}

/* A protocol's last block may be padded past the end of a file that is not a multiple of it. */
static bool aligned_range_ok(const BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t align = bs->limits.request_alignment;

    return offset >= 0 && bytes > 0 && offset % align == 0 && bytes % align == 0 &&
           offset <= ROUND_UP(bdrv_length(bs), align) - bytes;
}

static bool may_write(const BlockDriverState *bs)
{
    return !bs->read_only && !bs->closing;
}

/* 0 or a real -errno: anything else is the driver's bug.  The rest is for the trace. */
static int checked(int ret, const BlockDriverState *bs, const char *operation, int64_t offset,
                   int64_t bytes)
{
    g_assert(ret <= 0 && ret >= -4095);
    if (ret < 0 && ret != -ENOTSUP) {
        trace_node_io_error(bs->node_name, operation, offset, bytes, -ret);
    }
    return ret;
}

int co_fn bdrv_drv_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    g_assert(!bs->closing && aligned_range_ok(bs, offset, bytes) && (int64_t)qiov->size == bytes);
    return checked(bs->drv->co_preadv(bs, offset, bytes, qiov), bs, "read", offset, bytes);
}

int co_fn bdrv_drv_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                           unsigned flags)
{
    int64_t align = bs->limits.request_alignment;

    /* Writing past the end grows a protocol's file: formats allocate like that.  Inside, the last
     * block may be a part of one. */
    g_assert(may_write(bs) && offset >= 0 && bytes > 0 && offset % align == 0 &&
             (bytes % align == 0 || bytes <= bdrv_length(bs) - offset) &&
             (int64_t)qiov->size == bytes);
    return checked(bs->drv->co_pwritev(bs, offset, bytes, qiov, flags), bs, "write", offset, bytes);
}

int co_fn bdrv_drv_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                 unsigned flags)
{
    g_assert(may_write(bs) && offset >= 0 && bytes > 0);
    return bs->drv->co_pwrite_zeroes
           ? checked(bs->drv->co_pwrite_zeroes(bs, offset, bytes, flags), bs, "write-zeroes",
                     offset, bytes)
           : -ENOTSUP;
}

int co_fn bdrv_drv_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    g_assert(may_write(bs) && range_ok(bs, offset, bytes));
    return bs->drv->co_pdiscard
           ? checked(bs->drv->co_pdiscard(bs, offset, bytes), bs, "discard", offset, bytes)
           : -ENOTSUP;
}

int co_fn bdrv_drv_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                int64_t *ret_bytes)
{
    g_assert(!bs->closing && range_ok(bs, offset, bytes));
    if (!bs->drv->co_block_status) {
        *ret_bytes = bytes;
        return BDRV_STATUS_DATA;
    }
    int ret = bs->drv->co_block_status(bs, offset, bytes, ret_bytes);
    g_assert(ret < 0 || (*ret_bytes >= 1 && *ret_bytes <= bytes));
    return ret;
}

int co_fn bdrv_drv_map(BlockDriverState *bs, int64_t offset, int64_t bytes,
                       BdrvExtent *ret_extent)
{
    g_assert(!bs->closing && range_ok(bs, offset, bytes));
    *ret_extent = (BdrvExtent){ 0 };
    int ret = checked(bs->drv->co_map(bs, offset, bytes, ret_extent), bs, "map", offset, bytes);
    g_assert(ret < 0 || (ret_extent->bytes >= 1 && ret_extent->bytes <= bytes));
    g_assert(ret < 0 || ret_extent->kind != BDRV_EXTENT_DATA || ret_extent->link);
    return ret;
}

int co_fn bdrv_drv_map_write(BlockDriverState *bs, int64_t offset, int64_t bytes,
                             BdrvAlloc *ret_alloc)
{
    g_assert(may_write(bs) && range_ok(bs, offset, bytes));
    *ret_alloc = (BdrvAlloc){ 0 };
    int ret = checked(bs->drv->co_map_write(bs, offset, bytes, ret_alloc), bs, "map-write", offset,
                      bytes);
    g_assert(ret < 0 || (ret_alloc->link && ret_alloc->offset <= offset &&
                         ret_alloc->offset + ret_alloc->bytes > offset));
    return ret;
}

int co_fn bdrv_drv_map_commit(BlockDriverState *bs, BdrvAlloc *alloc)
{
    return checked(bs->drv->co_map_commit(bs, alloc), bs, "map-commit", 0, 0);
}

void co_fn bdrv_drv_map_abort(BlockDriverState *bs, BdrvAlloc *alloc)
{
    bs->drv->co_map_abort(bs, alloc);
}

static bool zero_range_ok(const BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int64_t unit = bs->limits.zero_unit;

    return range_ok(bs, offset, bytes) && offset % unit == 0 &&
           (bytes % unit == 0 || offset + bytes == bdrv_length(bs));
}

int co_fn bdrv_drv_zero(BlockDriverState *bs, int64_t offset, int64_t bytes, unsigned flags)
{
    g_assert(may_write(bs) && zero_range_ok(bs, offset, bytes));
    return checked(bs->drv->co_zero(bs, offset, bytes, flags), bs, "zero", offset, bytes);
}

int co_fn bdrv_drv_make_empty(BlockDriverState *bs)
{
    g_assert(may_write(bs));
    return checked(bs->drv->co_make_empty(bs), bs, "make empty", 0, bdrv_length(bs));
}

int co_fn bdrv_drv_discard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    g_assert(may_write(bs) && zero_range_ok(bs, offset, bytes));
    return checked(bs->drv->co_discard(bs, offset, bytes), bs, "discard", offset, bytes);
}

int co_fn bdrv_drv_read_special(BlockDriverState *bs, const BdrvExtent *extent, int64_t offset,
                                int64_t bytes, IoVec *qiov)
{
    g_assert(!bs->closing && bytes <= extent->bytes && (int64_t)qiov->size == bytes);
    return checked(bs->drv->co_read_special(bs, extent, offset, bytes, qiov), bs, "read", offset,
                   bytes);
}

int co_fn bdrv_drv_write_compressed(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                    const void *buf, bool *ret_stored)
{
    int64_t unit = bs->limits.compress_unit;

    g_assert(may_write(bs) && range_ok(bs, offset, bytes) && offset % unit == 0 &&
             (bytes == unit || (bytes < unit && offset + bytes == bdrv_length(bs))));
    *ret_stored = false;
    return checked(bs->drv->co_write_compressed(bs, offset, bytes, buf, ret_stored), bs,
                   "write-compressed", offset, bytes);
}

int co_fn bdrv_drv_extend(BlockDriverState *bs, int64_t length)
{
    g_assert(may_write(bs) && length > 0);
    return bs->drv->co_extend
           ? checked(bs->drv->co_extend(bs, length), bs, "extend", length, 0) : -ENOTSUP;
}

void co_fn bdrv_drv_reclaim(BlockDriverState *bs)
{
    g_assert(may_write(bs));
    bs->drv->co_reclaim(bs);
}

int co_fn bdrv_drv_flush(BlockDriverState *bs, unsigned flags)
{
    g_assert(!bs->closing);
    return bs->drv->co_flush ? checked(bs->drv->co_flush(bs, flags), bs, "flush", 0, 0) : 0;
}

int co_fn bdrv_drv_bitmap_changing(BlockDriverState *bs, const char *name)
{
    g_assert(!bs->closing);
    return bs->drv->co_bitmap_changing
           ? checked(bs->drv->co_bitmap_changing(bs, name), bs, "bitmap-changing", 0, 0) : 0;
}

void co_main_fn bdrv_drv_close(BlockDriverState *bs)
{
    bs->closing = true;
    int ret = bs->drv->co_close ? bs->drv->co_close(bs) : 0;
    trace_node_close(bs->node_name, bs->drv->name, -ret);
    if (ret < 0) {
        log_line("cannot close node '%s' (%s): %s", bs->node_name, bs->filename, g_strerror(-ret));
    }
}
