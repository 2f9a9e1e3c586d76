/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening and closing what a channel leads to.  What may wait for a disk is done on a thread. */
#include "qemu/osdep.h"

#include <sys/socket.h>
#include <termios.h>

#include "monitor-internal.h"
#include "qapi/sockets.h"
#include "qemu/limits.h"
#include "qemu/log.h"

#define DEFAULT_RING_SIZE (64 * KiB)
/* How long a channel's log has to be written when the channel is closed. */
#define LOG_PATIENCE_NS NS_PER_SEC

static GList *openers;          /* of Coroutine, those that wait for somebody at the other end */
static bool stdio_refused;

void monitor_refuse_stdio(void)
{
    stdio_refused = true;
}

void monitor_chardev_cancel_open(void)
{
    for (GList *l = openers; l; l = l->next) {
        aio_co_cancel(l->data);
    }
}

/* ---- sockets ---- */

/* Is the descriptor one that clients connect to? */
static bool is_listening(int fd)
{
    int value = 0;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value;
}

/* A descriptor that was given to us is open, and a socket. */
static bool check_fd(int fd, Error **errp)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        error_setg_errno(errp, errno, "Cannot use file descriptor %d", fd);
        return false;
    }
    if (!S_ISSOCK(st.st_mode)) {
        error_setg(errp, "File descriptor %d is not a socket", fd);
        return false;
    }
    return true;
}

static bool co_main_fn listen_for_clients(MonitorChardev *chr, Error **errp)
{
    g_autofree char *text = NULL;

    if (!socket_listen(&chr->address, &chr->listener, errp)) {
        return false;
    }
    text = socket_spec_to_text(&chr->address);
    socket_spec_pin(&chr->address);
    if (!chr->wait) {
        return true;
    }
    log_line("info: QEMU waiting for connection on: disconnected:%s,server=on", text);
    openers = g_list_prepend(openers, coroutine_self());
    chr->fd = socket_accept(&chr->listener);
    openers = g_list_remove(openers, coroutine_self());
    if (chr->fd < 0) {
        error_setg_errno(errp, -chr->fd, "Cannot accept a connection on '%s'", text);
        chr->fd = -1;
        return false;
    }
    return true;
}

static bool co_main_fn connect_to_server(MonitorChardev *chr, Error **errp)
{
    openers = g_list_prepend(openers, coroutine_self());
    chr->fd = socket_connect(&chr->address, errp);
    openers = g_list_remove(openers, coroutine_self());
    if (chr->fd >= 0 && chr->address.kind == SOCKET_FD) {
        fcntl(chr->fd, F_SETFD, FD_CLOEXEC);
    }
    return chr->fd >= 0;
}

static bool co_main_fn open_socket(MonitorChardev *chr, const ChardevSocket *s, Error **errp)
{
    SocketAddress addr = { 0 };

    socket_address_flatten(s->addr, &addr);
    if (!socket_spec_from_qapi(&addr, &chr->address, errp)) {
        return false;
    }
    chr->server = s->has_server ? s->server : true;
    chr->wait = s->has_wait && s->wait;
    chr->delay = s->has_nodelay && !s->nodelay;
    if (chr->address.kind == SOCKET_FD) {
        if (!check_fd(chr->address.fd, errp)) {
            return false;
        }
        /* A listening socket says enough by itself, and a connected one needs no server. */
        chr->server = is_listening(chr->address.fd);
    } else if (s->has_wait && !chr->server) {
        error_setg(errp, "'wait' option is incompatible with socket in client connect mode");
        return false;
    }
    return chr->server ? listen_for_clients(chr, errp) : connect_to_server(chr, errp);
}

/* ---- standard input and output ---- */

/* Whether keys such as Ctrl-C send signals, if it is a terminal. */
static void set_terminal_signals(bool on)
{
    struct termios tty;

    if (tcgetattr(STDIN_FILENO, &tty) == 0) {
        tty.c_lflag = on ? tty.c_lflag | ISIG : tty.c_lflag & ~ISIG;
        tcsetattr(STDIN_FILENO, TCSANOW, &tty);
    }
}

/* Whether the terminal itself shows and edits what is typed. */
static void set_terminal_edits(bool on)
{
    const tcflag_t edits = ICANON | ECHO | IEXTEN;
    struct termios tty;

    if (tcgetattr(STDIN_FILENO, &tty) == 0) {
        tty.c_lflag = on ? tty.c_lflag | edits : tty.c_lflag & ~edits;
        tty.c_cc[VMIN] = 1;
        tty.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &tty);
    }
}

void monitor_chardev_edit_lines(MonitorChardev *chr)
{
    if (chr->kind == CHARDEV_BACKEND_KIND_STDIO) {
        chr->edits_lines = true;
        set_terminal_edits(false);
    }
}

static bool main_fn open_stdio(MonitorChardev *chr, const ChardevStdio *s, Error **errp)
{
    if (stdio_refused) {
        error_setg(errp, "cannot use stdio with --daemonize");
        return false;
    }
    for (GList *l = monitor_chardevs(); l; l = l->next) {
        const MonitorChardev *other = l->data;

        if (other->kind == CHARDEV_BACKEND_KIND_STDIO) {
            error_setg(errp, "cannot use stdio by multiple character devices");
            return false;
        }
    }
    chr->no_signals = s->has_signal && !s->signal;
    if (chr->no_signals) {
        set_terminal_signals(false);
    }
    return true;
}

/* ---- all kinds ---- */

static bool main_fn open_ring(MonitorChardev *chr, const ChardevRingbuf *r, Error **errp)
{
    chr->ring = monitor_ring_new(r->has_size && r->size ? r->size : DEFAULT_RING_SIZE, errp);
    return chr->ring != NULL;
}

/* The options that all kinds have, which are the first members of each. */
static const ChardevCommon *common_of(const ChardevBackend *b)
{
    switch (b->type) {
    case CHARDEV_BACKEND_KIND_FILE:
        return (const ChardevCommon *)b->u.file.data;
    case CHARDEV_BACKEND_KIND_PIPE:
        return (const ChardevCommon *)b->u.pipe.data;
    case CHARDEV_BACKEND_KIND_SOCKET:
        return (const ChardevCommon *)b->u.socket.data;
    case CHARDEV_BACKEND_KIND_PTY:
        return b->u.pty.data;
    case CHARDEV_BACKEND_KIND_NULL:
        return b->u.null.data;
    case CHARDEV_BACKEND_KIND_STDIO:
        return (const ChardevCommon *)b->u.stdio.data;
    case CHARDEV_BACKEND_KIND_RINGBUF:
        return (const ChardevCommon *)b->u.ringbuf.data;
    default:
        return (const ChardevCommon *)b->u.memory.data;
    }
}

static bool co_main_fn open_kind(MonitorChardev *chr, const ChardevBackend *b, Error **errp)
{
    switch (b->type) {
    case CHARDEV_BACKEND_KIND_FILE:
    case CHARDEV_BACKEND_KIND_PIPE:
        return monitor_chardev_open_files(chr, b, errp);
    case CHARDEV_BACKEND_KIND_SOCKET:
        return open_socket(chr, b->u.socket.data, errp);
    case CHARDEV_BACKEND_KIND_PTY:
        return monitor_chardev_open_pty(chr, errp);
    case CHARDEV_BACKEND_KIND_STDIO:
        return open_stdio(chr, b->u.stdio.data, errp);
    case CHARDEV_BACKEND_KIND_RINGBUF:
        return open_ring(chr, b->u.ringbuf.data, errp);
    case CHARDEV_BACKEND_KIND_MEMORY:
        return open_ring(chr, b->u.memory.data, errp);
    default:
        return true;
    }
}

bool monitor_chardev_open(MonitorChardev *chr, const ChardevBackend *backend, Error **errp)
{
    const ChardevCommon *common = common_of(backend);

    chr->kind = backend->type;
    if (common->logfile) {
        bool append = common->has_logappend && common->logappend;

        chr->log = monitor_log_new(common->logfile, append, errp);
        if (!chr->log) {
            return false;
        }
    }
    return open_kind(chr, backend, errp);
}

static int blocking_fn close_in_thread(void *opaque)
{
    MonitorChardev *chr = opaque;
    Channel files = { .in_fd = chr->in_fd, .out_fd = chr->out_fd };

    channel_close(&files);
    if (chr->pty_watch_fd >= 0) {
        close(chr->pty_watch_fd);
    }
    chr->in_fd = chr->out_fd = chr->pty_watch_fd = -1;
    return 0;
}

void monitor_chardev_close(MonitorChardev *chr)
{
    if (chr->no_signals) {
        set_terminal_signals(true);
    }
    if (chr->edits_lines) {
        set_terminal_edits(true);
    }
    if (chr->listener.n > 0) {
        socket_listener_close(&chr->listener);
        socket_unlink_co(&chr->address);
    }
    if (chr->fd >= 0) {
        close(chr->fd);
    }
    if (chr->in_fd >= 0 || chr->out_fd >= 0) {
        thread_pool_co_run(close_in_thread, chr);
    }
    monitor_log_free(chr->log, LOG_PATIENCE_NS);
    monitor_ring_free(chr->ring);
    socket_spec_clear(&chr->address);
}

void monitor_chardev_sent(MonitorChardev *chr, const char *bytes, size_t len)
{
    if (chr->ring) {
        monitor_ring_put(chr->ring, bytes, len);
    }
    if (chr->log) {
        monitor_log_put(chr->log, bytes, len);
    }
}
