/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD server: fixed newstyle negotiation on the main thread, transmission on the thread of the
 * export.  docs/design/nbd.md describes the data path.
 */
#ifndef NBD_SERVER_H
#define NBD_SERVER_H

#include "block/backend.h"
#include "qemu/iothread.h"
#include "qemu/sockets.h"

typedef struct NbdServer NbdServer;
typedef struct NbdExport NbdExport;

/* Connections a server takes unless told otherwise; further ones wait to be accepted. */
#define NBD_DEFAULT_MAX_CONNECTIONS 100
/* A client that has not chosen an export by then is dropped. */
#define NBD_HANDSHAKE_TIMEOUT_NS (10 * NS_PER_SEC)

/* Listen on @addr and serve what is exported on this server. @max_connections: 0 for no limit. */
NbdServer *main_fn nbd_server_start(const char *id, const SocketSpec *addr,
                                    unsigned max_connections, Error **errp);
/* Refuse new clients, let requests under way finish, end all connections.  Has no exports. */
void co_main_fn nbd_server_stop(NbdServer *server);
/* NULL: there is none of that id. */
NbdServer *main_fn nbd_server_find(const char *id);
NbdServer *main_fn nbd_server_next(NbdServer *prev);
const char *main_fn nbd_server_id(const NbdServer *server);

/*
 * Offer @blk (borrowed; outlives the export) as @name on @server.  Requests run on @iothread (NULL: the
 * main thread).  @description may be NULL.
 */
NbdExport *main_fn nbd_export_new(NbdServer *server, const char *name, const char *description,
                                  BlockBackend *blk, bool writable, IOThread *iothread,
                                  Error **errp);
bool main_fn nbd_export_has_clients(const NbdExport *exp);
/* Ends its connections after the requests under way, then frees it. */
void co_main_fn nbd_export_free(NbdExport *exp);

#endif
