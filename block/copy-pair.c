/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying from a backend to another one: data as data, zeroes as zeroes. */
#include "qemu/osdep.h"

#include "block/copy.h"

int co_fn bdrv_copy_pair_look(const BdrvCopyPair *pair, int64_t offset, int64_t bytes,
                              BdrvCopyKind *ret_kind, int64_t *ret_bytes)
{
    int depth;
    int ret = blk_co_block_status(pair->source, NULL, offset, bytes, ret_bytes, &depth);

    *ret_kind = ret > 0 && ret & BDRV_BLOCK_ZERO ? BDRV_COPY_ZERO : BDRV_COPY_DATA;
    return MIN(ret, 0);
}

/*
 * Buffers of BDRV_COPY_CHUNK bytes that no copy uses just now.  Memory that is fresh for each piece
 * would be zeroed by the kernel each time.
 */
static GMutex spare_lock;
static void *spare[BDRV_COPY_PARALLEL];
static int n_spare;

static void *get_buffer(int64_t bytes)
{
    void *buf = NULL;

    if (bytes > BDRV_COPY_CHUNK) {
        return bdrv_try_blockalign(bytes);
    }
    g_mutex_lock(&spare_lock);
    if (n_spare > 0) {
        buf = spare[--n_spare];
    }
    g_mutex_unlock(&spare_lock);
    return buf ?: bdrv_try_blockalign(BDRV_COPY_CHUNK);
}

static void put_buffer(void *buf, int64_t bytes)
{
    if (bytes <= BDRV_COPY_CHUNK) {
        g_mutex_lock(&spare_lock);
        if (n_spare < (int)G_N_ELEMENTS(spare)) {
            spare[n_spare++] = g_steal_pointer(&buf);
        }
        g_mutex_unlock(&spare_lock);
    }
    free(buf);
}

void any_fn bdrv_copy_free_buffers(void)
{
    g_mutex_lock(&spare_lock);
    while (n_spare > 0) {
        free(spare[--n_spare]);
    }
    g_mutex_unlock(&spare_lock);
}

static int co_fn write_zeroes(const BdrvCopyPair *pair, int64_t offset, int64_t bytes,
                              bool *ret_is_write)
{
    *ret_is_write = true;
    return blk_co_pwrite_zeroes(pair->target, NULL, offset, bytes,
                                pair->unmap ? BDRV_REQ_MAY_UNMAP : 0);
}

static int co_fn copy_data(const BdrvCopyPair *pair, int64_t offset, int64_t bytes,
                           bool *ret_is_write)
{
    void *buf = get_buffer(bytes);
    IoVec v;

    *ret_is_write = false;
    if (!buf) {
        return -ENOMEM;
    }
    iovec_init_buf(&v, buf, bytes);
    int ret = blk_co_preadv(pair->source, NULL, offset, bytes, &v);
    if (ret == 0) {
        *ret_is_write = true;
        ret = blk_co_pwritev(pair->target, NULL, offset, bytes, &v,
                             pair->compress ? BDRV_REQ_WRITE_COMPRESSED : 0);
    }
    put_buffer(buf, bytes);
    return ret;
}

int co_fn bdrv_copy_pair(const BdrvCopyPair *pair, const BdrvCopyPiece *piece, bool *ret_is_write)
{
    int64_t end = piece->offset + piece->bytes;
    int ret = 0;

    for (int64_t offset = piece->offset, n; ret == 0 && offset < end; offset += n) {
        BdrvCopyKind kind = piece->kind;

        n = end - offset;
        *ret_is_write = false;
        if (kind == BDRV_COPY_UNKNOWN) {
            ret = bdrv_copy_pair_look(pair, offset, end - offset, &kind, &n);
            if (pair->compress && n < end - offset) {   /* compressed data comes in whole units */
                kind = BDRV_COPY_DATA;
                n = end - offset;
            }
        }
        if (kind == BDRV_COPY_DATA && !pair->compress) {
            n = MIN(n, BDRV_COPY_CHUNK);    /* a piece may be larger, where the granularity is */
        }
        if (ret == 0) {
            ret = kind == BDRV_COPY_ZERO ? write_zeroes(pair, offset, n, ret_is_write)
                                         : copy_data(pair, offset, n, ret_is_write);
        }
    }
    return ret;
}
