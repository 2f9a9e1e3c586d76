/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The older form of option strings, without nesting and with switches. */
#include "qemu/osdep.h"

#include "keyval-internal.h"

QDict *keyval_parse_flat(const char *params, const char *implied_key, Error **errp)
{
    g_autoptr(QDict) dict = qdict_new();
    bool first = true;

    while (*params) {
        g_autofree char *key = NULL, *value = NULL;

        keyval_next_item(&params, &key, &value);
        if (key && !*key) {
            error_setg(errp, "Invalid parameter ''");
            return NULL;
        }
        if (key) {
            qdict_put_str(dict, key, value);
        } else if (first && implied_key) {
            qdict_put_str(dict, implied_key, value);
        } else if (g_str_has_prefix(value, "no") && value[2]) {
            qdict_put_str(dict, value + 2, "off");
        } else if (*value) {
            qdict_put_str(dict, value, "on");
        }
        first = false;
    }
    return g_steal_pointer(&dict);
}
