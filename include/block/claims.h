/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the graph only: block.c, block/graph/open.c, block/graph/claims.c. */
#ifndef BLOCK_CLAIMS_H
#define BLOCK_CLAIMS_H

#include "block/block.h"

/* The claims that @link, a child of @bs, shall have while @bs's users claim @needs / @allows. */
void main_fn bdrv_child_claims(BlockDriverState *bs, BdrvLink *link, unsigned needs,
                               unsigned allows, unsigned *ret_needs, unsigned *ret_allows);

/* For drivers that pass their users' claims through to their file (filters, raw). */
void main_fn bdrv_filter_child_claims(BlockDriverState *bs, BdrvLink *link, unsigned needs,
                                      unsigned allows, unsigned *ret_needs,
                                      unsigned *ret_allows);

/* For a link of @role from @bs to what stores it, that is its file or data file. */
void main_fn bdrv_storage_spec(BlockDriverState *bs, const BdrvLinkRole *role,
                               BdrvLinkSpec *spec);
/* For a link from @bs to its backing file while requests go through it. */
void main_fn bdrv_backing_spec(BlockDriverState *bs, BdrvLinkSpec *spec);

/* The file of @bs once the change that is prepared is made; NULL: it has none. */
BlockDriverState *main_fn bdrv_file_after(const BlockDriverState *bs);

/* Every backend whose requests come to @bs along links that follow pivots is held. */
void main_fn bdrv_assert_followers_held(const BlockDriverState *bs);

void main_fn bdrv_registry_add(BlockDriverState *bs);

/* Close @bs, which has no users left, and what only it uses; @opened: its driver's co_open
 * succeeded.  NULL is fine. */
void co_main_fn bdrv_close_node(BlockDriverState *bs, bool opened);

#endif
