/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/check.h"

void any_fn bdrv_check_result_clear(BdrvCheckResult *res)
{
    g_clear_pointer(&res->first, g_free);
}

bool any_fn bdrv_can_check(BlockDriverState *bs, BdrvFix fix, Error **errp)
{
    if (!bs->drv->co_check) {
        error_setg(errp, "Cannot check node '%s': images of format '%s' have nothing to check",
                   bs->node_name, bs->drv->name);
        return false;
    }
    if (fix != BDRV_FIX_NONE && bs->read_only) {
        error_setg(errp, "Cannot repair node '%s': it is read-only", bs->node_name);
        return false;
    }
    return true;
}

bool co_main_fn bdrv_co_check(BlockDriverState *bs, BdrvFix fix, BdrvCheckProgress *progress,
                              BdrvCheckResult *res, Error **errp)
{
    *res = (BdrvCheckResult){ 0 };
    if (!bdrv_can_check(bs, fix, errp)) {
        return false;
    }
    bool ok = bs->drv->co_check(bs, fix, progress, res, errp);
    if (!ok) {
        bdrv_check_result_clear(res);
    }
    return ok;
}
