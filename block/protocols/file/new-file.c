/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/new-file.h"
#include "qemu/aio.h"
#include "qemu/log.h"

struct NewFile {
    char *filename;                 /* absolute */
    char *base;                     /* last component */
    int dir_fd;                     /* the directory it is in */
    int fd;
    bool created;                   /* by us */
    bool named;                     /* has its name: always, unless created; main thread */
    bool linked;                    /* got its name just now; by the thread that does it */
    bool claimed;                   /* its locks are held, and it was empty under them */
    struct stat dir_st;             /* of the directory, if created */
    struct stat st;
    const char *refused;            /* why it cannot be used, if that is not an errno */
};

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

bool any_fn file_id_of_path(const char *path, BdrvFileId *ret_id)
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

static int id_in_thread(void *opaque)
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

static int open_existing(NewFile *t)
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
 * A new file: one without a name, where the file system has such, which gets its name when it is complete.
 * 0, -EEXIST if the name is taken, -errno.
 */
static int create_new(NewFile *t)
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

static int prepare_in_thread(void *opaque)
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

static void target_free(NewFile *t)
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
        target_free(t);
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
 * The same description, not another one: the locks that the node takes are on @t's descriptor as well,
 * and stay from before the first write until the undo is done, although the node is closed before it.
 */
static int dup_in_thread(void *opaque)
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

static int claim_in_thread(void *opaque)
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

/* ---- finish ---- */

static int sync_dir_in_thread(void *opaque)
{
    NewFile *t = opaque;

    if (!t->named) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", t->fd);
        if (linkat(AT_FDCWD, path, t->dir_fd, t->base, AT_SYMLINK_FOLLOW) < 0) {
            return -errno;
        }
        t->linked = true;
    }
    return fsync(t->dir_fd) < 0 ? -errno : 0;
}

bool co_main_fn new_file_sync_dir(NewFile *t, Error **errp)
{
    int ret = S_ISBLK(t->st.st_mode) ? 0 : thread_pool_co_run(sync_dir_in_thread, t);

    t->named |= t->linked;
    if (ret < 0 && !t->named) {
        error_setg_errno(errp, -ret, "Cannot create '%s'", t->filename);
    } else if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot sync the directory of '%s'", t->filename);
    }
    return ret == 0;
}

/* ---- undo ---- */

/* Does somebody else hold one of the locks by which programs claim images (lock.c)? */
static bool is_locked(int fd)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 200 };

    return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

/* 1: @name in the directory is the file that was created, 0: it is not, or -errno. */
static int is_ours(const NewFile *t, const char *name)
{
    struct stat st;

    if (fstatat(t->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    return st.st_dev == t->st.st_dev && st.st_ino == t->st.st_ino;
}

static bool lacks_flags(int err)
{
    return err == EINVAL || err == ENOSYS || err == EOPNOTSUPP;
}

/* Another name in the same directory; 0 or -errno.  @to is one that nobody else would choose. */
static int move_aside(const NewFile *t, const char *to)
{
    int ret = renameat2(t->dir_fd, t->base, t->dir_fd, to, RENAME_NOREPLACE);

    if (ret < 0 && lacks_flags(errno)) {
        ret = renameat(t->dir_fd, t->base, t->dir_fd, to);
    }
    return ret < 0 ? -errno : 0;
}

/* @from has its name again; -EEXIST if somebody has taken that meanwhile. */
static int move_back(const NewFile *t, const char *from)
{
    int ret = renameat2(t->dir_fd, from, t->dir_fd, t->base, RENAME_NOREPLACE);

    if (ret < 0 && lacks_flags(errno)) {
        ret = linkat(t->dir_fd, from, t->dir_fd, t->base, 0);
        if (ret == 0) {
            ret = unlinkat(t->dir_fd, from, 0);
        }
    }
    return ret < 0 ? -errno : 0;
}

/* What was moved aside to @aside: remove it if it is ours, else its name is given back.  0 or -errno. */
static int remove_or_give_back(const NewFile *t, const char *aside)
{
    int ret = is_ours(t, aside);

    if (ret > 0) {
        ret = unlinkat(t->dir_fd, aside, 0) < 0 ? -errno : 0;
        if (ret == 0) {
            return 0;
        }
    }
    int back = move_back(t, aside);
    if (back < 0) {
        log_line("'%s' in the directory of '%s' is a file that had that name until now and cannot get "
                 "it back: %s", aside, t->filename, g_strerror(-back));
    }
    return ret;
}

/*
 * Remove the name, if it leads to the file that was created.  Between a look and a removal another process
 * could rename a file of its own to the name; so the name is moved aside first, to where nobody else
 * gets at it, and looked at there.
 */
static int remove_name(const NewFile *t)
{
    g_autofree char *aside = g_strdup_printf(".undo-%d-%08x%08x", getpid(), g_random_int(),
                                             g_random_int());
    int ret = is_ours(t, t->base);

    if (ret > 0) {
        ret = move_aside(t, aside);
        ret = ret < 0 ? ret : remove_or_give_back(t, aside);
    }
    fsync(t->dir_fd);               /* if this fails: the name may come back after a power cut */
    return ret == -ENOENT ? 0 : ret;
}

static int abort_in_thread(void *opaque)
{
    NewFile *t = opaque;

    if (!t->created) {
        /* What was in it or in a device before is not this command's to take away. */
        return t->claimed && S_ISREG(t->st.st_mode) && ftruncate(t->fd, 0) < 0 ? -errno : 0;
    }
    if (!t->named) {
        return 0;
    }
    /* That it could not be looked at may be why we are here. */
    if (t->st.st_ino == 0 && fstat(t->fd, &t->st) < 0) {
        return -errno;
    }
    if (!t->claimed && (claim_in_thread(t) == -EEXIST || is_locked(t->fd))) {
        log_line("'%s' is left where it is: another process has begun to use it", t->filename);
        return 0;
    }
    return remove_name(t);
}

void co_main_fn new_file_abort(NewFile *t)
{
    if (!t) {
        return;
    }
    int ret = thread_pool_co_run(abort_in_thread, t);
    if (ret < 0) {
        log_line("cannot undo the creation of '%s': %s", t->filename, g_strerror(-ret));
    }
    target_free(t);
}

static int free_in_thread(void *opaque)
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
