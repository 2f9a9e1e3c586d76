/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blkdebug's breakpoints: a request that comes to an event waits until somebody lets it go on. */
#include "qemu/osdep.h"

#include "block/filters/blkdebug-internal.h"

typedef struct Breakpoint {
    char *event, *tag;
} Breakpoint;

typedef struct StoppedRequest {
    const char *tag;                /* of the breakpoint, which is the request's now */
    Coroutine *co;
} StoppedRequest;

typedef struct BreakWaiter {
    const char *tag;
    Coroutine *co;
} BreakWaiter;

void any_fn blkdebug_breaks_init(BlkdebugBreaks *b)
{
    pthread_mutex_init(&b->lock, NULL);
}

static void point_free(void *opaque)
{
    Breakpoint *p = opaque;

    g_free(p->event);
    g_free(p->tag);
    g_free(p);
}

void any_fn blkdebug_breaks_destroy(BlkdebugBreaks *b)
{
    g_assert(!b->stopped && !b->waiting);       /* no request is under way */
    g_list_free_full(b->points, point_free);
    pthread_mutex_destroy(&b->lock);
}

static void note(const char *what, const char *tag)
{
    if (bdrv_debug_note) {
        g_autofree char *text = g_strdup_printf("blkdebug: %s request '%s'", what, tag);
        bdrv_debug_note(text);
    }
}

/* ---- stopping ---- */

/* The first breakpoint for @event leaves the list and is returned; NULL: there is none.  Lock
 * held. */
static Breakpoint *take_point(BlkdebugBreaks *b, const char *event)
{
    for (GList *l = b->points; l; l = l->next) {
        Breakpoint *p = l->data;
        if (strcmp(p->event, event) == 0) {
            b->points = g_list_delete_link(b->points, l);
            return p;
        }
    }
    return NULL;
}

/* @tag NULL: all.  Lock held. */
static void wake_waiters(BlkdebugBreaks *b, const char *tag)
{
    for (GList *l = b->waiting, *next; l; l = next) {
        BreakWaiter *w = l->data;
        next = l->next;
        if (!tag || strcmp(w->tag, tag) == 0) {
            b->waiting = g_list_delete_link(b->waiting, l);
            coroutine_wake(w->co);
        }
    }
}

void co_fn blkdebug_breaks_event(BlkdebugBreaks *b, const char *event)
{
    Breakpoint *p;

    pthread_mutex_lock(&b->lock);
    while ((p = take_point(b, event))) {
        StoppedRequest stopped = { p->tag, coroutine_self() };
        b->stopped = g_list_append(b->stopped, &stopped);
        note("Suspended", p->tag);
        wake_waiters(b, p->tag);
        pthread_mutex_unlock(&b->lock);
        coroutine_yield();
        note("Resuming", p->tag);
        point_free(p);
        pthread_mutex_lock(&b->lock);
    }
    pthread_mutex_unlock(&b->lock);
}

/* ---- what people want ---- */

int any_fn blkdebug_breaks_set(BlkdebugBreaks *b, const char *event, const char *tag)
{
    Breakpoint *p;

    if (!blkdebug_knows_event(event)) {
        return -ENOENT;
    }
    p = g_new(Breakpoint, 1);
    *p = (Breakpoint){ g_strdup(event), g_strdup(tag) };
    pthread_mutex_lock(&b->lock);
    b->points = g_list_append(b->points, p);
    pthread_mutex_unlock(&b->lock);
    return 0;
}

/* @tag NULL: any.  Lock held. */
static bool resume_one(BlkdebugBreaks *b, const char *tag)
{
    for (GList *l = b->stopped; l; l = l->next) {
        StoppedRequest *r = l->data;
        if (!tag || strcmp(r->tag, tag) == 0) {
            b->stopped = g_list_delete_link(b->stopped, l);
            coroutine_wake(r->co);
            return true;
        }
    }
    return false;
}

int any_fn blkdebug_breaks_resume(BlkdebugBreaks *b, const char *tag)
{
    pthread_mutex_lock(&b->lock);
    bool found = resume_one(b, tag);
    pthread_mutex_unlock(&b->lock);
    return found ? 0 : -ENOENT;
}

/* @tag NULL: all.  Was there any? */
static bool remove_points(BlkdebugBreaks *b, const char *tag)
{
    bool found = false;

    pthread_mutex_lock(&b->lock);
    for (GList *l = b->points, *next; l; l = next) {
        Breakpoint *p = l->data;
        next = l->next;
        if (!tag || strcmp(p->tag, tag) == 0) {
            b->points = g_list_delete_link(b->points, l);
            point_free(p);
            found = true;
        }
    }
    while (resume_one(b, tag)) {
        found = true;
    }
    pthread_mutex_unlock(&b->lock);
    return found;
}

int any_fn blkdebug_breaks_remove(BlkdebugBreaks *b, const char *tag)
{
    return remove_points(b, tag) ? 0 : -ENOENT;
}

void any_fn blkdebug_breaks_remove_all(BlkdebugBreaks *b)
{
    remove_points(b, NULL);
    pthread_mutex_lock(&b->lock);
    wake_waiters(b, NULL);          /* nothing that they wait for will come */
    pthread_mutex_unlock(&b->lock);
}

static bool is_stopped(const BlkdebugBreaks *b, const char *tag)
{
    for (GList *l = b->stopped; l; l = l->next) {
        if (strcmp(((StoppedRequest *)l->data)->tag, tag) == 0) {
            return true;
        }
    }
    return false;
}

void co_fn blkdebug_breaks_wait(BlkdebugBreaks *b, const char *tag)
{
    BreakWaiter w = { tag, coroutine_self() };

    pthread_mutex_lock(&b->lock);
    bool wait = !is_stopped(b, tag);
    if (wait) {
        b->waiting = g_list_append(b->waiting, &w);
    }
    pthread_mutex_unlock(&b->lock);
    if (wait) {
        coroutine_yield();
    }
}
