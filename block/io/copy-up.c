/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copying up: what a format's node takes from the images below it becomes its own.
 *
 * (U1) The node reads the same before, meanwhile and afterwards, also where a copy fails.
 * (U2) A piece is held exclusively from the look at its map to the end of its copy, so nothing that
 *      a guest wrote is written over (W2 in block/io/write.c).
 * (U3) It is no write to those who learn of writes (dirty bitmaps): the content has not changed.
 *      Flushes cover it.
 * (U4) After a power cut each cluster is either taken from below or has its content: what is copied
 *      is durable before the map refers to it (BDRV_WRITE_COPIED).
 * (U5) A call holds one piece and has memory for one piece at a time, however long its range is.
 */
#include "qemu/osdep.h"

#include "block/copy-up.h"
#include "block/io/io-zero.h"

/* What is held and copied at a time, unless the node's clusters are larger. */
#define PIECE_BYTES MiB
/* How much of a range is looked at in one go: writes that come meanwhile wait for the look. */
#define LOOK_BYTES (64 * MiB)

/* What is to be done about a range. */
typedef enum Source {
    SOURCE_NONE,                    /* nothing: it is there, or not above the base */
    SOURCE_DATA,
    SOURCE_ZERO,                    /* reads as zeroes, decided above the base */
} Source;

typedef struct CopyUp {
    BlockDriverState *bs;
    const BlockDriverState *base;   /* NULL: everything below is copied */
    BdrvRange range;                /* the piece, exclusively */
    void *buf;                      /* of PIECE_BYTES at most; NULL: not needed yet */
    int64_t copied;                 /* bytes */
} CopyUp;

/* The link from which the image hangs that @link's node shows; @stop is not gone through. */
static BdrvLink *below_filters(BdrvLink *link, const BlockDriverState *stop)
{
    while (link && link->bs != stop && bdrv_is_same_as_file(link->bs)) {
        link = link->bs->file;
    }
    return link;
}

/* Which of the layers between the node and the base decides on the range, and how. */
static int co_fn find_below(const CopyUp *c, int64_t offset, int64_t bytes, Source *ret_source,
                            int64_t *ret_bytes)
{
    BdrvLink *link = below_filters(c->bs->backing, c->base);

    *ret_source = SOURCE_NONE;
    while (link && link->bs != c->base) {
        int64_t length = bdrv_length(link->bs), n;

        if (offset >= length) {     /* shorter than what lies above it */
            *ret_source = SOURCE_ZERO;
            break;
        }
        bytes = MIN(bytes, length - offset);
        int ret = bdrv_co_block_status(link, offset, bytes, 1, &n, NULL);
        if (ret < 0) {
            return ret;
        }
        bytes = n;
        if (ret & BDRV_BLOCK_ALLOCATED) {
            *ret_source = ret & BDRV_BLOCK_ZERO ? SOURCE_ZERO : SOURCE_DATA;
            break;
        }
        link = below_filters(link->bs->backing, c->base);
    }
    *ret_bytes = bytes;
    return 0;
}

/* What the beginning of the range, which the caller holds, needs; *@ret_bytes of it. */
static int co_fn find_source(const CopyUp *c, int64_t offset, int64_t bytes, Source *ret_source,
                             int64_t *ret_bytes)
{
    BdrvExtent e;
    int ret = bdrv_drv_map(c->bs, offset, bytes, &e);

    if (ret < 0) {
        return ret;
    }
    if (e.kind != BDRV_EXTENT_BACKING) {
        *ret_source = SOURCE_NONE;
        *ret_bytes = e.bytes;
        return 0;
    }
    ret = find_below(c, offset, e.bytes, ret_source, ret_bytes);
    if (ret == 0 && *ret_source == SOURCE_ZERO && !c->base) {
        *ret_source = SOURCE_NONE;  /* it reads as zeroes with the chain and without it */
    }
    return ret;
}

/* Whole units around a range of the node that is copied: one that is copied in part would be read
 * from below again. */
static void widen(const BlockDriverState *bs, int64_t *offset, int64_t *bytes)
{
    int64_t unit = MAX(bs->limits.alloc_unit, 1);
    int64_t length = bdrv_length(bs);
    int64_t end = MIN(ROUND_UP(*offset + *bytes, unit), length);

    *offset = ROUND_DOWN(*offset, unit);
    *bytes = end - *offset;
}

static int co_fn copy_data(CopyUp *c, int64_t offset, int64_t bytes)
{
    BlockDriverState *bs = c->bs;
    IoVec v;

    c->buf = c->buf ?: bdrv_try_blockalign(c->range.end - c->range.start);
    if (!c->buf) {
        return -ENOMEM;
    }
    iovec_init_buf(&v, c->buf, bytes);
    int ret = bdrv_read_mapped(bs, offset, bytes, &v);
    if (ret < 0) {
        return ret;
    }
    bdrv_debug_event(bs->file, "cor_write");
    return bs->drv->co_zero && iovec_is_zero(&v)
           ? bdrv_zero_held(bs, offset, bytes, BDRV_WRITE_COPIED)
           : bdrv_write_mapped_held(bs, offset, bytes, &v, BDRV_WRITE_COPIED, &c->range);
}

/* One piece, held exclusively. */
static int co_fn copy_held(CopyUp *c, int64_t offset, int64_t end)
{
    int ret = 0;

    while (offset < end && ret == 0) {
        Source source;
        int64_t n;

        ret = find_source(c, offset, end - offset, &source, &n);
        if (ret < 0) {
            break;
        }
        if (source == SOURCE_DATA) {
            ret = copy_data(c, offset, n);
        } else if (source == SOURCE_ZERO) {
            ret = bdrv_zero_held(c->bs, offset, n, BDRV_WRITE_COPIED);
        }
        c->copied += ret == 0 && source != SOURCE_NONE ? n : 0;
        offset += n;
    }
    return ret;
}

static int co_fn copy_piece(CopyUp *c, int64_t offset, int64_t bytes)
{
    BlockDriverState *bs = c->bs;
    int64_t unit = MAX(bs->limits.alloc_unit, 1), before = c->copied;

    bdrv_range_lock(bs->ranges, &c->range, offset, ROUND_UP(offset + bytes, unit), true);
    int64_t length = bdrv_length(bs);       /* it may be shorter by now */
    int64_t end = MIN(offset + bytes, length);
    int ret = copy_held(c, offset, end);
    if (bdrv_reclaim_after(bs, ret)) {
        ret = copy_held(c, offset, end);
    }
    bdrv_range_unlock(bs->ranges, &c->range);
    free(c->buf);
    c->buf = NULL;
    if (ret < 0 || c->copied > before) {
        bdrv_mark_unflushed(bs, bytes);
    }
    return ret;
}

/* A look at the map that keeps no guest waiting: most of a range needs nothing. */
static int co_fn look(CopyUp *c, int64_t offset, int64_t bytes, Source *ret_source,
                      int64_t *ret_bytes)
{
    BlockDriverState *bs = c->bs;
    BdrvRange range;

    bdrv_range_lock(bs->ranges, &range, offset, offset + bytes, false);
    int ret = bdrv_range_in_node(bs, offset, bytes)
              ? find_source(c, offset, bytes, ret_source, ret_bytes) : -EIO;
    bdrv_range_unlock(bs->ranges, &range);
    return ret;
}

int co_fn bdrv_co_copy_up(BdrvLink *link, int64_t offset, int64_t bytes,
                          const BlockDriverState *base, int64_t *ret_copied)
{
    CopyUp c = { .bs = below_filters(link, NULL)->bs, .base = base };
    int64_t end = offset + bytes;
    int ret = 0;

    if (ret_copied) {
        *ret_copied = 0;
    }
    if (!bdrv_range_in_node(c.bs, offset, bytes)) {
        return -EIO;
    }
    if (!c.bs->backing || c.bs->backing->bs == base) {
        return 0;
    }
    if (c.bs->read_only) {
        return -EPERM;
    }
    int64_t piece = MAX(PIECE_BYTES, c.bs->limits.alloc_unit);
    while (offset < end && ret == 0) {
        Source source = SOURCE_NONE;
        int64_t at = offset, n = 0;

        ret = look(&c, offset, MIN(end - offset, LOOK_BYTES), &source, &n);
        if (ret == 0 && source != SOURCE_NONE) {
            widen(c.bs, &at, &n);
            n = MIN(n, piece);
            ret = copy_piece(&c, at, n);
        }
        offset = MAX(at + n, offset);
    }
    if (ret_copied) {
        *ret_copied = c.copied;
    }
    return ret;
}
