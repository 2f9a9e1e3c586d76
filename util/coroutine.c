/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Coroutines: stacks, entering and leaving, waking.
 *
 * Invariants:
 * (C1) A coroutine runs on its context's thread only.  A variable of the thread means the same
 *      before and after a yield.
 * (C2) A woken coroutine is entered by the event loop only, when no other coroutine is entered.
 *      So a wake that arrives before the yield, from whatever thread, just finds it in the list
 *      when the yield has brought the thread back to the loop.
 * (C3) A coroutine is in at most one list (ready, remote, pool), linked by ->next; ->scheduled is
 *      set while it is in the first or second.
 */
#include "qemu/osdep.h"

#include <sys/mman.h>

#include "qemu/limits.h"
#include "util/aio-internal.h"
#include "util/sanitizer.h"

#if SANITIZE_ADDRESS || SANITIZE_THREAD
#define STACK_SIZE ((size_t)MiB)
#else
#define STACK_SIZE ((size_t)(256 * KiB))
#endif
#define POOL_MAX 256

static __thread Coroutine thread_stack;     /* stands for the thread outside of coroutines */
static __thread Coroutine *current;         /* NULL: the thread has not entered any yet */

static void trampoline(void);

/*
 * ---- sanitizers ----
 *
 * Inlined, because the thread sanitizer keeps a call stack per fiber: a function that is entered
 * on one must not be left on the other.
 */
#define SWITCH_INLINE static inline __attribute__((always_inline))

/* @to's stack goes on next; *@fake keeps what the address sanitizer knows of @from. */
SWITCH_INLINE void before_switch(Coroutine *from, Coroutine *to, void **fake)
{
#if SANITIZE_ADDRESS
    /* NULL: @from will never run again, so its fake frames can go. */
    __sanitizer_start_switch_fiber(from->ended ? NULL : fake, to->stack, to->stack_size);
#endif
#if SANITIZE_THREAD
    if (!from->tsan_fiber) {
        from->tsan_fiber = __tsan_get_current_fiber();
    }
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
}

/* Runs on the stack that was switched to.  @from gets the bounds of the stack left. */
SWITCH_INLINE void after_switch(Coroutine *from, void *fake)
{
#if SANITIZE_ADDRESS
    const void *bottom;
    size_t size;

    __sanitizer_finish_switch_fiber(fake, &bottom, &size);
    if (from == &thread_stack) {
        from->stack = (void *)bottom;
        from->stack_size = size;
    }
#endif
#if SANITIZE_THREAD
    /* Else the switch could be a tail call, and "function left" be noted for the wrong fiber. */
    asm volatile("" ::: "memory");
#endif
}

/* ---- stacks ---- */

static int stacks;                          /* atomic: mapped, of all contexts, pooled or in use */

/* A coroutine on a new stack, or NULL with errno set. */
static Coroutine *map_stack(unsigned colour)
{
    size_t page = sysconf(_SC_PAGESIZE);
    size_t map_size = STACK_SIZE + page;
    /* Stacks that begin at the same offset in a page compete for the same few cache sets. */
    size_t below_top = ROUND_UP(sizeof(Coroutine), 64) + colour % 24 * 128;
    char *map = mmap(NULL, map_size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    Coroutine *co;

    if (map == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(map, page, PROT_NONE) < 0) {
        int err = errno;
        munmap(map, map_size);
        errno = err;
        return NULL;
    }
    __atomic_fetch_add(&stacks, 1, __ATOMIC_RELAXED);
#if SANITIZE_ADDRESS
    /* Whoever had this address before, a thread maybe, may have left its red zones behind. */
    __asan_unpoison_memory_region(map + page, STACK_SIZE);
    /* What only a suspended coroutine points to is not a leak. */
    __lsan_register_root_region(map + page, STACK_SIZE);
#endif
    co = (Coroutine *)(map + map_size - below_top);
    co->map = map;
    co->map_size = map_size;
    co->stack = map + page;
    co->stack_size = (char *)co - (map + page);
    return co;
}

static void unmap_stack(Coroutine *co)
{
    void *map = co->map;
    size_t map_size = co->map_size;

#if SANITIZE_ADDRESS
    size_t page = sysconf(_SC_PAGESIZE);
    __lsan_unregister_root_region((char *)map + page, STACK_SIZE);
    __asan_unpoison_memory_region((char *)map + page, STACK_SIZE);
#endif
    munmap(map, map_size);
    __atomic_fetch_sub(&stacks, 1, __ATOMIC_RELAXED);
}

static Coroutine *take_from_pool(AioContext *ctx)
{
    Coroutine *co = ctx->pool;

    ctx->pool = co->next;
    ctx->pool_size--;
    return co;
}

/* @ctx is the calling thread's; NULL with errno set. */
static Coroutine *take_stack(AioContext *ctx)
{
    return ctx->pool ? take_from_pool(ctx) : map_stack(ctx->stack_colour++);
}

static Coroutine *coroutine_init(Coroutine *co, AioContext *ctx, CoroutineEntry *entry,
                                 void *opaque)
{
    if (!co) {
        g_error("Cannot map a coroutine stack: %s", g_strerror(errno));
    }
#if SANITIZE_ADDRESS
    /* The frames of its last use never returned and left their red zones behind. */
    __asan_unpoison_memory_region(co->stack, co->stack_size);
#endif
#if SANITIZE_THREAD
    co->tsan_fiber = __tsan_create_fiber(0);
#endif
    co->entry = entry;
    co->opaque = opaque;
    co->ctx = ctx;
    co->caller = NULL;
    co->next = NULL;
    co->call = NULL;
    co->scheduled = 0;
    co->ended = false;
    co_switch_init(&co->sw, co->stack, co->stack_size, trampoline);
    return co;
}

static void coroutine_release(Coroutine *co)
{
    AioContext *ctx = co->ctx;

    assert(!co->scheduled);     /* a wake that no yield waited for */
#if SANITIZE_THREAD
    __tsan_destroy_fiber(co->tsan_fiber);
#endif
    if (ctx->pool_size >= POOL_MAX) {
        unmap_stack(co);
        return;
    }
    co->next = ctx->pool;
    ctx->pool = co;
    ctx->pool_size++;
}

void any_fn coroutine_pool_clear(AioContext *ctx)
{
    while (ctx->pool) {
        Coroutine *co = ctx->pool;
        ctx->pool = co->next;
        unmap_stack(co);
    }
    ctx->pool_size = 0;
}

/* ---- entering and leaving ---- */

/* The first function on a new stack. */
static void trampoline(void)
{
    Coroutine *co = current;
    Coroutine *caller;
    void *fake = NULL;

    after_switch(co->caller, NULL);
    co->entry(co->opaque);

    caller = co->caller;
    co->ended = true;
    current = caller;
    before_switch(co, caller, &fake);
    co_switch(&co->sw, &caller->sw);
    g_assert_not_reached();
}

void any_fn coroutine_enter(Coroutine *co)
{
    Coroutine *self = current ? current : &thread_stack;
    void *fake = NULL;

    assert(co->ctx == aio_context_current() && !co->caller);
    co->caller = self;
    current = co;
    before_switch(self, co, &fake);
    co_switch(&self->sw, &co->sw);
    after_switch(co, fake);
    if (co->ended) {
        coroutine_release(co);
    }
}

void co_fn coroutine_yield(void)
{
    Coroutine *self = coroutine_self();
    Coroutine *caller;
    void *fake = NULL;

    assert(self);
    caller = self->caller;
    self->caller = NULL;
    current = caller;
    before_switch(self, caller, &fake);
    co_switch(&self->sw, &caller->sw);
    after_switch(self->caller, fake);
}

void any_fn coroutine_start(CoroutineEntry *entry, void *opaque)
{
    AioContext *ctx = aio_context_current();

    assert(ctx);
    coroutine_enter(coroutine_init(take_stack(ctx), ctx, entry, opaque));
}

bool any_fn coroutine_try_start(CoroutineEntry *entry, void *opaque)
{
    AioContext *ctx = aio_context_current();
    bool may = ctx->pool || __atomic_load_n(&stacks, __ATOMIC_RELAXED) < COROUTINE_MAX_ASKED_FOR;
    Coroutine *co = may ? take_stack(ctx) : NULL;

    if (co) {
        coroutine_enter(coroutine_init(co, ctx, entry, opaque));
    }
    return co != NULL;
}

int any_fn coroutine_stacks_left(void)
{
    int mapped = __atomic_load_n(&stacks, __ATOMIC_RELAXED);

    return MAX(0, COROUTINE_MAX_ASKED_FOR - mapped) + aio_context_current()->pool_size;
}

void any_fn coroutine_start_in(AioContext *ctx, CoroutineEntry *entry, void *opaque)
{
    bool own = ctx == aio_context_current();
    Coroutine *co = own ? take_stack(ctx) : map_stack(0);

    coroutine_wake(coroutine_init(co, ctx, entry, opaque));
}

Coroutine *any_fn coroutine_self(void)
{
    return current == &thread_stack ? NULL : current;
}

AioContext *any_fn coroutine_context(const Coroutine *co)
{
    return co->ctx;
}

void any_fn coroutine_wake(Coroutine *co)
{
    /* Two wakes for one yield would put it into the list twice. */
    assert(!__atomic_load_n(&co->scheduled, __ATOMIC_RELAXED));
    __atomic_store_n(&co->scheduled, 1, __ATOMIC_RELAXED);
    aio_context_make_ready(co->ctx, co);
}

void co_fn coroutine_reschedule(void)
{
    aio_context_current()->gave_way = true;
    coroutine_wake(coroutine_self());
    coroutine_yield();
}
