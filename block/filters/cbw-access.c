/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the snapshot that a copy-before-write node keeps: (B3), (B5), (B7) in cbw-copy.c. */
#include "qemu/osdep.h"

#include "block/filters/cbw-internal.h"

/* Guests' writes to it wait while so much is read at a time. */
#define READ_BYTES MiB

/* The beginning of a range of the snapshot: where it is, and how much of it. */
typedef struct Where {
    BdrvLink *link;                 /* the file: @range is held; the target: nothing is */
    BdrvRange range;
    bool held;
    int64_t bytes;
} Where;

/* 0, and cbw_found() ends it; or -EACCES. */
static int co_fn find(BlockDriverState *bs, int64_t offset, int64_t bytes, Where *w)
{
    Cbw *s = cbw_state(bs);
    int64_t end = offset + bytes, at, n;

    bdrv_range_lock(s->ranges, &w->range, offset, end, false);
    bool ok = !bdrv_cbw_error(bs) && end <= s->length &&
              hbitmap_next_zero(s->readable, offset, end) < 0;
    w->held = ok && hbitmap_get(s->to_copy, offset);
    if (w->held) {
        int64_t next = hbitmap_next_zero(s->to_copy, offset, end);
        w->link = bs->file;
        w->bytes = next < 0 ? bytes : next - offset;
    } else if (ok) {
        bool more = hbitmap_next_dirty_area(s->to_copy, offset, end, bytes, &at, &n);
        w->link = bs->target;
        w->bytes = more ? at - offset : bytes;
    }
    if (!w->held) {
        bdrv_range_unlock(s->ranges, &w->range);
    }
    return ok ? 0 : -EACCES;
}

/* @ret is what came of the read of what find() has found: so it is, or the snapshot was broken. */
static int co_fn found(BlockDriverState *bs, Where *w, int ret)
{
    if (w->held) {
        bdrv_range_unlock(cbw_state(bs)->ranges, &w->range);
        return bdrv_cbw_error(bs) ? -EACCES : ret;
    }
    return ret;
}

int co_fn bdrv_cbw_co_preadv_snapshot(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      IoVec *qiov)
{
    int64_t done = 0;
    int ret = 0;

    while (done < bytes && ret == 0) {
        Where w;

        ret = find(bs, offset + done, MIN(bytes - done, READ_BYTES), &w);
        if (ret == 0) {
            g_auto(IoVec) part;
            iovec_init_slice(&part, qiov, done, w.bytes);
            ret = found(bs, &w, bdrv_co_preadv(w.link, offset + done, w.bytes, &part));
            done += w.bytes;
        }
    }
    return ret;
}

int co_fn bdrv_cbw_co_snapshot_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      int64_t *ret_bytes)
{
    Where w;
    int ret = find(bs, offset, bytes, &w);

    return ret < 0 ? ret : found(bs, &w, bdrv_co_block_status(w.link, offset, w.bytes, 0, ret_bytes,
                                                             NULL));
}
