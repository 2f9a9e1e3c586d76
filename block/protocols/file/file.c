/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file and host_device: a local file or block device. Opening, reading, writing, flushing. */
#include "qemu/osdep.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

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
} OpenTask;

static int open_in_thread(void *opaque)
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
    t->length = S_ISREG(t->st.st_mode) || S_ISBLK(t->st.st_mode) ? file_fd_length(t->fd) : 0;
    return t->length < 0 ? (int)t->length : 0;
}

int64_t any_fn file_fd_length(int fd)
{
    struct stat st;
    uint64_t bytes;

    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISBLK(st.st_mode)) {
        return st.st_size;
    }
    return ioctl(fd, BLKGETSIZE64, &bytes) < 0 ? -errno : (int64_t)bytes;
}

void any_fn file_direct_limits(int fd, const struct stat *st, BdrvLimits *l)
{
    uint32_t offset_align = 4096, mem_align = 4096;
#ifdef STATX_DIOALIGN
    struct statx sx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
        sx.stx_mask & STATX_DIOALIGN && sx.stx_dio_offset_align) {
        offset_align = MAX(512, sx.stx_dio_offset_align);
        mem_align = MAX(1, sx.stx_dio_mem_align);
    }
#else
    int sector;

    if (S_ISBLK(st->st_mode) && ioctl(fd, BLKSSZGET, &sector) == 0 && sector >= 512) {
        offset_align = sector;
    }
#endif
    l->request_alignment = offset_align;
    l->mem_alignment = mem_align;
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
    *s = (FileState){ .fd = -1, .new_fd = -1, .old_fd = -1 };
    if (!choose_aio(s, o->aio, opts->cache_direct, errp) || !open_fd(bs, opts, &t, errp)) {
        if (t.fd >= 0) {
            close(t.fd);
        }
        return false;
    }
    s->fd = t.fd;
    s->is_device = S_ISBLK(t.st.st_mode);
    s->id = file_id_of_stat(&t.st);
    s->locking = o->locking != FILE_LOCKING_OFF;
    bs->aio = o->aio;
    bs->locking = o->locking;
    bs->length = t.length;
    bs->filename = g_strdup(o->filename);
    bs->path = bdrv_path_combine(NULL, o->filename);
    if (bs->cache_direct) {
        file_direct_limits(s->fd, &t.st, &bs->limits);
    }
    return true;
}

static int co_main_fn file_close(BlockDriverState *bs)
{
    return close(FILE_STATE(bs)->fd) < 0 ? -errno : 0;
}

static bool main_fn file_get_identity(BlockDriverState *bs, BdrvFileId *ret_id)
{
    *ret_id = FILE_STATE(bs)->id;
    return true;
}

/* ---- data ---- */

/* Moves @iov[0 .. niov) at @offset, completely or up to the end of the file; -errno or bytes. */
typedef ssize_t TransferFn(int fd, const struct iovec *iov, int niov, int64_t offset, int flags);

static ssize_t co_fn transfer(FileState *s, TransferFn *fn, int64_t offset, IoVec *qiov,
                              int flags)
{
    ssize_t n = fn(s->fd, qiov->iov, MIN(qiov->niov, IOV_MAX), offset, flags);
    size_t done = n;

    /* Short transfers are rare: a signal, a full disk, a very long vector. */
    while (n > 0 && done < qiov->size) {
        g_auto(IoVec) rest;
        iovec_init_slice(&rest, qiov, done, qiov->size - done);
        n = fn(s->fd, rest.iov, MIN(rest.niov, IOV_MAX), offset + done, flags);
        done += MAX(n, 0);
    }
    return n < 0 ? n : (ssize_t)done;
}

static int co_fn file_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov)
{
    FileState *s = bs->opaque;
    ssize_t n = transfer(s, aio_co_preadv, offset, qiov, s->aio_flags);

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

static int co_fn file_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes, IoVec *qiov,
                              unsigned flags)
{
    FileState *s = bs->opaque;
    bool dsync = flags & BDRV_REQ_FUA && !bs->cache_no_flush;
    ssize_t n = transfer(s, aio_co_pwritev, offset, qiov,
                         s->aio_flags | (dsync ? AIO_DSYNC : 0));

    if (n < 0) {
        return n;
    }
    if (n < bytes) {
        return -ENOSPC;             /* the end of a device */
    }
    file_note_length(bs, offset + bytes);
    return 0;
}

static int co_fn file_flush(BlockDriverState *bs, unsigned flags)
{
    FileState *s = bs->opaque;
    int err = __atomic_load_n(&s->flush_error, __ATOMIC_RELAXED);

    if (bs->cache_no_flush || err) {
        return err;
    }
    err = aio_co_fdatasync(s->fd, s->aio_flags);
    if (err < 0) {
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
    .reopen_abort       = file_reopen_abort,            \
    .reopen_clean       = file_reopen_clean,            \
    .co_claims_prepare  = file_claims_prepare,          \
    .claims_commit      = file_claims_commit,           \
    .claims_abort       = file_claims_abort,            \
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
    .get_identity       = file_get_identity,            \
    .get_locks          = file_get_locks

static const BlockDriver bdrv_file = { .name = "file", FILE_DRIVER_OPS };
static const BlockDriver bdrv_host_device = { .name = "host_device", FILE_DRIVER_OPS };

static void file_init(void)
{
    bdrv_register(&bdrv_file);
    bdrv_register(&bdrv_host_device);
}

block_init(file_init);
