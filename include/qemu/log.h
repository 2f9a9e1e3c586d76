/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What whoever runs the program should know and nobody can be told by a return value: a repair,
 * damage, a flush that failed while an image was closed.  Libraries print nothing; the program says
 * where such lines go.
 */
#ifndef QEMU_LOG_H
#define QEMU_LOG_H

#include "qemu/osdep.h"

#include "qemu/context.h"

/* @fn gets one line without its end, on any thread.  Called while there is one thread; NULL (the
 * default): lines are dropped. */
void any_fn log_set_handler(void (*fn)(const char *line));

/* Writes one line, without its end, that was put at @time_us (microseconds since 1970).  Called by
 * one thread, which may wait in it. */
typedef void LogSink(int64_t time_us, const char *line);

/* For programs: lines to @sink, while nobody who has a line ever waits for it.  init once, while
 * there is one thread. */
void any_fn log_writer_init(LogSink *sink);
void any_fn log_writer_put(const char *line);       /* a handler for log_set_handler() */
/* Before the program ends: what was put is written, if that takes no longer than @patience_ns. */
void blocking_fn log_writer_finish(int64_t patience_ns);

/* No line end; names the object and the cause, as errors do. */
void any_fn log_line(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

#endif
