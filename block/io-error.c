/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Telling that requests of a place fail.  A disk that is gone fails thousands a second: each place
 * reports at most one a second.
 */
#include "qemu/osdep.h"

#include "block/backend-internal.h"
#include "qemu/aio.h"

#define REPORT_INTERVAL_NS NS_PER_SEC

typedef struct Report {
    BlkIoError error;
    char *device, *node_name;
} Report;

static void (*report_cb)(const BlkIoError *error);
static AioContext *main_ctx;

void main_fn blk_set_io_error_cb(void (*cb)(const BlkIoError *error))
{
    report_cb = cb;
    main_ctx = aio_context_current();
}

static void main_fn send_report(void *opaque)
{
    Report *r = opaque;

    report_cb(&r->error);
    g_free(r->device);
    g_free(r->node_name);
    g_free(r);
}

void any_fn blk_report_io_error(BlockBackend *blk, bool is_write, int error)
{
    int64_t now = clock_ns();
    int64_t last = __atomic_load_n(&blk->io_error_reported_ns, __ATOMIC_RELAXED);

    if (!report_cb || (last && now - last < REPORT_INTERVAL_NS) ||
        !__atomic_compare_exchange_n(&blk->io_error_reported_ns, &last, now, false,
                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        return;
    }
    Report *r = g_new0(Report, 1);
    r->device = g_strdup(blk_name(blk));
    r->node_name = g_strdup(blk->root ? blk->root->bs->node_name : "");
    r->error = (BlkIoError){ r->device, r->node_name, is_write, error };
    aio_bh_schedule_oneshot(main_ctx, send_report, r);
}
