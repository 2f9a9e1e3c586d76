/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed writes: a unit at a time, several side by side.  A request that covers a unit in part
 * takes the rest of it from what the node reads as now.
 */
#include "qemu/osdep.h"

#include "block/io/io-zero.h"

/* Memory that the units of one request may take at a time, and how many they may be. */
#define MAX_BYTES (8 * MiB)
#define MAX_PARALLEL 16

/* One request; its units are handed to the workers one by one. */
typedef struct CompressedWrite {
    BlockDriverState *bs;
    int64_t start, next, end;       /* of the node; what lies before @next has been handed out */
    IoVec *qiov;
    BdrvRange range;                /* all its units, exclusively */
    int ret;                        /* the first failure */
} CompressedWrite;

/* What is to be in the unit at @unit: the request's part, in [@from, @to), and around it what is
 * there. */
static int co_fn gather(CompressedWrite *w, int64_t unit, int64_t bytes, int64_t from, int64_t to,
                        void *buf)
{
    int ret = 0;

    if (from > unit || to < unit + bytes) {
        IoVec v;
        iovec_init_buf(&v, buf, bytes);
        ret = bdrv_read_mapped(w->bs, unit, bytes, &v);
    }
    iovec_to_buf(w->qiov, from - w->start, (char *)buf + (from - unit), to - from);
    return ret;
}

/* The request's part of one unit. */
static int co_fn write_unit(CompressedWrite *w, int64_t from, int64_t to)
{
    BlockDriverState *bs = w->bs;
    int64_t unit = ROUND_DOWN(from, bs->limits.compress_unit);
    int64_t left = bdrv_length(bs) - unit;
    int64_t bytes = MIN(bs->limits.compress_unit, left);
    void *buf = bdrv_try_blockalign(bytes);
    bool stored = false;

    if (!buf) {
        return -ENOMEM;
    }
    int ret = gather(w, unit, bytes, from, to, buf);
    if (ret == 0) {
        ret = bdrv_drv_write_compressed(bs, unit, bytes, buf, &stored);
    }
    if (ret == 0 && !stored) {
        IoVec v;
        iovec_init_buf(&v, (char *)buf + (from - unit), to - from);
        ret = bdrv_write_mapped_held(bs, from, to - from, &v, 0, &w->range);
    }
    free(buf);
    return ret;
}

static void co_fn worker(void *opaque)
{
    CompressedWrite *w = opaque;

    while (w->next < w->end && w->ret == 0) {
        int64_t unit = w->bs->limits.compress_unit, from = w->next;
        w->next = MIN(w->end, ROUND_DOWN(from, unit) + unit);
        int ret = write_unit(w, from, w->next);
        if (ret < 0 && w->ret == 0) {
            w->ret = ret;
        }
    }
}

int co_fn bdrv_write_compressed(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    int64_t unit = bs->limits.compress_unit;
    int64_t lock_unit = MAX(unit, bs->limits.alloc_unit);
    CompressedWrite w = {
        .bs = bs, .start = offset, .next = offset, .end = offset + bytes, .qiov = qiov,
    };
    CoGroup group = CO_GROUP_INIT;

    bdrv_range_lock(bs->ranges, &w.range, ROUND_DOWN(offset, lock_unit),
                    ROUND_UP(offset + bytes, lock_unit), true);
    for (int64_t i = 0; i < CLAMP(MAX_BYTES / unit, 1, MAX_PARALLEL) && w.next < w.end; i++) {
        co_group_start(&group, worker, &w);
    }
    co_group_wait(&group);
    bdrv_range_unlock(bs->ranges, &w.range);
    return w.ret;
}
