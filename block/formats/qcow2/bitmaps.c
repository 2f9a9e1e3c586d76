/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent bitmaps: when what is on disk is valid.
 *
 * In memory they are bitmaps of the node (block/dirty-bitmap/), which record each change.  On disk
 * they are as they were when they were last stored:
 *
 * (P1) A bitmap on disk that is not marked as being in use is what it is in memory.  So before the
 *      first change of the disk those that record are marked, durably, and one that a command
 *      changes is marked before.  A process that dies leaves them marked: whoever opens the image
 *      next knows that they have missed writes.
 * (P2) They are stored (bitmaps-store.c) when nobody writes: at close, and before the image becomes
 *      read-only.  From then on (P1) is true of them, and the mark of the next change is due again:
 *      that is said before the first bit is copied, and who wants to change something waits until
 *      they are stored.
 *      As a transaction may have changed what was stored and have taken that back, all are
 *      marked then, and all written by the next storing.
 *      One whose bits a job has taken is stored with its mark: the job may give them back.
 * (P3) Bitmaps that cannot be used here are kept as they are, marks apart.
 */
#include "qemu/osdep.h"

#include "bitmap-dir.h"

/* Does (P1) want a mark?  @name: of the one that a command is about to change. */
static bool is_due(const Qcow2BitmapEntry *e, Qcow2BitmapMark which, const char *name)
{
    if (e->flags & QCOW2_BITMAP_IN_USE) {
        return false;
    }
    return which == QCOW2_MARK_ALL || (which == QCOW2_MARK_NAMED && g_strcmp0(e->name, name) == 0) ||
           (which == QCOW2_MARK_RECORDING && e->flags & QCOW2_BITMAP_AUTO);
}

int co_fn qcow2_bitmaps_mark_in_use(BlockDriverState *bs, Qcow2BitmapMark which, const char *name)
{
    Qcow2State *s = qcow2_state(bs);
    bool changed = false;
    int ret;

    if (!s->header.has_bitmaps) {
        return -EINVAL;
    }
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_read(bs, &ret);
    if (!dir) {
        return ret;
    }
    for (guint i = 0; i < dir->len; i++) {
        Qcow2BitmapEntry *e = dir->pdata[i];

        if (is_due(e, which, name)) {
            qcow2_bitmap_entry_set_flags(e, e->flags | QCOW2_BITMAP_IN_USE);
            changed = true;
        }
    }
    if (!changed) {
        return 0;
    }
    __atomic_store_n(&s->bitmaps_stale, true, __ATOMIC_SEQ_CST);
    size_t bytes;
    g_autofree uint8_t *buf = qcow2_bitmap_dir_format(dir, &bytes);
    ret = qcow2_write_table(bs, s->header.bitmap_directory, buf, bytes);
    return ret == 0 ? bdrv_co_flush(bs->file, 0) : ret;
}

void any_fn qcow2_bitmaps_undone(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    __atomic_store_n(&s->bitmaps_undone, true, __ATOMIC_SEQ_CST);
    __atomic_store_n(&s->bitmaps_stale, true, __ATOMIC_SEQ_CST);
}

bool main_fn qcow2_can_store_bitmap(BlockDriverState *bs, const char *name, int64_t granularity,
                                    Error **errp)
{
    Qcow2State *s = qcow2_state(bs);
    int64_t bits = DIV_ROUND_UP((uint64_t)bdrv_length(bs), (uint64_t)granularity);
    uint64_t directory = 0;
    guint count = 0;

    for (BdrvDirtyBitmap *b = bdrv_next_dirty_bitmap(bs, NULL); b;
         b = bdrv_next_dirty_bitmap(bs, b)) {
        if (bdrv_dirty_bitmap_persistent(b)) {
            count++;
            directory += ROUND_UP(24 + strlen(bdrv_dirty_bitmap_name(b)), 8);
        }
    }
    const char *why =
        s->header.version < 3 ? "Cannot store dirty bitmaps in qcow2 v2 files" :
        bs->read_only ? "The image is read-only" :
        !s->bitmaps_loaded ? "The bitmaps that it has could not be read" :
        count >= QCOW2_MAX_BITMAPS ? "Maximum number of persistent bitmaps is already reached" :
        directory + 24 + strlen(name) > QCOW2_MAX_BITMAP_DIRECTORY - 8
            ? "Not enough space in the bitmap directory" :
        DIV_ROUND_UP(bits, 8) > QCOW2_MAX_BITMAP_BYTES
            ? "Too much space will be occupied by the bitmap. Use larger granularity" : NULL;
    if (why) {
        error_setg(errp, "Can't make bitmap '%s' persistent in '%s': %s", name, bs->node_name,
                   why);
    }
    return !why;
}
