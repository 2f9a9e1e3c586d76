/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A MemDisk as a protocol: requests, and how they fail. */
#include "qemu/osdep.h"

#include "tests/lib/memdisk-internal.h"

static MemDisk *disk_of(BlockDriverState *bs)
{
    return *(MemDisk **)bs->opaque;
}

/* In front of every operation; @end: how long it may make the disk. */
static int co_fn begin(BlockDriverState *bs, int64_t end)
{
    MemDisk *d = disk_of(bs);

    d->operations++;
    for (int i = 0; i < 3 && d->shuffle; i++) {
        if (memdisk_random(&d->shuffle_state) % d->shuffle) {
            break;
        }
        coroutine_reschedule();
    }
    if (end > d->max_bytes) {
        return -ENOSPC;
    }
    if (d->fail_after < 0) {
        return 0;
    }
    if (d->fail_after > 0) {
        d->fail_after--;
        return 0;
    }
    if (!d->fail_sticky) {
        d->fail_after = -1;
    }
    return -d->fail_error;
}

/* An operation that begin() failed with @ret: what it has done all the same. */
static void failed_op(MemDisk *d, int ret, OpKind kind, int64_t offset, int64_t bytes,
                      const IoVec *qiov)
{
    if (ret != -d->fail_error || offset + bytes > d->max_bytes ||
        d->failure == MEM_FAILURE_NOTHING || d->failure == MEM_FAILURE_DROPPED) {
        return;
    }
    if (d->failure == MEM_FAILURE_ALL || kind == OP_TRUNCATE) {
        memdisk_add_op(d, kind, offset, bytes, qiov);
        return;
    }
    for (int64_t pos = 0, n; pos < bytes; pos += n) {
        n = MIN(SECTOR - (offset + pos) % SECTOR, bytes - pos);
        if (memdisk_random(&d->shuffle_state) & 1) {
            g_auto(IoVec) part;
            iovec_init(&part);
            if (qiov) {
                iovec_add_slice(&part, qiov, pos, n);
            }
            memdisk_add_op(d, kind, offset + pos, n, qiov ? &part : NULL);
        }
    }
}

static bool hits_bad(const MemDisk *d, int64_t offset, int64_t bytes)
{
    return offset < d->bad_offset + d->bad_bytes && d->bad_offset < offset + bytes;
}

static void note_length(BlockDriverState *bs)
{
    __atomic_store_n(&bs->length, disk_of(bs)->now.length, __ATOMIC_RELAXED);
}

static bool memdisk_co_open(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    MemDisk *d = memdisk_find(bs->node_name);

    if (!d) {
        error_setg(errp, "No disk in memory is called '%s'", bs->node_name);
        return false;
    }
    *(MemDisk **)bs->opaque = d;
    d->flush_error = 0;
    bs->filename = g_strdup(d->name);
    note_length(bs);
    return true;
}

static int co_fn memdisk_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                   IoVec *qiov)
{
    MemDisk *d = disk_of(bs);
    int ret = begin(bs, 0);

    if (ret == 0) {
        d->counts.reads++;
        int64_t n = CLAMP(d->now.length - offset, 0, bytes);
        if (n) {
            iovec_from_buf(qiov, 0, d->now.data + offset, n);
        }
        iovec_memset(qiov, n, 0, bytes - n);
    }
    return ret;
}

/* Each operation is on the disk or gone for good; reads see no difference. */
static void drop_some(MemDisk *d)
{
    for (guint i = 0; i < d->ops->len; i++) {
        const Op *op = d->ops->pdata[i];
        if (memdisk_random(&d->shuffle_state) & 1) {
            memdisk_image_apply(&d->synced, op, 0, op->bytes);
        }
    }
    g_ptr_array_set_size(d->ops, 0);
}

static int co_fn memdisk_co_flush(BlockDriverState *bs, unsigned flags)
{
    MemDisk *d = disk_of(bs);
    int ret = begin(bs, 0);

    if (ret < 0 && d->failure == MEM_FAILURE_DROPPED && !d->flush_error) {
        drop_some(d);
        d->flush_error = ret;
    }
    if (d->flush_error || (ret < 0 && d->failure == MEM_FAILURE_NOTHING)) {
        return d->flush_error ?: ret;
    }
    if (d->on_sync) {
        d->on_sync(d, d->on_sync_opaque);
    }
    d->counts.flushes++;
    d->syncs++;
    for (guint i = 0; i < d->ops->len; i++) {
        const Op *op = d->ops->pdata[i];
        memdisk_image_apply(&d->synced, op, 0, op->bytes);
    }
    g_ptr_array_set_size(d->ops, 0);
    return ret;
}

static int co_fn memdisk_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                    IoVec *qiov, unsigned flags)
{
    int ret = begin(bs, offset + bytes);

    if (ret == 0 && hits_bad(disk_of(bs), offset, bytes)) {
        return -EIO;
    }
    if (ret == 0) {
        ret = memdisk_take_space(disk_of(bs), offset, bytes);
    }
    if (ret == 0) {
        disk_of(bs)->counts.writes++;
        memdisk_add_op(disk_of(bs), OP_WRITE, offset, bytes, qiov);
    } else {
        failed_op(disk_of(bs), ret, OP_WRITE, offset, bytes, qiov);
    }
    note_length(bs);
    return ret;
}

static int co_fn memdisk_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                          unsigned flags)
{
    int ret = begin(bs, offset + bytes);

    if (ret == 0 && flags & BDRV_REQ_MAY_UNMAP) {
        memdisk_punch(disk_of(bs), offset, offset + bytes);
    } else if (ret == 0) {
        ret = memdisk_take_space(disk_of(bs), offset, bytes);
    }
    if (ret == 0) {
        disk_of(bs)->counts.zeroes++;
        memdisk_add_op(disk_of(bs), OP_ZERO, offset, bytes, NULL);
    } else {
        failed_op(disk_of(bs), ret, OP_ZERO, offset, bytes, NULL);
    }
    note_length(bs);
    return ret;
}

static int co_fn memdisk_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    int ret = begin(bs, 0);

    if (ret == 0) {
        disk_of(bs)->counts.discards++;
        memdisk_punch(disk_of(bs), offset, offset + bytes);
        memdisk_add_op(disk_of(bs), OP_ZERO, offset, MIN(bytes, bdrv_length(bs) - offset), NULL);
    }
    return ret;
}

static int64_t co_fn memdisk_co_getlength(BlockDriverState *bs)
{
    return memdisk_length(disk_of(bs));
}

static bool co_fn memdisk_co_truncate(BlockDriverState *bs, int64_t length,
                                      BdrvPrealloc prealloc, Error **errp)
{
    int ret = begin(bs, length);

    if (ret == 0 && disk_of(bs)->fixed_length && length <= memdisk_length(disk_of(bs))) {
        return true;                /* and nothing has changed */
    }
    if (ret == 0 && disk_of(bs)->fixed_length) {
        ret = -ENOTSUP;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot truncate '%s'", bs->filename);
        return false;
    }
    memdisk_add_op(disk_of(bs), OP_TRUNCATE, length, 0, NULL);
    return true;
}

static bool memdisk_truncated_is_zero(const BlockDriverState *bs)
{
    return !(*(MemDisk **)bs->opaque)->fixed_length;
}

static int co_fn memdisk_co_extend(BlockDriverState *bs, int64_t length)
{
    int ret = begin(bs, length);

    if (ret == 0 && disk_of(bs)->fixed_length) {
        ret = -ENOTSUP;
    }
    if (ret == 0 && length > memdisk_length(disk_of(bs))) {
        memdisk_add_op(disk_of(bs), OP_TRUNCATE, length, 0, NULL);
        note_length(bs);
    }
    return ret;
}

static const BlockDriver bdrv_memdisk = {
    .name             = "memdisk",
    .instance_size    = sizeof(MemDisk *),
    .is_protocol      = true,
    .co_open          = memdisk_co_open,
    .co_preadv        = memdisk_co_preadv,
    .co_pwritev       = memdisk_co_pwritev,
    .co_pwrite_zeroes = memdisk_co_pwrite_zeroes,
    .co_pdiscard      = memdisk_co_pdiscard,
    .co_flush         = memdisk_co_flush,
    .co_getlength     = memdisk_co_getlength,
    .co_truncate      = memdisk_co_truncate,
    .truncated_is_zero = memdisk_truncated_is_zero,
    .co_extend        = memdisk_co_extend,
};

static void memdisk_init(void)
{
    bdrv_register(&bdrv_memdisk);
}

block_init(memdisk_init);
