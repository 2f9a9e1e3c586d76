/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a machine in an image that keeps snapshots in itself: bytes behind the disk, which
 * the map leads to as it leads to the disk's.
 */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"
#include "block/io/io-zero.h"

/* The image below filters that has a place for it; NULL: none has. */
static BlockDriverState *co_fn find_image(BlockDriverState *bs)
{
    while (!bs->drv->vmstate_offset && bs->drv->is_filter && bs->file) {
        bs = bs->file->bs;
    }
    return bs->drv->vmstate_offset ? bs : NULL;
}

/* The whole node is held, so its map may be used behind its end. */
static void co_fn begin(BlockDriverState *bs, BdrvRange *range, int64_t end)
{
    bdrv_range_lock(bs->ranges, range, 0, INT64_MAX, true);
    __atomic_store_n(&bs->resize_end, ROUND_UP((uint64_t)end, MAX(bs->limits.alloc_unit, 1)),
                     __ATOMIC_RELAXED);
}

static void co_fn finish(BlockDriverState *bs, BdrvRange *range)
{
    __atomic_store_n(&bs->resize_end, 0, __ATOMIC_RELAXED);
    bdrv_range_unlock(bs->ranges, range);
}

static bool is_in_range(int64_t pos, int64_t bytes, int64_t start)
{
    return pos >= 0 && bytes >= 0 && bytes <= BDRV_MAX_LENGTH && pos <= BDRV_MAX_LENGTH - bytes &&
           start <= BDRV_MAX_LENGTH - bytes - pos;
}

int co_fn bdrv_co_save_vmstate(BlockDriverState *top, int64_t pos, int64_t bytes, IoVec *qiov)
{
    BlockDriverState *bs = find_image(top);
    BdrvRange range;

    if (!bs) {
        return -ENOTSUP;
    }
    if (bs->read_only) {
        return -EPERM;
    }
    int64_t start = bs->drv->vmstate_offset(bs);
    if (!is_in_range(pos, bytes, start)) {
        return -EFBIG;
    }
    if (bytes == 0) {
        return 0;
    }
    begin(bs, &range, start + pos + bytes);
    int ret = bs->drv->co_vmstate_extend(bs, start + pos + bytes);
    if (ret == 0) {
        ret = bdrv_write_mapped_held(bs, start + pos, bytes, qiov, 0, NULL);
    }
    finish(bs, &range);
    return ret;
}

/* What was never saved reads as zeroes. */
static int co_fn load(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    int ret = 0;

    for (int64_t done = 0; done < bytes && ret == 0;) {
        BdrvExtent e;

        ret = bdrv_drv_map(bs, offset + done, bytes - done, &e);
        if (ret < 0) {
            break;
        }
        if (e.kind != BDRV_EXTENT_DATA && e.kind != BDRV_EXTENT_SPECIAL) {
            iovec_memset(qiov, done, 0, e.bytes);
        } else {
            g_auto(IoVec) part;
            iovec_init_slice(&part, qiov, done, e.bytes);
            ret = e.kind == BDRV_EXTENT_DATA
                  ? bdrv_co_preadv(e.link, e.host_offset, e.bytes, &part)
                  : bdrv_drv_read_special(bs, &e, offset + done, e.bytes, &part);
        }
        done += e.bytes;
    }
    return ret;
}

/* The part that the map reaches to; the rest is zero. */
int co_fn bdrv_co_load_vmstate(BlockDriverState *top, int64_t pos, int64_t bytes, IoVec *qiov)
{
    BlockDriverState *bs = find_image(top);
    BdrvRange range;

    if (!bs) {
        return -ENOTSUP;
    }
    int64_t start = bs->drv->vmstate_offset(bs);
    if (!is_in_range(pos, bytes, start)) {
        return -EFBIG;
    }
    if (bytes == 0) {
        return 0;
    }
    int64_t there = MIN(bytes, MAX(bs->drv->vmstate_end(bs) - start - pos, 0));
    iovec_memset(qiov, there, 0, bytes - there);
    if (there == 0) {
        return 0;
    }
    begin(bs, &range, start + pos + there);
    int ret = load(bs, start + pos, there, qiov);
    finish(bs, &range);
    return ret;
}

int co_fn bdrv_co_drop_vmstate(BlockDriverState *top)
{
    BlockDriverState *bs = find_image(top);
    BdrvRange range;

    if (!bs || bs->read_only) {
        return bs ? -EPERM : -ENOTSUP;
    }
    begin(bs, &range, bs->drv->vmstate_end(bs));
    int ret = bs->drv->co_vmstate_drop(bs);
    finish(bs, &range);
    return ret;
}
