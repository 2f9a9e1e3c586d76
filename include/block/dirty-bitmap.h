/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps: which parts of a node were written to since somebody last looked.
 *
 * A change is in the bitmap by the time that it is acknowledged, and not before its data is there.
 * So whoever resets a bit and only then reads the data misses nothing: block/dirty-bitmap/bitmap.c
 * has the argument.  A bitmap that is clean does not say that no write is under way; that is known
 * while the node's backends are held.
 *
 * Bitmaps are made, found and given up on the main thread; a bitmap lives until it is released or
 * its node goes.  The HBitmap of one may be used by any thread until then.
 */
#ifndef BLOCK_DIRTY_BITMAP_H
#define BLOCK_DIRTY_BITMAP_H

#include "block/types.h"
#include "qapi/error.h"
#include "qemu/hbitmap.h"

typedef struct BdrvDirtyBitmap BdrvDirtyBitmap;

/* The longest name, bytes: what qcow2 can record. */
#define BDRV_BITMAP_MAX_NAME 1023
/* Of one node: each write looks at all of them. */
#define BDRV_BITMAP_MAX_COUNT 1000

/* ---- life ---- */

/*
 * A clean bitmap of @bs that records from now on.  @granularity: bytes, a power of two from 512 to
 * 2 GiB, or 0: by the node's clusters.  @name is copied; NULL: an anonymous one of a job, which
 * nobody finds by name and no query shows.
 */
BdrvDirtyBitmap *main_fn bdrv_create_dirty_bitmap(BlockDriverState *bs, int64_t granularity,
                                                  const char *name, Error **errp);
/* NULL: nothing.  It is nobody's then: not busy. */
void main_fn bdrv_release_dirty_bitmap(BdrvDirtyBitmap *bitmap);
/* The granularity that 0 stands for. */
int64_t main_fn bdrv_default_bitmap_granularity(const BlockDriverState *bs);

/* ---- finding ---- */

/* NULL: @bs has none of that name that is not hidden. */
BdrvDirtyBitmap *main_fn bdrv_find_dirty_bitmap(BlockDriverState *bs, const char *name);
/* Hidden ones, too. */
BdrvDirtyBitmap *main_fn bdrv_find_any_dirty_bitmap(BlockDriverState *bs, const char *name);
/* Named ones that are not hidden, the newest first; NULL @prev: the first. */
BdrvDirtyBitmap *main_fn bdrv_next_dirty_bitmap(BlockDriverState *bs, BdrvDirtyBitmap *prev);

/* Borrowed; NULL: anonymous. */
const char *main_fn bdrv_dirty_bitmap_name(const BdrvDirtyBitmap *bitmap);
BlockDriverState *main_fn bdrv_dirty_bitmap_node(const BdrvDirtyBitmap *bitmap);

/* ---- bits ---- */

/* The bits; they are the bitmap's, and stay where they are for its life. */
HBitmap *any_fn bdrv_dirty_bitmap_hbitmap(BdrvDirtyBitmap *bitmap);
/* Bytes: hbitmap_set(), hbitmap_reset(), hbitmap_count(), hbitmap_next_dirty_area(). */
int64_t any_fn bdrv_set_dirty_bitmap(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes);
int64_t any_fn bdrv_reset_dirty_bitmap(BdrvDirtyBitmap *bitmap, int64_t offset, int64_t bytes);
int64_t any_fn bdrv_dirty_bitmap_count(const BdrvDirtyBitmap *bitmap);
/* What clients are shown: while a job has its bits, how many it took, as with QEMU. */
int64_t main_fn bdrv_dirty_bitmap_shown_count(const BdrvDirtyBitmap *bitmap);
int64_t any_fn bdrv_dirty_bitmap_granularity(const BdrvDirtyBitmap *bitmap);
bool any_fn bdrv_dirty_bitmap_next_area(const BdrvDirtyBitmap *bitmap, int64_t start, int64_t end,
                                        int64_t max_bytes, int64_t *ret_offset,
                                        int64_t *ret_bytes);

/* ---- state.  Setters: for an exact instant while the node's backends are held ---- */

/* Does it record what is written? */
bool any_fn bdrv_dirty_bitmap_enabled(const BdrvDirtyBitmap *bitmap);
void main_fn bdrv_enable_dirty_bitmap(BdrvDirtyBitmap *bitmap);
void main_fn bdrv_disable_dirty_bitmap(BdrvDirtyBitmap *bitmap);

/* Somebody uses it: nobody else does.  @owner, for messages: a string that outlives the use, "NBD
 * export"; NULL: nobody does any more. */
void main_fn bdrv_dirty_bitmap_set_busy(BdrvDirtyBitmap *bitmap, const char *owner);
const char *main_fn bdrv_dirty_bitmap_owner(const BdrvDirtyBitmap *bitmap);

/* A job has taken its bits, @taken, and may give some of them back: what is stored meanwhile is not
 * valid. The job has called bdrv_dirty_bitmap_changing() before. NULL: it is over. */
void main_fn bdrv_dirty_bitmap_set_taken(BdrvDirtyBitmap *bitmap, const HBitmap *taken);
bool main_fn bdrv_dirty_bitmap_taken(const BdrvDirtyBitmap *bitmap);

/* Being made by somebody: only who knows finds it. @owner NULL: it is there for everybody. */
void main_fn bdrv_dirty_bitmap_set_hidden(BdrvDirtyBitmap *bitmap, const void *owner);
const void *main_fn bdrv_dirty_bitmap_hidden_by(const BdrvDirtyBitmap *bitmap);

/* Its image, which is to store it, cannot be changed: nor can it. */
bool main_fn bdrv_dirty_bitmap_readonly(const BdrvDirtyBitmap *bitmap);

/* It is to be stored in the image. */
void main_fn bdrv_dirty_bitmap_set_persistent(BdrvDirtyBitmap *bitmap, bool persistent);
bool main_fn bdrv_dirty_bitmap_persistent(const BdrvDirtyBitmap *bitmap);

/* Can the image of @bs store a bitmap of that name beside those that it has? @granularity: bytes;
 * 0: the default. */
bool main_fn bdrv_can_store_bitmap(BlockDriverState *bs, const char *name, int64_t granularity,
                                   Error **errp);

/* Before a command changes, adds or removes it, where it is persistent: what the image has of it is
 * not valid any more, also if the process dies. */
bool co_main_fn bdrv_dirty_bitmap_changing(BlockDriverState *bs, const char *name, Error **errp);

/* Changes that may have been stored were taken back: what is stored is not valid. */
void main_fn bdrv_dirty_bitmaps_undone(BlockDriverState *bs);

/* It has missed writes: it can only be removed.  It is disabled and stays inconsistent. */
void any_fn bdrv_dirty_bitmap_set_inconsistent(BdrvDirtyBitmap *bitmap);
bool any_fn bdrv_dirty_bitmap_inconsistent(const BdrvDirtyBitmap *bitmap);
/* ... and recorded before. */
bool main_fn bdrv_dirty_bitmap_recorded(const BdrvDirtyBitmap *bitmap);

/* ---- what may be done with it ---- */

typedef enum BdrvBitmapUse {
    BDRV_BITMAP_NOT_BUSY = 1 << 0,
    BDRV_BITMAP_NOT_READONLY = 1 << 1,
    BDRV_BITMAP_NOT_INCONSISTENT = 1 << 2,
} BdrvBitmapUse;

/* To read it / to change it / to remove it. */
#define BDRV_BITMAP_TO_READ (BDRV_BITMAP_NOT_BUSY | BDRV_BITMAP_NOT_INCONSISTENT)
#define BDRV_BITMAP_TO_CHANGE (BDRV_BITMAP_TO_READ | BDRV_BITMAP_NOT_READONLY)
#define BDRV_BITMAP_TO_REMOVE (BDRV_BITMAP_NOT_BUSY | BDRV_BITMAP_NOT_READONLY)

/* False, with an error that names it: one of @uses (BdrvBitmapUse) is not true of it. */
bool main_fn bdrv_dirty_bitmap_check(const BdrvDirtyBitmap *bitmap, unsigned uses, Error **errp);

#endif
