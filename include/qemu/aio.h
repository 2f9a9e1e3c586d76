/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop.  The main thread runs one AioContext and each iothread runs
 * one.  Two backends, chosen when a context is made: io_uring, and epoll with a
 * thread pool for file I/O (containers often forbid io_uring).
 *
 * Everything here that waits is a co_fn and yields; nothing else ever waits, and
 * nobody runs the loop from inside a callback.
 */
#ifndef QEMU_AIO_H
#define QEMU_AIO_H

#include <sys/socket.h>

#include "qapi/error.h"
#include "qemu/coroutine.h"

typedef enum AioBackend {
    AIO_BACKEND_AUTO,           /* io_uring if the kernel lets us, else threads;
                                 * the environment variable QEMU_AIO=threads or
                                 * QEMU_AIO=io_uring decides for the whole process */
    AIO_BACKEND_IO_URING,
    AIO_BACKEND_THREADS,
} AioBackend;

/*
 * A context for the calling thread, which becomes aio_context_current() there.
 * NULL and @errp if @backend is not to be had.  One per thread.
 */
AioContext *any_fn aio_context_new(AioBackend backend, Error **errp);

/* By the thread that made it, with nothing pending in it. */
void any_fn aio_context_free(AioContext *ctx);

AioContext *any_fn aio_context_current(void);       /* NULL: none on this thread */
AioBackend any_fn aio_context_backend(const AioContext *ctx);   /* never AUTO */

/* Handle events until aio_context_quit(); by the thread that made it.  Not re-entrant. */
void any_fn aio_context_run(AioContext *ctx);
/* From any thread or a signal handler. */
void any_fn aio_context_quit(AioContext *ctx);

/* Marks the calling thread as the main thread (context_assert_main()). */
void any_fn context_set_main(void) CONTEXT_ASSERT_MAIN;

/*
 * Run @entry as a coroutine on @ctx (made by this thread) and the loop until it
 * returns.  For the main() of a tool or a test, not for anything inside.
 */
void any_fn aio_context_run_coroutine(AioContext *ctx, CoroutineEntry *entry, void *opaque);

/* ---- bottom halves: run a callback once, soon, from the loop ---- */

typedef struct AioBh {
    void (*cb)(void *opaque);
    void *opaque;
    AioContext *ctx;
    int scheduled;              /* atomic */
    struct AioBh *next;
} AioBh;

void any_fn aio_bh_init(AioBh *bh, AioContext *ctx, void (*cb)(void *opaque), void *opaque);
/*
 * From any thread; several calls before it runs make one run.  It runs in this
 * iteration of the loop after everything that was already ready, before the loop
 * hands its batch of requests to the kernel.
 */
void any_fn aio_bh_schedule(AioBh *bh);
/* In @bh's thread only: it will not run. */
void any_fn aio_bh_cancel(AioBh *bh);
/* Run @cb once in @ctx, from any thread. */
void any_fn aio_bh_schedule_oneshot(AioContext *ctx, void (*cb)(void *opaque), void *opaque);

/* ---- timers, of the calling thread's context ---- */

typedef struct AioTimer {
    AioContext *ctx;
    void (*cb)(void *opaque);
    void *opaque;
    int64_t deadline_ns;        /* clock_ns(); only while armed */
    int heap_index;             /* -1: not armed */
} AioTimer;

void any_fn aio_timer_init(AioTimer *t, AioContext *ctx, void (*cb)(void *), void *opaque);
/* In the context's own thread.  Arming again moves it. */
void any_fn aio_timer_arm(AioTimer *t, int64_t deadline_ns);
void any_fn aio_timer_disarm(AioTimer *t);

void co_fn aio_co_sleep_ns(int64_t ns);

/* ---- files.  0 or the bytes moved, or -errno.  @iov is borrowed until return. ---- */

/* Use the thread pool for this one request even if the context has io_uring. */
#define AIO_THREADS (1 << 0)
/* Writes: on stable storage on return (RWF_DSYNC). */
#define AIO_DSYNC   (1 << 1)
/* The kernel may make whoever starts the request wait (file systems over a network or in a
 * program). */
#define AIO_SLOW    (1 << 2)
/* Reading and writing: -EAGAIN instead of waiting in a thread, ours or the kernel's.  Always so
 * where the context has no io_uring, and for files that cannot be tried. */
#define AIO_NOWAIT  (1 << 3)

/*
 * May be short, as preadv(2).  Writing without AIO_NOWAIT, and fallocate, are always done by the
 * thread pool; whoever waits there for a file that does not answer has one of its threads.
 */
ssize_t co_fn aio_co_preadv(int fd, const struct iovec *iov, int niov, int64_t offset, int flags);
ssize_t co_fn aio_co_pwritev(int fd, const struct iovec *iov, int niov, int64_t offset, int flags);
int co_fn aio_co_fdatasync(int fd, int flags);
/* mode, offset, length as fallocate(2). */
int co_fn aio_co_fallocate(int fd, int mode, int64_t offset, int64_t len, int flags);

/* ---- sockets, pipes, terminals (the fd is non-blocking) ---- */

/* As recvmsg(2)/sendmsg(2) with flags | MSG_NOSIGNAL: bytes moved (0: end of file) or -errno.
 * May be short.  -ECANCELED after aio_co_cancel(). */
ssize_t co_fn aio_co_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t co_fn aio_co_sendmsg(int fd, const struct msghdr *msg, int flags);
/* A file descriptor (close-on-exec, non-blocking) or -errno. */
int co_fn aio_co_accept(int fd);
int co_fn aio_co_connect(int fd, const struct sockaddr *addr, socklen_t len);
/* Wait until @fd is ready for @events (POLLIN, POLLOUT); returns revents, -ETIMEDOUT after
 * @timeout_ns (< 0: never), -ECANCELED, or another -errno.  Works for any pollable fd. */
int co_fn aio_co_poll(int fd, int events, int64_t timeout_ns);

/*
 * End the socket call, poll or sleep in which @co waits with -ECANCELED (a sleep just ends
 * early).  File requests are not affected; a @co that waits for something else is not either.
 * In @co's own thread.
 */
void any_fn aio_co_cancel(Coroutine *co);

/* ---- blocking work ---- */

/*
 * Run @fn(@opaque) on a thread of the process-wide pool and return its result.  For system
 * calls that io_uring has no answer for (open of a FIFO-safe path, directory fsync, SEEK_HOLE).
 * A pool of at most THREAD_POOL_MAX_THREADS (qemu/limits.h), started as needed, ended when idle.
 */
int co_fn thread_pool_co_run(int (*fn)(void *opaque), void *opaque);
/* The same for what clients want of disks, of which there is no end if a disk does not answer: some
 * threads are not for it. */
int co_fn thread_pool_co_run_io(int (*fn)(void *opaque), void *opaque);

#endif
