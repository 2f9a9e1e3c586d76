/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots that an image keeps in itself (qcow2): listing, creating, going back to one, deleting.
 *
 * On the main thread, under the graph mutex or with the node pinned, as all changes of a node.  To
 * read one as a disk, open the image read-only with BdrvOpenOptions.u.qcow2.snapshot set to its id
 * or name.
 */
#ifndef BLOCK_INTERNAL_SNAPSHOT_H
#define BLOCK_INTERNAL_SNAPSHOT_H

#include "block/types.h"
#include "qapi/error.h"
#include "qemu/coroutine.h"

/* BdrvSnapshot.icount: none was recorded. */
#define BDRV_SNAPSHOT_NO_ICOUNT UINT64_MAX

typedef struct BdrvSnapshot {
    char *id, *name;                /* owned; unique is only the id, which the driver chooses */
    uint64_t vm_state_size;         /* bytes */
    uint32_t date_sec, date_nsec;   /* of the host's clock, since 1970 */
    uint64_t vm_clock_nsec;         /* that the guest had run for */
    uint64_t icount;                /* instructions that it had executed */
    int64_t disk_size;              /* bytes */
} BdrvSnapshot;

BdrvSnapshot *any_fn bdrv_snapshot_copy(const BdrvSnapshot *sn);
/* A GDestroyNotify; NULL is fine. */
void any_fn bdrv_snapshot_free(void *snapshot);

/* Can the driver of @bs have snapshots at all? */
bool any_fn bdrv_can_snapshot(const BlockDriverState *bs);

/* All snapshots, in the order of the image's table; caller frees.  NULL: error. A driver that has
 * none gives an empty list. */
GPtrArray *co_main_fn bdrv_co_snapshot_list(BlockDriverState *bs, Error **errp);

/* The first in @list with that id and that name, where NULL stands for any; NULL: none. */
const BdrvSnapshot *any_fn bdrv_snapshot_find(const GPtrArray *list, const char *id,
                                              const char *name);
/* The one whose id is @what, else the first of that name; NULL: none. */
const BdrvSnapshot *any_fn bdrv_snapshot_find_any(const GPtrArray *list, const char *what);

/*
 * A new snapshot of what @bs has now: name, date, clock, icount of @sn are recorded, id and size
 * are the driver's to say.  Requests to @bs may be under way; which of them are in it is undefined.
 * Durable on return.  0 or -errno: -ENOTSUP, -EINVAL if a refcount is too narrow for one more
 * reference, ...; after a failure there is no new snapshot.
 */
int co_main_fn bdrv_co_snapshot_create(BlockDriverState *bs, const BdrvSnapshot *sn);

/*
 * The disk becomes what the snapshot @id (see bdrv_snapshot_find_any()) has, its length too: the
 * link needs CLAIM_WRITE and CLAIM_RESIZE.  What the disk had is lost.  Durable on return; a power
 * cut leaves the one or the other.
 */
bool co_main_fn bdrv_co_snapshot_apply(BdrvLink *link, const char *id, Error **errp);

/* Delete the snapshot that bdrv_snapshot_find() finds.  True as soon as it is gone, durably: where
 * its space cannot be given back then, it leaks. */
bool co_main_fn bdrv_co_snapshot_delete(BlockDriverState *bs, const char *id, const char *name,
                                        Error **errp);

/*
 * bdrv_co_snapshot_create() in parts, for a snapshot of one instant of many disks:
 *
 *     ret = bdrv_co_snapshot_prepare(bs, sn);     guests run; takes as long as it takes
 *     if (ret == 0) {
 *         ret = bdrv_co_snapshot_take(bs);        nobody writes
 *         bdrv_co_snapshot_end(bs);               guests run; without a take: undoes the prepare
 *     }
 *
 * One at a time for a node (-EBUSY).  Nobody resizes or closes it meanwhile.
 */
int co_main_fn bdrv_co_snapshot_prepare(BlockDriverState *bs, const BdrvSnapshot *sn);
/* Durable on return; if it fails there is no snapshot. */
int co_main_fn bdrv_co_snapshot_take(BlockDriverState *bs);
void co_main_fn bdrv_co_snapshot_end(BlockDriverState *bs);
/* The id of what is being prepared, or was taken; until the end. */
const char *main_fn bdrv_snapshot_id(BlockDriverState *bs);

#endif
