/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of a -drive: its keys "throttling.". */
#include "qemu/osdep.h"

#include "drive.h"
#include "qapi/qapi-parse.h"

#define PREFIX "throttling."

/* Those of @dict, without their prefix, which are gone from it then. */
static QDict *take_all(QDict *dict)
{
    QDict *limits = qdict_new();
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(dict, i, &key, &value);) {
        if (!g_str_has_prefix(key, PREFIX)) {
            i++;
            continue;
        }
        g_autofree char *whole = g_strdup(key);
        qdict_put(limits, whole + strlen(PREFIX), qobject_ref(value));
        qdict_del(dict, whole);
    }
    return limits;
}

bool any_fn drive_take_limits(QDict *dict, DriveOptions *d, Error **errp)
{
    g_autoptr(QDict) given = take_all(dict);
    g_autoptr(ThrottleLimits) limits = NULL;

    d->group = g_strdup(qdict_get_str(given, "group"));
    qdict_del(given, "group");
    d->limited = qdict_size(given) > 0;
    return !d->limited || (ThrottleLimits_parse_keyval(QOBJECT(given), &limits, errp) &&
                           blockdev_throttle_config(limits, &d->limits, errp));
}
