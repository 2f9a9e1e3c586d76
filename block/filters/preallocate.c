/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * preallocate: lies between a format and its file, and makes the file longer in large steps, so
 * that the format, which allocates at its end, seldom does.
 *
 * (P1) The node ends where it was written to last (its length); the file may be longer.  From
 *      there on the file has zeroes that were allocated.
 * (P2) The length grows, under the lock, before the write that needs it is made: what is cut off,
 *      under the lock, is nobody's.
 * (P3) A settling flush cuts off what was allocated in advance: the file is as long as the node
 *      when it is closed or becomes read-only.
 */
#include "qemu/osdep.h"

#include "block/filters/pass.h"

typedef struct PreallocateState {
    int64_t align, size;            /* bytes: what the file's length is a multiple of; how much */
    CoMutex lock;                   /* of who changes the length of the node or the file */
    int64_t file_end;               /* under the lock: as far as the file was allocated */
} PreallocateState;

static void preallocate_options_init(BdrvOpenOptions *opts)
{
    opts->u.preallocate.align = MiB;
    opts->u.preallocate.size = 128 * MiB;
}

static bool co_main_fn preallocate_open(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                        Error **errp)
{
    PreallocateState *s = bs->opaque;
    const PreallocateOpenOptions *o = &opts->u.preallocate;

    if (o->align < 512 || o->align % 512 != 0 || o->align > BDRV_MAX_LENGTH) {
        error_setg(errp, "prealloc-align parameter of preallocate filter is not aligned to 512");
        return false;
    }
    if (o->size < 0) {
        error_setg(errp, "Parameter 'prealloc-size' expects a non-negative number");
        return false;
    }
    s->align = o->align;
    s->size = o->size;
    co_mutex_init(&s->lock);
    filter_pass_open(bs);
    s->file_end = bs->length;
    return true;
}

static int co_main_fn preallocate_close(BlockDriverState *bs)
{
    PreallocateState *s = bs->opaque;

    co_mutex_destroy(&s->lock);
    return 0;
}

/* It cuts the file when the last user has gone, too. */
static void main_fn preallocate_child_claims(BlockDriverState *bs, BdrvLink *link, unsigned needs,
                                             unsigned allows, unsigned *ret_needs,
                                             unsigned *ret_allows)
{
    bool writes = !bs->read_only || (bs->reopen && !bs->reopen->read_only);

    bdrv_filter_child_claims(bs, link, needs, allows, ret_needs, ret_allows);
    if (writes) {
        *ret_needs |= CLAIM_WRITE | CLAIM_RESIZE;
        *ret_allows &= ~(CLAIM_WRITE | CLAIM_RESIZE);
    }
}

static void set_length(BlockDriverState *bs, int64_t length)
{
    __atomic_store_n(&bs->length, length, __ATOMIC_RELAXED);
}

/* The file has zeroes up to @end and beyond, if that can be had.  Under the lock. */
static void co_fn allocate(BlockDriverState *bs, int64_t end)
{
    PreallocateState *s = bs->opaque;
    int64_t want = end > BDRV_MAX_LENGTH - s->size - s->align
                   ? end : DIV_ROUND_UP(end + s->size, s->align) * s->align;
    int ret = bdrv_co_pwrite_zeroes(bs->file, s->file_end, want - s->file_end,
                                    BDRV_REQ_NO_FALLBACK);

    /* Where it cannot be had the file grows as it would without us. */
    s->file_end = ret == 0 ? want : end;
}

/* The node is going to be written to up to @end. */
static void co_fn make_room(BlockDriverState *bs, int64_t end)
{
    PreallocateState *s = bs->opaque;

    if (end <= bdrv_length(bs)) {
        return;
    }
    co_mutex_lock(&s->lock);
    if (end > s->file_end) {
        allocate(bs, end);
    }
    if (end > bdrv_length(bs)) {
        set_length(bs, end);
    }
    co_mutex_unlock(&s->lock);
}

static int co_fn preallocate_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                     IoVec *qiov, unsigned flags)
{
    make_room(bs, offset + bytes);
    return bdrv_co_pwritev(bs->file, offset, bytes, qiov, flags);
}

static int co_fn preallocate_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                           unsigned flags)
{
    make_room(bs, offset + bytes);
    return bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);
}

static int co_fn preallocate_flush(BlockDriverState *bs, unsigned flags)
{
    PreallocateState *s = bs->opaque;
    int ret = 0;

    if (flags & BDRV_FLUSH_SETTLE) {
        co_mutex_lock(&s->lock);
        if (bdrv_length(bs->file->bs) > bdrv_length(bs) && s->file_end > bdrv_length(bs)) {
            ret = bdrv_co_truncate(bs->file, bdrv_length(bs), BDRV_PREALLOC_OFF, NULL) ? 0 : -EIO;
            s->file_end = ret == 0 ? bdrv_length(bs) : s->file_end;
        }
        co_mutex_unlock(&s->lock);
    }
    return ret ?: bdrv_co_flush(bs->file, flags);
}

static int co_fn preallocate_extend(BlockDriverState *bs, int64_t length)
{
    PreallocateState *s = bs->opaque;

    co_mutex_lock(&s->lock);
    int ret = length > s->file_end ? bdrv_co_extend(bs->file, length) : 0;
    if (ret == 0) {
        s->file_end = MAX(s->file_end, length);
        int64_t now = bdrv_length(bs);
        set_length(bs, MAX(now, length));
    }
    co_mutex_unlock(&s->lock);
    return ret;
}

static bool co_fn preallocate_truncate(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                                       Error **errp)
{
    PreallocateState *s = bs->opaque;

    co_mutex_lock(&s->lock);
    bool ok = bdrv_co_truncate(bs->file, length, prealloc, errp);
    if (ok) {
        s->file_end = length;
    }
    co_mutex_unlock(&s->lock);
    return ok;
}

static int64_t co_fn preallocate_getlength(BlockDriverState *bs)
{
    return bdrv_length(bs);
}

static const BlockDriver bdrv_preallocate = {
    .name               = "preallocate",
    .instance_size      = sizeof(PreallocateState),
    .is_protocol        = true,
    .is_filter          = true,
    .settles            = true,
    .options_init       = preallocate_options_init,
    .co_open            = preallocate_open,
    .co_close           = preallocate_close,
    .co_reopen_prepare  = filter_cannot_reopen,
    .co_preadv          = filter_preadv,
    .co_pwritev         = preallocate_pwritev,
    .co_pwrite_zeroes   = preallocate_pwrite_zeroes,
    .co_pdiscard        = filter_pdiscard,
    .co_flush           = preallocate_flush,
    .co_block_status    = filter_block_status,
    .co_truncate        = preallocate_truncate,
    .co_extend          = preallocate_extend,
    .co_getlength       = preallocate_getlength,
    .child_claims       = preallocate_child_claims,
};

static void preallocate_init(void)
{
    bdrv_register(&bdrv_preallocate);
}

block_init(preallocate_init);
