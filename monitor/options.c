/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of a command line that make monitors. */
#include "qemu/osdep.h"

#include "monitor-internal.h"
#include "qobject/keyval.h"

/* ---- a monitor on a channel that is there ---- */

static bool main_fn serve_channel(const char *id, MonitorMode mode, Error **errp)
{
    MonitorChardev *chr = monitor_chardev_find(id);

    if (!chr) {
        error_setg(errp, "chardev \"%s\" not found", id);
        return false;
    }
    return monitor_serve(chr, mode, errp);
}

static bool check_keys(const QDict *dict, Error **errp)
{
    static const char *const known[] = { "chardev", "mode", "pretty", "id", NULL };
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(dict, i, &key, &value); i++) {
        if (!g_strv_contains(known, key)) {
            error_setg(errp, "Parameter '%s' is unexpected", key);
            return false;
        }
    }
    return true;
}

/* @human: what it is unless something is said. */
static bool get_mode(const QDict *dict, bool *human, Error **errp)
{
    const char *mode = qdict_get_str(dict, "mode");

    if (mode && strcmp(mode, "control") != 0 && strcmp(mode, "readline") != 0) {
        error_setg(errp, "Parameter 'mode' does not accept value '%s'", mode);
        return false;
    }
    *human = mode ? strcmp(mode, "readline") == 0 : *human;
    return true;
}

static bool get_pretty(const QDict *dict, bool *ret, Error **errp)
{
    const char *text = qdict_get_str(dict, "pretty");
    QObject *value = qdict_get(dict, "pretty");

    if (value && !(text ? keyval_parse_bool(text, ret) : qobject_get_bool(value, ret))) {
        error_setg(errp, "Parameter 'pretty' expects 'on' or 'off'");
        return false;
    }
    return true;
}

/* @human: the default, and whether there are others than QMP at all. */
static bool main_fn add_monitor(const char *options, bool human, Error **errp)
{
    bool is_json, pretty = false, has_human = human;
    g_autoptr(QDict) dict = keyval_parse_or_json(options, "chardev", &is_json, errp);

    if (!dict || !check_keys(dict, errp)) {
        return false;
    }
    if (!qdict_get_str(dict, "chardev")) {
        error_setg(errp, "Parameter 'chardev' is missing");
        return false;
    }
    if (!get_mode(dict, &human, errp) || !get_pretty(dict, &pretty, errp)) {
        return false;
    }
    if (human && !has_human) {
        error_setg(errp, "Only QMP is supported");
        return false;
    }
    if (human && qdict_has(dict, "pretty")) {
        error_setg(errp, "'pretty' is not compatible with HMP monitors");
        return false;
    }
    return serve_channel(qdict_get_str(dict, "chardev"),
                         human ? MONITOR_HUMAN : pretty ? MONITOR_QMP_PRETTY : MONITOR_QMP, errp);
}

bool monitor_option_add(const char *options, Error **errp)
{
    return add_monitor(options, false, errp);
}

bool monitor_mon_add(const char *options, Error **errp)
{
    return add_monitor(options, true, errp);
}

/* ---- a monitor and its channel in one ---- */

/* HOST:PORT, where HOST may be in brackets. */
static bool put_host_and_port(QDict *dict, const char *text)
{
    const char *colon = strrchr(text, ':');
    g_autofree char *host = NULL;

    if (!colon) {
        return false;
    }
    if (text[0] == '[' && colon > text + 1 && colon[-1] == ']') {
        host = g_strndup(text + 1, colon - text - 2);
    } else {
        host = g_strndup(text, colon - text);
    }
    qdict_put_str(dict, "backend", "socket");
    qdict_put_str(dict, "host", host);
    qdict_put_str(dict, "port", colon + 1);
    return true;
}

/* What follows a word and a colon. */
static bool put_place(QDict *dict, const char *spec)
{
    static const struct { const char *prefix, *backend; } paths[] = {
        { "unix:", "socket" }, { "pipe:", "pipe" }, { "file:", "file" },
    };

    if (g_str_has_prefix(spec, "tcp:")) {
        return put_host_and_port(dict, spec + strlen("tcp:"));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        if (g_str_has_prefix(spec, paths[i].prefix)) {
            qdict_put_str(dict, "backend", paths[i].backend);
            qdict_put_str(dict, "path", spec + strlen(paths[i].prefix));
            return true;
        }
    }
    return false;
}

/* `unix:PATH,...`, `tcp:HOST:PORT,...` or a word as the options of a channel. */
static QDict *short_form(const char *text, Error **errp)
{
    static const char *const words[] = { "stdio", "null", "pty", NULL };
    g_autoptr(QDict) dict = keyval_parse_flat(text, "backend", errp);
    g_autofree char *spec = NULL;

    if (!dict) {
        return NULL;
    }
    spec = g_strdup(qdict_get_str(dict, "backend") ?: "");
    if (!g_strv_contains(words, spec) && !put_place(dict, spec)) {
        error_setg(errp, "'%s' is not unix:PATH, tcp:HOST:PORT, pipe:PATH, file:PATH, pty, null or "
                   "stdio", spec);
        return NULL;
    }
    return g_steal_pointer(&dict);
}

static bool co_main_fn short_form_add(const char *options, MonitorMode mode, Error **errp)
{
    static int count;
    g_autofree char *id = NULL;
    g_autoptr(QDict) dict = NULL;
    MonitorChardev *chr;

    if (strcmp(options, "none") == 0) {
        return true;
    }
    if (g_str_has_prefix(options, "chardev:")) {
        return serve_channel(options + strlen("chardev:"), mode, errp);
    }
    dict = short_form(options, errp);
    if (!dict) {
        return false;
    }
    if (!qdict_has(dict, "id")) {
        id = g_strdup_printf("compat_monitor%d", count++);
        qdict_put_str(dict, "id", id);
    }
    chr = monitor_chardev_from_dict(dict, errp);
    return chr && monitor_serve(chr, mode, errp);
}

bool monitor_qmp_add(const char *options, Error **errp)
{
    return short_form_add(options, MONITOR_QMP, errp);
}

bool monitor_qmp_pretty_add(const char *options, Error **errp)
{
    return short_form_add(options, MONITOR_QMP_PRETTY, errp);
}

bool monitor_hmp_add(const char *options, Error **errp)
{
    return short_form_add(options, MONITOR_HUMAN, errp);
}
