/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A part of a backing chain that a job merges into its base. */
#ifndef BLOCK_JOBS_CHAIN_H
#define BLOCK_JOBS_CHAIN_H

#include "block/jobs/jobs-internal.h"

/*
 * While the base is being written, what lies above it down the chain reads as a mix, except for the
 * top: nobody else may look at these nodes, and the links of the chain itself do not ask for
 * consistent data.
 */
typedef struct JobChain {
    GPtrArray *links;               /* of BdrvLink: the job's, on every node below the top, the base
                                     * among them */
    GPtrArray *backing;             /* of BdrvLink: the chain's own, that lead to those nodes;
                                     * frozen */
    BlockDriverState *base;
    GPtrArray *reopened;            /* of BlockDriverState: the base and what stores it, made
                                     * writable for the job; NULL: it was */
} JobChain;

/* @top's chain reaches @base.  Under the graph mutex; the nodes are pinned.  An error names who uses
 * one of the nodes. */
bool co_main_fn job_chain_prepare(JobChain *c, const Job *job, BlockDriverState *top,
                                  BlockDriverState *base, Error **errp);
/* Users are held. */
void main_fn job_chain_commit(JobChain *c);
void co_main_fn job_chain_clean(JobChain *c);
void co_main_fn job_chain_abort(JobChain *c);
/* The job has ended; @merged: the chain above the base is not in use any more. */
void co_main_fn job_chain_release(JobChain *c, bool merged);

/* Does the chain of @bs, without @bs itself, have @base? */
bool main_fn job_chain_has(BlockDriverState *bs, const BlockDriverState *base);

#endif
