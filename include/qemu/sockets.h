/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of stream sockets, listening and connecting. */
#ifndef QEMU_SOCKETS_H
#define QEMU_SOCKETS_H

#include "qemu/aio.h"

typedef enum SocketKind { SOCKET_UNIX, SOCKET_INET, SOCKET_FD } SocketKind;

/* Strings are owned by whoever holds the struct. */
typedef struct SocketSpec {
    SocketKind kind;
    char *path;                 /* unix */
    mode_t mode;                /* unix: permissions of the socket file when listening; 0: as the umask has it */
    char *host, *port;          /* inet; port may be a service name or "0" */
    int fd;                     /* fd: an open socket, listening or connected */
} SocketSpec;

/* "0660": permissions of a socket file. */
bool any_fn socket_parse_mode(const char *text, mode_t *ret, Error **errp);

void any_fn socket_spec_clear(SocketSpec *spec);
void any_fn socket_spec_copy(SocketSpec *to, const SocketSpec *from);
/* Make its path absolute, for who removes the socket later: the daemon changes its directory. */
void any_fn socket_spec_pin(SocketSpec *spec);
/* "unix:/run/x.sock", "127.0.0.1:10809", "fd:5": for messages; caller frees. */
char *any_fn socket_spec_to_text(const SocketSpec *spec);

/*
 * A non-blocking, close-on-exec listening socket, or -1 with @errp set.  A socket file left by a
 * process that is gone is replaced; one that somebody answers on is not.  Of SOCKET_FD the descriptor
 * itself is returned.
 */
int any_fn socket_listen(const SocketSpec *spec, Error **errp);

/* A connected, non-blocking socket, or -1 with @errp set. */
int co_fn socket_connect(const SocketSpec *spec, Error **errp);

/* Remove the socket file that socket_listen() made for @spec, if it is still there. */
void any_fn socket_unlink(const SocketSpec *spec);

/* A connected socket whose requests must not wait for each other's acknowledgements. */
void any_fn socket_set_nodelay(int fd);

#endif
