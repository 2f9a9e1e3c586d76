/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serving one disk, until somebody says so or the last client has left. */
#include "qemu/osdep.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "block/export.h"
#include "nbd/server.h"
#include "qemu/aio.h"
#include "qnbd.h"
#include "tools/common/process.h"

#define EXPORT_ID "qemu-nbd-export"

typedef struct Serving {
    const QnbdArgs *a;
    BlockBackend *blk;
    NbdServer *server;
    char *device_path;              /* of the socket of a device, else NULL */
    int device_fd;
    Coroutine *waiter;
    bool over;
} Serving;

/* ---- starting ---- */

static bool co_main_fn export_disk(const Serving *s, Error **errp)
{
    const QnbdArgs *a = s->a;
    g_autoptr(QDict) dict = qdict_new();
    g_autoptr(BlockExportOptions) opts = NULL;
    QList *bitmaps = qlist_new();

    for (guint i = 0; i < a->bitmaps->len; i++) {
        qlist_append(bitmaps, qstring_new(a->bitmaps->pdata[i]));
    }
    qdict_put_str(dict, "type", "nbd");
    qdict_put_str(dict, "id", EXPORT_ID);
    qdict_put_str(dict, "node-name", blk_bs(s->blk)->node_name);
    qdict_put_str(dict, "name", a->name ?: "");
    if (a->description) {
        qdict_put_str(dict, "description", a->description);
    }
    qdict_put_bool(dict, "writable", a->image.writable);
    qdict_put_bool(dict, "writethrough", a->image.cache.writethrough);
    qdict_put_bool(dict, "allocation-depth", a->allocation_depth);
    qdict_put(dict, "bitmaps", QOBJECT(bitmaps));
    return BlockExportOptions_parse(QOBJECT(dict), &opts, errp) && blockdev_export_add(opts, errp);
}

static void co_main_fn say_cannot_listen(const SocketSpec *addr, Error **errp)
{
    int error = error_get_errno(*errp);

    if (error && addr->kind != SOCKET_FD) {
        error_free(g_steal_pointer(errp));
        error_setg_errno(errp, error, addr->kind == SOCKET_UNIX ? "Failed to bind socket to %s"
                         : "Failed to bind socket%.0s", addr->path ?: "");
    }
}

static bool co_main_fn listen_there(Serving *s, Error **errp)
{
    NbdServerLimits limits = {
        .max_connections = s->a->shared, .handshake_seconds = NBD_DEFAULT_HANDSHAKE_SECONDS,
        .closed = true,
    };
    SocketSpec addr;

    qnbd_address(s->a, &addr);
    if (s->device_path) {
        socket_spec_clear(&addr);
        addr = (SocketSpec){ .kind = SOCKET_UNIX, .path = g_strdup(s->device_path), .fd = -1 };
    }
    s->server = nbd_server_start(BLOCKDEV_DEFAULT_NBD_SERVER, &addr, &limits, errp);
    if (!s->server) {
        say_cannot_listen(&addr, errp);
    }
    socket_spec_clear(&addr);
    return s->server != NULL;
}

static bool write_pid_file(const char *path, Error **errp)
{
    if (tool_pidfile_write(path, errp)) {
        return true;
    }
    int error = error_get_errno(*errp);
    if (error && error != EAGAIN) {
        error_free(g_steal_pointer(errp));
        error_setg_errno(errp, error, "Could not create '%s'", path);
    }
    return false;
}

static char *path_of_device(const QnbdArgs *a)
{
    if (!a->device || a->path) {
        return g_strdup(a->device ? a->path : NULL);
    }
    g_autofree char *base = g_path_get_basename(a->device);
    return g_strdup_printf("/var/lock/qemu-nbd-%s", base);
}

static void finish(Serving *s)
{
    s->over = true;
    if (s->waiter) {
        aio_co_cancel(s->waiter);
    }
}

static void on_idle(void *opaque)
{
    finish(opaque);
}

static bool co_main_fn start(Serving *s, Error **errp)
{
    const QnbdArgs *a = s->a;

    for (guint i = 0; i < a->objects->len; i++) {
        if (!tool_add_object(a->objects->pdata[i], errp)) {
            return false;
        }
    }
    s->blk = qnbd_open(a, errp);
    if (!s->blk || !listen_there(s, errp) || !export_disk(s, errp) ||
        (a->pid_file && !write_pid_file(a->pid_file, errp))) {
        return false;
    }
    if (!a->persistent) {
        nbd_server_set_idle_cb(s->server, on_idle, s);
    }
    nbd_server_open(s->server);
    if (a->device) {
        s->device_fd = qnbd_connect(a->device, s->device_path, a->name ?: "", errp);
    }
    return !a->device || s->device_fd >= 0;
}

/* ---- until ---- */

static void co_main_fn wait_for_end(Serving *s)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->waiter = coroutine_self();
    while (!s->over && aio_co_poll(fd, POLLIN, -1) < 0) {
    }
    s->waiter = NULL;
    close(fd);
}

int co_main_fn qnbd_serve(const QnbdArgs *a)
{
    Serving s = { .a = a, .device_fd = -1, .device_path = path_of_device(a) };
    Error *err = NULL;
    int status = 0;

    if (start(&s, &err)) {
        if (a->device && a->verbose) {
            printf("NBD device %s is now connected to %s\n", a->device, a->image.name);
            fflush(stdout);
        }
        tool_daemonize_done(0);
        wait_for_end(&s);
    } else {
        error_report_err(err);
        status = 1;
    }
    qnbd_hang_up(s.device_fd);
    if (s.server) {
        nbd_server_set_idle_cb(s.server, NULL, NULL);
        blk_export_del_all();
        nbd_server_stop(s.server);
    }
    if (!tool_close(s.blk)) {
        status = 1;
    }
    g_free(s.device_path);
    tool_pidfile_remove();
    tool_daemonize_done(status);
    return status;
}
