/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Putting a new image in front of a node, as an action of a transaction.  A group snapshot is a
 * transaction of these.  docs/design/graph.md has the picture.
 */
#ifndef BLOCK_SNAPSHOT_H
#define BLOCK_SNAPSHOT_H

#include "block/transaction.h"

/* Of a new qcow2 image. */
typedef struct SnapshotLayout {
    int64_t cluster_size;           /* bytes; 0: the default */
    bool has_extended_l2, extended_l2;
} SnapshotLayout;

/* What one action asks for.  Strings are borrowed until snapshot_action_add() returns. */
typedef struct SnapshotRequest {
    const char *device;             /* as the user named it, for messages */
    BlockDriverState *base;         /* node to put the overlay in front of */
    bool carry_bitmaps;             /* those of the base that record go on in the overlay */
    /* either: a new image ... */
    const char *filename;
    const char *format;
    const char *node_name;          /* for the overlay, NULL: generated */
    bool existing;                  /* the image is there already and names its base */
    SnapshotLayout layout;          /* of an image that is made */
    /* ... or: a node that is open already */
    BlockDriverState *overlay;
} SnapshotRequest;

/* Adds an action, after checking what can be checked without touching a disk. */
bool co_main_fn snapshot_action_add(Transaction *t, const SnapshotRequest *req, Error **errp);

/*
 * The node that @bs will be covered by when the actions so far are done: @bs itself if by none.
 * *@ret_settled is false if that node is not made yet: see transaction_settle().
 */
BlockDriverState *main_fn snapshot_top(Transaction *t, BlockDriverState *bs, bool *ret_settled);
/* The overlay of that name that an action of @t has made, hidden from everybody else; or NULL. */
BlockDriverState *main_fn snapshot_find_overlay(Transaction *t, const char *node_name);

/* Strings are valid until the transaction is freed. */
typedef struct SnapshotResult {
    const char *device, *filename, *node_name, *base_node_name;
    bool base_read_only;
    const char *base_read_only_error;       /* NULL if it is */
} SnapshotResult;

/* Of action @i of a committed @t, which is a snapshot. */
SnapshotResult main_fn snapshot_result(const Transaction *t, guint i);

/* Layout of the overlays that are made where a request does not say; an option of the daemon. */
bool main_fn snapshot_set_layout(const SnapshotLayout *layout, Error **errp);

/* Name by which @bs can be opened again as a backing file, and the driver to record. Caller frees.
 */
char *co_main_fn bdrv_backing_name(BlockDriverState *bs, const char **ret_format, Error **errp);

#endif
