/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the command layer: where QAPI types end. */
#ifndef BLOCK_BLOCKDEV_H
#define BLOCK_BLOCKDEV_H

#include "block/jobs.h"
#include "block/dirty-bitmap.h"
#include "block/snapshot.h"
#include "nbd/server.h"
#include "qapi/qapi-types.h"
#include "qemu/iothread.h"
#include "qemu/sockets.h"

/* The plain form of @qapi; caller frees. */
BdrvOpenOptions *any_fn blockdev_options_to_plain(const BlockdevOptions *qapi, Error **errp);

/* The same for what is blkdebug's own, its child apart. */
void any_fn blockdev_blkdebug_to_plain(const BlockdevOptionsBlkdebug *q, BdrvOpenOptions *o);

/*
 * The plain form of options as keyval_parse() returns them, in which drivers may be left out: a
 * "filename" alone is of a file, and a node without a driver has the format @format, or (NULL) the
 * one that its file looks like.  @dict is filled in.  Caller frees.
 */
BdrvOpenOptions *co_main_fn blockdev_options_from_dict(QDict *dict, const char *format,
                                                       Error **errp);
/* For bdrv_json_options_parser. */
BdrvOpenOptions *co_main_fn blockdev_options_from_json(const char *json, const char *format,
                                                       Error **errp);
/* The same where nothing is opened; NULL also if a driver is left out. */
BdrvOpenOptions *any_fn blockdev_options_from_whole_json(const char *json, const char *format);

/* As blockdev-reopen does with one node, for options that are plain already; takes them. */
bool co_main_fn blockdev_reopen_as(BlockDriverState *bs, BdrvOpenOptions *takes, Error **errp);

/* Open @qapi as a node that the monitor owns. */
bool co_main_fn blockdev_add_node(const BlockdevOptions *qapi, Error **errp);

/*
 * A node by the name of a backend or of a node; either may be NULL.  Exports come last.
 * @for_group: with the error classes and
 * texts of the group command, else with those of today's commands.
 */
BlockDriverState *main_fn blockdev_lookup(const char *device, const char *node_name,
                                          bool for_group, Error **errp);

/* A node by its name, or by that of a backend that leads to it. */
BlockDriverState *main_fn blockdev_lookup_node(const char *name, Error **errp);
/* The same, where the node is to get a new user: waits while it is being changed. */
BlockDriverState *co_main_fn blockdev_lookup_unchanged(const char *name, Error **errp);
/* The backend that @device means, unless @bs is a node of that name: exports come last.  NULL:
 * none. */
BlockBackend *main_fn blockdev_find_backend(const char *device, const BlockDriverState *bs);

/* The layout that a command asks for; a size that qcow2 cannot have stays one. */
SnapshotLayout any_fn blockdev_snapshot_layout(bool has_cluster_size, uint64_t cluster_size,
                                               bool has_extended_l2, bool extended_l2);

/* The seven steps of a transaction, to its end; the caller frees it.  False: nothing changed. */
bool co_main_fn blockdev_take(Transaction *t, TransactionAdd *add, const void *args, Error **errp);
/* The same for a transaction of its own with the default timeout. */
bool co_main_fn blockdev_run_transaction(TransactionAdd *add, const void *args, Error **errp);

/* Turn an error's class into one that today's commands use and drop its member. */
void any_fn blockdev_plain_error(Error **errp);

/* What is known of the image @bs alone, without its backing file.  Sizes of files are as of
 * blockdev_refresh_sizes(), which asks for them. */
ImageInfo *main_fn blockdev_image_info(BlockDriverState *bs);
/* Called after a command has changed the length of a node, not under the graph lock; a co_main_fn.
 * Once. */
void main_fn blockdev_set_resized(void (*co_resized)(void));
/* As far as that can be learnt at once or nearly so. */
void co_main_fn blockdev_refresh_sizes(void);
/* Filename etc. of a node as clients know it. */
BlockDeviceInfo *main_fn blockdev_node_info(BlockDriverState *bs, BlockBackend *blk, bool flat);

/* What `cont` does after it has let all disks run; false with @errp. */
void main_fn blockdev_set_run(bool (*run)(Error **errp));

/* From now on queries about backends tell of devices and drives, and not of exports. */
void main_fn blockdev_show_devices(void);

/* blockdev/snapshot-disks.c.  Is @bs a disk of the machine: one that can be written, and is in use or
 * has nothing on it? */
bool main_fn blockdev_is_disk(BlockDriverState *bs);
/* As clients know it: the drive's name, else the node's. */
/* A device, a drive or an export on @bs; NULL: none. */
BlockBackend *main_fn blockdev_user_of_disk(const BlockDriverState *bs);
const char *main_fn blockdev_disk_name(BlockDriverState *bs);
/* The image that would have the snapshot: filters have none of their own. */
BlockDriverState *main_fn blockdev_image_of_disk(BlockDriverState *bs);

/* blockdev/internal-snapshot.c: as clients know it; caller frees. */
SnapshotInfo *any_fn blockdev_snapshot_info(const BdrvSnapshot *sn);

/* blockdev/dirty-bitmap.c.  NULL with QEMU's texts: no such node, no such bitmap. */
BdrvDirtyBitmap *main_fn blockdev_find_bitmap(const BlockDirtyBitmap *which, Error **errp);
/* The bitmaps of @bs as clients know them; NULL: none. */
BlockDirtyInfoList *main_fn blockdev_bitmaps_info(BlockDriverState *bs);

/*
 * blockdev/overlay-warning.c.  If @bs can be written and an image in the same folder as its file
 * records that as its backing file: a warning in the log.  @bs may have gone when this returns.
 */
void co_main_fn blockdev_warn_of_overlays(BlockDriverState *bs);
void main_fn blockdev_set_overlay_warnings(bool on);    /* true from the start */

/* A named backend holding a node (--drive). */
bool co_main_fn blockdev_drive_add(const char *id, BlockDriverState *bs, bool write_cache,
                                   Error **errp);

/* blockdev/throttle.c.  Limits of a group as plain values, checked; @q may be NULL: none. */
bool any_fn blockdev_throttle_config(const ThrottleLimits *q, ThrottleConfig *cfg, Error **errp);
/* Make @cfg the limits of the group of that name and @blk its member; no limits: it leaves its
 * group. */
bool co_main_fn blockdev_throttle_backend(BlockBackend *blk, const char *group_name,
                                        const ThrottleConfig *cfg, Error **errp);
void main_fn blockdev_throttle_info(BlockBackend *blk, BlockDeviceInfo *info);

/* blockdev/io-error.c.  A policy for requests that fail, `report` if none was given. */
BlkOnError any_fn blockdev_on_error(bool has_policy, BlockdevOnError policy, bool is_write);
/* Send the events. */
void main_fn blockdev_io_error_init(void);

/* blockdev/mirror.c: what commands that begin jobs share.  The job's name, by default that of the
 * drive @device, and its speed. */
bool main_fn blockdev_job_common(JobCommon *c, const char *device, const char *job_id,
                                 bool has_speed, int64_t speed, Error **errp);
BlkOnError any_fn blockdev_job_on_error(bool given, BlockdevOnError policy);
/* As blockdev_lookup_node(), with the text of these commands. */
BlockDriverState *main_fn blockdev_lookup_either(const char *name, Error **errp);
/* A node that is no other node's child. */
BlockDriverState *main_fn blockdev_lookup_root(const char *device, Error **errp);

/* blockdev/backup.c: the action that begins it. @group: of jobs that end together, or NULL. */
bool co_main_fn blockdev_add_backup(Transaction *t, const BlockdevBackup *q,
                                    BlockDriverState *source, BlockDriverState *target,
                                    JobGroup *group, Error **errp);

bool co_main_fn blockdev_add_drive_backup(Transaction *t, const DriveBackup *q,
                                          BlockDriverState *source, JobGroup *group,
                                          Error **errp);
/* blockdev/mirror.c: the same for a mirror. */
bool co_main_fn blockdev_add_mirror(Transaction *t, const QmpBlockdevMirrorArgs *q,
                                    BlockDriverState *source, BlockDriverState *target,
                                    Error **errp);

/* -object */
bool co_main_fn blockdev_object_add(const ObjectOptions *opts, Error **errp);
IOThread *main_fn blockdev_find_iothread(const char *id);
/* Contents of a secret, NULL: none of that id. */
const char *main_fn blockdev_find_secret(const char *id, size_t *ret_len);
void main_fn blockdev_delete_all_objects(void);

/* The id of the NBD server that is meant where none is named. */
#define BLOCKDEV_DEFAULT_NBD_SERVER ""

bool co_main_fn blockdev_nbd_server_start(const char *id, const SocketAddress *addr,
                                          const NbdServerLimits *limits, Error **errp);
/* With the default for what is not given. */
NbdServerLimits any_fn blockdev_nbd_limits(bool has_connections, uint32_t connections,
                                           bool has_seconds, uint32_t seconds);
bool co_main_fn blockdev_export_add(const BlockExportOptions *opts, Error **errp);
/* After jobs have ended: exports, servers, backends, nodes, objects. */
void co_main_fn blockdev_shutdown(void);
void main_fn blockdev_init(void);
void main_fn blockdev_jobs_init(void);
/* Cancels jobs, and waits for all. */
void co_main_fn blockdev_jobs_shutdown(void);

#endif
