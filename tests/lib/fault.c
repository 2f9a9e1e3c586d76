/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "fault.h"

#define FAULT_KILL -1              /* in place of an errno */

/* Calls of @kinds: the one after @left more fails, with @error. */
typedef struct Plan {
    unsigned kinds;
    int left;
    int error;
    bool sticky;
    unsigned struck;                /* kinds */
} Plan;

static struct {
    GMutex lock;
    Plan first, second, next_second;
    unsigned seen;
} fault;

void fault_arm(unsigned kinds, int nth, int error, bool sticky)
{
    g_mutex_lock(&fault.lock);
    fault.first = (Plan){ kinds, nth, error, sticky, 0 };
    fault.second = fault.next_second;
    fault.next_second = (Plan){ 0 };
    fault.seen = 0;
    g_mutex_unlock(&fault.lock);
}

void fault_arm_second(unsigned kinds, int nth, int error, bool sticky)
{
    fault.next_second = (Plan){ kinds, nth, error, sticky, 0 };
}

void fault_arm_kill(int nth)
{
    fault_arm(~0u, nth, FAULT_KILL, false);
}

bool fault_disarm(void)
{
    g_mutex_lock(&fault.lock);
    fault.first.kinds = fault.second.kinds = 0;
    bool struck = fault.first.struck;
    g_mutex_unlock(&fault.lock);
    return struck;
}

unsigned fault_second_struck(void)
{
    g_mutex_lock(&fault.lock);
    unsigned struck = fault.second.struck;
    g_mutex_unlock(&fault.lock);
    return struck;
}

unsigned fault_seen(void)
{
    g_mutex_lock(&fault.lock);
    unsigned seen = fault.seen;
    g_mutex_unlock(&fault.lock);
    return seen;
}

/* The error that a call of @kind fails with, or 0. */
static int plan_strikes(Plan *p, unsigned kind)
{
    if (!(p->kinds & kind)) {
        return 0;
    }
    p->left--;
    if (p->left == 0 || (p->sticky && p->left < 0)) {
        p->struck |= kind;
        return p->error;
    }
    return 0;
}

/* True: the call shall fail; errno is set. */
static bool strikes(unsigned kind)
{
    g_mutex_lock(&fault.lock);
    fault.seen |= kind;
    int error = fault.first.struck ? plan_strikes(&fault.second, kind) : 0;
    error = error ?: plan_strikes(&fault.first, kind);
    g_mutex_unlock(&fault.lock);
    if (error == FAULT_KILL) {
        kill(getpid(), SIGKILL);
        pause();                    /* the signal takes its time, and nothing else may happen */
    }
    if (error) {
        errno = error;
    }
    return error != 0;
}

#define WRAP(ret, name, kind, params, args)         \
    ret __real_##name params;                       \
    ret __wrap_##name params;                       \
    ret __wrap_##name params                        \
    {                                               \
        return strikes(kind) ? -1 : __real_##name args; \
    }

WRAP(int, ftruncate64, FAULT_TRUNCATE, (int fd, off_t len), (fd, len))
WRAP(int, fallocate64, FAULT_SPACE, (int fd, int mode, off_t off, off_t len),
     (fd, mode, off, len))
WRAP(ssize_t, preadv64v2, FAULT_READ,
     (int fd, const struct iovec *iov, int n, off_t off, int flags), (fd, iov, n, off, flags))
WRAP(ssize_t, pwritev64v2, FAULT_WRITE,
     (int fd, const struct iovec *iov, int n, off_t off, int flags), (fd, iov, n, off, flags))
WRAP(int, linkat, FAULT_LINK,
     (int from_dir, const char *from, int to_dir, const char *to, int flags),
     (from_dir, from, to_dir, to, flags))
WRAP(int, unlink, FAULT_UNLINK, (const char *path), (path))
WRAP(int, unlinkat, FAULT_UNLINK, (int dir, const char *path, int flags), (dir, path, flags))
WRAP(int, renameat, FAULT_UNLINK,
     (int from_dir, const char *from, int to_dir, const char *to), (from_dir, from, to_dir, to))
WRAP(int, renameat2, FAULT_UNLINK,
     (int from_dir, const char *from, int to_dir, const char *to, unsigned flags),
     (from_dir, from, to_dir, to, flags))
WRAP(int, fstat64, FAULT_STAT, (int fd, struct stat *st), (fd, st))
WRAP(int, fstatat64, FAULT_STAT, (int dir, const char *path, struct stat *st, int flags),
     (dir, path, st, flags))
WRAP(int, socket, FAULT_SOCKET, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, bind, FAULT_SOCKET, (int fd, const struct sockaddr *addr, socklen_t len),
     (fd, addr, len))
WRAP(int, listen, FAULT_SOCKET, (int fd, int backlog), (fd, backlog))
WRAP(int, accept4, FAULT_SOCKET, (int fd, struct sockaddr *addr, socklen_t *len, int flags),
     (fd, addr, len, flags))
WRAP(int, eventfd, FAULT_EVENT, (unsigned value, int flags), (value, flags))
WRAP(int, epoll_create1, FAULT_EVENT, (int flags), (flags))

#define WRAP_SYNC(name)                             \
    int __wrap_##name(int fd);                      \
    int __wrap_##name(int fd)                       \
    {                                               \
        return strikes(FAULT_SYNC) ? -1 : 0;        \
    }

WRAP_SYNC(fsync)
WRAP_SYNC(fdatasync)

/* Whoever needs less may abort if there is none, as GLib does. */
#define SMALL_BYTES 4096

#define WRAP_ALLOC(name, size, params, args)        \
    void *__real_##name params;                     \
    void *__wrap_##name params;                     \
    void *__wrap_##name params                      \
    {                                               \
        return (size) > SMALL_BYTES && strikes(FAULT_MEMORY) ? NULL : __real_##name args; \
    }

WRAP_ALLOC(g_try_malloc, bytes, (gsize bytes), (bytes))
WRAP_ALLOC(g_try_malloc0, bytes, (gsize bytes), (bytes))
WRAP_ALLOC(g_try_malloc_n, n * bytes, (gsize n, gsize bytes), (n, bytes))
WRAP_ALLOC(g_try_malloc0_n, n * bytes, (gsize n, gsize bytes), (n, bytes))

/* Three that return the error itself. */
int __real_posix_memalign(void **ret, size_t align, size_t bytes);
int __wrap_posix_memalign(void **ret, size_t align, size_t bytes);
int __wrap_posix_memalign(void **ret, size_t align, size_t bytes)
{
    return bytes > SMALL_BYTES && strikes(FAULT_MEMORY)
           ? ENOMEM : __real_posix_memalign(ret, align, bytes);
}

int __real_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg)
{
    return strikes(FAULT_THREAD) ? errno : __real_pthread_create(ret, attr, fn, arg);
}

int __real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **ret);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **ret);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **ret)
{
    return strikes(FAULT_SOCKET) ? EAI_SYSTEM : __real_getaddrinfo(node, service, hints, ret);
}

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
