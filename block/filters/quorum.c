/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * quorum: several nodes with the same data.  What is written goes to all of them, and of what they
 * read the majority counts.
 *
 * (Q1) Two changes of a range do not overlap, nor does a change with a read: all children see
 *      changes in one order, and a difference between them is one that stays.
 * (Q2) What a child has that was outvoted is rewritten, if at all, while the range is held
 *      exclusively, after another vote.
 * (Q3) A read takes memory for PIECE_BYTES of each child at a time.
 */
#include "qemu/osdep.h"

#include "block/claims.h"
#include "block/filters/pass.h"
#include "block/filters/quorum-internal.h"
#include "block/ranges.h"
#include "qemu/log.h"

#define PIECE_BYTES MiB

static BdrvLinkRole roles[QUORUM_MAX_CHILDREN];

static void quorum_options_init(BdrvOpenOptions *opts)
{
    opts->u.quorum.children = g_array_new(false, true, sizeof(BdrvChildOption));
}

static void quorum_options_clear(BdrvOpenOptions *opts)
{
    GArray *children = opts->u.quorum.children;

    for (guint i = 0; i < children->len; i++) {
        bdrv_child_option_clear(&g_array_index(children, BdrvChildOption, i));
    }
    g_array_unref(children);
}

/* ---- opening ---- */

static bool check_options(const QuorumOpenOptions *o, Error **errp)
{
    if (o->children->len < 1) {
        error_setg(errp, "Number of provided children must be 1 or more");
    } else if (o->children->len > QUORUM_MAX_CHILDREN) {
        error_setg(errp, "Number of provided children must be %d or less", QUORUM_MAX_CHILDREN);
    } else if (o->threshold < 1) {
        error_setg(errp, "Parameter 'vote-threshold' expects a value >= 1");
    } else if (o->threshold > o->children->len) {
        error_setg(errp, "threshold may not exceed children count");
    } else if (!o->fifo && o->blkverify && (o->children->len != 2 || o->threshold != 2)) {
        error_setg(errp, "blkverify=on can only be set if there are exactly two files and "
                   "vote-threshold is 2");
    } else if (!o->fifo && o->blkverify && o->rewrite_corrupted) {
        error_setg(errp, "rewrite-corrupted=on cannot be used with blkverify=on");
    } else {
        return true;
    }
    return false;
}

static bool co_main_fn open_all(BlockDriverState *bs, const QuorumOpenOptions *o, Error **errp)
{
    QuorumState *s = bs->opaque;

    for (guint i = 0; i < o->children->len; i++) {
        s->children[i] = bdrv_open_own_child(bs, &roles[i], &g_array_index(o->children,
                                             BdrvChildOption, i), errp);
        if (!s->children[i]) {
            return false;
        }
        int64_t length = bdrv_length(s->children[i]->bs);
        if (i > 0 && length != bs->length) {
            error_setg(errp, "Cannot open node '%s': its children '%s' and '%s' have different "
                       "lengths (%" PRId64 " and %" PRId64 ")", bs->node_name,
                       s->children[0]->bs->node_name, s->children[i]->bs->node_name, bs->length,
                       length);
            return false;
        }
        bs->length = length;
    }
    return true;
}

static bool co_main_fn quorum_open(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    QuorumState *s = bs->opaque;
    const QuorumOpenOptions *o = &opts->u.quorum;

    if (!check_options(o, errp)) {
        return false;
    }
    s->n = o->children->len;
    s->threshold = o->threshold;
    s->fifo = o->fifo;
    s->blkverify = o->blkverify && !o->fifo;
    s->rewrite = o->rewrite_corrupted && !o->fifo;
    bs->limits.native_fua = true;
    if (!open_all(bs, o, errp)) {
        return false;
    }
    s->ranges = bdrv_ranges_new();
    return true;
}

static int co_main_fn quorum_close(BlockDriverState *bs)
{
    QuorumState *s = bs->opaque;

    bdrv_ranges_free(s->ranges);
    return 0;
}

/* Whoever changes one child alone makes it differ from the others. */
static void main_fn quorum_child_claims(BlockDriverState *bs, BdrvLink *link, unsigned needs,
                                        unsigned allows, unsigned *ret_needs,
                                        unsigned *ret_allows)
{
    const QuorumState *s = bs->opaque;

    bdrv_filter_child_claims(bs, link, needs, allows, ret_needs, ret_allows);
    *ret_needs |= s->rewrite && !bs->read_only ? CLAIM_WRITE : CLAIM_NONE;
    *ret_allows &= bs->force_share ? CLAIM_ALL : ~(CLAIM_WRITE | CLAIM_RESIZE);
}

/* ---- requests to all children ---- */

typedef enum CallKind { CALL_READ, CALL_WRITE, CALL_ZERO, CALL_FLUSH } CallKind;

typedef struct Call {
    CallKind kind;
    BdrvLink *link;
    int64_t offset, bytes;
    IoVec *qiov;
    unsigned flags;
    int *ret;
} Call;

static void co_fn call_entry(void *opaque)
{
    Call *c = opaque;

    *c->ret = c->kind == CALL_READ  ? bdrv_co_preadv(c->link, c->offset, c->bytes, c->qiov) :
              c->kind == CALL_WRITE ? bdrv_co_pwritev(c->link, c->offset, c->bytes, c->qiov,
                                                      c->flags) :
              c->kind == CALL_ZERO  ? bdrv_co_pwrite_zeroes(c->link, c->offset, c->bytes,
                                                            c->flags)
                                    : bdrv_co_flush(c->link, c->flags);
    g_free(c);
}

/* Begins @what at child @i. */
static void co_fn call_child(QuorumState *s, CoGroup *group, int i, const Call *what, int *ret)
{
    Call *c = g_memdup2(what, sizeof(*what));

    c->link = s->children[i];
    c->ret = ret;
    co_group_start(group, call_entry, c);
}

static int co_fn change_all(BlockDriverState *bs, const Call *what, QuorumOp op)
{
    QuorumState *s = bs->opaque;
    CoGroup group = CO_GROUP_INIT;
    int rets[QUORUM_MAX_CHILDREN];

    for (int i = 0; i < s->n; i++) {
        call_child(s, &group, i, what, &rets[i]);
    }
    co_group_wait(&group);
    return quorum_vote_on_results(bs, rets, op, what->offset, what->bytes);
}

static int co_fn change_held(BlockDriverState *bs, const Call *what)
{
    QuorumState *s = bs->opaque;
    BdrvRange range;

    bdrv_range_lock(s->ranges, &range, what->offset, what->offset + what->bytes, true);
    int ret = change_all(bs, what, QUORUM_OP_WRITE);
    bdrv_range_unlock(s->ranges, &range);
    return ret;
}

static int co_fn quorum_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                                unsigned flags)
{
    return change_held(bs, &(Call){ .kind = CALL_WRITE, .offset = offset, .bytes = bytes,
                                    .qiov = qiov, .flags = flags });
}

static int co_fn quorum_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                      unsigned flags)
{
    /* Some would do it, and others not. */
    return flags & BDRV_REQ_NO_FALLBACK
           ? -ENOTSUP
           : change_held(bs, &(Call){ .kind = CALL_ZERO, .offset = offset, .bytes = bytes,
                                      .flags = flags });
}

static int co_fn quorum_flush(BlockDriverState *bs, unsigned flags)
{
    return change_all(bs, &(Call){ .kind = CALL_FLUSH, .flags = flags }, QUORUM_OP_FLUSH);
}

/* ---- reading ---- */

/* A piece, which is held. */
typedef struct Piece {
    BlockDriverState *bs;
    int64_t offset, bytes;
    uint8_t *bufs[QUORUM_MAX_CHILDREN];
    int rets[QUORUM_MAX_CHILDREN];
    bool bad[QUORUM_MAX_CHILDREN];
    bool differs;                   /* some are bad */
} Piece;

static void co_fn read_all(Piece *p)
{
    QuorumState *s = p->bs->opaque;
    IoVec vectors[QUORUM_MAX_CHILDREN];
    CoGroup group = CO_GROUP_INIT;

    for (int i = 0; i < s->n; i++) {
        Call what = { .kind = CALL_READ, .offset = p->offset, .bytes = p->bytes,
                      .qiov = &vectors[i] };
        iovec_init_buf(&vectors[i], p->bufs[i], p->bytes);
        call_child(s, &group, i, &what, &p->rets[i]);
    }
    co_group_wait(&group);
}

/* Whose data counts, or -errno. */
static int co_fn read_and_vote(Piece *p)
{
    const QuorumState *s = p->bs->opaque;
    int votes;

    read_all(p);
    int ret = quorum_vote_on_results(p->bs, p->rets, QUORUM_OP_READ, p->offset, p->bytes);
    if (ret < 0) {
        return ret;
    }
    int winner = quorum_vote_on_data(s, p->rets, p->bufs, p->bytes, &votes, p->bad);
    p->differs = false;
    for (int i = 0; i < s->n; i++) {
        p->differs |= p->bad[i];
    }
    if (p->differs && s->blkverify) {
        log_line("quorum: node '%s': offset=%" PRId64 " bytes=%" PRId64 " contents mismatch",
                 p->bs->node_name, p->offset, p->bytes);
        return -EIO;
    }
    if (votes < s->threshold) {
        quorum_report(p->bs, -1, QUORUM_OP_READ, 0, p->offset, p->bytes);
        return -EIO;
    }
    for (int i = 0; i < s->n; i++) {
        if (p->bad[i]) {
            quorum_report(p->bs, i, QUORUM_OP_READ, 0, p->offset, p->bytes);
        }
    }
    return winner;
}

/* (Q2) Puts those right that have something else.  Whose data counts, or -errno. */
static int co_fn rewrite(Piece *p, BdrvRange *range)
{
    const QuorumState *s = p->bs->opaque;

    bdrv_range_unlock(s->ranges, range);
    bdrv_range_lock(s->ranges, range, p->offset, p->offset + p->bytes, true);
    int winner = read_and_vote(p);
    for (int i = 0; winner >= 0 && i < s->n; i++) {
        if (p->bad[i]) {
            int ret = bdrv_co_pwrite(s->children[i], p->offset, p->bytes, p->bufs[winner], 0);
            if (ret < 0) {
                quorum_report(p->bs, i, QUORUM_OP_WRITE, ret, p->offset, p->bytes);
            }
        }
    }
    return winner;
}

static int co_fn read_piece(Piece *p, IoVec *qiov, size_t qiov_offset)
{
    QuorumState *s = p->bs->opaque;
    BdrvRange range;

    bdrv_range_lock(s->ranges, &range, p->offset, p->offset + p->bytes, false);
    int winner = read_and_vote(p);
    if (winner >= 0 && p->differs && s->rewrite && !p->bs->read_only) {
        winner = rewrite(p, &range);
    }
    bdrv_range_unlock(s->ranges, &range);
    if (winner < 0) {
        return winner;
    }
    iovec_from_buf(qiov, qiov_offset, p->bufs[winner], p->bytes);
    return 0;
}

static int co_fn read_by_vote(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    const QuorumState *s = bs->opaque;
    int64_t piece = MIN(bytes, PIECE_BYTES);
    uint8_t *memory = bdrv_try_blockalign(piece * s->n);
    g_autofree Piece *p = g_new0(Piece, 1);
    int ret = memory ? 0 : -ENOMEM;

    p->bs = bs;
    for (int64_t done = 0; done < bytes && ret == 0; done += piece) {
        p->offset = offset + done;
        p->bytes = MIN(piece, bytes - done);
        for (int i = 0; i < s->n; i++) {
            p->bufs[i] = memory + i * piece;
        }
        ret = read_piece(p, qiov, done);
    }
    free(memory);
    return ret;
}

/* From the first that can read it. */
static int co_fn read_first(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    QuorumState *s = bs->opaque;
    BdrvRange range;
    int ret = -EIO;

    bdrv_range_lock(s->ranges, &range, offset, offset + bytes, false);
    for (int i = 0; i < s->n && ret < 0; i++) {
        ret = bdrv_co_preadv(s->children[i], offset, bytes, qiov);
        if (ret < 0) {
            quorum_report(bs, i, QUORUM_OP_READ, ret, offset, bytes);
        }
    }
    bdrv_range_unlock(s->ranges, &range);
    return ret;
}

static int co_fn quorum_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    const QuorumState *s = bs->opaque;

    return s->fifo ? read_first(bs, offset, bytes, qiov) : read_by_vote(bs, offset, bytes, qiov);
}

/* Zeroes where all say so: else it has to be read, and voted on. */
static int co_fn quorum_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                     int64_t *ret_bytes)
{
    const QuorumState *s = bs->opaque;
    bool zero = true;

    *ret_bytes = bytes;
    for (int i = 0; i < s->n && zero; i++) {
        int64_t n;
        int ret = filter_status_of(s->children[i], offset, *ret_bytes, &n);
        zero = ret >= 0 && ret & BDRV_STATUS_ZERO;
        *ret_bytes = ret >= 0 ? n : *ret_bytes;
    }
    return zero ? BDRV_STATUS_ZERO : BDRV_STATUS_DATA;
}

static int64_t co_fn quorum_getlength(BlockDriverState *bs)
{
    const QuorumState *s = bs->opaque;
    int64_t length = bdrv_co_getlength(s->children[0]);

    for (int i = 1; i < s->n && length >= 0; i++) {
        if (bdrv_co_getlength(s->children[i]) != length) {
            return -EIO;
        }
    }
    return length;
}

/* No discards: what they leave differs. */
static const BlockDriver bdrv_quorum = {
    .name               = "quorum",
    .instance_size      = sizeof(QuorumState),
    .is_protocol        = true,
    .options_init       = quorum_options_init,
    .options_clear      = quorum_options_clear,
    .co_open            = quorum_open,
    .co_close           = quorum_close,
    .co_reopen_prepare  = filter_cannot_reopen,
    .co_preadv          = quorum_preadv,
    .co_pwritev         = quorum_pwritev,
    .co_pwrite_zeroes   = quorum_pwrite_zeroes,
    .co_flush           = quorum_flush,
    .co_block_status    = quorum_block_status,
    .co_getlength       = quorum_getlength,
    .child_claims       = quorum_child_claims,
};

static void quorum_init(void)
{
    for (int i = 0; i < QUORUM_MAX_CHILDREN; i++) {
        roles[i] = (BdrvLinkRole){ .name = g_strdup_printf("children.%d", i), .stores = true };
    }
    bdrv_register(&bdrv_quorum);
}

block_init(quorum_init);
