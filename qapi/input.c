/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects, arrays and alternates out of JSON values. */
#include "qemu/osdep.h"

#include "input-internal.h"

char *qapi_in_path(const QapiInput *in, const char *name)
{
    g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) path = g_string_new(NULL);

    for (const QapiStep *s = in->step; s; s = s->up) {
        g_ptr_array_add(parts, s->name ? g_strconcat(".", s->name, NULL)
                                       : g_strdup_printf("[%zu]", s->index));
    }
    for (guint i = parts->len; i > 0; i--) {
        g_string_append(path, g_ptr_array_index(parts, i - 1));
    }
    if (name) {
        g_string_append_printf(path, ".%s", name);
    }
    if (path->len == 0) {
        return g_strdup("null");
    }
    return g_strdup(path->str + (path->str[0] == '.'));
}

void qapi_in_wrong_type(const QapiInput *in, const char *expected, Error **errp)
{
    g_autofree char *path = qapi_in_path(in, NULL);

    error_setg(errp, "Invalid parameter type for '%s', expected: %s", path, expected);
}

bool qapi_in_top(QObject *obj, bool keyval, QapiInFn *fn, void *ret, Error **errp)
{
    QapiInput in = { .keyval = keyval };

    return fn(&in, obj, ret, errp);
}

bool qapi_in_nothing(QDict *arguments, Error **errp)
{
    const char *key;
    QObject *value;

    if (!arguments || !qdict_member(arguments, 0, &key, &value)) {
        return true;
    }
    error_setg(errp, "Parameter '%s' is unexpected", key);
    return false;
}

/* ---- objects ---- */

/* True if the schema knew every member of the object, else names the first it did not. */
static bool check_all_seen(const QapiInput *in, const QapiObject *object, Error **errp)
{
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(object->dict, i, &key, &value); i++) {
        if (!g_ptr_array_find_with_equal_func(object->seen, key, g_str_equal, NULL)) {
            g_autofree char *path = qapi_in_path(in, key);

            error_setg(errp, "Parameter '%s' is unexpected", path);
            return false;
        }
    }
    return true;
}

bool qapi_in_object(QapiInput *in, QObject *value, QapiInMembersFn *members, void *ret,
                    Error **errp)
{
    g_autoptr(GPtrArray) seen = NULL;
    QapiObject object = { .dict = qobject_to_qdict(value), .up = in->object };
    bool ok;

    if (!object.dict) {
        qapi_in_wrong_type(in, "object", errp);
        return false;
    }
    if (in->depth == QAPI_MAX_NESTING) {
        error_setg(errp, "Parameters are nested deeper than %d levels", QAPI_MAX_NESTING);
        return false;
    }
    seen = g_ptr_array_new();
    object.seen = seen;
    in->object = &object;
    in->depth++;
    ok = members(in, ret, errp) && check_all_seen(in, &object, errp);
    in->depth--;
    in->object = object.up;
    return ok;
}

/* The member @name or NULL; the schema knows it now. */
static QObject *find_member(QapiInput *in, const char *name)
{
    QObject *value = qdict_get(in->object->dict, name);

    if (value) {
        g_ptr_array_add(in->object->seen, (void *)name);
    }
    return value;
}

static bool parse_step(QapiInput *in, QapiStep *step, QObject *value, QapiInFn *fn, void *ret,
                       Error **errp)
{
    bool ok;

    step->up = in->step;
    in->step = step;
    ok = fn(in, value, ret, errp);
    in->step = step->up;
    return ok;
}

bool qapi_in_required(QapiInput *in, const char *name, QapiInFn *fn, void *ret, Error **errp)
{
    QapiStep step = { .name = name };
    QObject *value = find_member(in, name);

    if (!value) {
        g_autofree char *path = qapi_in_path(in, name);

        error_setg(errp, "Parameter '%s' is missing", path);
        return false;
    }
    return parse_step(in, &step, value, fn, ret, errp);
}

bool qapi_in_optional(QapiInput *in, const char *name, QapiInFn *fn, bool *ret_has, void *ret,
                      Error **errp)
{
    QapiStep step = { .name = name };
    QObject *value = find_member(in, name);

    if (!value) {
        return true;
    }
    if (!parse_step(in, &step, value, fn, ret, errp)) {
        return false;
    }
    if (ret_has) {
        *ret_has = true;
    }
    return true;
}

/* ---- arrays ---- */

QList *qapi_in_list(QapiInput *in, QObject *value, Error **errp)
{
    QList *list = qobject_to_qlist(value);

    if (!list) {
        qapi_in_wrong_type(in, "array", errp);
    }
    return list;
}

bool qapi_in_element(QapiInput *in, QList *list, size_t index, QapiInFn *fn, void *ret,
                     Error **errp)
{
    QapiStep step = { .index = index };

    return parse_step(in, &step, qlist_get(list, index), fn, ret, errp);
}

/* ---- alternates ---- */

QType qapi_in_alternate(QapiInput *in, QObject *value, unsigned mask, const char *type_name,
                        Error **errp)
{
    QType type = qobject_type(value);

    /* On a command line every scalar is a string. */
    if (in->keyval && type == QTYPE_QSTRING && !(mask & (1u << QTYPE_QSTRING))) {
        type = (mask & (1u << QTYPE_QBOOL)) ? QTYPE_QBOOL : QTYPE_QNUM;
    }
    if (!(mask & (1u << type))) {
        qapi_in_wrong_type(in, type_name, errp);
        return QTYPE_NONE;
    }
    return type;
}
