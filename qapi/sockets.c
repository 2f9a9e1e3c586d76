/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses as they stand on the wire and on the command line, made plain. */
#include "qemu/osdep.h"

#include "qapi/sockets.h"
#include "qemu/systemd.h"

static void inet_spec(const InetSocketAddress *addr, SocketSpec *ret)
{
    ret->kind = SOCKET_INET;
    ret->host = g_strdup(addr->host);
    ret->port = g_strdup(addr->port);
    ret->numeric = addr->has_numeric && addr->numeric;
    ret->has_to = addr->has_to;
    ret->to = addr->to;
    ret->has_ipv4 = addr->has_ipv4;
    ret->ipv4 = addr->ipv4;
    ret->has_ipv6 = addr->has_ipv6;
    ret->ipv6 = addr->ipv6;
    ret->keep_alive = addr->has_keep_alive && addr->keep_alive;
}

bool any_fn socket_spec_from_qapi(const SocketAddress *addr, SocketSpec *ret, Error **errp)
{
    *ret = (SocketSpec){ .fd = -1 };
    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_UNIX:
        ret->kind = SOCKET_UNIX;
        ret->path = g_strdup(addr->u.q_unix.path);
        return !addr->u.q_unix.mode ||
               socket_parse_mode(addr->u.q_unix.mode, &ret->mode, errp);
    case SOCKET_ADDRESS_TYPE_INET:
        inet_spec(&addr->u.inet, ret);
        return true;
    default:
        break;
    }
    char *end;
    long fd = strtol(addr->u.fd.str, &end, 10);
    if (*end || end == addr->u.fd.str) {
        fd = systemd_listen_fd(addr->u.fd.str);
    }
    if (fd < 0 || fd > INT_MAX) {
        error_setg(errp, "'%s' is neither the number of an open file descriptor nor the name of "
                   "one from the service manager", addr->u.fd.str);
        return false;
    }
    ret->kind = SOCKET_FD;
    ret->fd = fd;
    return true;
}

void any_fn socket_address_flatten(const SocketAddressLegacy *legacy, SocketAddress *ret)
{
    ret->type = legacy->type;
    switch (legacy->type) {
    case SOCKET_ADDRESS_TYPE_UNIX:
        ret->u.q_unix = *legacy->u.q_unix.data;
        break;
    case SOCKET_ADDRESS_TYPE_INET:
        ret->u.inet = *legacy->u.inet.data;
        break;
    default:
        ret->u.fd = *legacy->u.fd.data;
        break;
    }
}
