/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing what an image is, as far as it is the same for all drivers. */
#include "qemu/osdep.h"

#include "block/amend.h"
#include "block/block.h"
#include "block/io/io-internal.h"

static bool main_fn can_amend(BlockDriverState *bs, const BdrvAmendOptions *opts, Error **errp)
{
    if (!bs->drv->co_amend) {
        error_setg(errp, "Format driver '%s' does not support option amendment", bs->drv->name);
    } else if (bs->read_only) {
        error_setg(errp, "Cannot amend '%s': it is read-only", bs->filename);
    } else {
        return true;
    }
    return false;
}

bool co_main_fn bdrv_co_amend(BdrvLink *link, const BdrvAmendOptions *opts,
                              BdrvCheckProgress *progress, Error **errp)
{
    BlockDriverState *bs = link->bs;
    BdrvAmendOptions first = *opts, last = { .version = opts->version };
    BdrvRange range;

    if (!can_amend(bs, opts, errp)) {
        return false;
    }
    first.has_size = false;
    /* An older version can say less, so it comes last. */
    bool older = opts->version == 2 && opts->has_size;
    first.version = older ? 0 : opts->version;
    bdrv_range_lock(bs->ranges, &range, 0, INT64_MAX, true);
    bool ok = bs->drv->co_amend(bs, opts, true, progress, errp) &&
              bs->drv->co_amend(bs, &first, false, progress, errp);
    bdrv_range_unlock(bs->ranges, &range);
    if (ok && opts->has_size) {
        ok = bdrv_co_truncate(link, opts->size, BDRV_PREALLOC_OFF, errp);
    }
    if (ok && older) {
        bdrv_range_lock(bs->ranges, &range, 0, INT64_MAX, true);
        ok = bs->drv->co_amend(bs, &last, false, progress, errp);
        bdrv_range_unlock(bs->ranges, &range);
    }
    bdrv_mark_changed(bs, 0, 0);
    return ok && bdrv_co_flush(link, 0) == 0;
}
