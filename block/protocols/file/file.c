/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file and host_device: a local file or block device. Opening, reading, writing, flushing. */
#include "qemu/osdep.h"

#include "block/protocols/file/file-internal.h"
#include "block/new-file.h"
#include "qemu/aio.h"

/* ---- open ---- */

typedef struct OpenTask {
    const char *filename;
    int flags;
    int fd;
    struct stat st;
    int64_t length;
    FileTraits traits;
} OpenTask;

static int blocking_fn open_in_thread(void *opaque)
{
    OpenTask *t = opaque;

    if (t->fd < 0) {
        /* O_NONBLOCK: a FIFO or a device that is not ready must not hold us up. */
        t->fd = open(t->filename, t->flags | O_CLOEXEC | O_NONBLOCK);
        if (t->fd < 0) {
            return -errno;
        }
        fcntl(t->fd, F_SETFL, t->flags & O_DIRECT);
    }
    if (fstat(t->fd, &t->st) < 0) {
        return -errno;
    }
    if (S_ISREG(t->st.st_mode) || S_ISBLK(t->st.st_mode)) {
        t->length = file_fd_length(t->fd);
        file_get_traits(t->fd, &t->st, t->flags & O_DIRECT, &t->traits);
    }
    return MIN(t->length, 0);
}

static bool check_type(const BlockDriverState *bs, const OpenTask *t, Error **errp)
{
    if (strcmp(bs->drv->name, "host_device") == 0) {
        if (!S_ISBLK(t->st.st_mode)) {
            error_setg(errp, "'host_device' driver requires '%s' to be a block device",
                       t->filename);
            return false;
        }
    } else if (!S_ISREG(t->st.st_mode) && !S_ISBLK(t->st.st_mode)) {
        error_setg(errp, "'file' driver requires '%s' to be a regular file", t->filename);
        return false;
    }
    return true;
}

static bool read_only_would_help(int ret)
{
    return ret == -EACCES || ret == -EROFS || ret == -EPERM;
}

static bool co_main_fn open_fd(BlockDriverState *bs, const BdrvOpenOptions *opts, OpenTask *t,
                               Error **errp)
{
    int extra = bs->cache_direct ? O_DIRECT : 0;
    int ret;

    t->flags = (bs->read_only ? O_RDONLY : O_RDWR) | extra;
    ret = thread_pool_co_run(open_in_thread, t);
    if (read_only_would_help(ret) && !bs->read_only && opts->auto_read_only) {
        bs->read_only = true;
        t->flags = O_RDONLY | extra;
        ret = thread_pool_co_run(open_in_thread, t);
    }
    if (ret == -EINVAL && bs->cache_direct) {
        error_setg_errno(errp, -ret, "Could not open '%s' with cache.direct=on: its file "
                         "system does not support O_DIRECT", t->filename);
        return false;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not open '%s'", t->filename);
        return false;
    }
    return check_type(bs, t, errp);
}

bool any_fn file_check_native(FileAio aio, bool cache_direct, Error **errp)
{
    if (aio == FILE_AIO_NATIVE && !cache_direct) {
        error_setg(errp, "aio=native was specified, but it requires cache.direct=on, "
                   "which was not specified.");
        return false;
    }
    return true;
}

static bool choose_aio(FileState *s, FileAio aio, bool cache_direct, Error **errp)
{
    if (!file_check_native(aio, cache_direct, errp)) {
        return false;
    }
    if (aio == FILE_AIO_IO_URING &&
        aio_context_backend(aio_context_current()) != AIO_BACKEND_IO_URING) {
        error_setg(errp, "aio=io_uring was specified, but io_uring cannot be used here");
        return false;
    }
    s->aio_flags = aio == FILE_AIO_THREADS ? AIO_THREADS : 0;
    return true;
}

static bool co_main_fn file_open(BlockDriverState *bs, const BdrvOpenOptions *opts, Error **errp)
{
    const FileOpenOptions *o = &opts->u.file;
    FileState *s = bs->opaque;
    OpenTask t = { .filename = o->filename, .fd = o->fd };

    if (!o->filename || !o->filename[0]) {
        error_setg(errp, "The 'file' block driver requires a file name");
        return false;
    }
    *s = (FileState){ .fd = -1, .tail_fd = -1, .new_fd = -1, .old_fd = -1, .old_tail_fd = -1 };
    co_limit_init(&s->waiting, FILE_MAX_WAITING);
    if (!choose_aio(s, o->aio, opts->cache_direct, errp) || !open_fd(bs, opts, &t, errp)) {
        file_close_fds(t.fd, -1);
        co_limit_destroy(&s->waiting);
        return false;
    }
    s->fd = t.fd;
    s->allocated = t.st.st_blocks * 512;
    s->is_device = S_ISBLK(t.st.st_mode);
    s->id = file_id_of_stat(&t.st);
    s->locking = o->locking != FILE_LOCKING_OFF;
    bs->aio = o->aio;
    bs->locking = o->locking;
    bs->length = t.length;
    bs->filename = g_strdup(o->filename);
    bs->path = bdrv_path_combine(NULL, o->filename);
    s->traits = t.traits;
    s->aio_flags |= s->traits.is_local ? 0 : AIO_SLOW;
    bs->limits = t.traits.limits;
    return true;
}

int co_fn file_run(const FileState *s, int (*fn)(void *opaque), void *opaque)
{
    return s->traits.is_local ? fn(opaque) : thread_pool_co_run(fn, opaque);
}

static int blocking_fn close_in_thread(void *opaque)
{
    return close(*(int *)opaque) < 0 ? -errno : 0;
}

void co_fn file_close_fds(int fd, int fd2)
{
    int fds[] = { fd, fd2 };

    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (fds[i] >= 0) {
            thread_pool_co_run(close_in_thread, &fds[i]);
        }
    }
}

static int co_main_fn file_close(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    file_finish_look(s);
    int fd = s->fd;
    s->fd = -1;                     /* a query may still see the node */
    co_limit_destroy(&s->waiting);
    file_close_fds(s->tail_fd, -1);
    return thread_pool_co_run(close_in_thread, &fd);
}

static bool main_fn file_get_identity(BlockDriverState *bs, BdrvFileId *ret_id)
{
    *ret_id = FILE_STATE(bs)->id;
    return true;
}

/* ---- data ---- */

bool co_fn file_enter(FileState *s, bool kernel_waits)
{
    bool enter = kernel_waits || s->aio_flags ||
                 aio_context_backend(aio_context_current()) == AIO_BACKEND_THREADS;

    if (enter) {
        co_limit_enter(&s->waiting);
    }
    return enter;
}

void co_fn file_leave(FileState *s, bool entered)
{
    if (entered) {
        co_limit_leave(&s->waiting);
    }
}

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

static int co_fn file_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    FileState *s = bs->opaque;
    bool entered = file_enter(s, false);
    ssize_t n = transfer(s->fd, aio_co_preadv, offset, qiov, s->aio_flags);

    file_leave(s, entered);
    if (n < 0) {
        return n;
    }
    if (n < bytes) {
        iovec_memset(qiov, n, 0, bytes - n);
    }
    return 0;
}

void any_fn file_note_length(BlockDriverState *bs, int64_t length)
{
    int64_t seen = __atomic_load_n(&bs->length, __ATOMIC_RELAXED);

    while (seen < length &&
           !__atomic_compare_exchange_n(&bs->length, &seen, length, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
    }
}

static int co_fn write_all(FileState *s, int fd, int64_t offset, IoVec *qiov, int flags)
{
    bool entered = file_enter(s, !s->traits.bypasses_cache || fd != s->fd);
    ssize_t n = transfer(fd, aio_co_pwritev, offset, qiov, s->aio_flags | flags);

    file_leave(s, entered);
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

static int co_fn file_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
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
        file_note_length(bs, offset + bytes);
    }
    return ret;
}

void any_fn file_note_cached(FileState *s, int64_t offset, int64_t bytes)
{
    if ((offset | bytes) & (s->traits.block_size - 1)) {
        __atomic_store_n(&s->used_cache, true, __ATOMIC_SEQ_CST);
    }
}

/*
 * A failed sync may have dropped from the page cache what it could not write, and the next one
 * knows nothing of that: so the failure stays.  Unless nothing was there: then whatever the failure
 * was, trying again shows.
 */
int co_fn file_flush(BlockDriverState *bs, unsigned flags)
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

static void file_options_init(BdrvOpenOptions *opts)
{
    opts->u.file.fd = -1;
}

static void file_options_clear(BdrvOpenOptions *opts)
{
    g_free(opts->u.file.filename);
}

#define FILE_DRIVER_OPS                                 \
    .instance_size      = sizeof(FileState),            \
    .is_protocol        = true,                         \
    .options_init       = file_options_init,            \
    .options_clear      = file_options_clear,           \
    .co_open            = file_open,                    \
    .co_close           = file_close,                   \
    .co_reopen_prepare  = file_reopen_prepare,          \
    .reopen_commit      = file_reopen_commit,           \
    .co_reopen_abort    = file_reopen_abort,            \
    .co_reopen_clean    = file_reopen_clean,            \
    .co_claims_prepare  = file_claims_prepare,          \
    .co_claims_commit   = file_claims_commit,           \
    .co_claims_abort    = file_claims_abort,            \
    .co_preadv          = file_preadv,                  \
    .co_pwritev         = file_pwritev,                 \
    .co_pwrite_zeroes   = file_co_pwrite_zeroes,        \
    .co_pdiscard        = file_co_pdiscard,             \
    .co_block_status    = file_co_block_status,         \
    .co_flush           = file_flush,                   \
    .co_getlength       = file_co_getlength,            \
    .co_truncate        = file_co_truncate,             \
    .truncated_is_zero  = file_truncated_is_zero,       \
    .co_extend          = file_co_extend,               \
    .interrupt          = file_interrupt,               \
    .get_identity       = file_get_identity,            \
    .get_allocated      = file_get_allocated,           \
    .refresh_allocated  = file_refresh_allocated,       \
    .get_locks          = file_get_locks

static const BlockDriver bdrv_file = { .name = "file", FILE_DRIVER_OPS };
static const BlockDriver bdrv_host_device = { .name = "host_device", FILE_DRIVER_OPS };

static void file_init(void)
{
    bdrv_register(&bdrv_file);
    bdrv_register(&bdrv_host_device);
}

block_init(file_init);
