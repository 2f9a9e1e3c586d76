/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses as they stand on the wire and on the command line, made plain. */
#ifndef QAPI_SOCKETS_H
#define QAPI_SOCKETS_H

#include "qapi/error.h"
#include "qapi/qapi-types.h"
#include "qemu/sockets.h"

/* True, with the plain address in @ret (caller clears), or false. */
bool any_fn socket_spec_from_qapi(const SocketAddress *addr, SocketSpec *ret, Error **errp);
/* The shape that older commands have; @ret borrows from @legacy. */
void any_fn socket_address_flatten(const SocketAddressLegacy *legacy, SocketAddress *ret);

#endif
