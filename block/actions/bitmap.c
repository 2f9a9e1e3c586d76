/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps in a transaction: made, removed, cleared, enabled, disabled, merged, at the instant
 * at which everything else in it happens.
 *
 * What can fail is looked at in the prepare, in the order of the actions, so that a later one finds
 * what an earlier one makes: a bitmap that is being made is hidden from everybody but the
 * transaction, and one that is going to be removed is busy.  Once guests are held the bitmaps change,
 * in the same order, before the flushes that may store them; nobody else has the node meanwhile, so
 * what was true at the prepare is still true.  If there is no commit after all they change back
 * before guests run again.
 *
 * A single action holds nobody, so that a disk that hangs does not fail it: a write that is under way
 * meanwhile may be taken for one before it or for one after it, and by (B1) is in a bitmap that
 * records after it.
 */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "block/dirty-bitmap.h"

typedef struct BitmapAction {
    BdrvAction action;
    BlockDriverState *bs;
    char *name;
    BdrvDirtyBitmap *bitmap;        /* from the prepare on */
    int64_t granularity;            /* add */
    bool disabled, persistent;      /* add */
    BitmapSource *sources;          /* merge; names owned */
    guint n_sources;
    GPtrArray *from;                /* merge: bitmaps, from the prepare on */
    HBitmap *before;                /* clear, merge: room for the bits as they were */
    bool was_enabled;
} BitmapAction;

static BitmapAction *of(BdrvAction *a)
{
    return container_of(a, BitmapAction, action);
}

/* The bitmap of that name that this transaction sees. */
static BdrvDirtyBitmap *main_fn find(BitmapAction *b, BlockDriverState *bs, const char *name,
                                     Error **errp)
{
    BdrvDirtyBitmap *bitmap = bdrv_find_any_dirty_bitmap(bs, name);
    const void *hidden_by = bitmap ? bdrv_dirty_bitmap_hidden_by(bitmap) : NULL;

    if (!bitmap || (hidden_by && hidden_by != b->action.txn)) {
        error_setg(errp, "Dirty bitmap '%s' not found", name);
        return NULL;
    }
    return bitmap;
}

static bool main_fn find_own(BitmapAction *b, unsigned uses, Error **errp)
{
    BdrvDirtyBitmap *bitmap = find(b, b->bs, b->name, errp);

    if (!bitmap || !bdrv_dirty_bitmap_check(bitmap, uses, errp)) {
        return false;
    }
    b->bitmap = bitmap;
    return true;
}

/* What the image has of a persistent one is not valid from now on: that takes a write. */
static bool co_main_fn note_change(BdrvAction *a, Error **errp)
{
    BitmapAction *b = of(a);
    BdrvDirtyBitmap *bitmap = bdrv_find_dirty_bitmap(b->bs, b->name);

    return !(bitmap ? bdrv_dirty_bitmap_persistent(bitmap) : b->persistent) ||
           bdrv_dirty_bitmap_changing(b->bs, b->name, errp);
}

/* ---- add ---- */

static bool co_main_fn add_prepare(BdrvAction *a, Error **errp)
{
    BitmapAction *b = of(a);

    if (b->persistent && !bdrv_can_store_bitmap(b->bs, b->name, b->granularity, errp)) {
        return false;
    }
    b->bitmap = bdrv_create_dirty_bitmap(b->bs, b->granularity, b->name, errp);
    if (!b->bitmap) {
        return false;
    }
    bdrv_disable_dirty_bitmap(b->bitmap);
    bdrv_dirty_bitmap_set_persistent(b->bitmap, b->persistent);
    bdrv_dirty_bitmap_set_hidden(b->bitmap, a->txn);
    return true;
}

static void main_fn add_apply(BdrvAction *a)
{
    BitmapAction *b = of(a);

    bdrv_dirty_bitmap_set_hidden(b->bitmap, NULL);
    if (!b->disabled) {
        bdrv_enable_dirty_bitmap(b->bitmap);
    }
}

static void main_fn add_undo(BdrvAction *a)
{
    BitmapAction *b = of(a);

    bdrv_disable_dirty_bitmap(b->bitmap);
    bdrv_dirty_bitmap_set_hidden(b->bitmap, a->txn);
    bdrv_dirty_bitmaps_undone(b->bs);
}

static void co_main_fn add_abort(BdrvAction *a)
{
    bdrv_release_dirty_bitmap(g_steal_pointer(&of(a)->bitmap));
}

/* ---- remove ---- */

static bool co_main_fn remove_prepare(BdrvAction *a, Error **errp)
{
    BitmapAction *b = of(a);

    if (!find_own(b, BDRV_BITMAP_TO_REMOVE, errp)) {
        return false;
    }
    bdrv_dirty_bitmap_set_busy(b->bitmap, "block-dirty-bitmap-remove");
    return true;
}

/* Hidden: it is not stored any more. */
static void main_fn remove_apply(BdrvAction *a)
{
    bdrv_dirty_bitmap_set_hidden(of(a)->bitmap, a->txn);
}

static void main_fn remove_undo(BdrvAction *a)
{
    bdrv_dirty_bitmap_set_hidden(of(a)->bitmap, NULL);
    bdrv_dirty_bitmaps_undone(of(a)->bs);
}

static void main_fn remove_commit(BdrvAction *a)
{
    BitmapAction *b = of(a);

    bdrv_dirty_bitmap_set_busy(b->bitmap, NULL);
    bdrv_release_dirty_bitmap(g_steal_pointer(&b->bitmap));
}

static void co_main_fn remove_abort(BdrvAction *a)
{
    if (of(a)->bitmap) {
        bdrv_dirty_bitmap_set_busy(of(a)->bitmap, NULL);
    }
}

/* ---- clear, enable, disable ---- */

/* The bitmap, and room for its bits, from which an undo gets them back. */
static bool co_main_fn change_prepare(BdrvAction *a, Error **errp)
{
    BitmapAction *b = of(a);

    if (!find_own(b, BDRV_BITMAP_TO_CHANGE, errp)) {
        return false;
    }
    const HBitmap *h = bdrv_dirty_bitmap_hbitmap(b->bitmap);
    b->before = hbitmap_new(hbitmap_length(h), hbitmap_granularity(h));
    if (!b->before) {
        error_setg(errp, "Cannot %s: no memory for a copy", a->what);
    }
    return b->before != NULL;
}

/* Of what records or not nothing is on disk while the image is open. */
static bool co_main_fn switch_prepare(BdrvAction *a, Error **errp)
{
    return find_own(of(a), BDRV_BITMAP_TO_READ, errp);
}

static void main_fn bits_undo(BdrvAction *a)
{
    BitmapAction *b = of(a);

    bdrv_reset_dirty_bitmap(b->bitmap, 0, INT64_MAX);
    hbitmap_merge(bdrv_dirty_bitmap_hbitmap(b->bitmap), b->before);
    bdrv_dirty_bitmaps_undone(b->bs);
}

static void main_fn clear_apply(BdrvAction *a)
{
    BitmapAction *b = of(a);

    hbitmap_merge(b->before, bdrv_dirty_bitmap_hbitmap(b->bitmap));
    bdrv_reset_dirty_bitmap(b->bitmap, 0, INT64_MAX);
}

static void main_fn enable_apply(BdrvAction *a)
{
    of(a)->was_enabled = bdrv_dirty_bitmap_enabled(of(a)->bitmap);
    bdrv_enable_dirty_bitmap(of(a)->bitmap);
}

static void main_fn disable_apply(BdrvAction *a)
{
    of(a)->was_enabled = bdrv_dirty_bitmap_enabled(of(a)->bitmap);
    bdrv_disable_dirty_bitmap(of(a)->bitmap);
}

static void main_fn switch_undo(BdrvAction *a)
{
    if (of(a)->was_enabled) {
        bdrv_enable_dirty_bitmap(of(a)->bitmap);
    } else {
        bdrv_disable_dirty_bitmap(of(a)->bitmap);
    }
    bdrv_dirty_bitmaps_undone(of(a)->bs);
}

/* ---- merge ---- */

static bool main_fn find_source(BitmapAction *b, const BitmapSource *source, Error **errp)
{
    BdrvDirtyBitmap *from = find(b, source->bs, source->name, errp);

    if (!from || !bdrv_dirty_bitmap_check(from, BDRV_BITMAP_TO_READ, errp)) {
        return false;
    }
    int64_t to = hbitmap_length(bdrv_dirty_bitmap_hbitmap(b->bitmap));
    int64_t length = hbitmap_length(bdrv_dirty_bitmap_hbitmap(from));
    if (to != length) {
        error_setg(errp, "Bitmaps are of different sizes (destination size is %" PRId64
                   ", source size is %" PRId64 ") and can't be merged", to, length);
        return false;
    }
    g_ptr_array_add(b->from, from);
    return true;
}

static bool co_main_fn merge_prepare(BdrvAction *a, Error **errp)
{
    BitmapAction *b = of(a);
    bool ok = change_prepare(a, errp);

    for (guint i = 0; ok && i < b->n_sources; i++) {
        ok = find_source(b, &b->sources[i], errp);
    }
    return ok;
}

static void main_fn merge_apply(BdrvAction *a)
{
    BitmapAction *b = of(a);

    hbitmap_merge(b->before, bdrv_dirty_bitmap_hbitmap(b->bitmap));
    for (guint i = 0; i < b->from->len; i++) {
        hbitmap_merge(bdrv_dirty_bitmap_hbitmap(b->bitmap),
                      bdrv_dirty_bitmap_hbitmap(b->from->pdata[i]));
    }
}

/* ---- all ---- */

static void main_fn bitmap_release(BdrvAction *a)
{
    BitmapAction *b = of(a);

    for (guint i = 0; i < b->n_sources; i++) {
        g_free((char *)b->sources[i].name);
    }
    g_free(b->sources);
    hbitmap_free(b->before);
    if (b->from) {
        g_ptr_array_unref(b->from);
    }
    g_free(b->name);
}

#define BITMAP_OPS(command) \
    .holder = command, .instance_size = sizeof(BitmapAction), .alone_unheld = true, \
    .co_make = note_change, .release = bitmap_release

static const BdrvActionOps ops[BITMAP_VERB__MAX] = {
    [BITMAP_ADD] = { BITMAP_OPS("block-dirty-bitmap-add"), .co_prepare = add_prepare,
                     .apply_held = add_apply, .undo_held = add_undo, .co_abort = add_abort },
    [BITMAP_REMOVE] = { BITMAP_OPS("block-dirty-bitmap-remove"), .co_prepare = remove_prepare,
                        .apply_held = remove_apply, .undo_held = remove_undo,
                        .commit = remove_commit, .co_abort = remove_abort },
    [BITMAP_CLEAR] = { BITMAP_OPS("block-dirty-bitmap-clear"), .co_prepare = change_prepare,
                       .apply_held = clear_apply, .undo_held = bits_undo },
    [BITMAP_ENABLE] = { BITMAP_OPS("block-dirty-bitmap-enable"), .co_prepare = switch_prepare,
                        .apply_held = enable_apply, .undo_held = switch_undo },
    [BITMAP_DISABLE] = { BITMAP_OPS("block-dirty-bitmap-disable"), .co_prepare = switch_prepare,
                         .apply_held = disable_apply, .undo_held = switch_undo },
    [BITMAP_MERGE] = { BITMAP_OPS("block-dirty-bitmap-merge"), .co_prepare = merge_prepare,
                       .apply_held = merge_apply, .undo_held = bits_undo },
};

static const char *const doing[BITMAP_VERB__MAX] = {
    [BITMAP_ADD] = "add", [BITMAP_REMOVE] = "remove", [BITMAP_CLEAR] = "clear",
    [BITMAP_ENABLE] = "enable", [BITMAP_DISABLE] = "disable", [BITMAP_MERGE] = "merge into",
};

static BitmapAction *co_main_fn add_action(Transaction *t, BitmapVerb verb, BlockDriverState *bs,
                                           const char *name, Error **errp)
{
    BitmapAction *b = transaction_add(t, &ops[verb], g_strdup_printf(
        "%s bitmap '%s' of node '%s'", doing[verb], name, bs->node_name));

    b->bs = bs;
    b->name = g_strdup(name);
    if (!transaction_pin(&b->action, bs, 0, errp)) {
        transaction_drop_last(t);
        return NULL;
    }
    return b;
}

bool co_main_fn bitmap_action_add(Transaction *t, BitmapVerb verb, BlockDriverState *bs,
                                  const char *name, Error **errp)
{
    return add_action(t, verb, bs, name, errp) != NULL;
}

bool co_main_fn bitmap_add_action_add(Transaction *t, BlockDriverState *bs, const char *name,
                                      int64_t granularity, bool persistent, bool disabled,
                                      Error **errp)
{
    BitmapAction *b = add_action(t, BITMAP_ADD, bs, name, errp);

    if (b) {
        b->granularity = granularity;
        b->persistent = persistent;
        b->disabled = disabled;
    }
    return b != NULL;
}

bool co_main_fn bitmap_merge_action_add(Transaction *t, BlockDriverState *bs, const char *name,
                                        const BitmapSource *sources, guint n, Error **errp)
{
    BitmapAction *b = add_action(t, BITMAP_MERGE, bs, name, errp);

    if (!b) {
        return false;
    }
    b->from = g_ptr_array_new();
    b->sources = g_new0(BitmapSource, n);
    for (b->n_sources = 0; b->n_sources < n; b->n_sources++) {
        const BitmapSource *s = &sources[b->n_sources];

        if (!transaction_pin(&b->action, s->bs, 0, errp)) {
            transaction_drop_last(t);
            return false;
        }
        b->sources[b->n_sources] = (BitmapSource){ s->bs, g_strdup(s->name) };
    }
    return true;
}
