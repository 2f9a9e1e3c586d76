/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The graph: nodes and the links between them.  Walks over it are in block/graph/walk.c, the pivot
 * in block/graph/pivot.c.
 *
 * (G1) The graph changes on the main thread only.  Several steps that have to find the same graph
 *      are taken under graph_mutex, which is never held over disk work; a node that is changed over
 *      a longer time is marked (block/graph/changing.c).
 * (G2) A link that requests travel along is re-aimed only while every backend that reaches it is
 *      quiesced, by a function that returns void and does not yield.
 * (G3) A node lives exactly as long as somebody holds a link to it.
 * (G4) Nothing is copied between nodes or between a node and a backend: a node keeps its address,
 *      its name and its content for life; a pivot moves users, not contents.
 */
#include "qemu/osdep.h"

#include "block/backend/backend-internal.h"
#include "block/block.h"
#include "block/claims.h"
#include "block/driver-calls.h"
#include "block/ranges.h"

static BlockDriverState *first_node, *last_node;
static GHashTable *nodes_by_name;       /* of BlockDriverState, hidden ones too */
static GHashTable *reserved_names;      /* a set of strings: for nodes to come */
static unsigned limiting_nodes;         /* whose driver has set_unlimited */
static GHashTable *device_names;        /* a set of strings: drives have no name of a node */

static void __attribute__((constructor)) graph_init(void)
{
    nodes_by_name = g_hash_table_new(g_str_hash, g_str_equal);
    reserved_names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    device_names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

/* ---- the list of nodes ---- */

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
    BlockDriverState *bs = g_hash_table_lookup(nodes_by_name, node_name);

    return bs && !bs->hidden ? bs : NULL;
}

bool main_fn bdrv_node_name_is_taken(const char *node_name)
{
    return g_hash_table_contains(nodes_by_name, node_name) ||
           g_hash_table_contains(reserved_names, node_name);
}

void main_fn bdrv_reserve_node_name(const char *node_name)
{
    g_hash_table_add(reserved_names, g_strdup(node_name));
}

void main_fn bdrv_release_node_name(const char *node_name)
{
    g_hash_table_remove(reserved_names, node_name);
}

void main_fn bdrv_set_device_name(const char *name, bool used)
{
    if (used) {
        g_hash_table_add(device_names, g_strdup(name));
    } else {
        g_hash_table_remove(device_names, name);
    }
}

bool main_fn bdrv_name_is_device(const char *name)
{
    return g_hash_table_contains(device_names, name);
}

void main_fn bdrv_show(BlockDriverState *bs)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();

    g_ptr_array_add(nodes, bs);
    for (guint i = 0; i < nodes->len; i++) {            /* it grows */
        BdrvLink *child;

        bs = nodes->pdata[i];
        bs->hidden = false;
        BDRV_FOREACH_CHILD(bs, child) {
            if (child->bs->hidden) {
                g_ptr_array_add(nodes, child->bs);
            }
        }
    }
}

void main_fn bdrv_registry_add(BlockDriverState *bs)
{
    bs->prev = last_node;
    bs->next = NULL;
    limiting_nodes += bs->drv->set_unlimited != NULL;
    *(last_node ? &last_node->next : &first_node) = bs;
    last_node = bs;
    g_hash_table_insert(nodes_by_name, bs->node_name, bs);
}

unsigned main_fn bdrv_limiting_nodes(void)
{
    return limiting_nodes;
}

static void main_fn registry_remove(BlockDriverState *bs)
{
    limiting_nodes -= bs->drv->set_unlimited != NULL;
    g_hash_table_remove(nodes_by_name, bs->node_name);
    *(bs->prev ? &bs->prev->next : &first_node) = bs->next;
    *(bs->next ? &bs->next->prev : &last_node) = bs->prev;
}

/* ---- links ---- */

/* The parent's own pointer to its child of the role of @link. */
static BdrvLink **child_slot(const BdrvLink *link)
{
    return (BdrvLink **)((char *)link->parent + link->role->slot);
}

void main_fn bdrv_add_child(BdrvLink *link)
{
    if (link->role->slot) {
        g_assert(!*child_slot(link));
        *child_slot(link) = link;
    }
    link->child_entry.data = link;
    g_queue_push_tail_link(&link->parent->children, &link->child_entry);
}

BdrvLink *main_fn bdrv_remove_child(BdrvLink *link)
{
    if (link) {
        if (link->role->slot) {
            g_assert(*child_slot(link) == link);
            *child_slot(link) = NULL;
        }
        g_queue_unlink(&link->parent->children, &link->child_entry);
    }
    return link;
}

static GQueue *users_of(BlockDriverState *bs, bool follows)
{
    return follows ? &bs->followers : &bs->others;
}

static guint users(const BlockDriverState *bs)
{
    return bs->followers.length + bs->others.length;
}

BdrvLink *co_main_fn bdrv_link_new(BlockDriverState *bs, const BdrvLinkSpec *spec, Error **errp)
{
    BdrvLink *link = g_new0(BdrvLink, 1);

    link->bs = bs;
    link->role = spec->role;
    link->follows = spec->follows;
    link->tolerant = spec->tolerant;
    link->allows = CLAIM_ALL;
    link->parent = spec->parent;
    link->backend = spec->backend;
    link->holder = g_strdup(spec->holder);
    link->entry.data = link;
    g_queue_push_tail_link(users_of(bs, link->follows), &link->entry);

    if (!bdrv_link_set_claims(link, spec->needs, spec->allows, errp)) {
        bdrv_link_free(link);
        return NULL;
    }
    return link;
}

static void main_fn node_destroy(BlockDriverState *bs)
{
    g_assert(users(bs) == 0);
    bdrv_change_end(bs, bs->changed_by);
    g_slist_free(bs->bitmaps);
    bdrv_free_write_trackers(bs);           /* bitmaps are such */
    bdrv_ranges_free(bs->ranges);
    co_mutex_destroy(&bs->flush_lock);
    g_free(bs->opaque);
    g_free(bs->node_name);
    g_free(bs->filename);
    g_free(bs->path);
    g_free(bs->backing_file);
    g_free(bs->backing_format);
    g_free(bs);
}

/* Frees @link.  Returns its node if nobody else uses that; the caller closes it before it
 * yields. */
static BlockDriverState *co_main_fn let_go(BdrvLink *link)
{
    if (users(link->bs) > 1) {
        bdrv_link_set_claims(link, CLAIM_NONE, CLAIM_ALL, NULL);
    }
    /* Others may have gone meanwhile, and a pivot may have taken the link to another node. */
    BlockDriverState *bs = link->bs;
    bool last = users(bs) == 1;
    g_queue_unlink(users_of(bs, link->follows), &link->entry);
    g_free(link->holder);
    g_free(link);
    return last ? bs : NULL;
}

/* Closes @bs and lets go of its children.  Returns its backing node if nobody else uses that, as
 * let_go() does. */
static BlockDriverState *co_main_fn close_one(BlockDriverState *bs, bool opened)
{
    bs->hidden = true;              /* closing takes as long as a disk likes; the name is taken
                                     * until then */
    if (opened) {
        bdrv_flush_before_close(bs);
        bdrv_drv_close(bs);
    }
    registry_remove(bs);
    BdrvLink *backing = bdrv_remove_child(bs->backing);
    while (bs->children.tail) {
        bdrv_link_free(bdrv_remove_child(bs->children.tail->data));
    }
    BlockDriverState *below = backing ? let_go(backing) : NULL;
    node_destroy(bs);
    return below;
}

void co_main_fn bdrv_close_node(BlockDriverState *bs, bool opened)
{
    /* A chain is as long as its user likes: go down its backing links in a loop. */
    while (bs) {
        bs = close_one(bs, opened);
        opened = true;
    }
}

void co_main_fn bdrv_link_free(BdrvLink *link)
{
    BlockDriverState *bs = link ? let_go(link) : NULL;

    bdrv_close_node(bs, true);
}

static bool gives_up_waiting;

void main_fn bdrv_give_up_waiting(void)
{
    gives_up_waiting = true;
    for (BlockDriverState *bs = bdrv_next_node(NULL); bs; bs = bdrv_next_node(bs)) {
        if (bs->drv->give_up_waiting) {
            bs->drv->give_up_waiting(bs);
        }
    }
}

bool main_fn bdrv_has_given_up_waiting(void)
{
    return gives_up_waiting;
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
    g_assert(!first_node);          /* whoever had a link has let go of it */
}
