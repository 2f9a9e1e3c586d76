/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands for exports and NBD servers. */
#include "qemu/osdep.h"

#include "block/activity.h"
#include "block/blockdev.h"
#include "block/export.h"
#include "nbd/server.h"
#include "qapi/qapi-commands.h"
#include "qapi/sockets.h"
#include "qapi/qapi-events.h"

static const char *server_id(const char *id)
{
    return id ?: BLOCKDEV_DEFAULT_NBD_SERVER;
}

/* ---- servers ---- */

bool co_main_fn blockdev_nbd_server_start(const char *id, const SocketAddress *addr,
                                          const NbdServerLimits *limits, Error **errp)
{
    SocketSpec spec;

    if (nbd_server_find(server_id(id))) {
        error_setg(errp, "NBD server already running");
        return false;
    }
    bool ok = socket_spec_from_qapi(addr, &spec, errp) &&
              nbd_server_start(server_id(id), &spec, limits, errp);
    socket_spec_clear(&spec);
    return ok;
}

NbdServerLimits any_fn blockdev_nbd_limits(bool has_connections, uint32_t connections,
                                           bool has_seconds, uint32_t seconds)
{
    return (NbdServerLimits){
        .max_connections = has_connections ? connections : NBD_DEFAULT_MAX_CONNECTIONS,
        .handshake_seconds = has_seconds ? seconds : NBD_DEFAULT_HANDSHAKE_SECONDS,
    };
}

bool co_main_fn qmp_nbd_server_start(const QmpNbdServerStartArgs *args, Error **errp)
{
    SocketAddress addr = { 0 };

    socket_address_flatten(args->addr, &addr);
    NbdServerLimits limits = blockdev_nbd_limits(
        args->has_max_connections, args->max_connections, args->has_handshake_max_seconds,
        args->handshake_max_seconds);
    return blockdev_nbd_server_start(args->id, &addr, &limits, errp);
}

bool co_main_fn qmp_nbd_server_stop(const QmpNbdServerStopArgs *args, Error **errp)
{
    const char *id = server_id(args->id);
    NbdServer *server = nbd_server_find(id);

    if (!server) {
        error_setg(errp, "NBD server not running");
        return false;
    }
    blk_export_del_of_nbd_server(id);
    server = nbd_server_find(id);
    if (server) {
        nbd_server_stop(server);
    }
    return true;
}

/* ---- exports ---- */

static bool main_fn find_iothread(const BlockExportOptions *opts, IOThread **ret, Error **errp)
{
    *ret = opts->iothread ? blockdev_find_iothread(opts->iothread) : NULL;
    if (opts->iothread && !*ret) {
        error_setg(errp, "iothread \"%s\" not found", opts->iothread);
        return false;
    }
    return true;
}

/* ---- their bitmaps ---- */

/* The bitmap of that name of @bs or of what it shows: by filters, and from its backing files. */
static BdrvDirtyBitmap *main_fn find_below(BlockDriverState *bs, const char *name, Error **errp)
{
    while (bs) {
        BdrvDirtyBitmap *b = bdrv_find_dirty_bitmap(bs, name);
        BdrvLink *below = bs->drv->is_filter ? bs->file : bs->backing;

        if (b) {
            return b;
        }
        bs = below ? below->bs : NULL;
    }
    error_setg(errp, "Bitmap '%s' is not found", name);
    return NULL;
}

/* Where the clients of an export that cannot be written ask, answers do not change. */
static bool main_fn add_bitmap(GPtrArray *bitmaps, BdrvDirtyBitmap *b, bool writable, Error **errp)
{
    if (!b || !bdrv_dirty_bitmap_check(b, BDRV_BITMAP_TO_READ, errp)) {
        return false;
    }
    if (!writable && !bdrv_dirty_bitmap_node(b)->read_only && bdrv_dirty_bitmap_enabled(b)) {
        error_setg(errp, "Enabled bitmap '%s' incompatible with readonly export",
                   bdrv_dirty_bitmap_name(b));
        return false;
    }
    if (!g_ptr_array_find(bitmaps, b, NULL)) {
        g_ptr_array_add(bitmaps, b);
    }
    return true;
}

/* Does not yield. */
static bool main_fn find_bitmaps(GPtrArray *bitmaps, BlockDriverState *bs, bool writable,
                                 const BlockDirtyBitmapOrStrList *l, Error **errp)
{
    for (; l; l = l->next) {
        BdrvDirtyBitmap *b = l->value->type == QTYPE_QSTRING
                             ? find_below(bs, l->value->u.local, errp)
                             : blockdev_find_bitmap(&l->value->u.external, errp);

        if (!add_bitmap(bitmaps, b, writable, errp)) {
            return false;
        }
    }
    return true;
}

bool co_main_fn blockdev_export_add(const BlockExportOptions *q, Error **errp)
{
    g_autoptr(GPtrArray) bitmaps = g_ptr_array_new();
    BlkExportOptions opts = {
        .type = BlockExportType_str(q->type), .id = q->id,
        .writable = q->has_writable && q->writable,
        .writethrough = q->has_writethrough && q->writethrough,
        .rerror = blockdev_on_error(q->has_rerror, q->rerror, false),
        .werror = blockdev_on_error(q->has_werror, q->werror, true),
        .nbd_server = server_id(q->u.nbd.server), .nbd_name = q->u.nbd.name ?: q->node_name,
        .nbd_description = q->u.nbd.description,
        .nbd_allocation_depth = q->u.nbd.has_allocation_depth && q->u.nbd.allocation_depth,
    };

    if (!q->id[0]) {
        error_setg(errp, "Invalid block export id");
        return false;
    }
    if (!find_iothread(q, &opts.iothread, errp)) {
        return false;
    }
    opts.bs = blockdev_lookup_unchanged(q->node_name, errp);
    if (opts.bs && opts.bs->inactive && !blockdev_activate(opts.bs, errp)) {
        return false;               /* the machine's disk comes before it */
    }
    opts.bitmaps = bitmaps;
    bool ok = opts.bs && find_bitmaps(bitmaps, opts.bs, opts.writable, q->u.nbd.bitmaps, errp);
    if (ok && opts.writable) {
        opts.bs = bdrv_with_implicit(opts.bs);
    }
    ok = ok && blk_export_add(&opts, errp);
    blockdev_plain_error(errp);
    return ok;
}

bool co_main_fn qmp_block_export_add(const BlockExportOptions *args, Error **errp)
{
    return blockdev_export_add(args, errp);
}

static bool co_main_fn del_export(BlkExport *exp, bool hard, Error **errp)
{
    if (!hard && blk_export_in_use(exp)) {
        error_setg(errp, "export '%s' still in use", exp->id);
        return false;
    }
    blk_export_del(exp);
    return true;
}

bool co_main_fn qmp_block_export_del(const QmpBlockExportDelArgs *args, Error **errp)
{
    BlkExport *exp = blk_export_find(args->id);
    bool ok = false;

    if (!exp) {
        error_setg(errp, "Export '%s' is not found", args->id);
    } else if (exp->shutting_down) {
        error_setg(errp, "Export '%s' is already shutting down", args->id);
    } else {
        ok = del_export(exp, args->has_mode && args->mode == BLOCK_EXPORT_REMOVE_MODE_HARD, errp);
    }
    return ok;
}

bool co_main_fn qmp_nbd_server_add(const NbdServerAddOptions *args, Error **errp)
{
    const char *name = args->name ?: args->device;
    BlockExportOptions opts = { .type = BLOCK_EXPORT_TYPE_NBD, .id = (char *)name,
                                .node_name = args->device };
    BlockDriverState *bs = blockdev_lookup(args->device, args->device, false, errp);

    if (!bs) {
        return false;
    }
    opts.has_writable = true;
    opts.writable = args->has_writable && args->writable && (!bs->read_only || bs->inactive);
    opts.u.nbd.name = (char *)name;
    opts.u.nbd.description = args->description;
    opts.u.nbd.server = args->server;
    BlockDirtyBitmapOrStr bitmap = { .type = QTYPE_QSTRING, .u.local = args->bitmap };
    BlockDirtyBitmapOrStrList bitmaps = { .value = &bitmap };
    opts.u.nbd.bitmaps = args->bitmap ? &bitmaps : NULL;
    if (!blockdev_export_add(&opts, errp)) {
        return false;
    }
    /* That of a drive is of its medium; that of a node stays. */
    blk_export_find(name)->ends_with_medium = blk_find(args->device) != NULL;
    return true;
}

bool co_main_fn qmp_nbd_server_remove(const QmpNbdServerRemoveArgs *args, Error **errp)
{
    BlkExport *exp = blk_export_find_nbd(server_id(args->server), args->name);
    bool ok = false;

    if (exp) {
        ok = del_export(exp, args->has_mode && args->mode == BLOCK_EXPORT_REMOVE_MODE_HARD, errp);
    } else {
        error_setg(errp, "Export '%s' is not found", args->name);
    }
    return ok;
}

bool co_main_fn qmp_query_block_exports(BlockExportInfoList **ret, Error **errp)
{
    BlockExportInfoList *list = NULL, **tail = &list;

    for (BlkExport *exp = blk_export_next(NULL); exp; exp = blk_export_next(exp)) {
        BlockExportInfo *info = g_new0(BlockExportInfo, 1);
        BlockDriverState *bs = bdrv_skip_implicit(blk_bs(exp->blk));
        info->id = g_strdup(exp->id);
        info->type = BLOCK_EXPORT_TYPE_NBD;
        info->node_name = g_strdup(bs ? bs->node_name : "");
        info->shutting_down = exp->shutting_down;
        BlockExportInfoList_append(&tail, info);
    }
    *ret = list;
    return true;
}

static void main_fn export_deleted(const char *id)
{
    EventBlockExportDeletedArgs ev = { .id = (char *)id };

    qapi_event_send_block_export_deleted(&ev);
}

/* ---- the end ---- */

/* Backends that --drive made; exports' backends belong to their exports. */
static void co_main_fn free_drives(void)
{
    BlockBackend *blk;

    while ((blk = blk_next(NULL))) {
        blk_free(blk);
    }
}

void co_main_fn blockdev_shutdown(void)
{
    NbdServer *server;

    blockdev_jobs_shutdown();
    blk_export_del_all();
    while ((server = nbd_server_next(NULL))) {
        nbd_server_stop(server);
    }
    bdrv_outliving_work_wait();
    free_drives();
    bdrv_close_all();
    blockdev_delete_all_objects();
}

void main_fn blockdev_init(void)
{
    blockdev_io_error_init();
    blockdev_jobs_init();
    bdrv_json_options_parser = blockdev_options_from_json;
    blk_export_set_deleted_cb(export_deleted);
}

bool co_main_fn blockdev_drive_add(const char *id, BlockDriverState *bs, bool write_cache,
                                   Error **errp)
{
    /* It only holds the image; who uses it (an export, a device) has a backend of its own. */
    BlockBackend *blk = blk_new(id, CLAIM_NONE, CLAIM_ALL, errp);

    if (!blk) {
        return false;
    }
    blk_set_write_cache(blk, write_cache);
    if (bs && !blk_insert(blk, bs, errp)) {
        blk_free(blk);
        return false;
    }
    return true;
}
