/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A writeback cache of metadata: L1 and L2 tables, refcount tables and blocks, in pages of
 * Qcow2Geometry.page_size bytes, found by their offset in the image file.
 *
 * All images of the process share one budget.  Everything here is guarded by Qcow2Cache.lock, a
 * plain mutex that is held for a few instructions and never across a yield; I/O is elsewhere
 * (page.c, flush.c).
 *
 * A page is in one of these states:
 *   loading   being read; only its loader touches it, others wait in @waiters
 *   clean     as on disk; may be evicted unless pinned
 *   dirty     newer than the disk
 *   frozen    a flush is writing @flush_buf; dirty at the same time, if it was changed since
 */
#ifndef QCOW2_CACHE_H
#define QCOW2_CACHE_H

#include <sys/queue.h>

#include "qemu/coroutine.h"
#include "types.h"

/* In the order in which a flush writes them; see flush.c. */
typedef enum Qcow2PageClass {
    QCOW2_PAGE_REFBLOCK,
    QCOW2_PAGE_REFTABLE,
    QCOW2_PAGE_L2,
    QCOW2_PAGE_L1,
    QCOW2_PAGE_CLASSES,
} Qcow2PageClass;

typedef struct Qcow2PageWaiter {
    Coroutine *co;
    struct Qcow2PageWaiter *next;
} Qcow2PageWaiter;

typedef struct Qcow2Page {
    uint64_t offset;                /* in the image file; the key */
    uint8_t *buf;
    uint8_t *flush_buf;             /* frozen: what is being written; @buf until that changes */
    Qcow2PageClass cls;
    bool loading;
    bool dirty;
    bool has_space;                 /* its place in the file is no hole: (S1), space.c */
    bool referenced;                /* used since the clock hand passed */
    unsigned last_used;             /* in which round, see Qcow2Cache.round */
    /* the table is gone: drop the page when it is loaded, written and unpinned */
    bool stale;
    unsigned pins;                  /* a walk (page.c) needs it after a yield */
    Qcow2PageWaiter *waiters;
    struct Qcow2Page *hash_next;
    /* in the cache's clean or dirty list; frozen or loading: in none */
    TAILQ_ENTRY(Qcow2Page) link;
} Qcow2Page;

TAILQ_HEAD(Qcow2PageList, Qcow2Page);

typedef struct Qcow2Cache {
    /* ---- configuration ---- */
    uint32_t page_size;
    size_t max_pages;               /* cap of this image */

    /* ---- state ---- */
    GMutex lock;
    Qcow2Page **buckets;
    size_t n_buckets;               /* a power of two */
    size_t n_pages;
    size_t n_dirty;
    size_t n_frozen;
    unsigned round;                 /* of dropping what is not used (cache-clean.c) */
    struct Qcow2PageList clean;     /* the clock: hand at the front */
    struct Qcow2PageList dirty;
    TAILQ_ENTRY(Qcow2Cache) pool_link;      /* guarded by the pool's lock */
} Qcow2Cache;

void any_fn qcow2_cache_init(Qcow2Cache *c, uint32_t page_size);
/* Bytes this image may use at most; < 0 (the default): only bounded by the process-wide budget.
 * What is beyond a smaller cap goes as other pages are needed.  While no request is under way. */
void any_fn qcow2_cache_set_cap(Qcow2Cache *c, int64_t cap);
/* Drops everything; nothing is in use. */
void any_fn qcow2_cache_destroy(Qcow2Cache *c);

/* ---- all of the following: the caller holds c->lock ---- */

/* NULL if it is not there. Marks it as used. */
Qcow2Page *any_fn qcow2_cache_find(Qcow2Cache *c, uint64_t offset);

/*
 * A new page, loading, at @offset, which is not there yet; its content is undefined.  NULL: no
 * room but what dirty pages have (flush and try again).  @force: go over the budget rather than
 * fail.
 */
Qcow2Page *any_fn qcow2_cache_add(Qcow2Cache *c, Qcow2PageClass cls, uint64_t offset, bool force);

/* @page's content is valid now: clean, or dropped if its table went away meanwhile. False:
 * dropped. */
bool any_fn qcow2_cache_loaded(Qcow2Cache *c, Qcow2Page *page);
/* Its content could not be read: drops it. */
void any_fn qcow2_cache_load_failed(Qcow2Cache *c, Qcow2Page *page);

/* Before changing @page->buf: dirty, and what a flush is writing stays as it is. */
void any_fn qcow2_cache_touch(Qcow2Cache *c, Qcow2Page *page);

/* The table at [@offset, @offset + @bytes) is gone, or about to be made: drop its pages, changed
 * ones too. */
void any_fn qcow2_cache_forget(Qcow2Cache *c, uint64_t offset, uint64_t bytes);
/* Whether a page of that range waits to be written.  If the range was just allocated, refcounts of
 * the image are wrong: the table there must not be overwritten. */
bool any_fn qcow2_cache_is_dirty(Qcow2Cache *c, uint64_t offset, uint64_t bytes);

/* The same for everything; nothing is dirty. */
void any_fn qcow2_cache_forget_all(Qcow2Cache *c);

/* Look at the next @n clean pages, and drop those that were not used in this round. */
void any_fn qcow2_cache_drop_idle(Qcow2Cache *c, size_t n);

/* A dirty page becomes clean and frozen. */
void any_fn qcow2_cache_freeze(Qcow2Cache *c, Qcow2Page *page);
/* End of that; @written: the disk has it, else it is dirty again. */
void any_fn qcow2_cache_thaw(Qcow2Cache *c, Qcow2Page *page, bool written);

/* Pinned pages are not evicted; a pinned page that is forgotten lives on as an orphan until it is
 * unpinned. */
void any_fn qcow2_cache_pin(Qcow2Page *page);
void any_fn qcow2_cache_unpin(Qcow2Cache *c, Qcow2Page *page);

#endif
