/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Putting new images in front of a group of nodes at one instant, for all or for none.
 * docs/design/graph.md has the steps and the picture.
 */
#ifndef BLOCK_GROUP_SNAPSHOT_H
#define BLOCK_GROUP_SNAPSHOT_H

#include "block/block.h"
#include "block/quiesce.h"

/* How long guests are held at most where a command does not say: the time after which Windows
 * thaws its file systems by itself. */
#define GROUP_SNAPSHOT_TIMEOUT_NS BLK_QUIESCE_TIMEOUT_NS

typedef struct GroupMember GroupMember;

/* What a member asks for.  Strings are borrowed for the whole run. */
typedef struct GroupMemberRequest {
    const char *device;             /* as the user named it, for messages */
    BlockDriverState *base;         /* node to put the overlay in front of */
    /* either: a new image ... */
    const char *filename;
    const char *format;
    const char *node_name;          /* for the overlay, NULL: generated */
    bool existing;                  /* the image is there already and names its base */
    /* ... or: a node that is open already */
    BlockDriverState *overlay;
} GroupMemberRequest;

typedef struct GroupMemberResult {
    const char *device, *filename, *node_name, *base_node_name;     /* valid until the group is freed */
    bool base_read_only;
    const char *base_read_only_error;       /* NULL if it is */
} GroupMemberResult;

/* Durations of the steps, ns. */
typedef struct GroupTimes {
    int64_t check_ns, create_ns, flush_ns, quiesce_ns, held_flush_ns, pivot_ns, pause_ns;
    int64_t flushed_bytes;          /* by guests, still to be flushed when they were held */
} GroupTimes;

typedef struct GroupSnapshot GroupSnapshot;

GroupSnapshot *main_fn group_snapshot_new(void);
void main_fn group_snapshot_free(GroupSnapshot *g);

/*
 * The graph mutex for a group: groups are ordered among themselves by a mutex of their own, taken before, for
 * they let go of the graph mutex while files are made.
 */
void co_main_fn group_snapshot_lock(void);
void co_main_fn group_snapshot_unlock(void);
/*
 * Under the graph mutex, before @bs is changed: if an overlay is just being made for it lets go of the mutex until that
 * command has ended, and returns true: nodes have to be looked up again.
 */
bool co_main_fn group_snapshot_wait_for(BlockDriverState *bs);

/* Adds a member after checking what can be checked without touching a disk; errors carry the
 * member's index. A member may be based on the overlay of an earlier one. */
bool main_fn group_snapshot_add(GroupSnapshot *g, const GroupMemberRequest *req, Error **errp);

/* The node that @bs will be covered by when the members so far are done: @bs itself if by none. */
BlockDriverState *main_fn group_snapshot_top(GroupSnapshot *g, BlockDriverState *bs);

/*
 * prepare makes every overlay (running guests notice nothing), run then takes the instant.  After
 * a failure of either everything is as it was before, but for the group, which is to be freed.
 * Both under group_snapshot_lock().  With @let_others_on prepare lets go of the graph mutex while files are
 * made, if it can (S5): afterwards nodes that are no members' may be gone.  @timeout_ns: longest time guests are held, < 0: no limit.
 */
bool co_main_fn group_snapshot_prepare(GroupSnapshot *g, bool let_others_on, Error **errp);
bool co_main_fn group_snapshot_run(GroupSnapshot *g, int64_t timeout_ns, Error **errp);
/* For a transaction that fails elsewhere after prepare. */
void co_main_fn group_snapshot_abort(GroupSnapshot *g);

guint main_fn group_snapshot_count(const GroupSnapshot *g);
GroupMemberResult main_fn group_snapshot_result(const GroupSnapshot *g, guint index);
GroupTimes main_fn group_snapshot_times(const GroupSnapshot *g);

/* Cluster size (bytes) and subclusters of the overlays that are made; an option of the daemon. */
void main_fn group_snapshot_set_layout(int64_t cluster_size, bool extended_l2);

#endif
