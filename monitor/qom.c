/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qom-...: what there is, as a tree of objects with properties.
 *
 * The root has two folders: /objects with what object-add has made, /chardevs with the channels;
 * and what the program adds (monitor/qom.h).  Nodes and exports are not in it: commands of their
 * own tell of them.
 */
#include "qemu/osdep.h"

#include "block/objects.h"
#include "monitor-internal.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-format.h"
#include "qom-internal.h"

/* An object of the tree. */
typedef struct Place {
    const char *path;           /* without the first slash; "": the root */
    UserObject *object;         /* one of these if it is no folder */
    MonitorChardev *chr;
    const QomObject *program;
} Place;

static char *main_fn type_of(const Place *p)
{
    return p->object ? g_strdup(ObjectType_str(p->object->type)) :
           p->chr    ? g_strconcat("chardev-", ChardevBackendKind_str(p->chr->kind), NULL) :
           p->program ? g_strdup(p->program->type)
                     : g_strdup("container");
}

/* ---- paths ---- */

typedef bool PlaceFn(const Place *p, void *opaque);

typedef struct ProgramWalk {
    PlaceFn *fn;
    void *opaque;
} ProgramWalk;

static bool program_object(const QomObject *o, void *opaque)
{
    ProgramWalk *w = opaque;

    return w->fn(&(Place){ .path = o->path, .program = o }, w->opaque);
}

static bool main_fn walk_objects(PlaceFn *fn, void *opaque)
{
    UserObject *o;

    for (guint i = 0; (o = blockdev_object_at(i)); i++) {
        g_autofree char *path = g_strconcat("objects/", o->id, NULL);

        if (fn(&(Place){ .path = path, .object = o }, opaque)) {
            return true;
        }
    }
    return false;
}

static bool main_fn walk_chardevs(PlaceFn *fn, void *opaque)
{
    for (GList *l = monitor_chardevs(); l; l = l->next) {
        MonitorChardev *chr = l->data;
        g_autofree char *path = g_strconcat("chardevs/", chr->id, NULL);

        if (fn(&(Place){ .path = path, .chr = chr }, opaque)) {
            return true;
        }
    }
    return false;
}

/* Calls @fn for everything that is in the tree, until it returns true. */
static bool main_fn walk(PlaceFn *fn, void *opaque)
{
    ProgramWalk w = { fn, opaque };

    return fn(&(Place){ .path = "" }, opaque) || fn(&(Place){ .path = "objects" }, opaque) ||
           fn(&(Place){ .path = "chardevs" }, opaque) || walk_objects(fn, opaque) ||
           walk_chardevs(fn, opaque) || (qom_tree && qom_tree->each(program_object, &w));
}

/* The place in the tree that a client means, for as long as @fn runs. */
typedef struct Search {
    const char *path;           /* without slashes that say nothing */
    bool absolute;
    unsigned matches;
    char *found;                /* path of the last match */
} Search;

/* Are the last parts of where @p is those that are sought; with an absolute path, all of them? */
static bool matches(const Place *p, void *opaque)
{
    Search *s = opaque;
    size_t here = strlen(p->path), sought = strlen(s->path);

    if (here < sought || strcmp(p->path + here - sought, s->path) != 0 ||
        (here > sought && (s->absolute || (sought && p->path[here - sought - 1] != '/')))) {
        return false;
    }
    g_free(s->found);
    s->found = g_strdup(p->path);
    s->matches++;
    return false;
}

/* The path without its first slash, in full; NULL with @errp. */
static char *main_fn resolve(const char *path, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(path, "/", -1);
    g_autoptr(GPtrArray) parts = g_ptr_array_new();
    g_autofree char *plain = NULL;
    Search s = { .absolute = path[0] == '/' };

    for (char **w = words; *w; w++) {
        if (**w) {
            g_ptr_array_add(parts, *w);
        }
    }
    g_ptr_array_add(parts, NULL);
    s.path = plain = g_strjoinv("/", (char **)parts->pdata);
    walk(matches, &s);
    if (s.matches == 1) {
        return s.found;
    }
    if (s.matches == 0) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", path);
    } else {
        error_setg(errp, "Path '%s' is ambiguous", path);
    }
    g_free(s.found);
    return NULL;
}

/* The name of @p if it is in the folder or object at @parent, else NULL. */
static const char *child_name(const char *parent, const Place *p)
{
    size_t length = strlen(parent);
    const char *rest = p->path + length + (length ? 1 : 0);

    return *p->path && g_str_has_prefix(p->path, parent) &&
           (!length || p->path[length] == '/') && !strchr(rest, '/') ? rest : NULL;
}

/* ---- commands ---- */

typedef struct Listing {
    const char *path;           /* of the object that is told of */
    ObjectPropertyInfoList **tail;
} Listing;

static void main_fn append_program_properties(Listing *l, const QomObject *o)
{
    g_auto(GStrv) pieces = qom_tree->properties(o->type);

    for (char **p = pieces; p && *p; p++) {
        size_t length = strcspn(*p, "=");
        g_autofree char *name = g_strndup(*p, length);
        g_autoptr(QObject) value = qom_tree->get(o, name);

        if (value) {
            qom_append(&l->tail, name, g_strndup(*p + length + 2, strlen(*p) - length - 3));
        }
    }
}

/* What there is of the object itself, before what is in it: it comes first in the tree. */
static bool append_to_listing(const Place *p, void *opaque)
{
    Listing *l = opaque;
    const char *name = child_name(l->path, p);
    g_autofree char *type = NULL;

    context_assert_main();
    type = type_of(p);
    if (strcmp(p->path, l->path) == 0) {
        qom_append_properties(&l->tail, type);
        if (p->program) {
            append_program_properties(l, p->program);
        }
    } else if (name) {
        qom_append(&l->tail, name, g_strdup_printf("child<%s>", type));
    }
    return false;
}

bool qmp_qom_list(const QmpQomListArgs *args, ObjectPropertyInfoList **ret, Error **errp)
{
    ObjectPropertyInfoList *list = NULL;
    g_autofree char *path = resolve(args->path, errp);
    Listing l = { .path = path, .tail = &list };

    if (!path) {
        return false;
    }
    walk(append_to_listing, &l);
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

typedef struct Getting {
    const char *path, *name;    /* of the object, of the property */
    QObject *value;             /* NULL: there is none of that name */
    char *type;                 /* of the object */
    UserObject *object;         /* if it is one */
} Getting;

static QObject *main_fn get_own(const Place *p, const char *name, const char *type)
{
    return strcmp(name, "type") == 0 ? qstring_new(type) :
           p->object    ? object_get_property(p->object, name) :
           p->chr       ? get_chardev(p->chr, name) :
           p->program   ? qom_tree->get(p->program, name) : NULL;
}

static bool get_step(const Place *p, void *opaque)
{
    Getting *g = opaque;
    const char *child = child_name(g->path, p);

    context_assert_main();
    if (strcmp(p->path, g->path) == 0) {
        g->type = type_of(p);
        g->object = p->object;
        g->value = get_own(p, g->name, g->type);
    } else if (child && !g->value && strcmp(child, g->name) == 0) {
        g_autofree char *path = g_strconcat("/", p->path, NULL);
        g->value = qstring_new(path);
    }
    return false;
}

/* False: there is no such object, or no such property of it. */
static bool main_fn get(const char *any_path, const char *name, Getting *g, Error **errp)
{
    g_autofree char *path = resolve(any_path, errp);

    *g = (Getting){ .path = path, .name = name };
    if (!path) {
        return false;
    }
    walk(get_step, g);
    if (!g->value) {
        error_setg(errp, "Property '%s.%s' not found", g->type, name);
        g_clear_pointer(&g->type, g_free);
    }
    return g->value != NULL;
}

bool qmp_qom_get(const QmpQomGetArgs *args, QObject **ret, Error **errp)
{
    Getting g;

    if (!get(args->path, args->property, &g, errp)) {
        return false;
    }
    *ret = g.value;
    g_free(g.type);
    return true;
}

bool qmp_qom_set(const QmpQomSetArgs *args, Error **errp)
{
    Getting g;
    bool ok = false;

    if (!get(args->path, args->property, &g, errp)) {
        return false;
    }
    if (g.object) {
        ok = object_set_property(g.object, args->property, args->value, errp);
    } else {
        error_setg(errp, "Property '%s.%s' is not writable", g.type, args->property);
    }
    qobject_unref(g.value);
    g_free(g.type);
    return ok;
}
