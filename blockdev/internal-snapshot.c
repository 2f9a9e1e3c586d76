/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about snapshots inside of images; the one that makes them is in transaction.c. */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "block/blockdev.h"
#include "block/internal-snapshot.h"
#include "qapi/qapi-commands.h"

SnapshotInfo *any_fn blockdev_snapshot_info(const BdrvSnapshot *sn)
{
    SnapshotInfo *info = g_new0(SnapshotInfo, 1);

    info->id = g_strdup(sn->id);
    info->name = g_strdup(sn->name);
    info->vm_state_size = sn->vm_state_size;
    info->date_sec = sn->date_sec;
    info->date_nsec = sn->date_nsec;
    info->vm_clock_sec = sn->vm_clock_nsec / NS_PER_SEC;
    info->vm_clock_nsec = sn->vm_clock_nsec % NS_PER_SEC;
    info->has_icount = sn->icount != BDRV_SNAPSHOT_NO_ICOUNT;
    info->icount = info->has_icount ? sn->icount : 0;
    return info;
}

typedef struct DeleteArgs {
    const QmpBlockdevSnapshotDeleteInternalSyncArgs *q;
    BdrvSnapshot **ret;
} DeleteArgs;

static bool co_main_fn add_delete(Transaction *t, const void *opaque, Error **errp)
{
    const DeleteArgs *args = opaque;
    BlockDriverState *bs = blockdev_lookup_root(args->q->device, errp);

    if (!bs) {
        return false;
    }
    if (!args->q->id && !args->q->name) {
        error_setg(errp, "Name or id must be provided");
        return false;
    }
    return internal_snapshot_delete_action_add(t, bs, args->q->device, args->q->id, args->q->name,
                                               args->ret, errp);
}

bool co_main_fn qmp_blockdev_snapshot_delete_internal_sync(
    const QmpBlockdevSnapshotDeleteInternalSyncArgs *args, SnapshotInfo **ret, Error **errp)
{
    BdrvSnapshot *deleted = NULL;
    DeleteArgs a = { args, &deleted };
    bool ok = blockdev_run_transaction(add_delete, &a, errp);

    blockdev_plain_error(errp);
    if (ok) {
        *ret = blockdev_snapshot_info(deleted);
        bdrv_snapshot_free(deleted);
    }
    return ok;
}
