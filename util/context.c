/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calling contexts of include/qemu/context.h, checked at run time. */
#include "qemu/osdep.h"

#include "qemu/aio.h"

#ifdef __clang__
ContextCapability context_main_thread;
ContextCapability context_coroutine;
ContextCapability context_may_block;
#endif

static __thread bool is_main;

void any_fn context_set_main(void)
{
    is_main = true;
}

void context_assert_main(void)
{
    assert(is_main);
}

void context_assert_coroutine(void)
{
    assert(coroutine_self());
}
