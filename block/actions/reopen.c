/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing open nodes as one action; block/graph/reopen.c does it. */
#include "qemu/osdep.h"

#include "block/actions.h"

typedef struct ReopenAction {
    BdrvAction action;
    GPtrArray *nodes;               /* of BlockDriverState, parents before children */
    GArray *changes;                /* of BdrvReopen, one a node */
    GPtrArray *options;             /* of BdrvOpenOptions: what the changes borrow */
    bool begun;                     /* prepared: to be committed or aborted */
} ReopenAction;

static ReopenAction *of(BdrvAction *a)
{
    return container_of(a, ReopenAction, action);
}

/* Files are opened a second time and locked: as long as disks like, and nobody else changes these
 * nodes. */
static bool co_main_fn reopen_make(BdrvAction *a, Error **errp)
{
    ReopenAction *r = of(a);

    r->begun = bdrv_reopen_prepare(r->nodes, (BdrvReopen *)r->changes->data, errp);
    return r->begun;
}

static void main_fn reopen_commit(BdrvAction *a)
{
    bdrv_reopen_commit(of(a)->nodes);
}

static void co_main_fn reopen_abort(BdrvAction *a)
{
    if (of(a)->begun) {
        bdrv_reopen_abort(of(a)->nodes);
    }
}

static void co_main_fn reopen_clean(BdrvAction *a)
{
    /* Claims that could not be given up keep others out for longer than need be, no more. */
    bdrv_reopen_clean(of(a)->nodes, NULL);
}

static void main_fn reopen_release(BdrvAction *a)
{
    ReopenAction *r = of(a);

    g_ptr_array_unref(r->nodes);
    g_array_unref(r->changes);
    g_ptr_array_unref(r->options);
}

static const BdrvActionOps reopen_ops = {
    .holder        = "blockdev-reopen",
    .instance_size = sizeof(ReopenAction),
    .co_make       = reopen_make,
    .commit        = reopen_commit,
    .co_abort      = reopen_abort,
    .co_clean      = reopen_clean,
    .release       = reopen_release,
};

/* Does a flush of @above, a node as it is now, reach @bs? */
static bool main_fn flush_reaches(const BlockDriverState *above, const BlockDriverState *bs)
{
    const BdrvLink *child;

    if (above->read_only) {
        return false;
    }
    BDRV_FOREACH_CHILD(above, child) {
        if (child->role->stores && (child->bs == bs || flush_reaches(child->bs, bs))) {
            return true;
        }
    }
    return false;
}

/*
 * A file below another node of the list is flushed with that one.  If it were flushed beside it
 * as well, and failed, the other flush might come upon a second failure before it heard of the
 * first, and the second one be reported.  What has a file of its own may have something to settle,
 * which a flush from above leaves.
 */
static bool main_fn is_flushed_from_above(const ReopenAction *r, const BlockDriverState *bs)
{
    for (guint i = 0; i < r->nodes->len && !bs->file; i++) {
        if (flush_reaches(r->nodes->pdata[i], bs)) {
            return true;
        }
    }
    return false;
}

/* A node that changes is flushed, so that it could be closed; a child to come is only kept as it
 * is. */
static bool co_main_fn pin_nodes(ReopenAction *r, Error **errp)
{
    for (guint i = 0; i < r->nodes->len; i++) {
        const BdrvReopen *to = &g_array_index(r->changes, BdrvReopen, i);
        BlockDriverState *children[] = { to->file.bs, to->backing.bs };
        BlockDriverState *bs = r->nodes->pdata[i];
        unsigned flags = is_flushed_from_above(r, bs) ? 0 : TRANSACTION_PIN_FLUSH;
        if (!transaction_pin(&r->action, bs, flags, errp)) {
            return false;
        }
        for (size_t c = 0; c < G_N_ELEMENTS(children); c++) {
            if (children[c] && !transaction_pin(&r->action, children[c], 0, errp)) {
                return false;
            }
        }
    }
    return true;
}

bool co_main_fn reopen_action_add(Transaction *t, GPtrArray *nodes, GArray *changes,
                                  GPtrArray *options, Error **errp)
{
    const BlockDriverState *first = nodes->len ? nodes->pdata[0] : NULL;
    ReopenAction *r = transaction_add(t, &reopen_ops, g_strdup_printf(
        "change node '%s'", first ? first->node_name : ""));

    r->nodes = nodes;
    r->changes = changes;
    r->options = options;
    if (!pin_nodes(r, errp)) {
        transaction_drop_last(t);
        return false;
    }
    return true;
}
