/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing to clients without ever waiting for one.
 *
 * Whoever has something to say puts it into the queue; a coroutine of the session writes it.  The
 * session itself stops running commands while its queue is long, so that only events can make it
 * grow without the client's doing.  A client that lets them pile up is cut off.
 */
#include "qemu/osdep.h"

#include "monitor-internal.h"
#include "qemu/limits.h"

void monitor_output_init(MonitorOutput *out, Channel *chan, void (*on_broken)(void *opaque),
                         void *opaque)
{
    *out = (MonitorOutput){
        .chan = chan,
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

/* Is more taken from whoever has something to say? */
static bool main_fn has_room(MonitorOutput *out)
{
    if (out->broken || out->ending) {
        return false;
    }
    if (out->pending->len + out->writing > MONITOR_MAX_BYTES) {
        monitor_output_break(out);
        return false;
    }
    return true;
}

void monitor_output_put(MonitorOutput *out, const char *text, size_t len)
{
    if (has_room(out)) {
        g_string_append_len(out->pending, text, len);
        wake_writer(out);
    }
}

void monitor_output_give(MonitorOutput *out, GString *text)
{
    if (has_room(out)) {
        if (out->pending->len == 0) {
            GString *empty = out->pending;
            out->pending = text;        /* megabytes are not copied */
            text = empty;
        } else {
            g_string_append_len(out->pending, text->str, text->len);
        }
        wake_writer(out);
    }
    g_string_free(text, TRUE);
}

void monitor_output_wait_short(MonitorOutput *out)
{
    while (!out->broken && out->pending->len + out->writing > MONITOR_LONG_BYTES) {
        out->drain_waiter = coroutine_self();
        coroutine_yield();
    }
}

bool monitor_output_is_empty(const MonitorOutput *out)
{
    return out->broken || out->pending->len + out->writing == 0;
}

/* Write all of @chunk; false if the client is gone. */
static bool co_main_fn write_chunk(MonitorOutput *out, const GString *chunk)
{
    size_t done = 0;

    while (done < chunk->len && !out->broken) {
        struct iovec iov = { chunk->str + done, chunk->len - done };
        ssize_t n = channel_send(out->chan, &iov, 1);

        if (n < 0) {
            return false;
        }
        done += n;
        out->writing = chunk->len - done;
        if (out->pending->len + out->writing <= MONITOR_LONG_BYTES) {
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
