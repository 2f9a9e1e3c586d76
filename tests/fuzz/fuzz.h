/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fuzz target is a function over bytes.  Built with -Dfuzzing=true it is driven by libFuzzer,
 * else by replay.c, which gives it the files it is called with.
 *
 * Nothing may be left over from one input to the next but what a first input set up.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "qemu/aio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Run @fn as a coroutine of the main thread, to its end. */
typedef void FuzzFn(const uint8_t *data, size_t size);
void fuzz_run(FuzzFn *fn, const uint8_t *data, size_t size);

/* Takes bytes off the front of an input; zeroes once it is used up. */
typedef struct FuzzInput {
    const uint8_t *data;
    size_t size;
} FuzzInput;

static inline uint64_t fuzz_take(FuzzInput *in, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = 0; i < bytes; i++) {
        v = v << 8 | (in->size ? *in->data : 0);
        if (in->size) {
            in->data++;
            in->size--;
        }
    }
    return v;
}

#endif
