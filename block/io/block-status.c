/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a range of a node is: data, zeroes, in which layer. */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"

/* What is asked of a range, and the answer. */
typedef struct Look {
    int max_depth;                  /* layers; 0: all */
    int64_t bytes;                  /* for which the answer holds */
    int depth;
    BdrvPlace place;
} Look;

static int co_fn look_at(BdrvLink *link, int64_t offset, int64_t bytes, Look *look);

/* A format without a map of its own (raw) knows as much as the file it lies in. */
static int co_fn look_below(const BdrvExtent *e, Look *look)
{
    BlockDriverState *bs = e->link->bs;

    if (bdrv_is_mapped(bs)) {
        Look below = { 0 };
        int status = look_at(e->link, e->host_offset, e->bytes, &below);
        look->bytes = below.bytes;
        look->place = below.place;
        return status < 0 ? status : status | BDRV_BLOCK_ALLOCATED | BDRV_BLOCK_DECIDED;
    }
    look->bytes = e->bytes;
    if (!bdrv_range_in_node(bs, e->host_offset, e->bytes)) {
        return BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED | BDRV_BLOCK_DECIDED;
    }
    look->place = (BdrvPlace){ .file = bs, .host_offset = e->host_offset };
    int ret = bdrv_drv_block_status(bs, e->host_offset, e->bytes, &look->bytes);
    if (ret < 0) {
        return ret;
    }
    return BDRV_BLOCK_ALLOCATED | BDRV_BLOCK_DECIDED |
           (ret & BDRV_STATUS_DATA ? BDRV_BLOCK_DATA : 0) |
           (ret & BDRV_STATUS_ZERO ? BDRV_BLOCK_ZERO : 0);
}

static int co_fn look_at_mapped(BlockDriverState *bs, int64_t offset, int64_t bytes, Look *look)
{
    BlockDriverState *layer;
    BdrvExtent e;
    int ret = bdrv_map_chain(bs, offset, bytes, look->max_depth, &e, &layer, &look->depth);

    if (ret < 0) {
        return ret;
    }
    look->bytes = e.bytes;
    int who = (look->depth == 0 ? BDRV_BLOCK_ALLOCATED : 0) |
              (look->depth >= 0 ? BDRV_BLOCK_DECIDED : 0);
    bool is_opaque = e.link && e.link->bs == layer;
    if (e.kind == BDRV_EXTENT_DATA && (!layer->drv->co_map_write || is_opaque)) {
        int status = look_below(&e, look);
        return status < 0 ? status : (status & (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO)) | who;
    }
    look->place = (BdrvPlace){
        .file = e.link ? e.link->bs : NULL, .host_offset = e.host_offset,
        .compressed = e.kind == BDRV_EXTENT_SPECIAL,
    };
    if (e.kind == BDRV_EXTENT_ZERO) {
        return BDRV_BLOCK_ZERO | who;
    }
    return BDRV_BLOCK_DATA | who;
}

static int co_fn look_at(BdrvLink *link, int64_t offset, int64_t bytes, Look *look)
{
    BlockDriverState *bs = link->bs;

    if (bytes <= 0 || !bdrv_range_in_node(bs, offset, bytes)) {
        return -EIO;
    }
    if (!bdrv_is_mapped(bs)) {
        return look_below(&(BdrvExtent){ .bytes = bytes, .link = link, .host_offset = offset },
                          look);
    }
    BdrvRange range;
    bool hold = bdrv_needs_ranges(bs);
    if (hold) {
        bdrv_range_lock(bs->ranges, &range, offset, offset + bytes, false);
    }
    int ret = look_at_mapped(bs, offset, bytes, look);
    if (hold) {
        bdrv_range_unlock(bs->ranges, &range);
    }
    return ret;
}

int co_fn bdrv_co_block_status(BdrvLink *link, int64_t offset, int64_t bytes, int max_depth,
                               int64_t *ret_bytes, int *ret_depth)
{
    Look look = { .max_depth = max_depth };
    int ret = look_at(link, offset, bytes, &look);

    *ret_bytes = look.bytes;
    if (ret_depth) {
        *ret_depth = look.depth;
    }
    return ret;
}

int co_fn bdrv_co_block_place(BdrvLink *link, int64_t offset, int64_t bytes, int64_t *ret_bytes,
                              int *ret_depth, BdrvPlace *ret_place)
{
    Look look = { 0 };
    int ret = look_at(link, offset, bytes, &look);

    *ret_bytes = look.bytes;
    *ret_depth = look.depth;
    *ret_place = look.place;
    return ret;
}

static BdrvLink *content_link(BdrvLink *link)
{
    while (link && link->bs->drv->is_filter) {
        link = link->bs->file;
    }
    return link;
}

int co_fn bdrv_co_is_allocated_above(BdrvLink *link, const BlockDriverState *base, int64_t offset,
                                     int64_t bytes, int64_t *ret_bytes)
{
    bool top = true;

    *ret_bytes = bytes;
    for (link = content_link(link); link && link->bs != base;
         link = content_link(link->bs->backing)) {
        int64_t length = bdrv_length(link->bs), n;

        if (offset >= length) {     /* what is below is not seen */
            return !top;
        }
        int ret = bdrv_co_block_status(link, offset, MIN(*ret_bytes, length - offset), 1, &n,
                                       NULL);
        if (ret < 0) {
            return ret;
        }
        *ret_bytes = n;
        if (ret & BDRV_BLOCK_ALLOCATED) {
            return 1;
        }
        top = false;
    }
    return 0;
}
