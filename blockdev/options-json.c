/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of a node from a "json:" name. */
#include "qemu/osdep.h"

#include "block/block.h"
#include "block/blockdev.h"
#include "block/driver.h"
#include "qapi/qapi-parse.h"
#include "qobject/json.h"
#include "qobject/keyval.h"

/* Where there is but one rule, it need not be numbered. */
static void make_list(QDict *dict, const char *key)
{
    QDict *only = qobject_to_qdict(qdict_get(dict, key));

    if (only) {
        QList *list = qlist_new();
        qlist_append(list, qobject_ref(QOBJECT(only)));
        qdict_put(dict, key, QOBJECT(list));
    }
}

static const char *get_str(const QDict *dict, const char *key)
{
    QObject *obj = qdict_get(dict, key);

    return obj ? qobject_get_str(obj) : NULL;
}

/* A server as it was described before addresses had types: "path", or "host" and "port". */
static void type_nbd_server(QDict *dict)
{
    const char *path = get_str(dict, "path"), *host = get_str(dict, "host");

    if (qdict_has(dict, "server") || (!path && !host)) {
        return;
    }
    QDict *server = qdict_new();
    qdict_put_str(server, "type", path ? "unix" : "inet");
    if (path) {
        qdict_put_str(server, "path", path);
        qdict_del(dict, "path");
    } else {
        qdict_put_str(server, "host", host);
        qdict_put_str(server, "port", get_str(dict, "port") ?: "10809");
        qdict_del(dict, "host");
        qdict_del(dict, "port");
    }
    qdict_put(dict, "server", QOBJECT(server));
}

/* A server by the name that its disk has: nbd://host/export. */
static void unfold_nbd_name(QDict *dict)
{
    g_autofree char *name = g_strdup(get_str(dict, "filename"));
    const BlockDriver *drv = name ? bdrv_find_driver_of_name(name) : NULL;

    if (!drv || strcmp(drv->name, "nbd") != 0) {
        return;
    }
    g_autoptr(BdrvOpenOptions) opts = bdrv_protocol_options(name, NULL, NULL);
    if (!opts) {
        return;                     /* it is refused as the name of a file */
    }
    const NbdOpenOptions *o = &opts->u.nbd;
    qdict_put_str(dict, "driver", "nbd");
    qdict_del(dict, "filename");
    if (o->server.kind == SOCKET_UNIX) {
        qdict_put_str(dict, "path", o->server.path);
    } else {
        qdict_put_str(dict, "host", o->server.host);
        qdict_put_str(dict, "port", o->server.port);
    }
    if (o->export) {
        qdict_put_str(dict, "export", o->export);
    }
}

/* The images of quorum: the @i-th of the list or, as command lines have it, the one called @i. */
static QDict *numbered_child(const QDict *dict, size_t i)
{
    QObject *children = qdict_get(dict, "children");
    QList *list = children ? qobject_to_qlist(children) : NULL;
    QDict *by_name = children ? qobject_to_qdict(children) : NULL;
    g_autofree char *name = g_strdup_printf("%zu", i);
    QObject *child = list ? qlist_get(list, i) : by_name ? qdict_get(by_name, name) : NULL;

    return child ? qobject_to_qdict(child) : NULL;
}

/* What the format recorded beside a name, and a file's name alone, say of the driver. */
static void fill_in_drivers(QDict *dict, const char *format)
{
    static const char *const children[] = {
        "file", "data-file", "image", "target", "test", "raw", "log",
    };

    if (!qdict_has(dict, "driver") || strcmp(get_str(dict, "driver") ?: "", "nbd") == 0) {
        unfold_nbd_name(dict);
    }
    if (format && !qdict_has(dict, "driver")) {
        qdict_put_str(dict, "driver", format);
    }
    if (g_strcmp0(qdict_get_str(dict, "driver"), "blkdebug") == 0) {
        make_list(dict, "inject-error");
        make_list(dict, "set-state");
    }
    if (g_strcmp0(get_str(dict, "driver"), "nbd") == 0) {
        type_nbd_server(dict);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(children); i++) {
        QDict *child = qobject_to_qdict(qdict_get(dict, children[i]));
        if (child) {
            fill_in_drivers(child, qdict_has(child, "filename") ? "file" : NULL);
        }
    }
    QDict *child;
    for (size_t i = 0; (child = numbered_child(dict, i)); i++) {
        fill_in_drivers(child, qdict_has(child, "filename") ? "file" : NULL);
    }
}

/* The format of what "file" of @dict describes. */
static const char *co_main_fn probe(const QDict *dict, Error **errp)
{
    g_autoptr(BlockdevOptions) qapi = NULL;
    g_autoptr(QDict) raw = qdict_new();

    /* Its other options are those of the format that is found. */
    qdict_put_str(raw, "driver", "raw");
    qdict_put(raw, "file", qobject_ref(qdict_get(dict, "file")));
    if (!BlockdevOptions_parse_keyval(QOBJECT(raw), &qapi, errp)) {
        return NULL;
    }
    g_autoptr(BdrvOpenOptions) opts = blockdev_options_to_plain(qapi, errp);
    if (!opts || !opts->file.options) {
        return opts ? "raw" : NULL;
    }
    for (BdrvOpenOptions *o = opts->file.options; o; o = o->file.options) {
        o->read_only = true;
    }
    return bdrv_probe_format(opts->file.options, errp);
}

static bool co_main_fn probe_child(QDict *child, Error **errp)
{
    if (!child || qdict_has(child, "driver") || !qdict_has(child, "file")) {
        return true;
    }
    const char *found = probe(child, errp);
    if (found) {
        qdict_put_str(child, "driver", found);
    }
    return found != NULL;
}

/* Children that are images themselves, and of which nobody says the format. */
static bool co_main_fn probe_children(QDict *dict, Error **errp)
{
    for (; dict; dict = qobject_to_qdict(qdict_get(dict, "file"))) {
        QDict *child = qobject_to_qdict(qdict_get(dict, "test"));
        if (!probe_child(child, errp)) {
            return false;
        }
        for (size_t i = 0; (child = numbered_child(dict, i)); i++) {
            if (!probe_child(child, errp)) {
                return false;
            }
        }
    }
    return true;
}

/* The plain form of @dict, which names a driver. */
static BdrvOpenOptions *to_plain(QDict *dict, Error **errp)
{
    g_autoptr(BlockdevOptions) qapi = NULL;

    return BlockdevOptions_parse_keyval(QOBJECT(dict), &qapi, errp)
           ? blockdev_options_to_plain(qapi, errp) : NULL;
}

/* The driver that @dict names is one that there is. */
static bool check_driver(const QDict *dict, Error **errp)
{
    const char *name = qdict_get_str(dict, "driver");

    if (name && !bdrv_find_driver(name)) {
        error_setg(errp, "Unknown driver '%s'", name);
        return false;
    }
    return true;
}

BdrvOpenOptions *co_main_fn blockdev_options_from_dict(QDict *dict, const char *format,
                                                       Error **errp)
{
    bool probed = false;

    fill_in_drivers(dict, format);
    if (!probe_children(dict, errp)) {
        return NULL;
    }
    if (!qdict_has(dict, "driver")) {
        if (!qdict_has(dict, "file")) {
            error_setg(errp, "Must specify either driver or file");
            return NULL;
        }
        const char *found = probe(dict, errp);
        if (!found) {
            return NULL;
        }
        probed = true;
        qdict_put_str(dict, "driver", found);
    }
    BdrvOpenOptions *opts = check_driver(dict, errp) ? to_plain(dict, errp) : NULL;
    if (opts) {
        bdrv_note_probed(opts, probed);
    }
    return opts;
}

static QDict *parse_json(const char *json, Error **errp)
{
    g_autoptr(QObject) obj = json_parse(json, strlen(json), errp);

    if (obj && !qobject_to_qdict(obj)) {
        error_setg(errp, "it is no object");
        return NULL;
    }
    return obj ? keyval_from_json(qobject_to_qdict(obj), errp) : NULL;
}

BdrvOpenOptions *co_main_fn blockdev_options_from_json(const char *json, const char *format,
                                                       Error **errp)
{
    g_autoptr(QDict) dict = parse_json(json, errp);
    BdrvOpenOptions *opts = dict ? blockdev_options_from_dict(dict, format, errp) : NULL;

    if (!opts) {
        error_prepend(errp, "Could not parse the JSON options: ");
    }
    return opts;
}

BdrvOpenOptions *any_fn blockdev_options_from_whole_json(const char *json, const char *format)
{
    g_autoptr(QDict) dict = parse_json(json, NULL);

    if (dict) {
        fill_in_drivers(dict, format);
    }
    return dict ? to_plain(dict, NULL) : NULL;
}
