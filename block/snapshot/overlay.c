/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making one overlay, up to where only the pivot is left, and undoing that. */
#include "qemu/osdep.h"

#include "block/snapshot/snapshot-internal.h"

/* ---- the file ---- */

/* The opened image that is stored in the file @id, or NULL. */
static BlockDriverState *main_fn node_of_file(BdrvFileId id)
{
    for (BlockDriverState *bs = bdrv_next_of_all_nodes(NULL); bs;
         bs = bdrv_next_of_all_nodes(bs)) {
        BdrvFileId other;
        if (bs->drv->get_identity && bs->drv->get_identity(bs, &other) &&
            file_id_equal(id, other)) {
            return bs;
        }
    }
    return NULL;
}

/* Not a file that any chain of this process uses, under whatever name. */
static bool main_fn check_not_open(SnapshotAction *s, BdrvFileId id, Error **errp)
{
    BlockDriverState *bs = node_of_file(id);

    if (!bs) {
        return true;
    }
    GList *user = bs->followers.head ?: bs->others.head;
    g_autofree char *holder = user ? bdrv_link_describe(user->data) : NULL;
    error_set_class(errp, ERROR_CLASS_DEVICE_IN_USE,
                    "Cannot use '%s' for the snapshot of '%s': the file is in use by %s",
                    s->req.filename, s->req.device, holder ?: bs->node_name);
    return false;
}

/* Not the file of an earlier member either. */
bool main_fn snapshot_check_taken(BdrvAction *a, Error **errp)
{
    SnapshotAction *s = container_of(a, SnapshotAction, action), *other;

    if (!s->file) {
        return true;
    }
    SNAPSHOT_FOREACH(a->txn, a->index, other) {
        if (other->file && new_file_equal(s->file, other->file)) {
            error_setg(errp, "Cannot use '%s' for the snapshot of '%s': it is the same file as "
                       "'%s'",
                       s->req.filename, s->req.device, other->req.filename);
            return false;
        }
    }
    /* Once more: what was looked at by name may have been exchanged before it was opened. */
    return check_not_open(s, new_file_id(s->file), errp);
}

/* Errors without a class of their own say that the image could not be made. */
static void set_open_failed(Error *err)
{
    if (error_get_class(err) == ERROR_CLASS_GENERIC_ERROR) {
        error_change_class(err, ERROR_CLASS_OPEN_FILE_FAILED);
    }
}

bool co_main_fn snapshot_take(BdrvAction *a, Error **errp)
{
    SnapshotAction *s = container_of(a, SnapshotAction, action);
    BdrvFileId id;

    if (s->req.overlay) {
        return true;
    }
    /* Before it is opened: closing it again would drop POSIX locks that others rely on. */
    if (file_id_of_path_co(s->path, &id) && !check_not_open(s, id, errp)) {
        return false;
    }
    if (!s->req.existing) {
        s->file = new_file_prepare(s->req.filename, errp);
        if (!s->file) {
            set_open_failed(*errp);
            return false;
        }
    }
    return true;
}

/* ---- the image ---- */

static void inherit(BdrvOpenOptions *opts, const BlockDriverState *from)
{
    opts->cache_direct = from->cache_direct;
    opts->cache_no_flush = from->cache_no_flush;
    opts->discard = from->discard;
    opts->detect_zeroes = from->detect_zeroes;
}

/* The node at the bottom of @bs that moves bytes. */
static const BlockDriverState *main_fn storage_of(const BlockDriverState *bs)
{
    while (bs->file) {
        bs = bs->file->bs;
    }
    return bs;
}

static BdrvOpenOptions *main_fn file_options(SnapshotAction *s, const char *driver,
                                             const char *filename)
{
    const BlockDriverState *storage = storage_of(s->req.base);
    BdrvOpenOptions *opts = bdrv_open_options_new(driver);

    inherit(opts, storage);
    opts->detect_zeroes = BDRV_DETECT_ZEROES_OFF;
    opts->discard = true;           /* what the format lets through */
    opts->u.file.filename = g_strdup(filename);
    opts->u.file.aio = storage->aio;
    opts->u.file.locking = storage->locking;
    return opts;
}

/* The new file as a node; the link keeps everybody else out while it is laid out. */
static BdrvLink *co_main_fn open_new_file(SnapshotAction *s, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = file_options(s, new_file_driver(s->file),
                                                   new_file_name(s->file));
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_READ,
        .holder = "the snapshot command", .hidden = true,
    };

    opts->u.file.fd = new_file_dup(s->file, opts->cache_direct, errp);
    return opts->u.file.fd < 0 ? NULL : bdrv_open(opts, &spec, errp);
}

/* The guest's first write needs a page of the L1 table, which is the image's last cluster, an L2
 * table and a cluster: on a file system that is full the snapshot fails, not the guest. */
static bool co_main_fn reserve_first_write(SnapshotAction *s, BdrvLink *file, Error **errp)
{
    int64_t end = bdrv_length(file->bs), unit = s->req.layout.cluster_size;

    return new_file_reserve(s->file, end - unit, 3 * unit, errp);
}

/* @backing, a name, and @format stay the caller's. */
static BdrvCreateOptions main_fn create_options(SnapshotAction *s, char *backing,
                                                const char *format)
{
    BdrvCreateOptions create = {
        .size = bdrv_length(s->req.base), .has_name = new_file_has_name(s->file),
    };

    create.u.qcow2 = (Qcow2CreateOptions){
        .version = 3, .cluster_size = s->req.layout.cluster_size,
        .extended_l2 = s->req.layout.extended_l2, .refcount_bits = 16,
        .backing_file = backing, .backing_fmt = (char *)format,
    };
    return create;
}

static bool co_main_fn lay_out(SnapshotAction *s, BdrvLink *file, Error **errp)
{
    const char *format;
    g_autofree char *backing = bdrv_backing_name(s->req.base, &format, errp);

    if (!backing) {
        return false;
    }
    BdrvCreateOptions create = create_options(s, backing, format);
    if (!bdrv_co_create(s->drv, file, &create, errp) || !reserve_first_write(s, file, errp)) {
        return false;
    }
    int ret = bdrv_co_flush(file, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot write the new image '%s'", s->req.filename);
        return false;
    }
    return true;
}

/* In the order of the actions, whichever was ready first. */
static void co_main_fn note(SnapshotAction *s)
{
    const char *format;
    g_autofree char *backing = bdrv_backing_name(s->req.base, &format, NULL);
    BdrvCreateOptions create = create_options(s, backing, format);

    new_file_note(s->req.filename, s->drv->name, &create);
}

/* Of a new overlay, bytes: formats count in sectors.  What is behind the base's end reads as
 * zeroes. */
static int64_t overlay_size(const BlockDriverState *base)
{
    return ROUND_UP(bdrv_length(base), 512);
}

/* The format's node on @file, or on what is in the file already. */
static BdrvLink *co_main_fn open_overlay(SnapshotAction *s, BdrvLink *file, Error **errp)
{
    BlockDriverState *base = s->req.base;
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new(s->req.format);
    BdrvLinkSpec spec = {
        .follows = true, .needs = base->needs, .allows = base->allows,
        .holder = "the snapshot command", .hidden = true,
    };

    inherit(opts, base);
    opts->node_name = g_strdup(s->req.node_name);
    opts->read_only = base->read_only;
    opts->no_backing_open = true;
    if (file) {
        opts->file.node = file->bs;
    } else {
        opts->file.options = file_options(s, "file", s->path);
        opts->file.options->read_only = base->read_only;
    }
    snapshot_release_name(s);   /* nothing yields before the node has it */
    return bdrv_open(opts, &spec, errp);
}

/* ---- an image that is there already ---- */

/* What the file that @bs records as its backing file is; false: none, or it cannot be told. */
static bool co_main_fn recorded_file(const BlockDriverState *bs, BdrvFileId *ret_id)
{
    g_autofree char *path = NULL;

    if (g_str_has_prefix(bs->backing_file, "json:") && bdrv_json_options_parser) {
        g_autoptr(BdrvOpenOptions) opts =
            bdrv_json_options_parser(bs->backing_file + strlen("json:"), bs->backing_format, NULL);
        const BdrvOpenOptions *file = opts;
        while (file && file->file.options) {
            file = file->file.options;
        }
        const BlockDriver *drv = file ? bdrv_find_driver(file->driver) : NULL;
        if (drv && drv->get_identity) {
            path = bdrv_path_combine(bs->filename, file->u.file.filename);
        }
    } else if (g_str_has_prefix(bs->backing_file, "file:")) {
        path = bdrv_path_combine(bs->filename, bs->backing_file + strlen("file:"));
    } else {
        path = bdrv_path_combine(bs->filename, bs->backing_file);
    }
    return path && file_id_of_path_co(path, ret_id);
}

static bool co_main_fn check_recorded_base(SnapshotAction *s, Error **errp)
{
    BlockDriverState *overlay = s->snap->bs, *base = s->req.base;
    BdrvFileId recorded, base_id;
    BlockDriverState *storage = (BlockDriverState *)storage_of(base);

    if (!overlay->backing_file || !overlay->backing_file[0]) {
        return true;                /* it leaves that to whoever opens it */
    }
    if (!storage->drv->get_identity || !storage->drv->get_identity(storage, &base_id)) {
        return true;                /* nothing to compare with */
    }
    if (!recorded_file(overlay, &recorded) || !file_id_equal(recorded, base_id)) {
        error_setg(errp, "Cannot use '%s' for the snapshot of '%s': its backing file is '%s', "
                   "not '%s'", s->req.filename, s->req.device, overlay->backing_file,
                   base->filename);
        return false;
    }
    return true;
}

static bool co_main_fn check_existing(SnapshotAction *s, Error **errp)
{
    int64_t have = bdrv_length(s->snap->bs), need = bdrv_length(s->req.base);

    if (have < need) {
        error_setg(errp, "Cannot use '%s' for the snapshot of '%s': it has %" PRId64
                   " bytes, less than the %" PRId64 " of its base", s->req.filename,
                   s->req.device, have, need);
        return false;
    }
    return check_recorded_base(s, errp);
}

/* ---- linking it to its base ---- */

/* Others may have changed what was true when the overlay was begun. */
static bool co_main_fn check_base_again(SnapshotAction *s, Error **errp)
{
    BlockDriverState *base = s->req.base, *overlay = s->snap->bs;

    if (overlay->read_only != base->read_only ||
        (!s->req.existing && bdrv_length(overlay) != overlay_size(base))) {
        error_setg(errp, "Cannot take a snapshot of '%s': its %s was changed meanwhile",
                   s->req.device, overlay->read_only != base->read_only ? "access" : "size");
        return false;
    }
    return snapshot_check_users(s, errp) &&
           bdrv_link_set_claims(s->snap, base->needs, base->allows, errp);
}

static bool co_main_fn link_given(SnapshotAction *s, Error **errp)
{
    BlockDriverState *base = s->req.base;
    BdrvLinkSpec spec = {
        .follows = true, .needs = base->needs, .allows = base->allows,
        .holder = "the snapshot command",
    };

    s->snap = bdrv_link_new(s->req.overlay, &spec, errp);
    return s->snap != NULL;
}

/* blockdev-add owns the base: then it owns the overlay as well, and both can be deleted by name. */
static bool co_main_fn inherit_owner(SnapshotAction *s, Error **errp)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "blockdev-add" };

    if (!s->req.base->monitor_link || s->overlay->monitor_link) {
        return true;
    }
    s->overlay->monitor_link = bdrv_link_new(s->overlay, &spec, errp);
    s->overlay_monitor = s->overlay->monitor_link;
    return s->overlay_monitor != NULL;
}

bool co_main_fn snapshot_prepare(BdrvAction *a, Error **errp)
{
    SnapshotAction *s = container_of(a, SnapshotAction, action);

    if (!(s->req.overlay ? link_given(s, errp) : check_base_again(s, errp))) {
        return false;
    }
    s->overlay = s->snap->bs;
    if (s->file && new_file_note) {
        note(s);
    }
    if (!inherit_owner(s, errp)) {
        return false;
    }
    s->backing = bdrv_backing_link_new(s->overlay, s->req.base, errp);
    if (!s->backing) {
        return false;
    }
    if (!s->is_written) {               /* else requests are under way there */
        bdrv_add_child(s->backing);
    }
    s->overlay->backing_as_recorded = !s->req.overlay;
    return snapshot_bitmaps_prepare(s, errp);
}

/* ---- making it ---- */

static bool co_main_fn make_new(SnapshotAction *s, Error **errp)
{
    BdrvLink *file = open_new_file(s, errp);

    if (!file) {
        return false;
    }
    if (new_file_claim(s->file, errp) && lay_out(s, file, errp) &&
        new_file_sync_dir(s->file, errp) && new_file_open_by_name(s->file, file->bs, errp)) {
        /* The format's own link takes over from this one; other processes stay out all the time. */
        file->leaving = true;
        s->snap = open_overlay(s, file, errp);
    }
    bdrv_link_free(file);
    return s->snap != NULL;
}

static bool co_main_fn make_overlay(SnapshotAction *s, Error **errp)
{
    if (!s->req.existing) {
        return make_new(s, errp);
    }
    s->snap = open_overlay(s, NULL, errp);
    return s->snap && check_existing(s, errp);
}

bool co_main_fn snapshot_make(BdrvAction *a, Error **errp)
{
    SnapshotAction *s = container_of(a, SnapshotAction, action);
    Error *err = NULL;

    if ((s->req.overlay || make_overlay(s, &err)) && snapshot_bitmaps_make(s, &err)) {
        /* That the base stays writable is a pity and no reason to fail: the event tells. */
        s->ro_nodes = bdrv_ro_prepare(s->req.base, &s->ro_error);
        return true;
    }
    if (!s->snap) {
        set_open_failed(err);
    }
    error_propagate(errp, err);
    return false;
}

/* ---- undo ---- */

void co_main_fn snapshot_abort(BdrvAction *a)
{
    SnapshotAction *s = container_of(a, SnapshotAction, action);

    snapshot_bitmaps_end(s, false);
    if (s->ro_nodes) {
        bdrv_reopen_abort(s->ro_nodes);
        g_clear_pointer(&s->ro_nodes, g_ptr_array_unref);
    }
    if (s->backing && !s->is_written) {
        bdrv_remove_child(s->backing);
    }
    bdrv_link_free(g_steal_pointer(&s->backing));
    if (s->overlay_monitor) {
        s->overlay->monitor_link = NULL;
        bdrv_link_free(g_steal_pointer(&s->overlay_monitor));
    }
    bdrv_link_free(g_steal_pointer(&s->snap));
    new_file_abort(g_steal_pointer(&s->file));
    s->overlay = NULL;
}
