/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter that a mirror puts in front of its source. */
#ifndef BLOCK_JOBS_MIRROR_TOP_H
#define BLOCK_JOBS_MIRROR_TOP_H

#include "block/block.h"
#include "block/ranges.h"
#include "qemu/hbitmap.h"

/* What the filter and the job share; the filter's, which the job keeps open. */
typedef struct MirrorTop {
    HBitmap *dirty;                 /* what of the source the target lacks; NULL until the job has
                                     * one, and never NULL again */
    HBitmap *lacking;               /* (T4): granules of which the target has nothing yet; NULL: it
                                     * has a backing file, or gets everything */
    BdrvRangeSet *ranges;           /* (T2): writes shared, copies exclusive */
    bool active;                    /* atomic: guests' writes go to the target as well */
    bool off;                       /* atomic: the job has ended: nothing is noted any more */
} MirrorTop;

/*
 * A filter over @bs that is not in use yet, with @target as the node to copy to, and the caller's
 * link to it.  @name: NULL: nobody has to know of it.  Takes @dirty and @lacking.
 */
BdrvLink *co_main_fn mirror_top_new(BlockDriverState *bs, BlockDriverState *target,
                                    const char *name, const char *holder, HBitmap *dirty,
                                    HBitmap *lacking, Error **errp);
/* The target has that range now, which is locked. */
void any_fn mirror_top_copied(MirrorTop *m, int64_t offset, int64_t bytes);
MirrorTop *any_fn mirror_top_of(BlockDriverState *filter);

#endif
