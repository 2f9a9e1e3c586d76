/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plain options: making, freeing, names of images. */
#include "qemu/osdep.h"

#include "block/block.h"

static void child_option_clear(BdrvChildOption *child)
{
    g_free(child->reference);
    bdrv_open_options_free(child->options);
}

BdrvOpenOptions *any_fn bdrv_open_options_new(const char *driver)
{
    BdrvOpenOptions *opts = g_new0(BdrvOpenOptions, 1);
    const BlockDriver *drv = bdrv_find_driver(driver);

    opts->driver = g_strdup(driver);
    if (drv && drv->options_init) {
        drv->options_init(opts);
    }
    return opts;
}

void any_fn bdrv_open_options_free(BdrvOpenOptions *opts)
{
    if (!opts) {
        return;
    }
    const BlockDriver *drv = bdrv_find_driver(opts->driver);
    if (drv && drv->options_clear) {
        drv->options_clear(opts);
    }
    child_option_clear(&opts->file);
    child_option_clear(&opts->backing);
    child_option_clear(&opts->data_file);
    g_free(opts->driver);
    g_free(opts->node_name);
    g_free(opts);
}

/* ---- names of images ---- */

bool any_fn bdrv_path_has_protocol(const char *name)
{
    size_t n = strcspn(name, ":/");

    return n > 0 && name[n] == ':';
}

char *any_fn bdrv_path_combine(const char *base_filename, const char *name)
{
    if (name[0] == '/') {
        return g_strdup(name);
    }
    if (!base_filename) {
        char *cwd = getcwd(NULL, 0);    /* not glib's, which looks at $PWD: that may block */
        char *path = g_build_filename(cwd ?: ".", name, NULL);
        free(cwd);
        return path;
    }
    g_autofree char *dir = g_path_get_dirname(base_filename);
    return g_build_filename(dir, name, NULL);
}

/* ---- an image that is only named ---- */

BdrvOpenOptions *(*bdrv_json_options_parser)(const char *json, const char *format, Error **errp);

#define PROBE_BYTES 2048

/* The name of the format of the file that @file_opts describes, by its first bytes. */
static const char *co_main_fn probe_format(const BdrvOpenOptions *file_opts, Error **errp)
{
    uint8_t buf[PROBE_BYTES] = { 0 };
    BdrvLinkSpec spec = {
        .needs = CLAIM_READ, .allows = CLAIM_ALL, .holder = "format probing",
    };
    BdrvLink *link = bdrv_open(file_opts, &spec, errp);

    if (!link) {
        return NULL;
    }
    int ret = bdrv_co_pread(link, 0, sizeof(buf), buf);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot read '%s' to find its format",
                         link->bs->filename);
    }
    bdrv_link_free(link);
    return ret < 0 ? NULL : bdrv_probe(buf, sizeof(buf))->name;
}

BdrvOpenOptions *co_main_fn bdrv_options_from_filename(const char *filename, const char *format,
                                                       const char *base_filename, Error **errp)
{
    if (g_str_has_prefix(filename, "json:")) {
        if (!bdrv_json_options_parser) {
            error_setg(errp, "Cannot open '%s': \"json:\" names are not understood here",
                       filename);
            return NULL;
        }
        BdrvOpenOptions *opts = bdrv_json_options_parser(filename + strlen("json:"),
                                                         format, errp);
        for (BdrvOpenOptions *o = opts; o; o = o->file.options) {       /* down to its file */
            o->read_only = true;
            if (o->data_file.options) {
                o->data_file.options->read_only = true;
            }
        }
        return opts;
    }
    if (g_str_has_prefix(filename, "file:")) {
        filename += strlen("file:");
    } else if (bdrv_path_has_protocol(filename)) {
        error_setg(errp, "Unknown protocol '%.*s'", (int)strcspn(filename, ":"), filename);
        return NULL;
    }
    g_autoptr(BdrvOpenOptions) file = bdrv_open_options_new("file");
    file->u.file.filename = bdrv_path_combine(base_filename, filename);
    file->read_only = true;
    if (!format) {
        format = probe_format(file, errp);
        if (!format) {
            return NULL;
        }
    }
    const BlockDriver *drv = bdrv_find_driver(format);
    if (!drv) {
        error_set_class(errp, ERROR_CLASS_INVALID_BLOCK_FORMAT, "Unknown driver '%s'", format);
        return NULL;
    }
    if (drv->is_protocol && !drv->get_identity) {
        error_set_class(errp, ERROR_CLASS_INVALID_BLOCK_FORMAT,
                        "'%s' is not a format of files", format);
        return NULL;
    }
    if (drv->is_protocol) {
        g_free(file->driver);
        file->driver = g_strdup(format);
        return g_steal_pointer(&file);
    }
    BdrvOpenOptions *opts = bdrv_open_options_new(format);
    opts->read_only = true;
    opts->file.options = g_steal_pointer(&file);
    return opts;
}
