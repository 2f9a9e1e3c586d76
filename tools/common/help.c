/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `help` as the argument of an option: what can be given, taken from the schema. */
#include "qemu/osdep.h"

#include "monitor/monitor.h"
#include "qapi/command.h"
#include "qobject/json.h"
#include "tools/common/options.h"

/* ---- the schema, as query-qmp-schema tells it ---- */

static QDict *find_info(QList *schema, const char *name)
{
    for (size_t i = 0; i < qlist_size(schema); i++) {
        QDict *info = qobject_to_qdict(qlist_get(schema, i));
        if (strcmp(qdict_get_str(info, "name"), name) == 0) {
            return info;
        }
    }
    g_assert_not_reached();         /* all names are of one schema */
}

static QList *get_list(const QDict *dict, const char *key)
{
    return qobject_to_qlist(qdict_get(dict, key));
}

/* The type of the arguments of @command, an object with variants. */
static QDict *arguments_of(QList *schema, const char *command)
{
    return find_info(schema, qdict_get_str(find_info(schema, command), "arg-type"));
}

static QDict *element(QList *list, size_t i)
{
    return qobject_to_qdict(qlist_get(list, i));
}

/* The type of the member @name of the object @type. */
static QDict *type_of_member(QList *schema, const QDict *type, const char *name)
{
    QList *members = get_list(type, "members");

    for (size_t i = 0; i < qlist_size(members); i++) {
        if (strcmp(qdict_get_str(element(members, i), "name"), name) == 0) {
            return find_info(schema, qdict_get_str(element(members, i), "type"));
        }
    }
    g_assert_not_reached();
}

/* ---- printing ---- */

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Takes the lines. */
static void print_sorted(const char *title, GPtrArray *lines)
{
    g_ptr_array_sort(lines, compare_lines);
    puts(title);
    for (guint i = 0; i < lines->len; i++) {
        printf("  %s\n", (char *)lines->pdata[i]);
    }
    g_ptr_array_unref(lines);
}

/* The values of the member of the arguments of @command that says which variant they are. */
static void print_kinds(QList *schema, const char *command, const char *title)
{
    QDict *type = arguments_of(schema, command);
    QList *values = get_list(type_of_member(schema, type, qdict_get_str(type, "tag")), "values");
    GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < qlist_size(values); i++) {
        g_ptr_array_add(lines, g_strdup(qobject_get_str(qlist_get(values, i))));
    }
    print_sorted(title, lines);
}

/* What a value of @type looks like on the command line. */
static char *describe_type(const QDict *type)
{
    const char *json_type = qdict_get_str(type, "json-type");
    GString *s;

    if (json_type) {
        return g_strdup(strcmp(json_type, "boolean") == 0 ? "bool" : json_type);
    }
    QList *values = get_list(type, "values");
    if (!values) {
        return g_strdup(qdict_get_str(type, "meta-type"));
    }
    s = g_string_new(NULL);
    for (size_t i = 0; i < qlist_size(values); i++) {
        g_string_append_printf(s, "%s%s", i ? "|" : "", qobject_get_str(qlist_get(values, i)));
    }
    return g_string_free(s, FALSE);
}

/* The further members of a variant of object-add; false: there is none called @kind. */
static bool print_properties(QList *schema, const char *kind)
{
    QList *variants = get_list(arguments_of(schema, "object-add"), "variants");
    g_autofree char *title = g_strdup_printf("%s options:", kind);

    for (size_t i = 0; i < qlist_size(variants); i++) {
        if (strcmp(qdict_get_str(element(variants, i), "case"), kind) != 0) {
            continue;
        }
        QDict *type = find_info(schema, qdict_get_str(element(variants, i), "type"));
        QList *members = get_list(type, "members");
        GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);
        for (size_t m = 0; m < qlist_size(members); m++) {
            const QDict *member = element(members, m);
            const char *type_name = qdict_get_str(member, "type");
            g_autofree char *text = describe_type(find_info(schema, type_name));
            g_ptr_array_add(lines, g_strdup_printf("%s=<%s>", qdict_get_str(member, "name"),
                                                   text));
        }
        print_sorted(title, lines);
        return true;
    }
    return false;
}

static void print_names(const char *title, const char *const *names)
{
    GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);

    for (; *names; names++) {
        g_ptr_array_add(lines, g_strdup(*names));
    }
    print_sorted(title, lines);
}

/* ---- which help is wanted ---- */

/* `KIND,help`: the kind, or NULL. */
static char *kind_of_help(const char *value)
{
    const char *comma = strchr(value, ',');

    return comma && strcmp(comma + 1, "help") == 0 ? g_strndup(value, comma - value) : NULL;
}

/* Is @value `KEY=help`, or, if that is wanted, `help` alone? */
static bool asks_for_kinds(const char *value, const char *key, bool alone)
{
    size_t len = strlen(key);

    return (alone && strcmp(value, "help") == 0) ||
           (strncmp(value, key, len) == 0 && strcmp(value + len, "=help") == 0);
}

static bool help_object(const char *value, QList *schema)
{
    g_autofree char *kind = kind_of_help(value);

    if (asks_for_kinds(value, "qom-type", true)) {
        print_kinds(schema, "object-add", "List of user creatable objects:");
        return true;
    }
    return kind && print_properties(schema, kind);
}

static bool help_chardev(const char *value, QList *schema)
{
    g_autofree char *kind = kind_of_help(value);
    const char *const *keys = kind ? monitor_chardev_keys(kind) : NULL;

    if (asks_for_kinds(value, "backend", true)) {
        print_names("Available chardev backend types:", monitor_chardev_backends());
        return true;
    }
    if (keys) {
        g_autofree char *title = g_strdup_printf("%s options:", kind);
        print_names(title, keys);
    }
    return keys != NULL;
}

static bool help_blockdev(const char *value, QList *schema)
{
    bool wanted = asks_for_kinds(value, "driver", false);

    if (wanted) {
        print_kinds(schema, "blockdev-add", "Drivers:");
    }
    return wanted;
}

static bool help_export(const char *value, QList *schema)
{
    bool wanted = asks_for_kinds(value, "type", false);

    if (wanted) {
        print_kinds(schema, "block-export-add", "Types of exports:");
    }
    return wanted;
}

static const struct {
    const char *option;
    bool (*help)(const char *value, QList *schema);
} helps[] = {
    { "object", help_object }, { "chardev", help_chardev }, { "blockdev", help_blockdev },
    { "export", help_export },
};

bool any_fn tool_help(const char *option, const char *value)
{
    for (size_t i = 0; i < G_N_ELEMENTS(helps); i++) {
        if (strcmp(helps[i].option, option) == 0) {
            g_autoptr(QObject) schema = json_parse_str(qmp_schema_json, &error_abort);
            return helps[i].help(value, qobject_to_qlist(schema));
        }
    }
    return false;
}
