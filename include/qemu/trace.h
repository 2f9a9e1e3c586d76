/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trace points: what the daemon does, for whoever looks into one that runs.  The table
 * util/trace-events has them; trace_NAME() is made from each line of it.  One that is off costs a
 * branch on a flag that is always there, and never allocates or waits; one that is on costs a line
 * of text.  Where the system has static probes, each is one too.
 *
 * Arguments are evaluated even if it is off: what has to be found out for it stands behind
 * trace_enabled().
 */
#ifndef QEMU_TRACE_H
#define QEMU_TRACE_H

#include "config-host.h"
#include "qemu/context.h"
#include "qemu/osdep.h"

#if CONFIG_SDT
#include <sys/sdt.h>
#define TRACE_PROBE1(name, ...) DTRACE_PROBE1(qsd, name, __VA_ARGS__)
#define TRACE_PROBE2(name, ...) DTRACE_PROBE2(qsd, name, __VA_ARGS__)
#define TRACE_PROBE3(name, ...) DTRACE_PROBE3(qsd, name, __VA_ARGS__)
#define TRACE_PROBE4(name, ...) DTRACE_PROBE4(qsd, name, __VA_ARGS__)
#define TRACE_PROBE5(name, ...) DTRACE_PROBE5(qsd, name, __VA_ARGS__)
#define TRACE_PROBE6(name, ...) DTRACE_PROBE6(qsd, name, __VA_ARGS__)
#else
#define TRACE_PROBE1(name, ...)
#define TRACE_PROBE2(name, ...)
#define TRACE_PROBE3(name, ...)
#define TRACE_PROBE4(name, ...)
#define TRACE_PROBE5(name, ...)
#define TRACE_PROBE6(name, ...)
#endif

/* EVENT in capitals.  Flags change while others look at them. */
#define trace_enabled(EVENT) \
    G_UNLIKELY(__atomic_load_n(&trace_on[TRACE_##EVENT], __ATOMIC_RELAXED))

typedef struct TraceEvent {
    const char *name, *args, *help;
} TraceEvent;

/* All of them, in the order of the table; the last has no name. */
extern const TraceEvent trace_events[];

/* Switch those that @pattern matches (`*` any text, `?` any character); how many these are. */
unsigned any_fn trace_switch(const char *pattern, bool on);
bool any_fn trace_is_on(unsigned index);

/* @fn gets each line, without its end, on any thread; NULL (the default): log_line() does.  Set
 * while there is one thread. */
void any_fn trace_set_handler(void (*fn)(const char *line));

/* For the functions that are made. */
void any_fn trace_line(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

#include "util/trace-events.h"

#endif
