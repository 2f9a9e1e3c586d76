/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mirror: a copy of a disk that follows its changes, until users move to the copy.  The commit of a
 * chain's top into its base is one, too: the copy is the base.
 *
 * Start:  a filter is put in front of the source, at the instant of a transaction.
 * Scan:   where only a part of the chain is copied, what that has is found.
 * Copy:   what is dirty, until nothing is; then the job is ready, and goes on.
 * Finish: users are held, what is dirty yet is copied, and they move: to the copy, or (cancelled)
 *         off the filter.
 *
 * (R1) Until the finish the source's users have all of their data where they had it before.
 * (R2) A job that is told to complete comes to an end however much guests write: it becomes active,
 *      from when on they cannot make more dirty than they write to the target themselves.  One that
 *      gets no nearer to its end becomes active by itself.
 */
#include "qemu/osdep.h"

#include "block/jobs/mirror-internal.h"
#include "qemu/log.h"

bool main_fn mirror_is_active(const Job *job)
{
    const MirrorJob *m = container_of(job, MirrorJob, job);

    return m->top && __atomic_load_n(&m->top->active, __ATOMIC_RELAXED);
}

void main_fn mirror_make_active(Job *job)
{
    __atomic_store_n(&mirror_of(job)->top->active, true, __ATOMIC_RELEASE);
}

/* ---- what is done with a piece ---- */

static int co_fn mirror_look(void *opaque, int64_t offset, int64_t bytes, BdrvCopyKind *ret_kind,
                             int64_t *ret_bytes)
{
    MirrorJob *m = opaque;

    return bdrv_copy_pair_look(&m->pair, offset, bytes, ret_kind, ret_bytes);
}

static int co_fn mirror_copy(void *opaque, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    MirrorJob *m = opaque;
    BdrvCopyPiece p = *piece;
    BdrvRange range;

    bdrv_range_lock(m->top->ranges, &range, p.offset, p.offset + p.bytes, true);
    /* An active write may have passed between the look and the lock. */
    if (__atomic_load_n(&m->top->active, __ATOMIC_ACQUIRE)) {
        p.kind = BDRV_COPY_UNKNOWN;
    }
    int ret = bdrv_copy_pair(&m->pair, &p, ret_is_write);
    if (ret == 0) {
        mirror_top_copied(m->top, p.offset, p.bytes);
    }
    bdrv_range_unlock(m->top->ranges, &range);
    return ret;
}

static const BdrvCopyOps mirror_ops = { .co_look = mirror_look, .co_copy = mirror_copy };

/* What lies above the base is dirty. */
static int co_fn mirror_scan(void *opaque, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    MirrorJob *m = opaque;
    int64_t end = piece->offset + piece->bytes;
    int ret = 0;

    *ret_is_write = false;
    for (int64_t offset = piece->offset, n; ret >= 0 && offset < end; offset += n) {
        blk_begin(m->pair.source);
        ret = bdrv_co_is_allocated_above(blk_bs(m->pair.source)->file, m->base, offset,
                                         end - offset, &n);
        blk_end(m->pair.source);
        if (ret > 0) {
            hbitmap_set(m->top->dirty, offset, n);
        }
    }
    return MIN(ret, 0);
}

static const BdrvCopyOps scan_ops = { .co_copy = mirror_scan };

/* ---- the run ---- */

static void main_fn mirror_progress(Job *job)
{
    MirrorJob *m = mirror_of(job);

    if (m->copy) {
        int64_t done = bdrv_copy_done(m->copy), left = bdrv_copy_remaining(m->copy);
        job_progress(job, done, done + left);
    }
}

/* How often it is asked whether the end comes nearer, and how often not before something is done. */
#define LOOK_NS (500 * NS_PER_MS)
#define LOOKS_WITHOUT_PROGRESS 4

static void main_fn look_at_progress(void *opaque)
{
    MirrorJob *m = opaque;
    int64_t left = bdrv_copy_remaining(m->copy);

    if (m->stays_passive || mirror_is_active(&m->job)) {
        return;
    }
    /* The first pass is as long as the disk is large. */
    if (bdrv_copy_done(m->copy) < m->first_pass || left < m->least_left - m->least_left / 10) {
        m->least_left = left;
        m->looks = 0;
    } else if (++m->looks == LOOKS_WITHOUT_PROGRESS) {
        log_line("job '%s': guests write faster than it copies; their writes go to the copy "
                 "as well from now on", m->job.id);
        mirror_make_active(&m->job);
        return;
    }
    aio_timer_arm(&m->timer, clock_ns() + LOOK_NS);
}

/* Nothing was dirty a moment ago.  *@ret_end: that is all. */
static bool co_main_fn caught_up(MirrorJob *m, bool *ret_end, Error **errp)
{
    if (m->job.state == JOB_RUNNING) {
        int ret = blk_co_flush(m->pair.target, NULL);
        if (ret < 0) {
            return job_tolerate(&m->job, true, ret, errp);
        }
        int64_t done = bdrv_copy_done(m->copy);
        job_progress(&m->job, done, done);      /* what guests have changed since is yet to come */
        job_ready(&m->job);
    }
    if (!m->job.should_complete) {
        job_sleep(&m->job, 100 * NS_PER_MS);
    } else if (mirror_is_active(&m->job) || m->stays_passive) {
        *ret_end = true;
    } else {
        mirror_make_active(&m->job);
    }
    return true;
}

static bool co_main_fn copy_and_follow(MirrorJob *m, Error **errp)
{
    bool end = false;

    m->first_pass = m->least_left = bdrv_copy_remaining(m->copy);
    aio_timer_arm(&m->timer, clock_ns() + LOOK_NS);
    while (!end) {
        BdrvCopyResult result;

        if (!job_run_copier(&m->job, m->copy, &m->running, &result, errp)) {
            return false;
        }
        if (result == BDRV_COPY_CLEAN && !caught_up(m, &end, errp)) {
            return false;
        }
    }
    return true;
}

static bool co_main_fn mirror_run(Job *job, Error **errp)
{
    MirrorJob *m = mirror_of(job);

    aio_timer_init(&m->timer, aio_context_current(), look_at_progress, m);
    bool ok = (!m->chain.links ||
               job_chain_grow_base(&m->chain, bdrv_length(m->filter_link->bs), errp)) &&
              (!m->scan || job_run_to_end(job, m->scan, &m->running, errp)) && copy_and_follow(m, errp);
    aio_timer_disarm(&m->timer);
    mirror_progress(job);
    return ok;
}

static void main_fn mirror_kick(Job *job)
{
    MirrorJob *m = mirror_of(job);

    if (m->running) {
        bdrv_copy_interrupt(m->running);
    }
    job_give_up_target(job, m->pair.target);
}

/* One that is ready may end with the copy as it is then. */
static bool main_fn mirror_cancel(Job *job, bool force)
{
    bool ready = job->state == JOB_READY || job->state == JOB_STANDBY;

    mirror_of(job)->stay = !force && ready;
    return force || !ready;
}

static bool main_fn mirror_complete(Job *job, Error **errp)
{
    if (mirror_of(job)->stay) {
        error_setg(errp, "The active block job '%s' cannot be completed", job->id);
        return false;
    }
    return true;
}

static void main_fn mirror_clear(Job *job)
{
    MirrorJob *m = mirror_of(job);

    g_assert(!m->filter_link);
    bdrv_copy_free(m->scan);
    bdrv_copy_free(m->copy);
    hbitmap_free(m->unscanned);
}

#define MIRROR_DRIVER(name) { \
    .type          = name, \
    .instance_size = sizeof(MirrorJob), \
    .on_disk       = true, \
    .has_ready     = true, \
    .co_run        = mirror_run, \
    .update        = mirror_progress, \
    .kick          = mirror_kick, \
    .co_add_finish = mirror_add_finish, \
    .co_end        = mirror_end, \
    .cancel        = mirror_cancel, \
    .complete      = mirror_complete, \
    .clear         = mirror_clear, \
}

static const JobDriver mirror_job = MIRROR_DRIVER("mirror");
static const JobDriver active_commit_job = MIRROR_DRIVER("commit");

bool main_fn job_is_mirror(const Job *job)
{
    return job->drv == &mirror_job;
}

MirrorJob *main_fn mirror_new(const MirrorRequest *req, Error **errp)
{
    Job *job = job_new(req->is_commit ? &active_commit_job : &mirror_job, req->common.id, errp);

    if (!job) {
        return NULL;
    }
    job_set_common(job, &req->common);
    MirrorJob *m = mirror_of(job);
    m->stays_passive = req->stays_passive;
    m->pair.unmap = !req->keep_zeroes;
    return m;
}

/* Copiers for what is dirty in @m->top, and to find that out. */
bool main_fn mirror_make_copiers(MirrorJob *m, bool needs_scan, Error **errp)
{
    BdrvCopyParams copy = { .ops = &mirror_ops, .opaque = m, .uncopied = m->top->dirty };

    m->copy = bdrv_copy_new(&copy, errp);
    if (!m->copy || !needs_scan) {
        return m->copy != NULL;
    }
    m->unscanned = hbitmap_new(hbitmap_length(m->top->dirty), hbitmap_granularity(m->top->dirty));
    if (!m->unscanned) {
        error_setg(errp, "Cannot begin job '%s': there is no memory for its bitmap", m->job.id);
        return false;
    }
    hbitmap_set(m->unscanned, 0, hbitmap_length(m->unscanned));
    BdrvCopyParams params = {
        .ops = &scan_ops, .opaque = m, .uncopied = m->unscanned, .chunk = JOB_LOOK_CHUNK,
    };
    m->scan = bdrv_copy_new(&params, errp);
    return m->scan != NULL;
}
