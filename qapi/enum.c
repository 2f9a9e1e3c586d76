/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of enum values. */
#include "qemu/osdep.h"

#include "qapi/enum.h"

const char *qapi_enum_str(const QapiEnum *lookup, int value)
{
    assert(value >= 0 && value < lookup->count);
    return lookup->names[value];
}

int qapi_enum_find(const QapiEnum *lookup, const char *str)
{
    for (int i = 0; i < lookup->count; i++) {
        if (strcmp(lookup->names[i], str) == 0) {
            return i;
        }
    }
    return -1;
}

int qapi_enum_from_str(const QapiEnum *lookup, const char *str, Error **errp)
{
    int value = qapi_enum_find(lookup, str);

    if (value < 0) {
        error_setg(errp, "invalid parameter value: %s", str);
    }
    return value;
}
