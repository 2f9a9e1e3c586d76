/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening and closing what a command line names. */
#include "qemu/osdep.h"

#include "tool.h"

/*
 * What @image asks for, from @o down to its file.  @named: @o was made from a name, and is as this
 * program wants it; else its user has described it, and is only kept from less.
 */
static void set_modes(BdrvOpenOptions *o, const ToolImage *image, bool named)
{
    for (bool top = true; o; o = o->file.options, top = false) {
        if (named || !image->writable) {
            o->read_only = !image->writable;
        }
        o->force_share |= image->force_share;
        o->cache_direct |= image->cache.direct;
        o->cache_no_flush |= image->cache.no_flush;
        if (named) {
            o->discard = image->discard || !top;
        }
        if (top && image->detect_zeroes) {
            o->detect_zeroes = image->detect_zeroes;
        }
        if (image->aio && (strcmp(o->driver, "file") == 0 ||
                           strcmp(o->driver, "host_device") == 0)) {
            o->u.file.aio = image->aio;
        }
        if (o->data_file.options) {
            set_modes(o->data_file.options, image, named);
        }
    }
}

static BdrvOpenOptions *co_main_fn options_of(const ToolImage *image, Error **errp)
{
    if (!image->image_opts) {
        return bdrv_options_from_filename(image->name, image->format, NULL, errp);
    }
    g_autoptr(QDict) dict = keyval_parse(image->name, NULL, NULL, errp);
    return dict ? blockdev_options_from_dict(dict, image->format, errp) : NULL;
}

/* The image's name in front of *@errp, once, if it is not left to the caller. */
static void say_which(const ToolImage *image, Error **errp)
{
    g_autofree char *prefix = g_strdup_printf("Cannot open '%s': ", image->name ?: "");
    const char *text = errp && *errp ? error_get_pretty(*errp) : "";

    if (g_str_has_prefix(text, prefix)) {
        Error *again = NULL;
        error_setg(&again, "%s", text + strlen(prefix));
        error_free(*errp);
        *errp = again;
    }
    if (!image->plain_errors) {
        error_prepend(errp, "Could not open '%s': ", image->name);
    }
}

/* Where options describe a file, its name is what says most. */
static const char *name_for_people(const ToolImage *image, const BdrvOpenOptions *opts)
{
    const BdrvOpenOptions *file = opts->file.options;

    return image->image_opts && file && strcmp(file->driver, "file") == 0
           ? file->u.file.filename : image->name ?: "";
}

BdrvOpenOptions *co_main_fn tool_image_options_of(const ToolImage *image, BdrvOpenOptions *opts,
                                                  Error **errp)
{
    if (!opts) {
        say_which(image, errp);
        return NULL;
    }
    bool guessed = strcmp(opts->driver, "raw") == 0 && opts->u.raw.probed;
    if (guessed && (!image->writable || image->may_guess_raw)) {
        bdrv_note_probed(opts, false);
    } else if (guessed) {
        tool_warn_of_guess(name_for_people(image, opts));
    }
    set_modes(opts, image, !image->image_opts);
    opts->no_backing_open |= image->no_backing || image->for_info;
    if (strcmp(opts->driver, "qcow2") == 0) {
        opts->u.qcow2.for_check |= image->for_check;
        opts->u.qcow2.for_info |= image->for_info;
    }
    return opts;
}

BdrvOpenOptions *co_main_fn tool_image_options(const ToolImage *image, Error **errp)
{
    return tool_image_options_of(image, options_of(image, errp), errp);
}

BlockBackend *co_main_fn tool_open_options(const ToolImage *image, const BdrvOpenOptions *opts,
                                           Error **errp)
{
    unsigned needs = (image->for_info ? CLAIM_NONE : CLAIM_READ) | (image->writable ? CLAIM_WRITE : 0) |
                     (image->resize ? CLAIM_RESIZE : 0);
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = g_get_prgname() };
    BlockBackend *blk = blk_new(NULL, needs, CLAIM_ALL & ~image->blocks, errp);

    if (!blk) {
        return NULL;
    }
    blk_set_user(blk, g_get_prgname());
    blk_set_write_cache(blk, !image->cache.writethrough);
    bdrv_graph_lock();
    BdrvLink *link = bdrv_open(opts, &spec, errp);
    bool ok = link && blk_insert(blk, link->bs, errp);
    bdrv_link_free(link);           /* the backend holds the node now */
    if (!ok) {
        blk_free(blk);
        say_which(image, errp);
    }
    bdrv_graph_unlock();
    return ok ? blk : NULL;
}

BlockBackend *co_main_fn tool_open(const ToolImage *image, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = tool_image_options(image, errp);

    return opts ? tool_open_options(image, opts, errp) : NULL;
}

/* The id or the name in @param; NULL: it makes no sense. */
static char *snapshot_arg(const char *param)
{
    if (!g_str_has_prefix(param, "snapshot.")) {
        return g_strdup(param);
    }
    g_autoptr(QDict) dict = keyval_parse_flat(param, NULL, NULL);
    const char *id = dict ? qdict_get_str(dict, "snapshot.id") : NULL;
    const char *name = dict ? qdict_get_str(dict, "snapshot.name") : NULL;
    return dict && qdict_size(dict) == 1 ? g_strdup(id ?: name) : NULL;
}

bool any_fn tool_set_snapshot(BdrvOpenOptions *opts, const char *param, Error **errp)
{
    if (strcmp(opts->driver, "qcow2") != 0) {
        error_setg(errp, "Failed to load snapshot: Block format '%s' used by device '' does not "
                   "support temporarily loading internal snapshots", opts->driver);
        return false;
    }
    opts->u.qcow2.snapshot = snapshot_arg(param);
    if (!opts->u.qcow2.snapshot) {
        error_setg(errp, "Failed in parsing snapshot param '%s'", param);
    }
    return opts->u.qcow2.snapshot != NULL;
}

bool co_main_fn tool_close(BlockBackend *blk)
{
    unsigned lossy = bdrv_lossy_closes();

    if (blk) {
        bdrv_graph_lock();
        blk_free(blk);
        bdrv_graph_unlock();
    }
    return bdrv_lossy_closes() == lossy;
}
