/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include "qemu/sockets.h"

#define BACKLOG 128

bool any_fn socket_parse_mode(const char *text, mode_t *ret, Error **errp)
{
    char *end;
    unsigned long mode = strtoul(text, &end, 8);

    if (!g_ascii_isdigit(text[0]) || *end || mode == 0 || mode > 0777) {
        error_setg(errp, "'%s' is not the mode of a socket, an octal number such as 0660", text);
        return false;
    }
    *ret = mode;
    return true;
}

void any_fn socket_spec_clear(SocketSpec *spec)
{
    g_free(spec->path);
    g_free(spec->host);
    g_free(spec->port);
    *spec = (SocketSpec){ .fd = -1 };
}

void any_fn socket_spec_copy(SocketSpec *to, const SocketSpec *from)
{
    *to = (SocketSpec){
        .kind = from->kind, .path = g_strdup(from->path), .mode = from->mode, .host = g_strdup(from->host),
        .port = g_strdup(from->port), .fd = from->fd,
    };
}

void any_fn socket_spec_pin(SocketSpec *spec)
{
    if (spec->path) {
        char *path = g_canonicalize_filename(spec->path, NULL);
        g_free(spec->path);
        spec->path = path;
    }
}

char *any_fn socket_spec_to_text(const SocketSpec *spec)
{
    switch (spec->kind) {
    case SOCKET_UNIX:
        return g_strdup_printf("unix:%s", spec->path);
    case SOCKET_INET:
        return g_strdup_printf(strchr(spec->host, ':') ? "[%s]:%s" : "%s:%s", spec->host,
                               spec->port);
    default:
        return g_strdup_printf("fd:%d", spec->fd);
    }
}

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

/* Is somebody listening there? */
static bool unix_is_alive(const struct sockaddr_un *sun)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = fd >= 0 && (connect(fd, (struct sockaddr *)sun, sizeof(*sun)) == 0 ||
                             errno == EAGAIN);

    if (fd >= 0) {
        close(fd);
    }
    return alive;
}

static int bind_unix(int fd, const struct sockaddr_un *sun)
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

static int listen_unix(const SocketSpec *spec, Error **errp)
{
    struct sockaddr_un sun;

    if (!make_unix_address(spec, &sun, errp)) {
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int ret = fd < 0 ? -errno : 0;
    /* The file never has more permissions than were asked for: bind() makes it with the socket's, less the umask. */
    if (ret == 0 && spec->mode && fchmod(fd, spec->mode) < 0) {
        ret = -errno;
    }
    if (ret == 0) {
        ret = bind_unix(fd, &sun);
        if (ret == 0 && ((spec->mode && chmod(spec->path, spec->mode) < 0) ||
                         listen(fd, BACKLOG) < 0)) {
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

static struct addrinfo *resolve(const SocketSpec *spec, int flags, Error **errp)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
                              .ai_flags = flags };
    struct addrinfo *list = NULL;
    int ret = getaddrinfo(spec->host && spec->host[0] ? spec->host : NULL, spec->port, &hints,
                          &list);

    if (ret != 0) {
        error_setg(errp, "Cannot resolve address '%s' port '%s': %s", spec->host ?: "",
                   spec->port, ret == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(ret));
        return NULL;
    }
    return list;
}

static int listen_inet(const SocketSpec *spec, Error **errp)
{
    struct addrinfo *list = resolve(spec, AI_PASSIVE, errp);
    int fd = -1, err = EADDRNOTAVAIL, one = 1;

    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            err = errno;
            continue;
        }
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
            err = errno;
            close(fd);
            fd = -1;
        }
    }
    if (list && fd < 0) {
        error_setg_errno(errp, err, "Failed to listen on '%s' port '%s'", spec->host ?: "",
                         spec->port);
    }
    if (list) {
        freeaddrinfo(list);
    }
    return fd;
}

int any_fn socket_listen(const SocketSpec *spec, Error **errp)
{
    switch (spec->kind) {
    case SOCKET_UNIX:
        return listen_unix(spec, errp);
    case SOCKET_INET:
        return listen_inet(spec, errp);
    default:
        break;
    }
    int listening = 0;
    socklen_t len = sizeof(listening);
    if (getsockopt(spec->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening) {
        error_setg(errp, "File descriptor %d is not a listening socket", spec->fd);
        return -1;
    }
    fcntl(spec->fd, F_SETFL, fcntl(spec->fd, F_GETFL) | O_NONBLOCK);
    fcntl(spec->fd, F_SETFD, FD_CLOEXEC);
    return spec->fd;
}

static int co_fn connect_one(int family, const struct sockaddr *addr, socklen_t len)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int ret = fd < 0 ? -errno : aio_co_connect(fd, addr, len);

    if (ret < 0) {
        if (fd >= 0) {
            close(fd);
        }
        return ret;
    }
    return fd;
}

static int co_fn connect_inet(const SocketSpec *spec, Error **errp)
{
    struct addrinfo *list = resolve(spec, 0, errp);
    int fd = -EADDRNOTAVAIL;

    if (!list) {
        return -1;
    }
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = connect_one(a->ai_family, a->ai_addr, a->ai_addrlen);
    }
    freeaddrinfo(list);
    if (fd < 0) {
        error_setg_errno(errp, -fd, "Failed to connect to '%s:%s'", spec->host, spec->port);
        return -1;
    }
    return fd;
}

int co_fn socket_connect(const SocketSpec *spec, Error **errp)
{
    struct sockaddr_un sun;

    if (spec->kind == SOCKET_INET) {
        return connect_inet(spec, errp);
    }
    if (spec->kind == SOCKET_FD) {
        fcntl(spec->fd, F_SETFL, fcntl(spec->fd, F_GETFL) | O_NONBLOCK);
        return spec->fd;
    }
    if (!make_unix_address(spec, &sun, errp)) {
        return -1;
    }
    int fd = connect_one(AF_UNIX, (struct sockaddr *)&sun, sizeof(sun));
    if (fd < 0) {
        error_setg_errno(errp, -fd, "Failed to connect to '%s'", spec->path);
        return -1;
    }
    return fd;
}

void any_fn socket_unlink(const SocketSpec *spec)
{
    struct stat st;

    if (spec->kind == SOCKET_UNIX && lstat(spec->path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        unlink(spec->path);
    }
}

void any_fn socket_set_nodelay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));    /* fails on unix: fine */
}
