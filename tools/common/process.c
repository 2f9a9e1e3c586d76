/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Background process and pid file. */
#include "qemu/osdep.h"

#include <sys/wait.h>

#include "process.h"

static int ready_fd = -1;           /* the child's end of the pipe to the waiting parent */
static char *pidfile;
static int pidfile_fd = -1;

/* The parent: exits as the daemon's start-up ends. */
static void G_GNUC_NORETURN wait_for_child(int fd, pid_t pid)
{
    uint8_t status;
    ssize_t n;

    do {
        n = read(fd, &status, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 1) {
        _exit(status);
    }
    waitpid(pid, NULL, WNOHANG);
    _exit(1);                       /* it died without a word */
}

void tool_daemonize(void)
{
    int fds[2];
    pid_t pid;

    if (pipe(fds) < 0 || (pid = fork()) < 0) {
        g_printerr("%s: cannot go to the background: %s\n", g_get_prgname(), g_strerror(errno));
        exit(1);
    }
    if (pid > 0) {
        close(fds[1]);
        wait_for_child(fds[0], pid);
    }
    close(fds[0]);
    fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    ready_fd = fds[1];
    setsid();
    pid = fork();                   /* never gets a terminal again */
    if (pid != 0) {
        _exit(pid < 0);
    }
    umask(027);
}

void tool_daemonize_done(int status)
{
    uint8_t byte = status;

    if (ready_fd < 0) {
        return;
    }
    if (status == 0) {
        int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (chdir("/") < 0 || null_fd < 0) {
            byte = 1;
        }
        for (int fd = 0; fd <= 2 && null_fd >= 0; fd++) {
            dup2(null_fd, fd);
        }
    }
    while (write(ready_fd, &byte, 1) < 0 && errno == EINTR) {
    }
    close(ready_fd);
    ready_fd = -1;
}

/* Is @fd the file that is now called @path, not one that a daemon removed as it ended? */
static bool is_file_at(int fd, const char *path)
{
    struct stat ours, there;

    return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
           ours.st_dev == there.st_dev;
}

/* The process that has the file @fd locked and wrote its number there; NULL: nobody has. */
static char *describe_owner(int fd)
{
    char text[32] = "";
    g_autofree char *comm_path = NULL, *comm = NULL;

    if (pread(fd, text, sizeof(text) - 1, 0) <= 0 || atoi(text) <= 0) {
        return NULL;
    }
    comm_path = g_strdup_printf("/proc/%d/comm", atoi(text));
    if (g_file_get_contents(comm_path, &comm, NULL, NULL)) {
        g_strchomp(comm);
    }
    return g_strdup_printf("process %d (%s)", atoi(text), comm ?: "unknown program");
}

/* The descriptor of @path with the lock on it, or -1. */
static int open_locked(const char *path, Error **errp)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) {
            error_setg_errno(errp, errno, "cannot create PID file: Cannot open '%s'", path);
            return -1;
        }
        if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
            int saved_errno = errno;
            g_autofree char *owner = describe_owner(fd);
            if (owner && (saved_errno == EAGAIN || saved_errno == EACCES)) {
                error_setg(errp, "cannot create PID file: Cannot lock '%s': %s runs with it", path,
                           owner);
            } else {
                error_setg_errno(errp, saved_errno, "cannot create PID file: Cannot lock '%s'",
                                 path);
            }
            close(fd);
            return -1;
        }
        if (is_file_at(fd, path)) {
            return fd;
        }
        close(fd);
    }
}

bool tool_pidfile_write(const char *path, Error **errp)
{
    g_autofree char *text = g_strdup_printf("%d\n", getpid());
    int fd = open_locked(path, errp);

    if (fd < 0) {
        return false;
    }
    if (ftruncate(fd, 0) < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        error_setg_errno(errp, errno, "cannot create PID file: Cannot write '%s'", path);
        unlink(path);
        close(fd);
        return false;
    }
    pidfile = g_canonicalize_filename(path, NULL);
    pidfile_fd = fd;
    return true;
}

void tool_pidfile_remove(void)
{
    if (pidfile) {
        unlink(pidfile);
        close(pidfile_fd);
        g_clear_pointer(&pidfile, g_free);
    }
}
