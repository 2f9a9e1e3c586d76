/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop without io_uring: epoll for what can be polled.  Files go to the thread pool
 * and never come here.
 *
 * A descriptor is registered with EPOLLONESHOT, for the union of what its waiters want, exactly
 * while it has waiters.  So a descriptor that was closed and whose number is in use again can be
 * registered in the kernel for nothing that it does not want.
 */
#include "qemu/osdep.h"

#include <sys/epoll.h>

#include "util/aio-internal.h"

#define EVENTS_PER_POLL 64

typedef struct EpollState {
    int epfd;
    AioReq **waiters;           /* by descriptor: a list, first come, first in it */
    int nfds;                   /* size of @waiters */
} EpollState;

static bool epoll_init(AioContext *ctx, Error **errp)
{
    EpollState *s = g_new0(EpollState, 1);
    struct epoll_event ev = { .events = EPOLLIN, .data.fd = ctx->event_fd };

    s->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (s->epfd < 0 || epoll_ctl(s->epfd, EPOLL_CTL_ADD, ctx->event_fd, &ev) < 0) {
        error_setg_errno(errp, errno, "Cannot set up epoll");
        if (s->epfd >= 0) {
            close(s->epfd);
        }
        g_free(s);
        return false;
    }
    ctx->opaque = s;
    return true;
}

static void epoll_destroy(AioContext *ctx)
{
    EpollState *s = ctx->opaque;

    close(s->epfd);
    g_free(s->waiters);
    g_free(s);
}

/* Registers with the kernel what the waiters want.  0 or -errno. */
static int arm(EpollState *s, int fd)
{
    struct epoll_event ev = { .events = EPOLLONESHOT, .data.fd = fd };

    if (!s->waiters[fd]) {
        epoll_ctl(s->epfd, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    for (AioReq *r = s->waiters[fd]; r; r = r->next) {
        ev.events |= r->events;
    }
    /* One that has fired is still known; one that was closed since is not. */
    if (epoll_ctl(s->epfd, EPOLL_CTL_MOD, fd, &ev) < 0 &&
        (errno != ENOENT || epoll_ctl(s->epfd, EPOLL_CTL_ADD, fd, &ev) < 0)) {
        return -errno;
    }
    return 0;
}

static void remove_waiter(EpollState *s, AioReq *req)
{
    AioReq **p = &s->waiters[req->fd];

    while (*p != req) {
        p = &(*p)->next;
    }
    *p = req->next;
}

static void epoll_submit(AioContext *ctx, AioReq *req)
{
    EpollState *s = ctx->opaque;
    AioReq **p;
    int ret;

    assert(req->op == AIO_OP_POLL);
    if (req->fd < 0) {
        aio_req_complete(req, -EBADF);
        return;
    }
    if (req->fd >= s->nfds) {
        int n = MAX(64, MAX(req->fd + 1, 2 * s->nfds));
        s->waiters = g_renew(AioReq *, s->waiters, n);
        memset(s->waiters + s->nfds, 0, (n - s->nfds) * sizeof(*s->waiters));
        s->nfds = n;
    }
    req->next = NULL;
    for (p = &s->waiters[req->fd]; *p; p = &(*p)->next) {
    }
    *p = req;
    ret = arm(s, req->fd);
    if (ret < 0) {
        remove_waiter(s, req);
        aio_req_complete(req, ret);
    }
}

static void epoll_cancel(AioContext *ctx, AioReq *req)
{
    EpollState *s = ctx->opaque;

    remove_waiter(s, req);
    arm(s, req->fd);
    aio_req_complete(req, -ECANCELED);
}

/* Wakes the waiters of @fd that wait for one of @events. */
static void dispatch(EpollState *s, int fd, uint32_t events)
{
    AioReq *req = s->waiters[fd];

    s->waiters[fd] = NULL;
    for (AioReq *next, **p = &s->waiters[fd]; req; req = next) {
        int revents = events & (req->events | EPOLLERR | EPOLLHUP);

        next = req->next;
        req->next = NULL;
        if (revents) {
            aio_req_complete(req, revents);
        } else {
            *p = req;
            p = &req->next;
        }
    }
    if (s->waiters[fd]) {
        arm(s, fd);
    }
}

/* Nanoseconds where the kernel has them, else whole milliseconds, never too early. */
static int wait_events(int epfd, struct epoll_event *events, int n, int64_t timeout_ns)
{
    struct timespec ts = { timeout_ns / NS_PER_SEC, timeout_ns % NS_PER_SEC };
    int ret;

    if (timeout_ns <= 0) {
        return epoll_wait(epfd, events, n, timeout_ns < 0 ? -1 : 0);
    }
    ret = epoll_pwait2(epfd, events, n, &ts, NULL);
    if (ret < 0 && (errno == ENOSYS || errno == EPERM)) {
        int64_t ms = MIN(DIV_ROUND_UP(timeout_ns, NS_PER_MS), INT_MAX);
        ret = epoll_wait(epfd, events, n, ms);
    }
    return ret;
}

static void epoll_poll(AioContext *ctx, int64_t timeout_ns)
{
    EpollState *s = ctx->opaque;
    struct epoll_event events[EVENTS_PER_POLL];
    int n = wait_events(s->epfd, events, EVENTS_PER_POLL, timeout_ns);

    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;

        if (fd == ctx->event_fd) {
            uint64_t count;
            ssize_t got = read(fd, &count, sizeof(count));
            (void)got;          /* what matters is that it is not readable any more */
        } else {
            dispatch(s, fd, events[i].events);
        }
    }
}

const AioBackendOps aio_epoll_ops = {
    .backend = AIO_BACKEND_THREADS,
    .init = epoll_init,
    .destroy = epoll_destroy,
    .submit = epoll_submit,
    .cancel = epoll_cancel,
    .poll = epoll_poll,
};
