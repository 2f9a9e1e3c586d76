/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes to and from one peer, over a connected socket or over two descriptors such as standard
 * input and output, each of which may be missing.  The NBD server and the monitor talk to their
 * clients through it and know no descriptors.
 */
#ifndef QEMU_CHANNEL_H
#define QEMU_CHANNEL_H

#include "qemu/aio.h"

typedef enum ChannelKind {
    CHANNEL_NOTHING,                /* no descriptor */
    CHANNEL_SOCKET,
    CHANNEL_STREAM,                 /* a pipe or a terminal */
    CHANNEL_FILE,                   /* a file on a disk: reading and writing may wait for it */
} ChannelKind;

typedef struct Channel {
    int in_fd, out_fd;              /* the same for a socket; -1: nothing, or closed */
    ChannelKind in_kind, out_kind;
    /* Is told what was sent, in pieces; NULL: nobody is. */
    void (*sent)(void *opaque, const char *bytes, size_t len);
    void *opaque;
} Channel;

/*
 * Descriptors that can be polled are non-blocking.  Without @in_fd (-1) there is nothing to
 * receive, ever; without @out_fd all that is sent is gone at once.
 */
void any_fn channel_init(Channel *c, int in_fd, int out_fd);

/*
 * Bytes moved (recv: 0 at the end of the stream), or -errno; may be short.  One coroutine may
 * receive while another sends.  -ECANCELED after aio_co_cancel().
 */
ssize_t co_fn channel_recv(Channel *c, struct iovec *iov, int niov);
ssize_t co_fn channel_send(Channel *c, struct iovec *iov, int niov);
/* The most descriptors that one message brings; the kernel closes further ones. */
#define CHANNEL_MAX_FDS 16
/*
 * As recv, and descriptors that the peer has sent with the bytes: at @fds, which has room for
 * CHANNEL_MAX_FDS, close-on-exec, the caller's.
 */
ssize_t co_fn channel_recv_fds(Channel *c, struct iovec *iov, int niov, int *fds, size_t *ret_n);

/* All of it: 0 or -errno, -ECONNRESET at the end of the stream.  send advances in @iov. */
int co_fn channel_recv_all(Channel *c, void *buf, size_t len);
int co_fn channel_send_all(Channel *c, struct iovec *iov, int niov);

/*
 * Wait until the peer sends no more, although nothing is received meanwhile.  0: it does not;
 * -ETIMEDOUT after @timeout_ns (< 0: never); -ECANCELED after aio_co_cancel().  Of a socket.
 */
int co_fn channel_wait_hangup(Channel *c, int64_t timeout_ns);
/* Neither direction of the socket is open any more. */
bool any_fn channel_is_dead(const Channel *c);

/*
 * From any thread, while it is open.  Ends what the other calls wait for.  hangup: both directions
 * of a socket; end_input: nothing more is received, and what there is to say can still be sent.
 */
void any_fn channel_hangup(Channel *c);
void any_fn channel_end_input(Channel *c);

/* Nobody uses it. */
void any_fn channel_close(Channel *c);

#endif
