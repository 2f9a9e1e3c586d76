/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done to images as such: laying one out, recording another backing file. */
#include "qemu/osdep.h"

#include "block/block.h"

bool co_main_fn bdrv_co_create(const BlockDriver *drv, BdrvLink *file,
                               const BdrvCreateOptions *opts, Error **errp)
{
    if (!drv->co_create) {
        error_setg(errp, "Driver '%s' cannot create images", drv->name);
        return false;
    }
    bool ok = drv->co_create(file, opts, errp);
    /* A new image has no highest write yet: whoever compares it with the last one would see a
     * change. */
    __atomic_store_n(&file->bs->wr_highest_offset, 0, __ATOMIC_RELAXED);
    return ok;
}

bool co_main_fn bdrv_co_set_backing_name(BlockDriverState *bs, const char *name,
                                         const char *format, Error **errp)
{
    if (!bs->drv->co_set_backing) {
        error_setg(errp, "Cannot record a backing file in node '%s': images of format '%s' have "
                   "none", bs->node_name, bs->drv->name);
        return false;
    }
    if (bs->read_only) {
        error_setg(errp, "Cannot record a backing file in node '%s': it is read-only",
                   bs->node_name);
        return false;
    }
    if (name && strlen(name) > BDRV_MAX_BACKING_NAME) {
        error_setg(errp, "Cannot record a backing file in node '%s': its name has more than %d "
                   "bytes", bs->node_name, BDRV_MAX_BACKING_NAME);
        return false;
    }
    if (!bs->drv->co_set_backing(bs, name, format, errp)) {
        return false;
    }
    g_free(bs->backing_file);
    g_free(bs->backing_format);
    bs->backing_file = g_strdup(name);
    bs->backing_format = g_strdup(name ? format : NULL);
    return true;
}
