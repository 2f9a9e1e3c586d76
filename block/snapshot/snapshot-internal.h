/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the snapshot action. */
#ifndef BLOCK_SNAPSHOT_INTERNAL_H
#define BLOCK_SNAPSHOT_INTERNAL_H

#include "block/new-file.h"
#include "block/snapshot.h"

typedef struct SnapshotAction {
    BdrvAction action;
    SnapshotRequest req;            /* strings are copies: device, filename, format, node_name */
    char *path;                     /* of the new image, absolute; NULL: req.overlay */
    const BlockDriver *drv;         /* of the overlay; NULL: req.overlay */
    bool is_written;                /* req.overlay is: by a job that reads nothing there */
    bool name_reserved;             /* req.node_name is kept for the overlay to come */

    /* Made by the preparation, undone by the abort. */
    NewFile *file;
    BdrvLink *snap;                 /* the command's own link to the overlay; follows, so that after
                                     * the pivot it leads to the base */
    BdrvLink *overlay_monitor;      /* the overlay's, if the base belongs to the monitor */
    BdrvLink *backing;              /* the overlay's, to the base; a child of the overlay at once,
                                     * or (is_written) from the commit on */
    GArray *bitmaps;                /* bitmaps.c: those that are carried over; NULL: none */
    GPtrArray *ro_nodes;            /* prepared to become read-only: the base and its files, or
                                     * NULL */
    Error *ro_error;                /* the base cannot become read-only */

    BlockDriverState *overlay;      /* once it is linked to its base */
    char *overlay_filename;         /* for results */
    char *overlay_node_name, *base_node_name;
    bool base_is_read_only;
} SnapshotAction;

/* members.c: the holder of what a snapshot pins, by which its actions are known among others. */
extern const char snapshot_holder[];
/* Completes @layout by the defaults; refuses what qcow2 does not have. */
bool main_fn snapshot_complete_layout(SnapshotLayout *layout, Error **errp);

/* The @i-th action of @t if it is a snapshot, else NULL. */
SnapshotAction *main_fn snapshot_action_at(const Transaction *t, guint i);
/* The snapshots among the actions of @t before the one with index @end, as a loop over
 * SnapshotAction *@s. */
#define SNAPSHOT_FOREACH(t, end, s)                                                     \
    for (guint snapshot_i_ = 0; snapshot_i_ < (guint)(end); snapshot_i_++)              \
        if (!((s) = snapshot_action_at((t), snapshot_i_))) { } else

void main_fn snapshot_release_name(SnapshotAction *s);

/* check.c: what can be checked without touching a disk. */
bool main_fn snapshot_check(SnapshotAction *s, Error **errp);
/* Its last part, which others may make wrong meanwhile: the users of the base allow a snapshot. */
bool main_fn snapshot_check_users(SnapshotAction *s, Error **errp);

/* overlay.c: the steps of one action, see BdrvActionOps. */
bool co_main_fn snapshot_take(BdrvAction *a, Error **errp);
bool main_fn snapshot_check_taken(BdrvAction *a, Error **errp);
bool co_main_fn snapshot_make(BdrvAction *a, Error **errp);
bool co_main_fn snapshot_prepare(BdrvAction *a, Error **errp);
void co_main_fn snapshot_abort(BdrvAction *a);

/* bitmaps.c: carrying bitmaps over, if the request says so: the steps of the action. */
bool co_main_fn snapshot_bitmaps_make(SnapshotAction *s, Error **errp);
bool main_fn snapshot_bitmaps_prepare(SnapshotAction *s, Error **errp);
void main_fn snapshot_bitmaps_apply(SnapshotAction *s);
void main_fn snapshot_bitmaps_undo(SnapshotAction *s);
/* After a commit, or to undo the prepare. */
void main_fn snapshot_bitmaps_end(SnapshotAction *s, bool committed);

#endif
