/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flushing all bases at once, with a deadline.  A flush that a disk does not answer cannot be called
 * back: past the deadline it is left to itself, with a link that keeps its node, and the command goes on.
 */
#include "qemu/osdep.h"

#include "block/io/io-internal.h"
#include "block/snapshot/group-internal.h"

typedef struct FlushWait {
    int refs;                       /* the command, and every flush under way */
    int running;
    bool abandoned;                 /* the command is gone: nobody to wake */
    Coroutine *waiter;              /* the command, while it waits */
} FlushWait;

typedef struct FlushTask {
    FlushWait *wait;
    BdrvLink *hold;                 /* keeps the node until the flush has come back */
    unsigned flags;
    GroupMember *member;            /* not valid once abandoned */
} FlushTask;

static void wait_unref(FlushWait *w)
{
    if (--w->refs == 0) {
        g_free(w);
    }
}

static void set_flush_error(GroupMember *m, int ret)
{
    if (!m->err) {
        error_setg_errno(&m->err, -ret, "Cannot flush '%s' (%s)", m->req.device,
                         m->req.base->filename);
        error_change_class(m->err, ERROR_CLASS_IO_ERROR);
    }
}

static void co_main_fn flush_entry(void *opaque)
{
    FlushTask *t = opaque;
    FlushWait *w = t->wait;
    int ret = bdrv_flush_node(t->hold->bs, t->flags);

    w->running--;
    if (w->abandoned) {
        bdrv_graph_lock();
        bdrv_link_free(t->hold);
        bdrv_graph_unlock();
    } else {
        t->member->flush_pending = false;
        if (ret < 0) {
            set_flush_error(t->member, ret);
        }
        bdrv_link_free(t->hold);    /* never the last: the base is in use; the command has the mutex */
        if (w->running == 0 && w->waiter) {
            coroutine_wake(g_steal_pointer(&w->waiter));
        }
    }
    wait_unref(w);
    g_free(t);
}

static void main_fn deadline_cb(void *opaque)
{
    FlushWait *w = opaque;

    if (w->waiter) {
        coroutine_wake(g_steal_pointer(&w->waiter));
    }
}

static void co_main_fn wait_for_flushes(FlushWait *w, int64_t deadline_ns)
{
    AioTimer timer;

    aio_timer_init(&timer, aio_context_current(), deadline_cb, w);
    if (w->running > 0) {
        w->waiter = coroutine_self();
        if (deadline_ns >= 0) {
            aio_timer_arm(&timer, deadline_ns);
        }
        coroutine_yield();
        aio_timer_disarm(&timer);
    }
    w->abandoned = w->running > 0;
}

bool co_main_fn group_flush_bases(GroupSnapshot *g, unsigned flags, int64_t deadline_ns)
{
    FlushWait *w = g_new0(FlushWait, 1);
    bool ok = true;

    w->refs = 1;
    for (guint i = 0; i < g->members->len; i++) {
        GroupMember *m = g->members->pdata[i];
        BdrvLinkSpec spec = {
            .allows = CLAIM_ALL, .holder = "a flush that does not return",
        };
        FlushTask *t = g_new0(FlushTask, 1);

        *t = (FlushTask){
            .wait = w, .hold = bdrv_link_new(m->req.base, &spec, &error_abort),
            .flags = flags, .member = m,
        };
        m->flush_pending = true;
        w->refs++;
        w->running++;
        coroutine_start(flush_entry, t);
    }
    wait_for_flushes(w, deadline_ns);
    if (w->abandoned) {
        ok = false;
        for (guint i = 0; i < g->members->len; i++) {
            GroupMember *m = g->members->pdata[i];
            if (!m->err && m->flush_pending) {
                error_setg(&m->err, "Cannot take a snapshot of '%s': '%s' was not flushed in time",
                           m->req.device, m->req.base->filename);
                break;
            }
        }
    }
    wait_unref(w);
    return ok;
}
