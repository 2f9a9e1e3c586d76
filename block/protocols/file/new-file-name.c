/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The name of a file that is complete, and being known by it: a file that was opened before it had
 * a name is "/folder/#123 (deleted)" in /proc, to whoever looks there for who uses what, as long as
 * it is open.
 */
#include "qemu/osdep.h"

#include "block/protocols/file/file-internal.h"
#include "block/protocols/file/new-file-internal.h"
#include "qemu/aio.h"

/* ---- getting the name ---- */

static int blocking_fn give_name_in_thread(void *opaque)
{
    NewFile *t = opaque;
    char path[64];

    if (!t->named) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", t->fd);
        if (linkat(AT_FDCWD, path, t->dir_fd, t->base, AT_SYMLINK_FOLLOW) < 0) {
            return -errno;
        }
        t->linked = true;
    }
    return 0;
}

static int blocking_fn sync_dir_in_thread(void *opaque)
{
    NewFile *t = opaque;
    int ret = give_name_in_thread(t);

    return ret < 0 ? ret : fsync(t->dir_fd) < 0 ? -errno : 0;
}

bool co_main_fn new_file_give_name(NewFile *t, Error **errp)
{
    int ret = S_ISBLK(t->st.st_mode) ? 0 : thread_pool_co_run(give_name_in_thread, t);

    t->named |= t->linked;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot create '%s'", t->filename);
    }
    return ret == 0;
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

/* ---- being open under it ---- */

typedef struct NameTask {
    NewFile *target;
    const FileState *state;
    int flags;                      /* O_DIRECT, or 0 */
    int fd, fd2;                    /* out: one description, locked as that of the node is */
} NameTask;

static int blocking_fn open_in_thread(void *opaque)
{
    NameTask *t = opaque;
    const NewFile *file = t->target;
    struct stat st;

    /* O_NONBLOCK: by now it may be anything's name. */
    t->fd = openat(file->dir_fd, file->base,
                   O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (t->fd < 0 || fstat(t->fd, &st) < 0) {
        return -errno;
    }
    if (!file_id_equal(file_id_of_stat(&st), file_id_of_stat(&file->st))) {
        return -EEXIST;
    }
    if (fcntl(t->fd, F_SETFL, t->flags) < 0) {
        return -errno;
    }
    int ret = file_take_locks_on(t->state, t->fd, false);
    t->fd2 = ret < 0 ? -1 : fcntl(t->fd, F_DUPFD_CLOEXEC, 0);
    return ret < 0 ? ret : t->fd2 < 0 ? -errno : 0;
}

bool co_main_fn new_file_open_by_name(NewFile *t, BlockDriverState *node, Error **errp)
{
    FileState *s = node->opaque;
    NameTask task = { .target = t, .state = s, .flags = node->cache_direct ? O_DIRECT : 0,
                      .fd = -1, .fd2 = -1 };

    if (!t->linked) {
        return true;                /* opened by its name already */
    }
    int ret = thread_pool_co_run(open_in_thread, &task);
    if (ret < 0) {
        file_close_fds(task.fd, -1);
        error_setg_errno(errp, -ret, "Cannot open the new file '%s' by its name", t->filename);
        return false;
    }
    int old_fd = s->fd, old_tail_fd = s->tail_fd, first_fd = t->fd;
    s->fd = task.fd;
    s->tail_fd = -1;
    t->fd = task.fd2;
    file_close_fds(old_fd, old_tail_fd);
    file_close_fds(first_fd, -1);
    return true;
}
