/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev-reopen: which nodes change, and how, from what a client says. */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "block/blockdev.h"
#include "qapi/qapi-commands.h"

typedef struct Reopen {
    GPtrArray *nodes;               /* of BlockDriverState, parents before children */
    GArray *changes;                /* of BdrvReopen, one a node */
    GPtrArray *options;             /* of BdrvOpenOptions: what the changes borrow */
} Reopen;

static void reopen_init(Reopen *r)
{
    r->nodes = g_ptr_array_new();
    r->changes = g_array_new(FALSE, FALSE, sizeof(BdrvReopen));
    r->options = g_ptr_array_new_with_free_func((GDestroyNotify)bdrv_open_options_free);
}

static void reopen_clear(Reopen *r)
{
    g_ptr_array_unref(r->nodes);
    g_array_unref(r->changes);
    g_ptr_array_unref(r->options);
}

static bool set_unchangeable(const char *what, Error **errp)
{
    error_setg(errp, "Cannot change the option '%s'", what);
    return false;
}

/* ---- what a client says of one node ---- */

static bool main_fn check_same_node(const BlockDriverState *bs, const BdrvOpenOptions *o,
                                    Error **errp)
{
    if (strcmp(bs->drv->name, o->driver) != 0) {
        return set_unchangeable("driver", errp);
    }
    if (o->node_name && strcmp(bs->node_name, o->node_name) != 0) {
        return set_unchangeable("node-name", errp);
    }
    if (o->force_share != bs->force_share) {
        return set_unchangeable("force-share", errp);
    }
    return true;
}

static bool main_fn add_node(Reopen *r, BlockDriverState *bs, const BdrvOpenOptions *o,
                             Error **errp);

/* A child is named, or described as it is. */
static bool main_fn add_child(Reopen *r, const BdrvLink *link, const char *role,
                              const BdrvChildOption *o, Error **errp)
{
    if (o->reference) {
        return (link && strcmp(o->reference, link->bs->node_name) == 0) ||
               set_unchangeable(role, errp);
    }
    if (o->options) {
        return link ? add_node(r, link->bs, o->options, errp) : set_unchangeable(role, errp);
    }
    return true;
}

static BlockDriverState *main_fn find_child(const char *node_name, Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(node_name);

    if (!bs) {
        error_setg(errp, "Cannot find device='' nor node-name='%s'", node_name);
    }
    return bs;
}

/* Another node by its name, or what add_child() takes. */
static bool main_fn set_file(Reopen *r, BlockDriverState *bs, const BdrvChildOption *o,
                             BdrvReopen *to, Error **errp)
{
    if (!bs->file || !o->reference || strcmp(o->reference, bs->file->bs->node_name) == 0) {
        return add_child(r, bs->file, "file", o, errp);
    }
    to->file = (BdrvChildChange){ .replaces = true, .bs = find_child(o->reference, errp) };
    return to->file.bs != NULL;
}

static bool main_fn set_backing(Reopen *r, BlockDriverState *bs, const BdrvChildOption *o,
                                BdrvReopen *to, Error **errp)
{
    BlockDriverState *now = bs->backing ? bs->backing->bs : NULL;

    if (!bs->drv->supports_backing) {
        return true;
    }
    if (o->options) {
        return add_child(r, bs->backing, "backing", o, errp);
    }
    if (!o->reference && !o->is_null) {
        if (now) {
            error_setg(errp, "backing is missing for '%s'", bs->node_name);
        }
        return !now;
    }
    if (o->reference) {
        to->backing.bs = find_child(o->reference, errp);
        if (!to->backing.bs) {
            return false;
        }
    }
    to->backing.replaces = to->backing.bs != now;
    return true;
}

static bool main_fn add_node(Reopen *r, BlockDriverState *bs, const BdrvOpenOptions *o,
                             Error **errp)
{
    BdrvReopen to = {
        .read_only = o->read_only, .cache_direct = o->cache_direct,
        .cache_no_flush = o->cache_no_flush, .discard = o->discard,
        .detect_zeroes = o->detect_zeroes, .options = o,
    };

    if (g_ptr_array_find(r->nodes, bs, NULL)) {
        error_setg(errp, "Node '%s' is given twice", bs->node_name);
        return false;
    }
    if (!check_same_node(bs, o, errp)) {
        return false;
    }
    if (o->auto_read_only && bs->drv->is_protocol && bs->read_only) {
        to.read_only = true;        /* until what lies above it wants to write */
    }
    guint index = r->nodes->len;
    g_ptr_array_add(r->nodes, bs);
    g_array_append_val(r->changes, to);
    if (!set_file(r, bs, &o->file, &to, errp) || !set_backing(r, bs, &o->backing, &to, errp)) {
        return false;
    }
    g_array_index(r->changes, BdrvReopen, index) = to;
    return add_child(r, bs->data_file, "data-file", &o->data_file, errp);
}

static bool main_fn add_options(Reopen *r, const BlockdevOptions *q, Error **errp)
{
    if (!q->node_name) {
        error_setg(errp, "node-name not specified");
        return false;
    }
    BlockDriverState *bs = bdrv_find_node(q->node_name);
    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'", q->node_name);
        return false;
    }
    BdrvOpenOptions *o = blockdev_options_to_plain(q, errp);
    if (!o) {
        return false;
    }
    g_ptr_array_add(r->options, o);
    return add_node(r, bs, o, errp);
}

/* ---- files that go along ---- */

static BdrvReopen *main_fn change_of(Reopen *r, BlockDriverState *bs)
{
    guint i;

    return g_ptr_array_find(r->nodes, bs, &i) ? &g_array_index(r->changes, BdrvReopen, i) : NULL;
}

/* The file of a node that becomes writable, if nobody wanted it to be read-only. */
static void main_fn pull_along(Reopen *r, BdrvLink *link)
{
    if (link->bs->asked_read_only) {
        return;
    }
    BdrvReopen *given = change_of(r, link->bs);
    if (given) {
        given->read_only = given->options->read_only;
    } else if (link->bs->read_only) {
        BdrvReopen to = bdrv_reopen_same(link->bs);
        to.read_only = false;
        g_ptr_array_add(r->nodes, link->bs);
        g_array_append_val(r->changes, to);
    }
}

static void main_fn pull_files_along(Reopen *r)
{
    BdrvLink *child;

    for (guint i = 0; i < r->nodes->len; i++) {         /* it grows */
        BlockDriverState *bs = r->nodes->pdata[i];
        if (bs->read_only && !g_array_index(r->changes, BdrvReopen, i).read_only) {
            BDRV_FOREACH_CHILD(bs, child) {
                if (child->role->stores) {
                    pull_along(r, child);
                }
            }
        }
    }
}

/* ---- the command ---- */

static bool co_main_fn add_reopen(Transaction *t, const void *opaque, Error **errp)
{
    const QmpBlockdevReopenArgs *args = opaque;
    Reopen r;

    reopen_init(&r);
    for (BlockdevOptionsList *l = args->options; l; l = l->next) {
        if (!add_options(&r, l->value, errp)) {
            reopen_clear(&r);
            return false;
        }
    }
    pull_files_along(&r);
    return reopen_action_add(t, r.nodes, r.changes, r.options, errp);
}

typedef struct ReopenAs {
    BlockDriverState *bs;
    BdrvOpenOptions *opts;          /* NULL once it is the transaction's */
} ReopenAs;

static bool co_main_fn add_reopen_as(Transaction *t, const void *opaque, Error **errp)
{
    ReopenAs *as = (ReopenAs *)opaque;
    Reopen r;

    reopen_init(&r);
    g_ptr_array_add(r.options, g_steal_pointer(&as->opts));
    if (!add_node(&r, as->bs, r.options->pdata[0], errp)) {
        reopen_clear(&r);
        return false;
    }
    pull_files_along(&r);
    return reopen_action_add(t, r.nodes, r.changes, r.options, errp);
}

bool co_main_fn blockdev_reopen_as(BlockDriverState *bs, BdrvOpenOptions *takes, Error **errp)
{
    ReopenAs as = { bs, takes };
    bool ok = blockdev_run_transaction(add_reopen_as, &as, errp);

    bdrv_open_options_free(as.opts);
    return ok;
}

bool co_main_fn qmp_blockdev_reopen(const QmpBlockdevReopenArgs *args, Error **errp)
{
    bool ok = blockdev_run_transaction(add_reopen, args, errp);

    blockdev_plain_error(errp);
    return ok;
}
