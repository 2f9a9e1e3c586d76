/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <stdarg.h>

#include "fault.h"

static struct {
    GMutex lock;
    unsigned kinds;
    int left;                       /* calls until the failing one */
    int error;
    bool sticky, struck;
} fault;

void fault_arm(unsigned kinds, int nth, int error, bool sticky)
{
    g_mutex_lock(&fault.lock);
    fault.kinds = kinds;
    fault.left = nth;
    fault.error = error;
    fault.sticky = sticky;
    fault.struck = false;
    g_mutex_unlock(&fault.lock);
}

bool fault_disarm(void)
{
    g_mutex_lock(&fault.lock);
    bool struck = fault.struck;
    fault.kinds = 0;
    g_mutex_unlock(&fault.lock);
    return struck;
}

/* True: the call shall fail; errno is set. */
static bool strikes(unsigned kind)
{
    bool strike = false;

    g_mutex_lock(&fault.lock);
    if (fault.kinds & kind) {
        fault.left--;
        strike = fault.left == 0 || (fault.sticky && fault.left < 0);
        fault.struck |= strike;
    }
    g_mutex_unlock(&fault.lock);
    if (strike) {
        errno = fault.error;
    }
    return strike;
}

#define WRAP(ret, name, kind, params, args)         \
    ret __real_##name params;                       \
    ret __wrap_##name params;                       \
    ret __wrap_##name params                        \
    {                                               \
        return strikes(kind) ? -1 : __real_##name args; \
    }

WRAP(int, fdatasync, FAULT_SYNC, (int fd), (fd))
WRAP(int, fsync, FAULT_SYNC, (int fd), (fd))
WRAP(int, ftruncate64, FAULT_TRUNCATE, (int fd, off_t len), (fd, len))
WRAP(int, fallocate64, FAULT_TRUNCATE, (int fd, int mode, off_t off, off_t len),
     (fd, mode, off, len))
WRAP(ssize_t, preadv64v2, FAULT_READ,
     (int fd, const struct iovec *iov, int n, off_t off, int flags), (fd, iov, n, off, flags))
WRAP(ssize_t, pwritev64v2, FAULT_WRITE,
     (int fd, const struct iovec *iov, int n, off_t off, int flags), (fd, iov, n, off, flags))

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list ap;

    va_start(ap, flags);
    mode_t mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return strikes(FAULT_OPEN) ? -1 : __real_open64(path, flags, mode);
}

int __real_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...)
{
    va_list ap;

    va_start(ap, flags);
    mode_t mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return strikes(FAULT_OPEN) ? -1 : __real_openat64(dir, path, flags, mode);
}

int __real_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...)
{
    va_list ap;

    va_start(ap, cmd);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    if (cmd == F_OFD_SETLK && ((struct flock *)arg)->l_type != F_UNLCK && strikes(FAULT_LOCK)) {
        return -1;
    }
    return __real_fcntl64(fd, cmd, arg);
}
