/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program from start to end. */
#include "qemu/osdep.h"

#include <malloc.h>
#include <signal.h>

#include "qapi/event.h"
#include "qemu/aio.h"
#include "qemu/log.h"
#include "tool.h"
#include "trace.h"

/* The last trace lines are worth waiting for, but the end does not hang on a file. */
#define TRACE_PATIENCE_NS NS_PER_SEC

typedef struct Run {
    ToolEntry *entry;
    int argc;
    char **argv;
    int status;
} Run;

/* There is no monitor that would be told. */
void main_fn qapi_event_send(const char *name, QObject *data)
{
    qobject_unref(data);
}

static void print_line(const char *line)
{
    g_printerr("%s: %s\n", g_get_prgname(), line);
}

void any_fn tool_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    print_line(text);
}

static void co_main_fn run_entry(void *opaque)
{
    Run *r = opaque;

    r->status = r->entry(r->argc, r->argv);
    blockdev_shutdown();
}

int tool_run(const char *name, ToolEntry *entry, int argc, char **argv)
{
    Run r = { entry, argc, argv, 0 };
    Error *err = NULL;

    g_set_prgname(name);
    mallopt(M_MMAP_THRESHOLD, 4 * MiB);
    mallopt(M_TRIM_THRESHOLD, 16 * MiB);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);       /* a file that gets too large is an error of that request */
    log_set_handler(print_line);
    context_set_main();
    AioContext *ctx = aio_context_new(AIO_BACKEND_AUTO, &err);
    if (!ctx) {
        error_report_err(err);
        return 1;
    }
    blockdev_init();
    aio_context_run_coroutine(ctx, run_entry, &r);
    context_block_anyway();         /* the loop has ended */
    tool_trace_finish(TRACE_PATIENCE_NS);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        print_line("cannot write to standard output");
        r.status = r.status ?: 1;
    }
    return r.status;
}
