/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kinds of jobs share. */
#ifndef BLOCK_JOBS_INTERNAL_H
#define BLOCK_JOBS_INTERNAL_H

#include "block/copy.h"
#include "block/jobs.h"

/* Bytes that are asked about at once. */
#define JOB_LOOK_CHUNK (16 * MiB)
/* Pieces of that size that are copied up at a time: two keep a disk busy, and each more lets guests
 * wait longer (measured: 1, 2 and 4 to 6 ms a write with 2, 4 and 8, at the same speed). */
#define JOB_COPY_UP_PARALLEL 2

void main_fn job_set_common(Job *job, const JobCommon *common);

/* A backend of @job's own on @bs.  NULL: its claims are refused. */
BlockBackend *co_main_fn job_backend(const Job *job, BlockDriverState *bs, unsigned needs,
                                     unsigned allows, Error **errp);

/* A link that keeps @bs, with "block job 'ID'" as its holder. */
BdrvLink *co_main_fn job_link(const Job *job, BlockDriverState *bs, unsigned needs,
                              unsigned allows, Error **errp);

/* Granularity of the bitmap of a job that copies @length bytes to @target: @asked, or chosen. */
int64_t any_fn job_granularity(const BlockDriverState *target, int64_t length, int64_t asked);

/*
 * For co_run: lets @copy work for a while, after pausing if that is asked for; *@running is @copy
 * meanwhile, for kick.  False: the job is cancelled, or an error ends it.
 */
bool co_main_fn job_run_copier(Job *job, BdrvCopy *copy, BdrvCopy **running,
                               BdrvCopyResult *ret_result, Error **errp);
/* The same until all is done. */
bool co_main_fn job_run_to_end(Job *job, BdrvCopy *copy, BdrvCopy **running, Error **errp);
/* False: @error (-errno) ends the job.  Else what failed is tried again, but not all the time. */
bool co_main_fn job_tolerate(Job *job, bool is_write, int error, Error **errp);

/* A bitmap of @length bytes that is dirty all over; NULL: there is no memory. */
HBitmap *any_fn job_full_bitmap(int64_t length, int64_t granularity, Error **errp);

/*
 * filter-removal.c.  The users of @filter, which a job has put in front of its file, move to that;
 * *@removed is set when they have.  As an action, and as a transaction of its own: false: a
 * disk did not come to rest, the log says so, and the filter stays.
 */
bool co_main_fn filter_removal_action_add(Transaction *t, BlockDriverState *filter,
                                          bool *removed, Error **errp);
bool co_main_fn job_remove_filter(const Job *job, BlockDriverState *filter);

/* The job is cancelled: what it asked of @target, and now waits for a server, it does not need. */
void main_fn job_give_up_target(const Job *job, BlockBackend *target);

#endif
