/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is the snapshot that is asked for possible?  No disk is touched. */
#include "qemu/osdep.h"

#include "block/snapshot/snapshot-internal.h"

bool main_fn snapshot_check_users(SnapshotAction *s, Error **errp)
{
    BlockDriverState *base = s->req.base;
    GQueue *lists[] = { &base->followers, &base->others };

    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (GList *e = lists[i]->head; e; e = e->next) {
            BdrvLink *link = e->data;
            /* The base becomes somebody's backing file: only those that move on may write. */
            bool stays_and_writes = !link->follows && !link->joins &&
                                    link->needs & (CLAIM_WRITE | CLAIM_RESIZE);
            if (!(link->allows & CLAIM_PIVOT) || stays_and_writes) {
                g_autofree char *holder = bdrv_link_describe(link);
                error_set_class(errp, ERROR_CLASS_DEVICE_IN_USE,
                                "Cannot take a snapshot of '%s': %s does not allow it",
                                s->req.device, holder);
                return false;
            }
        }
    }
    return true;
}

static bool main_fn check_not_twice(SnapshotAction *s, Error **errp)
{
    SnapshotAction *other;

    SNAPSHOT_FOREACH(s->action.txn, s->action.index, other) {
        if (other->req.base == s->req.base) {
            error_setg(errp, "Cannot take two snapshots of '%s' at once: '%s' is the same node "
                       "'%s'",
                       s->req.device, other->req.device, s->req.base->node_name);
            return false;
        }
        if (s->path && other->path && strcmp(s->path, other->path) == 0) {
            error_setg(errp, "Cannot use '%s' for the snapshot of '%s': the one of '%s' goes there",
                       s->req.filename, s->req.device, other->req.device);
            return false;
        }
        if (s->req.node_name && other->req.node_name &&
            strcmp(s->req.node_name, other->req.node_name) == 0) {
            error_setg(errp, "Duplicate nodes with node-name='%s'", s->req.node_name);
            return false;
        }
    }
    return true;
}

/* What is acknowledged can be opened again. */
static bool main_fn check_depth(SnapshotAction *s, Error **errp)
{
    const BlockDriverState *bs = s->req.base;
    int images = 1;

    for (; bs->backing; bs = bs->backing->bs) {
        images++;
    }
    if (images >= BDRV_MAX_CHAIN) {
        error_setg(errp, "Cannot take a snapshot of '%s': its chain has %d images, and no more "
                   "than %d could be opened again", s->req.device, images, BDRV_MAX_CHAIN);
        return false;
    }
    return true;
}

static bool main_fn check_layout(SnapshotAction *s, Error **errp)
{
    SnapshotLayout *layout = &s->req.layout;
    bool asked = layout->cluster_size || layout->has_extended_l2;

    if (asked && (s->req.existing || strcmp(s->req.format, "qcow2") != 0)) {
        error_setg(errp, "Cannot take a snapshot of '%s': cluster-size and extended-l2 are for "
                   "qcow2 images that are made", s->req.device);
        return false;
    }
    if (!snapshot_complete_layout(layout, errp)) {
        error_prepend(errp, "Cannot take a snapshot of '%s': ", s->req.device);
        return false;
    }
    return true;
}

static bool main_fn check_new_image(SnapshotAction *s, Error **errp)
{
    const SnapshotRequest *req = &s->req;

    s->drv = bdrv_find_driver(req->format);
    if (!s->drv) {
        error_set_class(errp, ERROR_CLASS_INVALID_BLOCK_FORMAT, "Unknown format '%s'", req->format);
        return false;
    }
    if (!s->drv->supports_backing) {
        error_set_class(errp, ERROR_CLASS_INVALID_BLOCK_FORMAT,
                        "Format '%s' cannot be used for a snapshot: it has no backing files",
                        req->format);
        return false;
    }
    if (!req->filename[0]) {
        error_setg(errp, "Cannot take a snapshot of '%s': the new image has no file name",
                   req->device);
        return false;
    }
    if (bdrv_path_has_protocol(req->filename)) {
        error_setg(errp, "Cannot create '%s': only local files can be created", req->filename);
        return false;
    }
    return check_layout(s, errp) &&
           (!req->node_name || bdrv_check_node_name(req->node_name, errp));
}

/* Of a job's target: what it reads as without its backing file, which it gets now, is nobody's business. */
static bool only_writes(const BdrvLink *link)
{
    return !link->follows && !(link->needs & CLAIM_READ) &&
           (link->backend || link->role == &bdrv_role_target);
}

/* Of an image on top that nobody reads. */
static bool main_fn is_idle(const BdrvLink *link)
{
    return link->role == &bdrv_role_backing && link->parent && !(link->parent->needs & CLAIM_READ);
}

/* A user of @overlay that sees what it reads as, other than blockdev-add and this transaction, or
 * NULL: not one that only writes, and not an image on top of it that nobody uses. */
static const BdrvLink *main_fn other_user(SnapshotAction *s, const BlockDriverState *overlay)
{
    const GQueue *users[] = { &overlay->followers, &overlay->others };

    for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
        for (GList *e = users[i]->head; e; e = e->next) {
            const BdrvLink *link = e->data;
            if (link == overlay->monitor_link || transaction_is_pin(s->action.txn, link)) {
                continue;
            }
            if (link->follows || (link->needs & CLAIM_READ && !is_idle(link))) {
                return link;
            }
            s->is_written |= only_writes(link);
        }
    }
    return NULL;
}

static bool main_fn check_given_overlay(SnapshotAction *s, Error **errp)
{
    BlockDriverState *overlay = s->req.overlay;

    if (other_user(s, overlay)) {
        error_setg(errp, "The overlay is already in use");      /* QEMU's text, and its order */
        return false;
    }
    if (overlay->backing) {
        error_setg(errp, "The overlay already has a backing image");
        return false;
    }
    if (!overlay->drv->supports_backing) {
        error_setg(errp, "The overlay does not support backing images");
        return false;
    }
    if (bdrv_reaches(s->req.base, overlay)) {
        error_setg(errp, "Making '%s' a backing child of '%s' would create a cycle",
                   s->req.base->node_name, overlay->node_name);
        return false;
    }
    if (overlay->read_only && s->req.base->needs & CLAIM_WRITE) {
        error_setg(errp, "Cannot put node '%s' in front of '%s': it is read-only",
                   overlay->node_name, s->req.base->node_name);
        return false;
    }
    SnapshotAction *other;
    SNAPSHOT_FOREACH(s->action.txn, s->action.index, other) {
        if (other->req.overlay == overlay) {
            error_setg(errp, "The overlay is already in use by another snapshot of the group");
            return false;
        }
    }
    return true;
}

bool main_fn snapshot_check(SnapshotAction *s, Error **errp)
{
    return check_not_twice(s, errp) && snapshot_check_users(s, errp) && check_depth(s, errp) &&
           (s->req.overlay ? check_given_overlay(s, errp) : check_new_image(s, errp));
}
