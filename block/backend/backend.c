/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backends: made, found, freed; what they hold inserted and removed. */
#include "qemu/osdep.h"

#include "block/activity.h"
#include "block/backend/backend-internal.h"
#include "block/claims.h"

static BlockBackend *first_backend, *last_backend;

/* By name: drives and other backends, and those of exports. */
static GHashTable *by_name[2];

static void __attribute__((constructor)) backends_init(void)
{
    by_name[false] = g_hash_table_new(g_str_hash, g_str_equal);
    by_name[true] = g_hash_table_new(g_str_hash, g_str_equal);
}

BlockBackend *main_fn blk_find(const char *name)
{
    return g_hash_table_lookup(by_name[false], name);
}

BlockBackend *main_fn blk_find_export(const char *id)
{
    return g_hash_table_lookup(by_name[true], id);
}

BlockBackend *main_fn blk_find_device(const char *qdev)
{
    BlockBackend *blk = first_backend;

    while (blk && (!blk->device || strcmp(blk->device->qdev, qdev) != 0)) {
        blk = blk->next;
    }
    return blk;
}

BlockBackend *main_fn blk_next(BlockBackend *prev)
{
    return prev ? prev->next : first_backend;
}

static BlockBackend *main_fn make(const char *name, bool of_export, unsigned needs,
                                  unsigned allows)
{
    BlockBackend *blk = g_new0(BlockBackend, 1);

    blk->name = g_strdup(name);
    blk->of_export = of_export;
    blk->needs = needs;
    blk->allows = allows;
    blk->write_cache = true;
    blk->refs = 1;
    co_mutex_init(&blk->throttle_lock);
    pthread_mutex_init(&blk->lock, NULL);
    blk->prev = last_backend;
    *(last_backend ? &last_backend->next : &first_backend) = blk;
    last_backend = blk;
    if (name) {
        g_hash_table_insert(by_name[of_export], blk->name, blk);
    }
    return blk;
}

BlockBackend *main_fn blk_new(const char *name, unsigned needs, unsigned allows, Error **errp)
{
    if (name && blk_find(name)) {
        error_setg(errp, "Device with id '%s' already exists", name);
        return NULL;
    }
    if (name && bdrv_node_name_is_taken(name)) {
        error_setg(errp, "Device name '%s' conflicts with an existing node name", name);
        return NULL;
    }
    if (name) {
        bdrv_set_device_name(name, true);
    }
    return make(name, false, needs, allows);
}

BlockBackend *main_fn blk_new_export(const char *id, unsigned needs, unsigned allows)
{
    g_assert(!blk_find_export(id));
    return make(id, true, needs, allows);
}

static void co_main_fn end_lenience(void);

void co_main_fn blk_free(BlockBackend *blk)
{
    if (!blk) {
        return;
    }
    g_assert(!blk->co_leave);
    blk_remove(blk);
    *(blk->prev ? &blk->prev->next : &first_backend) = blk->next;
    *(blk->next ? &blk->next->prev : &last_backend) = blk->prev;
    if (blk->name) {
        g_hash_table_remove(by_name[blk->of_export], blk->name);
        if (!blk->of_export) {
            bdrv_set_device_name(blk->name, false);
        }
    }
    /* Nobody finds it any more; a command that is changing its limits still has it. */
    blk->freed = true;
    blk_set_throttle_group(blk, NULL);
    blk_unref(blk);
    end_lenience();
}

static char *main_fn describe_root(const BdrvLink *link)
{
    const BlockBackend *blk = link->backend;
    const char *name = blk->name ?: (blk->device ? blk->device->qdev : NULL);

    return blk->user ? g_strdup(blk->user) :
           name      ? g_strdup_printf("block device '%s'", name)
                     : g_strdup("an unnamed block device");
}

static bool main_fn root_is_held(const BdrvLink *link)
{
    return blk_is_held(link->backend);
}

static const BdrvLinkRole root_role = {
    .name = "root", .describe = describe_root, .is_held = root_is_held,
};

/* Nobody writes to an inactive node; and a guest that is still to come does not keep out who brings
 * its disk here. */
static bool main_fn claims_rest(const BlockBackend *blk, const BlockDriverState *bs)
{
    return bs->inactive || (blk->device && bdrv_opens_inactive());
}

static bool co_main_fn insert(BlockBackend *blk, BlockDriverState *bs, bool follows, Error **errp)
{
    g_assert(!blk->root);
    /* One that is about to be made writable will be. */
    bool read_only = bs->reopen ? bs->reopen->read_only : bs->read_only;

    if (read_only && !bs->inactive && blk->needs & (CLAIM_WRITE | CLAIM_RESIZE)) {
        error_setg(errp, "Block node is read-only");
        return false;
    }
    BdrvLinkSpec spec = {
        .role = &root_role, .follows = follows,
        .needs = claims_rest(blk, bs) ? CLAIM_NONE : blk->needs,
        .allows = claims_rest(blk, bs) ? CLAIM_ALL : blk->allows, .backend = blk,
    };
    blk->root = bdrv_link_new(bs, &spec, errp);
    return blk->root != NULL;
}

bool co_main_fn blk_insert(BlockBackend *blk, BlockDriverState *bs, Error **errp)
{
    return insert(blk, bs, true, errp);
}

bool co_main_fn blk_insert_fixed(BlockBackend *blk, BlockDriverState *bs, Error **errp)
{
    return insert(blk, bs, false, errp);
}

/* Hold @blk, alone: whoever else holds it counts on its being there. */
static void co_main_fn hold_alone(BlockBackend *blk)
{
    CoWaiter w;

    for (;;) {
        while (blk_is_held(blk)) {
            blk_wait_while_held(blk);
        }
        blk_hold(blk);
        blk_update_limiting_nodes();
        while (!blk_drain_check(blk, &w)) {
            coroutine_yield();
        }
        if (blk_holds(blk) == 1) {
            return;
        }
        blk_release(blk);
        blk_update_limiting_nodes();
    }
}

void co_main_fn blk_remove(BlockBackend *blk)
{
    hold_alone(blk);
    BdrvLink *link = g_steal_pointer(&blk->root);
    blk_release(blk);
    bdrv_link_free(link);
    blk_update_limiting_nodes();
}

bool co_main_fn blk_set_claims(BlockBackend *blk, unsigned needs, unsigned allows, Error **errp)
{
    if (blk->root && !claims_rest(blk, blk->root->bs) &&
        !bdrv_link_set_claims(blk->root, needs, allows, errp)) {
        return false;
    }
    blk->needs = needs;
    blk->allows = allows;
    return true;
}

bool co_main_fn blk_refresh_claims(BlockBackend *blk, Error **errp)
{
    Error *err = NULL;

    blk->lenient = false;
    if (!blk->root) {
        return true;
    }
    if (claims_rest(blk, blk->root->bs)) {
        return bdrv_link_set_claims(blk->root, CLAIM_NONE, CLAIM_ALL, errp);
    }
    if (bdrv_link_set_claims(blk->root, blk->needs, blk->allows, &err)) {
        return true;
    }
    /* Who has brought a guest's disk here, an export, may still have it for a while. */
    if (blk->device && bdrv_link_set_claims(blk->root, blk->needs, CLAIM_ALL, NULL)) {
        error_free(err);
        blk->lenient = true;
        return true;
    }
    error_propagate(errp, err);
    return false;
}

static void co_main_fn end_lenience(void)
{
    for (BlockBackend *blk = first_backend; blk; blk = blk->next) {
        if (blk->lenient) {
            blk_refresh_claims(blk, NULL);
        }
    }
}

void main_fn blk_set_outlasts_handover(BlockBackend *blk)
{
    blk->outlasts_handover = true;
}

bool main_fn blk_outlasts_handover(const BlockBackend *blk)
{
    return blk->outlasts_handover;
}

bool main_fn blk_yields(const BlockBackend *blk)
{
    return !blk->quiet;
}
