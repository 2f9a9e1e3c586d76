/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What --chardev says, as QMP's chardev-add has it. */
#include "qemu/osdep.h"

#include "monitor-internal.h"
#include "qemu/id.h"
#include "qobject/keyval.h"

/* ---- single options ---- */

static bool get_switch(const QDict *options, const char *key, bool *ret_has, bool *ret,
                       Error **errp)
{
    const char *value = qdict_get_str(options, key);

    if (value && !keyval_parse_bool(value, ret)) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", key);
        return false;
    }
    *ret_has = value != NULL;
    return true;
}

/* Several users of one channel, of which a person picks one: there are none but monitors. */
static bool refuse_mux(const QDict *options, Error **errp)
{
    bool has_mux, mux = false;

    if (!get_switch(options, "mux", &has_mux, &mux, errp)) {
        return false;
    }
    if (mux) {
        error_setg(errp, "'mux=on' is not supported: a channel has one monitor");
    }
    return !mux;
}

static bool parse_common(const QDict *options, ChardevCommon *common, Error **errp)
{
    common->logfile = g_strdup(qdict_get_str(options, "logfile"));
    return get_switch(options, "logappend", &common->has_logappend, &common->logappend, errp);
}

/* The first members of @OBJ, as every channel has them. */
#define COMMON(OBJ) ((ChardevCommon *)(OBJ))

/* ---- sockets ---- */

static bool parse_inet(const QDict *options, InetSocketAddress *inet, Error **errp)
{
    const char *to = qdict_get_str(options, "to");
    uint64_t number = 0;

    if (to && !g_ascii_string_to_unsigned(to, 10, 0, UINT16_MAX, &number, NULL)) {
        error_setg(errp, "Parameter 'to' expects a number from 0 to %d", UINT16_MAX);
        return false;
    }
    inet->host = g_strdup(qdict_get_str(options, "host") ?: "");
    inet->port = g_strdup(qdict_get_str(options, "port"));
    inet->has_to = to;
    inet->to = number;
    return get_switch(options, "ipv4", &inet->has_ipv4, &inet->ipv4, errp) &&
           get_switch(options, "ipv6", &inet->has_ipv6, &inet->ipv6, errp);
}

/* Options of addresses of another kind than @options has. */
static bool check_kind(const QDict *options, const char *needed, const char *const *keys,
                       Error **errp)
{
    for (; *keys && !qdict_has(options, needed); keys++) {
        if (qdict_has(options, *keys)) {
            error_setg(errp, "chardev: socket: '%s' is for sockets with a '%s'", *keys, needed);
            return false;
        }
    }
    return true;
}

static bool parse_address(const QDict *options, SocketAddressLegacy *addr, Error **errp)
{
    const char *path = qdict_get_str(options, "path"), *fd = qdict_get_str(options, "fd");
    bool has_port = qdict_has(options, "port");

    if (!!path + !!fd + has_port != 1) {
        error_setg(errp, "chardev: socket: one of 'path', 'port' and 'fd' is needed");
        return false;
    }
    if (!check_kind(options, "path", (const char *const[]){ "mode", NULL }, errp) ||
        !check_kind(options, "port", (const char *const[]){ "to", "ipv4", "ipv6", NULL }, errp)) {
        return false;
    }
    if (path) {
        addr->type = SOCKET_ADDRESS_TYPE_UNIX;
        addr->u.q_unix.data = g_new0(UnixSocketAddress, 1);
        addr->u.q_unix.data->path = g_strdup(path);
        addr->u.q_unix.data->mode = g_strdup(qdict_get_str(options, "mode"));
        return true;
    }
    if (fd) {
        addr->type = SOCKET_ADDRESS_TYPE_FD;
        addr->u.fd.data = g_new0(String, 1);
        addr->u.fd.data->str = g_strdup(fd);
        return true;
    }
    addr->type = SOCKET_ADDRESS_TYPE_INET;
    addr->u.inet.data = g_new0(InetSocketAddress, 1);
    return parse_inet(options, addr->u.inet.data, errp);
}

/* Whether small messages wait until earlier ones are acknowledged: `delay`, or not: `nodelay`. */
static bool parse_delay(const QDict *options, ChardevSocket *s, Error **errp)
{
    bool has_delay, delay = false;

    if (qdict_has(options, "delay") && qdict_has(options, "nodelay")) {
        error_setg(errp, "'delay' and 'nodelay' are mutually exclusive");
        return false;
    }
    if (!get_switch(options, "nodelay", &s->has_nodelay, &s->nodelay, errp) ||
        !get_switch(options, "delay", &has_delay, &delay, errp)) {
        return false;
    }
    if (has_delay) {
        s->has_nodelay = true;
        s->nodelay = !delay;
    }
    return true;
}

/* Here a server is what has to be asked for, and waits for its first client unless told not to. */
static bool parse_socket(const QDict *options, ChardevBackend *b, Error **errp)
{
    ChardevSocket *s = b->u.socket.data = g_new0(ChardevSocket, 1);
    bool has_server;

    s->addr = g_new0(SocketAddressLegacy, 1);
    if (!parse_address(options, s->addr, errp) || !parse_common(options, COMMON(s), errp) ||
        !get_switch(options, "server", &has_server, &s->server, errp) ||
        !parse_delay(options, s, errp) ||
        !get_switch(options, "wait", &s->has_wait, &s->wait, errp)) {
        return false;
    }
    s->has_server = true;
    if (!s->has_wait && s->server) {
        s->has_wait = s->wait = true;
    }
    return true;
}

/* ---- the others ---- */

static bool parse_stdio(const QDict *options, ChardevBackend *b, Error **errp)
{
    ChardevStdio *s = b->u.stdio.data = g_new0(ChardevStdio, 1);

    return parse_common(options, COMMON(s), errp) &&
           get_switch(options, "signal", &s->has_signal, &s->signal, errp);
}

static bool parse_file(const QDict *options, ChardevBackend *b, Error **errp)
{
    ChardevFile *f = b->u.file.data = g_new0(ChardevFile, 1);

    f->out = g_strdup(qdict_get_str(options, "path"));
    if (!f->out) {
        error_setg(errp, "chardev: file: no filename given");
        return false;
    }
    f->in = g_strdup(qdict_get_str(options, "input-path"));
    return parse_common(options, COMMON(f), errp) &&
           get_switch(options, "append", &f->has_append, &f->append, errp);
}

static bool parse_pipe(const QDict *options, ChardevBackend *b, Error **errp)
{
    ChardevHostdev *h = b->u.pipe.data = g_new0(ChardevHostdev, 1);

    h->device = g_strdup(qdict_get_str(options, "path"));
    if (!h->device) {
        error_setg(errp, "chardev: pipe: no device path given");
        return false;
    }
    return parse_common(options, COMMON(h), errp);
}

static bool parse_null(const QDict *options, ChardevBackend *b, Error **errp)
{
    b->u.null.data = g_new0(ChardevCommon, 1);
    return parse_common(options, b->u.null.data, errp);
}

static bool parse_pty(const QDict *options, ChardevBackend *b, Error **errp)
{
    b->u.pty.data = g_new0(ChardevCommon, 1);
    return parse_common(options, b->u.pty.data, errp);
}

static bool parse_ring(const QDict *options, ChardevBackend *b, Error **errp)
{
    ChardevRingbuf *r = g_new0(ChardevRingbuf, 1);
    const char *size = qdict_get_str(options, "size");
    uint64_t bytes = 0;

    if (b->type == CHARDEV_BACKEND_KIND_MEMORY) {
        b->u.memory.data = r;
    } else {
        b->u.ringbuf.data = r;
    }
    if (size && !keyval_parse_size(size, &bytes, errp)) {
        error_prepend(errp, "Parameter 'size': ");
        return false;
    }
    r->has_size = size;
    r->size = MIN(bytes, (uint64_t)INT64_MAX);
    return parse_common(options, COMMON(r), errp);
}

/* ---- the kinds ---- */

#define COMMON_KEYS "backend", "id", "logfile", "logappend", "mux"

static const struct {
    const char *name;
    bool (*parse)(const QDict *options, ChardevBackend *b, Error **errp);
    const char *keys[24];
} kinds[] = {
    [CHARDEV_BACKEND_KIND_FILE] = { "file", parse_file,
        { COMMON_KEYS, "path", "append", "input-path" } },
    [CHARDEV_BACKEND_KIND_PIPE] = { "pipe", parse_pipe, { COMMON_KEYS, "path" } },
    [CHARDEV_BACKEND_KIND_SOCKET] = { "socket", parse_socket,
        { COMMON_KEYS, "path", "mode", "host", "port", "to", "ipv4", "ipv6", "fd", "server", "wait",
          "nodelay", "delay" } },
    [CHARDEV_BACKEND_KIND_PTY] = { "pty", parse_pty, { COMMON_KEYS } },
    [CHARDEV_BACKEND_KIND_NULL] = { "null", parse_null, { COMMON_KEYS } },
    [CHARDEV_BACKEND_KIND_STDIO] = { "stdio", parse_stdio, { COMMON_KEYS, "signal" } },
    [CHARDEV_BACKEND_KIND_RINGBUF] = { "ringbuf", parse_ring, { COMMON_KEYS, "size" } },
    [CHARDEV_BACKEND_KIND_MEMORY] = { "memory", parse_ring, { COMMON_KEYS, "size" } },
};

_Static_assert(G_N_ELEMENTS(kinds) == CHARDEV_BACKEND_KIND__MAX, "every kind has options");

static const char *const kind_names[] = {
    "file", "pipe", "socket", "pty", "null", "stdio", "ringbuf", "memory", NULL,
};

const char *const *monitor_chardev_backends(void)
{
    return kind_names;
}

static int find_kind(const char *name)
{
    for (int i = 0; i < (int)G_N_ELEMENTS(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

const char *const *monitor_chardev_keys(const char *backend)
{
    int kind = find_kind(backend);

    return kind < 0 ? NULL : (const char *const *)kinds[kind].keys;
}

/* ---- all together ---- */

static bool check_keys(const QDict *options, const char *const *known, Error **errp)
{
    const char *key;
    QObject *value;

    for (size_t i = 0; qdict_member(options, i, &key, &value); i++) {
        if (!g_strv_contains(known, key)) {
            error_setg(errp, "Invalid parameter '%s'", key);
            return false;
        }
    }
    return true;
}

ChardevBackend *monitor_chardev_parse(const QDict *options, char **ret_id, Error **errp)
{
    g_autoptr(ChardevBackend) b = g_new0(ChardevBackend, 1);
    const char *name = qdict_get_str(options, "backend"), *id = qdict_get_str(options, "id");
    int kind;

    if (!name) {
        error_setg(errp, "chardev: \"backend\" is missing");
        return NULL;
    }
    if (!id) {
        error_setg(errp, "chardev: no id specified");
        return NULL;
    }
    if (!id_is_well_formed(id)) {
        error_setg(errp, "Parameter 'id' expects an identifier");
        return NULL;
    }
    kind = find_kind(name);
    if (kind < 0) {
        g_autofree char *all = g_strjoinv(", ", (char **)kind_names);

        error_setg(errp, "'%s' is not a valid char driver name (accepted: %s)", name, all);
        return NULL;
    }
    b->type = kind;
    if (!check_keys(options, (const char *const *)kinds[kind].keys, errp) ||
        !refuse_mux(options, errp) || !kinds[kind].parse(options, b, errp)) {
        return NULL;
    }
    *ret_id = g_strdup(id);
    return g_steal_pointer(&b);
}
