/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an overlay records of its base: a name that opens it again, wherever the reader stands. */
#include "qemu/osdep.h"

#include "block/snapshot/snapshot-internal.h"

/* The canonical absolute name of the file of @bs, checked to lead to the file that is open. */
static char *main_fn file_name_of(BlockDriverState *bs, Error **errp)
{
    char *path = realpath(bs->filename, NULL);
    BdrvFileId named, open;

    if (!path) {
        error_setg_errno(errp, errno, "Cannot record '%s' as a backing file", bs->filename);
        return NULL;
    }
    g_autofree char *copy = g_strdup(path);
    free(path);
    if (!bs->drv->get_identity(bs, &open) || !file_id_of_path(copy, &named) ||
        !file_id_equal(open, named)) {
        error_setg(errp, "Cannot record '%s' as a backing file: another file has that name by now",
                   copy);
        return NULL;
    }
    return g_steal_pointer(&copy);
}

/* JSON string literal of @s. */
static char *quote(const char *s)
{
    GString *q = g_string_new("\"");

    for (; *s; s++) {
        if (*s == '"' || *s == '\\') {
            g_string_append_printf(q, "\\%c", *s);
        } else if ((unsigned char)*s < 0x20) {
            g_string_append_printf(q, "\\u%04x", *s);
        } else {
            g_string_append_c(q, *s);
        }
    }
    g_string_append_c(q, '"');
    return g_string_free(q, FALSE);
}

/* A part of a file: it takes more than a name to say where it is. */
static char *main_fn raw_part_name(BlockDriverState *bs, const char *path)
{
    BdrvExtent first;
    g_autofree char *quoted = quote(path);

    bs->drv->co_map(bs, 0, 1, &first);
    return g_strdup_printf("json:{\"driver\":\"raw\",\"offset\":%" PRId64 ",\"size\":%" PRId64
                           ",\"file\":{\"driver\":\"file\",\"filename\":%s}}",
                           first.host_offset, bdrv_length(bs), quoted);
}

char *main_fn bdrv_backing_name(BlockDriverState *bs, const char **ret_format, Error **errp)
{
    while (bs->drv->is_filter) {    /* what reads the overlay needs the image, not how we use it */
        bs = bs->file->bs;
    }
    BlockDriverState *storage = bs;
    while (storage->file) {
        storage = storage->file->bs;
    }
    *ret_format = bs->drv->name;
    if (strcmp(storage->drv->name, "null-co") == 0) {
        *ret_format = "raw";
        return g_strdup_printf("json:{\"driver\":\"null-co\",\"size\":%" PRId64
                               ",\"read-zeroes\":true}", bdrv_length(bs));
    }
    if (!storage->drv->get_identity) {
        error_setg(errp, "Cannot record node '%s' as a backing file: it has no file name",
                   bs->node_name);
        return NULL;
    }
    g_autofree char *path = file_name_of(storage, errp);
    if (!path) {
        return NULL;
    }
    if (bs->drv->is_protocol) {
        *ret_format = "raw";
    }
    if (strcmp(bs->drv->name, "raw") == 0 && bdrv_length(bs) > 0) {
        BdrvExtent first;
        bs->drv->co_map(bs, 0, 1, &first);
        if (first.host_offset != 0 || bdrv_length(bs) != bdrv_length(storage)) {
            return raw_part_name(bs, path);
        }
    }
    return g_steal_pointer(&path);
}
