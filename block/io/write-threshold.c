/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Telling, once, that a node was written beyond an offset. */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"
#include "qemu/aio.h"

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

void main_fn bdrv_set_write_threshold(BlockDriverState *bs, uint64_t threshold)
{
    __atomic_store_n(&bs->write_threshold, threshold, __ATOMIC_SEQ_CST);
}

static void main_fn send_report(void *opaque)
{
    Report *r = opaque;

    report_cb(r->node_name, r->exceeded, r->threshold);
    g_free(r->node_name);
    g_free(r);
}

void any_fn bdrv_write_threshold_check(BlockDriverState *bs, int64_t end)
{
    uint64_t threshold = __atomic_load_n(&bs->write_threshold, __ATOMIC_SEQ_CST);

    /* Whoever sets it back to 0 is the one that reports. */
    if (threshold == 0 || (uint64_t)end <= threshold ||
        !__atomic_compare_exchange_n(&bs->write_threshold, &threshold, 0, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST)) {
        return;
    }
    Report *r = g_new(Report, 1);
    *r = (Report){ g_strdup(bs->node_name), end - threshold, threshold };
    aio_bh_schedule_oneshot(main_ctx, send_report, r);
}
