/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an overlay records of its base: a name that leads to the same bytes whoever opens the
 * overlay, wherever.
 *
 * (N1) A file is recorded by the absolute name by which it was opened, not by what links in it lead
 *      to: relative names that an image records begin where the image's own name lies.
 * (N2) That name alone is recorded only if opening it leads to the live chain: at each level the
 *      recorded name leads to the file of the node that is there now, and the recorded format is
 *      that node's.
 * (N3) Else a "json:" description is recorded that spells out each level down to where (N2) holds.
 *      What cannot be described so is refused.
 *
 * A chain is read into plain structs first: finding out where names lead takes a thread, and the
 * nodes may have gone by then.
 */
#include "qemu/osdep.h"

#include "block/snapshot/snapshot-internal.h"
#include "qemu/aio.h"

/* One image of the chain, without the filters in front of it. */
typedef struct Level {
    const char *format;             /* static */
    char *file;                     /* JSON: what stores it */
    char *path;                     /* absolute name of the file, NULL: it lies in none, or in a
                                     * part of one */
    BdrvFileId id;                  /* of that file */
    char *window;                   /* raw: JSON members offset and size, with their comma; NULL:
                                     * all of it */
    char *backing_file, *backing_format;        /* as the image records them, or NULL */
    bool backing_as_recorded;       /* its backing file was opened by what it records */
    char *data_file;                /* JSON: the external data file, or NULL */
    char *data_recorded;            /* name that the image records of that */
    BdrvFileId data_id;
} Level;

static void level_free(void *opaque)
{
    Level *l = opaque;

    g_free(l->file);
    g_free(l->path);
    g_free(l->window);
    g_free(l->backing_file);
    g_free(l->backing_format);
    g_free(l->data_file);
    g_free(l->data_recorded);
    g_free(l);
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

/* ---- reading the chain ---- */

static BlockDriverState *main_fn behind_filters(BlockDriverState *bs)
{
    while (bs->drv->is_filter) {    /* what reads the overlay needs the image, not how we use it */
        bs = bs->file->bs;
    }
    return bs;
}

/* The members of a raw node that say which part of its file it is; NULL: all of it. */
static char *main_fn raw_window(BlockDriverState *bs)
{
    BdrvExtent first;
    BlockDriverState *file = behind_filters(bs->file->bs);

    if (strcmp(bs->drv->name, "raw") != 0 || bdrv_length(bs) == 0) {
        return NULL;
    }
    bs->drv->co_map(bs, 0, 1, &first);
    if (first.host_offset == 0 && bdrv_length(bs) == bdrv_length(file)) {
        return NULL;
    }
    return g_strdup_printf("\"offset\":%" PRId64 ",\"size\":%" PRId64 ",", first.host_offset,
                           bdrv_length(bs));
}

/* JSON of what stores an image: @bs, behind filters, and what is below it.  NULL: it cannot be
 * described. */
static char *main_fn describe_file(BlockDriverState *bs, Error **errp)
{
    bs = behind_filters(bs);
    if (g_str_has_prefix(bs->drv->name, "null-")) {
        return g_strdup_printf("{\"driver\":\"%s\",\"size\":%" PRId64 ",\"read-zeroes\":true}",
                               bs->drv->name, bdrv_length(bs));
    }
    if (bs->drv->get_identity && bs->path) {
        g_autofree char *name = quote(bs->path);
        return g_strdup_printf("{\"driver\":\"%s\",\"filename\":%s}", bs->drv->name, name);
    }
    if (strcmp(bs->drv->name, "raw") == 0) {
        g_autofree char *window = raw_window(bs), *file = describe_file(bs->file->bs, errp);
        return file ? g_strdup_printf("{\"driver\":\"raw\",%s\"file\":%s}", window ?: "", file)
                    : NULL;
    }
    error_setg(errp, "Cannot record node '%s' as a backing file: it has no file name",
               bs->node_name);
    return NULL;
}

/* What is to be known of the image @bs; its storage is @file (itself, for a protocol). */
static Level *main_fn read_level(BlockDriverState *bs, Error **errp)
{
    bs = behind_filters(bs);
    bool is_protocol = bs->drv->is_protocol;
    BlockDriverState *file = behind_filters(is_protocol ? bs : bs->file->bs);
    Level *l = g_new0(Level, 1);

    l->format = is_protocol ? "raw" : bs->drv->name;
    l->file = describe_file(file, errp);
    if (!l->file) {
        level_free(l);
        return NULL;
    }
    if (file->drv->get_identity && file->drv->get_identity(file, &l->id)) {
        l->path = g_strdup(file->path);
    }
    l->window = is_protocol ? NULL : raw_window(bs);
    l->backing_file = g_strdup(bs->backing_file && bs->backing_file[0] ? bs->backing_file : NULL);
    l->backing_format = g_strdup(bs->backing_format);
    l->backing_as_recorded = bs->backing_as_recorded;
    if (bs->data_file) {
        BlockDriverState *data = behind_filters(bs->data_file->bs);
        BdrvInfo info = { 0 };
        l->data_file = describe_file(data, errp);
        if (!l->data_file) {
            level_free(l);
            return NULL;
        }
        bs->drv->get_info(bs, &info);
        l->data_recorded = g_strdup(info.qcow2.data_file);
        if (!data->drv->get_identity || !data->drv->get_identity(data, &l->data_id)) {
            g_clear_pointer(&l->data_recorded, g_free);
        }
    }
    return l;
}

/* Of Level; @bs first.  NULL: some image cannot be described. */
static GPtrArray *main_fn read_chain(BlockDriverState *bs, Error **errp)
{
    g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func(level_free);

    for (; bs; bs = bs->backing ? bs->backing->bs : NULL) {
        bs = behind_filters(bs);
        Level *l = read_level(bs, errp);
        if (!l) {
            return NULL;
        }
        g_ptr_array_add(chain, l);
    }
    return g_steal_pointer(&chain);
}

/* ---- where recorded names lead ---- */

static const Level *level(const GPtrArray *chain, guint i)
{
    return i < chain->len ? chain->pdata[i] : NULL;
}

/* A file name and nothing else says where it is. */
static bool is_plain_file(const Level *l)
{
    return l->path && !l->window &&
           (g_str_has_prefix(l->file, "{\"driver\":\"file\"") ||
            g_str_has_prefix(l->file, "{\"driver\":\"host_device\""));
}

/* 0, -errno: there is nothing, -ESTALE: there is something else. */
static int blocking_fn leads_elsewhere(const char *path, BdrvFileId id)
{
    BdrvFileId now;

    errno = 0;
    if (!file_id_of_path(path, &now)) {
        return errno ? -errno : -ESTALE;
    }
    return file_id_equal(now, id) ? 0 : -ESTALE;
}

/* Is the format that @l records of its backing file, or the one that probing would find, that of
 * @below? */
static bool format_is_right(const Level *l, const Level *below)
{
    return l->backing_format ? strcmp(l->backing_format, below->format) == 0
                             : strcmp(below->format, "raw") != 0;
}

typedef struct Follow {
    const GPtrArray *chain;
    guint from;
    guint ret_end;                  /* the level up to which opening by name leads to the live
                                     * chain */
    int ret_error;                  /* -errno: the name of the first one leads to no file; or
                                     * -ESTALE: to another one; 0: to its file */
} Follow;

/* Opened by its name, which data file does @l get? */
static bool blocking_fn data_file_is_right(const Level *l, const char *name)
{
    if (!l->data_file) {
        return true;
    }
    g_autofree char *path = l->data_recorded ? bdrv_path_combine(name, l->data_recorded) : NULL;
    return path && !leads_elsewhere(path, l->data_id);
}

/* Opens the level @from by name, its backing file by what it records, and so on. */
static int blocking_fn follow(void *opaque)
{
    Follow *f = opaque;
    guint i = f->from;
    g_autofree char *name = g_strdup(level(f->chain, i)->path);

    f->ret_end = i;
    f->ret_error = leads_elsewhere(name, level(f->chain, i)->id);
    if (f->ret_error) {
        return 0;
    }
    for (;; i++) {
        const Level *l = level(f->chain, i), *below = level(f->chain, i + 1);

        if (!data_file_is_right(l, name) || !below != !l->backing_file) {
            return 0;
        }
        if (!below) {
            f->ret_end = f->chain->len;
            return 0;
        }
        if (bdrv_path_has_protocol(l->backing_file) &&
            !g_str_has_prefix(l->backing_file, "file:")) {
            /* A description: it is what the backing file was opened by, or we do not know. */
            if (l->backing_as_recorded) {
                f->ret_end = f->chain->len;
            }
            return 0;
        }
        g_autofree char *next = bdrv_path_combine(
            name, g_str_has_prefix(l->backing_file, "file:") ? l->backing_file + strlen("file:")
                                                              : l->backing_file);
        if (!is_plain_file(below) || !format_is_right(l, below) ||
            leads_elsewhere(next, below->id)) {
            return 0;
        }
        f->ret_end = i + 1;
        g_free(name);
        name = g_steal_pointer(&next);
    }
}

/* ---- describing ---- */

/*
 * Appends the description of the levels from @i on to @out.  The name of a file that is opened by
 * @i's name leads through the levels before f.ret_end; the last of them, if it is not the last of
 * all, has to be spelt out.
 */
static bool co_main_fn describe_from(const GPtrArray *chain, GString *out, Error **errp)
{
    guint braces = 0;

    for (guint i = 0; i < chain->len; i++) {
        const Level *l = level(chain, i), *below = level(chain, i + 1);
        Follow f = { .chain = chain, .from = i };

        if (l->path) {
            thread_pool_co_run(follow, &f);
            if (f.ret_error == -ESTALE) {
                error_setg(errp, "Cannot record '%s' as a backing file: another file has that name "
                           "by now", l->path);
            } else if (f.ret_error) {
                error_setg_errno(errp, -f.ret_error, "Cannot record '%s' as a backing file",
                                 l->path);
            }
            if (f.ret_error) {
                return false;
            }
        }
        bool followed = is_plain_file(l) && f.ret_end == chain->len;
        if (i == 0 && followed) {
            g_string_append(out, l->path);
            return true;
        }
        g_string_append_printf(out, "%s{\"driver\":\"%s\",%s", i == 0 ? "json:" : "\"backing\":",
                               l->format, l->window ?: "");
        braces++;
        g_string_append_printf(out, "\"file\":%s", l->file);
        if (!followed && l->data_file) {
            g_string_append_printf(out, ",\"data-file\":%s", l->data_file);
        }
        if (followed) {
            break;
        }
        if (!below && l->backing_file) {
            g_string_append(out, ",\"backing\":null");
        } else if (below) {
            g_string_append_c(out, ',');
        }
        if (out->len > BDRV_MAX_BACKING_NAME) {
            break;
        }
    }
    while (braces-- > 0) {
        g_string_append_c(out, '}');
    }
    return true;
}

char *co_main_fn bdrv_backing_name(BlockDriverState *bs, const char **ret_format, Error **errp)
{
    g_autoptr(GPtrArray) chain = read_chain(bs, errp);
    g_autoptr(GString) name = g_string_new(NULL);

    if (!chain) {
        return NULL;
    }
    const Level *top = level(chain, 0);
    *ret_format = top->format;
    if (!top->path && !top->window && strcmp(top->format, "raw") == 0) {
        /* null-co: below a format, since the overlay records that it is raw. */
        return g_strdup_printf("json:{\"driver\":\"raw\",\"file\":%s}", top->file);
    }
    if (!describe_from(chain, name, errp)) {
        return NULL;
    }
    if (name->len > BDRV_MAX_BACKING_NAME) {
        error_setg(errp, "Cannot record '%s' as a backing file: its name alone does not lead to "
                   "the images in use, and describing them takes more than %d bytes",
                   top->path ?: bs->node_name, BDRV_MAX_BACKING_NAME);
        return NULL;
    }
    return g_strdup(name->str);
}
