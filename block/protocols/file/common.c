/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all parts of the file driver use: threads, the bound on waiting requests, what is noted. */
#include "qemu/osdep.h"

#include "block/protocols/file/file-internal.h"
#include "qemu/aio.h"

bool any_fn file_check_native(FileAio aio, bool cache_direct, Error **errp)
{
    if (aio == FILE_AIO_NATIVE && !cache_direct) {
        error_setg(errp, "aio=native was specified, but it requires cache.direct=on, "
                   "which was not specified.");
        return false;
    }
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

int co_fn file_close_fd(int fd)
{
    return thread_pool_co_run(close_in_thread, &fd);
}

void co_fn file_close_fds(int fd, int fd2)
{
    if (fd >= 0) {
        file_close_fd(fd);
    }
    if (fd2 >= 0) {
        file_close_fd(fd2);
    }
}

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

static bool waits_for_itself(const FileState *s, bool cached)
{
    return cached && s->traits.is_local && !s->is_device;
}

void co_fn file_enter_change(FileState *s, bool cached)
{
    if (waits_for_itself(s, cached)) {
        co_limit_enter(&s->changing);
    }
    co_limit_enter(&s->waiting);
}

void co_fn file_leave_change(FileState *s, bool cached)
{
    co_limit_leave(&s->waiting);
    if (waits_for_itself(s, cached)) {
        co_limit_leave(&s->changing);
    }
}

void any_fn file_note_cached(FileState *s, int64_t offset, int64_t bytes)
{
    if ((offset | bytes) & (s->traits.block_size - 1)) {
        __atomic_store_n(&s->used_cache, true, __ATOMIC_SEQ_CST);
    }
}
