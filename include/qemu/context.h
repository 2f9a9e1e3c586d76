/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The calling context of a function, in one word in front of its name.
 *
 *   main_fn      main thread only; does not yield
 *   co_main_fn   main thread only, inside a coroutine; may yield
 *   co_fn        inside a coroutine on any thread; may yield
 *   any_fn       anywhere; does not yield
 *
 * gcc ignores the words.  clang's -Wthread-safety models each context as a
 * capability and reports, for example, a co_fn called from plain code.  It does
 * not see through function pointers: whoever calls one asserts the context at
 * run time instead (see the trampolines in block/io/driver-calls.c).
 *
 * Write the word in prototypes only where there is a prototype; a static
 * function carries it at its definition.
 */
#ifndef QEMU_CONTEXT_H
#define QEMU_CONTEXT_H

#ifdef __clang__
typedef struct __attribute__((capability("context"))) ContextCapability {
    char unused;
} ContextCapability;

/* Never read or written: they only name the two contexts for the analysis. */
extern ContextCapability context_main_thread;
extern ContextCapability context_coroutine;

#define main_fn     __attribute__((requires_shared_capability(context_main_thread)))
#define co_fn       __attribute__((requires_shared_capability(context_coroutine)))
#define co_main_fn  main_fn co_fn
#define any_fn

/* For the few places that are in a context without saying so in their type. */
#define CONTEXT_ASSERT_MAIN \
    __attribute__((assert_shared_capability(context_main_thread)))
#define CONTEXT_ASSERT_COROUTINE \
    __attribute__((assert_shared_capability(context_coroutine)))
#else
#define main_fn
#define co_fn
#define co_main_fn
#define any_fn
#define CONTEXT_ASSERT_MAIN
#define CONTEXT_ASSERT_COROUTINE
#endif

/* Assert at run time, and tell the analysis, that this is the main thread. */
void context_assert_main(void) CONTEXT_ASSERT_MAIN;

/* Assert at run time, and tell the analysis, that this runs in a coroutine. */
void context_assert_coroutine(void) CONTEXT_ASSERT_COROUTINE;

#endif
