/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of quorum. */
#ifndef BLOCK_FILTERS_QUORUM_INTERNAL_H
#define BLOCK_FILTERS_QUORUM_INTERNAL_H

#include "block/block.h"
#include "block/quorum.h"

#define QUORUM_MAX_CHILDREN 64

typedef struct QuorumState {
    BdrvLink *children[QUORUM_MAX_CHILDREN];
    int n;                          /* of them */
    int threshold;                  /* votes that are needed, 1 .. @n */
    bool blkverify, rewrite, fifo;
    struct BdrvRangeSet *ranges;    /* reads hold theirs shared, changes exclusively (Q1) */
    int64_t reported_ns[QUORUM_MAX_CHILDREN + 1];   /* atomic, clock_ns(): the last report of each,
                                                     * and of failures; 0: none */
} QuorumState;

/* Tells that child @i failed with @error (-errno; 0: it was outvoted); -1: that there is no quorum.
 */
void any_fn quorum_report(BlockDriverState *bs, int i, QuorumOp op, int error, int64_t offset,
                          int64_t bytes);

/*
 * What came of a request of which child i returned rets[i]: 0, if enough have succeeded, or the
 * error that most of the others had.  Reports those that failed.
 */
int any_fn quorum_vote_on_results(BlockDriverState *bs, const int *rets, QuorumOp op,
                                  int64_t offset, int64_t bytes);

/*
 * The child whose data most have: rets[i] and bufs[i], of @bytes, are what child i returned, and
 * enough have succeeded.  *@ret_votes is how many have its data.  @ret_bad[i]: child i has other data.
 */
int any_fn quorum_vote_on_data(const QuorumState *s, const int *rets, uint8_t *const *bufs,
                               int64_t bytes, int *ret_votes, bool *ret_bad);

#endif
