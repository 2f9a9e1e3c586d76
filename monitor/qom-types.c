/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qom-list-types, qom-list-properties: the types of objects. */
#include "qemu/osdep.h"

#include "block/objects.h"
#include "qapi/qapi-commands.h"
#include "qom-internal.h"

static const QomType own_types[] = {
    { "object", NULL, true, false },
    { "interface", NULL, true, false },
    { "user-creatable", "interface", true, false },
    { "container", "object", false, false },
    { "event-loop-base", "object", true, false },
    { "iothread", "event-loop-base", false, true },
    { "secret_common", "object", true, false },
    { "secret", "secret_common", false, true },
    { "throttle-group", "object", false, true },
    { "chardev", "object", true, false },
    { "chardev-fd", "chardev", true, false },
    { "chardev-file", "chardev-fd", false, false },
    { "chardev-pipe", "chardev-fd", false, false },
    { "chardev-stdio", "chardev-fd", false, false },
    { "chardev-socket", "chardev", false, false },
    { "chardev-pty", "chardev", false, false },
    { "chardev-null", "chardev", false, false },
    { "chardev-ringbuf", "chardev", false, false },
    { "chardev-memory", "chardev-ringbuf", false, false },
};

static GArray *more_types;          /* of QomType, NULL: none */
const QomTree *qom_tree;

void any_fn monitor_add_qom_type(const QomType *type)
{
    if (!more_types) {
        more_types = g_array_new(false, false, sizeof(QomType));
    }
    g_array_append_val(more_types, *type);
}

void any_fn monitor_set_qom_tree(const QomTree *tree)
{
    qom_tree = tree;
}

/* Number @i; NULL: there are no more. */
static const QomType *type_at(guint i)
{
    guint n = G_N_ELEMENTS(own_types);

    return i < n                                    ? &own_types[i] :
           more_types && i - n < more_types->len    ? &g_array_index(more_types, QomType, i - n)
                                                    : NULL;
}

static const QomType *find_type(const char *name)
{
    const QomType *t;

    for (guint i = 0; (t = type_at(i)); i++) {
        if (strcmp(t->name, name) == 0) {
            return t;
        }
    }
    return NULL;
}

/* Is it, or does it descend from, @ancestor? */
static bool is_a(const QomType *type, const char *ancestor)
{
    if (type->user_creatable &&
        (strcmp(ancestor, "user-creatable") == 0 || strcmp(ancestor, "interface") == 0)) {
        return true;
    }
    while (strcmp(type->name, ancestor) != 0) {
        if (!type->parent) {
            return false;
        }
        type = find_type(type->parent);
    }
    return true;
}

bool qmp_qom_list_types(const QmpQomListTypesArgs *args, ObjectTypeInfoList **ret, Error **errp)
{
    ObjectTypeInfoList *list = NULL, **tail = &list;
    const QomType *t;

    for (guint i = 0; (t = type_at(i)); i++) {
        ObjectTypeInfo *info;

        if ((t->abstract && !(args->has_abstract && args->abstract)) ||
            (args->implements && !is_a(t, args->implements))) {
            continue;
        }
        info = g_new0(ObjectTypeInfo, 1);
        info->name = g_strdup(t->name);
        info->parent = g_strdup(t->parent);
        info->has_abstract = info->abstract = t->abstract;
        ObjectTypeInfoList_append(&tail, info);
    }
    *ret = list;
    return true;
}

/* ---- properties ---- */

static const ObjectProperty plain_properties[] = { { "type", "string" }, { NULL } };
static const ObjectProperty socket_properties[] = {
    { "type", "string" }, { "connected", "bool" }, { "addr", "SocketAddress" }, { NULL },
};

static const ObjectProperty *properties_of_type(const char *type)
{
    for (int i = 0; i < OBJECT_TYPE__MAX; i++) {
        if (strcmp(ObjectType_str(i), type) == 0) {
            return object_properties(i);
        }
    }
    return strcmp(type, "chardev-socket") == 0 ? socket_properties : plain_properties;
}

void any_fn qom_append(ObjectPropertyInfoList ***tail, const char *name, char *takes_type)
{
    ObjectPropertyInfo *info = g_new0(ObjectPropertyInfo, 1);

    info->name = g_strdup(name);
    info->type = takes_type;
    ObjectPropertyInfoList_append(tail, info);
}

void any_fn qom_append_properties(ObjectPropertyInfoList ***tail, const char *type)
{
    for (const ObjectProperty *p = properties_of_type(type); p->name; p++) {
        qom_append(tail, p->name, g_strdup(p->type));
    }
}

/* "name=<type>" */
static void append_piece(ObjectPropertyInfoList ***tail, const char *piece)
{
    size_t length = strcspn(piece, "=");
    g_autofree char *name = g_strndup(piece, length);

    qom_append(tail, name, g_strndup(piece + length + 2, strlen(piece) - length - 3));
}

bool qmp_qom_list_properties(const QmpQomListPropertiesArgs *args, ObjectPropertyInfoList **ret,
                             Error **errp)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;
    const QomType *type = find_type(args->typename);
    g_auto(GStrv) pieces = NULL;

    if (!type) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Class '%s' not found",
                        args->typename);
        return false;
    }
    if (!is_a(type, "object")) {
        error_setg(errp, "Parameter 'typename' expects a QOM type");
        return false;
    }
    qom_append_properties(&tail, args->typename);
    pieces = qom_tree ? qom_tree->properties(args->typename) : NULL;
    for (char **p = pieces; p && *p; p++) {
        append_piece(&tail, *p);
    }
    *ret = list;
    return true;
}
