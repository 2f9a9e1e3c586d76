/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lines on their way to something that may not take them: a pipe that nobody reads, a terminal that
 * is stopped, a file on a disk that does not answer.  A thread writes; whoever has a line leaves it
 * in a queue and goes on.  What finds the queue full is dropped and counted, and the count is told.
 */
#ifndef QEMU_LINE_WRITER_H
#define QEMU_LINE_WRITER_H

#include "qemu/context.h"
#include "qemu/osdep.h"

typedef struct LineWriter LineWriter;

/*
 * Takes one line, without its end, that was put at @time_us (microseconds since 1970); NULL: there
 * is no further one at the moment.  Called by the writer's thread alone, and may wait.
 */
typedef void LineSink(void *opaque, int64_t time_us, const char *line);

/* @what: "this log", for the line that tells how many were dropped.  @max_bytes may wait.  Lives as
 * long as the program; its thread begins with the first line. */
LineWriter *any_fn line_writer_new(const char *what, size_t max_bytes, LineSink *sink,
                                   void *opaque);
/* From any thread. */
void any_fn line_writer_put(LineWriter *w, const char *line);
/* What was put is written, if that takes no longer than @patience_ns. */
void blocking_fn line_writer_finish(LineWriter *w, int64_t patience_ns);

/* All of @text to @fd, which may be non-blocking; errors are nobody's to hear. */
void blocking_fn line_writer_write_all(int fd, const char *text, size_t len);

#endif
