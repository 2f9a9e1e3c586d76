/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an image records as its backing file, as an action: recorded while guests run, before anything
 * else of the transaction is committed.  Whoever adds it has made sure that both names lead to the
 * same content.
 */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "qemu/log.h"

typedef struct BackingNameAction {
    BdrvAction action;
    BlockDriverState *bs;
    char *name, *format;
    char *old_name, *old_format;
    bool recorded;
} BackingNameAction;

static BackingNameAction *of(BdrvAction *a)
{
    return container_of(a, BackingNameAction, action);
}

static bool co_main_fn backing_name_make(BdrvAction *a, Error **errp)
{
    BackingNameAction *b = of(a);

    b->recorded = bdrv_co_set_backing_name(b->bs, b->name, b->format, errp);
    return b->recorded;
}

static void co_main_fn backing_name_abort(BdrvAction *a)
{
    BackingNameAction *b = of(a);
    Error *err = NULL;

    if (b->recorded && !bdrv_co_set_backing_name(b->bs, b->old_name, b->old_format, &err)) {
        log_line("image '%s' has another backing file recorded than before: %s", b->bs->filename,
                 error_get_pretty(err));
        error_free(err);
    }
}

static void main_fn backing_name_release(BdrvAction *a)
{
    BackingNameAction *b = of(a);

    g_free(b->name);
    g_free(b->format);
    g_free(b->old_name);
    g_free(b->old_format);
}

static const BdrvActionOps backing_name_ops = {
    .holder        = "another backing file",
    .instance_size = sizeof(BackingNameAction),
    .co_make       = backing_name_make,
    .co_abort      = backing_name_abort,
    .release       = backing_name_release,
};

bool co_main_fn backing_name_action_add(Transaction *t, BlockDriverState *bs, const char *name,
                                        const char *format, Error **errp)
{
    BackingNameAction *b = transaction_add(t, &backing_name_ops, g_strdup_printf(
        "record the backing file of node '%s'", bs->node_name));

    b->bs = bs;
    b->name = g_strdup(name);
    b->format = g_strdup(format);
    b->old_name = g_strdup(bs->backing_file);
    b->old_format = g_strdup(bs->backing_format);
    if (!transaction_pin(&b->action, bs, 0, errp)) {
        transaction_drop_last(t);
        return false;
    }
    return true;
}
