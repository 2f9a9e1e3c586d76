/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the sanitizers must be told about coroutines and about locks they cannot see.
 * Every function here is empty in an ordinary build.
 */
#ifndef UTIL_SANITIZER_H
#define UTIL_SANITIZER_H

#include "qemu/osdep.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define SANITIZE_ADDRESS 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#else
#define SANITIZE_ADDRESS 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define SANITIZE_THREAD 1
#include <sanitizer/tsan_interface.h>
#else
#define SANITIZE_THREAD 0
#endif

/*
 * glib is not built with the thread sanitizer, which therefore does not see that a GMutex orders
 * its holders.  Locks of ours that are GMutexes are taken through these.
 */
static inline void guard_lock(GMutex *m)
{
    g_mutex_lock(m);
#if SANITIZE_THREAD
    __tsan_acquire(m);
#endif
}

static inline bool guard_trylock(GMutex *m)
{
    bool locked = g_mutex_trylock(m);

#if SANITIZE_THREAD
    if (locked) {
        __tsan_acquire(m);
    }
#endif
    return locked;
}

static inline void guard_unlock(GMutex *m)
{
#if SANITIZE_THREAD
    __tsan_release(m);
#endif
    g_mutex_unlock(m);
}

#endif
