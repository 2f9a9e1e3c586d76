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
