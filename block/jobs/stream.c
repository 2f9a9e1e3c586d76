/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stream: what an image takes from its chain, down to a base, becomes its own, then the base is its
 * backing file.
 *
 * (ST1) The image reads as before at every moment: copying up changes nothing that is read, and the
 *       name is recorded when all of it has been copied and flushed.
 */
#include "qemu/osdep.h"

#include "block/copy-up.h"
#include "block/jobs/chain.h"
#include "block/snapshot.h"

typedef struct StreamJob {
    Job job;
    JobChain chain;
    BlockBackend *blk;
    HBitmap *uncopied;
    BdrvCopy *copy, *running;
    char *name, *format;            /* to record; @name NULL: the base's own, if there is one */
    int skipped_error;              /* -errno of a request whose failure was ignored, or 0 */
} StreamJob;

static StreamJob *stream_of(Job *job)
{
    return container_of(job, StreamJob, job);
}

/* ---- the run ---- */

static int co_fn stream_copy(void *opaque, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    StreamJob *s = opaque;

    *ret_is_write = false;          /* QEMU's policy and events do not tell the two apart */
    blk_begin(s->blk);
    int ret = bdrv_co_copy_up(blk_root(s->blk), piece->offset, piece->bytes, s->chain.spec.base,
                              NULL);
    blk_end(s->blk);
    return ret;
}

static const BdrvCopyOps stream_ops = { .co_copy = stream_copy };

/* An error that is ignored leaves its piece behind, and the job fails in the end, as QEMU's. */
static bool co_main_fn stream_error(StreamJob *s, const BdrvCopyError *e, Error **errp)
{
    BlkErrorAction action = job_io_error(&s->job, e->is_write, e->error);

    if (action == BLK_ERROR_ACTION_REPORT) {
        error_setg(errp, "%s", g_strerror(-e->error));
        return false;
    }
    if (action == BLK_ERROR_ACTION_IGNORE) {
        hbitmap_reset(s->uncopied, e->offset, e->bytes);
        s->skipped_error = s->skipped_error ?: e->error;
    }
    return true;
}

static bool co_main_fn copy_all(StreamJob *s, Error **errp)
{
    BdrvCopyResult result = BDRV_COPY_INTERRUPTED;

    while (result != BDRV_COPY_CLEAN) {
        BdrvCopyError e;

        job_pause_point(&s->job);
        if (job_is_cancelled(&s->job)) {
            return false;
        }
        bdrv_copy_set_speed(s->copy, s->job.speed);
        s->running = s->copy;
        result = bdrv_copy_run(s->copy, &e);
        s->running = NULL;
        if (result == BDRV_COPY_FAILED && !stream_error(s, &e, errp)) {
            return false;
        }
    }
    if (s->skipped_error) {
        error_setg(errp, "%s", g_strerror(-s->skipped_error));
    }
    return !s->skipped_error;
}

static bool co_main_fn find_name(StreamJob *s, Error **errp)
{
    BlockDriverState *base = s->chain.spec.base;

    if (!base) {
        g_clear_pointer(&s->name, g_free);
        return true;
    }
    const char *format = base->drv->name;
    if (!s->name) {
        s->name = bdrv_backing_name(base, &format, errp);
    }
    s->format = g_strdup(format);
    return s->name != NULL;
}

static bool co_main_fn stream_run(Job *job, Error **errp)
{
    StreamJob *s = stream_of(job);

    if (!copy_all(s, errp)) {
        return false;
    }
    int ret = blk_co_flush(s->blk, NULL);
    if (ret < 0) {
        job_io_error(job, true, ret);
        error_setg(errp, "%s", g_strerror(-ret));
        return false;
    }
    return find_name(s, errp);
}

static void main_fn stream_update(Job *job)
{
    StreamJob *s = stream_of(job);

    if (s->copy) {
        int64_t left = bdrv_copy_remaining(s->copy), all = hbitmap_length(s->uncopied);
        job_progress(job, all - MIN(left, all), all);
    }
}

static void main_fn stream_kick(Job *job)
{
    StreamJob *s = stream_of(job);

    if (s->running) {
        bdrv_copy_interrupt(s->running);
    }
}

/* ---- the end ---- */

static bool co_main_fn stream_add_finish(Job *job, Transaction *t, Error **errp)
{
    StreamJob *s = stream_of(job);

    blk_set_claims(s->blk, CLAIM_NONE, CLAIM_ALL, NULL);
    return job_chain_add_finish(&s->chain, t, s->chain.spec.top, s->chain.spec.base, s->name,
                                s->format, errp);
}

static void co_main_fn stream_end(Job *job, bool ok)
{
    StreamJob *s = stream_of(job);

    blk_free(g_steal_pointer(&s->blk));
    if (ok) {
        job_chain_keep_writable(&s->chain);     /* it is read-only again, if it was */
    }
    job_chain_release(&s->chain, ok);
}

static void main_fn stream_clear(Job *job)
{
    StreamJob *s = stream_of(job);

    bdrv_copy_free(s->copy);
    hbitmap_free(s->uncopied);
    g_free(s->name);
    g_free(s->format);
}

static const JobDriver stream_job = {
    .type          = "stream",
    .instance_size = sizeof(StreamJob),
    .on_disk       = true,
    .co_run        = stream_run,
    .update        = stream_update,
    .kick          = stream_kick,
    .co_add_finish = stream_add_finish,
    .co_end        = stream_end,
    .clear         = stream_clear,
};

/* ---- the beginning ---- */

typedef struct StreamStart {
    BdrvAction action;
    JobChainSpec spec;
    StreamJob *job;                 /* NULL: it is on its way */
} StreamStart;

static StreamStart *of(BdrvAction *a)
{
    return container_of(a, StreamStart, action);
}

static bool co_main_fn start_prepare(BdrvAction *a, Error **errp)
{
    StreamJob *s = of(a)->job;
    const JobChainSpec *spec = &of(a)->spec;

    if (!job_chain_prepare(&s->chain, &s->job, spec, errp)) {
        return false;
    }
    /* What it writes is what can be read there already. */
    s->blk = job_backend(&s->job, spec->top, CLAIM_READ | CLAIM_WRITE_SAME,
                         CLAIM_ALL & ~CLAIM_RESIZE, errp);
    if (!s->blk) {
        return false;
    }
    int64_t length = bdrv_length(spec->top);
    s->uncopied = job_full_bitmap(length, job_granularity(spec->top, length, 0), errp);
    BdrvCopyParams params = {
        .ops = &stream_ops, .opaque = s, .chunk = JOB_LOOK_CHUNK,
        .uncopied = s->uncopied, .parallel = JOB_COPY_UP_PARALLEL,
    };
    s->copy = s->uncopied ? bdrv_copy_new(&params, errp) : NULL;
    return s->copy != NULL;
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
    StreamJob *s = of(a)->job;

    blk_free(g_steal_pointer(&s->blk));
    job_chain_abort(&s->chain);
}

static void main_fn start_release(BdrvAction *a)
{
    if (of(a)->job) {
        job_free(&of(a)->job->job);
    }
}

static const BdrvActionOps start_ops = {
    .holder        = "a job that begins",
    .instance_size = sizeof(StreamStart),
    .co_prepare    = start_prepare,
    .commit        = start_commit,
    .co_abort      = start_abort,
    .co_clean      = start_clean,
    .release       = start_release,
};

bool co_main_fn stream_action_add(Transaction *t, const StreamRequest *req, Error **errp)
{
    StreamStart *s = transaction_add(t, &start_ops, g_strdup_printf(
        "begin to stream '%s'", req->top->node_name));

    s->spec = (JobChainSpec){ .top = req->top, .base = req->base, .writable = req->top };
    Job *job = job_chain_pin(&s->action, &s->spec, errp)
               ? job_new(&stream_job, req->common.id, errp) : NULL;
    if (!job) {
        transaction_drop_last(t);
        return false;
    }
    job_set_common(job, &req->common);
    s->job = stream_of(job);
    s->job->name = g_strdup(req->backing_name);
    return true;
}
