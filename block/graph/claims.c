/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Claims: what each user of a node needs, and what it lets the others do.
 *
 * (C1) For any two links A and B to one node: A.needs is part of B.allows.
 * (C2) A node's cumulative claims are the union of its users' needs and the intersection
 *      of what they allow; each child link has the claims that follow from them.
 * (C3) A change that would break (C1) anywhere below is refused before anything has changed.
 * (C4) A link that gives way to another one (R4 in block/graph/reopen.c) keeps its claims until it
 *      is gone, so that no lock is given up before, but (C1) is not asked of it, nor of what
 *      filters make of its claims.
 *
 * (C5) Who writes to a node that somebody reads through an overlay changes what that one reads.  A
 *      tolerant backing link lets it be as long as the overlay has no user that reads and writes
 *      it, as guests do, nor another overlay: so a copy of what is going to be overwritten
 *      (copy-before-write) can have its source as its backing file.
 *
 * A change runs in three passes over the nodes it reaches: compute and check (fields new_*), have
 * drivers take what lies outside the process (file locks), then make the new values valid.
 */
#include "qemu/osdep.h"

#include "block/claims.h"

static const char *const claim_names[] = {
    "consistent read", "write", "write of the same data", "resize", "pivot",
};

char *any_fn bdrv_claims_to_text(unsigned claims)
{
    GString *s = g_string_new(NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(claim_names); i++) {
        if (claims & (1u << i)) {
            g_string_append_printf(s, "%s%s", s->len ? ", " : "", claim_names[i]);
        }
    }
    return g_string_free(s, FALSE);
}

char *main_fn bdrv_link_describe(const BdrvLink *link)
{
    if (link->role && link->role->describe) {
        return link->role->describe(link);
    }
    if (link->parent) {
        return g_strdup_printf("node '%s' (as its %s)", link->parent->node_name,
                               link->role->name);
    }
    return g_strdup(link->holder);
}

/* ---- which claims a child gets ---- */

void main_fn bdrv_filter_child_claims(BlockDriverState *bs, BdrvLink *link, unsigned needs,
                                      unsigned allows, unsigned *ret_needs,
                                      unsigned *ret_allows)
{
    /* Users share this node among themselves; while one of them writes, nobody goes behind
     * their backs to what lies below it. */
    if (needs & (CLAIM_WRITE | CLAIM_RESIZE)) {
        allows &= ~(CLAIM_WRITE | CLAIM_RESIZE);
    }
    *ret_needs = needs & ~CLAIM_PIVOT;
    *ret_allows = bs->force_share ? CLAIM_ALL : allows;
}

static unsigned link_needs(const BdrvLink *l)
{
    return l->has_new ? l->new_needs : l->needs;
}

static unsigned link_allows(const BdrvLink *l)
{
    return l->has_new ? l->new_allows : l->allows;
}

/* (C5) Does no user of @bs, the parent of a tolerant backing link, mind others' writes below? */
static bool main_fn tolerates_writes_below(const BlockDriverState *bs)
{
    const GQueue *lists[] = { &bs->followers, &bs->others };

    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (GList *e = lists[i]->head; e; e = e->next) {
            const BdrvLink *user = e->data;
            unsigned needs = link_needs(user);
            if (user->role == &bdrv_role_backing || !(link_allows(user) & CLAIM_WRITE) ||
                (needs & CLAIM_READ && needs & CLAIM_WRITE)) {
                return false;
            }
        }
    }
    return true;
}

void main_fn bdrv_child_claims(BlockDriverState *bs, BdrvLink *link, unsigned needs,
                               unsigned allows, unsigned *ret_needs, unsigned *ret_allows)
{
    if (link->role == &bdrv_role_backing && link->tolerant) {
        BdrvLinkSpec spec;
        bdrv_backing_spec(bs, &spec);
        *ret_needs = spec.needs;
        *ret_allows = tolerates_writes_below(bs) ? CLAIM_ALL & ~CLAIM_RESIZE : spec.allows;
        return;
    }
    if (link->role == &bdrv_role_backing) {
        /* Set when it is linked and when a pivot seals it; what the users of @bs do changes
         * nothing. */
        *ret_needs = link->needs;
        *ret_allows = link->allows;
        return;
    }
    if (bs->drv->child_claims) {
        bs->drv->child_claims(bs, link, needs, allows, ret_needs, ret_allows);
        return;
    }
    /* A format interprets its file: it needs all of it for itself, whoever uses the format.  While
     * it is being reopened it has what it needs before and after. */
    bool writes = !bs->read_only || (bs->reopen && !bs->reopen->read_only);
    *ret_needs = CLAIM_READ | (writes ? CLAIM_WRITE | CLAIM_RESIZE : 0);
    *ret_allows = bs->force_share ? CLAIM_ALL : CLAIM_ALL & ~(CLAIM_WRITE | CLAIM_RESIZE);
}

void main_fn bdrv_storage_spec(BlockDriverState *bs, const BdrvLinkRole *role,
                               BdrvLinkSpec *spec)
{
    BdrvLink link = { .bs = NULL, .role = role };

    /* The file of a node that only shows it follows a pivot, as guests do; one that a format keeps
     * its tables in does not. */
    bool follows = role == &bdrv_role_file && (bs->drv->is_filter || bs->drv->shows_file);
    *spec = (BdrvLinkSpec){ .role = role, .follows = follows, .parent = bs };
    bdrv_child_claims(bs, &link, bs->needs, bs->allows, &spec->needs, &spec->allows);
}

void main_fn bdrv_backing_spec(BlockDriverState *bs, BdrvLinkSpec *spec)
{
    *spec = (BdrvLinkSpec){
        .role = &bdrv_role_backing, .parent = bs, .needs = CLAIM_READ,
        .allows = bs->force_share ? CLAIM_ALL : CLAIM_ALL & ~(CLAIM_WRITE | CLAIM_RESIZE),
    };
}

/* ---- pass 1: compute and check ---- */

typedef struct ClaimsChange {
    GPtrArray *links;               /* with has_new set */
    GPtrArray *nodes;               /* with claims_change set to this */
    bool blocked;                   /* it reaches a node whose claims another change is changing */
} ClaimsChange;

static void main_fn set_conflict(Error **errp, const BdrvLink *wants, const BdrvLink *stands,
                                 unsigned claims)
{
    g_autofree char *what = bdrv_claims_to_text(claims);
    g_autofree char *holder = bdrv_link_describe(stands);
    g_autofree char *user = bdrv_link_describe(wants);

    error_set_class(errp, ERROR_CLASS_DEVICE_IN_USE,
                    "Cannot use node '%s' for %s: %s does not allow '%s'",
                    stands->bs->node_name, user, holder, what);
}

static bool main_fn is_leaving(const BdrvLink *link);

/* Are all claims on @bs those of links that leave? */
static bool main_fn has_only_leaving_users(const BlockDriverState *bs)
{
    const GQueue *lists[] = { &bs->followers, &bs->others };
    bool leaving = false;

    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (GList *e = lists[i]->head; e; e = e->next) {
            const BdrvLink *link = e->data;
            if (is_leaving(link)) {
                leaving = true;
            } else if (link_needs(link) != CLAIM_NONE || link_allows(link) != CLAIM_ALL) {
                return false;
            }
        }
    }
    return leaving;
}

static bool main_fn is_leaving(const BdrvLink *link)
{
    const BlockDriverState *parent = link->parent;

    return link->leaving || (parent && (parent->drv->is_filter || parent->drv->shows_file) &&
                             has_only_leaving_users(parent));
}

/* A node may have thousands of users, and one change of many nodes as many links: bounds are
 * computed only where the change is a small one. */
#define SMALL_CHANGE 16

/* What all users of @bs need together and allow together is within these bounds.  False: they
 * would be too expensive. */
static bool main_fn claims_bounds(const ClaimsChange *c, const BlockDriverState *bs,
                                  unsigned *ret_needs, unsigned *ret_allows)
{
    if (c->links->len > SMALL_CHANGE) {
        return false;
    }
    *ret_needs = bs->needs;
    *ret_allows = bs->allows;
    for (guint i = 0; i < c->links->len; i++) {
        const BdrvLink *link = c->links->pdata[i];
        if (link->bs == bs) {
            *ret_needs |= link->new_needs;
            *ret_allows &= link->new_allows;
        }
    }
    return true;
}

static bool main_fn check_conflicts(const ClaimsChange *c, const BdrvLink *link, Error **errp)
{
    GQueue *lists[] = { &link->bs->followers, &link->bs->others };
    unsigned needs, allows;

    if (is_leaving(link)) {
        return true;
    }
    if (claims_bounds(c, link->bs, &needs, &allows) && !(link_needs(link) & ~allows) &&
        !(needs & ~link_allows(link))) {
        return true;                /* nobody can be in the way */
    }
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (GList *e = lists[i]->head; e; e = e->next) {
            const BdrvLink *other = e->data;
            if (other == link || is_leaving(other)) {
                continue;
            }
            unsigned refused = link_needs(link) & ~link_allows(other);
            if (refused) {
                set_conflict(errp, link, other, refused);
                return false;
            }
            refused = link_needs(other) & ~link_allows(link);
            if (refused) {
                set_conflict(errp, other, link, refused);
                return false;
            }
        }
    }
    return true;
}

static void main_fn cumulate(const ClaimsChange *c, const BlockDriverState *bs,
                             unsigned *ret_needs, unsigned *ret_allows)
{
    const GQueue *lists[] = { &bs->followers, &bs->others };
    unsigned needs, allows;
    bool bounded = claims_bounds(c, bs, &needs, &allows);

    *ret_needs = CLAIM_NONE;
    *ret_allows = CLAIM_ALL;
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (GList *e = lists[i]->head; e; e = e->next) {
            *ret_needs |= link_needs(e->data);
            *ret_allows &= link_allows(e->data);
            if (bounded && *ret_needs == needs && *ret_allows == allows) {
                return;             /* those that follow change nothing any more */
            }
        }
    }
}

static bool main_fn change_link(ClaimsChange *c, BdrvLink *link, unsigned needs,
                                unsigned allows, Error **errp);

/* Give @child the claims that follow from those of its parent's users. */
static bool main_fn change_child(ClaimsChange *c, BdrvLink *child, unsigned needs,
                                 unsigned allows, Error **errp)
{
    unsigned child_needs, child_allows;

    bdrv_child_claims(child->parent, child, needs, allows, &child_needs, &child_allows);
    return change_link(c, child, child_needs, child_allows, errp);
}

/* Do the claims of @child follow from those of its parent's users? */
static bool is_told(const BdrvLink *child)
{
    return child->role->stores || child->tolerant;
}

static bool main_fn change_node(ClaimsChange *c, BlockDriverState *bs, Error **errp)
{
    unsigned needs, allows;

    cumulate(c, bs, &needs, &allows);
    if (needs == (bs->claims_change ? bs->new_needs : bs->needs) &&
        allows == (bs->claims_change ? bs->new_allows : bs->allows)) {
        return true;
    }
    bs->new_needs = needs;
    bs->new_allows = allows;
    if (!bs->claims_change) {
        bs->claims_change = c;
        g_ptr_array_add(c->nodes, bs);
    }
    BdrvLink *child;
    BDRV_FOREACH_CHILD(bs, child) {
        if (is_told(child) && !change_child(c, child, needs, allows, errp)) {
            return false;
        }
    }
    BdrvLink *file_to_come = bs->reopen ? bs->reopen->file.link : NULL;
    return !file_to_come || change_child(c, file_to_come, needs, allows, errp);
}

static bool main_fn change_link(ClaimsChange *c, BdrvLink *link, unsigned needs,
                                unsigned allows, Error **errp)
{
    if (link->bs->claims_change && link->bs->claims_change != c) {
        c->blocked = true;
        return false;
    }
    link->new_needs = needs;
    link->new_allows = allows;
    if (!link->has_new) {
        link->has_new = true;
        g_ptr_array_add(c->links, link);
    }
    return check_conflicts(c, link, errp) && change_node(c, link->bs, errp);
}

/* ---- passes 2 and 3 ---- */

static bool co_main_fn change_prepare(ClaimsChange *c, Error **errp)
{
    for (guint i = 0; i < c->nodes->len; i++) {
        BlockDriverState *bs = c->nodes->pdata[i];
        if (bs->drv->co_claims_prepare &&
            !bs->drv->co_claims_prepare(bs, bs->new_needs, bs->new_allows, errp)) {
            while (i-- > 0) {
                bs = c->nodes->pdata[i];
                if (bs->drv->co_claims_abort) {
                    bs->drv->co_claims_abort(bs);
                }
            }
            return false;
        }
    }
    return true;
}

static void co_main_fn change_finish(ClaimsChange *c, bool commit)
{
    for (guint i = 0; i < c->nodes->len; i++) {
        BlockDriverState *bs = c->nodes->pdata[i];

        if (commit) {
            bs->needs = bs->new_needs;
            bs->allows = bs->new_allows;
        }
    }
    for (guint i = 0; i < c->links->len; i++) {
        BdrvLink *link = c->links->pdata[i];
        link->has_new = false;
        if (commit) {
            link->needs = link->new_needs;
            link->allows = link->new_allows;
        }
    }
    /* The new values hold by now; other changes wait until the drivers have given up the rest. */
    for (guint i = 0; i < c->nodes->len; i++) {
        BlockDriverState *bs = c->nodes->pdata[i];
        if (commit && bs->drv->co_claims_commit) {
            bs->drv->co_claims_commit(bs);
        }
        bs->claims_change = NULL;
    }
    g_ptr_array_free(c->links, TRUE);
    g_ptr_array_free(c->nodes, TRUE);
}

/* Pass 1 of a change of @link, or (NULL) of what follows for the children of @bs and for itself. */
static bool main_fn change_compute(ClaimsChange *c, BdrvLink *link, BlockDriverState *bs,
                                   unsigned needs, unsigned allows, Error **errp)
{
    BdrvLink *child;

    if (link) {
        return change_link(c, link, needs, allows, errp);
    }
    if (bs->claims_change && bs->claims_change != c) {
        c->blocked = true;
        return false;
    }
    /* read_only enters the claims of children but not the cumulative ones: look at them even if
     * the latter stay as they are. */
    cumulate(c, bs, &needs, &allows);
    BDRV_FOREACH_CHILD(bs, child) {
        if (is_told(child) && !change_child(c, child, needs, allows, errp)) {
            return false;
        }
    }
    return change_node(c, bs, errp);
}

/*
 * All passes.  The second one may take as long as a disk likes (locks of a file, finding out who
 * holds one): changes that reach one of the same nodes wait for it, all others do not.
 */
static bool co_main_fn change(BdrvLink *link, BlockDriverState *bs, unsigned needs,
                              unsigned allows, Error **errp)
{
    for (;;) {
        ClaimsChange c = { g_ptr_array_new(), g_ptr_array_new(), false };
        bool ok = change_compute(&c, link, bs, needs, allows, errp);

        if (!c.blocked) {
            ok = ok && change_prepare(&c, errp);
            change_finish(&c, ok);
            bdrv_change_wake();
            return ok;
        }
        change_finish(&c, false);
        bdrv_change_wait();
    }
}

bool co_main_fn bdrv_link_set_claims(BdrvLink *link, unsigned needs, unsigned allows, Error **errp)
{
    if (needs == link->needs && allows == link->allows) {
        return true;                /* a link that only keeps a node concerns nobody */
    }
    return change(link, NULL, needs, allows, errp);
}

bool co_main_fn bdrv_refresh_claims(BlockDriverState *bs, Error **errp)
{
    bool ok = change(NULL, bs, 0, 0, errp);

    bs->claims_stale = !ok;
    return ok;
}

void co_main_fn bdrv_refresh_backing_claims(BlockDriverState *bs)
{
    BdrvLinkSpec spec;

    if (bs->backing) {
        bdrv_backing_spec(bs, &spec);
        bdrv_link_set_claims(bs->backing, spec.needs, spec.allows, NULL);
    }
}
