/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Receiving from, sending to, and hanging up on one peer. */
#include "qemu/osdep.h"

#include <poll.h>
#include <sys/socket.h>

#include "qemu/channel.h"

/* Longer than the machine runs, and far from an overflow. */
#define FOR_EVER_NS (INT64_C(1) << 61)

static ChannelKind kind_of(int fd)
{
    struct stat st;

    if (fd < 0) {
        return CHANNEL_NOTHING;
    }
    if (fstat(fd, &st) < 0) {
        return CHANNEL_STREAM;
    }
    return S_ISSOCK(st.st_mode) ? CHANNEL_SOCKET :
           S_ISREG(st.st_mode)  ? CHANNEL_FILE   : CHANNEL_STREAM;
}

void any_fn channel_init(Channel *c, int in_fd, int out_fd)
{
    *c = (Channel){
        .in_fd = in_fd, .out_fd = out_fd,
        .in_kind = kind_of(in_fd), .out_kind = kind_of(out_fd),
    };
}

/* Wait until @fd is ready; some devices always are, and cannot be polled. */
static int co_fn wait_ready(int fd, int events)
{
    int ret = aio_co_poll(fd, events, -1);

    return ret == -EPERM ? 0 : MIN(ret, 0);
}

/* For pipes and terminals.  A pipe that is ready takes so much at once; more may have to wait. */
static ssize_t co_fn move(int fd, int events, struct iovec *iov, int niov)
{
    ssize_t ret;

    do {
        ret = wait_ready(fd, events);
        if (ret < 0) {
            return ret;
        }
        ret = events == POLLIN ? readv(fd, iov, niov)
                               : write(fd, iov->iov_base, MIN(iov->iov_len, PIPE_BUF));
    } while (ret < 0 && (errno == EAGAIN || errno == EINTR));
    return ret < 0 ? -errno : ret;
}

ssize_t co_fn channel_recv(Channel *c, struct iovec *iov, int niov)
{
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = niov };

    switch (c->in_kind) {
    case CHANNEL_SOCKET:
        return aio_co_recvmsg(c->in_fd, &msg, 0);
    case CHANNEL_STREAM:
        return move(c->in_fd, POLLIN, iov, niov);
    case CHANNEL_FILE:
        return aio_co_preadv(c->in_fd, iov, niov, -1, AIO_SLOW);
    default:
        aio_co_sleep_ns(FOR_EVER_NS);
        return -ECANCELED;
    }
}

static size_t take_fds(struct msghdr *msg, int *fds)
{
    size_t n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds + n, CMSG_DATA(c), here * sizeof(int));
            n += here;
        }
    }
    return n;
}

ssize_t co_fn channel_recv_fds(Channel *c, struct iovec *iov, int niov, int *fds, size_t *ret_n)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(CHANNEL_MAX_FDS * sizeof(int))];
    } control;
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = niov, .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes) };
    ssize_t n;

    *ret_n = 0;
    if (c->in_kind != CHANNEL_SOCKET) {
        return channel_recv(c, iov, niov);
    }
    n = aio_co_recvmsg(c->in_fd, &msg, MSG_CMSG_CLOEXEC);
    if (n >= 0) {
        *ret_n = take_fds(&msg, fds);
    }
    return n;
}

static ssize_t co_fn send_now(Channel *c, struct iovec *iov, int niov)
{
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = niov };

    switch (c->out_kind) {
    case CHANNEL_SOCKET:
        return aio_co_sendmsg(c->out_fd, &msg, 0);
    case CHANNEL_STREAM:
        return move(c->out_fd, POLLOUT, iov, niov);
    case CHANNEL_FILE:
        return aio_co_pwritev(c->out_fd, iov, niov, -1, AIO_SLOW);
    default:
        return iov->iov_len;
    }
}

ssize_t co_fn channel_send(Channel *c, struct iovec *iov, int niov)
{
    ssize_t ret = send_now(c, iov, MIN(niov, IOV_MAX)), left = ret;

    for (int i = 0; c->sent && left > 0; i++) {
        ssize_t n = MIN(left, (ssize_t)iov[i].iov_len);

        c->sent(c->opaque, iov[i].iov_base, n);
        left -= n;
    }
    return ret;
}

int co_fn channel_recv_all(Channel *c, void *buf, size_t len)
{
    while (len > 0) {
        struct iovec iov = { .iov_base = buf, .iov_len = len };
        ssize_t n = channel_recv(c, &iov, 1);

        if (n <= 0) {
            return n < 0 ? n : -ECONNRESET;
        }
        buf = (char *)buf + n;
        len -= n;
    }
    return 0;
}

int co_fn channel_send_all(Channel *c, struct iovec *iov, int niov)
{
    while (niov > 0) {
        ssize_t n = channel_send(c, iov, niov);

        if (n < 0) {
            return n;
        }
        while (niov > 0 && (size_t)n >= iov->iov_len) {
            n -= iov->iov_len;
            iov++;
            niov--;
        }
        if (niov > 0) {
            iov->iov_base = (char *)iov->iov_base + n;
            iov->iov_len -= n;
        }
    }
    return 0;
}

int co_fn channel_wait_hangup(Channel *c, int64_t timeout_ns)
{
    int ret = aio_co_poll(c->in_fd, POLLRDHUP, timeout_ns);

    return ret == -ECANCELED || ret == -ETIMEDOUT ? ret : 0;
}

bool any_fn channel_is_dead(const Channel *c)
{
    struct pollfd p = { .fd = c->in_fd };

    return poll(&p, 1, 0) == 1;
}

void any_fn channel_hangup(Channel *c)
{
    shutdown(c->in_fd, SHUT_RDWR);
}

void any_fn channel_end_input(Channel *c)
{
    shutdown(c->in_fd, SHUT_RD);
}

void any_fn channel_close(Channel *c)
{
    if (c->in_fd >= 0) {
        close(c->in_fd);
    }
    if (c->out_fd >= 0 && c->out_fd != c->in_fd) {
        close(c->out_fd);
    }
    c->in_fd = c->out_fd = -1;
}
