/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kinds of jobs share. */
#include "qemu/osdep.h"

#include "block/jobs/jobs-internal.h"
#include "qemu/hbitmap.h"

void main_fn job_set_common(Job *job, const JobCommon *common)
{
    job->speed = common->speed;
    job->on_source_error = common->on_source_error;
    job->on_target_error = common->on_target_error;
    job->manual_finalize = common->manual_finalize;
    job->manual_dismiss = common->manual_dismiss;
    if (common->group) {
        job_join(job, common->group);
    }
}

BlockBackend *co_main_fn job_backend(const Job *job, BlockDriverState *bs, unsigned needs,
                                     unsigned allows, Error **errp)
{
    g_autofree char *user = g_strdup_printf("block job '%s'", job->id);
    BlockBackend *blk = blk_new(NULL, needs, allows, errp);

    blk_set_user(blk, user);
    blk_set_quiet(blk);
    if (!blk_insert_fixed(blk, bs, errp)) {
        blk_free(blk);
        return NULL;
    }
    return blk;
}

BdrvLink *co_main_fn job_link(const Job *job, BlockDriverState *bs, unsigned needs,
                              unsigned allows, Error **errp)
{
    g_autofree char *holder = g_strdup_printf("block job '%s'", job->id);
    BdrvLinkSpec spec = { .needs = needs, .allows = allows, .holder = holder };

    return bdrv_link_new(bs, &spec, errp);
}

/* As large as the target's clusters, so that none is written twice, within bounds. */
#define MIN_GRANULARITY (4 * KiB)
#define MAX_GRANULARITY (64 * KiB)

int64_t any_fn job_granularity(const BlockDriverState *target, int64_t length, int64_t asked)
{
    int64_t unit = target->limits.alloc_unit;
    int64_t granularity = asked ?: unit ? CLAMP(unit, MIN_GRANULARITY, MAX_GRANULARITY)
                                        : MAX_GRANULARITY;

    while (length / granularity >= HBITMAP_MAX_BITS / 64) {
        granularity *= 2;
    }
    return granularity;
}

HBitmap *any_fn job_full_bitmap(int64_t length, int64_t granularity, Error **errp)
{
    HBitmap *h = hbitmap_new(length, granularity);

    if (h) {
        hbitmap_set(h, 0, length);
    } else {
        error_setg(errp, "There is no memory for the bitmap of a job on %" PRId64 " bytes",
                   length);
    }
    return h;
}

/* ---- the run ---- */

bool co_main_fn job_tolerate(Job *job, bool is_write, int error, Error **errp)
{
    BlkErrorAction action = job_io_error(job, is_write, error);

    if (action == BLK_ERROR_ACTION_REPORT) {
        error_setg(errp, "%s", g_strerror(-error));
        return false;
    }
    if (action == BLK_ERROR_ACTION_IGNORE) {
        job_sleep(job, 100 * NS_PER_MS);
    }
    return true;
}

bool co_main_fn job_run_copier(Job *job, BdrvCopy *copy, BdrvCopy **running,
                               BdrvCopyResult *ret_result, Error **errp)
{
    BdrvCopyError e;

    job_pause_point(job);
    if (job_is_cancelled(job)) {
        error_setg_errno(errp, ECANCELED, "Cannot copy");
        return false;
    }
    bdrv_copy_set_speed(copy, job->speed);
    *running = copy;
    *ret_result = bdrv_copy_run(copy, &e);
    *running = NULL;
    return *ret_result != BDRV_COPY_FAILED || job_tolerate(job, e.is_write, e.error, errp);
}

bool co_main_fn job_run_to_end(Job *job, BdrvCopy *copy, BdrvCopy **running, Error **errp)
{
    BdrvCopyResult result = BDRV_COPY_INTERRUPTED;

    while (result != BDRV_COPY_CLEAN) {
        if (!job_run_copier(job, copy, running, &result, errp)) {
            return false;
        }
    }
    return true;
}

void main_fn job_give_up_target(const Job *job, BlockBackend *target)
{
    if (!target || !blk_bs(target) || !job_is_cancelled(job)) {
        return;
    }
    g_autoptr(GPtrArray) stores = bdrv_stores(blk_bs(target));

    for (guint i = 0; i < stores->len; i++) {
        BlockDriverState *bs = stores->pdata[i];
        if (bs->drv->give_up_waiting) {
            bs->drv->give_up_waiting(bs);
        }
    }
}
