/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The graph: nodes, the links between them, and the pivot.
 *
 * (G1) The graph changes on the main thread only, under graph_mutex.
 * (G2) A link that requests travel along is re-aimed only while every backend that reaches it is
 *      quiesced, by a function that returns void and does not yield.
 * (G3) A node lives exactly as long as somebody holds a link to it.
 * (G4) Nothing is copied between nodes or between a node and a backend: a node keeps its address, its
 *      name and its content for life; a pivot moves users, not contents.
 */
#include "qemu/osdep.h"

#include "block/backend/backend-internal.h"
#include "block/block.h"
#include "block/claims.h"
#include "block/driver-calls.h"
#include "block/ranges.h"

static CoMutex graph_mutex;
static BlockDriverState *first_node, *last_node;

static void __attribute__((constructor)) graph_init(void)
{
    co_mutex_init(&graph_mutex);
}

void co_main_fn bdrv_graph_lock(void)
{
    context_assert_main();
    co_mutex_lock(&graph_mutex);
}

void co_main_fn bdrv_graph_unlock(void)
{
    co_mutex_unlock(&graph_mutex);
}

/* ---- the list of nodes ---- */

static GPtrArray *reserved_names;

BlockDriverState *main_fn bdrv_next_of_all_nodes(BlockDriverState *prev)
{
    return prev ? prev->next : first_node;
}

BlockDriverState *main_fn bdrv_next_node(BlockDriverState *prev)
{
    do {
        prev = bdrv_next_of_all_nodes(prev);
    } while (prev && prev->hidden);
    return prev;
}

BlockDriverState *main_fn bdrv_find_node(const char *node_name)
{
    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        if (strcmp(bs->node_name, node_name) == 0) {
            return bs;
        }
    }
    return NULL;
}

static bool main_fn find_reserved(const char *node_name, guint *ret_index)
{
    return reserved_names &&
           g_ptr_array_find_with_equal_func(reserved_names, node_name, g_str_equal, ret_index);
}

bool main_fn bdrv_node_name_is_taken(const char *node_name)
{
    for (BlockDriverState *bs = first_node; bs; bs = bs->next) {
        if (strcmp(bs->node_name, node_name) == 0) {
            return true;
        }
    }
    return find_reserved(node_name, NULL);
}

void main_fn bdrv_reserve_node_name(const char *node_name)
{
    if (!reserved_names) {
        reserved_names = g_ptr_array_new_with_free_func(g_free);
    }
    g_ptr_array_add(reserved_names, g_strdup(node_name));
}

void main_fn bdrv_release_node_name(const char *node_name)
{
    guint index;

    if (find_reserved(node_name, &index)) {
        g_ptr_array_remove_index_fast(reserved_names, index);
    }
}

void main_fn bdrv_show(BlockDriverState *bs)
{
    bs->hidden = false;
    if (bs->file) {
        bdrv_show(bs->file->bs);
    }
    if (bs->data_file) {
        bdrv_show(bs->data_file->bs);
    }
}

void main_fn bdrv_registry_add(BlockDriverState *bs)
{
    bs->prev = last_node;
    bs->next = NULL;
    *(last_node ? &last_node->next : &first_node) = bs;
    last_node = bs;
}

static void main_fn registry_remove(BlockDriverState *bs)
{
    *(bs->prev ? &bs->prev->next : &first_node) = bs->next;
    *(bs->next ? &bs->next->prev : &last_node) = bs->prev;
}

/* ---- links ---- */

static GQueue *users_of(BlockDriverState *bs, bool follows)
{
    return follows ? &bs->followers : &bs->others;
}

static bool has_users(const BlockDriverState *bs)
{
    return bs->followers.length > 0 || bs->others.length > 0;
}

BdrvLink *co_main_fn bdrv_link_new(BlockDriverState *bs, const BdrvLinkSpec *spec, Error **errp)
{
    BdrvLink *link = g_new0(BdrvLink, 1);

    link->bs = bs;
    link->role = spec->role;
    link->follows = spec->follows;
    link->allows = CLAIM_ALL;
    link->parent = spec->parent;
    link->backend = spec->backend;
    link->holder = g_strdup(spec->holder);
    link->entry.data = link;
    g_queue_push_tail_link(users_of(bs, link->follows), &link->entry);

    if (!bdrv_link_set_claims(link, spec->needs, spec->allows, errp)) {
        /* The node is the caller's and has other users, or is being opened and is its to close. */
        g_queue_unlink(users_of(bs, link->follows), &link->entry);
        g_free(link->holder);
        g_free(link);
        return NULL;
    }
    return link;
}

static void node_destroy(BlockDriverState *bs)
{
    g_assert(!has_users(bs));
    bdrv_ranges_free(bs->ranges);
    co_mutex_destroy(&bs->flush_lock);
    g_free(bs->opaque);
    g_free(bs->node_name);
    g_free(bs->filename);
    g_free(bs->backing_file);
    g_free(bs->backing_format);
    g_free(bs);
}

/* Takes @link out of its node's lists and frees it; the node stays. */
static BlockDriverState *main_fn link_detach(BdrvLink *link)
{
    BlockDriverState *bs = link->bs;

    g_queue_unlink(users_of(bs, link->follows), &link->entry);
    g_free(link->holder);
    g_free(link);
    return bs;
}

void co_main_fn bdrv_close_node(BlockDriverState *bs, bool opened)
{
    /* A chain is as long as its user likes: go down its backing links in a loop. */
    while (bs) {
        BlockDriverState *below = NULL;

        if (opened) {
            bdrv_drv_close(bs);
        }
        registry_remove(bs);
        bdrv_link_free(g_steal_pointer(&bs->data_file));
        bdrv_link_free(g_steal_pointer(&bs->file));
        if (bs->backing) {
            bdrv_link_set_claims(bs->backing, CLAIM_NONE, CLAIM_ALL, &error_abort);
            below = link_detach(g_steal_pointer(&bs->backing));
        }
        node_destroy(bs);
        bs = below && !has_users(below) ? below : NULL;
        opened = true;
    }
}

void co_main_fn bdrv_link_free(BdrvLink *link)
{
    if (!link) {
        return;
    }
    BlockDriverState *bs = link->bs;
    bool last = bs->followers.length + bs->others.length == 1;

    if (!last) {
        bdrv_link_set_claims(link, CLAIM_NONE, CLAIM_ALL, NULL);
    }
    link_detach(link);
    if (last) {
        bdrv_close_node(bs, true);
    }
}

/* ---- going up and down ---- */

static void main_fn collect_backends(BlockDriverState *bs, GHashTable *backends, GHashTable *seen)
{
    if (!g_hash_table_add(seen, bs)) {
        return;
    }
    GQueue *lists[] = { &bs->followers, &bs->others };
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (GList *e = lists[i]->head; e; e = e->next) {
            BdrvLink *link = e->data;
            if (link->backend) {
                g_hash_table_add(backends, link->backend);
            } else if (link->parent) {
                collect_backends(link->parent, backends, seen);
            }
        }
    }
}

void main_fn bdrv_collect_backends(BlockDriverState *bs, GHashTable *backends)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    collect_backends(bs, backends, seen);
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

static bool main_fn reaches(BlockDriverState *bs, BlockDriverState *target, GHashTable *seen)
{
    for (; bs; bs = backing_after(bs)) {
        if (bs == target) {
            return true;
        }
        if (!g_hash_table_add(seen, bs)) {
            return false;
        }
        BlockDriverState *file = bdrv_file_after(bs);
        if ((file && reaches(file, target, seen)) ||
            (bs->data_file && reaches(bs->data_file->bs, target, seen))) {
            return true;
        }
    }
    return false;
}

bool main_fn bdrv_reaches(BlockDriverState *bs, BlockDriverState *target)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    return reaches(bs, target, seen);
}

/* ---- the pivot ---- */

/* The followers of a node and of the filters above it form a tree. */
static void main_fn assert_followers_held(const BlockDriverState *bs)
{
    for (GList *e = bs->followers.head; e; e = e->next) {
        const BdrvLink *link = e->data;
        g_assert(!link->backend || blk_is_held(link->backend));
        if (link->parent) {
            assert_followers_held(link->parent);
        }
    }
}

void main_fn bdrv_append(BlockDriverState *bs_new, BlockDriverState *bs_top)
{
    g_assert(bs_new->backing && bs_new->backing->bs == bs_top);
    assert_followers_held(bs_top);

    GQueue moved = bs_top->followers;
    bs_top->followers = bs_new->followers;
    bs_new->followers = moved;

    for (GList *e = bs_new->followers.head; e; e = e->next) {
        ((BdrvLink *)e->data)->bs = bs_new;
    }
    for (GList *e = bs_top->followers.head; e; e = e->next) {
        ((BdrvLink *)e->data)->bs = bs_top;
    }
}

bool co_main_fn bdrv_attach_backing(BlockDriverState *bs, BlockDriverState *backing, Error **errp)
{
    g_assert(!bs->backing && bs->drv->supports_backing);
    if (bdrv_reaches(backing, bs)) {
        error_setg(errp, "Cannot make node '%s' the backing file of '%s': it lies above it",
                   backing->node_name, bs->node_name);
        return false;
    }
    BdrvLinkSpec spec = {
        .role = "backing", .needs = CLAIM_READ, .allows = CLAIM_ALL, .parent = bs,
    };
    bs->backing = bdrv_link_new(backing, &spec, errp);
    return bs->backing != NULL;
}

void main_fn bdrv_backing_link_seal(BdrvLink *backing)
{
    backing->needs = CLAIM_READ;
    backing->allows = CLAIM_ALL & ~(CLAIM_WRITE | CLAIM_RESIZE);
}

void co_main_fn bdrv_close_all(void)
{
    /* What the monitor owns is all that can be left; the rest goes with it. */
    for (BlockDriverState *bs = first_node; bs; ) {
        if (bs->monitor_link) {
            bdrv_link_free(g_steal_pointer(&bs->monitor_link));
            bs = first_node;
        } else {
            bs = bs->next;
        }
    }
}
