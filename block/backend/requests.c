/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to a backend: checks, limits, the error policy, accounting. */
#include "qemu/osdep.h"

#include "block/backend/backend-internal.h"
#include "qemu/aio.h"

/* 0 if the request may go to the image, else the -errno it ends with. */
static int check_request(BlockBackend *blk, int64_t offset, int64_t bytes, bool writes)
{
    BlockDriverState *bs = blk_bs(blk);

    if (!bs) {
        return -ENOMEDIUM;
    }
    if (offset < 0 || bytes < 0 || bytes > bdrv_length(bs) ||
        offset > bdrv_length(bs) - bytes) {
        return -EIO;
    }
    return writes && !blk_is_writable(blk) ? -EPERM : 0;
}

/*
 * One request: request_init(), then once or, if the backend stops and is continued, more often
 * request_enter(), the image's part, request_leave().
 */
typedef struct Request {
    BlockBackend *blk;
    const BlkClient *client;
    BlkOp op;
    int64_t offset, bytes;
    int64_t start_ns;               /* when it came, throttled, held and stopped time included */
    bool refused;                   /* it never reached the image */
    bool ignored;                   /* it failed, and that is ignored */
} Request;

static void co_fn request_init(Request *r, BlockBackend *blk, const BlkClient *client, BlkOp op,
                               int64_t offset, int64_t bytes)
{
    *r = (Request){ .blk = blk, .client = client, .op = op, .offset = offset, .bytes = bytes,
                    .start_ns = clock_ns() };
    if (op != BLK_OP_FLUSH && op != BLK_OP_STATUS) {
        blk_throttle(blk, op != BLK_OP_READ, bytes);
    }
}

/* Enters the bracket.  0, or the -errno with which the request ends without reaching the image. */
static int co_fn request_enter(Request *r)
{
    int given_up = blk_wait_while_stopped(r->blk, r->client);

    blk_begin(r->blk);
    int ret = given_up ?: check_request(r->blk, r->offset, r->bytes,
                                        r->op == BLK_OP_WRITE || r->op == BLK_OP_UNMAP);
    r->refused = ret < 0;
    return ret;
}

static void request_account(Request *r, int ret)
{
    if (r->refused) {
        blk_stats_invalid(&r->blk->stats, r->op);
    } else {
        blk_stats_account(&r->blk->stats, r->op, r->bytes, r->start_ns, ret);
    }
}

/* Leaves the bracket; true: the request, which came to *@ret, has to be tried again. */
static bool co_fn request_leave(Request *r, int *ret)
{
    BlkErrorAction action = BLK_ERROR_ACTION_REPORT;

    request_account(r, *ret);
    /* -ENOTSUP is an answer (fast zeroes that are not to be had), not a failure of the disk. */
    if (*ret < 0 && !r->refused && *ret != -ENOTSUP) {
        bool reads = r->op == BLK_OP_READ || r->op == BLK_OP_STATUS;
        action = blk_handle_error(r->blk, r->client, !reads, *ret);
    }
    blk_end(r->blk);
    r->ignored = action == BLK_ERROR_ACTION_IGNORE;
    if (r->ignored) {
        *ret = 0;
    }
    return action == BLK_ERROR_ACTION_STOP;
}

static unsigned write_flags(const BlockBackend *blk, unsigned flags)
{
    return blk->write_cache ? flags : flags | BDRV_REQ_FUA;
}

int co_fn blk_co_preadv(BlockBackend *blk, const BlkClient *client, int64_t offset, int64_t bytes,
                        IoVec *qiov)
{
    Request r;
    int ret;

    request_init(&r, blk, client, BLK_OP_READ, offset, bytes);
    do {
        ret = request_enter(&r) ?: bdrv_co_preadv(blk->root, offset, bytes, qiov);
    } while (request_leave(&r, &ret));
    if (r.ignored) {
        iovec_memset(qiov, 0, 0, bytes);
    }
    return ret;
}

int co_fn blk_co_pwritev(BlockBackend *blk, const BlkClient *client, int64_t offset, int64_t bytes,
                         IoVec *qiov, unsigned flags)
{
    Request r;
    int ret;

    request_init(&r, blk, client, BLK_OP_WRITE, offset, bytes);
    do {
        ret = request_enter(&r) ?:
              bdrv_co_pwritev(blk->root, offset, bytes, qiov, write_flags(blk, flags));
    } while (request_leave(&r, &ret));
    return ret;
}

int co_fn blk_co_pwrite_zeroes(BlockBackend *blk, const BlkClient *client, int64_t offset,
                               int64_t bytes, unsigned flags)
{
    Request r;
    int ret;

    request_init(&r, blk, client, BLK_OP_WRITE, offset, bytes);
    do {
        ret = request_enter(&r) ?:
              bdrv_co_pwrite_zeroes(blk->root, offset, bytes, write_flags(blk, flags));
    } while (request_leave(&r, &ret));
    return ret;
}

int co_fn blk_co_pdiscard(BlockBackend *blk, const BlkClient *client, int64_t offset,
                          int64_t bytes)
{
    Request r;
    int ret;

    request_init(&r, blk, client, BLK_OP_UNMAP, offset, bytes);
    do {
        ret = request_enter(&r) ?: bdrv_co_pdiscard(blk->root, offset, bytes);
    } while (request_leave(&r, &ret));
    return ret;
}

int co_fn blk_co_flush(BlockBackend *blk, const BlkClient *client)
{
    Request r;
    int ret;

    request_init(&r, blk, client, BLK_OP_FLUSH, 0, 0);
    do {
        ret = request_enter(&r) ?: bdrv_co_flush(blk->root, 0);
    } while (request_leave(&r, &ret));
    return ret;
}

/* @hole_is_read: a hole is what the user wanted to read, and has read now. */
static int co_fn block_status(Request *r, bool hole_is_read, int64_t *ret_bytes, int *ret_depth)
{
    int64_t bytes = r->bytes;
    int ret;

    do {
        ret = request_enter(r) ?: bdrv_co_block_status(r->blk->root, r->offset, bytes, 0, ret_bytes,
                                                       ret_depth);
        if (ret >= 0 && ret & BDRV_BLOCK_ZERO && hole_is_read) {
            r->op = BLK_OP_READ;
            r->bytes = *ret_bytes;
        }
    } while (request_leave(r, &ret));
    if (r->ignored) {
        /* The safe answer: whoever wants to know more reads it. */
        *ret_bytes = bytes;
        *ret_depth = 0;
        ret = BDRV_BLOCK_DATA | BDRV_BLOCK_DECIDED;
    }
    return ret;
}

int co_fn blk_co_block_status(BlockBackend *blk, const BlkClient *client, int64_t offset,
                              int64_t bytes, int64_t *ret_bytes, int *ret_depth)
{
    Request r;

    request_init(&r, blk, client, BLK_OP_STATUS, offset, bytes);
    return block_status(&r, false, ret_bytes, ret_depth);
}

int co_fn blk_co_read_hole(BlockBackend *blk, const BlkClient *client, int64_t offset,
                           int64_t bytes, int64_t *ret_bytes)
{
    Request r;
    int depth;

    request_init(&r, blk, client, BLK_OP_STATUS, offset, bytes);
    int ret = block_status(&r, true, ret_bytes, &depth);
    return ret < 0 ? ret : !!(ret & BDRV_BLOCK_ZERO);
}
