/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Going from one stack to another: the only part of coroutines that knows the processor. */
#ifndef UTIL_COROUTINE_SWITCH_H
#define UTIL_COROUTINE_SWITCH_H

#include "qemu/osdep.h"

#if defined(__x86_64__) || defined(__aarch64__)
#define CO_SWITCH_ASM 1
#else
#define CO_SWITCH_ASM 0
#include <ucontext.h>
#endif

/* Where a stack that is not running goes on. */
typedef struct CoSwitch {
#if CO_SWITCH_ASM
    void *sp;                   /* the saved registers lie here */
#else
    ucontext_t uc;
#endif
} CoSwitch;

/* Prepare @s so that the first switch to it calls @fn, which never returns, on
 * [@stack, @stack + @size). */
void any_fn co_switch_init(CoSwitch *s, void *stack, size_t size, void (*fn)(void));

/* Go on at @to; returns when somebody switches to @from. */
void any_fn co_switch(CoSwitch *from, CoSwitch *to);

#endif
