/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backup: a copy of a disk as it was when the job began.  The copy-before-write filter in front of the
 * disk copies what guests are about to change; the job asks it for the rest.
 *
 * (BK1) What the target gets is the state of the instant of the transaction in which the job begins.
 * (BK2) A guest's write never fails for the backup: a target that cannot take what the guest is about
 *       to overwrite ends the job.
 * (BK3) A bitmap that says what to copy is cleared at that instant, and records on.  If the job does
 *       not succeed, what it was to copy is put back into it, so nothing is ever missed.
 */
#include "qemu/osdep.h"

#include "block/copy-before-write.h"
#include "block/dirty-bitmap.h"
#include "block/jobs/jobs-internal.h"

typedef struct BackupJob {
    Job job;
    BdrvLink *filter_link;          /* the job's own, on the filter */
    BlockBackend *source, *target;  /* on the filter, on the target */
    BackupSync sync;
    BlockDriverState *base;         /* TOP: what lies there or below is not copied; may be NULL */
    BdrvLink *base_link;
    HBitmap *unscanned, *uncopied;
    BdrvCopy *scan, *copy, *running;
    int64_t all;                    /* bytes that are to be copied */
    int parallel;
    bool removed;                   /* the filter is out of the way */

    BdrvDirtyBitmap *bitmap;        /* busy; NULL: none */
    BackupBitmapMode bitmap_mode;
    HBitmap *taken;                 /* what was dirty in it at the instant */
} BackupJob;

static BackupJob *backup_of(Job *job)
{
    return container_of(job, BackupJob, job);
}

static BlockDriverState *filter_of(const BackupJob *b)
{
    return b->filter_link->bs;
}

/* ---- the run ---- */

static int co_fn backup_copy(void *opaque, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    BackupJob *b = opaque;
    bool on_read = false;

    blk_begin(b->source);
    int ret = bdrv_cbw_co_copy(filter_of(b), piece->offset, piece->bytes, NULL, &on_read);
    blk_end(b->source);
    *ret_is_write = !on_read;
    return ret;
}

static const BdrvCopyOps backup_ops = { .co_copy = backup_copy };

/* What the topmost image has not is not copied. */
static int co_fn backup_scan(void *opaque, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    BackupJob *b = opaque;
    int64_t end = piece->offset + piece->bytes, n;
    int ret = 0;

    *ret_is_write = false;
    for (int64_t offset = piece->offset; ret >= 0 && offset < end; offset += n) {
        blk_begin(b->source);
        ret = bdrv_co_is_allocated_above(filter_of(b)->file, b->base, offset, end - offset, &n);
        if (ret == 0) {
            ret = bdrv_cbw_co_forget(filter_of(b), offset, n, false);
        }
        blk_end(b->source);
    }
    return MIN(ret, 0);
}

static const BdrvCopyOps scan_ops = { .co_copy = backup_scan };

static int64_t to_copy(const BackupJob *b)
{
    HBitmap *h = bdrv_cbw_to_copy(filter_of(b));

    int64_t count = hbitmap_count(h);

    return MIN(count, hbitmap_length(h));
}

static void main_fn backup_update(Job *job)
{
    BackupJob *b = backup_of(job);

    if (b->filter_link) {
        int64_t left = to_copy(b);
        job_progress(job, MAX(b->all - left, 0), b->all);
    }
}

/* Guests' writes may have broken it. */
static bool main_fn is_good(BackupJob *b, Error **errp)
{
    int ret = bdrv_cbw_error(filter_of(b));

    if (ret < 0) {
        error_setg(errp, "%s", g_strerror(-ret));
    }
    return ret == 0;
}

/* Only what guests change is copied, until somebody ends it. */
static bool co_main_fn follow(BackupJob *b, Error **errp)
{
    while (!job_is_cancelled(&b->job)) {
        if (!is_good(b, errp)) {
            job_io_error(&b->job, true, bdrv_cbw_error(filter_of(b)));
            return false;
        }
        job_pause_point(&b->job);
        job_sleep(&b->job, NS_PER_SEC);
    }
    return false;
}

static bool co_main_fn copy_all(BackupJob *b, Error **errp)
{
    BdrvCopyResult result = BDRV_COPY_INTERRUPTED;

    while (result != BDRV_COPY_CLEAN) {
        if (!job_run_copier(&b->job, b->copy, &b->running, &result, errp)) {
            return false;
        }
        if (!is_good(b, errp)) {    /* no second attempt mends that */
            return false;
        }
    }
    return true;
}

static bool co_main_fn backup_run(Job *job, Error **errp)
{
    BackupJob *b = backup_of(job);

    if (b->sync == BACKUP_SYNC_NONE) {
        return follow(b, errp);
    }
    if (b->scan && !job_run_to_end(job, b->scan, &b->running, errp)) {
        return false;
    }
    b->all = to_copy(b);
    if (b->sync != BACKUP_SYNC_BITMAP && !b->scan) {
        b->all = hbitmap_length(b->uncopied);
    }
    if (!copy_all(b, errp)) {
        return false;
    }
    int ret = blk_co_flush(b->target, NULL);
    if (ret < 0) {
        job_io_error(job, true, ret);
        error_setg(errp, "%s", g_strerror(-ret));
        return false;
    }
    return is_good(b, errp);
}

static void main_fn backup_kick(Job *job)
{
    BackupJob *b = backup_of(job);

    if (b->running) {
        bdrv_copy_interrupt(b->running);
    }
    job_give_up_target(job, b->target);
}

/* ---- the end ---- */

/* What reads through the filter keeps writers away from what is below it: where guests go, for whom
 * nothing is copied any more. */
static void co_main_fn give_claims_up(BackupJob *b)
{
    blk_set_claims(b->source, CLAIM_NONE, CLAIM_ALL, NULL);
    blk_set_claims(b->target, CLAIM_NONE, CLAIM_ALL, NULL);
}

static bool co_main_fn backup_add_finish(Job *job, Transaction *t, Error **errp)
{
    BackupJob *b = backup_of(job);

    give_claims_up(b);
    return filter_removal_action_add(t, filter_of(b), &b->removed, errp);
}

/* What the copy lacks is dirty again (BK3). */
static void main_fn settle_bitmap(BackupJob *b, bool ok)
{
    HBitmap *bits = bdrv_dirty_bitmap_hbitmap(b->bitmap);

    if (b->bitmap_mode == BACKUP_BITMAP_NEVER || (!ok &&
                                                  b->bitmap_mode == BACKUP_BITMAP_ON_SUCCESS)) {
        hbitmap_merge(bits, b->taken);
    } else if (!ok) {               /* ALWAYS: what was copied is not */
        hbitmap_merge(bits, bdrv_cbw_to_copy(filter_of(b)));
    }
    bdrv_dirty_bitmap_set_taken(b->bitmap, NULL);
    bdrv_dirty_bitmap_set_busy(b->bitmap, NULL);
    b->bitmap = NULL;
}

static void co_main_fn release(BackupJob *b)
{
    bdrv_copy_free(g_steal_pointer(&b->scan));
    bdrv_copy_free(g_steal_pointer(&b->copy));
    blk_free(g_steal_pointer(&b->source));
    blk_free(g_steal_pointer(&b->target));
    bdrv_link_free(g_steal_pointer(&b->base_link));
    bdrv_link_free(g_steal_pointer(&b->filter_link));
}

static void co_main_fn backup_end(Job *job, bool ok)
{
    BackupJob *b = backup_of(job);

    if (b->bitmap) {
        settle_bitmap(b, ok);
    }
    if (!b->removed) {
        give_claims_up(b);
        /* Even if it stays, guests do not pay for it; the target keeps what it has got. */
        bdrv_cbw_co_forget(filter_of(b), 0, bdrv_cbw_length(filter_of(b)), false);
        job_remove_filter(job, filter_of(b));
    }
    release(b);
}

static void main_fn backup_clear(Job *job)
{
    BackupJob *b = backup_of(job);

    hbitmap_free(b->unscanned);
    hbitmap_free(b->uncopied);
    hbitmap_free(b->taken);
}

static const JobDriver backup_job = {
    .type          = "backup",
    .instance_size = sizeof(BackupJob),
    .on_disk       = true,
    .co_run        = backup_run,
    .update        = backup_update,
    .kick          = backup_kick,
    .co_add_finish = backup_add_finish,
    .co_end        = backup_end,
    .clear         = backup_clear,
};

/* ---- the beginning ---- */

typedef struct BackupStart {
    BdrvAction action;
    BackupRequest req;
    BackupJob *job;                 /* NULL: it is on its way */
    BdrvMove move;                  /* of the source's users, to the filter */
} BackupStart;

static BackupStart *of(BdrvAction *a)
{
    return container_of(a, BackupStart, action);
}

static bool co_main_fn open_filter(BackupStart *s, Error **errp)
{
    g_autofree char *holder = g_strdup_printf("block job '%s'", s->job->job.id);
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("copy-before-write");
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = holder, .hidden = true };

    opts->node_name = g_strdup(s->req.filter_name);
    opts->read_only = s->req.source->read_only;
    opts->file.node = s->req.source;
    opts->u.cbw.target.node = s->req.target;
    opts->u.cbw.break_snapshot = true;
    opts->u.cbw.min_cluster_size = s->req.min_cluster_size;
    s->job->filter_link = bdrv_open(opts, &spec, errp);
    if (!s->job->filter_link) {
        return false;
    }
    filter_of(s->job)->implicit = !s->req.filter_name;
    if (s->req.filter_name) {
        bdrv_show(filter_of(s->job));
    }
    bdrv_cbw_set_write_flags(filter_of(s->job),
                             s->req.compress ? BDRV_REQ_WRITE_COMPRESSED : 0);
    return true;
}

static bool co_main_fn take_backends(BackupStart *s, Error **errp)
{
    BackupJob *b = s->job;

    b->source = job_backend(&b->job, filter_of(b), CLAIM_READ, CLAIM_ALL & ~CLAIM_RESIZE, errp);
    if (!b->source) {
        return false;
    }
    b->target = job_backend(&b->job, s->req.target, CLAIM_NONE, CLAIM_ALL & ~CLAIM_RESIZE, errp);
    return b->target != NULL;
}

static bool main_fn make_copiers(BackupStart *s, Error **errp)
{
    BackupJob *b = s->job;
    int64_t length = bdrv_length(s->req.source);
    int64_t cluster = bdrv_cbw_cluster_size(filter_of(b));

    b->uncopied = job_full_bitmap(length, cluster, errp);
    BdrvCopyParams params = {
        .ops = &backup_ops, .opaque = b, .uncopied = b->uncopied, .parallel = s->req.workers,
        .chunk = s->req.chunk,
    };
    b->copy = b->uncopied ? bdrv_copy_new(&params, errp) : NULL;
    if (!b->copy || s->req.sync != BACKUP_SYNC_TOP) {
        return b->copy != NULL;
    }
    b->unscanned = job_full_bitmap(length, cluster, errp);
    params = (BdrvCopyParams){
        .ops = &scan_ops, .opaque = b, .uncopied = b->unscanned, .chunk = JOB_LOOK_CHUNK,
    };
    b->scan = b->unscanned ? bdrv_copy_new(&params, errp) : NULL;
    return b->scan != NULL;
}

static bool main_fn take_bitmap(BackupStart *s, Error **errp)
{
    BackupJob *b = s->job;

    if (s->req.sync != BACKUP_SYNC_BITMAP) {
        return true;
    }
    b->taken = hbitmap_new(bdrv_length(s->req.source),
                           bdrv_dirty_bitmap_granularity(s->req.bitmap));
    if (!b->taken) {
        error_setg(errp, "Cannot begin job '%s': there is no memory for its bitmap", b->job.id);
        return false;
    }
    b->bitmap = s->req.bitmap;
    b->bitmap_mode = s->req.bitmap_mode;
    bdrv_dirty_bitmap_set_busy(b->bitmap, "a backup");
    return true;
}

/* The image that stores the bitmap is told that it changes: that takes a write. */
static bool co_main_fn start_make(BdrvAction *a, Error **errp)
{
    const BackupRequest *req = &of(a)->req;

    return req->sync != BACKUP_SYNC_BITMAP || !bdrv_dirty_bitmap_persistent(req->bitmap) ||
           bdrv_dirty_bitmap_changing(req->source, bdrv_dirty_bitmap_name(req->bitmap), errp);
}

static bool co_main_fn start_prepare(BdrvAction *a, Error **errp)
{
    BackupStart *s = of(a);
    BackupJob *b = s->job;

    b->sync = s->req.sync;
    if (b->sync == BACKUP_SYNC_TOP) {
        b->base = s->req.base;
        b->base_link = b->base ? job_link(&b->job, b->base, CLAIM_NONE, CLAIM_ALL, errp) : NULL;
        if (b->base && !b->base_link) {
            return false;
        }
    }
    return open_filter(s, errp) && make_copiers(s, errp) &&
           bdrv_move_prepare(&s->move, s->req.source, filter_of(b), "a job that begins", errp) &&
           take_backends(s, errp) && take_bitmap(s, errp);
}

/* The bitmap may be one that earlier actions of the transaction have made. */
static void main_fn start_commit(BdrvAction *a)
{
    BackupStart *s = of(a);
    BackupJob *b = s->job;

    bdrv_move_commit(&s->move);
    if (b->bitmap) {
        HBitmap *bits = bdrv_dirty_bitmap_hbitmap(b->bitmap);
        hbitmap_merge(b->taken, bits);
        bdrv_cbw_set_to_copy(filter_of(b), bits);
        hbitmap_reset(bits, 0, hbitmap_length(bits));
        bdrv_dirty_bitmap_set_taken(b->bitmap, b->taken);
    }
}

static void co_main_fn start_clean(BdrvAction *a)
{
    BackupStart *s = of(a);

    bdrv_move_clean(&s->move);
    s->job->all = to_copy(s->job);
    job_start(&g_steal_pointer(&s->job)->job);
}

static void co_main_fn start_abort(BdrvAction *a)
{
    BackupStart *s = of(a);

    bdrv_move_abort(&s->move);
    if (s->job->bitmap) {
        bdrv_dirty_bitmap_set_busy(g_steal_pointer(&s->job->bitmap), NULL);
    }
    release(s->job);
}

static void main_fn start_release(BdrvAction *a)
{
    if (of(a)->job) {
        job_free(&of(a)->job->job);
    }
}

static const BdrvActionOps start_ops = {
    .holder        = "a job that begins",
    .instance_size = sizeof(BackupStart),
    .co_make       = start_make,
    .co_prepare    = start_prepare,
    .commit        = start_commit,
    .co_abort      = start_abort,
    .co_clean      = start_clean,
    .release       = start_release,
};

static bool main_fn check(const BackupRequest *req, Error **errp)
{
    if (req->source == req->target) {
        error_setg(errp, "Source and target cannot be the same");
        return false;
    }
    if (bdrv_reaches(req->source, req->target)) {
        error_setg(errp, "Cannot copy '%s' to '%s': it is a part of it", req->source->node_name,
                   req->target->node_name);
        return false;
    }
    if (req->compress && !req->target->limits.compress_unit) {
        error_setg(errp, "Compression is not supported for this drive %s",
                   req->target->node_name);
        return false;
    }
    if (bdrv_length(req->source) != bdrv_length(req->target)) {
        error_setg(errp, "Source and target image have different sizes");
        return false;
    }
    return true;
}

bool co_main_fn backup_action_add(Transaction *t, const BackupRequest *req, Error **errp)
{
    BackupStart *s = transaction_add(t, &start_ops, g_strdup_printf(
        "begin a backup of '%s'", req->source->node_name));
    bool base = req->sync == BACKUP_SYNC_TOP && req->base;

    s->req = *req;
    Job *job = transaction_pin(&s->action, req->source, 0, errp) &&
               transaction_pin(&s->action, req->target, 0, errp) &&
               (!base || transaction_pin(&s->action, req->base, 0, errp)) && check(req, errp)
               ? job_new(&backup_job, req->common.id, errp) : NULL;
    if (!job) {
        transaction_drop_last(t);
        return false;
    }
    job_set_common(job, &req->common);
    s->job = backup_of(job);
    return true;
}
