/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files about snapshots of the machine. */
#ifndef MIGRATION_VMSTATE_INTERNAL_H
#define MIGRATION_VMSTATE_INTERNAL_H

#include "block/backend.h"
#include "migration/vmstate.h"

/* The nodes that @disks mean, the one for the state first; each is one that can be written and have
 * snapshots.  NULL with @errp; caller unrefs. */
GPtrArray *co_main_fn vmstate_nodes(const VmStateDisks *disks, Error **errp);

/* Write @state behind the disk of @bs; its bytes: *@ret_size. */
bool co_main_fn vmstate_write(BlockDriverState *bs, const QDict *state, int64_t *ret_size,
                              Error **errp);
/* NULL with @errp: what is there is no state of ours. */
QDict *co_main_fn vmstate_read(BlockDriverState *bs, Error **errp);

#endif
