/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Switching trace points. */
#include "qemu/osdep.h"

#include "hmp-commands.h"
#include "qemu/trace.h"

static void main_fn info_trace_events(GString *out, const HmpArgs *args)
{
    const char *name = hmp_str(args, "name") ?: "*";
    unsigned n = 0;

    for (unsigned i = 0; trace_events[i].name; i++) {
        if (g_pattern_match_simple(name, trace_events[i].name)) {
            g_string_append_printf(out, "%s : state %d\n", trace_events[i].name, trace_is_on(i));
            n++;
        }
    }
    if (n == 0) {
        g_string_append_printf(out, "unknown event \"%s\"\n", name);
    }
}

static void main_fn trace_event(GString *out, const HmpArgs *args)
{
    if (trace_switch(hmp_str(args, "name"), hmp_switch(args, "option")) == 0) {
        g_string_append_printf(out, "unknown event \"%s\"\n", hmp_str(args, "name"));
    }
}

const HmpCommand hmp_info_trace_commands[] = {
    { "trace-events", "[name]", "show available trace-events & their state (name: event name "
      "pattern)", info_trace_events, { { "name", HMP_STRING, true } } },
    { NULL },
};

const HmpCommand hmp_trace_commands[] = {
    { "trace-event", "name on|off", "changes status of the trace events of that name, in which * "
      "is any text", trace_event, { { "name", HMP_STRING }, { "option", HMP_SWITCH } } },
    { NULL },
};
