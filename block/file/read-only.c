/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Becoming read-only: a second, read-only description of the same file is opened while
 * guests write, the commit exchanges the two, and the writable one is closed afterwards, with
 * its locks.  At no moment is the file without a lock that keeps other writers out.
 */
#include "qemu/osdep.h"

#include "block/file/file-internal.h"
#include "qemu/aio.h"

static int reopen_in_thread(void *opaque)
{
    FileState *s = opaque;
    char path[64];
    int flags = fcntl(s->fd, F_GETFL);

    /* The descriptor's own file, wherever its name points by now. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
    s->ro_fd = open(path, O_RDONLY | O_CLOEXEC | (flags & O_DIRECT));
    return s->ro_fd < 0 ? -errno : 0;
}

bool co_main_fn file_ro_prepare(BlockDriverState *bs, Error **errp)
{
    FileState *s = bs->opaque;
    int ret = thread_pool_co_run(reopen_in_thread, s);

    if (ret < 0) {
        s->ro_fd = -1;
        error_setg_errno(errp, -ret, "Cannot reopen '%s' read-only", bs->filename);
        return false;
    }
    file_lock_as_reader(s, s->ro_fd);
    return true;
}

void main_fn file_ro_commit(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    s->old_fd = s->fd;
    s->fd = s->ro_fd;
    s->ro_fd = -1;
    s->locked = file_reader_locks(s);
}

void main_fn file_ro_abort(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    if (s->ro_fd >= 0) {
        close(s->ro_fd);
        s->ro_fd = -1;
    }
}

void main_fn file_ro_clean(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    if (s->old_fd >= 0) {
        close(s->old_fd);
        s->old_fd = -1;
    }
}
