/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What has to be true of the graph between commands, in debug and sanitizer builds.
 *
 * - Lists and pointers agree: each link is in the list of the node that it leads to, each child in
 *   its parent's list and slot (G3: a node that nobody has a link to is closing).
 * - No node reaches itself.
 * - C1 and C2 of block/graph/claims.c, where nobody is just changing claims or nodes.
 */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/claims.h"
#include "qemu/debug-checks.h"

static void main_fn assert_users(BlockDriverState *bs, GQueue *users, bool follow)
{
    for (GList *e = users->head; e; e = e->next) {
        BdrvLink *link = e->data;
        g_assert(&link->entry == e && link->bs == bs && link->follows == follow);
        g_assert(!(link->parent && link->backend));
        g_assert(link->parent || link->backend || link->holder);
    }
}

static void main_fn assert_children(BlockDriverState *bs)
{
    BdrvLink *child;

    BDRV_FOREACH_CHILD(bs, child) {
        BdrvLink **slot = (BdrvLink **)((char *)bs + child->role->slot);
        g_assert(child->parent == bs && (!child->role->slot || *slot == child) && child->bs);
        g_assert(g_queue_find(child->follows ? &child->bs->followers : &child->bs->others, child));
    }
}

/* C1 */
static void main_fn assert_allowed(const BdrvLink *x, const BdrvLink *y)
{
    if (x->needs & ~y->allows) {
        g_autofree char *what = bdrv_claims_to_text(x->needs & ~y->allows);
        g_autofree char *user = bdrv_link_describe(x), *other = bdrv_link_describe(y);
        g_error("node '%s': %s has claims (%s) that %s does not allow", x->bs->node_name, user,
                what, other);
    }
}

/* Claims are as they should be where nobody is in the middle of changing them.  A node that is
 * being closed has no users any more, while its driver keeps the locks until that is done. */
static void main_fn assert_claims(BlockDriverState *bs)
{
    GQueue *lists[] = { &bs->followers, &bs->others };
    unsigned needs = CLAIM_NONE, allows = CLAIM_ALL;
    g_autoptr(GPtrArray) links = g_ptr_array_new();

    if (bs->claims_change || bs->changed_by || bs->reopen || bs->claims_stale ||
        lists[0]->length + lists[1]->length == 0) {
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (GList *e = lists[i]->head; e; e = e->next) {
            BdrvLink *link = e->data;
            if (link->has_new || link->leaving || (link->parent && link->parent->reopen)) {
                return;
            }
            g_ptr_array_add(links, link);
            needs |= link->needs;
            allows &= link->allows;
        }
    }
    g_assert(bs->needs == needs && bs->allows == allows);           /* C2 */
    for (guint a = 0; a < links->len; a++) {
        for (guint b = 0; b < links->len; b++) {
            if (a != b) {
                assert_allowed(links->pdata[a], links->pdata[b]);
            }
        }
    }
}

/* Every node below @bs is done before @bs is: a node that is met while it is still open lies below
 * itself. */
static void main_fn assert_no_circles(void)
{
    g_autoptr(GHashTable) open = g_hash_table_new(NULL, NULL), done = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) stack = g_ptr_array_new();

    for (BlockDriverState *bs = bdrv_next_of_all_nodes(NULL); bs; bs = bdrv_next_of_all_nodes(bs)) {
        g_ptr_array_add(stack, bs);
        while (stack->len > 0) {
            BlockDriverState *top = stack->pdata[stack->len - 1];
            BdrvLink *child;
            if (g_hash_table_contains(done, top)) {
                g_ptr_array_set_size(stack, stack->len - 1);
            } else if (!g_hash_table_add(open, top)) {
                g_hash_table_add(done, top);
            } else {
                BDRV_FOREACH_CHILD(top, child) {
                    if (!g_hash_table_contains(done, child->bs)) {
                        g_assert(!g_hash_table_contains(open, child->bs));
                        g_ptr_array_add(stack, child->bs);
                    }
                }
            }
        }
    }
}

void main_fn bdrv_graph_assert(void)
{
    if (!QEMU_DEBUG_CHECKS) {
        return;
    }
    for (BlockDriverState *bs = bdrv_next_of_all_nodes(NULL); bs; bs = bdrv_next_of_all_nodes(bs)) {
        assert_users(bs, &bs->followers, true);
        assert_users(bs, &bs->others, false);
        assert_children(bs);
        assert_claims(bs);
        g_assert(bs->hidden || bs->followers.length + bs->others.length > 0);
        g_assert(__atomic_load_n(&bs->flushed_gen, __ATOMIC_SEQ_CST) <=
                 __atomic_load_n(&bs->write_gen, __ATOMIC_SEQ_CST));
    }
    assert_no_circles();
}
