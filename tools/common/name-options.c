/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options that go with a name: `file=NAME,file.align=4k,driver=qcow2`. */
#include "qemu/osdep.h"

#include "qobject/json.h"
#include "qobject/keyval.h"
#include "tools/common/name-options.h"

/* Children below each other in options that people write. */
#define MAX_LEVELS 32

/* ---- a name as options ---- */

static QDict *file_dict(const char *filename)
{
    QDict *dict = qdict_new();

    qdict_put_str(dict, "driver", "file");
    qdict_put_str(dict, "filename", filename);
    return dict;
}

/* @below: a name that has one more in it cannot be there. */
static QDict *co_main_fn dict_of_name(const char *name, bool below, Error **errp);

/* PREFIX:FIRST:SECOND */
static char *split_name(const char *name, const char **ret_second, Error **errp)
{
    const char *first = strchr(name, ':') + 1, *colon = strchr(first, ':');

    if (!colon) {
        error_setg(errp, "'%s' has too few parts", name);
        return NULL;
    }
    *ret_second = colon + 1;
    return g_strndup(first, colon - first);
}

static QDict *co_main_fn dict_of_blkdebug(const char *name, Error **errp)
{
    const char *image;
    g_autofree char *config = split_name(name, &image, errp);
    g_autoptr(QDict) inner = config ? dict_of_name(image, true, errp) : NULL;

    if (!inner) {
        return NULL;
    }
    QDict *dict = qdict_new();
    qdict_put_str(dict, "driver", "blkdebug");
    if (*config) {
        qdict_put_str(dict, "config", config);
    }
    qdict_put(dict, "image", QOBJECT(g_steal_pointer(&inner)));
    return dict;
}

static QDict *co_main_fn dict_of_blkverify(const char *name, Error **errp)
{
    const char *image;
    g_autofree char *raw = split_name(name, &image, errp);
    g_autoptr(QDict) raw_dict = raw ? dict_of_name(raw, true, errp) : NULL;
    g_autoptr(QDict) file = raw_dict ? dict_of_name(image, true, errp) : NULL;

    if (!file) {
        return NULL;
    }
    QDict *dict = qdict_new(), *test = qdict_new();
    qdict_put(test, "file", QOBJECT(g_steal_pointer(&file)));
    qdict_put_str(dict, "driver", "blkverify");
    qdict_put(dict, "raw", QOBJECT(g_steal_pointer(&raw_dict)));
    qdict_put(dict, "test", QOBJECT(test));
    return dict;
}

/* A name that says nothing but its driver, or that is understood where options are, too. */
static QDict *co_main_fn dict_of_driver(const BlockDriver *drv, const char *name, Error **errp)
{
    g_autoptr(BdrvOpenOptions) opts = bdrv_open_options_new(drv->name);

    if (!drv->options_from_name(name, opts, errp)) {
        return NULL;
    }
    QDict *dict = qdict_new();
    bool says_nothing = g_str_has_prefix(drv->name, "null-");
    qdict_put_str(dict, says_nothing ? "driver" : "filename", says_nothing ? drv->name : name);
    return dict;
}

/* The node of a protocol that @name, which is no "json:" name, stands for. */
static QDict *co_main_fn dict_of_name(const char *name, bool below, Error **errp)
{
    const BlockDriver *drv = bdrv_find_driver_of_name(name);

    if (g_str_has_prefix(name, "file:")) {
        return file_dict(name + strlen("file:"));
    }
    if (!bdrv_path_has_protocol(name)) {
        return file_dict(name);
    }
    if (!drv) {
        error_setg(errp, "Unknown protocol '%.*s'", (int)strcspn(name, ":"), name);
        return NULL;
    }
    if (below && (drv->is_filter || drv->has_file)) {
        error_setg(errp, "'%s' cannot be below another filter by its name", name);
        return NULL;
    }
    return strcmp(drv->name, "blkdebug") == 0 ? dict_of_blkdebug(name, errp) :
           strcmp(drv->name, "blkverify") == 0 ? dict_of_blkverify(name, errp)
                                               : dict_of_driver(drv, name, errp);
}

static QDict *dict_of_json(const char *json, Error **errp)
{
    g_autoptr(QObject) obj = json_parse_str(json, errp);

    if (obj && !qobject_to_qdict(obj)) {
        error_setg(errp, "it is no object");
    }
    QDict *dict = obj && qobject_to_qdict(obj) ? keyval_from_json(qobject_to_qdict(obj), errp)
                                               : NULL;
    if (!dict) {
        error_prepend(errp, "Could not parse the JSON options: ");
    }
    return dict;
}

/* ---- what options are not ---- */

/* What stands in @text between @before and @after, which may be anywhere behind; NULL: it does not. */
static char *between(const char *text, const char *before, const char *after)
{
    const char *start = strstr(text, before), *end;

    if (!start) {
        return NULL;
    }
    start += strlen(before);
    end = strstr(start, after);
    return end ? g_strndup(start, end - start) : NULL;
}

void any_fn say_of_options(Error **errp, const char *format)
{
    const char *text = error_get_pretty(*errp);
    g_autofree char *key = between(text, "Parameter '", "' is unexpected");
    g_autofree char *value = g_str_has_prefix(text, "Parameter 'overlap-check")
                             ? between(text, "' does not accept value '", "'") : NULL;
    Error *err = NULL;

    if (value) {
        error_setg(&err, "Unsupported value '%s' for qcow2 option 'overlap-check'. Allowed are any "
                   "of the following: none, constant, cached, all", value);
    } else if (key && !strpbrk(key, "'.") && format) {
        error_setg(&err, "Block format '%s' does not support the option '%s'", format, key);
    } else if (key && !strpbrk(key, "'.")) {
        error_setg(&err, "Cannot change the option '%s'", key);
    }
    if (err) {
        error_free(*errp);
        *errp = err;
    }
}

/* The node inside of *@node that the path *@key leads into by @child ("file"), which both advance
 * to; false: it does not. */
static bool step_into(const QDict **node, const char **key, const char *child)
{
    size_t len = strlen(child);
    const QDict *below = qobject_to_qdict(qdict_get(*node, child));

    if (!below || strncmp(*key, child, len) != 0 || (*key)[len] != '.') {
        return false;
    }
    *node = below;
    *key += len + 1;
    return true;
}

void any_fn say_of_nested_options(Error **errp, const QDict *dict)
{
    g_autofree char *path = between(error_get_pretty(*errp), "Parameter '", "' is unexpected");
    const char *key = path, *prefix = "";
    Error *err = NULL;

    if (!key) {
        return;
    }
    while (step_into(&dict, &key, "backing")) {
        prefix = "Could not open backing file: ";
    }
    bool is_file = step_into(&dict, &key, "file");
    const char *driver = qdict_get_str(dict, "driver");
    if (!driver) {
        return;
    }
    if (strcmp(key, "backing") == 0 && (is_file || strcmp(driver, "raw") == 0)) {
        error_setg(&err, "%sDriver doesn't support backing files", prefix);
    } else if (key != path) {
        error_setg(&err, is_file ? "%sBlock protocol '%s' doesn't support the option '%s'"
                                 : "%sBlock format '%s' does not support the option '%s'", prefix,
                   driver, key);
    }
    if (err) {
        error_free(*errp);
        *errp = err;
    }
}

/* ---- both together ---- */

void any_fn join_options(QDict *dict, const QDict *less)
{
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(less, i, &key, &value); i++) {
        QDict *has = qobject_to_qdict(qdict_get(dict, key)), *adds = qobject_to_qdict(value);
        if (has && adds) {
            join_options(has, adds);        /* as deep as the parser lets them be */
        } else if (!qdict_has(dict, key)) {
            qdict_put(dict, key, qobject_ref(value));
        }
    }
}

static QDict *sub_dict(QDict *dict, const char *key)
{
    if (!qdict_has(dict, key)) {
        qdict_put(dict, key, QOBJECT(qdict_new()));
    }
    return qobject_to_qdict(qdict_get(dict, key));
}

/*
 * Where in @dict the node goes that a name stands for, which is one of @driver: below formats and
 * filters.  @is_image: what has no driver is of a format that is found out.  NULL: a child is no
 * description.
 */
static QDict *place_of_name(QDict *dict, const char *driver, bool is_image)
{
    for (int i = 0; dict && i < MAX_LEVELS; i++) {
        const char *name = qdict_get_str(dict, "driver");
        const BlockDriver *drv = name ? bdrv_find_driver(name) : NULL;
        bool goes_down = name ? drv && (!drv->is_protocol || drv->is_filter || drv->has_file)
                              : is_image;

        if (!goes_down || (name && strcmp(name, driver) == 0)) {
            break;
        }
        bool verifies = name && strcmp(name, "blkverify") == 0;
        bool debugs = name && strcmp(name, "blkdebug") == 0;
        dict = sub_dict(dict, verifies ? "test" : debugs ? "image" : "file");
        is_image = verifies || (drv && drv->is_filter && !debugs);
    }
    return dict;
}

/* @named goes to its place in @dict, and then what is below a blkdebug to its own. */
static bool add_named(QDict *dict, QDict *named, bool is_image)
{
    QDict *image = qobject_to_qdict(qdict_get(named, "image"));
    QDict *place = place_of_name(dict, qdict_get_str(named, "driver") ?: "", is_image);

    if (!place || !image) {
        if (place) {
            join_options(place, named);
        }
        return place;
    }
    g_autoptr(QDict) without = qdict_copy_shallow(named);
    qdict_del(without, "image");
    join_options(place, without);
    QDict *below = sub_dict(place, "image");
    place = below ? place_of_name(below, qdict_get_str(image, "driver") ?: "", false) : NULL;
    if (place) {
        join_options(place, image);
    }
    return place;
}

bool co_main_fn add_name_options(QDict *dict, const char *name, Error **errp)
{
    bool json = g_str_has_prefix(name, "json:");
    g_autoptr(QDict) named = json ? dict_of_json(name + strlen("json:"), errp)
                                  : dict_of_name(name, false, errp);

    if (!named) {
        return false;
    }
    if (json) {
        join_options(dict, named);
    } else if (!add_named(dict, named, true)) {
        error_setg(errp, "There is no place for the name '%s' in these options", name);
        return false;
    }
    return true;
}

QDict *co_main_fn name_options(const char *options, const char *name, Error **errp)
{
    g_autoptr(QDict) dict = keyval_parse(options, NULL, NULL, errp);

    return dict && (!name || add_name_options(dict, name, errp)) ? g_steal_pointer(&dict) : NULL;
}
