/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which nodes a snapshot of the whole machine is on. */
#include "qemu/osdep.h"

#include "block/blockdev.h"

BlockBackend *main_fn blockdev_user_of_disk(const BlockDriverState *bs)
{
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        if (blk_bs(blk) == bs && blk_yields(blk)) {
            return blk;
        }
    }
    return NULL;
}

const char *main_fn blockdev_disk_name(BlockDriverState *bs)
{
    BlockBackend *blk = blockdev_user_of_disk(bs);

    return blk && !blk_user(blk) && *blk_name(blk) ? blk_name(blk) : bs->node_name;
}

/* Is anything but its owner on it? */
static bool main_fn has_parents(BlockDriverState *bs)
{
    return bs->followers.length + bs->others.length > (bs->monitor_link ? 1 : 0);
}

bool main_fn blockdev_is_disk(BlockDriverState *bs)
{
    bool owned = bs->monitor_link != NULL;

    return (!bs->read_only || bs->inactive) &&
           (blockdev_user_of_disk(bs) || (owned && !has_parents(bs)));
}

BlockDriverState *main_fn blockdev_image_of_disk(BlockDriverState *bs)
{
    while (bs->drv->is_filter && bs->file) {
        bs = bs->file->bs;
    }
    return bs;
}
