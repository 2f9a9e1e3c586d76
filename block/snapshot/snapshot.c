/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The snapshot as an action of a transaction: what its steps do.
 *
 *   check     no disk is touched (check.c)
 *   take      the overlay's file, without a name where that is possible (overlay.c)
 *   make      the overlay laid out, synced and opened; its directory synced (overlay.c)
 *   prepare   the overlay linked to its base (overlay.c)
 *   commit    the pivot: void
 *   clean     the base's write locks given up
 */
#include "qemu/osdep.h"

#include "block/snapshot/snapshot-internal.h"

static SnapshotAction *of(BdrvAction *a)
{
    return container_of(a, SnapshotAction, action);
}

static void main_fn snapshot_assert(const SnapshotAction *s)
{
    const BlockDriverState *base = s->req.base;

    g_assert(!s->backing || s->is_written || s->overlay->backing == s->backing);
    switch (transaction_state(s->action.txn)) {
    case TRANSACTION_PREPARED:
    case TRANSACTION_HELD:
        g_assert(s->snap && s->snap->bs == s->overlay && s->backing->bs == base);
        break;
    case TRANSACTION_COMMITTED:
        g_assert(!s->snap || s->snap->bs == base);
        break;
    case TRANSACTION_ABORTED:
        g_assert(!s->snap && !s->file && !s->backing && !s->ro_nodes);
        break;
    default:
        break;
    }
}

/* ---- held ---- */

static void main_fn snapshot_apply(BdrvAction *a)
{
    snapshot_bitmaps_apply(of(a));
}

static void main_fn snapshot_undo(BdrvAction *a)
{
    snapshot_bitmaps_undo(of(a));
}

/* ---- commit ---- */

static void main_fn snapshot_commit(BdrvAction *a)
{
    SnapshotAction *s = of(a);
    BlockDriverState *base = s->req.base;

    snapshot_assert(s);
    if (s->is_written) {
        bdrv_add_child(s->backing);
    }
    bdrv_backing_link_seal(s->backing);
    bdrv_append(s->overlay, base);
    bdrv_show(s->overlay);
    snapshot_bitmaps_end(s, true);
    /* The command's own link is on the base now and wants nothing of it. */
    s->snap->needs = CLAIM_NONE;
    s->snap->allows = CLAIM_ALL;
    /* The overlay is its users': they may have moved on, and it may be gone, before the clean. */
    s->base_node_name = g_strdup(base->node_name);
    s->overlay_node_name = g_strdup(s->overlay->node_name);
    s->overlay_filename = g_strdup(s->overlay->filename);
    s->overlay = NULL;
    s->backing = NULL;
    if (s->ro_nodes) {
        bdrv_reopen_commit(s->ro_nodes);
    }
}

/* ---- clean ---- */

/* After the guests run again: close what was replaced, give up the base's write locks. */
static void co_main_fn snapshot_clean(BdrvAction *a)
{
    SnapshotAction *s = of(a);
    BlockDriverState *base = s->req.base;

    snapshot_assert(s);
    if (s->ro_nodes) {
        bdrv_reopen_clean(s->ro_nodes, &s->ro_error);
        g_clear_pointer(&s->ro_nodes, g_ptr_array_unref);
    }
    /* Also of a base that was read-only before and is none of those. */
    bdrv_refresh_claims(base, s->ro_error ? NULL : &s->ro_error);
    s->base_is_read_only = base->read_only && !s->ro_error;
    /* What users that stay with the base need was prepared for the overlay as well. */
    BlockDriverState *overlay = bdrv_find_node(s->overlay_node_name);
    if (overlay) {
        bdrv_refresh_claims(overlay, NULL);
    }
    bdrv_link_free(g_steal_pointer(&s->snap));
    new_file_commit(g_steal_pointer(&s->file));
}

static void main_fn snapshot_release(BdrvAction *a)
{
    SnapshotAction *s = of(a);

    snapshot_release_name(s);
    g_free((char *)s->req.device);
    g_free((char *)s->req.filename);
    g_free(s->path);
    g_free((char *)s->req.format);
    g_free((char *)s->req.node_name);
    g_free(s->overlay_filename);
    g_free(s->overlay_node_name);
    g_free(s->base_node_name);
    error_free(s->ro_error);
}

static const BdrvActionOps snapshot_ops = {
    .holder        = snapshot_holder,
    .instance_size = sizeof(SnapshotAction),
    .co_take       = snapshot_take,
    .check_taken   = snapshot_check_taken,
    .co_make       = snapshot_make,
    .co_prepare    = snapshot_prepare,
    .apply_held    = snapshot_apply,
    .undo_held     = snapshot_undo,
    .commit        = snapshot_commit,
    .co_abort      = snapshot_abort,
    .co_clean      = snapshot_clean,
    .release       = snapshot_release,
};

/* ---- adding ---- */

bool co_main_fn snapshot_action_add(Transaction *t, const SnapshotRequest *req, Error **errp)
{
    SnapshotAction *s = transaction_add(t, &snapshot_ops,
                                        g_strdup_printf("take a snapshot of '%s'", req->device));
    ErrorMember member = {
        .device = req->device, .filename = req->filename, .index = s->action.index,
    };
    Error *err = NULL;

    s->req = *req;
    s->action.device = s->req.device = g_strdup(req->device);
    s->action.filename = s->req.filename = g_strdup(req->filename);
    s->path = req->filename ? bdrv_path_combine(NULL, req->filename) : NULL;
    s->req.format = g_strdup(req->format);
    s->req.node_name = g_strdup(req->node_name);
    /* Pinned first: what another transaction is changing is not looked at. */
    if (!transaction_pin(&s->action, req->base, TRANSACTION_PIN_FLUSH, &err) ||
        (req->overlay && !transaction_pin(&s->action, req->overlay, 0, &err)) ||
        !snapshot_check(s, &err)) {
        error_set_member(err, &member);
        error_propagate(errp, err);
        transaction_drop_last(t);
        return false;
    }
    if (s->req.node_name) {
        bdrv_reserve_node_name(s->req.node_name);
        s->name_reserved = true;
    }
    return true;
}
