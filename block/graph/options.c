/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plain options: making, freeing, paths of images. */
#include "qemu/osdep.h"

#include "block/block.h"

void any_fn bdrv_child_option_clear(BdrvChildOption *child)
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
    bdrv_child_option_clear(&opts->file);
    bdrv_child_option_clear(&opts->backing);
    bdrv_child_option_clear(&opts->data_file);
    g_free(opts->driver);
    g_free(opts->node_name);
    g_free(opts);
}

/* ---- paths of images ---- */

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
    if (!strchr(base_filename, '/')) {
        return g_strdup(name);
    }
    g_autofree char *dir = g_path_get_dirname(base_filename);
    return g_build_filename(dir, name, NULL);
}
