/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening, accepting and connecting, whatever the kind of the address; Unix sockets. */
#include "qemu/osdep.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/un.h>

#include "sockets-internal.h"

static bool make_unix_address(const SocketSpec *spec, struct sockaddr_un *sun, Error **errp)
{
    *sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(spec->path) >= sizeof(sun->sun_path)) {
        error_setg(errp, "UNIX socket path '%s' is too long: path must be less than %zu bytes",
                   spec->path, sizeof(sun->sun_path));
        return false;
    }
    strcpy(sun->sun_path, spec->path);
    return true;
}

/*
 * Has the process ended that listens where @fd is connected to?  Its sockets may live on for a
 * moment: the kernel takes down the io_uring of a killed process, and what that holds, after the
 * process itself.
 */
static bool blocking_fn listener_has_ended(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    g_autofree char *path = NULL, *stat = NULL;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || cred.pid <= 0) {
        return false;               /* not of our namespace: take it for alive */
    }
    path = g_strdup_printf("/proc/%d/stat", cred.pid);
    if (!g_file_get_contents(path, &stat, NULL, NULL)) {
        return kill(cred.pid, 0) < 0 && errno == ESRCH;
    }
    const char *state = strrchr(stat, ')');
    return state && (state[2] == 'Z' || state[2] == 'X');
}

/* Is somebody listening there? */
static bool blocking_fn unix_is_alive(const struct sockaddr_un *sun)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = false;

    if (fd >= 0 && connect(fd, (struct sockaddr *)sun, sizeof(*sun)) == 0) {
        alive = !listener_has_ended(fd);
    } else if (fd >= 0) {
        alive = errno == EAGAIN;
    }
    if (fd >= 0) {
        close(fd);
    }
    return alive;
}

static int blocking_fn bind_unix(int fd, const struct sockaddr_un *sun)
{
    struct stat st;

    if (bind(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0) {
        return 0;
    }
    if (errno != EADDRINUSE) {
        return -errno;
    }
    if (lstat(sun->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode) || unix_is_alive(sun)) {
        return -EADDRINUSE;
    }
    if (unlink(sun->sun_path) < 0) {
        return -errno;
    }
    return bind(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ? 0 : -errno;
}

static int blocking_fn listen_unix(const SocketSpec *spec, Error **errp)
{
    struct sockaddr_un sun;

    if (!make_unix_address(spec, &sun, errp)) {
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int ret = fd < 0 ? -errno : 0;
    /* bind() makes the file with the socket's permissions, less the umask: never with more. */
    if (ret == 0 && spec->mode && fchmod(fd, spec->mode) < 0) {
        ret = -errno;
    }
    if (ret == 0) {
        ret = bind_unix(fd, &sun);
        if (ret == 0 && ((spec->mode && chmod(spec->path, spec->mode) < 0) ||
                         listen(fd, SOCKET_BACKLOG) < 0)) {
            ret = -errno;
            unlink(spec->path);     /* bind() made it */
        }
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to listen on socket '%s'", spec->path);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

static bool listen_fd(const SocketSpec *spec, SocketListener *ret, Error **errp)
{
    int listening = 0;
    socklen_t len = sizeof(listening);

    if (getsockopt(spec->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening) {
        error_setg(errp, "File descriptor %d is not a listening socket", spec->fd);
        return false;
    }
    fcntl(spec->fd, F_SETFL, fcntl(spec->fd, F_GETFL) | O_NONBLOCK);
    fcntl(spec->fd, F_SETFD, FD_CLOEXEC);
    ret->fds[ret->n++] = spec->fd;
    return true;
}

/* ---- listeners ---- */

/* One descriptor that is ready when one of several is. */
static bool join(SocketListener *l, Error **errp)
{
    l->any_fd = epoll_create1(EPOLL_CLOEXEC);
    bool ok = l->any_fd >= 0;
    for (int i = 0; ok && i < l->n; i++) {
        struct epoll_event ev = { .events = EPOLLIN };
        ok = epoll_ctl(l->any_fd, EPOLL_CTL_ADD, l->fds[i], &ev) == 0;
    }
    if (!ok) {
        error_setg_errno(errp, errno, "Cannot wait for clients at several addresses");
    }
    return ok;
}

typedef struct ListenTask {
    const SocketSpec *spec;
    SocketListener *ret;
    Error **errp;
} ListenTask;

static int blocking_fn listen_in_thread(void *opaque)
{
    ListenTask *t = opaque;

    if (t->spec->kind == SOCKET_INET) {
        return socket_listen_inet(t->spec, t->ret, t->errp);
    }
    t->ret->fds[0] = listen_unix(t->spec, t->errp);
    t->ret->n = t->ret->fds[0] >= 0;
    return t->ret->n;
}

bool co_fn socket_listen(const SocketSpec *spec, SocketListener *ret, Error **errp)
{
    ListenTask t = { .spec = spec, .ret = ret, .errp = errp };

    *ret = SOCKET_LISTENER_NONE;
    bool ok = spec->kind == SOCKET_FD ? listen_fd(spec, ret, errp)
                                      : thread_pool_co_run(listen_in_thread, &t);
    if (ok && ret->n > 1 && !join(ret, errp)) {
        socket_listener_close(ret);
        ok = false;
    }
    return ok;
}

int co_fn socket_accept(const SocketListener *l)
{
    if (l->n == 1) {
        return aio_co_accept(l->fds[0]);
    }
    for (;;) {
        int ret = aio_co_poll(l->any_fd, POLLIN, -1);
        if (ret < 0) {
            return ret;
        }
        for (int i = 0; i < l->n; i++) {
            int fd = accept4(l->fds[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (fd >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
                return fd >= 0 ? fd : -errno;
            }
        }
    }
}

/* ---- connecting ---- */

int co_fn socket_connect(const SocketSpec *spec, Error **errp)
{
    struct sockaddr_un sun;

    if (spec->kind == SOCKET_INET) {
        return socket_connect_inet(spec, errp);
    }
    if (spec->kind == SOCKET_FD) {
        fcntl(spec->fd, F_SETFL, fcntl(spec->fd, F_GETFL) | O_NONBLOCK);
        return spec->fd;
    }
    if (!make_unix_address(spec, &sun, errp)) {
        return -1;
    }
    int fd = socket_connect_to(AF_UNIX, (struct sockaddr *)&sun, sizeof(sun));
    if (fd < 0) {
        error_setg_errno(errp, -fd, "Failed to connect to '%s'", spec->path);
        return -1;
    }
    return fd;
}

void blocking_fn socket_unlink(const SocketSpec *spec)
{
    struct stat st;

    if (spec->kind == SOCKET_UNIX && lstat(spec->path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        unlink(spec->path);
    }
}

static int blocking_fn unlink_in_thread(void *opaque)
{
    socket_unlink(opaque);
    return 0;
}

void co_fn socket_unlink_co(const SocketSpec *spec)
{
    if (spec->kind == SOCKET_UNIX) {
        thread_pool_co_run(unlink_in_thread, (void *)spec);
    }
}
