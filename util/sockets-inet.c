/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP.  A name may stand for several addresses: a listener takes all of them, at one port, and a
 * client tries them in their order.
 */
#include "qemu/osdep.h"

#include <netdb.h>
#include <netinet/in.h>

#include "sockets-internal.h"

/* Port 0 stands for a free one, and what is free at the first address may be taken at the second. */
#define FREE_PORT_TRIES 16

/* ---- names to addresses ---- */

/* Whether a @family of addresses is to be used. */
static int family_of(const SocketSpec *spec, Error **errp)
{
    bool v4 = spec->has_ipv4 && spec->ipv4, v6 = spec->has_ipv6 && spec->ipv6;
    bool no_v4 = spec->has_ipv4 && !spec->ipv4, no_v6 = spec->has_ipv6 && !spec->ipv6;

    if (no_v4 && no_v6) {
        error_setg(errp, "Cannot disable IPv4 and IPv6 at same time");
        return -1;
    }
    if (no_v6 || (v4 && !v6)) {
        return AF_INET;
    }
    return no_v4 || (v6 && !v4) ? AF_INET6 : AF_UNSPEC;
}

/* getaddrinfo() takes the low 16 bits of a larger number. */
static bool check_port(const char *port, Error **errp)
{
    char *end;
    long long number = strtoll(port, &end, 10);

    if (end != port && *end == '\0' && (number < 0 || number > UINT16_MAX)) {
        error_setg(errp, "Port '%s' is not between 0 and %d", port, UINT16_MAX);
        return false;
    }
    return true;
}

typedef struct Lookup {
    const char *host, *port;
    struct addrinfo hints, *list;
    int err;                        /* errno */
} Lookup;

static int look_up(void *opaque)
{
    Lookup *l = opaque;
    int ret = getaddrinfo(l->host, l->port, &l->hints, &l->list);

    l->err = errno;
    return ret;
}

static struct addrinfo *co_fn resolve(const SocketSpec *spec, int flags, Error **errp)
{
    Lookup l = {
        .host = spec->host && spec->host[0] ? spec->host : NULL, .port = spec->port,
        .hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICHOST },
    };

    l.hints.ai_family = family_of(spec, errp);
    if (l.hints.ai_family < 0 || !check_port(spec->port, errp)) {
        return NULL;
    }
    if (spec->numeric) {
        l.hints.ai_flags |= AI_NUMERICSERV;
    }
    int ret = look_up(&l);
    if (ret == EAI_NONAME && !spec->numeric) {
        /* A name: somebody far away may have to be asked. */
        l.hints.ai_flags = flags;
        ret = thread_pool_co_run(look_up, &l);
    }
    if (ret != 0) {
        error_setg(errp, "Cannot resolve address '%s' port '%s': %s", spec->host ?: "",
                   spec->port, ret == EAI_SYSTEM ? g_strerror(l.err) : gai_strerror(ret));
        return NULL;
    }
    return l.list;
}

/* ---- listening ---- */

static in_port_t *port_of(struct sockaddr *addr)
{
    return addr->sa_family == AF_INET6 ? &((struct sockaddr_in6 *)addr)->sin6_port
                                       : &((struct sockaddr_in *)addr)->sin_port;
}

static bool has_family(const struct addrinfo *list, int family)
{
    for (; list; list = list->ai_next) {
        if (list->ai_family == family) {
            return true;
        }
    }
    return false;
}

/* A socket that listens at @a, or -errno.  @only_v6: an IPv6 socket leaves IPv4 clients alone. */
static int listen_at(const struct addrinfo *a, bool only_v6, bool keep_alive)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (keep_alive) {
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));    /* its clients inherit it */
    }
    if (a->ai_family == AF_INET6) {
        int only = only_v6;
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    }
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, SOCKET_BACKLOG) < 0) {
        int ret = -errno;
        close(fd);
        return ret;
    }
    return fd;
}

static in_port_t bound_port(int fd)
{
    struct sockaddr_storage addr = { 0 };
    socklen_t len = sizeof(addr);

    getsockname(fd, (struct sockaddr *)&addr, &len);
    return *port_of((struct sockaddr *)&addr);
}

/* Listens at all of @list at @port (network order; 0: a free one).  0, or -errno and no socket. */
static int listen_at_port(struct addrinfo *list, in_port_t port, const SocketSpec *spec,
                          SocketListener *ret)
{
    bool only_v6 = family_of(spec, NULL) == AF_INET6 || has_family(list, AF_INET);
    int err = -EADDRNOTAVAIL;

    for (struct addrinfo *a = list; a && ret->n < SOCKET_MAX_LISTENING; a = a->ai_next) {
        *port_of(a->ai_addr) = port;
        int fd = listen_at(a, only_v6, spec->keep_alive);
        if (fd >= 0) {
            ret->fds[ret->n++] = fd;
            port = bound_port(fd);
        } else if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) {
            err = fd;               /* the host lacks one of the families: the other one does */
        } else {
            socket_listener_close(ret);
            return fd;
        }
    }
    return ret->n > 0 ? 0 : err;
}

static int listen_in_range(struct addrinfo *list, const SocketSpec *spec, SocketListener *ret)
{
    unsigned first = ntohs(*port_of(list->ai_addr));
    unsigned last = spec->has_to && first ? spec->to : first;
    int tries = first ? 1 : FREE_PORT_TRIES, err;

    do {
        err = listen_at_port(list, htons(first), spec, ret);
    } while (err == -EADDRINUSE && (--tries > 0 || first++ < last));
    return err;
}

bool socket_listen_inet(const SocketSpec *spec, SocketListener *ret, Error **errp)
{
    struct addrinfo *list = resolve(spec, AI_PASSIVE, errp);

    if (!list) {
        return false;
    }
    unsigned first = ntohs(*port_of(list->ai_addr));
    if (spec->has_to && first && spec->to < first) {
        error_setg(errp, "There is no port from %u to %u", first, spec->to);
        freeaddrinfo(list);
        return false;
    }
    int err = listen_in_range(list, spec, ret);
    freeaddrinfo(list);
    if (err < 0 && spec->has_to) {
        error_setg_errno(errp, -err, "Failed to listen on '%s' ports '%s' to %u", spec->host ?: "",
                         spec->port, spec->to);
    } else if (err < 0) {
        error_setg_errno(errp, -err, "Failed to listen on '%s' port '%s'", spec->host ?: "",
                         spec->port);
    }
    return err == 0;
}

/* ---- connecting ---- */

int socket_connect_inet(const SocketSpec *spec, Error **errp)
{
    struct addrinfo *list = resolve(spec, 0, errp);
    int fd = -EADDRNOTAVAIL, one = 1;

    if (!list) {
        return -1;
    }
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket_connect_to(a->ai_family, a->ai_addr, a->ai_addrlen);
    }
    freeaddrinfo(list);
    if (fd < 0) {
        error_setg_errno(errp, -fd, "Failed to connect to '%s:%s'", spec->host, spec->port);
        return -1;
    }
    if (spec->keep_alive) {
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    }
    return fd;
}
