/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log lines on their way to a descriptor that may not take them: a pipe that nobody reads, a
 * terminal that is stopped, a file on a disk that does not answer.  A thread writes; whoever has a
 * line leaves it in a queue and goes on.  What finds the queue full is dropped and counted, and the
 * count is told.
 */
#include "qemu/osdep.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "qemu/log.h"

#define MAX_BYTES (256 * KiB)

static struct {
    pthread_mutex_t lock;           /* guards the rest; nothing is called while it is held */
    pthread_cond_t changed;
    int fd;
    GString *text;                  /* whole lines not yet with the thread */
    unsigned dropped;               /* since the last line of ->text */
    bool running;                   /* the thread */
    bool busy;                      /* it writes */
} writer = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void blocking_fn write_all(int fd, const char *text, size_t len)
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

static void *blocking_fn run(void *unused)
{
    pthread_mutex_lock(&writer.lock);
    for (;;) {
        while (writer.text->len == 0) {
            pthread_cond_wait(&writer.changed, &writer.lock);
        }
        g_autoptr(GString) text = writer.text;
        if (writer.dropped > 0) {
            g_string_append_printf(text, "%s: %u lines of this log were dropped: it was not read\n",
                                   g_get_prgname(), writer.dropped);
        }
        writer.text = g_string_new(NULL);
        writer.dropped = 0;
        writer.busy = true;
        pthread_mutex_unlock(&writer.lock);
        write_all(writer.fd, text->str, text->len);
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

void any_fn log_writer_init(int fd)
{
    writer.fd = fd;
    writer.text = g_string_new(NULL);
}

void any_fn log_writer_put(const char *line)
{
    pthread_mutex_lock(&writer.lock);
    writer.running = writer.running || start_thread();
    if (writer.running && writer.dropped == 0 &&
        writer.text->len + strlen(line) < MAX_BYTES) {
        g_string_append_printf(writer.text, "%s: %s\n", g_get_prgname(), line);
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
    while (writer.running && (writer.busy || writer.text->len > 0) && ret != ETIMEDOUT) {
        ret = pthread_cond_timedwait(&writer.changed, &writer.lock, &until);
    }
    pthread_mutex_unlock(&writer.lock);
}
