/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that switch trace points while the daemon runs. */
#include "qemu/osdep.h"

#include "monitor-internal.h"
#include "qapi/qapi-commands.h"
#include "qemu/trace.h"

static bool is_pattern(const char *name)
{
    return strpbrk(name, "*?") != NULL;
}

bool qmp_trace_event_get_state(const QmpTraceEventGetStateArgs *args, TraceEventInfoList **ret,
                               Error **errp)
{
    TraceEventInfoList *list = NULL, **tail = &list;

    for (unsigned i = 0; trace_events[i].name; i++) {
        TraceEventInfo *info;

        if (!g_pattern_match_simple(args->name, trace_events[i].name)) {
            continue;
        }
        info = g_new0(TraceEventInfo, 1);
        info->name = g_strdup(trace_events[i].name);
        info->state = trace_is_on(i) ? TRACE_EVENT_STATE_ENABLED : TRACE_EVENT_STATE_DISABLED;
        TraceEventInfoList_append(&tail, info);
    }
    if (!list && !is_pattern(args->name)) {
        error_setg(errp, "unknown event \"%s\"", args->name);
        return false;
    }
    *ret = list;
    return true;
}

bool qmp_trace_event_set_state(const QmpTraceEventSetStateArgs *args, Error **errp)
{
    bool ignore = args->has_ignore_unavailable && args->ignore_unavailable;

    if (trace_switch(args->name, args->enable) == 0 && !ignore && !is_pattern(args->name)) {
        error_setg(errp, "unknown event \"%s\"", args->name);
        return false;
    }
    return true;
}

/* ---- for people ---- */

void hmp_info_trace_events(GString *out, int argc, char **argv)
{
    unsigned n = 0;

    for (unsigned i = 0; trace_events[i].name; i++) {
        if (argc == 0 || g_pattern_match_simple(argv[0], trace_events[i].name)) {
            g_string_append_printf(out, "%s : state %d\n", trace_events[i].name, trace_is_on(i));
            n++;
        }
    }
    if (n == 0) {
        g_string_append_printf(out, "Error: unknown event \"%s\"\n", argv[0]);
    }
}

void hmp_trace_event(GString *out, int argc, char **argv)
{
    bool on = argc == 2 && strcmp(argv[1], "on") == 0;

    if (argc != 2 || (!on && strcmp(argv[1], "off") != 0)) {
        g_string_append(out, "trace-event: a name and 'on' or 'off' are needed\n"
                        "Try \"help trace-event\" for more information\n");
    } else if (trace_switch(argv[0], on) == 0) {
        g_string_append_printf(out, "Error: unknown event \"%s\"\n", argv[0]);
    }
}
