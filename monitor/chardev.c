/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Channels: what --chardev and --qmp say, checked; sockets that listen or are connected. */
#include "qemu/osdep.h"

#include <termios.h>

#include "monitor-internal.h"
#include "qemu/log.h"
#include "qobject/keyval.h"

static GList *chardevs;         /* of MonitorChardev */
static Coroutine *opener;       /* while it waits for somebody at the other end */
static bool stdio_refused;

static const char *const backends[] = { "socket", "stdio", NULL };
static const char *const socket_keys[] = {
    "backend", "id", "path", "mode", "host", "port", "to", "ipv4", "ipv6", "fd", "server", "wait",
    "mux", "nodelay", "delay", NULL,
};
static const char *const stdio_keys[] = { "backend", "id", "mux", "signal", NULL };

const char *const *monitor_chardev_backends(void)
{
    return backends;
}

const char *const *monitor_chardev_keys(const char *backend)
{
    return strcmp(backend, "socket") == 0 ? socket_keys :
           strcmp(backend, "stdio") == 0  ? stdio_keys : NULL;
}

void monitor_refuse_stdio(void)
{
    stdio_refused = true;
}

void monitor_chardev_cancel_open(void)
{
    if (opener) {
        aio_co_cancel(opener);
    }
}

MonitorChardev *monitor_chardev_find(const char *id)
{
    for (GList *l = chardevs; l; l = l->next) {
        MonitorChardev *chr = l->data;

        if (strcmp(chr->id, id) == 0) {
            return chr;
        }
    }
    return NULL;
}

/* Whether keys such as Ctrl-C send signals, if it is a terminal. */
static void set_terminal_signals(bool on)
{
    struct termios tty;

    if (tcgetattr(STDIN_FILENO, &tty) == 0) {
        tty.c_lflag = on ? tty.c_lflag | ISIG : tty.c_lflag & ~ISIG;
        tcsetattr(STDIN_FILENO, TCSANOW, &tty);
    }
}

static void chardev_free(MonitorChardev *chr)
{
    g_assert(chr->clients.length == 0);
    if (chr->no_signals) {
        set_terminal_signals(true);
    }
    if (chr->listener.n > 0) {
        socket_listener_close(&chr->listener);
        context_block_anyway();     /* the program ends, or has not begun */
        socket_unlink(&chr->address);
    }
    if (chr->fd >= 0 && !chr->is_stdio) {
        close(chr->fd);
    }
    socket_spec_clear(&chr->address);
    g_free(chr->id);
    g_free(chr);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MonitorChardev, chardev_free)

GList *monitor_chardevs(void)
{
    return chardevs;
}

void monitor_chardev_free_all(void)
{
    g_list_free_full(g_steal_pointer(&chardevs), (GDestroyNotify)chardev_free);
}

/* ---- options ---- */

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

static bool get_switch(const QDict *options, const char *key, bool *ret, Error **errp)
{
    const char *value = qdict_get_str(options, key);

    if (value && !keyval_parse_bool(value, ret)) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", key);
        return false;
    }
    return true;
}

/* A descriptor that was given to us: a number, and open. */
static bool get_fd(const char *value, int *ret, Error **errp)
{
    uint64_t number;
    struct stat st;

    if (!g_ascii_string_to_unsigned(value, 10, 0, INT_MAX, &number, NULL)) {
        error_setg(errp, "Invalid file descriptor '%s'", value);
        return false;
    }
    if (fstat((int)number, &st) < 0) {
        error_setg_errno(errp, errno, "Cannot use file descriptor %s", value);
        return false;
    }
    if (!S_ISSOCK(st.st_mode)) {
        error_setg(errp, "File descriptor %s is not a socket", value);
        return false;
    }
    *ret = (int)number;
    return true;
}

static bool get_inet_options(SocketSpec *address, const QDict *options, Error **errp)
{
    const char *to = qdict_get_str(options, "to");
    uint64_t number = 0;

    if (to && !g_ascii_string_to_unsigned(to, 10, 0, UINT16_MAX, &number, NULL)) {
        error_setg(errp, "Parameter 'to' expects a number from 0 to %d", UINT16_MAX);
        return false;
    }
    address->has_to = to;
    address->to = number;
    address->has_ipv4 = qdict_has(options, "ipv4");
    address->has_ipv6 = qdict_has(options, "ipv6");
    return get_switch(options, "ipv4", &address->ipv4, errp) &&
           get_switch(options, "ipv6", &address->ipv6, errp);
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

static bool get_address(MonitorChardev *chr, const QDict *options, Error **errp)
{
    const char *path = qdict_get_str(options, "path"), *fd = qdict_get_str(options, "fd");
    const char *host = qdict_get_str(options, "host"), *port = qdict_get_str(options, "port");
    const char *mode = qdict_get_str(options, "mode");

    if (!!path + !!fd + !!port != 1) {
        error_setg(errp, "chardev: socket: one of 'path', 'port' and 'fd' is needed");
        return false;
    }
    if (!check_kind(options, "path", (const char *const[]){ "mode", NULL }, errp) ||
        !check_kind(options, "port", (const char *const[]){ "to", "ipv4", "ipv6", NULL }, errp)) {
        return false;
    }
    if (path) {
        chr->address.kind = SOCKET_UNIX;
        chr->address.path = g_strdup(path);
        return !mode || socket_parse_mode(mode, &chr->address.mode, errp);
    }
    if (fd) {
        chr->address.kind = SOCKET_FD;
        return get_fd(fd, &chr->address.fd, errp);
    }
    chr->address.kind = SOCKET_INET;
    chr->address.host = g_strdup(host ?: "");
    chr->address.port = g_strdup(port);
    return get_inet_options(&chr->address, options, errp);
}

/* Is the descriptor of @chr one that clients connect to? */
static bool is_listening(int fd)
{
    int value = 0;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value;
}

/* Whether small messages wait until earlier ones are acknowledged: `delay`, or not: `nodelay`. */
static bool get_delay(MonitorChardev *chr, const QDict *options, Error **errp)
{
    bool nodelay = true;

    if (qdict_has(options, "delay") && qdict_has(options, "nodelay")) {
        error_setg(errp, "'delay' and 'nodelay' are mutually exclusive");
        return false;
    }
    if (!get_switch(options, "nodelay", &nodelay, errp)) {
        return false;
    }
    chr->delay = !nodelay;
    return get_switch(options, "delay", &chr->delay, errp);
}

/* Several users of one channel, of which a person picks one: there are none but monitors. */
static bool refuse_mux(const QDict *options, Error **errp)
{
    bool mux = false;

    if (!get_switch(options, "mux", &mux, errp)) {
        return false;
    }
    if (mux) {
        error_setg(errp, "'mux=on' is not supported: a channel has one monitor");
    }
    return !mux;
}

static bool parse_socket(MonitorChardev *chr, const QDict *options, Error **errp)
{
    if (!check_keys(options, socket_keys, errp) || !get_address(chr, options, errp) ||
        !get_switch(options, "server", &chr->server, errp) || !get_delay(chr, options, errp) ||
        !refuse_mux(options, errp)) {
        return false;
    }
    if (chr->address.kind == SOCKET_FD) {
        /* A listening socket says enough by itself, and a connected one needs no server. */
        chr->server = is_listening(chr->address.fd);
        chr->wait = false;
    } else {
        chr->wait = chr->server;
    }
    if (qdict_has(options, "wait") && !chr->server && chr->address.kind != SOCKET_FD) {
        error_setg(errp, "chardev: socket: 'wait' option is incompatible with socket in client "
                   "connect mode");
        return false;
    }
    return get_switch(options, "wait", &chr->wait, errp);
}

/* ---- opening ---- */

static bool co_main_fn listen_for_clients(MonitorChardev *chr, Error **errp)
{
    g_autofree char *text = NULL;

    if (!socket_listen(&chr->address, &chr->listener, errp)) {
        return false;
    }
    text = socket_spec_to_text(&chr->address);
    socket_spec_pin(&chr->address);
    if (!chr->wait) {
        return true;
    }
    log_line("info: QEMU waiting for connection on: disconnected:%s,server=on", text);
    opener = coroutine_self();
    chr->fd = socket_accept(&chr->listener);
    opener = NULL;
    if (chr->fd < 0) {
        error_setg_errno(errp, -chr->fd, "Cannot accept a connection on '%s'", text);
        chr->fd = -1;
        return false;
    }
    return true;
}

static bool co_main_fn open_chardev(MonitorChardev *chr, Error **errp)
{
    if (chr->is_stdio) {
        if (chr->no_signals) {
            set_terminal_signals(false);
        }
        return true;
    }
    if (chr->server) {
        return listen_for_clients(chr, errp);
    }
    opener = coroutine_self();
    chr->fd = socket_connect(&chr->address, errp);
    opener = NULL;
    if (chr->fd >= 0 && chr->address.kind == SOCKET_FD) {
        fcntl(chr->fd, F_SETFD, FD_CLOEXEC);
    }
    return chr->fd >= 0;
}

static bool parse_stdio(MonitorChardev *chr, const QDict *options, Error **errp)
{
    if (stdio_refused) {
        error_setg(errp, "cannot use stdio with --daemonize");
        return false;
    }
    chr->is_stdio = true;
    for (GList *l = chardevs; l; l = l->next) {
        if (((MonitorChardev *)l->data)->is_stdio) {
            error_setg(errp, "cannot use stdio by multiple character devices");
            return false;
        }
    }
    bool signals = true;
    if (!check_keys(options, stdio_keys, errp) || !refuse_mux(options, errp) ||
        !get_switch(options, "signal", &signals, errp)) {
        return false;
    }
    chr->no_signals = !signals;
    return true;
}

MonitorChardev *monitor_chardev_new(QDict *options, Error **errp)
{
    g_autoptr(MonitorChardev) chr = g_new0(MonitorChardev, 1);
    const char *backend = qdict_get_str(options, "backend");
    const char *id = qdict_get_str(options, "id");

    chr->listener = SOCKET_LISTENER_NONE;
    g_queue_init(&chr->clients);
    chr->fd = chr->address.fd = -1;
    if (!backend) {
        error_setg(errp, "chardev: \"backend\" is missing");
        return NULL;
    }
    if (!id || !*id) {
        error_setg(errp, "chardev: no id specified");
        return NULL;
    }
    if (monitor_chardev_find(id)) {
        error_setg(errp, "Chardev with id '%s' already exists", id);
        return NULL;
    }
    chr->id = g_strdup(id);
    if (strcmp(backend, "socket") == 0) {
        if (!parse_socket(chr, options, errp)) {
            return NULL;
        }
    } else if (strcmp(backend, "stdio") == 0) {
        if (!parse_stdio(chr, options, errp)) {
            return NULL;
        }
    } else {
        error_setg(errp, "'%s' is not a valid char driver name (accepted: socket, stdio)", backend);
        return NULL;
    }
    if (!open_chardev(chr, errp)) {
        return NULL;
    }
    chardevs = g_list_append(chardevs, chr);
    return g_steal_pointer(&chr);
}

bool monitor_chardev_add(const char *text, Error **errp)
{
    g_autoptr(QDict) options = keyval_parse_flat(text, "backend", errp);

    return options && monitor_chardev_new(options, errp);
}
