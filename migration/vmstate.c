/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots of the machine: saved, loaded, deleted. */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "block/blockdev.h"
#include "block/hold.h"
#include "block/internal-snapshot.h"
#include "vmstate-internal.h"

/* How long disks may take to come to rest before they are gone back. */
#define HOLD_NS (10 * NS_PER_SEC)

static const MachineStateOps *machine;

void main_fn vmstate_init(const MachineStateOps *ops)
{
    machine = ops;
}

static BlockDriverState *at(const GPtrArray *nodes, guint i)
{
    return nodes->pdata[i];
}

/* Where the machine can say nothing of itself there is no snapshot of it. */
static GPtrArray *co_main_fn begin(const VmStateDisks *disks, Error **errp)
{
    return machine->co_can_save(errp) ? vmstate_nodes(disks, errp) : NULL;
}

/* ---- delete ---- */

static bool co_main_fn delete_one(BlockDriverState *bs, const char *tag, Error **errp)
{
    g_autoptr(GPtrArray) list = bdrv_co_snapshot_list(bs, errp);
    const BdrvSnapshot *sn = list ? bdrv_snapshot_find(list, NULL, tag) : NULL;
    BdrvLinkSpec spec = { .needs = CLAIM_WRITE_SAME, .allows = CLAIM_ALL, .holder = "delvm" };

    if (!sn) {
        return list != NULL;
    }
    BdrvLink *link = bdrv_link_new(bs, &spec, errp);
    bool ok = link && bdrv_co_snapshot_delete(bs, sn->id, sn->name, errp);
    bdrv_link_free(link);
    return ok;
}

static bool co_main_fn delete_everywhere(const GPtrArray *nodes, const char *tag, Error **errp)
{
    bool ok = true;

    bdrv_graph_lock();
    for (guint i = 0; i < nodes->len && ok; i++) {
        ok = delete_one(at(nodes, i), tag, errp);
        if (!ok) {
            error_prepend(errp, "Could not delete snapshot '%s' on '%s': ", tag,
                          blockdev_disk_name(at(nodes, i)));
        }
    }
    bdrv_graph_unlock();
    return ok;
}

bool co_main_fn vmstate_delete(const char *tag, const VmStateDisks *disks, Error **errp)
{
    g_autoptr(GPtrArray) nodes = vmstate_nodes(disks, errp);

    return nodes && delete_everywhere(nodes, tag, errp);
}

/* ---- save ---- */

typedef struct SaveArgs {
    const GPtrArray *nodes;
    const char *tag;
    int64_t state_size;             /* bytes, beside the first node's disk */
} SaveArgs;

static bool co_main_fn add_snapshots(Transaction *t, const void *opaque, Error **errp)
{
    const SaveArgs *a = opaque;

    for (guint i = 0; i < a->nodes->len; i++) {
        BlockDriverState *bs = at(a->nodes, i);
        if (!internal_snapshot_action_add(t, bs, blockdev_disk_name(bs), a->tag,
                                          i == 0 ? a->state_size : 0, errp)) {
            return false;
        }
    }
    return true;
}

/* What is written to @bs is not the disk's data. */
static BdrvLink *co_main_fn claim(BlockDriverState *bs, Error **errp)
{
    BdrvLinkSpec spec = { .needs = CLAIM_WRITE_SAME, .allows = CLAIM_ALL, .holder = "savevm" };

    bdrv_graph_lock();
    BdrvLink *link = bdrv_link_new(bs, &spec, errp);
    bdrv_graph_unlock();
    return link;
}

static void co_main_fn release(BdrvLink *link)
{
    bdrv_graph_lock();
    bdrv_link_free(link);
    bdrv_graph_unlock();
}

static bool co_main_fn save_stopped(const char *tag, const GPtrArray *nodes, Error **errp)
{
    g_autoptr(QDict) state = machine->save();
    SaveArgs args = { nodes, tag, 0 };
    BdrvLink *link = claim(at(nodes, 0), errp);
    Error *err = NULL;

    if (!link) {
        return false;
    }
    bool ok = vmstate_write(link->bs, state, &args.state_size, &err) &&
              blockdev_run_transaction(add_snapshots, &args, &err);
    bdrv_co_drop_vmstate(link->bs);         /* what cannot be dropped is in nobody's way */
    release(link);
    if (err) {
        blockdev_plain_error(&err);
        error_propagate(errp, err);
    }
    return ok;
}

bool co_main_fn vmstate_save(const char *tag, const VmStateDisks *disks, Error **errp)
{
    g_autoptr(GPtrArray) nodes = begin(disks, errp);

    if (!nodes || !delete_everywhere(nodes, tag, errp)) {
        return false;
    }
    bool ran = machine->co_stop(RUN_STATE_SAVE_VM);
    bool ok = save_stopped(tag, nodes, errp);
    if (ran) {
        machine->co_cont();
    }
    return ok;
}

/* ---- load ---- */

static bool co_main_fn check_one(BlockDriverState *bs, const char *tag, bool has_state,
                                 Error **errp)
{
    g_autoptr(GPtrArray) list = bdrv_co_snapshot_list(bs, errp);
    const BdrvSnapshot *sn = list ? bdrv_snapshot_find(list, NULL, tag) : NULL;

    if (list && !sn) {
        error_setg(errp, "Snapshot '%s' does not exist in one or more devices", tag);
    } else if (sn && has_state && sn->vm_state_size == 0) {
        error_setg(errp, "This is a disk-only snapshot. Revert to it  offline using qemu-img");
        return false;
    }
    return sn != NULL;
}

static bool co_main_fn apply_by_backend(BlockBackend *blk, const char *tag, Error **errp)
{
    const BdrvLink *root = blk_root(blk);
    unsigned needs = root->needs, allows = root->allows;

    if (!blk_set_claims(blk, needs | CLAIM_WRITE | CLAIM_RESIZE, allows, errp)) {
        return false;
    }
    bool ok = bdrv_co_snapshot_apply(blk_root(blk), tag, errp);
    return blk_set_claims(blk, needs, allows, ok ? errp : NULL) && ok;
}

static bool co_main_fn apply_one(BlockDriverState *bs, const char *tag, Error **errp)
{
    BdrvLinkSpec spec = {
        .needs = CLAIM_WRITE | CLAIM_RESIZE, .allows = CLAIM_ALL, .holder = "loadvm",
    };
    /* The link of whoever has the disk: its own claims go on, and no other could be made beside it. */
    BlockBackend *blk = blockdev_user_of_disk(bs);

    if (blk) {
        return apply_by_backend(blk, tag, errp);
    }
    BdrvLink *link = bdrv_link_new(bs, &spec, errp);
    bool ok = link && bdrv_co_snapshot_apply(link, tag, errp);
    bdrv_link_free(link);
    return ok;
}

/* All disks are at rest from before the first goes back until the last has. */
static bool co_main_fn apply_all(const GPtrArray *nodes, const char *tag, Error **errp)
{
    BlockBackend *late = NULL;
    bool ok = true;
    BdrvHold hold;

    bdrv_hold_init(&hold);
    for (guint i = 0; i < nodes->len; i++) {
        bdrv_hold_add(&hold, at(nodes, i));
    }
    if (!bdrv_hold_begin(&hold, clock_ns() + HOLD_NS, &late)) {
        error_setg(errp, "Device '%s' did not come to rest", blk_name(late));
        ok = false;
    }
    for (guint i = 0; i < nodes->len && ok; i++) {
        ok = apply_one(at(nodes, i), tag, errp);
        if (!ok) {
            error_prepend(errp, "Could not load snapshot '%s' on '%s': ", tag,
                          blockdev_disk_name(at(nodes, i)));
        }
    }
    if (hold.state == BDRV_HOLD_HELD) {
        bdrv_hold_end(&hold);
    }
    bdrv_hold_clear(&hold);
    return ok;
}

static bool co_main_fn load_stopped(const char *tag, const GPtrArray *nodes, Error **errp)
{
    bdrv_graph_lock();
    bool ok = apply_all(nodes, tag, errp);
    g_autoptr(QDict) state = ok ? vmstate_read(at(nodes, 0), errp) : NULL;
    if (state) {
        bdrv_co_drop_vmstate(at(nodes, 0));
    }
    bdrv_graph_unlock();
    return state && machine->co_load(state, errp);
}

bool co_main_fn vmstate_load(const char *tag, const VmStateDisks *disks, Error **errp)
{
    g_autoptr(GPtrArray) nodes = begin(disks, errp);

    for (guint i = 0; nodes && i < nodes->len; i++) {
        if (!check_one(at(nodes, i), tag, i == 0, errp)) {
            return false;
        }
    }
    if (!nodes) {
        return false;
    }
    bool ran = machine->co_stop(RUN_STATE_RESTORE_VM);
    bool ok = load_stopped(tag, nodes, errp);
    if (ran && ok) {
        machine->co_cont();
    }
    return ok;
}
