/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standard output and standard error of the process, for what is no answer to a client.
 *
 * A client on standard output gets it in its place among answers.  Otherwise it is written in the
 * order in which it came, by a coroutine, so that nobody waits for whoever reads it; what nobody
 * reads is dropped once it is too much.
 */
#include "qemu/osdep.h"

#include "monitor-internal.h"
#include "qemu/limits.h"

typedef struct Piece {
    bool is_error;
    GString *text;
} Piece;

static GQueue pieces = G_QUEUE_INIT;
static size_t queued;           /* bytes in them */
static Coroutine *writer;       /* while there is something to write */
static bool given_up;           /* nobody reads, and the program ends */

/* The client that has standard output, NULL: none has. */
static MonitorSession *main_fn session_on_stdout(void)
{
    for (GList *l = monitor_sessions; l; l = l->next) {
        MonitorSession *s = l->data;

        if (s->chan->out_fd == STDOUT_FILENO && !s->out.broken && !s->out.ending) {
            return s;
        }
    }
    return NULL;
}

/* What a client is to see before the next piece, it has. */
static void co_main_fn wait_for_session(void)
{
    MonitorSession *s;

    while ((s = session_on_stdout()) && !monitor_output_is_empty(&s->out)) {
        aio_co_sleep_ns(NS_PER_MS / 2);
    }
}

static void co_main_fn write_piece(const Piece *piece)
{
    struct iovec iov = { piece->text->str, piece->text->len };
    MonitorSession *s = piece->is_error ? NULL : session_on_stdout();
    Channel chan;

    if (s) {
        monitor_output_put(&s->out, iov.iov_base, iov.iov_len);
        return;
    }
    wait_for_session();
    channel_init(&chan, -1, piece->is_error ? STDERR_FILENO : STDOUT_FILENO);
    channel_send_all(&chan, &iov, 1);
}

static void co_main_fn write_entry(void *opaque)
{
    Piece *piece;

    context_assert_main();
    context_assert_coroutine();
    writer = coroutine_self();
    while ((piece = g_queue_pop_head(&pieces))) {
        if (!given_up) {
            write_piece(piece);
        }
        queued -= piece->text->len;
        g_string_free(piece->text, TRUE);
        g_free(piece);
    }
    writer = NULL;
}

void monitor_print(bool is_error, const char *text)
{
    MonitorSession *s = session_on_stdout();
    size_t len = strlen(text);
    Piece *piece;

    if (s && !is_error && !writer) {
        monitor_output_put(&s->out, text, len);
        return;
    }
    if (given_up || queued + len > MONITOR_MAX_BYTES) {
        return;
    }
    piece = g_new0(Piece, 1);
    piece->is_error = is_error;
    piece->text = g_string_new_len(text, len);
    g_queue_push_tail(&pieces, piece);
    queued += len;
    if (!writer) {
        coroutine_start(write_entry, NULL);
    }
}

void monitor_print_wait(int64_t patience_ns)
{
    int64_t until = clock_ns() + patience_ns;

    while (writer && clock_ns() < until) {
        aio_co_sleep_ns(NS_PER_MS / 4);
    }
}

void monitor_print_finish(int64_t patience_ns)
{
    monitor_print_wait(patience_ns);
    given_up = true;
    while (writer) {
        aio_co_cancel(writer);
        aio_co_sleep_ns(NS_PER_MS);
    }
    given_up = false;
}
