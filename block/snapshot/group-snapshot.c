/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The group snapshot: all members' steps, in order.
 *
 *   1 check     no disk touched (check.c)
 *   2 create    every overlay made, synced, opened and linked to its base; directories synced
 *               (create.c; overlay.c for one member)
 *   3 flush     every base, while guests run (held-flush.c)
 *   4 quiesce   every backend that reaches a base
 *   5 flush     what became dirty since 3
 *   6 pivot     void: nothing below can fail
 *   7 resume
 *
 * (S1) Nothing that a guest or client can see changes before step 6.
 * (S2) No backend resumes before the last member is pivoted: a write that was sent after another one
 *      was acknowledged is in no snapshot that lacks the other.
 * (S3) A failure in 1-5 undoes 2 for all members and reports the first one, in list order, that failed.
 * (S4) Nothing is created, opened or allocated between 4 and 7 but memory for the flushes.
 * (S5) While files are made other commands change the graph: what is being made is hidden from them, the
 *      bases are pinned, and what was true of those is looked at again before they are linked.
 */
#include "qemu/osdep.h"

#include "block/snapshot/group-internal.h"

int64_t group_overlay_cluster_size = 128 * KiB;
bool group_overlay_extended_l2 = true;

void main_fn group_snapshot_set_layout(int64_t cluster_size, bool extended_l2)
{
    group_overlay_cluster_size = cluster_size;
    group_overlay_extended_l2 = extended_l2;
}

void main_fn group_member_release_name(GroupMember *m)
{
    if (m->name_reserved) {
        bdrv_release_node_name(m->req.node_name);
        m->name_reserved = false;
    }
}

static void main_fn member_free(void *opaque)
{
    GroupMember *m = opaque;

    g_assert(!m->pin);
    group_member_release_name(m);
    g_free((char *)m->req.device);
    g_free((char *)m->req.filename);
    g_free((char *)m->req.node_name);
    g_free(m->overlay_filename);
    g_free(m->overlay_node_name);
    g_free(m->base_node_name);
    error_free(m->err);
    error_free(m->ro_error);
    g_free(m);
}

GroupSnapshot *main_fn group_snapshot_new(void)
{
    GroupSnapshot *g = g_new0(GroupSnapshot, 1);

    g->members = g_ptr_array_new_with_free_func(member_free);
    return g;
}

void main_fn group_snapshot_free(GroupSnapshot *g)
{
    g_assert(!g->prepared);
    g_ptr_array_unref(g->members);
    g_free(g);
}

void any_fn group_member_blame(const GroupMember *m, Error *err)
{
    ErrorMember member = {
        .device = m->req.device, .filename = m->req.filename, .index = m->index,
    };

    error_set_member(err, &member);
}

bool main_fn group_fail_first(GroupSnapshot *g, Error **errp)
{
    for (guint i = 0; i < g->members->len; i++) {
        GroupMember *m = group_member_at(g, i);
        if (m->err) {
            group_member_blame(m, m->err);
            error_propagate(errp, g_steal_pointer(&m->err));
            return true;
        }
    }
    return false;
}

/* ---- 1: members ---- */

static GroupMember *main_fn member_new(GroupSnapshot *g, const GroupMemberRequest *req)
{
    GroupMember *m = g_new0(GroupMember, 1);

    m->group = g;
    m->index = g->members->len;
    m->req = *req;
    m->req.device = g_strdup(req->device);
    m->req.filename = g_strdup(req->filename);
    m->req.node_name = g_strdup(req->node_name);
    return m;
}

bool main_fn group_snapshot_add(GroupSnapshot *g, const GroupMemberRequest *req, Error **errp)
{
    int64_t start = clock_ns();
    GroupMember *m = member_new(g, req);
    Error *err = NULL;
    bool ok = group_member_check(m, &err);

    g->times.check_ns += clock_ns() - start;
    if (!ok) {
        group_member_blame(m, err);
        error_propagate(errp, err);
        member_free(m);
        return false;
    }
    for (guint i = 0; i < g->members->len; i++) {
        GroupMember *below = group_member_at(g, i);
        if (below->req.overlay && below->req.overlay == req->base) {
            m->level = below->level + 1;
        }
    }
    if (m->req.node_name) {
        bdrv_reserve_node_name(m->req.node_name);
        m->name_reserved = true;
    }
    g_ptr_array_add(g->members, m);
    return true;
}

BlockDriverState *main_fn group_snapshot_top(GroupSnapshot *g, BlockDriverState *bs)
{
    for (guint i = 0; i < g->members->len; i++) {
        GroupMember *m = group_member_at(g, i);
        if (m->req.base == bs && (m->overlay || m->req.overlay)) {
            bs = m->overlay ?: m->req.overlay;
        }
    }
    return bs;
}

/* ---- 4: quiesce ---- */

/* The member whose base is reached by @blk, the backend that did not come to rest. */
static GroupMember *main_fn member_of_backend(GroupSnapshot *g, BlockBackend *blk)
{
    for (guint i = 0; i < g->members->len; i++) {
        g_autoptr(GHashTable) backends = g_hash_table_new(NULL, NULL);
        bdrv_collect_backends(group_member_at(g, i)->req.base, backends);
        if (g_hash_table_contains(backends, blk)) {
            return group_member_at(g, i);
        }
    }
    return group_member_at(g, 0);
}

static bool co_main_fn quiesce_all(GroupSnapshot *g, BlkQuiesce *q, int64_t deadline_ns,
                                   int64_t timeout_ns, Error **errp)
{
    g_autoptr(GHashTable) backends = g_hash_table_new(NULL, NULL);
    BlockBackend *late;
    Error *err = NULL;

    for (guint i = 0; i < g->members->len; i++) {
        bdrv_collect_backends(group_member_at(g, i)->req.base, backends);
    }
    if (blk_quiesce(q, backends, deadline_ns, &late)) {
        return true;
    }
    GroupMember *m = member_of_backend(g, late);
    error_setg(&err, "Cannot take a snapshot of '%s': its requests did not finish within "
               "%" PRId64 " ms", m->req.device, timeout_ns / NS_PER_MS);
    group_member_blame(m, err);
    error_propagate(errp, err);
    return false;
}

/* ---- 6: pivot ---- */

static void main_fn pivot(GroupMember *m)
{
    BlockDriverState *base = m->req.base;

    bdrv_backing_link_seal(m->overlay->backing);
    bdrv_append(m->overlay, base);
    /* The command's own link is on the base now and wants nothing of it. */
    m->snap->needs = CLAIM_NONE;
    m->snap->allows = CLAIM_ALL;
    if (m->ro_nodes) {
        bdrv_reopen_commit(m->ro_nodes);
    }
}

/* After the guests run again: close what was replaced, give up the base's write locks. */
static void co_main_fn clean(GroupMember *m)
{
    BlockDriverState *base = m->req.base;

    m->base_node_name = g_strdup(base->node_name);
    m->overlay_node_name = g_strdup(m->overlay->node_name);
    m->overlay_filename = g_strdup(m->overlay->filename);
    if (m->ro_nodes) {
        bdrv_reopen_clean(m->ro_nodes, &m->ro_error);
        g_clear_pointer(&m->ro_nodes, g_ptr_array_unref);
    } else {
        bdrv_refresh_claims(base, m->ro_error ? NULL : &m->ro_error);
    }
    m->base_is_read_only = base->read_only && !m->ro_error;
    bdrv_link_free(g_steal_pointer(&m->snap));
    new_file_commit(g_steal_pointer(&m->target));
}

/* ---- all of it ---- */

/* Steps 4 to 7. */
static bool co_main_fn take_instant(GroupSnapshot *g, int64_t timeout_ns, Error **errp)
{
    GroupTimes *t = &g->times;
    BlkQuiesce q;
    int64_t start = clock_ns();
    int64_t deadline_ns = timeout_ns < 0 ? -1 : start + timeout_ns;

    if (!quiesce_all(g, &q, deadline_ns, timeout_ns, errp)) {
        return false;
    }
    int64_t held = clock_ns();
    t->quiesce_ns = held - start;
    for (guint i = 0; i < g->members->len; i++) {
        BlockDriverState *base = group_member_at(g, i)->req.base;
        t->flushed_bytes += __atomic_load_n(&base->unflushed_bytes, __ATOMIC_RELAXED);
    }
    group_flush_bases(g, BDRV_FLUSH_SETTLE, deadline_ns);
    int64_t flushed = clock_ns();
    t->held_flush_ns = flushed - held;
    if (group_fail_first(g, errp)) {
        blk_resume(&q);
        return false;
    }
    for (guint i = 0; i < g->members->len; i++) {
        pivot(group_member_at(g, i));
    }
    t->pivot_ns = clock_ns() - flushed;
    t->pause_ns = blk_resume(&q);
    return true;
}

/* Flushing the bases before the hold: at most so often, and no more once it is this quick. */
#define MAX_RUNNING_FLUSHES 2
#define QUICK_FLUSH_NS (10 * NS_PER_MS)

/*
 * Flush while guests run, so that little is left for when they are held.  What they write during a
 * flush is for the next one: again, while that is worth it.
 */
static bool co_main_fn flush_running(GroupSnapshot *g, Error **errp)
{
    int64_t begin = clock_ns();
    bool ok = true, quick = false;

    for (int pass = 0; ok && !quick && pass < MAX_RUNNING_FLUSHES; pass++) {
        int64_t start = clock_ns();
        group_flush_bases(g, BDRV_FLUSH_SETTLE, -1);
        ok = !group_fail_first(g, errp);
        quick = clock_ns() - start < QUICK_FLUSH_NS;
    }
    g->times.flush_ns = clock_ns() - begin;
    return ok;
}

bool co_main_fn group_snapshot_run(GroupSnapshot *g, int64_t timeout_ns, Error **errp)
{
    if (!flush_running(g, errp) || !take_instant(g, timeout_ns, errp)) {
        group_snapshot_abort(g);
        return false;
    }
    for (guint i = 0; i < g->members->len; i++) {
        clean(group_member_at(g, i));
        coroutine_reschedule();     /* guests served by this thread take turns with us */
    }
    g->prepared = false;
    g->done = true;
    return true;
}

guint main_fn group_snapshot_count(const GroupSnapshot *g)
{
    return g->members->len;
}

GroupMemberResult main_fn group_snapshot_result(const GroupSnapshot *g, guint index)
{
    GroupMember *m = group_member_at(g, index);

    g_assert(g->done);
    return (GroupMemberResult){
        .device = m->req.device,
        .filename = m->overlay_filename,
        .node_name = m->overlay_node_name,
        .base_node_name = m->base_node_name,
        .base_read_only = m->base_is_read_only,
        .base_read_only_error = m->ro_error ? error_get_pretty(m->ro_error) : NULL,
    };
}

GroupTimes main_fn group_snapshot_times(const GroupSnapshot *g)
{
    return g->times;
}
