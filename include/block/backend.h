/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A backend: what a device, an export, a job or a tool holds.  It leads to an image by a link
 * that follows pivots, and owns all that belongs to the user and not to the image: name,
 * statistics, in-flight count, quiesce state, write-cache mode.
 */
#ifndef BLOCK_BACKEND_H
#define BLOCK_BACKEND_H

#include "block/block.h"
#include "block/stats.h"
#include "qemu/throttle.h"

/* ---- life and lookup ---- */

/* An empty backend.  @name (copied) must be free among backends and nodes, or NULL for one that
 * cannot be named.  @needs/@allows are put on what it will hold. */
BlockBackend *main_fn blk_new(const char *name, unsigned needs, unsigned allows, Error **errp);
/* That of the export @id (copied): no other export has that id, and what else has it does not
 * matter. */
BlockBackend *main_fn blk_new_export(const char *id, unsigned needs, unsigned allows);
/* Drops its link and frees it; its user has no call to it under way any more. NULL is fine. */
void co_main_fn blk_free(BlockBackend *blk);

/* Put @bs into the empty backend. */
bool co_main_fn blk_insert(BlockBackend *blk, BlockDriverState *bs, Error **errp);
/* The same, for a user that stays with @bs when others are moved by a pivot: a job. */
bool co_main_fn blk_insert_fixed(BlockBackend *blk, BlockDriverState *bs, Error **errp);
/* Empty it (the node goes if nobody else holds it); waits for requests. */
void co_main_fn blk_remove(BlockBackend *blk);
bool co_main_fn blk_set_claims(BlockBackend *blk, unsigned needs, unsigned allows, Error **errp);
/* Its node has become inactive, when its claims rest, or active. */
bool co_main_fn blk_refresh_claims(BlockBackend *blk, Error **errp);
/* Can its claims rest while its node is inactive?  Not those of a job, which works by itself. */
bool main_fn blk_yields(const BlockBackend *blk);
/* The job goes on while the machine goes to another process: it only reads the machine's disks. */
void main_fn blk_set_outlasts_handover(BlockBackend *blk);
bool main_fn blk_outlasts_handover(const BlockBackend *blk);

BlockBackend *main_fn blk_find(const char *name);
BlockBackend *main_fn blk_find_export(const char *id);
BlockBackend *main_fn blk_next(BlockBackend *prev);
const char *any_fn blk_name(const BlockBackend *blk);               /* "" if it has none */
/* The node it leads to, NULL if empty. Main thread, or inside a request. */
BlockDriverState *any_fn blk_bs(const BlockBackend *blk);
BdrvLink *any_fn blk_root(const BlockBackend *blk);
bool any_fn blk_is_writable(const BlockBackend *blk);
/* What it claims of what it holds, and lets others do. */
unsigned any_fn blk_needs(const BlockBackend *blk);
unsigned any_fn blk_allows(const BlockBackend *blk);
/*
 * Somebody beside its user makes requests of it; @co_leave ends them.  NULL: nobody does any more.
 * False: the backend is about to go.
 */
bool main_fn blk_set_visitor(BlockBackend *blk, void (*co_leave)(void *opaque), void *opaque);
/* Before blk_free(), if there may be visitors: they leave, and no more come.  Not with the graph
 * locked: what they do may wait for that. */
void co_main_fn blk_end_visits(BlockBackend *blk);
/* What it is attached to, for query-block and messages ("NBD export 'x'"); copied. */
void main_fn blk_set_user(BlockBackend *blk, const char *user);
const char *main_fn blk_user(const BlockBackend *blk);
/* What the device is like that has a backend. */
typedef struct BlkDevice {
    const char *qdev;               /* how clients name it */
    bool removable;                 /* its medium can be changed */
    bool has_tray;
    bool tray_open;
    bool locked;                    /* the guest does not let the tray be opened */
    bool no_io_status;              /* it tells nobody that requests fail */
    int stop_reason;                /* 0, or the -errno for which it, not the backend, has stopped */
} BlkDevice;

/* @dev, which stays the caller's and may change, has @blk from now on; NULL: no device has. */
void main_fn blk_set_device(BlockBackend *blk, const BlkDevice *dev);
const BlkDevice *main_fn blk_device(const BlockBackend *blk);
/* The backend of the device that clients know as @qdev; NULL: none. */
BlockBackend *main_fn blk_find_device(const char *qdev);
/* Its user tells of failed requests by itself: a job. */
void main_fn blk_set_quiet(BlockBackend *blk);
/* The default of cache.writeback of the device: false makes every write FUA. */
void main_fn blk_set_write_cache(BlockBackend *blk, bool enabled);
bool any_fn blk_write_cache(const BlockBackend *blk);
/*
 * Limits of the backend: those of @group, of which it becomes a member (NULL: none).  A backend
 * that is emptied or gets another node keeps them.  Its requests that wait for their turn in the
 * group it leaves go at once.  False: the backend was freed meanwhile.
 */
bool co_main_fn blk_set_throttle_group(BlockBackend *blk, ThrottleGroup *group);
ThrottleGroup *main_fn blk_throttle_group(BlockBackend *blk);
/* Its user is going away: requests that wait for their turn go at once, those that wait in the
 * stopped backend end with the error that stopped it, and further ones neither wait for limits nor
 * stop it. */
void main_fn blk_user_leaves(BlockBackend *blk);
/* The process ends: what waits for its turn in a node goes at once, whoever asked for it, and from
 * now on nothing waits there. Limits of backends end with these. */
void main_fn blk_lift_limits_of_nodes(void);

/* Event loop that its user runs requests on; informational. NULL: main. */
void main_fn blk_set_iothread(BlockBackend *blk, const char *iothread_id);
const char *main_fn blk_iothread(const BlockBackend *blk);
BlkStats *any_fn blk_stats(BlockBackend *blk);

/* ---- failed requests ---- */

/* What is done about a request that the image fails. */
typedef enum BlkOnError {
    BLK_ON_ERROR_REPORT,            /* its user gets the error; the default */
    BLK_ON_ERROR_IGNORE,            /* it succeeds; what was to be read is zeroes */
    BLK_ON_ERROR_ENOSPC,            /* stop if there is no space, else report */
    BLK_ON_ERROR_STOP,              /* wait until somebody continues, then try again */
} BlkOnError;

/* @werror is for everything but reads.  While nothing uses the backend. */
void main_fn blk_set_on_error(BlockBackend *blk, BlkOnError rerror, BlkOnError werror);
/* May the backend stop? */
bool main_fn blk_may_stop(const BlockBackend *blk);
/* 0, or the -errno that stopped the backend. */
int any_fn blk_stop_reason(const BlockBackend *blk);
/* Let a stopped backend run: what waits is tried again, in the image that is there now. */
void main_fn blk_continue(BlockBackend *blk);

/*
 * One of several that share a backend, a connection for instance: it may leave before the backend's
 * user does. All zero at first.
 */
typedef struct BlkClient {
    bool left;                      /* atomic, set under the backend's lock */
} BlkClient;

/* @client leaves: its requests that wait in the stopped backend end with the error that stopped it,
 * without being tried again, and further ones neither wait there nor stop the backend. */
void any_fn blk_client_leaves(BlockBackend *blk, BlkClient *client);

typedef enum BlkErrorAction {
    BLK_ERROR_ACTION_REPORT, BLK_ERROR_ACTION_IGNORE, BLK_ERROR_ACTION_STOP,
} BlkErrorAction;

/* A request of a backend that failed; strings are valid during the call. */
typedef struct BlkIoError {
    const char *device, *node_name;
    bool is_write;                  /* anything but a read */
    int error;                      /* -errno */
    BlkErrorAction action;
} BlkIoError;

/* Called on the main thread for failed requests: whenever a backend stops, and else at most once a
 * second for each backend. */
void main_fn blk_set_io_error_cb(void (*cb)(const BlkIoError *error));

/* ---- requests, from any thread, in a coroutine ---- */

/*
 * The request bracket.  begin waits while the backend is quiesced; from its return to end the
 * graph below is frozen.  The blk_co_ functions below bracket themselves.
 */
void co_fn blk_begin(BlockBackend *blk);
void any_fn blk_end(BlockBackend *blk);

/* For @client (NULL: the backend's user itself).  0 or -errno: -EIO outside of the image,
 * -ENOMEDIUM empty, -EPERM not writable. Accounted. */
int co_fn blk_co_preadv(BlockBackend *blk, const BlkClient *client, int64_t offset, int64_t bytes,
                        IoVec *qiov);
int co_fn blk_co_pwritev(BlockBackend *blk, const BlkClient *client, int64_t offset, int64_t bytes,
                         IoVec *qiov, unsigned flags);
int co_fn blk_co_pwrite_zeroes(BlockBackend *blk, const BlkClient *client, int64_t offset,
                               int64_t bytes, unsigned flags);
int co_fn blk_co_pdiscard(BlockBackend *blk, const BlkClient *client, int64_t offset,
                          int64_t bytes);
int co_fn blk_co_flush(BlockBackend *blk, const BlkClient *client);
/*
 * BDRV_BLOCK_... of the first *@ret_bytes bytes, and how many images down they are decided.  A
 * look is neither limited nor counted as a read, but a failed one is a failed read, with all that
 * follows.
 */
int co_fn blk_co_block_status(BlockBackend *blk, const BlkClient *client, int64_t offset,
                              int64_t bytes, int64_t *ret_bytes, int *ret_depth);
/*
 * Looks before a range is read: 1: the first *@ret_bytes bytes are zeroes, and have been read with
 * that; 0: they are not known to be.
 */
int co_fn blk_co_read_hole(BlockBackend *blk, const BlkClient *client, int64_t offset,
                           int64_t bytes, int64_t *ret_bytes);
/* Bytes; 0 if empty. */
int64_t any_fn blk_length(BlockBackend *blk);

#endif
