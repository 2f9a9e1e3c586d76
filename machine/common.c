/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What both implementations stand on: the list of disks, whom to tell, descriptors. */
#include "qemu/osdep.h"

#include <dirent.h>

#include "machine-internal.h"

MachineCallbacks machine_callbacks;
GList *machine_disks;

static char *program;
static bool detached;
static GArray *inherited;               /* of int */

void any_fn machine_set_program(const char *path, bool is_detached)
{
    g_free(program);
    program = g_strdup(path);
    detached = is_detached;
}

const char *any_fn machine_program(void)
{
    return program;
}

bool any_fn machine_is_detached(void)
{
    return detached;
}

/* ---- what was inherited ---- */

void blocking_fn machine_remember_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *e;

    inherited = g_array_new(false, false, sizeof(int));
    while (dir && (e = readdir(dir))) {
        int fd = atoi(e->d_name);
        if (fd > STDERR_FILENO && fd != dirfd(dir) && !(fcntl(fd, F_GETFD) & FD_CLOEXEC)) {
            g_array_append_val(inherited, fd);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

void main_fn machine_close_inherited(void)
{
    context_block_anyway();             /* they are not ours: what their end does is elsewhere */
    for (guint i = 0; inherited && i < inherited->len; i++) {
        int fd = g_array_index(inherited, int, i), flags = fcntl(fd, F_GETFD);
        if (flags >= 0 && !(flags & FD_CLOEXEC)) {
            close(fd);
        }
    }
    g_clear_pointer(&inherited, g_array_unref);
}

/* ---- shared ---- */

void main_fn machine_set_callbacks(const MachineCallbacks *cbs)
{
    machine_callbacks = *cbs;
}

MachineDisk *main_fn machine_disk_find(const char *qdev)
{
    for (GList *l = machine_disks; l; l = l->next) {
        MachineDisk *disk = l->data;

        if (strcmp(disk->id, qdev) == 0 ||
            (disk->state.qdev && strcmp(disk->state.qdev, qdev) == 0)) {
            return disk;
        }
    }
    return NULL;
}
