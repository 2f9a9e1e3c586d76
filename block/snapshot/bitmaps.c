/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps that go with a snapshot: each that records in the base ends there, and one of the same name
 * and granularity goes on in the overlay.
 *
 * Both happen while guests are held, so each write is in exactly one of the two.  The base's are
 * disabled before it is flushed for the last time: that is how they are stored.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/snapshot/snapshot-internal.h"

/* A bitmap of the base, and what it becomes in the overlay. */
typedef struct Pair {
    BdrvDirtyBitmap *base, *overlay;
    bool carried;                   /* it did record when guests were held */
} Pair;

static Pair *pair_at(SnapshotAction *s, guint i)
{
    return &g_array_index(s->bitmaps, Pair, i);
}

/* Does @b record, or will it: is it the overlay's of an earlier snapshot of the transaction? */
static bool main_fn will_record(const SnapshotAction *s, const BdrvDirtyBitmap *b)
{
    const void *hidden_by = bdrv_dirty_bitmap_hidden_by(b);

    return hidden_by ? hidden_by == s->action.txn : bdrv_dirty_bitmap_enabled(b);
}

/* Those to carry: of BdrvDirtyBitmap, the oldest first. */
static GPtrArray *main_fn to_carry(const SnapshotAction *s)
{
    GPtrArray *found = g_ptr_array_new();

    for (GSList *l = s->req.base->bitmaps; l; l = l->next) {
        BdrvDirtyBitmap *b = l->data;

        if (bdrv_dirty_bitmap_name(b) && will_record(s, b)) {
            g_ptr_array_insert(found, 0, b);
        }
    }
    return found;
}

bool co_main_fn snapshot_bitmaps_make(SnapshotAction *s, Error **errp)
{
    if (!s->req.carry_bitmaps) {
        return true;
    }
    g_autoptr(GPtrArray) bitmaps = to_carry(s);     /* pinned, nobody else changes them */
    for (guint i = 0; i < bitmaps->len; i++) {
        BdrvDirtyBitmap *b = bitmaps->pdata[i];
        const char *name = bdrv_dirty_bitmap_name(b);

        if (bdrv_dirty_bitmap_persistent(b) &&
            (!bdrv_dirty_bitmap_changing(s->req.base, name, errp) ||
             !bdrv_dirty_bitmap_changing(s->req.overlay ?: s->snap->bs, name, errp))) {
            return false;
        }
    }
    return true;
}

static bool main_fn prepare_one(SnapshotAction *s, BdrvDirtyBitmap *b, Error **errp)
{
    const char *name = bdrv_dirty_bitmap_name(b);
    int64_t granularity = bdrv_dirty_bitmap_granularity(b);
    bool persistent = bdrv_dirty_bitmap_persistent(b);

    if (!bdrv_dirty_bitmap_check(b, BDRV_BITMAP_TO_READ, errp) ||
        (persistent && !bdrv_can_store_bitmap(s->overlay, name, granularity, errp))) {
        return false;
    }
    Pair p = {
        .base = b,
        .overlay = bdrv_create_dirty_bitmap(s->overlay, granularity, name, errp),
    };
    if (!p.overlay) {
        return false;
    }
    bdrv_disable_dirty_bitmap(p.overlay);
    bdrv_dirty_bitmap_set_persistent(p.overlay, persistent);
    bdrv_dirty_bitmap_set_hidden(p.overlay, s->action.txn);
    g_array_append_val(s->bitmaps, p);
    return true;
}

bool main_fn snapshot_bitmaps_prepare(SnapshotAction *s, Error **errp)
{
    if (!s->req.carry_bitmaps) {
        return true;
    }
    g_autoptr(GPtrArray) bitmaps = to_carry(s);
    s->bitmaps = g_array_new(FALSE, FALSE, sizeof(Pair));
    for (guint i = 0; i < bitmaps->len; i++) {
        Error *err = NULL;

        if (!prepare_one(s, bitmaps->pdata[i], &err)) {
            error_setg(errp, "Cannot carry the bitmaps of '%s' over to its snapshot: %s",
                       s->req.device, error_get_pretty(err));
            error_free(err);
            return false;
        }
    }
    return true;
}

void main_fn snapshot_bitmaps_apply(SnapshotAction *s)
{
    for (guint i = 0; s->bitmaps && i < s->bitmaps->len; i++) {
        Pair *p = pair_at(s, i);

        /* An earlier action of the transaction may have disabled it. */
        p->carried = bdrv_dirty_bitmap_enabled(p->base);
        if (p->carried) {
            bdrv_disable_dirty_bitmap(p->base);
            bdrv_dirty_bitmap_set_hidden(p->overlay, NULL);
            bdrv_enable_dirty_bitmap(p->overlay);
        }
    }
}

void main_fn snapshot_bitmaps_undo(SnapshotAction *s)
{
    for (guint i = 0; s->bitmaps && i < s->bitmaps->len; i++) {
        Pair *p = pair_at(s, i);

        if (p->carried) {
            bdrv_disable_dirty_bitmap(p->overlay);
            bdrv_dirty_bitmap_set_hidden(p->overlay, s->action.txn);
            bdrv_enable_dirty_bitmap(p->base);
            bdrv_dirty_bitmaps_undone(s->req.base);
        }
    }
}

void main_fn snapshot_bitmaps_end(SnapshotAction *s, bool committed)
{
    for (guint i = 0; s->bitmaps && i < s->bitmaps->len; i++) {
        Pair *p = pair_at(s, i);

        if (!committed || !p->carried) {
            bdrv_release_dirty_bitmap(p->overlay);
        }
    }
    g_clear_pointer(&s->bitmaps, g_array_unref);
}
