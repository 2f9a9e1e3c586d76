/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Step 1 of the group snapshot: is what a member asks for possible?  No disk is touched. */
#include "qemu/osdep.h"

#include "block/snapshot/group-internal.h"

bool main_fn group_member_check_users(GroupMember *m, Error **errp)
{
    BlockDriverState *base = m->req.base;
    GQueue *lists[] = { &base->followers, &base->others };

    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (GList *e = lists[i]->head; e; e = e->next) {
            BdrvLink *link = e->data;
            /* The base becomes somebody's backing file: only those that move on may write. */
            bool stays_and_writes = !link->follows && link->needs & (CLAIM_WRITE | CLAIM_RESIZE);
            if (!(link->allows & CLAIM_PIVOT) || stays_and_writes) {
                g_autofree char *holder = bdrv_link_describe(link);
                error_set_class(errp, ERROR_CLASS_DEVICE_IN_USE,
                                "Cannot take a snapshot of '%s': %s does not allow it",
                                m->req.device, holder);
                return false;
            }
        }
    }
    return true;
}

static bool main_fn check_not_twice(GroupMember *m, Error **errp)
{
    for (guint i = 0; i < m->group->members->len; i++) {
        GroupMember *other = group_member_at(m->group, i);
        if (other->req.base == m->req.base) {
            error_setg(errp, "Cannot take two snapshots of '%s' at once: '%s' is the same node '%s'",
                       m->req.device, other->req.device, m->req.base->node_name);
            return false;
        }
        if (m->req.filename && other->req.filename) {
            g_autofree char *a = bdrv_path_combine(NULL, m->req.filename);
            g_autofree char *b = bdrv_path_combine(NULL, other->req.filename);
            if (strcmp(a, b) == 0) {
                error_setg(errp, "Cannot use '%s' for the snapshot of '%s': the one of '%s' "
                           "goes there", m->req.filename, m->req.device, other->req.device);
                return false;
            }
        }
        if (m->req.node_name && other->req.node_name &&
            strcmp(m->req.node_name, other->req.node_name) == 0) {
            error_setg(errp, "Duplicate nodes with node-name='%s'", m->req.node_name);
            return false;
        }
    }
    return true;
}

static bool main_fn check_new_image(GroupMember *m, Error **errp)
{
    const GroupMemberRequest *req = &m->req;

    m->drv = bdrv_find_driver(req->format);
    if (!m->drv) {
        error_set_class(errp, ERROR_CLASS_INVALID_BLOCK_FORMAT, "Unknown format '%s'", req->format);
        return false;
    }
    if (!m->drv->supports_backing) {
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
    return !req->node_name || bdrv_check_node_name(req->node_name, errp);
}

static bool main_fn check_given_overlay(GroupMember *m, Error **errp)
{
    BlockDriverState *overlay = m->req.overlay;

    if (!overlay->drv->supports_backing) {
        error_setg(errp, "The overlay does not support backing images");
        return false;
    }
    if (overlay->backing) {
        error_setg(errp, "The overlay already has a backing image");
        return false;
    }
    if (overlay->followers.length > 0 ||
        overlay->others.length > (overlay->monitor_link ? 1 : 0)) {
        GList *e = overlay->followers.head ?: overlay->others.tail;
        g_autofree char *holder = bdrv_link_describe(e->data);
        error_setg(errp, "The overlay is already in use by %s", holder);
        return false;
    }
    if (bdrv_reaches(m->req.base, overlay)) {
        error_setg(errp, "Cannot put node '%s' in front of '%s': it lies below it",
                   overlay->node_name, m->req.base->node_name);
        return false;
    }
    if (overlay->read_only && m->req.base->needs & CLAIM_WRITE) {
        error_setg(errp, "Cannot put node '%s' in front of '%s': it is read-only",
                   overlay->node_name, m->req.base->node_name);
        return false;
    }
    for (guint i = 0; i < m->group->members->len; i++) {
        if (group_member_at(m->group, i)->req.overlay == overlay) {
            error_setg(errp, "The overlay is already in use by another snapshot of the group");
            return false;
        }
    }
    return true;
}

bool main_fn group_member_check(GroupMember *m, Error **errp)
{
    return check_not_twice(m, errp) && group_member_check_users(m, errp) &&
           (m->req.overlay ? check_given_overlay(m, errp) : check_new_image(m, errp));
}
