/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a format's co_truncate needs of the core, which moves the bytes there as well: zeroes around
 * the old and the new end, and allocations for what is added. The node is held exclusively, as a
 * whole.
 */
#include "qemu/osdep.h"

#include "block/io/io-zero.h"

/* Does the beginning of what @e, an extent of @bs that begins at @offset, says read as zeroes?
 * How much of it: *@ret_bytes. */
static int co_fn reads_as_zero(BlockDriverState *bs, int64_t offset, const BdrvExtent *e,
                               int64_t *ret_bytes)
{
    BlockDriverState *layer;
    BdrvExtent below;

    *ret_bytes = e->bytes;
    if (e->kind != BDRV_EXTENT_BACKING) {
        return e->kind == BDRV_EXTENT_ZERO;
    }
    if (!bs->backing) {
        return true;
    }
    int ret = bdrv_map_chain(bs->backing->bs, offset, e->bytes, 0, &below, &layer, NULL);
    *ret_bytes = below.bytes;
    return ret < 0 ? ret : below.kind == BDRV_EXTENT_ZERO;
}

int co_fn bdrv_resize_zero(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int ret = 0;

    while (bytes > 0 && ret == 0) {
        int64_t n = 0;
        BdrvExtent e;

        ret = bdrv_drv_map(bs, offset, bytes, &e);
        if (ret == 0) {
            ret = reads_as_zero(bs, offset, &e, &n);
        }
        if (ret >= 0) {
            ret = ret ? 0 : bdrv_zero_held(bs, offset, n, 0);
        }
        offset += n;
        bytes -= n;
    }
    return ret;
}

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

int co_fn bdrv_resize_allocate(BlockDriverState *bs, int64_t offset, int64_t end,
                               BdrvPrealloc prealloc)
{
    int ret = 0;

    while (offset < end && ret == 0) {
        BdrvAlloc a;

        ret = bdrv_drv_map_write(bs, offset, end - offset, &a);
        if (ret < 0) {
            break;
        }
        ret = fill_allocation(&a, prealloc);
        if (ret < 0) {
            bdrv_drv_map_abort(bs, &a);
            break;
        }
        ret = bdrv_drv_map_commit(bs, &a);
        offset = a.offset + a.bytes;
    }
    return ret;
}
