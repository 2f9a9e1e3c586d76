/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What sockets of all families need: their addresses, connecting and closing them. */
#include "qemu/osdep.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "sockets-internal.h"

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
    *to = *from;
    to->path = g_strdup(from->path);
    to->host = g_strdup(from->host);
    to->port = g_strdup(from->port);
}

void any_fn socket_spec_pin(SocketSpec *spec)
{
    if (spec->path) {
        char *cwd = getcwd(NULL, 0);    /* not glib's, which looks at $PWD: that may block */
        char *path = g_canonicalize_filename(spec->path, cwd ?: "/");
        free(cwd);
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

void any_fn socket_listener_shutdown(SocketListener *l)
{
    for (int i = 0; i < l->n; i++) {
        shutdown(l->fds[i], SHUT_RDWR);
    }
}

void any_fn socket_listener_close(SocketListener *l)
{
    for (int i = 0; i < l->n; i++) {
        close(l->fds[i]);
    }
    if (l->any_fd >= 0) {
        close(l->any_fd);
    }
    *l = (SocketListener){ .any_fd = -1 };
}

int co_fn socket_connect_to(int family, const struct sockaddr *addr, socklen_t len)
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

void any_fn socket_set_nodelay(int fd)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));    /* fails on unix: fine */
}
