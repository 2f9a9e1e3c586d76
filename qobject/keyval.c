/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `a.b=c,d=e`: nested dicts and lists out of an option string. */
#include "qemu/osdep.h"

#include "keyval-internal.h"
#include "qobject/json.h"

/* Bounds how deep the dicts are nested. */
#define MAX_KEY_BYTES 1023

void keyval_next_item(const char **params, char **ret_key, char **ret_value)
{
    const char *p = *params;
    size_t key_len = strcspn(p, "=,");
    GString *value = g_string_new(NULL);

    *ret_key = NULL;
    if (p[key_len] == '=') {
        *ret_key = g_strndup(p, key_len);
        p += key_len + 1;
    }
    for (;;) {
        size_t run = strcspn(p, ",");

        g_string_append_len(value, p, run);
        p += run;
        if (p[0] != ',' || p[1] != ',') {
            break;
        }
        g_string_append_c(value, ',');
        p += 2;
    }
    *params = p + (*p == ',');
    *ret_value = g_string_free(value, FALSE);
}

static bool is_index(const char *fragment)
{
    return fragment[0] && strspn(fragment, "0123456789") == strlen(fragment);
}

static bool fragment_ok(const char *fragment)
{
    if (is_index(fragment)) {
        return true;
    }
    if (!g_ascii_isalpha(fragment[0]) && fragment[0] != '_') {
        return false;
    }
    for (const char *p = fragment; *p; p++) {
        if (!g_ascii_isalnum(*p) && *p != '-' && *p != '_') {
            return false;
        }
    }
    return true;
}

/* Put @value at the dotted @key below @dict. */
static bool put_dotted_obj(QDict *dict, const char *key, QObject *value, Error **errp)
{
    g_auto(GStrv) fragments = g_strsplit(key, ".", -1);
    guint count = g_strv_length(fragments);

    if (count == 0 || strlen(key) > MAX_KEY_BYTES) {
        error_setg(errp, "Invalid parameter '%.80s'", key);
        return false;
    }
    for (guint i = 0; i < count; i++) {
        QObject *there;

        if (!fragment_ok(fragments[i])) {
            error_setg(errp, "Invalid parameter '%s'", key);
            return false;
        }
        there = qdict_get(dict, fragments[i]);
        if (there && (qobject_type(there) == QTYPE_QDICT) != (i + 1 < count)) {
            error_setg(errp, "Parameters '%s.*' used inconsistently", key);
            return false;
        }
        if (i + 1 == count) {
            qdict_put(dict, fragments[i], qobject_ref(value));
        } else {
            if (!there) {
                there = QOBJECT(qdict_new());
                qdict_put(dict, fragments[i], there);
            }
            dict = qobject_to_qdict(there);
        }
    }
    return true;
}

static bool put_dotted(QDict *dict, const char *key, const char *value, Error **errp)
{
    g_autoptr(QObject) str = qstring_new(value);

    return put_dotted_obj(dict, key, str, errp);
}

/* Are the keys of @dict list indexes?  All, none, or false and @errp. */
static bool has_indexes(const QDict *dict, const char *path, bool *ret, Error **errp)
{
    size_t indexes = 0;
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(dict, i, &key, &value); i++) {
        indexes += is_index(key);
    }
    if (indexes > 0 && indexes < qdict_size(dict)) {
        error_setg(errp, "Parameters '%s*' used inconsistently", path);
        return false;
    }
    *ret = indexes > 0;
    return true;
}

static QObject *listify(QDict *dict, const char *path, Error **errp);

/* The members of @dict with all dicts of indexes below made lists. */
static bool listify_members(QDict *dict, const char *path, Error **errp)
{
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(dict, i, &key, &value); i++) {
        QDict *inner = qobject_to_qdict(value);
        g_autofree char *inner_path = NULL;
        QObject *made;

        if (!inner) {
            continue;
        }
        inner_path = g_strdup_printf("%s%s.", path, key);
        made = listify(inner, inner_path, errp);
        if (!made) {
            return false;
        }
        qdict_put(dict, key, made);
    }
    return true;
}

/* A new reference to @dict, or the list that it stands for. */
static QObject *listify(QDict *dict, const char *path, Error **errp)
{
    g_autoptr(QList) list = NULL;
    bool is_list;

    if (!has_indexes(dict, path, &is_list, errp) || !listify_members(dict, path, errp)) {
        return NULL;
    }
    if (!is_list) {
        return qobject_ref(QOBJECT(dict));
    }
    list = qlist_new();
    for (size_t i = 0; i < qdict_size(dict); i++) {
        g_autofree char *key = g_strdup_printf("%zu", i);
        QObject *value = qdict_get(dict, key);

        if (!value) {
            error_setg(errp, "Parameter '%s%zu' missing", path, i);
            return NULL;
        }
        qlist_append(list, qobject_ref(value));
    }
    return QOBJECT(g_steal_pointer(&list));
}

/* One item without `=`; false and @errp if there may be none here. */
static bool bare_item(QDict *dict, const char *item, const char *implied_key, bool *ret_help,
                      Error **errp)
{
    if (ret_help && (strcmp(item, "help") == 0 || strcmp(item, "?") == 0)) {
        *ret_help = true;
        return true;
    }
    if (implied_key) {
        return put_dotted(dict, implied_key, item, errp);
    }
    if (item[0] == '\0') {
        error_setg(errp, "Expected parameter before ','");
    } else {
        error_setg(errp, "Expected '=' after parameter '%s'", item);
    }
    return false;
}

/* @dict with lists where its keys are indexes. */
static QDict *finish(QDict *dict, Error **errp)
{
    g_autoptr(QObject) made = listify(dict, "", errp);

    if (made && !qobject_to_qdict(made)) {
        error_setg(errp, "Parameters must not be a list");
        return NULL;
    }
    return made ? (QDict *)g_steal_pointer(&made) : NULL;
}

QDict *keyval_parse(const char *params, const char *implied_key, bool *ret_help, Error **errp)
{
    g_autoptr(QDict) dict = qdict_new();
    const char *implied = implied_key;

    while (*params) {
        g_autofree char *key = NULL, *value = NULL;

        keyval_next_item(&params, &key, &value);
        if (key ? !put_dotted(dict, key, value, errp)
                : !bare_item(dict, value, implied, ret_help, errp)) {
            return NULL;
        }
        implied = NULL;
    }
    return finish(dict, errp);
}

static bool flatten(QDict *out, const char *path, QObject *value, Error **errp);

static bool flatten_members(QDict *out, const char *path, QObject *value, Error **errp)
{
    QDict *dict = qobject_to_qdict(value);
    QList *list = qobject_to_qlist(value);
    const char *key;
    QObject *member;

    for (size_t i = 0; dict && qdict_member(dict, i, &key, &member); i++) {
        g_autofree char *name = g_strdup_printf("%s%s%s", path, *path ? "." : "", key);
        if (!flatten(out, name, member, errp)) {
            return false;
        }
    }
    for (size_t i = 0; list && i < qlist_size(list); i++) {
        g_autofree char *name = g_strdup_printf("%s.%zu", path, i);
        if (!flatten(out, name, qlist_get(list, i), errp)) {
            return false;
        }
    }
    return true;
}

/* Puts @value, and what is in it, into @out under names with dots.  The path's length bounds the
 * depth. */
static bool flatten(QDict *out, const char *path, QObject *value, Error **errp)
{
    bool flag;

    switch (qobject_type(value)) {
    case QTYPE_QDICT:
    case QTYPE_QLIST:
        return flatten_members(out, path, value, errp);
    case QTYPE_QBOOL:
        qobject_get_bool(value, &flag);
        return put_dotted(out, path, flag ? "on" : "off", errp);
    case QTYPE_QNUM: {
        g_autofree char *text = qnum_to_string(value);
        return put_dotted(out, path, text, errp);
    }
    default:                        /* strings; null stays what it is */
        return put_dotted_obj(out, path, value, errp);
    }
}

QDict *keyval_from_json(const QDict *json, Error **errp)
{
    g_autoptr(QDict) dict = qdict_new();

    return flatten_members(dict, "", (QObject *)json, errp) ? finish(dict, errp) : NULL;
}

QDict *keyval_parse_or_json(const char *params, const char *implied_key, bool *ret_is_json,
                            Error **errp)
{
    QObject *obj;

    *ret_is_json = params[0] == '{';
    if (!*ret_is_json) {
        return keyval_parse(params, implied_key, NULL, errp);
    }
    obj = json_parse_str(params, errp);
    /* It begins with a brace: what is valid is an object. */
    return obj ? qobject_to_qdict(obj) : NULL;
}
