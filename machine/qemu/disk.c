/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk of the child: an export of the device's backend that only the child can reach, and in the
 * child two nodes, the connection (x-N.G) and what the device has (x-N).
 *
 * D1 The export is there as long as the child has a connection to it, and is never found by
 *    clients: its server is private, and it is no BlkExport.
 * D2 Only the length of a medium that the child was told when it connected is known to it: another
 *    length takes another connection, generation G + 1.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "arguments.h"
#include "nbd/server.h"
#include "qemu-internal.h"
#include "qemu/log.h"
#include "qemu/trace.h"

static NbdServer *server;

/* The child lets go of a device's node a moment after it has told that the device is gone. */
#define LET_GO_TRIES 50
#define LET_GO_NS (20 * NS_PER_MS)

/* ---- here ---- */

void main_fn machine_qemu_disk_new(MachineDisk *disk)
{
    disk->qemu = g_new0(MachineQemuDisk, 1);
    disk->qemu->node = machine_qemu_new_name();
}

/* The name that the next connection has. */
static char *main_fn next_link(MachineDisk *disk)
{
    return g_strdup_printf("%s.%u", disk->qemu->node, disk->qemu->generation++);
}

static bool main_fn export(MachineDisk *disk, Error **errp)
{
    NbdExportOptions opts = {
        .name = disk->qemu->node, .writable = !disk->read_only, .iothread = disk->iothread,
    };

    if (!server) {
        server = nbd_server_new_private();
    }
    disk->qemu->length = blk_length(disk->blk);
    disk->qemu->exp = nbd_export_new(server, disk->blk, &opts, errp);
    return disk->qemu->exp != NULL;
}

static void co_main_fn unexport(MachineDisk *disk)
{
    if (disk->qemu->exp) {
        nbd_export_free(g_steal_pointer(&disk->qemu->exp));
    }
}

/* The child's end of a connection that is served from now on, or -1. */
static int main_fn connect_to_us(Error **errp)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        error_setg_errno(errp, errno, "cannot make a connection for a disk of the machine");
        return -1;
    }
    context_block_anyway();         /* flags */
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    nbd_server_serve(server, fds[0]);
    return fds[1];
}

int main_fn machine_qemu_disk_prepare(MachineDisk *disk, Error **errp)
{
    if (!export(disk, errp)) {
        return -1;
    }
    disk->qemu->link = next_link(disk);
    trace_machine_disk(disk->id, disk->qemu->link, "begin");
    return connect_to_us(errp);
}

void co_main_fn machine_qemu_disk_free(MachineDisk *disk)
{
    while (disk->qemu->exchanging) {
        aio_co_sleep_ns(LET_GO_NS);
    }
    unexport(disk);
    g_free(disk->qemu->node);
    g_free(disk->qemu->link);
    g_free(g_steal_pointer(&disk->qemu));
}

void co_main_fn machine_qemu_disks_stop(void)
{
    for (GList *l = machine_disks; l; l = l->next) {
        unexport(l->data);
    }
    if (server) {
        nbd_server_stop(g_steal_pointer(&server));
    }
}

/* ---- there ---- */

static bool co_main_fn run(const char *name, const QDict *arguments, Error **errp)
{
    g_autoptr(QObject) ret = machine_qmp_run(machine_qemu_qmp(), name, arguments, NULL, 0,
                                             MACHINE_QMP_AT_ONCE, MACHINE_PATIENCE_NS, errp);

    return ret != NULL;
}

static bool co_main_fn run_one(const char *command, const char *key, const char *value,
                               Error **errp)
{
    g_autoptr(QDict) arguments = qdict_new();

    qdict_put_str(arguments, key, value);
    return run(command, arguments, errp);
}

/* A node @link that is connected to the export. */
static bool co_main_fn add_link(MachineDisk *disk, const char *link, Error **errp)
{
    g_autoptr(QDict) name = qdict_new();
    g_autoptr(QObject) ret = NULL;
    g_autoptr(QDict) options =
        machine_link_options(link, disk->qemu->node, link, disk->read_only);
    int fd = connect_to_us(errp);

    if (fd < 0) {
        return false;
    }
    qdict_put_str(name, "fdname", link);
    ret = machine_qmp_run(machine_qemu_qmp(), "getfd", name, &fd, 1, MACHINE_QMP_AT_ONCE,
                          MACHINE_PATIENCE_NS, errp);
    context_block_anyway();         /* a socket */
    close(fd);
    if (!ret) {
        return false;
    }
    if (!run("blockdev-add", options, errp)) {
        run_one("closefd", "fdname", link, NULL);
        return false;
    }
    return true;
}

bool co_main_fn machine_qemu_disk_plug(MachineDisk *disk, Error **errp)
{
    g_autofree char *link = next_link(disk);
    g_autoptr(QDict) options = machine_node_options(disk->qemu->node, link, disk->read_only);

    if (!export(disk, errp)) {
        return false;
    }
    if (!add_link(disk, link, errp)) {
        unexport(disk);
        return false;
    }
    if (!run("blockdev-add", options, errp)) {
        run_one("blockdev-del", "node-name", link, NULL);
        unexport(disk);
        return false;
    }
    disk->qemu->link = g_steal_pointer(&link);
    trace_machine_disk(disk->id, disk->qemu->link, "begin");
    return true;
}

void co_main_fn machine_qemu_disk_unplug(MachineDisk *disk)
{
    g_autofree char *link = g_steal_pointer(&disk->qemu->link);
    bool ok = false;

    if (!link) {
        return;
    }
    for (int i = 0; i < LET_GO_TRIES && !ok; i++) {
        if (i > 0) {
            aio_co_sleep_ns(LET_GO_NS);
        }
        ok = run_one("blockdev-del", "node-name", disk->qemu->node, NULL);
    }
    if (ok) {
        run_one("blockdev-del", "node-name", link, NULL);
    }
    trace_machine_disk(disk->id, link, "end");
    unexport(disk);
}

/* The node @link takes the place of the connection that there is. */
static bool co_main_fn exchange(MachineDisk *disk, Error **errp)
{
    MachineQemuDisk *d = disk->qemu;
    g_autofree char *link = next_link(disk);
    g_autoptr(QDict) reopen = qdict_new();
    g_autoptr(QDict) resize = qdict_new();
    QList *list = qlist_new();

    qlist_append(list, QOBJECT(machine_node_options(d->node, link, disk->read_only)));
    qdict_put(reopen, "options", QOBJECT(list));
    qdict_put_str(resize, "node-name", d->node);
    d->length = blk_length(disk->blk);
    qdict_put_int(resize, "size", d->length);
    if (!add_link(disk, link, errp)) {
        return false;
    }
    if (!run("blockdev-reopen", reopen, errp)) {
        run_one("blockdev-del", "node-name", link, NULL);
        return false;
    }
    run_one("blockdev-del", "node-name", d->link, NULL);
    g_free(d->link);
    d->link = g_steal_pointer(&link);
    trace_machine_disk(disk->id, d->link, "exchange");
    return run("block_resize", resize, errp);
}

/* One whose length is another than the child knows; NULL: none. */
static MachineDisk *main_fn find_changed(void)
{
    for (GList *l = machine_disks; l; l = l->next) {
        MachineDisk *disk = l->data;

        if (disk->qemu->link && !disk->qemu->exchanging && blk_bs(disk->blk) &&
            blk_length(disk->blk) != disk->qemu->length) {
            return disk;
        }
    }
    return NULL;
}

void co_main_fn machine_qemu_check_lengths(void)
{
    MachineDisk *disk;

    /* One that cannot be exchanged is not tried again before it has yet another length. */
    while (machine_qemu_qmp() && (disk = find_changed())) {
        Error *err = NULL;
        disk->qemu->exchanging = true;
        if (!exchange(disk, &err)) {
            log_line("the machine does not see that the length of '%s' has changed: %s",
                     disk->shown ?: disk->id, error_get_pretty(err));
            error_free(err);
        }
        disk->qemu->exchanging = false;
    }
}
