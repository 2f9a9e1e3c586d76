/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Long answers: to turn a list of thousands of values into text takes longer than the clients of
 * disks on the main thread should wait.  A thread does it; what it works on belongs to the one
 * command alone.
 */
#include "qemu/osdep.h"

#include "monitor/monitor-internal.h"
#include "qapi/command.h"
#include "qemu/aio.h"
#include "qobject/json.h"

/* Elements from which a list is long: what remains takes a fraction of a millisecond. */
#define LONG_LIST 64

typedef struct FormatTask {
    void *list;
    QObject *(*format_and_free)(void *list);
    QObject *ret;
} FormatTask;

static int format_in_thread(void *opaque)
{
    FormatTask *t = opaque;

    t->ret = t->format_and_free(t->list);
    return 0;
}

QObject *co_main_fn qmp_format_list(void *list, size_t length,
                                    QObject *(*format_and_free)(void *list))
{
    FormatTask t = { list, format_and_free, NULL };

    if (length < LONG_LIST || !coroutine_self()) {
        return format_and_free(list);
    }
    thread_pool_co_run(format_in_thread, &t);
    return t.ret;
}

GString *any_fn monitor_line(const QObject *obj, bool pretty)
{
    GString *text = g_string_new(NULL);

    json_append(text, obj, pretty);
    if (pretty) {
        g_string_replace(text, "\n", "\r\n", 0);
    }
    return g_string_append(text, "\r\n");
}

typedef struct TextTask {
    QObject *reply;
    bool pretty;
    GString *ret;
} TextTask;

static int text_in_thread(void *opaque)
{
    TextTask *t = opaque;

    t->ret = monitor_line(t->reply, t->pretty);
    qobject_unref(t->reply);
    return 0;
}

static bool is_long(QObject *reply)
{
    QDict *dict = qobject_to_qdict(reply);
    QObject *value = dict ? qdict_get(dict, "return") : NULL;
    QList *list = value ? qobject_to_qlist(value) : NULL;

    return list && qlist_size(list) >= LONG_LIST;
}

GString *co_main_fn monitor_reply_line(QObject *reply, bool pretty)
{
    TextTask t = { reply, pretty, NULL };

    if (is_long(reply)) {
        thread_pool_co_run(text_in_thread, &t);
    } else {
        text_in_thread(&t);
    }
    return t.ret;
}
