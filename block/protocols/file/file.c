/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file and host_device, a local file or block device: opening, closing, the driver's table. */
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
    co_limit_init(&s->changing, FILE_MAX_CHANGING);
    if (!choose_aio(s, o->aio, opts->cache_direct, errp) || !open_fd(bs, opts, &t, errp)) {
        file_close_fds(t.fd, -1);
        co_limit_destroy(&s->waiting);
        co_limit_destroy(&s->changing);
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

static int co_main_fn file_close(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    file_finish_look(s);
    int fd = s->fd;
    s->fd = -1;                     /* a query may still see the node */
    co_limit_destroy(&s->waiting);
    co_limit_destroy(&s->changing);
    file_close_fds(s->tail_fd, -1);
    return file_close_fd(fd);
}

static bool main_fn file_get_identity(BlockDriverState *bs, BdrvFileId *ret_id)
{
    *ret_id = FILE_STATE(bs)->id;
    return true;
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
    .co_preadv          = file_co_preadv,               \
    .co_pwritev         = file_co_pwritev,              \
    .co_pwrite_zeroes   = file_co_pwrite_zeroes,        \
    .co_pdiscard        = file_co_pdiscard,             \
    .co_block_status    = file_co_block_status,         \
    .co_flush           = file_co_flush,                \
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
