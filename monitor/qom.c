/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qom-...: what there is, as a tree of objects with properties.
 *
 * The root has two folders: /objects with what object-add has made, /chardevs with the channels.
 * Nodes and exports are not in it: commands of their own tell of them.
 */
#include "qemu/osdep.h"

#include "block/objects.h"
#include "monitor-internal.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-format.h"

/* An object of the tree. */
typedef struct Place {
    const char *folder;         /* "objects" or "chardevs"; NULL: the root */
    const char *id;             /* NULL: the folder itself */
    UserObject *object;         /* one of these if it is no folder */
    MonitorChardev *chr;
} Place;

static const char *const folders[] = { "objects", "chardevs" };

/* ---- types ---- */

static const struct {
    const char *name, *parent;
    bool abstract, user_creatable;
} types[] = {
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

static int find_type(const char *name)
{
    for (int i = 0; i < (int)G_N_ELEMENTS(types); i++) {
        if (strcmp(types[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* Is it, or does it descend from, @ancestor? */
static bool is_a(int type, const char *ancestor)
{
    if (types[type].user_creatable &&
        (strcmp(ancestor, "user-creatable") == 0 || strcmp(ancestor, "interface") == 0)) {
        return true;
    }
    while (strcmp(types[type].name, ancestor) != 0) {
        if (!types[type].parent) {
            return false;
        }
        type = find_type(types[type].parent);
    }
    return true;
}

bool qmp_qom_list_types(const QmpQomListTypesArgs *args, ObjectTypeInfoList **ret, Error **errp)
{
    ObjectTypeInfoList *list = NULL, **tail = &list;

    for (int i = 0; i < (int)G_N_ELEMENTS(types); i++) {
        ObjectTypeInfo *info;

        if ((types[i].abstract && !(args->has_abstract && args->abstract)) ||
            (args->implements && !is_a(i, args->implements))) {
            continue;
        }
        info = g_new0(ObjectTypeInfo, 1);
        info->name = g_strdup(types[i].name);
        info->parent = g_strdup(types[i].parent);
        info->has_abstract = info->abstract = types[i].abstract;
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

static char *main_fn type_of(const Place *p)
{
    return p->object ? g_strdup(ObjectType_str(p->object->type)) :
           p->chr    ? g_strconcat("chardev-", ChardevBackendKind_str(p->chr->kind), NULL)
                     : g_strdup("container");
}

static void append(ObjectPropertyInfoList ***tail, const char *name, char *takes_type)
{
    ObjectPropertyInfo *info = g_new0(ObjectPropertyInfo, 1);

    info->name = g_strdup(name);
    info->type = takes_type;
    ObjectPropertyInfoList_append(tail, info);
}

static void append_properties(ObjectPropertyInfoList ***tail, const char *type)
{
    for (const ObjectProperty *p = properties_of_type(type); p->name; p++) {
        append(tail, p->name, g_strdup(p->type));
    }
}

bool qmp_qom_list_properties(const QmpQomListPropertiesArgs *args, ObjectPropertyInfoList **ret,
                             Error **errp)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;
    int type = find_type(args->typename);

    if (type < 0) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Class '%s' not found",
                        args->typename);
        return false;
    }
    if (!is_a(type, "object")) {
        error_setg(errp, "Parameter 'typename' expects a QOM type");
        return false;
    }
    append_properties(&tail, args->typename);
    *ret = list;
    return true;
}

/* ---- paths ---- */

/* Calls @fn for everything that is in the tree, until it returns true. */
static bool main_fn walk(bool (*fn)(const Place *p, void *opaque), void *opaque)
{
    UserObject *o;

    if (fn(&(Place){ .folder = NULL }, opaque)) {
        return true;
    }
    for (size_t f = 0; f < G_N_ELEMENTS(folders); f++) {
        if (fn(&(Place){ .folder = folders[f] }, opaque)) {
            return true;
        }
    }
    for (guint i = 0; (o = blockdev_object_at(i)); i++) {
        if (fn(&(Place){ .folder = "objects", .id = o->id, .object = o }, opaque)) {
            return true;
        }
    }
    for (GList *l = monitor_chardevs(); l; l = l->next) {
        MonitorChardev *chr = l->data;

        if (fn(&(Place){ .folder = "chardevs", .id = chr->id, .chr = chr }, opaque)) {
            return true;
        }
    }
    return false;
}

typedef struct Search {
    char **parts;               /* of the path, without those that are empty */
    guint n;
    bool absolute;
    Place found;
    guint matches;
} Search;

/* Are the last parts of where @p is those that are sought; with an absolute path, all of them? */
static bool matches(const Place *p, void *opaque)
{
    Search *s = opaque;
    const char *here[2] = { p->folder, p->id };
    guint depth = !p->folder ? 0 : p->id ? 2 : 1;

    if (s->n > depth || (s->absolute && s->n != depth)) {
        return false;
    }
    for (guint i = 0; i < s->n; i++) {
        if (strcmp(s->parts[i], here[depth - s->n + i]) != 0) {
            return false;
        }
    }
    s->found = *p;
    s->matches++;
    return false;
}

static bool main_fn resolve(const char *path, Place *ret, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(path, "/", -1);
    g_autoptr(GPtrArray) parts = g_ptr_array_new();
    Search s = { .absolute = path[0] == '/' };

    for (char **w = words; *w; w++) {
        if (**w) {
            g_ptr_array_add(parts, *w);
        }
    }
    s.parts = (char **)parts->pdata;
    s.n = parts->len;
    walk(matches, &s);
    if (s.matches == 0) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", path);
    } else if (s.matches > 1) {
        error_setg(errp, "Path '%s' is ambiguous", path);
    }
    *ret = s.found;
    return s.matches == 1;
}

/* ---- commands ---- */

typedef struct Listing {
    const Place *parent;
    ObjectPropertyInfoList **tail;
} Listing;

static bool main_fn is_child(const Place *parent, const Place *p)
{
    return !parent->folder ? p->folder && !p->id
                           : p->id && !parent->id && strcmp(p->folder, parent->folder) == 0;
}

static bool append_child(const Place *p, void *opaque)
{
    Listing *l = opaque;

    context_assert_main();
    if (is_child(l->parent, p)) {
        g_autofree char *type = type_of(p);

        append(&l->tail, p->id ?: p->folder, g_strdup_printf("child<%s>", type));
    }
    return false;
}

bool qmp_qom_list(const QmpQomListArgs *args, ObjectPropertyInfoList **ret, Error **errp)
{
    ObjectPropertyInfoList *list = NULL;
    Place place;
    Listing l = { .parent = &place, .tail = &list };
    g_autofree char *type = NULL;

    if (!resolve(args->path, &place, errp)) {
        return false;
    }
    type = type_of(&place);
    append_properties(&l.tail, type);
    walk(append_child, &l);
    *ret = list;
    return true;
}

static QObject *main_fn get_chardev(const MonitorChardev *chr, const char *name)
{
    if (chr->kind != CHARDEV_BACKEND_KIND_SOCKET) {
        return NULL;
    }
    if (strcmp(name, "connected") == 0) {
        return qbool_new(chr->clients.length > 0 || chr->fd >= 0);
    }
    return strcmp(name, "addr") == 0 ? monitor_chardev_address(chr) : NULL;
}

typedef struct ChildSearch {
    const Place *parent;
    const char *name;
    char *path;
} ChildSearch;

static bool note_path(const Place *p, void *opaque)
{
    ChildSearch *s = opaque;

    context_assert_main();
    if (!is_child(s->parent, p) || strcmp(p->id ?: p->folder, s->name) != 0) {
        return false;
    }
    s->path = p->id ? g_strdup_printf("/%s/%s", p->folder, p->id)
                    : g_strdup_printf("/%s", p->folder);
    return true;
}

/* NULL: there is none called @name. */
static QObject *main_fn get(const Place *place, const char *name)
{
    ChildSearch s = { place, name, NULL };
    QObject *value = NULL;

    if (strcmp(name, "type") == 0) {
        g_autofree char *type = type_of(place);
        return qstring_new(type);
    }
    if (place->object) {
        return object_get_property(place->object, name);
    }
    if (place->chr) {
        return get_chardev(place->chr, name);
    }
    if (walk(note_path, &s)) {
        value = qstring_new(s.path);
        g_free(s.path);
    }
    return value;
}

static void main_fn no_such_property(const Place *place, const char *name, Error **errp)
{
    g_autofree char *type = type_of(place);

    error_setg(errp, "Property '%s.%s' not found", type, name);
}

bool qmp_qom_get(const QmpQomGetArgs *args, QObject **ret, Error **errp)
{
    Place place;

    if (!resolve(args->path, &place, errp)) {
        return false;
    }
    *ret = get(&place, args->property);
    if (!*ret) {
        no_such_property(&place, args->property, errp);
    }
    return *ret != NULL;
}

bool qmp_qom_set(const QmpQomSetArgs *args, Error **errp)
{
    g_autoptr(QObject) old = NULL;
    g_autofree char *type = NULL;
    Place place;

    if (!resolve(args->path, &place, errp)) {
        return false;
    }
    old = get(&place, args->property);
    if (!old) {
        no_such_property(&place, args->property, errp);
        return false;
    }
    if (place.object) {
        return object_set_property(place.object, args->property, args->value, errp);
    }
    type = type_of(&place);
    error_setg(errp, "Property '%s.%s' is not writable", type, args->property);
    return false;
}
