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

/* A node that changes is flushed, so that it could be closed; a child to come is only kept as it
 * is. */
static bool co_main_fn pin_nodes(ReopenAction *r, Error **errp)
{
    for (guint i = 0; i < r->nodes->len; i++) {
        const BdrvReopen *to = &g_array_index(r->changes, BdrvReopen, i);
        BlockDriverState *children[] = { to->file.bs, to->backing.bs };
        if (!transaction_pin(&r->action, r->nodes->pdata[i], TRANSACTION_PIN_FLUSH, errp)) {
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
