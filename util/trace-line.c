/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the lines of trace points go. */
#include "qemu/osdep.h"

#include "qemu/log.h"
#include "qemu/trace.h"

static void (*handler)(const char *line);

void any_fn trace_set_handler(void (*fn)(const char *line))
{
    handler = fn;
}

/* `PID@SECONDS:NAME ARGUMENTS`: lines of several daemons in one file can be told apart. */
void any_fn trace_line(const char *fmt, ...)
{
    int64_t now_us = g_get_real_time();
    g_autofree char *text = NULL, *line = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    line = g_strdup_printf("%d@%" PRId64 ".%06d:%s", (int)getpid(), now_us / G_USEC_PER_SEC,
                           (int)(now_us % G_USEC_PER_SEC), text);
    if (handler) {
        handler(line);
    } else {
        log_line("%s", line);
    }
}
