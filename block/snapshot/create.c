/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Step 2 of the group snapshot: the new images of all members, side by side, linked to their bases; or none.
 *
 * Members of a transaction may be based on overlays of others: these come in an earlier level.  Files are made
 * without the graph mutex where that is possible (S5); groups are ordered by a mutex of their own.
 */
#include "qemu/osdep.h"

#include "block/snapshot/group-internal.h"

/* ---- locks ---- */

/* Taken before the graph mutex, see group_snapshot_lock(). */
static CoMutex group_mutex;

static void __attribute__((constructor)) group_init(void)
{
    co_mutex_init(&group_mutex);
}

void co_main_fn group_snapshot_lock(void)
{
    co_mutex_lock(&group_mutex);
    bdrv_graph_lock();
}

void co_main_fn group_snapshot_unlock(void)
{
    bdrv_graph_unlock();
    co_mutex_unlock(&group_mutex);
}

static const BdrvLinkRole pin_role = { .name = "pin" };

bool co_main_fn group_snapshot_wait_for(BlockDriverState *bs)
{
    for (GList *e = bs->others.head; e; e = e->next) {
        if (((BdrvLink *)e->data)->role == &pin_role) {
            bdrv_graph_unlock();
            group_snapshot_lock();
            co_mutex_unlock(&group_mutex);
            return true;
        }
    }
    return false;
}

/* ---- side by side ---- */

/* Members at work at the same time: enough that their syncs merge, few enough that guests whose disks
 * are served by the main thread get their turns. */
#define MAX_AT_WORK 16

/* The members of one step, handed to the workers one by one. */
typedef struct LevelWork {
    GroupSnapshot *g;
    int level;
    CoroutineEntry *step;
    guint next;
} LevelWork;

static void co_main_fn level_worker(void *opaque)
{
    LevelWork *w = opaque;

    while (w->next < w->g->members->len) {
        GroupMember *m = group_member_at(w->g, w->next++);
        if (m->level == w->level && !m->overlay) {
            w->step(m);
            coroutine_reschedule();
        }
    }
}

/* Run @step for the members not prepared yet that are of @level, side by side. */
static void co_main_fn for_level(GroupSnapshot *g, int level, CoroutineEntry *step)
{
    LevelWork work = { g, level, step, 0 };
    CoGroup group = CO_GROUP_INIT;

    for (int i = 0; i < MAX_AT_WORK; i++) {
        co_group_start(&group, level_worker, &work);
    }
    co_group_wait(&group);
}

static int last_level(const GroupSnapshot *g)
{
    int last = 0;

    for (guint i = 0; i < g->members->len; i++) {
        last = MAX(last, group_member_at(g, i)->level);
    }
    return last;
}

/* The files of @level: nodes that nobody else can see. False: some member has an error. */
static bool co_main_fn create_files(GroupSnapshot *g, int level)
{
    bool ok = true;

    for_level(g, level, group_member_make_target);
    for (guint i = 0; i < g->members->len; i++) {
        GroupMember *m = group_member_at(g, i);
        bool mine = m->level == level && !m->overlay;
        ok = ok && !m->err && (!mine || group_member_check_identity(m));
    }
    if (ok) {
        for_level(g, level, group_member_make_overlay);
    }
    for (guint i = 0; i < g->members->len; i++) {
        ok = ok && !group_member_at(g, i)->err;
    }
    return ok;
}

/* Link what was made to the bases. */
static bool co_main_fn link_level(GroupSnapshot *g, int level)
{
    bool ok = true;

    for (guint i = 0; ok && i < g->members->len; i++) {
        GroupMember *m = group_member_at(g, i);
        if (m->level == level && !m->overlay) {
            group_member_link(m);
            ok = !m->err;
        }
    }
    return ok;
}

/* (S5) holds for new images only: not for open nodes, which others could use, nor for what is prepared already. */
static bool main_fn can_let_others_on(const GroupSnapshot *g)
{
    for (guint i = 0; i < g->members->len; i++) {
        if (group_member_at(g, i)->req.overlay || group_member_at(g, i)->overlay) {
            return false;
        }
    }
    return true;
}

static void co_main_fn pin_bases(GroupSnapshot *g)
{
    BdrvLinkSpec spec = { .role = &pin_role, .allows = CLAIM_ALL,
                          .holder = "the snapshot command" };

    for (guint i = 0; i < g->members->len; i++) {
        GroupMember *m = group_member_at(g, i);
        m->pin = bdrv_link_new(m->req.base, &spec, &error_abort);
    }
}

static void co_main_fn unpin_bases(GroupSnapshot *g)
{
    for (guint i = 0; i < g->members->len; i++) {
        bdrv_link_free(g_steal_pointer(&group_member_at(g, i)->pin));
    }
}

void co_main_fn group_snapshot_abort(GroupSnapshot *g)
{
    /* The last made goes first: it may be based on an earlier one. */
    for (guint i = g->members->len; i-- > 0; ) {
        group_member_undo(group_member_at(g, i));
    }
    g->prepared = false;
}

static bool co_main_fn create_by_levels(GroupSnapshot *g)
{
    bool ok = true;

    for (int level = 0; ok && level <= last_level(g); level++) {
        ok = create_files(g, level) && link_level(g, level);
    }
    return ok;
}

/* While others change the graph; there is one level, as no member is based on another. */
static bool co_main_fn create_without_graph_lock(GroupSnapshot *g)
{
    pin_bases(g);
    bdrv_graph_unlock();
    bool ok = create_files(g, 0);
    if (!ok) {
        group_snapshot_abort(g);
    }
    bdrv_graph_lock();
    ok = ok && link_level(g, 0);
    unpin_bases(g);
    return ok;
}

bool co_main_fn group_snapshot_prepare(GroupSnapshot *g, bool let_others_on, Error **errp)
{
    int64_t start = clock_ns();

    g->prepared = true;
    bool ok = let_others_on && can_let_others_on(g) ? create_without_graph_lock(g) : create_by_levels(g);
    g->times.create_ns += clock_ns() - start;
    if (!ok) {
        group_fail_first(g, errp);
        group_snapshot_abort(g);
    }
    return ok;
}
