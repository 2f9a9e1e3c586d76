/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Telling, once, that a node was written beyond an offset. */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"
#include "qemu/aio.h"

/* A tracker that a node keeps from the first threshold on. */
typedef struct Threshold {
    BdrvWriteTracker tracker;
    uint64_t bytes;                 /* atomic; 0: none */
} Threshold;

typedef struct Report {
    char *node_name;
    uint64_t exceeded, threshold;
} Report;

static void (*report_cb)(const char *node_name, uint64_t exceeded, uint64_t threshold);
static AioContext *main_ctx;

void main_fn bdrv_set_write_threshold_cb(void (*cb)(const char *node_name, uint64_t exceeded,
                                                    uint64_t threshold))
{
    report_cb = cb;
    main_ctx = aio_context_current();
}


static void main_fn send_report(void *opaque)
{
    Report *r = opaque;

    report_cb(r->node_name, r->exceeded, r->threshold);
    g_free(r->node_name);
    g_free(r);
}

static void any_fn threshold_written(BdrvWriteTracker *tracker, BlockDriverState *bs,
                                     int64_t offset, int64_t bytes)
{
    Threshold *t = container_of(tracker, Threshold, tracker);
    uint64_t end = offset + bytes, threshold = __atomic_load_n(&t->bytes, __ATOMIC_RELAXED);

    /* Whoever sets it back to 0 is the one that reports. */
    if (threshold == 0 || end <= threshold ||
        !__atomic_compare_exchange_n(&t->bytes, &threshold, 0, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST)) {
        return;
    }
    Report *r = g_new(Report, 1);
    *r = (Report){ g_strdup(bs->node_name), end - threshold, threshold };
    aio_bh_schedule_oneshot(main_ctx, send_report, r);
}

static void threshold_release(BdrvWriteTracker *tracker)
{
    g_free(container_of(tracker, Threshold, tracker));
}

static Threshold *main_fn find_threshold(BlockDriverState *bs)
{
    for (BdrvWriteTracker *t = bs->trackers; t; t = t->next) {
        if (t->written == threshold_written) {
            return container_of(t, Threshold, tracker);
        }
    }
    return NULL;
}

void main_fn bdrv_set_write_threshold(BlockDriverState *bs, uint64_t threshold)
{
    Threshold *t = find_threshold(bs);

    if (!t && threshold) {
        t = g_new0(Threshold, 1);
        t->tracker.written = threshold_written;
        t->tracker.release = threshold_release;
        bdrv_add_write_tracker(bs, &t->tracker);
    }
    if (t) {
        __atomic_store_n(&t->bytes, threshold, __ATOMIC_SEQ_CST);
    }
}

uint64_t main_fn bdrv_get_write_threshold(BlockDriverState *bs)
{
    Threshold *t = find_threshold(bs);

    return t ? __atomic_load_n(&t->bytes, __ATOMIC_RELAXED) : 0;
}
