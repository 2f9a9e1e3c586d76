/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the core asks of the disk, as requests that the server takes. */
#include "qemu/osdep.h"

#include "block/protocols/nbd/library.h"
#include "block/protocols/nbd/nbd-internal.h"

/* Pieces of one request under way at a time, where the server takes small ones only. */
#define PIECES 16
/* Most that one piece without data covers, bytes: a multiple of any alignment. */
#define MAX_COVERED (1 * GiB)

/* One contiguous piece of memory, as requests of at most the server's size. */
static int co_fn transfer(NbdState *s, NbdCommand cmd, int64_t offset, int64_t bytes, uint8_t *buf,
                          unsigned flags)
{
    NbdRequest r[PIECES];
    int ret = 0;

    while (bytes > 0 && ret == 0) {
        int n = 0;
        for (; n < PIECES && bytes > 0; n++) {
            uint32_t part = MIN(bytes, s->info.max_payload);
            r[n] = (NbdRequest){ .cmd = cmd, .offset = offset, .bytes = part, .buf = buf,
                                 .flags = flags };
            offset += part;
            buf += part;
            bytes -= part;
        }
        ret = nbd_run(s, r, n);
    }
    return ret;
}

/* Memory in several parts is copied: each part a request of its own would take longer. */
static int co_fn transfer_copied(NbdState *s, NbdCommand cmd, int64_t offset, IoVec *qiov,
                                 unsigned flags)
{
    size_t step = MIN(qiov->size, (size_t)NBD_MAX_PAYLOAD);
    void *buf = bdrv_try_blockalign(step);
    int ret = buf ? 0 : -ENOMEM;

    for (size_t done = 0; done < qiov->size && ret == 0; done += step) {
        size_t n = MIN(step, qiov->size - done);
        if (cmd == NBD_WRITE) {
            iovec_to_buf(qiov, done, buf, n);
        }
        ret = transfer(s, cmd, offset + done, n, buf, flags);
        if (cmd == NBD_READ && ret == 0) {
            iovec_from_buf(qiov, done, buf, n);
        }
    }
    free(buf);
    return ret;
}

static int co_fn transfer_any(NbdState *s, NbdCommand cmd, int64_t offset, IoVec *qiov,
                              unsigned flags)
{
    return qiov->niov == 1
           ? transfer(s, cmd, offset, qiov->size, qiov->iov[0].iov_base, flags)
           : transfer_copied(s, cmd, offset, qiov, flags);
}

int co_fn nbd_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    return transfer_any(NBD_STATE(bs), NBD_READ, offset, qiov, 0);
}

int co_fn nbd_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                         unsigned flags)
{
    bool fua = flags & BDRV_REQ_FUA && !bs->cache_no_flush;

    if (offset + bytes > bdrv_length(bs)) {
        return -ENOSPC;             /* a server's disk does not grow */
    }
    return transfer_any(NBD_STATE(bs), NBD_WRITE, offset, qiov, fua ? LIBNBD_CMD_FLAG_FUA : 0);
}

/* Requests without data may be longer than those with, but a server need not take them. */
static int co_fn cover(NbdState *s, NbdCommand cmd, int64_t offset, int64_t bytes, unsigned flags)
{
    int ret = 0;

    while (bytes > 0 && ret == 0) {
        uint32_t most = __atomic_load_n(&s->zero_max, __ATOMIC_RELAXED) ?: MAX_COVERED;
        NbdRequest r = { .cmd = cmd, .offset = offset, .bytes = MIN(bytes, most), .flags = flags };

        ret = nbd_run(s, &r, 1);
        if ((ret == -EINVAL || ret == -EOVERFLOW) && r.bytes > s->info.max_payload) {
            __atomic_store_n(&s->zero_max, s->info.max_payload, __ATOMIC_RELAXED);
            ret = 0;
            continue;
        }
        offset += r.bytes;
        bytes -= r.bytes;
    }
    return ret;
}

int co_fn nbd_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes, unsigned flags)
{
    NbdState *s = bs->opaque;
    bool fast = flags & BDRV_REQ_NO_FALLBACK;

    if (!s->info.can_zero || (fast && !s->info.can_fast_zero)) {
        return -ENOTSUP;
    }
    if (offset + bytes > bdrv_length(bs)) {
        return -ENOSPC;
    }
    return cover(s, NBD_ZERO, offset, bytes,
                 (flags & BDRV_REQ_MAY_UNMAP ? 0 : LIBNBD_CMD_FLAG_NO_HOLE) |
                 (fast ? LIBNBD_CMD_FLAG_FAST_ZERO : 0));
}

int co_fn nbd_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    NbdState *s = bs->opaque;

    return s->info.can_trim ? cover(s, NBD_TRIM, offset, bytes, 0) : -ENOTSUP;
}

int co_fn nbd_co_flush(BlockDriverState *bs, unsigned flags)
{
    NbdState *s = bs->opaque;
    NbdRequest r = { .cmd = NBD_FLUSH };

    return s->info.can_flush && !bs->cache_no_flush ? nbd_run(s, &r, 1) : 0;
}

/* An answer is for whole blocks, at least for one, whatever the server says. */
static int64_t whole_blocks(const NbdState *s, int64_t bytes)
{
    return ROUND_DOWN(bytes, s->info.min_block) ?: s->info.min_block;
}

int co_fn nbd_co_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                              int64_t *ret_bytes)
{
    NbdState *s = bs->opaque;
    int64_t skip = offset & (s->info.min_block - 1);
    NbdRequest r = { .cmd = NBD_STATUS, .offset = offset - skip, .flags = LIBNBD_CMD_FLAG_REQ_ONE };

    if (!s->info.can_status) {
        *ret_bytes = bytes;
        return BDRV_STATUS_DATA;
    }
    r.bytes = MIN(ROUND_UP(bytes + skip, s->info.min_block), MAX_COVERED);
    int ret = nbd_run(s, &r, 1);
    if (ret < 0) {
        return ret;
    }
    *ret_bytes = MIN(whole_blocks(s, r.status_bytes) - skip, bytes);
    /* Allocation depths: how deep does not matter here, and 0 is what is in none. */
    if (g_str_has_prefix(s->context, "qemu:allocation-depth")) {
        r.status_flags = MIN(r.status_flags, 2);
    }
    return (r.status_flags & LIBNBD_STATE_HOLE ? 0 : BDRV_STATUS_DATA) |
           (r.status_flags & LIBNBD_STATE_ZERO ? BDRV_STATUS_ZERO : 0);
}
