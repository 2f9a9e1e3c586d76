/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of the child's QMP monitor.
 *
 * Three coroutines: one reads and parses, one deals with what was read in its order, one writes.
 * What is true of them whatever the child sends:
 *
 * Q1 A reply belongs to a request that waits, or to one that was given up; anything else, and
 *    anything that is no JSON or no message of QMP, ends the connection.
 * Q2 What was read and not dealt with holds at most MAX_INBOX_BYTES of text, and at most
 *    MACHINE_MAX_OPEN requests are open: more ends the connection, or is refused to whoever asks.
 * Q3 A reply in order is handed on when all events before it have been dealt with; whoever waits
 *    for it has run before the next event is.
 * Q4 Each request ends: by its reply, its deadline, or the end of the connection.
 */
#include "qemu/osdep.h"

#include "client-internal.h"
#include "qemu/limits.h"

#define READ_BYTES 65536
#define MAX_INBOX_BYTES (64 * MiB)

/* Something that was read: an event, or the reply to a request in order. */
typedef struct Incoming {
    QDict *event;
    Request *request;
    size_t bytes;
} Incoming;

static MachineQmp *current;

MachineQmp *main_fn machine_qemu_qmp(void)
{
    return current;
}

static void main_fn wake(Coroutine **waiter)
{
    if (*waiter) {
        coroutine_wake(g_steal_pointer(waiter));
    }
}

void machine_outgoing_free(void *opaque)
{
    Outgoing *o = opaque;

    for (size_t i = 0; i < o->n_fds; i++) {
        context_block_anyway();     /* a copy of a descriptor */
        close(o->fds[i]);
    }
    g_free(o->text);
    g_free(o);
}

static void incoming_free(void *opaque)
{
    Incoming *in = opaque;

    qdict_unref(in->event);
    g_free(in);
}

void main_fn machine_qmp_leave(MachineQmp *q, int *count)
{
    (*count)--;
    if (q->workers == 0) {
        wake(&q->end_waiter);
    }
    if (q->workers == 0 && q->users == 0) {
        wake(&q->free_waiter);
    }
}

/* ---- the end ---- */

static void request_free(void *opaque)
{
    Request *r = opaque;

    aio_timer_disarm(&r->timer);
    qdict_unref(r->reply);
    g_free(r);
}

/* @reply is taken. */
static void main_fn finish(Request *r, QDict *reply)
{
    if (r->done) {
        qdict_unref(reply);
        return;
    }
    r->done = true;
    r->reply = reply;
    aio_timer_disarm(&r->timer);
    wake(&r->waiter);
}

/* One whose reply is there gets it yet, in its turn. */
static void finish_one(void *key, void *value, void *opaque)
{
    Request *r = value;

    context_assert_main();
    if (!r->reply) {
        finish(r, NULL);
    }
}

static void main_fn end(MachineQmp *q, bool gone, const char *why)
{
    if (q->ended) {
        return;
    }
    q->ended = true;
    q->why = g_strdup(why);
    q->gone = gone;
    channel_hangup(&q->chan);
    if (q->reader) {
        aio_co_cancel(q->reader);
    }
    if (q->writer) {
        aio_co_cancel(q->writer);
    }
    g_hash_table_foreach(q->requests, finish_one, NULL);
    wake(&q->inbox_waiter);
    wake(&q->outbox_waiter);
    wake(&q->greeting_waiter);
}

void main_fn machine_qmp_end(MachineQmp *q, const char *why)
{
    end(q, false, why);
}

static void G_GNUC_PRINTF(3, 4) main_fn broken(MachineQmp *q, bool gone, const char *fmt, ...)
{
    va_list ap;

    if (q->ended) {
        return;
    }
    va_start(ap, fmt);
    g_autofree char *why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    q->cbs.broken(q->cbs.opaque, gone, why);
    end(q, gone, why);
}

/* ---- reading ---- */

static void main_fn put_in(MachineQmp *q, QDict *event, Request *request)
{
    Incoming *in = g_new0(Incoming, 1);

    in->event = event;
    in->request = request;
    in->bytes = q->value_bytes;
    q->inbox_bytes += in->bytes;
    g_queue_push_tail(&q->inbox, in);
    wake(&q->inbox_waiter);
    if (q->inbox_bytes > (size_t)MAX_INBOX_BYTES) {
        broken(q, false, "it sends more than can be dealt with");
    }
}

/* Takes @reply. */
static void main_fn got_reply(MachineQmp *q, QDict *reply)
{
    int64_t id;
    Request *r = NULL;

    if (qobject_get_int(qdict_get(reply, "id"), &id)) {
        r = g_hash_table_lookup(q->requests, &id);
    }
    if (!r || r->reply) {
        broken(q, false, "it answers what it was not asked");
        qdict_unref(reply);
        return;
    }
    if (r->late) {                  /* nobody waits: its place is all there is of it */
        q->late--;
        g_hash_table_remove(q->requests, &id);
        qdict_unref(reply);
    } else if (r->order == MACHINE_QMP_AT_ONCE) {
        finish(r, reply);
    } else {
        r->reply = reply;
        put_in(q, NULL, r);
    }
}

/* In the reader's coroutine, as it feeds the parser. */
static void got_value(void *opaque, QObject *value, Error *err)
{
    MachineQmp *q = opaque;
    QDict *dict = qobject_to_qdict(value);

    context_assert_main();
    if (q->ended) {
        qobject_unref(value);
        error_free(err);
    } else if (err) {
        broken(q, false, "it sends what is not JSON: %s", error_get_pretty(err));
        error_free(err);
    } else if (dict && !q->greeting && qobject_to_qdict(qdict_get(dict, "QMP"))) {
        q->greeting = dict;
        wake(&q->greeting_waiter);
    } else if (dict && q->greeting && qdict_get_str(dict, "event")) {
        put_in(q, dict, NULL);
    } else if (dict && q->greeting && (qdict_has(dict, "return") || qdict_has(dict, "error"))) {
        got_reply(q, dict);
    } else {
        qobject_unref(value);
        broken(q, false, "it sends what is no message of QMP");
    }
    q->value_bytes = 0;
}

static void co_main_fn read_entry(void *opaque)
{
    MachineQmp *q = opaque;
    g_autofree char *buf = g_malloc(READ_BYTES);
    ssize_t n = 0;

    while (!q->ended) {
        struct iovec iov = { buf, READ_BYTES };

        q->reader = coroutine_self();
        n = channel_recv(&q->chan, &iov, 1);
        q->reader = NULL;
        if (n <= 0 || q->ended) {
            break;
        }
        q->value_bytes += n;
        json_stream_feed(q->json, buf, n);
        coroutine_reschedule();     /* it may send for ever, and others want to run */
    }
    if (!q->ended) {
        broken(q, true, "it has closed its monitor");
    }
    machine_qmp_leave(q, &q->workers);
}

/* ---- dealing with what was read ---- */

static void co_main_fn inbox_entry(void *opaque)
{
    MachineQmp *q = opaque;

    for (;;) {
        Incoming *in = g_queue_pop_head(&q->inbox);

        if (!in && q->ended) {
            break;
        }
        if (!in) {
            q->inbox_waiter = coroutine_self();
            coroutine_yield();
            continue;
        }
        q->inbox_bytes -= in->bytes;
        if (in->event) {
            q->cbs.co_event(q->cbs.opaque, g_steal_pointer(&in->event));
        } else if (!in->request->done) {
            QDict *reply = g_steal_pointer(&in->request->reply);
            finish(in->request, reply);
            coroutine_reschedule();     /* Q3 */
        }
        incoming_free(in);
    }
    machine_qmp_leave(q, &q->workers);
}

/* ---- writing ---- */

/* The first byte takes the descriptors with it. */
static ssize_t co_main_fn send_first(MachineQmp *q, const Outgoing *o)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
    } control = { 0 };
    struct iovec iov = { o->text, o->len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (o->n_fds > 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(o->n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(o->n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), o->fds, o->n_fds * sizeof(int));
    }
    return aio_co_sendmsg(q->chan.out_fd, &msg, 0);
}

static int co_main_fn send_all(MachineQmp *q, const Outgoing *o)
{
    ssize_t n = send_first(q, o);
    struct iovec rest = { o->text + MAX(n, 0), o->len - MAX(n, 0) };

    if (n < 0) {
        return n;
    }
    return rest.iov_len > 0 ? channel_send_all(&q->chan, &rest, 1) : 0;
}

static void co_main_fn write_entry(void *opaque)
{
    MachineQmp *q = opaque;

    while (!q->ended) {
        Outgoing *o = g_queue_pop_head(&q->outbox);

        if (!o) {
            q->outbox_waiter = coroutine_self();
            coroutine_yield();
            continue;
        }
        q->writer = coroutine_self();
        int ret = send_all(q, o);
        q->writer = NULL;
        machine_outgoing_free(o);
        if (ret < 0) {
            broken(q, true, "it cannot be written to: %s", strerror(-ret));
        }
    }
    machine_qmp_leave(q, &q->workers);
}

QDict *co_main_fn machine_qmp_greeting(MachineQmp *q, Error **errp)
{
    q->users++;
    while (!q->greeting && !q->ended) {
        q->greeting_waiter = coroutine_self();
        coroutine_yield();
    }
    if (!q->greeting) {
        error_setg(errp, "The machine has not started: %s", q->why);
    }
    QDict *greeting = q->greeting;
    machine_qmp_leave(q, &q->users);
    return greeting;
}

/* ---- life ---- */

bool main_fn machine_qmp_is_gone(const MachineQmp *q)
{
    return q->gone;
}

bool main_fn machine_qmp_is_late(const MachineQmp *q)
{
    return q->late > 0;
}

static void end_is_late(void *opaque)
{
    MachineQmp *q = opaque;

    context_assert_main();
    wake(&q->end_waiter);
}

void co_main_fn machine_qmp_wait_end(MachineQmp *q, int64_t timeout_ns)
{
    int64_t deadline = clock_ns() + timeout_ns;
    AioTimer timer;

    q->users++;
    aio_timer_init(&timer, aio_context_current(), end_is_late, q);
    aio_timer_arm(&timer, deadline);
    while (q->workers > 0 && clock_ns() < deadline) {
        q->end_waiter = coroutine_self();
        coroutine_yield();
    }
    aio_timer_disarm(&timer);
    q->end_waiter = NULL;
    machine_qmp_leave(q, &q->users);
}

MachineQmp *main_fn machine_qmp_new(int fd, const MachineQmpCallbacks *cbs)
{
    MachineQmp *q = g_new0(MachineQmp, 1);

    channel_init(&q->chan, fd, fd);
    q->cbs = *cbs;
    q->json = json_stream_new(got_value, q);
    q->requests = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, request_free);
    g_queue_init(&q->inbox);
    g_queue_init(&q->outbox);
    q->workers = 3;
    current = q;
    coroutine_start(read_entry, q);
    coroutine_start(inbox_entry, q);
    coroutine_start(write_entry, q);
    return q;
}

void co_main_fn machine_qmp_free(MachineQmp *q)
{
    g_assert(q->ended);
    while (q->workers > 0 || q->users > 0) {
        q->free_waiter = coroutine_self();
        coroutine_yield();
    }
    if (current == q) {
        current = NULL;
    }
    channel_close(&q->chan);
    json_stream_free(q->json);
    g_hash_table_unref(q->requests);
    g_queue_clear_full(&q->inbox, incoming_free);
    g_queue_clear_full(&q->outbox, machine_outgoing_free);
    qdict_unref(q->greeting);
    g_free(q->why);
    g_free(q);
}
