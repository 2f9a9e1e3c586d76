/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making one overlay, up to where only the pivot is left, and undoing that. */
#include "qemu/osdep.h"

#include "block/snapshot/group-internal.h"

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
static bool main_fn check_not_open(GroupMember *m, BdrvFileId id, Error **errp)
{
    BlockDriverState *bs = node_of_file(id);

    if (!bs) {
        return true;
    }
    GList *user = bs->followers.head ?: bs->others.head;
    g_autofree char *holder = user ? bdrv_link_describe(user->data) : NULL;
    error_set_class(errp, ERROR_CLASS_DEVICE_IN_USE,
                    "Cannot use '%s' for the snapshot of '%s': the file is in use by %s",
                    m->req.filename, m->req.device, holder ?: bs->node_name);
    return false;
}

void co_main_fn group_member_make_target(void *opaque)
{
    GroupMember *m = opaque;
    g_autofree char *path = NULL;
    BdrvFileId id;

    if (m->req.overlay) {
        return;
    }
    /* Before it is opened: closing it again would drop POSIX locks that others rely on. */
    path = bdrv_path_combine(NULL, m->req.filename);
    if (file_id_of_path_co(path, &id) && !check_not_open(m, id, &m->err)) {
        return;
    }
    if (!m->req.existing) {
        m->target = new_file_prepare(m->req.filename, &m->err);
        if (m->err && error_get_class(m->err) == ERROR_CLASS_GENERIC_ERROR) {
            error_change_class(m->err, ERROR_CLASS_OPEN_FILE_FAILED);
        }
    }
}

bool main_fn group_member_check_identity(GroupMember *m)
{
    if (!m->target) {
        return true;
    }
    for (guint i = 0; i < (guint)m->index; i++) {
        GroupMember *other = m->group->members->pdata[i];
        if (other->target && new_file_equal(m->target, other->target)) {
            error_setg(&m->err, "Cannot use '%s' for the snapshot of '%s': it is the same file "
                       "as '%s'", m->req.filename, m->req.device, other->req.filename);
            return false;
        }
    }
    /* Once more: what was looked at by name may have been exchanged before it was opened. */
    return check_not_open(m, new_file_id(m->target), &m->err);
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

static BdrvOpenOptions *main_fn file_options(GroupMember *m, const char *driver,
                                             const char *filename)
{
    const BlockDriverState *storage = storage_of(m->req.base);
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
static BdrvLink *co_main_fn open_target(GroupMember *m)
{
    g_autoptr(BdrvOpenOptions) opts = file_options(m, new_file_driver(m->target),
                                                   new_file_name(m->target));
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ | CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_READ,
        .holder = "the snapshot command", .hidden = true,
    };

    opts->u.file.fd = new_file_dup(m->target, opts->cache_direct, &m->err);
    return opts->u.file.fd < 0 ? NULL : bdrv_open(opts, &spec, &m->err);
}

static bool co_main_fn lay_out(GroupMember *m, BdrvLink *file)
{
    BlockDriverState *base = m->req.base;
    const char *format;
    g_autofree char *backing = bdrv_backing_name(base, &format, &m->err);
    BdrvCreateOptions create = { .size = bdrv_length(base),
                                 .has_name = new_file_has_name(m->target) };

    if (!backing) {
        return false;
    }
    create.u.qcow2 = (Qcow2CreateOptions){
        .version = 3, .cluster_size = group_overlay_cluster_size,
        .extended_l2 = group_overlay_extended_l2, .refcount_bits = 16,
        .backing_file = backing, .backing_fmt = (char *)format,
    };
    if (!bdrv_co_create(m->drv, file, &create, &m->err)) {
        return false;
    }
    int ret = bdrv_co_flush(file, 0);
    if (ret < 0) {
        error_setg_errno(&m->err, -ret, "Cannot write the new image '%s'", m->req.filename);
        return false;
    }
    return true;
}

/* The format's node on @file, or on what is in the file already. */
static BdrvLink *co_main_fn open_overlay(GroupMember *m, BdrvLink *file)
{
    BlockDriverState *base = m->req.base;
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new(m->req.format);
    BdrvLinkSpec spec = {
        .follows = true, .needs = base->needs, .allows = base->allows,
        .holder = "the snapshot command", .hidden = true,
    };

    inherit(opts, base);
    opts->node_name = g_strdup(m->req.node_name);
    opts->read_only = base->read_only;
    opts->no_backing_open = true;
    if (file) {
        opts->file.node = file->bs;
    } else {
        g_autofree char *path = bdrv_path_combine(NULL, m->req.filename);
        opts->file.options = file_options(m, "file", path);
        opts->file.options->read_only = base->read_only;
    }
    group_member_release_name(m);   /* nothing yields before the node has it */
    return bdrv_open(opts, &spec, &m->err);
}

/* ---- an image that is there already ---- */

static bool co_main_fn check_recorded_base(GroupMember *m)
{
    BlockDriverState *overlay = m->snap->bs, *base = m->req.base;
    BdrvFileId recorded, base_id;
    BlockDriverState *storage = (BlockDriverState *)storage_of(base);

    if (!overlay->backing_file) {
        error_setg(&m->err, "Cannot use '%s' for the snapshot of '%s': it records no backing "
                   "file", m->req.filename, m->req.device);
        return false;
    }
    g_autofree char *path = bdrv_path_combine(overlay->filename, overlay->backing_file);
    if (!storage->drv->get_identity || !storage->drv->get_identity(storage, &base_id)) {
        return true;                /* nothing to compare with */
    }
    if (!file_id_of_path_co(path, &recorded) || !file_id_equal(recorded, base_id)) {
        error_setg(&m->err, "Cannot use '%s' for the snapshot of '%s': its backing file is '%s', "
                   "not '%s'", m->req.filename, m->req.device, overlay->backing_file,
                   base->filename);
        return false;
    }
    return true;
}

static bool co_main_fn check_existing(GroupMember *m)
{
    int64_t have = bdrv_length(m->snap->bs), need = bdrv_length(m->req.base);

    if (have < need) {
        error_setg(&m->err, "Cannot use '%s' for the snapshot of '%s': it has %" PRId64
                   " bytes, less than the %" PRId64 " of its base", m->req.filename,
                   m->req.device, have, need);
        return false;
    }
    return check_recorded_base(m);
}

/* ---- linking it to its base ---- */

/* Others may have changed what was true when the overlay was begun. */
static bool co_main_fn check_base_again(GroupMember *m)
{
    BlockDriverState *base = m->req.base, *overlay = m->snap->bs;

    if (m->pin && base->followers.length + base->others.length == 1) {
        error_set_class(&m->err, ERROR_CLASS_DEVICE_NOT_FOUND,
                        "Cannot take a snapshot of '%s': it was removed meanwhile", m->req.device);
        return false;
    }
    if (overlay->read_only != base->read_only ||
        (!m->req.existing && bdrv_length(overlay) != bdrv_length(base))) {
        error_setg(&m->err, "Cannot take a snapshot of '%s': its %s was changed meanwhile",
                   m->req.device, overlay->read_only != base->read_only ? "access" : "size");
        return false;
    }
    return group_member_check_users(m, &m->err) &&
           bdrv_link_set_claims(m->snap, base->needs, base->allows, &m->err);
}

static bool co_main_fn link_given(GroupMember *m)
{
    BlockDriverState *base = m->req.base;
    BdrvLinkSpec spec = {
        .follows = true, .needs = base->needs, .allows = base->allows,
        .holder = "the snapshot command",
    };

    m->snap = bdrv_link_new(m->req.overlay, &spec, &m->err);
    return m->snap != NULL;
}

/* blockdev-add owns the base: then it owns the overlay as well, and both can be deleted by name. */
static bool co_main_fn inherit_owner(GroupMember *m)
{
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "blockdev-add" };

    if (!m->req.base->monitor_link || m->overlay->monitor_link) {
        return true;
    }
    m->overlay->monitor_link = bdrv_link_new(m->overlay, &spec, &m->err);
    m->overlay_monitor = m->overlay->monitor_link;
    return m->overlay_monitor != NULL;
}

static bool co_main_fn link_to_base(GroupMember *m)
{
    m->overlay = m->snap->bs;
    if (!inherit_owner(m) || !bdrv_attach_backing(m->overlay, m->req.base, &m->err)) {
        return false;
    }
    m->backing_linked = true;
    /* That the base stays writable is a pity and no reason to fail: the event tells. */
    m->ro_nodes = bdrv_ro_prepare(m->req.base, &m->ro_error);
    return true;
}

static bool co_main_fn make_new(GroupMember *m)
{
    BdrvLink *file = open_target(m);

    if (!file) {
        return false;
    }
    if (lay_out(m, file) && new_file_sync_dir(m->target, &m->err)) {
        /* From here on the format's own link keeps others out. */
        bdrv_link_set_claims(file, CLAIM_NONE, CLAIM_ALL, &error_abort);
        m->snap = open_overlay(m, file);
    }
    bdrv_link_free(file);
    return m->snap != NULL;
}

void co_main_fn group_member_make_overlay(void *opaque)
{
    GroupMember *m = opaque;
    bool ok;

    if (m->req.overlay) {
        return;
    }
    if (m->req.existing) {
        m->snap = open_overlay(m, NULL);
        ok = m->snap && check_existing(m);
    } else {
        ok = make_new(m);
    }
    if (!ok && error_get_class(m->err) == ERROR_CLASS_GENERIC_ERROR && !m->snap) {
        error_change_class(m->err, ERROR_CLASS_OPEN_FILE_FAILED);
    }
}

void co_main_fn group_member_link(GroupMember *m)
{
    bool ok = m->req.overlay ? link_given(m) : check_base_again(m);

    if (ok && link_to_base(m)) {
        bdrv_show(m->overlay);
    }
}

/* ---- undo ---- */

void co_main_fn group_member_undo(GroupMember *m)
{
    if (m->ro_nodes) {
        bdrv_reopen_abort(m->ro_nodes);
        g_clear_pointer(&m->ro_nodes, g_ptr_array_unref);
    }
    if (m->backing_linked) {
        bdrv_link_free(bdrv_remove_child(m->overlay->backing));
        m->backing_linked = false;
    }
    if (m->overlay_monitor) {
        m->overlay->monitor_link = NULL;
        bdrv_link_free(g_steal_pointer(&m->overlay_monitor));
    }
    bdrv_link_free(g_steal_pointer(&m->snap));
    new_file_abort(g_steal_pointer(&m->target));
    m->overlay = NULL;
}
