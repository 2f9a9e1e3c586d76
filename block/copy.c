/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copier.  One coroutine, the dispatcher, takes dirty areas off the bitmap and starts a
 * coroutine for each piece.
 *
 * (K1) The bits of an area are cleared before anybody looks at what is there.  A guest's write that
 *      comes later makes them dirty again, and the area is copied once more.
 * (K2) Pieces that are under way do not overlap, so an older copy cannot overtake a newer one.
 * (K3) What could not be copied is dirty when the run ends.
 * (K4) At most @parallel pieces of @chunk bytes are under way: that bounds memory.
 */
#include "qemu/osdep.h"

#include "block/copy.h"
#include "qemu/iothread.h"
#include "qemu/limits.h"

/* An area whose bits are cleared at once, bytes: one look for many pieces. */
#define MAX_AREA (64 * MiB)
/* How far ahead of the limit one may be, so that a slow copy is even. */
#define SPEED_SLICE_NS (100 * NS_PER_MS)

typedef struct Task {
    BdrvCopy *copy;
    BdrvCopyPiece piece;
    GList entry;                    /* in copy->tasks */
} Task;

struct BdrvCopy {
    BdrvCopyParams p;
    int64_t done;                   /* atomic: bytes */
    int64_t in_flight;              /* atomic: bytes that are clean in the bitmap and not done */
    bool interrupt;                 /* atomic */
    bool busy;                      /* main thread: it runs */
    int64_t speed;                  /* bytes a second; written while it does not run */

    /* The dispatcher's: the copier's thread only. */
    Coroutine *dispatcher, *runner; /* @runner waits for the end, on the main thread */
    GQueue tasks;                   /* of Task: under way */
    bool waits;                     /* the dispatcher, for a task to end */
    int64_t position;               /* where to look for dirty areas next */
    int64_t area_start, area_end;   /* an area with clean bits whose pieces are not started yet */
    BdrvCopyKind kind;              /* of [area_start, kind_end), which has been looked at */
    int64_t kind_end;
    int64_t due_ns;                 /* clock_ns() at which the next piece may start */
    BdrvCopyError error;
};

/* ---- the thread ---- */

static IOThread *worker;            /* while there are copiers */
static int copiers;

static bool main_fn start_worker(Error **errp)
{
    if (!worker) {
        worker = iothread_new("jobs", errp);
    }
    copiers += worker != NULL;
    return worker != NULL;
}

/* Without copiers the thread has nothing to do: waiting for its end takes no time. */
static void main_fn release_worker(void)
{
    if (--copiers == 0) {
        iothread_free(g_steal_pointer(&worker));
        bdrv_copy_free_buffers();
    }
}

/* ---- life ---- */

BdrvCopy *main_fn bdrv_copy_new(const BdrvCopyParams *params, Error **errp)
{
    if (!start_worker(errp)) {
        return NULL;
    }
    BdrvCopy *c = g_new0(BdrvCopy, 1);
    c->p = *params;
    if (!c->p.chunk) {
        c->p.chunk = BDRV_COPY_CHUNK;
    }
    c->p.chunk = ROUND_UP(c->p.chunk, hbitmap_granularity(c->p.uncopied));
    if (!c->p.parallel) {
        c->p.parallel = BDRV_COPY_PARALLEL;
    }
    g_queue_init(&c->tasks);
    return c;
}

void main_fn bdrv_copy_free(BdrvCopy *copy)
{
    if (copy) {
        g_assert(!copy->busy);
        g_free(copy);
        release_worker();
    }
}

void main_fn bdrv_copy_set_speed(BdrvCopy *copy, int64_t speed)
{
    g_assert(!copy->busy);
    copy->speed = speed;
    copy->due_ns = 0;
}

int64_t any_fn bdrv_copy_done(const BdrvCopy *copy)
{
    return __atomic_load_n(&copy->done, __ATOMIC_RELAXED);
}

int64_t any_fn bdrv_copy_remaining(const BdrvCopy *copy)
{
    return hbitmap_count(copy->p.uncopied) + __atomic_load_n(&copy->in_flight, __ATOMIC_RELAXED);
}

static bool is_interrupted(const BdrvCopy *c)
{
    return __atomic_load_n(&c->interrupt, __ATOMIC_RELAXED);
}

/* ---- tasks ---- */

static void task_failed(BdrvCopy *c, const BdrvCopyPiece *piece, int error, bool is_write)
{
    hbitmap_set(c->p.uncopied, piece->offset, piece->bytes);
    if (!c->error.error) {
        c->error = (BdrvCopyError){ error, is_write, piece->offset, piece->bytes };
    }
}

static void co_fn task_entry(void *opaque)
{
    Task *t = opaque;
    BdrvCopy *c = t->copy;
    bool is_write = false;
    int ret = c->p.ops->co_copy(c->p.opaque, &t->piece, &is_write);

    if (ret < 0) {
        task_failed(c, &t->piece, ret, is_write);
    } else {
        __atomic_fetch_add(&c->done, t->piece.bytes, __ATOMIC_RELAXED);
    }
    __atomic_fetch_sub(&c->in_flight, t->piece.bytes, __ATOMIC_RELAXED);
    g_queue_unlink(&c->tasks, &t->entry);
    g_free(t);
    if (c->waits) {
        c->waits = false;
        coroutine_wake(c->dispatcher);
    }
}

static void co_fn wait_for_task(BdrvCopy *c)
{
    c->waits = true;
    coroutine_yield();
}

static bool overlaps_task(const BdrvCopy *c, int64_t start, int64_t end)
{
    for (GList *e = c->tasks.head; e; e = e->next) {
        const BdrvCopyPiece *p = &((Task *)e->data)->piece;
        if (p->offset < end && start < p->offset + p->bytes) {
            return true;
        }
    }
    return false;
}

static void start_task(BdrvCopy *c, int64_t bytes)
{
    Task *t = g_new(Task, 1);

    *t = (Task){ .copy = c, .piece = { c->area_start, bytes, c->kind }, .entry = { .data = t } };
    g_queue_push_tail_link(&c->tasks, &t->entry);
    c->area_start += bytes;
    coroutine_start(task_entry, t);
}

/* ---- the dispatcher ---- */

/* The next dirty area, from the position on and around; its bits become clean. */
static bool take_area(BdrvCopy *c)
{
    int64_t length = hbitmap_length(c->p.uncopied), offset, bytes;

    if (!hbitmap_next_dirty_area(c->p.uncopied, c->position, length, MAX_AREA, &offset, &bytes) &&
        !hbitmap_next_dirty_area(c->p.uncopied, 0, c->position, MAX_AREA, &offset, &bytes)) {
        return false;
    }
    c->area_start = c->kind_end = offset;
    c->area_end = offset + bytes;
    c->position = c->area_end;
    return true;
}

/* After the look at overlapping tasks, which may have taken its time. */
static void clear_area(BdrvCopy *c)
{
    __atomic_fetch_add(&c->in_flight, c->area_end - c->area_start, __ATOMIC_RELAXED);
    hbitmap_reset(c->p.uncopied, c->area_start, c->area_end - c->area_start);
}

/* What of the area is not started is dirty again. */
static void give_area_back(BdrvCopy *c)
{
    int64_t bytes = c->area_end - c->area_start;

    if (bytes > 0) {
        hbitmap_set(c->p.uncopied, c->area_start, bytes);
        __atomic_fetch_sub(&c->in_flight, bytes, __ATOMIC_RELAXED);
        c->position = c->area_start;
        c->area_end = c->area_start;
    }
}

static bool co_fn look(BdrvCopy *c)
{
    int64_t n;

    if (c->area_start < c->kind_end) {
        return true;
    }
    if (!c->p.ops->co_look) {
        c->kind = BDRV_COPY_UNKNOWN;
        c->kind_end = c->area_end;
        return true;
    }
    int ret = c->p.ops->co_look(c->p.opaque, c->area_start, c->area_end - c->area_start, &c->kind,
                                &n);
    if (ret < 0) {
        c->error = (BdrvCopyError){ ret, false, c->area_start, c->area_end - c->area_start };
        return false;
    }
    c->kind_end = c->area_start + n;
    return true;
}

/* Wait for the turn of a piece of @bytes; interruptions end that. */
static void co_fn wait_for_speed(BdrvCopy *c, int64_t bytes)
{
    if (!c->speed) {
        return;
    }
    int64_t now = clock_ns();
    c->due_ns = MAX(c->due_ns, now - SPEED_SLICE_NS);
    while (c->due_ns > now && !is_interrupted(c)) {
        aio_co_sleep_ns(MIN(c->due_ns - now, SPEED_SLICE_NS));
        now = clock_ns();
    }
    c->due_ns += (int64_t)((double)bytes / c->speed * NS_PER_SEC);
}

/* Under a limit pieces are small, so that what is copied in a second is about what it says. */
static int64_t chunk_bytes(const BdrvCopy *c)
{
    int64_t granularity = hbitmap_granularity(c->p.uncopied);

    return c->speed ? MIN(c->p.chunk, ROUND_UP(MAX(c->speed / 10, 1), granularity)) : c->p.chunk;
}

static void co_fn start_piece(BdrvCopy *c)
{
    int64_t bytes = c->kind_end - c->area_start;

    if (c->kind <= BDRV_COPY_DATA) {
        bytes = MIN(bytes, chunk_bytes(c));
        wait_for_speed(c, bytes);
        if (is_interrupted(c)) {
            return;
        }
    }
    start_task(c, bytes);
}

/* One step.  False: there is nothing left to do. */
static bool co_fn step(BdrvCopy *c)
{
    if ((int)c->tasks.length >= c->p.parallel) {
        wait_for_task(c);
        return true;
    }
    if (c->area_start == c->area_end) {
        if (!take_area(c)) {
            if (c->tasks.length == 0) {
                return false;
            }
            wait_for_task(c);       /* it may fail, or be made dirty again */
            return true;
        }
        while (overlaps_task(c, c->area_start, c->area_end)) {
            wait_for_task(c);
        }
        clear_area(c);
    }
    if (look(c)) {
        start_piece(c);
    }
    return true;
}

static void co_fn dispatcher_entry(void *opaque)
{
    BdrvCopy *c = opaque;

    c->dispatcher = coroutine_self();
    while (!is_interrupted(c) && !c->error.error && step(c)) {
    }
    give_area_back(c);
    while (c->tasks.length > 0) {
        wait_for_task(c);
    }
    c->dispatcher = NULL;
    coroutine_wake(c->runner);
}

/* ---- for the main thread ---- */

BdrvCopyResult co_main_fn bdrv_copy_run(BdrvCopy *copy, BdrvCopyError *ret_error)
{
    g_assert(!copy->busy);
    copy->busy = true;
    copy->error = (BdrvCopyError){ 0 };
    copy->runner = coroutine_self();
    coroutine_start_in(iothread_context(worker), dispatcher_entry, copy);
    coroutine_yield();
    copy->busy = false;
    bool interrupted = __atomic_exchange_n(&copy->interrupt, false, __ATOMIC_RELAXED);
    *ret_error = copy->error;
    return copy->error.error ? BDRV_COPY_FAILED
                             : interrupted ? BDRV_COPY_INTERRUPTED : BDRV_COPY_CLEAN;
}

/* A dispatcher that waits for its turn looks at this now and then. */
void main_fn bdrv_copy_interrupt(BdrvCopy *copy)
{
    __atomic_store_n(&copy->interrupt, true, __ATOMIC_RELAXED);
}
