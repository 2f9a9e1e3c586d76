/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moving all users of a node that follow pivots to another node.
 *
 * (M1) From the prepare to the commit a link of our own, the keeper, has the claims of all of them on
 *      the node that they go to, so that the commit cannot fail for locks or for others' claims.
 * (M3) The link of a filter that is put in front follows pivots only from the commit on: other actions
 *      of the same transaction, whichever come first, find it where it belongs.
 * (M2) Meanwhile the links that move, and that of a filter which they pass by, are *leaving* (C4 in
 *      block/graph/claims.c): the keeper is not asked to go together with them.
 */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/claims.h"

BlockDriverState *main_fn bdrv_skip_implicit(BlockDriverState *bs)
{
    while (bs && bs->implicit) {
        bs = bs->file->bs;
    }
    return bs;
}

BlockDriverState *main_fn bdrv_with_implicit(BlockDriverState *bs)
{
    GList *e = bs->followers.head;

    while (e) {
        const BdrvLink *link = e->data;
        bool is_filter = link->parent && link->parent->implicit && link->role == &bdrv_role_file;
        bs = is_filter ? link->parent : bs;
        e = is_filter ? bs->followers.head : e->next;
    }
    return bs;
}

/* A filter that is put in front keeps its own link. */
static bool moves(const BdrvMove *m, const BdrvLink *link)
{
    return link->parent != m->to;
}

static void main_fn set_leaving(const BdrvMove *m, bool leaving)
{
    BdrvLink *child;

    for (GList *e = m->from->followers.head; e; e = e->next) {
        BdrvLink *link = e->data;
        if (moves(m, link)) {
            link->leaving = leaving;
        }
    }
    BDRV_FOREACH_CHILD(m->from, child) {
        if (child->bs == m->to) {
            child->leaving = leaving;
        }
    }
}

/* The link by which a filter that is put in front reaches @m->from. */
static BdrvLink *main_fn link_of_filter(const BdrvMove *m)
{
    BdrvLink *child;

    BDRV_FOREACH_CHILD(m->to, child) {
        if (child->bs == m->from && child->role == &bdrv_role_file && m->to->drv->is_filter) {
            return child;
        }
    }
    return NULL;
}

static void main_fn set_follows(BdrvLink *link, bool follows)
{
    if (link && link->follows != follows) {
        GQueue *now = link->follows ? &link->bs->followers : &link->bs->others;
        GQueue *then = follows ? &link->bs->followers : &link->bs->others;
        g_queue_unlink(now, &link->entry);
        g_queue_push_tail_link(then, &link->entry);
        link->follows = follows;
        link->joins = !follows;
    }
}

static void main_fn claims_of_movers(const BdrvMove *m, BdrvLinkSpec *spec)
{
    for (GList *e = m->from->followers.head; e; e = e->next) {
        const BdrvLink *link = e->data;
        if (moves(m, link)) {
            spec->needs |= link->needs;
            spec->allows &= link->allows;
        }
    }
}

bool co_main_fn bdrv_move_prepare(BdrvMove *m, BlockDriverState *from, BlockDriverState *to,
                                  const char *holder, Error **errp)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = holder };

    *m = (BdrvMove){ .from = from, .to = to };
    claims_of_movers(m, &spec);
    if (to->read_only && spec.needs & (CLAIM_WRITE | CLAIM_RESIZE)) {
        error_setg(errp, "Cannot move the users of node '%s' to '%s': it is read-only",
                   from->node_name, to->node_name);
        m->from = NULL;
        return false;
    }
    m->filter_link = link_of_filter(m);
    set_follows(m->filter_link, false);
    set_leaving(m, true);
    m->keeper = bdrv_link_new(to, &spec, errp);
    if (!m->keeper) {
        set_leaving(m, false);
        set_follows(m->filter_link, true);
        m->from = NULL;
    }
    return m->keeper != NULL;
}

void main_fn bdrv_move_commit(BdrvMove *m)
{
    GQueue stay = G_QUEUE_INIT;
    GList *e;

    bdrv_assert_followers_held(m->from);
    bdrv_assert_followers_held(m->to);
    while ((e = g_queue_pop_head_link(&m->from->followers))) {
        BdrvLink *link = e->data;
        if (moves(m, link)) {
            link->bs = m->to;
            link->leaving = false;
        }
        g_queue_push_tail_link(moves(m, link) ? &m->to->followers : &stay, e);
    }
    m->from->followers = stay;
    /* A filter that its users have left is nobody's way to the disk any more: no new user comes. */
    m->from->implicit = false;
    set_follows(m->filter_link, true);
}

void co_main_fn bdrv_move_abort(BdrvMove *m)
{
    if (m->from) {
        bdrv_link_free(g_steal_pointer(&m->keeper));
        set_leaving(m, false);
        set_follows(m->filter_link, true);
        m->from = NULL;
    }
}

/* What a filter had of the node that its users went to is its own again, and no more than it needs
 * without them. */
void co_main_fn bdrv_move_clean(BdrvMove *m)
{
    bdrv_refresh_claims(m->from, NULL);
    set_leaving(m, false);
    bdrv_link_free(g_steal_pointer(&m->keeper));
    m->from = NULL;
}
