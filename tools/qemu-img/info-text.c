/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of images, for people. */
#include "qemu/osdep.h"

#include "info.h"
#include "qobject/json.h"
#include "snapshot-list.h"

static int64_t get_int(const QDict *dict, const char *key)
{
    int64_t value = 0;

    qobject_get_int(qdict_get(dict, key), &value);
    return value;
}

static bool get_bool(const QDict *dict, const char *key)
{
    bool value;

    return qobject_get_bool(qdict_get(dict, key), &value) && value;
}

/* ---- any value ---- */

static void print_members(QObject *container, int depth);

/* `a-name` as "a name". */
static void print_key(const char *key, int depth)
{
    g_autofree char *text = g_strdelimit(g_strdup(key), "-", ' ');

    printf("%*s%s:", depth * 4, "", text);
}

static void print_value(QObject *value, int depth)
{
    g_autofree char *text = NULL;

    switch (qobject_type(value)) {
    case QTYPE_QDICT:
    case QTYPE_QLIST:
        putchar('\n');
        print_members(value, depth + 1);
        return;
    case QTYPE_QSTRING:
        printf(" %s\n", qobject_get_str(value));
        return;
    default:
        text = json_to_string(value);
        printf(" %s\n", text);
    }
}

static void print_members(QObject *container, int depth)
{
    const QDict *dict = qobject_to_qdict(container);
    const QList *list = qobject_to_qlist(container);
    const char *key;
    QObject *value;

    if (dict) {
        g_autofree size_t *order = json_member_order(dict);
        for (size_t i = 0; i < qdict_size(dict); i++) {
            qdict_member(dict, order[i], &key, &value);
            print_key(key, depth);
            print_value(value, depth);
        }
        return;
    }
    for (size_t i = 0; i < qlist_size(list); i++) {
        printf("%*s[%zu]:", depth * 4, "", i);
        print_value(qlist_get(list, i), depth);
    }
}

/* ---- an image ---- */

static void print_size(const char *label, int64_t bytes, bool exact, const char *indent)
{
    g_autofree char *text = img_size_text(bytes);

    if (exact) {
        printf("%s%s: %s (%" PRId64 " bytes)\n", indent, label, text, bytes);
    } else {
        printf("%s%s: %s\n", indent, label, text);
    }
}

static void print_backing(const QDict *d, const char *indent)
{
    const char *name = qdict_get_str(d, "backing-filename");
    const char *full = qdict_get_str(d, "full-backing-filename");
    const char *format = qdict_get_str(d, "backing-filename-format");

    if (!name) {
        return;
    }
    printf("%sbacking file: %s", indent, name);
    if (full && strcmp(full, name) != 0) {
        printf(" (actual path: %s)", full);
    }
    putchar('\n');
    if (format) {
        printf("%sbacking file format: %s\n", indent, format);
    }
}

static void print_specific(const QDict *d, const char *indent)
{
    const QDict *specific = qobject_to_qdict(qdict_get(d, "format-specific"));
    QObject *data = specific ? qdict_get(specific, "data") : NULL;

    if (data && qdict_size(qobject_to_qdict(data)) > 0) {
        printf("%sFormat specific information:\n", indent);
        print_members(data, *indent ? 2 : 1);
    }
}

static void print_head(const QDict *d, bool is_protocol, const char *indent)
{
    printf("%s%s: %s\n", indent, *indent ? "filename" : "image", qdict_get_str(d, "filename"));
    printf("%s%s: %s\n", indent, is_protocol ? "protocol type" : "file format",
           qdict_get_str(d, "format"));
    print_size(is_protocol ? "file length" : "virtual size", get_int(d, "virtual-size"), true,
               indent);
    if (qdict_has(d, "actual-size")) {
        print_size("disk size", get_int(d, "actual-size"), false, indent);
    } else {
        printf("%sdisk size: unavailable\n", indent);
    }
    if (get_bool(d, "encrypted")) {
        printf("%sencrypted: yes\n", indent);
    }
    if (qdict_has(d, "cluster-size")) {
        printf("%scluster_size: %" PRId64 "\n", indent, get_int(d, "cluster-size"));
    }
    if (get_bool(d, "dirty-flag")) {
        printf("%scleanly shut down: no\n", indent);
    }
}

static void print_image(const QDict *d, bool is_protocol, const char *indent)
{
    QObject *snapshots = qdict_get(d, "snapshots");

    print_head(d, is_protocol, indent);
    print_backing(d, indent);
    if (snapshots) {
        printf("%sSnapshot list:\n", indent);
        img_print_snapshots(qobject_to_qlist(snapshots));
    }
    print_specific(d, indent);
}

/* The files that it consists of. */
static void print_children(const QDict *d, const char *path)
{
    const QList *children = qobject_to_qlist(qdict_get(d, "children"));

    for (size_t i = 0; i < qlist_size(children); i++) {
        const QDict *child = qobject_to_qdict(qlist_get(children, i));
        const QDict *info = qobject_to_qdict(qdict_get(child, "info"));
        g_autofree char *name = g_strdup_printf("%s/%s", path, qdict_get_str(child, "name"));
        const BlockDriver *drv = bdrv_find_driver(qdict_get_str(info, "format"));

        printf("Child node '%s':\n", name);
        print_image(info, drv && drv->is_protocol, "    ");
        print_children(info, name);
    }
}

void any_fn img_print_info(const QList *list)
{
    for (size_t i = 0; i < qlist_size(list); i++) {
        const QDict *d = qobject_to_qdict(qlist_get(list, i));

        if (i > 0) {
            putchar('\n');
        }
        print_image(d, false, "");
        print_children(d, "");
    }
}
