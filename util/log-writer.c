/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log lines on their way to something that may not take them: a pipe that nobody reads, a
 * terminal that is stopped, a file on a disk that does not answer, a logging service.  A thread
 * writes; whoever has a line leaves it in a queue and goes on.  What finds the queue full is
 * dropped and counted, and the count is told.
 */
#include "qemu/osdep.h"

#include <pthread.h>
#include <signal.h>

#include "qemu/log.h"

#define MAX_BYTES (256 * KiB)

typedef struct LogRecord {
    int64_t time_us;
    char text[];
} LogRecord;

static struct {
    pthread_mutex_t lock;           /* guards the rest; nothing is called while it is held */
    pthread_cond_t changed;
    LogSink *sink;
    GQueue *records;                /* not yet with the thread */
    size_t bytes;                   /* of ->records */
    unsigned dropped;               /* since the last of ->records */
    bool running;                   /* the thread */
    bool busy;                      /* it writes */
} writer = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void blocking_fn write_records(GQueue *records, unsigned dropped)
{
    LogRecord *r;

    while ((r = g_queue_pop_head(records))) {
        writer.sink(r->time_us, r->text);
        g_free(r);
    }
    if (dropped > 0) {
        g_autofree char *text = g_strdup_printf(
            "%u lines of this log were dropped: it was not read", dropped);
        writer.sink(g_get_real_time(), text);
    }
    g_queue_free(records);
}

static void *blocking_fn run(void *unused)
{
    pthread_mutex_lock(&writer.lock);
    for (;;) {
        while (g_queue_is_empty(writer.records)) {
            pthread_cond_wait(&writer.changed, &writer.lock);
        }
        GQueue *records = writer.records;
        unsigned dropped = writer.dropped;
        writer.records = g_queue_new();
        writer.bytes = writer.dropped = 0;
        writer.busy = true;
        pthread_mutex_unlock(&writer.lock);
        write_records(records, dropped);
        pthread_mutex_lock(&writer.lock);
        writer.busy = false;
        pthread_cond_broadcast(&writer.changed);
    }
    return NULL;
}

static bool start_thread(void)
{
    sigset_t all, old;
    pthread_t thread;

    /* Signals are for the main thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool ok = pthread_create(&thread, NULL, run, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ok) {
        pthread_detach(thread);
    }
    return ok;
}

void any_fn log_writer_init(LogSink *sink)
{
    writer.sink = sink;
    writer.records = g_queue_new();
}

void any_fn log_writer_put(const char *line)
{
    size_t len = strlen(line), bytes = sizeof(LogRecord) + len + 1;

    pthread_mutex_lock(&writer.lock);
    writer.running = writer.running || start_thread();
    if (writer.running && writer.dropped == 0 && writer.bytes + bytes <= MAX_BYTES) {
        LogRecord *r = g_malloc(bytes);
        r->time_us = g_get_real_time();
        memcpy(r->text, line, len + 1);
        g_queue_push_tail(writer.records, r);
        writer.bytes += bytes;
    } else {
        writer.dropped++;
    }
    pthread_cond_broadcast(&writer.changed);
    pthread_mutex_unlock(&writer.lock);
}

void blocking_fn log_writer_finish(int64_t patience_ns)
{
    struct timespec until;
    int ret = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += patience_ns / NS_PER_SEC;
    until.tv_nsec += patience_ns % NS_PER_SEC;
    until.tv_sec += until.tv_nsec / NS_PER_SEC;
    until.tv_nsec %= NS_PER_SEC;
    pthread_mutex_lock(&writer.lock);
    while (writer.running && (writer.busy || !g_queue_is_empty(writer.records)) &&
           ret != ETIMEDOUT) {
        ret = pthread_cond_timedwait(&writer.changed, &writer.lock, &until);
    }
    pthread_mutex_unlock(&writer.lock);
}
