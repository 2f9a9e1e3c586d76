/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pivot: putting a node in front of another one, by moving users and not contents.
 *
 * (P1) Neither bdrv_append() nor bdrv_swap_followers() fails or yields, and nothing is allocated
 *      but the list of an assertion.
 * (P2) Every backend whose requests travel along a link that is re-aimed is held (asserted).
 */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/claims.h"

/* The followers of a node, and of the filters above it, form a tree whose inner links have a
 * parent. */
void main_fn bdrv_assert_followers_held(const BlockDriverState *bs)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();

    g_ptr_array_add(nodes, (void *)bs);
    for (guint i = 0; i < nodes->len; i++) {            /* it grows */
        bs = nodes->pdata[i];
        for (GList *e = bs->followers.head; e; e = e->next) {
            const BdrvLink *link = e->data;
            g_assert(!link->role || !link->role->is_held || link->role->is_held(link));
            if (link->parent) {
                g_ptr_array_add(nodes, link->parent);
            }
        }
    }
}

static void main_fn aim_followers(BlockDriverState *bs)
{
    for (GList *e = bs->followers.head; e; e = e->next) {
        ((BdrvLink *)e->data)->bs = bs;
    }
}

void main_fn bdrv_swap_followers(BlockDriverState *a, BlockDriverState *b)
{
    GQueue moved = a->followers;

    bdrv_assert_followers_held(a);
    bdrv_assert_followers_held(b);
    a->followers = b->followers;
    b->followers = moved;
    aim_followers(a);
    aim_followers(b);
}

void main_fn bdrv_append(BlockDriverState *bs_new, BlockDriverState *bs_top)
{
    g_assert(bs_new->backing && bs_new->backing->bs == bs_top);
    bdrv_swap_followers(bs_new, bs_top);
}

BdrvLink *co_main_fn bdrv_backing_link_new(BlockDriverState *bs, BlockDriverState *backing,
                                           Error **errp)
{
    g_assert(!bs->backing && bs->drv->supports_backing);
    if (bdrv_reaches(backing, bs)) {
        error_setg(errp, "Cannot make node '%s' the backing file of '%s': it lies above it",
                   backing->node_name, bs->node_name);
        return NULL;
    }
    BdrvLinkSpec spec = {
        .role = &bdrv_role_backing, .needs = CLAIM_READ, .allows = CLAIM_ALL, .parent = bs,
    };
    return bdrv_link_new(backing, &spec, errp);
}

bool co_main_fn bdrv_attach_backing(BlockDriverState *bs, BlockDriverState *backing, Error **errp)
{
    BdrvLink *link = bdrv_backing_link_new(bs, backing, errp);

    if (link) {
        bdrv_add_child(link);
    }
    return link != NULL;
}

void main_fn bdrv_backing_link_seal(BdrvLink *backing)
{
    backing->tolerant = false;
    backing->needs = CLAIM_READ;
    backing->allows = CLAIM_ALL & ~(CLAIM_WRITE | CLAIM_RESIZE);
}
