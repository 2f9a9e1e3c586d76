/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "qemu/line-writer.h"

typedef struct Record {
    int64_t time_us;
    char text[];
} Record;

struct LineWriter {
    const char *what;
    size_t max_bytes;
    LineSink *sink;
    void *opaque;
    pthread_mutex_t lock;           /* guards the rest; nothing is called while it is held */
    pthread_cond_t changed;
    GQueue records;                 /* of Record, not yet with the thread */
    size_t bytes;                   /* of these */
    unsigned dropped;               /* since the last of these */
    bool running;                   /* the thread */
    bool busy;                      /* it writes */
};

void blocking_fn line_writer_write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EAGAIN) {
            poll(&p, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            return;                 /* nobody is left to be told */
        }
        text += MAX(n, 0);
        len -= MAX(n, 0);
    }
}

static void blocking_fn write_records(LineWriter *w, GQueue *records, unsigned dropped)
{
    Record *r;

    while ((r = g_queue_pop_head(records))) {
        w->sink(w->opaque, r->time_us, r->text);
        g_free(r);
    }
    if (dropped > 0) {
        g_autofree char *text = g_strdup_printf("%u lines of %s were dropped: it was not read",
                                                dropped, w->what);
        w->sink(w->opaque, g_get_real_time(), text);
    }
    w->sink(w->opaque, 0, NULL);
}

static void *blocking_fn run(void *opaque)
{
    LineWriter *w = opaque;

    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->records.length == 0) {
            pthread_cond_wait(&w->changed, &w->lock);
        }
        GQueue records = w->records;
        unsigned dropped = w->dropped;
        g_queue_init(&w->records);
        w->bytes = w->dropped = 0;
        w->busy = true;
        pthread_mutex_unlock(&w->lock);
        write_records(w, &records, dropped);
        pthread_mutex_lock(&w->lock);
        w->busy = false;
        pthread_cond_broadcast(&w->changed);
    }
    return NULL;
}

static bool start_thread(LineWriter *w)
{
    sigset_t all, old;
    pthread_t thread;

    /* Signals are for the main thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool ok = pthread_create(&thread, NULL, run, w) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ok) {
        pthread_detach(thread);
    }
    return ok;
}

LineWriter *any_fn line_writer_new(const char *what, size_t max_bytes, LineSink *sink,
                                   void *opaque)
{
    LineWriter *w = g_new0(LineWriter, 1);

    w->what = what;
    w->max_bytes = max_bytes;
    w->sink = sink;
    w->opaque = opaque;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    g_queue_init(&w->records);
    return w;
}

void any_fn line_writer_put(LineWriter *w, const char *line)
{
    size_t len = strlen(line);
    int64_t now_us = g_get_real_time();

    pthread_mutex_lock(&w->lock);
    w->running = w->running || start_thread(w);
    if (w->running && w->dropped == 0 && w->bytes + len < w->max_bytes) {
        Record *r = g_malloc(sizeof(*r) + len + 1);

        r->time_us = now_us;
        memcpy(r->text, line, len + 1);
        g_queue_push_tail(&w->records, r);
        w->bytes += len;
    } else {
        w->dropped++;
    }
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void blocking_fn line_writer_finish(LineWriter *w, int64_t patience_ns)
{
    struct timespec until;
    int ret = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += patience_ns / NS_PER_SEC;
    until.tv_nsec += patience_ns % NS_PER_SEC;
    until.tv_sec += until.tv_nsec / NS_PER_SEC;
    until.tv_nsec %= NS_PER_SEC;
    pthread_mutex_lock(&w->lock);
    while (w->running && (w->busy || w->records.length > 0) && ret != ETIMEDOUT) {
        ret = pthread_cond_timedwait(&w->changed, &w->lock, &until);
    }
    pthread_mutex_unlock(&w->lock);
}
