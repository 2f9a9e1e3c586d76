/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs on the disks of guests.  Each begins with an action of a transaction, so that several begin
 * at one instant, together with snapshots; strings are borrowed until that has ended.
 */
#ifndef BLOCK_JOBS_H
#define BLOCK_JOBS_H

#include "block/dirty-bitmap.h"
#include "block/job.h"

/* What all of them have. */
typedef struct JobCommon {
    const char *id;
    int64_t speed;                  /* bytes a second; 0: no limit */
    BlkOnError on_source_error, on_target_error;
    bool manual_finalize, manual_dismiss;
    JobGroup *group;                /* NULL: it ends alone */
} JobCommon;

typedef enum MirrorSync {
    MIRROR_SYNC_FULL,               /* the whole disk */
    MIRROR_SYNC_TOP,                /* what lies above @base */
    MIRROR_SYNC_NONE,               /* what changes from now on */
} MirrorSync;

/* Copy a disk and follow its changes; completed, its users move to the copy. */
typedef struct MirrorRequest {
    JobCommon common;
    BlockDriverState *source, *target;
    BlockDriverState *base;         /* TOP: NULL: below the whole chain */
    BlockDriverState *replaces;     /* whose users move; NULL: those of @source */
    const char *filter_name;
    MirrorSync sync;
    int64_t granularity;            /* bytes; 0: chosen */
    bool active;                    /* guests' writes go to the target as well, from the start */
    bool stays_passive;             /* ... and never go over to that by themselves */
    bool keep_zeroes;               /* zeroes do not become holes */
    bool is_commit;                 /* the target is the base, a part of the source's chain */
} MirrorRequest;

/* @bs, or the image below the filters that begin there; NULL: there is none. */
BlockDriverState *main_fn job_image(BlockDriverState *bs);
/* The next image down the chain, below filters; NULL: none. */
BlockDriverState *main_fn job_next_image(BlockDriverState *bs);

bool co_main_fn mirror_action_add(Transaction *t, const MirrorRequest *req, Error **errp);
/* A job of the type "mirror"; a commit of the topmost image is not called so. */
bool main_fn job_is_mirror(const Job *job);
/* Do guests' writes go to the target of the mirror as well? */
bool main_fn mirror_is_active(const Job *job);
/* From now on, for good. */
void main_fn mirror_make_active(Job *job);

/* Merge @top and what lies between it and @base into @base; @above has @top as its backing file. */
typedef struct CommitRequest {
    JobCommon common;
    BlockDriverState *above, *top, *base;
    const char *backing_name;       /* that @above records then; NULL: the base's */
    const char *filter_name;        /* NULL: none. It has to be one that a filter could have */
} CommitRequest;

bool co_main_fn commit_action_add(Transaction *t, const CommitRequest *req, Error **errp);

/*
 * Copy what the image in @blk has into its backing file, and empty it; not a job: users of the disk
 * are held until this returns.  With the graph locked.  False: the disk reads as before.
 */
bool co_main_fn bdrv_commit_in_place(BlockBackend *blk, Error **errp);

/* Copy what @top takes from above @base (NULL: from anywhere) into @top. */
typedef struct StreamRequest {
    JobCommon common;
    BlockDriverState *top, *base;
    const char *backing_name;       /* that @top records then; NULL: the base's */
} StreamRequest;

bool co_main_fn stream_action_add(Transaction *t, const StreamRequest *req, Error **errp);

typedef enum BackupSync {
    BACKUP_SYNC_FULL,
    BACKUP_SYNC_TOP,                /* what lies above @base */
    BACKUP_SYNC_NONE,               /* only what guests are about to change, until it is ended */
    BACKUP_SYNC_BITMAP,             /* what is dirty in @bitmap */
} BackupSync;

/* What becomes of the bitmap. */
typedef enum BackupBitmapMode {
    BACKUP_BITMAP_ON_SUCCESS,       /* what was copied is clean, if the job succeeds */
    BACKUP_BITMAP_NEVER,            /* it stays as it was, and records on */
    BACKUP_BITMAP_ALWAYS,           /* what was copied is clean */
} BackupBitmapMode;

/* Copy a disk as it is at the instant of the transaction. */
typedef struct BackupRequest {
    JobCommon common;
    BlockDriverState *source, *target;
    BackupSync sync;
    BlockDriverState *base;         /* TOP: NULL: below the whole chain */
    BdrvDirtyBitmap *bitmap;        /* BITMAP: of the source */
    BackupBitmapMode bitmap_mode;
    const char *filter_name;
    bool compress;
    int workers;                    /* pieces at a time; 0: the default */
    int64_t chunk, min_cluster_size;    /* bytes; 0: the default */
} BackupRequest;

bool co_main_fn backup_action_add(Transaction *t, const BackupRequest *req, Error **errp);

/* An image to copy to, in a file. */
typedef struct NewImageRequest {
    BlockDriverState *source;       /* that it is to be as long as */
    BlockDriverState *backing;      /* its backing file, or NULL */
    const char *filename, *format;  /* @format NULL: found out; only if it exists */
    const char *node_name;          /* NULL: one is made up */
    bool existing;                  /* it is there, and is opened; else it is made */
} NewImageRequest;

/*
 * Makes or opens it: what was added to @t before is prepared with it (transaction_settle()), the
 * transaction goes on with the node, which later actions hold.
 */
BlockDriverState *co_main_fn new_image_action_add(Transaction *t, const NewImageRequest *req,
                                                  Error **errp);

/* Does the chain of @bs, without @bs itself, have @base? */
bool main_fn job_chain_has(BlockDriverState *bs, const BlockDriverState *base);

#endif
