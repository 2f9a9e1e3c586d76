/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What query-chardev tells about channels: where they are, and who is at the other end. */
#include "qemu/osdep.h"

#include <netdb.h>
#include <sys/un.h>

#include "monitor-internal.h"
#include "qapi/qapi-commands.h"

typedef int GetName(int fd, struct sockaddr *addr, socklen_t *len);

/* "unix:PATH" or "tcp:HOST:PORT" of one end of @fd, NULL if it has none.  Caller frees. */
static char *end_of(int fd, GetName *get_name)
{
    struct sockaddr_storage addr = { 0 };
    socklen_t len = sizeof(addr);
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (get_name(fd, (struct sockaddr *)&addr, &len) < 0) {
        return NULL;
    }
    if (addr.ss_family == AF_UNIX) {
        /* An unnamed one has no path at all. */
        bool named = len > offsetof(struct sockaddr_un, sun_path);
        return g_strdup_printf("unix:%s", named ? ((struct sockaddr_un *)&addr)->sun_path : "");
    }
    if (getnameinfo((struct sockaddr *)&addr, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return NULL;
    }
    return g_strdup_printf(addr.ss_family == AF_INET6 ? "tcp:[%s]:%s" : "tcp:%s:%s", host, port);
}

static char *connected(const MonitorChardev *chr, int fd)
{
    g_autofree char *here = end_of(fd, getsockname), *there = end_of(fd, getpeername);
    const char *server = chr->server ? ",server=on" : "";

    if (here && there && g_str_has_prefix(there, "tcp:")) {
        return g_strdup_printf("%s%s <-> %s", here, server, there + strlen("tcp:"));
    }
    return g_strdup_printf("%s%s", here ?: "", server);
}

/* Nobody is there; what was asked for, with the port that was free if that was left open. */
static char *disconnected(const MonitorChardev *chr)
{
    g_autofree char *here = chr->listener.n > 0 ? end_of(chr->listener.fds[0], getsockname) : NULL;
    g_autofree char *spec = socket_spec_to_text(&chr->address);

    if (!here) {
        here = g_strdup_printf("%s%s", chr->address.kind == SOCKET_INET ? "tcp:" : "", spec);
    }
    return g_strdup_printf("disconnected:%s%s", here, chr->server ? ",server=on" : "");
}

QObject *monitor_chardev_address(const MonitorChardev *chr)
{
    const SocketSpec *spec = &chr->address;
    QDict *addr = qdict_new();
    g_autofree char *fd = NULL, *here = NULL;
    char *colon;

    switch (spec->kind) {
    case SOCKET_UNIX:
        qdict_put_str(addr, "type", "unix");
        qdict_put_str(addr, "path", spec->path);
        break;
    case SOCKET_FD:
        fd = g_strdup_printf("%d", spec->fd);
        qdict_put_str(addr, "type", "fd");
        qdict_put_str(addr, "str", fd);
        break;
    case SOCKET_INET:
        /* The port that was free, if that was left open. */
        here = chr->listener.n > 0 ? end_of(chr->listener.fds[0], getsockname) : NULL;
        colon = here ? strrchr(here, ':') : NULL;
        qdict_put_str(addr, "type", "inet");
        qdict_put_str(addr, "host", spec->host);
        qdict_put_str(addr, "port", colon ? colon + 1 : spec->port);
        break;
    }
    return QOBJECT(addr);
}

static char *filename(const MonitorChardev *chr)
{
    /* With several clients it is the first one that is told about. */
    const Channel *client = g_queue_peek_head((GQueue *)&chr->clients);
    int fd = client ? client->in_fd : chr->fd;

    if (chr->kind == CHARDEV_BACKEND_KIND_PTY) {
        return g_strdup_printf("pty:%s", chr->pty_name);
    }
    if (chr->kind != CHARDEV_BACKEND_KIND_SOCKET) {
        return g_strdup(ChardevBackendKind_str(chr->kind));
    }
    return fd >= 0 ? connected(chr, fd) : disconnected(chr);
}

bool qmp_query_chardev(ChardevInfoList **ret, Error **errp)
{
    ChardevInfoList *list = NULL, **tail = &list;

    for (GList *l = monitor_chardevs(); l; l = l->next) {
        const MonitorChardev *chr = l->data;
        ChardevInfo *info = g_new0(ChardevInfo, 1);

        info->label = g_strdup(chr->id);
        info->filename = filename(chr);
        info->frontend_open = chr->in_use;
        ChardevInfoList_append(&tail, info);
    }
    *ret = list;
    return true;
}
