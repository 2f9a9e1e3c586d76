/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the group snapshot. */
#ifndef BLOCK_SNAPSHOT_GROUP_INTERNAL_H
#define BLOCK_SNAPSHOT_GROUP_INTERNAL_H

#include "block/group-snapshot.h"
#include "block/quiesce.h"
#include "block/new-file.h"

struct GroupMember {
    GroupSnapshot *group;
    int64_t index;
    GroupMemberRequest req;         /* strings are copies: device, filename, node_name */
    const BlockDriver *drv;         /* of the overlay; NULL: req.overlay */
    int level;                       /* members of level n are based on overlays of levels < n */
    Error *err;

    bool name_reserved;             /* req.node_name is kept for the overlay to come */
    BdrvLink *pin;                  /* keeps the base while others change the graph */

    /* Made by prepare, undone by abort. */
    NewFile *target;
    BdrvLink *snap;                 /* the command's own link to the overlay; follows, so that after the
                                     * pivot it leads to the base */
    BdrvLink *overlay_monitor;      /* the overlay's, if the base belongs to the monitor */
    bool backing_linked;
    GPtrArray *ro_nodes;            /* prepared to become read-only: the base and its files, or NULL */
    bool flush_pending;             /* a flush of the base has not come back yet */
    Error *ro_error;                /* the base cannot become read-only */

    BlockDriverState *overlay;
    char *overlay_filename;         /* for results */
    char *overlay_node_name, *base_node_name;
    bool base_is_read_only;
};

struct GroupSnapshot {
    GPtrArray *members;
    GroupTimes times;
    bool prepared, done;
};

static inline GroupMember *group_member_at(const GroupSnapshot *g, guint i)
{
    return g->members->pdata[i];
}

/* block/snapshot/group-snapshot.c */
/* Names the member in @err. */
void any_fn group_member_blame(const GroupMember *m, Error *err);
/* Hands the error of the first member that has one, in list order, to @errp; false: none has. */
bool main_fn group_fail_first(GroupSnapshot *g, Error **errp);
void main_fn group_member_release_name(GroupMember *m);

/* block/snapshot/check.c */
bool main_fn group_member_check(GroupMember *m, Error **errp);
/* Its last part, which others may make wrong meanwhile: the users of the base allow a snapshot. */
bool main_fn group_member_check_users(GroupMember *m, Error **errp);

/* block/snapshot/overlay.c: one member's steps. All set member->err on failure. */
void co_main_fn group_member_make_target(void *member);
void co_main_fn group_member_make_overlay(void *member);
bool main_fn group_member_check_identity(GroupMember *m);
/* Under the graph mutex; the base may have changed since it was checked. */
void co_main_fn group_member_link(GroupMember *m);
void co_main_fn group_member_undo(GroupMember *m);

/* Name by which @bs can be opened again as a backing file, and the driver to record. Caller frees. */
char *main_fn bdrv_backing_name(BlockDriverState *bs, const char **ret_format, Error **errp);

/* block/snapshot/flush-bases.c: flush every base at once, at most until @deadline_ns (< 0: no limit).
 * A flush that does not come back goes on by itself and holds its node until it does. */
bool co_main_fn group_flush_bases(GroupSnapshot *g, unsigned flags, int64_t deadline_ns);

extern int64_t group_overlay_cluster_size;
extern bool group_overlay_extended_l2;

#endif
