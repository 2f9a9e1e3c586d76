/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests that need an event loop: the main thread's, on the backend that QEMU_AIO names. */
#ifndef TESTS_UNIT_TEST_LOOP_H
#define TESTS_UNIT_TEST_LOOP_H

#include "qemu/aio.h"

/* g_test_init(), and a context for the main thread.  Exits with 77 (skipped) if there is no
 * io_uring here and QEMU_AIO asks for it. */
static inline AioContext *test_loop_init(int *argc, char ***argv)
{
    AioContext *ctx;
    Error *err = NULL;

    g_test_init(argc, argv, NULL);
    context_set_main();
    ctx = aio_context_new(AIO_BACKEND_AUTO, &err);
    if (!ctx) {
        fprintf(stderr, "skipped: %s\n", error_get_pretty(err));
        exit(77);
    }
    return ctx;
}

/* Run @entry as a coroutine until it returns. */
static inline void run_co(CoroutineEntry *entry, void *opaque)
{
    aio_context_run_coroutine(aio_context_current(), entry, opaque);
}

#endif
