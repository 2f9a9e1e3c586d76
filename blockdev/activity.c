/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes become inactive and active again: (M1) to (M3) in include/block/activity.h. */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "block/activity.h"
#include "block/blockdev.h"

/* ---- which nodes ---- */

static bool main_fn is_to_change(const BlockDriverState *bs, bool active)
{
    return active ? bs->inactive : !bs->read_only;
}

/* @bs and what stores it. */
static void main_fn add_stack(GPtrArray *nodes, BlockDriverState *bs, bool active)
{
    g_autoptr(GPtrArray) to_visit = g_ptr_array_new();

    g_ptr_array_add(to_visit, bs);
    while (to_visit->len) {
        BlockDriverState *node = g_ptr_array_remove_index(to_visit, to_visit->len - 1);
        BdrvLink *child;

        if (is_to_change(node, active) && !g_ptr_array_find(nodes, node, NULL)) {
            g_ptr_array_add(nodes, node);
        }
        BDRV_FOREACH_CHILD(node, child) {
            if (child->role->stores) {
                g_ptr_array_add(to_visit, child->bs);
            }
        }
    }
}

static int level_of(GHashTable *levels, const BlockDriverState *bs)
{
    return GPOINTER_TO_INT(g_hash_table_lookup(levels, bs));
}

/* Each is deeper than all its parents among @nodes: once around for every level. */
static GHashTable *main_fn find_levels(const GPtrArray *nodes)
{
    GHashTable *levels = g_hash_table_new(NULL, NULL);
    bool again = true;

    while (again) {
        again = false;
        for (guint i = 0; i < nodes->len; i++) {
            BlockDriverState *bs = nodes->pdata[i];
            int level = level_of(levels, bs) + 1;
            BdrvLink *child;
            BDRV_FOREACH_CHILD(bs, child) {
                if (level_of(levels, child->bs) < level) {
                    g_hash_table_insert(levels, child->bs, GINT_TO_POINTER(level));
                    again = true;
                }
            }
        }
    }
    return levels;
}

static gint by_level(gconstpointer a, gconstpointer b, gpointer levels)
{
    return level_of(levels, *(BlockDriverState *const *)a) -
           level_of(levels, *(BlockDriverState *const *)b);
}

/* Parents before children. */
static GPtrArray *main_fn nodes_to_change(BlockDriverState *bs, bool active)
{
    GPtrArray *nodes = g_ptr_array_new();

    if (bs) {
        add_stack(nodes, bs, active);
    }
    for (BlockDriverState *n = bs ? NULL : bdrv_next_node(NULL); n; n = bdrv_next_node(n)) {
        add_stack(nodes, n, active);
    }
    /* Filters of jobs are not among those that have names. */
    for (BlockBackend *blk = bs ? NULL : blk_next(NULL); blk; blk = blk_next(blk)) {
        if (blk_bs(blk)) {
            add_stack(nodes, blk_bs(blk), active);
        }
    }
    g_autoptr(GHashTable) levels = find_levels(nodes);
    g_ptr_array_sort_with_data(nodes, by_level, levels);
    return nodes;
}

/* Does a device, a drive or an export on @bs write, once it may? */
static bool main_fn has_writer(const BlockDriverState *bs)
{
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        if (blk_bs(blk) == bs && blk_is_writable(blk)) {
            return true;
        }
    }
    return false;
}

/*
 * Is an inactive node to stay read-only: one that is only the base of others, or stores one that is?
 * @nodes: those that stay; parents are looked at before their children.
 */
static bool main_fn is_to_stay(const GPtrArray *nodes, const BlockDriverState *bs)
{
    const GQueue *users[] = { &bs->followers, &bs->others };
    bool stores_such = false, stores_other = false;

    for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
        for (const GList *e = users[i]->head; e; e = e->next) {
            const BdrvLink *link = e->data;
            if (!link->parent) {
                continue;
            }
            bool stays = !link->role->stores || g_ptr_array_find((GPtrArray *)nodes, link->parent,
                                                                 NULL);
            stores_such |= stays;
            stores_other |= !stays;
        }
    }
    return stores_such && !stores_other && !has_writer(bs);
}

/* ---- the change ---- */

typedef struct Change {
    GPtrArray *nodes;
    bool active;
} Change;

static bool co_main_fn add_change(Transaction *t, const void *opaque, Error **errp)
{
    const Change *c = opaque;
    GPtrArray *nodes = g_ptr_array_new();
    GArray *changes = g_array_new(FALSE, FALSE, sizeof(BdrvReopen));
    g_autoptr(GPtrArray) stay = g_ptr_array_new();

    for (guint i = 0; i < c->nodes->len; i++) {
        BdrvReopen to = bdrv_reopen_same(c->nodes->pdata[i]);
        if (c->active && is_to_stay(stay, c->nodes->pdata[i])) {
            g_ptr_array_add(stay, c->nodes->pdata[i]);
        }
        to.read_only = !c->active || g_ptr_array_find(stay, c->nodes->pdata[i], NULL);
        g_ptr_array_add(nodes, c->nodes->pdata[i]);
        g_array_append_val(changes, to);
    }
    return reopen_action_add(t, nodes, changes, g_ptr_array_new(), errp);
}

static void main_fn keep_out_others(const GPtrArray *nodes, bool keep_out)
{
    for (guint i = 0; i < nodes->len; i++) {
        ((BlockDriverState *)nodes->pdata[i])->force_share = !keep_out;
    }
}

/* ---- users ---- */

static bool co_main_fn claim_all(Error **errp)
{
    bool ok = true;

    bdrv_graph_lock();
    for (BlockBackend *blk = blk_next(NULL); blk && ok; blk = blk_next(blk)) {
        ok = blk_refresh_claims(blk, errp);
    }
    bdrv_graph_unlock();
    return ok;
}

/* The links to backing files: those of inactive nodes keep nobody out either. */
static void co_main_fn claim_backing(const GPtrArray *nodes)
{
    bdrv_graph_lock();
    for (guint i = 0; i < nodes->len; i++) {
        bdrv_refresh_backing_claims(nodes->pdata[i]);
    }
    bdrv_graph_unlock();
}

static void main_fn set_inactive(const GPtrArray *nodes, bool inactive)
{
    for (guint i = 0; i < nodes->len; i++) {
        ((BlockDriverState *)nodes->pdata[i])->inactive = inactive;
    }
}

/* ---- reading again ---- */

static bool co_main_fn reload(BlockDriverState *bs, Error **errp)
{
    if (bs->drv->co_reload) {
        return bs->drv->co_reload(bs, errp);
    }
    if (bs->drv->co_getlength) {
        int64_t length = bs->drv->co_getlength(bs);
        if (length < 0) {
            error_setg_errno(errp, -length, "Cannot find the length of '%s'", bs->filename);
            return false;
        }
        __atomic_store_n(&bs->length, length, __ATOMIC_RELAXED);
    } else if (bs->file && bs->drv->shows_file) {
        __atomic_store_n(&bs->length, bdrv_length(bs->file->bs), __ATOMIC_RELAXED);
    }
    return true;
}

/* Files before what is in them. */
static bool co_main_fn reload_all(const GPtrArray *nodes, Error **errp)
{
    for (guint i = nodes->len; i > 0; i--) {
        BlockDriverState *bs = nodes->pdata[i - 1];
        if (!reload(bs, errp)) {
            error_prepend(errp, "Could not read the image of node '%s' again: ", bs->node_name);
            return false;
        }
    }
    return true;
}

/* ---- both ways ---- */

bool co_main_fn blockdev_activate(BlockDriverState *bs, Error **errp)
{
    g_autoptr(GPtrArray) nodes = nodes_to_change(bs, true);
    Change c = { nodes, true };

    if (nodes->len == 0) {
        return bs || claim_all(errp);
    }
    if (!reload_all(nodes, errp)) {
        return false;
    }
    keep_out_others(nodes, true);
    if (!blockdev_run_transaction(add_change, &c, errp)) {
        keep_out_others(nodes, false);
        return false;
    }
    set_inactive(nodes, false);
    claim_backing(nodes);
    return claim_all(errp);
}

/* Is @bs one of @top and what it shows and is stored in?  What filters copy to is not. */
static bool main_fn is_below(BlockDriverState *top, const BlockDriverState *bs)
{
    g_autoptr(GPtrArray) to_visit = g_ptr_array_new();

    g_ptr_array_add(to_visit, top);
    while (to_visit->len) {
        BlockDriverState *node = g_ptr_array_remove_index(to_visit, to_visit->len - 1);
        BdrvLink *child;

        if (node == bs) {
            return true;
        }
        BDRV_FOREACH_CHILD(node, child) {
            if (child->role->stores || child->role == &bdrv_role_backing) {
                g_ptr_array_add(to_visit, child->bs);
            }
        }
    }
    return false;
}

/* Does anybody but a job lead to @bs? */
static bool main_fn is_a_guests(BlockDriverState *bs)
{
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        if (blk_yields(blk) && blk_bs(blk) && is_below(blk_bs(blk), bs)) {
            return true;
        }
    }
    return false;
}

/*
 * A job that writes to a disk of the guest's would not know that it may not any more.  The target of
 * a mirror, by which a disk may go to the other side, does not change hands: it leaves @nodes.
 */
static bool main_fn leave_out_targets(GPtrArray *nodes, Error **errp)
{
    for (BlockBackend *blk = blk_next(NULL); blk; blk = blk_next(blk)) {
        BlockDriverState *bs = blk_bs(blk);
        if (!bs || blk_yields(blk) || (blk_outlasts_handover(blk) && !blk_is_writable(blk))) {
            continue;
        }
        if (!blk_outlasts_handover(blk) || is_a_guests(bs)) {
            error_setg(errp, "Node '%s' is in use: by %s", bs->node_name, blk_user(blk) ?: "a job");
            return false;
        }
        g_autoptr(GPtrArray) stack = g_ptr_array_new();
        add_stack(stack, bs, false);
        for (guint i = 0; i < stack->len; i++) {
            g_ptr_array_remove(nodes, stack->pdata[i]);
        }
    }
    return true;
}

/* Who gets the image reads them from it. */
static void main_fn forget_stored_bitmaps(const GPtrArray *nodes)
{
    for (guint i = 0; i < nodes->len; i++) {
        BdrvDirtyBitmap *b = bdrv_next_dirty_bitmap(nodes->pdata[i], NULL);
        while (b) {
            BdrvDirtyBitmap *next = bdrv_next_dirty_bitmap(nodes->pdata[i], b);
            if (bdrv_dirty_bitmap_persistent(b)) {
                bdrv_release_dirty_bitmap(b);
            }
            b = next;
        }
    }
}

bool co_main_fn blockdev_inactivate_all(bool keep_bitmaps, Error **errp)
{
    g_autoptr(GPtrArray) nodes = nodes_to_change(NULL, false);
    Change c = { nodes, false };

    if (!leave_out_targets(nodes, errp)) {
        return false;
    }
    if (nodes->len == 0) {
        return true;
    }
    set_inactive(nodes, true);
    keep_out_others(nodes, false);
    claim_backing(nodes);
    if (claim_all(errp) && blockdev_run_transaction(add_change, &c, errp)) {
        if (!keep_bitmaps) {
            forget_stored_bitmaps(nodes);
        }
        return true;
    }
    keep_out_others(nodes, true);
    set_inactive(nodes, false);
    claim_backing(nodes);
    claim_all(NULL);
    return false;
}
