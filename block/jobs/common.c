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
