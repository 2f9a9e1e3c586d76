/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing nodes while they are open.
 *
 * (R1) From its prepare to its commit or abort a node works as before.
 * (R2) A node that becomes writable has the claims of a writer on its file before any of the
 *      commits; one that becomes read-only keeps them until after its commit.
 * (R3) A commit changes fields and exchanges descriptors; it cannot fail, yield or allocate.
 * (R4) The link to a file that is exchanged for another one is *leaving* until it is gone (C4 in
 *      block/graph/claims.c). Both files lead, through filters and raw, to the same node: a guest
 *      sees the same content, and the locks stay as they are.
 */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/claims.h"
#include "block/io/io-internal.h"

/* ---- one node ---- */

BdrvReopen main_fn bdrv_reopen_same(const BlockDriverState *bs)
{
    return (BdrvReopen){
        .read_only = bs->read_only, .cache_direct = bs->cache_direct,
        .cache_no_flush = bs->cache_no_flush, .discard = bs->discard,
        .detect_zeroes = bs->detect_zeroes,
    };
}

/* The first user of @bs other than @except that goes on writing to it, or NULL. */
static const BdrvLink *main_fn remaining_writer(const BlockDriverState *bs,
                                                const BdrvLink *except)
{
    const GQueue *lists[] = { &bs->followers, &bs->others };

    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (GList *e = lists[i]->head; e; e = e->next) {
            const BdrvLink *link = e->data;
            bool changes = link->parent && link->parent->reopen &&
                           link->parent->reopen->read_only;
            unsigned needs = link->needs | (link->has_new ? link->new_needs : 0);
            if (link != except && needs & (CLAIM_WRITE | CLAIM_RESIZE) && !changes) {
                return link;
            }
        }
    }
    return NULL;
}

static bool main_fn check_access(const BlockDriverState *bs, Error **errp)
{
    const BdrvLink *writer = bs->reopen->read_only ? remaining_writer(bs, NULL) : NULL;
    const BdrvLink *link;

    if (writer) {
        g_autofree char *user = bdrv_link_describe(writer);
        error_set_class(errp, ERROR_CLASS_DEVICE_IN_USE,
                        "Cannot make node '%s' read-only: %s writes to it", bs->node_name, user);
        return false;
    }
    if (bs->reopen->read_only) {
        return true;
    }
    if (bs->drv->cannot_write) {
        error_setg(errp, "Cannot make node '%s' writable: format '%s' can only be read",
                   bs->node_name, bs->drv->name);
        return false;
    }
    BDRV_FOREACH_CHILD(bs, link) {
        const BlockDriverState *child = link == bs->file ? bdrv_file_after(bs) : link->bs;
        if (link->role->stores && child &&
            (child->reopen ? child->reopen->read_only : child->read_only)) {
            error_setg(errp, "Cannot make node '%s' writable: its %s node '%s' is read-only",
                       bs->node_name, link->role->name, child->node_name);
            return false;
        }
    }
    return true;
}

static bool main_fn check_below(BlockDriverState *bs, const BdrvChildChange *change,
                                const char *what, Error **errp)
{
    if (change->bs && bdrv_reaches(change->bs, bs)) {
        error_setg(errp, "Cannot make node '%s' the %s of '%s': it lies above it",
                   change->bs->node_name, what, bs->node_name);
        return false;
    }
    return true;
}

/* What a user of @bs sees the content of: what lies behind such nodes, after all changes. */
static BlockDriverState *main_fn content_after(BlockDriverState *bs)
{
    while (bdrv_is_same_as_file(bs)) {
        bs = bdrv_file_after(bs);
    }
    return bs;
}

static BlockDriverState *main_fn content_now(BlockDriverState *bs)
{
    while (bdrv_is_same_as_file(bs)) {
        bs = bs->file->bs;
    }
    return bs;
}

/* QEMU's text. */
static bool main_fn check_not_frozen(const BlockDriverState *bs, Error **errp)
{
    if (bs->reopen->backing.replaces && bs->backing && bs->backing_frozen > 0) {
        error_setg(errp, "Cannot change frozen 'backing' link from '%s' to '%s'", bs->node_name,
                   bs->backing->bs->node_name);
        return false;
    }
    return true;
}

static bool main_fn check_content(BlockDriverState *bs, Error **errp)
{
    BlockDriverState *file = bs->reopen->file.bs;

    if (file && content_after(file) != content_now(bs->file->bs)) {
        error_setg(errp, "Cannot make node '%s' the file of '%s': it does not lead to '%s', "
                   "through filters and raw, as the one in use does", file->node_name,
                   bs->node_name, content_now(bs->file->bs)->node_name);
        return false;
    }
    return true;
}

/* A second link to a child, to the new one, beside the one in use. */
static bool co_main_fn link_child(BdrvChildChange *change, const BdrvLinkSpec *spec, Error **errp)
{
    if (!change->replaces || !change->bs) {
        return true;
    }
    change->link = bdrv_link_new(change->bs, spec, errp);
    return change->link != NULL;
}

/* The new children, with the claims that @bs needs of them. */
static bool co_main_fn link_children(BlockDriverState *bs, Error **errp)
{
    BdrvReopen *r = bs->reopen;
    BdrvLinkSpec spec;

    if (r->file.replaces) {
        bs->file->leaving = true;
    }
    bdrv_backing_spec(bs, &spec);
    if (!link_child(&r->backing, &spec, errp) || !bdrv_refresh_claims(bs, errp)) {
        return false;
    }
    bdrv_storage_spec(bs, &bdrv_role_file, &spec);
    return link_child(&r->file, &spec, errp);
}

static void main_fn begin(BlockDriverState *bs, const BdrvReopen *to)
{
    g_assert(!bs->reopen);
    bs->reopen = g_memdup2(to, sizeof(*to));
}

static void co_main_fn forget(BlockDriverState *bs)
{
    bdrv_link_free(g_steal_pointer(&bs->reopen->file.link));
    bdrv_link_free(g_steal_pointer(&bs->reopen->backing.link));
    g_free(g_steal_pointer(&bs->reopen));
    if (bs->file) {
        bs->file->leaving = false;
    }
}

/* @old, the child of that role (NULL: none), makes way; change->link is what to free afterwards. */
static void main_fn exchange(BdrvLink *old, BdrvChildChange *change)
{
    if (!change->replaces) {
        return;
    }
    bdrv_remove_child(old);
    if (change->link) {
        bdrv_add_child(change->link);
    }
    change->link = old;
}

/* What nobody used did not notice that its file grew. */
static void main_fn tell_length(BlockDriverState *bs)
{
    int64_t length = bdrv_length(content_now(bs));

    for (; bdrv_is_same_as_file(bs); bs = bs->file->bs) {
        __atomic_store_n(&bs->length, length, __ATOMIC_RELAXED);
    }
}

static void main_fn commit_one(BlockDriverState *bs)
{
    BdrvReopen *to = bs->reopen;

    if (bs->drv->reopen_commit) {
        bs->drv->reopen_commit(bs, to);
    }
    bs->read_only = to->read_only;
    bs->cache_direct = to->cache_direct;
    bs->cache_no_flush = to->cache_no_flush;
    bs->discard = to->discard;
    bs->detect_zeroes = to->detect_zeroes;
    if (to->options) {
        bs->asked_read_only = to->options->read_only;
    }
    exchange(bs->file, &to->file);
    bs->backing_as_recorded &= !to->backing.replaces;
    exchange(bs->backing, &to->backing);
}

/* ---- several nodes as one ---- */

/* Of @nodes, all begun, the first @prepared have a driver's part to undo. */
static void co_main_fn undo(GPtrArray *nodes, guint prepared)
{
    for (guint i = 0; i < nodes->len; i++) {
        BlockDriverState *bs = nodes->pdata[i];
        if (i < prepared && bs->drv->co_reopen_abort) {
            bs->drv->co_reopen_abort(bs);
        }
        forget(bs);
    }
    for (guint i = 0; i < nodes->len; i++) {
        bdrv_refresh_claims(nodes->pdata[i], NULL);
    }
}

static bool co_main_fn prepare_driver(BlockDriverState *bs, Error **errp)
{
    return !bs->drv->co_reopen_prepare || bs->drv->co_reopen_prepare(bs, bs->reopen, errp);
}

static bool co_main_fn prepare_drivers(GPtrArray *nodes, Error **errp)
{
    for (guint i = 0; i < nodes->len; i++) {
        if (!prepare_driver(nodes->pdata[i], errp)) {
            undo(nodes, i);
            return false;
        }
    }
    return true;
}

/* Before anything is linked: afterwards there may be circles. */
static bool main_fn check_shape(GPtrArray *nodes, Error **errp)
{
    for (guint i = 0; i < nodes->len; i++) {
        BlockDriverState *bs = nodes->pdata[i];
        if (!check_not_frozen(bs, errp) ||
            !check_below(bs, &bs->reopen->file, "file", errp) ||
            !check_below(bs, &bs->reopen->backing, "backing file", errp)) {
            return false;
        }
    }
    for (guint i = 0; i < nodes->len; i++) {
        BlockDriverState *bs = nodes->pdata[i], *file = bs->reopen->file.bs;
        if (!check_content(bs, errp) || (file && !bdrv_nest(bs, file, errp))) {
            return false;
        }
    }
    return true;
}

static bool co_main_fn prepare_graph(GPtrArray *nodes, Error **errp)
{
    if (!check_shape(nodes, errp)) {
        return false;
    }
    for (guint i = 0; i < nodes->len; i++) {
        if (!check_access(nodes->pdata[i], errp) || !link_children(nodes->pdata[i], errp)) {
            return false;
        }
    }
    return true;
}

bool co_main_fn bdrv_reopen_prepare(GPtrArray *nodes, const BdrvReopen *to, Error **errp)
{
    for (guint i = 0; i < nodes->len; i++) {
        BlockDriverState *bs = nodes->pdata[i];
        /* A disk lets the one before wait, whose command has given up. */
        if (bs->reopen) {
            error_setg(errp, "Node '%s' is still being changed by an earlier command",
                       bs->node_name);
            return false;
        }
    }
    for (guint i = 0; i < nodes->len; i++) {
        begin(nodes->pdata[i], &to[i]);
    }
    if (!prepare_graph(nodes, errp)) {
        undo(nodes, 0);
        return false;
    }
    return prepare_drivers(nodes, errp);
}

/* @bs and what stores it, stopping where others than @bs write to it: claims keep them and @bs's
 * new state apart, and refuse to let that be (bdrv_reopen_clean()). */
static void main_fn ro_stack(BlockDriverState *bs, GPtrArray *nodes)
{
    BdrvLink *child;

    if (!bs->read_only && !bs->reopen) {
        BdrvReopen to = bdrv_reopen_same(bs);
        to.read_only = true;
        begin(bs, &to);
        g_ptr_array_add(nodes, bs);
    }
    BDRV_FOREACH_CHILD(bs, child) {
        if (child->role->stores && !remaining_writer(child->bs, child)) {
            ro_stack(child->bs, nodes);
        }
    }
}

GPtrArray *co_main_fn bdrv_ro_prepare(BlockDriverState *bs, Error **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();

    ro_stack(bs, nodes);
    return prepare_drivers(nodes, errp) ? g_steal_pointer(&nodes) : NULL;
}

bool co_main_fn bdrv_reopen_flush(GPtrArray *nodes, Error **errp)
{
    for (guint i = 0; i < nodes->len; i++) {
        BlockDriverState *bs = nodes->pdata[i];
        int ret = bs->read_only ? 0 : bdrv_flush_node(bs, BDRV_FLUSH_SETTLE);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Cannot flush node '%s'", bs->node_name);
            return false;
        }
    }
    return true;
}

void main_fn bdrv_reopen_commit(GPtrArray *nodes)
{
    for (guint i = 0; i < nodes->len; i++) {
        commit_one(nodes->pdata[i]);
    }
    for (guint i = 0; i < nodes->len; i++) {
        BlockDriverState *bs = nodes->pdata[i];
        if (bs->reopen->file.replaces) {
            tell_length(bdrv_is_same_as_file(bs) ? bs : bs->file->bs);
        }
    }
}

void co_main_fn bdrv_reopen_abort(GPtrArray *nodes)
{
    undo(nodes, nodes->len);
}

bool co_main_fn bdrv_reopen_clean(GPtrArray *nodes, Error **errp)
{
    g_autoptr(GPtrArray) old_links = g_ptr_array_new();
    bool ok = true;

    for (guint i = 0; i < nodes->len; i++) {
        BlockDriverState *bs = nodes->pdata[i];
        if (bs->drv->co_reopen_clean) {
            bs->drv->co_reopen_clean(bs);
        }
        g_ptr_array_add(old_links, g_steal_pointer(&bs->reopen->file.link));
        g_ptr_array_add(old_links, g_steal_pointer(&bs->reopen->backing.link));
        forget(bs);
    }
    for (guint i = 0; i < nodes->len; i++) {
        ok &= bdrv_refresh_claims(nodes->pdata[i], ok ? errp : NULL);
    }
    /* Last: a node of the list may live by one of them. */
    for (guint i = 0; i < old_links->len; i++) {
        bdrv_link_free(old_links->pdata[i]);
    }
    return ok;
}
