/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checking whether an image is consistent, and repairing it. */
#ifndef BLOCK_CHECK_H
#define BLOCK_CHECK_H

#include "block/types.h"
#include "qapi/error.h"

typedef enum BdrvFix {
    BDRV_FIX_NONE,
    BDRV_FIX_LEAKS,                 /* give back what nothing refers to; nothing else changes */
    BDRV_FIX_ALL,                   /* whatever can be repaired without inventing data */
} BdrvFix;

/* What the image is like now; after a repair, what is left. */
typedef struct BdrvCheckResult {
    uint64_t corruptions;           /* references without refcount, invalid tables ... */
    uint64_t leaks;                 /* clusters with a higher refcount than references */
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t total_clusters;        /* of the disk that guests see */
    uint64_t allocated_clusters;    /* of these, that have a place of their own */
    uint64_t compressed_clusters;
    uint64_t fragmented_clusters;   /* allocated, not right behind the one before */
    uint64_t image_end_offset;      /* bytes: end of the last cluster in use */
    char *first;                    /* what the first corruption is, or NULL */
} BdrvCheckResult;

void any_fn bdrv_check_result_clear(BdrvCheckResult *res);

typedef enum BdrvProblemKind { BDRV_PROBLEM_CORRUPTION, BDRV_PROBLEM_LEAK } BdrvProblemKind;

/* How the caller of a check follows it, embedded in a struct of its own.  Either may be NULL. */
typedef struct BdrvCheckProgress BdrvCheckProgress;
struct BdrvCheckProgress {
    /* Now and then: @done of @total (grows as more becomes known).  False: end as soon as that is
     * safe, with an error. */
    bool (*step)(BdrvCheckProgress *p, uint64_t done, uint64_t total);
    /* Each problem, in one line; @repairing: it is going to be repaired, if it can be. */
    void (*problem)(BdrvCheckProgress *p, BdrvProblemKind kind, bool repairing, const char *text);
};

/* Does the format of @bs have something to check, and may @bs be repaired if @fix says so? */
bool any_fn bdrv_can_check(BlockDriverState *bs, BdrvFix fix, Error **errp);

/*
 * Check the image @bs and, as @fix says, repair it, which needs @bs to be writable.  The caller
 * holds a link to @bs with claims that keep everybody else from writing.  @progress may be NULL.
 * False if the check could not be made (bdrv_can_check(), I/O error, too large, cancelled); the
 * image is then no worse than it was.  On success the caller clears @res.
 *
 * Memory: see docs/design/qcow2.md.
 */
bool co_main_fn bdrv_co_check(BlockDriverState *bs, BdrvFix fix, BdrvCheckProgress *progress,
                              BdrvCheckResult *res, Error **errp);

#endif
