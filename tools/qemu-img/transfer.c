/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running the copier to its end. */
#include "qemu/osdep.h"

#include <signal.h>

#include "qemu/aio.h"
#include "transfer.h"

#define LOOK_EVERY_NS (100 * NS_PER_MS)
/* A bit of the bitmap is for at least so much, and there are at most so many. */
#define MIN_GRANULARITY (64 * KiB)
#define MAX_BITS (INT64_C(1) << 27)

static volatile sig_atomic_t stop_signal;

static void stop(int signal)
{
    stop_signal = signal;
}

void img_catch_signals(void)
{
    /* The second one ends the program at once. */
    struct sigaction action = { .sa_handler = stop, .sa_flags = SA_RESTART | SA_RESETHAND };

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool any_fn img_was_interrupted(void)
{
    return stop_signal != 0;
}

/* ---- turns ---- */

uint64_t co_fn img_turns_take(ImgTurns *t)
{
    return t->next_ticket++;
}

void co_fn img_turns_pass(ImgTurns *t, uint64_t ticket)
{
    while (t->turn != ticket) {
        GList link = { .data = coroutine_self() };
        g_queue_push_tail_link(&t->waiting, &link);
        coroutine_yield();
    }
    t->turn++;
    for (GList *link; (link = g_queue_pop_head_link(&t->waiting)); ) {
        coroutine_wake(link->data);
    }
}

/* ---- buffers ---- */

void *any_fn img_buffers_get(ImgBuffers *b, size_t bytes)
{
    if (bytes > IMG_BUFFER_BYTES) {
        return bdrv_try_blockalign(bytes);
    }
    return b->n > 0 ? b->free[--b->n] : bdrv_try_blockalign(IMG_BUFFER_BYTES);
}

void any_fn img_buffers_put(ImgBuffers *b, void *buf, size_t bytes)
{
    if (buf && bytes <= IMG_BUFFER_BYTES && b->n < (int)G_N_ELEMENTS(b->free)) {
        b->free[b->n++] = buf;
    } else {
        free(buf);
    }
}

void any_fn img_buffers_clear(ImgBuffers *b)
{
    while (b->n > 0) {
        free(b->free[--b->n]);
    }
}

/* ---- beside the copier: who looks how far it is ---- */

typedef struct Watch {
    BdrvCopy *copy;
    ImgProgress *progress;
    Coroutine *watcher, *runner;    /* @runner: waits for the watcher's end, or NULL */
    bool ended;
} Watch;

static void main_fn show(const Watch *w)
{
    int64_t done = bdrv_copy_done(w->copy);

    img_progress_set(w->progress, done, done + bdrv_copy_remaining(w->copy));
}

static void co_main_fn watch_entry(void *opaque)
{
    Watch *w = opaque;

    w->watcher = coroutine_self();
    while (!w->ended) {
        aio_co_sleep_ns(LOOK_EVERY_NS);
        show(w);
        if (stop_signal) {
            bdrv_copy_interrupt(w->copy);
        }
    }
    w->watcher = NULL;
    if (w->runner) {
        coroutine_wake(w->runner);
    }
}

static void co_main_fn end_watch(Watch *w)
{
    w->ended = true;
    if (w->watcher) {
        aio_co_cancel(w->watcher);
        w->runner = coroutine_self();
        coroutine_yield();
    }
}

/* ---- the whole ---- */

static void report(const ImgTransfer *t, BdrvCopyResult result, const BdrvCopyError *error,
                   int64_t done)
{
    if (result == BDRV_COPY_FAILED && t->silent_error && error->error == -t->silent_error) {
        return;
    }
    if (result == BDRV_COPY_FAILED && t->failed) {
        tool_error("%s: %s", t->failed, strerror(-error->error));
    } else if (result == BDRV_COPY_FAILED) {
        tool_error("error while %s at byte %" PRId64 ": %s",
                   error->is_write ? "writing" : "reading", error->offset,
                   strerror(-error->error));
    } else if (result == BDRV_COPY_INTERRUPTED) {
        tool_error("interrupted after %" PRId64 " of %" PRId64 " bytes%s%s%s", done, t->length,
                   t->target ? ": '" : "", t->target ?: "", t->target ? "' is incomplete" : "");
    }
}

static int64_t granularity_for(int64_t length)
{
    int64_t granularity = MIN_GRANULARITY;

    while (length / granularity > MAX_BITS) {
        granularity *= 2;
    }
    return granularity;
}

bool co_main_fn img_transfer(const ImgTransfer *t)
{
    HBitmap *all = hbitmap_new(t->length, granularity_for(t->length));
    BdrvCopyParams params = {
        .ops = t->ops, .opaque = t->opaque, .uncopied = all, .chunk = t->chunk,
        .parallel = t->parallel,
    };
    BdrvCopyError error = { 0 };
    Error *err = NULL;

    if (!all) {
        tool_error("not enough memory");
        return false;
    }
    hbitmap_set(all, 0, t->length);
    Watch w = { .copy = bdrv_copy_new(&params, &err) };
    if (!w.copy) {
        hbitmap_free(all);
        img_fail(err);
        return false;
    }
    w.progress = img_progress_new(t->progress);
    bdrv_copy_set_speed(w.copy, t->speed);
    img_catch_signals();
    coroutine_start(watch_entry, &w);
    BdrvCopyResult result = bdrv_copy_run(w.copy, &error);
    end_watch(&w);
    if (result == BDRV_COPY_CLEAN) {
        show(&w);
    }
    img_progress_end(w.progress);
    report(t, result, &error, bdrv_copy_done(w.copy));
    bdrv_copy_free(w.copy);
    hbitmap_free(all);
    return result == BDRV_COPY_CLEAN;
}
