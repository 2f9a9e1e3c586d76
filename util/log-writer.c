/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of a program on its way to something that may not take it. */
#include "qemu/osdep.h"

#include "qemu/line-writer.h"
#include "qemu/log.h"

#define MAX_BYTES (256 * KiB)

static LineWriter *writer;
static LogSink *log_sink;

static void blocking_fn write_line(void *opaque, int64_t time_us, const char *line)
{
    if (line) {
        log_sink(time_us, line);
    }
}

void any_fn log_writer_init(LogSink *sink)
{
    log_sink = sink;
    writer = line_writer_new("this log", MAX_BYTES, write_line, NULL);
}

void any_fn log_writer_put(const char *line)
{
    line_writer_put(writer, line);
}

void blocking_fn log_writer_finish(int64_t patience_ns)
{
    line_writer_finish(writer, patience_ns);
}
