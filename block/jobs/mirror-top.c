/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mirror_top: passes everything to its file, and notes what changes there; when it is active it
 * writes to the target, too.
 *
 * (T1) A change is dirty by the time that it is acknowledged, or the target has it.  It is noted
 *      after it was made: who clears the bit first and reads then sees it, or finds the bit again.
 * (T2) While it is active, a change holds its range shared, and the copier holds that of each piece
 *      exclusively from before it reads to after it has written: neither overwrites in the target
 *      what the other one wrote later.
 * (T3) A change of the target that fails leaves its range dirty, and is no failure of the guest's
 *      write: the copier comes upon the same error, and does what the job's user wants.
 * (T4) A target that gets only a part of the chain's data, and has no backing file yet from which
 *      its clusters could be filled up, gets the first data of each granule as a whole: what a
 *      guest writes to a part of one before that is dirty, and the copier's affair.
 */
#include "qemu/osdep.h"

#include "block/claims.h"
#include "block/jobs/mirror-top.h"

typedef struct Change {
    BlockDriverState *bs;
    int64_t offset, bytes;
    IoVec *qiov;                    /* NULL: zeroes */
    unsigned flags;
    int target_ret;
} Change;

static int co_fn apply(const Change *c, BdrvLink *link, unsigned flags)
{
    return c->qiov ? bdrv_co_pwritev(link, c->offset, c->bytes, c->qiov, flags)
                   : bdrv_co_pwrite_zeroes(link, c->offset, c->bytes, flags);
}

static void note_length(BlockDriverState *bs)
{
    __atomic_store_n(&bs->length, bdrv_length(bs->file->bs), __ATOMIC_RELAXED);
}

static void co_fn write_target(void *opaque)
{
    Change *c = opaque;

    c->target_ret = apply(c, c->bs->target, c->flags & ~(BDRV_REQ_FUA | BDRV_REQ_NO_FALLBACK));
}

static bool is_dirty(const MirrorTop *m, int64_t offset, int64_t bytes)
{
    return hbitmap_next_zero(m->dirty, offset, offset + bytes) < 0;
}

static bool lacks(const MirrorTop *m, int64_t offset)
{
    return offset & (hbitmap_granularity(m->lacking) - 1) && hbitmap_get(m->lacking, offset);
}

/* (T4)  The end of the disk ends its last granule. */
static bool fills_in(const MirrorTop *m, int64_t offset, int64_t bytes)
{
    return m->lacking && (lacks(m, offset) || lacks(m, offset + bytes));
}

void any_fn mirror_top_copied(MirrorTop *m, int64_t offset, int64_t bytes)
{
    if (m->lacking) {
        hbitmap_reset(m->lacking, offset, bytes);
    }
}

static int co_fn change_both(MirrorTop *m, Change *c)
{
    CoGroup group = CO_GROUP_INIT;
    BdrvRange range;

    bdrv_range_lock(m->ranges, &range, c->offset, c->offset + c->bytes, false);
    /* What is to be copied anyway is not written twice. */
    bool fills = fills_in(m, c->offset, c->bytes);
    bool copied_later = fills || is_dirty(m, c->offset, c->bytes);
    if (!copied_later) {
        co_group_start(&group, write_target, c);
    }
    int ret = apply(c, c->bs->file, c->flags);
    co_group_wait(&group);
    if (ret < 0 || fills || (!copied_later && c->target_ret < 0)) {
        hbitmap_set(m->dirty, c->offset, c->bytes);
    } else if (!copied_later) {
        mirror_top_copied(m, c->offset, c->bytes);
    }
    bdrv_range_unlock(m->ranges, &range);
    return ret;
}

static int co_fn change(Change *c)
{
    MirrorTop *m = c->bs->opaque;
    int ret;

    if (__atomic_load_n(&m->off, __ATOMIC_RELAXED)) {
        ret = apply(c, c->bs->file, c->flags);
    } else if (__atomic_load_n(&m->active, __ATOMIC_ACQUIRE)) {
        ret = change_both(m, c);
    } else {
        ret = apply(c, c->bs->file, c->flags);
        hbitmap_set(m->dirty, c->offset, c->bytes);
    }
    note_length(c->bs);
    return ret;
}

static int co_fn mirror_top_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                    IoVec *qiov, unsigned flags)
{
    Change c = { .bs = bs, .offset = offset, .bytes = bytes, .qiov = qiov, .flags = flags };

    return change(&c);
}

static int co_fn mirror_top_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                          unsigned flags)
{
    Change c = { .bs = bs, .offset = offset, .bytes = bytes, .flags = flags };

    return change(&c);
}

/* What a discarded range reads as is the file's own affair: it is copied. */
static int co_fn mirror_top_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    MirrorTop *m = bs->opaque;
    int ret = bdrv_co_pdiscard(bs->file, offset, bytes);

    if (!__atomic_load_n(&m->off, __ATOMIC_RELAXED)) {
        hbitmap_set(m->dirty, offset, bytes);
    }
    return ret;
}

static int co_fn mirror_top_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                   IoVec *qiov)
{
    return bdrv_co_preadv(bs->file, offset, bytes, qiov);
}

static int co_fn mirror_top_flush(BlockDriverState *bs, unsigned flags)
{
    return bdrv_co_flush(bs->file, flags);
}

static int co_fn mirror_top_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                         int64_t *ret_bytes)
{
    int ret = bdrv_co_block_status(bs->file, offset, bytes, 0, ret_bytes, NULL);

    return ret < 0 ? ret : (ret & BDRV_BLOCK_DATA ? BDRV_STATUS_DATA : 0) |
                           (ret & BDRV_BLOCK_ZERO ? BDRV_STATUS_ZERO : 0);
}

static int64_t co_fn mirror_top_getlength(BlockDriverState *bs)
{
    return bdrv_length(bs->file->bs);
}

static bool co_main_fn mirror_top_open(BlockDriverState *bs, const BdrvOpenOptions *opts,
                                       Error **errp)
{
    MirrorTop *m = bs->opaque;

    bs->length = bdrv_length(bs->file->bs);
    bs->limits = bs->file->bs->limits;
    bs->limits.native_fua = false;
    bs->limits.alloc_unit = 0;
    m->ranges = bdrv_ranges_new();
    return true;
}

static int co_main_fn mirror_top_close(BlockDriverState *bs)
{
    MirrorTop *m = bs->opaque;

    hbitmap_free(m->dirty);
    hbitmap_free(m->lacking);
    bdrv_ranges_free(m->ranges);
    return 0;
}

/* Whoever changes the file behind its back is not seen. */
static void main_fn mirror_top_child_claims(BlockDriverState *bs, BdrvLink *link, unsigned needs,
                                            unsigned allows, unsigned *ret_needs,
                                            unsigned *ret_allows)
{
    bdrv_filter_child_claims(bs, link, needs, allows, ret_needs, ret_allows);
    if (needs) {                    /* it is in use: at least by the job */
        *ret_allows &= ~(CLAIM_WRITE | CLAIM_RESIZE);
    }
}

static const BlockDriver bdrv_mirror_top = {
    .name             = "mirror_top",
    .instance_size    = sizeof(MirrorTop),
    .is_protocol      = true,
    .is_filter        = true,
    .co_open          = mirror_top_open,
    .co_close         = mirror_top_close,
    .co_preadv        = mirror_top_preadv,
    .co_pwritev       = mirror_top_pwritev,
    .co_pwrite_zeroes = mirror_top_pwrite_zeroes,
    .co_pdiscard      = mirror_top_pdiscard,
    .co_block_status  = mirror_top_block_status,
    .co_flush         = mirror_top_flush,
    .co_getlength     = mirror_top_getlength,
    .child_claims     = mirror_top_child_claims,
};

static void mirror_top_init(void)
{
    bdrv_register(&bdrv_mirror_top);
}

block_init(mirror_top_init);

/* ---- for the job ---- */

MirrorTop *any_fn mirror_top_of(BlockDriverState *filter)
{
    g_assert(filter->drv == &bdrv_mirror_top);
    return filter->opaque;
}

BdrvLink *co_main_fn mirror_top_new(BlockDriverState *bs, BlockDriverState *target,
                                    const char *name, const char *holder, HBitmap *dirty,
                                    HBitmap *lacking, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new("mirror_top");
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = holder, .hidden = true };

    opts->node_name = g_strdup(name);
    opts->read_only = bs->read_only;
    opts->file.node = bs;
    BdrvLink *link = bdrv_open(opts, &spec, errp);
    if (!link) {
        hbitmap_free(dirty);
        hbitmap_free(lacking);
        return NULL;
    }
    mirror_top_of(link->bs)->dirty = dirty;
    mirror_top_of(link->bs)->lacking = lacking;
    link->bs->implicit = !name;
    BdrvLinkSpec target_spec = {
        .role = &bdrv_role_target, .parent = link->bs, .allows = CLAIM_ALL,
    };
    /* The job's backend has the claims on the target. */
    BdrvLink *to = bdrv_link_new(target, &target_spec, errp);
    if (!to) {
        bdrv_link_free(link);
        return NULL;
    }
    bdrv_add_child(to);
    if (name) {
        bdrv_show(link->bs);
    }
    return link;
}
