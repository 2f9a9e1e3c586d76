/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The session of a person: what is typed is shown, a line is run, then the next one is looked at.
 *
 * What comes while a command runs waits, so that each line stands above what it led to.  A line
 * that the client does not end before it leaves is not run.
 */
#include "qemu/osdep.h"

#include "daemon.h"
#include "line-editor.h"
#include "monitor-internal.h"

#define READ_BYTES 4096

static void show(void *opaque, const char *text, size_t len)
{
    MonitorSession *s = opaque;

    context_assert_main();
    monitor_output_put(&s->out, text, len);
}

static void main_fn greet(MonitorSession *s)
{
    g_autofree char *text = g_strdup_printf("QEMU %s monitor - type 'help' for more "
                                            "information\r\n", monitor_qemu_version());

    monitor_output_put(&s->out, text, strlen(text));
}

static void co_main_fn run_line(MonitorSession *s, const char *line)
{
    GString *out = g_string_new(NULL);

    monitor_command_begins();
    monitor_hmp_execute(out, line);
    monitor_after_command();
    g_string_replace(out, "\n", "\r\n", 0);
    monitor_output_give(&s->out, out);
    monitor_command_ends();
    monitor_output_wait_short(&s->out);
}

static bool main_fn goes_on(const MonitorSession *s)
{
    return !s->ended && !monitor_is_stopping();
}

static void co_main_fn take(MonitorSession *s, LineEditor *editor, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && goes_on(s); i++) {
        g_autofree char *line = line_editor_feed(editor, bytes[i]);

        if (line) {
            run_line(s, line);
            if (goes_on(s)) {
                line_editor_show(editor);
            }
        }
    }
}

static void co_main_fn read_lines(MonitorSession *s, LineEditor *editor)
{
    g_autofree char *buf = g_malloc(READ_BYTES);

    if (!monitor_session_may_run(s)) {
        return;
    }
    line_editor_show(editor);
    while (goes_on(s)) {
        struct iovec iov = { buf, READ_BYTES };
        ssize_t n;

        s->reader = coroutine_self();
        n = channel_recv(s->chan, &iov, 1);
        s->reader = NULL;
        if (n <= 0) {
            break;
        }
        take(s, editor, buf, n);
    }
}

void monitor_hmp_session_run(Channel *chan)
{
    MonitorSession s = { .pretty = false };
    CoGroup workers = CO_GROUP_INIT;
    g_autoptr(LineEditor) editor = line_editor_new("(qemu) ", show, &s);

    line_editor_set_names(editor, monitor_hmp_name);
    monitor_session_begin(&s, chan, &workers);
    greet(&s);
    read_lines(&s, editor);
    monitor_session_end(&s);
    monitor_output_end(&s.out);
    monitor_session_finish(&s, &workers);
}
