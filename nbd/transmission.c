/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transmission: one coroutine reads requests, many at a time, and starts a coroutine for each.
 *
 * (N1) The reader does not wait for requests, only for room: what one client can make the server
 *      hold, answers that it does not read included, is bounded by NBD_MAX_IN_FLIGHT and
 *      NBD_MAX_IN_FLIGHT_BYTES, and what all clients can together by nbd/budget.c.
 * (N2) The connection object lives until its last request is answered or dropped.
 * (N3) Whether the reader reads or waits for room, it notices that the client has left.  Then none
 *      of the client's requests waits in a stopped disk; those that run are finished.
 * (N4) All disks draw on the same stacks.  One whose requests do not end gets few enough to leave
 *      the others theirs, however many connections it has: limits.h, may_start().
 */
#include "qemu/osdep.h"

#include "nbd/nbd-internal.h"
#include "qemu/debug-checks.h"

/* A connection that waits for memory looks so often for clients that keep it and do not move. */
#define LOOK_FOR_LATE_NS NS_PER_SEC
/* The reader looks so often whether others have given stacks back; with requests of its own, whose
 * ends it is told of, seldom. */
#define LOOK_FOR_STACK_NS (20 * NS_PER_MS)
#define LOOK_FOR_STACK_SELDOM_NS NS_PER_SEC

/* ---- the receive buffer ---- */

/* Receive into @buf (may have length 0) and then into the empty receive buffer, with one call.
 * Bytes that went to @buf, -errno, or -ECONNRESET at the end of the stream. */
static ssize_t co_fn receive(NbdConn *conn, void *buf, size_t len)
{
    struct iovec iov[2] = {
        { buf, len },
        { conn->rbuf + conn->rlen, NBD_RBUF_BYTES - conn->rlen },
    };
    ssize_t n = channel_recv(&conn->chan, len ? iov : iov + 1, len ? 2 : 1);

    if (n <= 0) {
        return n < 0 ? n : -ECONNRESET;
    }
    size_t first = MIN((size_t)n, len);
    conn->rlen += n - first;
    return first;
}

static size_t buffered(const NbdConn *conn)
{
    return conn->rlen - conn->rpos;
}

/* @len bytes, from the buffer and then straight from the socket. */
static int co_fn read_payload(NbdConn *conn, char *buf, size_t len)
{
    size_t n = MIN(len, buffered(conn));

    memcpy(buf, conn->rbuf + conn->rpos, n);
    conn->rpos += n;
    while (n < len) {
        conn->rpos = conn->rlen = 0;
        ssize_t got = receive(conn, buf + n, len - n);
        if (got < 0) {
            return got;
        }
        n += got;
    }
    return 0;
}

static int co_fn skip_payload(NbdConn *conn, size_t len)
{
    for (;;) {
        size_t n = MIN(len, buffered(conn));
        conn->rpos += n;
        len -= n;
        if (len == 0) {
            return 0;
        }
        conn->rpos = conn->rlen = 0;
        ssize_t got = receive(conn, NULL, 0);
        if (got < 0) {
            return got;
        }
    }
}

/* ---- requests ---- */

static int co_fn fill_header(NbdConn *conn)
{
    while (buffered(conn) < NBD_REQUEST_BYTES) {
        memmove(conn->rbuf, conn->rbuf + conn->rpos, buffered(conn));
        conn->rlen = buffered(conn);
        conn->rpos = 0;
        ssize_t got = receive(conn, NULL, 0);
        if (got < 0) {
            return got;
        }
    }
    return 0;
}

static void parse_header(NbdRequest *req, const uint8_t *p)
{
    req->flags = be16_load(p + 4);
    req->type = be16_load(p + 6);
    req->cookie = be64_load(p + 8);
    req->from = be64_load(p + 16);
    req->len = be32_load(p + 24);
}

static bool has_buffer(const NbdRequest *req)
{
    return (req->type == NBD_CMD_READ || req->type == NBD_CMD_WRITE ||
            req->type == NBD_CMD_CACHE) && req->len > 0 && !req->error;
}

/* Nobody is there any more for whom a request could wait in a stopped disk. */
static void co_fn client_leaves(NbdConn *conn)
{
    blk_client_leaves(conn->exp->blk, &conn->client);
}

/*
 * Waits until a request is answered or memory is there, at most @timeout_ns.  A client that leaves
 * meanwhile is noticed although nothing is read.
 */
static void co_fn wait_for_answer(NbdConn *conn, int64_t timeout_ns)
{
    conn->reader_waiter = coroutine_self();
    if (conn->client.left) {
        aio_co_sleep_ns(timeout_ns);
    } else if (channel_wait_hangup(&conn->chan, timeout_ns) == 0) {
        client_leaves(conn);
    }
    conn->reader_waiter = NULL;
}

/* Waits until another request of @bytes may be held. */
static void co_fn wait_for_room(NbdConn *conn, size_t bytes)
{
    while (conn->in_flight > 0 &&
           (conn->in_flight >= NBD_MAX_IN_FLIGHT ||
            conn->in_flight_bytes + bytes > (size_t)NBD_MAX_IN_FLIGHT_BYTES)) {
        wait_for_answer(conn, INT64_MAX);
    }
}

/* There is no use in waiting for the client's next request. */
static bool is_over(const NbdConn *conn)
{
    return conn->broken || __atomic_load_n(&conn->ending, __ATOMIC_RELAXED) ||
           (conn->client.left && channel_is_dead(&conn->chan));
}

/* Waits until @req may hold @bytes. */
static int co_fn take_memory(NbdConn *conn, NbdRequest *req, size_t bytes)
{
    wait_for_room(conn, bytes);
    if (nbd_memory_take(&conn->memory, bytes, &req->charge)) {
        return 0;
    }
    while (!nbd_memory_take_in_line(&conn->memory, bytes, &req->charge)) {
        wait_for_answer(conn, LOOK_FOR_LATE_NS);
        if (is_over(conn)) {
            nbd_memory_cancel(&conn->memory, bytes);
            return -ECONNRESET;
        }
        nbd_memory_drop_late();
    }
    return 0;
}

/* What the request and its answer may hold. */
static size_t memory_of(const NbdRequest *req)
{
    bool status = req->type == NBD_CMD_BLOCK_STATUS && !req->error;
    size_t bytes = has_buffer(req) ? req->len : status ? nbd_block_status_bytes(req) : 0;

    return MAX(bytes, (size_t)NBD_REQUEST_MEMORY);
}

static int co_fn prepare_payload(NbdConn *conn, NbdRequest *req)
{
    int ret = take_memory(conn, req, memory_of(req));

    if (ret < 0) {
        return ret;
    }
    if (has_buffer(req)) {
        req->buf = bdrv_try_blockalign(req->len);
        if (!req->buf) {
            req->error = NBD_ENOMEM;
        }
    }
    if (req->type != NBD_CMD_WRITE) {
        return 0;
    }
    if (req->charge.pooled) {
        nbd_memory_peer_begin(&conn->memory, NBD_PEER_WRITES, req->len);
    }
    ret = req->buf ? read_payload(conn, req->buf, req->len) : skip_payload(conn, req->len);
    nbd_memory_peer_end(&conn->memory, NBD_PEER_WRITES);
    return ret;
}

/* The next request, or NULL when there is to be no further one. */
static NbdRequest *co_fn read_request(NbdConn *conn)
{
    if (fill_header(conn) < 0) {
        return NULL;
    }
    const uint8_t *head = (uint8_t *)conn->rbuf + conn->rpos;
    if (be32_load(head) != NBD_REQUEST_MAGIC) {
        return NULL;                /* out of step: nothing that follows can be trusted */
    }
    NbdRequest *req = g_new0(NbdRequest, 1);
    req->conn = conn;
    iovec_init(&req->out);
    parse_header(req, head);
    conn->rpos += NBD_REQUEST_BYTES;
    if (req->type == NBD_CMD_DISC) {
        nbd_request_free(req);
        return NULL;
    }
    nbd_request_check(req);
    if (prepare_payload(conn, req) < 0) {
        nbd_request_free(req);
        return NULL;
    }
    return req;
}

static bool may_start(const NbdExport *exp)
{
    return exp->running < NBD_EXPORT_OWN_STACKS ||
           exp->running < coroutine_stacks_left() / NBD_EXPORT_STACKS_PART;
}

/* @req waits for a stack, and with it what the client sends after it. */
static void co_fn start_request(NbdConn *conn, NbdRequest *req)
{
    NbdExport *exp = conn->exp;

    for (;;) {
        if (may_start(exp)) {
            exp->running++;
            if (coroutine_try_start(nbd_request_entry, req)) {
                return;
            }
            exp->running--;
        }
        wait_for_answer(conn, conn->in_flight > 1 ? LOOK_FOR_STACK_SELDOM_NS : LOOK_FOR_STACK_NS);
    }
}

void co_fn nbd_transmission_entry(void *opaque)
{
    NbdConn *conn = opaque;
    NbdRequest *req;

    conn->rbuf = g_malloc(NBD_RBUF_BYTES);
    nbd_send_init(conn);
    nbd_memory_join(&conn->memory, &conn->chan, conn->exp->ctx, nbd_wake_reader, conn);
    while (!conn->broken && !__atomic_load_n(&conn->ending, __ATOMIC_RELAXED) &&
           (req = read_request(conn))) {
        conn->in_flight++;
        conn->in_flight_bytes += req->charge.bytes;
        if (QEMU_DEBUG_CHECKS) {
            nbd_transmission_assert(conn);
        }
        start_request(conn, req);
    }
    client_leaves(conn);
    while (conn->in_flight > 0 || conn->sending) {
        wait_for_answer(conn, INT64_MAX);
    }
    aio_bh_cancel(&conn->send_bh);
    nbd_memory_leave(&conn->memory);
    channel_hangup(&conn->chan);
    aio_bh_schedule_oneshot(conn->server->main_ctx, nbd_conn_finished, conn);
}
