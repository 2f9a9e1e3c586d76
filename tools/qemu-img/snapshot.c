/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img snapshot: those that an image keeps in itself. */
#include "qemu/osdep.h"

#include "block/internal-snapshot.h"
#include "img.h"
#include "qapi/qapi-format.h"
#include "snapshot-list.h"

typedef enum SnapshotAction {
    SNAPSHOT_NOTHING, SNAPSHOT_LIST, SNAPSHOT_CREATE, SNAPSHOT_APPLY, SNAPSHOT_DELETE,
} SnapshotAction;

typedef struct SnapshotArgs {
    ToolImage image;
    SnapshotAction action;
    const char *name;
    bool quiet, given;
} SnapshotArgs;

/* ---- the actions ---- */

static bool main_fn list(BlockBackend *blk)
{
    g_autoptr(ImageInfo) info = blockdev_image_info(blk_bs(blk));
    g_autoptr(QObject) obj = ImageInfo_format(info);
    QList *snapshots = qobject_to_qlist(qdict_get(qobject_to_qdict(obj), "snapshots"));

    if (snapshots && qlist_size(snapshots) > 0) {
        printf("Snapshot list:\n");
        img_print_snapshots(snapshots);
    }
    return true;
}

static bool co_main_fn create(BlockBackend *blk, const char *name, Error **errp)
{
    int64_t now_us = g_get_real_time();
    BdrvSnapshot sn = {
        .name = (char *)name, .date_sec = now_us / G_USEC_PER_SEC,
        .date_nsec = now_us % G_USEC_PER_SEC * 1000, .icount = 0,
    };
    int ret = bdrv_co_snapshot_create(blk_bs(blk), &sn);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not create snapshot '%s'", name);
    }
    return ret == 0;
}

static bool co_main_fn apply(BlockBackend *blk, const char *name, Error **errp)
{
    if (!bdrv_co_snapshot_apply(blk_root(blk), name, errp)) {
        error_prepend(errp, "Could not apply snapshot '%s': ", name);
        return false;
    }
    return true;
}

static bool co_main_fn delete(BlockBackend *blk, const char *name, Error **errp)
{
    g_autoptr(GPtrArray) all = bdrv_co_snapshot_list(blk_bs(blk), errp);
    const BdrvSnapshot *sn = all ? bdrv_snapshot_find(all, NULL, name) : NULL;

    if (all && !sn) {
        error_setg(errp, "Could not delete snapshot '%s': snapshot not found", name);
    }
    return sn && bdrv_co_snapshot_delete(blk_bs(blk), sn->id, NULL, errp);
}

static bool co_main_fn act(const SnapshotArgs *a, BlockBackend *blk, Error **errp)
{
    if (a->action > SNAPSHOT_LIST && !bdrv_can_snapshot(blk_bs(blk))) {
        error_setg(errp, a->action == SNAPSHOT_CREATE
                   ? "Could not create snapshot '%s': Operation not supported" :
                   a->action == SNAPSHOT_APPLY
                   ? "Could not apply snapshot '%s': Block driver does not support snapshots"
                   : "Could not delete snapshot '%s': snapshot not found", a->name);
        return false;
    }
    switch (a->action) {
    case SNAPSHOT_CREATE:
        return create(blk, a->name, errp);
    case SNAPSHOT_APPLY:
        return apply(blk, a->name, errp);
    case SNAPSHOT_DELETE:
        return delete(blk, a->name, errp);
    case SNAPSHOT_LIST:
        return list(blk);
    default:
        return true;                /* as QEMU does without an option */
    }
}

/* ---- the command ---- */

static void set_action(SnapshotArgs *a, SnapshotAction action, const char *name)
{
    if (a->given) {
        img_usage_error("Cannot mix '-l', '-a', '-c', '-d'");
    }
    a->action = action;
    a->name = name;
    a->given = true;
}

static void co_main_fn parse(int argc, char **argv, SnapshotArgs *a)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "force-share", no_argument, NULL, 'U' }, { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":la:c:d:hqU", longopts)) != -1) {
        switch (opt) {
        case 'l': set_action(a, SNAPSHOT_LIST, NULL); break;
        case 'a': set_action(a, SNAPSHOT_APPLY, optarg); break;
        case 'c': set_action(a, SNAPSHOT_CREATE, optarg); break;
        case 'd': set_action(a, SNAPSHOT_DELETE, optarg); break;
        case 'q': a->quiet = true; break;
        case 'U': a->image.force_share = true; break;
        case IMG_OPT_IMAGE_OPTS: a->image.image_opts = true; break;
        case IMG_OPT_OBJECT: img_add_object(optarg); break;
        }
    }
}

int co_main_fn img_snapshot(int argc, char **argv)
{
    SnapshotArgs a = { 0 };
    Error *err = NULL;

    parse(argc, argv, &a);
    a.image.name = img_only_filename(argc, argv);
    a.image.writable = a.image.resize = a.action > SNAPSHOT_LIST;
    a.image.for_info = a.action <= SNAPSHOT_LIST;
    BlockBackend *blk = tool_open(&a.image, &err);
    if (!blk) {
        return img_fail(err);
    }
    bdrv_graph_lock();
    bool ok = act(&a, blk, &err);
    bdrv_graph_unlock();
    if (!ok) {
        img_fail(err);
    }
    return tool_close(blk) && ok ? 0 : 1;
}
