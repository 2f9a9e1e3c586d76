/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP.  A name may stand for several addresses: a listener takes all of them, at one port, and a
 * client tries them in their order.
 */
#include "qemu/osdep.h"

#include <netdb.h>
#include <netinet/in.h>

#include "sockets-internal.h"

/* Port 0 stands for a free one, and what is free at the first address may be taken at the second.
 */
#define FREE_PORT_TRIES 16

/* Nobody says whose a port in use is: it is waited for, as that may be a process that is gone. */
#define PORT_WAITS 50
#define PORT_WAIT_US 20000

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

static struct addrinfo *blocking_fn resolve(const SocketSpec *spec, int flags, Error **errp)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags }, *list = NULL;

    hints.ai_family = family_of(spec, errp);
    if (hints.ai_family < 0 || !check_port(spec->port, errp)) {
        return NULL;
    }
    if (spec->numeric) {
        hints.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
    }
    int ret = getaddrinfo(spec->host && spec->host[0] ? spec->host : NULL, spec->port, &hints,
                          &list);
    if (ret != 0) {
        error_setg(errp, "Cannot resolve address '%s' port '%s': %s", spec->host ?: "",
                   spec->port, ret == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(ret));
        return NULL;
    }
    return list;
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
static int blocking_fn listen_at(const struct addrinfo *a, bool only_v6, bool keep_alive)
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
static int blocking_fn listen_at_port(struct addrinfo *list, in_port_t port, const SocketSpec *spec,
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

static int blocking_fn listen_in_range(struct addrinfo *list, const SocketSpec *spec,
                                       SocketListener *ret)
{
    unsigned first = ntohs(*port_of(list->ai_addr));
    unsigned last = spec->has_to && first ? spec->to : first;
    int tries = first ? 1 : FREE_PORT_TRIES, err;

    do {
        err = listen_at_port(list, htons(first), spec, ret);
    } while (err == -EADDRINUSE && (--tries > 0 || first++ < last));
    return err;
}

bool blocking_fn socket_listen_inet(const SocketSpec *spec, SocketListener *ret, Error **errp)
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
    for (int i = 0; i < PORT_WAITS && err == -EADDRINUSE; i++) {
        g_usleep(PORT_WAIT_US);
        err = listen_in_range(list, spec, ret);
    }
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

typedef struct ResolveTask {
    const SocketSpec *spec;
    struct addrinfo *list;
    Error **errp;
} ResolveTask;

static int blocking_fn resolve_in_thread(void *opaque)
{
    ResolveTask *t = opaque;

    t->list = resolve(t->spec, 0, t->errp);
    return 0;
}

int socket_connect_inet(const SocketSpec *spec, Error **errp)
{
    ResolveTask t = { .spec = spec, .errp = errp };
    int fd = -EADDRNOTAVAIL, one = 1;

    thread_pool_co_run(resolve_in_thread, &t);
    if (!t.list) {
        return -1;
    }
    for (struct addrinfo *a = t.list; a && fd < 0; a = a->ai_next) {
        fd = socket_connect_to(a->ai_family, a->ai_addr, a->ai_addrlen);
    }
    freeaddrinfo(t.list);
    if (fd < 0) {
        error_setg_errno(errp, -fd, "Failed to connect to '%s:%s'", spec->host, spec->port);
        return -1;
    }
    if (spec->keep_alive) {
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    }
    return fd;
}
