/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Failing the n-th system call or allocation.  A test is linked with --wrap for the calls below
 * (fault_wrap_args in tests/lib/meson.build) and run on the thread backend, where files are reached
 * by nothing else.  Syncs are counted and not made: a test has no power cut to be afraid of.
 */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include "qemu/osdep.h"

/* Kinds of calls, to be or-ed. */
#define FAULT_OPEN      (1 << 0)    /* open, openat */
#define FAULT_WRITE     (1 << 1)    /* pwritev2 */
#define FAULT_SYNC      (1 << 2)    /* fdatasync, fsync */
#define FAULT_TRUNCATE  (1 << 3)    /* ftruncate */
#define FAULT_SPACE     (1 << 4)    /* fallocate */
#define FAULT_READ      (1 << 5)    /* preadv2 */
#define FAULT_LOCK      (1 << 6)    /* fcntl that takes an OFD lock */
#define FAULT_LINK      (1 << 7)    /* linkat */
#define FAULT_UNLINK    (1 << 8)    /* unlink, unlinkat, renameat, renameat2 */
#define FAULT_STAT      (1 << 9)    /* fstat, fstatat */
#define FAULT_SOCKET    (1 << 10)   /* socket, bind, listen, accept4, getaddrinfo */
#define FAULT_THREAD    (1 << 11)   /* pthread_create */
#define FAULT_EVENT     (1 << 12)   /* eventfd, epoll_create1 */
#define FAULT_MEMORY    (1 << 13)   /* more than 4 KiB by g_try_malloc and its like, posix_memalign:
                                     * what an image, a guest or a client decides the size of */

/* From now on let the @nth (from 1) call of @kinds fail with @error; @sticky: and all after it. */
void fault_arm(unsigned kinds, int nth, int error, bool sticky);
/* Once a call has failed as armed, let the @nth call of @kinds from there on fail, too, with
 * @error; @sticky: and all after it.  Goes with the fault_arm() that comes next. */
void fault_arm_second(unsigned kinds, int nth, int error, bool sticky);
/* From now on the @nth call of whatever kind is the end of the process, by SIGKILL, before it does
 * anything. */
void fault_arm_kill(int nth);
/* Fails nothing any more. Returns whether anything was failed. */
bool fault_disarm(void);
/* The kinds of the calls that were failed by fault_arm_second(). */
unsigned fault_second_struck(void);
/* The kinds of which there were calls since the last fault_arm(), failed or not. */
unsigned fault_seen(void);

#endif
