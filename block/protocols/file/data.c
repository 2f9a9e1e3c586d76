/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading, writing and flushing a file. */
#include "qemu/osdep.h"

#include "block/protocols/file/file-internal.h"
#include "qemu/aio.h"

/* Moves @iov[0 .. niov) at @offset, completely or up to the end of the file; -errno or bytes. */
typedef ssize_t TransferFn(int fd, const struct iovec *iov, int niov, int64_t offset, int flags);

static ssize_t co_fn transfer(int fd, TransferFn *fn, int64_t offset, IoVec *qiov, int flags)
{
    ssize_t n = fn(fd, qiov->iov, MIN(qiov->niov, IOV_MAX), offset, flags);
    size_t done = n;

    /* Short transfers are rare: a signal, a full disk, a very long vector. */
    while (n > 0 && done < qiov->size) {
        g_auto(IoVec) rest;
        iovec_init_slice(&rest, qiov, done, qiov->size - done);
        n = fn(fd, rest.iov, MIN(rest.niov, IOV_MAX), offset + done, flags);
        done += MAX(n, 0);
    }
    return n < 0 ? n : (ssize_t)done;
}

/*
 * Past the page cache a request is tried without a thread first: most need none, and so need not
 * count among those that wait.
 */
static ssize_t co_fn try_direct(const FileState *s, int fd, TransferFn *fn, int64_t offset,
                                IoVec *qiov, int flags)
{
    return s->traits.bypasses_cache && fd == s->fd
               ? transfer(fd, fn, offset, qiov, s->aio_flags | flags | AIO_NOWAIT) : -EAGAIN;
}

int co_fn file_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    FileState *s = bs->opaque;
    ssize_t n = try_direct(s, s->fd, aio_co_preadv, offset, qiov, 0);

    if (n == -EAGAIN) {
        bool entered = file_enter(s, s->traits.bypasses_cache);
        n = transfer(s->fd, aio_co_preadv, offset, qiov, s->aio_flags);
        file_leave(s, entered);
    }
    if (n < 0) {
        return n;
    }
    if (n < bytes) {
        iovec_memset(qiov, n, 0, bytes - n);
    }
    return 0;
}

static int co_fn write_all(FileState *s, int fd, int64_t offset, IoVec *qiov, int flags)
{
    ssize_t n = try_direct(s, fd, aio_co_pwritev, offset, qiov, flags);

    if (n == -EAGAIN) {
        bool cached = !s->traits.bypasses_cache || fd != s->fd;
        file_enter_change(s, cached);
        n = transfer(fd, aio_co_pwritev, offset, qiov, s->aio_flags | flags);
        file_leave_change(s, cached);
    }
    /* Short: the end of a device. */
    return n < 0 ? (int)n : (size_t)n < qiov->size ? -ENOSPC : 0;
}

static int blocking_fn open_tail_in_thread(void *opaque)
{
    FileState *s = opaque;
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int co_fn tail_fd(FileState *s)
{
    int none = -1, fd = __atomic_load_n(&s->tail_fd, __ATOMIC_ACQUIRE);

    if (fd < 0) {
        fd = thread_pool_co_run(open_tail_in_thread, s);
        if (fd >= 0 && !__atomic_compare_exchange_n(&s->tail_fd, &none, fd, false,
                                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            file_close_fds(fd, -1);
            fd = none;
        }
    }
    return fd;
}

/*
 * The part of a block in which the file ends, from @offset.  With O_DIRECT it could be written as a
 * whole block only, and the file would be longer.  It is on the disk on return, so that nothing
 * stays in the page cache.
 */
static int co_fn write_tail(BlockDriverState *bs, int64_t offset, IoVec *qiov)
{
    FileState *s = bs->opaque;
    int fd = tail_fd(s);

    return fd < 0 ? fd : write_all(s, fd, offset, qiov, bs->cache_no_flush ? 0 : AIO_DSYNC);
}

int co_fn file_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                          unsigned flags)
{
    FileState *s = bs->opaque;
    int dsync = flags & BDRV_REQ_FUA && !bs->cache_no_flush ? AIO_DSYNC : 0;
    int64_t tail = bytes & (bs->limits.request_alignment - 1);
    int ret = 0;

    if (tail == 0) {
        ret = write_all(s, s->fd, offset, qiov, dsync);
    } else {
        g_auto(IoVec) whole, part;

        iovec_init_slice(&whole, qiov, 0, bytes - tail);
        iovec_init_slice(&part, qiov, bytes - tail, tail);
        if (bytes > tail) {
            ret = write_all(s, s->fd, offset, &whole, dsync);
        }
        ret = ret ?: write_tail(bs, offset + bytes - tail, &part);
    }
    if (ret == 0) {
        bdrv_note_longer(bs, offset + bytes);
    }
    return ret;
}

/*
 * A failed sync may have dropped from the page cache what it could not write, and the next one
 * knows nothing of that: so the failure stays.  Unless nothing was there: then whatever the failure
 * was, trying again shows.
 */
int co_fn file_co_flush(BlockDriverState *bs, unsigned flags)
{
    FileState *s = bs->opaque;
    int err = __atomic_load_n(&s->flush_error, __ATOMIC_RELAXED);

    if (bs->cache_no_flush || err) {
        return err;
    }
    bool cached = __atomic_exchange_n(&s->used_cache, false, __ATOMIC_SEQ_CST);
    bool entered = file_enter(s, true);
    err = aio_co_fdatasync(s->fd, s->aio_flags);
    file_leave(s, entered);
    if (err < 0 && (cached || !s->traits.bypasses_cache ||
                    __atomic_load_n(&s->used_cache, __ATOMIC_SEQ_CST))) {
        __atomic_store_n(&s->flush_error, err, __ATOMIC_RELAXED);
    }
    return err;
}
