/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Monitors: serving the clients of a channel, each by itself; options; the end. */
#include "qemu/osdep.h"

#include "qemu/limits.h"
#include "qemu/log.h"
#include "monitor-internal.h"
#include "qobject/keyval.h"

/* How long clients have at the end to take what was written to them. */
#define FAREWELL_NS (2 * NS_PER_SEC)

typedef struct MonitorServer {
    MonitorChardev *chr;
    bool pretty;
    CoGroup sessions;
    Coroutine *acceptor;        /* while it waits for a client */
    Coroutine *full;            /* the acceptor, while it waits for a client to leave */
} MonitorServer;

typedef struct MonitorClient {
    MonitorServer *srv;
    Channel chan;
} MonitorClient;

static GList *servers;          /* of MonitorServer, while their coroutines run */
static Coroutine *shutdown_waiter;
static bool shutting_down;
static bool cut_off;            /* clients have had their time */
static bool given_up;           /* somebody's disk does not take what is written to it */

static void main_fn wake(Coroutine **waiter)
{
    if (*waiter) {
        coroutine_wake(g_steal_pointer(waiter));
    }
}

static void co_main_fn client_entry(void *opaque)
{
    MonitorClient *c = opaque;
    MonitorServer *srv = c->srv;

    context_assert_main();
    context_assert_coroutine();
    monitor_session_run(&c->chan, srv->pretty);
    g_queue_remove(&srv->chr->clients, &c->chan);
    if (srv->chr->kind == CHARDEV_BACKEND_KIND_SOCKET) {
        channel_close(&c->chan);    /* of the other kinds the channel itself has the descriptors */
    }
    g_free(c);
    wake(&srv->full);
}

static void main_fn client_was_sent(void *opaque, const char *bytes, size_t len)
{
    MonitorClient *c = opaque;

    monitor_chardev_sent(c->srv->chr, bytes, len);
}

static void co_main_fn serve(MonitorServer *srv, int in_fd, int out_fd)
{
    MonitorClient *c = g_new0(MonitorClient, 1);

    c->srv = srv;
    channel_init(&c->chan, in_fd, out_fd);
    c->chan.sent = client_was_sent;
    c->chan.opaque = c;
    g_queue_push_tail(&srv->chr->clients, &c->chan);
    co_group_start(&srv->sessions, client_entry, c);
}

static void co_main_fn serve_socket(MonitorServer *srv, int fd)
{
    if (!srv->chr->delay) {
        socket_set_nodelay(fd);
    }
    serve(srv, fd, fd);
}

static void co_main_fn accept_clients(MonitorServer *srv)
{
    while (!shutting_down) {
        int fd;

        if (srv->chr->clients.length >= MONITOR_MAX_CLIENTS) {
            srv->full = coroutine_self();
            coroutine_yield();
            continue;
        }
        srv->acceptor = coroutine_self();
        fd = socket_accept(&srv->chr->listener);
        srv->acceptor = NULL;
        if (fd >= 0 && shutting_down) {
            close(fd);              /* it came in the same turn as the end */
        } else if (fd >= 0) {
            serve_socket(srv, fd);
        } else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
            /* Others will have to give something up first: do not spin. */
            aio_co_sleep_ns(100 * NS_PER_MS);
        } else if (fd != -ECONNABORTED && fd != -EINTR && fd != -EAGAIN) {
            break;
        }
    }
}

static void co_main_fn serve_socket_clients(MonitorServer *srv)
{
    if (srv->chr->fd >= 0) {
        int fd = srv->chr->fd;

        srv->chr->fd = -1;
        serve_socket(srv, fd);
    }
    if (srv->chr->listener.n > 0) {
        accept_clients(srv);
    }
}

/* Each who opens the terminal has a session until it is closed. */
static void co_main_fn serve_terminal(MonitorServer *srv)
{
    while (!shutting_down) {
        srv->acceptor = coroutine_self();
        int ret = monitor_pty_wait(srv->chr);
        srv->acceptor = NULL;
        if (ret < 0 || shutting_down) {
            break;
        }
        serve(srv, srv->chr->in_fd, srv->chr->out_fd);
        co_group_wait(&srv->sessions);
    }
}

static void co_main_fn server_entry(void *opaque)
{
    MonitorServer *srv = opaque;

    context_assert_main();
    context_assert_coroutine();
    switch (srv->chr->kind) {
    case CHARDEV_BACKEND_KIND_SOCKET:
        serve_socket_clients(srv);
        break;
    case CHARDEV_BACKEND_KIND_STDIO:
        serve(srv, STDIN_FILENO, STDOUT_FILENO);
        break;
    case CHARDEV_BACKEND_KIND_PTY:
        serve_terminal(srv);
        break;
    default:
        serve(srv, srv->chr->in_fd, srv->chr->out_fd);
        break;
    }
    co_group_wait(&srv->sessions);
    servers = g_list_remove(servers, srv);
    g_free(srv);
    if (!servers) {
        wake(&shutdown_waiter);
    }
}

bool monitor_serve(MonitorChardev *chr, bool pretty, Error **errp)
{
    MonitorServer *srv;

    if (chr->in_use) {
        error_setg(errp, "Device '%s' is in use", chr->id);
        return false;
    }
    chr->in_use = true;
    srv = g_new0(MonitorServer, 1);
    srv->chr = chr;
    srv->pretty = pretty;
    srv->sessions = (CoGroup)CO_GROUP_INIT;
    servers = g_list_append(servers, srv);
    coroutine_start(server_entry, srv);
    return true;
}

bool monitor_is_there(void)
{
    return servers != NULL;
}

/* ---- the end ---- */

/* Files cannot be cut off: whoever still waits for a disk then is left behind. */
static void cut_off_all(void *opaque)
{
    context_assert_main();
    if (cut_off) {
        given_up = true;
        wake(&shutdown_waiter);
        return;
    }
    cut_off = true;
    aio_timer_arm(opaque, clock_ns() + FAREWELL_NS);
    for (GList *l = monitor_sessions; l; l = l->next) {
        monitor_output_break(&((MonitorSession *)l->data)->out);
    }
}

void monitor_shutdown_all(void)
{
    AioTimer timer;

    monitor_stop_commands();
    shutting_down = true;
    cut_off = given_up = false;
    for (GList *l = servers; l; l = l->next) {
        MonitorServer *srv = l->data;

        if (srv->acceptor) {
            aio_co_cancel(srv->acceptor);
        }
        wake(&srv->full);
    }
    for (GList *l = monitor_sessions; l; l = l->next) {
        monitor_session_end(l->data);
    }
    aio_timer_init(&timer, aio_context_current(), cut_off_all, &timer);
    aio_timer_arm(&timer, clock_ns() + FAREWELL_NS);
    while (servers && !given_up) {
        shutdown_waiter = coroutine_self();
        coroutine_yield();
    }
    aio_timer_disarm(&timer);
    if (given_up) {
        log_line("warning: a file that a monitor writes to does not answer; not all is written");
    } else {
        monitor_chardev_free_all();
    }
    shutting_down = false;
}

/* ---- options ---- */

bool monitor_option_add(const char *options, Error **errp)
{
    bool is_json, pretty = false;
    g_autoptr(QDict) dict = keyval_parse_or_json(options, "chardev", &is_json, errp);
    const char *id, *mode, *key, *text;
    QObject *value;
    MonitorChardev *chr;

    if (!dict) {
        return false;
    }
    for (size_t i = 0; qdict_member(dict, i, &key, &value); i++) {
        if (strcmp(key, "chardev") && strcmp(key, "mode") && strcmp(key, "pretty") &&
            strcmp(key, "id")) {
            error_setg(errp, "Parameter '%s' is unexpected", key);
            return false;
        }
    }
    id = qdict_get_str(dict, "chardev");
    if (!id) {
        error_setg(errp, "Parameter 'chardev' is missing");
        return false;
    }
    mode = qdict_get_str(dict, "mode");
    if (mode && strcmp(mode, "control") != 0) {
        error_setg(errp, strcmp(mode, "readline") == 0 ? "Only QMP is supported"
                         : "Parameter 'mode' does not accept value '%s'", mode);
        return false;
    }
    text = qdict_get_str(dict, "pretty");
    value = qdict_get(dict, "pretty");
    if (value && !(text ? keyval_parse_bool(text, &pretty) : qobject_get_bool(value, &pretty))) {
        error_setg(errp, "Parameter 'pretty' expects 'on' or 'off'");
        return false;
    }
    chr = monitor_chardev_find(id);
    if (!chr) {
        error_setg(errp, "chardev \"%s\" not found", id);
        return false;
    }
    return monitor_serve(chr, pretty, errp);
}

/* `unix:PATH,...`, `tcp:HOST:PORT,...` or `stdio` as the options of a channel. */
static QDict *short_form(const char *text, Error **errp)
{
    g_autoptr(QDict) dict = keyval_parse_flat(text, "backend", errp);
    g_autofree char *spec = NULL;
    char *colon;

    if (!dict) {
        return NULL;
    }
    spec = g_strdup(qdict_get_str(dict, "backend") ?: "");
    if (strcmp(spec, "stdio") == 0) {
        return g_steal_pointer(&dict);
    }
    qdict_put_str(dict, "backend", "socket");
    if (g_str_has_prefix(spec, "unix:")) {
        qdict_put_str(dict, "path", spec + 5);
        return g_steal_pointer(&dict);
    }
    colon = strrchr(spec, ':');
    if (!g_str_has_prefix(spec, "tcp:") || colon < spec + 4) {
        error_setg(errp, "'%s' is not unix:PATH, tcp:HOST:PORT or stdio", spec);
        return NULL;
    }
    *colon = '\0';
    if (spec[4] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        qdict_put_str(dict, "host", spec + 5);
    } else {
        qdict_put_str(dict, "host", spec + 4);
    }
    qdict_put_str(dict, "port", colon + 1);
    return g_steal_pointer(&dict);
}

static bool co_main_fn short_form_add(const char *options, bool pretty, Error **errp)
{
    static int count;
    g_autofree char *id = NULL;
    g_autoptr(QDict) dict = short_form(options, errp);
    MonitorChardev *chr;

    if (!dict) {
        return false;
    }
    if (!qdict_has(dict, "id")) {
        id = g_strdup_printf("compat_monitor%d", count++);
        qdict_put_str(dict, "id", id);
    }
    chr = monitor_chardev_from_dict(dict, errp);
    return chr && monitor_serve(chr, pretty, errp);
}

bool monitor_qmp_add(const char *options, Error **errp)
{
    return short_form_add(options, false, errp);
}

bool monitor_qmp_pretty_add(const char *options, Error **errp)
{
    return short_form_add(options, true, errp);
}
