/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The metadata cache and the budget that all caches share.
 *
 * (C1) A page is in exactly one place: clean list, dirty list, or none while it is loading or
 *      frozen and not dirty.
 * (C2) Only a page in the clean list without pins is ever freed to make room.
 * (C3) Lock order: a cache's lock, then the pool's, then another cache's by trylock only.
 */
#include "qemu/osdep.h"

#include "block/io.h"
#include "block/qcow2.h"
#include "cache.h"
#include "util/sanitizer.h"

/* Pages that an image keeps whatever the others need. */
#define MIN_PAGES 16
/* Memory of a page that is not its content. */
#define PAGE_OVERHEAD (sizeof(Qcow2Page) + 32)
/* Other images that are asked for room before giving up. */
#define MAX_VICTIMS 16

TAILQ_HEAD(Qcow2CacheList, Qcow2Cache);

/* ---- the pool ---- */

static struct {
    GMutex lock;
    struct Qcow2CacheList caches;   /* the next victim is at the front */
    size_t n_caches;
    size_t used, budget;            /* bytes; atomic */
} pool = {
    .caches = TAILQ_HEAD_INITIALIZER(pool.caches),
    .budget = QCOW2_DEFAULT_CACHE_BUDGET,
};

void any_fn qcow2_cache_set_global_budget(size_t bytes)
{
    __atomic_store_n(&pool.budget, bytes, __ATOMIC_RELAXED);
}

size_t any_fn qcow2_cache_global_budget(void)
{
    return __atomic_load_n(&pool.budget, __ATOMIC_RELAXED);
}

size_t any_fn qcow2_cache_global_usage(void)
{
    return __atomic_load_n(&pool.used, __ATOMIC_RELAXED);
}

static size_t page_cost(const Qcow2Cache *c)
{
    return c->page_size + PAGE_OVERHEAD;
}

static bool pool_has_room(size_t bytes)
{
    return qcow2_cache_global_usage() + bytes <= qcow2_cache_global_budget();
}

/* ---- pages ---- */

static size_t hash_slot(const Qcow2Cache *c, uint64_t offset)
{
    uint64_t h = offset / c->page_size * UINT64_C(0x9e3779b97f4a7c15);

    return h >> 32 & (c->n_buckets - 1);
}

static void hash_grow(Qcow2Cache *c)
{
    Qcow2Page **old = c->buckets;
    size_t n_old = c->n_buckets;

    c->n_buckets *= 2;
    c->buckets = g_new0(Qcow2Page *, c->n_buckets);
    for (size_t i = 0; i < n_old; i++) {
        for (Qcow2Page *p = old[i], *next; p; p = next) {
            Qcow2Page **slot = &c->buckets[hash_slot(c, p->offset)];
            next = p->hash_next;
            p->hash_next = *slot;
            *slot = p;
        }
    }
    g_free(old);
}

static void hash_remove(Qcow2Cache *c, Qcow2Page *page)
{
    Qcow2Page **slot = &c->buckets[hash_slot(c, page->offset)];

    while (*slot != page) {
        slot = &(*slot)->hash_next;
    }
    *slot = page->hash_next;
}

/* @page is in no list and not in the hash. */
static void page_release(Qcow2Cache *c, Qcow2Page *page)
{
    c->n_pages--;
    __atomic_fetch_sub(&pool.used, page_cost(c), __ATOMIC_RELAXED);
    free(page->buf);
    g_free(page);
}

/* @page is stale: in no list and not in the hash. */
static void release_if_unused(Qcow2Cache *c, Qcow2Page *page)
{
    if (page->pins == 0 && !page->flush_buf) {
        page_release(c, page);
    }
}

/* @page is in no list. */
static void page_free(Qcow2Cache *c, Qcow2Page *page)
{
    hash_remove(c, page);
    page_release(c, page);
}

/* Second chance; looks at a bounded number of pages. */
static bool evict_one(Qcow2Cache *c)
{
    for (int i = 0; i < 64; i++) {
        Qcow2Page *page = TAILQ_FIRST(&c->clean);

        if (!page) {
            return false;
        }
        TAILQ_REMOVE(&c->clean, page, link);
        assert(!page->dirty && !page->flush_buf && !page->loading);         /* (C2) */
        if (page->pins == 0 && !page->referenced) {
            page_free(c, page);
            return true;
        }
        page->referenced = false;
        TAILQ_INSERT_TAIL(&c->clean, page, link);
    }
    return false;
}

void any_fn qcow2_cache_drop_idle(Qcow2Cache *c, size_t n)
{
    Qcow2Page *page;

    while (n-- > 0 && (page = TAILQ_FIRST(&c->clean))) {
        TAILQ_REMOVE(&c->clean, page, link);
        if (page->last_used != c->round && page->pins == 0) {
            page_free(c, page);
        } else {
            TAILQ_INSERT_TAIL(&c->clean, page, link);
        }
    }
}

/* Take pages from other images until there is room for one of @c's. */
static bool evict_from_others(Qcow2Cache *c)
{
    bool room = false;

    guard_lock(&pool.lock);
    for (size_t i = 0; i < MIN(pool.n_caches, MAX_VICTIMS) && !room; i++) {
        Qcow2Cache *victim = TAILQ_FIRST(&pool.caches);

        TAILQ_REMOVE(&pool.caches, victim, pool_link);
        TAILQ_INSERT_TAIL(&pool.caches, victim, pool_link);
        if (victim == c || !guard_trylock(&victim->lock)) {
            continue;
        }
        while (!(room = pool_has_room(page_cost(c))) && victim->n_pages > MIN_PAGES &&
               evict_one(victim)) {
        }
        guard_unlock(&victim->lock);
    }
    guard_unlock(&pool.lock);
    return room;
}

static bool make_room(Qcow2Cache *c)
{
    if (c->n_pages >= c->max_pages) {
        return evict_one(c) || c->n_pages < MIN_PAGES;
    }
    if (pool_has_room(page_cost(c))) {
        return true;
    }
    /* A cache with less than an equal share takes from the others first. */
    size_t caches = __atomic_load_n(&pool.n_caches, __ATOMIC_RELAXED);
    size_t share = qcow2_cache_global_budget() / page_cost(c) / MAX(caches, 1);
    if (c->n_pages < MAX(share, MIN_PAGES) && evict_from_others(c)) {
        return true;
    }
    return (c->n_pages >= MIN_PAGES && evict_one(c)) || evict_from_others(c) ||
           c->n_pages < MIN_PAGES;
}

/* ---- life ---- */

void any_fn qcow2_cache_set_cap(Qcow2Cache *c, int64_t cap)
{
    c->max_pages = cap < 0 ? SIZE_MAX : MAX((uint64_t)cap / c->page_size, MIN_PAGES);
}

void any_fn qcow2_cache_init(Qcow2Cache *c, uint32_t page_size)
{
    memset(c, 0, sizeof(*c));
    g_mutex_init(&c->lock);
    c->page_size = page_size;
    c->max_pages = SIZE_MAX;
    c->n_buckets = 64;
    c->buckets = g_new0(Qcow2Page *, c->n_buckets);
    TAILQ_INIT(&c->clean);
    TAILQ_INIT(&c->dirty);
    guard_lock(&pool.lock);
    TAILQ_INSERT_TAIL(&pool.caches, c, pool_link);
    __atomic_fetch_add(&pool.n_caches, 1, __ATOMIC_RELAXED);
    guard_unlock(&pool.lock);
}

void any_fn qcow2_cache_destroy(Qcow2Cache *c)
{
    Qcow2Page *page;

    guard_lock(&pool.lock);
    TAILQ_REMOVE(&pool.caches, c, pool_link);
    __atomic_fetch_sub(&pool.n_caches, 1, __ATOMIC_RELAXED);
    guard_unlock(&pool.lock);
    assert(c->n_frozen == 0);
    while ((page = TAILQ_FIRST(&c->clean))) {
        TAILQ_REMOVE(&c->clean, page, link);
        page_free(c, page);
    }
    while ((page = TAILQ_FIRST(&c->dirty))) {       /* an image whose last flush failed */
        TAILQ_REMOVE(&c->dirty, page, link);
        page_free(c, page);
    }
    assert(c->n_pages == 0);
    g_free(c->buckets);
    g_mutex_clear(&c->lock);
}

/* ---- under the lock ---- */

Qcow2Page *any_fn qcow2_cache_find(Qcow2Cache *c, uint64_t offset)
{
    for (Qcow2Page *p = c->buckets[hash_slot(c, offset)]; p; p = p->hash_next) {
        if (p->offset == offset) {
            p->referenced = true;
            p->last_used = c->round;
            return p;
        }
    }
    return NULL;
}

Qcow2Page *any_fn qcow2_cache_add(Qcow2Cache *c, Qcow2PageClass cls, uint64_t offset, bool force)
{
    if (!make_room(c) && !force) {
        return NULL;
    }
    Qcow2Page *page = g_new0(Qcow2Page, 1);

    page->buf = bdrv_try_blockalign(c->page_size);
    if (!page->buf) {
        g_error("out of memory for a page of %u bytes", c->page_size);
    }
    page->offset = offset;
    page->cls = cls;
    page->loading = true;
    page->referenced = true;
    page->last_used = c->round;
    __atomic_fetch_add(&pool.used, page_cost(c), __ATOMIC_RELAXED);
    if (++c->n_pages > c->n_buckets) {
        hash_grow(c);
    }
    Qcow2Page **slot = &c->buckets[hash_slot(c, offset)];
    page->hash_next = *slot;
    *slot = page;
    return page;
}

/* In the order in which they came: what is written in order is then laid out in order. */
static void wake_waiters(Qcow2Page *page)
{
    Qcow2PageWaiter *first = NULL;

    for (Qcow2PageWaiter *w = page->waiters, *next; w; w = next) {
        next = w->next;
        w->next = first;
        first = w;
    }
    page->waiters = NULL;
    while (first) {
        Coroutine *co = first->co;
        first = first->next;        /* which is on the stack of the one to be woken */
        coroutine_wake(co);
    }
}

bool any_fn qcow2_cache_loaded(Qcow2Cache *c, Qcow2Page *page)
{
    if (page->stale) {
        qcow2_cache_load_failed(c, page);
        return false;
    }
    page->loading = false;
    wake_waiters(page);
    TAILQ_INSERT_TAIL(&c->clean, page, link);
    return true;
}

void any_fn qcow2_cache_load_failed(Qcow2Cache *c, Qcow2Page *page)
{
    wake_waiters(page);
    page_free(c, page);
}

void any_fn qcow2_cache_touch(Qcow2Cache *c, Qcow2Page *page)
{
    assert(!page->loading && page->has_space);
    if (page->flush_buf == page->buf) {
        uint8_t *copy = bdrv_try_blockalign(c->page_size);
        if (!copy) {
            g_error("out of memory for a page of %u bytes", c->page_size);
        }
        memcpy(copy, page->buf, c->page_size);
        page->buf = copy;
    }
    if (!page->dirty) {
        if (!page->flush_buf) {
            TAILQ_REMOVE(&c->clean, page, link);
        }
        page->dirty = true;
        c->n_dirty++;
        TAILQ_INSERT_TAIL(&c->dirty, page, link);
    }
}

static void forget_page(Qcow2Cache *c, Qcow2Page *page)
{
    page->stale = true;
    if (page->loading) {
        return;                     /* its loader drops it */
    }
    /* Dirty, it is a table of a damaged image, in the place of another. */
    if (page->dirty) {
        TAILQ_REMOVE(&c->dirty, page, link);
        page->dirty = false;
        c->n_dirty--;
    } else if (!page->flush_buf) {
        TAILQ_REMOVE(&c->clean, page, link);
    }
    hash_remove(c, page);
    release_if_unused(c, page);
}

void any_fn qcow2_cache_forget(Qcow2Cache *c, uint64_t offset, uint64_t bytes)
{
    for (uint64_t o = offset; o < offset + bytes; o += c->page_size) {
        Qcow2Page *page = qcow2_cache_find(c, o);

        if (page) {
            forget_page(c, page);
        }
    }
}

void any_fn qcow2_cache_forget_all(Qcow2Cache *c)
{
    for (size_t i = 0; i < c->n_buckets; i++) {
        Qcow2Page *next;

        for (Qcow2Page *page = c->buckets[i]; page; page = next) {
            next = page->hash_next;
            forget_page(c, page);
        }
    }
}

bool any_fn qcow2_cache_is_dirty(Qcow2Cache *c, uint64_t offset, uint64_t bytes)
{
    for (uint64_t o = offset; o < offset + bytes; o += c->page_size) {
        Qcow2Page *page = qcow2_cache_find(c, o);

        if (page && !page->loading && (page->dirty || page->flush_buf)) {
            return true;
        }
    }
    return false;
}

void any_fn qcow2_cache_pin(Qcow2Page *page)
{
    page->pins++;
}

void any_fn qcow2_cache_unpin(Qcow2Cache *c, Qcow2Page *page)
{
    assert(page->pins > 0);
    page->pins--;
    if (page->stale) {
        release_if_unused(c, page);
    }
}

void any_fn qcow2_cache_freeze(Qcow2Cache *c, Qcow2Page *page)
{
    assert(page->dirty && !page->flush_buf);
    TAILQ_REMOVE(&c->dirty, page, link);
    page->dirty = false;
    page->flush_buf = page->buf;
    c->n_dirty--;
    c->n_frozen++;
}

void any_fn qcow2_cache_thaw(Qcow2Cache *c, Qcow2Page *page, bool written)
{
    assert(page->flush_buf);
    if (page->flush_buf != page->buf) {
        free(page->flush_buf);
    }
    page->flush_buf = NULL;
    c->n_frozen--;
    if (page->stale) {
        release_if_unused(c, page);
        return;
    }
    if (page->dirty) {
        return;
    }
    if (written) {
        TAILQ_INSERT_TAIL(&c->clean, page, link);
        return;
    }
    page->dirty = true;
    c->n_dirty++;
    TAILQ_INSERT_TAIL(&c->dirty, page, link);
}
