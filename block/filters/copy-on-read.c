/* SPDX-License-Identifier: GPL-2.0-or-later */
/* copy-on-read: what is read of its file becomes the file's own, if it came from an image below. */
#include "qemu/osdep.h"

#include "block/copy-up.h"
#include "block/filters/pass.h"

typedef struct CorState {
    BdrvLink *bottom;               /* the lowest image that is copied from; NULL: all are */
} CorState;

static void cor_options_clear(BdrvOpenOptions *opts)
{
    g_free(opts->u.cor.bottom);
}

/* Of what was opened together with @bs nobody else knows yet. */
static BlockDriverState *main_fn find_bottom(BlockDriverState *bs, const char *name)
{
    BlockDriverState *below = bs->file->bs;

    while (below && strcmp(below->node_name, name) != 0) {
        const BdrvLink *next = below->backing ?: below->drv->is_filter ? below->file : NULL;
        below = next ? next->bs : NULL;
    }
    return below ?: bdrv_find_node(name);
}

static bool co_main_fn hold_bottom(BlockDriverState *bs, const char *name, Error **errp)
{
    CorState *s = bs->opaque;
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "a copy-on-read node (as its bottom)" };
    BlockDriverState *bottom = find_bottom(bs, name);

    if (!bottom) {
        error_setg(errp, "Bottom node '%s' not found", name);
        return false;
    }
    if (bottom->drv->is_filter) {
        error_setg(errp, "Bottom node '%s' is a filter", name);
        return false;
    }
    s->bottom = bdrv_link_new(bottom, &spec, errp);
    return s->bottom != NULL;
}

static bool co_main_fn cor_open(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    if (bs->file->bs->read_only && !bs->file->bs->inactive) {
        error_setg(errp, "Cannot open a copy-on-read node: its file '%s' is read-only",
                   bs->file->bs->node_name);
        return false;
    }
    filter_pass_open(bs);
    return !opts->u.cor.bottom || hold_bottom(bs, opts->u.cor.bottom, errp);
}

static int co_main_fn cor_close(BlockDriverState *bs)
{
    CorState *s = bs->opaque;

    bdrv_link_free(s->bottom);
    return 0;
}

static bool co_main_fn cor_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to, Error **errp)
{
    const CorState *s = bs->opaque;
    const char *now = s->bottom ? s->bottom->bs->node_name : NULL;

    if (to->options && g_strcmp0(to->options->u.cor.bottom, now) != 0) {
        error_setg(errp, "Cannot change the option 'bottom'");
        return false;
    }
    return filter_keeps_file(bs, to, errp);
}

static int co_fn cor_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    const CorState *s = bs->opaque;
    const BdrvLink *below = s->bottom ? s->bottom->bs->backing : NULL;
    int64_t length = bdrv_length(bs->file->bs);     /* once: it may change */
    int64_t inside = MIN(bytes, length - offset);

    /* A copy that fails is no failure of the read: that says itself what it can read. */
    if (inside > 0) {
        bdrv_co_copy_up(bs->file, offset, inside, below ? below->bs : NULL, NULL);
    }
    return bdrv_co_preadv(bs->file, offset, bytes, qiov);
}

/* Whoever reads makes us write, though nothing that anybody could notice. */
static void main_fn cor_child_claims(BlockDriverState *bs, BdrvLink *link, unsigned needs,
                                     unsigned allows, unsigned *ret_needs, unsigned *ret_allows)
{
    bdrv_filter_child_claims(bs, link, needs, allows, ret_needs, ret_allows);
    *ret_needs |= CLAIM_WRITE_SAME;
}

static const BlockDriver bdrv_copy_on_read = {
    .name               = "copy-on-read",
    .instance_size      = sizeof(CorState),
    .is_protocol        = true,
    .is_filter          = true,
    .options_clear      = cor_options_clear,
    .co_open            = cor_open,
    .co_close           = cor_close,
    .co_reopen_prepare  = cor_reopen_prepare,
    .co_preadv          = cor_preadv,
    .co_pwritev         = filter_pwritev,
    .co_pwrite_zeroes   = filter_pwrite_zeroes,
    .co_pdiscard        = filter_pdiscard,
    .co_block_status    = filter_block_status,
    .co_truncate        = filter_truncate,
    .co_extend          = filter_extend,
    .co_getlength       = filter_getlength,
    .child_claims       = cor_child_claims,
};

static void copy_on_read_init(void)
{
    bdrv_register(&bdrv_copy_on_read);
}

block_init(copy_on_read_init);
