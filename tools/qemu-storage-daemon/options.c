/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What each option does. */
#include "qemu/osdep.h"

#include "block/backend.h"
#include "block/snapshot.h"
#include "block/qcow2.h"
#include "nbd/server.h"
#include "qsd.h"
#include "tools/common/options.h"

bool co_main_fn qsd_apply_blockdev(const char *value, Error **errp)
{
    g_autoptr(BlockdevOptions) opts = NULL;

    return TOOL_PARSE_OPTION(BlockdevOptions, value, "driver", &opts, errp) &&
           blockdev_add_node(opts, errp);
}

bool co_main_fn qsd_apply_export(const char *value, Error **errp)
{
    g_autoptr(BlockExportOptions) opts = NULL;

    return TOOL_PARSE_OPTION(BlockExportOptions, value, "type", &opts, errp) &&
           blockdev_export_add(opts, errp);
}

bool co_main_fn qsd_apply_nbd_server(const char *value, Error **errp)
{
    g_autoptr(NbdServerOptions) opts = NULL;

    if (!TOOL_PARSE_OPTION(NbdServerOptions, value, NULL, &opts, errp)) {
        return false;
    }
    NbdServerLimits limits = blockdev_nbd_limits(
        opts->has_max_connections, opts->max_connections, opts->has_handshake_max_seconds,
        opts->handshake_max_seconds);
    limits.closed = true;           /* until all options have taken effect */
    return blockdev_nbd_server_start(opts->id, opts->addr, &limits, errp);
}

bool co_main_fn qsd_apply_overlay_layout(const char *value, Error **errp)
{
    g_autoptr(QDict) dict = keyval_parse_flat(value, NULL, errp);
    SnapshotLayout layout = { 0 };
    uint64_t cluster_size = 0;

    if (!dict) {
        return false;
    }
    const char *size = qdict_get_str(dict, "cluster-size");
    const char *l2 = qdict_get_str(dict, "extended-l2");
    if (size && !keyval_parse_size(size, &cluster_size, errp)) {
        return false;
    }
    if (l2 && !keyval_parse_bool(l2, &layout.extended_l2)) {
        error_setg(errp, "extended-l2 must be 'on' or 'off'");
        return false;
    }
    layout.has_extended_l2 = l2 != NULL;
    layout.cluster_size = !size ? 0 : CLAMP(cluster_size, 1, (uint64_t)INT64_MAX);
    return snapshot_set_layout(&layout, errp);
}

bool co_main_fn qsd_apply_metadata_cache(const char *value, Error **errp)
{
    uint64_t bytes;

    if (!keyval_parse_size(value, &bytes, errp)) {
        return false;
    }
    qcow2_cache_set_global_budget(bytes);
    return true;
}

bool co_main_fn qsd_apply_overlay_warnings(const char *value, Error **errp)
{
    bool on;

    if (!keyval_parse_bool(value, &on)) {
        error_setg(errp, "takes 'on' or 'off'");
        return false;
    }
    blockdev_set_overlay_warnings(on);
    return true;
}

bool co_main_fn qsd_apply_nbd_memory(const char *value, Error **errp)
{
    uint64_t bytes;

    return keyval_parse_size(value, &bytes, errp) && nbd_set_memory(bytes, errp);
}

/* ---- --drive ---- */

typedef struct DriveOptions {
    const char *id, *file, *format, *node_name;
    bool read_only, copy_on_read, discard;
    ToolCache cache;
    FileAio aio;
    BdrvDetectZeroes detect_zeroes;
} DriveOptions;

static bool parse_bool_value(const char *key, const char *value, bool *ret, Error **errp)
{
    if (!keyval_parse_bool(value, ret)) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", key);
        return false;
    }
    return true;
}

static bool parse_cache(const char *mode, DriveOptions *d, Error **errp)
{
    if (!tool_parse_cache(mode, &d->cache)) {
        error_setg(errp, "invalid cache option: '%s'", mode);
        return false;
    }
    return true;
}

static bool parse_aio(const char *value, FileAio *ret, Error **errp)
{
    if (!tool_parse_aio(value, ret)) {
        error_setg(errp, "invalid aio option: '%s' is none of threads, native, io_uring", value);
        return false;
    }
    return true;
}

static bool set_drive_key(DriveOptions *d, const char *key, const char *value, Error **errp)
{
    if (strcmp(key, "id") == 0) {
        d->id = value;
    } else if (strcmp(key, "file") == 0) {
        d->file = value;
    } else if (strcmp(key, "format") == 0 || strcmp(key, "driver") == 0) {
        d->format = value;
    } else if (strcmp(key, "node-name") == 0) {
        d->node_name = value;
    } else if (strcmp(key, "readonly") == 0 || strcmp(key, "read-only") == 0) {
        return parse_bool_value(key, value, &d->read_only, errp);
    } else if (strcmp(key, "copy-on-read") == 0) {
        return parse_bool_value(key, value, &d->copy_on_read, errp);
    } else if (strcmp(key, "cache") == 0) {
        return parse_cache(value, d, errp);
    } else if (strcmp(key, "discard") == 0) {
        d->discard = strcmp(value, "unmap") == 0 || strcmp(value, "on") == 0;
    } else if (strcmp(key, "detect-zeroes") == 0) {
        d->detect_zeroes = strcmp(value, "unmap") == 0 ? BDRV_DETECT_ZEROES_UNMAP :
                           strcmp(value, "on") == 0    ? BDRV_DETECT_ZEROES_ON
                                                       : BDRV_DETECT_ZEROES_OFF;
    } else if (strcmp(key, "aio") == 0) {
        return parse_aio(value, &d->aio, errp);
    } else if (strcmp(key, "if") == 0 && strcmp(value, "none") == 0) {
        return true;
    } else {
        error_setg(errp, "--drive does not support %s=%s", key, value);
        return false;
    }
    return true;
}

static bool parse_drive(const QDict *dict, DriveOptions *d, Error **errp)
{
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(dict, i, &key, &value); i++) {
        if (!set_drive_key(d, key, qobject_get_str(value), errp)) {
            return false;
        }
    }
    if (!d->id) {
        error_setg(errp, "--drive requires id=");
        return false;
    }
    return true;
}

/* @opts, which it takes, behind a filter that copies what is read of backing files. */
static BdrvOpenOptions *main_fn copy_on_read(BdrvOpenOptions *opts)
{
    BdrvOpenOptions *filter = bdrv_open_options_new("copy-on-read");

    filter->discard = opts->discard;
    filter->file.options = opts;
    return filter;
}

static BdrvOpenOptions *co_main_fn drive_open_options(const DriveOptions *d, Error **errp)
{
    BdrvOpenOptions *opts = bdrv_options_from_filename(d->file, d->format, NULL, errp);

    if (!opts) {
        return NULL;
    }
    if (d->copy_on_read && d->read_only) {
        error_setg(errp, "Can't use copy-on-read on read-only device");
        bdrv_open_options_free(opts);
        return NULL;
    }
    if (!d->format && !d->read_only && strcmp(opts->driver, "raw") == 0) {
        /* A guest could write another format's header into it and have us follow it next time. */
        error_setg(errp, "The format of '%s' was not specified, and guessing it for a writable "
                   "disk is not safe: specify format=raw or another one", d->file);
        bdrv_open_options_free(opts);
        return NULL;
    }
    opts->node_name = g_strdup(d->node_name);
    opts->discard = d->discard;
    opts->detect_zeroes = d->detect_zeroes;
    for (BdrvOpenOptions *o = opts; o; o = o->file.options) {
        o->read_only = d->read_only;
        o->cache_direct = d->cache.direct;
        o->cache_no_flush = d->cache.no_flush;
        if (o != opts) {
            o->discard = true;
            o->u.file.aio = d->aio;
        }
    }
    return d->copy_on_read ? copy_on_read(opts) : opts;
}

static bool co_main_fn add_drive(const DriveOptions *d, Error **errp)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "--drive" };
    BdrvLink *link = NULL;
    bool ok;

    if (d->file) {
        g_autoptr(BdrvOpenOptions) opts = drive_open_options(d, errp);
        link = opts ? bdrv_open(opts, &spec, errp) : NULL;
        if (!link) {
            return false;
        }
    }
    ok = blockdev_drive_add(d->id, link ? link->bs : NULL, !d->cache.writethrough, errp);
    bdrv_link_free(link);           /* the backend holds the node now */
    return ok;
}

bool co_main_fn qsd_apply_drive(const char *value, Error **errp)
{
    DriveOptions d = { 0 };
    g_autoptr(QDict) dict = keyval_parse_flat(value, "file", errp);

    if (!dict || !parse_drive(dict, &d, errp)) {
        return false;
    }
    bdrv_graph_lock();
    bool ok = add_drive(&d, errp);
    bdrv_graph_unlock();
    if (ok && d.file) {
        blockdev_warn_of_overlays(blk_bs(blk_find(d.id)));
    }
    return ok;
}
