/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A request to the child's monitor, from its text to what is made of the reply. */
#include "qemu/osdep.h"

#include "client-internal.h"
#include "qemu/trace.h"

static void time_is_up(void *opaque)
{
    Request *r = opaque;

    context_assert_main();
    if (!r->reply) {                /* else it has its turn soon */
        r->late = true;
        coroutine_wake(g_steal_pointer(&r->waiter));
    }
}

static Outgoing *main_fn outgoing_new(int64_t id, const char *name, const QDict *arguments,
                                      const int *fds, size_t n_fds, Error **errp)
{
    g_autoptr(QDict) request = qdict_new();
    g_autoptr(GString) text = g_string_new(NULL);
    Outgoing *o = g_new0(Outgoing, 1);

    qdict_put_str(request, "execute", name);
    if (arguments && qdict_size(arguments) > 0) {
        qdict_put(request, "arguments", qobject_ref(QOBJECT(arguments)));
    }
    qdict_put_int(request, "id", id);
    for (size_t i = 0; i < n_fds; i++) {
        context_block_anyway();     /* a copy of a descriptor */
        int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            error_setg_errno(errp, errno, "cannot hand a file descriptor to the machine");
            machine_outgoing_free(o);
            return NULL;
        }
        o->fds[o->n_fds++] = fd;
    }
    json_append(text, QOBJECT(request), false);
    g_string_append(text, "\r\n");
    o->len = text->len;
    o->text = g_string_free(g_steal_pointer(&text), false);
    return o;
}

static ErrorClass class_of(const char *name)
{
    for (int c = ERROR_CLASS_GENERIC_ERROR; c <= ERROR_CLASS_IO_ERROR; c++) {
        if (name && strcmp(error_class_name(c), name) == 0) {
            return c;
        }
    }
    return ERROR_CLASS_GENERIC_ERROR;
}

/* What the reply @r->reply says, or why there is none. */
static QObject *main_fn result(MachineQmp *q, const Request *r, const char *name, Error **errp)
{
    QDict *error;

    if (!r->reply) {
        if (r->late) {
            error_setg(errp, "The machine does not answer '%s'", name);
        } else {
            error_setg(errp, "The machine cannot be asked: %s", q->why);
        }
        return NULL;
    }
    error = qobject_to_qdict(qdict_get(r->reply, "error"));
    if (error) {
        g_autofree char *text = machine_qemu_translate(
            qdict_get_str(error, "desc") ?: "the machine does not say why");
        error_set_class(errp, class_of(qdict_get_str(error, "class")), "%s", text);
        return NULL;
    }
    if (!qdict_has(r->reply, "return")) {
        error_setg(errp, "The machine does not say what is wrong with '%s'", name);
        return NULL;
    }
    return qobject_ref(qdict_get(r->reply, "return"));
}

static Request *main_fn request_new(MachineQmp *q, MachineQmpOrder order, int64_t deadline_ns)
{
    Request *r = g_new0(Request, 1);

    r->id = ++q->last_id;
    r->order = order;
    r->waiter = coroutine_self();
    aio_timer_init(&r->timer, aio_context_current(), time_is_up, r);
    if (deadline_ns >= 0) {
        aio_timer_arm(&r->timer, clock_ns() + deadline_ns);
    }
    g_hash_table_insert(q->requests, &r->id, r);
    return r;
}

QObject *co_main_fn machine_qmp_run(MachineQmp *q, const char *name, const QDict *arguments,
                                    const int *fds, size_t n_fds, MachineQmpOrder order,
                                    int64_t deadline_ns, Error **errp)
{
    Outgoing *o;
    Error *err = NULL;

    if (!q) {
        error_setg(errp, "There is no machine, or not any more");
        return NULL;
    }
    if (q->ended) {
        error_setg(errp, "The machine cannot be asked: %s", q->why);
        return NULL;
    }
    if (g_hash_table_size(q->requests) >= MACHINE_MAX_OPEN || n_fds > MAX_FDS) {
        error_setg(errp, "The machine has too much to do to run '%s'", name);
        return NULL;
    }
    o = outgoing_new(q->last_id + 1, name, arguments, fds, n_fds, errp);
    if (!o) {
        return NULL;
    }
    Request *r = request_new(q, order, deadline_ns);
    trace_machine_request_begin(r->id, name);
    g_queue_push_tail(&q->outbox, o);
    if (q->outbox_waiter) {
        coroutine_wake(g_steal_pointer(&q->outbox_waiter));
    }
    q->users++;
    coroutine_yield();
    QObject *ret = result(q, r, name, &err);
    trace_machine_request_end(r->id, name, err ? error_get_pretty(err) : NULL);
    error_propagate(errp, err);
    if (r->done) {
        g_hash_table_remove(q->requests, &r->id);
    } else {
        q->late++;                  /* its reply may still come: Q1 */
    }
    machine_qmp_leave(q, &q->users);
    return ret;
}
