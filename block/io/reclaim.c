/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When there is no space: giving back what waits to be given back, so that a request can be tried
 * again. */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"

bool co_fn bdrv_reclaim_after(BlockDriverState *bs, int ret)
{
    if ((ret != -ENOSPC && ret != -EDQUOT && ret != -EFBIG) || !bs->drv->co_reclaim) {
        return false;
    }
    bdrv_drv_reclaim(bs);
    return true;
}
