/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that shorten chains: block-commit, block-stream, change-backing-file.  Texts are QEMU's:
 * clients and test suites compare them. */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "block/blockdev.h"
#include "block/jobs.h"
#include "qapi/qapi-commands.h"
#include "qemu/log.h"

/* ---- finding images ---- */

/* A disk, whose topmost image nobody else builds on. */
static BlockDriverState *main_fn find_disk(const char *device, Error **errp)
{
    if (!blockdev_lookup(device, device, false, NULL)) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", device);
        return NULL;
    }
    return blockdev_lookup_root(device, errp);
}

static BlockDriverState *main_fn find_in_chain(BlockDriverState *disk, const char *node_name,
                                               Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(node_name);

    if (!bs) {
        error_setg(errp, "Cannot find device='' nor node-name='%s'", node_name);
    } else if (bs != disk && bs != job_image(disk) && !job_chain_has(disk, bs)) {
        error_setg(errp, "'%s' is not in this backing file chain", node_name);
        bs = NULL;
    }
    return bs;
}

/* A filter of the chain of @disk stands for the image below it. */
static BlockDriverState *main_fn find_top(BlockDriverState *disk, const char *node_name,
                                          Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(node_name), *image = job_image(bs);
    BlockDriverState *below = disk;

    while (image && below && job_image(below) != image) {
        below = job_next_image(below);
    }
    if (!image || image == bs || !below) {
        return find_in_chain(disk, node_name, errp);
    }
    return bs == disk ? disk : image;
}

/* Does @above record @filename as the name of @bs, its backing file? It may have been given another
 * one than it records. */
static bool main_fn records(const BlockDriverState *above, const BlockDriverState *bs,
                            const char *filename)
{
    if (!above->backing_file || strcmp(above->backing_file, filename) != 0) {
        return false;
    }
    g_autofree char *path = bdrv_path_combine(above->filename, filename);
    return bdrv_find_driver_of_name(filename) || strcmp(path, bs->filename) == 0;
}

/* The image below @bs that is called @filename, as a user or an overlay does; or NULL. */
static BlockDriverState *main_fn find_file(BlockDriverState *bs, const char *filename)
{
    g_autofree char *full = bdrv_path_combine(NULL, filename);

    for (BlockDriverState *above = bs; (bs = job_next_image(bs)); above = bs) {
        g_autofree char *path = bdrv_path_combine(NULL, bs->filename);
        if (strcmp(bs->filename, filename) == 0 || strcmp(path, full) == 0 ||
            records(above, bs, filename)) {
            return bs;
        }
    }
    return NULL;
}

static BlockDriverState *main_fn lowest(BlockDriverState *bs)
{
    for (BlockDriverState *next; (next = job_next_image(bs)); bs = next) {
    }
    return bs;
}

/* The image, no filter, in the chain of @disk that has @bs as its backing file. */
static BlockDriverState *main_fn image_above(BlockDriverState *disk, const BlockDriverState *bs)
{
    while (job_next_image(disk) != bs) {
        disk = job_next_image(disk);
    }
    return job_image(disk);
}

static bool main_fn exclusive(const char *a, const char *b, const char *text, Error **errp)
{
    if (a && b) {
        error_setg(errp, "%s", text);
    }
    return !a || !b;
}

/* ---- block-commit ---- */

static BlockDriverState *main_fn commit_top(const QmpBlockCommitArgs *q, BlockDriverState *disk,
                                            Error **errp)
{
    if (q->top_node) {
        return find_top(disk, q->top_node, errp);
    }
    if (!q->top || strcmp(disk->filename, q->top) == 0) {
        return disk;
    }
    BlockDriverState *bs = find_file(disk, q->top);
    if (!bs) {
        error_setg(errp, "Top image file %s not found", q->top);
    }
    return bs;
}

static BlockDriverState *main_fn commit_base(const QmpBlockCommitArgs *q, BlockDriverState *top,
                                             Error **errp)
{
    BlockDriverState *base = NULL;

    if (q->base_node) {
        base = find_in_chain(top, q->base_node, errp);
    } else if (q->base) {
        base = find_file(top, q->base);
        if (!base) {
            error_setg(errp, "Can't find '%s' in the backing chain", q->base);
        }
    } else {
        base = lowest(top);
    }
    if (base && base == job_image(top)) {
        error_setg(errp, "cannot commit an image into itself");
        return NULL;
    }
    return base;
}

static bool co_main_fn add_active_commit(Transaction *t, const QmpBlockCommitArgs *q,
                                         const JobCommon *common, BlockDriverState *top,
                                         BlockDriverState *base, Error **errp)
{
    MirrorRequest req = {
        .common = *common, .source = top, .target = base, .base = base,
        .sync = MIRROR_SYNC_TOP, .is_commit = true, .filter_name = q->filter_node_name,
    };

    if (q->backing_file) {
        error_setg(errp, "'backing-file' specified, but 'top' is the active layer");
        return false;
    }
    return mirror_action_add(t, &req, errp);
}

static bool co_main_fn add_commit(Transaction *t, const void *opaque, Error **errp)
{
    const QmpBlockCommitArgs *q = opaque;
    JobCommon common = {
        .on_source_error = blockdev_job_on_error(q->has_on_error, q->on_error),
        .on_target_error = blockdev_job_on_error(q->has_on_error, q->on_error),
        .manual_finalize = q->has_auto_finalize && !q->auto_finalize,
        .manual_dismiss = q->has_auto_dismiss && !q->auto_dismiss,
    };
    BlockDriverState *disk = find_disk(q->device, errp);
    BlockDriverState *top = disk && exclusive(q->top_node, q->top,
                                              "'top-node' and 'top' are mutually exclusive", errp)
                            ? commit_top(q, disk, errp) : NULL;
    BlockDriverState *base = top && exclusive(q->base_node, q->base,
                                              "'base-node' and 'base' are mutually exclusive", errp)
                             ? commit_base(q, top, errp) : NULL;

    if (!base ||
        !blockdev_job_common(&common, q->device, q->job_id, q->has_speed, q->speed, errp)) {
        return false;
    }
    if (job_image(top) == job_image(disk)) {
        return add_active_commit(t, q, &common, top, base, errp);
    }
    CommitRequest req = {
        .common = common, .above = image_above(disk, top), .top = top, .base = base,
        .backing_name = q->backing_file, .filter_name = q->filter_node_name,
    };
    return commit_action_add(t, &req, errp);
}

/* Clients know no other classes than QEMU's; this one they do. */
static bool co_main_fn run(TransactionAdd *add, const void *args, Error **errp)
{
    bool ok = blockdev_run_transaction(add, args, errp);

    blockdev_plain_error(errp);
    return ok;
}

bool co_main_fn qmp_block_commit(const QmpBlockCommitArgs *args, Error **errp)
{
    return run(add_commit, args, errp);
}

/* ---- block-stream ---- */

/* *@ret_base: NULL: none. */
static bool main_fn stream_base(const QmpBlockStreamArgs *q, BlockDriverState *top,
                                BlockDriverState **ret_base, Error **errp)
{
    BlockDriverState *bottom;

    *ret_base = NULL;
    if (q->base_node) {
        BlockDriverState *base = bdrv_find_node(q->base_node);
        if (!base) {
            error_setg(errp, "Cannot find device='' nor node-name='%s'", q->base_node);
        } else if (!job_chain_has(top, base)) {
            error_setg(errp, "Node '%s' is not a backing image of '%s'", q->base_node, q->device);
            base = NULL;
        }
        *ret_base = base;
        return base != NULL;
    }
    if (q->base) {
        *ret_base = find_file(top, q->base);
        if (!*ret_base) {
            error_setg(errp, "Can't find '%s' in the backing chain", q->base);
        }
        return *ret_base != NULL;
    }
    if (q->bottom) {
        bottom = bdrv_find_node(q->bottom);
        if (!bottom || (bottom != top && !job_chain_has(top, bottom))) {
            error_setg(errp, bottom ? "Node '%s' is not in a chain starting from '%s'"
                                    : "Cannot find device='' nor node-name='%s'", q->bottom,
                       q->device);
            return false;
        }
        *ret_base = job_next_image(bottom);
    }
    return true;
}

static bool main_fn check_stream(const QmpBlockStreamArgs *q, const BlockDriverState *base,
                                 Error **errp)
{
    if (!base && q->backing_file) {
        error_setg(errp, "backing file specified, but streaming the entire chain");
        return false;
    }
    return true;
}

static bool co_main_fn add_stream(Transaction *t, const void *opaque, Error **errp)
{
    const QmpBlockStreamArgs *q = opaque;
    StreamRequest req = {
        .common = {
            .on_source_error = blockdev_job_on_error(q->has_on_error, q->on_error),
            .on_target_error = blockdev_job_on_error(q->has_on_error, q->on_error),
            .manual_finalize = q->has_auto_finalize && !q->auto_finalize,
            .manual_dismiss = q->has_auto_dismiss && !q->auto_dismiss,
        },
        .backing_name = q->backing_file,
    };

    req.top = blockdev_lookup_either(q->device, errp);
    if (!req.top || !exclusive(q->base, q->base_node, "'base' and 'base-node' cannot be "
                               "specified at the same time", errp) ||
        !exclusive(q->base, q->bottom, "'base' and 'bottom' cannot be specified at the same time",
                   errp) ||
        !exclusive(q->bottom, q->base_node, "'bottom' and 'base-node' cannot be specified at the "
                   "same time", errp) ||
        !stream_base(q, req.top, &req.base, errp) || !check_stream(q, req.base, errp) ||
        !blockdev_job_common(&req.common, q->device, q->job_id, q->has_speed, q->speed, errp)) {
        return false;
    }
    return stream_action_add(t, &req, errp);
}

bool co_main_fn qmp_block_stream(const QmpBlockStreamArgs *args, Error **errp)
{
    return run(add_stream, args, errp);
}

/* ---- change-backing-file ---- */

typedef struct NewBackingName {
    BlockDriverState *bs;
    const char *name, *format;
    GPtrArray *nodes;               /* of BlockDriverState: read-only but meanwhile */
} NewBackingName;

static bool co_main_fn add_access(Transaction *t, const NewBackingName *n, bool read_only,
                                  Error **errp)
{
    GPtrArray *nodes = g_ptr_array_new(), *options = g_ptr_array_new();
    GArray *changes = g_array_new(false, false, sizeof(BdrvReopen));

    for (guint i = 0; i < n->nodes->len; i++) {
        BdrvReopen to = bdrv_reopen_same(n->nodes->pdata[i]);
        to.read_only = read_only;
        g_ptr_array_add(nodes, n->nodes->pdata[i]);
        g_array_append_val(changes, to);
    }
    return reopen_action_add(t, nodes, changes, options, errp);
}

static bool co_main_fn add_writable(Transaction *t, const void *args, Error **errp)
{
    return add_access(t, args, false, errp);
}

static bool co_main_fn add_read_only(Transaction *t, const void *args, Error **errp)
{
    return add_access(t, args, true, errp);
}

static bool co_main_fn add_name(Transaction *t, const void *args, Error **errp)
{
    const NewBackingName *n = args;

    return (n->nodes->len == 0 || add_read_only(t, n, errp)) &&
           backing_name_action_add(t, n->bs, n->name, n->format, errp);
}

/* A read-only image, and what stores it, is writable meanwhile. */
static bool co_main_fn change_name(NewBackingName *n, Error **errp)
{
    g_autoptr(GPtrArray) stores = bdrv_stores(n->bs), nodes = g_ptr_array_new();
    Error *err = NULL;

    for (guint i = 0; i < stores->len; i++) {
        if (((BlockDriverState *)stores->pdata[i])->read_only) {
            g_ptr_array_add(nodes, stores->pdata[i]);
        }
    }
    n->nodes = nodes;
    if (nodes->len > 0 && !run(add_writable, n, errp)) {
        return false;
    }
    if (run(add_name, n, errp)) {
        return true;
    }
    if (nodes->len > 0 && !run(add_read_only, n, &err)) {
        log_line("image '%s' stays writable: %s", n->bs->filename, error_get_pretty(err));
        error_free(err);
    }
    return false;
}

static bool co_main_fn change_backing_name(BlockDriverState *bs, const char *name, Error **errp)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "change-backing-file" };
    BdrvLink *keep = bdrv_link_new(bs, &spec, &error_abort);
    NewBackingName n = {
        .bs = bs, .name = name[0] ? name : NULL, .format = job_next_image(bs)->drv->name,
    };
    bool ok = change_name(&n, errp);

    if (!ok) {
        error_prepend(errp, "Could not change backing file to '%s': ", name);
    }
    bdrv_link_free(keep);
    return ok;
}

bool co_main_fn qmp_change_backing_file(const QmpChangeBackingFileArgs *args, Error **errp)
{
    BlockDriverState *disk = blockdev_lookup_root(args->device, errp);
    BlockDriverState *bs = disk ? bdrv_find_node(args->image_node_name) : NULL;

    if (disk && !bs) {
        error_setg(errp, "Cannot find device='' nor node-name='%s'", args->image_node_name);
    } else if (disk && !job_next_image(bs)) {
        error_setg(errp, "not allowing backing file change on an image without a backing file");
    } else if (disk && bs != disk && !job_chain_has(disk, bs)) {
        error_setg(errp, "'%s' and image file are not in the same backing chain", args->device);
    } else {
        return disk && change_backing_name(bs, args->backing_file, errp);
    }
    return false;
}
