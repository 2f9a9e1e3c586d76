/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Switching trace points. */
#include "qemu/osdep.h"

#include "qemu/trace.h"

unsigned any_fn trace_switch(const char *pattern, bool on)
{
    unsigned n = 0;

    for (unsigned i = 0; trace_events[i].name; i++) {
        if (g_pattern_match_simple(pattern, trace_events[i].name)) {
            __atomic_store_n(&trace_on[i], on, __ATOMIC_RELAXED);
            n++;
        }
    }
    return n;
}

bool any_fn trace_is_on(unsigned index)
{
    return __atomic_load_n(&trace_on[index], __ATOMIC_RELAXED);
}
