/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The group snapshot: all members' steps, in order.
 *
 *   1 check     no disk touched
 *   2 create    every overlay made, synced, opened and linked to its base; directories synced
 *   3 flush     every base, while guests run
 *   4 quiesce   every place that reaches a base
 *   5 flush     what became dirty since 3
 *   6 pivot     void: nothing below can fail
 *   7 resume
 *
 * (S1) Nothing that a guest or client can see changes before step 6.
 * (S2) No place resumes before the last member is pivoted: a write that was sent after another one
 *      was acknowledged is in no snapshot that lacks the other.
 * (S3) A failure in 1-5 undoes 2 for all members and reports the first one, in list order, that failed.
 * (S4) Nothing is created, opened or allocated between 4 and 7 but memory for the flushes.
 * (S5) While files are made other commands change the graph: what is being made is hidden from them, the
 *      bases are pinned, and what was true of those is looked at again before they are linked.
 */
#include "qemu/osdep.h"

#include "block/snapshot/group-internal.h"

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

#define PIN_ROLE "pin"

bool co_main_fn group_snapshot_wait_for(BlockDriverState *bs)
{
    for (GList *e = bs->others.head; e; e = e->next) {
        if (strcmp(((BdrvLink *)e->data)->role, PIN_ROLE) == 0) {
            bdrv_graph_unlock();
            group_snapshot_lock();
            co_mutex_unlock(&group_mutex);
            return true;
        }
    }
    return false;
}

int64_t group_overlay_cluster_size = 128 * KiB;
bool group_overlay_extended_l2 = true;

void main_fn group_snapshot_set_layout(int64_t cluster_size, bool extended_l2)
{
    group_overlay_cluster_size = cluster_size;
    group_overlay_extended_l2 = extended_l2;
}

/* Flushing the bases before the hold: at most so often, and no more once it is this quick. */
#define MAX_RUNNING_FLUSHES 2
#define QUICK_FLUSH_NS (10 * NS_PER_MS)

static GroupMember *member_at(const GroupSnapshot *g, guint i)
{
    return g->members->pdata[i];
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

/* ---- 1: check ---- */

bool main_fn group_member_check_users(GroupMember *m, Error **errp)
{
    BlockDriverState *base = m->req.base;
    GQueue *lists[] = { &base->followers, &base->others };

    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (GList *e = lists[i]->head; e; e = e->next) {
            BdrvLink *link = e->data;
            /* The base becomes somebody's backing file: only those that move on may write. */
            bool stays_and_writes = !link->follows && link->needs & (CLAIM_WRITE | CLAIM_RESIZE);
            if (!(link->allows & CLAIM_PIVOT) || stays_and_writes) {
                g_autofree char *holder = bdrv_link_describe(link);
                error_set_class(errp, ERROR_CLASS_DEVICE_IN_USE,
                                "Cannot take a snapshot of '%s': %s does not allow it",
                                m->req.device, holder);
                return false;
            }
        }
    }
    return true;
}

static bool main_fn check_not_twice(GroupMember *m, Error **errp)
{
    for (guint i = 0; i < m->group->members->len; i++) {
        GroupMember *other = member_at(m->group, i);
        if (other->req.base == m->req.base) {
            error_setg(errp, "Cannot take two snapshots of '%s' at once: '%s' is the same node '%s'",
                       m->req.device, other->req.device, m->req.base->node_name);
            return false;
        }
        if (m->req.filename && other->req.filename) {
            g_autofree char *a = bdrv_path_combine(NULL, m->req.filename);
            g_autofree char *b = bdrv_path_combine(NULL, other->req.filename);
            if (strcmp(a, b) == 0) {
                error_setg(errp, "Cannot use '%s' for the snapshot of '%s': the one of '%s' "
                           "goes there", m->req.filename, m->req.device, other->req.device);
                return false;
            }
        }
        if (m->req.node_name && other->req.node_name &&
            strcmp(m->req.node_name, other->req.node_name) == 0) {
            error_setg(errp, "Duplicate nodes with node-name='%s'", m->req.node_name);
            return false;
        }
    }
    return true;
}

static bool main_fn check_new_image(GroupMember *m, Error **errp)
{
    const GroupMemberRequest *req = &m->req;

    m->drv = bdrv_find_driver(req->format);
    if (!m->drv) {
        error_set_class(errp, ERROR_CLASS_INVALID_BLOCK_FORMAT, "Unknown format '%s'", req->format);
        return false;
    }
    if (!m->drv->supports_backing) {
        error_set_class(errp, ERROR_CLASS_INVALID_BLOCK_FORMAT,
                        "Format '%s' cannot be used for a snapshot: it has no backing files",
                        req->format);
        return false;
    }
    if (!req->filename[0]) {
        error_setg(errp, "Cannot take a snapshot of '%s': the new image has no file name",
                   req->device);
        return false;
    }
    if (bdrv_path_has_protocol(req->filename)) {
        error_setg(errp, "Cannot create '%s': only local files can be created", req->filename);
        return false;
    }
    return !req->node_name || bdrv_check_node_name(req->node_name, errp);
}

static bool main_fn check_given_overlay(GroupMember *m, Error **errp)
{
    BlockDriverState *overlay = m->req.overlay;

    if (!overlay->drv->supports_backing) {
        error_setg(errp, "The overlay does not support backing images");
        return false;
    }
    if (overlay->backing) {
        error_setg(errp, "The overlay already has a backing image");
        return false;
    }
    if (overlay->followers.length > 0 ||
        overlay->others.length > (overlay->monitor_link ? 1 : 0)) {
        GList *e = overlay->followers.head ?: overlay->others.tail;
        g_autofree char *holder = bdrv_link_describe(e->data);
        error_setg(errp, "The overlay is already in use by %s", holder);
        return false;
    }
    if (bdrv_reaches(m->req.base, overlay)) {
        error_setg(errp, "Cannot put node '%s' in front of '%s': it lies below it",
                   overlay->node_name, m->req.base->node_name);
        return false;
    }
    if (overlay->read_only && m->req.base->needs & CLAIM_WRITE) {
        error_setg(errp, "Cannot put node '%s' in front of '%s': it is read-only",
                   overlay->node_name, m->req.base->node_name);
        return false;
    }
    for (guint i = 0; i < m->group->members->len; i++) {
        if (member_at(m->group, i)->req.overlay == overlay) {
            error_setg(errp, "The overlay is already in use by another snapshot of the group");
            return false;
        }
    }
    return true;
}

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

/* Names the member in *@errp. */
static void set_member(const GroupMember *m, Error *err)
{
    ErrorMember member = {
        .device = m->req.device, .filename = m->req.filename, .index = m->index,
    };

    error_set_member(err, &member);
}

bool main_fn group_snapshot_add(GroupSnapshot *g, const GroupMemberRequest *req, Error **errp)
{
    int64_t start = clock_ns();
    GroupMember *m = member_new(g, req);
    Error *err = NULL;
    bool ok = check_not_twice(m, &err) && group_member_check_users(m, &err) &&
              (req->overlay ? check_given_overlay(m, &err) : check_new_image(m, &err));

    g->times.check_ns += clock_ns() - start;
    if (!ok) {
        set_member(m, err);
        error_propagate(errp, err);
        member_free(m);
        return false;
    }
    for (guint i = 0; i < g->members->len; i++) {
        GroupMember *below = member_at(g, i);
        if (below->req.overlay && below->req.overlay == req->base) {
            m->wave = below->wave + 1;
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
        GroupMember *m = member_at(g, i);
        if (m->req.base == bs && (m->overlay || m->req.overlay)) {
            bs = m->overlay ?: m->req.overlay;
        }
    }
    return bs;
}

/* ---- 2: create ---- */

static bool main_fn fail_first(GroupSnapshot *g, Error **errp)
{
    for (guint i = 0; i < g->members->len; i++) {
        GroupMember *m = member_at(g, i);
        if (m->err) {
            set_member(m, m->err);
            error_propagate(errp, g_steal_pointer(&m->err));
            return true;
        }
    }
    return false;
}

/* Members at work at the same time: enough that their syncs merge, few enough that guests whose disks
 * are served by the main thread get their turns. */
#define MAX_AT_WORK 16

/* The members of one step, handed to the workers one by one. */
typedef struct WaveWork {
    GroupSnapshot *g;
    int wave;
    CoroutineEntry *step;
    guint next;
} WaveWork;

static void co_main_fn wave_worker(void *opaque)
{
    WaveWork *w = opaque;

    while (w->next < w->g->members->len) {
        GroupMember *m = member_at(w->g, w->next++);
        if (m->wave == w->wave && !m->overlay) {
            w->step(m);
            coroutine_reschedule();
        }
    }
}

/* Run @step for the members not prepared yet that are of @wave, side by side. */
static void co_main_fn for_wave(GroupSnapshot *g, int wave, CoroutineEntry *step)
{
    WaveWork work = { g, wave, step, 0 };
    CoGroup group = CO_GROUP_INIT;

    for (int i = 0; i < MAX_AT_WORK; i++) {
        co_group_start(&group, wave_worker, &work);
    }
    co_group_wait(&group);
}

static int last_wave(const GroupSnapshot *g)
{
    int last = 0;

    for (guint i = 0; i < g->members->len; i++) {
        last = MAX(last, member_at(g, i)->wave);
    }
    return last;
}

/* The files of @wave: nodes that nobody else can see. False: some member has an error. */
static bool co_main_fn create_files(GroupSnapshot *g, int wave)
{
    bool ok = true;

    for_wave(g, wave, group_member_make_target);
    for (guint i = 0; i < g->members->len; i++) {
        GroupMember *m = member_at(g, i);
        bool mine = m->wave == wave && !m->overlay;
        ok = ok && !m->err && (!mine || group_member_check_identity(m));
    }
    if (ok) {
        for_wave(g, wave, group_member_make_overlay);
    }
    for (guint i = 0; i < g->members->len; i++) {
        ok = ok && !member_at(g, i)->err;
    }
    return ok;
}

/* Link what was made to the bases. */
static bool co_main_fn link_wave(GroupSnapshot *g, int wave)
{
    bool ok = true;

    for (guint i = 0; ok && i < g->members->len; i++) {
        GroupMember *m = member_at(g, i);
        if (m->wave == wave && !m->overlay) {
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
        if (member_at(g, i)->req.overlay || member_at(g, i)->overlay) {
            return false;
        }
    }
    return true;
}

static void co_main_fn pin_bases(GroupSnapshot *g)
{
    BdrvLinkSpec spec = { .role = PIN_ROLE, .allows = CLAIM_ALL, .holder = "the snapshot command" };

    for (guint i = 0; i < g->members->len; i++) {
        GroupMember *m = member_at(g, i);
        m->pin = bdrv_link_new(m->req.base, &spec, &error_abort);
    }
}

static void co_main_fn unpin_bases(GroupSnapshot *g)
{
    for (guint i = 0; i < g->members->len; i++) {
        bdrv_link_free(g_steal_pointer(&member_at(g, i)->pin));
    }
}

void co_main_fn group_snapshot_abort(GroupSnapshot *g)
{
    /* The last made goes first: it may be based on an earlier one. */
    for (guint i = g->members->len; i-- > 0; ) {
        group_member_undo(member_at(g, i));
    }
    g->prepared = false;
}

/* The files of a wave, or none of them; meanwhile others change the graph. */
static bool co_main_fn create_files_aside(GroupSnapshot *g, int wave)
{
    pin_bases(g);
    bdrv_graph_unlock();
    bool ok = create_files(g, wave);
    if (!ok) {
        group_snapshot_abort(g);
    }
    bdrv_graph_lock();
    return ok;
}

static bool co_main_fn create_all(GroupSnapshot *g, bool aside, Error **errp)
{
    bool ok = true;

    for (int wave = 0; ok && wave <= last_wave(g); wave++) {
        ok = (aside ? create_files_aside(g, wave) : create_files(g, wave)) && link_wave(g, wave);
    }
    if (aside) {
        unpin_bases(g);
    }
    if (!ok) {
        fail_first(g, errp);
    }
    return ok;
}

bool co_main_fn group_snapshot_prepare(GroupSnapshot *g, bool let_others_on, Error **errp)
{
    int64_t start = clock_ns();

    g->prepared = true;
    bool ok = create_all(g, let_others_on && can_let_others_on(g), errp);
    g->times.create_ns += clock_ns() - start;
    if (!ok) {
        group_snapshot_abort(g);
    }
    return ok;
}

/* ---- 4: quiesce ---- */

/* The member whose base is reached by @blk, the place that did not come to rest. */
static GroupMember *main_fn member_of_place(GroupSnapshot *g, BlockBackend *blk)
{
    for (guint i = 0; i < g->members->len; i++) {
        g_autoptr(GHashTable) places = g_hash_table_new(NULL, NULL);
        bdrv_collect_places(member_at(g, i)->req.base, places);
        if (g_hash_table_contains(places, blk)) {
            return member_at(g, i);
        }
    }
    return member_at(g, 0);
}

static bool co_main_fn quiesce_all(GroupSnapshot *g, BlkQuiesce *q, int64_t deadline_ns,
                                   int64_t timeout_ns, Error **errp)
{
    g_autoptr(GHashTable) places = g_hash_table_new(NULL, NULL);
    BlockBackend *late;
    Error *err = NULL;

    for (guint i = 0; i < g->members->len; i++) {
        bdrv_collect_places(member_at(g, i)->req.base, places);
    }
    if (blk_quiesce(q, places, deadline_ns, &late)) {
        return true;
    }
    GroupMember *m = member_of_place(g, late);
    error_setg(&err, "Cannot take a snapshot of '%s': its requests did not finish within "
               "%" PRId64 " ms", m->req.device, timeout_ns / NS_PER_MS);
    set_member(m, err);
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
    file_target_commit(g_steal_pointer(&m->target));
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
        BlockDriverState *base = member_at(g, i)->req.base;
        t->flushed_bytes += __atomic_load_n(&base->unflushed_bytes, __ATOMIC_RELAXED);
    }
    group_flush_bases(g, BDRV_FLUSH_SETTLE, deadline_ns);
    int64_t flushed = clock_ns();
    t->held_flush_ns = flushed - held;
    if (fail_first(g, errp)) {
        blk_resume(&q);
        return false;
    }
    for (guint i = 0; i < g->members->len; i++) {
        pivot(member_at(g, i));
    }
    t->pivot_ns = clock_ns() - flushed;
    t->pause_ns = blk_resume(&q);
    return true;
}

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
        ok = !fail_first(g, errp);
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
        clean(member_at(g, i));
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
    GroupMember *m = member_at(g, index);

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
