/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "tests/fuzz/fuzz.h"

typedef struct FuzzCall {
    FuzzFn *fn;
    const uint8_t *data;
    size_t size;
} FuzzCall;

static void run_entry(void *opaque)
{
    FuzzCall *call = opaque;

    call->fn(call->data, call->size);
}

void fuzz_run(FuzzFn *fn, const uint8_t *data, size_t size)
{
    static AioContext *ctx;
    FuzzCall call = { fn, data, size };

    if (!ctx) {
        context_set_main();
        ctx = aio_context_new(AIO_BACKEND_AUTO, &error_abort);
    }
    aio_context_run_coroutine(ctx, run_entry, &call);
}
