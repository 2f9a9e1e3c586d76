/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commit of images in the middle of a chain: what they have is copied into the base, then the image
 * above them gets the base as its backing file.  (That of the topmost one is a mirror.)
 *
 * (CM1) The image above reads as before at every moment: through the old chain, whose top hides what
 *       was copied, and then through the base, which has all of it, flushed, before the name is
 *       recorded.
 */
#include "qemu/osdep.h"

#include "block/jobs/chain.h"
#include "block/snapshot.h"

typedef struct CommitJob {
    Job job;
    JobChain chain;
    BdrvCopyPair pair;
    HBitmap *uncopied;
    BdrvCopy *copy, *running;
    char *name, *format;            /* to record; @name NULL: the base's own */
    bool merged;
} CommitJob;

static CommitJob *commit_of(Job *job)
{
    return container_of(job, CommitJob, job);
}

/* ---- the run ---- */

static int co_fn copy_allocated(CommitJob *c, int64_t offset, int64_t bytes, int64_t *ret_bytes,
                                bool *ret_is_write)
{
    blk_begin(c->pair.source);
    int ret = bdrv_co_is_allocated_above(blk_root(c->pair.source), c->chain.spec.base, offset,
                                         bytes, ret_bytes);
    blk_end(c->pair.source);
    *ret_is_write = false;
    if (ret <= 0) {
        return ret;
    }
    BdrvCopyPiece piece = { offset, MIN(*ret_bytes, BDRV_COPY_CHUNK), BDRV_COPY_UNKNOWN };
    *ret_bytes = piece.bytes;
    return bdrv_copy_pair(&c->pair, &piece, ret_is_write);
}

static int co_fn commit_copy(void *opaque, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    CommitJob *c = opaque;
    int64_t end = piece->offset + piece->bytes;
    int ret = 0;

    for (int64_t offset = piece->offset, n; ret == 0 && offset < end; offset += n) {
        ret = copy_allocated(c, offset, end - offset, &n, ret_is_write);
    }
    return ret;
}

static const BdrvCopyOps commit_ops = { .co_copy = commit_copy };

static bool co_main_fn flush_base(CommitJob *c, Error **errp)
{
    for (;;) {
        int ret = blk_co_flush(c->pair.target, NULL);
        if (ret == 0) {
            return true;
        }
        if (!job_tolerate(&c->job, true, ret, errp)) {
            return false;
        }
        job_pause_point(&c->job);
        if (job_is_cancelled(&c->job)) {
            return false;
        }
    }
}

static bool co_main_fn find_name(CommitJob *c, Error **errp)
{
    if (c->name) {
        c->format = g_strdup(c->chain.spec.base->drv->name);
        return true;
    }
    const char *format;
    c->name = bdrv_backing_name(c->chain.spec.base, &format, errp);
    c->format = g_strdup(format);
    return c->name != NULL;
}

static bool co_main_fn commit_run(Job *job, Error **errp)
{
    CommitJob *c = commit_of(job);

    return job_chain_grow_base(&c->chain, blk_length(c->pair.source), errp) &&
           job_run_to_end(job, c->copy, &c->running, errp) && flush_base(c, errp) &&
           find_name(c, errp);
}

static void main_fn commit_update(Job *job)
{
    CommitJob *c = commit_of(job);

    if (c->copy) {
        int64_t done = bdrv_copy_done(c->copy);
        job_progress(job, done, done + bdrv_copy_remaining(c->copy));
    }
}

static void main_fn commit_kick(Job *job)
{
    CommitJob *c = commit_of(job);

    if (c->running) {
        bdrv_copy_interrupt(c->running);
    }
}

/* ---- the end ---- */

static void co_main_fn free_backends(CommitJob *c)
{
    blk_free(g_steal_pointer(&c->pair.source));
    blk_free(g_steal_pointer(&c->pair.target));
}

static bool co_main_fn commit_add_finish(Job *job, Transaction *t, Error **errp)
{
    CommitJob *c = commit_of(job);

    blk_set_claims(c->pair.source, CLAIM_NONE, CLAIM_ALL, NULL);
    blk_set_claims(c->pair.target, CLAIM_NONE, CLAIM_ALL, NULL);
    return job_chain_add_finish(&c->chain, t, c->chain.spec.above, c->chain.spec.base, c->name,
                                c->format, errp);
}

static void co_main_fn commit_end(Job *job, bool ok)
{
    CommitJob *c = commit_of(job);

    free_backends(c);
    if (ok) {
        job_chain_keep_writable(&c->chain);     /* it is read-only again */
    }
    job_chain_release(&c->chain, ok);
    c->merged = ok;
}

static void main_fn commit_clear(Job *job)
{
    CommitJob *c = commit_of(job);

    bdrv_copy_free(c->copy);
    hbitmap_free(c->uncopied);
    g_free(c->name);
    g_free(c->format);
}

static const JobDriver commit_job = {
    .type          = "commit",
    .instance_size = sizeof(CommitJob),
    .on_disk       = true,
    .co_run        = commit_run,
    .update        = commit_update,
    .kick          = commit_kick,
    .co_add_finish = commit_add_finish,
    .co_end        = commit_end,
    .clear         = commit_clear,
};

/* ---- the beginning ---- */

typedef struct CommitStart {
    BdrvAction action;
    JobChainSpec spec;
    CommitJob *job;                 /* NULL: it is on its way */
    char *filter_name;
} CommitStart;

static CommitStart *of(BdrvAction *a)
{
    return container_of(a, CommitStart, action);
}

static bool co_main_fn start_prepare(BdrvAction *a, Error **errp)
{
    CommitJob *c = of(a)->job;
    const JobChainSpec *spec = &of(a)->spec;

    if (of(a)->filter_name && !bdrv_check_node_name(of(a)->filter_name, errp)) {
        return false;
    }
    if (!job_chain_prepare(&c->chain, &c->job, spec, errp)) {
        return false;
    }
    c->pair.source = job_backend(&c->job, spec->top, CLAIM_READ,
                                 CLAIM_ALL & ~(CLAIM_WRITE | CLAIM_RESIZE), errp);
    c->pair.target = !c->pair.source ? NULL
                     : job_backend(&c->job, spec->base, CLAIM_WRITE,
                                   CLAIM_ALL & ~(CLAIM_WRITE | CLAIM_READ), errp);
    if (!c->pair.target) {
        return false;
    }
    int64_t length = bdrv_length(spec->top);
    BdrvCopyParams params = {
        .ops = &commit_ops, .opaque = c, .chunk = JOB_LOOK_CHUNK,
        .uncopied = job_full_bitmap(length, job_granularity(spec->base, length, 0), errp),
    };
    c->uncopied = params.uncopied;
    c->copy = c->uncopied ? bdrv_copy_new(&params, errp) : NULL;
    return c->copy != NULL;
}

static void main_fn start_commit(BdrvAction *a)
{
    job_chain_commit(&of(a)->job->chain);
}

static void co_main_fn start_clean(BdrvAction *a)
{
    job_chain_clean(&of(a)->job->chain);
    job_start(&g_steal_pointer(&of(a)->job)->job);
}

static void co_main_fn start_abort(BdrvAction *a)
{
    CommitJob *c = of(a)->job;

    free_backends(c);
    job_chain_abort(&c->chain);
}

static void main_fn start_release(BdrvAction *a)
{
    g_free(of(a)->filter_name);
    if (of(a)->job) {
        job_free(&of(a)->job->job);
    }
}

static const BdrvActionOps start_ops = {
    .holder        = "a job that begins",
    .instance_size = sizeof(CommitStart),
    .co_prepare    = start_prepare,
    .commit        = start_commit,
    .co_abort      = start_abort,
    .co_clean      = start_clean,
    .release       = start_release,
};

bool co_main_fn commit_action_add(Transaction *t, const CommitRequest *req, Error **errp)
{
    CommitStart *s = transaction_add(t, &start_ops, g_strdup_printf(
        "begin to commit '%s'", req->top->node_name));

    s->spec = (JobChainSpec){
        .above = req->above, .top = req->top, .base = req->base, .merges = true,
        .writable = req->above,
    };
    Job *job = job_chain_pin(&s->action, &s->spec, errp)
               ? job_new(&commit_job, req->common.id, errp) : NULL;
    if (!job) {
        transaction_drop_last(t);
        return false;
    }
    job_set_common(job, &req->common);
    s->job = commit_of(job);
    s->job->name = g_strdup(req->backing_name);
    s->filter_name = g_strdup(req->filter_name);
    return true;
}
