/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev-check: jobs that check images and repair them. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/check.h"
#include "block/job.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"

typedef struct CheckJob {
    Job job;
    BdrvCheckProgress progress;
    /* Keeps everybody else from writing, and the node alive. */
    BdrvLink *link;
    BdrvFix fix;
} CheckJob;

static BdrvFix fix_of(const QmpBlockdevCheckArgs *args)
{
    static const BdrvFix map[] = {
        [BLOCKDEV_CHECK_FIX_NONE] = BDRV_FIX_NONE, [BLOCKDEV_CHECK_FIX_LEAKS] = BDRV_FIX_LEAKS,
        [BLOCKDEV_CHECK_FIX_ALL] = BDRV_FIX_ALL,
    };

    return args->has_fix ? map[args->fix] : BDRV_FIX_NONE;
}

static bool step(BdrvCheckProgress *p, uint64_t done, uint64_t total)
{
    CheckJob *c = container_of(p, CheckJob, progress);

    context_assert_main();
    job_progress(&c->job, done, total);
    return !job_is_cancelled(&c->job);
}

static void main_fn send_completed(CheckJob *c, const BdrvCheckResult *res)
{
    BlockDriverState *bs = c->link->bs;
    ImageCheck result = {
        .filename = bs->filename, .format = (char *)bs->drv->name,
        .has_image_end_offset = true, .image_end_offset = res->image_end_offset,
        .has_corruptions = res->corruptions, .corruptions = res->corruptions,
        .has_leaks = res->leaks, .leaks = res->leaks,
        .has_corruptions_fixed = res->corruptions_fixed,
        .corruptions_fixed = res->corruptions_fixed,
        .has_leaks_fixed = res->leaks_fixed, .leaks_fixed = res->leaks_fixed,
        .has_total_clusters = true, .total_clusters = res->total_clusters,
        .has_allocated_clusters = true, .allocated_clusters = res->allocated_clusters,
        .has_fragmented_clusters = true, .fragmented_clusters = res->fragmented_clusters,
        .has_compressed_clusters = true, .compressed_clusters = res->compressed_clusters,
    };
    EventBlockdevCheckCompletedArgs ev = {
        .id = c->job.id, .node_name = bs->node_name, .result = &result,
    };

    qapi_event_send_blockdev_check_completed(&ev);
}

static bool co_main_fn check_run(Job *job, Error **errp)
{
    CheckJob *c = container_of(job, CheckJob, job);
    BdrvCheckResult res;
    /* The link keeps the node and all that it writes to. */
    bool ok = bdrv_co_check(c->link->bs, c->fix, &c->progress, &res, errp);

    if (ok) {
        send_completed(c, &res);
        bdrv_check_result_clear(&res);
    }
    bdrv_link_free(g_steal_pointer(&c->link));
    return ok;
}

static void check_clear(Job *job)
{
    g_assert(!container_of(job, CheckJob, job)->link);
}

static const JobDriver check_job = {
    .type          = "check",
    .instance_size = sizeof(CheckJob),
    .co_run        = check_run,
    .clear         = check_clear,
};

/* The link that a check of @bs needs. */
static BdrvLink *co_main_fn claim(BlockDriverState *bs, BdrvFix fix, Error **errp)
{
    BdrvLinkSpec spec = {
        .holder = "blockdev-check", .allows = CLAIM_READ,
        .needs = CLAIM_READ | (fix == BDRV_FIX_NONE ? 0 : CLAIM_WRITE | CLAIM_RESIZE),
    };

    return bdrv_can_check(bs, fix, errp) ? bdrv_link_new(bs, &spec, errp) : NULL;
}

bool co_main_fn qmp_blockdev_check(const QmpBlockdevCheckArgs *args, Error **errp)
{
    Job *job = job_new(&check_job, args->job_id, errp);

    if (!job) {
        return false;
    }
    CheckJob *c = container_of(job, CheckJob, job);
    c->fix = fix_of(args);
    c->progress.step = step;
    BlockDriverState *bs = blockdev_lookup_unchanged(args->node_name, errp);
    c->link = bs ? claim(bs, c->fix, errp) : NULL;
    if (!c->link) {
        blockdev_plain_error(errp);
        job_free(job);
        return false;
    }
    job_start(job);
    return true;
}
