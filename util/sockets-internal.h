/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of sockets. */
#ifndef SOCKETS_INTERNAL_H
#define SOCKETS_INTERNAL_H

#include "qemu/sockets.h"

/* Connections that the kernel completes before they are accepted. */
#define SOCKET_BACKLOG 128

/* A connected socket or -errno. */
int co_fn socket_connect_to(int family, const struct sockaddr *addr, socklen_t len);

bool blocking_fn socket_listen_inet(const SocketSpec *spec, SocketListener *ret, Error **errp);
int co_fn socket_connect_inet(const SocketSpec *spec, Error **errp);

#endif
