/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img info: what an image says of itself.  Nothing that it merely names is opened. */
#include "qemu/osdep.h"

#include "chain.h"
#include "info.h"
#include "qapi/qapi-format.h"
#include "qobject/json.h"

/* ---- one image ---- */

static QDict *main_fn node_info(BlockDriverState *bs)
{
    g_autoptr(ImageInfo) info = blockdev_image_info(bs);
    QDict *dict = qobject_to_qdict(ImageInfo_format(info));
    QList *children = qlist_new();
    BdrvLink *link;

    if (!qdict_has(dict, "dirty-flag")) {
        qdict_put_bool(dict, "dirty-flag", false);
    }
    if (bs->drv->get_identity) {    /* as every file has one, if an empty one */
        QDict *specific = qdict_new();
        qdict_put_str(specific, "type", bs->drv->name);
        qdict_put(specific, "data", QOBJECT(qdict_new()));
        qdict_put(dict, "format-specific", QOBJECT(specific));
    }
    BDRV_FOREACH_CHILD(bs, link) {
        if (link->role != &bdrv_role_backing) {
            QDict *child = qdict_new();
            qdict_put_str(child, "name", link->role->name);
            qdict_put(child, "info", QOBJECT(node_info(link->bs)));
            qlist_append(children, QOBJECT(child));
        }
    }
    qdict_put(dict, "children", QOBJECT(children));
    return dict;
}

/* @image alone; NULL: said why. */
static QDict *co_main_fn look(const ToolImage *image, char **ret_backing, char **ret_format,
                              char **ret_identity)
{
    Error *err = NULL;
    BlockBackend *blk = tool_open(image, &err);
    BdrvFileId id;

    if (!blk) {
        img_fail(err);
        return NULL;
    }
    blockdev_refresh_sizes();
    BlockDriverState *bs = blk_bs(blk), *file = bs;
    QDict *dict = node_info(bs);
    const char *full = qdict_get_str(dict, "full-backing-filename");
    *ret_backing = g_strdup(full);
    *ret_format = g_strdup(bs->backing_format);
    while (file->file) {
        file = file->file->bs;
    }
    *ret_identity = file->drv->get_identity && file->drv->get_identity(file, &id)
                    ? g_strdup_printf("%" PRIu64 ":%" PRIu64, (uint64_t)id.dev, (uint64_t)id.ino)
                    : g_strdup(bs->filename);
    tool_close(blk);
    return dict;
}

/* ---- chains ---- */

QList *co_main_fn img_collect_info(const ToolImage *first, bool chain)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(QList) list = qlist_new();
    ToolImage image = *first;
    g_autofree char *name = NULL, *format = NULL;

    image.for_info = true;
    do {
        char *backing, *backing_format, *identity;
        QDict *dict = look(&image, &backing, &backing_format, &identity);

        if (!dict) {
            return NULL;
        }
        qlist_append(list, QOBJECT(dict));
        if (!g_hash_table_add(seen, identity)) {
            tool_error("Backing file '%s' creates an infinite loop.", image.name);
            g_free(backing);
            g_free(backing_format);
            return NULL;
        }
        g_free(name);
        g_free(format);
        name = backing;
        format = backing_format;
        image.name = name;
        image.format = format;
        image.image_opts = false;
    } while (chain && name);
    return g_steal_pointer(&list);
}

/* ---- the command ---- */

static bool co_main_fn print(QList *list, ImgOutput output, bool chain, const char *picture)
{
    Error *err = NULL;

    switch (output) {
    case IMG_OUTPUT_HUMAN:
        img_print_info(list);
        break;
    case IMG_OUTPUT_JSON:
        img_print_json(qobject_ref(chain ? QOBJECT(list) : qlist_get(list, 0)));
        break;
    case IMG_OUTPUT_DOT:
        img_chain_print_dot(&list, 1);
        break;
    case IMG_OUTPUT_PNG:
        if (!img_chain_draw(list, picture, &err)) {
            img_fail(err);
            return false;
        }
    }
    return true;
}

int co_main_fn img_info(int argc, char **argv)
{
    static const struct option longopts[] = {
        { "help", no_argument, NULL, 'h' }, { "format", required_argument, NULL, 'f' },
        { "output", required_argument, NULL, IMG_OPT_OUTPUT },
        { "backing-chain", no_argument, NULL, IMG_OPT_BACKING_CHAIN },
        { "object", required_argument, NULL, IMG_OPT_OBJECT },
        { "image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS },
        { "force-share", no_argument, NULL, 'U' }, { 0 },
    };
    ToolImage image = { 0 };
    ImgOutput output = IMG_OUTPUT_HUMAN;
    bool chain = false;
    int opt;

    while ((opt = img_next_option(argc, argv, ":hf:U", longopts)) != -1) {
        switch (opt) {
        case 'f':
            image.format = optarg;
            break;
        case 'U':
            image.force_share = true;
            break;
        case IMG_OPT_OUTPUT:
            output = img_output_or_picture_arg(optarg, true);
            break;
        case IMG_OPT_BACKING_CHAIN:
            chain = true;
            break;
        case IMG_OPT_IMAGE_OPTS:
            image.image_opts = true;
            break;
        case IMG_OPT_OBJECT:
            img_add_object(optarg);
        }
    }
    const char *picture = output == IMG_OUTPUT_PNG ? img_picture_arg(argc, argv) : NULL;
    image.name = img_only_filename(argc, argv);
    img_check_naming(&image);
    g_autoptr(QList) list = img_collect_info(&image, chain);
    return list && print(list, output, chain, picture) ? 0 : 1;
}
