/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image that drive-backup and drive-mirror copy to: made, or opened if it exists, as an action
 * that comes before the job's in the same transaction.  What keeps files safe: T1 to T3 in
 * block/protocols/file/new-file.c; a file with something in it is refused and stays.
 */
#include "qemu/osdep.h"

#include "block/jobs.h"
#include "block/new-file.h"
#include "block/snapshot.h"

typedef struct NewImageAction {
    BdrvAction action;
    NewImageRequest req;            /* strings are copies */
    NewFile *file;                  /* NULL: the image exists */
    BdrvLink *link;                 /* the action's own, on the image */
    bool backing_linked;
} NewImageAction;

static NewImageAction *of(BdrvAction *a)
{
    return container_of(a, NewImageAction, action);
}

static bool co_main_fn new_image_take(BdrvAction *a, Error **errp)
{
    NewImageAction *n = of(a);

    if (!n->req.existing) {
        n->file = new_file_prepare(n->req.filename, errp);
    }
    return n->req.existing || n->file;
}

/* As the disk that is copied, as far as that concerns a file. */
static void main_fn inherit(const NewImageAction *n, BdrvOpenOptions *opts)
{
    opts->cache_direct = n->req.source->cache_direct;
    opts->cache_no_flush = n->req.source->cache_no_flush;
    opts->discard = true;
}

static BdrvLink *co_main_fn open_file(NewImageAction *n, Error **errp)
{
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_READ,
        .holder = "a new image", .hidden = true,
    };
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new(new_file_driver(n->file));

    inherit(n, opts);
    opts->u.file.filename = g_strdup(new_file_name(n->file));
    opts->u.file.fd = new_file_dup(n->file, opts->cache_direct, errp);
    return opts->u.file.fd < 0 ? NULL : bdrv_open(opts, &spec, errp);
}

static bool co_main_fn lay_out(NewImageAction *n, BdrvLink *file, Error **errp)
{
    const char *format = NULL;
    g_autofree char *backing = n->req.backing ? bdrv_backing_name(n->req.backing, &format, errp)
                                              : NULL;
    BdrvCreateOptions create = { .size = bdrv_length(n->req.source),
                                 .has_name = new_file_has_name(n->file) };

    if (n->req.backing && !backing) {
        return false;
    }
    if (strcmp(n->req.format, "qcow2") == 0) {
        create.u.qcow2 = (Qcow2CreateOptions){
            .version = 3, .cluster_size = 64 * KiB, .refcount_bits = 16,
            .backing_file = backing, .backing_fmt = (char *)format,
        };
    }
    if (new_file_note) {
        new_file_note(n->req.filename, n->req.format, &create);
    }
    if (!bdrv_co_create(bdrv_find_driver(n->req.format), file, &create, errp)) {
        return false;
    }
    int ret = bdrv_co_flush(file, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot write the new image '%s'", n->req.filename);
    }
    return ret == 0;
}

/* @file NULL: what the name leads to. */
static BdrvLink *co_main_fn open_image(NewImageAction *n, BdrvLink *file, Error **errp)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "a new image", .hidden = true };
    g_autoptr(BdrvOpenOptions) opts = NULL;

    if (file) {
        opts = bdrv_open_options_new(n->req.format);
        opts->file.node = file->bs;
    } else {
        opts = bdrv_options_from_filename(n->req.filename, n->req.format, NULL, errp);
        if (!opts) {
            return NULL;
        }
        opts->read_only = false;
        for (BdrvOpenOptions *o = opts->file.options; o; o = o->file.options) {
            o->read_only = false;
            inherit(n, o);
        }
    }
    inherit(n, opts);
    opts->node_name = g_strdup(n->req.node_name);
    opts->no_backing_open = n->req.backing != NULL;
    return bdrv_open(opts, &spec, errp);
}

static bool co_main_fn make_new(NewImageAction *n, Error **errp)
{
    BdrvLink *file = open_file(n, errp);

    if (!file) {
        return false;
    }
    bool ok = new_file_claim(n->file, errp) && lay_out(n, file, errp) &&
              new_file_sync_dir(n->file, errp) && new_file_open_by_name(n->file, file->bs, errp);
    if (ok) {
        /* The link keeps others out while the format's own takes over. */
        bdrv_link_set_claims(file, CLAIM_NONE, CLAIM_ALL, NULL);
        n->link = open_image(n, file, errp);
    }
    bdrv_link_free(file);
    return n->link != NULL;
}

static bool co_main_fn new_image_make(BdrvAction *a, Error **errp)
{
    NewImageAction *n = of(a);

    if (n->file) {
        return make_new(n, errp);
    }
    n->link = open_image(n, NULL, errp);
    return n->link != NULL;
}

static bool co_main_fn new_image_prepare(BdrvAction *a, Error **errp)
{
    NewImageAction *n = of(a);

    if (n->req.backing && n->link->bs->drv->supports_backing) {
        n->backing_linked = bdrv_attach_backing(n->link->bs, n->req.backing, errp);
        return n->backing_linked;
    }
    return true;
}

static void main_fn new_image_commit(BdrvAction *a)
{
    bdrv_show(of(a)->link->bs);
}

static void co_main_fn new_image_abort(BdrvAction *a)
{
    NewImageAction *n = of(a);

    if (n->backing_linked) {
        bdrv_link_free(bdrv_remove_child(n->link->bs->backing));
    }
    bdrv_link_free(g_steal_pointer(&n->link));
    new_file_abort(g_steal_pointer(&n->file));
}

/* It lives as long as the job, or whoever is moved to it. */
static void co_main_fn new_image_clean(BdrvAction *a)
{
    bdrv_link_free(g_steal_pointer(&of(a)->link));
    new_file_commit(g_steal_pointer(&of(a)->file));
}

static void main_fn new_image_release(BdrvAction *a)
{
    NewImageAction *n = of(a);

    g_free((char *)n->req.filename);
    g_free((char *)n->req.format);
    g_free((char *)n->req.node_name);
}

static const BdrvActionOps new_image_ops = {
    .holder        = "a new image",
    .instance_size = sizeof(NewImageAction),
    .co_take       = new_image_take,
    .co_make       = new_image_make,
    .co_prepare    = new_image_prepare,
    .commit        = new_image_commit,
    .co_abort      = new_image_abort,
    .co_clean      = new_image_clean,
    .release       = new_image_release,
};

static bool main_fn check(const NewImageRequest *req, Error **errp)
{
    const BlockDriver *drv = req->format ? bdrv_find_driver(req->format) : NULL;

    if (req->format && !drv) {
        error_setg(errp, "Unknown driver '%s'", req->format);
        return false;
    }
    if (!req->existing && !drv->co_create) {
        error_setg(errp, "Driver '%s' does not support image creation", req->format);
        return false;
    }
    if (!req->existing && req->backing && !drv->supports_backing) {
        error_setg(errp, "Cannot make '%s': format '%s' has no backing files", req->filename,
                   req->format);
        return false;
    }
    return !req->node_name || bdrv_check_node_name(req->node_name, errp);
}

BlockDriverState *co_main_fn new_image_action_add(Transaction *t, const NewImageRequest *req,
                                                  Error **errp)
{
    if (!check(req, errp)) {
        return NULL;
    }
    NewImageAction *n = transaction_add(t, &new_image_ops,
                                        g_strdup_printf("make '%s'", req->filename));
    n->req = *req;
    n->req.filename = g_strdup(req->filename);
    n->req.format = g_strdup(req->format);
    n->req.node_name = g_strdup(req->node_name);
    if (!transaction_pin(&n->action, req->source, 0, errp) ||
        (req->backing && !transaction_pin(&n->action, req->backing, 0, errp))) {
        transaction_drop_last(t);
        return NULL;
    }
    return transaction_settle(t, errp) ? n->link->bs : NULL;
}
