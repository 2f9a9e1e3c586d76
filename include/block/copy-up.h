/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making a node's own what it takes from the images below it; see block/io/copy-up.c. */
#ifndef BLOCK_COPY_UP_H
#define BLOCK_COPY_UP_H

#include "block/types.h"
#include "qemu/coroutine.h"

/*
 * Whatever of [@offset, @offset + @bytes) the image at @link (below its filters, if there are any)
 * takes from its backing chain is written into the image, in whole clusters.  What lies in @base,
 * an image or filter of that chain, or below it, stays as it is; with NULL everything is copied.
 * Where the images above @base read as zeroes, so does the image afterwards by itself.
 *
 * The node reads as before, to guests that write meanwhile as well, and trackers learn of nothing.
 * Durable after a flush.  Any length in bounded memory; several calls may run side by side.
 * *@ret_copied (may be NULL): bytes that were copied or written as zeroes, also after an error.
 *
 * As data requests (block/io.h): on any thread, inside a request bracket or where the chain cannot
 * change otherwise.  0 or -errno, -EPERM for a read-only node among them; what was copied before
 * the error stays, which does no harm.
 */
int co_fn bdrv_co_copy_up(BdrvLink *link, int64_t offset, int64_t bytes,
                          const BlockDriverState *base, int64_t *ret_copied);

#endif
