/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/corruption.h"
#include "block/driver.h"
#include "qemu/aio.h"
#include "qemu/log.h"

static void (*report_cb)(const BdrvCorruption *c);
static AioContext *main_ctx;

void main_fn bdrv_set_corruption_cb(void (*cb)(const BdrvCorruption *c))
{
    report_cb = cb;
    main_ctx = aio_context_current();
}

static void main_fn send_report(void *opaque)
{
    BdrvCorruption *c = opaque;

    report_cb(c);
    g_free((char *)c->node_name);
    g_free((char *)c->text);
    g_free(c);
}

void any_fn bdrv_report_corruption(BlockDriverState *bs, const char *text, uint64_t offset,
                                   uint64_t bytes, bool fatal)
{
    log_line("image '%s' is damaged: %s%s", bs->filename ?: bs->node_name, text,
             fatal ? "; nothing more is written to it" : "");
    if (!report_cb) {
        return;
    }
    BdrvCorruption *c = g_new(BdrvCorruption, 1);
    *c = (BdrvCorruption){ g_strdup(bs->node_name), g_strdup(text), offset, bytes, fatal };
    aio_bh_schedule_oneshot(main_ctx, send_report, c);
}
