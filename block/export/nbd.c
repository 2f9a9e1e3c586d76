/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exports of type nbd: the tie between an export and the NBD server. */
#include "qemu/osdep.h"

#include "block/export.h"
#include "nbd/server.h"

typedef struct NbdBlkExport {
    BlkExport common;
    char *server_id, *name;
    NbdExport *nbd;
} NbdBlkExport;

#define NBD_BLK_EXPORT(exp) container_of(exp, NbdBlkExport, common)

static bool main_fn nbd_blk_start(BlkExport *exp, const BlkExportOptions *opts, Error **errp)
{
    NbdBlkExport *ne = NBD_BLK_EXPORT(exp);
    NbdServer *server = nbd_server_find(opts->nbd_server);

    if (!server) {
        error_setg(errp, "NBD server not running");
        return false;
    }
    NbdExportOptions nbd_opts = {
        .name = opts->nbd_name, .description = opts->nbd_description, .writable = opts->writable,
        .allocation_depth = opts->nbd_allocation_depth, .iothread = opts->iothread,
        .bitmaps = (BdrvDirtyBitmap *const *)exp->bitmaps->pdata, .n_bitmaps = exp->bitmaps->len,
    };
    ne->nbd = nbd_export_new(server, exp->blk, &nbd_opts, errp);
    if (!ne->nbd) {
        return false;
    }
    g_autofree char *user = g_strdup_printf("NBD export '%s'", opts->nbd_name);
    blk_set_user(exp->blk, user);
    ne->server_id = g_strdup(opts->nbd_server);
    ne->name = g_strdup(opts->nbd_name);
    return true;
}

static bool main_fn nbd_blk_in_use(BlkExport *exp)
{
    return nbd_export_has_clients(NBD_BLK_EXPORT(exp)->nbd);
}

static void co_main_fn nbd_blk_stop(BlkExport *exp)
{
    NbdBlkExport *ne = NBD_BLK_EXPORT(exp);

    nbd_export_free(g_steal_pointer(&ne->nbd));
    g_free(ne->server_id);
    g_free(ne->name);
}

static const BlkExportDriver nbd_export_driver = {
    .type           = "nbd",
    .instance_size  = sizeof(NbdBlkExport),
    .start          = nbd_blk_start,
    .in_use         = nbd_blk_in_use,
    .co_stop        = nbd_blk_stop,
};

static void __attribute__((constructor)) nbd_export_init(void)
{
    blk_export_register(&nbd_export_driver);
}

BlkExport *main_fn blk_export_find_nbd(const char *server_id, const char *name)
{
    for (BlkExport *exp = blk_export_next(NULL); exp; exp = blk_export_next(exp)) {
        NbdBlkExport *ne = NBD_BLK_EXPORT(exp);
        if (exp->drv == &nbd_export_driver && !exp->shutting_down &&
            strcmp(ne->server_id, server_id) == 0 && strcmp(ne->name, name) == 0) {
            return exp;
        }
    }
    return NULL;
}

void co_main_fn blk_export_del_of_nbd_server(const char *server_id)
{
    for (BlkExport *exp = blk_export_next(NULL); exp; ) {
        NbdBlkExport *ne = NBD_BLK_EXPORT(exp);
        if (exp->drv == &nbd_export_driver && !exp->shutting_down &&
            strcmp(ne->server_id, server_id) == 0) {
            blk_export_del(exp);
            exp = blk_export_next(NULL);        /* the list may have changed while we waited */
        } else {
            exp = blk_export_next(exp);
        }
    }
}
