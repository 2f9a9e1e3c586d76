/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Strings, numbers, booleans and enums out of JSON values, or out of option strings. */
#include "qemu/osdep.h"

#include <math.h>

#include "input-internal.h"
#include "qobject/json.h"
#include "qobject/keyval.h"

/* An error lists the values of an enum that has no more than these. */
#define MAX_LISTED 16

/* The string that @value is on a command line, or NULL. */
static const char *keyval_str(const QapiInput *in, const QObject *value)
{
    return in->keyval ? qobject_get_str(value) : NULL;
}

/* No name, path or text of the control path may hold a NUL, which JSON can write. */
bool qapi_in_str(QapiInput *in, QObject *value, void *ret, Error **errp)
{
    const char *str = qobject_get_str(value);

    if (!str || strlen(str) != qstring_len(value)) {
        qapi_in_wrong_type(in, "string", errp);
        return false;
    }
    if (!in->keyval && strstr(str, JSON_NUL)) {
        g_autofree char *path = qapi_in_path(in, NULL);

        error_setg(errp, "Parameter '%s' contains the character U+0000", path);
        return false;
    }
    *(char **)ret = g_strdup(str);
    return true;
}

bool qapi_in_bool(QapiInput *in, QObject *value, void *ret, Error **errp)
{
    const char *str = keyval_str(in, value);

    if (str) {
        if (!keyval_parse_bool(str, ret)) {
            g_autofree char *path = qapi_in_path(in, NULL);

            error_setg(errp, "Parameter '%s' expects 'on' or 'off'", path);
            return false;
        }
        return true;
    }
    if (!qobject_get_bool(value, ret)) {
        qapi_in_wrong_type(in, "boolean", errp);
        return false;
    }
    return true;
}

bool qapi_in_number(QapiInput *in, QObject *value, void *ret, Error **errp)
{
    const char *str = keyval_str(in, value);

    if (str) {
        char *end;
        double number = g_ascii_strtod(str, &end);

        if (end == str || *end || !isfinite(number)) {
            qapi_in_wrong_type(in, "number", errp);
            return false;
        }
        *(double *)ret = number;
        return true;
    }
    if (!qobject_get_double(value, ret)) {
        qapi_in_wrong_type(in, "number", errp);
        return false;
    }
    return true;
}

/* ---- integers ---- */

static bool get_int(QapiInput *in, QObject *value, int64_t *ret, Error **errp)
{
    const char *str = keyval_str(in, value);
    uint64_t number;
    bool negative;

    if (!str) {
        if (!qobject_get_int(value, ret)) {
            qapi_in_wrong_type(in, "integer", errp);
            return false;
        }
        return true;
    }
    negative = str[0] == '-';
    if (!keyval_parse_size(str + negative, &number, NULL) ||
        number > (uint64_t)INT64_MAX + negative) {
        qapi_in_wrong_type(in, "integer", errp);
        return false;
    }
    *ret = negative ? (int64_t)-number : (int64_t)number;
    return true;
}

static bool get_uint(QapiInput *in, QObject *value, uint64_t *ret, Error **errp)
{
    const char *str = keyval_str(in, value);
    int64_t number;

    if (str) {
        if (!keyval_parse_size(str, ret, NULL)) {
            qapi_in_wrong_type(in, "integer", errp);
            return false;
        }
        return true;
    }
    if (qobject_get_uint(value, ret)) {
        return true;
    }
    /* A negative number stands for the one of 64 bits that looks like it, as QMP has it. */
    if (!qobject_get_int(value, &number)) {
        qapi_in_wrong_type(in, "integer", errp);
        return false;
    }
    *ret = (uint64_t)number;
    return true;
}

static bool in_range(QapiInput *in, QObject *value, int64_t min, int64_t max, const char *type,
                     int64_t *ret, Error **errp)
{
    if (!get_int(in, value, ret, errp)) {
        return false;
    }
    if (*ret < min || *ret > max) {
        g_autofree char *path = qapi_in_path(in, NULL);

        error_setg(errp, "Parameter '%s' expects %s", path, type);
        return false;
    }
    return true;
}

#define DEFINE_IN_SMALL(name, ctype, min, max)                                          \
    bool qapi_in_##name(QapiInput *in, QObject *value, void *ret, Error **errp)         \
    {                                                                                   \
        int64_t number;                                                                 \
                                                                                        \
        if (!in_range(in, value, min, max, #ctype, &number, errp)) {                    \
            return false;                                                               \
        }                                                                               \
        *(ctype *)ret = number;                                                         \
        return true;                                                                    \
    }

DEFINE_IN_SMALL(int8, int8_t, INT8_MIN, INT8_MAX)
DEFINE_IN_SMALL(int16, int16_t, INT16_MIN, INT16_MAX)
DEFINE_IN_SMALL(int32, int32_t, INT32_MIN, INT32_MAX)
DEFINE_IN_SMALL(uint8, uint8_t, 0, UINT8_MAX)
DEFINE_IN_SMALL(uint16, uint16_t, 0, UINT16_MAX)
DEFINE_IN_SMALL(uint32, uint32_t, 0, UINT32_MAX)

bool qapi_in_int(QapiInput *in, QObject *value, void *ret, Error **errp)
{
    return get_int(in, value, ret, errp);
}

bool qapi_in_int64(QapiInput *in, QObject *value, void *ret, Error **errp)
{
    return get_int(in, value, ret, errp);
}

bool qapi_in_uint64(QapiInput *in, QObject *value, void *ret, Error **errp)
{
    return get_uint(in, value, ret, errp);
}

bool qapi_in_size(QapiInput *in, QObject *value, void *ret, Error **errp)
{
    return get_uint(in, value, ret, errp);
}

/* ---- the rest ---- */

bool qapi_in_null(QapiInput *in, QObject *value, void *ret, Error **errp)
{
    if (qobject_type(value) != QTYPE_QNULL) {
        qapi_in_wrong_type(in, "null", errp);
        return false;
    }
    *(QObject **)ret = qobject_ref(value);
    return true;
}

bool qapi_in_any(QapiInput *in, QObject *value, void *ret, Error **errp)
{
    *(QObject **)ret = qobject_ref(value);
    return true;
}

bool qapi_in_enum(QapiInput *in, QObject *value, const QapiEnum *lookup, int *ret, Error **errp)
{
    const char *str = qobject_get_str(value);

    if (!str) {
        qapi_in_wrong_type(in, "string", errp);
        return false;
    }
    *ret = qapi_enum_find(lookup, str);
    if (*ret < 0) {
        g_autofree char *path = qapi_in_path(in, NULL);

        g_autoptr(GString) accepted = g_string_new(NULL);
        for (int i = 0; i < lookup->count && lookup->count <= MAX_LISTED; i++) {
            g_string_append_printf(accepted, "%s%s", i ? ", " : " (accepted: ", lookup->names[i]);
        }
        error_setg(errp, "Parameter '%s' does not accept value '%s'%s%s", path, str, accepted->str,
                   accepted->len ? ")" : "");
        return false;
    }
    return true;
}
