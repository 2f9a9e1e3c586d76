/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Failing the n-th system call.  A test is linked with --wrap for the calls below (meson.build)
 * and run on the thread backend, where files are reached by nothing else.  What undoes (unlink, close,
 * unlock) does not fail here.
 */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include "qemu/osdep.h"

/* Kinds of calls, to be or-ed. */
#define FAULT_OPEN      1           /* open, openat */
#define FAULT_WRITE     2           /* pwritev2 */
#define FAULT_SYNC      4           /* fdatasync, fsync */
#define FAULT_TRUNCATE  8           /* ftruncate, fallocate */
#define FAULT_READ      16          /* preadv2 */
#define FAULT_LOCK      32          /* fcntl that takes an OFD lock */
#define FAULT_ALL       63

/* From now on let the @nth (from 1) call of @kinds fail with @error; @sticky: and all after it. */
void fault_arm(unsigned kinds, int nth, int error, bool sticky);
/* Fails nothing any more. Returns whether anything was failed. */
bool fault_disarm(void);

#endif
