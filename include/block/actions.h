/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small kinds of actions of a transaction; the snapshot has a header of its own. */
#ifndef BLOCK_ACTIONS_H
#define BLOCK_ACTIONS_H

#include "block/internal-snapshot.h"
#include "block/transaction.h"

/* Resize @bs to @size bytes; on disk when the transaction has ended.  What does not work is undone.
 */
bool co_main_fn resize_action_add(Transaction *t, BlockDriverState *bs, int64_t size, Error **errp);

/*
 * Change nodes->pdata[i] to g_array_index(changes, BdrvReopen, i), see bdrv_reopen_prepare();
 * parents before what is below them.  Takes both arrays and @options, the BdrvOpenOptions that they
 * borrow.
 */
bool co_main_fn reopen_action_add(Transaction *t, GPtrArray *nodes, GArray *changes,
                                  GPtrArray *options, Error **errp);

/* ---- dirty bitmaps ---- */

typedef enum BitmapVerb {
    BITMAP_ADD, BITMAP_REMOVE, BITMAP_CLEAR, BITMAP_ENABLE, BITMAP_DISABLE, BITMAP_MERGE,
    BITMAP_VERB__MAX,
} BitmapVerb;

typedef struct BitmapSource {
    BlockDriverState *bs;
    const char *name;
} BitmapSource;

/* REMOVE, CLEAR, ENABLE or DISABLE the bitmap of that name, which an earlier action of @t may be
 * going to make. */
bool co_main_fn bitmap_action_add(Transaction *t, BitmapVerb verb, BlockDriverState *bs,
                                  const char *name, Error **errp);
/* A new one: see bdrv_create_dirty_bitmap(). */
bool co_main_fn bitmap_add_action_add(Transaction *t, BlockDriverState *bs, const char *name,
                                      int64_t granularity, bool persistent, bool disabled,
                                      Error **errp);
/* What is dirty in one of the @n @sources (copied) becomes dirty in bitmap @name of @bs. */
bool co_main_fn bitmap_merge_action_add(Transaction *t, BlockDriverState *bs, const char *name,
                                        const BitmapSource *sources, guint n, Error **errp);

/* Record @name (NULL: none) of @format as the backing file of @bs, which is writable.  Undone if the
 * transaction fails. */
bool co_main_fn backing_name_action_add(Transaction *t, BlockDriverState *bs, const char *name,
                                        const char *format, Error **errp);

/* ---- snapshots inside of images ---- */

/* One of @bs, which users call @who, of that name; see block/internal-snapshot.h.  One for a node
 * and transaction.  @vm_state_size: bytes of a machine's state that it has beside the disk. */
bool co_main_fn internal_snapshot_action_add(Transaction *t, BlockDriverState *bs, const char *who,
                                             const char *name, uint64_t vm_state_size,
                                             Error **errp);
/* Delete the one with that id and that name (NULL: any); alone in its transaction, as it is not
 * undone.  *@ret, which the caller frees, is what was deleted, after a commit. */
bool co_main_fn internal_snapshot_delete_action_add(Transaction *t, BlockDriverState *bs,
                                                    const char *who, const char *id,
                                                    const char *name, BdrvSnapshot **ret,
                                                    Error **errp);

#endif
