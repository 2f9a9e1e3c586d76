/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop on io_uring.
 *
 * Requests are kept in a list of ours until the loop has nothing left to run; then one system
 * call hands over all of them and waits.  A full submission queue only means that it takes more
 * than one; a full completion queue, that the kernel keeps the rest until the next call.
 *
 * Invariants:
 * (U1) A request is in the list (->queued), with the kernel, or done.  It is completed from its
 *      own completion event and from nothing else, except while it is in the list.
 * (U2) A cancellation is handed over before any coroutine runs again after the completion of its
 *      target, or dropped; it can never hit a later request at the same address.
 */
#include "qemu/osdep.h"

#include <liburing.h>

#include "util/aio-internal.h"
#include "util/sanitizer.h"

#define SQ_ENTRIES 256
#define CQ_ENTRIES 1024

/*
 * Threads of the kernel for reading and syncing files that cannot be done without waiting.  By
 * default there are four for a processor: so few files that do not answer would leave no thread for
 * the others.  No file gets all of them, as its driver limits how many of its requests wait at
 * once.
 */
#define MAX_WORKERS 1024

typedef struct UringState {
    struct io_uring ring;
    AioReq *head, *tail;        /* not yet with the kernel */
    AioReq *cancel_head;        /* with the kernel and to be cancelled */
    uint64_t event_count;       /* ctx->event_fd is read into this */
    bool event_armed;
} UringState;

/* ---- setting up ---- */

static const unsigned setup_flags[] = {
    /* Linux 6.1: completions are worked off when we ask for them, by us, in one go. */
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
        IORING_SETUP_SUBMIT_ALL,
    /* Linux 5.19: at least without interrupting us. */
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    0,
};

static bool uring_init(AioContext *ctx, Error **errp)
{
    const unsigned need = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
    UringState *u = g_new0(UringState, 1);
    int ret = -EINVAL;

    for (int i = 0; i < G_N_ELEMENTS(setup_flags) && ret == -EINVAL; i++) {
        struct io_uring_params p = { .flags = setup_flags[i] | IORING_SETUP_CQSIZE,
                                     .cq_entries = CQ_ENTRIES };
        ret = io_uring_queue_init_params(SQ_ENTRIES, &u->ring, &p);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot set up io_uring");
        g_free(u);
        return false;
    }
    if ((u->ring.features & need) != need) {
        error_setg(errp, "Cannot set up io_uring: Linux 5.11 or later is needed");
        io_uring_queue_exit(&u->ring);
        g_free(u);
        return false;
    }
    unsigned workers[2] = { MAX_WORKERS, 0 };
    io_uring_register_iowq_max_workers(&u->ring, workers);  /* Linux 5.15 */
    io_uring_register_ring_fd(&u->ring);    /* saves a look-up per call; optional */
    ctx->opaque = u;
    return true;
}

static void uring_destroy(AioContext *ctx)
{
    UringState *u = ctx->opaque;

    io_uring_queue_exit(&u->ring);
    g_free(u);
}

/* ---- handing over ---- */

static void prepare_rw(struct io_uring_sqe *sqe, const AioReq *req)
{
    bool write = req->op == AIO_OP_WRITEV;

    /* The kernel has less to do for one buffer, and no vector to copy. */
    if (req->niov == 1) {
        io_uring_prep_rw(write ? IORING_OP_WRITE : IORING_OP_READ, sqe, req->fd,
                         req->iov->iov_base, MIN(req->iov->iov_len, AIO_RW_MAX), req->offset);
    } else {
        io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe, req->fd, req->iov,
                         req->niov, req->offset);
    }
    sqe->rw_flags = req->flags;
}

static void prepare(struct io_uring_sqe *sqe, AioReq *req)
{
    switch (req->op) {
    case AIO_OP_READV:
    case AIO_OP_WRITEV:
        prepare_rw(sqe, req);
        break;
    case AIO_OP_FDATASYNC:
        io_uring_prep_fsync(sqe, req->fd, IORING_FSYNC_DATASYNC);
        break;
    case AIO_OP_RECVMSG:
        io_uring_prep_recvmsg(sqe, req->fd, req->msg, req->flags);
        break;
    case AIO_OP_SENDMSG:
        io_uring_prep_sendmsg(sqe, req->fd, req->msg, req->flags);
        break;
    case AIO_OP_POLL:
        io_uring_prep_poll_add(sqe, req->fd, req->events);
        break;
    default:
        g_assert_not_reached();
    }
    if (req->slow) {
        sqe->flags |= IOSQE_ASYNC;
    }
    io_uring_sqe_set_data(sqe, req);
}

/* NULL: the kernel takes nothing until it has been relieved of completions. */
static struct io_uring_sqe *get_sqe(UringState *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

    if (!sqe && io_uring_submit(&u->ring) > 0) {
        sqe = io_uring_get_sqe(&u->ring);
    }
    return sqe;
}

/* False: not all of it found room. */
static bool fill(AioContext *ctx)
{
    UringState *u = ctx->opaque;
    struct io_uring_sqe *sqe;

    while (u->cancel_head) {
        AioReq *req = u->cancel_head;

        sqe = get_sqe(u);
        if (!sqe) {
            return false;
        }
        u->cancel_head = req->cancel_next;
        req->cancel_queued = false;
        io_uring_prep_cancel(sqe, req, 0);
        io_uring_sqe_set_data(sqe, NULL);
    }
    if (!u->event_armed) {
        sqe = get_sqe(u);
        if (!sqe) {
            return false;
        }
        io_uring_prep_read(sqe, ctx->event_fd, &u->event_count, sizeof(u->event_count), 0);
        io_uring_sqe_set_data(sqe, u);
        u->event_armed = true;
    }
    while (u->head) {
        AioReq *req = u->head;

        sqe = get_sqe(u);
        if (!sqe) {
            return false;
        }
        u->head = req->next;
        req->queued = false;
        prepare(sqe, req);
    }
    return true;
}

static void uring_submit(AioContext *ctx, AioReq *req)
{
    UringState *u = ctx->opaque;

    req->queued = true;
    req->next = NULL;
    *(u->head ? &u->tail->next : &u->head) = req;
    u->tail = req;
}

static void unqueue(UringState *u, AioReq *req)
{
    AioReq *prev = NULL;

    for (AioReq *r = u->head; r != req; r = r->next) {
        prev = r;
    }
    *(prev ? &prev->next : &u->head) = req->next;
    if (u->tail == req) {
        u->tail = prev;
    }
}

static void uring_cancel(AioContext *ctx, AioReq *req)
{
    UringState *u = ctx->opaque;

    if (req->queued) {
        unqueue(u, req);
        req->queued = false;
        aio_req_complete(req, -ECANCELED);
    } else if (!req->cancel_queued) {
        req->cancel_queued = true;
        req->cancel_next = u->cancel_head;
        u->cancel_head = req;
    }
}

/* ---- waiting and completing ---- */

static void complete(UringState *u, AioReq *req, int res)
{
    if (req->cancel_queued) {
        AioReq **p = &u->cancel_head;

        while (*p != req) {
            p = &(*p)->cancel_next;
        }
        *p = req->cancel_next;
        req->cancel_queued = false;
    }
    aio_req_complete(req, res);
}

static void reap(UringState *u)
{
    struct io_uring_cqe *cqe;
    unsigned head, n = 0;

    io_uring_for_each_cqe(&u->ring, head, cqe) {
        void *data = io_uring_cqe_get_data(cqe);

        n++;
        if (data == u) {
            u->event_armed = false;
        } else if (data) {
            complete(u, data, cqe->res);
        }                       /* else the result of a cancellation: its target has one too */
    }
    io_uring_cq_advance(&u->ring, n);
}

/* Is there anything that only a system call would bring about? */
static bool must_enter(UringState *u)
{
    return io_uring_sq_ready(&u->ring) || !(u->ring.flags & IORING_SETUP_TASKRUN_FLAG) ||
           (__atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) &
            (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

/* Whatever ends the wait, the next turn of the loop sees what there is. */
static void wait_for_event(UringState *u, struct __kernel_timespec *ts)
{
    struct io_uring_cqe *cqe;

#if SANITIZE_THREAD
    /* The sanitizer keeps a signal back until the C library is called: do so after each. */
    io_uring_submit(&u->ring);
    if (io_uring_wait_cqes(&u->ring, &cqe, 1, ts, NULL) == -EINTR) {
        g_usleep(1);
    }
#else
    io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, ts, NULL);
#endif
}

static void uring_poll(AioContext *ctx, int64_t timeout_ns)
{
    UringState *u = ctx->opaque;

    if (!fill(ctx) || timeout_ns == 0) {
        if (must_enter(u)) {
            io_uring_submit_and_get_events(&u->ring);
        }
    } else {
        struct __kernel_timespec ts = { timeout_ns / NS_PER_SEC, timeout_ns % NS_PER_SEC };

        wait_for_event(u, timeout_ns < 0 ? NULL : &ts);
    }
    reap(u);
}

const AioBackendOps aio_uring_ops = {
    .backend = AIO_BACKEND_IO_URING,
    .init = uring_init,
    .destroy = uring_destroy,
    .submit = uring_submit,
    .cancel = uring_cancel,
    .poll = uring_poll,
};
