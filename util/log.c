/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "qemu/log.h"

static void (*handler)(const char *line);

void any_fn log_set_handler(void (*fn)(const char *line))
{
    handler = fn;
}

void any_fn log_line(const char *fmt, ...)
{
    va_list ap;

    if (handler) {
        va_start(ap, fmt);
        g_autofree char *line = g_strdup_vprintf(fmt, ap);
        va_end(ap);
        handler(line);
    }
}
