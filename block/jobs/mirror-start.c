/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a mirror begins: the filter is put in front of the source, as an action of a transaction. */
#include "qemu/osdep.h"

#include "block/jobs/mirror-internal.h"

typedef struct MirrorStart {
    BdrvAction action;
    MirrorRequest req;
    MirrorJob *job;                 /* NULL: it is on its way, or gone */
    BdrvMove move;                  /* of the source's users, to the filter */
} MirrorStart;

static MirrorStart *of(BdrvAction *a)
{
    return container_of(a, MirrorStart, action);
}

/* ---- prepare ---- */

/* The target's clusters have to be written as wholes: (T4) in mirror-top.c. */
static bool fills_no_clusters(const MirrorRequest *req)
{
    return !req->is_commit && req->sync != MIRROR_SYNC_FULL && req->target->drv->supports_backing &&
           !req->target->backing;
}

static BdrvLink *co_main_fn open_filter(MirrorStart *s, Error **errp)
{
    const MirrorRequest *req = &s->req;
    g_autofree char *holder = g_strdup_printf("block job '%s'", s->job->job.id);
    int64_t length = bdrv_length(req->source);
    int64_t granularity = job_granularity(req->target, length, req->granularity);
    bool wholes = fills_no_clusters(req);

    if (wholes) {
        granularity = MAX(granularity, req->target->limits.alloc_unit);
    }
    HBitmap *dirty = hbitmap_new(length, granularity);
    HBitmap *lacking = wholes ? job_full_bitmap(length, granularity, NULL) : NULL;
    if (!dirty || (wholes && !lacking)) {
        hbitmap_free(dirty);
        hbitmap_free(lacking);
        error_setg(errp, "Cannot begin job '%s': there is no memory for its bitmap",
                   s->job->job.id);
        return NULL;
    }
    if (req->sync == MIRROR_SYNC_FULL) {
        hbitmap_set(dirty, 0, length);
    }
    return mirror_top_new(req->source, req->target, req->filter_name, holder, dirty, lacking,
                          errp);
}

/* Nodes that have to be where they are: a copy of a part of a chain, or into it. */
static bool co_main_fn take_chain(MirrorStart *s, Error **errp)
{
    MirrorJob *m = s->job;
    const MirrorRequest *req = &s->req;

    if (req->sync != MIRROR_SYNC_TOP) {
        return true;
    }
    m->top_link = job_link(&m->job, req->source, CLAIM_NONE, CLAIM_ALL & ~CLAIM_PIVOT, errp);
    if (!m->top_link) {
        return false;
    }
    m->base = req->base;
    if (req->is_commit) {
        JobChainSpec spec = { .top = req->source, .base = req->base, .merges = true };
        return job_chain_prepare(&m->chain, &m->job, &spec, errp);
    }
    m->base_link = req->base ? job_link(&m->job, req->base, CLAIM_NONE, CLAIM_ALL, errp) : NULL;
    return !req->base || m->base_link;
}

/* A copy to another place goes on while the machine goes there; a commit writes to its disk. */
static bool main_fn may_outlast(MirrorStart *s, BlockBackend *blk)
{
    if (blk && !s->req.is_commit) {
        blk_set_outlasts_handover(blk);
    }
    return blk != NULL;
}

static bool co_main_fn take_source(MirrorStart *s, Error **errp)
{
    MirrorJob *m = s->job;

    m->pair.source = job_backend(&m->job, m->filter_link->bs, CLAIM_READ,
                                 CLAIM_ALL & ~CLAIM_RESIZE, errp);
    return may_outlast(s, m->pair.source);
}

static bool co_main_fn take_target(MirrorStart *s, Error **errp)
{
    MirrorJob *m = s->job;
    unsigned others = CLAIM_ALL & ~(CLAIM_WRITE | CLAIM_RESIZE);

    /* A base that is shorter than what is merged into it gets its length. */
    m->pair.target = job_backend(&m->job, s->req.target, CLAIM_WRITE, s->req.is_commit
                                 ? CLAIM_ALL & ~(CLAIM_WRITE | CLAIM_READ) : others, errp);
    return may_outlast(s, m->pair.target);
}

static bool co_main_fn start_prepare(BdrvAction *a, Error **errp)
{
    MirrorStart *s = of(a);
    MirrorJob *m = s->job;

    if (!take_chain(s, errp) || !take_target(s, errp)) {
        return false;
    }
    m->filter_link = open_filter(s, errp);
    if (!m->filter_link) {
        return false;
    }
    m->top = mirror_top_of(m->filter_link->bs);
    m->top->active = s->req.active;
    if (s->req.replaces) {
        m->replaces = job_link(&m->job, s->req.replaces, CLAIM_NONE, CLAIM_ALL, errp);
        if (!m->replaces) {
            return false;
        }
    }
    return mirror_make_copiers(m, s->req.sync == MIRROR_SYNC_TOP, errp) &&
           bdrv_move_prepare(&s->move, s->req.source, m->filter_link->bs, "a job that begins",
                             errp) &&
           take_source(s, errp);
}

/* ---- the rest ---- */

static void main_fn start_commit(BdrvAction *a)
{
    bdrv_move_commit(&of(a)->move);
    job_chain_commit(&of(a)->job->chain);
}

static void co_main_fn start_clean(BdrvAction *a)
{
    MirrorStart *s = of(a);

    bdrv_move_clean(&s->move);
    job_chain_clean(&s->job->chain);
    job_start(&g_steal_pointer(&s->job)->job);
}

static void co_main_fn start_abort(BdrvAction *a)
{
    MirrorStart *s = of(a);
    MirrorJob *m = s->job;

    bdrv_move_abort(&s->move);
    mirror_release(m);              /* its backends keep readers out of the chain */
    job_chain_abort(&m->chain);
}

static void main_fn start_release(BdrvAction *a)
{
    if (of(a)->job) {
        job_free(&of(a)->job->job);
    }
}

static const BdrvActionOps start_ops = {
    .holder        = "a job that begins",
    .instance_size = sizeof(MirrorStart),
    .co_prepare    = start_prepare,
    .commit        = start_commit,
    .co_abort      = start_abort,
    .co_clean      = start_clean,
    .release       = start_release,
};

/* ---- adding ---- */

static bool main_fn check(const MirrorRequest *req, Error **errp)
{
    if (req->source == req->target) {
        error_setg(errp, "Can't mirror node into itself");
        return false;
    }
    if (!req->is_commit && bdrv_reaches(req->source, req->target)) {
        error_setg(errp, "Cannot copy '%s' to '%s': it is a part of it", req->source->node_name,
                   req->target->node_name);
        return false;
    }
    if (req->sync != MIRROR_SYNC_NONE && bdrv_reaches(req->target, req->source)) {
        error_setg(errp, "Cannot copy '%s' to '%s': that reads from it", req->source->node_name,
                   req->target->node_name);
        return false;
    }
    if (!req->is_commit && bdrv_length(req->source) != bdrv_length(req->target)) {
        error_setg(errp, "Source and target image have different sizes");
        return false;
    }
    return true;
}

bool co_main_fn mirror_action_add(Transaction *t, const MirrorRequest *req, Error **errp)
{
    MirrorStart *s = transaction_add(t, &start_ops, g_strdup_printf(
        "begin a copy of '%s'", req->source->node_name));

    JobChainSpec chain = { .top = req->source, .base = req->base };

    s->req = *req;
    if (!transaction_pin(&s->action, req->source, 0, errp) ||
        !transaction_pin(&s->action, req->target, 0, errp) ||
        (req->replaces && !transaction_pin(&s->action, req->replaces, 0, errp)) ||
        (req->sync == MIRROR_SYNC_TOP && !job_chain_pin(&s->action, &chain, errp)) ||
        !check(req, errp) ||
        !(s->job = mirror_new(req, errp))) {
        transaction_drop_last(t);
        return false;
    }
    return true;
}
