/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Space in a file: zeroes, holes, length. */
#include "qemu/osdep.h"

#include <linux/falloc.h>

#include "block/protocols/file/file-internal.h"
#include "qemu/aio.h"

/* ---- zeroes and holes ---- */

/* Will never work with this file, whatever the range. */
static bool is_lacking(int ret)
{
    return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -ENODEV || ret == -ENOTTY;
}

/*
 * fallocate() with @mode, unless *@lacks (atomic) says that it is not there.  -ENOTSUP: it is not,
 * or does not like this one range: EINVAL says nothing about the next one.
 */
static int co_fn try_fallocate(FileState *s, bool *lacks, int mode, int64_t offset, int64_t bytes)
{
    if (__atomic_load_n(lacks, __ATOMIC_RELAXED)) {
        return -ENOTSUP;
    }
    file_enter_change(s, true);
    file_note_cached(s, offset, bytes);
    int ret = aio_co_fallocate(s->fd, mode, offset, bytes, s->aio_flags);
    file_note_cached(s, offset, bytes);
    file_leave_change(s, true);
    if (is_lacking(ret)) {
        __atomic_store_n(lacks, true, __ATOMIC_RELAXED);
    }
    return is_lacking(ret) || ret == -EINVAL ? -ENOTSUP : ret;
}

static int co_fn punch_hole(FileState *s, int64_t offset, int64_t bytes)
{
    return try_fallocate(s, &s->lacks_punch_hole, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         offset, bytes);
}

static int co_fn zero_range(FileState *s, int64_t offset, int64_t bytes)
{
    return try_fallocate(s, &s->lacks_zero_range, FALLOC_FL_ZERO_RANGE, offset, bytes);
}

static int co_fn allocate(FileState *s, int64_t offset, int64_t bytes)
{
    bool lacks = false;

    return try_fallocate(s, &lacks, 0, offset, bytes);
}

int co_fn file_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                                unsigned flags)
{
    FileState *s = bs->opaque;
    bool inside = offset + bytes <= bdrv_length(bs);
    int ret = -ENOTSUP;

    if (flags & BDRV_REQ_MAY_UNMAP && inside) {
        ret = punch_hole(s, offset, bytes);
    }
    if (ret == -ENOTSUP) {
        ret = zero_range(s, offset, bytes);
    }
    if (ret == -ENOTSUP && !s->is_device) {
        /* No ZERO_RANGE (tmpfs): a hole, and then blocks for it. */
        ret = punch_hole(s, offset, bytes);
        if (ret == 0) {
            ret = allocate(s, offset, bytes);
        }
    }
    if (ret == 0) {
        bdrv_note_longer(bs, offset + bytes);
    }
    return ret;
}

int co_fn file_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return punch_hole(bs->opaque, offset, bytes);
}

/* ---- what is allocated ---- */

typedef struct SeekTask {
    int fd;
    int64_t offset, bytes;
    int64_t ret_bytes;
} SeekTask;

/* BDRV_STATUS_ flags of the run that begins at the offset, and its length. */
static int blocking_fn seek_in_thread(void *opaque)
{
    SeekTask *t = opaque;
    int64_t limit = t->offset + t->bytes;
    int64_t data = lseek(t->fd, t->offset, SEEK_DATA);

    if (data < 0 && errno == ENXIO) {           /* a hole up to the end of the file */
        t->ret_bytes = t->bytes;
        return BDRV_STATUS_ZERO;
    }
    if (data < 0) {                             /* cannot tell: all data */
        t->ret_bytes = t->bytes;
        return BDRV_STATUS_DATA;
    }
    if (data > t->offset) {
        t->ret_bytes = MIN(data, limit) - t->offset;
        return BDRV_STATUS_ZERO;
    }
    int64_t hole = lseek(t->fd, t->offset, SEEK_HOLE);
    t->ret_bytes = hole > t->offset ? MIN(hole, limit) - t->offset : t->bytes;
    return BDRV_STATUS_DATA;
}

int co_fn file_co_block_status(BlockDriverState *bs, int64_t offset, int64_t bytes,
                               int64_t *ret_bytes)
{
    FileState *s = bs->opaque;

    if (s->is_device) {
        *ret_bytes = bytes;
        return BDRV_STATUS_DATA;
    }
    SeekTask t = { .fd = s->fd, .offset = offset, .bytes = bytes };
    bool entered = file_enter(s, true);
    int ret = thread_pool_co_run_io(seek_in_thread, &t);
    file_leave(s, entered);
    *ret_bytes = t.ret_bytes;
    return ret;
}

/* ---- length ---- */

typedef struct LengthTask {
    int fd;
    int64_t length;
} LengthTask;

static int blocking_fn length_in_thread(void *opaque)
{
    LengthTask *t = opaque;

    t->length = file_fd_length(t->fd);
    return 0;
}

int64_t co_fn file_co_getlength(BlockDriverState *bs)
{
    FileState *s = bs->opaque;
    LengthTask t = { .fd = s->fd };

    file_run(s, length_in_thread, &t);
    return t.length;
}

typedef struct TruncateTask {
    int fd;
    int64_t length;
} TruncateTask;

static int blocking_fn truncate_in_thread(void *opaque)
{
    TruncateTask *t = opaque;

    return ftruncate(t->fd, t->length) < 0 ? -errno : 0;
}

/* Preallocation goes in steps, so that it can be interrupted.  What is written is synced in
 * between: else the end would wait for all of it at once. */
#define WRITE_STEP MiB
#define SYNC_STEP (64 * MiB)
#define RESERVE_STEP (1 * GiB)

void main_fn file_interrupt(BlockDriverState *bs, bool on)
{
    __atomic_store_n(&FILE_STATE(bs)->interrupted, on, __ATOMIC_RELAXED);
}

/* Write zeroes to [@offset, @end): the one way to have blocks that are written. */
static int co_fn write_zeroes_fully(BlockDriverState *bs, int64_t offset, int64_t end)
{
    FileState *s = bs->opaque;
    size_t chunk = MIN(end - offset, WRITE_STEP);
    void *buf = bdrv_try_blockalign(chunk);
    int ret = buf ? 0 : -ENOMEM;

    if (buf) {
        memset(buf, 0, chunk);
    }
    for (int64_t unsynced = 0; ret == 0 && offset < end; ) {
        struct iovec iov = { .iov_base = buf, .iov_len = MIN(end - offset, (int64_t)chunk) };
        ssize_t n = aio_co_pwritev(s->fd, &iov, 1, offset, s->aio_flags);
        if (n <= 0) {
            ret = n < 0 ? n : -ENOSPC;
            break;
        }
        offset += n;
        unsynced += n;
        if (unsynced >= SYNC_STEP) {
            ret = file_co_flush(bs, 0);
            unsynced = 0;
        }
        if (__atomic_load_n(&s->interrupted, __ATOMIC_RELAXED)) {
            ret = -ECANCELED;
        }
    }
    free(buf);
    return ret;
}

static int co_fn reserve(FileState *s, int64_t offset, int64_t end)
{
    int ret = 0;

    while (ret == 0 && offset < end) {
        int64_t n = MIN(end - offset, RESERVE_STEP);
        ret = __atomic_load_n(&s->interrupted, __ATOMIC_RELAXED) ? -ECANCELED
                                                                 : allocate(s, offset, n);
        offset += n;
    }
    return ret;
}

/* Blocks for what is new.  A file system that cannot reserve them is made to by writing. */
static int co_fn preallocate(BlockDriverState *bs, int64_t from, int64_t to, BdrvPrealloc prealloc)
{
    int ret = prealloc == BDRV_PREALLOC_FALLOC ? reserve(bs->opaque, from, to) : -ENOTSUP;

    return ret == -ENOTSUP ? write_zeroes_fully(bs, from, to) : ret;
}

bool any_fn file_truncated_is_zero(const BlockDriverState *bs)
{
    return !FILE_STATE(bs)->is_device;
}

int co_fn file_co_extend(BlockDriverState *bs, int64_t length)
{
    FileState *s = bs->opaque;

    if (s->is_device) {
        return -ENOTSUP;
    }
    /* Not ftruncate(): by the time it is done, a write may have made the file longer still. */
    int ret = allocate(s, length - 1, 1);
    if (ret == 0) {
        bdrv_note_longer(bs, length);
    }
    return ret;
}

bool co_fn file_co_truncate(BlockDriverState *bs, int64_t length, BdrvPrealloc prealloc,
                            Error **errp)
{
    FileState *s = bs->opaque;
    int64_t old = file_co_getlength(bs);
    TruncateTask t = { .fd = s->fd, .length = length };
    int ret;

    if (old < 0) {
        error_setg_errno(errp, -old, "Cannot get the length of '%s'", bs->filename);
        return false;
    }
    if (prealloc == BDRV_PREALLOC_METADATA) {
        error_setg(errp, "Cannot resize '%s': unsupported preallocation mode 'metadata'",
                   bs->filename);
        return false;
    }
    if (s->is_device) {
        if (length > old) {
            error_setg(errp, "Cannot grow device file '%s' to %" PRId64 " bytes: it has "
                       "%" PRId64, bs->filename, length, old);
            return false;
        }
        return true;
    }
    if (length > old && prealloc != BDRV_PREALLOC_OFF) {
        ret = preallocate(bs, old, length, prealloc);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not preallocate '%s'", bs->filename);
            t.length = old;         /* as it was */
            thread_pool_co_run(truncate_in_thread, &t);
            return false;
        }
    }
    file_note_cached(s, old, length);
    ret = thread_pool_co_run(truncate_in_thread, &t);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to resize '%s'", bs->filename);
        return false;
    }
    return true;
}
