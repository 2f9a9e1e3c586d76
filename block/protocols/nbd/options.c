/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of NBD exports, in all the forms that QEMU's programs know, and options. */
#include "qemu/osdep.h"

#include "block/protocols/nbd/nbd-internal.h"

#define DEFAULT_PORT "10809"

const char *const nbd_name_prefixes[] = { "nbd", "nbd+tcp", "nbd+unix", NULL };

void nbd_options_clear(BdrvOpenOptions *opts)
{
    NbdOpenOptions *o = &opts->u.nbd;

    socket_spec_clear(&o->server);
    g_free(o->export);
    g_free(o->dirty_bitmap);
    g_free(o->tls_creds);
}

/* ---- nbd:unix:PATH, nbd:HOST:PORT ---- */

/* "HOST:PORT", "[::1]:PORT" */
static bool parse_host_port(const char *text, NbdOpenOptions *o, Error **errp)
{
    const char *end = text[0] == '[' ? strchr(text, ']') : strchr(text, ':');
    bool brackets = text[0] == '[';
    const char *colon = end && brackets ? end + 1 : end;

    if (!end || *colon != ':') {
        error_setg(errp, "error parsing address '%s'", text);
        return false;
    }
    o->server.kind = SOCKET_INET;
    o->server.host = g_strndup(text + brackets, end - text - brackets);
    o->server.port = g_strdup(colon + 1);
    return true;
}

static bool parse_short(const char *text, NbdOpenOptions *o, Error **errp)
{
    static const char export_mark[] = ":exportname=";
    const char *mark = strstr(text, export_mark);
    g_autofree char *address = mark ? g_strndup(text, mark - text) : g_strdup(text);
    bool names_nothing = mark && !mark[strlen(export_mark)];

    if (!address[0] || names_nothing) {
        error_setg(errp, "NBD server address missing");
        return false;
    }
    if (mark) {
        o->export = g_strdup(mark + strlen(export_mark));
    }
    if (g_str_has_prefix(address, "unix:")) {
        o->server.kind = SOCKET_UNIX;
        o->server.path = g_strdup(address + strlen("unix:"));
        return true;
    }
    return parse_host_port(address, o, errp);
}

/* ---- nbd://HOST[:PORT][/EXPORT], nbd+unix:///[EXPORT]?socket=PATH ---- */

static bool set_unix(GUri *uri, NbdOpenOptions *o)
{
    const char *query = g_uri_get_query(uri), *host = g_uri_get_host(uri);

    if ((host && host[0]) || g_uri_get_port(uri) >= 0 || !query ||
        !g_str_has_prefix(query, "socket=") || strchr(query, '&')) {
        return false;
    }
    o->server.kind = SOCKET_UNIX;
    o->server.path = g_uri_unescape_string(query + strlen("socket="), NULL);
    return o->server.path && o->server.path[0];
}

static bool set_inet(GUri *uri, NbdOpenOptions *o)
{
    const char *host = g_uri_get_host(uri);
    int port = g_uri_get_port(uri);

    if (!host || !host[0] || g_uri_get_query(uri)) {
        return false;
    }
    o->server.kind = SOCKET_INET;
    o->server.host = g_strdup(host);
    o->server.port = port > 0 ? g_strdup_printf("%d", port) : g_strdup(DEFAULT_PORT);
    return true;
}

static bool parse_uri(const char *name, NbdOpenOptions *o, Error **errp)
{
    g_autoptr(GUri) uri = g_uri_parse(name, G_URI_FLAGS_ENCODED_QUERY, NULL);

    if (!uri || !(strcmp(g_uri_get_scheme(uri), "nbd+unix") == 0 ? set_unix(uri, o)
                                                                 : set_inet(uri, o))) {
        error_setg(errp, "No valid URL specified");
        return false;
    }
    const char *path = g_uri_get_path(uri);
    path += path[0] == '/';
    if (path[0]) {
        o->export = g_strdup(path);
    }
    return true;
}

bool any_fn nbd_options_from_name(const char *name, BdrvOpenOptions *opts, Error **errp)
{
    NbdOpenOptions *o = &opts->u.nbd;
    bool ok = strstr(name, "://") ? parse_uri(name, o, errp)
                                  : parse_short(name + strcspn(name, ":") + 1, o, errp);

    if (ok && o->export && strlen(o->export) > NBD_MAX_STRING) {
        error_setg(errp, "export name too long to send to server");
        return false;
    }
    return ok;
}

/* ---- the other way round ---- */

static void append_json_string(GString *s, const char *text)
{
    g_string_append_c(s, '"');
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20) {
            g_string_append_printf(s, "\\u%04x", *text);
            continue;
        }
        if (*text == '"' || *text == '\\') {
            g_string_append_c(s, '\\');
        }
        g_string_append_c(s, *text);
    }
    g_string_append_c(s, '"');
}

char *any_fn nbd_name_from_options(const NbdOpenOptions *o)
{
    const char *slash = o->export ? "/" : "", *export = o->export ?: "";
    const SocketSpec *a = &o->server;

    switch (a->kind) {
    case SOCKET_UNIX:
        return o->export ? g_strdup_printf("nbd+unix:///%s?socket=%s", export, a->path)
                         : g_strdup_printf("nbd+unix://?socket=%s", a->path);
    case SOCKET_INET:
        return g_strdup_printf("nbd://%s:%s%s%s", a->host, a->port, slash, export);
    default:
        break;
    }
    GString *s = g_string_new("json:{\"driver\": \"nbd\", \"server.type\": \"fd\"");
    g_string_append_printf(s, ", \"server.str\": \"%d\"", a->fd);
    if (o->export) {
        g_string_append(s, ", \"export\": ");
        append_json_string(s, o->export);
    }
    g_string_append_c(s, '}');
    return g_string_free(s, FALSE);
}
