/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD server: fixed newstyle negotiation on the main thread, transmission on the thread of the
 * export.  docs/design/nbd.md describes the data path.
 */
#ifndef NBD_SERVER_H
#define NBD_SERVER_H

#include "qemu/limits.h"
#include "block/backend.h"
#include "block/dirty-bitmap.h"
#include "qemu/iothread.h"
#include "qemu/sockets.h"

typedef struct NbdServer NbdServer;
typedef struct NbdExport NbdExport;

/* Another amount; before there are clients. */
bool main_fn nbd_set_memory(uint64_t bytes, Error **errp);

typedef struct NbdServerLimits {
    unsigned max_connections;       /* 0: no limit */
    unsigned handshake_seconds;     /* 0: a client may take for ever */
    bool closed;                    /* clients wait until nbd_server_open() */
} NbdServerLimits;

/* Listen on @addr and serve what is exported on this server. */
NbdServer *co_main_fn nbd_server_start(const char *id, const SocketSpec *addr,
                                    const NbdServerLimits *limits, Error **errp);
/*
 * Refuse new clients, let requests under way finish, end all connections.  Has no exports and gets
 * no more: from the call on nbd_server_find() does not know it, and its address is free.
 */
void co_main_fn nbd_server_stop(NbdServer *server);
/*
 * A server that listens nowhere and that nobody finds: its clients are those that are given to it.
 * Stopped as others are.
 */
NbdServer *main_fn nbd_server_new_private(void);
/* Serve the client at the other end of the connected socket @fd, which is taken. */
void main_fn nbd_server_serve(NbdServer *server, int fd);
/* What is exported is there: clients that waited are served. */
void main_fn nbd_server_open(NbdServer *server);
/* Called on the main thread when a client that had chosen an export has left and there is no other
 * one. */
void main_fn nbd_server_set_idle_cb(NbdServer *server, void (*cb)(void *opaque), void *opaque);
/* NULL: there is none of that id. */
NbdServer *main_fn nbd_server_find(const char *id);
NbdServer *main_fn nbd_server_next(NbdServer *prev);
const char *main_fn nbd_server_id(const NbdServer *server);

/* Strings are borrowed. */
typedef struct NbdExportOptions {
    const char *name;
    const char *description;        /* or NULL */
    bool writable;
    bool allocation_depth;          /* clients may select qemu:allocation-depth */
    /* Clients may select qemu:dirty-bitmap:NAME: NBD_MAX_BITMAPS at most; they outlive the export.
     */
    BdrvDirtyBitmap *const *bitmaps;
    guint n_bitmaps;
    IOThread *iothread;             /* where requests run; NULL: the main thread */
} NbdExportOptions;

/* Offer @blk (borrowed; outlives the export) on @server. */
NbdExport *main_fn nbd_export_new(NbdServer *server, BlockBackend *blk,
                                  const NbdExportOptions *opts, Error **errp);
bool main_fn nbd_export_has_clients(const NbdExport *exp);
/* Ends its connections after the requests under way, then frees it. */
void co_main_fn nbd_export_free(NbdExport *exp);

#endif
