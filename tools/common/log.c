/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the lines of the log go: standard error, a file, syslog or systemd's journal.
 *
 * Until start-up is over each line goes to standard error as well: whoever started the program reads
 * there what is wrong with the command line.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>

#include "qemu/line-writer.h"
#include "qemu/log.h"
#include "tools/common/log.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define WARNING "warning: "

typedef enum LogKind { LOG_TO_STDERR, LOG_TO_FILE, LOG_TO_SYSLOG, LOG_TO_JOURNAL } LogKind;

/* kind, path and the first fd are set while there is one thread; then they belong to the log's. */
static struct {
    LogKind kind;
    char *path;                     /* absolute, of a file */
    int fd;                         /* of a file, or of the socket to the journal */
    gint on_stderr;                 /* atomic: start-up is not over */
    gint reopen;                    /* atomic: the file is to be opened again */
} logger = { .fd = -1, .on_stderr = true };

static void blocking_fn put_stderr(const char *line)
{
    g_autofree char *text = g_strdup_printf("%s: %s\n", g_get_prgname(), line);

    line_writer_write_all(STDERR_FILENO, text, strlen(text));
}

/* ---- a file ---- */

static int blocking_fn open_file(void)
{
    return open(logger.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
}

static void blocking_fn put_file(int64_t time_us, const char *line)
{
    g_autoptr(GDateTime) seconds = g_date_time_new_from_unix_utc(time_us / G_USEC_PER_SEC);
    g_autofree char *stamp = g_date_time_format(seconds, "%Y-%m-%dT%H:%M:%S");
    g_autofree char *text = g_strdup_printf("%s.%06dZ %s[%d]: %s\n", stamp,
                                            (int)(time_us % G_USEC_PER_SEC), g_get_prgname(),
                                            getpid(), line);

    line_writer_write_all(logger.fd, text, strlen(text));
}

/* What has moved the file away wants the rest elsewhere; if that fails, the old one goes on. */
static void blocking_fn reopen_file(void)
{
    int fd = open_file();

    if (fd < 0) {
        g_autofree char *text = g_strdup_printf(WARNING "the log '%s' cannot be opened again: %s",
                                                logger.path, g_strerror(errno));
        put_file(g_get_real_time(), text);
        return;
    }
    close(logger.fd);
    logger.fd = fd;
}

/* ---- syslog, journal ---- */

static int priority_of(const char *line)
{
    return g_str_has_prefix(line, WARNING) ? LOG_WARNING : LOG_NOTICE;
}

/* To the socket of the journal, or -1. */
static int blocking_fn connect_journal(void)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
        int saved_errno = errno;
        close(fd);
        errno = saved_errno;
        return -1;
    }
    return fd;
}

/* One datagram of the journal's native protocol: a field on each line. */
static void blocking_fn put_journal(const char *line)
{
    g_autofree char *one_line = g_strdelimit(g_strdup(line), "\n", ' ');
    g_autofree char *text = g_strdup_printf(
        "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nSYSLOG_PID=%d\nMESSAGE=%s\n", priority_of(line),
        g_get_prgname(), getpid(), one_line);

    if (send(logger.fd, text, strlen(text), MSG_NOSIGNAL) < 0 &&
        (errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET)) {
        int fd = connect_journal();     /* the journal was started again */
        if (fd >= 0) {
            close(logger.fd);
            logger.fd = fd;
            send(logger.fd, text, strlen(text), MSG_NOSIGNAL);
        }
    }
}

/* ---- the thread's side ---- */

static void blocking_fn put(int64_t time_us, const char *line)
{
    if (logger.kind == LOG_TO_STDERR || g_atomic_int_get(&logger.on_stderr)) {
        put_stderr(line);
    }
    switch (logger.kind) {
    case LOG_TO_STDERR:
        break;
    case LOG_TO_FILE:
        if (g_atomic_int_compare_and_exchange(&logger.reopen, true, false)) {
            reopen_file();
        }
        put_file(time_us, line);
        break;
    case LOG_TO_SYSLOG:
        syslog(priority_of(line), "%s", line);
        break;
    case LOG_TO_JOURNAL:
        put_journal(line);
        break;
    }
}

/* ---- the daemon's side ---- */

static bool choose(const char *where, Error **errp)
{
    context_block_anyway();         /* there is one thread, and no loop yet */
    if (!where || strcmp(where, "stderr") == 0) {
        return true;
    }
    if (strcmp(where, "syslog") == 0) {
        logger.kind = LOG_TO_SYSLOG;
        openlog(g_get_prgname(), LOG_PID, LOG_DAEMON);
        return true;
    }
    if (strcmp(where, "journal") == 0) {
        logger.kind = LOG_TO_JOURNAL;
        logger.fd = connect_journal();
        if (logger.fd < 0) {
            error_setg_errno(errp, errno, "--log: cannot reach the journal at '%s'",
                             JOURNAL_SOCKET);
        }
        return logger.fd >= 0;
    }
    logger.kind = LOG_TO_FILE;
    logger.path = g_canonicalize_filename(where, NULL);
    logger.fd = open_file();
    if (logger.fd < 0) {
        error_setg_errno(errp, errno, "--log: cannot open '%s'", where);
    }
    return logger.fd >= 0;
}

bool tool_log_init(const char *where, Error **errp)
{
    if (!choose(where, errp)) {
        return false;
    }
    log_writer_init(put);
    log_set_handler(log_writer_put);
    return true;
}

bool any_fn tool_log_is_on_stderr(void)
{
    return logger.kind == LOG_TO_STDERR;
}

void any_fn tool_log_reopen(void)
{
    g_atomic_int_set(&logger.reopen, true);
    log_line("the log goes on after a SIGHUP");
}

void blocking_fn tool_log_started(int64_t patience_ns)
{
    log_writer_finish(patience_ns);
    g_atomic_int_set(&logger.on_stderr, false);
}
