/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of a node from a "json:" name. */
#include "qemu/osdep.h"

#include "block/blockdev.h"
#include "qapi/qapi-parse.h"
#include "qobject/json.h"
#include "qobject/keyval.h"

/* What the format recorded beside a name, and a file's name alone, say of the driver. */
static void fill_in_drivers(QDict *dict, const char *format)
{
    static const char *const children[] = {
        "file", "data-file", "image", "target", "test", "raw", "log",
    };

    if (format && !qdict_has(dict, "driver")) {
        qdict_put_str(dict, "driver", format);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(children); i++) {
        QDict *child = qobject_to_qdict(qdict_get(dict, children[i]));
        if (child) {
            fill_in_drivers(child, qdict_has(child, "filename") ? "file" : NULL);
        }
    }
}

BdrvOpenOptions *any_fn blockdev_options_from_json(const char *json, const char *format,
                                                   Error **errp)
{
    g_autoptr(QObject) obj = json_parse(json, strlen(json), errp);
    g_autoptr(QDict) dict = NULL;
    g_autoptr(BlockdevOptions) qapi = NULL;

    if (obj && !qobject_to_qdict(obj)) {
        error_setg(errp, "it is no object");
    } else if (obj) {
        dict = keyval_from_json(qobject_to_qdict(obj), errp);
    }
    if (dict) {
        fill_in_drivers(dict, format);
    }
    if (!dict || !BlockdevOptions_parse_keyval(QOBJECT(dict), &qapi, errp)) {
        error_prepend(errp, "Cannot understand \"json:\" name: ");
        return NULL;
    }
    return blockdev_options_to_plain(qapi, errp);
}
