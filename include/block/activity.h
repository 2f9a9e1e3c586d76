/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes that another process may be writing: those of a machine that was handed over, and those of
 * one that waits to get its machine.
 *
 * (M1) An inactive node is read-only and keeps nobody out, whatever its users want; what they want
 *      is remembered, and is so again once it is active.
 * (M2) Nothing that an inactive node has in memory is believed afterwards: its image is read again.
 * (M3) What was acknowledged is on disk before a node becomes inactive, persistent bitmaps too.
 *
 * On the main thread.  docs/design/migration.md.
 */
#ifndef BLOCK_ACTIVITY_H
#define BLOCK_ACTIVITY_H

#include "block/backend.h"

/* From now on nodes that are opened to be written are inactive, or not; returns what was so before. */
bool main_fn bdrv_open_inactive(bool inactive);

bool main_fn bdrv_opens_inactive(void);

/* Of @bs and what stores it; NULL: all nodes.  False: nothing has changed, but that nodes may have
 * been read again. */
bool co_main_fn blockdev_activate(BlockDriverState *bs, Error **errp);
/* All nodes that can be written.  False: nothing has changed.  @keep_bitmaps: persistent ones stay in
 * memory, where their images have them now. */
bool co_main_fn blockdev_inactivate_all(bool keep_bitmaps, Error **errp);

#endif
