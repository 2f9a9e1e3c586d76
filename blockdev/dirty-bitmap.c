/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What clients ask about dirty bitmaps.  Commands that change them are transactions: transaction.c.
 */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "block/dirty-bitmap.h"
#include "qapi/qapi-commands.h"

BlockDirtyInfoList *main_fn blockdev_bitmaps_info(BlockDriverState *bs)
{
    BlockDirtyInfoList *list = NULL, **tail = &list;
    BdrvDirtyBitmap *b = NULL;

    while ((b = bdrv_next_dirty_bitmap(bs, b))) {
        BlockDirtyInfo *info = g_new0(BlockDirtyInfo, 1);

        info->name = g_strdup(bdrv_dirty_bitmap_name(b));
        info->count = bdrv_dirty_bitmap_shown_count(b);
        info->granularity = bdrv_dirty_bitmap_granularity(b);
        info->recording = bdrv_dirty_bitmap_enabled(b);
        info->busy = bdrv_dirty_bitmap_owner(b) != NULL;
        info->persistent = bdrv_dirty_bitmap_persistent(b);
        info->has_inconsistent = info->inconsistent = bdrv_dirty_bitmap_inconsistent(b);
        BlockDirtyInfoList_append(&tail, info);
    }
    return list;
}

BdrvDirtyBitmap *main_fn blockdev_find_bitmap(const BlockDirtyBitmap *which, Error **errp)
{
    BlockDriverState *bs = blockdev_lookup(which->node, which->node, false, NULL);
    BdrvDirtyBitmap *b = bs ? bdrv_find_dirty_bitmap(bs, which->name) : NULL;

    if (!bs) {
        error_setg(errp, "Node '%s' not found", which->node);
    } else if (!b) {
        error_setg(errp, "Dirty bitmap '%s' not found", which->name);
    }
    return b;
}

/* Bytes that are hashed before others have their turn: some hundreds of microseconds. */
#define HASH_IN_ONE_GO (256 * KiB)

bool co_main_fn qmp_x_debug_block_dirty_bitmap_sha256(const BlockDirtyBitmap *args,
                                                      BlockDirtyBitmapSha256 **ret, Error **errp)
{
    g_autofree uint8_t *buf = g_malloc(HASH_IN_ONE_GO);
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    BdrvDirtyBitmap *b = blockdev_find_bitmap(args, errp);
    int64_t pos = 0;

    while (b) {
        const HBitmap *h = bdrv_dirty_bitmap_hbitmap(b);
        int64_t n = MIN(hbitmap_serial_bytes(h) - pos, HASH_IN_ONE_GO);

        if (n <= 0) {
            break;
        }
        hbitmap_serialize(h, pos, n, buf);
        g_checksum_update(sum, buf, n);
        pos += n;
        coroutine_reschedule();
        b = blockdev_find_bitmap(args, errp);           /* it may have gone */
    }
    if (!b) {
        return false;
    }
    *ret = g_new0(BlockDirtyBitmapSha256, 1);
    (*ret)->sha256 = g_strdup(g_checksum_get_string(sum));
    return true;
}
