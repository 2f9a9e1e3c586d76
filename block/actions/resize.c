/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Resizing a node: all of it happens while guests are held, and has the transaction's deadline. */
#include "qemu/osdep.h"

#include "block/actions.h"

typedef struct ResizeAction {
    BdrvAction action;
    BlockDriverState *bs;
    int64_t size;
    BdrvLink *link;                 /* with the claim to resize; the work's once that is begun */
} ResizeAction;

/* What the work needs, which may outlive the action. */
typedef struct ResizeWork {
    BdrvLink *link;
    int64_t size;
} ResizeWork;

static ResizeAction *of(BdrvAction *a)
{
    return container_of(a, ResizeAction, action);
}

/* What was answered is there after a power cut; what cannot be made durable is undone. */
static bool co_main_fn resize_durably(BdrvLink *link, int64_t size, Error **errp)
{
    BlockDriverState *bs = link->bs;
    int64_t old = bdrv_length(bs);

    if (!bdrv_co_truncate(link, size, BDRV_PREALLOC_OFF, errp)) {
        return false;
    }
    /* What a format has left to write then is of no consequence, and growing back would not bring
     * back what it cut off. */
    int ret = bdrv_truncate_is_durable(bs) ? 0 : bdrv_co_flush(link, 0);
    if (ret < 0) {
        bool undone = bdrv_co_truncate(link, old, BDRV_PREALLOC_OFF, NULL);
        error_setg(errp, "Cannot flush node '%s' (%s) after resizing it: %s%s", bs->node_name,
                   bs->filename, g_strerror(-ret), undone ? "" : "; it keeps its new length");
    }
    return ret == 0;
}

static bool co_main_fn resize_fn(BlockDriverState *bs, void *opaque, Error **errp)
{
    ResizeWork *w = opaque;
    bool ok = resize_durably(w->link, w->size, errp);

    bdrv_link_free(w->link);
    return ok;
}

static bool co_main_fn resize_prepare(BdrvAction *a, Error **errp)
{
    BdrvLinkSpec spec = {
        .needs = CLAIM_RESIZE, .allows = CLAIM_ALL, .holder = "block_resize",
    };

    of(a)->link = bdrv_link_new(of(a)->bs, &spec, errp);
    return of(a)->link != NULL;
}

static void co_main_fn resize_start_held(BdrvAction *a)
{
    ResizeAction *r = of(a);
    ResizeWork *w = g_new(ResizeWork, 1);

    *w = (ResizeWork){ .link = g_steal_pointer(&r->link), .size = r->size };
    transaction_start_work(a, r->bs, "a resize that does not return", resize_fn, w, g_free);
}

static void co_main_fn resize_abort(BdrvAction *a)
{
    bdrv_link_free(g_steal_pointer(&of(a)->link));
}

static const BdrvActionOps resize_ops = {
    .holder        = "block_resize",
    .instance_size = sizeof(ResizeAction),
    .co_prepare    = resize_prepare,
    .co_start_held = resize_start_held,
    .co_abort      = resize_abort,
};

bool co_main_fn resize_action_add(Transaction *t, BlockDriverState *bs, int64_t size, Error **errp)
{
    ResizeAction *r = transaction_add(t, &resize_ops,
                                      g_strdup_printf("resize node '%s'", bs->node_name));

    r->bs = bs;
    r->size = size;
    if (!transaction_pin(&r->action, bs, 0, errp)) {
        transaction_drop_last(t);
        return false;
    }
    return true;
}
