/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Channels: made and removed. */
#include "qemu/osdep.h"

#include "monitor-internal.h"
#include "qobject/keyval.h"

static void co_main_fn chardev_free(MonitorChardev *chr)
{
    g_assert(chr->clients.length == 0);
    monitor_chardev_close(chr);
    g_free(chr->pty_name);
    g_free(chr->id);
    g_free(chr);
}

void monitor_chardev_remove(MonitorChardev *chr)
{
    monitor_chardev_unlist(chr);
    chardev_free(chr);
}

void monitor_chardev_free_all(void)
{
    while (monitor_chardevs()) {
        monitor_chardev_remove(monitor_chardevs()->data);
    }
}

/* Nobody else has the name, nor took what is to be changed while this one was opened. */
static bool main_fn may_be_called(const char *id, const MonitorChardev *old, Error **errp)
{
    MonitorChardev *there = monitor_chardev_find(id);

    if (there != old || (old && old->in_use)) {
        error_setg(errp, "Chardev with id '%s' already exists", id);
        return false;
    }
    return true;
}

MonitorChardev *monitor_chardev_new(const char *id, const ChardevBackend *backend,
                                    MonitorChardev *old, Error **errp)
{
    MonitorChardev *chr;

    if (!may_be_called(id, old, errp)) {
        return NULL;
    }
    chr = g_new0(MonitorChardev, 1);
    chr->id = g_strdup(id);
    chr->listener = SOCKET_LISTENER_NONE;
    chr->fd = chr->address.fd = chr->in_fd = chr->out_fd = chr->pty_watch_fd = -1;
    g_queue_init(&chr->clients);
    if (!monitor_chardev_open(chr, backend, errp) || !may_be_called(id, old, errp)) {
        chardev_free(chr);
        return NULL;
    }
    monitor_chardev_list(chr, old);
    if (old) {
        chardev_free(old);
    }
    return chr;
}

MonitorChardev *monitor_chardev_from_dict(const QDict *options, Error **errp)
{
    g_autofree char *id = NULL;
    g_autoptr(ChardevBackend) backend = monitor_chardev_parse(options, &id, errp);

    return backend ? monitor_chardev_new(id, backend, NULL, errp) : NULL;
}

bool monitor_chardev_add(const char *text, Error **errp)
{
    g_autoptr(QDict) options = keyval_parse_flat(text, "backend", errp);

    return options && monitor_chardev_from_dict(options, errp);
}
