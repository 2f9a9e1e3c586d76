/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "block/block.h"
#include "block/protocols/file/new-file-internal.h"
#include "qemu/aio.h"
#include "qemu/log.h"

void (*new_file_note)(const char *filename, const char *format, const BdrvCreateOptions *create);

const char *any_fn new_file_name(const NewFile *t)
{
    return t->filename;
}

bool any_fn new_file_has_name(const NewFile *t)
{
    return t->named;
}

BdrvFileId any_fn file_id_of_stat(const struct stat *st)
{
    return S_ISBLK(st->st_mode) ? (BdrvFileId){ .dev = st->st_rdev }
                                : (BdrvFileId){ .dev = st->st_dev, .ino = st->st_ino };
}

BdrvFileId any_fn new_file_id(const NewFile *t)
{
    return file_id_of_stat(&t->st);
}

bool any_fn file_id_equal(BdrvFileId a, BdrvFileId b)
{
    return a.dev == b.dev && a.ino == b.ino;
}

bool blocking_fn file_id_of_path(const char *path, BdrvFileId *ret_id)
{
    struct stat st;

    if (stat(path, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
        return false;
    }
    *ret_id = file_id_of_stat(&st);
    return true;
}

typedef struct IdTask {
    const char *path;
    BdrvFileId id;
} IdTask;

static int blocking_fn id_in_thread(void *opaque)
{
    IdTask *t = opaque;

    return file_id_of_path(t->path, &t->id);
}

bool co_main_fn file_id_of_path_co(const char *path, BdrvFileId *ret_id)
{
    IdTask t = { .path = path };
    bool found = thread_pool_co_run(id_in_thread, &t);

    *ret_id = t.id;
    return found;
}

bool any_fn new_file_equal(const NewFile *a, const NewFile *b)
{
    if (!a->named && !b->named) {
        return file_id_equal(file_id_of_stat(&a->dir_st), file_id_of_stat(&b->dir_st)) &&
               strcmp(a->base, b->base) == 0;
    }
    return file_id_equal(new_file_id(a), new_file_id(b));
}

const char *any_fn new_file_driver(const NewFile *t)
{
    return S_ISBLK(t->st.st_mode) ? "host_device" : "file";
}

/* ---- prepare ---- */

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode)  ? "it is a directory" :
           S_ISFIFO(mode) ? "it is a FIFO" :
           S_ISSOCK(mode) ? "it is a socket" :
           S_ISCHR(mode)  ? "it is a character device" : NULL;
}

/* May @st be written over? 0, -EEXIST, or -EINVAL with @t->refused. */
static int check_usable(NewFile *t, const struct stat *st)
{
    t->refused = kind_of(st->st_mode);
    if (t->refused) {
        return -EINVAL;
    }
    return S_ISREG(st->st_mode) && st->st_size > 0 ? -EEXIST : 0;
}

static int blocking_fn open_existing(NewFile *t)
{
    struct stat st;

    /* Look before opening: to open a FIFO or a tape is to do something to it. */
    if (fstatat(t->dir_fd, t->base, &st, 0) < 0) {
        return -errno;
    }
    int ret = check_usable(t, &st);
    if (ret < 0) {
        return ret;
    }
    t->fd = openat(t->dir_fd, t->base, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return t->fd < 0 ? -errno : 0;
}

/*
 * A new file: one without a name, where the file system has such, which gets its name when it is
 * complete. 0, -EEXIST if the name is taken, -errno.
 */
static int blocking_fn create_new(NewFile *t)
{
    struct stat st;

    t->named = true;
    if (fstatat(t->dir_fd, t->base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        return -EEXIST;
    }
    if (errno != ENOENT) {
        return -errno;
    }
    t->fd = openat(t->dir_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0644);
    if (t->fd >= 0) {
        t->named = false;
    } else {
        t->fd = openat(t->dir_fd, t->base, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    }
    t->created = t->fd >= 0;
    return t->created ? 0 : -errno;
}

static int blocking_fn prepare_in_thread(void *opaque)
{
    NewFile *t = opaque;
    g_autofree char *dir = g_path_get_dirname(t->filename);
    int ret;

    t->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->dir_fd < 0) {
        return -errno;
    }
    ret = create_new(t);
    if (ret == -EEXIST) {
        ret = open_existing(t);
    }
    if (ret < 0) {
        return ret;
    }
    if (fstat(t->fd, &t->st) < 0 || fstat(t->dir_fd, &t->dir_st) < 0) {
        return -errno;
    }
    return t->created ? 0 : check_usable(t, &t->st);
}

static void blocking_fn target_free(NewFile *t)
{
    if (t->fd >= 0) {
        close(t->fd);
    }
    if (t->dir_fd >= 0) {
        close(t->dir_fd);
    }
    g_free(t->base);
    g_free(t->filename);
    g_free(t);
}

NewFile *co_main_fn new_file_prepare(const char *filename, Error **errp)
{
    NewFile *t = g_new0(NewFile, 1);

    t->dir_fd = t->fd = -1;
    t->filename = bdrv_path_combine(NULL, filename);
    t->base = g_path_get_basename(t->filename);
    if (g_str_has_suffix(filename, "/")) {
        error_setg(errp, "Cannot create '%s': it is a directory name", filename);
        new_file_abort(t);
        return NULL;
    }
    if (strlen(t->filename) > BDRV_MAX_BACKING_NAME) {
        error_setg(errp, "Cannot create '%s': its name has more than the %d bytes that a "
                   "snapshot on top of it can record", filename, BDRV_MAX_BACKING_NAME);
        new_file_abort(t);
        return NULL;
    }
    int ret = thread_pool_co_run(prepare_in_thread, t);
    if (ret == 0) {
        return t;
    }
    if (t->refused) {
        error_setg(errp, "Cannot create '%s': %s", filename, t->refused);
    } else {
        error_setg_errno(errp, -ret, "Cannot create '%s'", filename);
    }
    new_file_abort(t);
    return NULL;
}

typedef struct DupTask {
    NewFile *target;
    bool direct;
    int fd;
} DupTask;

/*
 * The same description, not another one: the locks that the node takes are on @t's descriptor as
 * well, and stay from before the first write until the undo is done, although the node is closed
 * before it.
 */
static int blocking_fn dup_in_thread(void *opaque)
{
    DupTask *t = opaque;

    t->fd = fcntl(t->target->fd, F_DUPFD_CLOEXEC, 0);
    if (t->fd < 0) {
        return -errno;
    }
    if (fcntl(t->fd, F_SETFL, t->direct ? O_DIRECT : 0) < 0) {
        int ret = -errno;
        close(t->fd);
        return ret;
    }
    return 0;
}

int co_main_fn new_file_dup(NewFile *t, bool direct, Error **errp)
{
    DupTask task = { .target = t, .direct = direct };
    int ret = thread_pool_co_run(dup_in_thread, &task);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot open '%s'%s", t->filename,
                         direct ? " with cache.direct=on" : "");
        return -1;
    }
    return task.fd;
}

static int blocking_fn claim_in_thread(void *opaque)
{
    NewFile *t = opaque;
    struct stat st;

    if (fstat(t->fd, &st) < 0) {
        return -errno;
    }
    return S_ISREG(st.st_mode) && st.st_size > 0 ? -EEXIST : 0;
}

bool co_main_fn new_file_claim(NewFile *t, Error **errp)
{
    int ret = thread_pool_co_run(claim_in_thread, t);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot create '%s'", t->filename);
        return false;
    }
    t->claimed = true;
    return true;
}

static int blocking_fn nocow_in_thread(void *opaque)
{
    NewFile *t = opaque;
    int flags;

    if (ioctl(t->fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_NOCOW_FL;
        ioctl(t->fd, FS_IOC_SETFLAGS, &flags);
    }
    return 0;
}

void co_main_fn new_file_set_nocow(NewFile *t)
{
    thread_pool_co_run(nocow_in_thread, t);
}

/* ---- finish ---- */

typedef struct ReserveTask {
    int fd;
    int64_t offset, bytes;
} ReserveTask;

static int blocking_fn reserve_in_thread(void *opaque)
{
    ReserveTask *r = opaque;

    if (fallocate(r->fd, FALLOC_FL_KEEP_SIZE, r->offset, r->bytes) == 0) {
        return 0;
    }
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL ? 0 : -errno;
}

bool co_main_fn new_file_reserve(NewFile *t, int64_t offset, int64_t bytes, Error **errp)
{
    ReserveTask r = { t->fd, offset, bytes };
    int ret = S_ISBLK(t->st.st_mode) ? 0 : thread_pool_co_run(reserve_in_thread, &r);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot reserve space for the first writes to '%s'",
                         t->filename);
    }
    return ret == 0;
}

/* ---- the end ---- */

static int blocking_fn abort_in_thread(void *opaque)
{
    NewFile *t = opaque;
    int ret = new_file_undo(t);

    if (ret < 0) {
        log_line("cannot undo the creation of '%s': %s", t->filename, g_strerror(-ret));
    }
    target_free(t);
    return 0;
}

void co_main_fn new_file_abort(NewFile *t)
{
    if (t) {
        thread_pool_co_run(abort_in_thread, t);
    }
}

static int blocking_fn free_in_thread(void *opaque)
{
    target_free(opaque);            /* the last close of a file may have to write */
    return 0;
}

void co_main_fn new_file_commit(NewFile *t)
{
    if (t) {
        thread_pool_co_run(free_in_thread, t);
    }
}
