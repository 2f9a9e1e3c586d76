/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing how a file is open: a second description of the same file is opened while guests go on,
 * the commit exchanges the two, and the first one is closed afterwards, with its locks.  At no
 * moment is the file without a lock that keeps others out.
 */
#include "qemu/osdep.h"

#include "block/protocols/file/file-internal.h"
#include "qemu/aio.h"

typedef struct ReopenTask {
    const FileState *state;
    bool read_only;
    int flags;
    int fd;                         /* out */
    bool unlockable;                /* out: it was opened, and cannot be locked */
    FileTraits *traits;             /* out */
} ReopenTask;

static int blocking_fn reopen_in_thread(void *opaque)
{
    ReopenTask *t = opaque;
    char path[64];

    /* The descriptor's own file, wherever its name points by now. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", t->state->fd);
    t->fd = open(path, t->flags | O_CLOEXEC);
    if (t->fd < 0) {
        return -errno;
    }
    struct stat st;
    if (fstat(t->fd, &st) < 0) {
        return -errno;
    }
    file_get_traits(t->fd, &st, t->flags & O_DIRECT, t->traits);
    int ret = file_take_locks_on(t->state, t->fd, t->read_only);
    t->unlockable = ret < 0;
    return ret;
}

static bool check_options(BlockDriverState *bs, const FileOpenOptions *o, Error **errp)
{
    const char *what = strcmp(o->filename, bs->filename) != 0 ? "filename" :
                       o->locking != bs->locking              ? "locking" :
                       o->aio != FILE_AIO_AUTO && o->aio != bs->aio ? "aio" : NULL;

    if (what) {
        error_setg(errp, "Cannot change the option '%s'", what);
    }
    return !what;
}

bool co_main_fn file_reopen_prepare(BlockDriverState *bs, const BdrvReopen *to, Error **errp)
{
    FileState *s = bs->opaque;
    ReopenTask t = {
        .state = s, .read_only = to->read_only, .fd = -1, .traits = &s->new_traits,
        .flags = (to->read_only ? O_RDONLY : O_RDWR) | (to->cache_direct ? O_DIRECT : 0),
    };

    if ((to->options && !check_options(bs, &to->options->u.file, errp)) ||
        !file_check_native(bs->aio, to->cache_direct, errp)) {
        return false;
    }
    if (to->read_only == bs->read_only && to->cache_direct == bs->cache_direct) {
        return true;
    }
    int ret = thread_pool_co_run(reopen_in_thread, &t);
    s->new_fd = t.fd;
    s->new_read_only = to->read_only;
    if (t.unlockable) {
        error_setg_errno(errp, -ret, "Failed to lock '%s'", bs->filename);
    } else if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot reopen '%s' %s%s", bs->filename,
                         to->read_only ? "read-only" : "for writing",
                         to->cache_direct ? " with cache.direct=on" : "");
    }
    if (ret < 0) {
        file_reopen_abort(bs);
    }
    return ret == 0;
}

void main_fn file_reopen_commit(BlockDriverState *bs, const BdrvReopen *to)
{
    FileState *s = bs->opaque;

    if (s->new_fd < 0) {
        return;
    }
    s->old_fd = s->fd;
    s->fd = s->new_fd;
    s->new_fd = -1;
    s->old_tail_fd = s->tail_fd;
    s->tail_fd = -1;
    s->locked = file_locks_after_reopen(s->locked, to->read_only);
    s->used_cache |= !s->traits.bypasses_cache;
    s->traits = s->new_traits;
    bs->limits = s->traits.limits;
}

void co_main_fn file_reopen_abort(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    file_close_fds(s->new_fd, -1);
    s->new_fd = -1;
}

void co_main_fn file_reopen_clean(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    file_finish_look(s);
    file_close_fds(s->old_fd, s->old_tail_fd);
    s->old_fd = s->old_tail_fd = -1;
}
