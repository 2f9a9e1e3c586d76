/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the mirror only. */
#ifndef BLOCK_JOBS_MIRROR_INTERNAL_H
#define BLOCK_JOBS_MIRROR_INTERNAL_H

#include "block/copy.h"
#include "block/jobs.h"
#include "block/jobs/chain.h"
#include "block/jobs/jobs-internal.h"
#include "block/jobs/mirror-top.h"

typedef struct MirrorJob {
    Job job;
    BdrvLink *filter_link;          /* the job's own, on the filter */
    MirrorTop *top;
    BdrvCopyPair pair;              /* backends of the job's own, on the filter and the target */
    BlockDriverState *base;         /* nothing is copied from here on down; may be NULL */
    BdrvLink *top_link;             /* on the source: no snapshots where the chain counts */
    BdrvLink *base_link;            /* keeps @base; NULL: not needed */
    JobChain chain;                 /* of a commit */
    HBitmap *unscanned;
    BdrvCopy *scan, *copy;          /* @scan NULL: nothing is to be found out */
    BdrvCopy *running;              /* one of them, while it is */
    bool stays_passive;
    bool stay;                      /* it ends well, and users stay where they are */
    bool off_filter, pivoted;       /* how it ended */
    BdrvLink *replaces;             /* whose users move; NULL: the source's */

    /* Does the end come nearer? */
    AioTimer timer;
    int64_t first_pass, least_left; /* bytes */
    int looks;
} MirrorJob;

static inline MirrorJob *mirror_of(Job *job)
{
    return container_of(job, MirrorJob, job);
}

MirrorJob *main_fn mirror_new(const MirrorRequest *req, Error **errp);
bool main_fn mirror_make_copiers(MirrorJob *m, bool needs_scan, Error **errp);

/* mirror-finish.c: JobDriver.co_add_finish and co_end. */
bool co_main_fn mirror_add_finish(Job *job, Transaction *t, Error **errp);
void co_main_fn mirror_end(Job *job, bool ok);
/* Lets go of what the job holds, except for the filter's place in the graph. */
void co_main_fn mirror_release(MirrorJob *m);

#endif
