/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The calling context of a function, in one word in front of its name.
 *
 *   main_fn      main thread only; does not yield
 *   co_main_fn   main thread only, inside a coroutine; may yield
 *   co_fn        inside a coroutine on any thread; may yield
 *   any_fn       anywhere; does not yield, and does not block
 *   blocking_fn  by a thread of the pool, or before and after the event loop: it makes system
 *                calls that may wait for a disk, a file system, a name server, another process
 *
 * gcc ignores the words.  clang's -Wthread-safety models each context as a
 * capability and reports, for example, a co_fn called from plain code.  It does
 * not see through function pointers: whoever calls one asserts the context at
 * run time instead (see the trampolines in block/io/driver-calls.c).
 *
 * Write the word in prototypes only where there is a prototype; a static
 * function carries it at its definition.
 *
 * tests/docs/nothing-blocks-the-loop.py checks that blocking system calls occur nowhere else.
 */
#ifndef QEMU_CONTEXT_H
#define QEMU_CONTEXT_H

#ifdef __clang__
typedef struct __attribute__((capability("context"))) ContextCapability {
    char unused;
} ContextCapability;

/* Never read or written: they only name the contexts for the analysis. */
extern ContextCapability context_main_thread;
extern ContextCapability context_coroutine;
extern ContextCapability context_may_block;

#define main_fn     __attribute__((requires_shared_capability(context_main_thread)))
#define co_fn       __attribute__((requires_shared_capability(context_coroutine)))
#define co_main_fn  main_fn co_fn
#define any_fn
#define blocking_fn __attribute__((requires_shared_capability(context_may_block)))

/* For the few places that are in a context without saying so in their type. */
#define CONTEXT_ASSERT_MAIN \
    __attribute__((assert_shared_capability(context_main_thread)))
#define CONTEXT_ASSERT_COROUTINE \
    __attribute__((assert_shared_capability(context_coroutine)))
#define CONTEXT_ASSERT_MAY_BLOCK \
    __attribute__((assert_shared_capability(context_may_block)))
#else
#define main_fn
#define co_fn
#define co_main_fn
#define any_fn
#define blocking_fn
#define CONTEXT_ASSERT_MAIN
#define CONTEXT_ASSERT_COROUTINE
#define CONTEXT_ASSERT_MAY_BLOCK
#endif

/* For the few blocking calls outside of where they belong, each with its reason beside it. */
static inline void context_block_anyway(void) CONTEXT_ASSERT_MAY_BLOCK
{
}

/* Assert at run time, and tell the analysis, that this is the main thread. */
void context_assert_main(void) CONTEXT_ASSERT_MAIN;

/* Assert at run time, and tell the analysis, that this runs in a coroutine. */
void context_assert_coroutine(void) CONTEXT_ASSERT_COROUTINE;

#endif
