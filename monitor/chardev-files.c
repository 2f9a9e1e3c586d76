/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Channels that are files, named pipes or terminals.
 *
 * Nobody waits for who is at the other end of a pipe: it is opened for both directions, which
 * succeeds at once, and then somebody is always there and its end is never seen.
 *
 * A terminal of the kind pty has somebody at it or not: reading fails with EIO while nobody has it
 * open.  inotify tells of the next one who opens it.
 */
#include "qemu/osdep.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <termios.h>

#include "monitor-internal.h"
#include "qemu/log.h"

/* ---- files and named pipes ---- */

typedef struct OpenTask {
    const char *path;
    int flags;
} OpenTask;

static int blocking_fn open_in_thread(void *opaque)
{
    OpenTask *t = opaque;
    int flags = t->flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    struct stat st;

    if (stat(t->path, &st) == 0 && S_ISFIFO(st.st_mode)) {
        flags = (flags & ~(O_ACCMODE | O_CREAT | O_TRUNC)) | O_RDWR;
    }
    int fd = open(t->path, flags, 0666);
    return fd < 0 ? -errno : fd;
}

int monitor_open_file(const char *path, int flags)
{
    OpenTask t = { path, flags };

    return thread_pool_co_run(open_in_thread, &t);
}

static bool co_main_fn open_file(const char *path, int flags, int *ret, Error **errp)
{
    *ret = monitor_open_file(path, flags);
    if (*ret < 0) {
        error_setg_errno(errp, -*ret, "Could not open '%s'", path);
        *ret = -1;
        return false;
    }
    return true;
}

/* P.in and P.out, or if these are not there P for both directions. */
static bool co_main_fn open_pipes(MonitorChardev *chr, const char *path, Error **errp)
{
    g_autofree char *in = g_strconcat(path, ".in", NULL), *out = g_strconcat(path, ".out", NULL);

    chr->in_fd = monitor_open_file(in, O_RDWR);
    chr->out_fd = monitor_open_file(out, O_RDWR);
    if (chr->in_fd >= 0 && chr->out_fd >= 0) {
        return true;
    }
    if (chr->in_fd >= 0 || chr->out_fd >= 0) {
        bool lacks_in = chr->in_fd < 0;

        error_setg_errno(errp, lacks_in ? -chr->in_fd : -chr->out_fd, "Could not open '%s'",
                         lacks_in ? in : out);
        chr->in_fd = MAX(chr->in_fd, -1);
        chr->out_fd = MAX(chr->out_fd, -1);
        return false;
    }
    chr->in_fd = chr->out_fd = -1;
    if (!open_file(path, O_RDWR, &chr->in_fd, errp)) {
        return false;
    }
    chr->out_fd = chr->in_fd;
    return true;
}

bool monitor_chardev_open_files(MonitorChardev *chr, const ChardevBackend *backend, Error **errp)
{
    const ChardevFile *f = backend->u.file.data;

    if (backend->type == CHARDEV_BACKEND_KIND_PIPE) {
        return open_pipes(chr, backend->u.pipe.data->device, errp);
    }
    int how = O_WRONLY | O_CREAT | (f->has_append && f->append ? O_APPEND : O_TRUNC);
    return (!f->in || open_file(f->in, O_RDONLY, &chr->in_fd, errp)) &&
           open_file(f->out, how, &chr->out_fd, errp);
}

/* ---- terminals ---- */

/* A terminal that has been opened and closed once tells when nobody has it open. */
static int blocking_fn make_raw(const char *name)
{
    int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios tty;

    if (fd < 0) {
        return -errno;
    }
    if (tcgetattr(fd, &tty) == 0) {
        cfmakeraw(&tty);
        tcsetattr(fd, TCSANOW, &tty);
    }
    close(fd);
    return 0;
}

static int blocking_fn open_pty_in_thread(void *opaque)
{
    MonitorChardev *chr = opaque;
    char name[64];

    chr->in_fd = chr->out_fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (chr->in_fd < 0) {
        return -errno;
    }
    if (grantpt(chr->in_fd) < 0 || unlockpt(chr->in_fd) < 0 ||
        ptsname_r(chr->in_fd, name, sizeof(name)) != 0) {
        return -errno;
    }
    chr->pty_name = g_strdup(name);
    int ret = make_raw(name);
    chr->pty_watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (chr->pty_watch_fd >= 0 && inotify_add_watch(chr->pty_watch_fd, name, IN_OPEN) < 0) {
        close(chr->pty_watch_fd);
        chr->pty_watch_fd = -1;
    }
    return ret;
}

bool monitor_chardev_open_pty(MonitorChardev *chr, Error **errp)
{
    int ret = thread_pool_co_run(open_pty_in_thread, chr);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to create PTY");
        return false;
    }
    log_line("info: char device redirected to %s (label %s)", chr->pty_name, chr->id);
    return true;
}

static bool is_open(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };

    return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

int monitor_pty_wait(MonitorChardev *chr)
{
    struct inotify_event events[16];

    while (!is_open(chr->in_fd)) {
        int ret = 0;

        if (chr->pty_watch_fd >= 0) {
            ret = aio_co_poll(chr->pty_watch_fd, POLLIN, -1);
            while (read(chr->pty_watch_fd, events, sizeof(events)) > 0) {
            }
        } else {
            aio_co_sleep_ns(NS_PER_SEC);
        }
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}
