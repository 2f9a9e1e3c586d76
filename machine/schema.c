/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two schemas as one.  Names of types in a schema are nobody's but its own, "123" mostly, so those
 * of the machine get a prefix; built-in types have their own names in both and are kept once.
 */
#include "qemu/osdep.h"

#include "machine/routes.h"

#define PREFIX "m"

typedef struct Merge {
    GHashTable *by_name;            /* the machine's: name to its QDict, borrowed */
    GHashTable *wanted;             /* names of its types that are reached */
    GQueue to_visit;                /* of QDict, of these */
} Merge;

static const char *meta_type(const QDict *entity)
{
    return qdict_get_str(entity, "meta-type") ?: "";
}

static bool is_kind(const QDict *entity, const char *kind)
{
    return strcmp(meta_type(entity), kind) == 0;
}

/* Has everybody the same name for it? */
static bool is_public(const QDict *entity)
{
    return is_kind(entity, "command") || is_kind(entity, "event") || is_kind(entity, "builtin");
}

/* A way into the machine's schema: what it does is described by it. */
static bool is_root(const QDict *entity)
{
    const char *name = qdict_get_str(entity, "name");

    return (is_kind(entity, "command") && machine_route(name) != MACHINE_ROUTE_OURS) ||
           (is_kind(entity, "event") && machine_event_is_forwarded(name));
}

static void want(Merge *m, const char *type)
{
    QDict *entity = type ? g_hash_table_lookup(m->by_name, type) : NULL;

    if (entity && g_hash_table_add(m->wanted, (char *)type)) {
        g_queue_push_tail(&m->to_visit, entity);
    }
}

/* ---- where the name of a type can stand ---- */

static const char *const type_keys[] = { "arg-type", "ret-type", "element-type" };

static bool is_type_list(const char *key)
{
    return strcmp(key, "members") == 0 || strcmp(key, "variants") == 0;
}

static bool is_type_key(const char *key)
{
    for (size_t i = 0; i < G_N_ELEMENTS(type_keys); i++) {
        if (strcmp(key, type_keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void visit(Merge *m, const QDict *entity)
{
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(entity, i, &key, &value); i++) {
        QList *list = is_type_list(key) ? qobject_to_qlist(value) : NULL;

        if (is_type_key(key)) {
            want(m, qobject_get_str(value));
        }
        for (size_t n = 0; list && n < qlist_size(list); n++) {
            QDict *member = qobject_to_qdict(qlist_get(list, n));
            want(m, member ? qdict_get_str(member, "type") : NULL);
        }
    }
}

/* ---- new names ---- */

/* The machine's type @name as it is called in the whole. */
static QObject *renamed(const Merge *m, QObject *name)
{
    const char *text = qobject_get_str(name);
    QDict *entity = text ? g_hash_table_lookup(m->by_name, text) : NULL;

    if (!entity || is_public(entity)) {
        return qobject_ref(name);
    }
    g_autofree char *new_name = g_strconcat(PREFIX, text, NULL);
    return qstring_new(new_name);
}

/* "[123]" is a name too: only a hint for readers, and unique as it stands. */
static QList *renamed_members(const Merge *m, const QList *members)
{
    QList *ret = qlist_new();

    for (size_t i = 0; i < qlist_size(members); i++) {
        QDict *member = qobject_to_qdict(qlist_get(members, i)), *copy;

        if (!member || !qdict_has(member, "type")) {
            qlist_append(ret, qobject_ref(qlist_get(members, i)));
            continue;
        }
        copy = qdict_copy_shallow(member);
        qdict_put(copy, "type", renamed(m, qdict_get(member, "type")));
        qlist_append(ret, QOBJECT(copy));
    }
    return ret;
}

static QDict *renamed_entity(const Merge *m, const QDict *entity)
{
    QDict *copy = qdict_copy_shallow(entity);
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(entity, i, &key, &value); i++) {
        QList *list = is_type_list(key) ? qobject_to_qlist(value) : NULL;

        if (is_type_key(key) || (strcmp(key, "name") == 0 && !is_public(entity))) {
            qdict_put(copy, key, renamed(m, value));
        } else if (list) {
            qdict_put(copy, key, QOBJECT(renamed_members(m, list)));
        }
    }
    return copy;
}

/* ---- all of it ---- */

static bool take_machines(Merge *m, const QList *machines, Error **errp)
{
    for (size_t i = 0; i < qlist_size(machines); i++) {
        QDict *entity = qobject_to_qdict(qlist_get(machines, i));
        const char *name = entity ? qdict_get_str(entity, "name") : NULL;

        if (!name) {
            error_setg(errp, "The machine's schema has an entry without a name");
            return false;
        }
        g_hash_table_insert(m->by_name, (char *)name, entity);
    }
    return true;
}

QList *any_fn machine_merge_schema(const QList *ours, const QList *machines, Error **errp)
{
    g_autoptr(GHashTable) by_name = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) wanted = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) builtins = g_hash_table_new(g_str_hash, g_str_equal);
    Merge m = { by_name, wanted, G_QUEUE_INIT };
    QList *ret;
    QDict *entity;

    if (!take_machines(&m, machines, errp)) {
        return NULL;
    }
    ret = qlist_new();
    for (size_t i = 0; i < qlist_size(ours); i++) {
        entity = qobject_to_qdict(qlist_get(ours, i));
        const char *name = qdict_get_str(entity, "name");
        QDict *its = is_public(entity) ? g_hash_table_lookup(by_name, name) : NULL;
        if (is_kind(entity, "builtin")) {
            g_hash_table_add(builtins, (char *)name);
        }
        if (!its || !is_root(its)) {
            qlist_append(ret, qobject_ref(QOBJECT(entity)));
        }
    }
    for (size_t i = 0; i < qlist_size(machines); i++) {
        entity = qobject_to_qdict(qlist_get(machines, i));
        if (is_root(entity)) {
            qlist_append(ret, QOBJECT(renamed_entity(&m, entity)));
            visit(&m, entity);
        }
    }
    while ((entity = g_queue_pop_head(&m.to_visit))) {
        if (!g_hash_table_contains(builtins, qdict_get_str(entity, "name"))) {
            qlist_append(ret, QOBJECT(renamed_entity(&m, entity)));
        }
        visit(&m, entity);
    }
    return ret;
}

QList *any_fn machine_merge_commands(const QList *ours, const QList *machines)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    QList *ret = qlist_new();

    for (size_t i = 0; i < qlist_size(ours); i++) {
        QDict *command = qobject_to_qdict(qlist_get(ours, i));
        g_hash_table_add(names, (char *)qdict_get_str(command, "name"));
        qlist_append(ret, qobject_ref(QOBJECT(command)));
    }
    for (size_t i = 0; i < qlist_size(machines); i++) {
        QDict *command = qobject_to_qdict(qlist_get(machines, i));
        const char *name = command ? qdict_get_str(command, "name") : NULL;
        if (name && machine_route(name) != MACHINE_ROUTE_OURS &&
            !g_hash_table_contains(names, name)) {
            qlist_append(ret, qobject_ref(QOBJECT(command)));
        }
    }
    return ret;
}
