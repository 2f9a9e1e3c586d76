/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to a place: the bracket, checks, accounting. */
#include "qemu/osdep.h"

#include "block/backend-internal.h"
#include "qemu/aio.h"

/* ---- the bracket ---- */

void any_fn blk_end(BlockBackend *blk)
{
    if (__atomic_sub_fetch(&blk->in_flight, 1, __ATOMIC_SEQ_CST) > 0 ||
        __atomic_load_n(&blk->quiesced, __ATOMIC_SEQ_CST) == 0) {
        return;
    }
    pthread_mutex_lock(&blk->lock);
    if (__atomic_load_n(&blk->in_flight, __ATOMIC_SEQ_CST) == 0 && blk->drain_waiter) {
        coroutine_wake(g_steal_pointer(&blk->drain_waiter));
    }
    pthread_mutex_unlock(&blk->lock);
}

static void co_fn wait_while_held(BlockBackend *blk)
{
    CoWaiter w = { .co = coroutine_self() };

    pthread_mutex_lock(&blk->lock);
    bool wait = __atomic_load_n(&blk->quiesced, __ATOMIC_SEQ_CST) > 0;
    if (wait) {
        *(blk->held_tail ? &blk->held_tail->next : &blk->held_head) = &w;
        blk->held_tail = &w;
    }
    pthread_mutex_unlock(&blk->lock);
    if (wait) {
        coroutine_yield();
    }
}

void co_fn blk_begin(BlockBackend *blk)
{
    for (;;) {
        __atomic_fetch_add(&blk->in_flight, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&blk->quiesced, __ATOMIC_SEQ_CST) == 0) {
            return;
        }
        blk_end(blk);
        wait_while_held(blk);
    }
}

void main_fn blk_hold(BlockBackend *blk)
{
    __atomic_fetch_add(&blk->quiesced, 1, __ATOMIC_SEQ_CST);
}

void main_fn blk_release(BlockBackend *blk)
{
    CoWaiter *w = NULL;

    pthread_mutex_lock(&blk->lock);
    if (__atomic_sub_fetch(&blk->quiesced, 1, __ATOMIC_SEQ_CST) == 0) {
        w = blk->held_head;
        blk->held_head = blk->held_tail = NULL;
    }
    pthread_mutex_unlock(&blk->lock);
    while (w) {
        CoWaiter *next = w->next;   /* it lives on the stack of the one that is woken */
        coroutine_wake(w->co);
        w = next;
    }
}

bool co_main_fn blk_drain_check(BlockBackend *blk)
{
    pthread_mutex_lock(&blk->lock);
    g_assert(!blk->drain_waiter);
    bool idle = __atomic_load_n(&blk->in_flight, __ATOMIC_SEQ_CST) == 0;
    if (!idle) {
        blk->drain_waiter = coroutine_self();
        /* The last one may have left between the look and the line above. */
        idle = __atomic_load_n(&blk->in_flight, __ATOMIC_SEQ_CST) == 0;
        if (idle) {
            blk->drain_waiter = NULL;
        }
    }
    pthread_mutex_unlock(&blk->lock);
    return idle;
}

bool main_fn blk_drain_forget(BlockBackend *blk)
{
    pthread_mutex_lock(&blk->lock);
    bool waiting = g_steal_pointer(&blk->drain_waiter) != NULL;
    pthread_mutex_unlock(&blk->lock);
    return waiting;
}

/* ---- limits ---- */

/* Wait for the turn of a request that is not in flight yet. */
static void co_fn throttle(BlockBackend *blk, bool is_write, int64_t bytes)
{
    if (!__atomic_load_n(&blk->throttle, __ATOMIC_ACQUIRE)) {
        return;
    }
    /* Counted, then looked at again: who takes the place out of its group waits for the count. */
    __atomic_fetch_add(&blk->throttled, 1, __ATOMIC_SEQ_CST);
    ThrottleGroup *group = __atomic_load_n(&blk->throttle, __ATOMIC_SEQ_CST);
    if (group && !__atomic_load_n(&blk->throttle_off, __ATOMIC_SEQ_CST)) {
        throttle_group_wait(group, is_write, bytes, &blk->throttle_off);
    }
    __atomic_fetch_sub(&blk->throttled, 1, __ATOMIC_SEQ_CST);
}

ThrottleGroup *main_fn blk_throttle_group(BlockBackend *blk)
{
    return blk->throttle;
}

void any_fn blk_throttle_ignore(BlockBackend *blk)
{
    __atomic_store_n(&blk->throttle_off, true, __ATOMIC_SEQ_CST);
}

void co_main_fn blk_set_throttle_group(BlockBackend *blk, ThrottleGroup *group)
{
    ThrottleGroup *old = blk->throttle;

    if (old == group) {
        return;
    }
    __atomic_store_n(&blk->throttle, NULL, __ATOMIC_SEQ_CST);
    if (old) {
        bool was_off = blk->throttle_off;
        blk_throttle_ignore(blk);
        while (__atomic_load_n(&blk->throttled, __ATOMIC_SEQ_CST) > 0) {
            aio_co_sleep_ns(NS_PER_MS);         /* they look at throttle_off every 100 ms */
        }
        __atomic_store_n(&blk->throttle_off, was_off, __ATOMIC_SEQ_CST);
        throttle_group_unref(old);
    }
    __atomic_store_n(&blk->throttle, group ? throttle_group_ref(group) : NULL, __ATOMIC_SEQ_CST);
}

/* ---- requests ---- */

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

/* One request, between request_begin() and request_end(). */
typedef struct Request {
    BlockBackend *blk;
    BlkOp op;
    int64_t offset, bytes;
    int64_t start_ns;               /* when it came, throttled and held time included */
    bool refused;                   /* it never reached the image */
} Request;

/* Enters the bracket.  0, or the -errno with which the request ends without reaching the image. */
static int co_fn request_begin(Request *r, BlockBackend *blk, BlkOp op, int64_t offset,
                               int64_t bytes)
{
    bool writes = op != BLK_OP_READ;

    *r = (Request){ blk, op, offset, bytes, clock_ns(), false };
    throttle(blk, writes, bytes);
    blk_begin(blk);
    int ret = check_request(blk, offset, bytes, writes);
    r->refused = ret < 0;
    return ret;
}

/* Accounts for it and leaves the bracket; returns @ret. */
static int request_end(Request *r, int ret)
{
    if (r->refused) {
        blk_stats_invalid(&r->blk->stats, r->op);
    } else {
        blk_stats_account(&r->blk->stats, r->op, r->bytes, r->start_ns, ret);
    }
    /* -ENOTSUP is an answer (fast zeroes that are not to be had), not a failure of the disk. */
    if (ret < 0 && !r->refused && ret != -ENOTSUP) {
        blk_report_io_error(r->blk, r->op != BLK_OP_READ, ret);
    }
    blk_end(r->blk);
    return ret;
}

static void note_highest(BlockBackend *blk, uint64_t end)
{
    uint64_t seen = __atomic_load_n(&blk->stats.wr_highest_offset, __ATOMIC_RELAXED);

    while (seen < end &&
           !__atomic_compare_exchange_n(&blk->stats.wr_highest_offset, &seen, end, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

static unsigned write_flags(const BlockBackend *blk, unsigned flags)
{
    return blk->write_cache ? flags : flags | BDRV_REQ_FUA;
}

int co_fn blk_co_preadv(BlockBackend *blk, int64_t offset, int64_t bytes, IoVec *qiov)
{
    Request r;
    int ret = request_begin(&r, blk, BLK_OP_READ, offset, bytes);

    if (ret == 0) {
        ret = bdrv_co_preadv(blk->root, offset, bytes, qiov);
    }
    return request_end(&r, ret);
}

int co_fn blk_co_pwritev(BlockBackend *blk, int64_t offset, int64_t bytes, IoVec *qiov,
                         unsigned flags)
{
    Request r;
    int ret = request_begin(&r, blk, BLK_OP_WRITE, offset, bytes);

    if (ret == 0) {
        ret = bdrv_co_pwritev(blk->root, offset, bytes, qiov, write_flags(blk, flags));
        note_highest(blk, offset + bytes);
    }
    return request_end(&r, ret);
}

int co_fn blk_co_pwrite_zeroes(BlockBackend *blk, int64_t offset, int64_t bytes, unsigned flags)
{
    Request r;
    int ret = request_begin(&r, blk, BLK_OP_WRITE, offset, bytes);

    if (ret == 0) {
        ret = bdrv_co_pwrite_zeroes(blk->root, offset, bytes, write_flags(blk, flags));
        note_highest(blk, offset + bytes);
    }
    return request_end(&r, ret);
}

int co_fn blk_co_pdiscard(BlockBackend *blk, int64_t offset, int64_t bytes)
{
    Request r;
    int ret = request_begin(&r, blk, BLK_OP_UNMAP, offset, bytes);

    if (ret == 0) {
        ret = bdrv_co_pdiscard(blk->root, offset, bytes);
    }
    return request_end(&r, ret);
}

int co_fn blk_co_flush(BlockBackend *blk)
{
    Request r = { .blk = blk, .op = BLK_OP_FLUSH, .start_ns = clock_ns() };

    blk_begin(blk);
    return request_end(&r, blk->root ? bdrv_co_flush(blk->root, 0) : -ENOMEDIUM);
}

int co_fn blk_co_block_status(BlockBackend *blk, int64_t offset, int64_t bytes, int max_depth,
                              int64_t *ret_bytes, int *ret_depth)
{
    blk_begin(blk);
    int ret = check_request(blk, offset, bytes, false);
    if (ret == 0) {
        ret = bdrv_co_block_status(blk->root, offset, bytes, max_depth, ret_bytes, ret_depth);
    }
    blk_end(blk);
    return ret;
}
