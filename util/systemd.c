/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "qemu/systemd.h"

#define FIRST_FD 3

int any_fn systemd_listen_fd(const char *name)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");

    if (!pid || !count || !names || strtol(pid, NULL, 10) != getpid()) {
        return -1;
    }
    g_auto(GStrv) list = g_strsplit(names, ":", -1);
    for (int i = 0; list[i] && i < strtol(count, NULL, 10); i++) {
        if (strcmp(list[i], name) == 0) {
            fcntl(FIRST_FD + i, F_SETFD, FD_CLOEXEC);
            return FIRST_FD + i;
        }
    }
    return -1;
}

void any_fn systemd_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd;

    if (!path || !path[0] || strlen(path) >= sizeof(sun.sun_path)) {
        return;
    }
    memcpy(sun.sun_path, path, strlen(path));
    if (sun.sun_path[0] == '@') {   /* the abstract name space */
        sun.sun_path[0] = 0;
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&sun,
               offsetof(struct sockaddr_un, sun_path) + strlen(path));
        close(fd);
    }
}
