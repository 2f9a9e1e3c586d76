/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A thread and its event loop. */
#include "qemu/osdep.h"

#include <pthread.h>
#include <signal.h>

#include "qemu/iothread.h"

struct IOThread {
    char *id;
    pthread_t thread;
    int refs;                   /* users of the context; main thread */

    pthread_mutex_t lock;
    pthread_cond_t started_cond;
    bool started;               /* guarded by lock; after that the rest does not change */
    AioContext *ctx;            /* NULL: could not be made, see err */
    Error *err;
    int tid;
};

static void *run(void *opaque)
{
    IOThread *t = opaque;
    Error *err = NULL;
    AioContext *ctx = aio_context_new(AIO_BACKEND_AUTO, &err);

    pthread_mutex_lock(&t->lock);
    t->ctx = ctx;
    t->err = err;
    t->tid = gettid();
    t->started = true;
    pthread_cond_signal(&t->started_cond);
    pthread_mutex_unlock(&t->lock);
    if (ctx) {
        aio_context_run(ctx);
        aio_context_free(ctx);
    }
    return NULL;
}

/* 0 or a positive errno. */
static int start(IOThread *t)
{
    sigset_t all, old;
    char name[16];
    int ret;

    /* Signals are for the main thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(&t->thread, NULL, run, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ret == 0) {
        g_snprintf(name, sizeof(name), "IO %s", t->id);
        pthread_setname_np(t->thread, name);
    }
    return ret;
}

static void release(IOThread *t)
{
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->started_cond);
    g_free(t->id);
    g_free(t);
}

IOThread *main_fn iothread_new(const char *id, Error **errp)
{
    IOThread *t = g_new0(IOThread, 1);
    int ret;

    t->id = g_strdup(id);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->started_cond, NULL);
    ret = start(t);
    if (ret) {
        error_setg_errno(errp, ret, "Cannot start the thread of iothread '%s'", id);
        release(t);
        return NULL;
    }
    pthread_mutex_lock(&t->lock);
    while (!t->started) {
        pthread_cond_wait(&t->started_cond, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    if (!t->ctx) {
        pthread_join(t->thread, NULL);
        error_propagate(errp, g_steal_pointer(&t->err));
        error_prepend(errp, "Cannot start iothread '%s': ", id);
        release(t);
        return NULL;
    }
    return t;
}

void main_fn iothread_free(IOThread *iothread)
{
    assert(!iothread->refs);
    aio_context_quit(iothread->ctx);
    pthread_join(iothread->thread, NULL);
    release(iothread);
}

const char *any_fn iothread_id(const IOThread *iothread)
{
    return iothread->id;
}

AioContext *any_fn iothread_context(const IOThread *iothread)
{
    return iothread->ctx;
}

int any_fn iothread_tid(const IOThread *iothread)
{
    return iothread->tid;
}

void main_fn iothread_ref(IOThread *iothread)
{
    iothread->refs++;
}

void main_fn iothread_unref(IOThread *iothread)
{
    assert(iothread->refs > 0);
    iothread->refs--;
}

bool main_fn iothread_in_use(const IOThread *iothread)
{
    return iothread->refs > 0;
}
