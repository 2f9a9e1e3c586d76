/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unix:PATH, tcp:HOST:PORT, exec:COMMAND, fd:N: where a machine goes to and comes from. */
#include "qemu/osdep.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "migration-internal.h"
#include "qemu/sockets.h"

extern char **environ;

/* ---- exec: ---- */

typedef struct ExecTask {
    const char *command;
    bool writes;                    /* this process writes to it */
    int fd;
    pid_t child;
} ExecTask;

static int blocking_fn exec_in_thread(void *opaque)
{
    ExecTask *t = opaque;
    char *argv[] = { (char *)"sh", (char *)"-c", (char *)t->command, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -errno;
    }
    sigemptyset(&none);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    /* A group of its own: what the shell starts ends with it. */
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[t->writes ? 0 : 1],
                                     t->writes ? STDIN_FILENO : STDOUT_FILENO);
    int err = posix_spawn(&t->child, "/bin/sh", &actions, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    close(fds[t->writes ? 0 : 1]);
    if (err) {
        close(fds[t->writes ? 1 : 0]);
        return -err;
    }
    t->fd = fds[t->writes ? 1 : 0];
    return 0;
}

static bool co_main_fn run_command(const char *command, bool writes, MigrationPipe *ret,
                                   Error **errp)
{
    ExecTask t = { .command = command, .writes = writes };
    int err = thread_pool_co_run(exec_in_thread, &t);

    if (err < 0) {
        error_setg_errno(errp, -err, "Cannot run '%s'", command);
        return false;
    }
    ret->child = t.child;
    channel_init(&ret->chan, writes ? -1 : t.fd, writes ? t.fd : -1);
    return true;
}

static int blocking_fn wait_in_thread(void *opaque)
{
    const pid_t *child = opaque;
    int status;

    while (waitpid(*child, &status, 0) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPIPE;
}

int co_main_fn migration_pipe_close(MigrationPipe *p)
{
    channel_close(&p->chan);
    int ret = p->child ? thread_pool_co_run(wait_in_thread, &p->child) : 0;
    p->child = 0;
    return ret;
}

void main_fn migration_pipe_abort(MigrationPipe *p)
{
    if (p->child) {
        kill(-p->child, SIGKILL);        /* it is not waited for yet, so the number is its own */
    }
}

/* ---- sockets ---- */

/* False: @uri is none of these. */
static bool parse_socket(const char *uri, SocketSpec *ret)
{
    if (g_str_has_prefix(uri, "unix:")) {
        *ret = (SocketSpec){ .kind = SOCKET_UNIX, .path = g_strdup(uri + strlen("unix:")) };
        return true;
    }
    const char *rest = uri + strlen("tcp:"), *colon = strrchr(uri, ':');
    if (!g_str_has_prefix(uri, "tcp:") || colon < rest) {
        return false;
    }
    bool bracketed = rest[0] == '[' && colon > rest && colon[-1] == ']';
    *ret = (SocketSpec){
        .kind = SOCKET_INET, .port = g_strdup(colon + 1),
        .host = bracketed ? g_strndup(rest + 1, colon - rest - 2) : g_strndup(rest, colon - rest),
    };
    return true;
}

static bool parse_fd(const char *uri, int *ret)
{
    char *end;

    if (!g_str_has_prefix(uri, "fd:") || !g_ascii_isdigit(uri[3])) {
        return false;
    }
    *ret = (int)strtol(uri + 3, &end, 10);
    return *end == '\0' && fcntl(*ret, F_GETFD) >= 0;
}

static void bad_uri(const char *uri, Error **errp)
{
    error_setg(errp, "unknown migration protocol: %s", uri);
}

/* `exec:` may have blanks in front of its command. */
static const char *command_of(const char *uri)
{
    return g_str_has_prefix(uri, "exec:") ? uri + strlen("exec:") : NULL;
}

bool co_main_fn migration_connect(const char *uri, MigrationPipe *ret, Error **errp)
{
    SocketSpec spec;
    int fd;

    *ret = (MigrationPipe){ .child = 0 };
    if (command_of(uri)) {
        return run_command(command_of(uri), true, ret, errp);
    }
    if (parse_fd(uri, &fd)) {
        channel_init(&ret->chan, -1, fd);
        return true;
    }
    if (!parse_socket(uri, &spec)) {
        bad_uri(uri, errp);
        return false;
    }
    fd = socket_connect(&spec, errp);
    socket_spec_clear(&spec);
    if (fd >= 0) {
        channel_init(&ret->chan, fd, fd);
    }
    return fd >= 0;
}

static bool co_main_fn accept_one(const SocketSpec *spec, void (*listening)(void),
                                  MigrationPipe *ret, Error **errp)
{
    SocketListener listener = SOCKET_LISTENER_NONE;

    if (!socket_listen(spec, &listener, errp)) {
        return false;
    }
    listening();
    int fd = socket_accept(&listener);
    socket_listener_close(&listener);
    socket_unlink_co(spec);
    if (fd < 0) {
        error_setg_errno(errp, -fd, "Cannot accept a connection");
        return false;
    }
    channel_init(&ret->chan, fd, fd);
    return true;
}

bool co_main_fn migration_accept(const char *uri, void (*listening)(void), MigrationPipe *ret,
                                 Error **errp)
{
    SocketSpec spec;
    int fd;

    *ret = (MigrationPipe){ .child = 0 };
    if (command_of(uri) || parse_fd(uri, &fd)) {
        listening();
        if (!command_of(uri)) {
            channel_init(&ret->chan, fd, -1);
            return true;
        }
        return run_command(command_of(uri), false, ret, errp);
    }
    if (!parse_socket(uri, &spec)) {
        bad_uri(uri, errp);
        return false;
    }
    bool ok = accept_one(&spec, listening, ret, errp);
    socket_spec_clear(&spec);
    return ok;
}
