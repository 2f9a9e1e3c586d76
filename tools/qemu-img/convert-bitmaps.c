/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bitmaps that convert takes along. */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "convert.h"

static bool main_fn is_wanted(BdrvDirtyBitmap *b, bool skip_broken)
{
    return bdrv_dirty_bitmap_persistent(b) &&
           !(skip_broken && bdrv_dirty_bitmap_inconsistent(b));
}

bool main_fn img_check_bitmaps(BlockBackend *source, bool skip_broken, Error **errp)
{
    BlockDriverState *bs = blk_bs(source);

    for (BdrvDirtyBitmap *b = bdrv_next_dirty_bitmap(bs, NULL); b;
         b = bdrv_next_dirty_bitmap(bs, b)) {
        if (bdrv_dirty_bitmap_inconsistent(b) && !skip_broken) {
            error_setg(errp, "Cannot copy inconsistent bitmap '%s'\n"
                       "Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove'",
                       bdrv_dirty_bitmap_name(b));
            return false;
        }
    }
    return true;
}

static bool co_main_fn copy_one(BdrvDirtyBitmap *b, BlockDriverState *to, Error **errp)
{
    const char *name = bdrv_dirty_bitmap_name(b);
    int64_t granularity = bdrv_dirty_bitmap_granularity(b);

    if (!bdrv_can_store_bitmap(to, name, granularity, errp) ||
        !bdrv_dirty_bitmap_changing(to, name, errp)) {
        return false;
    }
    BdrvDirtyBitmap *copy = bdrv_create_dirty_bitmap(to, granularity, name, errp);
    if (!copy) {
        return false;
    }
    bdrv_dirty_bitmap_set_persistent(copy, true);
    hbitmap_merge(bdrv_dirty_bitmap_hbitmap(copy), bdrv_dirty_bitmap_hbitmap(b));
    if (!bdrv_dirty_bitmap_enabled(b)) {
        bdrv_disable_dirty_bitmap(copy);
    }
    return true;
}

bool co_main_fn img_copy_bitmaps(BlockBackend *source, BlockBackend *target, bool skip_broken,
                                 Error **errp)
{
    BlockDriverState *bs = blk_bs(source);

    for (BdrvDirtyBitmap *b = bdrv_next_dirty_bitmap(bs, NULL); b;
         b = bdrv_next_dirty_bitmap(bs, b)) {
        if (bdrv_dirty_bitmap_inconsistent(b) && skip_broken) {
            g_printerr("%s: warning: Skipping inconsistent bitmap '%s'\n", g_get_prgname(),
                       bdrv_dirty_bitmap_name(b));
        }
        if (is_wanted(b, skip_broken)) {
            if (!copy_one(b, blk_bs(target), errp)) {
                error_prepend(errp, "Failed to populate bitmap %s: ", bdrv_dirty_bitmap_name(b));
                return false;
            }
        }
    }
    return true;
}
