/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What may stand in front of the commands, and descriptors that clients send for it. */
#include "qemu/osdep.h"

#include "monitor-internal.h"

static MonitorInterceptor *interceptor;

void main_fn monitor_set_interceptor(MonitorInterceptor *fn)
{
    interceptor = fn;
}

bool main_fn monitor_has_interceptor(void)
{
    return interceptor;
}

/* Only these are about descriptors. */
static bool takes_fds(const char *name)
{
    return strcmp(name, "getfd") == 0 || strcmp(name, "add-fd") == 0;
}

bool co_main_fn monitor_intercept(MonitorSession *s, const char *name, QDict *arguments,
                                  QmpMarshal *own, QObject **ret, Error **errp)
{
    bool with_fds = s && takes_fds(name), done;

    if (!interceptor || strcmp(name, "qmp_capabilities") == 0) {
        return false;
    }
    done = interceptor(name, arguments, own, with_fds ? (const int *)s->fds->data : NULL,
                       with_fds ? s->fds->len : 0, ret, errp);
    if (with_fds) {
        monitor_drop_fds(s);
    }
    return done;
}

bool co_main_fn monitor_intercept_line(GString *out, const char *line)
{
    g_autoptr(QDict) arguments = qdict_new();
    g_autoptr(QObject) ret = NULL;
    g_autoptr(Error) err = NULL;

    qdict_put_str(arguments, "command-line", line);
    if (!monitor_intercept(NULL, "human-monitor-command", arguments, NULL, &ret, &err)) {
        return false;
    }
    g_auto(GStrv) parts = g_strsplit(qobject_get_str(ret) ?: "", "\r\n", -1);
    g_autofree char *text = g_strjoinv("\n", parts);
    g_string_append(out, text);
    if (err) {
        g_string_append_printf(out, "Error: %s\n", error_get_pretty(err));
    }
    return true;
}

void main_fn monitor_drop_fds(MonitorSession *s)
{
    for (guint i = 0; i < s->fds->len; i++) {
        close(g_array_index(s->fds, int, i));
    }
    g_array_set_size(s->fds, 0);
}
