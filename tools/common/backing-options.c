/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `backing.detect-zeroes=on`: some options of a backing file that the image itself
 * names. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "tools/common/name-options.h"

/* The image of @dict without what it builds on; NULL with an error. */
static BdrvLink *co_main_fn open_alone(const QDict *dict, Error **errp)
{
    BdrvLinkSpec spec = { .needs = CLAIM_READ, .allows = CLAIM_ALL, .holder = "its backing file" };
    g_autoptr(QDict) alone = qdict_copy_shallow(dict);

    qdict_del(alone, "backing");
    qdict_del(alone, "node-name");      /* that of the one that stays */
    qdict_put_str(alone, "read-only", "on");
    g_autoptr(BdrvOpenOptions) opts = blockdev_options_from_dict(alone, NULL, errp);
    if (!opts) {
        return NULL;
    }
    opts->no_backing_open = true;
    return bdrv_open(opts, &spec, errp);
}

/* What @bs records becomes part of @backing. */
static bool co_main_fn fill_in(QDict *backing, const BlockDriverState *bs, Error **errp)
{
    if (!bs->backing_file || !*bs->backing_file) {
        error_setg(errp, "'%s' has no backing file", bs->filename);
        return false;
    }
    bool is_path = !bdrv_path_has_protocol(bs->backing_file);
    g_autofree char *name = is_path ? bdrv_path_combine(bs->filename, bs->backing_file)
                                    : g_strdup(bs->backing_file);
    g_autoptr(QDict) file = name_options("driver=raw", name, errp);
    if (!file) {
        return false;
    }
    g_autoptr(QDict) whole = qdict_new();
    qdict_put(whole, "file", qobject_ref(qdict_get(file, "file")));
    qdict_put_str(whole, "driver", bs->backing_format ?: "raw");
    join_options(backing, whole);
    return true;
}

/* A file that is only named gets the protocol that its name has. */
static bool co_main_fn add_protocol(QDict *backing, Error **errp)
{
    QDict *file = qobject_to_qdict(qdict_get(backing, "file"));
    const char *name = file ? qdict_get_str(file, "filename") : NULL;

    if (!name || qdict_has(file, "driver")) {
        return true;
    }
    g_autoptr(QDict) named = name_options("driver=raw", name, errp);
    if (named) {
        join_options(file, qobject_to_qdict(qdict_get(named, "file")));
    }
    return named;
}

/* The format that @bs records of its backing file, or that this looks like; caller frees. */
static char *co_main_fn backing_format(const QDict *backing, const BlockDriverState *bs,
                                       Error **errp)
{
    g_autoptr(QDict) alone = qdict_copy_shallow(backing);

    if (bs->backing_format) {
        return g_strdup(bs->backing_format);
    }
    qdict_del(alone, "backing");
    g_autoptr(BdrvOpenOptions) opts = blockdev_options_from_dict(alone, NULL, errp);
    return opts ? g_strdup(opts->driver) : NULL;
}

/* @backing says where it is, but not what. */
static bool co_main_fn add_format(QDict *backing, const BlockDriverState *bs, Error **errp)
{
    g_autofree char *format = backing_format(backing, bs, errp);

    if (format) {
        qdict_put_str(backing, "driver", format);
    }
    return format != NULL;
}

/* Backing files below each other in options that people write. */
#define MAX_LEVELS 200

bool co_main_fn complete_backing(QDict *dict, Error **errp)
{
    bool ok = true;

    for (int i = 0; ok && dict && i < MAX_LEVELS; i++) {
        QDict *backing = qobject_to_qdict(qdict_get(dict, "backing"));
        ok = !backing || add_protocol(backing, errp);
        bool has_file = backing && qdict_has(backing, "file");
        if (ok && backing && (!has_file || !qdict_has(backing, "driver"))) {
            bdrv_graph_lock();
            BdrvLink *link = open_alone(dict, errp);
            ok = link && (has_file ? add_format(backing, link->bs, errp)
                                   : fill_in(backing, link->bs, errp));
            bdrv_link_free(link);
            bdrv_graph_unlock();
        }
        dict = backing;
    }
    return ok;
}
