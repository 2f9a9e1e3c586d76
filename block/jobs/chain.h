/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of a backing chain that a job works on. */
#ifndef BLOCK_JOBS_CHAIN_H
#define BLOCK_JOBS_CHAIN_H

#include "block/jobs/jobs-internal.h"

typedef struct JobChainSpec {
    BlockDriverState *above;        /* the image whose backing file @top is; NULL: @top is the disk */
    BlockDriverState *top, *base;   /* @base NULL: down to the end */
    bool merges;                    /* the base is written */
    BlockDriverState *writable;     /* another image that is, or NULL */
} JobChainSpec;

/*
 * The backing links of the chain are frozen, its nodes kept.  While the base is written, what lies
 * above it down the chain reads as a mix, except for the top: nobody else may look at these
 * nodes, and the links of the chain itself do not ask for consistent data.
 */
typedef struct JobChain {
    JobChainSpec spec;
    GPtrArray *links;               /* of BdrvLink: the job's own, on every node; NULL: nothing is
                                     * prepared */
    GPtrArray *frozen;              /* of BlockDriverState, kept by @links: whose backing links lead
                                     * down the chain */
    bool thawed;                    /* they may change now: the job's end does that */
    GPtrArray *reopened;            /* of BlockDriverState: made writable for the job, parents
                                     * before what is below them; NULL: none */
} JobChain;

/* Under the graph mutex; the nodes are pinned.  An error names who uses one of the nodes. */
bool co_main_fn job_chain_prepare(JobChain *c, const Job *job, const JobChainSpec *spec,
                                  Error **errp);
void main_fn job_chain_commit(JobChain *c);         /* users are held */
void co_main_fn job_chain_clean(JobChain *c);
void co_main_fn job_chain_abort(JobChain *c);       /* nothing if nothing is prepared */

/* Pins what job_chain_prepare() will want. */
bool co_main_fn job_chain_pin(BdrvAction *a, const JobChainSpec *spec, Error **errp);

/*
 * Adds the actions by which @bs gets @base (NULL: none) as its backing file, recorded as @name, and
 * what was made writable for the job is read-only again.
 */
bool co_main_fn job_chain_add_finish(JobChain *c, Transaction *t, BlockDriverState *bs,
                                     BlockDriverState *base, const char *name,
                                     const char *format, Error **errp);
/* What was made writable stays so: its users have it. */
void main_fn job_chain_keep_writable(JobChain *c);
/* The job has ended; @merged: nobody reads through what lies above the base any more. */
void co_main_fn job_chain_release(JobChain *c, bool merged);

/* Its links may be exchanged now. */
void main_fn job_chain_thaw(JobChain *c);
/* Its nodes may be used by others now; nothing if nothing is prepared. */
void co_main_fn job_chain_give_claims_up(JobChain *c);
/* Of job_chain_release(): its last part. */
void co_main_fn job_chain_drop(JobChain *c, bool merged);

/* Makes the base as long as @length, if it is shorter. */
bool co_main_fn job_chain_grow_base(JobChain *c, int64_t length, Error **errp);

#endif
