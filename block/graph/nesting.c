/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How deep nodes lie on each other as files.  A request, a flush or a change of claims goes down
 * there by calls, so the depth takes stack; chains of backing files are walked in loops and do not
 * count, but each image of a chain has a file.
 *
 * (D1) node->nesting is at least the number of files below each other under the node or under an
 *      image of its chain, and at most BDRV_MAX_NESTING.
 */
#include "qemu/osdep.h"

#include "block/block.h"

static int main_fn nesting_of(const BlockDriverState *bs)
{
    int nesting = 0;

    for (; bs; bs = bs->backing ? bs->backing->bs : NULL) {
        nesting = MAX(nesting, bs->nesting);
    }
    return nesting;
}

/* Nodes that are to be looked at: each once. */
typedef struct NodeSet {
    GHashTable *seen;
    GPtrArray *nodes;
} NodeSet;

static void node_set_init(NodeSet *set)
{
    set->seen = g_hash_table_new(NULL, NULL);
    set->nodes = g_ptr_array_new();
}

static void node_set_clear(NodeSet *set)
{
    g_hash_table_unref(set->seen);
    g_ptr_array_unref(set->nodes);
}

static void node_set_add(NodeSet *set, BlockDriverState *bs)
{
    if (g_hash_table_add(set->seen, bs)) {
        g_ptr_array_add(set->nodes, bs);
    }
}

/* Adds the parents of @bs: to @same those that have it in their chains, to @above those whose file
 * it is. */
static void main_fn add_parents(const BlockDriverState *bs, NodeSet *same, NodeSet *above)
{
    const GQueue *users[] = { &bs->followers, &bs->others };

    for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
        for (GList *e = users[i]->head; e; e = e->next) {
            const BdrvLink *link = e->data;
            if (link->parent) {
                node_set_add(link->role == &bdrv_role_backing ? same : above, link->parent);
            }
        }
    }
}

/* Notes that the nodes in @level have @nesting files below each other; those of them that have more
 * already are done, and the parents of the others go to @above. */
static bool main_fn raise_level(NodeSet *level, int nesting, NodeSet *above)
{
    NodeSet same;
    bool ok = true;

    node_set_init(&same);
    for (guint i = 0; ok && i < level->nodes->len; i++) {
        BlockDriverState *bs = level->nodes->pdata[i];
        if (bs->nesting < nesting) {
            ok = nesting <= BDRV_MAX_NESTING;
            bs->nesting = ok ? nesting : bs->nesting;
            add_parents(bs, &same, above);
        }
    }
    for (guint i = 0; ok && i < same.nodes->len; i++) {
        add_parents(same.nodes->pdata[i], &same, above);
    }
    node_set_clear(&same);
    return ok;
}

bool main_fn bdrv_nest(BlockDriverState *bs, const BlockDriverState *file, Error **errp)
{
    int nesting = nesting_of(file) + 1;
    NodeSet level, above;
    bool ok = true;

    node_set_init(&level);
    node_set_add(&level, bs);
    /* From level to level upwards, as long as anything gets deeper by it. */
    while (ok && level.nodes->len > 0) {
        node_set_init(&above);
        ok = raise_level(&level, nesting++, &above);
        node_set_clear(&level);
        level = above;
    }
    node_set_clear(&level);
    if (!ok) {
        error_setg(errp, "Cannot make node '%s' the file of '%s': more than %d nodes would lie on "
                   "each other", file->node_name, bs->node_name, BDRV_MAX_NESTING);
    }
    return ok;
}
