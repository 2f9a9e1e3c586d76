/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kinds of jobs share. */
#ifndef BLOCK_JOBS_INTERNAL_H
#define BLOCK_JOBS_INTERNAL_H

#include "block/jobs.h"

void main_fn job_set_common(Job *job, const JobCommon *common);

/* A backend of @job's own on @bs.  NULL: its claims are refused. */
BlockBackend *co_main_fn job_backend(const Job *job, BlockDriverState *bs, unsigned needs,
                                     unsigned allows, Error **errp);

/* A link that keeps @bs, with "block job 'ID'" as its holder. */
BdrvLink *co_main_fn job_link(const Job *job, BlockDriverState *bs, unsigned needs,
                              unsigned allows, Error **errp);

/* Granularity of the bitmap of a job that copies @length bytes to @target: @asked, or chosen. */
int64_t any_fn job_granularity(const BlockDriverState *target, int64_t length, int64_t asked);

#endif
