/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of the event loop and of coroutines, and by nobody else. */
#ifndef UTIL_AIO_INTERNAL_H
#define UTIL_AIO_INTERNAL_H

#include "qemu/aio.h"
#include "util/coroutine-switch.h"

/* ---- coroutines ---- */

typedef struct AioCall AioCall;

struct Coroutine {
    CoSwitch sw;
    void *stack;                /* usable part, above the guard page */
    size_t stack_size;
    CoroutineEntry *entry;
    void *opaque;
    AioContext *ctx;            /* home; never changes */
    Coroutine *caller;          /* who entered it; NULL: it is not entered */
    Coroutine *next;            /* in the one list it is in: ready, remote or pool */
    AioCall *call;              /* the call that aio_co_cancel() would end, or NULL */
    int scheduled;              /* atomic: woken and not entered since */
    bool ended;
    void *map;                  /* the whole mapping; NULL: a thread's own stack */
    size_t map_size;
    void *tsan_fiber;
};

/* Run @co of this thread until it yields or ends; outside of any coroutine. */
void any_fn coroutine_enter(Coroutine *co);
/* Unmap the stacks that @ctx keeps for reuse. */
void any_fn coroutine_pool_clear(AioContext *ctx);

/* ---- requests ---- */

/* The most that one read or write moves, by the kernel's own rule. */
#define AIO_RW_MAX 0x7ffff000

typedef enum AioOp {
    AIO_OP_READV,
    AIO_OP_WRITEV,
    AIO_OP_FDATASYNC,
    AIO_OP_FALLOCATE,
    AIO_OP_RECVMSG,
    AIO_OP_SENDMSG,
    AIO_OP_POLL,
    AIO_OP_SLEEP,               /* a timer only; no backend sees it */
} AioOp;

/*
 * Lives on the stack of the coroutine that waits for it, which therefore must not run again
 * before the kernel has let go of the request, cancelled or not.
 */
typedef struct AioReq {
    AioOp op;
    int fd;
    int flags;                  /* RWF_*, MSG_* or the mode of fallocate */
    int events;
    const struct iovec *iov;
    int niov;
    int64_t offset, len;
    struct msghdr *msg;

    AioContext *ctx;
    Coroutine *co;
    ssize_t result;
    bool slow;                  /* AIO_SLOW */
    bool done;
    bool timed_out;
    bool queued;                /* backend: not yet with the kernel */
    bool cancel_queued;
    struct AioReq *next;        /* backend: queue or waiters of a descriptor */
    struct AioReq *cancel_next;
} AioReq;

/* Sets the result and wakes the coroutine.  In the context's thread. */
void any_fn aio_req_complete(AioReq *req, ssize_t result);

/* A call that aio_co_cancel() can end; it may make several requests, one after the other. */
struct AioCall {
    bool cancelled;
    AioReq *req;                /* NULL: not waiting right now */
};

/* The system call of file request @req, by the calling thread; result or -errno. */
ssize_t blocking_fn aio_req_run_file(const AioReq *req);

/* ---- the loop ---- */

typedef struct AioBackendOps {
    AioBackend backend;
    bool (*init)(AioContext *ctx, Error **errp);
    void (*destroy)(AioContext *ctx);
    /* Takes @req; every request is passed to aio_req_complete() once. */
    void (*submit)(AioContext *ctx, AioReq *req);
    /* Make @req, which was submitted and is not done, finish soon with -ECANCELED. */
    void (*cancel)(AioContext *ctx, AioReq *req);
    /* Hand over what was submitted, wait for an event for @timeout_ns (< 0: for ever) and
     * complete what is complete.  May return early. */
    void (*poll)(AioContext *ctx, int64_t timeout_ns);
} AioBackendOps;

extern const AioBackendOps aio_uring_ops;
extern const AioBackendOps aio_epoll_ops;

struct AioContext {
    /* Used by other threads; all accesses are sequentially consistent, see aio-ready.c. */
    Coroutine *remote;          /* woken by other threads, last first */
    AioBh *bh_stack;            /* scheduled, last first */
    int sleeping;               /* may be waiting in the kernel: write to event_fd */
    int quit;
    int visitors;               /* threads that are adding or waking right now */
    int event_fd;               /* readable: look at the above */

    /* Used by the context's own thread. */
    const AioBackendOps *ops __attribute__((aligned(64)));
    void *opaque;               /* the backend's state */
    Coroutine *ready_head, *ready_tail;
    AioBh *bh_head, *bh_tail;   /* taken from bh_stack, first first */
    AioTimer **timers;          /* heap by deadline */
    int ntimers, timers_alloc;
    Coroutine *pool;            /* ended, with their stacks */
    int pool_size;
    unsigned stack_colour;
    int inflight;               /* requests and pool tasks not yet complete */
    int immediate;              /* calls of this turn that may not have had to wait */
    bool gave_way;              /* somebody divides long work: how long does this turn last? */
    bool running;
    bool coroutine_done;        /* the one that aio_context_run_coroutine() waits for */
};

/* aio-ready.c.  What aio_context_current() returns on this thread from now on. */
void any_fn aio_context_set_current(AioContext *ctx);
/* @co of @ctx, from any thread, at the end of the list of what is ready. */
void any_fn aio_context_make_ready(AioContext *ctx, Coroutine *co);
/* Adds the coroutines that other threads woke to that list, in the order of being woken. */
void any_fn aio_take_remote(AioContext *ctx);
/* Runs the bottom halves scheduled before, not those that they schedule: these come in the next
 * round. */
void any_fn aio_run_bhs(AioContext *ctx);

/* Nanoseconds until the first timer, 0 if it has expired, -1 if there is none. */
int64_t any_fn aio_timers_timeout(const AioContext *ctx);
void any_fn aio_timers_run(AioContext *ctx);

#endif
