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
    mode_t mode;                /* unix: permissions of the socket file; 0: as the umask has it */
    char *host, *port;          /* inet; port may be a service name or "0" */
    bool numeric;               /* inet: neither is a name */
    bool has_to;
    uint16_t to;                /* inet: when listening, the ports up to this one will do as well */
    bool has_ipv4, ipv4, has_ipv6, ipv6;    /* inet: families; without: what the host has */
    bool keep_alive;            /* inet: notice a peer that is gone without a word */
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

/* Most addresses that one name may stand for; further ones are left out. */
#define SOCKET_MAX_LISTENING 16

/* The sockets that listen for one SocketSpec: a host's name may stand for several addresses. */
typedef struct SocketListener {
    int fds[SOCKET_MAX_LISTENING], n;
    int any_fd;                 /* ready when one of several is; -1: there is at most one */
} SocketListener;

#define SOCKET_LISTENER_NONE ((SocketListener){ .any_fd = -1 })

/*
 * A socket file left by a process that is gone is replaced; one that somebody answers on is not.
 * A port in use is waited for, up to a second.
 * Of SOCKET_FD the descriptor itself is taken.
 */
bool co_fn socket_listen(const SocketSpec *spec, SocketListener *ret, Error **errp);
/* A client: a descriptor (close-on-exec, non-blocking), or -errno; aio_co_cancel() ends it. */
int co_fn socket_accept(const SocketListener *l);
/* Clients are refused from now on, and the address is free. */
void any_fn socket_listener_shutdown(SocketListener *l);
/* May be none; is none afterwards. */
void any_fn socket_listener_close(SocketListener *l);

/* A connected, non-blocking socket, or -1 with @errp set. */
int co_fn socket_connect(const SocketSpec *spec, Error **errp);

/* Remove the socket file that socket_listen() made for @spec, if it is still there. */
void blocking_fn socket_unlink(const SocketSpec *spec);
void co_fn socket_unlink_co(const SocketSpec *spec);

/* A connected socket whose requests must not wait for each other's acknowledgements. */
void any_fn socket_set_nodelay(int fd);

#endif
