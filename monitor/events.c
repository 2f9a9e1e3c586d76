/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events: stamped and sent to every session. */
#include "qemu/osdep.h"

#include "monitor-internal.h"
#include "qapi/event.h"
#include "qemu/trace.h"

void qapi_event_send(const char *name, QObject *data)
{
    QDict *event = qdict_new(), *timestamp = qdict_new();
    int64_t now_us = g_get_real_time();

    trace_qmp_event(name);
    qdict_put_int(timestamp, "seconds", now_us / 1000000);
    qdict_put_int(timestamp, "microseconds", now_us % 1000000);
    qdict_put_str(event, "event", name);
    if (data) {
        qdict_put(event, "data", data);
    }
    qdict_put(event, "timestamp", QOBJECT(timestamp));
    monitor_emit_event(QOBJECT(event));
}

void monitor_emit_event(QObject *event)
{
    GList *next;

    /* Sending may end a session, but its coroutines free it later. */
    for (GList *l = monitor_sessions; l; l = next) {
        MonitorSession *s = l->data;

        next = l->next;
        if (s->negotiated) {
            monitor_session_send(s, event);
        }
    }
    qobject_unref(event);
}
