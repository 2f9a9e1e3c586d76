/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exports: a node offered to clients through a backend of its own. */
#ifndef BLOCK_EXPORT_H
#define BLOCK_EXPORT_H

#include "block/backend.h"
#include "block/dirty-bitmap.h"
#include "qemu/iothread.h"

typedef struct BlkExport BlkExport;

/* Strings are borrowed. */
typedef struct BlkExportOptions {
    const char *type;               /* "nbd" */
    const char *id;                 /* of the export and its backend */
    BlockDriverState *bs;
    bool writable;
    bool writethrough;              /* every write is durable when it is answered */
    BlkOnError rerror, werror;
    IOThread *iothread;             /* NULL: main thread */

    /* nbd */
    const char *nbd_server;         /* id of the server */
    const char *nbd_name;
    const char *nbd_description;    /* or NULL */
    bool nbd_allocation_depth;      /* clients may ask in which image of the chain data is */
    GPtrArray *bitmaps;             /* of BdrvDirtyBitmap, each once, none of them busy; clients may
                                     * ask what is dirty in them; NULL: none */
} BlkExportOptions;

/* What a type of export does; one table a type. */
typedef struct BlkExportDriver {
    const char *type;
    size_t instance_size;           /* BlkExport is its first member */
    bool (*start)(BlkExport *exp, const BlkExportOptions *opts, Error **errp);
    bool (*in_use)(BlkExport *exp);
    void (*co_stop)(BlkExport *exp);
} BlkExportDriver;

struct BlkExport {
    const BlkExportDriver *drv;
    char *id;
    BlockBackend *blk;
    IOThread *iothread;
    bool shutting_down;
    bool ends_with_medium;          /* it is of a drive, whose medium may be taken out */
    GPtrArray *bitmaps;             /* of BdrvDirtyBitmap: busy, and their nodes kept, by it */
    GPtrArray *bitmap_links;        /* of BdrvLink */
    BlkExport *prev, *next;         /* all exports, oldest first */
};

/* Each type does this before main(). */
void any_fn blk_export_register(const BlkExportDriver *drv);

/* Under the graph mutex. */
BlkExport *co_main_fn blk_export_add(const BlkExportOptions *opts, Error **errp);
/* Ends its clients' connections (after the requests under way) and frees it.  Not under the graph
 * mutex, which it takes itself: what a slow disk makes it wait for must hold up nobody else. */
void co_main_fn blk_export_del(BlkExport *exp);
bool main_fn blk_export_in_use(BlkExport *exp);
BlkExport *main_fn blk_export_find(const char *id);
BlkExport *main_fn blk_export_next(BlkExport *prev);
/* Called with the id of every export that is gone. */
void main_fn blk_export_set_deleted_cb(void (*cb)(const char *id));
/* Delete all exports of the NBD server @server_id. */
void co_main_fn blk_export_del_of_nbd_server(const char *server_id);
/* The one of that name on that server, NULL: none. */
BlkExport *main_fn blk_export_find_nbd(const char *server_id, const char *name);
void co_main_fn blk_export_del_all(void);

#endif
