/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD server and what it exports. */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "qapi/qapi-commands.h"

/* "unix:PATH" or "HOST:PORT", where HOST may be in brackets.  Caller frees. */
static SocketAddressLegacy *parse_address(const char *uri, Error **errp)
{
    g_autoptr(SocketAddressLegacy) addr = g_new0(SocketAddressLegacy, 1);
    const char *colon = strrchr(uri, ':');
    InetSocketAddress *inet;

    if (g_str_has_prefix(uri, "unix:")) {
        addr->type = SOCKET_ADDRESS_TYPE_UNIX;
        addr->u.q_unix.data = g_new0(UnixSocketAddress, 1);
        addr->u.q_unix.data->path = g_strdup(uri + strlen("unix:"));
        return g_steal_pointer(&addr);
    }
    if (!colon || !colon[1]) {
        error_setg(errp, "error parsing address '%s'", uri);
        return NULL;
    }
    addr->type = SOCKET_ADDRESS_TYPE_INET;
    inet = addr->u.inet.data = g_new0(InetSocketAddress, 1);
    inet->host = uri[0] == '[' && colon > uri + 1 && colon[-1] == ']'
                 ? g_strndup(uri + 1, colon - uri - 2) : g_strndup(uri, colon - uri);
    inet->port = g_strdup(colon + 1);
    return g_steal_pointer(&addr);
}

static bool co_main_fn add(const char *device, const char *name, bool writable, Error **errp)
{
    NbdServerAddOptions q = {
        .device = (char *)device, .name = (char *)name, .has_writable = true,
        .writable = writable,
    };

    return qmp_nbd_server_add(&q, errp);
}

/* Every disk that has something in it, by its own name. */
static bool co_main_fn add_all(bool writable, Error **errp)
{
    g_autoptr(BlockInfoList) disks = NULL;

    if (!qmp_query_block(&disks, errp)) {
        return false;
    }
    for (BlockInfoList *l = disks; l; l = l->next) {
        const BlockInfo *disk = l->value;

        if (*disk->device && disk->inserted &&
            !add(disk->device, NULL, writable && !disk->inserted->ro, errp)) {
            return false;
        }
    }
    return true;
}

static void co_main_fn start(GString *out, const HmpArgs *args)
{
    bool all = hmp_flag(args, "a"), writable = hmp_flag(args, "w");
    g_autoptr(SocketAddressLegacy) addr = NULL;
    QmpNbdServerStopArgs stop = { .id = NULL };
    Error *err = NULL;

    if (writable && !all) {
        error_setg(&err, "-w only valid together with -a");
    } else {
        addr = parse_address(hmp_str(args, "uri"), &err);
    }
    if (addr) {
        QmpNbdServerStartArgs q = { .addr = addr };
        if (qmp_nbd_server_start(&q, &err) && all && !add_all(writable, &err)) {
            qmp_nbd_server_stop(&stop, NULL);
        }
    }
    hmp_failed(out, err);
}

static void co_main_fn add_one(GString *out, const HmpArgs *args)
{
    Error *err = NULL;

    add(hmp_str(args, "device"), hmp_str(args, "name"), hmp_flag(args, "w"), &err);
    hmp_failed(out, err);
}

static void co_main_fn remove_one(GString *out, const HmpArgs *args)
{
    QmpNbdServerRemoveArgs q = {
        .name = (char *)hmp_str(args, "name"), .has_mode = true,
        .mode = hmp_flag(args, "f") ? BLOCK_EXPORT_REMOVE_MODE_HARD
                                    : BLOCK_EXPORT_REMOVE_MODE_SAFE,
    };
    Error *err = NULL;

    qmp_nbd_server_remove(&q, &err);
    hmp_failed(out, err);
}

static void co_main_fn stop_server(GString *out, const HmpArgs *args)
{
    QmpNbdServerStopArgs q = { .id = NULL };
    Error *err = NULL;

    qmp_nbd_server_stop(&q, &err);
    hmp_failed(out, err);
}

const HmpCommand hmp_nbd_commands[] = {
    { "nbd_server_add", "nbd_server_add [-w] device [name]", "export a block device via NBD",
      add_one, { { "w", HMP_FLAG }, { "device", HMP_DEVICE }, { "name", HMP_STRING, true } } },
    { "nbd_server_remove", "nbd_server_remove [-f] name", "remove an export previously exposed via "
      "NBD", remove_one, { { "f", HMP_FLAG }, { "name", HMP_STRING } } },
    { "nbd_server_start", "nbd_server_start [-a] [-w] host:port", "serve block devices on the "
      "given host and port", start, { { "a", HMP_FLAG }, { "w", HMP_FLAG }, { "uri", HMP_STRING } } },
    { "nbd_server_stop", "nbd_server_stop", "stop serving block devices using the NBD protocol",
      stop_server },
    { NULL },
};
