/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a name says of the protocol below: "json:{...}", "nbd://host/export", "file:..." or a path. */
#include "qemu/osdep.h"

#include "block/block.h"

BdrvOpenOptions *(*bdrv_json_options_parser)(const char *json, const char *format, Error **errp);

BdrvOpenOptions *co_main_fn bdrv_options_from_json_name(const char *filename, const char *format,
                                                        Error **errp)
{
    if (!bdrv_json_options_parser) {
        error_setg(errp, "Cannot open '%s': \"json:\" names are not understood here",
                   filename);
        return NULL;
    }
    BdrvOpenOptions *opts = bdrv_json_options_parser(filename + strlen("json:"), format, errp);
    for (BdrvOpenOptions *o = opts; o; o = o->file.options) {       /* down to its file */
        o->read_only = true;
        if (o->data_file.options) {
            o->data_file.options->read_only = true;
        }
    }
    return opts;
}

static BdrvOpenOptions *from_driver(const BlockDriver *drv, const char *filename, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new(drv->name);

    return drv->options_from_name(filename, opts, errp) ? g_steal_pointer(&opts) : NULL;
}

BdrvOpenOptions *any_fn bdrv_protocol_options(const char *filename, const char *base_filename,
                                              Error **errp)
{
    if (g_str_has_prefix(filename, "file:")) {
        filename += strlen("file:");
    } else if (bdrv_path_has_protocol(filename)) {
        const BlockDriver *drv = bdrv_find_driver_of_name(filename);
        if (!drv) {
            error_setg(errp, "Unknown protocol '%.*s'", (int)strcspn(filename, ":"), filename);
        }
        return drv ? from_driver(drv, filename, errp) : NULL;
    }
    if (filename[0] != '/' && base_filename && bdrv_find_driver_of_name(base_filename)) {
        error_setg(errp, "Cannot generate a base directory for %s nodes",
                   bdrv_find_driver_of_name(base_filename)->name);
        return NULL;
    }
    BdrvOpenOptions *opts = bdrv_open_options_new("file");
    /* A name that a user gives stays as it is, in messages, too, unless it would be taken for a
     * protocol then. */
    opts->u.file.filename = base_filename ? bdrv_path_combine(base_filename, filename) :
                            bdrv_path_has_protocol(filename) ? g_strdup_printf("./%s", filename)
                                                             : g_strdup(filename);
    return opts;
}
