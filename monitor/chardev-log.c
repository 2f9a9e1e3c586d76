/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file that gets what the clients of a channel are sent.  Nobody waits for its disk: bytes are
 * put into a queue, a coroutine writes them, and what finds the queue full is left out.
 */
#include "qemu/osdep.h"

#include "monitor-internal.h"
#include "qemu/limits.h"
#include "qemu/log.h"

struct MonitorLog {
    char *path;
    Channel chan;
    GString *pending;           /* not taken by the writer yet */
    uint64_t left_out;          /* bytes; told once the file takes some again */
    bool writing;               /* the writer runs */
    bool broken;                /* it told that it cannot write */
    bool abandoned;             /* the writer frees it */
    Coroutine *finish_waiter;   /* waits for the end of the writer */
};

static int blocking_fn close_in_thread(void *opaque)
{
    channel_close(opaque);
    return 0;
}

static void co_main_fn log_destroy(MonitorLog *log)
{
    thread_pool_co_run(close_in_thread, &log->chan);
    g_string_free(log->pending, TRUE);
    g_free(log->path);
    g_free(log);
}

MonitorLog *monitor_log_new(const char *path, bool append, Error **errp)
{
    int fd = monitor_open_file(path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC));
    MonitorLog *log;

    if (fd < 0) {
        error_setg_errno(errp, -fd, "Could not create '%s'", path);
        return NULL;
    }
    log = g_new0(MonitorLog, 1);
    log->path = g_strdup(path);
    log->pending = g_string_new(NULL);
    channel_init(&log->chan, -1, fd);
    return log;
}

static void co_main_fn write_chunk(MonitorLog *log, GString *chunk)
{
    struct iovec iov = { chunk->str, chunk->len };
    int ret = channel_send_all(&log->chan, &iov, 1);

    if (ret < 0 && ret != -ECANCELED && !log->broken) {
        log_line("warning: cannot write to the log '%s' of a channel: %s", log->path,
                 g_strerror(-ret));
    }
    log->broken = ret < 0;
    if (ret == 0 && log->left_out > 0) {
        log_line("warning: %" PRIu64 " bytes were left out of the log '%s' of a channel: its disk "
                 "was too slow", log->left_out, log->path);
        log->left_out = 0;
    }
}

static void co_main_fn writer_entry(void *opaque)
{
    MonitorLog *log = opaque;

    context_assert_main();
    context_assert_coroutine();
    while (log->pending->len > 0) {
        g_autoptr(GString) chunk = g_steal_pointer(&log->pending);

        log->pending = g_string_new(NULL);
        write_chunk(log, chunk);
    }
    log->writing = false;
    if (log->finish_waiter) {
        coroutine_wake(g_steal_pointer(&log->finish_waiter));
    } else if (log->abandoned) {
        log_destroy(log);
    }
}

void monitor_log_put(MonitorLog *log, const char *bytes, size_t len)
{
    if (log->pending->len + len > MONITOR_MAX_LOG_BYTES) {
        log->left_out += len;
        return;
    }
    g_string_append_len(log->pending, bytes, len);
    if (!log->writing) {
        log->writing = true;
        coroutine_start(writer_entry, log);
    }
}

static void patience_is_over(void *opaque)
{
    MonitorLog *log = opaque;

    context_assert_main();
    if (log->finish_waiter) {
        coroutine_wake(g_steal_pointer(&log->finish_waiter));
    }
}

void monitor_log_free(MonitorLog *log, int64_t patience_ns)
{
    AioTimer timer;

    if (!log) {
        return;
    }
    if (log->writing) {
        aio_timer_init(&timer, aio_context_current(), patience_is_over, log);
        aio_timer_arm(&timer, clock_ns() + patience_ns);
        log->finish_waiter = coroutine_self();
        coroutine_yield();
        aio_timer_disarm(&timer);
    }
    if (log->writing) {
        log->abandoned = true;
    } else {
        log_destroy(log);
    }
}
