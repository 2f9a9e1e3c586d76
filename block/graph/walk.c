/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Going up and down the graph.  Chains and stacks are as deep as users like: each walk is a loop
 * with a work list, none is a recursion.
 */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/claims.h"

/* Nodes still to be looked at, each once. */
typedef struct Walk {
    GPtrArray *nodes;               /* in the order in which they were found */
    GHashTable *seen;
} Walk;

static Walk walk_from(BlockDriverState *bs)
{
    Walk w = { g_ptr_array_new(), g_hash_table_new(NULL, NULL) };

    g_ptr_array_add(w.nodes, bs);
    g_hash_table_add(w.seen, bs);
    return w;
}

static void walk_add(Walk *w, BlockDriverState *bs)
{
    if (bs && g_hash_table_add(w->seen, bs)) {
        g_ptr_array_add(w->nodes, bs);
    }
}

static GPtrArray *walk_end(Walk *w)
{
    g_hash_table_unref(w->seen);
    return w->nodes;
}

/* ---- up ---- */

GPtrArray *main_fn bdrv_nodes_above(BlockDriverState *bs)
{
    Walk w = walk_from(bs);

    for (guint i = 0; i < w.nodes->len; i++) {          /* it grows */
        bs = w.nodes->pdata[i];
        GQueue *users[] = { &bs->followers, &bs->others };
        for (size_t u = 0; u < G_N_ELEMENTS(users); u++) {
            for (GList *e = users[u]->head; e; e = e->next) {
                walk_add(&w, ((BdrvLink *)e->data)->parent);
            }
        }
    }
    return walk_end(&w);
}

void main_fn bdrv_collect_backends(BlockDriverState *bs, GHashTable *backends)
{
    g_autoptr(GPtrArray) nodes = bdrv_nodes_above(bs);

    for (guint i = 0; i < nodes->len; i++) {
        bs = nodes->pdata[i];
        GQueue *users[] = { &bs->followers, &bs->others };
        for (size_t u = 0; u < G_N_ELEMENTS(users); u++) {
            for (GList *e = users[u]->head; e; e = e->next) {
                BdrvLink *link = e->data;
                if (link->backend) {
                    g_hash_table_add(backends, link->backend);
                }
            }
        }
    }
}

/* ---- down ---- */

GPtrArray *main_fn bdrv_stores(BlockDriverState *bs)
{
    Walk w = walk_from(bs);

    for (guint i = 0; i < w.nodes->len; i++) {
        BdrvLink *child;

        BDRV_FOREACH_CHILD((BlockDriverState *)w.nodes->pdata[i], child) {
            if (child->role->stores) {
                walk_add(&w, child->bs);
            }
        }
    }
    return walk_end(&w);
}

static BlockDriverState *main_fn child_after(const BdrvLink *now, const BdrvChildChange *change)
{
    return change && change->replaces ? change->bs : now ? now->bs : NULL;
}

BlockDriverState *main_fn bdrv_file_after(const BlockDriverState *bs)
{
    return child_after(bs->file, bs->reopen ? &bs->reopen->file : NULL);
}

static BlockDriverState *main_fn backing_after(const BlockDriverState *bs)
{
    return child_after(bs->backing, bs->reopen ? &bs->reopen->backing : NULL);
}

bool main_fn bdrv_reaches(BlockDriverState *bs, BlockDriverState *target)
{
    Walk w = walk_from(bs);

    for (guint i = 0; i < w.nodes->len && w.nodes->pdata[i] != target; i++) {
        BdrvLink *child;

        bs = w.nodes->pdata[i];
        walk_add(&w, bdrv_file_after(bs));
        walk_add(&w, backing_after(bs));
        BDRV_FOREACH_CHILD(bs, child) {
            if (child->role != &bdrv_role_file && child->role != &bdrv_role_backing) {
                walk_add(&w, child->bs);
            }
        }
    }
    bool found = g_hash_table_contains(w.seen, target);
    g_ptr_array_unref(walk_end(&w));
    return found;
}

bool main_fn bdrv_reaches_changing(BlockDriverState *bs)
{
    Walk w = walk_from(bs);
    bool found = false;

    for (guint i = 0; i < w.nodes->len && !found; i++) {
        BdrvLink *child;

        bs = w.nodes->pdata[i];
        found = bs->changed_by != NULL;
        BDRV_FOREACH_CHILD(bs, child) {
            walk_add(&w, child->bs);
        }
    }
    g_ptr_array_unref(walk_end(&w));
    return found;
}
