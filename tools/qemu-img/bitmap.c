/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img bitmap: persistent bitmaps of an image, by the commands that guests' disks have. */
#include "qemu/osdep.h"

#include "img.h"
#include "qapi/qapi-commands.h"

typedef struct BitmapAction {
    int what;                       /* IMG_OPT_ADD ... IMG_OPT_MERGE */
    const char *source;             /* MERGE */
} BitmapAction;

typedef struct BitmapArgs {
    ToolImage image, source;        /* @source without a name: bitmaps of the same image */
    const char *bitmap;
    GArray *actions;                /* of BitmapAction */
    int64_t granularity;            /* bytes; 0: not given */
} BitmapArgs;

static const char *action_name(int what)
{
    switch (what) {
    case IMG_OPT_ADD:     return "add";
    case IMG_OPT_REMOVE:  return "remove";
    case IMG_OPT_CLEAR:   return "clear";
    case IMG_OPT_ENABLE:  return "enable";
    case IMG_OPT_DISABLE: return "disable";
    default:              return "merge";
    }
}

/* ---- one action ---- */

static bool co_main_fn add(const BitmapArgs *a, const char *node, Error **errp)
{
    BlockDirtyBitmapAdd args = {
        .node = (char *)node, .name = (char *)a->bitmap, .has_persistent = true,
        .persistent = true, .has_granularity = a->granularity != 0,
        .granularity = a->granularity,
    };

    return qmp_block_dirty_bitmap_add(&args, errp);
}

static bool co_main_fn merge(const BitmapArgs *a, const char *node, const char *source_node,
                             const char *source, Error **errp)
{
    BlockDirtyBitmapOrStr one = { .type = QTYPE_QDICT };
    BlockDirtyBitmapOrStrList list = { .value = &one };
    BlockDirtyBitmapMerge args = {
        .node = (char *)node, .target = (char *)a->bitmap, .bitmaps = &list,
    };

    one.u.external.node = (char *)source_node;
    one.u.external.name = (char *)source;
    return qmp_block_dirty_bitmap_merge(&args, errp);
}

static bool co_main_fn act(const BitmapArgs *a, const BitmapAction *action, const char *node,
                           const char *source_node, Error **errp)
{
    BlockDirtyBitmap which = { .node = (char *)node, .name = (char *)a->bitmap };

    switch (action->what) {
    case IMG_OPT_ADD:
        return add(a, node, errp);
    case IMG_OPT_REMOVE:
        return qmp_block_dirty_bitmap_remove(&which, errp);
    case IMG_OPT_CLEAR:
        return qmp_block_dirty_bitmap_clear(&which, errp);
    case IMG_OPT_ENABLE:
        return qmp_block_dirty_bitmap_enable(&which, errp);
    case IMG_OPT_DISABLE:
        return qmp_block_dirty_bitmap_disable(&which, errp);
    default:
        return merge(a, node, source_node, action->source, errp);
    }
}

static bool co_main_fn act_all(const BitmapArgs *a, BlockBackend *blk, BlockBackend *source)
{
    const char *node = blk_bs(blk)->node_name;
    const char *source_node = blk_bs(source)->node_name;

    for (guint i = 0; i < a->actions->len; i++) {
        BitmapAction *action = &g_array_index(a->actions, BitmapAction, i);
        Error *err = NULL;
        if (!act(a, action, node, source_node, &err)) {
            error_prepend(&err, "Operation %s on bitmap %s failed: ", action_name(action->what),
                          a->bitmap);
            img_fail(err);
            return false;
        }
    }
    return true;
}

/* ---- the command ---- */

static void co_main_fn parse(int argc, char **argv, BitmapArgs *a)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "add", no_argument, NULL, IMG_OPT_ADD }, { "remove", no_argument, NULL, IMG_OPT_REMOVE },
        { "clear", no_argument, NULL, IMG_OPT_CLEAR },
        { "enable", no_argument, NULL, IMG_OPT_ENABLE },
        { "disable", no_argument, NULL, IMG_OPT_DISABLE },
        { "merge", required_argument, NULL, IMG_OPT_MERGE },
        { "granularity", required_argument, NULL, 'g' },
        { "source-file", required_argument, NULL, 'b' },
        { "source-format", required_argument, NULL, 'F' }, { 0 },
    };
    int opt;

    while ((opt = img_next_option(argc, argv, ":b:f:F:g:h", longopts)) != -1) {
        switch (opt) {
        case 'b':
            a->source.name = optarg;
            break;
        case 'f':
            a->image.format = optarg;
            break;
        case 'F':
            a->source.format = optarg;
            break;
        case 'g':
            a->granularity = img_size_arg("granularity", optarg, 1, INT64_MAX);
            break;
        case IMG_OPT_IMAGE_OPTS:
            a->image.image_opts = true;
            break;
        case IMG_OPT_OBJECT:
            img_add_object(optarg);
            break;
        default:
            g_array_append_val(a->actions, ((BitmapAction){ opt, optarg }));
        }
    }
}

static bool has_action(const BitmapArgs *a, int what)
{
    for (guint i = 0; i < a->actions->len; i++) {
        if (g_array_index(a->actions, BitmapAction, i).what == what) {
            return true;
        }
    }
    return false;
}

static void check_args(int argc, char **argv, BitmapArgs *a)
{
    const char *wrong =
        a->actions->len == 0
            ? "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge" :
        a->granularity && !has_action(a, IMG_OPT_ADD)
            ? "granularity only supported with --add" :
        a->source.format && !a->source.name
            ? "-F only supported with -b" :
        a->source.name && !has_action(a, IMG_OPT_MERGE)
            ? "Merge bitmap source file only supported with --merge" :
        a->image.image_opts && a->image.format
            ? "--image-opts and --format are mutually exclusive" : NULL;

    if (optind != argc - 2 && !wrong) {
        img_usage_error("Expecting filename and bitmap name");
    }
    if (wrong) {
        tool_error("%s", wrong);
        exit(1);
    }
    a->image.name = argv[optind];
    a->bitmap = argv[optind + 1];
}

int co_main_fn img_bitmap(int argc, char **argv)
{
    g_autoptr(GArray) actions = g_array_new(false, false, sizeof(BitmapAction));
    BitmapArgs a = { .actions = actions };
    BlockBackend *blk, *source = NULL;
    Error *err = NULL;
    bool ok = false;

    parse(argc, argv, &a);
    check_args(argc, argv, &a);
    a.image.writable = a.image.no_backing = a.source.no_backing = true;
    a.image.may_guess_raw = true;       /* its data is not written to */
    blk = tool_open(&a.image, &err);
    if (blk && a.source.name) {
        source = tool_open(&a.source, &err);
    }
    if (!blk || (a.source.name && !source)) {
        img_fail(err);
    } else {
        ok = act_all(&a, blk, source ?: blk);
    }
    tool_close(source);
    return tool_close(blk) && ok ? 0 : 1;
}
