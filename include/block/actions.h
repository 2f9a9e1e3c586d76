/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small kinds of actions of a transaction; the snapshot has a header of its own. */
#ifndef BLOCK_ACTIONS_H
#define BLOCK_ACTIONS_H

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

#endif
