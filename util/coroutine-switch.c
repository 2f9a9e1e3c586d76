/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both assembly versions push the registers that a function must preserve, swap stack pointers
 * and pop.  The floating-point control words are not switched: nobody here changes them.
 *
 * The return address on the new stack was not put there by a call, so this object must not claim
 * to work with a hardware shadow stack (meson.build passes -fcf-protection=none).
 */
#include "qemu/osdep.h"

#include "util/coroutine-switch.h"

#if CO_SWITCH_ASM
void co_switch_asm(void **save_sp, void **load_sp) __attribute__((visibility("hidden")));

void any_fn co_switch(CoSwitch *from, CoSwitch *to)
{
    co_switch_asm(&from->sp, &to->sp);
}
#endif

#if defined(__x86_64__)

asm(".text\n"
    ".p2align 4\n"
    ".globl co_switch_asm\n"
    ".hidden co_switch_asm\n"
    ".type co_switch_asm, @function\n"
    "co_switch_asm:\n"
    "    pushq %rbp\n"
    "    pushq %rbx\n"
    "    pushq %r12\n"
    "    pushq %r13\n"
    "    pushq %r14\n"
    "    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq (%rsi), %rsp\n"
    "    popq %r15\n"
    "    popq %r14\n"
    "    popq %r13\n"
    "    popq %r12\n"
    "    popq %rbx\n"
    "    popq %rbp\n"
    "    ret\n"
    ".size co_switch_asm, . - co_switch_asm\n");

void any_fn co_switch_init(CoSwitch *s, void *stack, size_t size, void (*fn)(void))
{
    void **top = (void **)((uintptr_t)((char *)stack + size) & ~(uintptr_t)15);

    top[-1] = NULL;             /* @fn's return address: the end of every backtrace */
    top[-2] = (void *)fn;
    memset(&top[-8], 0, 6 * sizeof(void *));
    s->sp = &top[-8];
}

#elif defined(__aarch64__)

asm(".text\n"
    ".p2align 4\n"
    ".globl co_switch_asm\n"
    ".hidden co_switch_asm\n"
    ".type co_switch_asm, %function\n"
    "co_switch_asm:\n"
    "    sub sp, sp, #160\n"
    "    stp x19, x20, [sp, #0]\n"
    "    stp x21, x22, [sp, #16]\n"
    "    stp x23, x24, [sp, #32]\n"
    "    stp x25, x26, [sp, #48]\n"
    "    stp x27, x28, [sp, #64]\n"
    "    stp x29, x30, [sp, #80]\n"
    "    stp d8, d9, [sp, #96]\n"
    "    stp d10, d11, [sp, #112]\n"
    "    stp d12, d13, [sp, #128]\n"
    "    stp d14, d15, [sp, #144]\n"
    "    mov x9, sp\n"
    "    str x9, [x0]\n"
    "    ldr x9, [x1]\n"
    "    mov sp, x9\n"
    "    ldp x19, x20, [sp, #0]\n"
    "    ldp x21, x22, [sp, #16]\n"
    "    ldp x23, x24, [sp, #32]\n"
    "    ldp x25, x26, [sp, #48]\n"
    "    ldp x27, x28, [sp, #64]\n"
    "    ldp x29, x30, [sp, #80]\n"
    "    ldp d8, d9, [sp, #96]\n"
    "    ldp d10, d11, [sp, #112]\n"
    "    ldp d12, d13, [sp, #128]\n"
    "    ldp d14, d15, [sp, #144]\n"
    "    add sp, sp, #160\n"
    "    ret\n"
    ".size co_switch_asm, . - co_switch_asm\n");

void any_fn co_switch_init(CoSwitch *s, void *stack, size_t size, void (*fn)(void))
{
    void **top = (void **)((uintptr_t)((char *)stack + size) & ~(uintptr_t)15);

    s->sp = top - 20;
    memset(s->sp, 0, 160);
    top[-20 + 11] = (void *)fn; /* x30; x29 is 0: the end of every backtrace */
}

#else

void any_fn co_switch_init(CoSwitch *s, void *stack, size_t size, void (*fn)(void))
{
    if (getcontext(&s->uc) < 0) {
        g_error("getcontext: %s", g_strerror(errno));
    }
    s->uc.uc_link = NULL;
    s->uc.uc_stack.ss_sp = stack;
    s->uc.uc_stack.ss_size = size;
    makecontext(&s->uc, fn, 0);
}

void any_fn co_switch(CoSwitch *from, CoSwitch *to)
{
    swapcontext(&from->uc, &to->uc);
}

#endif
