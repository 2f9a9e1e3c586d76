/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copy before write: a guest's change waits until what it changes has been copied.
 *
 * (B1) A cluster is in @to_copy from the beginning (if it is part of the snapshot) until its copy
 *      is in the target, or nobody wants it.  It is taken out only by who holds it exclusively in
 *      @ranges, and never comes back.
 * (B2) A guest's request that changes a cluster goes to the file only when the cluster is not in
 *      @to_copy, or the snapshot is broken.  So what is in @to_copy is in the file as it was.
 * (B3) A reader of the snapshot looks at @to_copy and reads the file while it holds the range,
 *      shared: by (B1) the cluster stays in @to_copy until it has read, and by (B2) no guest
 *      changes it.  What is not in @to_copy, it reads from the target.
 * (B4) So a request to clusters that were copied costs one look at @to_copy, without a lock: there
 *      are no readers of theirs in the file any more.
 * (B5) @readable only gets less, under the same hold.
 * (B6) CBW_MAX_COPIES copies of RUN_BYTES or a cluster run at a time, for guests and for jobs
 *      together, and MAX_TIMED requests wait for theirs with a deadline, late ones included.
 * (B7) After a copy that failed or was late either the guest's request fails, and (B2) holds; or
 *      the snapshot is broken first, for good, and its readers fail: those too that had begun to
 *      read the file, for they look again when they have read.
 *
 * Neighbouring clusters are copied with one read and one write.
 */
#include "qemu/osdep.h"

#include "block/filters/cbw-internal.h"
#include "qemu/log.h"

/* What one read and one write copy, unless clusters are larger. */
#define RUN_BYTES MiB
/* What is held at a time: a request may be as large as the disk (zeroes, discards). */
#define WINDOW_BYTES (16 * MiB)

#define MAX_TIMED 1024

/* Copying one window, which is held. */
typedef struct Window {
    Cbw *s;
    BdrvLink *file, *target;
    int64_t copied;                 /* bytes */
    int ret;                        /* the first failure */
    bool on_read;
} Window;

typedef struct Run {
    Window *w;
    int64_t offset, bytes;
} Run;

/* ---- copying ---- */

static int co_fn copy_bytes(Window *w, int64_t offset, int64_t bytes, void *buf)
{
    unsigned flags = w->s->write_flags;
    IoVec v;

    iovec_init_buf(&v, buf, bytes);
    int ret = bdrv_co_preadv(w->file, offset, bytes, &v);
    if (ret < 0) {
        w->on_read |= w->ret == 0;
        return ret;
    }
    return iovec_is_zero(&v)
           ? bdrv_co_pwrite_zeroes(w->target, offset, bytes, flags & ~BDRV_REQ_WRITE_COMPRESSED)
           : bdrv_co_pwritev(w->target, offset, bytes, &v, flags);
}

static void co_fn copy_run(Window *w, int64_t offset, int64_t bytes)
{
    Cbw *s = w->s;

    co_limit_enter(&s->copies);
    void *buf = bdrv_try_blockalign(bytes);
    int ret = buf ? copy_bytes(w, offset, bytes, buf) : -ENOMEM;
    free(buf);
    co_limit_leave(&s->copies);
    if (ret == 0) {
        hbitmap_reset(s->to_copy, offset, ROUND_UP(bytes, s->cluster_size));
        w->copied += bytes;
    } else if (w->ret == 0) {
        w->ret = ret;
    }
}

static void co_fn run_entry(void *opaque)
{
    Run *r = opaque;

    copy_run(r->w, r->offset, r->bytes);
    g_free(r);
}

/* Copies what is to be copied in [@start, @end), which is held exclusively. */
static void co_fn copy_held(Window *w, int64_t start, int64_t end)
{
    int64_t run_bytes = MAX(RUN_BYTES, w->s->cluster_size), offset, bytes;
    CoGroup group = CO_GROUP_INIT;

    while (w->ret == 0 && hbitmap_next_dirty_area(w->s->to_copy, start, end, run_bytes, &offset,
                                                  &bytes)) {
        start = offset + bytes;
        if (!hbitmap_next_dirty_area(w->s->to_copy, start, end, 1, &(int64_t){ 0 },
                                     &(int64_t){ 0 })) {
            copy_run(w, offset, bytes);     /* the last one, mostly the only one */
            break;
        }
        Run *r = g_new(Run, 1);
        *r = (Run){ w, offset, bytes };
        co_group_start(&group, run_entry, r);
    }
    co_group_wait(&group);
}

static int co_fn copy_window(Window *w, int64_t start, int64_t end)
{
    BdrvRange range;

    bdrv_range_lock(w->s->ranges, &range, start, end, true);
    copy_held(w, start, end);
    bdrv_range_unlock(w->s->ranges, &range);
    return w->ret;
}

/* ---- with a deadline ---- */

/*
 * A copy that may be late runs on the main thread, which outlives every iothread, and with links of
 * its own: whoever waited for it does so no more, and the graph may change.
 */
typedef struct TimedCopy {
    BlockDriverState *bs;
    int64_t start, end;
    /* Under the lock of the node's state. */
    Coroutine *waiter;              /* NULL: woken */
    bool done, given_up;            /* the second of the two frees this */
    int ret;
} TimedCopy;

static void co_main_fn timed_entry(void *opaque)
{
    TimedCopy *c = opaque;
    Cbw *s = cbw_state(c->bs);
    BdrvLinkSpec spec = { .allows = CLAIM_ALL, .holder = "a copy that does not return" };
    Window w = { .s = s };

    w.file = bdrv_link_new(c->bs->file->bs, &spec, &error_abort);
    w.target = bdrv_link_new(c->bs->target->bs, &spec, &error_abort);
    int ret = copy_window(&w, c->start, c->end);
    bdrv_link_free(w.file);
    bdrv_link_free(w.target);

    pthread_mutex_lock(&s->lock);
    Coroutine *waiter = g_steal_pointer(&c->waiter), *closing = NULL;
    bool is_last = c->given_up;
    c->ret = ret;
    c->done = true;
    if (--s->timed == 0) {
        closing = g_steal_pointer(&s->close_waiter);
    }
    pthread_mutex_unlock(&s->lock);
    if (is_last) {
        g_free(c);
    }
    if (waiter) {
        coroutine_wake(waiter);
    }
    if (closing) {
        coroutine_wake(closing);
    }
}

static void timeout_cb(void *opaque)
{
    TimedCopy *c = opaque;
    Cbw *s = cbw_state(c->bs);

    pthread_mutex_lock(&s->lock);
    Coroutine *waiter = g_steal_pointer(&c->waiter);
    pthread_mutex_unlock(&s->lock);
    if (waiter) {
        coroutine_wake(waiter);
    }
}

static bool timed_begin(Cbw *s)
{
    pthread_mutex_lock(&s->lock);
    bool ok = s->timed < MAX_TIMED;
    s->timed += ok;
    pthread_mutex_unlock(&s->lock);
    return ok;
}

static int co_fn copy_timed(BlockDriverState *bs, int64_t start, int64_t end)
{
    Cbw *s = cbw_state(bs);
    AioTimer timer;

    if (!timed_begin(s)) {
        return -ETIMEDOUT;          /* so many are late already */
    }
    TimedCopy *c = g_new(TimedCopy, 1);
    *c = (TimedCopy){ .bs = bs, .start = start, .end = end, .waiter = coroutine_self() };
    aio_timer_init(&timer, aio_context_current(), timeout_cb, c);
    aio_timer_arm(&timer, clock_ns() + s->timeout_ns);
    coroutine_start_in(s->main_ctx, timed_entry, c);
    coroutine_yield();
    aio_timer_disarm(&timer);

    pthread_mutex_lock(&s->lock);
    bool done = c->done;
    int ret = done ? c->ret : -ETIMEDOUT;
    c->given_up = true;
    pthread_mutex_unlock(&s->lock);
    if (done) {
        g_free(c);
    }
    return ret;
}

void co_main_fn cbw_wait_for_late_copies(Cbw *s)
{
    pthread_mutex_lock(&s->lock);
    bool wait = s->timed > 0;
    s->close_waiter = wait ? coroutine_self() : NULL;
    pthread_mutex_unlock(&s->lock);
    if (wait) {
        coroutine_yield();
    }
}

/* ---- who wants a copy ---- */

/* Whole clusters of the snapshot around the range; false: there are none. */
static bool widen(const Cbw *s, int64_t *start, int64_t *end)
{
    *end = MIN(ROUND_UP(*end, s->cluster_size), s->length);
    *start = ROUND_DOWN(*start, s->cluster_size);
    return *start < *end;
}

static bool is_copied(const Cbw *s, int64_t start, int64_t end)
{
    int64_t offset, bytes;

    return !hbitmap_next_dirty_area(s->to_copy, start, end, 1, &offset, &bytes);
}

/* The end of the window that begins at @start. */
static int64_t window_end(const Cbw *s, int64_t start, int64_t end)
{
    return MIN(end, ROUND_DOWN(start, s->cluster_size) + MAX(WINDOW_BYTES, s->cluster_size));
}

/* (B7) For good, because of @error (-errno). */
static void break_snapshot(BlockDriverState *bs, int error)
{
    if (__atomic_compare_exchange_n(&cbw_state(bs)->error, &(int){ 0 }, error, false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        log_line("node '%s': its snapshot cannot be read any more: a copy to node '%s' failed: %s",
                 bs->node_name, bs->target->bs->node_name, g_strerror(-error));
    }
}

int co_fn cbw_before_change(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Cbw *s = cbw_state(bs);
    int64_t start = offset, end = offset + bytes;
    int ret = 0;

    if (!widen(s, &start, &end)) {
        return 0;
    }
    for (int64_t next; start < end && ret == 0; start = next) {
        next = window_end(s, start, end);
        if (is_copied(s, start, next)) {                                            /* (B4) */
            continue;
        }
        if (bdrv_cbw_error(bs)) {
            return 0;
        }
        ret = s->timeout_ns ? copy_timed(bs, start, next)
                            : copy_window(&(Window){ .s = s, .file = bs->file,
                                                     .target = bs->target }, start, next);
    }
    if (ret < 0 && s->break_snapshot) {
        break_snapshot(bs, ret);
        return 0;
    }
    return ret;
}

int co_fn bdrv_cbw_co_copy(BlockDriverState *bs, int64_t offset, int64_t bytes,
                           int64_t *ret_copied, bool *ret_on_read)
{
    Cbw *s = cbw_state(bs);
    int64_t start = offset, end = offset + bytes;
    Window w = { .s = s, .file = bs->file, .target = bs->target };
    int ret = 0;

    if (widen(s, &start, &end)) {
        for (int64_t next; start < end && ret == 0; start = next) {
            next = window_end(s, start, end);
            if (!is_copied(s, start, next)) {
                ret = bdrv_cbw_error(bs) ?: copy_window(&w, start, next);
            }
        }
    }
    if (ret_copied) {
        *ret_copied = w.copied;
    }
    if (ret_on_read) {
        *ret_on_read = w.on_read;
    }
    return ret;
}

int co_fn bdrv_cbw_co_forget(BlockDriverState *bs, int64_t offset, int64_t bytes, bool unreadable)
{
    Cbw *s = cbw_state(bs);
    int64_t start = ROUND_UP(offset, s->cluster_size), end = offset + bytes;
    BdrvRange range;
    int ret = 0;

    end = end >= s->length ? s->length : ROUND_DOWN(end, s->cluster_size);
    if (start >= end) {
        return 0;
    }
    bdrv_range_lock(s->ranges, &range, start, end, true);
    if (unreadable) {
        hbitmap_reset(s->readable, start, end - start);
    }
    hbitmap_reset(s->to_copy, start, end - start);
    if (unreadable) {
        ret = bdrv_co_pdiscard(bs->target, start, end - start);
    }
    bdrv_range_unlock(s->ranges, &range);
    return ret;
}

/* ---- the rest of what jobs ask ---- */

bool any_fn bdrv_is_cbw(const BlockDriverState *bs)
{
    return strcmp(bs->drv->name, "copy-before-write") == 0;
}

int64_t any_fn bdrv_cbw_cluster_size(BlockDriverState *bs)
{
    return cbw_state(bs)->cluster_size;
}

int64_t any_fn bdrv_cbw_length(BlockDriverState *bs)
{
    return cbw_state(bs)->length;
}

HBitmap *any_fn bdrv_cbw_to_copy(BlockDriverState *bs)
{
    return cbw_state(bs)->to_copy;
}

int any_fn bdrv_cbw_error(BlockDriverState *bs)
{
    return __atomic_load_n(&cbw_state(bs)->error, __ATOMIC_SEQ_CST);
}

void main_fn bdrv_cbw_set_to_copy(BlockDriverState *bs, const HBitmap *which)
{
    Cbw *s = cbw_state(bs);

    hbitmap_reset(s->to_copy, 0, s->length);
    hbitmap_reset(s->readable, 0, s->length);
    if (which) {
        hbitmap_merge(s->to_copy, which);
        hbitmap_merge(s->readable, which);
    }
}

void main_fn bdrv_cbw_set_write_flags(BlockDriverState *bs, unsigned flags)
{
    cbw_state(bs)->write_flags = flags;
}
