/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that yield: files, sockets, sleeping, and ending them early. */
#include "qemu/osdep.h"

#include <poll.h>

#include "util/aio-internal.h"

void any_fn aio_req_complete(AioReq *req, ssize_t result)
{
    assert(!req->done);
    req->done = true;
    req->result = result;
    coroutine_wake(req->co);
}

static ssize_t co_fn submit_and_wait(AioReq *req)
{
    AioContext *ctx = aio_context_current();

    req->ctx = ctx;
    req->co = coroutine_self();
    ctx->inflight++;
    ctx->ops->submit(ctx, req);
    coroutine_yield();
    ctx->inflight--;
    assert(req->done);
    return req->result;
}

/* ---- files ---- */

static ssize_t blocking_fn run_file(const AioReq *req)
{
    switch (req->op) {
    case AIO_OP_READV:
        return preadv2(req->fd, req->iov, req->niov, req->offset, req->flags);
    case AIO_OP_WRITEV:
        return pwritev2(req->fd, req->iov, req->niov, req->offset, req->flags);
    case AIO_OP_FDATASYNC:
        return fdatasync(req->fd);
    case AIO_OP_FALLOCATE:
        return fallocate(req->fd, req->flags, req->offset, req->len);
    default:
        g_assert_not_reached();
    }
}

ssize_t blocking_fn aio_req_run_file(const AioReq *req)
{
    ssize_t ret;

    do {
        ret = run_file(req);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : ret;
}

static int blocking_fn run_file_in_thread(void *opaque)
{
    return aio_req_run_file(opaque);
}

static ssize_t co_fn submit_file(AioReq *req)
{
    ssize_t ret;

    do {
        req->done = false;
        ret = submit_and_wait(req);
    } while (ret == -EINTR);
    return ret;
}

/*
 * May a thread of the kernel wait for it?  Those that write or allocate do so one after the other
 * for all regular files whose inodes have the same 6-bit hash (io_wq_hash_work() of Linux): one
 * that hangs, in a file system that is frozen for example, would hold up every 64th file of others.
 */
static bool may_wait_in_kernel(AioOp op)
{
    return op == AIO_OP_READV || op == AIO_OP_FDATASYNC;
}

static ssize_t co_fn file_call(AioReq req, int aio_flags)
{
    bool uring = aio_context_backend(aio_context_current()) == AIO_BACKEND_IO_URING &&
                 !(aio_flags & AIO_THREADS);
    ssize_t ret = -EAGAIN;

    req.slow = aio_flags & AIO_SLOW;
    if (aio_flags & AIO_NOWAIT) {
        req.flags |= RWF_NOWAIT;
        ret = uring ? submit_file(&req) : -EAGAIN;
        return ret == -EOPNOTSUPP ? -EAGAIN : ret;
    }
    if (uring && may_wait_in_kernel(req.op)) {
        ret = submit_file(&req);
    }
    /* Where io_uring said so: a descriptor with O_NONBLOCK, on which the kernel does not wait. */
    return ret == -EAGAIN ? thread_pool_co_run_io(run_file_in_thread, &req) : ret;
}

ssize_t co_fn aio_co_preadv(int fd, const struct iovec *iov, int niov, int64_t offset, int flags)
{
    return file_call((AioReq){ .op = AIO_OP_READV, .fd = fd, .iov = iov,
                               .niov = MIN(niov, IOV_MAX), .offset = offset }, flags);
}

ssize_t co_fn aio_co_pwritev(int fd, const struct iovec *iov, int niov, int64_t offset, int flags)
{
    return file_call((AioReq){ .op = AIO_OP_WRITEV, .fd = fd, .iov = iov,
                               .niov = MIN(niov, IOV_MAX), .offset = offset,
                               .flags = flags & AIO_DSYNC ? RWF_DSYNC : 0 }, flags);
}

int co_fn aio_co_fdatasync(int fd, int flags)
{
    return file_call((AioReq){ .op = AIO_OP_FDATASYNC, .fd = fd }, flags);
}

int co_fn aio_co_fallocate(int fd, int mode, int64_t offset, int64_t len, int flags)
{
    return file_call((AioReq){ .op = AIO_OP_FALLOCATE, .fd = fd, .flags = mode,
                               .offset = offset, .len = len }, flags);
}

/* ---- calls that can be ended ---- */

static void end_request(AioReq *req)
{
    if (req->done) {
        return;
    }
    if (req->op == AIO_OP_SLEEP) {
        aio_req_complete(req, -ECANCELED);
    } else {
        req->ctx->ops->cancel(req->ctx, req);
    }
}

static void request_timeout(void *opaque)
{
    AioReq *req = opaque;

    if (!req->done) {
        req->timed_out = true;
        end_request(req);
    }
}

static AioCall *co_fn call_begin(AioCall *call)
{
    Coroutine *self = coroutine_self();

    assert(!self->call);
    *call = (AioCall){ 0 };
    self->call = call;
    return call;
}

static void co_fn call_end(void)
{
    coroutine_self()->call = NULL;
}

/* INT64_MAX: never. */
static int64_t deadline_after(int64_t ns)
{
    int64_t now = clock_ns();

    return ns < 0 || ns >= INT64_MAX - now ? INT64_MAX : now + ns;
}

/*
 * One request of @call, until @deadline_ns (INT64_MAX: never).  The result, -ETIMEDOUT, or
 * -ECANCELED if the call was cancelled, now or before.
 */
static ssize_t co_fn call_wait(AioCall *call, AioReq *req, int64_t deadline_ns)
{
    AioTimer timer;
    ssize_t ret;

    if (call->cancelled) {
        return -ECANCELED;
    }
    req->ctx = aio_context_current();
    req->co = coroutine_self();
    aio_timer_init(&timer, req->ctx, request_timeout, req);
    if (deadline_ns != INT64_MAX) {
        aio_timer_arm(&timer, deadline_ns);
    }
    call->req = req;
    if (req->op == AIO_OP_SLEEP) {
        coroutine_yield();
        ret = req->result;
    } else {
        ret = submit_and_wait(req);
    }
    call->req = NULL;
    aio_timer_disarm(&timer);
    if (ret == -ECANCELED || ret == -EINTR) {
        ret = call->cancelled ? -ECANCELED : req->timed_out ? -ETIMEDOUT : -EINTR;
    }
    return ret;
}

void any_fn aio_co_cancel(Coroutine *co)
{
    AioCall *call = co->call;

    assert(co->ctx == aio_context_current());
    if (!call || call->cancelled) {
        return;
    }
    call->cancelled = true;
    if (call->req) {
        end_request(call->req);
    }
}

static int co_fn call_sleep(AioCall *call, int64_t ns)
{
    AioReq req = { .op = AIO_OP_SLEEP };

    return call_wait(call, &req, deadline_after(MAX(ns, 0))) == -ECANCELED ? -ECANCELED : 0;
}

/* Calls of one turn that go ahead without giving way. */
#define IMMEDIATE_MAX 256

/*
 * Before trying what may succeed at once: a peer that is always faster than we are must not keep
 * the thread to itself, so after some of these the loop looks at everybody else first.  0 or
 * -ECANCELED.
 */
static int co_fn call_give_way(AioCall *call)
{
    return ++aio_context_current()->immediate > IMMEDIATE_MAX ? call_sleep(call, 0) : 0;
}

static int co_fn call_poll(AioCall *call, int fd, int events, int64_t timeout_ns)
{
    int64_t deadline_ns = deadline_after(timeout_ns);
    int ret;

    do {
        AioReq req = { .op = AIO_OP_POLL, .fd = fd, .events = events };

        ret = call_wait(call, &req, deadline_ns);
        if (ret == -EPERM) {
            return events & (POLLIN | POLLOUT); /* a regular file: always ready */
        }
    } while (ret == -EINTR);
    return ret;
}

void co_fn aio_co_sleep_ns(int64_t ns)
{
    AioCall call;

    call_sleep(call_begin(&call), ns);
    call_end();
}

int co_fn aio_co_poll(int fd, int events, int64_t timeout_ns)
{
    AioCall call;
    int ret = call_poll(call_begin(&call), fd, events, timeout_ns);

    call_end();
    return ret;
}

/* ---- sockets ---- */

/* Without waiting for the peer: -EAGAIN instead. */
static ssize_t co_fn socket_try(AioCall *call, AioOp op, int fd, struct msghdr *msg, int flags)
{
    ssize_t ret = call_give_way(call);

    if (ret < 0) {
        return ret;
    }
    flags |= MSG_DONTWAIT;
    do {
        ret = op == AIO_OP_RECVMSG ? recvmsg(fd, msg, flags) : sendmsg(fd, msg, flags);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : ret;
}

static ssize_t co_fn socket_submit(AioCall *call, AioOp op, int fd, struct msghdr *msg, int flags)
{
    AioReq req = { .op = op, .fd = fd, .msg = msg, .flags = flags };

    return call_wait(call, &req, INT64_MAX);
}

static ssize_t co_fn socket_call(AioOp op, int fd, struct msghdr *msg, int flags)
{
    bool uring = aio_context_backend(aio_context_current()) == AIO_BACKEND_IO_URING;
    AioCall call;
    ssize_t ret;

    flags |= MSG_NOSIGNAL;
    call_begin(&call);
    for (;;) {
        ret = uring ? socket_submit(&call, op, fd, msg, flags)
                    : socket_try(&call, op, fd, msg, flags);
        if (ret == -EINTR) {
            continue;
        }
        if (ret != -EAGAIN) {
            break;
        }
        ret = call_poll(&call, fd, op == AIO_OP_RECVMSG ? POLLIN : POLLOUT, -1);
        if (ret < 0) {
            break;
        }
    }
    call_end();
    return ret;
}

ssize_t co_fn aio_co_recvmsg(int fd, struct msghdr *msg, int flags)
{
    return socket_call(AIO_OP_RECVMSG, fd, msg, flags);
}

ssize_t co_fn aio_co_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    /* The kernel does not write to it. */
    return socket_call(AIO_OP_SENDMSG, fd, (struct msghdr *)msg, flags);
}

int co_fn aio_co_accept(int fd)
{
    AioCall call;
    int ret;

    call_begin(&call);
    do {
        ret = call_give_way(&call);
        if (ret < 0) {
            break;
        }
        ret = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (ret >= 0) {
            break;
        }
        ret = -errno;
        if (ret == -EAGAIN) {
            ret = call_poll(&call, fd, POLLIN, -1);
        } else if (ret == -EINTR || ret == -ECONNABORTED) {
            ret = 0;            /* that client is gone: on to the next */
        }
    } while (ret >= 0);
    call_end();
    return ret;
}

/* A listener of a unix socket with a full queue cannot be polled for room in it. */
#define CONNECT_RETRY_NS (5 * NS_PER_MS)

int co_fn aio_co_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    socklen_t err_len = sizeof(int);
    AioCall call;
    int ret = 0;

    call_begin(&call);
    while (ret >= 0 && connect(fd, addr, len) < 0 && errno != EISCONN) {
        ret = -errno;
        if (ret == -EAGAIN && addr->sa_family == AF_UNIX) {
            ret = call_sleep(&call, CONNECT_RETRY_NS);
        } else if (ret == -EINPROGRESS || ret == -EINTR || ret == -EALREADY) {
            int err = 0;

            ret = call_poll(&call, fd, POLLOUT, -1);
            if (ret >= 0) {
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_len);
                ret = -err;
                break;
            }
        }
    }
    call_end();
    return MIN(ret, 0);
}
