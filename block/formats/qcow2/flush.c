/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bringing metadata to the disk in an order that survives a crash at any point.
 *
 * (F1) On disk, the refcount of a cluster is never less than the number of references to it on
 *      disk.  More is a leak, which is harmless; less would let two owners write to one cluster.
 * (F2) A table is on disk, whole, before anything on disk points to it: refcount blocks before the
 *      refcount table's entries, L2 tables before L1 entries, and all of these, being referenced
 *      clusters, after their own refcounts (F1).
 * (F3) Guest data is on disk before an L2 entry on disk points to it.
 * (F4) The refcount of a cluster that was unlinked goes down, and the cluster can be used
 *      again, only after the entries that no longer refer to it are on disk.
 * (F5) What one writeback writes is the state of all tables at one instant, at which every
 *      request's change is in it completely or not at all.
 *
 * Refcounts in memory go up before, and go down after, everything else (refcount.c), so (F1) holds
 * if the state of one instant is written in this order, with a sync wherever something
 * was written before the next stage:
 *
 *      1 refcount blocks    2 refcount table    3 L2 tables    4 L1 table    5 frees
 *
 * A page of an L2 table that cannot be written holds up nothing but itself, and the frees: what is
 * on disk in its place is an earlier state of it, zeroes at first (space.c), whose references have
 * their refcounts. So the L1 table is written all the same, and as much as possible of what was
 * acknowledged is there if this was the last flush.
 *
 * (F5) needs no lock during all this: at the instant, dirty pages are frozen, and whoever changes
 * one meanwhile changes a copy (cache.c).  Stage 5 makes refcount blocks dirty again; they wait for
 * the next writeback, since they can only be too high meanwhile.
 *
 * With lazy refcounts a flush leaves out stages 1 and 2, as long as there is room for their pages
 * in memory.
 *
 * (F6) Before the first table is written whose refcounts are not, the image is marked as dirty,
 *      durably. The mark goes when a whole writeback has made (F1) true again and the image is
 *      settled.
 *
 * order_assert() checks (F1) to (F4) as far as they can be seen from here.
 */
#include "qemu/osdep.h"

#include "block/qcow2.h"
#include "snapshot.h"

/* Requests that write pages at the same time, and pages in one of them. */
#define MAX_PARALLEL 32
#define MAX_RUN 64

/* One writeback. */
typedef struct Writeback {
    BlockDriverState *bs;
    bool lazy;                      /* refcounts stay in memory ... */
    bool lazy_skipped;                  /* ... and there were some */
    GPtrArray *pages[QCOW2_PAGE_CLASSES];   /* frozen */
    GArray *frees;                  /* of Qcow2Free */
    uint64_t free_clusters;         /* in there */
    int stage;                      /* classes below it are on disk */
    bool tables_failed;             /* something was not written, but refcounts were */
    bool unsynced;                  /* something was written that no sync has covered */
    int ret;
} Writeback;

static const char *const write_events[QCOW2_PAGE_CLASSES] = {
    [QCOW2_PAGE_REFBLOCK] = "refblock_update",
    [QCOW2_PAGE_REFTABLE] = "reftable_update",
    [QCOW2_PAGE_L2] = "l2_update",
    [QCOW2_PAGE_L1] = "l1_update",
};

/* Before anything of class @cls is written. */
static void order_assert(const Writeback *wb, int cls)
{
    assert(!wb->unsynced);          /* (F2), (F3): a sync lies between */
    assert(wb->ret == 0 || wb->tables_failed);
    assert(wb->stage <= cls);
    /* (F6): nothing leads to what has no refcount on disk unless the image says so. */
    assert(!wb->lazy_skipped || qcow2_state(wb->bs)->marked_dirty);
    for (int below = 0; below < cls; below++) {
        for (guint i = 0; i < wb->pages[below]->len; i++) {
            const Qcow2Page *page = wb->pages[below]->pdata[i];
            assert(page->flush_buf);        /* (F5): still the state of the same instant */
        }
    }
}

/* ---- the instant ---- */

static int by_offset(const void *a, const void *b)
{
    const Qcow2Page *x = *(Qcow2Page *const *)a, *y = *(Qcow2Page *const *)b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void freeze(Writeback *wb)
{
    Qcow2State *s = qcow2_state(wb->bs);
    Qcow2Page *next;

    qcow2_lock(s);
    for (int cls = 0; cls < QCOW2_PAGE_CLASSES; cls++) {
        wb->pages[cls] = g_ptr_array_new();
    }
    for (Qcow2Page *page = TAILQ_FIRST(&s->cache.dirty); page; page = next) {
        next = TAILQ_NEXT(page, link);
        if (wb->lazy && page->cls < QCOW2_PAGE_L2) {
            wb->lazy_skipped = true;
            continue;
        }
        if (wb->ret == 0) {
            wb->ret = qcow2_overlap_check(wb->bs, qcow2_page_kind(page->cls),
                                          host_offset(page->offset), s->g.page_size, "metadata");
        }
        qcow2_cache_freeze(&s->cache, page);
        g_ptr_array_add(wb->pages[page->cls], page);
    }
    wb->frees = s->frees;
    wb->free_clusters = s->free_clusters;
    s->free_clusters = 0;
    s->frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    qcow2_unlock(s);
    for (int cls = 0; cls < QCOW2_PAGE_CLASSES; cls++) {
        g_ptr_array_sort(wb->pages[cls], by_offset);
    }
}

/* What was unlinked can be freed. After a failure everything of the instant is dirty again: even
 * what was written before a sync failed may be lost, and what waits to be freed goes on waiting. */
static void thaw(Writeback *wb)
{
    Qcow2State *s = qcow2_state(wb->bs);

    qcow2_lock(s);
    for (int cls = 0; cls < QCOW2_PAGE_CLASSES; cls++) {
        for (guint i = 0; i < wb->pages[cls]->len; i++) {
            qcow2_cache_thaw(&s->cache, wb->pages[cls]->pdata[i], wb->ret == 0);
        }
        g_ptr_array_unref(wb->pages[cls]);
    }
    if (wb->ret < 0) {
        g_array_prepend_vals(s->frees, wb->frees->data, wb->frees->len);
        s->free_clusters += wb->free_clusters;
    } else {
        assert(!wb->unsynced);                          /* (F4) */
        g_array_append_vals(s->unlinked, wb->frees->data, wb->frees->len);
    }
    qcow2_unlock(s);
    g_array_unref(wb->frees);
}

/* ---- writing pages ---- */

/* Pages that lie behind each other, written with one request. */
typedef struct PageRun {
    Writeback *wb;
    Qcow2Page **pages;
    unsigned n;
} PageRun;

static void co_fn write_run(void *opaque)
{
    PageRun *run = opaque;
    Writeback *wb = run->wb;
    uint32_t page_size = qcow2_state(wb->bs)->g.page_size;
    g_auto(IoVec) v;

    iovec_init(&v);
    for (unsigned i = 0; i < run->n; i++) {
        iovec_add(&v, run->pages[i]->flush_buf, page_size);
    }
    int ret = bdrv_co_pwritev(wb->bs->file, run->pages[0]->offset, v.size, &v, 0);
    if (ret < 0 && wb->ret == 0) {
        wb->ret = ret;
    }
}

/* How many of the @n pages, at most MAX_RUN, lie behind each other. */
static unsigned run_length(Qcow2Page **pages, unsigned n, uint32_t page_size)
{
    unsigned i = 1;

    while (i < MIN(n, MAX_RUN) && pages[i]->offset == pages[i - 1]->offset + page_size) {
        i++;
    }
    return i;
}

static void co_fn write_pages(Writeback *wb, int cls)
{
    GPtrArray *pages = wb->pages[cls];
    uint32_t page_size = qcow2_state(wb->bs)->g.page_size;
    CoGroup group = CO_GROUP_INIT;
    PageRun runs[MAX_PARALLEL];
    unsigned n_runs = 0;

    bdrv_debug_event(wb->bs->file, write_events[cls]);
    for (guint done = 0; done < pages->len; done += runs[n_runs - 1].n) {
        if (n_runs == MAX_PARALLEL) {
            co_group_wait(&group);
            n_runs = 0;
        }
        PageRun *run = &runs[n_runs++];
        run->wb = wb;
        run->pages = (Qcow2Page **)pages->pdata + done;
        run->n = run_length(run->pages, pages->len - done, page_size);
        co_group_start(&group, write_run, run);
    }
    co_group_wait(&group);
    wb->unsynced = true;
}

static void co_fn sync_files(Writeback *wb)
{
    BlockDriverState *bs = wb->bs;

    bdrv_debug_event(bs->file, "flush_to_disk");
    int ret = bs->data_file ? bdrv_co_flush(bs->data_file, 0) : 0;
    if (ret == 0) {
        ret = bdrv_co_flush(bs->file, 0);
    }
    wb->unsynced = ret < 0;
    if (ret < 0) {
        wb->ret = wb->ret ?: ret;
        wb->tables_failed = false;
    }
}

/* ---- the whole ---- */

static bool has_pages_from(const Writeback *wb, int cls)
{
    for (; cls < QCOW2_PAGE_CLASSES; cls++) {
        if (wb->pages[cls]->len) {
            return true;
        }
    }
    return false;
}

static bool may_go_on(const Writeback *wb)
{
    return wb->ret == 0 || wb->tables_failed;
}

/* Stages 1 to 4, and a sync for what they or (@data) guests wrote. */
static void co_fn write_stages(Writeback *wb, bool data)
{
    /* Guest data that the L2 tables of this instant point to (F3). */
    wb->unsynced = data || has_pages_from(wb, QCOW2_PAGE_L2);
    for (int cls = 0; cls < QCOW2_PAGE_CLASSES && may_go_on(wb); cls++) {
        if (wb->pages[cls]->len == 0) {
            continue;
        }
        if (wb->unsynced && cls > QCOW2_PAGE_REFBLOCK) {
            sync_files(wb);
        }
        if (may_go_on(wb)) {
            if (cls == QCOW2_PAGE_REFBLOCK) {
                wb->unsynced = false;   /* nothing has to be on disk before refcounts go up */
            }
            order_assert(wb, cls);
            write_pages(wb, cls);
            wb->stage = cls + 1;
            wb->tables_failed = wb->ret < 0 && cls >= QCOW2_PAGE_L2;
        }
    }
    if (may_go_on(wb) && (wb->unsynced || data)) {
        sync_files(wb);
    }
}

/* (F6) */
static int co_fn mark_dirty(BlockDriverState *bs, bool dirty)
{
    Qcow2State *s = qcow2_state(bs);

    if (dirty == s->marked_dirty) {
        return 0;
    }
    int ret = qcow2_header_mark(bs, dirty ? QCOW2_INCOMPAT_DIRTY : 0,
                                dirty ? 0 : QCOW2_INCOMPAT_DIRTY);
    if (ret == 0) {
        s->marked_dirty = dirty;
    }
    return ret;
}

static int co_fn writeback_locked(BlockDriverState *bs, Qcow2WritebackMode mode)
{
    Qcow2State *s = qcow2_state(bs);
    Writeback wb = { .bs = bs, .lazy = s->lazy_refcounts && mode == QCOW2_WRITEBACK_FLUSH };

    if (__atomic_load_n(&s->header_unknown, __ATOMIC_ACQUIRE)) {
        return -EIO;
    }
    freeze(&wb);
    bool work = has_pages_from(&wb, 0);
    if (wb.ret == 0 && work && wb.lazy_skipped) {
        wb.ret = mark_dirty(bs, true);
    }
    if (wb.ret == 0) {
        write_stages(&wb, mode != QCOW2_WRITEBACK_ROOM);
    }
    thaw(&wb);
    if (wb.ret == 0 && work) {
        bdrv_debug_event(bs->file, "flush_to_os");
    }
    return wb.ret < 0 || mode != QCOW2_WRITEBACK_SETTLE || s->unsettled ? wb.ret
                                                                        : mark_dirty(bs, false);
}

int co_fn qcow2_unsettled_begin(BlockDriverState *bs)
{
    Qcow2State *s = qcow2_state(bs);

    co_mutex_lock(&s->writeback_lock);
    int ret = mark_dirty(bs, true);
    s->unsettled += ret == 0;
    co_mutex_unlock(&s->writeback_lock);
    return ret;
}

void co_fn qcow2_unsettled_end(BlockDriverState *bs, bool settled)
{
    Qcow2State *s = qcow2_state(bs);

    co_mutex_lock(&s->writeback_lock);
    s->unsettled -= settled;
    co_mutex_unlock(&s->writeback_lock);
    /* The mark goes now, if that is possible. Once: guests write, and there is always more. */
    qcow2_write_dirty(bs, QCOW2_WRITEBACK_SETTLE);
}

int co_fn qcow2_write_dirty(BlockDriverState *bs, Qcow2WritebackMode mode)
{
    Qcow2State *s = qcow2_state(bs);
    uint64_t begun = __atomic_load_n(&s->writebacks, __ATOMIC_SEQ_CST);
    int ret = qcow2_header_settle(bs);

    if (ret < 0) {
        return ret;
    }
    co_mutex_lock(&s->writeback_lock);
    if (mode == QCOW2_WRITEBACK_ROOM && s->writebacks > begun) {
        /* One that began after this call has done its work. */
        ret = s->writeback_ret;
        co_mutex_unlock(&s->writeback_lock);
        return ret;
    }
    __atomic_store_n(&s->writeback_running, true, __ATOMIC_RELAXED);
    if (!s->lazy_refcounts || mode != QCOW2_WRITEBACK_FLUSH) {
        __atomic_fetch_add(&s->writebacks, 1, __ATOMIC_SEQ_CST);
    }
    ret = writeback_locked(bs, mode);
    __atomic_store_n(&s->writeback_running, false, __ATOMIC_RELAXED);
    s->writeback_ret = ret;
    co_mutex_unlock(&s->writeback_lock);
    return ret;
}
