/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing to clients without ever waiting for one.
 *
 * Whoever has something to say puts it into the queue; a coroutine of the session writes it.  The
 * session itself stops running commands while its queue is long, so that only events can make it
 * grow without the client's doing.  A client that lets them pile up is cut off.
 */
#include "qemu/osdep.h"

#include <poll.h>

#include "monitor-internal.h"

/* From here the session runs no further command until the client has read. */
#define LONG_BYTES (1 * MiB)
/* From here the client is cut off. */
#define MAX_BYTES (64 * MiB)

/* Wait until @fd is ready; files are always ready, and cannot be polled. */
static int co_main_fn wait_ready(int fd, int events)
{
    int ret = aio_co_poll(fd, events, -1);

    return ret == -EPERM ? 0 : MIN(ret, 0);
}

ssize_t monitor_read(int fd, bool is_socket, void *buf, size_t len)
{
    struct iovec iov = { .iov_base = buf, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t ret;

    if (is_socket) {
        return aio_co_recvmsg(fd, &msg, 0);
    }
    do {
        ret = wait_ready(fd, POLLIN);
        if (ret < 0) {
            return ret;
        }
        ret = read(fd, buf, len);
    } while (ret < 0 && (errno == EAGAIN || errno == EINTR));
    return ret < 0 ? -errno : ret;
}

ssize_t monitor_write(int fd, bool is_socket, const void *buf, size_t len)
{
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t ret;

    if (is_socket) {
        return aio_co_sendmsg(fd, &msg, 0);
    }
    do {
        ret = wait_ready(fd, POLLOUT);
        if (ret < 0) {
            return ret;
        }
        ret = write(fd, buf, len);
    } while (ret < 0 && (errno == EAGAIN || errno == EINTR));
    return ret < 0 ? -errno : ret;
}

static bool is_socket(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

void monitor_output_init(MonitorOutput *out, int fd, void (*on_broken)(void *opaque),
                         void *opaque)
{
    *out = (MonitorOutput){
        .fd = fd,
        .is_socket = is_socket(fd),
        .pending = g_string_new(NULL),
        .on_broken = on_broken,
        .opaque = opaque,
    };
}

void monitor_output_destroy(MonitorOutput *out)
{
    assert(!out->writer);
    g_string_free(out->pending, TRUE);
}

static void main_fn wake(Coroutine **waiter)
{
    if (*waiter) {
        coroutine_wake(g_steal_pointer(waiter));
    }
}

static void main_fn wake_writer(MonitorOutput *out)
{
    if (out->writer_idle) {
        out->writer_idle = false;
        coroutine_wake(out->writer);
    }
}

void monitor_output_break(MonitorOutput *out)
{
    if (out->broken) {
        return;
    }
    out->broken = true;
    g_string_truncate(out->pending, 0);
    if (out->writer && !out->writer_idle && out->writing) {
        aio_co_cancel(out->writer);
    }
    wake_writer(out);
    wake(&out->drain_waiter);
    out->on_broken(out->opaque);
}

void monitor_output_end(MonitorOutput *out)
{
    out->ending = true;
    wake_writer(out);
}

void monitor_output_put(MonitorOutput *out, const char *text, size_t len)
{
    if (out->broken || out->ending) {
        return;
    }
    if (out->pending->len + out->writing > MAX_BYTES) {
        monitor_output_break(out);
        return;
    }
    g_string_append_len(out->pending, text, len);
    wake_writer(out);
}

void monitor_output_wait_short(MonitorOutput *out)
{
    while (!out->broken && out->pending->len + out->writing > LONG_BYTES) {
        out->drain_waiter = coroutine_self();
        coroutine_yield();
    }
}

/* Write all of @chunk; false if the client is gone. */
static bool co_main_fn write_chunk(MonitorOutput *out, const GString *chunk)
{
    size_t done = 0;

    while (done < chunk->len && !out->broken) {
        ssize_t n = monitor_write(out->fd, out->is_socket, chunk->str + done, chunk->len - done);

        if (n < 0) {
            return false;
        }
        done += n;
        out->writing = chunk->len - done;
        if (out->pending->len + out->writing <= LONG_BYTES) {
            wake(&out->drain_waiter);
        }
    }
    return !out->broken;
}

void monitor_output_writer(void *opaque)
{
    MonitorOutput *out = opaque;
    GString *chunk = g_string_new(NULL);

    context_assert_main();
    context_assert_coroutine();
    out->writer = coroutine_self();
    while (!out->broken) {
        GString *taken = out->pending;

        if (taken->len == 0) {
            if (out->ending) {
                break;
            }
            out->writer_idle = true;
            coroutine_yield();
            continue;
        }
        out->pending = chunk;
        out->writing = taken->len;
        chunk = taken;
        if (!write_chunk(out, chunk)) {
            out->writing = 0;
            monitor_output_break(out);
        }
        out->writing = 0;
        /* Memory that a long reply needed is not kept. */
        g_string_free(chunk, TRUE);
        chunk = g_string_new(NULL);
    }
    g_string_free(chunk, TRUE);
    out->writer = NULL;
}
