/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options for the child: texts in, texts out. */
#include "qemu/osdep.h"

#include "arguments.h"
#include "qobject/json.h"

/* @text as a value of `key=value`. */
static void append_escaped(GString *out, const char *text)
{
    for (; *text; text++) {
        g_string_append_c(out, *text);
        if (*text == ',') {
            g_string_append_c(out, ',');
        }
    }
}

static void append_value(GString *out, const char *key, QObject *value);

/* What is nested has keys with dots. */
static void append_nested(GString *out, const char *prefix, QObject *value)
{
    QDict *dict = qobject_to_qdict(value);
    QList *list = qobject_to_qlist(value);
    const char *key;
    QObject *member;

    for (size_t i = 0; dict && qdict_member(dict, i, &key, &member); i++) {
        g_autofree char *name = prefix ? g_strconcat(prefix, ".", key, NULL) : g_strdup(key);
        append_value(out, name, member);
    }
    for (size_t i = 0; list && i < qlist_size(list); i++) {
        g_autofree char *name = g_strdup_printf("%s.%zu", prefix, i);
        append_value(out, name, qlist_get(list, i));
    }
}

static void append_value(GString *out, const char *key, QObject *value)
{
    const char *text = qobject_get_str(value);
    bool on;

    if (qobject_to_qdict(value) || qobject_to_qlist(value)) {
        append_nested(out, key, value);
        return;
    }
    g_string_append_printf(out, "%s%s=", out->len ? "," : "", key);
    if (text) {
        append_escaped(out, text);
    } else if (qobject_get_bool(value, &on)) {
        g_string_append(out, on ? "on" : "off");
    } else {
        g_autofree char *number = json_to_string(value);
        g_string_append(out, number);
    }
}

char *any_fn machine_keyval_text(const QDict *options)
{
    g_autoptr(GString) out = g_string_new(NULL);

    append_nested(out, NULL, QOBJECT(options));
    return g_string_free(g_steal_pointer(&out), false);
}

QDict *any_fn machine_device_options(const QDict *options, const char *node)
{
    QDict *copy = qdict_copy_shallow(options);

    if (node) {
        qdict_put_str(copy, "drive", node);
    } else {
        qdict_del(copy, "drive");
    }
    return copy;
}

/* `MODEL,key=value`, as people write it. */
char *any_fn machine_device_text(const QDict *options)
{
    static const char driver[] = "driver=";
    char *text = machine_keyval_text(options);

    if (g_str_has_prefix(text, driver)) {
        memmove(text, text + strlen(driver), strlen(text + strlen(driver)) + 1);
    }
    return text;
}

char *any_fn machine_json_text(const QDict *options)
{
    g_autoptr(GString) out = g_string_new("{");
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(options, i, &key, &value); i++) {
        g_autoptr(QObject) name = qstring_new(key);
        g_autofree char *text = json_to_string(value);
        g_autofree char *name_text = json_to_string(name);
        g_string_append_printf(out, "%s%s:%s", i > 0 ? "," : "", name_text, text);
    }
    g_string_append_c(out, '}');
    return g_string_free(g_steal_pointer(&out), false);
}

/* ---- the nodes of a disk ---- */

/* {"type": "fd", "str": @fd}: a number on the command line, a name of getfd in a monitor. */
static QDict *server_of(const char *fd)
{
    QDict *server = qdict_new();

    qdict_put_str(server, "type", "fd");
    qdict_put_str(server, "str", fd);
    return server;
}

QDict *any_fn machine_link_options(const char *link, const char *export, const char *fd,
                                   bool read_only)
{
    QDict *options = qdict_new();

    qdict_put_str(options, "driver", "nbd");
    qdict_put_str(options, "node-name", link);
    qdict_put(options, "server", QOBJECT(server_of(fd)));
    qdict_put_str(options, "export", export);
    qdict_put_str(options, "discard", "unmap");
    qdict_put_bool(options, "read-only", read_only);
    return options;
}

QDict *any_fn machine_node_options(const char *node, const char *link, bool read_only)
{
    QDict *options = qdict_new();

    qdict_put_str(options, "driver", "raw");
    qdict_put_str(options, "node-name", node);
    qdict_put_str(options, "file", link);
    qdict_put_str(options, "discard", "unmap");
    qdict_put_bool(options, "read-only", read_only);
    return options;
}

char *any_fn machine_drive_text(const QDict *options, const char *id, const char *node,
                                const char *link, const char *fd, bool read_only)
{
    g_autoptr(QDict) drive = qdict_copy_shallow(options);
    g_autoptr(QDict) file = NULL;

    qdict_put_str(drive, "id", id);
    if (fd) {
        file = machine_link_options(link, node, fd, read_only);
        qdict_del(file, "read-only");
        qdict_put_str(drive, "node-name", node);
        qdict_put_str(drive, "driver", "raw");
        qdict_put_str(drive, "discard", "unmap");
        qdict_put_str(drive, "read-only", read_only ? "on" : "off");
        qdict_put(drive, "file", qobject_ref(QOBJECT(file)));
    }
    return machine_keyval_text(drive);
}
