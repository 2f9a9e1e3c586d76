/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a mirror ends: users are held, the rest is copied, and they move to the copy, or, if it is to
 * stay as it is then, off the filter only. */
#include "qemu/osdep.h"

#include "block/jobs/mirror-internal.h"

typedef struct MirrorFinish {
    BdrvAction action;
    MirrorJob *m;
    BdrvMove moves[2];
} MirrorFinish;

static MirrorFinish *of(BdrvAction *a)
{
    return container_of(a, MirrorFinish, action);
}

static bool pivots(const MirrorFinish *f)
{
    return !f->m->stay;
}

/* ---- the rest of the copy ---- */

/* What the copier does, without backends: these are held. */
static int co_main_fn copy_area(MirrorJob *m, int64_t offset, int64_t bytes)
{
    BdrvLink *from = m->filter_link->bs->file, *to = blk_root(m->pair.target);
    void *buf = bdrv_try_blockalign(bytes);

    if (!buf) {
        return -ENOMEM;
    }
    hbitmap_reset(m->top->dirty, offset, bytes);
    int ret = bdrv_co_pread(from, offset, bytes, buf) ?: bdrv_co_pwrite(to, offset, bytes, buf, 0);
    free(buf);
    return ret;
}

static bool co_main_fn copy_rest(BlockDriverState *bs, void *opaque, Error **errp)
{
    MirrorJob *m = opaque;
    int64_t length = hbitmap_length(m->top->dirty), offset, bytes;
    int ret = 0;

    while (ret == 0 && hbitmap_next_dirty_area(m->top->dirty, 0, length, MiB, &offset, &bytes)) {
        ret = copy_area(m, offset, bytes);
    }
    ret = ret ?: bdrv_co_flush(blk_root(m->pair.target), 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot finish the copy in node '%s'", bs->node_name);
    }
    return ret == 0;
}

static void co_main_fn finish_start_held(BdrvAction *a)
{
    MirrorJob *m = of(a)->m;

    transaction_start_work(a, blk_bs(m->pair.target), "a copy that does not return", copy_rest, m,
                           NULL);
}

/* ---- prepare, commit ---- */

/* The job does nothing any more; whoever comes instead must not be in its way. */
static void co_main_fn give_claims_up(MirrorJob *m)
{
    blk_set_claims(m->pair.source, CLAIM_NONE, CLAIM_ALL, NULL);
    blk_set_claims(m->pair.target, CLAIM_NONE, CLAIM_ALL, NULL);
    job_chain_give_claims_up(&m->chain);
}

static bool co_main_fn prepare_moves(MirrorFinish *f, Error **errp)
{
    MirrorJob *m = f->m;
    BlockDriverState *filter = m->filter_link->bs, *target = blk_bs(m->pair.target);
    BlockDriverState *below = filter->file->bs;
    const char *holder = "a job that ends";

    if (!pivots(f)) {
        return bdrv_move_prepare(&f->moves[0], filter, below, holder, errp);
    }
    if (m->replaces) {
        return bdrv_move_prepare(&f->moves[0], filter, below, holder, errp) &&
               bdrv_move_prepare(&f->moves[1], m->replaces->bs, target, holder, errp);
    }
    return bdrv_move_prepare(&f->moves[0], filter, target, holder, errp);
}

static bool co_main_fn finish_prepare(BdrvAction *a, Error **errp)
{
    MirrorFinish *f = of(a);

    give_claims_up(f->m);
    return prepare_moves(f, errp);
}

static void main_fn finish_commit(BdrvAction *a)
{
    MirrorFinish *f = of(a);

    for (size_t i = 0; i < G_N_ELEMENTS(f->moves); i++) {
        if (f->moves[i].from) {
            bdrv_move_commit(&f->moves[i]);
        }
    }
    __atomic_store_n(&f->m->top->off, true, __ATOMIC_RELAXED);
}

static void co_main_fn finish_abort(BdrvAction *a)
{
    MirrorFinish *f = of(a);

    for (size_t i = G_N_ELEMENTS(f->moves); i-- > 0; ) {
        bdrv_move_abort(&f->moves[i]);
    }
}

static void co_main_fn finish_clean(BdrvAction *a)
{
    MirrorFinish *f = of(a);

    for (size_t i = 0; i < G_N_ELEMENTS(f->moves); i++) {
        if (f->moves[i].from) {
            bdrv_move_clean(&f->moves[i]);
        }
    }
    f->m->off_filter = true;
    f->m->pivoted = pivots(f);
}

static const BdrvActionOps finish_ops = {
    .holder        = "a job that ends",
    .instance_size = sizeof(MirrorFinish),
    .co_prepare    = finish_prepare,
    .co_start_held = finish_start_held,
    .commit        = finish_commit,
    .co_abort      = finish_abort,
    .co_clean      = finish_clean,
};

/* ---- adding ---- */

bool co_main_fn mirror_add_finish(Job *job, Transaction *t, Error **errp)
{
    MirrorJob *m = mirror_of(job);
    MirrorFinish *f = transaction_add(t, &finish_ops, g_strdup_printf("end job '%s'", m->job.id));

    f->m = m;
    if (!transaction_pin(&f->action, m->filter_link->bs, 0, errp) ||
        !transaction_pin(&f->action, blk_bs(m->pair.target), TRANSACTION_PIN_FLUSH, errp) ||
        (m->replaces && !transaction_pin(&f->action, m->replaces->bs, 0, errp))) {
        transaction_drop_last(t);
        return false;
    }
    return true;
}

/* ---- the end ---- */

void co_main_fn mirror_release(MirrorJob *m)
{
    blk_free(g_steal_pointer(&m->pair.source));
    blk_free(g_steal_pointer(&m->pair.target));
    bdrv_link_free(g_steal_pointer(&m->replaces));
    bdrv_link_free(g_steal_pointer(&m->top_link));
    bdrv_link_free(g_steal_pointer(&m->base_link));
    bdrv_link_free(g_steal_pointer(&m->filter_link));
    m->top = NULL;
}

void co_main_fn mirror_end(Job *job, bool ok)
{
    MirrorJob *m = mirror_of(job);

    if (!m->off_filter) {
        give_claims_up(m);
        job_remove_filter(job, m->filter_link->bs);
        __atomic_store_n(&m->top->off, true, __ATOMIC_RELAXED);     /* even if it stays */
    }
    /* They know the bitmap, which goes with the filter. */
    bdrv_copy_free(g_steal_pointer(&m->scan));
    bdrv_copy_free(g_steal_pointer(&m->copy));
    mirror_release(m);
    if (m->pivoted) {
        job_chain_keep_writable(&m->chain);
    }
    job_chain_release(&m->chain, m->pivoted);
}
