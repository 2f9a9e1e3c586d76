/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers.  A request that is done queues its answer; at the end of the turn of the event loop all
 * that have queued go out with one system call.
 */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"
#include "qemu/debug-checks.h"

/* Buffers handed to the kernel at once, and bytes unless a single answer is longer: what is sent is
 * free for others. */
#define SEND_IOV 512
#define SEND_BYTES ((size_t)(4 * MiB))

uint32_t any_fn nbd_errno(const NbdRequest *req, int ret)
{
    switch (-ret) {
    case 0:
        return 0;
    case EPERM:
    case EROFS:
    case EACCES:
        return NBD_EPERM;
    case ENOMEM:
        return NBD_ENOMEM;
    case EINVAL:
        return NBD_EINVAL;
    case ENOSPC:
    case EFBIG:
    case EDQUOT:
        return NBD_ENOSPC;
    case EOVERFLOW:
        /* The protocol has it for one request, and clients for no other. */
        return req->type == NBD_CMD_READ && req->flags & NBD_CMD_FLAG_DF ? NBD_EOVERFLOW : NBD_EIO;
    case ENOTSUP:
        return req->type == NBD_CMD_WRITE_ZEROES && req->flags & NBD_CMD_FLAG_FAST_ZERO
               ? NBD_ENOTSUP : NBD_EIO;
    case ESHUTDOWN:
        return NBD_ESHUTDOWN;
    default:
        return NBD_EIO;
    }
}

/* ---- composing ---- */

void any_fn nbd_reply_simple(NbdRequest *req, uint32_t error)
{
    be32_store(req->head, NBD_SIMPLE_REPLY_MAGIC);
    be32_store(req->head + 4, error);
    be64_store(req->head + 8, req->cookie);
    iovec_add(&req->out, req->head, 16);
}

static void *request_memory(NbdRequest *req, size_t len)
{
    void *p = g_malloc(len);

    req->memory = g_slist_prepend(req->memory, p);
    return p;
}

/* @fixed (copied) is the beginning of the chunk's payload, @payload (lives as long as the request)
 * the rest. */
void any_fn nbd_reply_chunk(NbdRequest *req, bool done, uint16_t type, const void *fixed,
                            size_t fixed_len, void *payload, size_t len)
{
    bool first = req->out.niov == 0 && 20 + fixed_len <= sizeof(req->head);
    uint8_t *head = first ? req->head : request_memory(req, 20 + fixed_len);

    be32_store(head, NBD_CHUNK_MAGIC);
    be16_store(head + 4, done ? NBD_REPLY_FLAG_DONE : 0);
    be16_store(head + 6, type);
    be64_store(head + 8, req->cookie);
    be32_store(head + 16, fixed_len + len);
    if (fixed_len) {
        memcpy(head + 20, fixed, fixed_len);
    }
    iovec_add(&req->out, head, 20 + fixed_len);
    if (len) {
        iovec_add(&req->out, payload, len);
    }
}

void any_fn nbd_reply_error(NbdRequest *req, uint32_t error, const char *msg)
{
    req->error = error;
    if (!req->conn->structured) {
        nbd_reply_simple(req, error);
        return;
    }
    uint8_t fixed[6];
    size_t len = MIN(strlen(msg), NBD_MAX_STRING);
    char *text = request_memory(req, len + 1);

    memcpy(text, msg, len);
    be32_store(fixed, error);
    be16_store(fixed + 4, len);
    nbd_reply_chunk(req, true, NBD_REPLY_TYPE_ERROR, fixed, sizeof(fixed), text, len);
}

void any_fn nbd_request_free(NbdRequest *req)
{
    iovec_destroy(&req->out);
    g_slist_free_full(req->memory, g_free);
    free(req->buf);
    nbd_memory_release(&req->conn->memory, &req->charge);
    g_free(req);
}

/* ---- sending ---- */

static void answered(NbdRequest *req)
{
    NbdConn *conn = req->conn;

    conn->in_flight--;
    conn->in_flight_bytes -= req->charge.bytes;
    nbd_request_free(req);
}

void any_fn nbd_wake_reader(void *opaque)
{
    NbdConn *conn = opaque;
    Coroutine *reader = g_steal_pointer(&conn->reader_waiter);

    if (reader) {
        aio_co_cancel(reader);      /* the wait in wait_for_answer() */
    }
}

static bool fits(const IoVec *batch, const NbdRequest *r)
{
    return batch->niov + r->out.niov <= SEND_IOV && batch->size + r->out.size <= SEND_BYTES;
}

/* Takes as many answers off the queue as go into @iov; always at least one. */
static NbdRequest *take_batch(NbdConn *conn, IoVec *batch)
{
    NbdRequest *first = conn->out_head, *last = NULL;

    iovec_init(batch);
    for (NbdRequest *r = first; r && (!last || fits(batch, r)); r = r->next) {
        iovec_add_slice(batch, &r->out, 0, r->out.size);
        last = r;
    }
    conn->out_head = last->next;
    if (!conn->out_head) {
        conn->out_tail = NULL;
    }
    last->next = NULL;
    return first;
}

static void co_fn send_entry(void *opaque)
{
    NbdConn *conn = opaque;

    while (conn->out_head) {
        IoVec batch;
        NbdRequest *req = take_batch(conn, &batch);

        nbd_memory_peer_begin(&conn->memory, NBD_PEER_READS, batch.size);
        if (!conn->broken && channel_send_all(&conn->chan, batch.iov, batch.niov) < 0) {
            conn->broken = true;
            channel_hangup(&conn->chan);        /* ends the reader's wait */
        }
        nbd_memory_peer_end(&conn->memory, NBD_PEER_READS);
        iovec_destroy(&batch);
        while (req) {
            NbdRequest *next = req->next;
            answered(req);
            req = next;
        }
        if (QEMU_DEBUG_CHECKS) {
            nbd_transmission_assert(conn);
        }
        nbd_wake_reader(conn);
    }
    conn->sending = false;
    nbd_wake_reader(conn);
}

static void send_bh(void *opaque)
{
    NbdConn *conn = opaque;

    if (!conn->sending && conn->out_head) {
        conn->sending = true;
        coroutine_start(send_entry, conn);
    }
}

void any_fn nbd_send_init(NbdConn *conn)
{
    aio_bh_init(&conn->send_bh, conn->exp->ctx, send_bh, conn);
}

void any_fn nbd_request_done(NbdRequest *req)
{
    NbdConn *conn = req->conn;

    req->next = NULL;
    *(conn->out_tail ? &conn->out_tail->next : &conn->out_head) = req;
    conn->out_tail = req;
    if (!conn->sending) {
        aio_bh_schedule(&conn->send_bh);
    }
}
