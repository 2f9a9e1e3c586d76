/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots inside of images, as actions.
 *
 * Making one: everything but the change of the image's header is done while guests run (co_make);
 * what guests wrote to since, and the header, while they are held; what is left to be given back,
 * when they run again.
 *
 * A shot is the action's and that of its work while guests are held, which may outlive the
 * transaction: whoever of the two is the last undoes what was not committed.
 *
 * Several of one node in a transaction are taken one after the other while guests are held: all but
 * the first are made there as a whole.
 */
#include "qemu/osdep.h"

#include "block/actions.h"
#include "block/block.h"
#include "block/internal-snapshot.h"
#include "block/io/io-internal.h"
#include "qemu/log.h"

typedef struct Shot {
    int refs;
    BlockDriverState *bs;
    const Transaction *txn;         /* only compared */
    char *name;
    struct Shot *after;             /* another one of the node in the transaction; NULL: none; a
                                     * reference */
    Coroutine *follower;            /* the work of one that is after this, while it waits */
    BdrvLink *link;                 /* the claim to write there; until it is undone or cleaned */
    char *id;                       /* once it is prepared */
    bool prepared;                  /* and not ended */
    bool taken;
    bool working;
    bool abandoned;                 /* there was no commit: the work has to undo it */
    bool end_at_once;               /* the node becomes read-only: it is ended while held */
} Shot;

typedef struct SnapshotAction {
    BdrvAction action;
    Shot *shot;
    char *name, *who;
    uint64_t vm_state_size;         /* bytes */
} SnapshotAction;

static SnapshotAction *of(BdrvAction *a)
{
    return container_of(a, SnapshotAction, action);
}

static GQueue shots;                /* of Shot, those of actions */

static void main_fn shot_unref(void *opaque)
{
    Shot *shot = opaque;

    if (--shot->refs == 0) {
        if (shot->after) {
            shot_unref(shot->after);
        }
        g_free(shot->id);
        g_free(shot->name);
        g_free(shot);
    }
}

static void co_main_fn shot_end(Shot *shot)
{
    if (shot->prepared) {
        shot->prepared = false;
        bdrv_co_snapshot_end(shot->bs);
    }
}

static void co_main_fn shot_undo(Shot *shot)
{
    Error *err = NULL;

    shot_end(shot);
    if (shot->taken && !bdrv_co_snapshot_delete(shot->bs, shot->id, NULL, &err)) {
        log_line("snapshot '%s' stays in '%s', though its command failed: %s", shot->id,
                 shot->bs->filename, error_get_pretty(err));
        error_free(err);
    }
    shot->taken = false;
    bdrv_link_free(g_steal_pointer(&shot->link));
}

/* What is written is not the disk's data, but who checks or repairs the image wants nobody else
 * there. */
static BdrvLink *co_main_fn claim(BlockDriverState *bs, const char *holder, Error **errp)
{
    BdrvLinkSpec spec = { .needs = CLAIM_WRITE_SAME, .allows = CLAIM_ALL, .holder = holder };

    bdrv_graph_lock();
    BdrvLink *link = bdrv_link_new(bs, &spec, errp);
    bdrv_graph_unlock();
    return link;
}

/* ---- making one ---- */

static void create_error(const SnapshotAction *s, int ret, Error **errp)
{
    error_setg_errno(errp, -ret, "Failed to create snapshot '%s' on device '%s'", s->name, s->who);
}

/* The snapshots of @bs, also for those who cannot live without. */
static GPtrArray *co_main_fn get_list(BlockDriverState *bs, Error **errp)
{
    if (!bdrv_can_snapshot(bs) || bs->data_file) {
        error_setg_errno(errp, ENOTSUP, "Failed to get a snapshot list");
        return NULL;
    }
    return bdrv_co_snapshot_list(bs, errp);
}

static bool co_main_fn check_name(SnapshotAction *s, Error **errp)
{
    g_autoptr(GPtrArray) list = get_list(s->shot->bs, errp);

    bool is_there = list && bdrv_snapshot_find(list, NULL, s->name);
    for (const Shot *before = s->shot->after; before; before = before->after) {
        is_there |= strcmp(before->name, s->name) == 0;
    }
    if (list && is_there) {
        error_setg(errp, "Snapshot with name '%s' already exists on device '%s'", s->name, s->who);
        return false;
    }
    return list != NULL;
}

static int co_main_fn prepare(Shot *shot, const SnapshotAction *s)
{
    int64_t now_us = g_get_real_time();
    BdrvSnapshot sn = {
        .name = s->name, .vm_state_size = s->vm_state_size, .date_sec = now_us / G_USEC_PER_SEC,
        .date_nsec = now_us % G_USEC_PER_SEC * 1000, .icount = BDRV_SNAPSHOT_NO_ICOUNT,
    };
    int ret = bdrv_co_snapshot_prepare(shot->bs, &sn);

    if (ret == 0) {
        shot->prepared = true;
        shot->id = g_strdup(bdrv_snapshot_id(shot->bs));
    }
    return ret;
}

static bool co_main_fn create_make(BdrvAction *a, Error **errp)
{
    SnapshotAction *s = of(a);
    Shot *shot = s->shot;

    if (!check_name(s, errp)) {
        return false;
    }
    shot->link = claim(shot->bs, a->ops->holder, errp);
    if (!shot->link) {
        return false;
    }
    int ret = shot->after ? 0 : prepare(shot, s);
    if (ret < 0) {
        create_error(s, ret, errp);
    }
    return ret == 0;
}

/* The one before is taken, and nothing of it is left to be done. */
static int co_main_fn follow(Shot *shot, const SnapshotAction *s)
{
    Shot *after = shot->after;

    if (after->working) {
        after->follower = coroutine_self();
        coroutine_yield();
    }
    if (!after->taken) {
        return -ECANCELED;
    }
    shot_end(after);
    return prepare(shot, s);
}

static bool co_main_fn create_fn(BlockDriverState *bs, void *opaque, Error **errp)
{
    SnapshotAction *s = opaque;
    Shot *shot = s->shot;
    int ret = shot->after ? follow(shot, s) : 0;

    if (ret == 0) {
        ret = bdrv_co_snapshot_take(bs);
    }

    shot->taken = ret == 0;
    if (shot->taken && shot->end_at_once) {
        shot_end(shot);
        ret = bdrv_flush_node(bs, BDRV_FLUSH_SETTLE);
    }
    shot->working = false;
    if (shot->abandoned) {
        shot_undo(shot);
    }
    if (shot->follower) {           /* it looks whether this one was taken */
        coroutine_wake(g_steal_pointer(&shot->follower));
    }
    if (ret < 0) {
        create_error(s, ret, errp);
    }
    return ret == 0;
}

static void main_fn snapshot_copy_free(void *opaque)
{
    SnapshotAction *s = opaque;

    shot_unref(s->shot);
    g_free(s->name);
    g_free(s->who);
    g_free(s);
}

static void co_main_fn create_start_held(BdrvAction *a)
{
    SnapshotAction *s = of(a), *copy = g_new0(SnapshotAction, 1);
    Shot *shot = s->shot;

    shot->working = true;
    shot->end_at_once = transaction_flushes(a->txn, shot->bs);
    shot->refs++;
    *copy = (SnapshotAction){
        .shot = shot, .name = g_strdup(s->name), .who = g_strdup(s->who),
        .vm_state_size = s->vm_state_size,
    };
    transaction_start_work(a, shot->bs, "a snapshot that does not return", create_fn, copy,
                           snapshot_copy_free);
}

static void co_main_fn create_abort(BdrvAction *a)
{
    Shot *shot = of(a)->shot;

    if (shot->working) {
        shot->abandoned = true;
    } else {
        shot_undo(shot);
    }
}

static void co_main_fn create_clean(BdrvAction *a)
{
    shot_end(of(a)->shot);
    bdrv_link_free(g_steal_pointer(&of(a)->shot->link));
}

static void main_fn create_release(BdrvAction *a)
{
    SnapshotAction *s = of(a);

    g_queue_remove(&shots, s->shot);
    shot_unref(s->shot);
    g_free(s->name);
    g_free(s->who);
}

static const BdrvActionOps create_ops = {
    .holder        = "blockdev-snapshot-internal-sync",
    .instance_size = sizeof(SnapshotAction),
    .co_make       = create_make,
    .co_start_held = create_start_held,
    .co_abort      = create_abort,
    .co_clean      = create_clean,
    .release       = create_release,
};

static bool main_fn can_create(BlockDriverState *bs, const char *who, const char *name,
                               Error **errp)
{
    if (bs->read_only) {
        error_setg(errp, "Device '%s' is read only", who);
    } else if (!bdrv_can_snapshot(bs)) {
        error_setg(errp, "Block format '%s' used by device '%s' does not support internal "
                   "snapshots", bs->drv->name, who);
    } else if (!*name) {
        error_setg(errp, "Name is empty");
    } else {
        return true;
    }
    return false;
}

/* The last one of @bs in @t, a reference; NULL: none. */
static Shot *main_fn last_of(const Transaction *t, const BlockDriverState *bs)
{
    for (GList *e = shots.tail; e; e = e->prev) {
        Shot *shot = e->data;
        if (shot->txn == t && shot->bs == bs) {
            shot->refs++;
            return shot;
        }
    }
    return NULL;
}

bool co_main_fn internal_snapshot_action_add(Transaction *t, BlockDriverState *bs, const char *who,
                                             const char *name, uint64_t vm_state_size,
                                             Error **errp)
{
    if (!can_create(bs, who, name, errp)) {
        return false;
    }
    SnapshotAction *s = transaction_add(t, &create_ops, g_strdup_printf(
        "create snapshot '%s' in '%s'", name, who));

    s->shot = g_new0(Shot, 1);
    s->shot->refs = 1;
    s->shot->bs = bs;
    s->shot->txn = t;
    s->shot->name = g_strdup(name);
    s->shot->after = last_of(t, bs);
    g_queue_push_tail(&shots, s->shot);
    s->name = g_strdup(name);
    s->who = g_strdup(who);
    s->vm_state_size = vm_state_size;
    if (!transaction_pin(&s->action, bs, TRANSACTION_PIN_FLUSH_RUNNING, errp)) {
        transaction_drop_last(t);
        return false;
    }
    return true;
}

/* ---- deleting one ---- */

typedef struct DeleteAction {
    BdrvAction action;
    BlockDriverState *bs;
    char *id, *name, *who;
    BdrvLink *link;                 /* the claim to write there */
    BdrvSnapshot *deleted;
    BdrvSnapshot **ret;
} DeleteAction;

static DeleteAction *of_delete(BdrvAction *a)
{
    return container_of(a, DeleteAction, action);
}

static bool co_main_fn delete_make(BdrvAction *a, Error **errp)
{
    DeleteAction *d = of_delete(a);
    g_autoptr(GPtrArray) list = get_list(d->bs, errp);

    if (!list) {
        return false;
    }
    const BdrvSnapshot *sn = bdrv_snapshot_find(list, d->id, d->name);
    if (!sn) {
        error_setg(errp, "Snapshot with id '%s' and name '%s' does not exist on device '%s'",
                   d->id ?: "null", d->name ?: "null", d->who);
        return false;
    }
    d->link = claim(d->bs, a->ops->holder, errp);
    if (!d->link || !bdrv_co_snapshot_delete(d->bs, sn->id, NULL, errp)) {
        return false;
    }
    d->deleted = bdrv_snapshot_copy(sn);
    return true;
}

static void main_fn delete_commit(BdrvAction *a)
{
    *of_delete(a)->ret = g_steal_pointer(&of_delete(a)->deleted);
}

/* There is nothing to undo: it is either deleted or not. */
static void co_main_fn delete_end(BdrvAction *a)
{
    bdrv_link_free(g_steal_pointer(&of_delete(a)->link));
}

static void main_fn delete_release(BdrvAction *a)
{
    DeleteAction *d = of_delete(a);

    bdrv_snapshot_free(d->deleted);
    g_free(d->id);
    g_free(d->name);
    g_free(d->who);
}

static const BdrvActionOps delete_ops = {
    .holder        = "blockdev-snapshot-delete-internal-sync",
    .instance_size = sizeof(DeleteAction),
    .alone_unheld  = true,
    .co_make       = delete_make,
    .commit        = delete_commit,
    .co_abort      = delete_end,
    .co_clean      = delete_end,
    .release       = delete_release,
};

bool co_main_fn internal_snapshot_delete_action_add(Transaction *t, BlockDriverState *bs,
                                                    const char *who, const char *id,
                                                    const char *name, BdrvSnapshot **ret,
                                                    Error **errp)
{
    DeleteAction *d = transaction_add(t, &delete_ops, g_strdup_printf(
        "delete snapshot '%s' of '%s'", id ?: name, who));

    d->bs = bs;
    d->id = g_strdup(id);
    d->name = g_strdup(name);
    d->who = g_strdup(who);
    d->ret = ret;
    if (!transaction_pin(&d->action, bs, 0, errp)) {
        transaction_drop_last(t);
        return false;
    }
    return true;
}
